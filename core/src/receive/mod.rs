//! The receiving half of a channel: messages from the wire to the acknowledgement.

mod assembly;
mod bound;
mod left_over;
#[cfg(planted)]
mod planted;
mod pool;
mod queue;
mod session;

use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use core::time::Duration;

use bytes::Bytes;

pub(crate) use assembly::append;
use assembly::{Assembly, first_memory};
use left_over::LeftOver;
use pool::Pool;
use queue::Queue;

use crate::channel::{Acking, ReceiveChannel};
use crate::config::Dialect;
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
    /// Rejected; kept until the sender has noted it.
    Rejected {
        code: u32,
        reason: String,
        /// Whether REJECT was written on this connection: the message is not in `to_reject` then.
        sent: bool,
    },
    /// The sender has noted the rejection.
    Noted,
}

impl TakenState {
    /// Returns the state of a rejected message whose REJECT has to be sent.
    fn rejected(rejection: Rejection) -> Self {
        let Rejection { code, reason } = rejection;
        let sent = false;
        Self::Rejected { code, reason, sent }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ReceiveHalf {
    pub(crate) wire: u16,
    acking: Acking,
    max_message: usize,
    window_messages: usize,
    window_bytes: usize,
    ack_delay: Duration,
    silence: Option<Duration>,

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
    taken: VecDeque<Taken>,
    assembly: Option<Assembly>,
    /// Bytes that have arrived and are not settled, parts of a message included.
    held_bytes: usize,
    /// Bytes settled since the last acknowledgement. A peer that reads nothing gets no
    /// acknowledgement and may go on sending, so this saturates.
    unacked_bytes: usize,
    ack_due: bool,
    /// When a delayed acknowledgement becomes due.
    ack_at: Option<Instant>,
    /// Rejections that were not sent on this connection yet.
    to_reject: VecDeque<Sequence>,
    /// Whether the application has stopped receiving: what arrives is rejected.
    abandoned: bool,
    /// When the last message arrived, or the link first opened.
    last_arrival: Option<Instant>,
    silence_reported: bool,
    readable_pending: bool,
    /// How many messages the application has taken.
    pub(crate) delivered: u64,
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
            silence: config.silence,
            base: 0,
            left_over: LeftOver::default(),
            received: 0,
            settled: 0,
            acked: 0,
            last: None,
            queue: Queue::new(config, dialect),
            taken: VecDeque::new(),
            assembly: None,
            held_bytes: 0,
            unacked_bytes: 0,
            ack_due: false,
            ack_at: None,
            to_reject: VecDeque::new(),
            abandoned: false,
            last_arrival: None,
            silence_reported: false,
            readable_pending: false,
            delivered: 0,
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

    /// Notes that the link is up. Silence is counted from the first time on, also while the link is
    /// not up again.
    pub(crate) fn open(&mut self, now: Instant) {
        self.last_arrival.get_or_insert(now);
    }

    // From the peer.

    /// Begins a MESSAGE frame; `data` is what has arrived of its payload.
    #[inline(always)]
    pub(crate) fn begin(
        &mut self,
        now: Instant,
        head: &MessageHead,
        data: &[u8],
    ) -> Result<(), PeerMisbehaved> {
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
            if let Some(sequence) = self.arrive(now, data.len()) {
                self.queue.push_copy(sequence, data);
            }
            return Ok(());
        }
        self.begin_fragment(head)?;
        self.held_bytes += head.length;
        self.more(now, data)
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
                data: first_memory(total),
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
    pub(crate) fn more(&mut self, now: Instant, data: &[u8]) -> Result<(), PeerMisbehaved> {
        let Some(assembly) = &mut self.assembly else {
            return Err(PeerMisbehaved::FragmentOrder);
        };
        assembly.append(data);
        assembly.frame_left -= data.len();
        let complete = assembly.frame_left == 0 && assembly.last;
        if complete
            && let Some(whole) = self.assembly.take()
            && let Some(sequence) = self.arrive(now, whole.data.len())
        {
            self.queue.push(sequence, Bytes::from(whole.data));
        }
        Ok(())
    }

    /// Records that a message of this length has arrived whole. Returns its number, unless it is
    /// rejected because the channel is abandoned.
    #[inline(always)]
    fn arrive(&mut self, now: Instant, length: usize) -> Option<Sequence> {
        self.received += 1;
        self.last_arrival = Some(now);
        self.silence_reported = false;
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

    /// Handles a NOTED: the sender knows of a rejection.
    pub(crate) fn noted(&mut self, now: Instant, sequence: Sequence) -> Result<(), PeerMisbehaved> {
        let taken = self
            .find_taken(sequence)
            .filter(|taken| matches!(taken.state, TakenState::Rejected { sent: true, .. }))
            .ok_or(PeerMisbehaved::NothingToSettle)?;
        taken.state = TakenState::Noted;
        self.advance(now);
        Ok(())
    }

    fn find_taken(&mut self, sequence: Sequence) -> Option<&mut Taken> {
        let found = self
            .taken
            .binary_search_by_key(&sequence, |taken| taken.sequence);
        self.taken.get_mut(found.ok()?)
    }

    // Commands.

    /// Takes the oldest message that the application has not taken, or the border before it.
    #[inline]
    pub(crate) fn take(&mut self, now: Instant) -> Result<Option<(Sequence, Bytes)>, ReceiveError> {
        if !self.left_over.is_empty() {
            return self.take_left_over();
        }
        let Some((sequence, message)) = self.queue.pop() else {
            return Ok(None);
        };
        self.delivered += 1;
        if self.acking == Acking::Auto {
            self.held_bytes -= message.len();
            self.unacked_bytes = self.unacked_bytes.saturating_add(message.len());
            self.advance(now);
        } else {
            let length = message.len();
            self.taken.push_back(Taken {
                sequence,
                length,
                state: TakenState::Waiting,
            });
        }
        Ok(Some((self.base.saturating_add(sequence), message)))
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

    /// Rejects a message.
    pub(crate) fn reject(
        &mut self,
        sequence: Sequence,
        rejection: Rejection,
    ) -> Result<(), ReceiveError> {
        let length = self.waiting_mut(sequence).map(|taken| {
            taken.state = TakenState::rejected(rejection);
            taken.length
        })?;
        self.held_bytes -= length;
        self.to_reject.push_back(sequence.saturating_sub(self.base));
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
        self.left_over = LeftOver::default();
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
        let state = TakenState::rejected(rejection);
        self.taken.push_back(Taken {
            sequence,
            length,
            state,
        });
        self.held_bytes -= length;
        self.to_reject.push_back(sequence);
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

    /// Whether an acknowledgement or a rejection should go out now.
    pub(crate) fn wants_output(&self) -> bool {
        self.ack_due || !self.to_reject.is_empty()
    }

    /// Returns the next rejection to write: the message, the code and the reason.
    pub(crate) fn next_rejection(&self) -> Option<(Sequence, u32, &str)> {
        let sequence = *self.to_reject.front()?;
        let at = self
            .taken
            .binary_search_by_key(&sequence, |taken| taken.sequence)
            .ok()?;
        match &self.taken.get(at)?.state {
            TakenState::Rejected { code, reason, .. } => Some((sequence, *code, reason)),
            _ => None,
        }
    }

    /// Records that the next rejection was written.
    pub(crate) fn rejection_written(&mut self) {
        let written = self.to_reject.pop_front();
        let taken = written.and_then(|sequence| self.find_taken(sequence));
        if let Some(TakenState::Rejected { sent, .. }) = taken.map(|taken| &mut taken.state) {
            *sent = true;
        }
    }

    /// Whether everything that the peer will ever send has arrived, is settled and is acknowledged.
    pub(crate) fn is_settled(&self) -> bool {
        self.last.is_some_and(|last| self.acked == last)
    }

    // Time.

    /// Returns the earliest moment at which this half has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.ack_at, self.silent_at()].into_iter().flatten().min()
    }

    fn silent_at(&self) -> Option<Instant> {
        let after = self.silence.filter(|_| !self.silence_reported)?;
        self.last_arrival?.checked_add(after)
    }

    /// Handles the passing of time. Returns whether to report silence to the application.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_due = true;
            self.ack_at = None;
        }
        let silent = self.silent_at().is_some_and(|at| at <= now);
        self.silence_reported |= silent;
        silent
    }

    /// Releases memory that an idle channel does not need.
    pub(crate) fn release_memory(&mut self) {
        // A peer can ping often, and each short message that arrives after a release allocates a
        // chunk for many. So the chunk is kept while messages wait or are not settled.
        let nothing_is_kept = self.waiting() == 0 && self.taken.is_empty();
        self.queue.release_memory(nothing_is_kept);
        self.taken.shrink_to_fit();
        self.to_reject.shrink_to_fit();
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
            data: first_memory(total),
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

    /// Returns a rejection with the application's code and reason, cut to what the wire carries.
    pub(crate) fn rejection(code: u32, reason: &str) -> Rejection {
        let reason = crate::wire::cut(reason, crate::verdict::MAX_REASON).to_string();
        Rejection { code, reason }
    }
}
