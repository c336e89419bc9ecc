//! What the handles of a link and its driver share.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::task::Waker;

use countersign_core::{
    ChannelId, CloseMode, CloseReason, Config, Consequence, Disconnect, EndReason, Event, Incoming,
    Instant, Link, LinkState, Loss, Mode, Role, TakeOver, close,
};
use countersign_endpoint::{Endpoint, EndpointEvent, ErrorContext, FailureKind, Peer, Security};

use crate::accept_queue::LinkSlot;
use crate::clock::Clock;
use crate::error::LinkError;
use crate::establish::Setup;
use crate::events::LinkEvent;
use crate::failure_log::{FailureLog, KINDS, Novelty};
use crate::lock::{Later, Lock, Locked};
use crate::parts::Parts;
use crate::receipt::Receipts;
use crate::status::{Addresses, Failure};
use crate::wakers::{Awaited, Waits, WakerSet};

/// One channel's waiting tasks and receipts.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Whoever waits for room or for a message.
    pub(crate) wakers: WakerSet,
    pub(crate) receipts: Receipts,
    /// The receiver was handed out.
    pub(crate) taken: bool,
}

impl Channel {
    /// One for each that is declared.
    fn of_all(config: &Config) -> Vec<Self> {
        config.channels().iter().map(|_| Self::default()).collect()
    }
}

/// The link and everybody who waits for it.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) link: Link,
    pub(crate) channels: Vec<Channel>,
    pub(crate) events: VecDeque<LinkEvent>,
    /// Whoever waits for the link to connect, to end or to tell something.
    pub(crate) wakers: WakerSet,
    pub(crate) connected: bool,
    /// The number of the latest connection that has led to the peer.
    arrived: u64,
    pub(crate) ended: bool,
    /// Its driver is gone, and with it the last connection: nothing more can be said.
    pub(crate) is_gone: bool,
    /// The application was told of a lost session, and not yet of the next one.
    session_lost: bool,
    /// Who the peer has proved to be on the latest connection.
    pub(crate) peer: Option<Peer>,
    /// What calls it by its name.
    security: Security,
    /// Where the ends of the latest transport connection are.
    pub(crate) addresses: Addresses,
    pub(crate) error_context: ErrorContext,
    told: FailureLog,
    /// Why there is no connection, while there is none.
    pub(crate) failure: Option<Failure>,
    failures: u64,
    /// How often the link went over to another driver.
    pub(crate) driver_number: u64,
    /// What wakes the driver.
    driver: Option<Waker>,
    /// The driver is not running, and runs only when it is woken or its time has come.
    pub(crate) sleeps: bool,
    /// What time it is, as of the last look at the clock.
    pub(crate) now: Instant,
    /// The transport takes nothing just now, so output is no reason to wake the driver.
    pub(crate) blocked: bool,
    /// When the driver wakes by itself.
    pub(crate) armed: Option<Instant>,
    pub(crate) later: Later,
    /// The listener that has accepted it, until it has ended.
    listener: Option<Listening>,
}

/// What a link has of its listener.
#[derive(Debug)]
struct Listening {
    place: LinkSlot,
    /// How the listener finds the link.
    me: Weak<Shared>,
}

/// A link that several tasks or threads use.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Lock<State>,
    pub(crate) parts: Parts,
    pub(crate) clock: Clock,
}

/// How many kinds of events an application may have to be told of, and how long the text of one is
/// at most.
const EVENTS: usize = 8;
const TEXT: usize = 1024;

impl Shared {
    /// How much memory it takes at most, apart from the link, the receipts and the handles.
    pub(crate) const fn memory_bound(channels: usize) -> usize {
        let event = 3 * size_of::<LinkEvent>() + TEXT;
        // A channel's name may be told as silent.
        let failures = 3 * KINDS * size_of::<FailureKind>() + 2 * TEXT;
        size_of::<Self>() + channels * (size_of::<Channel>() + event) + EVENTS * event + failures
    }

