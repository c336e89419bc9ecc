//! The pinned peers: their keys and their names.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::fingerprint::Fingerprint;
use crate::peer_name::{self, is_name};
use crate::pem::read_file;
use crate::pin::{Pin, ValidityDates};
use crate::setup_error::{Origin, SetupError};
use crate::{peer_list, pin_file};

/// The accepted peers, each with one or more pins, one of which its certificate must match, and
/// with an optional name.
///
/// A peer has several pins while it changes its identity: pin the old and the new key as [that
/// peer's](Self::of_one_peer), let the peer change, remove the old one (`docs/rotation.md`). A
/// session belongs to a peer and not to a key, so it survives the change. Pins of the same key
/// always belong to the same peer.
///
/// Looking a peer up takes as long among thousands as among two. Cloning is cheap.
///
/// ```
/// use countersign_endpoint::{Fingerprint, Pins};
///
/// let [old, new, other] = [1, 2, 3].map(|byte| Fingerprint([byte; 32]));
/// let robot = Pins::of_one_peer([old.into(), new.into()])?.named("robot")?;
/// let pins = robot.and(&Pins::from(other))?;
/// assert_eq!(pins.fingerprints().collect::<Vec<_>>(), [old, new, other]);
/// assert_eq!(pins.peers().count(), 2);
/// assert_eq!(pins.name_of(new), Some("robot"));
///
/// // The same as a list of peers, a line each.
/// let list = format!("robot {old} {new}  # until the new one is everywhere\nother {other}\n");
/// let pins = Pins::from_list(list.as_bytes())?;
/// assert_eq!(pins.name_of(other), Some("other"));
/// # Ok::<(), countersign_endpoint::SetupError>(())
/// ```
#[derive(Clone)]
pub struct Pins {
    set: Arc<Set>,
    validity_dates: ValidityDates,
}

struct Set {
    /// Sorted by peer.
    pins: Vec<Pin>,
    peers: Vec<Entry>,
    /// The index of the peer that owns a key.
    owners: HashMap<Fingerprint, usize>,
}

struct Entry {
    name: Option<Arc<str>>,
    /// The end of its pins in `Set::pins`.
    end: usize,
}

/// One of the peers of [`Pins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedPeer<'a> {
    name: Option<&'a str>,
    pins: &'a [Pin],
}

impl<'a> PinnedPeer<'a> {
    /// Returns the peer's name, if it has one.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// Returns the peer's pins, at least one.
    #[must_use]
    pub const fn pins(&self) -> &'a [Pin] {
        self.pins
    }
}

impl Pins {
    /// The most pins a set may have.
    pub const LIMIT: usize = 65_536;
    /// The most pins a peer may have.
    pub const PER_PEER: usize = 64;
    /// The longest name a peer may have, in bytes of UTF-8.
    pub const MAX_NAME: usize = peer_name::MAX;

    /// Makes a set of `pins`, each of a separate peer without a name; duplicates count once.
    /// Validity dates are checked.
    ///
    /// # Errors
    /// [`SetupError::NoPins`] and [`SetupError::TooManyPins`].
    pub fn new(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        let mut peers = PeersBuilder::default();
        for pin in pins {
            peers.add(None, [pin])?;
        }
        peers.finish()
    }

    /// Makes a set of `pins` that all belong to one peer. Otherwise as [`Pins::new`].
    ///
    /// # Errors
    /// As for [`Pins::new`], and [`SetupError::TooManyPinsOfOne`].
    pub fn of_one_peer(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        let mut peers = PeersBuilder::default();
        peers.add(None, pins)?;
        peers.finish()
    }

    /// Names the peer of a set of one peer. A name has 1 to [`MAX_NAME`](Self::MAX_NAME) bytes of
    /// letters, digits and signs, without blanks, and does not begin with `#` or a dash.
    ///
    /// # Errors
    /// [`SetupError::BadPeerName`], also if there are several peers, which cannot share a name.
    pub fn named(self, name: &str) -> Result<Self, SetupError> {
        if self.set.peers.len() != 1 || !is_name(name) {
            return Err(SetupError::BadPeerName {
                name: name.to_owned(),
            });
        }
        let mut peers = PeersBuilder::default();
        peers.add(Some(name.into()), self.iter().cloned())?;
        Ok(peers.finish()?.validity_dates(self.validity_dates))
    }

