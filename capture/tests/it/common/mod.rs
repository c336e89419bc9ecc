//! Captures of two links that talk to each other, in memory.

#![allow(dead_code, reason = "each test program uses a part of this")]
#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

mod lives;
mod paced;

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign_capture::{Capture, Options, Reader, Record};
use countersign_core::{
    Bytes, ChannelId, CloseMode, CloseReason, Config, Dialect, Disconnect, EndReason, Event,
    GoneSession, Incoming, Instant, Link, LinkState, Output, PeerId, Protocol, ReceiveChannel,
    ReceiveError, Role, SendChannel, TakeOver,
};

pub(crate) use lives::{LONGEST_REPLY, left_behind, lives};
pub(crate) use paced::paced;

/// What stands in every payload, and nowhere else.
pub(crate) const MARKER: &[u8] = b"MARKER";

/// Bytes that a capture's thread writes and the test reads.
#[derive(Clone, Default)]
pub(crate) struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn records(bytes: &[u8]) -> Vec<Record> {
    Reader::new(bytes).unwrap().map(Result::unwrap).collect()
}

/// Opener and acceptor, both recorded.
pub(crate) struct Pair {
    pub(crate) ends: [Link; 2],
    /// Has the acceptor's connection until it has found its link.
    pub(crate) incoming: Option<Incoming>,
    pub(crate) now: Instant,
    pub(crate) cut: usize,
}

pub(crate) const VIDEO: ChannelId = ChannelId(0);
pub(crate) const COMMANDS: ChannelId = ChannelId(1);

pub(crate) fn configs() -> [Config; 2] {
    let opener = Config::new()
        .frame_limit(512)
        .channel(SendChannel::new("video").latest())
        .channel(
            ReceiveChannel::new("commands")
                .manual()
                .lease(Duration::from_secs(60)),
        );
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("video"))
        .channel(SendChannel::new("commands"));
    [opener, acceptor]
}

pub(crate) fn stream_configs() -> [Config; 2] {
    let config = || Config::new().dialect(Dialect::TlsStream);
    [
        config().channel(SendChannel::new("video")),
        config().channel(ReceiveChannel::new("video")),
    ]
}

pub(crate) fn payload(length: usize) -> Bytes {
    let bytes = MARKER.iter().copied().cycle();
    bytes.take(length).collect::<Vec<u8>>().into()
}

impl Pair {
    pub(crate) fn new(capture: &Capture, configs: &[Config; 2]) -> Self {
        let link = |at: usize| {
            let role = [Role::Opener, Role::Acceptor][at];
            let seed = [u8::try_from(at).unwrap() + 1; 16];
            Link::observed(&configs[at], role, seed, capture.observer()).unwrap()
        };
        Self {
            ends: [link(0), link(1)],
            incoming: None,
            now: Instant::from_micros(1_000_000),
            cut: usize::MAX,
        }
    }

    /// As [`Pair::new`], but the acceptor has no link yet: its connection is incoming.
    pub(crate) fn arriving(capture: &Capture, configs: &[Config; 2], seed: u8) -> Self {
        let [opener, acceptor] = configs;
        let opener = Link::observed(opener, Role::Opener, [1; 16], capture.observer());
        let acceptor = Link::new(acceptor, Role::Acceptor, [seed; 16]);
        Self {
            ends: [opener.unwrap(), acceptor.unwrap()],
            incoming: Some(incoming(capture, &configs[1], seed)),
            now: Instant::from_micros(1_000_000),
            cut: usize::MAX,
        }
    }

    /// What has an end's connection.
    fn end(&mut self, at: usize) -> &mut dyn Protocol {
        match &mut self.incoming {
            Some(incoming) if at == 1 => incoming,
            _ => &mut self.ends[at],
        }
    }

    /// The incoming connection becomes the acceptor's link.
    pub(crate) fn accept(&mut self, gone: Option<GoneSession>) {
        let mut incoming = self.incoming.take().unwrap();
        incoming.remember(gone);
        self.ends[1] = incoming.accept(self.now).unwrap();
    }

