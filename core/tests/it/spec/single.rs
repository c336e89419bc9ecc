//! Links that end with their session.

use core::time::Duration;

use countersign_core::{
    CloseMode, Config, Dialect, Disconnect, EndReason, Event, Incoming, Instant, Link, LinkState,
    Loss, PeerId, Protocol, ReceiveChannel, ReceiveError, Reconnect, Refusal, Role, SendChannel,
    SendError, SessionLoss, TakeOver, Verdict, VerdictKind, close as codes, refuse,
};

use crate::common::arriving::{self, accepted};
use crate::common::bytes::{Entry, Greeting, ack, close, coded, done, message};
use crate::common::peer::{MAIN, Peer, against_lasting};

const NOW: Instant = Instant::from_micros(1_000_000);
const ALICE: Option<PeerId> = Some(PeerId([1; 32]));
const BOB: Option<PeerId> = Some(PeerId([2; 32]));
const NONE: u64 = u64::MAX;
const STARTED_ANEW: EndReason = EndReason::SessionLost(SessionLoss::StartedAnew);

fn sender() -> Config {
    Config::new()
        .channel(SendChannel::new("main"))
        .single_session()
}

fn receiver() -> Config {
    Config::new()
        .channel(ReceiveChannel::new("main"))
        .single_session()
}

fn code_of(said: &[u8]) -> u32 {
    u32::from_be_bytes(said[8..12].try_into().expect("four bytes"))
}

/// An opener with four messages, one acknowledged and one not begun, reconnects.
fn four(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, &sender(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        for payload in [b"1", b"2", b"3"] {
            peer.send(payload);
        }
        peer.say();
        peer.takes(&ack(0, 1));
        peer.send(b"4");
        peer.lose();
        peer.events();
        script(peer);
    });
}

fn anew(outcome: u8, handled: u64) -> Greeting {
    Greeting::anew(outcome, &[Entry::receive("main").having([handled, 0, 0])])
}

#[test]
fn an_opener_ends_with_its_session() {
    // [SINGLE-1] [REFUSED-3]
    for (outcome, why) in [(2, SessionLoss::NotKnown), (3, SessionLoss::TooOld)] {
        for (handled, known) in [(NONE, 1), (2, 2), (3, 3)] {
            four(|peer| {
                peer.return_to(&anew(outcome, handled));
                let counts = peer.link.report()[0].verdicts;
                assert_eq!(counts[VerdictKind::Handled], known);
                assert_eq!(counts[VerdictKind::Unknown], 3 - known);
                assert_eq!(counts[VerdictKind::Withdrawn], 1);
                // The application learns of the loss at once, and nothing of the session that
                // replaces it.
                let told = peer.events();
                assert_eq!(told.last(), Some(&Event::SessionLost(why)), "{told:?}");
                assert!(!told.contains(&Event::Connected));
                let refused = peer.link.send(peer.now, MAIN, &b"5"[..], None);
                assert_eq!(refused.map_err(|not| not.why), Err(SendError::Closing));
                // The new session is closed in order, so that the peer does not wait for this end
                // to return.
                let said = peer.say();
                assert_eq!((said[0], code_of(&said)), (0x30, codes::SESSION_OVER));
                peer.takes(&[close(&[]), done()].concat());
                assert_eq!(peer.say(), done());
                assert_eq!(peer.link.state(), LinkState::Finishing);
                peer.link.handle_eof(peer.now);
                assert_eq!(peer.link.end_reason(), Some(&EndReason::SessionLost(why)));
                assert_eq!(peer.events(), [Event::Ended]);
            });
        }
    }
}

#[test]
fn figures_that_contradict_are_a_violation_all_the_same() {
    // [REFUSED-4]
    four(|peer| {
        peer.return_to(&anew(2, 0));
        let reason = peer.link.end_reason();
        assert!(matches!(reason, Some(EndReason::Peer(_))), "{reason:?}");
    });
}

