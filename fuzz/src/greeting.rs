//! HELLO and WELCOME: what an end makes of them, against a reading of the chapter Handshake of
//! `docs/protocol.md` that knows nothing of the core.
//!
//! Input: one byte for the end that reads and for how the greeting is made, one for the size of
//! pieces, then its body, or what a body is made from.

mod layout;

use arbitrary::Unstructured;
use countersign_core::wire::{Decoder, Frame, MAX_GREETING, NO_CHANNEL, Piece};
use countersign_core::{
    ChannelConfig, Config, EndReason, Event, Instant, Link, LinkState, Mode, Output, Policy,
    ReceiveChannel, Role, SendChannel,
};

use self::layout::{Entry, Parsed};
use crate::frames::encode;
use crate::input::{byte, pieces};

const NOW: Instant = Instant::from_micros(1_000_000);
const HELLO: u8 = 0x01;
const WELCOME: u8 = 0x02;
const PONG: u8 = 0x21;
const FRAMING: u16 = 1;
const HANDSHAKE: u16 = 2;

/// Tries one input.
pub fn check(mut input: &[u8]) {
    let how = byte(&mut input);
    let size = usize::from(byte(&mut input));
    let config = config(how >> 3);
    let body = if how & 1 == 0 {
        input.to_vec()
    } else {
        layout::draw(&mut Unstructured::new(input))
    };
    if !(layout::FIXED..=MAX_GREETING).contains(&body.len()) {
        return;
    }
    let (kind, role) = match how & 2 {
        0 => (HELLO, Role::Acceptor),
        _ => (WELCOME, Role::Opener),
    };
    let mut frame = vec![kind, 0, 0, 0];
    frame.extend(u32::try_from(body.len()).expect("short").to_be_bytes());
    frame.extend(&body);

    let parsed = Parsed::read(&body);
    decode(&frame, &parsed);
    let answer = receive(&config, role, std::iter::once(&frame[..]));
    assert_eq!(answer, receive(&config, role, pieces(&frame, 1)));
    assert_eq!(answer, receive(&config, role, pieces(&frame, size)));
    let allowed = match role {
        Role::Acceptor => to_hello(&parsed, &config),
        Role::Opener => to_welcome(&parsed, &config),
    };
    assert!(
        allowed.contains(&answer),
        "{answer:?}, not {allowed:?}: {parsed:?}"
    );
}

/// What the hearer has declared.
fn config(how: u8) -> Config {
    let config = Config::new().single_connection();
    match how % 4 {
        0 => config.channel(ReceiveChannel::new("c0")),
        1 => config.channel(SendChannel::new("c0").latest()),
        2 => config
            .channel(ReceiveChannel::new("c0").reliable())
            .channel(SendChannel::new("c1"))
            .channel(ReceiveChannel::new("").latest()),
        _ => config
            .channel(SendChannel::new("n".repeat(64)))
            .channel(ReceiveChannel::new("é").latest()),
    }
}

/// The decoder finds what the frame has, and what is written again reads the same.
fn decode(frame: &[u8], parsed: &Parsed) {
    let mut decoder = Decoder::new(512);
    let mut input = frame;
    match decoder.next(&mut input) {
        Ok(Some(Piece::Frame(found @ (Frame::Hello(greeting) | Frame::Welcome(greeting))))) => {
            assert!(parsed.faults.is_empty(), "{parsed:?}");
            assert!(input.is_empty());
            let head = greeting.head;
            assert_eq!((head.version_min, head.version_max), parsed.versions);
            if parsed.is_spoken() {
                assert_eq!(head.outcome as u8, parsed.outcome);
                assert_eq!(head.attempt, parsed.attempt);
                assert_eq!(head.frame_limit, parsed.frame_limit);
                assert_eq!(head.session, parsed.session);
                assert_eq!((head.time, head.arrived), parsed.times);
            }
            let entries: Vec<_> = greeting.channels().collect();
            assert_eq!(entries.len(), parsed.entries.len());
            for (theirs, ours) in entries.iter().zip(&parsed.entries) {
                ours.compare(theirs);
            }
            let written = encode(&found);
            let mut second = Decoder::new(512);
            let again = second.next(&mut &written[..]).expect("written by us");
            let Some(Piece::Frame(Frame::Hello(again) | Frame::Welcome(again))) = again else {
                panic!("a greeting became {again:?}");
            };
            assert_eq!(again.head, head);
            assert!(again.channels().eq(entries));
        }
        Err(_) => assert!(!parsed.faults.is_empty(), "{parsed:?}"),
        other => panic!("a greeting became {other:?}"),
    }
}

/// What an end answers to a greeting.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Answer {
    /// The connection is open; whether its opener answers the time of the WELCOME at once.
    Open(bool),
    /// REFUSE, with its code and channel.
    Refused(u16, u16),
    /// ABORT, with its code.
    Abort(u16),
}

