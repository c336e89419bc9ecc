//! The sending half of a channel: messages from acceptance to verdict.

mod answers;
mod batch;
mod bound;
mod entry;
#[cfg(planted)]
mod planted;
mod resume;
mod write;

use alloc::collections::{BTreeSet, VecDeque};
use core::ops::Range;

use bytes::Bytes;

use entry::Entry;
pub(crate) use resume::ResumePoint;
pub(crate) use write::Wrote;

use crate::channel::{Policy, SendChannel};
use crate::spent::Spent;
use crate::verdict::{Rejection, Verdict, VerdictCounts, reject};
use crate::wire::Frame;
use crate::{ChannelId, Event, Instant, SendError, Sequence};

/// A range of messages that were handled, but for exceptions in it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Handled {
    first: Sequence,
    last: Sequence,
    count: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SendHalf {
    /// The channel's number on the wire, known once the handshake is complete.
    pub(crate) wire: u16,
    policy: Policy,
    queue_messages: usize,
    queue_bytes: usize,
    /// The largest message that this end declares.
    own_max_message: usize,
    /// The smaller limit of both ends, once the peer's is known.
    max_message: usize,
    in_flight_limit: usize,
    window_messages: usize,
    window_bytes: usize,
    /// The longest reply that this end declares, and the smaller of both ends' figures.
    own_max_reply: usize,
    max_reply: usize,
    /// Whether the receiver wants the times of every message.
    adds_times: bool,
    /// Whether its messages go first, whatever is under way.
    pub(crate) urgent: bool,

    /// All messages from the oldest unacknowledged one on, in order.
    store: VecDeque<Entry>,
    /// How many messages at the front of `store` are whole on the wire.
    written: usize,
    /// How many bytes of the message after those are on the wire.
    offset: usize,
    /// Bytes of unacknowledged messages on the wire, parts included.
    flight_bytes: usize,
    /// Bytes of payload in `store`.
    stored_bytes: usize,
    /// How many numbers earlier sessions have used: the application's numbers continue from there.
    base: Sequence,
    /// The number that the next accepted message gets.
    next: Sequence,
    /// The receiver knows of every number up to this one, or will if the connection lasts.
    announced: Sequence,
    /// The receiver has everything up to this number, as it has said itself.
    received: Sequence,
    /// No message after this one has an answer.
    last_answered: Sequence,
    /// Messages up to this number were begun on a connection that was lost.
    begun_before: Sequence,
    /// How many messages were sent again, whole or in part, after a connection was lost.
    pub(crate) replayed: u64,
    /// Everything up to this number is acknowledged.
    acked: Sequence,
    /// The last number, once CLOSE has named it.
    last: Option<Sequence>,
    /// The expiries of unbegun messages, for the next deadline.
    expiries: BTreeSet<(Instant, Sequence)>,
    /// Answers to be noted on this connection, in the order of their arrival.
    pub(crate) to_note: VecDeque<Sequence>,

    /// Verdicts other than `Handled` that the caller has not taken.
    verdicts: VecDeque<(Sequence, Verdict)>,
    /// Messages handled that no event has reported yet.
    handled: Option<Handled>,
    /// The length of the shortest message that was refused for want of room since room was last
    /// reported.
    wants_room: Option<usize>,
    pub(crate) counts: VerdictCounts,
}

impl SendHalf {
    pub(crate) fn new(config: &SendChannel) -> Self {
        Self {
            wire: 0,
            policy: config.policy,
            queue_messages: config.queue_messages,
            queue_bytes: config.queue_bytes,
            own_max_message: config.max_message,
            max_message: config.max_message,
            in_flight_limit: usize::try_from(config.in_flight).unwrap_or(usize::MAX),
            window_messages: 0,
            window_bytes: 0,
            own_max_reply: config.max_reply,
            max_reply: config.max_reply,
            adds_times: false,
            urgent: config.urgent,
            store: VecDeque::new(),
            written: 0,
            offset: 0,
            flight_bytes: 0,
            stored_bytes: 0,
            base: 0,
            next: 1,
            announced: 0,
            received: 0,
            last_answered: 0,
            begun_before: 0,
            replayed: 0,
            acked: 0,
            last: None,
            expiries: BTreeSet::new(),
            to_note: VecDeque::new(),
            verdicts: VecDeque::new(),
            handled: None,
            wants_room: None,
            counts: VerdictCounts::default(),
        }
    }

