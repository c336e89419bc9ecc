//! Attackers whose pin the victim removes while they have a link with it, and which carry on.

use std::sync::Barrier;
use std::thread::sleep;
use std::time::Duration;

use countersign_core::wire::FrameType;
use countersign_core::{Bytes, EndReason, Loss, Mode, ReceiveChannel, Role, Verdict, abort};
use countersign_driver::{LinkError, LinkEvent};
use countersign_endpoint::{Identity, Pins, Reason};

use super::{assert_aborted, assert_says, greet, greet_with, number, security, shake};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Terms, Victim, message};
use crate::backend::Link;

scenarios! {
    EITHER_END {
        revoked_reads_nothing,
        revoked_floods_on,
        revoked_stays,
        revoked_comes_again,
        revoked_while_away,
        revoked_before_it_greets,
    }
}

/// How long the victim lets a peer end the connection, too, once it has said its last word.
const LINGER: Duration = Duration::from_millis(250);
/// Between two words of an attacker.
const DRIP: Duration = Duration::from_millis(5);
/// A message; `MANY` of these are more than any buffer on the way holds.
const LONG: usize = 256 * 1024;
const MANY: usize = 64;
/// What RFC 8446, section 6, calls certificate_unknown.
const CERTIFICATE_UNKNOWN: Seen = Seen::Alert(46);

/// The victim soon drops the connection of a peer that does not leave.
fn soon(terms: Terms) -> Terms {
    terms.timeouts(|timeouts| timeouts.linger = LINGER)
}

/// A barrier at which both ends wait for each other: an acceptor has its link before the opener
/// learns of it, and an opener after the acceptor has said so.
fn rendezvous() -> Barrier {
    Barrier::new(2)
}

/// The victim has pinned the bystander alone from here on.
fn remove_pin(stage: &Stage) {
    let own = &CAST.victim;
    let own = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    let pins = Pins::new([CAST.bystander.fingerprint().into()]).unwrap();
    stage.setup.security().replace(own, pins).unwrap();
}

/// The victim ends its link, for good, for just this reason.
fn assert_revoked(error: &LinkError) {
    let expected = EndReason::Revoked { by_us: true };
    assert_eq!(*error.reason(), expected, "{error}");
    let text = format!(
        "we no longer accept the peer: its pin was removed, for the key {}; pin the key that it is \
         to use from now on",
        CAST.peer.fingerprint()
    );
    assert_says(error, &text);
    assert!(!error.can_retry(), "{error}");
}

/// The attacker learns why, in order. [ABORT-6]
fn assert_told(hostile: &mut Hostile) {
    let text = "this end no longer accepts the identity of its peer";
    assert_aborted(hostile, abort::NOT_TRUSTED, text);
}

/// The same where there may have been no room for it behind what had been sent before.
fn assert_told_or_cut_off(hostile: &mut Hostile) {
    let frames = std::iter::from_fn(|| hostile.receive_frame());
    let last = frames.last().expect("a part of a message")[0];
    let told = last == FrameType::Abort as u8;
    assert_eq!(hostile.receive_end() == Seen::Closed, told);
}

/// Sends something small for as long as the victim takes it: until it has dropped the connection.
fn stays(hostile: &mut Hostile) {
    while hostile.say(&number(FrameType::Ping, 0, 1)) {
        sleep(DRIP);
    }
}

fn assert_ends(link: &dyn Link) {
    assert_revoked(&link.ended().end.expect("why it ended"));
}

/// Reads nothing more, not even the ABORT, and keeps the connection open: the link ends all the
/// same, and the connection when `linger` is over, whether or not its last frames could be sent.
/// [ABORT-6]
fn revoked_reads_nothing(victim: &Victim) {
    for victim in &[victim.receiving(), victim.sending()] {
        let stage = victim.stage_with(&soon(victim.terms()));
        let both = rendezvous();
        let attack = |mut hostile: Hostile| {
            let mut greeting = victim.words().to(victim.role);
            if victim.mode == Mode::Send {
                // Largest message, windows in messages and in bytes: docs/protocol.md, Handshake.
                greeting[8 + 50 + 4..8 + 50 + 24].fill(0xFF);
            }
            greet_with(&mut hostile, &greeting);
            both.wait();
            remove_pin(&stage);
            stays(&mut hostile);
            hostile
        };
        let (mut hostile, ()) = stage.meet(attack, |link| {
            let link = link.expect("the link is up");
            let mut receipts = Vec::new();
            if victim.mode == Mode::Send {
                let sender = link.sender("data").unwrap();
                let long = Bytes::from(vec![7; LONG]);
                receipts.extend((0..MANY).map(|_| sender.give(long.clone())));
                // Meanwhile the way fills.
                stage.bystander.keeps_pace();
            }
            both.wait();
            assert_ends(&*link);
            for receipt in receipts {
                let verdict = receipt.wait();
                let is_open = matches!(verdict, Verdict::Unknown | Verdict::Withdrawn);
                assert!(is_open, "{verdict}");
            }
        });
        match victim.mode {
            Mode::Receive => assert_told(&mut hostile),
            Mode::Send => assert_told_or_cut_off(&mut hostile),
        }
        stage.bystander.keeps_pace();
    }
}

