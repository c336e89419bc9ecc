//! Payloads that a link no longer needs, until the caller drops them.

use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

/// The payloads of messages that have their verdict.
///
/// Dropping a payload may run foreign code ([`Bytes::from_owner`]), which may want to use the link.
/// So nothing is dropped during a call: what it no longer needs is here when it returns, for
/// [`Link::take_spent`](crate::Link::take_spent).
///
/// Two links that differ by this alone are equal, and a clone has no payloads.
#[derive(Default)]
pub struct Spent {
    /// Where there is one alone, which needs no memory.
    single: Option<Bytes>,
    payloads: Vec<Option<Bytes>>,
    /// Whether only the caller drops payloads ([`Link::keep_spent`](crate::Link::keep_spent)).
    keeps: bool,
}

impl Spent {
    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.single.is_none() && self.payloads.is_empty()
    }

    /// Adds the payloads of another value.
    pub fn append(&mut self, mut others: Self) {
        self.push(others.single);
        self.payloads.append(&mut others.payloads);
    }

    pub(crate) fn keep(&mut self) {
        self.keeps = true;
    }

    /// Takes the payloads, and leaves the setting of `keeps` as it is.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self {
            single: self.single.take(),
            payloads: core::mem::take(&mut self.payloads),
            keeps: false,
        }
    }

    /// Drops the payloads that were not taken, unless only the caller drops them.
    #[inline(always)]
    pub(crate) fn clear(&mut self) {
        if !self.is_empty() {
            self.drop_all();
        }
    }

    #[inline(never)]
    fn drop_all(&mut self) {
        if !self.keeps {
            self.single = None;
            self.payloads.clear();
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, payload: Option<Bytes>) {
        if self.is_empty() {
            self.single = payload;
        } else if payload.is_some() {
            self.payloads.push(payload);
        }
    }

    #[inline(always)]
    pub(crate) fn extend(&mut self, mut payloads: impl ExactSizeIterator<Item = Option<Bytes>>) {
        if payloads.len() == 1 {
            self.push(payloads.next().flatten());
        } else {
            self.payloads.extend(payloads);
        }
    }

    /// Releases memory that an idle link does not need.
    pub(crate) fn release_memory(&mut self) {
        self.payloads.shrink_to_fit();
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
        let count = usize::from(self.single.is_some()) + self.payloads.len();
        write!(f, "{count} payloads")
    }
}
