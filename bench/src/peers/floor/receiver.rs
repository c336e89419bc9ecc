//! The receiving half of the floor's protocol, without its socket.

use bytes::{Buf, Bytes, BytesMut};

use super::super::{Failure, check_length};
use super::record::{Engine, Records};
use super::{ACK, HEAD, MESSAGE};

/// How much is read at once.
const READ: usize = 256 * 1024;

/// A message that is longer is put together by itself: it would have to be moved each time the
/// buffer is full.
const SHORT: usize = 4 * 1024;

pub(super) struct Receiver<E> {
    records: Records<E>,
    /// Records that came, the last of them in part.
    arrived: Vec<u8>,
    filled: usize,
    /// What was in them and is no whole frame yet.
    plain: BytesMut,
    /// The beginning of a long message, and its length.
    assembly: Option<(Vec<u8>, usize)>,
    messages: Vec<Bytes>,
    handled: u64,
    acked: u64,
    ack: Vec<u8>,
}

impl<E: Engine> Receiver<E> {
    pub(super) fn new(records: Records<E>) -> Self {
        Self {
            records,
            arrived: vec![0; READ],
            filled: 0,
            plain: BytesMut::new(),
            assembly: None,
            messages: Vec::new(),
            handled: 0,
            acked: 0,
            ack: Vec::new(),
        }
    }

    /// What to read into, for `hear`.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.arrived[self.filled..]
    }

    /// `count` more bytes came.
    pub(super) fn hear(&mut self, count: usize) -> Result<(), Failure> {
        self.filled += count;
        // The last messages are gone, so this takes their memory again.
        self.plain.reserve(READ);
        let arrived = &mut self.arrived[..self.filled];
        let used = self.records.open(arrived, &mut self.plain)?;
        self.arrived.copy_within(used..self.filled, 0);
        self.filled -= used;
        while self.assemble() && self.split()? {}
        Ok(())
    }

    /// Whether no long message is under way any more.
    fn assemble(&mut self) -> bool {
        let Some((message, length)) = &mut self.assembly else {
            return true;
        };
        let missing = (*length - message.len()).min(self.plain.len());
        message.extend_from_slice(&self.plain[..missing]);
        self.plain.advance(missing);
        if message.len() < *length {
            return false;
        }
        let whole = self.assembly.take().map(|(message, _)| message.into());
        self.messages.extend(whole);
        true
    }

    /// Takes the whole frames. Whether a long message begins after them.
    fn split(&mut self) -> Result<bool, Failure> {
        let mut lengths = Vec::new();
        let mut whole = 0;
        let mut long = None;
        while let Some((head, rest)) = self.plain[whole..].split_at_checked(HEAD) {
            let length = self.length(head, lengths.len() as u64)?;
            if rest.len() < length {
                long = (length > SHORT).then_some(length);
                break;
            }
            lengths.push(length);
            whole += HEAD + length;
        }
        let mut frames = self.plain.split_to(whole).freeze();
        for length in lengths {
            frames.advance(HEAD);
            self.messages.push(frames.split_to(length));
        }
        if let Some(length) = long {
            self.plain.advance(HEAD);
            self.assembly = Some((Vec::with_capacity(length), length));
        }
        Ok(long.is_some())
    }

    /// The length in the head of a frame, before which there are `before` others that are not
    /// handled yet.
    fn length(&self, head: &[u8], before: u64) -> Result<usize, Failure> {
        let number = self.handled + self.messages.len() as u64 + before + 1;
        if head[0] != MESSAGE || head[8..] != number.to_be_bytes()[4..] {
            return Err(format!("message {number} has a wrong head").into());
        }
        Ok(u32::from_be_bytes(head[4..8].try_into()?) as usize)
    }

    /// Handles the messages that have come: checks their length and drops them.
    pub(super) fn handle(&mut self, size: usize) -> Result<(), Failure> {
        for message in self.messages.drain(..) {
            check_length(size, message.len())?;
            self.handled += 1;
        }
        Ok(())
    }

    pub(super) fn handled(&self) -> u64 {
        self.handled
    }

    /// An ack to write, if there is anything to ack.
    pub(super) fn ack(&mut self) -> Result<Option<&[u8]>, Failure> {
        if self.handled == self.acked {
            return Ok(None);
        }
        self.acked = self.handled;
        let mut frame = [ACK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        frame[HEAD - size_of::<u64>()..].copy_from_slice(&self.handled.to_be_bytes());
        let length = self.records.seal(&frame, &mut self.ack)?;
        Ok(Some(&self.ack[..length]))
    }
}