    /// It goes to the acceptor's link, or the link ends for it.
    pub(crate) fn take_over(&mut self) -> TakeOver {
        self.ends[1].take_over(self.now, self.incoming.as_mut().unwrap())
    }

    pub(crate) fn connect(&mut self) {
        let peer = Some(PeerId([7; 32]));
        let now = self.now;
        for at in [0, 1] {
            self.end(at).handle_opened(now).unwrap();
            self.end(at).handle_secured(now, peer).unwrap();
        }
    }

    /// Carries bytes and polls events until nothing moves.
    pub(crate) fn settle(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = vec![0; 4096];
        loop {
            let mut moved = false;
            let (now, cut) = (self.now, self.cut);
            for from in [0, 1] {
                loop {
                    match self.end(from).poll_output(now, &mut buffer) {
                        Output::Written(length) => {
                            moved = true;
                            for piece in buffer[..length].chunks(cut.min(length)) {
                                self.end(1 - from).handle_input(now, piece);
                            }
                        }
                        Output::TooSmall { needed } => buffer.resize(needed, 0),
                        Output::Idle | Output::End => break,
                    }
                }
                events.extend(std::iter::from_fn(|| self.ends[from].poll_event()));
            }
            if !moved {
                return events;
            }
            self.sleep(50);
        }
    }

    pub(crate) fn sleep(&mut self, micros: u64) {
        self.now = self.now + Duration::from_micros(micros);
    }

    pub(crate) fn lose(&mut self) {
        for end in &mut self.ends {
            end.handle_lost(self.now, Disconnect::Transport);
        }
        while self.ends[0].state() == LinkState::Offline {
            self.now = self.ends[0].poll_deadline().unwrap();
            self.ends[0].handle_timeout(self.now);
        }
    }

    pub(crate) fn close(&mut self) {
        self.ends[0].close_with(
            self.now,
            CloseMode::Drain,
            CloseReason::new(3, "input ended").again(),
        );
        self.settle();
        for end in &mut self.ends {
            end.handle_eof(self.now);
        }
        self.settle();
    }
}

/// A visit to a listener, and a return to it: with everything that a link can do on the way.
pub(crate) fn visits(capture: &Capture, cut: usize) {
    let configs = configs();
    let mut pair = Pair::arriving(capture, &configs, 2);
    pair.cut = cut;
    pair.connect();
    pair.settle();
    pair.accept(None);
    pair.settle();
    for length in [0, 1, 3000, 700] {
        // One of them is good for ever.
        let expires = (length != 1).then(|| pair.now + Duration::from_secs(1));
        pair.ends[0]
            .send(pair.now, VIDEO, payload(length), expires)
            .unwrap();
        pair.ends[1]
            .send(pair.now, COMMANDS, payload(length + 10), None)
            .unwrap();
        pair.settle();
        while pair.ends[1].take(pair.now, VIDEO).unwrap().is_some() {}
    }
    let command = pair.ends[0].take(pair.now, COMMANDS).unwrap().unwrap();
    pair.ends[0]
        .handle(pair.now, COMMANDS, command.sequence)
        .unwrap();
    let command = pair.ends[0].take(pair.now, COMMANDS).unwrap().unwrap();
    pair.ends[0]
        .reject(pair.now, COMMANDS, command.sequence, 5, "no")
        .unwrap();
    let command = pair.ends[0].take(pair.now, COMMANDS).unwrap().unwrap();
    pair.ends[0]
        .handle_with(pair.now, COMMANDS, command.sequence, &payload(9))
        .unwrap();
    pair.ends[0].handle(pair.now, COMMANDS, 99).unwrap_err();
    pair.ends[0]
        .send(pair.now, COMMANDS, payload(8), None)
        .unwrap_err();
    pair.settle();
    // The opener comes back, and the listener leads it to its link.
    pair.ends[0]
        .send(pair.now, VIDEO, payload(2000), None)
        .unwrap();
    pair.lose();
    pair.incoming = Some(incoming(capture, &configs[1], 9));
    pair.connect();
    pair.settle();
    assert_eq!(pair.take_over(), TakeOver::Done);
    pair.incoming = None;
    pair.settle();
    pair.ends[0].abandon(pair.now, COMMANDS).unwrap();
    pair.close();
}

