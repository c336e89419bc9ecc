//! Reconnecting: when an opener tries again, and when it does not.

use core::time::Duration;

use countersign_core::{
    CloseMode, Config, Disconnect, EndReason, Event, Incompatible, Instant, Link, LinkState, Loss,
    PeerMisbehaved, Reconnect, Refusal, RetryLimit, Role, SessionLoss, VerdictKind,
};

use crate::common::bytes::{Entry, Greeting, ack, coded, for_now, message, number};
use crate::common::peer::{MAIN, Peer, against, against_lasting};

const MILLI: Duration = Duration::from_millis(1);

fn opener(config: &Config, seed: [u8; 16]) -> (Link, Instant) {
    let mut link = Link::new(config, Role::Opener, seed).expect("fits");
    let now = Instant::from_micros(1_000_000);
    assert_eq!(link.poll_deadline(), Some(Instant::ZERO));
    link.handle_timeout(now);
    assert!(link.wants_connect());
    (link, now)
}

/// Lets an attempt fail; how long the link waits before the next.
fn fail(link: &mut Link, now: &mut Instant) -> Option<Duration> {
    assert!(link.wants_connect());
    link.handle_lost(*now, Disconnect::Transport);
    let next = link.poll_deadline()?;
    let delay = next.saturating_since(*now);
    if !delay.is_zero() {
        // Not a microsecond earlier.
        link.handle_timeout(Instant::from_micros(next.as_micros() - 1));
        assert_eq!(link.state(), LinkState::Offline);
        assert!(!link.wants_connect());
    }
    link.handle_timeout(next);
    assert!(link.wants_connect());
    assert_eq!(link.poll_deadline(), None, "the next word is the caller's");
    *now = next;
    Some(delay)
}

fn limited(limit: RetryLimit) -> Config {
    Config::default().reconnect(Reconnect::limited(limit))
}

#[test]
fn the_bound_of_the_delay_doubles_up_to_the_longest() {
    // [RECONNECT-1] [RECONNECT-2]
    let bounds: [u64; 10] = [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000];
    let mut drawn = [(Duration::MAX, Duration::ZERO); 10];
    for seed in 0..200 {
        let (mut link, mut now) = opener(&Config::default(), [seed; 16]);
        for (bound, drawn) in bounds.iter().zip(&mut drawn) {
            let delay = fail(&mut link, &mut now).expect("for ever");
            assert!(delay <= MILLI * u32::try_from(*bound).expect("short"));
            *drawn = (drawn.0.min(delay), drawn.1.max(delay));
        }
    }
    // Drawn evenly: both ends of the range come up.
    for (bound, (least, most)) in bounds.iter().zip(drawn) {
        let bound = MILLI * u32::try_from(*bound).expect("short");
        assert!(least < bound / 10, "{least:?} of {bound:?}");
        assert!(most > bound / 10 * 9, "{most:?} of {bound:?}");
    }
}

#[test]
fn delays_come_from_the_seed() {
    // [RECONNECT-1]
    let delays = |seed| {
        let (mut link, mut now) = opener(&Config::default(), [seed; 16]);
        let delay = |_| fail(&mut link, &mut now).expect("for ever");
        (0..20).map(delay).collect::<Vec<_>>()
    };
    assert_eq!(delays(1), delays(1));
    assert_ne!(delays(1), delays(2));
}

#[test]
fn extreme_delays_are_no_trouble() {
    // [RECONNECT-2] No delay at all, and more than there is time for.
    let config = |first_delay, longest_delay| {
        Config::default().reconnect(Reconnect {
            limit: RetryLimit::Forever,
            first_delay,
            longest_delay,
        })
    };
    let (mut link, mut now) = opener(&config(Duration::ZERO, Duration::ZERO), [1; 16]);
    for _ in 0..100 {
        assert_eq!(fail(&mut link, &mut now), Some(Duration::ZERO));
    }
    let (mut link, mut now) = opener(&config(MILLI, MILLI), [1; 16]);
    for _ in 0..100 {
        assert!(fail(&mut link, &mut now).expect("for ever") <= MILLI);
    }
    let (mut link, now) = opener(&config(Duration::MAX, Duration::MAX), [1; 16]);
    link.handle_lost(now, Disconnect::Transport);
    assert_eq!(link.state(), LinkState::Offline);
    assert!(link.poll_deadline().is_none_or(|at| at > now));
}

