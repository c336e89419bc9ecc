//! Payloads that a link needs no more, until the caller drops them.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

/// The payloads of messages that have their verdict.
///
/// Dropping a payload may run code of whoever made it ([`Bytes::from_owner`]), and that may want to
/// use the link. So nothing is dropped while a call is under way: what the call lets go of is here
/// when it returns, for [`Link::take_spent`](crate::Link::take_spent). What nobody has taken goes at
/// the beginning of the next call, before that changes anything.
///
/// Two links that differ by this alone are equal, and a clone has none.
#[derive(Default)]
pub struct Spent(Vec<Option<Bytes>>);

impl Spent {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Drops what nobody has taken.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        if !self.0.is_empty() {
            self.drop_all();
        }
    }

    #[inline(never)]
    fn drop_all(&mut self) {
        self.0.clear();
    }

    #[inline]
    pub(crate) fn push(&mut self, payload: Option<Bytes>) {
        self.0.push(payload);
    }

    #[inline(always)]
    pub(crate) fn extend(&mut self, payloads: impl Iterator<Item = Option<Bytes>>) {
        self.0.extend(payloads);
    }

    /// Lets go of memory that an idle link does not need.
    pub(crate) fn release_memory(&mut self) {
        self.0.shrink_to_fit();
    }
}

impl Clone for Spent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Spent {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Spent {}

impl Hash for Spent {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl fmt::Debug for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} payloads", self.0.len())
    }
}