    pub(crate) fn new(mut link: Link, security: &Security, clock: &Clock) -> Arc<Self> {
        link.keep_spent();
        let parts = Parts::of(link.config());
        let channels = Channel::of_all(link.config());
        let state = State {
            link,
            channels,
            events: VecDeque::new(),
            wakers: WakerSet::default(),
            connected: false,
            arrived: 0,
            ended: false,
            is_gone: false,
            session_lost: false,
            peer: None,
            addresses: Addresses::default(),
            security: security.clone(),
            error_context: ErrorContext::default(),
            told: FailureLog::default(),
            failure: None,
            failures: 0,
            driver_number: 0,
            driver: None,
            sleeps: false,
            now: clock.now(),
            blocked: false,
            armed: Some(Instant::ZERO),
            later: Later::default(),
            listener: None,
        };
        Arc::new(Self {
            state: Lock::new(state),
            parts,
            clock: clock.clone(),
        })
    }

    /// A new link of a listener's, to which its peer can come back.
    pub(crate) fn accepted(
        link: Link,
        setup: &Setup,
        peer: Option<Peer>,
        addresses: Addresses,
        place: LinkSlot,
    ) -> Arc<Self> {
        let shared = Self::new(link, setup.security(), setup.clock());
        let me = Arc::downgrade(&shared);
        shared.with(|state| {
            state.peer = peer;
            state.addresses = addresses;
            state.listener = Some(Listening { place, me });
        });
        shared
    }

    /// Goes on with this link over an incoming connection, if its peer has come back to it. With
    /// [`TakeOver::Done`] come the new driver's number and the connection's.
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

    /// Works on the state, then does what follows from that. Once the lock is released, those are
    /// woken whom that concerns: handles whose wait is over, and the driver if there is something to
    /// write or an earlier deadline.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut State) -> R) -> R {
        self.state.with(|state| {
            if state.sleeps {
                // The driver, which looks at the clock in every round, may have slept for long.
                state.now = self.clock.now();
            }
            let result = work(state);
            state.dispatch();
            if state.sleeps && state.driver_is_needed() {
                state.wake_driver();
            }
            let spent = state.link.take_spent();
            state.later.drop_spent(spent);
            result
        })
    }

    #[cfg(planted)]
    pub(crate) fn sleep_blindly(&self, driver: &Waker) {
        self.state
            .with(|state| _ = state.sleep(driver, false, None));
    }

    /// Begins to close the link, as its listener wants.
    pub(crate) fn start_close(&self) {
        self.with(State::go_away);
    }

    /// Ends the link where it stands.
    pub(crate) fn abandon(&self) {
        let now = self.clock.now();
        self.with(|state| state.abandon(now));
    }

    /// Ends the link, because too many others wait for their peers.
    fn evict(&self) {
        let now = self.clock.now();
        self.with(|state| state.link.evict(now));
    }
}

impl State {
    fn driver_is_needed(&self) -> bool {
        (self.link.wants_output() && !self.blocked)
            || self
                .link
                .poll_deadline()
                .is_some_and(|deadline| self.armed.is_none_or(|armed| deadline < armed))
    }

    /// Begins a look of the driver's of this number at the link; true where another goes on with it.
    pub(crate) fn begin_look(&mut self, now: Instant, driver: u64) -> bool {
        self.now = now;
        if self.driver_number != driver {
            return true;
        }
        self.sleeps = false;
        false
    }

    /// Takes note of what has become of the connection.
    pub(crate) fn learn(&mut self, endpoint: &mut Endpoint) {
        while let Some(event) = endpoint.poll_event() {
            if matches!(event, EndpointEvent::Secured) {
                self.peer = endpoint.peer().cloned();
            }
            self.explain(event);
        }
    }

    /// Keeps what may be why there is no connection. What the transport has said before is no reason any
    /// more where security has failed.
    pub(crate) fn explain(&mut self, event: EndpointEvent) {
        if matches!(event, EndpointEvent::Failed(_)) {
            self.clear_error_context();
        }
        self.error_context.on_event(event);
    }