#[test]
fn attempts_are_counted_exactly() {
    // [RECONNECT-3]
    for most in [1, 2, 7] {
        let (mut link, mut now) = opener(&limited(RetryLimit::Attempts(most)), [1; 16]);
        for _ in 0..most {
            assert!(fail(&mut link, &mut now).is_some());
        }
        assert_eq!(fail(&mut link, &mut now), None);
        let expected = EndReason::Lost(Loss::Transport);
        assert_eq!(link.end_reason(), Some(&expected));
        assert_eq!(link.poll_event(), Some(Event::Ended));
    }
    for never in [RetryLimit::Never, RetryLimit::Attempts(0)] {
        let (mut link, mut now) = opener(&limited(never), [1; 16]);
        assert_eq!(fail(&mut link, &mut now), None);
        assert_eq!(link.state(), LinkState::Ended);
    }
}

#[test]
fn a_time_is_counted_from_the_first_failure() {
    // [RECONNECT-3]
    let time = Duration::from_secs(60);
    let (mut link, mut now) = opener(&limited(RetryLimit::For(time)), [1; 16]);
    // Not from when the link was made.
    now = now + 10 * time;
    let first = now;
    let mut attempts = 0;
    while fail(&mut link, &mut now).is_some() {
        attempts += 1;
        assert!(attempts < 100_000);
    }
    assert!(attempts > 5);
    assert_eq!(link.state(), LinkState::Ended);
    assert!(now >= first + time, "given up before its time");
    // At the limit it is over, one microsecond before it is not.
    for (late, goes_on) in [(time - Duration::from_micros(1), true), (time, false)] {
        let (mut link, mut now) = opener(&limited(RetryLimit::For(time)), [1; 16]);
        link.handle_lost(now, Disconnect::Transport);
        let next = link.poll_deadline().expect("another attempt");
        link.handle_timeout(next);
        now = now + late;
        link.handle_lost(now, Disconnect::Transport);
        assert_eq!(link.state() == LinkState::Offline, goes_on);
    }
}

/// A connection that comes to nothing: the acceptor has no room.
fn busy(peer: &mut Peer) {
    peer.connect();
    peer.say();
    peer.hear(&for_now(5, b"later"));
    assert_eq!(peer.link.state(), LinkState::Offline);
}

#[test]
fn a_greeting_alone_does_not_begin_the_count_anew() {
    // [RECONNECT-4]
    let welcome = || Greeting::welcome(&[Entry::receive("main")]).bytes();
    against_lasting(Role::Opener, &limited(RetryLimit::Attempts(2)), |peer| {
        peer.say();
        peer.hear(&for_now(5, b""));
        busy(peer);
        // A greeting alone is no success: the next failure would be the third.
        peer.connect();
        peer.say();
        peer.hear(&welcome());
        assert_eq!(peer.link.state(), LinkState::Open);
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        let expected = EndReason::Lost(Loss::Transport);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}

#[test]
fn a_word_behind_the_greeting_counts_however_it_comes() {
    // [RECONNECT-4]
    let welcome = || Greeting::welcome(&[Entry::receive("main")]).bytes();
    for together in [false, true] {
        against_lasting(Role::Opener, &limited(RetryLimit::Attempts(2)), |peer| {
            peer.say();
            peer.hear(&for_now(5, b""));
            busy(peer);
            peer.connect();
            peer.say();
            let word = number(0x20, 0, 1);
            if together {
                peer.hear(&[welcome(), word].concat());
            } else {
                peer.hear(&welcome());
                peer.hear(&word);
            }
            peer.lose();
            peer.connect();
            peer.link.handle_lost(peer.now, Disconnect::Transport);
            assert_eq!(peer.link.state(), LinkState::Offline, "two more are left");
            peer.connect();
            peer.link.handle_lost(peer.now, Disconnect::Transport);
            assert_eq!(peer.link.state(), LinkState::Ended);
        });
    }
}

#[test]
fn a_busy_acceptor_leaves_the_session_alone() {
    // [REFUSE-4]
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        peer.say();
        peer.lose();
        peer.events();
        for _ in 0..5 {
            busy(peer);
            assert_eq!(peer.events(), []);
            assert!(!peer.link.wants_connection());
        }
        assert_eq!(peer.resumes([0, 0, 0]), message(0, 1, b"1"));
        assert_eq!(peer.events(), [Event::Resumed]);
    });
    // Where nothing is tried again, it is an end like others.
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        peer.hear(&for_now(5, b"full"));
        let expected = EndReason::Refused(Refusal::busy("full"));
        assert_eq!(peer.link.end_reason(), Some(&expected));
        assert!(peer.link.end_reason().is_some_and(EndReason::can_retry));
    });
}