#[test]
fn an_opener_that_has_ended_does_not_come_back() {
    // [SINGLE-1] However the session in the place of the lost one ends.
    let ends: [fn(&mut Peer); 5] = [
        |peer| peer.link.handle_lost(peer.now, Disconnect::Transport),
        |peer| peer.link.handle_eof(peer.now),
        |peer| peer.hear(&coded(0x32, 0, 1, b"no")),
        |peer| peer.link.revoke(peer.now),
        |peer| {
            // The peer does not answer.
            while peer.link.state() != LinkState::Ended {
                peer.sleep_to_deadline();
                peer.say();
            }
            let waited = peer.now.saturating_since(NOW);
            assert!(waited < Duration::from_secs(60), "{waited:?}");
        },
    ];
    for end in ends {
        four(|peer| {
            peer.return_to(&anew(2, NONE));
            peer.say();
            end(peer);
            let expected = EndReason::SessionLost(SessionLoss::NotKnown);
            assert_eq!(peer.link.end_reason(), Some(&expected));
            assert!(!peer.link.wants_connect());
            assert!(expected.can_retry() && !expected.is_orderly());
        });
    }
}

#[test]
fn nothing_of_the_next_session_reaches_the_application() {
    // [SINGLE-2] What came whole in the lost one does, and no border stands behind it.
    against_lasting(Role::Opener, &receiver(), |peer| {
        peer.welcome(&[Entry::send("main")]);
        peer.takes(&message(0, 1, b"1"));
        peer.takes(&message(0, 2, b"2"));
        assert_eq!(peer.take(), Some((1, b"1".to_vec())));
        peer.lose();
        peer.return_to(&Greeting::anew(2, &[Entry::send("main")]));
        peer.takes(&message(0, 1, b"foreign"));
        let said = peer.say();
        assert_eq!((said[0], code_of(&said)), (0x30, codes::SESSION_OVER));
        assert!(
            said.windows(8).any(|head| head[0] == 0x13),
            "it is rejected"
        );
        assert_eq!(peer.link.border(MAIN), None);
        assert_eq!(peer.take(), Some((2, b"2".to_vec())));
        assert_eq!(peer.take(), None);
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        assert_eq!(peer.take(), None);
        assert_eq!(peer.link.report()[0].delivered, 2);
    });
}

#[test]
fn a_session_that_resumes_goes_on() {
    // [SINGLE-1] Connections come and go as ever.
    four(|peer| {
        for _ in 0..5 {
            let said = peer.resumes([1, 1, 0]);
            assert!(!said.is_empty());
            peer.lose();
        }
        assert_eq!(peer.resumes([3, 3, 0]), message(0, 4, b"4"));
        peer.takes(&ack(0, 4));
        assert_eq!(peer.link.report()[0].verdicts[VerdictKind::Handled], 4);
    });
}

#[test]
fn a_close_that_loses_its_session_says_so() {
    // [SINGLE-1] [RECLOSE-3] [RECLOSE-5] Not where nothing but the farewell is missing.
    four(|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        peer.return_to(&anew(2, NONE));
        assert_eq!(code_of(&peer.say()), codes::SESSION_OVER);
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        let expected = EndReason::SessionLost(SessionLoss::NotKnown);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    against_lasting(Role::Opener, &sender(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), done());
        peer.lose();
        peer.return_to(&anew(2, NONE));
        assert_eq!(code_of(&peer.say()), 0, "all is well");
        peer.takes(&[close(&[]), done()].concat());
        peer.say();
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&EndReason::closed(true)));
    });
}

