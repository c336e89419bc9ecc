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

/// The highest number of a message. No session gets there by sending, so only a SKIP is checked
/// against it; counting on from there can't overflow.
const MAX_SEQUENCE: Sequence = Sequence::MAX / 2;

/// A message that the application has, or has rejected, and that is not yet part of the
/// acknowledged prefix.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Taken {
    sequence: Sequence,
    length: usize,
    state: TakenState,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum TakenState {
    /// The application has it.
    Waiting,
    /// Handled, but something before it is not.
    Handled,
    /// Rejected; kept until the sender is known to know.
    Rejected {
        code: u32,
        reason: String,
        /// REJECT went out on this connection: the message is not in `to_reject`.
        told: bool,
    },
    /// The sender knows of the rejection.
    Noted,
}

impl TakenState {
    /// Rejected, and the sender is to be told.
    fn rejected(rejection: Rejection) -> Self {
        let Rejection { code, reason } = rejection;
        let told = false;
        Self::Rejected { code, reason, told }
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

    /// How many numbers earlier sessions have used: what the application is told counts on.
    base: Sequence,
    /// What arrived whole in sessions that were lost, and has not been taken.
    left_over: LeftOver,
    /// Everything up to this number has arrived or will not come.
    received: Sequence,
    /// Everything up to this number is settled.
    settled: Sequence,
    /// Everything up to this number is acknowledged on the wire.
    acked: Sequence,
    /// The peer has said that nothing follows this number.
    last: Option<Sequence>,
    queue: Queue,
    taken: VecDeque<Taken>,
    assembly: Option<Assembly>,
    /// Bytes that have arrived and are not settled, parts of a message included.
    held_bytes: usize,
    /// Bytes settled since the last acknowledgement. A peer that reads nothing gets none, and may go
    /// on sending until this holds no more.
    unacked_bytes: usize,
    ack_due: bool,
    /// When an acknowledgement is due for lack of company.
    ack_at: Option<Instant>,
    /// Rejections of which the peer has not been told on this connection.
    to_reject: VecDeque<Sequence>,
    /// Nobody listens any more: what comes is rejected.
    abandoned: bool,
    /// When the last message arrived or the link opened.
    heard: Option<Instant>,
    silence_told: bool,
    news: bool,
    /// How many messages the application has taken.
    pub(crate) delivered: u64,
    /// This many fresh messages or bytes are acknowledged at once.
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
            heard: None,
            silence_told: false,
            news: false,
            delivered: 0,
            ack_messages: u64::from(config.window_messages / 4).max(1),
            ack_bytes: config.window_bytes / 4,
        }
    }

    pub(crate) fn max_message(&self) -> usize {
        self.max_message
    }

    /// How many bytes have arrived and are not settled, those of lost sessions included.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.held_bytes.saturating_add(self.left_over.bytes())
    }

    /// How many bytes more may arrive.
    pub(crate) fn window_left(&self) -> usize {
        self.window_bytes.saturating_sub(self.held_bytes)
    }

    /// The link is up. Silence counts from the first time on, and goes on counting while the link
    /// is cut.
    pub(crate) fn open(&mut self, now: Instant) {
        self.heard.get_or_insert(now);
    }

    // From the peer.

    /// A MESSAGE frame begins; `data` is what has arrived of its payload.
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

    /// The payload of the current MESSAGE frame goes on.
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

    /// A message of this length is here whole; gives its number if somebody may take it.
    #[inline(always)]
    fn arrive(&mut self, now: Instant, length: usize) -> Option<Sequence> {
        self.received += 1;
        self.heard = Some(now);
        self.silence_told = false;
        if self.abandoned {
            self.turn_away(self.received, length);
            return None;
        }
        self.news = true;
        Some(self.received)
    }

    /// The numbers up to `through` will not come.
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

    /// The peer will send nothing after `last`.
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

    /// The sender knows of a rejection.
    pub(crate) fn noted(&mut self, now: Instant, sequence: Sequence) -> Result<(), PeerMisbehaved> {
        let taken = self
            .find_taken(sequence)
            .filter(|taken| matches!(taken.state, TakenState::Rejected { told: true, .. }))
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

    /// The oldest message that the application has not taken, or the border before it.
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

    /// How many messages wait to be taken.
    pub(crate) fn waiting(&self) -> usize {
        self.left_over.messages() + self.queue.len()
    }

    /// The border that would be taken next.
    #[inline]
    pub(crate) fn border(&self) -> Option<SessionLoss> {
        self.left_over.border()
    }

    /// The application has handled a message.
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

    /// The application refuses a message.
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

    /// Nobody listens any more: what waits and what comes is rejected.
    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        self.left_over = LeftOver::default();
        while let Some((sequence, message)) = self.queue.pop() {
            self.turn_away(sequence, message.len());
        }
    }

    pub(crate) fn is_abandoned(&self) -> bool {
        self.abandoned
    }

    fn turn_away(&mut self, sequence: Sequence, length: usize) {
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

    /// Moves the settled prefix on and decides when to acknowledge it.
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
        // Whoever waits for the last message hears at once; in a stream, a quarter of the window
        // is early enough for the sender never to run dry.
        self.ack_due |= self.settled == self.received
            || self.last.is_some()
            || fresh >= self.ack_messages
            || self.unacked_bytes >= self.ack_bytes;
        if self.ack_at.is_none() {
            self.ack_at = now.checked_add(self.ack_delay);
        }
    }

    /// The next thing to tell the application.
    pub(crate) fn poll_news(&mut self, channel: ChannelId) -> Option<Event> {
        let news = self.news && (self.waiting() > 0 || self.border().is_some());
        self.news = false;
        news.then_some(Event::Readable(channel))
    }

    // To the wire.

    /// The acknowledgement to write, if one is due, or if `anyway` and there is news.
    pub(crate) fn ack(&self, anyway: bool) -> Option<Sequence> {
        let due = self.ack_due || (anyway && self.settled > self.acked);
        due.then_some(self.settled)
    }

    /// The acknowledgement was written.
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

    /// The next rejection to write: the message, the code and the reason.
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

    /// The next rejection was written.
    pub(crate) fn rejection_written(&mut self) {
        let written = self.to_reject.pop_front();
        let taken = written.and_then(|sequence| self.find_taken(sequence));
        if let Some(TakenState::Rejected { told, .. }) = taken.map(|taken| &mut taken.state) {
            *told = true;
        }
    }

    /// Whether everything that the peer will ever send has arrived and is settled.
    pub(crate) fn is_settled(&self) -> bool {
        self.last.is_some_and(|last| self.acked == last)
    }

    // Time.

    /// The earliest moment at which this half has something to do.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.ack_at, self.silent_at()].into_iter().flatten().min()
    }

    fn silent_at(&self) -> Option<Instant> {
        let after = self.silence.filter(|_| !self.silence_told)?;
        self.heard?.checked_add(after)
    }

    /// Time has passed; true when the application is to be told of silence.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.ack_at.is_some_and(|at| at <= now) {
            self.ack_due = true;
            self.ack_at = None;
        }
        let silent = self.silent_at().is_some_and(|at| at <= now);
        self.silence_told |= silent;
        silent
    }

    /// Lets go of memory that an idle channel does not need.
    pub(crate) fn release_memory(&mut self) {
        // A peer can ping often, and each short message after this takes a piece of memory for
        // many. So what waits shares the piece with what comes.
        let nothing_is_kept = self.waiting() == 0 && self.taken.is_empty();
        self.queue.release_memory(nothing_is_kept);
        self.taken.shrink_to_fit();
        self.to_reject.shrink_to_fit();
    }

    // For the tlsstream dialect, which has its own way of arriving.

    /// A message of this length begins to arrive.
    pub(crate) fn stream_begin(&mut self, length: u64) -> Result<(), PeerMisbehaved> {
        // The length is the peer's word: with what is held it may be more than a figure holds.
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

    /// What is still missing of the message that is arriving.
    pub(crate) fn stream_missing(&self) -> usize {
        self.assembly
            .as_ref()
            .map_or(0, |assembly| assembly.frame_left)
    }

    /// Whether the window lets another message begin.
    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.window_messages && self.held_bytes < self.window_bytes
    }

    /// A rejection for the application's code and reason, cut to what the wire carries.
    pub(crate) fn rejection(code: u32, reason: &str) -> Rejection {
        let reason = crate::wire::cut(reason, crate::verdict::MAX_REASON).to_string();
        Rejection { code, reason }
    }
}
