//! Upper bounds of the memory of a sending half.

use bytes::Bytes;

use super::{Entry, SendHalf};
use crate::bound::{Bound, SHARED};
use crate::channel::SendChannel;
use crate::verdict::{MAX_REASON, Verdict};
use crate::{Instant, Sequence};

/// What the ordered set of expiries takes for one of them at most: five in a node with room for
/// eleven, and what leads to the nodes.
const EXPIRY: usize = 3 * size_of::<(Instant, Sequence)>() + size_of::<usize>();
/// One node of that set.
const EXPIRY_NODE: usize = 32 * size_of::<(Instant, Sequence)>();

impl SendHalf {
    pub(crate) fn memory_bound(config: &SendChannel) -> Bound {
        let messages = config.queue_messages;
        Bound::default()
            .bytes(config.queue_bytes)
            .bytes(SHARED)
            .list::<Entry>(messages)
            // Payloads for the caller to drop.
            .list::<Option<Bytes>>(messages)
            // Each message has one verdict at most, which may wait for the caller together with the
            // message for the peer: a rejection with its reason, or a reply.
            .list::<(Sequence, Verdict)>(messages)
            .bytes(messages.saturating_mul(MAX_REASON.max(config.max_reply + SHARED)))
            .bytes(messages.saturating_mul(EXPIRY))
            .bytes(2 * EXPIRY_NODE)
            // Answers to be noted.
            .list::<Sequence>(messages)
    }
}
