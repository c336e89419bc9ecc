//! Upper bounds of the memory of a link.

use super::{Half, Link};
use crate::Sequence;
use crate::bound::Bound;
use crate::channel::Policy;
use crate::event::Event;
use crate::wire::{HEADER_LEN, MAX_GREETING, MAX_TEXT};

/// The number of kinds of events that concern a link as a whole, rounded up.
const LINK_EVENTS: usize = 8;

impl Link {
    /// Returns how much memory a link takes at most, apart from its channels.
    pub(crate) fn memory_bound(channels: usize) -> Bound {
        Bound::default()
            .bytes(size_of::<Self>())
            .bytes(channels * size_of::<Half>())
            .list::<Event>(LINK_EVENTS + channels)
            // The channels' numbers on the wire, and what greetings say of each.
            .list::<u16>(channels)
            .list::<Option<Policy>>(channels)
            .list::<Option<Sequence>>(channels)
            .bytes(channels * size_of::<usize>())
            // A greeting that arrives in parts, and one whose peer waits to be admitted.
            .bytes(2 * (HEADER_LEN + MAX_GREETING))
            // The reason of the end, the last frame, both ends' reasons of a close, and the peer's
            // refusal.
            .list::<u8>(10 * MAX_TEXT)
    }
}
