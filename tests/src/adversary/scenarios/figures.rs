//! Sessions that go on with the next connection, and what an attacker says to have of them.

use countersign_core::wire::{Frame, FrameType, GreetingHead, LAST, Piece, SessionOutcome};
use countersign_core::{PeerMisbehaved, Role, SessionId, Verdict};
use countersign_driver::LinkEvent;

use super::violations::{assert_accused, receives_abort};
use super::{frame, greet_with, shake};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Victim, Words};
use crate::adversary::{ack, fragments, message, read};
use crate::backend::{Link, Receipt};

scenarios! {
    EITHER_END {
        goes_on_after_every_record,
        goes_on_from_any_byte,
        claims_that_cant_be,
    }
}

/// A connection ends after each record of some messages, one of which travels in three. The session
/// goes on with the next: the peer learns exactly what had arrived, sends the rest, and the
/// application gets each message once. [RESUME-9] [RESUME-10]
fn goes_on_after_every_record(victim: &Victim) {
    let victim = &victim.receiving();
    let whole = [&b"short"[..], &[7; 3000], b"last"];
    let mut frames = vec![message(1, whole[0])];
    frames.extend(fragments(2, whole[1], 1000));
    frames.push(message(3, whole[2]));
    let stage = victim.stage_with(&victim.terms().lasting());
    for count in 0..=frames.len() {
        let attack = |mut hostile: Hostile| {
            let (session, ..) = greet(&mut hostile, &victim.words());
            for frame in &frames[..count] {
                hostile.say(frame);
            }
            stage.bystander.keeps_pace();
            hostile.end();
            hostile.receive_end();
            session
        };
        let (session, link) = stage.meet(attack, Result::unwrap);
        assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
        // The messages: the first; the second, in the three frames that follow; the third.
        let had = match count {
            0 => (0, 0),
            1..=3 => (1, 1000 * (count as u64 - 1)),
            4 => (2, 0),
            _ => (3, 0),
        };
        let again = Words {
            session,
            attempt: 1,
            outcome: SessionOutcome::Resumed,
            ..victim.words()
        };
        let mut hostile = stage.approach();
        let (same, received, partial) = greet(&mut hostile, &again);
        assert_eq!(same, session);
        assert_eq!((received, partial), had, "after {count}");
        stage.bystander.keeps_pace();
        for frame in &frames[count..] {
            hostile.say(frame);
        }
        let mut receiver = link.receiver("data").unwrap();
        for message in whole {
            assert_eq!(receiver.take(), message);
        }
        assert_eq!(link.event(), Some(LinkEvent::Resumed));
        close(&mut hostile, &[whole.len() as u64]);
        assert_eq!(receiver.recv().unwrap(), None, "nothing twice");
        assert_resumed_and_closed(&*link);
    }
    stage.bystander.keeps_pace();
}

/// The pinned peer and the victim greet: one names a session and the other answers as `words` say.
/// Returns the session from then on, and how much of which message the victim has.
fn greet(hostile: &mut Hostile, words: &Words) -> (SessionId, u64, u64) {
    hostile.shake(Disguise::of(&CAST.peer)).unwrap();
    let (hello, welcome) = match hostile.victim() {
        Role::Acceptor => {
            hostile.say(&words.hello());
            (words.hello(), hostile.receive_frame().unwrap())
        }
        Role::Opener => {
            let hello = hostile.receive_frame().unwrap();
            hostile.say(&words.welcome());
            (hello, words.welcome())
        }
    };
    let [hello, welcome] = [figures(&hello), figures(&welcome)];
    let (named, attempt) = (hello.0.session, hello.0.attempt);
    assert_eq!((named, attempt), (words.session, words.attempt));
    assert_eq!(welcome.0.outcome, words.outcome);
    let (_, received, partial) = match hostile.victim() {
        Role::Acceptor => welcome,
        Role::Opener => hello,
    };
    (welcome.0.session, received, partial)
}

/// What a greeting says, and how much it says to have of which message.
fn figures(greeting: &[u8]) -> (GreetingHead, u64, u64) {
    read(greeting, |piece| match piece {
        Piece::Frame(Frame::Hello(greeting) | Frame::Welcome(greeting)) => {
            let channel = greeting.channels().next().unwrap();
            (greeting.head, channel.received, channel.partial)
        }
        other => panic!("{other:?}"),
    })
}

/// The peer closes the link in order, behind this message on each channel on which it sends. The
/// victim has no more to say.
pub(super) fn close(hostile: &mut Hostile, last: &[u64]) {
    // All is well, and the number of channels.
    let mut list = vec![0, 0, 0, 0, 0, last.len() as u8];
    for last in last {
        list.extend([0, 0]);
        list.extend(last.to_be_bytes());
    }
    hostile.say(&frame(FrameType::Close as u8, 0, 0, &list));
    loop {
        let kind = hostile.receive_frame().expect("DONE")[0];
        assert_ne!(kind, FrameType::Message as u8);
        if kind == FrameType::Done as u8 {
            break;
        }
    }
    hostile.say(&frame(FrameType::Done as u8, 0, 0, &[]));
    hostile.close_notify();
    hostile.end();
    assert_eq!(hostile.receive_end(), Seen::Closed);
}

fn assert_resumed_and_closed(link: &dyn Link) {
    let report = link.ended();
    assert!(report.is_orderly() && report.resumes == 1, "{report}");
}

/// What the victim sends. The first is acknowledged on the first connection.
const SAID: [&[u8]; 3] = [b"first", &[7; 3000], b"last"];

