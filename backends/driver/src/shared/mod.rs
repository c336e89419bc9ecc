//! The state that the handles of a link share with its driver.

mod dispatch;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Weak};
use std::task::Waker;

use countersign_core::{
    ChannelId, CloseMode, CloseReason, Config, Disconnect, EndReason, Incoming, Instant, Link,
    LinkState, Mode, TakeOver, close,
};
use countersign_endpoint::{Endpoint, EndpointEvent, ErrorContext, FailureKind, Peer, Security};

use crate::accept_queue::LinkSlot;
use crate::addresses::Addresses;
use crate::clock::Clock;
use crate::error::LinkError;
use crate::failure::Failure;
use crate::failure_log::{FailureLog, KINDS};
use crate::link_event::LinkEvent;
use crate::lock::{Deferred, Lock, Locked};
use crate::receipt::Receipts;
use crate::split_warning::SplitWarning;
use crate::wakers::{Awaited, Waits, WakerSet};

/// One channel's waiting tasks and receipts.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// The tasks that wait for room or for a message.
    pub(crate) wakers: WakerSet,
    pub(crate) receipts: Receipts,
    /// The receiver was handed out.
    pub(crate) taken: bool,
}

impl Channel {
    /// Makes one for each declared channel.
    fn of_all(config: &Config) -> Vec<Self> {
        config.channels().iter().map(|_| Self::default()).collect()
    }
}

/// The link and the tasks that wait for it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) channels: Vec<Channel>,
    pub(crate) events: VecDeque<LinkEvent>,
    /// The tasks that wait for the link to connect or to end, or for an event.
    pub(crate) wakers: WakerSet,
    pub(crate) connected: bool,
    /// The number of the latest connection that has led to the peer.
    arrived: u64,
    pub(crate) ended: bool,
    /// The driver is gone, and the last connection with it: nothing more can be sent.
    pub(crate) driver_gone: bool,
    /// A lost session was reported to the application, and not yet the next one.
    session_lost: bool,
    /// The identity that the peer has proved on the latest connection.
    pub(crate) peer: Option<Peer>,
    /// Resolves the peer's current name.
    security: Security,
    /// The addresses of the latest transport connection.
    pub(crate) addresses: Addresses,
    pub(crate) error_context: ErrorContext,
    failure_log: FailureLog,
    /// Why there is no connection, while there is none.
    pub(crate) failure: Option<Failure>,
    failures: u64,
    /// How many times another driver has taken the link over.
    pub(crate) driver_number: u64,
    /// Wakes the driver.
    driver: Option<Waker>,
    /// The driver sleeps until it is woken or its deadline passes.
    pub(crate) sleeps: bool,
    /// The time when the clock was last read.
    pub(crate) now: Instant,
    /// The transport takes nothing at present, so output is no reason to wake the driver.
    pub(crate) blocked: bool,
    /// The deadline at which the driver wakes by itself.
    pub(crate) armed: Option<Instant>,
    pub(crate) deferred: Deferred,
    /// The listener that has accepted it, until it has ended.
    listener: Option<Listening>,
}

/// A link's registration with its listener.
#[derive(Debug)]
struct Listening {
    slot: LinkSlot,
    /// The link, as the listener refers to it.
    link: Weak<Shared>,
}

/// A link that several tasks or threads use.
pub(crate) struct Shared {
    state: Lock<State>,
    pub(crate) split_warning: SplitWarning,
    pub(crate) clock: Clock,
}

impl fmt::Debug for Shared {
    /// Writes nothing of the state, for which the link would have to be locked.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

/// How many kinds of events may be pending for the application, and the longest text of one, in
/// bytes.
const EVENTS: usize = 8;
const TEXT: usize = 1024;

impl Shared {
    /// Returns an upper bound of the memory used, in bytes, excluding the link, receipts and
    /// handles.
    pub(crate) const fn memory_bound(channels: usize) -> usize {
        let event = 3 * size_of::<LinkEvent>() + TEXT;
        // Each channel may have two pending events with its name, for its lease.
        let failures = 3 * KINDS * size_of::<FailureKind>() + 2 * TEXT;
        size_of::<Self>()
            + channels * (size_of::<Channel>() + 2 * event)
            + EVENTS * event
            + failures
    }

    pub(crate) fn new(mut link: Link, security: &Security, clock: &Clock) -> Arc<Self> {
        link.keep_spent();
        let split_warning = SplitWarning::of(link.config());
        let channels = Channel::of_all(link.config());
        let state = State {
            link,
            channels,
            events: VecDeque::new(),
            wakers: WakerSet::default(),
            connected: false,
            arrived: 0,
            ended: false,
            driver_gone: false,
            session_lost: false,
            peer: None,
            addresses: Addresses::default(),
            security: security.clone(),
            error_context: ErrorContext::default(),
            failure_log: FailureLog::default(),
            failure: None,
            failures: 0,
            driver_number: 0,
            driver: None,
            sleeps: false,
            now: clock.now(),
            blocked: false,
            armed: Some(Instant::ZERO),
            deferred: Deferred::default(),
            listener: None,
        };
        Arc::new(Self {
            state: Lock::new(state),
            split_warning,
            clock: clock.clone(),
        })
    }

