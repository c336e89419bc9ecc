//! The `tlsstream` dialect (`docs/protocol.md`, The tlsstream dialect): a length in decimal, `!`
//! and the payload in one direction, `OK!` for each message in the other.

use super::{Half, Link};
use crate::error::PeerMisbehaved;
use crate::receive::ReceiveHalf;
use crate::spent::Spent;
use crate::state::{Input, LinkState};
use crate::{Instant, SendHalf};

/// The confirmation of a message.
const CONFIRMATION: &[u8] = b"OK!";
/// The longest message, in bytes, that fits into one TLS record together with its length in the
/// `tlsstream` dialect. The Python original takes what one read returns for the whole message, so
/// it may pass on only the beginning of a longer one and confirm it all the same.
pub const STREAM_WHOLE: usize = 16_384 - "16378!".len();

/// The largest number of digits of a length.
const MAX_DIGITS: usize = 20;

/// The state of the stream of one connection.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Stream {
    /// Receive mode: the length so far, and how many digits it has.
    length: u64,
    digits: usize,
    /// Send mode: how many bytes of the confirmation have arrived.
    confirmed: usize,
    /// Receive mode: whether a message has arrived whose confirmation is not written.
    unconfirmed: bool,
}

impl Link {
    /// Opens the link: there is no handshake, so messages flow once the connection is secured.
    pub(super) fn stream_open(&mut self) {
        self.wire = alloc::vec![0];
        if let Some(Half::Send(half)) = self.halves.first_mut() {
            half.set_peer_limits(0, u64::MAX, 1, u64::MAX, &mut self.spent);
        }
        self.on_greeted(false);
    }

    /// Returns how many bytes a peer may send before anything is confirmed: one message with its
    /// length.
    pub(super) fn max_unconfirmed(&self) -> usize {
        match self.halves.first() {
            Some(Half::Receive(half)) => half.max_message().saturating_add(MAX_DIGITS + 1),
            _ => 0,
        }
    }

    /// Whether the peer may end the connection here without cutting a message short.
    pub(super) fn stream_may_end(&self) -> bool {
        match self.halves.first() {
            Some(Half::Send(half)) => half.is_off_the_wire(),
            Some(Half::Receive(half)) => {
                half.stream_missing() == 0 && self.connection.stream.digits == 0
            }
            None => true,
        }
    }

    /// Notes that the application took a message: there is no acknowledgement to send, but there
    /// may be room for the next message again.
    pub(super) fn stream_taken(&mut self) {
        if let Some(Half::Receive(half)) = self.halves.first_mut() {
            half.ack_written();
            self.wants_output |= self.connection.stream.unconfirmed && half.has_room();
        }
    }

    pub(super) fn read_stream(&mut self, input: &[u8]) -> Result<(), PeerMisbehaved> {
        self.has_events = true;
        self.wants_output = true;
        self.progress();
        match self.halves.first_mut() {
            Some(Half::Send(half)) => {
                self.connection
                    .stream
                    .read_confirmations(half, input, &mut self.spent)
            }
            Some(Half::Receive(half)) => self.connection.stream.read_messages(half, input),
            None => Ok(()),
        }
    }

    /// Writes the next part of the stream, and finishes a close that has nothing left to wait for.
    pub(super) fn write_stream(&mut self, out: &mut [u8]) -> Result<usize, usize> {
        let mut written = match self.halves.first_mut() {
            Some(Half::Send(half)) => {
                let written = write_message(half, self.now, out, &mut self.spent)?;
                self.has_events |= half.has_events();
                written
            }
            Some(Half::Receive(half)) => self.connection.stream.write_confirmation(half, out)?,
            None => 0,
        };
        let idle = match self.halves.first() {
            Some(Half::Send(half)) => half.is_settled(),
            Some(Half::Receive(half)) => {
                let may_end = half.is_abandoned() || self.stream_may_end();
                may_end && !self.connection.stream.unconfirmed
            }
            None => true,
        };
        if self.state == LinkState::Closing && idle {
            written += self.write_cut(&mut out[written..])?;
            self.finish(Input::Drained);
        }
        Ok(written)
    }

    /// Writes the beginning of a length where a sender closes and not all is well: without TLS, the
    /// peer has no other way to tell.
    fn write_cut(&self, out: &mut [u8]) -> Result<usize, usize> {
        if !self.breaks_off() || !matches!(self.halves.first(), Some(Half::Send(_))) {
            return Ok(0);
        }
        *out.first_mut().ok_or(1_usize)? = b'0';
        Ok(1)
    }