/// What the attacker says to have: handled, received, partial.
type Claim = (u64, u64, u64);

/// A victim that has sent everything, and has lost its connection.
struct Away {
    link: Box<dyn Link>,
    session: SessionId,
    /// Those of the messages that were not acknowledged.
    receipts: Vec<Box<dyn Receipt>>,
}

impl Away {
    fn from(stage: &Stage) -> Self {
        let attack = |mut hostile: Hostile| {
            let (session, ..) = greet(&mut hostile, &stage.victim.words());
            receives(&mut hostile, 1, 0);
            hostile.say(&ack(1));
            receives(&mut hostile, 2, 0);
            receives(&mut hostile, 3, 0);
            stage.bystander.keeps_pace();
            hostile.end();
            hostile.receive_end();
            session
        };
        let (session, (link, receipts)) = stage.meet(attack, |link| {
            let link = link.unwrap();
            let sender = link.sender("data").unwrap();
            assert!(sender.deliver(SAID[0]).is_handled());
            let receipts = SAID[1..].iter().map(|said| sender.give(*said));
            let receipts = receipts.collect();
            (link, receipts)
        });
        assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
        Self {
            link,
            session,
            receipts,
        }
    }

    /// The attacker's greeting, with this attempt of its session.
    fn claim(&self, victim: &Victim, attempt: u32, claim: Claim) -> Vec<u8> {
        let (handled, received, partial) = claim;
        let words = Words {
            session: self.session,
            attempt,
            outcome: SessionOutcome::Resumed,
            handled,
            received,
            partial,
            ..victim.words()
        };
        words.to(victim.role)
    }
}

/// The victim's next frame is the rest of this message, after its first `partial` bytes.
fn receives(hostile: &mut Hostile, number: u64, partial: u64) {
    let said = SAID[number as usize - 1];
    let rest = [&(number as u32).to_be_bytes(), &said[partial as usize..]].concat();
    let expected = match partial {
        0 => message(number, said),
        _ => frame(FrameType::Message as u8, LAST, 0, &rest),
    };
    assert_eq!(hostile.receive_frame().expect("a message"), expected);
}

/// A peer that takes messages may have as much of them as it says, whatever has come: it gets the
/// rest from that byte on, and nothing else. [RESUME-9] [RESUME-10] [RESUME-12]
fn goes_on_from_any_byte(victim: &Victim) {
    let victim = &victim.sending();
    let stage = victim.stage_with(&victim.terms().lasting());
    for claim in [
        (1, 1, 0),
        (1, 1, 1),
        (1, 1, 2999),
        (1, 2, 0),
        (2, 2, 1),
        (1, 3, 0),
        (3, 3, 0),
    ] {
        println!("{claim:?}");
        let away = Away::from(&stage);
        let mut hostile = stage.approach();
        greet_with(&mut hostile, &away.claim(victim, 1, claim));
        assert_eq!(away.link.event(), Some(LinkEvent::Resumed));
        stage.bystander.keeps_pace();
        let (_, received, mut partial) = claim;
        for number in received + 1..=3 {
            receives(&mut hostile, number, std::mem::take(&mut partial));
        }
        hostile.say(&ack(3));
        let mut verdicts = away.receipts.into_iter().map(<dyn Receipt>::wait);
        assert!(verdicts.all(|verdict| verdict.is_handled()));
        close(&mut hostile, &[]);
        assert_resumed_and_closed(&*away.link);
    }
    stage.bystander.keeps_pace();
}

/// It says to have handled more than it received, to have received more than there was, or that it
/// has less than it said before: it is accused of that, and nothing is taken for handled.
/// [RESUME-6] [RESUME-7]
fn claims_that_cant_be(victim: &Victim) {
    let victim = &victim.sending();
    let of = PeerMisbehaved::Resume;
    let stage = victim.stage_with(&victim.terms().lasting());
    for claims in [
        &[(2, 1, 0)][..],
        &[(1, 4, 0)],
        &[(u64::MAX, u64::MAX, 0)],
        // Less than it has acknowledged.
        &[(0, 1, 0)],
        &[(0, 0, 0)],
        // All of a message that it has not whole, more than that, and a part of one that is not.
        &[(1, 1, 3000)],
        &[(1, 1, u64::MAX)],
        &[(1, 3, 1)],
        // Less than it has said in another greeting.
        &[(1, 2, 0), (1, 1, 0)],
    ] {
        println!("{claims:?}");
        let away = Away::from(&stage);
        let (last, before) = claims.split_last().unwrap();
        for (attempt, claim) in (1..).zip(before) {
            let mut hostile = stage.approach();
            greet_with(&mut hostile, &away.claim(victim, attempt, *claim));
            assert_eq!(away.link.event(), Some(LinkEvent::Resumed));
            stage.bystander.keeps_pace();
            hostile.end();
            hostile.receive_end();
            assert!(matches!(away.link.event(), Some(LinkEvent::Lost { .. })));
        }
        let mut hostile = stage.approach();
        shake(&mut hostile);
        hostile.say(&away.claim(victim, claims.len() as u32, *last));
        receives_abort(&mut hostile, of);
        stage.bystander.keeps_pace();
        drop(hostile);
        assert_accused(&away.link.ended().end.expect("why it ended"), of);
        let mut verdicts = away.receipts.into_iter().map(<dyn Receipt>::wait);
        assert!(verdicts.all(|verdict| verdict == Verdict::Unknown));
        stage.bystander.keeps_pace();
    }
}