    /// Passes on what the link has to tell.
    fn dispatch(&mut self) {
        while let Some(event) = self.link.poll_event() {
            self.update_listener(&event);
            match event {
                Event::Connected => {
                    // A link that only comes back to close has nothing new to tell.
                    if std::mem::take(&mut self.session_lost) {
                        self.push_event(LinkEvent::NewSession);
                    }
                    self.connected = true;
                    self.arrived = self.link.connection();
                    self.forget_failure();
                    self.wakers.wake_all(&mut self.later);
                }
                Event::Lost(loss) => self.lost(loss),
                Event::Resumed => {
                    self.arrived = self.link.connection();
                    self.forget_failure();
                    self.push_event(LinkEvent::Resumed);
                }
                Event::SessionLost(why) => {
                    self.session_lost = true;
                    self.push_event(LinkEvent::SessionLost(why));
                }
                Event::Readable(channel) | Event::Room(channel) => self.wake(channel),
                Event::Handled {
                    channel,
                    last,
                    count,
                    ..
                } => {
                    let receipts = &mut self.channels[usize::from(channel.0)].receipts;
                    receipts.handled(last, count, self.later.wakes());
                }
                Event::Verdict {
                    channel,
                    sequence,
                    verdict,
                } => {
                    let receipts = &mut self.channels[usize::from(channel.0)].receipts;
                    receipts.settle(sequence, verdict, self.later.wakes());
                }
                Event::Silent(channel) => {
                    let config = &self.link.config().channels()[usize::from(channel.0)];
                    let channel = config.name().to_owned();
                    self.push_event(LinkEvent::Silent { channel });
                }
                Event::PeerClosing => {
                    self.push_event(LinkEvent::PeerClosing);
                    self.wake_all();
                }
                Event::Ended => self.end(),
                _ => {}
            }
        }
    }

    /// Keeps the listener's sessions in step with the link.
    fn update_listener(&mut self, event: &Event) {
        let Some(Listening { place, me }) = &self.listener else {
            return;
        };
        match place.queue().follow(&self.link, event, me) {
            Some(Consequence::Evict(link)) => self.later.then(move || {
                if let Some(evicted) = link.upgrade() {
                    evicted.evict();
                }
            }),
            Some(Consequence::Close) => self.go_away(),
            None => {}
        }
    }

    /// The connection is gone, and the link waits for the next.
    fn lost(&mut self, loss: Loss) {
        let error = self.error_context.of_loss(&self.link, loss);
        let why = error.to_string();
        self.push_event(LinkEvent::Lost { loss, why });
    }

    /// Tells the log why there is no connection, and what is done about it. If the link ends before
    /// the next one, this is not why.
    pub(crate) fn log_loss(&mut self, now: Instant) {
        let (LinkState::Offline, Some(loss)) = (self.link.state(), self.link.last_loss()) else {
            return;
        };
        let error = self.error_context.of_loss(&self.link, loss);
        self.clear_error_context();
        self.failures += 1;
        let failed = Failure {
            number: self.failures,
            error: error.clone(),
            next: self.link.next_attempt(),
        };
        let former = self.failure.replace(failed);
        self.later.drop(former);
        if !self.connected {
            self.wakers.wake_all(&mut self.later);
        }
        let news = self.told.hear(error.kind(), now);
        let next = match (self.link.role(), news) {
            (Role::Opener, Novelty::Still) => "still trying",
            (Role::Opener, _) if self.connected => "connecting again",
            (Role::Opener, _) => "trying again",
            (Role::Acceptor, _) => "waiting for the peer to return",
        };
        self.later.then(move || {
            if news == Novelty::Known {
                tracing::debug!("{error}; {next}");
            } else {
                tracing::warn!("{error}; {next}");
            }
        });
    }

    /// There is a connection: why there was none is of no interest any more.
    fn forget_failure(&mut self) {
        self.told.forget();
        let former = self.failure.take();
        self.later.drop(former);
    }

    /// What was said about the last connection is no reason for what happens to the next.
    fn clear_error_context(&mut self) {
        let former = std::mem::take(&mut self.error_context);
        self.later.drop(Some(former));
    }

