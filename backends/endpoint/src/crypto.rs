//! Whose cryptography TLS uses: what a feature names, or else what the application has installed.
//!
//! Fingerprints and seeds are not of it: they are there for plain links too.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use crate::setup_error::SetupError;

pub(crate) use whose::{provider, signing_key};

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod whose {
    use super::*;

    #[cfg(feature = "aws-lc-rs")]
    use rustls::crypto::aws_lc_rs as named;
    #[cfg(not(feature = "aws-lc-rs"))]
    use rustls::crypto::ring as named;

    /// All that TLS needs.
    pub(crate) fn provider() -> Result<Arc<CryptoProvider>, SetupError> {
        Ok(Arc::new(named::default_provider()))
    }

    /// A private key, ready to sign; none if it can't be used.
    pub(crate) fn signing_key(
        key: &PrivateKeyDer<'_>,
    ) -> Result<Option<Arc<dyn SigningKey>>, SetupError> {
        Ok(named::sign::any_supported_type(key).ok())
    }
}

#[cfg(not(any(feature = "aws-lc-rs", feature = "ring")))]
mod whose {
    use super::*;

    /// All that TLS needs.
    pub(crate) fn provider() -> Result<Arc<CryptoProvider>, SetupError> {
        let installed = CryptoProvider::get_default();
        installed.cloned().ok_or(SetupError::NoProvider)
    }

    /// A private key, ready to sign; none if it can't be used.
    pub(crate) fn signing_key(
        key: &PrivateKeyDer<'_>,
    ) -> Result<Option<Arc<dyn SigningKey>>, SetupError> {
        // It takes a key of its own, and does with that what it does.
        let key = key.clone_key();
        Ok(provider()?.key_provider.load_private_key(key).ok())
    }
}
