//! One end of a link.

mod admission;
mod batch;
mod bound;
mod close;
mod commands;
mod connection;
mod greeting;
mod input;
mod output;
#[cfg(planted)]
mod planted;
mod protocol;
mod session;
mod session_end;
mod status;
mod stream;
mod timers;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

pub use admission::{Request, TakeOver};
pub use batch::SentBatch;
pub use close::CloseMode;
pub use output::Output;
#[cfg(planted)]
pub use planted::Planted;
pub use protocol::Protocol;
pub use status::{ChannelReport, ChannelStatus, LinkStatus};
pub use stream::STREAM_WHOLE;

use self::close::Closing;
use self::connection::{Connection, LastFrame};
use self::session::Session;
use self::status::Tally;
use self::timers::{Timer, Timers};

use crate::age::{Age, Timing};
use crate::channel::ChannelConfig;
use crate::config::{Config, Dialect, Role};
use crate::config_error::ConfigError;
use crate::error::{EndReason, Loss, OutOfOrder};
use crate::event::{ChannelId, Event};
use crate::observe::{Call, Observe, Observer, Outcome};
use crate::receive::ReceiveHalf;
use crate::reconnect::Backoff;
use crate::redact::Redacted;
use crate::refuse::Refusal;
use crate::reported::Reported;
use crate::rng::Rng;
use crate::send::SendHalf;
use crate::spent::Spent;
use crate::state::{Input, LinkState, Step};
use crate::verdict::VerdictCounts;
use crate::{Instant, Sequence, SessionId};

/// The identity of a peer, whichever of its keys proves it. The core only compares it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PeerId(pub [u8; 32]);

/// A received message and its number.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The message's number on its channel, by which a `Manual` receiver settles it.
    pub sequence: Sequence,
    /// The message's bytes. Short messages share memory with their neighbours, up to 16 KiB, so
    /// keeping one for long keeps that. On a `Manual` channel it keeps no more than one message's
    /// share of the window: its bytes divided by its messages.
    pub payload: Bytes,
    timing: Option<Timing>,
}

impl Message {
    /// Returns how old the message is at `now`, by the clock of the calls of its link; `None` if its
    /// sender has not added its times, which it does for messages with a limited life and on
    /// channels with a [`lease`](crate::ReceiveChannel::lease), or if nothing is known of the
    /// sender's clock.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Age> {
        self.timing.as_ref()?.age(now)
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("sequence", &self.sequence)
            .field("payload", &Redacted(self.payload.len()))
            .finish()
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there are few, and every message goes through one"
)]
enum Half {
    Send(SendHalf),
    Receive(ReceiveHalf),
}

impl Half {
    /// Returns a half for each channel of the declaration.
    fn for_all(config: &Config) -> Vec<Self> {
        let half = |channel: &ChannelConfig| match channel {
            ChannelConfig::Send(channel) => Self::Send(SendHalf::new(channel)),
            ChannelConfig::Receive(channel) => Self::Receive(ReceiveHalf::new(
                channel,
                config.dialect,
                config.timeouts.ack_delay,
            )),
        };
        config.channels.iter().map(half).collect()
    }

    fn verdicts(&self) -> VerdictCounts {
        match self {
            Self::Send(half) => half.counts,
            Self::Receive(_) => VerdictCounts::default(),
        }
    }
}

