//! What the program around the loop knows of its links.

use std::collections::{BTreeMap, VecDeque};
use std::mem::discriminant;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, CloseMode, CloseReason, EndReason, Event, Instant, Link, LinkState,
    Mode, SendError, close,
};
use countersign_driver::{
    AcceptError, Admission, Drained, Limits, LinkError, LinkEvent, Outgoing, Report, Setup,
};
use own_loop::{LinkId, LinksEvent, ListenerId, OwnLoop};

use super::receipts::{Cell, Receipts};
use super::thread::{CLOCK, Loop};

/// The loop, and what is known of its links and listeners.
pub(super) struct World {
    pub(super) links: OwnLoop,
    pub(super) now: Instant,
    /// What it runs in.
    thread: Loop,
    known: BTreeMap<LinkId, Known>,
    doors: BTreeMap<ListenerId, Door>,
}

/// One link.
pub(super) struct Known {
    pub(super) connected: bool,
    pub(super) end: Option<LinkError>,
    pub(super) events: VecDeque<LinkEvent>,
    session_lost: bool,
    /// All handles of it were dropped.
    dropped: bool,
    pub(super) channels: Vec<Channel>,
}

/// One channel of a link.
#[derive(Default)]
pub(super) struct Channel {
    /// Its receiver has been claimed.
    pub(super) taken: bool,
    /// There was no room, and there has not been any since.
    blocked: bool,
    receipts: Receipts,
}

/// One listener, and what waits to be accepted.
struct Door {
    setup: Setup,
    /// Handshakes that are over.
    results: VecDeque<Result<LinkId, AcceptError>>,
    /// How many errors are kept.
    limit: usize,
    /// It is drained, until then at most.
    until: Option<Instant>,
    /// It is drained, or closed.
    closed: bool,
    drained: Option<Drained>,
}

impl World {
    pub(super) fn new(links: OwnLoop, thread: Loop) -> Self {
        Self {
            links,
            thread,
            now: Instant::ZERO,
            known: BTreeMap::new(),
            doors: BTreeMap::new(),
        }
    }

    // Links and listeners.

    pub(super) fn listen(
        &mut self,
        address: SocketAddr,
        setup: &Setup,
        limits: Limits,
    ) -> (ListenerId, SocketAddr) {
        let listened = self
            .links
            .listen(address, setup.config(), setup.security(), limits);
        let listener = listened.unwrap();
        self.links.ask(listener);
        let door = Door {
            setup: setup.clone(),
            results: VecDeque::new(),
            limit: limits.backlog.max(1),
            until: None,
            closed: false,
            drained: None,
        };
        self.doors.insert(listener, door);
        (listener, self.links.address(listener).unwrap())
    }

    fn door(&mut self, listener: ListenerId) -> &mut Door {
        self.doors.get_mut(&listener).unwrap()
    }

    /// The listener's handle was dropped.
    fn close(&mut self, listener: ListenerId) {
        let door = self.door(listener);
        door.closed = true;
        let unwanted: Vec<_> = std::mem::take(&mut door.results)
            .into_iter()
            .flatten()
            .collect();
        for link in unwanted {
            self.drop_link(link);
            self.drop_last(link);
        }
    }

    pub(super) fn unlisten(&mut self, listener: ListenerId) {
        self.links.unlisten(listener);
        self.close(listener);
    }

    pub(super) fn accept(&mut self, listener: ListenerId) -> Option<Result<LinkId, AcceptError>> {
        let door = self.door(listener);
        if door.closed {
            return Some(Err(AcceptError::closed()));
        }
        let result = door.results.pop_front()?;
        if let Ok(link) = &result {
            // It counts for the backlog no longer.
            self.links.link_mut(*link);
        }
        Some(result)
    }

    pub(super) fn drain(&mut self, listener: ListenerId, limit: Duration) {
        self.close(listener);
        let until = self.now + limit;
        let door = self.door(listener);
        door.until = Some(door.until.map_or(until, |earlier| earlier.min(until)));
        self.links
            .drain(self.now, listener, &CloseReason::ALL_WELL.again());
    }

    /// How the links of a listener have ended, once they have or their time is over.
    pub(super) fn drained(&mut self, listener: ListenerId) -> Option<Drained> {
        let is_late = self.door(listener).until? <= self.now;
        if self.door(listener).drained.is_none() {
            let drained = match self.links.drained(listener) {
                None if is_late => Some(self.links.abandon(self.now, listener)),
                drained => drained,
            }?;
            self.links.unlisten(listener);
            let door = self.door(listener);
            (door.drained, door.until) = (Some(drained), Some(Instant::ZERO));
        }
        self.door(listener).drained
    }

