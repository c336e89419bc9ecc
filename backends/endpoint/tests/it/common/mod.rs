//! Two ends and a network in memory, which can carry bytes in pieces of any size.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "a module of several tests, each of which uses a part of it"
)]

use std::io::{Read, Write};
use std::mem::discriminant;
use std::sync::Arc;

use countersign_certs::GeneratedIdentity;
use countersign_endpoint::{
    Connection, Fingerprint, Identity, MAX_RECORD, Pin, Received, Security, SecurityError, Trust,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

#[cfg(feature = "aws-lc-rs")]
pub use rustls::crypto::aws_lc_rs as crypto;
#[cfg(not(feature = "aws-lc-rs"))]
pub use rustls::crypto::ring as crypto;

use anybody::TrustsAnybody;

#[path = "../../../../../tests/src/adversary/anybody.rs"]
mod anybody;

/// All at once, in pieces that fit nothing, and byte by byte.
pub const PIECES: [usize; 3] = [usize::MAX, 7, 1];

pub fn identity(generated: &GeneratedIdentity) -> Identity {
    Identity::from_der(generated.certificate_der(), generated.key_der()).unwrap()
}

pub fn certificate_pin(generated: &GeneratedIdentity) -> Pin {
    Pin::certificate(generated.certificate_der()).unwrap()
}

pub fn security(own: &GeneratedIdentity, trust: impl Into<Trust>) -> Security {
    // Without ALPN, so that peers that are not countersign can take part.
    Security::tls(identity(own), trust)
        .build()
        .unwrap()
        .without_alpn()
}

/// What a network carries bytes to and from.
pub trait Node {
    /// Takes bytes; `false` when it wants no more.
    fn arrive(&mut self, bytes: &[u8]) -> bool;
    /// The bytes to carry to the other side.
    fn depart(&mut self) -> Vec<u8>;
}

/// One of ours, with the buffer that a driver would have.
pub struct End {
    pub connection: Connection,
    inbox: Vec<u8>,
    pub secured: Option<Option<Fingerprint>>,
    pub data: Vec<u8>,
    pub ended: bool,
    pub error: Option<SecurityError>,
    outbox: Vec<u8>,
}

impl End {
    pub fn connect(security: &Security) -> Self {
        Self::new(Connection::connect(security).unwrap())
    }

    pub fn accept(security: &Security) -> Self {
        Self::new(Connection::accept(security).unwrap())
    }

    fn new(connection: Connection) -> Self {
        let mut end = Self {
            connection,
            inbox: Vec::new(),
            secured: None,
            data: Vec::new(),
            ended: false,
            error: None,
            outbox: Vec::new(),
        };
        end.arrive(&[]);
        end
    }

    pub fn send(&mut self, plaintext: &[u8]) {
        let mut wire = vec![0; self.connection.ciphertext_len(plaintext.len())];
        let count = self.connection.write(plaintext, &mut wire).unwrap();
        self.outbox.extend_from_slice(&wire[..count]);
    }

    pub fn eof(&mut self) {
        if let Err(error) = self.connection.read_eof() {
            self.error.get_or_insert(error);
        }
    }

    pub fn message(&self) -> String {
        self.error
            .as_ref()
            .map(ToString::to_string)
            .unwrap_or_default()
    }
}

impl Node for End {
    fn arrive(&mut self, bytes: &[u8]) -> bool {
        self.inbox.extend_from_slice(bytes);
        let (secured, data, ended) = (&mut self.secured, &mut self.data, &mut self.ended);
        let result = self
            .connection
            .read(&mut self.inbox, &mut |received| match received {
                Received::Secured { peer, .. } => {
                    assert!(secured.is_none() && data.is_empty() && !*ended);
                    *secured = Some(peer.map(|peer| peer.fingerprint()));
                }
                Received::Data(bytes) => {
                    assert!(secured.is_some() && !bytes.is_empty() && !*ended);
                    data.extend_from_slice(bytes);
                }
                Received::End => {
                    assert!(secured.is_some() && !*ended);
                    *ended = true;
                }
            });
        match result {
            Ok(consumed) => {
                self.inbox.drain(..consumed);
                assert!(self.inbox.len() < MAX_RECORD);
                true
            }
            Err(error) => {
                if let Some(first) = &self.error {
                    assert_eq!(discriminant(first.reason()), discriminant(error.reason()));
                }
                self.error.get_or_insert(error);
                false
            }
        }
    }

    fn depart(&mut self) -> Vec<u8> {
        let mut wire = std::mem::take(&mut self.outbox);
        // In small pieces, since that is allowed.
        while self.connection.pending_len() > 0 {
            let mut piece = [0; 100];
            let count = self.connection.write_pending(&mut piece);
            assert!(count > 0);
            wire.extend_from_slice(&piece[..count]);
        }
        wire
    }
}

/// A peer made of rustls and nothing of ours.
pub struct Foreign {
    pub tls: rustls::Connection,
    pub data: Vec<u8>,
    pub error: Option<rustls::Error>,
}

impl Foreign {
    pub fn client(config: rustls::ClientConfig) -> Self {
        let name = ServerName::try_from("robot").unwrap();
        Self::new(
            rustls::ClientConnection::new(Arc::new(config), name)
                .unwrap()
                .into(),
        )
    }

    pub fn server(config: rustls::ServerConfig) -> Self {
        Self::new(
            rustls::ServerConnection::new(Arc::new(config))
                .unwrap()
                .into(),
        )
    }

    fn new(mut tls: rustls::Connection) -> Self {
        tls.set_buffer_limit(None);
        Self {
            tls,
            data: Vec::new(),
            error: None,
        }
    }

    pub fn send(&mut self, plaintext: &[u8]) {
        self.tls.writer().write_all(plaintext).unwrap();
    }
}

impl Node for Foreign {
    fn arrive(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() && self.error.is_none() {
            if self.tls.read_tls(&mut bytes).unwrap() == 0 {
                break;
            }
            if let Err(error) = self.tls.process_new_packets() {
                self.error = Some(error);
            }
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = self.tls.reader().read(&mut buffer) {
                self.data.extend_from_slice(&buffer[..count]);
            }
        }
        self.error.is_none()
    }

    fn depart(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut wire).unwrap();
        }
        wire
    }
}

