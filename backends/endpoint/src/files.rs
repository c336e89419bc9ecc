//! Where identity and pins are read from, and read again.

use std::path::{self, PathBuf};

use crate::identity::Identity;
use crate::pin::ValidityDates;
use crate::pins::Pins;
use crate::security::{Replaced, Security};
use crate::setup_error::SetupError;

/// The files of an identity and of its peers' pins, to be read at the start and whenever they have
/// changed (`docs/rotation.md`).
///
/// A relative path is made absolute when it is given, so a change of the working directory changes
/// nothing; errors name the whole path.
///
/// ```no_run
/// use countersign_endpoint::{Security, SecurityFiles};
///
/// let files = SecurityFiles::new("station.crt", "station.key").peer_file("robot.crt");
/// let (identity, pins) = files.read()?;
/// let security = Security::tls(identity, pins).build()?;
/// // Later, when somebody has changed them:
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
    /// The files of this end's certificate and private key, as
    /// [`Identity::from_pem_files`] reads them.
    #[must_use]
    pub fn new(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        Self {
            certificate: lasting(certificate.into()),
            key: lasting(key.into()),
            peers: Vec::new(),
            validity_dates: ValidityDates::default(),
        }
    }

    /// One more peer, whose pins are in this file, as [`Pins::from_files`] reads it.
    #[must_use]
    pub fn peer_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.peers.push(Peer::File(lasting(file.into())));
        self
    }

    /// More peers, of which this file is a list, as [`Pins::from_list_file`] reads it.
    #[must_use]
    pub fn peer_list(mut self, file: impl Into<PathBuf>) -> Self {
        self.peers.push(Peer::List(lasting(file.into())));
        self
    }

    /// More peers, with pins that are in no file and stay.
    #[must_use]
    pub fn peer_pins(mut self, pins: impl Into<Pins>) -> Self {
        self.peers.push(Peer::Pins(pins.into()));
        self
    }

    /// Says whether the peers' certificates' validity dates count; they do unless told otherwise.
    #[must_use]
    pub fn validity_dates(mut self, validity_dates: ValidityDates) -> Self {
        self.validity_dates = validity_dates;
        self
    }

    /// Reads all of it, and checks what can be checked: that each file is whole, that key and
    /// certificate belong together, and that there is a pin in every file of pins.
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
        Ok((identity, pins.with_validity_dates(self.validity_dates)))
    }

    /// Reads all of it again and [puts it in force](Security::replace), at once.
    ///
    /// [`Security::identity`] has the [warnings](Identity::warnings) about what is in force
    /// afterwards.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of [`Security::replace`]; then nothing has changed.
    pub fn reload(&self, security: &Security) -> Result<Replaced, SetupError> {
        let (identity, pins) = self.read()?;
        security.replace(identity, pins)
    }
}

/// The same path from the root. One from which nothing can be read, an empty one say, is left for
/// reading to complain of.
fn lasting(path: PathBuf) -> PathBuf {
    path::absolute(&path).unwrap_or(path)
}
