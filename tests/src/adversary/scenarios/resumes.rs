//! Attackers to which a client returns with its session, after its connection was lost.

use countersign_core::wire::{Frame, Piece, SessionOutcome};
use countersign_core::{
    EndReason, Loss, PeerMisbehaved, SessionId, SessionLoss, Verdict, VerdictKind,
};
use countersign_driver::LinkEvent;
use countersign_endpoint::Reason;

use super::violations::receives_abort;
use super::{assert_says, security};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Victim, Words, ack, message, read};
use crate::backend::{Link, Receipt, Sender};

scenarios! {
    OPENER {
        answers_with_another_session,
        denies_the_session,
        another_is_in_its_place,
        recorded_welcome,
        recorded_messages,
        recorded_server,
    }
}

/// The client's session.
const SESSION: SessionId = [1; 16];
/// None of the client's.
const ANOTHER: SessionId = [2; 16];
/// What an acceptor says has been handled of a session of which it knows nothing.
const NOT_KNOWN: u64 = u64::MAX;

/// What the client says when it comes.
#[derive(Debug, PartialEq, Eq)]
struct Hello {
    session: SessionId,
    attempt: u32,
    received: u64,
}

/// A client that names its session with this attempt, and has received this much of it.
fn returns(attempt: u32, received: u64) -> Hello {
    Hello {
        session: SESSION,
        attempt,
        received,
    }
}

/// The client's next connection, to an attacker in this disguise or in plain text, and its HELLO.
fn comes(stage: &Stage, disguise: Option<Disguise<'_>>) -> (Hostile, Hello) {
    let mut hostile = stage.approach();
    let hello = receives_hello(&mut hostile, disguise);
    (hostile, hello)
}

fn receives_hello(hostile: &mut Hostile, disguise: Option<Disguise<'_>>) -> Hello {
    if let Some(disguise) = disguise {
        hostile.shake(disguise).unwrap();
    }
    let frame = hostile.receive_frame().expect("HELLO");
    read(&frame, |piece| match piece {
        Piece::Frame(Frame::Hello(hello)) => Hello {
            session: hello.head.session,
            attempt: hello.head.attempt,
            received: hello.channels().next().unwrap().received,
        },
        other => panic!("{other:?}"),
    })
}

/// How the attacker answers to the client's session: with this one, and this far.
fn answer(outcome: SessionOutcome, session: SessionId, handled: u64, received: u64) -> Words {
    Words {
        session,
        outcome,
        handled,
        received,
        ..Words::default()
    }
}

/// The client's link is up, in its session, and the attacker's end of it is recorded.
fn begins(stage: &Stage, disguise: Option<Disguise<'_>>) -> (Hostile, Box<dyn Link>) {
    let words = Words {
        session: SESSION,
        ..stage.victim.words()
    };
    let greets = |mut hostile: Hostile| {
        hostile.recording = Some(Vec::new());
        assert_eq!(receives_hello(&mut hostile, disguise).session, [0; 16]);
        hostile.say(&words.welcome());
        hostile
    };
    stage.meet(greets, Result::unwrap)
}

/// The attacker ends the connection, and the client notices.
fn lose(mut hostile: Hostile, link: &dyn Link) {
    hostile.end();
    hostile.receive_end();
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
}

/// The client sends these messages next, and the attacker reads them.
fn receives(hostile: &mut Hostile, first: u64, messages: &[&str]) {
    for (number, text) in (first..).zip(messages) {
        let heard = hostile.receive_frame().expect("a message");
        assert_eq!(heard, message(number, text.as_bytes()));
    }
}

/// A client with four messages, whose connection was lost: one was acknowledged, two were on the
/// wire, and one was given while there was none.
struct Away {
    stage: Stage,
    link: Box<dyn Link>,
    sender: Box<dyn Sender>,
    receipts: Vec<Box<dyn Receipt>>,
}

