//! The files of identity and pins, which can be reloaded.

use std::path::{self, PathBuf};

use crate::identity::Identity;
use crate::pin::ValidityDates;
use crate::pins::Pins;
use crate::security::{Replaced, Security};
use crate::setup_error::SetupError;

/// The files of an identity and of its peers' pins, to read at the start and whenever they have
/// changed (`docs/rotation.md`).
///
/// A relative path is made absolute when it is set, so it does not depend on later changes of the
/// working directory; errors name the absolute path.
///
/// ```no_run
/// use countersign_endpoint::{Security, SecurityFiles};
///
/// let files = SecurityFiles::new("station.crt", "station.key").peer_file("robot.crt");
/// let (identity, pins) = files.read()?;
/// let security = Security::tls(identity, pins).build()?;
/// // Later, when they have changed:
/// match files.reload(&security) {
///     Ok(replaced) => println!("{replaced}"),
///     Err(error) => println!("nothing has changed: {error}"),
/// }
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct SecurityFiles {
    certificate: PathBuf,
    key: PathBuf,
    peers: Vec<Peer>,
    validity_dates: ValidityDates,
}

#[derive(Clone, Debug)]
enum Peer {
    File(PathBuf),
    List(PathBuf),
    Pins(Pins),
}

impl SecurityFiles {
    /// Sets the files of this end's certificate and private key, in the format of
    /// [`Identity::from_pem_files`].
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: to_absolute(certificate.into()),
            key: to_absolute(key.into()),
            peers: Vec::new(),
            validity_dates: ValidityDates::default(),
        }
    }

    /// Adds a peer whose pins are in this file, in the format of [`Pins::from_files`].
    #[must_use]
    pub fn peer_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.peers.push(Peer::File(to_absolute(file.into())));
        self
    }

    /// Adds the peers in this list, in the format of [`Pins::from_list_file`].
    #[must_use]
    pub fn peer_list(mut self, file: impl Into<PathBuf>) -> Self {
        self.peers.push(Peer::List(to_absolute(file.into())));
        self
    }

    /// Adds peers with fixed pins, which are not read from a file.
    #[must_use]
    pub fn peer_pins(mut self, pins: impl Into<Pins>) -> Self {
        self.peers.push(Peer::Pins(pins.into()));
        self
    }

    /// Sets whether the validity dates of the peers' certificates are checked; they are by default.
    #[must_use]
    pub fn validity_dates(mut self, validity_dates: ValidityDates) -> Self {
        self.validity_dates = validity_dates;
        self
    }

    /// Reads all files, and checks that each file is complete, that key and certificate belong
    /// together, and that there is a pin in every file of pins.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn read(&self) -> Result<(Identity, Pins), SetupError> {
        let identity = Identity::from_pem_files(&self.certificate, &self.key)?;
        let mut pins: Option<Pins> = None;
        for peer in &self.peers {
            let its = match peer {
                Peer::File(file) => Pins::from_files([file])?,
                Peer::List(file) => Pins::from_list_file(file)?,
                Peer::Pins(pins) => pins.clone(),
            };
            pins = Some(match pins {
                Some(pins) => pins.and(&its)?,
                None => its,
            });
        }
        let pins = pins.ok_or(SetupError::NoPins)?;
        Ok((identity, pins.validity_dates(self.validity_dates)))
    }

    /// Reads all files again and [replaces](Security::replace) identity and trust, both at once.
    ///
    /// The new identity ([`Security::identity`]) may have [warnings](Identity::warnings).
    ///
    /// # Errors
    /// As for [`read`](Self::read) and [`Security::replace`]; then nothing has changed.
    pub fn reload(&self, security: &Security) -> Result<Replaced, SetupError> {
        let (identity, pins) = self.read()?;
        security.replace(identity, pins)
    }
}

/// Makes the path absolute. A path that cannot be, such as an empty one, is returned unchanged, and
/// reading it reports the error.
fn to_absolute(path: PathBuf) -> PathBuf {
    path::absolute(&path).unwrap_or(path)
}