    /// Applies the receiver's limits. Messages already accepted that it does not take get their
    /// verdict now.
    pub(crate) fn set_peer_limits(
        &mut self,
        wire: u16,
        max: u64,
        messages: u32,
        bytes: u64,
        spent: &mut Spent,
    ) {
        self.wire = wire;
        self.max_message = self
            .own_max_message
            .min(usize::try_from(max).unwrap_or(usize::MAX));
        self.window_messages = usize::try_from(messages).unwrap_or(usize::MAX);
        self.window_bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let limit = self.max_message;
        // Messages on the wire were within the limit of their time.
        self.drop_all_unbegun(spent, |entry| {
            let rejection = || Rejection {
                code: reject::TOO_LARGE,
                reason: alloc::format!("the peer takes messages of {limit} bytes at most"),
            };
            (entry.length() > limit).then(|| Verdict::Rejected(rejection()))
        });
    }

    /// Applies what the receiver wants and gives: times of every message, and how long replies are.
    pub(crate) fn set_answers(&mut self, wants_times: bool, max_reply: u32) {
        let theirs = usize::try_from(max_reply).unwrap_or(usize::MAX);
        self.adds_times = wants_times;
        self.max_reply = self.own_max_reply.min(theirs);
    }

    /// Whether every message goes out with its times.
    pub(crate) fn adds_times(&self) -> bool {
        self.adds_times
    }

    /// Returns the index in `store` of the message with this number.
    fn find(&self, sequence: Sequence) -> Option<usize> {
        self.store
            .binary_search_by_key(&sequence, |entry| entry.sequence)
            .ok()
    }

    /// Returns the index in `store` of the first unbegun message: nothing of it is on the wire.
    fn unbegun(&self) -> usize {
        self.written + usize::from(self.offset > 0)
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Returns how many messages were accepted so far, in all sessions.
    pub(crate) fn accepted(&self) -> u64 {
        self.base + self.next - 1
    }

    /// Returns how many messages are kept.
    pub(crate) fn waiting(&self) -> usize {
        self.store.len()
    }

    /// Returns when the oldest of these was accepted.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.store.front().map(|entry| entry.accepted)
    }

    pub(crate) fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// Returns how many messages are on the wire, at least in part, without an acknowledgement.
    pub(crate) fn in_flight(&self) -> usize {
        self.unbegun()
    }

    // Commands.

