//! The peers that this end accepts: pinned ones, or, by explicit choice, those that an authority
//! certifies.

use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, ServerName};

use crate::fingerprint::Fingerprint;
use crate::pem::{FILE_LIMIT, Sections, read_file};
use crate::pin::Pin;
use crate::pins::Pins;
use crate::setup_error::{Origin, SetupError};

/// The peers that this end accepts. There is no way to accept anyone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trust {
    /// The peer's certificate must match one of these.
    Pins(Pins),
    /// The peer's certificate must be certified by this authority, and be within its validity
    /// dates.
    Authority(Authority),
}

impl From<Pins> for Trust {
    fn from(pins: Pins) -> Self {
        Self::Pins(pins)
    }
}

impl From<Pin> for Trust {
    fn from(pin: Pin) -> Self {
        Self::Pins(pin.into())
    }
}

impl From<Fingerprint> for Trust {
    fn from(fingerprint: Fingerprint) -> Self {
        Self::Pins(fingerprint.into())
    }
}

impl From<Authority> for Trust {
    fn from(authority: Authority) -> Self {
        Self::Authority(authority)
    }
}

/// A certificate authority, all of whose certified peers are accepted.
///
/// That may be many machines, and the holder of the authority's key can add more: prefer [`Pins`].
/// Revocation of certificates is not checked.
#[derive(Clone, Debug)]
pub struct Authority {
    pub(crate) roots: RootCertStore,
    pub(crate) server_name: Option<ServerName<'static>>,
}

impl Authority {
    /// Reads the root certificates from PEM files, each of which may contain several.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn from_files<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        for file in files {
            let file = file.as_ref();
            add(&mut roots, &read_file(file, FILE_LIMIT)?, &file.into())?;
        }
        Self::from_roots(roots)
    }

    /// Takes the root certificates as PEM text.
    ///
    /// # Errors
    /// As for [`Authority::from_files`], except for the files.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SetupError> {
        let mut roots = RootCertStore::empty();
        add(
            &mut roots,
            pem,
            &Origin::Memory("the authority's certificates"),
        )?;
        Self::from_roots(roots)
    }

    fn from_roots(roots: RootCertStore) -> Result<Self, SetupError> {
        if roots.is_empty() {
            return Err(SetupError::NoRoots);
        }
        Ok(Self {
            roots,
            server_name: None,
        })
    }

    /// Expects the accepting end's certificate to be for `name`, a DNS name or an IP address.
    ///
    /// Required for connecting, ignored for accepting.
    ///
    /// # Errors
    /// [`SetupError::BadServerName`].
    pub fn expecting_server(mut self, name: &str) -> Result<Self, SetupError> {
        let server_name = ServerName::try_from(name).map_err(|_| SetupError::BadServerName {
            name: name.to_owned(),
        })?;
        self.server_name = Some(server_name.to_owned());
        Ok(self)
    }
}

fn add(roots: &mut RootCertStore, pem: &[u8], origin: &Origin) -> Result<(), SetupError> {
    let certificates: Vec<CertificateDer<'static>> = Sections::read(pem, origin)?.certificates;
    if certificates.is_empty() {
        return Err(SetupError::NoCertificate {
            origin: origin.clone(),
        });
    }
    for (index, certificate) in certificates.into_iter().enumerate() {
        roots
            .add(certificate)
            .map_err(|error| SetupError::BadCertificate {
                origin: origin.clone(),
                number: index + 1,
                detail: error.to_string(),
            })?;
    }
    Ok(())
}