    /// Combines these peers with those of `other`, with this set's choice about validity dates.
    /// Peers that share a key in both sets are merged.
    ///
    /// # Errors
    /// [`SetupError::TooManyPins`] or [`SetupError::TooManyPinsOfOne`], and
    /// [`SetupError::AmbiguousPeer`] if a key has two names, or a name has two peers.
    pub fn and(&self, other: &Self) -> Result<Self, SetupError> {
        let mut peers = PeersBuilder::default();
        for peer in self.set.all().chain(other.set.all()) {
            let (name, pins) = peer;
            peers.add(name.cloned(), pins.iter().cloned())?;
        }
        Ok(peers.finish()?.validity_dates(self.validity_dates))
    }

    /// Reads pins from files, one for each peer. A file contains certificates in PEM and
    /// fingerprints, one per line, in any order; empty lines and lines that begin with `#` are
    /// ignored. All pins in a file belong to one peer: for many peers in one file, use a
    /// [list](Self::from_list_file).
    ///
    /// Every certificate is a pin, except those that certify another one in the file, as in a
    /// `fullchain.pem`: of a chain, the leaf is the pin. Only the names decide: a certificate is
    /// left out if another one names its subject as issuer, and has a different subject itself.
    ///
    /// Text directly before a certificate is ignored, where tools write a description of it (RFC
    /// 7468, section 5.2), unless it looks like a pin or part of one: it begins with a dash, or
    /// with the name of a hash function, or is 64 hexadecimal digits. Anything else is an error,
    /// including other PEM sections. So a truncated file is detected, unless it was truncated
    /// between two pins.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn from_files<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, SetupError> {
        let mut peers = PeersBuilder::default();
        for file in files {
            peers.add(None, pin_file::read_file(file.as_ref())?)?;
        }
        peers.finish()
    }

    /// Reads pins from text in the format of [`Pins::from_files`].
    ///
    /// # Errors
    /// A [`SetupError`] that says what is wrong with it.
    pub fn from_text(text: &[u8]) -> Result<Self, SetupError> {
        Self::of_one_peer(pin_file::read(text, &Origin::Memory("the pins"))?)
    }

    /// Reads a list of peers from a file, in the manner of `authorized_keys`: each line is a peer.
    ///
    /// A line has the peer's [name](Self::named) and one or more pins, separated by blanks. A pin
    /// is a [`Fingerprint`], or `file:` and the path of a file in the format of
    /// [`Pins::from_files`], relative to the folder of the list; within double quotes a path may
    /// contain blanks. Empty lines are ignored, and so is everything after a `#` at the beginning
    /// of a line or after a blank.
    ///
    /// ```text
    /// # name  pins
    /// robot-7  sha256:4a22...
    /// robot-8  sha256:83bc... sha256:0d91...   # until the new key is everywhere
    /// station  file:station.crt
    /// ```
    ///
    /// No two lines have the same name or the same key.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and the line, and says what is wrong with it.
    pub fn from_list_file(file: impl AsRef<Path>) -> Result<Self, SetupError> {
        let file = file.as_ref();
        let text = read_file(file, peer_list::FILE_LIMIT)?;
        let folder = file.parent().unwrap_or(Path::new(""));
        Self::from_list_at(&text, folder, &file.into())
    }

    /// Reads text in the format of [`Pins::from_list_file`]; paths in it are relative to the
    /// working directory.
    ///
    /// # Errors
    /// A [`SetupError`] that names the line, and says what is wrong with it.
    pub fn from_list(text: &[u8]) -> Result<Self, SetupError> {
        Self::from_list_at(text, Path::new(""), &Origin::Memory("the list of peers"))
    }

    fn from_list_at(text: &[u8], folder: &Path, origin: &Origin) -> Result<Self, SetupError> {
        let mut peers = PeersBuilder::default();
        let mut lines = HashMap::new();
        for line in peer_list::read(text, folder, origin) {
            let peer_list::Line { number, name, pins } = line?;
            // Each line is a separate peer: lines are not merged.
            let owner = pins
                .iter()
                .find_map(|pin| peers.owners.get(&pin.fingerprint()));
            let taken = peers.names.get(&*name).or(owner).copied();
            if let Some(first) = taken.and_then(|taken| lines.get(&taken)) {
                return Err(peer_list::twice(origin, number, &name, *first));
            }
            let at = peers
                .add(Some(name), pins)
                .map_err(|error| peer_list::at_line(origin, number, &error))?;
            lines.insert(at, number);
        }
        if lines.is_empty() {
            let origin = origin.clone();
            return Err(SetupError::EmptyPeerList { origin });
        }
        peers.finish()
    }

    /// Sets whether the certificates' validity dates are checked; they are by default.
    #[must_use]
    pub fn validity_dates(mut self, validity_dates: ValidityDates) -> Self {
        self.validity_dates = validity_dates;
        self
    }

    /// Returns whether the certificates' validity dates are checked.
    #[must_use]
    pub const fn get_validity_dates(&self) -> ValidityDates {
        self.validity_dates
    }

    /// Returns the peers, in the order they were given.
    pub fn peers(&self) -> impl Iterator<Item = PinnedPeer<'_>> {
        self.set.all().map(|(name, pins)| PinnedPeer {
            name: name.map(|name| &**name),
            pins,
        })
    }

    /// Returns the shared names of the peers, and their pins.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &[Pin])> {
        self.set.all()
    }

    /// Returns the pins, peer by peer, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.set.pins.iter()
    }

    /// Returns the number of pins, at least one.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.set.pins.len()
    }

    /// Returns the fingerprints of the pins, in the order of [`Pins::iter`].
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.iter().map(Pin::fingerprint)
    }

    /// Returns the name of the peer with this key, if there is one and it has a name.
    #[must_use]
    pub fn name_of(&self, key: Fingerprint) -> Option<&str> {
        let owner = self.set.owners.get(&key)?;
        self.set.peers[*owner].name.as_deref()
    }

    /// Returns the pin that the certificate `der` matches, whatever its validity dates.
    #[must_use]
    pub fn find(&self, der: &[u8]) -> Option<&Pin> {
        let facts = Facts::read(&CertificateDer::from(der)).ok()?;
        self.find_with(der, facts.fingerprint)
    }

    pub(crate) fn find_with(&self, der: &[u8], fingerprint: Fingerprint) -> Option<&Pin> {
        let mut pins = self.pins_of(fingerprint)?.iter();
        pins.find(|pin| pin.matches(der, fingerprint))
    }

    /// Whether a pin has this key, in any certificate.
    pub(crate) fn has_key(&self, fingerprint: Fingerprint) -> bool {
        self.set.owners.contains_key(&fingerprint)
    }

    /// Whether exactly this pin is in the set.
    pub(crate) fn has(&self, pin: &Pin) -> bool {
        let pins = self.pins_of(pin.fingerprint());
        pins.is_some_and(|pins| pins.contains(pin))
    }

    /// Returns the pins of the peer with this key.
    fn pins_of(&self, key: Fingerprint) -> Option<&[Pin]> {
        Some(self.set.pins_at(*self.set.owners.get(&key)?))
    }
}