/// One end of a link, as a state machine without I/O.
///
/// # Methods by class
///
/// - **Getters** change nothing.
/// - **`handle_*`** report what happened outside: a connection was opened, secured or lost, bytes
///   arrived, time passed.
/// - **Commands** ([`send`](Self::send), [`take`](Self::take), [`handle`](Self::handle),
///   [`reject`](Self::reject), [`abandon`](Self::abandon), [`close`](Self::close),
///   [`connect_now`](Self::connect_now), and [`handle_lost`](Self::handle_lost) where the caller
///   gives the link up) are what the application asks for.
/// - **`poll_*`** return what is to be done: bytes to write, an event to pass on, the moment at
///   which to call [`handle_timeout`](Self::handle_timeout).
///
/// All of them may be called in any order at any time. Any call that is not a getter may produce
/// output, events and another deadline. A caller that polls all three until they are empty and then
/// waits for input or for the deadline never stalls.
///
/// ```
/// use countersign_core::{Config, Event, Instant, Link, Output, ReceiveChannel, Role, SendChannel};
///
/// let mut robot = Link::new(
///     &Config::new().channel(SendChannel::new("video")), Role::Acceptor, [1; 16])?;
/// let mut operator = Link::new(
///     &Config::new().channel(ReceiveChannel::new("video")), Role::Opener, [2; 16])?;
/// let now = Instant::ZERO;
/// for end in [&mut robot, &mut operator] {
///     end.handle_opened(now)?;
///     end.handle_secured(now, None)?;
/// }
/// let video = robot.channel_id("video").unwrap();
/// let number = robot.send(now, video, &b"a picture"[..], None)?;
///
/// let mut buffer = [0; 1024];
/// for _ in 0..3 {
///     while let Output::Written(n) = operator.poll_output(now, &mut buffer) {
///         robot.handle_input(now, &buffer[..n]);
///     }
///     while let Output::Written(n) = robot.poll_output(now, &mut buffer) {
///         operator.handle_input(now, &buffer[..n]);
///     }
///     let video = operator.channel_id("video").unwrap();
///     if let Some(message) = operator.take(now, video)? {
///         assert_eq!(&message.payload[..], b"a picture");
///     }
/// }
/// assert_eq!(robot.poll_event(), Some(Event::Connected));
/// assert_eq!(
///     robot.poll_event(),
///     Some(Event::Handled { channel: video, first: number, last: number, count: 1 })
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Link {
    role: Role,
    config: Config,
    state: LinkState,
    end_reason: Option<EndReason>,
    last_loss: Option<Loss>,
    /// The peer's latest refusal that allows another attempt.
    refusal: Option<Refusal>,
    /// The latest moment that any call has named.
    now: Instant,
    rng: Rng,
    session: Session,
    /// The identity that the other end of the connection has proved.
    peer: Option<PeerId>,
    /// How many connections there were, including this one.
    connections: u64,
    /// The latest connection.
    connection: Connection,
    /// By [`ChannelId`].
    halves: Vec<Half>,
    /// From a channel's number on the wire to its [`ChannelId`]; empty before the handshake.
    wire: Vec<u16>,
    /// The largest frame to write.
    frame_limit: usize,
    closing: Closing,
    timers: Timers,
    backoff: Backoff,
    /// When memory may be released again.
    release_at: Instant,

    /// Whether this end adds times to any message, so that the peer needs to know its clock.
    sends_times: bool,
    /// Whether a channel is urgent.
    has_urgent: bool,
    /// Whether `poll_output` might have something to write.
    wants_output: bool,
    /// Whether `poll_event` might have something to return.
    has_events: bool,
    /// Events that concern the link as a whole, at most one of each kind.
    events: VecDeque<Event>,
    /// Payloads for the caller to drop.
    spent: Spent,
    tally: Reported<Tally>,
    observer: Observer,

    #[cfg(planted)]
    planted: Option<Planted>,
}

