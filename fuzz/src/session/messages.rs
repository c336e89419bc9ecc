//! Messages of a peer that knows what it ought to say.

use arbitrary::{Result, Unstructured};
use countersign_core::Instant;
use countersign_core::wire::{Frame, MessageHead, Times};

use super::clock::Clock;
use super::frames::figure;
use super::peer::Lane;
use crate::frames::encode;

/// A sender that says something about its messages.
pub(super) struct Say<'a> {
    pub(super) channel: u16,
    pub(super) lane: &'a mut Lane,
    pub(super) clock: &'a mut Clock,
    /// How many messages were begun.
    pub(super) count: &'a mut u64,
    pub(super) now: Instant,
    /// What is said.
    pub(super) out: Vec<u8>,
}

impl Say<'_> {
    /// A whole message, in one frame or several.
    pub(super) fn message(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let sequence = figure(input, self.lane.next)?;
        let (length, parts): (u16, u8) = input.arbitrary()?;
        let length = usize::from(length % 3100);
        let times = self.times(parts >> 2, input)?;
        let parts = usize::from(parts % 4 + 1).min(length.max(1));
        let total = figure(input, length as u64)?;
        for part in 0..parts {
            let (from, to) = (length * part / parts, length * (part + 1) / parts);
            let (first, last) = (part == 0, part + 1 == parts);
            let times = times.filter(|_| first);
            self.push(sequence, (first, last), total, times, to - from);
        }
        (self.lane.next, self.lane.open) = (sequence.wrapping_add(1), None);
        Ok(())
    }

    /// A part of a message: the beginning, or what follows of one that has begun.
    pub(super) fn fragment(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let sequence = figure(input, self.lane.next)?;
        let (size, flags): (u16, u8) = input.arbitrary()?;
        let how = (size / 600 % 64) as u8;
        let size = u64::from(size % 600);
        let (total, sent) = match self.lane.open {
            Some(open) => open,
            None => (figure(input, size * 3)?, 0),
        };
        let missing = total.saturating_sub(sent);
        let (first, last) = match flags {
            0..250 => (sent == 0, size >= missing),
            _ => (flags & 1 != 0, flags & 2 != 0),
        };
        let size = if flags < 245 { size.min(missing) } else { size };
        // With the wrong flags, the times too may be where none belong.
        let times = if first || flags >= 250 {
            self.times(how, input)?
        } else {
            None
        };
        self.push(sequence, (first, last), total, times, size as usize);
        self.lane.open = (!last).then_some((total, sent + size));
        if last {
            self.lane.next = sequence.wrapping_add(1);
        }
        Ok(())
    }

    /// The times of a message, behind the answer without which the link can't judge them.
    fn times(&mut self, how: u8, input: &mut Unstructured<'_>) -> Result<Option<Times>> {
        let wanted = self.lane.wants_times;
        let times = self.clock.times(self.now, how, wanted, input)?;
        let pong = match times {
            Some(_) if how % 8 != 7 => self.clock.owed(self.now),
            _ => None,
        };
        if let Some(pong) = pong {
            self.out.extend(encode(&Frame::Pong(pong)));
        }
        Ok(times)
    }

    /// Each message is another, if it is long enough, so that none passes for its neighbour.
    fn push(
        &mut self,
        sequence: u64,
        (first, last): (bool, bool),
        total: u64,
        times: Option<Times>,
        length: usize,
    ) {
        let head = MessageHead {
            channel: self.channel,
            first,
            last,
            sequence: sequence as u32,
            total: (first && !last).then_some(total),
            times,
            length,
        };
        let at = self.out.len();
        let payload = at + head.encoded_len();
        self.out.resize(payload + length, b'm');
        head.encode(&mut self.out[at..]);
        if let Some(number) = self.out[payload..].first_chunk_mut::<8>()
            && first
        {
            *self.count += 1;
            *number = self.count.to_be_bytes();
        }
    }
}
