//! Sessions: whose they are, how long they are kept, and how one connection takes over from
//! another.

use core::time::Duration;

use countersign_core::{
    Acceptor, CloseMode, Config, Disconnect, EndReason, Event, Incoming, Instant, Link, LinkState,
    Loss, PeerId, PeerMisbehaved, Protocol, ReceiveChannel, ReceiveError, Request, Role, Route,
    SendChannel, SessionLoss, TakeOver, Timeouts, VerdictKind,
};

use crate::common::arriving::{self, accepted};
use crate::common::bytes::{Entry, Greeting, ack, close, coded, done, first, message, next};
use crate::common::peer::MAIN;

const NOW: Instant = Instant::from_micros(1_000_000);
const MICRO: Duration = Duration::from_micros(1);
const ALICE: Option<PeerId> = Some(PeerId([1; 32]));
const BOB: Option<PeerId> = Some(PeerId([2; 32]));

/// Receives on `main` and sends on `back`.
fn both() -> Config {
    Config::new()
        .channel(ReceiveChannel::new("main"))
        .channel(SendChannel::new("back"))
}

fn entries() -> [Entry; 2] {
    [Entry::send("main"), Entry::receive("back")]
}

/// A fresh connection, as a listener gets it.
fn fresh(config: &Config, seed: u8, who: Option<PeerId>) -> Incoming {
    arriving::arrived(NOW, config, seed, who)
}

/// A link with a session.
fn begun(config: &Config, who: Option<PeerId>) -> Link {
    let mut incoming = fresh(config, 3, who);
    incoming.handle_input(NOW, &Greeting::hello(&entries()).bytes());
    let mut link = accepted(NOW, incoming);
    assert_eq!(said(&mut link)[16], 0, "new");
    assert_eq!(events(&mut link), [Event::Connected]);
    link
}

/// A connection whose peer has named a session.
fn returning(
    config: &Config,
    who: Option<PeerId>,
    session: [u8; 16],
    entries: &[Entry],
) -> Incoming {
    let mut incoming = fresh(config, 4, who);
    assert_eq!(incoming.request(), None);
    incoming.handle_input(NOW, &Greeting::naming(session, entries).bytes());
    assert_eq!(incoming.request(), Some(Request::Resume(session)));
    assert_eq!(said(&mut incoming), []);
    incoming
}

fn said(from: &mut impl Protocol) -> Vec<u8> {
    arriving::said(NOW, from)
}

fn events(link: &mut Link) -> Vec<Event> {
    core::iter::from_fn(|| link.poll_event()).collect()
}

#[test]
fn every_session_has_an_id_of_its_own() {
    // [SESSION-1]
    let mut ids = Vec::new();
    for seed in 0..50 {
        let mut incoming = fresh(&both(), seed, ALICE);
        incoming.handle_input(NOW, &Greeting::hello(&entries()).bytes());
        let mut link = accepted(NOW, incoming);
        for _ in 0..3 {
            assert_ne!(link.session(), [0; 16]);
            assert!(!ids.contains(&link.session()));
            assert_eq!(said(&mut link)[24..40], link.session());
            ids.push(link.session());
            link.handle_lost(NOW, Disconnect::Transport);
            link.handle_opened(NOW).expect("offline");
            link.handle_secured(NOW, ALICE).expect("securing");
            link.handle_input(NOW, &Greeting::hello(&entries()).bytes());
        }
    }
}