impl Away {
    fn new(victim: &Victim, disguise: Option<Disguise<'_>>) -> Self {
        let victim = victim.sending();
        let terms = victim.terms().lasting();
        let stage = victim.stage_with(&match disguise {
            Some(_) => terms,
            None => terms.plain(),
        });
        let (mut hostile, link) = begins(&stage, disguise);
        let sender = link.sender("data").unwrap();
        let first = sender.give("one");
        receives(&mut hostile, 1, &["one"]);
        hostile.say(&ack(1));
        assert!(first.wait().is_handled());
        let mut receipts = vec![sender.give("two"), sender.give("three")];
        receives(&mut hostile, 2, &["two", "three"]);
        lose(hostile, &*link);
        receipts.push(sender.give("four"));
        Self {
            stage,
            link,
            sender,
            receipts,
        }
    }

    /// The client returns with this attempt, and the attacker lets the session go on.
    fn resumes(&self, attempt: u32, welcome: &[u8]) -> Hostile {
        let (mut hostile, hello) = comes(&self.stage, None);
        assert_eq!(hello, returns(attempt, 0));
        hostile.say(welcome);
        assert_eq!(self.link.event(), Some(LinkEvent::Resumed));
        hostile
    }

    /// The verdicts of those that had none.
    fn verdicts(self) -> Vec<Verdict> {
        let waited = self.receipts.into_iter().map(Receipt::wait);
        waited.collect()
    }

    /// The link ends for what the attacker has sent, the attacker is notified, and the client does
    /// not return. What was handled stays handled, and nothing of the rest is taken for it.
    fn expects_abort(self, mut hostile: Hostile, of: PeerMisbehaved) {
        receives_abort(&mut hostile, of);
        // While the attacker stays, the end waits for it to have heard the last word.
        drop(hostile);
        let report = self.link.ended();
        let error = report.end.as_ref().expect("why it ended");
        assert_eq!(*error.reason(), EndReason::Peer(of), "{error}");
        assert_says(error, &format!("the peer broke the protocol: {of}"));
        self.stage.bystander.keeps_pace();
        assert!(self.stage.nobody_comes());
        let verdicts = report.verdicts();
        let handled = verdicts.total() - self.receipts.len() as u64;
        assert_eq!(verdicts[VerdictKind::Handled], handled, "{report}");
        for verdict in self.verdicts() {
            assert!(matches!(verdict, Verdict::Unknown | Verdict::Withdrawn));
        }
    }
}

fn peer() -> Option<Disguise<'static>> {
    Some(Disguise::of(&CAST.peer))
}

/// Answers to the client's session with another one that supposedly goes on, with the same one that
/// supposedly does not, or as if none had been named: no message counts as handled by that, and
/// none is sent to any other peer again. [HELLO-18] [VERDICT-5] [RECONNECT-5]
fn answers_with_another_session(victim: &Victim) {
    use SessionOutcome::{New, NotKnown, Resumed, TooOld};
    for (outcome, session) in [
        (Resumed, ANOTHER),
        (New, SESSION),
        (New, ANOTHER),
        (NotKnown, SESSION),
        (TooOld, SESSION),
    ] {
        println!("{outcome:?} {session:?}");
        let away = Away::new(victim, peer());
        let (mut hostile, hello) = comes(&away.stage, peer());
        assert_eq!(hello, returns(1, 0));
        let received = if outcome == Resumed { 3 } else { 0 };
        let handled = if outcome == New { 0 } else { 3 };
        hostile.say(&answer(outcome, session, handled, received).welcome());
        away.expects_abort(hostile, PeerMisbehaved::Greeting);
    }
}

