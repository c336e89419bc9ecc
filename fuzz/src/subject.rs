//! A link that is driven by the book, whatever its peer and its application do, and what must
//! hold meanwhile.

mod application;
mod arrivals;
mod case;
mod leases;
mod ledger;
mod listener;
mod peer_clock;
mod seen;

use countersign_core::wire::{HEADER_LEN, MAX_GREETING};
use countersign_core::{
    ChannelId, Disconnect, EndReason, Event, GoneSession, Incoming, Instant, Link, LinkState,
    Output, Protocol, Refusal, Request, Role, Sequence,
};

pub(crate) use self::application::Answer;
use self::arrivals::Arrivals;
pub(crate) use self::case::Case;
use self::leases::Leases;
use self::ledger::Ledger;
use self::listener::Listener;
pub(crate) use self::peer_clock::PeerClock;
pub(crate) use self::seen::{Seen, same};

use crate::input::pieces;

/// When every case begins.
pub(crate) const START: Instant = Instant::from_micros(1_000_000);

/// What a payload would look like in formatted text.
const PAYLOAD_SHOWN: &str = "7, 7, 7, 7";

/// When a link writes something, and what it has read before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// The latest time that it has to answer, and when that came, if it is known.
    pub(crate) heard: Option<(u64, Instant)>,
    /// Messages with times may have come.
    pub(crate) timed: bool,
    /// It has a latency budget.
    pub(crate) paced: bool,
}

/// Reads what a link has written.
pub(crate) type Read<'a> = &'a mut dyn FnMut(&Moment, &[u8]);

/// A link and all that has been seen of it.
#[derive(Debug)]
pub(crate) struct Subject {
    /// What may become the link, until it has.
    incoming: Option<Incoming>,
    pub(crate) link: Option<Link>,
    pub(crate) now: Instant,
    /// The peer's clock, as long as all that it has told on the connection is true.
    pub(crate) clock: Option<PeerClock>,
    /// How input is cut; zero where it is not.
    cut: usize,
    buffer: Vec<u8>,
    pub(crate) seen: Seen,
    ledger: Ledger,
    arrivals: Arrivals,
    leases: Leases,
    /// Its end was reported.
    over: bool,
    windows: Vec<(usize, usize)>,
    /// Whether it has a latency budget.
    pub(crate) paced: bool,
    /// By channel, the bytes that were taken since anything came.
    taken: Vec<usize>,
    /// What the application has taken and not settled, where it has to.
    pub(crate) unsettled: Vec<(ChannelId, Sequence)>,
    #[cfg(planted)]
    mistake: Option<countersign_core::Planted>,
}

/// The link, which makes this mistake from here on.
#[cfg(planted)]
fn planted(mut link: Link, mistake: Option<countersign_core::Planted>) -> Link {
    if let Some(mistake) = mistake {
        link.plant(mistake);
    }
    link
}

impl Subject {
    pub(crate) fn new(case: &Case, cut: usize, seen: Seen) -> Self {
        let (mut incoming, mut link) = (None, None);
        // One of the runs is listened in on, which must not change anything.
        let observer = (cut > 1).then(|| Box::new(Listener::default()));
        let (config, seed) = (&case.config, [3; 16]);
        if case.asks && case.role == Role::Acceptor {
            let made = match observer {
                Some(observer) => Incoming::observed(config, seed, observer),
                None => Incoming::new(config, seed),
            };
            incoming = Some(made.expect("a sound declaration"));
        } else {
            let made = match observer {
                Some(observer) => Link::observed(config, case.role, seed, observer),
                None => Link::new(config, case.role, seed),
            };
            link = Some(made.expect("a sound declaration"));
        }
        #[cfg(planted)]
        let link = link.map(|link| planted(link, case.mistake));
        Self {
            ledger: Ledger::new(config),
            arrivals: Arrivals::new(config),
            leases: Leases::new(config),
            incoming,
            link,
            now: START,
            clock: None,
            cut,
            buffer: vec![0; case.buffer],
            seen,
            over: false,
            windows: case.windows.clone(),
            paced: config.get_latency_budget().is_some(),
            taken: vec![0; case.windows.len()],
            unsettled: Vec::new(),
            #[cfg(planted)]
            mistake: case.mistake,
        }
    }

