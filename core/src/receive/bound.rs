//! Upper bounds of the memory of a receiving half.

use super::left_over::Left;
use super::{Pool, Queue, ReceiveHalf, Spare, Taken, Timed};
use crate::Sequence;
use crate::bound::Bound;
use crate::channel::{Acking, ReceiveChannel};
use crate::config::Dialect;
use crate::verdict::MAX_REASON;

/// The most bytes before a payload in the `tlsstream` dialect, rounded up.
const STREAM_HEAD: usize = 64;

impl ReceiveHalf {
    pub(crate) fn memory_bound(config: &ReceiveChannel, dialect: Dialect) -> Bound {
        let messages = usize::try_from(config.window_messages).unwrap_or(usize::MAX);
        // With `Auto`, only an abandoned channel and late messages are rejected, without a reason.
        let answers = match config.acking {
            Acking::Auto => 0,
            Acking::Manual => messages.saturating_mul(MAX_REASON.max(config.max_reply)),
        };
        let waiting = match dialect {
            Dialect::Countersign => Pool::bound(config),
            // Each message has separate memory, and one more than the window holds may arrive.
            Dialect::TlsStream => Bound::default()
                .bytes(config.window_bytes)
                .bytes(config.max_message / 2 + STREAM_HEAD),
        };
        // What waits, and what is left over from a lost session.
        waiting
            .and(waiting)
            // What has arrived of a message counts in the window; the rest is room for what is
            // still to arrive, or what it is moved to.
            .bytes(config.max_message)
            .and(Spare::bound(config, dialect))
            .and(Queue::bound(config, dialect))
            .list::<Left>(messages)
            .list::<Taken>(messages)
            .list::<Timed>(messages)
            // Answers, and which of them have to be sent.
            .bytes(answers)
            .list::<Sequence>(messages)
    }
}
