//! TLS as a hostile peer has it: an honest handshake by rustls alone, and the keys to go on by
//! hand.

mod records;
mod same;
mod victim;

use std::io::{Read, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use countersign_certs::{Algorithm, GeneratedIdentity, NewIdentity};
use countersign_core::Role;
use countersign_endpoint::{Identity, Security};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, Error, KeyLog, ServerConfig,
    SignatureScheme,
};

pub(crate) use self::records::{Keys, records};
use self::same::provider;
pub(crate) use self::victim::Victim;

/// Both ends' identities, made once: lengths are the same each time, so that an input means the
/// same in another process.
struct Identities {
    victim: Security,
    victim_without: Security,
    peer: GeneratedIdentity,
}

fn identities() -> &'static Identities {
    static MADE: OnceLock<Identities> = OnceLock::new();
    MADE.get_or_init(|| {
        let make = |name: &str| {
            let new = NewIdentity::new(name).algorithm(Algorithm::Ed25519);
            new.generate().expect("random bytes")
        };
        let (victim, peer) = (make("victim"), make("hostile"));
        let identity = Identity::from_der(victim.certificate_der(), victim.key_der());
        let security = Security::tls(identity.expect("a good one"), peer.fingerprint());
        Identities {
            victim: security.build().expect("sound settings"),
            victim_without: Security::plaintext(),
            peer,
        }
    })
}

/// The settings of the end under test.
pub(crate) fn security(plain: bool) -> &'static Security {
    let made = identities();
    if plain {
        &made.victim_without
    } else {
        &made.victim
    }
}

/// A peer with the pinned identity that shakes hands as it should.
pub(crate) struct Honest {
    tls: rustls::Connection,
    secrets: Arc<Secrets>,
    /// It has heard something that it does not take.
    failed: bool,
}

impl Honest {
    /// The peer of an end in this role.
    pub(crate) fn opposite(role: Role) -> Self {
        let secrets = Arc::new(Secrets::default());
        let own = &identities().peer;
        let certificate = vec![CertificateDer::from(own.certificate_der().to_vec())];
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.key_der().to_vec()));
        let tls = match role {
            Role::Acceptor => client(certificate, key, &secrets),
            Role::Opener => server(certificate, key, &secrets),
        };
        Self {
            tls,
            secrets,
            failed: false,
        }
    }

    pub(crate) fn is_shaking(&self) -> bool {
        self.tls.is_handshaking() && !self.failed
    }

    /// Reads one record, or bytes in place of one.
    pub(crate) fn receive(&mut self, mut record: &[u8]) {
        while !record.is_empty() && !self.failed {
            let heard = self.tls.read_tls(&mut record);
            self.failed |= !matches!(heard, Ok(1..));
            self.failed |= self.tls.process_new_packets().is_err();
            let _ = self.tls.reader().read(&mut [0; 4096]);
        }
    }

    pub(crate) fn say(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut said).expect("a vector takes all");
        }
        said.flush().expect("a vector");
        said
    }

    /// Returns the keys of a secret by its name in key logs, if it was logged yet.
    pub(crate) fn keys(&self, label: &str) -> Option<Keys> {
        let logged = self
            .secrets
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (_, secret) = logged.iter().find(|(name, _)| name == label)?;
        Some(Keys::new(secret))
    }
}

/// What the peer logs of its own keys.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        let mut logged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        logged.push((label.to_owned(), secret.to_vec()));
    }
}

const ALPN: &[u8] = b"countersign";

fn client(
    certificate: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    secrets: &Arc<Secrets>,
) -> rustls::Connection {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the suite is of 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(certificate, key)
        .expect("they fit");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.key_log = secrets.clone();
    let name = ServerName::try_from("victim").expect("a name");
    let client = rustls::ClientConnection::new(Arc::new(config), name);
    client.expect("random bytes").into()
}

fn server(
    certificate: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    secrets: &Arc<Secrets>,
) -> rustls::Connection {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the suite is of 1.3")
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_single_cert(certificate, key)
        .expect("they fit");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.key_log = secrets.clone();
    // Tickets would use up numbers of the records to come.
    config.send_tls13_tickets = 0;
    let server = rustls::ServerConnection::new(Arc::new(config));
    server.expect("random bytes").into()
}

/// A hostile peer accepts every certificate.
#[derive(Debug)]
struct Anybody;

/// What both kinds of verifier answer about signatures.
macro_rules! any_signature {
    () => {
        fn verify_tls12_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _: &[u8],
            _: &CertificateDer<'_>,
            _: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![SignatureScheme::ED25519]
        }
    };
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    any_signature!();
}

impl ClientCertVerifier for Anybody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    any_signature!();
}
