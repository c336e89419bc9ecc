//! Pinned attackers that break the protocol.

use countersign_core::wire::{FrameType, Header, MAX_GREETING};
use countersign_core::{Dialect, EndReason, Mode, PeerMisbehaved};
use countersign_driver::LinkError;

use super::{assert_aborted, assert_says, frame, greet, number, shake};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Victim};
use crate::backend::Link;

scenarios! {
    EITHER_END {
        frames_out_of_place,
        enormous_greetings,
        tlsstream_violations,
        messages_that_cant_be,
        answers_that_cant_be,
        handled_goes_backwards,
    }
}

/// What the attacker says, once the link is up or as its greeting, and what it is accused of.
type Case = (&'static str, Vec<u8>, PeerMisbehaved);

const MESSAGE: u8 = FrameType::Message as u8;
const WHOLE: u8 = 3;

fn message(number: u32, payload: &[u8]) -> Vec<u8> {
    let body = [&number.to_be_bytes()[..], payload].concat();
    frame(MESSAGE, WHOLE, 0, &body)
}

/// The first fragment of a message that is said to be so long.
fn first(number: u32, total: u64, payload: &[u8]) -> Vec<u8> {
    let body = [&number.to_be_bytes()[..], &total.to_be_bytes(), payload];
    frame(MESSAGE, 1, 0, &body.concat())
}

fn fragment(number: u32, payload: &[u8]) -> Vec<u8> {
    frame(
        MESSAGE,
        0,
        0,
        &[&number.to_be_bytes()[..], payload].concat(),
    )
}

/// The victim accuses the attacker of this, as its application learns.
pub(super) fn assert_accused(error: &LinkError, of: PeerMisbehaved) {
    assert_eq!(*error.reason(), EndReason::Peer(of), "{error}");
    assert_says(error, &format!("the peer broke the protocol: {of}"));
    assert!(!error.can_retry(), "{error}");
}

/// The attacker's last input is ABORT with the code and the text of this, and then the connection
/// ends in order. [ABORT-1] [ABORT-2]
pub(super) fn receives_abort(hostile: &mut Hostile, of: PeerMisbehaved) {
    assert_aborted(hostile, of.abort_code(), &of.to_string());
}

fn ended(link: Result<Box<dyn Link>, LinkError>) -> LinkError {
    let report = link.expect("the link was up").ended();
    report.end.expect("why it ended")
}

/// Each of these ends the link, for just that reason at both ends, and disturbs no other.
fn violate(victim: &Victim, cases: Vec<Case>) {
    let stage = victim.stage();
    for (what, said, of) in cases {
        println!("{what}");
        let attack = |mut hostile: Hostile| {
            greet(&mut hostile, victim);
            hostile.say(&said);
            receives_abort(&mut hostile, of);
        };
        let ((), error) = stage.meet(attack, ended);
        assert_accused(&error, of);
        stage.bystander.keeps_pace();
    }
}

/// Lengths, numbers and windows that a receiver has to check.
fn messages_that_cant_be(victim: &Victim) {
    let huge = 1 << 63;
    let limit = countersign_core::DEFAULT_MAX_MESSAGE;
    let too_large = PeerMisbehaved::MessageTooLarge {
        length: huge,
        limit,
    };
    let body = u32::MAX;
    let frame_length = PeerMisbehaved::FrameLength {
        kind: MESSAGE,
        length: body as usize,
    };
    let beyond = (limit + 1) as u64;
    violate(
        &victim.receiving(),
        vec![
            ("a length of 2^63", first(1, huge, b"a"), too_large),
            (
                "one byte too many",
                first(1, beyond, b"a"),
                PeerMisbehaved::MessageTooLarge {
                    length: beyond,
                    limit,
                },
            ),
            (
                "a frame of 4 GiB",
                Header::encode(FrameType::Message, WHOLE, 0, body).to_vec(),
                frame_length,
            ),
            ("a gap", message(2, b"a"), PeerMisbehaved::SequenceGap),
            (
                "the same twice",
                [message(1, b"a"), message(1, b"a")].concat(),
                PeerMisbehaved::SequenceGap,
            ),
            (
                "skipped backwards",
                [message(1, b"a"), number(FrameType::Skip, 0, 1)].concat(),
                PeerMisbehaved::SkippedBackwards,
            ),
            (
                "skipped to the end of all numbers",
                number(FrameType::Skip, 0, u64::MAX),
                PeerMisbehaved::SequenceGap,
            ),
            (
                "fragments of nothing",
                [first(1, 100, b"a"), fragment(1, b"")].concat(),
                PeerMisbehaved::FragmentLength,
            ),
            (
                "fragments beyond the length",
                [first(1, 3, b"a"), fragment(1, b"abc")].concat(),
                PeerMisbehaved::FragmentLength,
            ),
            (
                "a message inside another",
                [first(1, 100, b"a"), message(2, b"a")].concat(),
                PeerMisbehaved::SequenceGap,
            ),
            (
                "a note of no rejection",
                [message(1, b"a"), number(FrameType::Noted, 0, 1)].concat(),
                PeerMisbehaved::NothingToSettle,
            ),
            (
                "the receiver's word",
                number(FrameType::Ack, 0, 0),
                PeerMisbehaved::WrongDirection(0),
            ),
        ],
    );
}

/// Acknowledgements and rejections that a sender has to check.
fn answers_that_cant_be(victim: &Victim) {
    let reject = frame(FrameType::Verdict as u8, 0, 0, &[0; 12]);
    violate(
        &victim.sending(),
        vec![
            (
                "handled, and never sent",
                number(FrameType::Ack, 0, 1),
                PeerMisbehaved::AckedTooMuch,
            ),
            (
                "handled to the end of all numbers",
                number(FrameType::Ack, 0, u64::MAX),
                PeerMisbehaved::AckedTooMuch,
            ),
            (
                "rejected, and never sent",
                reject,
                PeerMisbehaved::NothingToSettle,
            ),
            (
                "the sender's word",
                message(1, b"a"),
                PeerMisbehaved::WrongDirection(0),
            ),
        ],
    );
}

/// Handled goes back from two to one, after both were true. What was handled stays so.
fn handled_goes_backwards(victim: &Victim) {
    let victim = &victim.sending();
    let stage = victim.stage();
    let of = PeerMisbehaved::AckedBackwards;
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        for _ in 0..2 {
            let heard = hostile.receive_frame().expect("a message");
            assert_eq!(heard[0], MESSAGE);
        }
        hostile.say(&number(FrameType::Ack, 0, 2));
        // That one is taken for true before the next comes.
        let heard = hostile.receive_frame().expect("a message");
        assert_eq!(heard[0], MESSAGE);
        hostile.say(&number(FrameType::Ack, 0, 1));
        receives_abort(&mut hostile, of);
    };
    let ((), error) = stage.meet(attack, |link| {
        let link = link.expect("the link is up");
        let sender = link.sender("data").unwrap();
        let receipts = [sender.give("one"), sender.give("two")];
        assert!(
            receipts
                .into_iter()
                .all(|receipt| receipt.wait().is_handled())
        );
        let third = sender.give("three");
        let error = link.ended().end.expect("why it ended");
        let verdict = third.wait();
        assert_eq!(verdict, countersign_core::Verdict::Unknown);
        error
    });
    assert_accused(&error, of);
    stage.bystander.keeps_pace();
}

