//! The peers that are pinned: which keys are whose, and what the application calls them.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;

use crate::certificate::Facts;
use crate::fingerprint::Fingerprint;
use crate::pem::{FILE_LIMIT, read_file};
use crate::pin::{Pin, ValidityDates};
use crate::setup_error::{Origin, SetupError};
use crate::{peer_list, pin_file};

/// The peers that are let in, each with one or more pins, of which its certificate must match one, and
/// perhaps with a name.
///
/// A peer has several pins for the time in which it changes its identity: pin the old and the new key
/// as [that peer's](Self::of_one_peer), let the peer change, drop the old one (`docs/rotation.md`). A
/// session belongs to a peer and not to a key, so it goes on meanwhile. Pins of the same key are
/// always of the same peer.
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
    /// Which of the peers has a key.
    owners: HashMap<Fingerprint, usize>,
}

struct Entry {
    name: Option<Arc<str>>,
    /// Where its pins end.
    end: usize,
}

/// One of the peers of [`Pins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PinnedPeer<'a> {
    name: Option<&'a str>,
    pins: &'a [Pin],
}

impl<'a> PinnedPeer<'a> {
    /// What the application calls it, if it has a name.
    #[must_use]
    pub const fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// Its pins, one at least.
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
    pub const MAX_NAME: usize = 64;

    /// A set of `pins`, each of a peer of its own, without a name; one given twice counts once.
    /// Validity dates are checked.
    ///
    /// # Errors
    /// [`SetupError::NoPins`] and [`SetupError::TooManyPins`].
    pub fn new(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        let mut peers = Drafts::default();
        for pin in pins {
            peers.add(None, [pin])?;
        }
        peers.finish()
    }

    /// A set of `pins` that are all keys of one peer. Otherwise as [`Pins::new`].
    ///
    /// # Errors
    /// As for [`Pins::new`], and [`SetupError::TooManyPinsOfOne`].
    pub fn of_one_peer(pins: impl IntoIterator<Item = Pin>) -> Result<Self, SetupError> {
        let mut peers = Drafts::default();
        peers.add(None, pins)?;
        peers.finish()
    }

    /// The same set of one peer, which the application calls `name`: 1 to [`MAX_NAME`](Self::MAX_NAME)
    /// bytes of letters, digits and signs, without blanks, and without `#` or a dash in front.
    ///
    /// # Errors
    /// [`SetupError::BadPeerName`], also where there are several peers, which can't have one name.
    pub fn named(self, name: &str) -> Result<Self, SetupError> {
        if self.set.peers.len() != 1 || !is_name(name) {
            return Err(SetupError::BadPeerName {
                name: name.to_owned(),
            });
        }
        let mut peers = Drafts::default();
        peers.add(Some(name.into()), self.iter().cloned())?;
        Ok(peers.finish()?.with_validity_dates(self.validity_dates))
    }

    /// These peers and those of `other`, with this set's choice about validity dates. Peers that
    /// have a key in both are one peer.
    ///
    /// # Errors
    /// [`SetupError::TooManyPins`] and its kin, and [`SetupError::AmbiguousPeer`] where a key has two
    /// names, or a name has two peers.
    pub fn and(&self, other: &Self) -> Result<Self, SetupError> {
        let mut peers = Drafts::default();
        for peer in self.set.all().chain(other.set.all()) {
            let (name, pins) = peer;
            peers.add(name.cloned(), pins.iter().cloned())?;
        }
        Ok(peers.finish()?.with_validity_dates(self.validity_dates))
    }

    /// Reads pins from files, one for each peer. A file holds certificates in PEM and fingerprints, one
    /// to a line, in any order, with empty lines and lines that begin with `#` passed over. What one
    /// file holds are keys of one peer: for many peers in one file there are
    /// [lists](Self::from_list_file).
    ///
    /// Every certificate is a pin, but for those that certify another one in the file, as in a
    /// `fullchain.pem`: of a chain the leaf is the pin. That shows by the names alone: another
    /// certificate names this one's subject as its issuer, and has another subject itself.
    ///
    /// Text is passed over directly in front of a certificate, where tools write what it says
    /// (RFC 7468, section 5.2), unless it looks like a pin or half a one: begins with a dash, or
    /// with the name of a hash function, or is 64 hexadecimal digits. All else is an error, other
    /// sections of PEM too. So a file that was cut off is noticed, unless it was between two pins.
    ///
    /// # Errors
    /// A [`SetupError`] that names the file and says what is wrong with it.
    pub fn from_files<P: AsRef<Path>>(
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, SetupError> {
        let mut peers = Drafts::default();
        for file in files {
            peers.add(None, read_pins(file.as_ref())?)?;
        }
        peers.finish()
    }

    /// Reads pins from the text of such a file as [`Pins::from_files`] reads.
    ///
    /// # Errors
    /// A [`SetupError`] that says what is wrong with it.
    pub fn from_text(text: &[u8]) -> Result<Self, SetupError> {
        Self::of_one_peer(pin_file::read(text, &Origin::Memory("the pins"))?)
    }

    /// Reads a list of peers from a file, in the manner of `authorized_keys`: each line is a peer.
    ///
    /// A line has the peer's [name](Self::named) and one or more pins, with blanks between them. A pin is a
    /// [`Fingerprint`], or `file:` and the path of a file such as [`Pins::from_files`] reads, relative
    /// to the folder of the list; within double quotes a path may have blanks. Empty lines are passed
    /// over, and whatever follows a `#` at the beginning of a line or after a blank.
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

    /// Reads the text of such a list as [`Pins::from_list_file`] reads; paths in it are relative to the
    /// working directory.
    ///
    /// # Errors
    /// A [`SetupError`] that names the line, and says what is wrong with it.
    pub fn from_list(text: &[u8]) -> Result<Self, SetupError> {
        Self::from_list_at(text, Path::new(""), &Origin::Memory("the list of peers"))
    }

    fn from_list_at(text: &[u8], folder: &Path, origin: &Origin) -> Result<Self, SetupError> {
        let mut peers = Drafts::default();
        let mut lines = HashMap::new();
        for line in peer_list::read(text, folder, origin) {
            let peer_list::Line { number, name, pins } = line?;
            // Two lines are two peers: none of them is merged into another.
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

    /// Says whether the certificates' validity dates count; they do unless told otherwise.
    #[must_use]
    pub fn with_validity_dates(mut self, validity_dates: ValidityDates) -> Self {
        self.validity_dates = validity_dates;
        self
    }

    /// Whether the certificates' validity dates count.
    #[must_use]
    pub const fn validity_dates(&self) -> ValidityDates {
        self.validity_dates
    }

    /// The peers, in the order they were given.
    pub fn peers(&self) -> impl Iterator<Item = PinnedPeer<'_>> {
        self.set.all().map(|(name, pins)| PinnedPeer {
            name: name.map(|name| &**name),
            pins,
        })
    }

    /// The names of the peers, shared with this, and their pins.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Option<&Arc<str>>, &[Pin])> {
        self.set.all()
    }

    /// The pins, peer by peer, in the order they were given.
    pub fn iter(&self) -> impl Iterator<Item = &Pin> {
        self.set.pins.iter()
    }

    /// How many pins there are; one at least.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "it never is")]
    pub fn len(&self) -> usize {
        self.set.pins.len()
    }

    /// The fingerprints of the pins, in the order of [`Pins::iter`].
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        self.iter().map(Pin::fingerprint)
    }

