//! How much memory a receiving half takes at most.

use super::left_over::Left;
use super::{Pool, Queue, ReceiveHalf, Taken};
use crate::Sequence;
use crate::bound::Bound;
use crate::channel::{Acking, ReceiveChannel};
use crate::config::Dialect;
use crate::verdict::MAX_REASON;

/// The most that comes before a payload in the `tlsstream` dialect, and some room.
const STREAM_HEAD: usize = 64;

impl ReceiveHalf {
    pub(crate) fn memory_bound(config: &ReceiveChannel, dialect: Dialect) -> Bound {
        let messages = usize::try_from(config.window_messages).unwrap_or(usize::MAX);
        // Without a reason, where taking is handling: only who abandons a channel rejects there.
        let reasons = match config.acking {
            Acking::Auto => 0,
            Acking::Manual => messages.saturating_mul(MAX_REASON),
        };
        let waiting = match dialect {
            Dialect::Countersign => Pool::bound(config),
            // Each message has memory of its own, and one more than the window holds may come.
            Dialect::TlsStream => Bound::default()
                .bytes(config.window_bytes)
                .bytes(config.max_message / 2 + STREAM_HEAD),
        };
        // What waits, and what is left over of a lost session.
        waiting
            .and(waiting)
            // What has arrived of a message counts in the window; the rest is room for what is
            // to come, or what it is moved to.
            .bytes(config.max_message)
            .and(Queue::bound(config, dialect))
            .list::<Left>(messages)
            .list::<Taken>(messages)
            // Rejections, and which of them are to be told.
            .bytes(reasons)
            .list::<Sequence>(messages)
    }
}