/// A link with one message on the wire and one that waits comes back; what happens then ends it.
fn ends_on_return(happens: impl Fn(&mut Peer), expected: &EndReason) {
    let config = Config::new().channel(countersign_core::SendChannel::new("main").in_flight(1));
    against_lasting(Role::Opener, &config, |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        peer.send(b"2");
        peer.say();
        peer.lose();
        peer.connect();
        peer.say();
        peer.events();
        happens(peer);
        assert_eq!(peer.link.end_reason(), Some(expected));
        let events = peer.events();
        assert_eq!(events.last(), Some(&Event::Ended));
        assert_eq!(events.len(), 3, "two verdicts and the end: {events:?}");
        let verdicts = peer.link.report()[0].verdicts;
        assert_eq!(verdicts[VerdictKind::Unknown], 1);
        assert_eq!(verdicts[VerdictKind::Withdrawn], 1);
        assert_eq!(
            peer.link.poll_deadline().is_some(),
            peer.link.wants_connection()
        );
    });
}

#[test]
fn what_cannot_heal_ends_the_link() {
    // [RECONNECT-5] [VERDICT-5] An identity that is not trusted, at either end,
    let lost = |how| move |peer: &mut Peer| peer.link.handle_lost(peer.now, how);
    for how in [Disconnect::NotTrusted, Disconnect::Abandoned] {
        ends_on_return(lost(how), &EndReason::Lost(how.loss()));
    }
    // declarations that do not fit any more,
    let refused =
        |channel, code| move |peer: &mut Peer| peer.hear(&coded(0x03, channel, code, b"no"));
    let both = countersign_core::Mode::Send;
    let channel = "main".to_owned();
    let conflict = Incompatible::ModeConflict { channel, both };
    ends_on_return(refused(0, 2), &EndReason::Incompatible(conflict));
    for code in [1, 99] {
        let refusal = Refusal::new(code, "no");
        ends_on_return(refused(0xFFFF, code), &EndReason::Refused(refusal));
    }
    // a violation, and being accused of one.
    ends_on_return(
        |peer| peer.hear(&message(0, 1, b"")),
        &EndReason::Peer(PeerMisbehaved::Unexpected),
    );
    let text = "why".to_owned();
    ends_on_return(
        |peer| peer.hear(&coded(0x32, 0, 4, b"why")),
        &EndReason::AccusedByPeer { code: 4, text },
    );
}