/// Says that it no longer knows the session. What it says to have handled of it counts, the rest is
/// unknown or withdrawn, and nothing of it is sent again in the next session. It can't have handled
/// more than there was, nor less than it had said before. [REFUSED-3] [REFUSED-4] [REFUSED-5]
fn denies_the_session(victim: &Victim) {
    use SessionOutcome::{NotKnown, TooOld};
    for (outcome, why) in [
        (NotKnown, SessionLoss::NotKnown),
        (TooOld, SessionLoss::TooOld),
    ] {
        for handled in [NOT_KNOWN, 1, 2, 3] {
            let away = Away::new(victim, peer());
            let (mut hostile, hello) = comes(&away.stage, peer());
            assert_eq!(hello, returns(1, 0));
            hostile.say(&answer(outcome, ANOTHER, handled, 0).welcome());
            assert_eq!(away.link.event(), Some(LinkEvent::SessionLost(why)));
            assert_eq!(away.link.event(), Some(LinkEvent::NewSession));
            let next = away.sender.give("five");
            receives(&mut hostile, 1, &["five"]);
            hostile.say(&ack(1));
            assert!(next.wait().is_handled());
            away.stage.bystander.keeps_pace();
            let report = away.link.report();
            assert!(report.end.is_none(), "{report}");
            let is_handled = |number| handled != NOT_KNOWN && number <= handled;
            let verdict = |number| match is_handled(number) {
                true => Verdict::HANDLED,
                false => Verdict::Unknown,
            };
            let expected = [verdict(2), verdict(3), Verdict::Withdrawn];
            assert_eq!(away.verdicts(), expected, "{handled}");
        }
        for handled in [0, 4, NOT_KNOWN - 1] {
            let away = Away::new(victim, peer());
            let (mut hostile, _) = comes(&away.stage, peer());
            hostile.say(&answer(outcome, ANOTHER, handled, 0).welcome());
            away.expects_abort(hostile, PeerMisbehaved::Resume);
        }
    }
}

/// Another pinned identity answers where the client reconnects: it learns neither of the session
/// nor of the messages, and can't go on with the session although it knows its id. [SESSION-4]
fn another_is_in_its_place(victim: &Victim) {
    let bystander = || Some(Disguise::of(&CAST.bystander));
    let nobodys = Hello {
        session: [0; 16],
        ..returns(0, 0)
    };
    let away = Away::new(victim, peer());
    let (mut hostile, hello) = comes(&away.stage, bystander());
    assert_eq!(hello, nobodys);
    let resumed = answer(SessionOutcome::Resumed, SESSION, 3, 3);
    hostile.say(&resumed.welcome());
    away.expects_abort(hostile, PeerMisbehaved::Greeting);

    let away = Away::new(victim, peer());
    let (mut hostile, hello) = comes(&away.stage, bystander());
    assert_eq!(hello, nobodys);
    let new = answer(SessionOutcome::New, ANOTHER, 0, 0);
    hostile.say(&new.welcome());
    let lost = LinkEvent::SessionLost(SessionLoss::OtherPeer);
    assert_eq!(away.link.event(), Some(lost));
    assert_eq!(away.link.event(), Some(LinkEvent::NewSession));
    assert_eq!(away.link.peer(), Some(CAST.bystander.fingerprint()));
    let _next = away.sender.give("five");
    receives(&mut hostile, 1, &["five"]);
    away.stage.bystander.keeps_pace();
    let [unknown, withdrawn] = [Verdict::Unknown, Verdict::Withdrawn];
    assert_eq!(away.verdicts(), [unknown.clone(), unknown, withdrawn]);
}

/// In plain text any attacker can listen, and replay what the server has sent: the answer to the
/// first HELLO, and one whose figures are older than what was sent since. It costs the session, and
/// no message is taken for something that it is not. [HELLO-18] [RESUME-6] [VERDICT-5]
fn recorded_welcome(victim: &Victim) {
    let first = answer(SessionOutcome::New, SESSION, 0, 0).welcome();
    let away = Away::new(victim, None);
    let (mut hostile, hello) = comes(&away.stage, None);
    assert_eq!(hello, returns(1, 0));
    hostile.say(&first);
    away.expects_abort(hostile, PeerMisbehaved::Greeting);

    // More is said since by an acknowledgement, or by a greeting.
    let recorded = answer(SessionOutcome::Resumed, SESSION, 1, 1).welcome();
    let more = answer(SessionOutcome::Resumed, SESSION, 1, 2).welcome();
    for by_greeting in [false, true] {
        let mut away = Away::new(victim, None);
        let mut hostile = away.resumes(1, &recorded);
        // What it says that it has not received comes again.
        receives(&mut hostile, 2, &["two", "three", "four"]);
        if by_greeting {
            lose(hostile, &*away.link);
            hostile = away.resumes(2, &more);
            receives(&mut hostile, 3, &["three", "four"]);
        } else {
            hostile.say(&ack(2));
            assert!(away.receipts.remove(0).wait().is_handled());
        }
        lose(hostile, &*away.link);
        let (mut hostile, _) = comes(&away.stage, None);
        hostile.say(&recorded);
        away.expects_abort(hostile, PeerMisbehaved::Resume);
    }
}