#[test]
fn another_peer_is_another_session() {
    // [SINGLE-1] [SESSION-4]
    let mut link = Link::new(&sender(), Role::Opener, [1; 16]).expect("fits");
    let connect = |link: &mut Link, who, answer: Greeting| {
        link.handle_opened(NOW).expect("offline");
        link.handle_secured(NOW, who).expect("securing");
        said(link);
        link.handle_input(NOW, &answer.bytes());
    };
    connect(
        &mut link,
        ALICE,
        Greeting::welcome(&[Entry::receive("main")]),
    );
    link.send(NOW, MAIN, &b"1"[..], None).expect("accepted");
    said(&mut link);
    link.handle_lost(NOW, Disconnect::Transport);
    let mut welcome = Greeting::welcome(&[Entry::receive("main")]);
    welcome.session = [9; 16];
    connect(&mut link, BOB, welcome);
    assert_eq!(code_of(&said(&mut link)), codes::SESSION_OVER);
    assert_eq!(link.report()[0].verdicts[VerdictKind::Unknown], 1);
    link.handle_eof(NOW);
    let expected = EndReason::SessionLost(SessionLoss::OtherPeer);
    assert_eq!(link.end_reason(), Some(&expected));
}

// Acceptors.

fn said(from: &mut impl Protocol) -> Vec<u8> {
    arriving::said(NOW, from)
}

/// Receives on `main` and sends on `back`.
fn both() -> Config {
    receiver().channel(SendChannel::new("back"))
}

fn entries() -> [Entry; 2] {
    [Entry::send("main"), Entry::receive("back")]
}

/// A connection from this peer, that has said this.
fn arrived(config: &Config, seed: u8, who: Option<PeerId>, hello: &Greeting) -> Incoming {
    let mut incoming = arriving::arrived(NOW, config, seed, who);
    incoming.handle_input(NOW, &hello.bytes());
    incoming
}

/// A link with a session and something under way in both directions.
fn begun(config: &Config, who: Option<PeerId>) -> Link {
    let mut link = accepted(NOW, arrived(config, 3, who, &Greeting::hello(&entries())));
    said(&mut link);
    link.handle_input(NOW, &message(0, 1, b"1"));
    let back = countersign_core::ChannelId(1);
    link.send(NOW, back, &b"on the wire"[..], None)
        .expect("accepted");
    said(&mut link);
    link.send(NOW, back, &b"not yet"[..], None)
        .expect("accepted");
    while link.poll_event().is_some() {}
    link
}

fn away(config: &Config, who: Option<PeerId>) -> Link {
    let mut link = begun(config, who);
    link.handle_lost(NOW, Disconnect::Transport);
    while link.poll_event().is_some() {}
    link
}

/// The peer has been told, and what to do.
fn assert_turned_away(incoming: &mut Incoming) {
    let Some(EndReason::TurnedAway(refusal)) = incoming.end_reason().cloned() else {
        panic!("{:?}", incoming.end_reason());
    };
    assert_eq!((refusal.code, refusal.again), (refuse::SESSION_OVER, false));
    assert!(refusal.text.contains("connect again"), "{refusal}");
    assert!(refusal.text.len() <= 256);
    let expected = coded(3, 0xFFFF, refuse::SESSION_OVER, refusal.text.as_bytes());
    assert_eq!(said(incoming), expected);
}

#[test]
fn an_acceptor_ends_when_its_peer_begins_anew() {
    // [SINGLE-3] Whether it names no session or one that does not exist.
    for hello in [
        Greeting::hello(&entries()),
        Greeting::naming([5; 16], &entries()),
    ] {
        let mut link = away(&both(), ALICE);
        let id = link.session();
        let mut incoming = arrived(&both(), 4, ALICE, &hello);
        let result = link.take_over(NOW, &mut incoming);
        assert_eq!(result, TakeOver::SessionOver);
        assert_turned_away(&mut incoming);
        assert_eq!(link.end_reason(), Some(&STARTED_ANEW));
        let counts = link.report()[1].verdicts;
        assert_eq!(counts[VerdictKind::Unknown], 1);
        assert_eq!(counts[VerdictKind::Withdrawn], 1);
        let told: Vec<Event> = core::iter::from_fn(|| link.poll_event()).collect();
        let verdicts = |event: &&Event| matches!(event, Event::Verdict { .. });
        assert_eq!(told.iter().filter(verdicts).count(), 2);
        let end = [Event::SessionLost(SessionLoss::StartedAnew), Event::Ended];
        assert_eq!(told[2..], end);
        // What had come can be taken, and what was settled is known of it.
        assert!(link.take(NOW, MAIN).is_ok_and(|taken| taken.is_some()));
        assert_eq!(link.take(NOW, MAIN), Ok(None));
        assert_eq!(link.gone_session().id(), id);
    }
}

