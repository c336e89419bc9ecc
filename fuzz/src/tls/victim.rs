//! An endpoint with its link, driven by the book, and what must hold whatever it reads.

use std::mem;
use std::time::Duration;

use countersign_core::{
    ChannelId, CloseMode, Config, Disconnect, Event, Instant, Link, LinkState, Role,
};
use countersign_endpoint::{Blame, Endpoint, EndpointEvent, MAX_RECORD, Security, ToSend};

use crate::input::pieces;
use crate::subject::{START, Seen};

/// The end under test.
pub(crate) struct Victim {
    pub(crate) link: Link,
    endpoint: Endpoint,
    pub(crate) now: Instant,
    /// How input is cut; zero where it is not.
    cut: usize,
    /// How many pieces of input there were.
    reads: u32,
    /// It has told that it is secured, and that it has failed.
    told: (bool, bool),
    seen: Seen,
    /// What it has written since that was last asked for.
    written: Vec<u8>,
    /// Its direction has ended; its transport was dropped; its end was reported.
    ended: bool,
    dropped: bool,
    over: bool,
    /// What the application has taken and not settled, where it has to.
    unsettled: Vec<(ChannelId, u64)>,
}

impl Victim {
    pub(crate) fn new(
        security: &Security,
        config: &Config,
        role: Role,
        cut: usize,
        seen: Seen,
    ) -> Self {
        let mut link = Link::new(config, role, [3; 16]).expect("a sound declaration");
        let mut endpoint = Endpoint::new(security, role, config.get_dialect());
        endpoint.exchange(START, &mut link);
        Self {
            endpoint,
            link,
            now: START,
            cut,
            reads: 0,
            told: (false, false),
            seen,
            written: Vec::new(),
            ended: false,
            dropped: false,
            over: false,
            unsettled: Vec::new(),
        }
    }