/// The same with messages: a server's whole connection is replayed on the client's next one. The
/// messages have arrived before, so nothing is taken twice. [NUMBER-2]
fn recorded_messages(victim: &Victim) {
    let victim = victim.receiving();
    let stage = victim.stage_with(&victim.terms().lasting().plain());
    let (mut hostile, link) = begins(&stage, None);
    let mut receiver = link.receiver("data").unwrap();
    hostile.say(&message(1, b"one"));
    assert_eq!(receiver.take(), "one");
    lose(hostile, &*link);
    let (mut hostile, hello) = comes(&stage, None);
    assert_eq!(hello, returns(1, 1));
    let goes_on = Words {
        mode: victim.words().mode,
        ..answer(SessionOutcome::Resumed, SESSION, 0, 0)
    };
    let recorded = [goes_on.welcome(), message(2, b"two")].concat();
    hostile.say(&recorded);
    assert_eq!(link.event(), Some(LinkEvent::Resumed));
    assert_eq!(receiver.take(), "two");
    lose(hostile, &*link);
    let (mut hostile, hello) = comes(&stage, None);
    assert_eq!(hello, returns(2, 2));
    hostile.say(&recorded);
    let of = PeerMisbehaved::SequenceGap;
    receives_abort(&mut hostile, of);
    drop(hostile);
    let error = link.ended().end.expect("why it ended");
    assert_eq!(*error.reason(), EndReason::Peer(of), "{error}");
    assert!(receiver.try_recv().is_err(), "nothing twice");
    stage.bystander.keeps_pace();
    assert!(stage.nobody_comes());
}

/// Everything that an honest server has sent on a connection over TLS, a message included, is
/// replayed to the returning client, and to a new one: the keys are different there, so nothing of
/// it can be read. The session goes on as if there had been no such connection.
fn recorded_server(victim: &Victim) {
    let victim = victim.receiving();
    let stage = victim.stage_with(&victim.terms().lasting());
    let (mut hostile, link) = begins(&stage, peer());
    let mut receiver = link.receiver("data").unwrap();
    hostile.say(&message(1, b"once"));
    assert_eq!(receiver.take(), "once");
    let recorded = hostile.recording.take().unwrap();
    lose(hostile, &*link);
    let replays = |mut hostile: Hostile| {
        // What the client begins with is not to be taken for its answer.
        hostile.receive_more();
        hostile.throw(&recorded);
        hostile.end();
        hostile.receive_end()
    };
    let seen = replays(stage.approach());
    assert_eq!(seen, Seen::Ended);

    // The true server is back: it learns of the session for the first time.
    let (mut hostile, hello) = comes(&stage, peer());
    assert_eq!(hello, returns(1, 1));
    let goes_on = Words {
        mode: victim.words().mode,
        ..answer(SessionOutcome::Resumed, SESSION, 0, 0)
    };
    hostile.say(&goes_on.welcome());
    assert_eq!(link.event(), Some(LinkEvent::Resumed));
    hostile.say(&message(2, b"again"));
    assert_eq!(receiver.take(), "again");
    let (error, seen) = victim.stage().repels(replays);
    assert_eq!(seen, Seen::Ended);
    assert_eq!(security(&error), &Reason::Corrupted);
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Security));
    let text = "what arrived was changed on the way and does not decrypt; check the network";
    assert_says(&error, text);
    stage.bystander.keeps_pace();
    let report = link.report();
    assert_eq!(
        (report.resumes, report.end.is_none()),
        (1, true),
        "{report}"
    );
}