#[test]
fn a_session_of_other_channels_is_another() {
    // [SINGLE-3] [RESUME-4]
    let mut link = away(&both(), ALICE);
    let hello = Greeting::naming(
        link.session(),
        &[Entry::send("main"), Entry::receive("back")],
    );
    let mut incoming = arrived(&both(), 4, ALICE, &hello);
    assert_eq!(
        link.take_over(NOW, &mut incoming),
        TakeOver::Done,
        "the same"
    );
    let mut link = away(&both(), ALICE);
    let swapped = [Entry::receive("back"), Entry::send("main")];
    let hello = Greeting::naming(link.session(), &swapped);
    let mut incoming = arrived(&both(), 4, ALICE, &hello);
    let result = link.take_over(NOW, &mut incoming);
    assert_eq!(result, TakeOver::SessionOver);
}

#[test]
fn nobody_but_its_peer_ends_a_link() {
    // [SINGLE-4]
    let refuses = |mut link: Link, who| {
        let state = link.state();
        let mut incoming = arrived(&both(), 4, who, &Greeting::hello(&entries()));
        assert_eq!(link.take_over(NOW, &mut incoming), TakeOver::NotMine);
        assert_eq!(link.state(), state);
        // It can still be accepted as any other.
        assert_eq!(accepted(NOW, incoming).state(), LinkState::Open);
        assert_eq!(link.end_reason(), None);
    };
    refuses(away(&both(), ALICE), BOB);
    refuses(away(&both(), ALICE), None);
    // Without an identity, any peer could claim to be this one.
    refuses(away(&both(), None), None);
    // A link that has its connection has its peer: this is another of the same identity.
    refuses(begun(&both(), ALICE), ALICE);
    // A link that was not declared so.
    let plain = Config::new()
        .channel(ReceiveChannel::new("main"))
        .channel(SendChannel::new("back"));
    refuses(away(&plain, ALICE), ALICE);
}

#[test]
fn a_hello_from_before_the_session_ends_nothing() {
    // [SINGLE-4] The peer gave this connection up and has got the session on the next one, before
    // what it had said on this one arrives. It has come back to the session since, or may yet.
    for hello in [
        Greeting::hello(&entries()),
        Greeting::naming([5; 16], &entries()),
    ] {
        let connected = |at: Instant| arriving::arrived(at, &both(), 3, ALICE);
        let after = |micros: u64| NOW + Duration::from_micros(micros);
        let mut late = connected(NOW);
        let mut incoming = connected(after(1));
        incoming.handle_input(after(2), &Greeting::hello(&entries()).bytes());
        let mut link = accepted(after(2), incoming);
        said(&mut link);
        link.handle_lost(after(3), Disconnect::Transport);
        late.handle_input(after(4), &hello.bytes());
        assert_eq!(link.take_over(after(4), &mut late), TakeOver::NotMine);
        assert_eq!(
            (link.state(), link.end_reason()),
            (LinkState::Offline, None)
        );
        assert_eq!(accepted(after(4), late).state(), LinkState::Open);
        // A peer that has connected since does end it.
        let mut anew = connected(after(5));
        anew.handle_input(after(6), &hello.bytes());
        assert_eq!(link.take_over(after(6), &mut anew), TakeOver::SessionOver);
    }
}

