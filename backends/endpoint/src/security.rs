//! How connections are secured: chosen once, then shared by all of a link's connections.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::ServerName;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{CipherSuite, ClientConfig, KeyLogFile, ServerConfig};

use crate::buffer::LENGTH;
use crate::connection::MAX_RECORD;
use crate::fingerprint::Fingerprint;
use crate::identity::Identity;
use crate::setup_error::SetupError;
use crate::trust::Trust;
use crate::verify::PinVerifier;
use crate::wire::Wire;

/// The protocol name that native connections agree on through ALPN (RFC 7301).
pub const ALPN_COUNTERSIGN: &str = "countersign";

/// What TLS itself takes at most for one connection: its keys, a flight of the handshake, the
/// peer's certificates, and records that rustls has looked at and not consumed. A peer's
/// message is no longer than [`MAX_RECORD`].
const TLS: usize = 6 * MAX_RECORD;

/// How connections are secured: TLS 1.3 with this identity and this trust, or not at all.
///
/// Cloning is cheap. To change identity or pins, build another one and use it for the
/// connections from then on; one that failed to build changes nothing.
///
/// ```no_run
/// use countersign_endpoint::{Identity, Pins, Security};
///
/// let identity = Identity::from_pem_files("station.crt", "station.key")?;
/// let pins = Pins::from_files(["robot.crt"])?;
/// let security = Security::tls(identity, pins).build()?;
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone)]
pub struct Security {
    pub(crate) choice: Choice,
}

#[derive(Clone)]
pub(crate) enum Choice {
    Plaintext,
    Tls(Arc<Tls>),
}

/// What connections need of the choice for TLS.
pub(crate) struct Tls {
    pub(crate) client: Arc<ClientConfig>,
    pub(crate) server: Arc<ServerConfig>,
    /// Missing when there is an authority and nobody said which server to expect.
    pub(crate) server_name: Option<ServerName<'static>>,
    pub(crate) identity: Identity,
    pub(crate) alpn: Vec<Vec<u8>>,
    trust: Trust,
}

impl Tls {
    /// Whether peers are pinned, and not certified by an authority.
    pub(crate) const fn is_pinned(&self) -> bool {
        matches!(self.trust, Trust::Pins(_))
    }
}

impl Security {
    /// TLS 1.3 with `identity` for this end and `trust` in the other: [`Pins`](crate::Pins),
    /// a [`Pin`](crate::Pin), a [`Fingerprint`], or an [`Authority`](crate::Authority).
    pub fn tls(identity: Identity, trust: impl Into<Trust>) -> TlsBuilder {
        TlsBuilder {
            identity,
            trust: trust.into(),
            alpn: vec![ALPN_COUNTERSIGN.as_bytes().to_vec()],
            key_log: false,
        }
    }

    /// No security at all: anybody on the way can read and change everything, and anybody can
    /// connect. For tests, and for wires that are protected by other means.
    #[must_use]
    pub const fn plaintext() -> Self {
        Self {
            choice: Choice::Plaintext,
        }
    }

    /// Whether this is [`Security::plaintext`].
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.choice, Choice::Plaintext)
    }

    /// How many bytes of memory a [`Wire`](crate::Wire) takes at most for one connection that is
    /// secured like this, whatever its peer does (`docs/limits.md`). What waits to be sent counts
    /// once: it is lent by the thread, and given back when it was sent.
    #[must_use]
    pub const fn memory_bound(&self) -> usize {
        match self.choice {
            Choice::Plaintext => size_of::<Wire>() + 2 * LENGTH,
            Choice::Tls(_) => size_of::<Wire>() + 3 * LENGTH + TLS,
        }
    }

    /// The same without ALPN: what the tlsstream dialect needs, whose original knows nothing of it.
    #[must_use]
    pub fn without_alpn(&self) -> Self {
        let Choice::Tls(tls) = &self.choice else {
            return self.clone();
        };
        let mut client = (*tls.client).clone();
        client.alpn_protocols.clear();
        let mut server = (*tls.server).clone();
        server.alpn_protocols.clear();
        let bare = Tls {
            client: Arc::new(client),
            server: Arc::new(server),
            server_name: tls.server_name.clone(),
            identity: tls.identity.clone(),
            alpn: Vec::new(),
            trust: tls.trust.clone(),
        };
        Self {
            choice: Choice::Tls(Arc::new(bare)),
        }
    }

    /// The protocols to agree on through ALPN, the preferred one first; none in plaintext.
    #[must_use]
    pub fn protocols(&self) -> &[Vec<u8>] {
        match &self.choice {
            Choice::Plaintext => &[],
            Choice::Tls(tls) => &tls.alpn,
        }
    }

    /// The fingerprint of this end's identity; none in plaintext.
    #[must_use]
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls(tls) => Some(tls.identity.fingerprint()),
        }
    }

    /// This end's identity; none in plaintext.
    #[must_use]
    pub fn identity(&self) -> Option<&Identity> {
        match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls(tls) => Some(&tls.identity),
        }
    }

    /// Whom this end accepts; none in plaintext.
    #[must_use]
    pub fn trust(&self) -> Option<&Trust> {
        match &self.choice {
            Choice::Plaintext => None,
            Choice::Tls(tls) => Some(&tls.trust),
        }
    }
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.choice {
            Choice::Plaintext => f.write_str("Security::plaintext"),
            Choice::Tls(tls) => f
                .debug_struct("Security::tls")
                .field("identity", &tls.identity.fingerprint())
                .field("trust", &tls.trust)
                .finish_non_exhaustive(),
        }
    }
}