    /// Accepts a message and returns its number.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        payload: Bytes,
        accepted: Instant,
        expires: Instant,
        spent: &mut Spent,
    ) -> Result<Sequence, (Bytes, SendError)> {
        let length = payload.len();
        if length > self.max_message {
            let limit = self.max_message;
            return Err((payload, SendError::TooLarge { length, limit }));
        }
        let replaced = self.replaced();
        if !self.has_room(length, replaced) {
            self.wants_room = Some(self.wants_room.map_or(length, |least| least.min(length)));
            return Err((payload, SendError::Blocked));
        }
        if let Some(at) = replaced {
            self.drop_unbegun(at, Verdict::Superseded, spent);
        }
        let sequence = self.next;
        self.next += 1;
        self.stored_bytes += length;
        if expires != Instant::NEVER {
            self.expiries.insert((expires, sequence));
        }
        self.store
            .push_back(Entry::new(sequence, payload, accepted, expires));
        Ok(self.base + sequence)
    }

    /// Returns the message that was accepted last, and its expiry.
    pub(crate) fn newest(&self) -> Option<(&[u8], Instant)> {
        let newest = self.store.back()?;
        Some((newest.payload(), newest.expires))
    }

    #[inline]
    fn has_room(&self, length: usize, replaced: Option<usize>) -> bool {
        let freed = replaced.map_or(0, |at| self.store[at].length());
        // A replaced message leaves its place in `store` and takes one in `verdicts`. The same
        // bytes may be queued many times, so their sum may exceed the address space.
        let left = self.queue_bytes.saturating_sub(self.stored_bytes - freed);
        self.store.len() + self.verdicts.len() < self.queue_messages && length <= left
    }

    /// Returns the index of the message that a new one would replace.
    #[inline]
    fn replaced(&self) -> Option<usize> {
        let waits = self.policy == Policy::Latest && self.store.len() > self.unbegun();
        waits.then(|| self.store.len() - 1)
    }

    /// Whether a message that was refused would be accepted now. Less room is not reported: the
    /// caller would be refused again.
    fn has_wanted_room(&self) -> bool {
        self.wants_room
            .is_some_and(|length| self.has_room(length, self.replaced()))
    }

    /// Withdraws every unbegun message. Returns whether there was any.
    pub(crate) fn withdraw_unbegun(&mut self, spent: &mut Spent) -> bool {
        let any = self.store.len() > self.unbegun();
        self.drop_all_unbegun(spent, |_| Some(Verdict::Withdrawn));
        any
    }

    /// Drops what has expired by `now`. Returns whether there was anything.
    pub(crate) fn expire(&mut self, now: Instant, spent: &mut Spent) -> bool {
        let (mut first, mut last) = (Sequence::MAX, 0);
        while let Some(&(expires, sequence)) = self.expiries.first() {
            if expires > now {
                break;
            }
            self.expiries.pop_first();
            first = first.min(sequence);
            last = last.max(sequence);
        }
        if last == 0 {
            return false;
        }
        // Usually it is one, or a few that follow each other.
        let from = self.store.partition_point(|entry| entry.sequence < first);
        let to = self.store.partition_point(|entry| entry.sequence <= last);
        self.drop_unbegun_in(from..to, spent, |entry| {
            let expired = entry.expires <= now && entry.expires != Instant::NEVER;
            expired.then_some(Verdict::Expired)
        });
        true
    }

    /// Returns the earliest expiry of an unbegun message.
    #[inline]
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        // Drivers ask often, and looking into an empty set costs more than its length.
        if self.expiries.is_empty() {
            return None;
        }
        self.expiries.first().map(|&(expires, _)| expires)
    }

    /// Drops an unbegun message with its verdict.
    fn drop_unbegun(&mut self, at: usize, verdict: Verdict, spent: &mut Spent) {
        if let Some(entry) = self.store.remove(at) {
            self.dropped(entry.sequence, entry.expires, entry.length(), verdict);
            spent.push(entry.into_payload());
        }
    }

    /// Drops every unbegun message that `verdict` returns a verdict for.
    fn drop_all_unbegun(&mut self, spent: &mut Spent, verdict: impl Fn(&Entry) -> Option<Verdict>) {
        self.drop_unbegun_in(self.unbegun()..self.store.len(), spent, verdict);
    }

    /// Does the same among those at these indices, all of which are unbegun. It takes one pass,
    /// because the peer decides how many there are.
    fn drop_unbegun_in(
        &mut self,
        at: Range<usize>,
        spent: &mut Spent,
        verdict: impl Fn(&Entry) -> Option<Verdict>,
    ) {
        debug_assert!(at.start >= self.unbegun());
        let mut kept = at.start;
        for index in at.clone() {
            let entry = &self.store[index];
            match verdict(entry) {
                Some(verdict) => {
                    let (sequence, expires, length) =
                        (entry.sequence, entry.expires, entry.length());
                    self.dropped(sequence, expires, length, verdict);
                }
                None => {
                    self.store.swap(kept, index);
                    kept += 1;
                }
            }
        }
        spent.extend(self.store.drain(kept..at.end).map(Entry::into_payload));
    }

    /// Records the verdict of an unbegun message that has left `store`.
    fn dropped(&mut self, sequence: Sequence, expires: Instant, length: usize, verdict: Verdict) {
        self.stored_bytes -= length;
        self.forget_expiry(expires, sequence);
        // It was counted when the link resumed, and is not sent again after all.
        self.replayed -= u64::from(sequence <= self.begun_before);
        self.settle(sequence, verdict);
    }

    #[inline]
    fn forget_expiry(&mut self, expires: Instant, sequence: Sequence) {
        if expires != Instant::NEVER {
            self.expiries.remove(&(expires, sequence));
        }
    }

    fn settle(&mut self, sequence: Sequence, verdict: Verdict) {
        self.counts[verdict.kind()] += 1;
        self.verdicts.push_back((self.base + sequence, verdict));
    }

    // Closing.

    /// Returns the last number that will be sent, if the link is closed now.
    pub(crate) fn closing_at(&self) -> Sequence {
        // A CLOSE that is repeated after a resume names the same number.
        if let Some(last) = self.last {
            return last;
        }
        match self.store.back() {
            Some(newest) => newest.sequence.max(self.announced),
            None => self.announced,
        }
    }

    /// Records that CLOSE was written with [`SendHalf::closing_at`].
    pub(crate) fn close(&mut self) {
        self.last = Some(self.closing_at());
    }

    /// Writes the SKIP that is due where the last messages before a close expired.
    pub(crate) fn write_last_skip(&mut self, out: &mut [u8], at: &mut usize) -> Result<(), usize> {
        let Some(last) = self.last else { return Ok(()) };
        if self.store.len() > self.written || self.announced >= last {
            return Ok(());
        }
        let frame = Frame::Skip {
            channel: self.wire,
            through: last,
        };
        *at += frame
            .encode(&mut out[*at..])
            .map_err(|small| small.needed)?;
        self.announced = last;
        Ok(())
    }

    /// Whether every message has its verdict, the receiver has acknowledged everything that CLOSE
    /// named, and every answer is noted.
    pub(crate) fn is_settled(&self) -> bool {
        let acknowledged = self.last.is_none_or(|last| self.acked >= last);
        self.store.is_empty() && self.to_note.is_empty() && acknowledged
    }

    /// Whether nothing is on the wire without an acknowledgement.
    pub(crate) fn is_off_the_wire(&self) -> bool {
        self.written == 0 && self.offset == 0
    }

    /// Ends the session or the link: every message that is left gets its verdict.
    pub(crate) fn end(&mut self, spent: &mut Spent) {
        self.withdraw_unbegun(spent);
        while let Some(entry) = self.store.pop_front() {
            if entry.answered().is_none() {
                self.settle(entry.sequence, Verdict::Unknown);
            }
            spent.push(entry.into_payload());
        }
        self.written = 0;
        self.offset = 0;
        self.flight_bytes = 0;
        self.stored_bytes = 0;
        self.to_note.clear();
    }

    // For the tlsstream dialect, which has a different way of writing.

    /// Returns the message that is on the wire in part, or is to be written next, and how much of
    /// it is on the wire.
    pub(crate) fn current(&self) -> Option<(&Entry, usize)> {
        self.store
            .get(self.written)
            .map(|entry| (entry, self.offset))
    }

    /// Removes the current message's expiry, because it is about to be begun.
    pub(crate) fn begin_current(&mut self) {
        if let Some(entry) = self.store.get(self.written) {
            let (expires, sequence) = (entry.expires, entry.sequence);
            self.forget_expiry(expires, sequence);
        }
    }

    /// Returns the number of the oldest message on the wire without confirmation.
    pub(crate) fn oldest_written(&self) -> Option<Sequence> {
        self.store
            .front()
            .filter(|_| self.written > 0)
            .map(|entry| entry.sequence)
    }

    // Events for the caller.

    /// Returns the next event for the application. Verdicts other than `Handled` come first, so
    /// that the exceptions in a handled range are known when it is reported.
    pub(crate) fn poll_event(&mut self, channel: ChannelId) -> Option<Event> {
        if let Some((sequence, verdict)) = self.verdicts.pop_front() {
            return Some(Event::Verdict {
                channel,
                sequence,
                verdict,
            });
        }
        if let Some(handled) = self.handled.take() {
            return Some(Event::Handled {
                channel,
                first: handled.first,
                last: handled.last,
                count: handled.count,
            });
        }
        if self.has_wanted_room() {
            self.wants_room = None;
            return Some(Event::Room(channel));
        }
        None
    }

    /// Whether there are events to poll.
    pub(crate) fn has_events(&self) -> bool {
        self.handled.is_some() || !self.verdicts.is_empty() || self.has_wanted_room()
    }

    /// Whether a message was superseded by the one that was just accepted, or other verdicts are
    /// pending.
    #[inline]
    pub(crate) fn has_superseded(&self) -> bool {
        !self.verdicts.is_empty()
    }

    /// Releases memory that an idle channel does not need.
    pub(crate) fn release_memory(&mut self) {
        self.store.shrink_to_fit();
        self.verdicts.shrink_to_fit();
        self.to_note.shrink_to_fit();
    }
}