#[test]
fn a_link_that_misses_only_the_farewell_is_not_ended() {
    // [SINGLE-3] [RECLOSE-7]
    let incoming = arrived(&both(), 3, ALICE, &Greeting::hello(&entries()));
    let mut link = accepted(NOW, incoming);
    link.close(NOW, CloseMode::Drain);
    said(&mut link);
    link.handle_input(NOW, &close(&[(0, 0)]));
    assert!(said(&mut link).ends_with(&done()));
    link.handle_lost(NOW, Disconnect::Transport);
    let mut incoming = arrived(&both(), 4, ALICE, &Greeting::hello(&entries()));
    assert_eq!(link.take_over(NOW, &mut incoming), TakeOver::NotMine);
}

#[test]
fn an_acceptor_with_one_link_ends_it_all_the_same() {
    // [SINGLE-3] [SINGLE-4]
    let meets = |first, second| {
        let mut link = Link::new(&both(), Role::Acceptor, [3; 16]).expect("fits");
        let come = |link: &mut Link, who| {
            link.handle_opened(NOW).expect("offline");
            link.handle_secured(NOW, who).expect("securing");
            link.handle_input(NOW, &Greeting::hello(&entries()).bytes());
        };
        come(&mut link, first);
        said(&mut link);
        link.handle_lost(NOW, Disconnect::Transport);
        come(&mut link, second);
        link
    };
    let mut link = meets(ALICE, ALICE);
    assert_eq!(link.end_reason(), Some(&STARTED_ANEW));
    let text = refusal_of(&said(&mut link));
    assert_eq!(text.code, refuse::SESSION_OVER);
    // Any other peer finds no such session, and the link waits on.
    for (first, second) in [(ALICE, BOB), (ALICE, None), (None, None)] {
        let mut link = meets(first, second);
        assert_eq!(
            (link.state(), link.end_reason()),
            (LinkState::Offline, None)
        );
        assert_eq!(said(&mut link), []);
        assert!(!link.wants_connection());
    }
}

fn refusal_of(said: &[u8]) -> Refusal {
    assert_eq!(said[0], 3, "REFUSE");
    let code = u16::from_be_bytes([said[8], said[9]]);
    let text = core::str::from_utf8(&said[12..]).expect("text");
    Refusal::new(code, text)
}

#[test]
fn who_is_refused_for_its_old_session_ends() {
    // [SINGLE-3] The opener that has begun anew: it does not try for ever.
    let config = Config::new()
        .channel(SendChannel::new("main"))
        .reconnect(Reconnect::default());
    against_lasting(Role::Opener, &config, |peer| {
        peer.say();
        peer.hear(&coded(3, 0xFFFF, refuse::SESSION_OVER, b"connect again"));
        let refusal = Refusal::new(refuse::SESSION_OVER, "connect again");
        let expected = EndReason::Refused(refusal);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}

#[test]
fn the_tlsstream_dialect_ends_with_its_connection() {
    // [SINGLE-5] Before there was one, it tries as ever.
    let config = sender().dialect(Dialect::TlsStream);
    let mut link = Link::new(&config, Role::Opener, [1; 16]).expect("fits");
    link.handle_opened(NOW).expect("offline");
    link.handle_lost(NOW, Disconnect::Transport);
    assert_eq!(link.state(), LinkState::Offline);
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, ALICE).expect("securing");
    link.send(NOW, MAIN, &b"1"[..], None).expect("accepted");
    said(&mut link);
    link.handle_lost(NOW, Disconnect::Transport);
    assert_eq!(link.end_reason(), Some(&EndReason::Lost(Loss::Transport)));
    let verdict = Verdict::Unknown;
    let told: Vec<Event> = core::iter::from_fn(|| link.poll_event()).collect();
    let expected = Event::Verdict {
        channel: MAIN,
        sequence: 1,
        verdict,
    };
    assert!(told.contains(&expected), "{told:?}");
    assert_ne!(
        link.take(NOW, MAIN),
        Err(ReceiveError::SessionBorder(SessionLoss::Dialect))
    );
}
