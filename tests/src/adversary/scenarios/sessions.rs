//! Attackers that are pinned peers, or have listened to one, and are after another's session.

use countersign_core::wire::{Frame, Piece, SessionOutcome};
use countersign_core::{Config, EndReason, Loss, ReceiveChannel, SessionId, refuse};
use countersign_driver::LinkEvent;
use countersign_endpoint::Reason;

use super::{assert_says, security};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Stage, Terms, Victim, Words, message, read};
use crate::backend::Link;

scenarios! {
    ACCEPTOR {
        session_of_another,
        recorded_hello,
        recorded_ciphertext,
    }
}

/// A victim whose links outlive their connections.
fn lasting(victim: &Victim) -> Terms {
    let terms = victim.terms().config(|config| {
        let channels = Config::new().timeouts(*config.get_timeouts());
        channels.channel(ReceiveChannel::new("data"))
    });
    terms.timeouts(|timeouts| timeouts.retain = timeouts.handshake)
}

/// The outcome and the session of a WELCOME.
fn welcome(answer: &[u8]) -> (SessionOutcome, SessionId) {
    read(answer, |piece| match piece {
        Piece::Frame(Frame::Welcome(welcome)) => (welcome.head.outcome, welcome.head.session),
        other => panic!("{other:?}"),
    })
}

/// Says HELLO, and tells the outcome and the session of the WELCOME.
fn greet(hostile: &mut Hostile, words: Words) -> (SessionOutcome, SessionId) {
    hostile.say(&words.hello());
    welcome(&hostile.receive_frame().unwrap())
}

/// The owner of a session, the session's id, and its link at the victim.
fn owner(stage: &Stage, disguise: Option<Disguise<'_>>) -> (Hostile, SessionId, Box<dyn Link>) {
    let mut hostile = stage.approach();
    if let Some(disguise) = disguise {
        hostile.shake(disguise).unwrap();
    }
    let (outcome, session) = greet(&mut hostile, Words::default());
    assert_eq!(outcome, SessionOutcome::New);
    let link = stage.link().unwrap();
    (hostile, session, link)
}

/// The owner's connection is as good as ever: the next message comes, and nothing else did.
fn assert_undisturbed(owner: &mut Hostile, link: &dyn Link, number: u64) {
    owner.say(&message(number, b"mine"));
    assert_eq!(link.receiver("data").unwrap().take(), "mine");
    let report = link.report();
    assert_eq!(
        (report.resumes, report.end.is_none()),
        (0, true),
        "{report}"
    );
}

/// Another pinned identity names a session that is not its own, while its owner is connected and
/// while it is away: it is answered like a peer that names a session which never was, gets a new
/// link, and the owner's link is not touched. [SESSION-2] [SESSION-3]
fn session_of_another(victim: &Victim) {
    let stage = victim.stage_with(&lasting(victim));
    let (mut owner, session, link) = owner(&stage, Some(Disguise::of(&CAST.peer)));
    assert_eq!(link.peer(), Some(CAST.peer.fingerprint()));
    let steal = |named| {
        let mut thief = stage.approach();
        thief.shake(Disguise::of(&CAST.bystander)).unwrap();
        let words = Words {
            session: named,
            attempt: 9,
            ..Words::default()
        };
        let (outcome, got) = greet(&mut thief, words);
        assert_eq!(outcome, SessionOutcome::NotKnown);
        assert_ne!(got, session);
        let stolen = stage.link().unwrap();
        assert_eq!(stolen.peer(), Some(CAST.bystander.fingerprint()));
        thief.say(&message(1, b"theirs"));
        assert_eq!(stolen.receiver("data").unwrap().take(), "theirs");
        (thief, stolen)
    };
    let _there = [steal(session), steal([9; 16])];
    assert_undisturbed(&mut owner, &*link, 1);
    owner.end();
    assert_eq!(owner.receive_end(), Seen::Ended);
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
    let _away = steal(session);
    // The owner comes back to it, with the first attempt.
    let mut back = stage.approach();
    back.shake(Disguise::of(&CAST.peer)).unwrap();
    let words = Words {
        session,
        attempt: 1,
        ..Words::default()
    };
    let resumed = (SessionOutcome::Resumed, session);
    assert_eq!(greet(&mut back, words), resumed);
    assert_eq!(link.event(), Some(LinkEvent::Resumed));
    stage.bystander.keeps_pace();
}