    /// Makes a new link that a listener has accepted and its peer can resume.
    pub(crate) fn accepted(
        link: Link,
        security: &Security,
        peer: Option<Peer>,
        addresses: Addresses,
        slot: LinkSlot,
    ) -> Arc<Self> {
        let shared = Self::new(link, security, &slot.queue().clock);
        let link = Arc::downgrade(&shared);
        shared.with(|state| {
            state.peer = peer;
            state.addresses = addresses;
            state.listener = Some(Listening { slot, link });
        });
        shared
    }

    /// Resumes this link over an incoming connection, if that is from its peer. With
    /// [`TakeOver::Done`], also returns the numbers of the new driver and of the connection.
    pub(crate) fn take_over(
        &self,
        now: Instant,
        incoming: &mut Incoming,
        peer: Option<Peer>,
        addresses: Addresses,
    ) -> (TakeOver, u64, u64) {
        self.with(|state| {
            let result = state.link.take_over(now, incoming);
            if result == TakeOver::Done {
                state.driver_number += 1;
                state.blocked = false;
                state.wake_driver();
                state.clear_error_context();
                state.peer = peer;
                state.addresses = addresses;
            }
            (result, state.driver_number, state.link.connection())
        })
    }

    /// Works on the state, then dispatches the resulting events. Once the lock is released, wakes
    /// the handles whose wait is over, and the driver if there is something to write or an earlier
    /// deadline.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(|state| {
            if state.sleeps {
                // The driver reads the clock in every turn, but may have slept for long.
                state.now = self.clock.now();
            }
            state.work(work)
        })
    }

    /// Does the same for a caller that has read the clock.
    pub(crate) fn with_at<R>(&self, now: Instant, work: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(|state| {
            state.now = now;
            state.work(work)
        })
    }

    #[cfg(planted)]
    pub(crate) fn sleep_blindly(&self, driver: &Waker) {
        self.state
            .with(|state| _ = state.sleep(driver, false, None));
    }

    /// Begins to close the link on behalf of its listener.
    pub(crate) fn start_close(&self) {
        self.with(State::go_away);
    }

    /// Ends the link at once.
    pub(crate) fn abandon(&self) {
        let now = self.clock.now();
        self.with(|state| state.abandon(now));
    }

    /// Ends the link, because too many others are waiting for their peers.
    fn evict(&self) {
        let now = self.clock.now();
        self.with(|state| state.link.evict(now));
    }
}

