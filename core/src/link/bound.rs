//! How much memory a link takes at most.

use super::{Half, Link};
use crate::Sequence;
use crate::bound::Bound;
use crate::channel::Policy;
use crate::event::Event;
use crate::wire::{HEADER_LEN, MAX_GREETING, MAX_TEXT};

/// How many kinds of events concern a link as a whole, and some room.
const LINK_EVENTS: usize = 8;

impl Link {
    /// How much memory a link takes at most, apart from what its channels hold.
    pub(crate) fn memory_bound(channels: usize) -> Bound {
        Bound::default()
            .bytes(size_of::<Self>())
            .bytes(channels * size_of::<Half>())
            .list::<Event>(LINK_EVENTS + channels)
            // The channels' places on the wire, and what greetings say of each.
            .list::<u16>(channels)
            .list::<Option<Policy>>(channels)
            .list::<Option<Sequence>>(channels)
            .bytes(channels * size_of::<usize>())
            // A greeting that comes in parts, and one that waits for the caller's word.
            .bytes(2 * (HEADER_LEN + MAX_GREETING))
            // Why the link ended, what the peer is told of it, what the two say when they close the
            // link, and what the peer said when it refused.
            .list::<u8>(10 * MAX_TEXT)
    }
}