/// The settings of [`Security::tls`] that have a default.
#[derive(Clone, Debug)]
#[must_use]
pub struct TlsBuilder {
    identity: Identity,
    trust: Trust,
    alpn: Vec<Vec<u8>>,
    key_log: bool,
}

impl TlsBuilder {
    /// The protocols to agree on through ALPN (RFC 7301), the preferred one first.
    ///
    /// With any, a peer that agrees on none of them is refused; [`ALPN_COUNTERSIGN`] by default.
    /// With none, nothing is offered and nothing is asked for.
    pub fn alpn<P: AsRef<[u8]>>(mut self, protocols: impl IntoIterator<Item = P>) -> Self {
        self.alpn = protocols
            .into_iter()
            .map(|protocol| protocol.as_ref().to_vec())
            .collect();
        self
    }

    /// Writes the keys of all connections to the file that the environment variable
    /// `SSLKEYLOGFILE` names, for a network analyser. Whoever has that file can read everything.
    pub fn key_log(mut self, enabled: bool) -> Self {
        self.key_log = enabled;
        self
    }

    /// Checks the settings and puts them into force.
    ///
    /// # Errors
    /// [`SetupError::BadProtocolName`], and [`SetupError::Refused`] if the TLS library objects.
    pub fn build(self) -> Result<Security, SetupError> {
        if let Some(bad) = self
            .alpn
            .iter()
            .find(|name| !(1..=255).contains(&name.len()))
        {
            return Err(SetupError::BadProtocolName { length: bad.len() });
        }
        let fast_aes = has_aes_instructions();
        let provider = Arc::new(provider(fast_aes));
        let verifiers = Verifiers::new(&self.trust, &provider)?;
        let tls = Tls {
            client: Arc::new(self.client(&provider, verifiers.server)?),
            server: Arc::new(self.server(&provider, verifiers.client, fast_aes)?),
            server_name: match &self.trust {
                // Never sent and never looked at: rustls wants a name all the same.
                Trust::Pins(_) => ServerName::try_from("countersign.invalid").ok(),
                Trust::Authority(authority) => authority.server_name.clone(),
            },
            identity: self.identity,
            alpn: self.alpn,
            trust: self.trust,
        };
        Ok(Security {
            choice: Choice::Tls(Arc::new(tls)),
        })
    }

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
        config.alpn_protocols.clone_from(&self.alpn);
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
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
        config.alpn_protocols.clone_from(&self.alpn);
        // The connecting end's order counts unless this end is the one without instructions for
        // AES, so that ChaCha20 is taken when either end is without.
        config.ignore_client_order = !fast_aes;
        if self.key_log {
            config.key_log = Arc::new(KeyLogFile::new());
        }
        Ok(config)
    }
}

/// The checks of the peer's certificate.
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

/// rustls's provider with its key exchange groups as they are, hybrid post-quantum first, and
/// the cipher suites of TLS 1.3 in the order that suits this processor.
fn provider(fast_aes: bool) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
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

/// Sixteen random bytes for [`Link::new`](countersign_core::Link::new), good enough for session
/// ids that nobody guesses.
///
/// # Errors
/// [`SetupError::Refused`] if the system has no randomness to give.
pub fn random_seed() -> Result<[u8; 16], SetupError> {
    let mut seed = [0; 16];
    let random = aws_lc_rs::default_provider().secure_random;
    random.fill(&mut seed).map_err(|_| SetupError::Refused {
        detail: "the system has no random bytes to give".to_owned(),
    })?;
    Ok(seed)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn suites(fast_aes: bool) -> Vec<CipherSuite> {
        provider(fast_aes)
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

    #[test]
    fn hybrid_post_quantum_key_exchange_comes_first() {
        let first = provider(true).kx_groups[0].name();
        assert_eq!(first, rustls::NamedGroup::X25519MLKEM768);
    }
}