/// A link that was up takes this for no more than a lost connection, and ends with it otherwise.
fn is_waited_for_on_a_link_that_was_up(how: Disconnect) {
    let loss = how.loss();
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"1");
        peer.say();
        peer.lose();
        peer.events();
        for _ in 0..5 {
            peer.connect();
            peer.link.handle_lost(peer.now, how);
            assert_eq!(peer.link.state(), LinkState::Offline);
            assert_eq!(peer.link.last_loss(), Some(loss));
        }
        assert_eq!(peer.events(), []);
        assert_eq!(peer.resumes([0, 0, 0]), message(0, 1, b"1"));
    });
    // A limit of attempts counts them like others.
    against_lasting(Role::Opener, &limited(RetryLimit::Attempts(1)), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.lose();
        peer.connect();
        peer.link.handle_lost(peer.now, how);
        let expected = EndReason::Lost(loss);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    // The acceptor waits for its peer, whatever came in its place.
    let config = Config::new().channel(countersign_core::ReceiveChannel::new("main"));
    against_lasting(Role::Acceptor, &config, |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.link.handle_lost(peer.now, how);
        assert_eq!(peer.link.state(), LinkState::Offline);
    });
    // Without a session to lose there is nothing to wait for.
    for role in [Role::Opener, Role::Acceptor] {
        against_lasting(role, &Config::default(), |peer| {
            peer.link.handle_lost(peer.now, how);
            let expected = EndReason::Lost(loss);
            assert_eq!(peer.link.end_reason(), Some(&expected));
        });
    }
}

#[test]
fn who_is_not_the_peer_ends_no_link_that_was_up() {
    // [RECONNECT-6] [RECONNECT-1]
    is_waited_for_on_a_link_that_was_up(Disconnect::Unproven);
}

#[test]
fn a_certificate_out_of_date_is_waited_for_on_a_link_that_was_up() {
    // [RECONNECT-8] [RECONNECT-1]
    is_waited_for_on_a_link_that_was_up(Disconnect::OutOfDate);
}

#[test]
fn an_acceptor_that_refuses_a_returning_peer_has_ended() {
    // [RECONNECT-5] [REFUSE-1]
    let config = Config::new().channel(countersign_core::ReceiveChannel::new("main"));
    against_lasting(Role::Acceptor, &config, |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.lose();
        peer.connect();
        let hello = Greeting::naming(peer.link.session(), &[Entry::receive("main")]);
        peer.hear(&hello.bytes());
        let channel = "main".to_owned();
        let both = countersign_core::Mode::Receive;
        let conflict = Incompatible::ModeConflict { channel, both };
        assert_eq!(
            peer.link.end_reason(),
            Some(&EndReason::Incompatible(conflict))
        );
        assert_eq!(
            peer.say()[..12],
            [3, 0, 0, 0, 0, 0, 0, peer_text(), 0, 2, 0, 0]
        );
    });
}

/// Length of the body of the REFUSE above.
fn peer_text() -> u8 {
    let words = Incompatible::ModeConflict {
        channel: "main".to_owned(),
        both: countersign_core::Mode::Receive,
    };
    u8::try_from(4 + words.to_string().len()).expect("short")
}

#[test]
fn silence_and_slow_handshakes_are_tried_again() {
    // [PING-3] [PING-6] The session survives both.
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.sleep(Duration::from_secs(15));
        assert_eq!(peer.link.state(), LinkState::Offline);
        assert_eq!(peer.events(), [Event::Lost(Loss::Silence)]);
        peer.connect();
        peer.say();
        peer.sleep(Duration::from_secs(10));
        assert_eq!(peer.link.state(), LinkState::Offline);
        assert_eq!(peer.events(), []);
        peer.resumes([0, 0, 0]);
        assert_eq!(peer.events(), [Event::Resumed]);
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.events(), [Event::Lost(Loss::PeerLeft)]);
        peer.connect();
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.state(), LinkState::Offline);
        assert_eq!(peer.events(), []);
    });
}

#[test]
fn a_connection_that_the_caller_had_first_is_taken() {
    // [LIFE-1] [RESUME-16]
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        for number in 2..10 {
            peer.lose();
            peer.link.handle_opened(peer.now).expect("offline");
            assert_eq!(peer.link.connection(), number);
            peer.link.handle_secured(peer.now, None).expect("securing");
            peer.say();
            let entry = Entry::receive("main");
            peer.hear(&Greeting::resumed(&[entry]).bytes());
            assert_eq!(peer.link.state(), LinkState::Open);
        }
    });
}