#[test]
fn a_connection_takes_over_from_another() {
    // [RESUME-3] [SESSION-2] [RESUME-2]
    let mut link = begun(&both(), ALICE);
    link.handle_input(NOW, &message(0, 1, b"1"));
    link.handle_input(NOW, &first(0, 2, 9, &[2; 5])[..22]);
    link.send(NOW, countersign_core::ChannelId(1), &b"out"[..], None)
        .expect("accepted");
    assert_eq!(said(&mut link), message(1, 1, b"out"));
    events(&mut link);
    for number in 2..5 {
        assert_eq!(
            (link.state(), link.connection()),
            (LinkState::Open, number - 1)
        );
        let mut guest = returning(&both(), ALICE, link.session(), &entries());
        assert_eq!(link.take_over(NOW, &mut guest), TakeOver::Done);
        assert_eq!(link.connection(), number);
        assert_eq!(
            events(&mut link),
            [Event::Lost(Loss::Replaced), Event::Resumed]
        );
        assert_eq!(guest.end_reason(), Some(&EndReason::TakenOver));
        assert_eq!((guest.state(), guest.request()), (LinkState::Ended, None));
        assert!(!guest.wants_connection() && !guest.wants_output());
        // What came on its connection is the link's now.
        assert_eq!(said(&mut guest), []);
        let mut main = Entry::receive("main").having([0, 1, 2]);
        (main.max_message, main.window_messages, main.window_bytes) = (16 << 20, 8192, 16 << 20);
        main.max_reply = 0;
        let mut back = Entry::send("back");
        back.max_message = 16 << 20;
        let welcome = Greeting {
            session: link.session(),
            times: [NOW.as_micros(); 2],
            ..Greeting::resumed(&[main, back])
        };
        // The peer says that it has nothing of what was sent before.
        let expected = [welcome.bytes(), message(1, 1, b"out")].concat();
        assert_eq!(said(&mut link), expected);
    }
    link.handle_input(NOW, &next(0, 2, true, &[2; 7]));
    link.handle_input(NOW, &ack(1, 1));
    assert_eq!(link.end_reason(), None);
    assert_eq!(link.waiting(MAIN), 2);
    assert_eq!(link.report()[1].verdicts[VerdictKind::Handled], 1);
    assert_eq!(link.resumes(), 3);
}

#[test]
fn what_came_behind_hello_is_judged_by_whoever_goes_on() {
    // [HELLO-1] A frame that was cut while its HELLO waited
    let mut link = begun(&both(), ALICE);
    let mut guest = returning(&both(), ALICE, link.session(), &entries());
    let early = message(0, 1, b"early");
    guest.handle_input(NOW, &early[..6]);
    assert_eq!(link.take_over(NOW, &mut guest), TakeOver::Done);
    link.handle_input(NOW, &early[6..]);
    let expected = EndReason::Peer(PeerMisbehaved::Unexpected);
    assert_eq!(link.end_reason(), Some(&expected));
    // and one that was not.
    for early in [early, Greeting::hello(&entries()).bytes(), done()] {
        let mut guest = returning(&both(), ALICE, [5; 16], &entries());
        guest.handle_input(NOW, &early);
        assert_eq!(guest.end_reason(), Some(&expected));
        assert_eq!(guest.request(), None);
        assert_eq!(said(&mut guest)[0], 0x32);
    }
    // [ABORT-4]
    let mut guest = returning(&both(), ALICE, [5; 16], &entries());
    guest.handle_input(NOW, &coded(0x32, 0, 1, b""));
    assert_eq!((guest.state(), guest.request()), (LinkState::Ended, None));
}

/// `incoming` must not get the session of `link`, and nothing may have come of the attempt.
fn keeps(link: &mut Link, incoming: &mut Incoming, why: &str) {
    let before = (link.clone(), incoming.clone());
    assert_eq!(link.take_over(NOW, incoming), TakeOver::NotMine, "{why}");
    assert!((&*link, &*incoming) == (&before.0, &before.1), "{why}");
}

#[test]
fn nobody_else_gets_a_session() {
    // [SESSION-2] [SESSION-3]
    let mut link = begun(&both(), ALICE);
    let id = link.session();
    for who in [BOB, None] {
        keeps(
            &mut link,
            &mut returning(&both(), who, id, &entries()),
            "other peer",
        );
    }
    let mut other = id;
    other[15] ^= 1;
    keeps(
        &mut link,
        &mut returning(&both(), ALICE, other, &entries()),
        "other id",
    );
    keeps(
        &mut link,
        &mut fresh(&both(), 4, ALICE),
        "names nothing yet",
    );
    // Without TLS, knowing the id is enough.
    let mut plain = begun(&both(), None);
    let mut guest = returning(&both(), None, plain.session(), &entries());
    assert_eq!(plain.take_over(NOW, &mut guest), TakeOver::Done);
    let mut guest = returning(&both(), ALICE, plain.session(), &entries());
    keeps(&mut plain, &mut guest, "held without TLS");
}