    /// Leaves a way to wake the driver, which is about to sleep, and says until when, or until this
    /// moment if that is earlier. `blocked`: the transport takes nothing just now.
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
            self.later.drop(former);
        }
        self.armed = self.link.poll_deadline();
        [self.armed, until].into_iter().flatten().min()
    }

    pub(crate) fn wake_driver(&mut self) {
        self.sleeps = false;
        let driver = self.driver.take();
        self.later.wake(driver);
    }

    /// Keeps an event for the application. Of one that happened before and was not heard, only
    /// the newer one is kept, so that their number is bounded.
    fn push_event(&mut self, event: LinkEvent) {
        self.events.retain(|earlier| !event.replaces(earlier));
        self.events.push_back(event);
        self.wakers.wake_all(&mut self.later);
    }

    /// The application has accepted the link from its listener.
    pub(crate) fn accepted(&mut self) {
        if let Some(listening) = &mut self.listener {
            listening.place.accepted();
        }
    }

    fn end(&mut self) {
        self.ended = true;
        // With the last place goes whoever waits for all links to end.
        let listener = self.listener.take();
        self.later.drop(listener);
        for channel in &mut self.channels {
            channel.receipts.end(self.later.wakes());
        }
        // It may have nothing left to do, not even at the deadline that it sleeps until.
        self.wake_driver();
        self.wake_all();
    }

    /// Begins to close the link.
    pub(crate) fn start_close(&mut self, mode: CloseMode, reason: CloseReason) {
        self.abandon_unclaimed();
        self.link.close_with(self.now, mode, reason);
        // Whoever waits for room waits in vain.
        self.wake_all();
    }

    /// Closes the link for its listener, which is about to go.
    fn go_away(&mut self) {
        let reason = self.unless_done(close::GOING_AWAY).again();
        self.start_close(CloseMode::DrainBoth, reason);
    }

    /// What a link says that its application has not closed: on a channel in send mode it may have
    /// wanted to send more.
    fn unless_done(&self, code: u32) -> CloseReason {
        let mut channels = self.link.config().channels().iter();
        if channels.any(|channel| channel.mode() == Mode::Send) {
            CloseReason::new(code, "")
        } else {
            CloseReason::ALL_WELL
        }
    }

    /// Rejects what comes on receive channels whose receivers nobody has asked for.
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

    /// Ends the link where it stands.
    fn abandon(&mut self, now: Instant) {
        self.link.handle_lost(now, Disconnect::Abandoned);
        // What is left to do is to let go of the connection, which is no output of the link's.
        self.wake_driver();
    }

    /// The driver is done with the link, or dropped.
    pub(crate) fn leave(&mut self, now: Instant) {
        self.link.handle_lost(now, Disconnect::Abandoned);
        self.is_gone = true;
        self.wakers.wake_all(&mut self.later);
    }

    fn wake(&mut self, channel: ChannelId) {
        self.channels[usize::from(channel.0)]
            .wakers
            .wake_all(&mut self.later);
    }

    /// Wakes every handle: what it waits for may never come.
    pub(crate) fn wake_all(&mut self) {
        self.wakers.wake_all(&mut self.later);
        for channel in &mut self.channels {
            channel.wakers.wake_all(&mut self.later);
        }
    }

    /// Whether the link's latest connection has led to the peer.
    pub(crate) fn has_arrived(&self) -> bool {
        self.arrived > 0 && self.arrived == self.link.connection()
    }

    /// Who the peer has proved to be, under the name that it has now.
    pub(crate) fn known(&self) -> Option<Peer> {
        Some(self.security.renamed(self.peer.as_ref()?))
    }

    /// Why this end no longer accepts the peer, if that has ended the link.
    pub(crate) fn revoked(&self) -> Option<LinkError> {
        let revoked = self.link.end_reason() == Some(&EndReason::Revoked { by_us: true });
        revoked.then(|| self.error())?
    }

    /// Why the link ended, once it has.
    pub(crate) fn error(&self) -> Option<LinkError> {
        self.error_context.of_end(&self.link)
    }
}

impl Locked for State {
    fn later(&mut self) -> &mut Later {
        &mut self.later
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

/// What every handle holds: when the last one goes, the link is closed in order.
#[derive(Debug)]
pub(crate) struct Handle(pub(crate) Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.with(|state| {
            if state.link.state() != LinkState::Ended {
                let reason = state.unless_done(close::DROPPED);
                state.link.close_with(state.now, CloseMode::Drain, reason);
            }
        });
    }
}