impl Link {
    /// Creates a link that is not connected yet.
    ///
    /// `seed` is all the randomness that the link ever uses. Where session ids must not be guessed,
    /// pass sixteen bytes from a good source.
    ///
    /// # Errors
    ///
    /// The errors of [`Config::check`].
    pub fn new(config: &Config, role: Role, seed: [u8; 16]) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            role,
            config: config.clone(),
            state: LinkState::Offline,
            end_reason: None,
            last_loss: None,
            refusal: None,
            now: Instant::ZERO,
            rng: Rng::new(seed),
            session: Session::default(),
            peer: None,
            connections: 0,
            connection: Connection::none(config),
            halves: Half::for_all(config),
            wire: Vec::new(),
            frame_limit: config.frame_limit,
            closing: Closing::default(),
            timers: match role {
                Role::Opener => Timers::only(Timer::Connect, Some(Instant::ZERO)),
                Role::Acceptor => Timers::default(),
            },
            backoff: Backoff::default(),
            release_at: Instant::ZERO,
            sends_times: false,
            has_urgent: config.has_urgent(),
            wants_output: false,
            has_events: false,
            events: VecDeque::new(),
            spent: Spent::default(),
            tally: Reported::default(),
            observer: Observer::default(),
            #[cfg(planted)]
            planted: None,
        })
    }

    /// Creates a link as [`Link::new`] does, with an observer that is notified of every call that
    /// may change the link, beginning with this one.
    ///
    /// # Errors
    ///
    /// As for [`Link::new`].
    pub fn observed(
        config: &Config,
        role: Role,
        seed: [u8; 16],
        observer: Box<dyn Observe>,
    ) -> Result<Self, ConfigError> {
        let mut link = Self::new(config, role, seed)?;
        link.observer = Observer::new(observer);
        let seed = &seed;
        link.observer
            .call(link.now, Call::New { config, role, seed });
        Ok(link)
    }

    // Getters.

    /// Returns the state of the link.
    #[must_use]
    pub fn state(&self) -> LinkState {
        self.state
    }

    /// Returns why the link ended, once it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<&EndReason> {
        self.end_reason.as_ref()
    }

    /// Returns how the last connection was lost or could not be opened, if one was.
    #[must_use]
    pub fn last_loss(&self) -> Option<Loss> {
        self.last_loss
    }

    /// Returns the peer's latest refusal that allows another attempt ([`Loss::Refused`]).
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// Returns the role of this end.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Returns the declaration that this end was created with, or that
    /// [`Incoming::declare`](crate::Incoming::declare) has changed.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the peer's identity, once the connection is secured; `None` on a plain one.
    #[must_use]
    pub fn peer(&self) -> Option<PeerId> {
        self.peer
    }

    /// Returns the session's id, zeros before the first handshake.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.session.id
    }

    /// Returns the number of the current connection, or of the last one; the first is 1. What still
    /// arrives on an older one must not reach the link.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connections
    }

    /// Returns how many times a session was resumed on a new connection.
    #[must_use]
    pub fn resumes(&self) -> u64 {
        self.session.resumes
    }

    /// Whether the caller should open a transport connection and report it with
    /// [`handle_opened`](Self::handle_opened), or with [`handle_lost`](Self::handle_lost) if it
    /// can't be opened.
    #[must_use]
    pub fn wants_connect(&self) -> bool {
        self.state == LinkState::Connecting
    }

    /// Returns the channel of this name.
    #[must_use]
    pub fn channel_id(&self, name: &str) -> Option<ChannelId> {
        let at = self
            .config
            .channels
            .iter()
            .position(|channel| channel.name() == name)?;
        u16::try_from(at).ok().map(ChannelId)
    }

    /// Returns the largest message that a channel carries, in bytes; once the link is up, the
    /// smaller value of both ends.
    #[must_use]
    pub fn max_message(&self, channel: ChannelId) -> Option<usize> {
        self.halves.get(channel.index()).map(|half| match half {
            Half::Send(half) => half.max_message(),
            Half::Receive(half) => half.max_message(),
        })
    }

    /// Returns how many messages wait to be taken from a channel; zero in send mode.
    #[must_use]
    pub fn waiting(&self, channel: ChannelId) -> usize {
        match self.halves.get(channel.index()) {
            Some(Half::Receive(half)) => half.waiting(),
            _ => 0,
        }
    }

    /// Whether [`Link::poll_output`] may have something to write. A caller that sends from outside
    /// of the loop that drives the link wakes that loop when this is true.
    #[must_use]
    pub fn wants_output(&self) -> bool {
        let writes = !matches!(
            self.state,
            LinkState::Offline | LinkState::Connecting | LinkState::Securing
        );
        self.wants_output && writes
    }

    /// Whether the link still needs the transport connection. Drop the connection when this is
    /// false.
    #[must_use]
    pub fn wants_connection(&self) -> bool {
        self.connection.is_open
    }

    /// Returns how many messages of a channel in send mode got each verdict so far; all zero in
    /// receive mode.
    ///
    /// A verdict may be counted here before its event is polled.
    #[must_use]
    pub fn verdicts(&self, channel: ChannelId) -> Option<VerdictCounts> {
        self.halves.get(channel.index()).map(Half::verdicts)
    }

    /// Takes the payloads that the link no longer needs: those of messages that got their verdict,
    /// including those that were superseded, expired or withdrawn.
    ///
    /// Dropping a payload may run foreign code ([`Bytes::from_owner`]), which may use this link. So
    /// a link drops none during a call, but keeps them for the caller to take after each call and
    /// to drop where that code may run: after a lock is released, say. What was not taken is
    /// dropped at the beginning of the next call that takes the time, except [`take`](Self::take)
    /// and [`take_batch`](Self::take_batch), so a caller whose payloads run no such code can ignore
    /// this.
    #[must_use]
    pub fn take_spent(&mut self) -> Spent {
        self.spent.take()
    }

    /// Makes the link drop no payload from here on. The caller takes them
    /// ([`take_spent`](Self::take_spent)) soon after each call, since they count in no queue while
    /// the link holds them.
    pub fn keep_spent(&mut self) {
        self.spent.keep();
    }

    // Events.

    /// Returns the next event for the application.
    ///
    /// The number of pending events is bounded: there is one of each kind for the link, one
    /// `Readable`, `Room`, `Handled`, `LeaseHeld` and `LeaseLapsed` for each channel, and a `Verdict` counts in its
    /// channel's queue until it is polled here.
    pub fn poll_event(&mut self) -> Option<Event> {
        if !self.has_events {
            return None;
        }
        if !self.observer.is_set() {
            return self.next_event();
        }
        self.observer.call(self.now, Call::PollEvent);
        let event = self.next_event();
        let ended = event == Some(Event::Ended);
        let reason = self.end_reason.as_ref().filter(|_| ended);
        self.observer
            .outcome(Outcome::Event(event.as_ref(), reason));
        event
    }

    fn next_event(&mut self) -> Option<Event> {
        // The end of the link or of a session is reported after every verdict.
        let is_end = |event: &Event| matches!(event, Event::Ended | Event::SessionLost(_));
        if self.events.front().is_some_and(|event| !is_end(event)) {
            return self.events.pop_front();
        }
        for (at, half) in self.halves.iter_mut().enumerate() {
            let channel = ChannelId(u16::try_from(at).unwrap_or(u16::MAX));
            let event = match half {
                Half::Send(half) => half.poll_event(channel),
                Half::Receive(half) => half.poll_event(channel),
            };
            if event.is_some() {
                return event;
            }
        }
        let event = self.events.pop_front();
        self.has_events = event.is_some();
        event
    }

    /// Adds an event that concerns the link as a whole. It replaces an earlier one of its kind that
    /// was not polled, so that their number is bounded.
    fn push_event(&mut self, event: Event) {
        let kind = core::mem::discriminant(&event);
        self.events
            .retain(|earlier| core::mem::discriminant(earlier) != kind);
        self.events.push_back(event);
        self.has_events = true;
    }

    /// Applies an input to the table. Returns whether the state changed.
    fn step(&mut self, input: Input) -> Result<bool, OutOfOrder> {
        match self.state.step(input) {
            Step::To(next) => {
                self.tally
                    .0
                    .record_transition(self.now, self.state.is_up(), next.is_up());
                self.state = next;
                Ok(true)
            }
            Step::Stay => Ok(false),
            Step::Invalid => Err(OutOfOrder {
                input,
                state: self.state,
            }),
        }
    }

    /// Does the work of a call, and notifies the observer before and after.
    #[inline]
    fn observe<'a, R: Copy>(
        &mut self,
        call: &Call<'_>,
        outcome: impl FnOnce(R) -> Outcome<'a>,
        work: impl FnOnce(&mut Self) -> R,
    ) -> R {
        self.observer.call(self.now, *call);
        let result = work(self);
        self.observer.outcome(outcome(result));
        result
    }

    /// Begins a call that takes the time: drops the payloads that the caller has not taken (see
    /// [`Spent`]) and advances the clock.
    #[inline]
    fn begin_call(&mut self, now: Instant) {
        self.spent.clear();
        self.advance_clock(now);
    }

    fn advance_clock(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// Ends the link, if it has not ended, and sends the peer a last frame if there is one.
    fn fail(&mut self, input: Input, reason: EndReason, last_frame: Option<LastFrame>) {
        if !matches!(self.step(input), Ok(true)) {
            return;
        }
        for half in &mut self.halves {
            match half {
                Half::Send(half) => half.end(&mut self.spent),
                Half::Receive(half) => half.end(),
            }
        }
        // Whatever happened to the session that replaced it: the link ended with the one before.
        let over = self.session.over.map(EndReason::SessionLost);
        self.end_reason = Some(over.unwrap_or(reason));
        self.connection.last_frame = last_frame;
        self.timers = Timers::only(
            Timer::Linger,
            self.now.checked_add(self.config.timeouts.linger),
        );
        self.wants_output = self.connection.is_open;
        self.push_event(Event::Ended);
    }

    fn is_native(&self) -> bool {
        self.config.dialect == Dialect::Countersign
    }
}

impl fmt::Debug for Link {
    /// Writes the state without messages, session ids and the seed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("role", &self.role())
            .field("state", &self.state())
            .field("end_reason", &self.end_reason())
            .field("last_loss", &self.last_loss())
            .field("peer", &self.peer())
            .field("connection", &self.connection())
            .field("channels", &self.report())
            .finish_non_exhaustive()
    }
}