/// Frames for channels that don't exist, greetings after the greetings, and invalid frames.
fn frames_out_of_place(victim: &Victim) {
    for victim in [victim.receiving(), victim.sending()] {
        violate(&victim, out_of_place(&victim));
    }
}

fn out_of_place(victim: &Victim) -> Vec<Case> {
    let words = victim.words();
    let skip = FrameType::Skip;
    let says = |code: u8, list: &[u8], text: &[u8]| {
        let body = [&[0, 0, 0, code][..], list, text].concat();
        frame(FrameType::Close as u8, 0, 0, &body)
    };
    let close = |list: &[u8]| says(0, list, b"");
    // What a close names: each channel on which its sender sends, and its last number.
    let none = vec![0, 0];
    let data = [&[0, 1, 0, 0][..], &0_u64.to_be_bytes()].concat();
    let (sound, wrong) = match victim.mode {
        Mode::Receive => (data, none),
        Mode::Send => (none, data),
    };
    let unknown = frame(0x7F, 0, 0, &[]);
    let mut cases = vec![
        (
            "a channel that there is not",
            number(skip, 7, 1),
            PeerMisbehaved::UnknownChannel(7),
        ),
        (
            "another greeting",
            words.hello(),
            PeerMisbehaved::Unexpected,
        ),
        (
            "an answer to it",
            words.welcome(),
            PeerMisbehaved::Unexpected,
        ),
        (
            "a frame of no type",
            unknown,
            PeerMisbehaved::UnknownFrame(0x7F),
        ),
        (
            "the end before any close",
            frame(FrameType::Done as u8, 0, 0, &[]),
            PeerMisbehaved::DoneTooEarly,
        ),
        (
            "a close of other channels",
            close(&wrong),
            PeerMisbehaved::CloseList,
        ),
        (
            "a second close",
            [close(&sound), close(&sound)].concat(),
            PeerMisbehaved::AfterClose,
        ),
        (
            "a close that takes its code back",
            [says(3, &sound, b""), close(&sound)].concat(),
            PeerMisbehaved::CloseReason,
        ),
        (
            "a close that says something else",
            [says(3, &sound, b"a"), says(3, &sound, b"b")].concat(),
            PeerMisbehaved::CloseReason,
        ),
        (
            "a close of more words than there may be",
            says(3, &sound, &[b'a'; 257]),
            PeerMisbehaved::FrameLength {
                kind: FrameType::Close as u8,
                length: 4 + sound.len() + 257,
            },
        ),
        (
            "a close whose words are none",
            says(3, &sound, &[0xFF]),
            PeerMisbehaved::NotText,
        ),
        (
            "a close with half a code",
            frame(FrameType::Close as u8, 0, 0, &[0, 0]),
            PeerMisbehaved::FrameLength {
                kind: FrameType::Close as u8,
                length: 2,
            },
        ),
    ];
    if victim.mode == Mode::Receive {
        cases.push((
            "a message behind a close",
            [close(&sound), message(1, b"a")].concat(),
            PeerMisbehaved::AfterClose,
        ));
    }
    cases
}

