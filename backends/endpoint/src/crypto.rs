//! The cryptographic provider of TLS: the one that a feature selects, or else the one that the
//! application has installed.
//!
//! Fingerprints and seeds do not use it, since plain links need them too.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivateKeyDer;
use rustls::sign::SigningKey;

use crate::setup_error::SetupError;

pub(crate) use selected::{provider, signing_key};

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod selected {
    use super::*;

    #[cfg(feature = "aws-lc-rs")]
    use rustls::crypto::aws_lc_rs as named;
    #[cfg(not(feature = "aws-lc-rs"))]
    use rustls::crypto::ring as named;

    /// Returns the provider of the selected feature.
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
mod selected {
    use super::*;

    /// Returns the provider that the application has installed.
    pub(crate) fn provider() -> Result<Arc<CryptoProvider>, SetupError> {
        let installed = CryptoProvider::get_default();
        installed.cloned().ok_or(SetupError::NoProvider)
    }

    /// A private key, ready to sign; none if it can't be used.
    pub(crate) fn signing_key(
        key: &PrivateKeyDer<'_>,
    ) -> Result<Option<Arc<dyn SigningKey>>, SetupError> {
        // The provider takes the key by value, and whether it wipes it is up to the provider.
        let key = key.clone_key();
        Ok(provider()?.key_provider.load_private_key(key).ok())
    }
}