    /// What has the connection.
    pub(crate) fn protocol(&mut self) -> &mut dyn Protocol {
        match (&mut self.link, &mut self.incoming) {
            (Some(link), _) => link,
            (None, incoming) => incoming.as_mut().expect("one of both"),
        }
    }

    fn end_reason(&self) -> Option<&EndReason> {
        match &self.link {
            Some(link) => link.end_reason(),
            None => self.incoming.as_ref()?.end_reason(),
        }
    }

    // The listener.

    pub(crate) fn request(&self) -> Option<Request> {
        self.incoming.as_ref()?.request()
    }

    /// Gives the peer that waits the channels in another order.
    pub(crate) fn declare(&mut self) {
        let Some(incoming) = &mut self.incoming else {
            return;
        };
        let mut channels = incoming.config().channels().to_vec();
        channels.reverse();
        let declared = incoming.declare(channels);
        if declared.is_ok() {
            self.windows.reverse();
            self.leases.reverse();
            self.ledger.reverse();
        }
        self.seen.note(&declared.map_err(|error| error.to_string()));
    }

    /// Makes a link of the connection, if it can be one.
    pub(crate) fn accept(&mut self, gone: Option<GoneSession>) {
        let Some(mut incoming) = self.incoming.take() else {
            return;
        };
        incoming.remember(gone);
        match incoming.accept(self.now) {
            Ok(link) => {
                #[cfg(planted)]
                let link = planted(link, self.mistake);
                self.link = Some(link);
            }
            Err(incoming) => {
                assert!(incoming.end_reason().is_some(), "declined without a reason");
                self.incoming = Some(incoming);
            }
        }
    }

    pub(crate) fn refuse(&mut self, refusal: &Refusal) {
        if let Some(incoming) = &mut self.incoming {
            incoming.refuse(self.now, refusal);
        }
    }

