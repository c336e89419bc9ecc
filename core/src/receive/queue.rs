//! Messages that have arrived and wait to be taken.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
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
/// message when it is taken. Until then it costs its number and its length, or, where frames were
/// copied as they came, nothing.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// How many messages those are.
    count: usize,
    pool: Pool,
    /// The payloads that don't share memory, in the same order.
    alone: VecDeque<Bytes>,
}

/// Messages with consecutive numbers.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    first: Sequence,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    /// One message, in memory of its own.
    Alone,
    /// One message of this length, in shared memory.
    Shared(u32),
    /// This many messages, in shared memory, each behind the head of its frame.
    Framed(u32),
}

impl Queue {
    pub(super) fn new(config: &ReceiveChannel, dialect: Dialect) -> Self {
        Self {
            waiting: VecDeque::new(),
            count: 0,
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
        self.count
    }

    /// Returns the number of the message that is taken next.
    #[inline(always)]
    pub(super) fn first(&self) -> Option<Sequence> {
        self.waiting.front().map(|waiting| waiting.first)
    }

    /// Adds a copy of a message.
    #[inline(always)]
    pub(super) fn push_copy(&mut self, sequence: Sequence, data: &[u8]) {
        // Payloads in shared memory are far shorter.
        #[expect(clippy::cast_possible_truncation)]
        let length = data.len() as u32;
        if self.pool.add(data) {
            self.push_waiting(sequence, Place::Shared(length));
            self.count += 1;
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
        self.push_waiting(sequence, Place::Alone);
        self.count += 1;
        self.alone.push_back(message);
    }

    #[inline]
    fn push_waiting(&mut self, first: Sequence, place: Place) {
        self.waiting.push_back(Waiting { first, place });
    }

    /// Returns how many bytes [`Queue::push_frames`] takes, and the longest payload among them.
    #[inline]
    pub(super) fn room_for_frames(&self) -> (usize, usize) {
        self.pool.room_for_frames()
    }

    /// Adds a copy of frames that lie side by side, each a message. The heads are kept with the
    /// payloads: one copy of all costs less than one of each.
    pub(super) fn push_frames(&mut self, first: Sequence, count: u32, frames: &[u8]) {
        if count > 0 {
            self.pool.add_frames(frames);
            self.push_waiting(first, Place::Framed(count));
            self.count += count as usize;
        }
    }

    #[inline(always)]
    pub(super) fn pop(&mut self) -> Option<(Sequence, Bytes)> {
        let front = self.waiting.front_mut()?;
        let sequence = front.first;
        let message = match &mut front.place {
            Place::Alone => self.alone.pop_front().unwrap_or_default(),
            Place::Shared(length) => self.pool.take(*length as usize),
            Place::Framed(count) => {
                *count -= 1;
                let more = *count > 0;
                front.first += 1;
                let message = self.pool.take_framed();
                self.count -= 1;
                if !more {
                    self.waiting.pop_front();
                }
                return Some((sequence, message));
            }
        };
        self.count -= 1;
        self.waiting.pop_front();
        Some((sequence, message))
    }

    /// Appends up to `limit` messages to `messages`.
    pub(super) fn pop_batch(&mut self, limit: usize, messages: &mut Vec<Bytes>) {
        let mut left = limit.min(self.count);
        messages.reserve(left);
        while left > 0
            && let Some(front) = self.waiting.front_mut()
        {
            let Place::Framed(count) = &mut front.place else {
                messages.extend(self.pop().map(|(_, message)| message));
                left -= 1;
                continue;
            };
            let most = left.min(*count as usize);
            let taken = self.pool.take_framed_batch(most, messages);
            // No more than `count`, so it is within its type.
            #[expect(clippy::cast_possible_truncation)]
            let fewer = taken as u32;
            *count -= fewer;
            front.first += u64::from(fewer);
            if *count == 0 {
                self.waiting.pop_front();
            }
            left -= taken;
            self.count -= taken;
        }
    }

    /// Releases memory that an idle channel does not need; the shared memory only if `shared`, that
    /// is, if no message that was taken keeps it anyway.
    pub(super) fn release_memory(&mut self, shared: bool) {
        if shared && self.count == 0 {
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

// How payloads are spread over memory, and what lies between them, makes no difference.
impl PartialEq for Queue {
    fn eq(&self, other: &Self) -> bool {
        let (mut own, mut others) = (self.clone(), other.clone());
        self.count == other.count && (0..self.count).all(|_| own.pop() == others.pop())
    }
}

impl Eq for Queue {}

impl Hash for Queue {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let mut copy = self.clone();
        while let Some(message) = copy.pop() {
            message.hash(state);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

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