#[test]
fn messages_wait_for_the_first_connection_however_often_it_fails() {
    // [VERDICT-1]
    for dialect in [
        countersign_core::Dialect::Countersign,
        countersign_core::Dialect::TlsStream,
    ] {
        let (mut link, mut now) = opener(&Config::default().dialect(dialect), [1; 16]);
        link.send(now, MAIN, &b"early"[..], None).expect("accepted");
        for _ in 0..3 {
            fail(&mut link, &mut now);
        }
        assert_eq!(link.poll_event(), None, "{dialect:?}");
        link.close(now, CloseMode::Drain);
        assert_eq!(link.end_reason(), Some(&EndReason::ClosedBeforeConnected));
    }
}

#[test]
fn a_dialect_without_sessions_begins_anew() {
    // [STREAM-10] [VERDICT-5]
    let config = Config::default().dialect(countersign_core::Dialect::TlsStream);
    against_lasting(Role::Opener, &config, |peer| {
        peer.send(b"1");
        peer.send(b"2");
        assert_eq!(peer.say(), b"1!1");
        peer.lose();
        let events = peer.events();
        assert_eq!(events.len(), 5, "{events:?}");
        assert_eq!(
            events.last(),
            Some(&Event::SessionLost(SessionLoss::Dialect))
        );
        peer.connect();
        assert_eq!(peer.events(), [Event::Connected]);
        assert_eq!(peer.send(b"3"), 3);
        assert_eq!(peer.say(), b"1!3");
        peer.takes(b"OK!");
        let (channel, first, last) = (MAIN, 3, 3);
        assert_eq!(
            peer.events(),
            [Event::Handled {
                channel,
                first,
                last,
                count: last - first + 1
            }]
        );
    });
}

#[test]
fn a_driver_that_sleeps_to_the_deadline_never_stalls() {
    // [RECONNECT-1] Every deadline is later than the one before, or the link wants something.
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        for round in 0..50_u64 {
            peer.send(b"x");
            peer.say();
            let mut sleeps = 0;
            while peer.link.state() == LinkState::Open {
                peer.sleep_to_deadline();
                peer.say();
                sleeps += 1;
                assert!(sleeps < 5, "a ping, then giving up");
            }
            let said = peer.resumes([round, round, 0]);
            assert!(!said.is_empty());
            peer.takes(&ack(0, round + 1));
        }
        assert_eq!(peer.link.report()[0].verdicts[VerdictKind::Handled], 50);
    });
}

#[test]
fn the_application_ends_a_pause() {
    // [RECONNECT-7]
    let (mut link, now) = opener(&limited(RetryLimit::Attempts(2)), [4; 16]);
    assert!(!link.connect_now(now), "an attempt is under way");
    for _ in 0..2 {
        link.handle_lost(now, Disconnect::Transport);
        let next = link.poll_deadline().expect("there is another");
        assert_eq!(link.next_attempt(), Some(next));
        assert!(next > now, "a pause, with this seed");
        assert!(link.connect_now(now));
        assert!(!link.connect_now(now), "it is over");
        assert_eq!(link.poll_deadline(), Some(now));
        link.handle_timeout(now);
        assert!(link.wants_connect());
        assert_eq!(link.next_attempt(), None);
    }
    // The row went on, so this was the last.
    link.handle_lost(now, Disconnect::Transport);
    assert_eq!(link.state(), LinkState::Ended);
    assert!(!link.connect_now(now));
}

#[test]
fn no_pause_is_ended_where_there_is_none() {
    // [RECONNECT-7]
    let mut acceptor = Link::new(&Config::default(), Role::Acceptor, [4; 16]).expect("fits");
    assert!(!acceptor.connect_now(Instant::ZERO));
    assert_eq!(
        (acceptor.state(), acceptor.poll_deadline()),
        (LinkState::Offline, None)
    );
}