#[test]
fn other_channels_are_another_session() {
    // [RESUME-4]
    let mut latest = entries();
    latest[0].policy = 1;
    let mut required = entries();
    required[1].policy = 0;
    let mut modes = entries();
    (modes[0], modes[1]) = (Entry::receive("main"), Entry::send("back"));
    let [main, back] = entries();
    let changed: [(&str, Vec<Entry>); 7] = [
        ("policy of a sender", latest.to_vec()),
        ("policy that a receiver requires", required.to_vec()),
        ("modes", modes.to_vec()),
        ("order", vec![back.clone(), main.clone()]),
        ("name", vec![Entry::send("mein"), back.clone()]),
        ("fewer", vec![main.clone()]),
        ("more", vec![main, back, Entry::send("third")]),
    ];
    for (why, entries) in changed {
        let mut link = begun(&both(), ALICE);
        let mut guest = returning(&both(), ALICE, link.session(), &entries);
        keeps(&mut link, &mut guest, why);
        // Without other links to ask, it is answered as not known, if it fits at all; and the same
        // where the link is given the connection itself.
        link.handle_lost(NOW, Disconnect::Transport);
        let mut alone = link.clone();
        alone.handle_opened(NOW).expect("offline");
        alone.handle_secured(NOW, ALICE).expect("securing");
        alone.handle_input(NOW, &Greeting::naming(link.session(), &entries).bytes());
        let fits = matches!(alone.state(), LinkState::Open);
        assert_eq!(fits, why.starts_with("policy") || why == "order", "{why}");
        let other = guest.accept(NOW);
        assert_eq!(other.is_ok(), fits, "{why}");
        for mut anew in other.into_iter().chain(fits.then_some(alone)) {
            assert_eq!(anew.state(), LinkState::Open);
            assert_eq!(said(&mut anew)[16], 2, "not known");
            assert_ne!(anew.session(), link.session());
        }
    }
}

#[test]
fn a_link_that_is_over_or_opens_takes_nothing_over() {
    // [RESUME-3] [RECLOSE-2]
    let mut link = begun(&both(), ALICE);
    let id = link.session();
    link.close(NOW, CloseMode::Drain);
    said(&mut link);
    link.handle_input(NOW, &[close(&[(0, 0)]), ack(1, 0), done()].concat());
    said(&mut link);
    assert_eq!(link.state(), LinkState::Finishing);
    keeps(
        &mut link,
        &mut returning(&both(), ALICE, id, &entries()),
        "finishing",
    );
    link.handle_eof(NOW);
    assert_eq!(link.state(), LinkState::Ended);
    keeps(
        &mut link,
        &mut returning(&both(), ALICE, id, &entries()),
        "ended",
    );
    let mut opener = Link::new(&both(), Role::Opener, [1; 16]).expect("fits");
    opener.handle_timeout(NOW);
    keeps(
        &mut opener,
        &mut returning(&both(), ALICE, id, &entries()),
        "an opener",
    );
    let mut never = Link::new(&both(), Role::Acceptor, [9; 16]).expect("fits");
    never.handle_opened(NOW).expect("offline");
    never.handle_secured(NOW, ALICE).expect("securing");
    keeps(
        &mut never,
        &mut returning(&both(), ALICE, id, &entries()),
        "without one",
    );
}

#[test]
fn a_foreign_session_is_answered_like_none() {
    // [SESSION-3] [REFUSED-1] [REFUSED-2]
    let link = begun(&both(), ALICE);
    let mut ended = link.clone();
    ended.evict(NOW);
    ended.handle_lost(NOW, Disconnect::Abandoned);
    let mut acceptor = Acceptor::default();
    assert_eq!(acceptor.follow(&link, &Event::Connected, || ()), None);
    let mut answers = Vec::new();
    let routed = |acceptor: &mut Acceptor<()>, who, named| {
        let mut guest = returning(&both(), who, named, &entries());
        assert!(matches!(acceptor.route(&mut guest), Route::New(_)));
        let mut link = accepted(NOW, guest);
        assert_eq!(events(&mut link), [Event::Connected]);
        said(&mut link)
    };
    for gone in [false, true] {
        if gone {
            assert_eq!(acceptor.follow(&ended, &Event::Ended, || ()), None);
        }
        for named in [link.session(), [5; 16]] {
            answers.push(routed(&mut acceptor, BOB, named));
        }
    }
    let answer = answers.pop().expect("four");
    assert_eq!(answer[16], 2, "not known");
    assert_eq!(answer[82..90], [0xFF; 8]);
    assert_eq!(answer[90..106], [0; 16]);
    assert!(answers.iter().all(|other| *other == answer));
    // Its owner learns that the session existed.
    let answer = routed(&mut acceptor, ALICE, link.session());
    assert_eq!((answer[16], &answer[82..90]), (3, &[0; 8][..]));
}