    /// Bytes come from the peer.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        let size = if self.cut == 0 { bytes.len() } else { self.cut };
        for piece in pieces(bytes, size) {
            // As a transport reads: never more than there is room for.
            for piece in pieces(piece, 16_384) {
                if self.dropped || self.endpoint.is_read_ended() {
                    break;
                }
                let input = self.endpoint.input();
                input.space(piece.len())[..piece.len()].copy_from_slice(piece);
                input.commit(piece.len());
                self.endpoint.received(piece.len());
                let left = self.endpoint.input().filled().len();
                assert!(left < MAX_RECORD, "{left} bytes wait to be complete");
                // Where input is cut, the link gets two pieces at once now and then.
                self.reads += 1;
                if self.cut == 0 || !self.reads.is_multiple_of(3) {
                    self.deliver();
                }
            }
        }
        // Nothing else is to happen to the link before it has all of it.
        self.deliver();
    }

    /// The peer has ended its direction.
    pub(crate) fn receive_end(&mut self) {
        if !self.dropped {
            self.endpoint.received(0);
            self.deliver();
        }
    }

    fn deliver(&mut self) {
        if !self.dropped {
            self.endpoint.deliver(self.now, &mut self.link);
        }
    }

    fn exchange(&mut self) {
        self.endpoint.exchange(self.now, &mut self.link);
        while let Some(event) = self.endpoint.poll_event() {
            let told = match event {
                EndpointEvent::Secured => &mut self.told.0,
                EndpointEvent::Failed(_) => &mut self.told.1,
                // No transport fails here.
                EndpointEvent::Lost(cause) => panic!("{cause}"),
            };
            assert!(!mem::replace(told, true), "told twice: {event:?}");
        }
    }

    /// Whether the endpoint has nothing against its peer so far.
    pub(crate) fn is_well(&self) -> bool {
        self.endpoint.failure().is_none() && !self.dropped
    }

    pub(crate) fn is_secured(&self) -> bool {
        !matches!(self.link.state(), LinkState::Securing | LinkState::Offline)
    }

    /// What it has written since.
    pub(crate) fn take_written(&mut self) -> Vec<u8> {
        mem::take(&mut self.written)
    }

    /// Does what a driver does until there is nothing to do.
    pub(crate) fn settle(&mut self) {
        for _ in 0..8 {
            self.write();
            self.listen();
            self.check_failure();
            if !self.dropped && self.endpoint.is_over(self.now) {
                self.dropped = true;
                self.seen.note("dropped");
            }
            match self.link.poll_deadline() {
                Some(at) if at <= self.now => self.link.handle_timeout(self.now),
                _ => {
                    let state = (self.link.state(), self.link.end_reason());
                    return self.seen.note(&state);
                }
            }
        }
        panic!("a deadline stays due");
    }

    fn write(&mut self) {
        for _ in 0..1000 {
            if self.dropped {
                return;
            }
            self.exchange();
            match self.endpoint.to_send() {
                ToSend::Nothing => return,
                ToSend::Bytes(buffer) => {
                    assert!(!self.ended, "output after the end");
                    let length = buffer.filled().len();
                    assert!(length > 0 && length < 1 << 17, "{length} bytes to send");
                    self.written.extend_from_slice(buffer.filled());
                    buffer.consume(length);
                    self.endpoint.sent();
                }
                ToSend::End => {
                    assert!(!self.ended, "a second end");
                    self.ended = true;
                    self.endpoint.shut();
                }
            }
        }
        panic!("output without end");
    }

    fn listen(&mut self) {
        while let Some(event) = self.link.poll_event() {
            assert!(!self.over, "{event:?} after the end");
            self.over = event == Event::Ended;
            self.seen.note(&event);
        }
    }

    /// Whatever a peer does is not our mistake, and ends the connection.
    fn check_failure(&mut self) {
        let Some(failure) = self.endpoint.failure() else {
            return;
        };
        assert!(failure.blame() != Blame::Local, "our mistake: {failure:?}");
        let running = matches!(
            self.link.state(),
            LinkState::Securing | LinkState::Greeting | LinkState::Open | LinkState::Closing
        );
        assert!(!running, "{failure} leaves the link running");
        // What a certificate looks like and what time it is may differ between two runs.
        let reason = format!("{:?}", failure.reason());
        let name = reason.split([' ', '(', '{']).next().unwrap_or_default();
        self.seen.note(name);
    }

    // The application.

    /// Sends a message that is good for so many microseconds.
    pub(crate) fn send(&mut self, channel: ChannelId, length: usize, life: Option<u64>) {
        let expires = life.map(|life| self.now + Duration::from_micros(life));
        let result = self.link.send(self.now, channel, vec![7; length], expires);
        self.seen.note(&result.map_err(|error| error.to_string()));
    }

    pub(crate) fn take(&mut self, channel: ChannelId) {
        if let Ok(Some(message)) = self.link.take(self.now, channel) {
            let number = message.sequence;
            self.seen.note(&(channel, number, message.payload.as_ref()));
            if !self.link.is_auto(channel) {
                self.unsettled.push((channel, number));
            }
        }
    }

    /// Handles or rejects one of the messages that were taken.
    pub(crate) fn settle_one(&mut self, how: usize) {
        if self.unsettled.is_empty() {
            return;
        }
        let (channel, number) = self.unsettled.swap_remove(how / 2 % self.unsettled.len());
        let settled = match how {
            _ if !how.is_multiple_of(2) => self.link.reject(self.now, channel, number, 3, "no"),
            0..128 => self.link.handle(self.now, channel, number),
            _ => self.link.handle_with(self.now, channel, number, b"yes"),
        };
        self.seen.note(&settled.map_err(|error| error.to_string()));
    }

    /// Lets time pass to the next deadline, of the link or of its connection. Returns false if
    /// there is none.
    pub(crate) fn pass(&mut self) -> bool {
        let linger = self.endpoint.deadline().filter(|_| !self.dropped);
        let Some(next) = self.link.poll_deadline().into_iter().chain(linger).min() else {
            return false;
        };
        self.now = self.now.max(next);
        self.link.handle_timeout(self.now);
        true
    }

    /// Whatever has happened, both the connection and the link come to their end.
    pub(crate) fn finish(mut self) -> Seen {
        self.settle();
        self.receive_end();
        self.link.close(self.now, CloseMode::Withdraw);
        for _ in 0..40 {
            self.settle();
            if self.over && self.dropped {
                assert_eq!(self.link.state(), LinkState::Ended);
                self.seen.note(&self.link.report().len());
                return self.seen;
            }
            if self.dropped && self.link.state() != LinkState::Ended {
                self.link.handle_lost(self.now, Disconnect::Abandoned);
            } else {
                assert!(self.pass(), "nothing to wait for: {:?}", self.link.state());
            }
        }
        panic!("no end: {:?}", self.link.state());
    }
}