    /// Bytes come from the peer.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.taken.fill(0);
        let size = if self.cut == 0 { bytes.len() } else { self.cut };
        for piece in pieces(bytes, size) {
            let now = self.now;
            let (state, connection) = (self.protocol().state(), self.protocol().connection());
            if matches!(
                state,
                LinkState::Greeting | LinkState::Open | LinkState::Closing
            ) {
                self.arrivals.receive(now, connection, self.clock, piece);
            }
            self.protocol().handle_input(now, piece);
        }
    }

    /// Does what a driver does until there is nothing to do: writes, tells, lets time act.
    pub(crate) fn settle(&mut self, read: Read<'_>) {
        self.write(read);
        self.listen();
        let comes_back = self.link.as_ref().is_some_and(Link::wants_connect);
        assert!(!comes_back || !self.ledger.is_over(), "its session is over");
        for _ in 0..8 {
            let now = self.now;
            match self.protocol().poll_deadline() {
                Some(at) if at <= now => {
                    self.protocol().handle_timeout(now);
                    self.write(read);
                    self.listen();
                }
                deadline => return self.note_state(deadline),
            }
        }
        panic!("a deadline stays due");
    }

    fn note_state(&mut self, deadline: Option<Instant>) {
        let reason = self.end_reason().cloned();
        let of_link = |link: &Link| (link.session(), link.resumes());
        let more = self.link.as_ref().map(of_link);
        if let Some(link) = &self.link {
            self.leases.check(self.now, deadline, link);
            self.check_clock(link);
        }
        let protocol = self.protocol();
        let state = (protocol.state(), deadline, protocol.wants_connection());
        self.seen.note(&(state, reason, more));
    }

    /// What a link knows of its peer's clock is true where the peer tells the truth.
    fn check_clock(&self, link: &Link) {
        if let Some((clock, told)) = self.clock.zip(link.status(self.now).clock) {
            let now = self.now.as_micros();
            let ahead = now.wrapping_sub(clock.shows(self.now)).cast_signed();
            let above = ahead.wrapping_sub(told.at_least);
            let below = told.at_most.wrapping_sub(ahead);
            assert!(above >= 0 && below >= 0, "{ahead}, not {told:?}");
        }
    }

    /// Writes all that there is.
    fn write(&mut self, read: Read<'_>) {
        let silent = !self.protocol().wants_output();
        let mut written = 0;
        loop {
            let now = self.now;
            let mut buffer = std::mem::take(&mut self.buffer);
            let output = self.protocol().poll_output(now, &mut buffer);
            self.buffer = buffer;
            let ends = matches!(
                self.protocol().state(),
                LinkState::Finishing | LinkState::Ended
            );
            match output {
                Output::Written(length) => {
                    assert!(!silent, "it did not say that it writes");
                    assert!((1..=self.buffer.len()).contains(&length));
                    written += length;
                    assert!(written < 1 << 20, "output without end");
                    self.seen.note(&self.buffer[..length]);
                    let moment = Moment {
                        now,
                        heard: self.arrivals.heard,
                        timed: self.arrivals.timed,
                        paced: self.paced,
                    };
                    read(&moment, &self.buffer[..length]);
                }
                Output::TooSmall { needed } => {
                    assert!(needed > self.buffer.len() && needed <= HEADER_LEN + MAX_GREETING);
                    self.buffer.resize(needed, 0);
                }
                Output::Idle => break assert!(!ends, "idle for ever"),
                Output::End => break assert!(ends, "an end that is none"),
            }
        }
    }

    /// Takes all events.
    fn listen(&mut self) {
        let mut count = 0;
        let Some(link) = &mut self.link else {
            // What has not become a link has no events.
            self.over = self.protocol().state() == LinkState::Ended;
            return;
        };
        while let Some(event) = link.poll_event() {
            count += 1;
            assert!(count < 10_000, "events without end");
            assert!(!self.over, "{event:?} after the end");
            self.ledger.receive(&event, link);
            self.leases.receive(&event);
            self.seen.note(&event);
            if event == Event::Ended {
                self.over = true;
                self.ledger.end(link);
            }
        }
    }

    /// Ends whatever there is, and looks whether it is the end.
    pub(crate) fn finish(mut self, read: Read<'_>) -> Seen {
        self.settle(read);
        // Whatever becomes of the connection, leases lapse.
        self.now = self.now.max(self.leases.last().unwrap_or_default());
        self.settle(read);
        self.leases.check_lapsed();
        let now = self.now;
        self.protocol().handle_lost(now, Disconnect::Abandoned);
        self.settle(read);
        assert!(self.over, "an end that is not told");
        let ended = self.protocol();
        assert_eq!(ended.state(), LinkState::Ended);
        assert_eq!(ended.poll_deadline(), None, "nothing to wait for");
        assert!(!ended.wants_connection() && !ended.wants_output());
        let reason = self.end_reason().cloned();
        let words = reason
            .as_ref()
            .map(|reason| (reason.to_string(), reason.name()));
        let (text, name) = words.expect("a reason");
        assert!(!text.is_empty() && !name.is_empty());
        let loss = self.link.as_ref().and_then(Link::last_loss);
        self.seen
            .note(&(text, name, loss.map(|loss| loss.to_string())));
        let shown = format!("{:?} {:?}", self.link, self.incoming);
        assert!(!shown.contains(PAYLOAD_SHOWN));
        self.receive(&[0x10; 40]);
        let ended = self.protocol();
        ended.handle_eof(now);
        assert!(ended.handle_opened(now).is_err());
        assert_eq!(ended.poll_output(now, &mut [0; 40]), Output::End);
        assert_eq!(self.end_reason(), reason.as_ref());
        if let Some(link) = &mut self.link {
            assert_eq!(link.poll_event(), None);
            self.ledger.end(link);
        }
        self.seen
    }
}