fn receive<'a>(config: &Config, role: Role, input: impl Iterator<Item = &'a [u8]>) -> Answer {
    let mut link = Link::new(config, role, [5; 16]).expect("a sound declaration");
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    let hello = output(&mut link);
    assert_eq!(hello.is_empty(), role == Role::Acceptor);
    for piece in input {
        assert_eq!(link.poll_event(), None, "told before all has come");
        link.handle_input(NOW, piece);
    }
    let said = output(&mut link);
    if link.state() == LinkState::Open {
        assert_eq!(link.poll_event(), Some(Event::Connected));
        assert_ne!(link.session(), [0; 16]);
        if role == Role::Acceptor {
            assert_eq!(said.first(), Some(&WELCOME));
            // When it was written, and when HELLO came.
            let now = NOW.as_micros().to_be_bytes();
            assert_eq!([&said[40..48], &said[48..56]], [now; 2]);
            return Answer::Open(false);
        }
        assert!(matches!(said.first(), None | Some(&PONG)), "{said:?}");
        return Answer::Open(!said.is_empty());
    }
    assert_eq!(link.state(), LinkState::Ended);
    assert_eq!(link.poll_event(), Some(Event::Ended));
    let number = |at: usize| u16::from_be_bytes([said[at], said[at + 1]]);
    match (said.first(), link.end_reason()) {
        (Some(0x03), Some(EndReason::Incompatible(_))) => Answer::Refused(number(8), number(2)),
        (Some(0x32), Some(EndReason::Peer(_))) => Answer::Abort(number(8)),
        other => panic!("{other:?}"),
    }
}

fn output(link: &mut Link) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 1 << 14]);
    while let Output::Written(length) = link.poll_output(NOW, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// Returns what an acceptor may answer. It is free to name any of several faults.
fn to_hello(hello: &Parsed, config: &Config) -> Vec<Answer> {
    if !hello.faults.is_empty() {
        return hello.faults.iter().copied().map(Answer::Abort).collect();
    }
    if !hello.is_spoken() {
        return vec![Answer::Refused(1, NO_CHANNEL)];
    }
    let names_one = hello.session != [0; 16];
    let sound = |entry: &Entry| entry.is_sound(if names_one { 1 } else { 0 });
    if hello.outcome != 0 || !hello.has_frame_limit() || !hello.entries.iter().all(sound) {
        return vec![Answer::Abort(HANDSHAKE)];
    }
    let mismatch = mismatch(hello, config);
    let repeats = hello.repeats_a_name().then_some(Answer::Abort(HANDSHAKE));
    match (mismatch, repeats) {
        (None, None) => vec![Answer::Open(false)],
        (mismatch, repeats) => mismatch.into_iter().chain(repeats).collect(),
    }
}

/// The first channel that does not fit.
fn mismatch(hello: &Parsed, config: &Config) -> Option<Answer> {
    for (number, theirs) in (0..).zip(&hello.entries) {
        let ours = config.channels().iter();
        let Some(ours) = ours.into_iter().find(|ours| ours.name() == theirs.name) else {
            return Some(Answer::Refused(3, number));
        };
        if theirs.receives() == (ours.mode() == Mode::Receive) {
            return Some(Answer::Refused(2, number));
        }
        if !fits(theirs, ours) {
            return Some(Answer::Refused(4, number));
        }
    }
    let declared = |ours: &ChannelConfig| hello.entries.iter().any(|e| e.name == ours.name());
    let all = config.channels().iter().all(declared);
    (!all).then_some(Answer::Refused(3, NO_CHANNEL))
}

/// Whether the sender's policy is one that the receiver takes.
fn fits(theirs: &Entry, ours: &ChannelConfig) -> bool {
    let number = |policy: Option<Policy>| match policy {
        Some(Policy::Reliable) => 0,
        Some(Policy::Latest) => 1,
        None => 0xFF,
    };
    let ours = number(ours.policy());
    let receiver = if theirs.receives() {
        theirs.policy
    } else {
        ours
    };
    receiver == 0xFF || theirs.policy == ours
}

/// What an opener may answer.
fn to_welcome(welcome: &Parsed, config: &Config) -> Vec<Answer> {
    if !welcome.faults.is_empty() {
        return welcome.faults.iter().copied().map(Answer::Abort).collect();
    }
    let same = welcome.entries.len() == config.channels().len();
    let pairs = || welcome.entries.iter().zip(config.channels());
    let right = welcome.versions == (1, 1)
        && welcome.outcome == 0
        && welcome.has_frame_limit()
        && welcome.session != [0; 16]
        && same
        && pairs().all(|(theirs, ours)| {
            let is_other = theirs.receives() != (ours.mode() == Mode::Receive);
            theirs.is_sound(0) && theirs.name == ours.name() && is_other && fits(theirs, ours)
        });
    if right {
        // A receiver that wants the times of messages needs to know whose times they are.
        let wanted = welcome.entries.iter().any(Entry::wants_times);
        vec![Answer::Open(wanted)]
    } else {
        vec![Answer::Abort(HANDSHAKE)]
    }
}
