//! An MQTT broker in this process, by rumqttd. It takes certificates of an authority from files, and
//! can't be stopped again, so there is one for all runs.

use std::collections::HashMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rumqttd::{Config, ConnectionSettings, RouterConfig, ServerSettings, TlsConfig};
use rustls::ClientConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;

use super::super::Failure;
use super::MOST;
use crate::tls::{self, Configs};

/// How much the broker keeps for subscribers that lag behind.
const SEGMENT: usize = 16 << 20;
const SEGMENTS: usize = 4;

/// Where the broker listens, and how to speak to it.
#[derive(Clone)]
pub(in crate::peers) struct Broker {
    pub(super) address: SocketAddr,
    pub(super) tls: Arc<ClientConfig>,
    /// What the broker reads for each connection.
    _files: Arc<TempDir>,
}

impl Broker {
    /// Starts a broker, and returns when it listens.
    pub(super) fn start() -> Result<Self, Failure> {
        let files = tempfile::tempdir()?;
        let path = |name: &str| files.path().join(name).to_string_lossy().into_owned();
        let authority = authority()?;
        let (server_key, client_key) = (key()?, key()?);
        let params = CertificateParams::new([Configs::NAME.to_owned()])?;
        let server = params.signed_by(&server_key, &authority)?;
        let client = params.signed_by(&client_key, &authority)?;
        fs::write(path("authority.pem"), authority.pem())?;
        fs::write(path("server.pem"), server.pem())?;
        fs::write(path("server.key"), server_key.serialize_pem())?;
        let broker_tls = TlsConfig::Rustls {
            capath: Some(path("authority.pem")),
            certpath: path("server.pem"),
            keypath: path("server.key"),
        };
        let client_key = PrivatePkcs8KeyDer::from(client_key.serialize_der()).into();
        let broker = Self {
            address: free_address()?,
            tls: tls::client(client.der().clone(), client_key, server.der())?,
            _files: Arc::new(files),
        };
        let mut running = rumqttd::Broker::new(config(broker.address, broker_tls));
        thread::spawn(move || {
            // Returns only if it could not listen, which shows below.
            let _ = running.start();
        });
        broker.wait_until_it_listens()?;
        Ok(broker)
    }

    fn wait_until_it_listens(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while let Err(error) = TcpStream::connect(self.address) {
            if Instant::now() > deadline {
                return Err(error.into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

fn key() -> Result<KeyPair, Failure> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, Failure> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    Ok(CertifiedIssuer::self_signed(params, key()?)?)
}

/// An address that nobody listens at. The broker does not tell which it took, if it may choose.
fn free_address() -> Result<SocketAddr, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn config(listen: SocketAddr, tls: TlsConfig) -> Config {
    let server = ServerSettings {
        name: "mutual-tls".to_owned(),
        listen,
        tls: Some(tls),
        next_connection_delay_ms: 1,
        connections: ConnectionSettings {
            connection_timeout_ms: 60_000,
            max_payload_size: MOST + 1024,
            max_inflight_count: 100,
            auth: None,
            external_auth: None,
            dynamic_filters: true,
        },
    };
    Config {
        router: RouterConfig {
            max_connections: 64,
            max_outgoing_packet_count: 200,
            max_segment_size: SEGMENT,
            max_segment_count: SEGMENTS,
            ..RouterConfig::default()
        },
        v4: Some(HashMap::from([("1".to_owned(), server)])),
        ..Config::default()
    }
}