    /// When there is something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let draining = self.doors.values().filter(|door| door.drained.is_none());
        let limits = draining.filter_map(|door| door.until);
        limits.chain(self.links.deadline()).min()
    }

    pub(super) fn connect(&mut self, address: SocketAddr, setup: &Setup) -> LinkId {
        let link = self
            .links
            .connect(address, setup.config(), setup.security());
        let link = link.unwrap();
        self.know(link, false);
        link
    }

    fn know(&mut self, id: LinkId, connected: bool) {
        let channels = self.link(id).config().channels().len();
        let known = Known {
            connected,
            end: None,
            events: VecDeque::new(),
            session_lost: false,
            dropped: false,
            channels: (0..channels).map(|_| Channel::default()).collect(),
        };
        self.known.insert(id, known);
    }

    pub(super) fn known(&mut self, id: LinkId) -> &mut Known {
        self.known.get_mut(&id).unwrap()
    }

    pub(super) fn link(&self, id: LinkId) -> &Link {
        self.links.link(id).unwrap()
    }

    /// Gives a link a command.
    pub(super) fn on<R>(&mut self, id: LinkId, work: impl FnOnce(&mut Link, Instant) -> R) -> R {
        // The age of a message is judged at this moment.
        work(self.links.link_mut(id).unwrap(), CLOCK.now())
    }

    pub(super) fn report(&self, id: LinkId) -> Report {
        let link = self.link(id);
        Report {
            end: self.links.error(id),
            resumes: link.resumes(),
            channels: link.report(),
        }
    }

    // Sending and receiving.

    /// Sends, unless that was found to be of no use before. `None` where there is no room.
    pub(super) fn send(
        &mut self,
        id: LinkId,
        channel: ChannelId,
        message: &mut Option<Outgoing>,
        first: bool,
    ) -> Option<Result<(u64, Cell), countersign_driver::SendError>> {
        let at_channel = usize::from(channel.0);
        if !first && self.known(id).channels[at_channel].blocked {
            return None;
        }
        let again = message.clone();
        let (payload, expires) = message.take()?.into_parts(&CLOCK);
        match self.on(id, |link, now| link.send(now, channel, payload, expires)) {
            Ok(sequence) => {
                let cell = Cell::default();
                let channel = &mut self.known(id).channels[at_channel];
                channel.receipts.add(sequence, &cell);
                Some(Ok((sequence, cell)))
            }
            Err(not_sent) if not_sent.why == SendError::Blocked => {
                self.known(id).channels[at_channel].blocked = true;
                *message = again;
                None
            }
            Err(not_sent) => {
                let end = self.links.error(id);
                Some(Err(countersign_driver::SendError::new(not_sent, end)))
            }
        }
    }

    /// Adds a message of a batch.
    pub(super) fn extend(&mut self, id: LinkId, channel: ChannelId, sequence: u64, cell: &Cell) {
        let channel = &mut self.known(id).channels[usize::from(channel.0)];
        channel.receipts.add(sequence, cell);
    }

    pub(super) fn is_blocked(&mut self, id: LinkId, channel: ChannelId) -> &mut bool {
        &mut self.known(id).channels[usize::from(channel.0)].blocked
    }

    // Closing.

    pub(super) fn start_close(&mut self, id: LinkId, mode: CloseMode, reason: CloseReason) {
        self.abandon_unclaimed(id);
        self.on(id, |link, now| link.close_with(now, mode, reason));
        self.known(id).unblock();
    }

    /// The link's own handle is gone: no more receivers can be claimed.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        self.abandon_unclaimed(id);
    }

    /// The last of a link's handles is gone.
    pub(super) fn drop_last(&mut self, id: LinkId) {
        if self.link(id).state() != LinkState::Ended {
            let mut channels = self.link(id).config().channels().iter();
            let reason = match channels.any(|channel| channel.mode() == Mode::Send) {
                true => CloseReason::new(close::DROPPED, ""),
                false => CloseReason::ALL_WELL,
            };
            self.on(id, |link, now| {
                link.close_with(now, CloseMode::Drain, reason);
            });
        }
        self.known(id).dropped = true;
        self.forget_if_done(id);
    }

    fn abandon_unclaimed(&mut self, id: LinkId) {
        let channels = self.link(id).config().channels();
        let modes: Vec<_> = channels.iter().map(ChannelConfig::mode).collect();
        for (at, mode) in (0..).zip(modes) {
            if mode == Mode::Receive && !self.known(id).channels[usize::from(at)].taken {
                self.on(id, |link, now| link.abandon(now, ChannelId(at)))
                    .unwrap();
            }
        }
    }

    fn forget_if_done(&mut self, id: LinkId) {
        if self.known(id).dropped && self.known(id).end.is_some() {
            self.links.forget(self.now, id);
            self.known.remove(&id);
        }
    }

    // Events.

    /// Takes note of what has happened.
    pub(super) fn note(&mut self, what: LinksEvent) {
        match what {
            LinksEvent::Asks {
                listener,
                link,
                from,
                peer,
            } => {
                // The application may use its links meanwhile, so not on the thread that serves
                // them.
                let (setup, thread) = (self.door(listener).setup.clone(), self.thread.clone());
                thread::spawn(move || {
                    let answer = setup.ask(peer.as_ref(), Some(from));
                    thread.tell(move |world| match answer {
                        Admission::Admit => world.links.admit(link, None),
                        Admission::AdmitWith(channels) => world.links.admit(link, Some(channels)),
                        Admission::Refuse(refusal) => world.links.refuse(link, refusal),
                        admission => panic!("{admission:?}"),
                    });
                });
            }
            LinksEvent::Accepted { listener, link, .. } => {
                self.know(link, true);
                let door = self.door(listener);
                door.results.push_back(Ok(link));
                if door.closed {
                    self.close(listener);
                }
            }
            LinksEvent::Refused {
                listener,
                from,
                error,
            } => {
                let error = AcceptError::new(Some(from), error);
                self.door(listener).push_error(error);
            }
            LinksEvent::Lost { link, error } => {
                let EndReason::Lost(loss) = *error.reason() else {
                    panic!("{error}");
                };
                let why = error.to_string();
                self.known(link).tell(LinkEvent::Lost { loss, why });
            }
            LinksEvent::Ended { link, error } => {
                self.known(link).end(error);
                self.forget_if_done(link);
            }
            LinksEvent::Event { link, event } => {
                if let Event::LeaseHeld(channel) | Event::LeaseLapsed(channel) = event {
                    let config = &self.link(link).config().channels()[usize::from(channel.0)];
                    let channel = config.name().to_owned();
                    self.known(link).tell(match event {
                        Event::LeaseHeld(_) => LinkEvent::LeaseHeld { channel },
                        _ => LinkEvent::LeaseLapsed { channel },
                    });
                } else {
                    self.known(link).note(event);
                }
            }
            LinksEvent::NotConnected { .. } => {}
            what => panic!("{what:?}"),
        }
    }
}

