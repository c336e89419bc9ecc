//! Mutual TLS 1.3 between two pinned peers, as every contender built on rustls uses it.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
};

use crate::peers::Failure;

/// The configurations of both ends of a link, each with the other's certificate pinned.
#[derive(Clone, Debug)]
pub(crate) struct Configs {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
}

impl Configs {
    /// The name that a client asks for. With pins, nobody looks at it.
    pub(crate) const NAME: &str = "peer";

    /// Two new self-signed P-256 identities; AES-128-GCM goes first, the rest is rustls's default.
    pub(crate) fn new() -> Result<Self, Failure> {
        let provider = provider();
        let (client_cert, client_key) = identity()?;
        let (server_cert, server_key) = identity()?;
        let pinned = Pin::new(&client_cert, &provider);
        let client = client(client_cert, client_key, &server_cert)?;
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(pinned)
            .with_single_cert(vec![server_cert], server_key)?;
        // A client that only ever sends would leave tickets unread, and closing a socket with
        // unread bytes resets the connection, with the last messages still in it.
        server.send_tls13_tickets = 0;
        Ok(Self {
            client,
            server: Arc::new(server),
        })
    }

    /// The name that a client has to give to rustls.
    pub(crate) fn server_name() -> Result<ServerName<'static>, Failure> {
        Ok(ServerName::try_from(Self::NAME)?)
    }
}

/// That of a client with `cert`, which takes no other server than the one with `server_cert`.
pub(crate) fn client(
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    server_cert: &CertificateDer<'static>,
) -> Result<Arc<ClientConfig>, Failure> {
    let provider = provider();
    let pin = Pin::new(server_cert, &provider);
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pin)
        .with_client_auth_cert(vec![cert], key)?;
    Ok(Arc::new(config))
}

/// rustls's default, but AES-128-GCM goes first.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider
        .cipher_suites
        .sort_by_key(|suite| *suite != aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn identity() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), Failure> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let cert = rcgen::CertificateParams::new([Configs::NAME.to_owned()])?.self_signed(&key)?;
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    Ok((cert.der().clone(), key.into()))
}

/// Accepts one certificate. Signatures are checked as rustls does.
#[derive(Debug)]
struct Pin {
    cert: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl Pin {
    fn new(cert: &CertificateDer<'static>, provider: &Arc<CryptoProvider>) -> Arc<Self> {
        Arc::new(Self {
            cert: cert.clone(),
            provider: Arc::clone(provider),
        })
    }

    fn check(&self, cert: &CertificateDer<'_>) -> Result<(), Error> {
        if *cert == self.cert {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn check_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    /// The configurations offer TLS 1.3 only, so rustls never asks.
    fn no_tls12() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for Pin {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.check(end_entity)
            .map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Self::no_tls12()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}
