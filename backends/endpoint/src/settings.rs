//! rustls's settings, made of an identity and of whom to trust.

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

/// What stays when identity and trust are replaced.
#[derive(Clone, Debug)]
pub(crate) struct Fixed {
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Opened once: its name may be relative, and the working directory another by the next time.
    pub(crate) key_log: Option<Arc<dyn KeyLog>>,
}

/// What connections need of the choice for TLS.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    /// Missing when there is an authority and nobody said which server to expect.
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) identity: Identity,
    pub(crate) trust: Trust,
    pub(crate) alpn: Vec<Vec<u8>>,
    verifiers: Verifiers,
}

/// Which end of a connection a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Connecting,
    Accepting,
}

impl Tls {
    pub(crate) fn new(identity: Identity, trust: Trust, fixed: &Fixed) -> Result<Self, SetupError> {
        let fast_aes = has_aes_instructions();
        let provider = Arc::new(suited(&*crypto::provider()?, fast_aes));
        let verifiers = Verifiers::new(&trust, &provider)?;
        let making = Making {
            identity: &identity,
            trust: &trust,
            fixed,
        };
        let client = making.client(&provider, verifiers.server.clone())?;
        let server = making.server(&provider, verifiers.client.clone(), fast_aes)?;
        Ok(Self {
            client: Arc::new(client),
            server: Arc::new(server),
            server_name: match &trust {
                // Never sent and never looked at: rustls wants a name all the same.
                Trust::Pins(_) => ServerName::try_from("countersign.invalid").ok(),
                Trust::Authority(authority) => authority.server_name.clone(),
            },
            identity,
            trust,
            alpn: fixed.alpn.clone(),
            verifiers,
        })
    }

    /// The connecting end's settings for one connection, and whether its peer has asked for our
    /// certificate.
    pub(crate) fn client_once(&self) -> (Arc<ClientConfig>, Arc<Asked>) {
        let asked = Arc::new(Asked {
            certificate: self.client.client_auth_cert_resolver.clone(),
            was: AtomicBool::new(false),
        });
        let mut client = (*self.client).clone();
        client.client_auth_cert_resolver = asked.clone();
        (Arc::new(client), asked)
    }

    /// The same without ALPN.
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

    /// Whether a peer that is that end of a connection would be let in, if it presented this chain of
    /// certificates at that time.
    pub(crate) fn judge(
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
                let judged = self.verifiers.client.verify_client_cert(first, rest, at);
                judged.map(|_| ())
            }
            (Side::Accepting, Some(name)) => {
                let server = &self.verifiers.server;
                let judged = server.verify_server_cert(first, rest, name, &[], at);
                judged.map(|_| ())
            }
            // Nobody has said any more which server to expect.
            (Side::Accepting, None) => Err(rustls::CertificateError::NotValidForName.into()),
        }
    }
}

/// Gives the peer our certificate, and takes note that it has asked for it. rustls tells in no other
/// way, and asks here once for each connection at most.
#[derive(Debug)]
pub(crate) struct Asked {
    certificate: Arc<dyn ResolvesClientCert>,
    was: AtomicBool,
}

impl Asked {
    pub(crate) fn was(&self) -> bool {
        self.was.load(Ordering::Relaxed)
    }
}

impl ResolvesClientCert for Asked {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.was.store(true, Ordering::Relaxed);
        self.certificate.resolve(root_hint_subjects, schemes)
    }

    fn has_certs(&self) -> bool {
        self.certificate.has_certs()
    }
}

/// What rustls's two sets of settings are made of.
struct Making<'a> {
    identity: &'a Identity,
    trust: &'a Trust,
    fixed: &'a Fixed,
}

impl Making<'_> {
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
        // A resumed connection would skip the certificate, and with it the pin. Tickets come
        // when the remembered certificate is checked again against the pins of the day.
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
        // The connecting end's order counts unless this end is the one without instructions for
        // AES, so that ChaCha20 is taken when either end is without.
        config.ignore_client_order = !fast_aes;
        if let Some(key_log) = &self.fixed.key_log {
            config.key_log = key_log.clone();
        }
        Ok(config)
    }
}

/// The checks of the peer's certificate.
#[derive(Clone)]
struct Verifiers {
    /// Of the accepting end's, for the connecting end.
    server: Arc<dyn ServerCertVerifier>,
    /// Of the connecting end's, for the accepting end.
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

/// A provider with its key exchange groups as they are, and the cipher suites of TLS 1.3 in the order
/// that suits this processor.
fn suited(provider: &CryptoProvider, fast_aes: bool) -> CryptoProvider {
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

/// Whether this processor has instructions for AES-GCM: both for AES and for its hash.
fn has_aes_instructions() -> bool {
    #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
    {
        std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq")
    }
    #[cfg(target_arch = "aarch64")]
    {
        // On this architecture Rust's `aes` stands for both.
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
        suited(&named(), fast_aes)
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
        let first = suited(&named(), true).kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
    }
}