impl State {
    /// Works on the state, then dispatches what has come of it.
    fn work<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        let result = work(self);
        self.dispatch();
        if self.sleeps && self.driver_is_needed() {
            self.wake_driver();
        }
        let spent = self.link.take_spent();
        self.deferred.drop_spent(spent);
        result
    }

    fn driver_is_needed(&self) -> bool {
        (self.link.wants_output() && !self.blocked)
            || self
                .link
                .poll_deadline()
                .is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed))
    }

    /// Begins a step of the driver with this number; returns true if another has taken the link
    /// over.
    pub(crate) fn begin_step(&mut self, now: Instant, driver: u64) -> bool {
        self.now = now;
        if self.driver_number != driver {
            return true;
        }
        self.sleeps = false;
        false
    }

    /// Handles the endpoint's events.
    pub(crate) fn handle_events(&mut self, endpoint: &mut Endpoint) {
        while let Some(event) = endpoint.poll_event() {
            if matches!(event, EndpointEvent::Secured) {
                self.peer = endpoint.peer().cloned();
            }
            self.record_cause(event);
        }
    }

    /// Records what may explain a lost connection. A failure of security replaces what the
    /// transport has reported before.
    pub(crate) fn record_cause(&mut self, event: EndpointEvent) {
        if matches!(event, EndpointEvent::Failed(_)) {
            self.clear_error_context();
        }
        self.error_context.on_event(event);
    }

    /// Stores the waker of the driver, which is about to sleep, and returns the deadline until
    /// which it may sleep: the link's, or `until` if that is earlier. `blocked`: the transport
    /// takes nothing at present.
    pub(crate) fn sleep(
        &mut self,
        driver: &Waker,
        blocked: bool,
        until: Option<Instant>,
    ) -> Option<Instant> {
        self.blocked = blocked;
        self.sleeps = true;
        let known = self.driver.as_ref();
        if !known.is_some_and(|known| known.will_wake(driver)) {
            let former = self.driver.replace(driver.clone());
            self.deferred.drop(former);
        }
        self.armed = self.link.poll_deadline();
        [self.armed, until].into_iter().flatten().min()
    }

    pub(crate) fn wake_driver(&mut self) {
        self.sleeps = false;
        let driver = self.driver.take();
        self.deferred.wake(driver);
    }

    /// Queues an event for the application. It replaces a pending earlier one of its kind, so that
    /// their number is bounded.
    pub(crate) fn push_event(&mut self, event: LinkEvent) {
        self.events.retain(|earlier| !event.replaces(earlier));
        self.events.push_back(event);
        self.wakers.wake_all(&mut self.deferred);
    }

    /// Reports to the listener that the application has accepted the link.
    pub(crate) fn accepted(&mut self) {
        if let Some(listening) = &mut self.listener {
            listening.slot.accepted();
        }
    }

    fn on_ended(&mut self) {
        self.ended = true;
        // Dropping the last slot wakes the tasks that wait for all links to end.
        let listener = self.listener.take();
        self.deferred.drop(listener);
        for channel in &mut self.channels {
            channel.receipts.end(self.deferred.wakers());
        }
        // Nothing else wakes the driver: the link may have nothing to send, and no deadline.
        self.wake_driver();
        self.wake_all();
    }

    /// Begins to close the link.
    pub(crate) fn start_close(&mut self, mode: CloseMode, reason: CloseReason) {
        self.abandon_unclaimed();
        self.link.close_with(self.now, mode, reason);
        // Tasks that wait for room would wait in vain.
        self.wake_all();
    }

    /// Closes the link on behalf of its listener, which is shutting down.
    fn go_away(&mut self) {
        let reason = self.implicit_close_reason(close::GOING_AWAY).again();
        self.start_close(CloseMode::DrainBoth, reason);
    }

    /// Returns the close reason of a link that its application has not closed: this code if there
    /// is a channel in send mode, on which it may have wanted to send more.
    fn implicit_close_reason(&self, code: u32) -> CloseReason {
        let mut channels = self.link.config().channels().iter();
        if channels.any(|channel| channel.mode() == Mode::Send) {
            CloseReason::new(code, "")
        } else {
            CloseReason::ALL_WELL
        }
    }

    /// Rejects messages on receive channels whose receivers were not handed out.
    pub(crate) fn abandon_unclaimed(&mut self) {
        let unclaimed = self.link.config().channels().iter().zip(&self.channels);
        let unclaimed: Vec<_> = unclaimed
            .map(|(config, channel)| config.mode() == Mode::Receive && !channel.taken)
            .collect();
        for (at, unclaimed) in (0..).zip(unclaimed) {
            if unclaimed {
                // The channel is in receive mode, so this can't fail.
                let _ = self.link.abandon(self.now, ChannelId(at));
            }
        }
    }

    /// Ends the link at once.
    fn abandon(&mut self, now: Instant) {
        self.link.handle_lost(now, Disconnect::Abandoned);
        // The driver has still to drop the connection, which is no output of the link.
        self.wake_driver();
    }

    /// Marks the link as left by its driver, which has finished or was dropped.
    pub(crate) fn detach_driver(&mut self, now: Instant) {
        self.link.handle_lost(now, Disconnect::Abandoned);
        self.driver_gone = true;
        self.wakers.wake_all(&mut self.deferred);
    }

    pub(crate) fn wake(&mut self, channel: ChannelId) {
        self.channels[usize::from(channel.0)]
            .wakers
            .wake_all(&mut self.deferred);
    }

    /// Wakes every handle: what it waits for may never happen.
    pub(crate) fn wake_all(&mut self) {
        self.wakers.wake_all(&mut self.deferred);
        for channel in &mut self.channels {
            channel.wakers.wake_all(&mut self.deferred);
        }
    }

    /// Whether the link's latest connection has led to the peer.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived > 0 && self.arrived == self.link.connection()
    }

    /// Returns the identity that the peer has proved, under its current name.
    pub(crate) fn current_peer(&self) -> Option<Peer> {
        Some(self.security.renamed(self.peer.as_ref()?))
    }

    /// Returns why this end no longer accepts the peer, if that has ended the link.
    pub(crate) fn revoked(&self) -> Option<LinkError> {
        let revoked = self.link.end_reason() == Some(&EndReason::Revoked { by_us: true });
        revoked.then(|| self.error())?
    }

    /// Returns why the link ended, once it has.
    pub(crate) fn error(&self) -> Option<LinkError> {
        self.error_context.of_end(&self.link)
    }
}

impl Locked for State {
    fn deferred(&mut self) -> &mut Deferred {
        &mut self.deferred
    }
}

impl Waits for Shared {
    type State = State;
    type Awaited = Awaited;

    fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        Self::with(self, work)
    }

    fn wakers(state: &mut State, awaited: Awaited) -> &mut WakerSet {
        match awaited {
            Awaited::Link => &mut state.wakers,
            Awaited::Channel(channel) => &mut state.channels[usize::from(channel.0)].wakers,
        }
    }
}

/// Held by every handle: when the last one is dropped, the link is closed in order.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.with(|state| {
            if state.link.state() != LinkState::Ended {
                let reason = state.implicit_close_reason(close::DROPPED);
                state.link.close_with(state.now, CloseMode::Drain, reason);
            }
        });
    }
}