/// Floods the victim with messages and many more pings, and reads nothing: nothing of it is taken
/// once the link has ended, and the flood ends when `linger` is over.
fn revoked_floods_on(victim: &Victim) {
    let victim = victim.receiving();
    let roomy = ReceiveChannel::new("data").window(1 << 20, 1 << 24);
    let stage = victim.stage_with(&soon(victim.terms().channel(roomy)));
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, &victim);
        let pings = number(FrameType::Ping, 0, 1).repeat(1000);
        let mut next = 1;
        while hostile.say(&[message(next, b"flood"), pings.clone()].concat()) {
            next += 1;
        }
        next
    };
    let (next, (link, mut receiver, taken)) = stage.meet(attack, |link| {
        let link = link.expect("the link is up");
        let mut receiver = link.receiver("data").unwrap();
        let mut taken: u64 = 0;
        while taken < 20 {
            assert_eq!(receiver.take(), "flood");
            taken += 1;
        }
        remove_pin(&stage);
        // What had come until then is the application's.
        let error = loop {
            match receiver.recv() {
                Ok(message) => assert_eq!(message.unwrap(), "flood"),
                Err(error) => break error,
            }
            taken += 1;
        };
        assert_revoked(error.link().unwrap());
        assert_ends(&*link);
        (link, receiver, taken)
    });
    assert_revoked(receiver.try_recv().unwrap_err().link().unwrap());
    assert_eq!(link.report().channels[0].delivered, taken);
    assert!(taken < next, "{taken} of {next}");
    stage.bystander.keeps_pace();
}

/// Greets, loses its pin once the victim has its link, and learns why.
fn is_removed(hostile: &mut Hostile, stage: &Stage, both: &Barrier) {
    greet(hostile, &stage.victim);
    both.wait();
    remove_pin(stage);
    assert_told(hostile);
}

/// Learns why, does not answer and stays. [ABORT-6]
fn revoked_stays(victim: &Victim) {
    let stage = victim.stage_with(&soon(victim.terms()));
    let both = rendezvous();
    let attack = |mut hostile: Hostile| {
        is_removed(&mut hostile, &stage, &both);
        stage.bystander.keeps_pace();
        stays(&mut hostile);
    };
    let ((), ()) = stage.meet(attack, |link| {
        let link = link.expect("the link is up");
        both.wait();
        assert_ends(&*link);
    });
    stage.bystander.keeps_pace();
}

/// The removed identity gets nowhere. [TLS-1]
fn assert_kept_out(stage: &Stage) {
    let (error, seen) = stage.repels(|mut hostile| {
        let _ = hostile.shake(Disguise::of(&CAST.peer));
        hostile.receive_end()
    });
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Unproven), "{error}");
    let is_pin = matches!(security(&error), Reason::PinMismatch { .. });
    assert!(is_pin, "{error}");
    assert_eq!(seen, CERTIFICATE_UNKNOWN);
}

/// Comes again at once, while its last connection is still there, which it does not end: the
/// removed identity is refused, each time, and the victim's link does not come back by itself.
/// [RECONNECT-5]
fn revoked_comes_again(victim: &Victim) {
    let stage = victim.stage_with(&soon(victim.terms().lasting()));
    let both = rendezvous();
    let attack = |mut hostile: Hostile| {
        is_removed(&mut hostile, &stage, &both);
        hostile
    };
    let (_stays, link) = stage.meet(attack, |link| {
        let link = link.expect("the link is up");
        both.wait();
        assert_ends(&*link);
        link
    });
    if victim.role == Role::Opener {
        assert!(stage.nobody_comes());
    }
    for _ in 0..2 {
        assert_kept_out(&stage);
    }
    let report = link.report();
    assert_eq!(report.resumes, 0, "{report}");
    assert_revoked(&report.end.expect("why it ended"));
}

/// Is away when its pin is removed, or on its way back: the link ends, and neither end gets to the
/// other with the session. [ABORT-6]
fn revoked_while_away(victim: &Victim) {
    let stage = victim.stage_with(&soon(victim.terms().lasting()));
    let attack = |mut hostile: Hostile| {
        greet(&mut hostile, victim);
        hostile.end();
        hostile.receive_end();
    };
    let ((), link) = stage.meet(attack, Result::unwrap);
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
    // A victim that opens its links is on its way already.
    let back = (victim.role == Role::Opener).then(|| stage.approach());
    remove_pin(&stage);
    let error = link.ended().end.expect("why it ended");
    let expected = EndReason::Revoked { by_us: true };
    assert_eq!(*error.reason(), expected, "{error}");
    let text = "we no longer accept the peer, which was away: its pin was removed; pin the key that it \
                is to use from now on";
    assert_says(&error, text);
    if let Some(mut hostile) = back {
        let _ = hostile.shake(Disguise::of(&CAST.peer));
        assert_eq!(hostile.receive_frame(), None, "not even HELLO");
        assert!(stage.nobody_comes());
    }
    assert_kept_out(&stage);
}

/// Has completed TLS, and greets after its pin was removed. There is no link. If the victim had not
/// received all of TLS by then, it can't say why. [ABORT-6]
fn revoked_before_it_greets(victim: &Victim) {
    let stage = victim.stage_with(&soon(victim.terms()));
    let (error, seen) = stage.repels(|mut hostile| {
        shake(&mut hostile);
        remove_pin(&stage);
        hostile.say(&victim.words().to(victim.role));
        let last = hostile.receive_frame();
        (last.map(|frame| frame[0]), hostile.receive_end())
    });
    if let EndReason::Lost(_) = error.reason() {
        assert_eq!(victim.role, Role::Acceptor, "{error}");
        let is_pin = matches!(security(&error), Reason::PinRemoved { .. });
        assert!(is_pin, "{error}");
        assert_eq!(seen, (None, Seen::Ended));
    } else {
        assert_revoked(&error);
        assert_eq!(seen, (Some(FrameType::Abort as u8), Seen::Closed));
    }
}