/// Carries bytes both ways in pieces of `piece` until nothing is left to carry.
pub fn carry(left: &mut dyn Node, right: &mut dyn Node, piece: usize) {
    loop {
        let there = left.depart();
        let here = right.depart();
        if there.is_empty() && here.is_empty() {
            return;
        }
        for bytes in there.chunks(piece) {
            if !right.arrive(bytes) {
                break;
            }
        }
        for bytes in here.chunks(piece) {
            if !left.arrive(bytes) {
                break;
            }
        }
    }
}

/// Lets two ends shake hands; if one fails, the other sees what it sent and then its end.
pub fn shake(connecting: &Security, accepting: &Security, piece: usize) -> (End, End) {
    let (mut left, mut right) = (End::connect(connecting), End::accept(accepting));
    carry(&mut left, &mut right, piece);
    if right.error.is_some() {
        left.eof();
    } else if left.error.is_some() {
        right.eof();
    }
    (left, right)
}

/// A foreign client's settings, of versions `versions`, that trusts any certificate.
pub fn foreign_client(
    own: Option<&GeneratedIdentity>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ClientConfig {
    let builder = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (certificate, key) = certified(own);
            builder
                .with_client_auth_cert(vec![certificate], key)
                .unwrap()
        }
    }
}

/// A foreign server's settings, of versions `versions`, that trusts any certificate.
pub fn foreign_server(
    own: &GeneratedIdentity,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ServerConfig {
    let (certificate, key) = certified(own);
    rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_client_cert_verifier(Arc::new(TrustsAnybody))
        .with_single_cert(vec![certificate], key)
        .unwrap()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(crypto::default_provider())
}

fn certified(own: &GeneratedIdentity) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let certificate = CertificateDer::from(own.certificate_der().to_vec());
    (
        certificate,
        PrivateKeyDer::from_pem_slice(own.key_pem().as_bytes()).unwrap(),
    )
}