impl Known {
    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => {
                self.connected = true;
                if std::mem::take(&mut self.session_lost) {
                    self.tell(LinkEvent::NewSession);
                }
            }
            Event::Resumed => self.tell(LinkEvent::Resumed),
            Event::SessionLost(why) => {
                self.session_lost = true;
                self.tell(LinkEvent::SessionLost(why));
            }
            Event::Room(channel) => self.channels[usize::from(channel.0)].blocked = false,
            Event::Handled { channel, last, .. } => {
                self.channels[usize::from(channel.0)].receipts.handled(last);
            }
            Event::Verdict {
                channel,
                sequence,
                verdict,
            } => {
                let receipts = &mut self.channels[usize::from(channel.0)].receipts;
                receipts.settle(sequence, verdict);
            }
            Event::PeerClosing => {
                self.tell(LinkEvent::PeerClosing);
                self.unblock();
            }
            // Receivers that wait look for messages themselves.
            Event::Readable(_) => {}
            event => panic!("{event:?}"),
        }
    }

    fn end(&mut self, error: LinkError) {
        self.end = Some(error);
        self.unblock();
        for channel in &mut self.channels {
            channel.receipts.end();
        }
    }

    /// Lets those that wait for room look again, since no room will come.
    fn unblock(&mut self) {
        for channel in &mut self.channels {
            channel.blocked = false;
        }
    }

    /// Keeps an event; it replaces an unread one of the same kind.
    fn tell(&mut self, event: LinkEvent) {
        self.events.retain(|earlier| match (earlier, &event) {
            (LinkEvent::LeaseHeld { channel }, LinkEvent::LeaseHeld { channel: new })
            | (LinkEvent::LeaseLapsed { channel }, LinkEvent::LeaseLapsed { channel: new }) => {
                channel != new
            }
            (earlier, event) => discriminant(earlier) != discriminant(event),
        });
        self.events.push_back(event);
    }
}

impl Door {
    /// Keeps an error; with one too many, the oldest goes.
    fn push_error(&mut self, error: AcceptError) {
        let errors = self.results.iter().filter(|result| result.is_err()).count();
        if errors >= self.limit
            && let Some(oldest) = self.results.iter().position(Result::is_err)
        {
            self.results.remove(oldest);
        }
        self.results.push_back(Err(error));
    }
}
