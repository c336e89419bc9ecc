//! The receiving half of a channel: messages from the wire to the acknowledgement.

mod answers;
mod assembly;
mod batch;
mod bound;
mod lease;
mod left_over;
#[cfg(planted)]
mod planted;
mod pool;
mod queue;
mod session;
mod spare;
mod timed;

use alloc::collections::VecDeque;
use alloc::string::String;
use core::time::Duration;

use bytes::Bytes;

pub(crate) use answers::Answer;
use assembly::Assembly;
pub(crate) use assembly::append;
use lease::Lease;
use left_over::LeftOver;
use pool::Pool;
use queue::Queue;
use spare::Spare;
pub(crate) use timed::TakenMessage;
use timed::Timed;

use crate::age::{Age, Timing};
use crate::channel::{Acking, ReceiveChannel};
use crate::config::Dialect;
use crate::reported::Reported;
use crate::verdict::{Rejection, reject};
use crate::wire::MessageHead;
use crate::{ChannelId, Event, Instant, PeerMisbehaved, ReceiveError, Sequence, SessionLoss};

/// The highest number of a message. No session reaches it by sending, so only a SKIP is checked
/// against it; counting on from there can't overflow.
const MAX_SEQUENCE: Sequence = Sequence::MAX / 2;

/// A message that the application has taken or rejected, and that is not yet part of the
/// acknowledged prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Taken {
    sequence: Sequence,
    length: usize,
    state: TakenState,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum TakenState {
    /// The application has it and has not settled it.
    Waiting,
    /// Handled, but a message before it is not settled.
    Handled,
    /// Rejected, or handled with a reply; kept until the sender has noted it.
    Answered {
        answer: Answer,
        /// Whether VERDICT was written on this connection: the message is not in `to_answer` then.
        sent: bool,
    },
    /// The sender has noted the answer.
    Noted,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReceiveHalf {
    pub(crate) wire: u16,
    acking: Acking,
    max_message: usize,
    window_messages: usize,
    window_bytes: usize,
    ack_delay: Duration,
    /// The longest reply that this end declares, and the smaller of both ends' figures.
    own_max_reply: usize,
    max_reply: usize,

    /// How many numbers earlier sessions have used: the application's numbers continue from there.
    base: Sequence,
    /// Messages that arrived whole in lost sessions and were not taken.
    left_over: LeftOver,
    /// Everything up to this number has arrived or will not be sent.
    received: Sequence,
    /// Everything up to this number is settled.
    settled: Sequence,
    /// Everything up to this number is acknowledged on the wire.
    acked: Sequence,
    /// The last number, once the peer's CLOSE has named it.
    last: Option<Sequence>,
    queue: Queue,
    /// The timing of messages in `queue` that have times.
    timed: VecDeque<Timed>,
    /// The timing of the message that is arriving, if it has times.
    arriving: Option<Timing>,
    /// Whether [`ReceiveHalf::take_slowly`] has to be used.
    takes_slowly: bool,
    lease: Option<Lease>,
    taken: VecDeque<Taken>,
    assembly: Option<Assembly>,
    spare: Spare,
    /// Bytes that have arrived and are not settled, parts of a message included.
    held_bytes: usize,
    /// Bytes settled since the last acknowledgement. A peer that reads nothing gets no
    /// acknowledgement and may go on sending, so this saturates.
    unacked_bytes: usize,
    ack_due: bool,
    /// When a delayed acknowledgement becomes due.
    ack_at: Option<Instant>,
    /// Answers that were not sent on this connection yet.
    to_answer: VecDeque<Sequence>,
    /// Whether the application has stopped receiving: what arrives is rejected.
    abandoned: bool,
    readable_pending: bool,
    /// How many messages the application has taken.
    pub(crate) delivered: u64,
    /// How many messages were late when the application would have taken them.
    pub(crate) expired: u64,
    /// How old the last message with times was when the application took it.
    pub(crate) last_age: Reported<Option<Age>>,
    #[cfg(planted)]
    pub(crate) ignores_age: bool,
    /// This many newly settled messages or bytes are acknowledged at once.
    ack_messages: u64,
    ack_bytes: usize,
}

impl ReceiveHalf {
    pub(crate) fn new(config: &ReceiveChannel, dialect: Dialect, ack_delay: Duration) -> Self {
        Self {
            wire: 0,
            acking: config.acking,
            max_message: config.max_message,
            window_messages: usize::try_from(config.window_messages).unwrap_or(usize::MAX),
            window_bytes: config.window_bytes,
            ack_delay,
            own_max_reply: config.max_reply,
            max_reply: config.max_reply,
            base: 0,
            left_over: LeftOver::default(),
            received: 0,
            settled: 0,
            acked: 0,
            last: None,
            queue: Queue::new(config, dialect),
            timed: VecDeque::new(),
            arriving: None,
            takes_slowly: false,
            lease: config.lease.map(Lease::new),
            taken: VecDeque::new(),
            assembly: None,
            spare: Spare::new(config, dialect),
            held_bytes: 0,
            unacked_bytes: 0,
            ack_due: false,
            ack_at: None,
            to_answer: VecDeque::new(),
            abandoned: false,
            readable_pending: false,
            delivered: 0,
            expired: 0,
            last_age: Reported::default(),
            #[cfg(planted)]
            ignores_age: false,
            ack_messages: u64::from(config.window_messages / 4).max(1),
            ack_bytes: config.window_bytes / 4,
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// Returns how many bytes have arrived and are not settled, those of lost sessions included.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.held_bytes.saturating_add(self.left_over.bytes())
    }

    /// Returns how many more bytes may arrive.
    pub(crate) fn window_left(&self) -> usize {
        self.window_bytes.saturating_sub(self.held_bytes)
    }

    /// Applies the sender's limit of replies.
    pub(crate) fn set_max_reply(&mut self, theirs: u32) {
        let theirs = usize::try_from(theirs).unwrap_or(usize::MAX);
        self.max_reply = self.own_max_reply.min(theirs);
    }

    // From the peer.

    /// Begins a MESSAGE frame; `data` is what has arrived of its payload.
    #[inline(always)]
    pub(crate) fn begin(&mut self, head: &MessageHead, data: &[u8]) -> Result<(), PeerMisbehaved> {
        let sequence = self
            .received
            .checked_add(1)
            .ok_or(PeerMisbehaved::SequenceGap)?;
        // The wire carries the low half.
        #[expect(clippy::cast_possible_truncation)]
        let expected = sequence as u32;
        if head.sequence != expected {
            return Err(PeerMisbehaved::SequenceGap);
        }
        if self.last.is_some_and(|last| sequence > last) {
            return Err(PeerMisbehaved::AfterClose);
        }
        let room = self.window_bytes.saturating_sub(self.held_bytes);
        if head.length > room {
            return Err(PeerMisbehaved::WindowExceeded);
        }
        if head.first && head.last && data.len() == head.length && self.assembly.is_none() {
            self.check_begin(head.length as u64)?;
            self.held_bytes += head.length;
            if let Some(sequence) = self.arrive(data.len()) {
                self.queue.push_copy(sequence, data);
            }
            return Ok(());
        }
        self.begin_fragment(head)?;
        self.held_bytes += head.length;
        self.more(data)
    }

    #[inline(always)]
    fn check_begin(&self, total: u64) -> Result<(), PeerMisbehaved> {
        if usize::try_from(total).map_or(true, |total| total > self.max_message) {
            let limit = self.max_message;
            return Err(PeerMisbehaved::MessageTooLarge {
                length: total,
                limit,
            });
        }
        if self.queue.len() + self.taken.len() >= self.window_messages {
            return Err(PeerMisbehaved::WindowExceeded);
        }
        Ok(())
    }

    fn begin_fragment(&mut self, head: &MessageHead) -> Result<(), PeerMisbehaved> {
        if head.first {
            if self.assembly.is_some() {
                return Err(PeerMisbehaved::FragmentOrder);
            }
            let total = head.total.unwrap_or(head.length as u64);
            self.check_begin(total)?;
            // Checked just above to be within `max_message`.
            let total = usize::try_from(total).unwrap_or(usize::MAX);
            self.assembly = Some(Assembly {
                total,
                data: self.spare.memory(total),
                frame_left: 0,
                last: false,
            });
        }
        let Some(assembly) = &mut self.assembly else {
            return Err(PeerMisbehaved::FragmentOrder);
        };
        let through = assembly.data.len() + head.length;
        let adds_up = if head.last {
            through == assembly.total
        } else {
            through < assembly.total
        };
        let carries_something = head.length > 0 || (head.first && head.last);
        if !adds_up || !carries_something {
            return Err(PeerMisbehaved::FragmentLength);
        }
        assembly.frame_left = head.length;
        assembly.last = head.last;
        Ok(())
    }

    /// Continues the payload of the current MESSAGE frame.
    pub(crate) fn more(&mut self, data: &[u8]) -> Result<(), PeerMisbehaved> {
        let Some(assembly) = &mut self.assembly else {
            return Err(PeerMisbehaved::FragmentOrder);
        };
        assembly.append(data);
        assembly.frame_left -= data.len();
        let complete = assembly.frame_left == 0 && assembly.last;
        if complete && let Some(whole) = self.assembly.take() {
            if let Some(sequence) = self.arrive(whole.data.len()) {
                self.queue.push(sequence, self.spare.share(whole.data));
            }
            self.timed_arrived();
        }
        Ok(())
    }

    /// Records that a message of this length has arrived whole. Returns its number, unless it is
    /// rejected because the channel is abandoned.
    #[inline(always)]
    fn arrive(&mut self, length: usize) -> Option<Sequence> {
        self.received += 1;
        if self.abandoned {
            self.reject_no_receiver(self.received, length);
            return None;
        }
        self.readable_pending = true;
        Some(self.received)
    }

    /// Handles a SKIP: the numbers up to `through` will not be sent.
    pub(crate) fn skip(&mut self, now: Instant, through: Sequence) -> Result<(), PeerMisbehaved> {
        if self.assembly.is_some() {
            return Err(PeerMisbehaved::FragmentOrder);
        }
        if through <= self.received {
            return Err(PeerMisbehaved::SkippedBackwards);
        }
        if through > MAX_SEQUENCE {
            return Err(PeerMisbehaved::SequenceGap);
        }
        if self.last.is_some_and(|last| through > last) {
            return Err(PeerMisbehaved::AfterClose);
        }
        self.received = through;
        self.advance(now);
        Ok(())
    }

    /// Handles a CLOSE: the peer will send nothing after `last`.
    pub(crate) fn close(&mut self, last: Sequence) -> Result<(), PeerMisbehaved> {
        let begun = self.received + u64::from(self.assembly.is_some());
        let changed = self.last.is_some_and(|earlier| earlier != last);
        if last < begun || changed {
            return Err(PeerMisbehaved::CloseList);
        }
        self.last = Some(last);
        self.ack_due |= self.settled > self.acked;
        Ok(())
    }

    fn find_taken(&mut self, sequence: Sequence) -> Option<&mut Taken> {
        let found = self
            .taken
            .binary_search_by_key(&sequence, |taken| taken.sequence);
        self.taken.get_mut(found.ok()?)
    }

    // Commands.

    /// Takes the oldest message that the application has not taken, where
    /// [`ReceiveHalf::takes_slowly`] is false.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Option<(Sequence, Bytes)> {
        let (sequence, message) = self.queue.pop()?;
        self.deliver(now, sequence, message.len());
        Some((self.base.saturating_add(sequence), message))
    }

    /// Notes that the application takes a message of this length.
    #[inline]
    fn deliver(&mut self, now: Instant, sequence: Sequence, length: usize) {
        self.delivered += 1;
        if self.acking == Acking::Auto {
            self.held_bytes -= length;
            self.unacked_bytes = self.unacked_bytes.saturating_add(length);
            self.advance(now);
        } else {
            self.taken.push_back(Taken {
                sequence,
                length,
                state: TakenState::Waiting,
            });
        }
    }

    /// Returns how many messages wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        self.left_over.messages() + self.queue.len()
    }

    /// Returns the border, if it is taken next.
    #[inline]
    pub(crate) fn border(&self) -> Option<SessionLoss> {
        self.left_over.border()
    }

    /// Marks a message as handled.
    pub(crate) fn handle(&mut self, now: Instant, sequence: Sequence) -> Result<(), ReceiveError> {
        let length = self.waiting_mut(sequence).map(|taken| {
            taken.state = TakenState::Handled;
            taken.length
        })?;
        self.held_bytes -= length;
        self.unacked_bytes = self.unacked_bytes.saturating_add(length);
        self.advance(now);
        Ok(())
    }

    fn waiting_mut(&mut self, sequence: Sequence) -> Result<&mut Taken, ReceiveError> {
        if (1..=self.base).contains(&sequence) {
            return Err(ReceiveError::SessionLost);
        }
        let sequence = sequence.saturating_sub(self.base);
        self.find_taken(sequence)
            .filter(|taken| matches!(taken.state, TakenState::Waiting))
            .ok_or(ReceiveError::NotWaiting)
    }

    /// Stops receiving: messages that wait and those that arrive are rejected.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.spare.release_memory();
        self.left_over = LeftOver::default();
        self.timed.clear();
        self.takes_slowly = false;
        while let Some((sequence, message)) = self.queue.pop() {
            self.reject_no_receiver(sequence, message.len());
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn reject_no_receiver(&mut self, sequence: Sequence, length: usize) {
        let rejection = Rejection {
            code: reject::NO_RECEIVER,
            reason: String::new(),
        };
        self.answer_untaken(sequence, length, Answer::Rejected(rejection));
    }

    /// Advances the settled prefix and decides when to acknowledge it.
    #[inline]
    fn advance(&mut self, now: Instant) {
        while let Some(front) = self.taken.front() {
            if !matches!(front.state, TakenState::Handled | TakenState::Noted) {
                break;
            }
            self.taken.pop_front();
        }
        let oldest_taken = self.taken.front().map(|taken| taken.sequence);
        let oldest = oldest_taken.or_else(|| self.queue.first());
        self.settled = oldest.map_or(self.received, |sequence| sequence - 1);
        let fresh = self.settled - self.acked;
        if fresh == 0 {
            return;
        }
        // The last message is acknowledged at once, since the sender may wait for that. In a
        // stream, a quarter of the window is early enough for the sender never to run dry.
        self.ack_due |= self.settled == self.received
            || self.last.is_some()
            || fresh >= self.ack_messages
            || self.unacked_bytes >= self.ack_bytes;
        if self.ack_at.is_none() {
            self.ack_at = now.checked_add(self.ack_delay);
        }
    }

    /// Returns the next event for the application.
    pub(crate) fn poll_event(&mut self, channel: ChannelId) -> Option<Event> {
        let lease = self.poll_lease(channel);
        if lease.is_some() {
            return lease;
        }
        let readable = self.readable_pending && (self.waiting() > 0 || self.border().is_some());
        self.readable_pending = false;
        readable.then_some(Event::Readable(channel))
    }

    // To the wire.

    /// Returns the acknowledgement to write, if one is due, or, with `piggyback`, if there is
    /// anything new to acknowledge.
    pub(crate) fn ack(&self, piggyback: bool) -> Option<Sequence> {
        let due = self.ack_due || (piggyback && self.settled > self.acked);
        due.then_some(self.settled)
    }

    /// Records that the acknowledgement was written.
    pub(crate) fn ack_written(&mut self) {
        self.acked = self.settled;
        self.ack_due = false;
        self.unacked_bytes = 0;
        self.ack_at = None;
    }

    /// Whether an acknowledgement or an answer should go out now.
    pub(crate) fn wants_output(&self) -> bool {
        self.ack_due || !self.to_answer.is_empty()
    }

    /// Whether everything that the peer will ever send has arrived, is settled and is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.last.is_some_and(|last| self.acked == last)
    }

    // Time.

    /// Returns the earliest moment at which this half has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.ack_at, self.lease_until()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Handles the passing of time. Returns whether there is an event for the application.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_due = true;
            self.ack_at = None;
        }
        self.lapse_lease(now)
    }

    /// Releases memory that an idle channel does not need.
    pub(crate) fn release_memory(&mut self) {
        // A peer can ping often, and each short message that arrives after a release allocates a
        // chunk for many. So the chunk is kept while messages wait or are not settled.
        let nothing_is_kept = self.waiting() == 0 && self.taken.is_empty();
        self.queue.release_memory(nothing_is_kept);
        self.taken.shrink_to_fit();
        self.to_answer.shrink_to_fit();
        self.timed.shrink_to_fit();
        self.spare.release_memory();
    }

    // For the tlsstream dialect, in which messages arrive differently.

    /// Begins a message of this length.
    pub(crate) fn stream_begin(&mut self, length: u64) -> Result<(), PeerMisbehaved> {
        // The peer announces the length: added to what is held, it may overflow.
        let limit = self.max_message.min(usize::MAX - self.held_bytes);
        let total = match usize::try_from(length) {
            Ok(0) => return Err(PeerMisbehaved::StreamEmpty),
            Ok(total) if total <= limit => total,
            _ => return Err(PeerMisbehaved::MessageTooLarge { length, limit }),
        };
        self.assembly = Some(Assembly {
            total,
            data: self.spare.memory(total),
            frame_left: total,
            last: true,
        });
        self.held_bytes += total;
        Ok(())
    }

    /// Returns how many bytes are missing of the message that is arriving.
    pub(crate) fn stream_missing(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.frame_left)
    }

    /// Whether the window lets another message begin.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.window_messages && self.held_bytes < self.window_bytes
    }
}