/// Greetings with more of everything than allowed. They lead to no link.
fn enormous_greetings(victim: &Victim) {
    let sound = victim.words().to(victim.role);
    let kind = sound[0];
    let with = |at: usize, bytes: &[u8]| {
        let mut greeting = sound.clone();
        greeting[at..at + bytes.len()].copy_from_slice(bytes);
        greeting
    };
    let impossible = PeerMisbehaved::Greeting;
    // Where things are in a greeting: docs/protocol.md, Handshake, behind a header of eight bytes.
    let channel = 8 + 50;
    let mut long = with(4, &u32::MAX.to_be_bytes());
    long.truncate(8);
    let cases = [
        ("a frame limit", with(8 + 12, &[0xFF; 4]), impossible),
        ("channels", with(8 + 48, &[0xFF; 2]), impossible),
        ("a name", with(channel + 3, &[0xFF]), impossible),
        (
            "a body",
            long,
            PeerMisbehaved::FrameLength {
                kind,
                length: u32::MAX as usize,
            },
        ),
        (
            "a body of one byte more than it may have",
            with(4, &(MAX_GREETING as u32 + 1).to_be_bytes()),
            PeerMisbehaved::FrameLength {
                kind,
                length: MAX_GREETING + 1,
            },
        ),
    ];
    let stage = victim.stage();
    for (what, greeting, of) in cases {
        println!("{what}");
        let (error, ()) = stage.repels(|mut hostile| {
            shake(&mut hostile);
            hostile.say(&greeting);
            receives_abort(&mut hostile, of);
        });
        assert_accused(&error, of);
    }
}

/// In the tlsstream dialect the victim says nothing about it, and ends the connection. [STREAM-9]
fn tlsstream_violations(victim: &Victim) {
    for victim in [victim.receiving(), victim.sending()] {
        violate_stream(&victim);
    }
}

fn violate_stream(victim: &Victim) {
    let limit = countersign_core::DEFAULT_MAX_MESSAGE;
    let cases: Vec<(&str, &[u8], PeerMisbehaved)> = match victim.mode {
        Mode::Receive => vec![
            (
                "a length of 2^63",
                b"9223372036854775808!",
                PeerMisbehaved::MessageTooLarge {
                    length: 1 << 63,
                    limit,
                },
            ),
            (
                "a length beyond all numbers",
                b"99999999999999999999!",
                PeerMisbehaved::MessageTooLarge {
                    length: u64::MAX,
                    limit,
                },
            ),
            (
                "too many digits",
                b"000000000000000000001",
                PeerMisbehaved::StreamLength,
            ),
            ("no digits", b"!", PeerMisbehaved::StreamLength),
            ("a length of zero", b"0!", PeerMisbehaved::StreamEmpty),
            (
                "more than the message",
                b"1!ab",
                PeerMisbehaved::StreamTooSoon,
            ),
        ],
        Mode::Send => vec![
            (
                "a confirmation of nothing",
                b"OK!",
                PeerMisbehaved::StreamConfirmation,
            ),
            ("something else", b"KO!", PeerMisbehaved::StreamConfirmation),
        ],
    };
    let dialect = |config: countersign_core::Config| config.dialect(Dialect::TlsStream);
    let stage = victim.stage_with(&victim.terms().config(dialect));
    for (what, said, of) in cases {
        println!("{what}");
        let attack = |mut hostile: Hostile| {
            hostile
                .shake(Disguise::of(&CAST.peer).speaking(None))
                .unwrap();
            hostile.say(said);
            assert_eq!(hostile.receive(1), None, "not a word");
            // Not even the one by which a peer would take it for an orderly end.
            assert_eq!(hostile.receive_end(), Seen::Ended);
        };
        let ((), error) = stage.meet(attack, ended);
        assert_accused(&error, of);
        stage.bystander.keeps_pace();
    }
}