#[test]
fn who_gets_no_answer_runs_out_of_time() {
    // [PING-6]
    let mut guest = returning(&both(), ALICE, [5; 16], &entries());
    let deadline = guest.poll_deadline().expect("the handshake's");
    assert_eq!(deadline, NOW + Duration::from_secs(10));
    guest.handle_timeout(deadline);
    let expected = EndReason::Lost(Loss::HandshakeTooSlow);
    assert_eq!(guest.end_reason(), Some(&expected));
    assert_eq!(guest.request(), None);
    // A take-over does not give the handshake more time than the connection had.
    let mut link = begun(&both(), ALICE);
    let mut guest = returning(&both(), ALICE, link.session(), &entries());
    assert_eq!(link.take_over(deadline, &mut guest), TakeOver::Done);
    assert_eq!(link.state(), LinkState::Open);
}

fn retaining(time: Duration) -> Config {
    both().timeouts(Timeouts {
        retain: time,
        ..Timeouts::default()
    })
}

#[test]
fn an_acceptor_keeps_a_session_for_its_time() {
    // [SESSION-5] [VERDICT-5]
    let time = Duration::from_secs(300);
    assert_eq!(Config::new().get_timeouts().retain, time);
    let mut link = begun(&both(), ALICE);
    link.send(NOW, countersign_core::ChannelId(1), &b"out"[..], None)
        .expect("accepted");
    said(&mut link);
    // Not while there is a connection.
    let later = NOW + Duration::from_secs(10);
    link.handle_timeout(later);
    link.handle_lost(later, Disconnect::Transport);
    let end = later + time;
    assert_eq!(link.poll_deadline(), Some(end));
    let before = Instant::from_micros(end.as_micros() - 1);
    link.handle_timeout(before);
    assert_eq!(link.state(), LinkState::Offline);
    let mut resumed = link.clone();
    let mut guest = returning(&both(), ALICE, link.session(), &entries());
    assert_eq!(resumed.take_over(before, &mut guest), TakeOver::Done);
    // The time begins anew with the next loss.
    assert!(resumed.poll_deadline().is_none_or(|at| at > before));
    resumed.handle_lost(end, Disconnect::Transport);
    assert_eq!(resumed.poll_deadline(), Some(end + time));
    // One microsecond more is one too many.
    events(&mut link);
    link.handle_timeout(end);
    let expected = EndReason::Lost(Loss::StayedAway);
    assert_eq!(link.end_reason(), Some(&expected));
    assert_eq!(link.report()[1].verdicts[VerdictKind::Unknown], 1);
    assert_eq!(events(&mut link).last(), Some(&Event::Ended));
    assert_eq!(link.poll_deadline(), None);
}

#[test]
fn a_return_that_fails_gives_no_more_time() {
    // [SESSION-5]
    let mut link = begun(&retaining(Duration::from_secs(60)), ALICE);
    link.handle_lost(NOW, Disconnect::Transport);
    let end = NOW + Duration::from_secs(60);
    for seconds in [10, 20, 30] {
        let now = NOW + Duration::from_secs(seconds);
        link.handle_opened(now).expect("offline");
        assert_eq!(link.poll_deadline(), Some(now + Duration::from_secs(10)));
        link.handle_lost(now, Disconnect::Security);
        assert_eq!(link.poll_deadline(), Some(end));
    }
    // An attempt may go on beyond that time, though: a peer that can be reached has returned.
    let late = Instant::from_micros(end.as_micros() - 1);
    link.handle_opened(late).expect("offline");
    link.handle_timeout(end + MICRO);
    assert_eq!(link.state(), LinkState::Securing);
    link.handle_secured(end + MICRO, ALICE).expect("securing");
    link.handle_input(
        end + MICRO,
        &Greeting::naming(link.session(), &entries()).bytes(),
    );
    assert_eq!(link.state(), LinkState::Open);
    assert_eq!(link.resumes(), 1);
    // Where a session is not kept, the link ends with its connection.
    let mut link = begun(&retaining(Duration::ZERO), ALICE);
    link.handle_lost(NOW, Disconnect::Transport);
    assert_eq!(link.end_reason(), Some(&EndReason::Lost(Loss::Transport)));
}

