//! The identities that take part, and the attacker's own TLS, which has no scruples.

use std::sync::{Arc, LazyLock};

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::Role;
use countersign_endpoint::ALPN_COUNTERSIGN;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use super::anybody::TrustsAnybody;

/// All identities.
#[derive(Debug)]
pub struct Cast {
    /// The one that is attacked.
    pub victim: GeneratedIdentity,
    /// A peer that the victim has pinned: what an attacker may pretend to be, or be.
    pub peer: GeneratedIdentity,
    /// The bystander, whom the victim has pinned as well.
    pub bystander: GeneratedIdentity,
    /// An identity that is pinned nowhere.
    pub stranger: GeneratedIdentity,
    /// Pinned, and expired yesterday.
    pub expired: GeneratedIdentity,
    /// Pinned, and valid from tomorrow.
    pub not_yet_valid: GeneratedIdentity,
}

/// The same in all scenarios.
pub static CAST: LazyLock<Cast> = LazyLock::new(|| Cast {
    victim: fixtures::good("victim"),
    peer: fixtures::good("peer"),
    bystander: fixtures::good("bystander"),
    stranger: fixtures::good("stranger"),
    expired: fixtures::expired("expired"),
    not_yet_valid: fixtures::not_yet_valid("not-yet-valid"),
});

/// What an attacker presents itself as. It trusts every certificate.
#[derive(Clone, Copy, Debug)]
pub struct Disguise<'a> {
    /// Whose certificate it presents, if it presents one.
    pub certificate: Option<&'a GeneratedIdentity>,
    /// Whose key it signs with.
    pub key: &'a GeneratedIdentity,
    /// The only version of TLS that it speaks.
    pub version: &'static SupportedProtocolVersion,
    /// The protocol that it offers or takes, if any.
    pub protocol: Option<&'a str>,
    /// Whether it asks a client for its certificate.
    pub asks: bool,
}

impl<'a> Disguise<'a> {
    /// An honest one.
    #[must_use]
    pub fn of(identity: &'a GeneratedIdentity) -> Self {
        Self {
            certificate: Some(identity),
            key: identity,
            version: &TLS13,
            protocol: Some(ALPN_COUNTERSIGN),
            asks: true,
        }
    }

    /// Asks no client for its certificate.
    #[must_use]
    pub fn without_asking(self) -> Self {
        Self {
            asks: false,
            ..self
        }
    }

    /// Shows no certificate.
    #[must_use]
    pub fn without_certificate(self) -> Self {
        Self {
            certificate: None,
            ..self
        }
    }

    /// Signs with the key of another.
    #[must_use]
    pub fn with_the_key_of(self, key: &'a GeneratedIdentity) -> Self {
        Self { key, ..self }
    }

    /// Speaks nothing newer than TLS 1.2.
    #[must_use]
    pub fn of_tls_1_2(self) -> Self {
        Self {
            version: &TLS12,
            ..self
        }
    }

    /// Speaks another protocol, or none by name.
    #[must_use]
    pub fn speaking(self, protocol: Option<&'a str>) -> Self {
        Self { protocol, ..self }
    }

    /// Begins TLS with a victim in this role.
    #[must_use]
    pub fn connection(&self, victim: Role) -> Connection {
        let mut connection: Connection = match victim {
            Role::Acceptor => {
                let name = ServerName::try_from("countersign").unwrap();
                let connection = ClientConnection::new(Arc::new(self.client()), name);
                connection.unwrap().into()
            }
            Role::Opener => {
                let connection = ServerConnection::new(Arc::new(self.server()));
                connection.unwrap().into()
            }
        };
        connection.set_buffer_limit(None);
        connection
    }

    fn client(&self) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(TrustsAnybody));
        let mut config = match self.certificate {
            Some(_) => builder.with_client_cert_resolver(self.certified()),
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols();
        // For attackers that continue by hand.
        config.enable_secret_extraction = true;
        config
    }

    fn server(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[self.version])
            .unwrap();
        let builder = match self.asks {
            true => builder.with_client_cert_verifier(Arc::new(TrustsAnybody)),
            false => builder.with_no_client_auth(),
        };
        let mut config = builder.with_cert_resolver(self.certified());
        config.alpn_protocols = self.protocols();
        // For attackers that continue by hand.
        config.enable_secret_extraction = true;
        config
    }

    fn protocols(&self) -> Vec<Vec<u8>> {
        self.protocol
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect()
    }

    /// rustls itself would not put a certificate together with a key of another, and TLS allows no
    /// server an empty chain.
    fn certified(&self) -> Arc<SingleCertAndKey> {
        let shown = self.certificate.map(GeneratedIdentity::certificate_der);
        let chain = shown.map(|certificate| CertificateDer::from(certificate.to_vec()));
        let key = PrivatePkcs8KeyDer::from(self.key.key_der().to_vec());
        let key = aws_lc_rs::sign::any_supported_type(&PrivateKeyDer::Pkcs8(key)).unwrap();
        let certified = CertifiedKey::new(chain.into_iter().collect(), key);
        Arc::new(SingleCertAndKey::from(certified))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