/// The acceptor gives the session up while its peer is away, and gets another with it.
fn come_back_too_late(pair: &mut Pair, capture: &Capture, acceptor: &Config) {
    pair.ends[1].evict(pair.now);
    pair.settle();
    let gone = pair.ends[1].gone_session();
    pair.incoming = Some(incoming(capture, acceptor, 9));
    pair.connect();
    pair.settle();
    pair.accept(Some(gone));
}

/// A link whose session is lost, and a border in what is taken of it; the same of an opener that ends
/// with its session, and of an acceptor's link that does.
pub(crate) fn sessions(capture: &Capture, cut: usize) {
    let [opener, acceptor] = configs();
    for opener in [opener.clone(), opener.clone().single_session()] {
        let mut pair = begun(capture, &[opener, acceptor.clone()], cut);
        come_back_too_late(&mut pair, capture, &acceptor);
        pair.ends[1]
            .send(pair.now, COMMANDS, payload(20), None)
            .unwrap();
        pair.settle();
        // The message from before, and the border with what follows it where there is one.
        let mut taken = 0;
        loop {
            match pair.ends[0].take(pair.now, COMMANDS) {
                Ok(None) => break,
                Ok(Some(message)) => {
                    taken += 1;
                    let handled = pair.ends[0].handle(pair.now, COMMANDS, message.sequence);
                    assert_eq!(
                        handled.is_err(),
                        taken == 1,
                        "the first is of the lost session"
                    );
                }
                Err(border) => assert!(matches!(border, ReceiveError::SessionBorder(_))),
            }
        }
        pair.settle();
        pair.close();
    }
    let mut pair = begun(capture, &[opener.clone(), acceptor.single_session()], cut);
    let config = pair.ends[1].config().clone();
    pair.incoming = Some(incoming(capture, &config, 9));
    let anew = Link::observed(&opener, Role::Opener, [8; 16], capture.observer());
    pair.ends[0] = anew.unwrap();
    pair.connect();
    pair.settle();
    assert_eq!(pair.take_over(), TakeOver::SessionOver);
    pair.settle();
    let refused = pair.ends[0].end_reason();
    assert!(
        matches!(refused, Some(EndReason::Refused(_))),
        "{refused:?}"
    );
}

/// A link with messages both ways, which has lost its connection.
fn begun(capture: &Capture, configs: &[Config; 2], cut: usize) -> Pair {
    let mut pair = Pair::new(capture, configs);
    pair.cut = cut;
    pair.connect();
    pair.settle();
    pair.ends[0]
        .send(pair.now, VIDEO, payload(30), None)
        .unwrap();
    pair.ends[1]
        .send(pair.now, COMMANDS, payload(10), None)
        .unwrap();
    pair.settle();
    pair.lose();
    pair
}

fn incoming(capture: &Capture, config: &Config, seed: u8) -> Incoming {
    Incoming::observed(config, [seed; 16], capture.observer()).unwrap()
}

/// Two messages and a violation in the tlsstream dialect.
pub(crate) fn stream(capture: &Capture, cut: usize) {
    let mut pair = Pair::new(capture, &stream_configs());
    pair.cut = cut;
    pair.connect();
    for length in [5, 9000] {
        pair.ends[0]
            .send(pair.now, VIDEO, payload(length), None)
            .unwrap();
        pair.settle();
        pair.ends[1].take(pair.now, VIDEO).unwrap().unwrap();
        pair.settle();
    }
    pair.ends[1].handle_input(pair.now, b"3x");
    pair.ends[1].handle_input(pair.now, MARKER);
    pair.settle();
}

/// All of that in one capture.
pub(crate) fn captured(options: Options, cut: usize) -> Vec<u8> {
    let sink = Sink::default();
    let capture = Capture::to(sink.clone(), options).unwrap();
    visits(&capture, cut);
    stream(&capture, cut);
    capture.finish().unwrap();
    sink.bytes()
}