#[test]
fn an_acceptor_link_may_be_used_again_as_it_is() {
    // [REFUSED-1] [VERDICT-5] [RESUME-15]
    let back = countersign_core::ChannelId(1);
    let anew = |hello: fn([u8; 16]) -> Greeting, outcome, who| {
        let mut link = Link::new(&both(), Role::Acceptor, [3; 16]).expect("fits");
        link.handle_opened(NOW).expect("offline");
        link.handle_secured(NOW, ALICE).expect("securing");
        link.handle_input(NOW, &Greeting::hello(&entries()).bytes());
        said(&mut link);
        link.handle_input(
            NOW,
            &[message(0, 1, b"old"), message(0, 2, b"old")].concat(),
        );
        link.send(NOW, back, &b"1"[..], None).expect("accepted");
        said(&mut link);
        link.take(NOW, MAIN).expect("receive mode");
        events(&mut link);
        link.handle_lost(NOW, Disconnect::Transport);
        let old = link.session();
        link.handle_opened(NOW).expect("offline");
        link.handle_secured(NOW, who).expect("securing");
        link.handle_input(NOW, &hello(old).bytes());
        assert_ne!(link.session(), old);
        assert_eq!(said(&mut link)[16], outcome);
        let events = events(&mut link);
        let lost = Event::SessionLost(SessionLoss::StartedAnew);
        assert_eq!(events[3..], [lost, Event::Connected], "{events:?}");
        assert_eq!(link.report()[1].verdicts[VerdictKind::Unknown], 1);
        assert_eq!(link.send(NOW, back, &b"2"[..], None), Ok(2));
        assert_eq!(said(&mut link), message(1, 1, b"2"));
        link.handle_input(NOW, &message(0, 1, b"new"));
        let take = |link: &mut Link| link.take(NOW, MAIN).expect("receive mode").expect("waits");
        assert_eq!(take(&mut link).sequence, 2);
        let border = ReceiveError::SessionBorder(SessionLoss::StartedAnew);
        assert_eq!(link.take(NOW, MAIN), Err(border));
        assert_eq!(take(&mut link).sequence, 3);
        assert_eq!(said(&mut link), ack(0, 1));
    };
    anew(|_| Greeting::hello(&entries()), 0, ALICE);
    anew(|_| Greeting::naming([5; 16], &entries()), 2, ALICE);
    // Another peer that knows the id, even.
    anew(|id| Greeting::naming(id, &entries()), 2, BOB);
}

#[test]
fn only_who_is_away_can_be_evicted() {
    // [SESSION-5]
    let mut link = begun(&both(), ALICE);
    let before = link.clone();
    link.evict(NOW);
    assert!(link == before);
    link.handle_lost(NOW, Disconnect::Transport);
    link.evict(NOW);
    assert_eq!(link.end_reason(), Some(&EndReason::Lost(Loss::Evicted)));
}

#[test]
fn an_opener_names_its_session_to_whom_it_held_it_with() {
    // [SESSION-4] [REFUSED-3]
    let mut link = Link::new(&Config::default(), Role::Opener, [1; 16]).expect("fits");
    let connect = |link: &mut Link, who| {
        link.handle_opened(NOW).expect("offline");
        link.handle_secured(NOW, who).expect("securing");
        let hello = said(link);
        <[u8; 16]>::try_from(&hello[24..40]).expect("sixteen bytes")
    };
    assert_eq!(connect(&mut link, ALICE), [0; 16]);
    link.handle_input(NOW, &Greeting::welcome(&[Entry::receive("main")]).bytes());
    link.send(NOW, MAIN, &b"for alice"[..], None)
        .expect("accepted");
    said(&mut link);
    link.handle_lost(NOW, Disconnect::Transport);
    assert_eq!(connect(&mut link, ALICE), [7; 16]);
    link.handle_lost(NOW, Disconnect::Transport);
    for who in [None, BOB] {
        assert_eq!(connect(&mut link, who), [0; 16]);
        link.handle_lost(NOW, Disconnect::Transport);
    }
    // It is not forgotten by that.
    assert_eq!(connect(&mut link, ALICE), [7; 16]);
    link.handle_lost(NOW, Disconnect::Transport);
    link.send(NOW, MAIN, &b"not begun"[..], None)
        .expect("accepted");
    events(&mut link);
    // Only when another peer has answered.
    connect(&mut link, BOB);
    let mut welcome = Greeting::welcome(&[Entry::receive("main")]);
    welcome.session = [6; 16];
    link.handle_input(NOW, &welcome.bytes());
    let told = events(&mut link);
    let lost = Event::SessionLost(SessionLoss::OtherPeer);
    assert_eq!(told[2..], [lost, Event::Connected], "{told:?}");
    let verdicts = link.report()[0].verdicts;
    assert_eq!(verdicts[VerdictKind::Unknown], 1);
    assert_eq!(verdicts[VerdictKind::Withdrawn], 1);
    assert_eq!(said(&mut link), [], "nothing of it goes to another peer");
}