    /// The name of the peer with this key, if there is one and it has a name.
    #[must_use]
    pub fn name_of(&self, key: Fingerprint) -> Option<&str> {
        let owner = self.set.owners.get(&key)?;
        self.set.peers[*owner].name.as_deref()
    }

    /// The pin that the certificate `der` matches, whatever its validity dates.
    #[must_use]
    pub fn find(&self, der: &[u8]) -> Option<&Pin> {
        let facts = Facts::read(&CertificateDer::from(der)).ok()?;
        self.find_with(der, facts.fingerprint)
    }

    pub(crate) fn find_with(&self, der: &[u8], fingerprint: Fingerprint) -> Option<&Pin> {
        let mut pins = self.pins_of(fingerprint)?.iter();
        pins.find(|pin| pin.matches(der, fingerprint))
    }

    /// Whether a pin is of this key, in whatever certificate.
    pub(crate) fn has_key(&self, fingerprint: Fingerprint) -> bool {
        self.set.owners.contains_key(&fingerprint)
    }

    /// Whether exactly this pin is there.
    pub(crate) fn has(&self, pin: &Pin) -> bool {
        let pins = self.pins_of(pin.fingerprint());
        pins.is_some_and(|pins| pins.contains(pin))
    }

    /// The pins of the peer with this key.
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

/// Reads a file of one peer's pins, which must have one.
pub(crate) fn read_pins(file: &Path) -> Result<Vec<Pin>, SetupError> {
    let pins = pin_file::read(&read_file(file, FILE_LIMIT)?, &file.into())?;
    if pins.is_empty() {
        let path = file.to_owned();
        return Err(SetupError::EmptyPinFile { path });
    }
    Ok(pins)
}

/// Whether `name` can be a peer's: a word that is neither a comment nor a pin, nor anything that a
/// terminal would not show.
pub(crate) fn is_name(name: &str) -> bool {
    let is_word = |one: char| !one.is_whitespace() && one != '"';
    let is_shown = countersign_core::Escaped::whole(name).to_string() == name;
    (1..=Pins::MAX_NAME).contains(&name.len())
        && name.chars().all(is_word)
        && is_shown
        && !name.starts_with(['#', '-'])
        && !Fingerprint::is_meant(name)
        && !name.starts_with("file:")
}

/// Peers that are put together, key by key.
#[derive(Default)]
struct Drafts {
    /// Emptied where a peer was merged into an earlier one.
    peers: Vec<(Option<Arc<str>>, Vec<Pin>)>,
    owners: HashMap<Fingerprint, usize>,
    names: HashMap<Arc<str>, usize>,
    count: usize,
}

impl Drafts {
    /// Adds a peer; returns its place. It is one with all those that have one of its keys.
    fn add(
        &mut self,
        name: Option<Arc<str>>,
        pins: impl IntoIterator<Item = Pin>,
    ) -> Result<usize, SetupError> {
        let mut at = self.peers.len();
        self.peers.push((None, Vec::new()));
        self.call(at, name)?;
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

    /// Gives a peer a name, which must be its only one and nobody else's.
    fn call(&mut self, at: usize, name: Option<Arc<str>>) -> Result<(), SetupError> {
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

    /// Makes two peers one, in the place of the earlier.
    fn merge(&mut self, one: usize, other: usize) -> Result<usize, SetupError> {
        let (earlier, later) = (one.min(other), one.max(other));
        if earlier == later {
            return Ok(earlier);
        }
        let (name, pins) = std::mem::take(&mut self.peers[later]);
        if let Some(name) = &name {
            self.names.remove(name);
        }
        self.call(earlier, name)?;
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
        /// Nobody reads more of them.
        const SHOWN: usize = 8;
        let peers: Vec<_> = self.peers().take(SHOWN).collect();
        f.debug_struct("Pins")
            .field("peers", &peers)
            .field("peer_count", &self.set.peers.len())
            .field("validity_dates", &self.validity_dates)
            .finish()
    }
}