/// In plain text any attacker can listen, and replay what a peer has sent. A HELLO with an attempt
/// that is not newer is refused, and neither the session nor its connection is touched. [SESSION-7]
fn recorded_hello(victim: &Victim) {
    let stage = victim.stage_with(&lasting(victim).plain());
    let (first, session, link) = owner(&stage, None);
    first.end();
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
    let recording = |attempt| {
        let words = Words {
            session,
            attempt,
            ..Words::default()
        };
        words.hello()
    };
    let mut back = stage.approach();
    back.say(&recording(3));
    let answer = back.receive_frame().unwrap();
    assert_eq!(welcome(&answer), (SessionOutcome::Resumed, session));
    assert_eq!(link.event(), Some(LinkEvent::Resumed));
    // The last one, those before it, and one of the other half of all numbers there are.
    for attempt in [3, 2, 1, 0, 1 << 23 | 3] {
        let mut replayed = stage.approach();
        replayed.say(&recording(attempt));
        let answer = replayed.receive_frame().unwrap();
        read(&answer, |piece| match piece {
            Piece::Frame(Frame::Refuse { code, text, .. }) => {
                assert_eq!(code, refuse::STALE);
                assert_eq!(text, "the peer has come back on another connection since");
            }
            other => panic!("attempt {attempt}: {other:?}"),
        });
        assert_eq!(replayed.receive_end(), Seen::Ended);
        stage.bystander.keeps_pace();
    }
    back.say(&message(1, b"mine"));
    assert_eq!(link.receiver("data").unwrap().take(), "mine");
    let report = link.report();
    assert_eq!(
        (report.resumes, report.end.is_none()),
        (1, true),
        "{report}"
    );
}

/// Everything that an honest peer has sent on a connection over TLS, the return to its session and
/// a message included, is replayed on a connection of the attacker's: the keys are different there,
/// so nothing of it can be read. Not even the first attempt has reached the session.
fn recorded_ciphertext(victim: &Victim) {
    let stage = victim.stage_with(&lasting(victim));
    let (first, session, link) = owner(&stage, Some(Disguise::of(&CAST.peer)));
    first.end();
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
    let mut receiver = link.receiver("data").unwrap();
    let mut back = stage.approach();
    back.recording = Some(Vec::new());
    back.shake(Disguise::of(&CAST.peer)).unwrap();
    let words = Words {
        session,
        attempt: 1,
        ..Words::default()
    };
    assert_eq!(greet(&mut back, words), (SessionOutcome::Resumed, session));
    back.say(&message(1, b"once"));
    assert_eq!(receiver.take(), "once");
    let recorded = back.recording.take().unwrap();
    back.end();
    back.receive_end();
    assert_eq!(link.event(), Some(LinkEvent::Resumed));
    assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
    let (error, seen) = stage.repels(|mut hostile| {
        hostile.throw(&recorded);
        hostile.end();
        hostile.receive_end()
    });
    assert_eq!(security(&error), &Reason::Corrupted);
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Security));
    let text = "what arrived was changed on the way and does not decrypt; check the network";
    assert_says(&error, text);
    // There is an alert, which it can't read.
    assert_eq!(seen, Seen::Ended);
    let report = link.report();
    assert_eq!(
        (report.resumes, report.end.is_none()),
        (1, true),
        "{report}"
    );
    assert_eq!(receiver.try_recv().unwrap(), None, "nothing twice");
}
