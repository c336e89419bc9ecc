//! What it costs to go through all that waits, which a hostile peer brings about with a greeting, a
//! close, or by taking nothing until all expires: with little and with much of it.
//!
//! Takes the name of an attack, how many messages wait, and 1 or 0 for whether it happens. Runs under
//! callgrind with and without it, divided by what waits, give the cost of one message;
//! `.ci/frame-costs` does that for each attack and compares little and much waiting.

mod common;

use std::time::Duration;

use countersign_core::wire::{
    ChannelEntry, CloseHead, FrameType, GreetingHead, MAX_GREETING, SessionOutcome, VERSION,
    encode_close, encode_greeting,
};
use countersign_core::{
    Bytes, ChannelId, DEFAULT_FRAME_LIMIT, Disconnect, Instant, Link, LinkState, Mode, Role,
    SendChannel, VerdictKind,
};

use common::{NOW, drain, end};

const MAIN: ChannelId = ChannelId(0);
const SHORT: &[u8] = &[7; 16];
const LONG: &[u8] = &[7; 64];
const FEW: usize = 16;
/// What expires does so by then, or from then on.
const LATE: Instant = Instant::from_micros(2);

/// What a receiver says of itself.
struct Receiver {
    max_message: usize,
    window: usize,
    /// The last number that it has, on a session that goes on.
    received: Option<usize>,
}

impl Receiver {
    fn welcome(&self) -> Vec<u8> {
        let outcome = self.received.map(|_| SessionOutcome::Resumed);
        let head = GreetingHead {
            version_min: VERSION,
            version_max: VERSION,
            outcome: outcome.unwrap_or(SessionOutcome::New),
            attempt: 0,
            frame_limit: u32::try_from(DEFAULT_FRAME_LIMIT).expect("a default"),
            time: 0,
            arrived: 0,
            session: [7; 16],
        };
        let entry = ChannelEntry {
            mode: Mode::Receive,
            policy: None,
            name: "main",
            wants_times: false,
            max_reply: 0,
            max_message: self.max_message as u64,
            window_messages: u32::try_from(self.window).expect("a window"),
            window_bytes: 64 << 20,
            handled: 0,
            received: self.received.unwrap_or(0) as u64,
            partial: 0,
        };
        let mut said = vec![0; MAX_GREETING];
        let entries = core::iter::once(entry);
        let length = encode_greeting(FrameType::Welcome, &head, entries, &mut said);
        said.truncate(length.expect("a short greeting"));
        said
    }
}

fn let_out(link: &mut Link) {
    drain(link, &mut [0; 65_536], |_| ());
}

fn sender(channel: SendChannel, queue: usize) -> Link {
    end(channel.queue(queue, 64 << 20), Role::Opener)
}

fn give(link: &mut Link, message: &'static [u8]) {
    let message = Bytes::from_static(message);
    link.send(NOW, MAIN, message, None).expect("room");
}

/// Half of what waits is too large for the receiver, as turns out when it greets.
fn smaller(waiting: usize) -> (Link, Vec<u8>) {
    let mut link = sender(SendChannel::new("main"), waiting);
    let_out(&mut link);
    for at in 0..waiting {
        give(&mut link, if at < waiting / 2 { SHORT } else { LONG });
    }
    let receiver = Receiver {
        max_message: SHORT.len(),
        window: 1,
        received: None,
    };
    (link, receiver.welcome())
}

/// So much of what waits is on the wire, and the receiver takes no more.
fn stuck(waiting: usize, window: usize, expires: impl Fn(u64) -> Instant) -> Link {
    let mut link = sender(SendChannel::new("main"), waiting);
    let_out(&mut link);
    let receiver = Receiver {
        max_message: SHORT.len(),
        window,
        received: None,
    };
    link.handle_input(NOW, &receiver.welcome());
    for at in 0..waiting as u64 {
        let message = Bytes::from_static(SHORT);
        link.send(NOW, MAIN, message, Some(expires(at)))
            .expect("room");
    }
    let_out(&mut link);
    link
}

/// Half of what waits is on the wire.
fn half(waiting: usize) -> Link {
    stuck(waiting, waiting / 2, |_| LATE)
}

/// Little of what waits is on the wire, and the rest expires one after the other.
fn expiring(waiting: usize) -> Link {
    stuck(waiting, FEW, |at| LATE + Duration::from_micros(at))
}

/// The receiver closes; what is not on the wire is withdrawn.
fn close(waiting: usize) -> (Link, Vec<u8>) {
    let mut said = vec![0; MAX_GREETING];
    let length = encode_close(&CloseHead::ALL_WELL, core::iter::empty(), &mut said);
    said.truncate(length.expect("a short frame"));
    (half(waiting), said)
}

/// Everything went out, and the receiver comes back with half of it; of the rest the newest counts.
fn resumed(waiting: usize) -> (Link, Vec<u8>) {
    let window = u32::try_from(waiting).expect("a window");
    let channel = SendChannel::new("main").latest().in_flight(window);
    let mut link = sender(channel, waiting);
    let_out(&mut link);
    let mut receiver = Receiver {
        max_message: SHORT.len(),
        window: waiting,
        received: None,
    };
    link.handle_input(NOW, &receiver.welcome());
    for _ in 0..waiting {
        give(&mut link, SHORT);
        let_out(&mut link);
    }
    link.handle_lost(NOW, Disconnect::Transport);
    while !link.wants_connect() {
        let at = link.poll_deadline().expect("it connects again");
        link.handle_timeout(at);
    }
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    let_out(&mut link);
    receiver.received = Some(waiting / 2);
    (link, receiver.welcome())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [attack, waiting, happens] = arguments.as_slice() else {
        panic!("an attack, how many messages wait, 1 or 0 for whether it happens");
    };
    let waiting: usize = waiting.parse().expect("how many messages wait");
    let (mut link, said) = match attack.as_str() {
        "smaller" => smaller(waiting),
        "close" => close(waiting),
        "resumed" => resumed(waiting),
        "expired" => (half(waiting), Vec::new()),
        "expiring" => (expiring(waiting), Vec::new()),
        _ => panic!("there is no attack {attack}"),
    };
    if happens == "1" {
        match attack.as_str() {
            "expired" => link.handle_timeout(LATE),
            // Two at a time.
            "expiring" => (0..waiting as u64)
                .step_by(2)
                .for_each(|at| link.handle_timeout(LATE + Duration::from_micros(at + 1))),
            _ => link.handle_input(NOW, &said),
        }
        let (state, kind, gone) = match attack.as_str() {
            "smaller" => (LinkState::Open, VerdictKind::Rejected, waiting / 2),
            "expired" => (LinkState::Open, VerdictKind::Expired, waiting / 2),
            "expiring" => (LinkState::Open, VerdictKind::Expired, waiting - FEW),
            "close" => (LinkState::Closing, VerdictKind::Withdrawn, waiting / 2),
            _ => (LinkState::Open, VerdictKind::Superseded, waiting / 2 - 1),
        };
        assert_eq!(link.state(), state, "{:?}", link.end_reason());
        assert_eq!(link.report()[0].verdicts[kind], gone as u64);
    }
}
