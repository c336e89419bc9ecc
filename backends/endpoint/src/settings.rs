//! The settings for rustls, derived from identity and trust.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CipherSuite, ClientConfig, KeyLog, ServerConfig, SignatureScheme};

use crate::crypto;
use crate::identity::Identity;
use crate::setup_error::SetupError;
use crate::trust::Trust;
use crate::verify::PinVerifier;

/// The settings that stay when identity and trust are replaced.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Opened once: its name may be relative, and the working directory may change.
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
}

/// The TLS settings of connections.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    /// `None` with an authority for which no server name was set.
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) alpn: Vec<Vec<u8>>,
    verifiers: Verifiers,
}

/// The side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Connecting,
    Accepting,
}

impl Tls {
    pub(crate) fn new(identity: Identity, trust: Trust, fixed: &Fixed) -> Result<Self, SetupError> {
        let fast_aes = has_aes_instructions();
        let provider = Arc::new(with_preferred_suites(&*crypto::provider()?, fast_aes));
        let verifiers = Verifiers::new(&trust, &provider)?;
        let inputs = ConfigInputs {
            identity: &identity,
            trust: &trust,
            fixed,
        };
        let client = inputs.client(&provider, verifiers.server.clone())?;
        let server = inputs.server(&provider, verifiers.client.clone(), fast_aes)?;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            server_name: match &trust {
                // Never sent and never checked, but rustls requires a name.
                Trust::Pins(_) => ServerName::try_from("countersign.invalid").ok(),
                Trust::Authority(authority) => authority.server_name.clone(),
            },
            identity,
            trust,
            alpn: fixed.alpn.clone(),
            verifiers,
        })
    }

    /// Returns the connecting end's settings for one connection, and a flag that is set when the
    /// peer requests this end's certificate.
    pub(crate) fn client_once(&self) -> (Arc<ClientConfig>, Arc<CertificateRequest>) {
        let request = Arc::new(CertificateRequest {
            certificate: self.client.client_auth_cert_resolver.clone(),
            requested: AtomicBool::new(false),
        });
        let mut client = (*self.client).clone();
        client.client_auth_cert_resolver = request.clone();
        (Arc::new(client), request)
    }

    /// Returns the same settings without ALPN.
    pub(crate) fn without_alpn(&self) -> Self {
        let mut client = (*self.client).clone();
        client.alpn_protocols.clear();
        let mut server = (*self.server).clone();
        server.alpn_protocols.clear();
        Self {
            client: Arc::new(client),
            server: Arc::new(server),
            alpn: Vec::new(),
            ..self.clone()
        }
    }

    /// Verifies a peer on this side of a connection, with this chain of certificates, at this time.
    pub(crate) fn verify_peer(
        &self,
        peer: Side,
        chain: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), rustls::Error> {
        let Some((first, rest)) = chain.split_first() else {
            return Err(rustls::Error::NoCertificatesPresented);
        };
        match (peer, &self.server_name) {
            (Side::Connecting, _) => {
                let verified = self.verifiers.client.verify_client_cert(first, rest, at);
                verified.map(|_| ())
            }
            (Side::Accepting, Some(name)) => {
                let server = &self.verifiers.server;
                let verified = server.verify_server_cert(first, rest, name, &[], at);
                verified.map(|_| ())
            }
            // The new trust has no server name.
            (Side::Accepting, None) => Err(rustls::CertificateError::NotValidForName.into()),
        }
    }
}

/// Resolves this end's certificate, and records that the peer has requested it. rustls reports that
/// in no other way, and calls this at most once for each connection.
#[derive(Debug)]
pub(crate) struct CertificateRequest {
    certificate: Arc<dyn ResolvesClientCert>,
    requested: AtomicBool,
}

impl CertificateRequest {
    pub(crate) fn was_received(&self) -> bool {
        self.requested.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for CertificateRequest {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.requested.store(true, Ordering::Relaxed);
        self.certificate.resolve(root_hint_subjects, schemes)
    }

    fn has_certs(&self) -> bool {
        self.certificate.has_certs()
    }
}

/// The inputs of rustls's client and server settings.
struct ConfigInputs<'a> {
    identity: &'a Identity,
    trust: &'a Trust,
    fixed: &'a Fixed,
}