impl Set {
    fn pins_at(&self, peer: usize) -> &[Pin] {
        let begin = match peer.checked_sub(1) {
            Some(before) => self.peers[before].end,
            None => 0,
        };
        &self.pins[begin..self.peers[peer].end]
    }

    fn all(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &[Pin])> {
        let peers = self.peers.iter().enumerate();
        peers.map(|(at, peer)| (peer.name.as_ref(), self.pins_at(at)))
    }
}

/// A set of peers under construction.
#[derive(Default)]
struct PeersBuilder {
    /// Emptied where a peer was merged into an earlier one.
    peers: Vec<(Option<Arc<str>>, Vec<Pin>)>,
    owners: HashMap<Fingerprint, usize>,
    names: HashMap<Arc<str>, usize>,
    count: usize,
}

impl PeersBuilder {
    /// Adds a peer and returns its index, after merging it with all those that share one of its
    /// keys.
    fn add(
        &mut self,
        name: Option<Arc<str>>,
        pins: impl IntoIterator<Item = Pin>,
    ) -> Result<usize, SetupError> {
        let mut at = self.peers.len();
        self.peers.push((None, Vec::new()));
        self.set_name(at, name)?;
        for pin in pins {
            if let Some(owner) = self.owners.get(&pin.fingerprint()).copied() {
                at = self.merge(at, owner)?;
            }
            let its = &mut self.peers[at].1;
            if its.contains(&pin) {
                continue;
            }
            if self.count == Pins::LIMIT {
                return Err(SetupError::TooManyPins { limit: Pins::LIMIT });
            }
            if its.len() == Pins::PER_PEER {
                return Err(Self::too_many_of_one());
            }
            self.owners.insert(pin.fingerprint(), at);
            its.push(pin);
            self.count += 1;
        }
        Ok(at)
    }

