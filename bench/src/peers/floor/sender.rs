//! The sending half of the floor's protocol, without its socket.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::super::Failure;
use super::record::{Engine, Records};
use super::{ACK, HEAD, MESSAGE};

/// As in countersign: how many messages, and how many bytes of them, may be without an ack.
const WINDOW: usize = 8192;
const WINDOW_BYTES: usize = 16 << 20;

/// How much is sealed and written at once: four records, which stay in the cache in between.
const WRITE: usize = 64 * 1024;

/// Room for acks.
const READ: usize = 16 * 1024;

pub(super) struct Sender<E> {
    records: Records<E>,
    /// Messages without an ack, kept so that they could be sent again.
    unacked: VecDeque<Bytes>,
    unacked_bytes: usize,
    pub(super) sent: u64,
    acked: u64,
    /// What is to be sealed next, and what of the last message did not fit.
    plain: Vec<u8>,
    rest: Bytes,
    sealed: Vec<u8>,
    /// Records that came, the last of them in part.
    arrived: Vec<u8>,
    filled: usize,
    acks: BytesMut,
}

impl<E: Engine> Sender<E> {
    pub(super) fn new(records: Records<E>) -> Self {
        Self {
            records,
            unacked: VecDeque::new(),
            unacked_bytes: 0,
            sent: 0,
            acked: 0,
            plain: Vec::new(),
            rest: Bytes::new(),
            sealed: Vec::new(),
            arrived: vec![0; READ],
            filled: 0,
            acks: BytesMut::new(),
        }
    }

    /// Whether another message may be sent before an ack comes.
    pub(super) fn has_room(&self) -> bool {
        self.unacked.len() < WINDOW && self.unacked_bytes < WINDOW_BYTES
    }

    pub(super) fn is_acked(&self) -> bool {
        self.acked == self.sent
    }

    /// Adds a message to what is to be written. Only while there is less of that than makes a
    /// write.
    pub(super) fn put(&mut self, message: Bytes) -> Result<(), Failure> {
        self.sent += 1;
        let length = u32::try_from(message.len())?;
        self.plain.extend_from_slice(&[MESSAGE, 0, 0, 0]);
        self.plain.extend_from_slice(&length.to_be_bytes());
        // The last four bytes are enough to notice a gap.
        self.plain.extend_from_slice(&self.sent.to_be_bytes()[4..]);
        self.unacked_bytes += message.len();
        self.rest = message.clone();
        self.unacked.push_back(message);
        self.fill();
        Ok(())
    }

    /// Whether there is enough for a write.
    pub(super) fn is_full(&self) -> bool {
        self.plain.len() >= WRITE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.plain.is_empty()
    }

    /// What is to be written now.
    pub(super) fn seal(&mut self) -> Result<&[u8], Failure> {
        let length = self.records.seal(&self.plain, &mut self.sealed)?;
        self.plain.clear();
        self.fill();
        Ok(&self.sealed[..length])
    }

    fn fill(&mut self) {
        let room = WRITE.saturating_sub(self.plain.len());
        let fits = self.rest.len().min(room);
        self.plain.extend_from_slice(&self.rest[..fits]);
        self.rest.advance(fits);
    }

    /// What to read into, for `hear`.
    pub(super) fn space(&mut self) -> &mut [u8] {
        &mut self.arrived[self.filled..]
    }

    /// `count` more bytes came.
    pub(super) fn hear(&mut self, count: usize) -> Result<(), Failure> {
        if count == 0 {
            return Err("the receiver closed before it acked everything".into());
        }
        self.filled += count;
        let arrived = &mut self.arrived[..self.filled];
        let used = self.records.open(arrived, &mut self.acks)?;
        self.arrived.copy_within(used..self.filled, 0);
        self.filled -= used;
        while self.acks.len() >= HEAD {
            if self.acks[0] != ACK {
                return Err("something else than an ack came".into());
            }
            self.acks.advance(HEAD - size_of::<u64>());
            let count = self.acks.get_u64();
            self.take_ack(count)?;
        }
        Ok(())
    }

    /// Everything up to message `count` was handled.
    fn take_ack(&mut self, count: u64) -> Result<(), Failure> {
        if !(self.acked..=self.sent).contains(&count) {
            let (acked, sent) = (self.acked, self.sent);
            return Err(format!("an ack of {count} after {acked}, with {sent} sent").into());
        }
        let handled = usize::try_from(count - self.acked)?;
        let handled = self.unacked.drain(..handled);
        self.unacked_bytes -= handled.map(|message| message.len()).sum::<usize>();
        self.acked = count;
        Ok(())
    }
}
