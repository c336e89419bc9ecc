//! From the store to the wire: which frames a channel writes, and how long they are.

use super::{Entry, SendHalf};
use crate::spent::Spent;
use crate::wire::{FIRST_HEAD, Frame, MESSAGE_HEAD, MessageHead, TIMES_LEN, Times};
use crate::{Instant, Sequence};

/// The length of a SKIP frame.
const SKIP_LEN: usize = 16;
/// The least that fits of a message for it to be fragmented: shorter fragments cost more in heads
/// than they gain.
const LEAST_FRAGMENT: usize = 256;

/// Why [`SendHalf::write`] stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wrote {
    /// There is nothing to write until something happens.
    Everything,
    /// The output is full; the next frame needs this many bytes at least.
    Full { needed: usize },
}

impl SendHalf {
    /// Whether a message could go on the wire now.
    #[inline]
    pub(crate) fn may_write(&self) -> bool {
        let Some(entry) = self.store.get(self.written) else {
            return false;
        };
        let worthwhile = (entry.length() - self.offset)
            .min(LEAST_FRAGMENT)
            .min(self.window_bytes);
        let may_begin = self.written < self.in_flight_limit.min(self.window_messages);
        (self.offset > 0 || may_begin) && self.window_left() >= worthwhile
    }

    #[inline]
    pub(crate) fn window_left(&self) -> usize {
        self.window_bytes.saturating_sub(self.flight_bytes)
    }

    /// Writes as many frames as `out` and the receiver's window allow, from `at` on.
    #[inline(always)]
    pub(crate) fn write(
        &mut self,
        out: &mut [u8],
        at: &mut usize,
        now: Instant,
        frame_limit: usize,
        spent: &mut Spent,
    ) -> Wrote {
        self.expire(now, spent);
        self.write_whole(out, at, frame_limit);
        while self.may_write() {
            if let Err(needed) = self.write_frame(out, at, frame_limit) {
                return Wrote::Full { needed };
            }
        }
        Wrote::Everything
    }

    /// Writes messages as long as each fits one frame, the output and the window, and follows the
    /// one before. Does nothing that [`SendHalf::write_frame`] would not do, at a fraction of its
    /// cost for short messages.
    #[inline]
    fn write_whole(&mut self, out: &mut [u8], at: &mut usize, frame_limit: usize) {
        if self.offset > 0 || self.adds_times {
            return;
        }
        let most = self.in_flight_limit.min(self.window_messages);
        let window = self.window_left();
        let longest = frame_limit.saturating_sub(MESSAGE_HEAD);
        let (mut bytes, mut announced) = (0, self.announced);
        let may_go = most.saturating_sub(self.written);
        for entry in self.store.range(self.written..).take(may_go) {
            let payload = entry.payload();
            let length = payload.len();
            let follows = entry.sequence == announced + 1 && entry.expires == Instant::NEVER;
            if !follows || length > longest || length > window - bytes {
                break;
            }
            let Some(frame) = out.get_mut(*at..*at + MESSAGE_HEAD + length) else {
                break;
            };
            let (head, data) = frame.split_at_mut(MESSAGE_HEAD);
            // The wire carries the low half.
            #[expect(clippy::cast_possible_truncation)]
            let number = entry.sequence as u32;
            MessageHead::encode_whole(self.wire, number, length, head);
            data.copy_from_slice(payload);
            *at += MESSAGE_HEAD + length;
            bytes += length;
            announced = entry.sequence;
        }
        self.written += usize::try_from(announced - self.announced).unwrap_or(usize::MAX);
        self.announced = announced;
        self.flight_bytes += bytes;
    }

    /// Writes the next frame, and a SKIP before it where numbers are left out.
    #[inline]
    fn write_frame(
        &mut self,
        out: &mut [u8],
        at: &mut usize,
        frame_limit: usize,
    ) -> Result<(), usize> {
        let entry = &self.store[self.written];
        let (sequence, expires) = (entry.sequence, entry.expires);
        let skip = if sequence == self.announced + 1 || self.offset > 0 {
            0
        } else {
            SKIP_LEN
        };
        let space = out.len() - *at;
        let left = entry.length() - self.offset;
        let first = self.offset == 0;
        let times = self.times(entry).filter(|_| first);
        let times_len = if times.is_some() { TIMES_LEN } else { 0 };
        let whole = skip + MESSAGE_HEAD + times_len + left;
        let fits_frame = MESSAGE_HEAD + times_len + left <= frame_limit;
        let data_len = if fits_frame && whole <= space && left <= self.window_left() {
            left
        } else {
            // A message that fits one frame goes whole into the next output, if there is one.
            if first && *at > 0 && fits_frame && whole > space {
                return Err(whole);
            }
            let head_len = times_len + if first { FIRST_HEAD } else { MESSAGE_HEAD };
            let data_len = self.fragment_len(space.saturating_sub(skip), head_len, frame_limit);
            let least = if *at > 0 {
                LEAST_FRAGMENT.min(left).max(1)
            } else {
                1
            };
            if data_len < least {
                let needed = skip + head_len + least;
                // A short message is shorter whole than a fragment of it with its longer head.
                let may_go_whole = left <= self.window_left();
                return Err(if may_go_whole {
                    whole.min(needed)
                } else {
                    needed
                });
            }
            data_len
        };
        if skip > 0 {
            // The space was checked above, so this can't fail.
            let frame = Frame::Skip {
                channel: self.wire,
                through: sequence - 1,
            };
            *at += frame.encode(&mut out[*at..]).unwrap_or(0);
        }
        let last = data_len == left;
        let entry = &self.store[self.written];
        let head = MessageHead {
            channel: self.wire,
            first,
            last,
            // The wire carries the low half.
            #[expect(clippy::cast_possible_truncation)]
            sequence: sequence as u32,
            total: (first && !last).then_some(entry.length() as u64),
            times,
            length: data_len,
        };
        let frame = &mut out[*at..];
        let head_len = head.encoded_len();
        head.encode(frame);
        let data = &entry.payload()[self.offset..self.offset + data_len];
        frame[head_len..head_len + data_len].copy_from_slice(data);
        *at += head_len + data_len;
        if first {
            self.forget_expiry(expires, sequence);
        }
        self.advance(sequence, data_len, last);
        Ok(())
    }

    /// Returns the times that go with a message.
    fn times(&self, entry: &Entry) -> Option<Times> {
        let is_limited = entry.expires != Instant::NEVER;
        (is_limited || self.adds_times).then(|| Times {
            accepted: entry.accepted.as_micros(),
            expires: entry.expires.as_micros(),
        })
    }

    /// Returns how much of the message goes into a fragment. Never the whole rest, so that a frame
    /// with the head of a first fragment is never also the last one.
    fn fragment_len(&self, space: usize, head_len: usize, frame_limit: usize) -> usize {
        let left = self.store[self.written].length() - self.offset;
        let room = space
            .min(frame_limit)
            .saturating_sub(head_len)
            .min(self.window_left());
        if self.offset == 0 {
            room.min(left.saturating_sub(1))
        } else {
            room.min(left)
        }
    }

    /// Records that `length` bytes of the current message went on the wire.
    #[inline]
    pub(crate) fn advance(&mut self, sequence: Sequence, length: usize, last: bool) {
        self.announced = sequence;
        self.flight_bytes += length;
        if last {
            self.written += 1;
            self.offset = 0;
        } else {
            self.offset += length;
        }
    }
}
