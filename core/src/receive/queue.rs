//! Messages that have arrived and wait to be taken.

use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};

use bytes::Bytes;

use super::pool::Pool;
use crate::Sequence;
use crate::bound::Bound;
use crate::channel::ReceiveChannel;
use crate::config::Dialect;

/// The waiting messages in the order of their numbers.
///
/// The payloads of short ones lie side by side in shared memory, where each becomes a separate
/// message when it is taken. Until then it costs its number and its length.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    pool: Pool,
    /// The payloads that don't share memory, in the same order.
    alone: VecDeque<Bytes>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Waiting {
    sequence: Sequence,
    /// The length of a payload in shared memory; [`ALONE`] for others.
    shares: u32,
}

const ALONE: u32 = u32::MAX;

impl Queue {
    pub(super) fn new(config: &ReceiveChannel, dialect: Dialect) -> Self {
        Self {
            waiting: VecDeque::new(),
            pool: match dialect {
                Dialect::Countersign => Pool::new(config),
                // There is only one message at a time.
                Dialect::TlsStream => Pool::none(),
            },
            alone: VecDeque::new(),
        }
    }

    #[inline(always)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of the message that is taken next.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<Sequence> {
        self.waiting.front().map(|waiting| waiting.sequence)
    }

    /// Adds a copy of a message.
    #[inline(always)]
    pub(super) fn push_copy(&mut self, sequence: Sequence, data: &[u8]) {
        // Payloads in shared memory are far shorter.
        #[expect(clippy::cast_possible_truncation)]
        let shares = data.len() as u32;
        if self.pool.add(data) {
            self.waiting.push_back(Waiting { sequence, shares });
        } else {
            self.push_alone(sequence, Bytes::copy_from_slice(data));
        }
    }

    /// Adds a message that has memory already. A short one is copied all the same.
    pub(super) fn push(&mut self, sequence: Sequence, message: Bytes) {
        if self.pool.shares(message.len()) {
            self.push_copy(sequence, &message);
        } else {
            self.push_alone(sequence, message);
        }
    }

    #[inline(never)]
    fn push_alone(&mut self, sequence: Sequence, message: Bytes) {
        let shares = ALONE;
        self.waiting.push_back(Waiting { sequence, shares });
        self.alone.push_back(message);
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<(Sequence, Bytes)> {
        let Waiting { sequence, shares } = self.waiting.pop_front()?;
        let message = match shares {
            ALONE => self.alone.pop_front().unwrap_or_default(),
            length => self.pool.take(length as usize),
        };
        Some((sequence, message))
    }

    /// Releases memory that an idle channel does not need; the shared memory only if `shared`, that
    /// is, if no message that was taken keeps it anyway.
    pub(super) fn release_memory(&mut self, shared: bool) {
        if shared && self.waiting.is_empty() {
            self.pool.release_memory();
        }
        self.waiting.shrink_to_fit();
        self.alone.shrink_to_fit();
    }

    /// Returns the most memory that the queue takes beside the pool.
    pub(super) fn bound(config: &ReceiveChannel, dialect: Dialect) -> Bound {
        let messages = usize::try_from(config.window_messages).unwrap_or(usize::MAX);
        let alone = match dialect {
            Dialect::Countersign => Pool::most_alone(config).min(messages),
            Dialect::TlsStream => messages,
        };
        Bound::default()
            .list::<Waiting>(messages)
            .list::<Bytes>(alone)
    }
}

// How payloads are spread over chunks makes no difference.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        self.waiting == other.waiting
            && self.alone == other.alone
            && self.pool.waiting().eq(other.pool.waiting())
    }
}

impl Eq for Queue {}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.waiting.hash(state);
        self.alone.hash(state);
        self.pool.waiting().for_each(|byte| state.write_u8(*byte));
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;

    /// Lengths around the limit of what shares memory, and chunks that fill up while others are
    /// taken.
    #[test]
    fn messages_come_out_as_they_went_in_wherever_they_lie() {
        let config = ReceiveChannel::new("main")
            .max_message(5000)
            .window(64, 20_000);
        let lengths = [
            0, 1, 1249, 1250, 1251, 5000, 0, 3, 1250, 1250, 1250, 1250, 7,
        ];
        for taken_after in 1..=lengths.len() {
            let mut queue = Queue::new(&config, Dialect::Countersign);
            let mut expected: VecDeque<(Sequence, Vec<u8>)> = VecDeque::new();
            for (sequence, length) in (1..).zip(lengths.into_iter().cycle().take(200)) {
                let data = vec![u8::try_from(sequence % 251).unwrap(); length];
                match sequence % 3 {
                    0 => queue.push(sequence, Bytes::from(data.clone())),
                    _ => queue.push_copy(sequence, &data),
                }
                expected.push_back((sequence, data));
                if queue.len() >= taken_after {
                    let (first, data) = expected.pop_front().unwrap();
                    assert_eq!(queue.first(), Some(first));
                    let (sequence, message) = queue.pop().unwrap();
                    assert_eq!((sequence, &message[..]), (first, &data[..]));
                }
            }
            let rest: Vec<_> = core::iter::from_fn(|| queue.pop())
                .map(|(at, data)| (at, data.to_vec()))
                .collect();
            assert_eq!(rest, Vec::from(expected));
            queue.release_memory(true);
            assert!(queue == Queue::new(&config, Dialect::Countersign));
        }
    }
}
