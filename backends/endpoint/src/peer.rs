//! Who a peer is: its key, and its name.

use std::fmt;
use std::sync::Arc;

use crate::fingerprint::Fingerprint;

/// A peer that has proved who it is: the key that it has, and what the application calls whoever has
/// that. `Display` is one line for people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    key: Fingerprint,
    name: Option<Arc<str>>,
}

impl Peer {
    pub(crate) const fn new(key: Fingerprint, name: Option<Arc<str>>) -> Self {
        Self { key, name }
    }

    /// The fingerprint of the key that it has proved to have.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.key
    }

    /// The peer name, as the [list of peers](crate::Pins::from_list_file) has it; `None` where the pins
    /// have no names, and with an [authority](crate::Authority).
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The same, to be kept.
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