    /// Stops receiving. A message that was taken is still confirmed, but none that was not: the
    /// sender would take that for handled.
    pub(super) fn stream_abandoned(&mut self) {
        if let Some(Half::Receive(half)) = self.halves.first()
            && half.waiting() > 0
        {
            self.connection.stream.unconfirmed = false;
        }
    }
}

impl Stream {
    fn read_messages(
        &mut self,
        half: &mut ReceiveHalf,
        mut input: &[u8],
    ) -> Result<(), PeerMisbehaved> {
        if half.is_abandoned() {
            return Ok(());
        }
        while let Some((&byte, rest)) = input.split_first() {
            let missing = half.stream_missing();
            if missing > 0 {
                let (data, rest) = input.split_at(missing.min(input.len()));
                half.more(data)?;
                self.unconfirmed = half.stream_missing() == 0;
                input = rest;
                continue;
            }
            if self.unconfirmed {
                return Err(PeerMisbehaved::StreamTooSoon);
            }
            self.read_length(half, byte)?;
            input = rest;
        }
        Ok(())
    }

    /// Reads one byte of a length or the `!` after it.
    fn read_length(&mut self, half: &mut ReceiveHalf, byte: u8) -> Result<(), PeerMisbehaved> {
        match byte {
            b'0'..=b'9' if self.digits < MAX_DIGITS => {
                self.digits += 1;
                let digit = u64::from(byte - b'0');
                self.length = self.length.saturating_mul(10).saturating_add(digit);
                Ok(())
            }
            b'!' if self.digits > 0 => {
                let length = self.length;
                (self.length, self.digits) = (0, 0);
                half.stream_begin(length)
            }
            _ => Err(PeerMisbehaved::StreamLength),
        }
    }

    fn read_confirmations(
        &mut self,
        half: &mut SendHalf,
        input: &[u8],
        spent: &mut Spent,
    ) -> Result<(), PeerMisbehaved> {
        for byte in input {
            if CONFIRMATION[self.confirmed] != *byte {
                return Err(PeerMisbehaved::StreamConfirmation);
            }
            let sequence = half
                .oldest_written()
                .ok_or(PeerMisbehaved::StreamConfirmation)?;
            self.confirmed += 1;
            if self.confirmed == CONFIRMATION.len() {
                self.confirmed = 0;
                half.acknowledge(sequence, spent)?;
            }
        }
        Ok(())
    }

    /// Confirms the message that has arrived, once there is room for another. The peer sends the
    /// next one only then, so a slow application holds it back.
    fn write_confirmation(&mut self, half: &ReceiveHalf, out: &mut [u8]) -> Result<usize, usize> {
        if !self.unconfirmed || !half.has_room() {
            return Ok(0);
        }
        let needed = CONFIRMATION.len();
        out.get_mut(..needed)
            .ok_or(needed)?
            .copy_from_slice(CONFIRMATION);
        self.unconfirmed = false;
        Ok(needed)
    }
}

/// Writes as much of the current message as `out` holds, its length first.
fn write_message(
    half: &mut SendHalf,
    now: Instant,
    out: &mut [u8],
    spent: &mut Spent,
) -> Result<usize, usize> {
    half.expire(now, spent);
    if !half.may_write() {
        return Ok(0);
    }
    let Some((entry, offset)) = half.current() else {
        return Ok(0);
    };
    let (sequence, length) = (entry.sequence, entry.payload().len());
    let mut at = 0;
    if offset == 0 {
        let head = alloc::format!("{length}!");
        // At least one byte of payload goes with its length, because the message has begun then.
        let needed = head.len() + 1;
        if out.len() < needed {
            return Err(needed);
        }
        out[..head.len()].copy_from_slice(head.as_bytes());
        at = head.len();
        half.begin_current();
    }
    let payload = half.current().map_or(&[][..], |(entry, _)| entry.payload());
    let data = &payload[offset..];
    let data = &data[..data.len().min(out.len() - at)];
    if data.is_empty() {
        return Err(1);
    }
    out[at..at + data.len()].copy_from_slice(data);
    let written = data.len();
    half.advance(sequence, written, offset + written == length);
    Ok(at + written)
}