impl ConfigInputs<'_> {
    fn client(
        &self,
        provider: &Arc<CryptoProvider>,
        verifier: Arc<dyn ServerCertVerifier>,
    ) -> Result<ClientConfig, SetupError> {
        let resolver = SingleCertAndKey::from(self.identity.certified().clone());
        let mut config = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_cert_resolver(Arc::new(resolver));
        // A resumed connection would skip the certificate, and with it the pin. Tickets need the
        // remembered certificate to be checked again against the current pins.
        config.resumption = Resumption::disabled();
        config.enable_sni = matches!(self.trust, Trust::Authority(_));
        config.alpn_protocols.clone_from(&self.fixed.alpn);
        if let Some(key_log) = &self.fixed.key_log {
            config.key_log = key_log.clone();
        }
        Ok(config)
    }

    fn server(
        &self,
        provider: &Arc<CryptoProvider>,
        verifier: Arc<dyn ClientCertVerifier>,
        fast_aes: bool,
    ) -> Result<ServerConfig, SetupError> {
        let resolver = SingleCertAndKey::from(self.identity.certified().clone());
        let mut config = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_cert_resolver(Arc::new(resolver));
        // For the same reason as on the connecting side.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.alpn_protocols.clone_from(&self.fixed.alpn);
        // The connecting end's order decides, unless this end has no AES instructions, so that
        // ChaCha20 is used if either end has none.
        config.ignore_client_order = !fast_aes;
        if let Some(key_log) = &self.fixed.key_log {
            config.key_log = key_log.clone();
        }
        Ok(config)
    }
}

/// The verifiers of the peer's certificate.
#[derive(Clone)]
struct Verifiers {
    /// Verifies the accepting end, for the connecting end.
    server: Arc<dyn ServerCertVerifier>,
    /// Verifies the connecting end, for the accepting end.
    client: Arc<dyn ClientCertVerifier>,
}

impl Verifiers {
    fn new(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Self, SetupError> {
        match trust {
            Trust::Pins(pins) => {
                let algorithms = provider.signature_verification_algorithms;
                let verifier = Arc::new(PinVerifier {
                    pins: pins.clone(),
                    algorithms,
                });
                Ok(Self {
                    server: verifier.clone(),
                    client: verifier,
                })
            }
            Trust::Authority(authority) => {
                let roots = Arc::new(authority.roots.clone());
                let server =
                    WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone());
                let client = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
                Ok(Self {
                    server: server.build().map_err(refused)?,
                    client: client.build().map_err(refused)?,
                })
            }
        }
    }
}

fn refused(error: impl fmt::Display) -> SetupError {
    SetupError::Refused {
        detail: error.to_string(),
    }
}

/// Returns the provider with its key exchange groups unchanged, and the cipher suites of TLS 1.3 in
/// the order that suits this processor.
fn with_preferred_suites(provider: &CryptoProvider, fast_aes: bool) -> CryptoProvider {
    let mut provider = provider.clone();
    provider
        .cipher_suites
        .retain(|suite| suite.tls13().is_some());
    provider
        .cipher_suites
        .sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256 => 1,
            CipherSuite::TLS13_AES_256_GCM_SHA384 => 2,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 if fast_aes => 3,
            CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => 0,
            _ => 4,
        });
    provider
}

/// Whether this processor has instructions for AES-GCM: for both AES and GHASH.
fn has_aes_instructions() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        // On this architecture Rust's `aes` covers both.
        std::arch::is_aarch64_feature_detected!("aes")
    }
    #[cfg(not(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")))]
    {
        false
    }
}

#[cfg(all(test, any(feature = "aws-lc-rs", feature = "ring")))]
mod tests {
    use super::*;

    fn named() -> Arc<CryptoProvider> {
        crypto::provider().expect("a feature is on")
    }

    fn suites(fast_aes: bool) -> Vec<CipherSuite> {
        with_preferred_suites(&named(), fast_aes)
            .cipher_suites
            .iter()
            .map(rustls::SupportedCipherSuite::suite)
            .collect()
    }

    #[test]
    fn the_processor_decides_which_cipher_comes_first() {
        use CipherSuite::{
            TLS13_AES_128_GCM_SHA256 as AES_128, TLS13_AES_256_GCM_SHA384 as AES_256,
            TLS13_CHACHA20_POLY1305_SHA256 as CHACHA,
        };
        assert_eq!(suites(true), [AES_128, AES_256, CHACHA]);
        assert_eq!(suites(false), [CHACHA, AES_128, AES_256]);
    }

    #[cfg(feature = "aws-lc-rs")]
    #[test]
    fn hybrid_post_quantum_key_exchange_comes_first() {
        let first = with_preferred_suites(&named(), true).kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
    }
}