    fn too_many_of_one() -> SetupError {
        SetupError::TooManyPinsOfOne {
            limit: Pins::PER_PEER,
        }
    }

    /// Names a peer, which must have no other name, and no other peer this name.
    fn set_name(&mut self, at: usize, name: Option<Arc<str>>) -> Result<(), SetupError> {
        let Some(name) = name else {
            return Ok(());
        };
        let other = self.names.get(&name).is_some_and(|owner| *owner != at);
        let its = &mut self.peers[at].0;
        if other || its.as_ref().is_some_and(|its| *its != name) {
            return Err(SetupError::AmbiguousPeer {
                name: name.to_string(),
            });
        }
        *its = Some(name.clone());
        self.names.insert(name, at);
        Ok(())
    }

    /// Merges two peers into the earlier one, and returns its index.
    fn merge(&mut self, one: usize, other: usize) -> Result<usize, SetupError> {
        let (earlier, later) = (one.min(other), one.max(other));
        if earlier == later {
            return Ok(earlier);
        }
        let (name, pins) = std::mem::take(&mut self.peers[later]);
        if let Some(name) = &name {
            self.names.remove(name);
        }
        self.set_name(earlier, name)?;
        for pin in pins {
            self.owners.insert(pin.fingerprint(), earlier);
            self.peers[earlier].1.push(pin);
        }
        if self.peers[earlier].1.len() > Pins::PER_PEER {
            return Err(Self::too_many_of_one());
        }
        Ok(earlier)
    }

    fn finish(self) -> Result<Pins, SetupError> {
        if self.count == 0 {
            return Err(SetupError::NoPins);
        }
        let mut set = Set {
            pins: Vec::with_capacity(self.count),
            peers: Vec::new(),
            owners: self.owners,
        };
        for (name, pins) in self.peers.into_iter().filter(|(_, pins)| !pins.is_empty()) {
            for pin in &pins {
                set.owners.insert(pin.fingerprint(), set.peers.len());
            }
            set.pins.extend(pins);
            let end = set.pins.len();
            set.peers.push(Entry { name, end });
        }
        Ok(Pins {
            set: Arc::new(set),
            validity_dates: ValidityDates::default(),
        })
    }
}

impl From<Pin> for Pins {
    fn from(pin: Pin) -> Self {
        let owners = HashMap::from([(pin.fingerprint(), 0)]);
        let peers = vec![Entry { name: None, end: 1 }];
        let pins = vec![pin];
        Self {
            set: Arc::new(Set {
                pins,
                peers,
                owners,
            }),
            validity_dates: ValidityDates::default(),
        }
    }
}

impl From<Fingerprint> for Pins {
    fn from(fingerprint: Fingerprint) -> Self {
        Pin::public_key(fingerprint).into()
    }
}

impl fmt::Debug for Pins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// The limit that keeps the output readable.
        const SHOWN: usize = 8;
        let peers: Vec<_> = self.peers().take(SHOWN).collect();
        f.debug_struct("Pins")
            .field("peers", &peers)
            .field("peer_count", &self.set.peers.len())
            .field("validity_dates", &self.validity_dates)
            .finish()
    }
}
