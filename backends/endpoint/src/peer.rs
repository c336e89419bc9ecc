//! An authenticated peer: its key and its name.

use std::fmt;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;

/// An authenticated peer: the key that it holds, and the peer name of that key. `Display` is one
/// line of text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    key: Fingerprint,
    name: Option<Arc<str>>,
}

impl Peer {
    pub(crate) const fn new(key: Fingerprint, name: Option<Arc<str>>) -> Self {
        Self { key, name }
    }

    /// Returns the fingerprint of the key that the peer has proved to hold.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.key
    }

    /// Returns the peer name from the [list of peers](crate::Pins::from_list_file); `None` if the
    /// pins have no names, and with an [authority](crate::Authority).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Returns the peer name as a shared value.
    #[must_use]
    pub fn shared_name(&self) -> Option<Arc<str>> {
        self.name.clone()
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.key),
            None => self.key.fmt(f),
        }
    }
}
