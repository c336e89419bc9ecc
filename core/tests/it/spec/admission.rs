//! Which peers a listener lets in: every connection waits for the caller's decision.

use core::time::Duration;

use countersign_core::{
    Config, Dialect, Disconnect, EndReason, Event, Incoming, Incompatible, Instant, Link,
    LinkState, Loss, Output, PeerMisbehaved, Protocol, ReceiveChannel, Reconnect, Refusal, Request,
    RetryLimit, Role, SendChannel, TakeOver, refuse,
};

use crate::common::arriving::{self, accepted, accepted_after, declined};
use crate::common::bytes::{Entry, Greeting, for_now, message};

const NOW: Instant = Instant::from_micros(1_000_000);
const WHY: &str = "no more than three";

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn sender() -> Config {
    Config::new().channel(SendChannel::new("main"))
}

/// What a listener makes for each connection.
fn arrived(config: &Config, seed: u8) -> Incoming {
    arriving::arrived(NOW, config, seed, None)
}

fn said(from: &mut impl Protocol) -> Vec<u8> {
    arriving::said(NOW, from)
}

fn events(link: &mut Link) -> Vec<Event> {
    core::iter::from_fn(|| link.poll_event()).collect()
}

fn hello() -> Vec<u8> {
    Greeting::hello(&[Entry::send("main")]).bytes()
}

fn naming(session: [u8; 16]) -> Vec<u8> {
    Greeting::naming(session, &[Entry::send("main")]).bytes()
}

fn busy() -> EndReason {
    EndReason::TurnedAway(Refusal::busy(WHY))
}

#[test]
fn whoever_comes_waits_for_the_word() {
    // [HELLO-2] [HELLO-18] [HELLO-19]
    let mut guest = arrived(&receiver(), 1);
    for byte in hello() {
        assert_eq!(guest.request(), None);
        guest.handle_input(NOW, &[byte]);
    }
    assert_eq!(guest.request(), Some(Request::New));
    assert_eq!(
        (guest.state(), guest.end_reason()),
        (LinkState::Greeting, None)
    );
    assert_eq!(said(&mut guest), []);
    assert!(!guest.wants_output());
    let mut link = accepted(NOW, guest);
    assert_ne!(link.session(), [0; 16]);
    assert_eq!(events(&mut link), [Event::Connected]);
    assert_eq!(said(&mut link)[16], 0, "new");
    link.handle_input(NOW, &message(0, 1, b"1"));
    assert_eq!(link.waiting(countersign_core::ChannelId(0)), 1);
}

#[test]
fn what_is_still_known_is_nothing_to_new_ones() {
    // [HELLO-18]
    let mut link = arrived(&receiver(), 1);
    link.handle_input(NOW, &hello());
    let mut link = accepted(NOW, link);
    link.handle_lost(NOW, Disconnect::Abandoned);
    let mut guest = arrived(&receiver(), 2);
    guest.handle_input(NOW, &hello());
    let answer = said(&mut accepted_after(NOW, guest, Some(&link.gone_session())));
    assert_eq!((answer[16], &answer[82..106]), (0, &[0; 24][..]));
}

#[test]
fn who_is_one_too_many_is_told() {
    // [REFUSE-4] [REFUSE-5] [REFUSE-6]
    for hello in [hello(), naming([7; 16])] {
        let mut guest = arrived(&receiver(), 1);
        guest.handle_input(NOW, &hello);
        guest.refuse(NOW, &Refusal::busy(WHY));
        assert_eq!(guest.end_reason(), Some(&busy()));
        assert!(!busy().is_orderly() && !busy().can_retry());
        assert_eq!(
            busy().to_string(),
            "the peer was turned away: no more than three (code 5)"
        );
        assert_eq!((guest.state(), guest.request()), (LinkState::Ended, None));
        let refusal = for_now(refuse::BUSY, WHY.as_bytes());
        assert_eq!(said(&mut guest), refusal);
        assert_eq!(guest.poll_output(NOW, &mut [0; 300]), Output::End);
    }
}

#[test]
fn a_declaration_that_does_not_fit_is_refused_as_such() {
    // [REFUSE-9] [REFUSE-1] [REFUSE-2]
    let both = [Entry::send("main"), Entry::send("more")];
    for session in [[0; 16], [7; 16]] {
        let greeting = match session[0] {
            0 => Greeting::hello(&both),
            _ => Greeting::naming(session, &both),
        };
        let mut guest = arrived(&receiver(), 1);
        guest.handle_input(NOW, &greeting.bytes());
        // Its caller may have channels for this peer that fit.
        assert!(guest.request().is_some());
        let mut declined = declined(NOW, guest.clone());
        assert_eq!(said(&mut declined)[8..10], [0, 3]);
        guest.refuse(NOW, &Refusal::busy(WHY));
        let expected = Incompatible::ChannelMissing {
            channel: "more".to_owned(),
            here: true,
        };
        assert_eq!(guest.end_reason(), Some(&EndReason::Incompatible(expected)));
        assert_eq!(said(&mut guest)[8..10], [0, 3]);
    }
    // The same with what can't be at all.
    let twice = [Entry::send("main"), Entry::send("main")];
    for greeting in [Greeting::hello(&twice), Greeting::naming([7; 16], &twice)] {
        let mut guest = arrived(&receiver(), 1);
        guest.handle_input(NOW, &greeting.bytes());
        guest.refuse(NOW, &Refusal::busy(WHY));
        let expected = EndReason::Peer(PeerMisbehaved::Greeting);
        assert_eq!(guest.end_reason(), Some(&expected));
    }
}

#[test]
fn nothing_comes_between_hello_and_the_word() {
    // [HELLO-1] [HELLO-3]
    for early in [hello(), naming([7; 16]), message(0, 1, b"1")] {
        let mut guest = arrived(&receiver(), 1);
        guest.handle_input(NOW, &hello());
        guest.handle_input(NOW, &early);
        let expected = EndReason::Peer(PeerMisbehaved::Unexpected);
        assert_eq!(guest.end_reason(), Some(&expected));
        assert_eq!(guest.request(), None);
        // It is too late for a decision.
        let ended = guest.clone();
        let mut guest = declined(NOW, guest);
        guest.refuse(NOW, &Refusal::busy(WHY));
        assert!(guest == ended);
    }
    let mut guest = arrived(&receiver(), 1);
    guest.handle_input(NOW, &hello());
    let deadline = guest.poll_deadline().expect("the handshake's");
    guest.handle_timeout(deadline);
    let expected = EndReason::Lost(Loss::HandshakeTooSlow);
    assert_eq!(guest.end_reason(), Some(&expected));
}

#[test]
fn a_word_that_nobody_waits_for_changes_nothing() {
    let early = arrived(&receiver(), 1);
    let mut refused = arrived(&receiver(), 1);
    refused.handle_input(NOW, &hello());
    refused.refuse(NOW, &Refusal::new(refuse::APPLICATION, "no"));
    let mut taken = arrived(&receiver(), 2);
    taken.handle_input(NOW, &hello());
    let mut link = accepted(NOW, taken);
    let mut taken = arrived(&receiver(), 3);
    taken.handle_input(NOW, &naming(link.session()));
    assert_eq!(link.take_over(NOW, &mut taken), TakeOver::Done);
    for incoming in [early, refused, taken] {
        let before = incoming.clone();
        let mut incoming = declined(NOW, incoming);
        incoming.refuse(NOW, &Refusal::busy(WHY));
        assert!(incoming == before);
    }
}

/// Connects the opener, and hands over its HELLO.
fn knock(opener: &mut Link, now: Instant) -> Incoming {
    if opener.state() == LinkState::Offline {
        let due = opener.poll_deadline().unwrap_or(now);
        opener.handle_timeout(due.max(now));
    }
    opener.handle_opened(now).expect("connecting");
    opener.handle_secured(now, None).expect("securing");
    // Each has its own, so no two sessions have the same id.
    let seed = u8::try_from(opener.connection()).expect("few");
    let mut guest = arrived(&receiver(), seed);
    guest.handle_input(now, &said(opener));
    guest
}

#[test]
fn an_opener_that_was_refused_gets_in_later() {
    // [REFUSE-4] [RECONNECT-5]
    let mut opener = Link::new(&sender(), Role::Opener, [1; 16]).expect("fits");
    let main = opener.channel_id("main").expect("declared");
    opener
        .send(NOW, main, &b"kept"[..], None)
        .expect("accepted");
    for _ in 0..20 {
        let mut guest = knock(&mut opener, NOW);
        assert_eq!(guest.request(), Some(Request::New));
        guest.refuse(NOW, &Refusal::busy(WHY));
        opener.handle_input(NOW, &said(&mut guest));
        assert_eq!(opener.state(), LinkState::Offline);
        assert_eq!(opener.last_loss(), Some(Loss::Refused));
        assert!(opener.poll_deadline().is_some() && !opener.wants_connection());
    }
    assert_eq!(events(&mut opener), []);
    let mut link = accepted(NOW, knock(&mut opener, NOW));
    opener.handle_input(NOW, &said(&mut link));
    assert_eq!(events(&mut opener), [Event::Connected]);
    assert_eq!(said(&mut opener), message(0, 1, b"kept"));
}

#[test]
fn an_opener_that_does_not_try_again_ends() {
    // [REFUSE-4] [RECONNECT-3]
    let twice = Reconnect {
        limit: RetryLimit::Attempts(1),
        first_delay: Duration::ZERO,
        ..Reconnect::default()
    };
    for (attempts, reconnect) in [(1, Reconnect::never()), (2, twice)] {
        let config = sender().reconnect(reconnect);
        let mut opener = Link::new(&config, Role::Opener, [1; 16]).expect("fits");
        for _ in 0..attempts {
            assert_ne!(opener.state(), LinkState::Ended);
            let mut guest = knock(&mut opener, NOW);
            guest.refuse(NOW, &Refusal::busy(WHY));
            opener.handle_input(NOW, &said(&mut guest));
        }
        let expected = EndReason::Refused(Refusal::busy(WHY));
        assert_eq!(opener.end_reason(), Some(&expected));
        assert!(expected.can_retry());
    }
}

#[test]
fn a_returning_peer_needs_no_room() {
    // [REFUSE-9] [RESUME-2]
    let mut opener = Link::new(&sender(), Role::Opener, [1; 16]).expect("fits");
    let mut link = accepted(NOW, knock(&mut opener, NOW));
    opener.handle_input(NOW, &said(&mut link));
    opener.handle_lost(NOW, Disconnect::Transport);
    let session = link.session();
    let mut guest = knock(&mut opener, NOW);
    assert_eq!(guest.request(), Some(Request::Resume(session)));
    assert_eq!(link.take_over(NOW, &mut guest), TakeOver::Done);
    opener.handle_input(NOW, &said(&mut link));
    assert_eq!(opener.resumes(), 1);
    // One whose session is gone is as new as others, and keeps what it has until it gets in.
    link.handle_lost(NOW, Disconnect::Abandoned);
    opener.handle_lost(NOW, Disconnect::Transport);
    events(&mut opener);
    let mut guest = knock(&mut opener, NOW);
    assert_eq!(link.take_over(NOW, &mut guest), TakeOver::NotMine);
    guest.refuse(NOW, &Refusal::busy(WHY));
    opener.handle_input(NOW, &said(&mut guest));
    assert_eq!(opener.last_loss(), Some(Loss::Refused));
    assert_eq!(events(&mut opener), []);
    let guest = knock(&mut opener, NOW);
    assert_eq!(guest.request(), Some(Request::Resume(session)));
    let answer = said(&mut accepted_after(NOW, guest, Some(&link.gone_session())));
    assert_eq!(answer[16], 3, "too old");
    opener.handle_input(NOW, &answer);
    assert_eq!(opener.state(), LinkState::Open);
}

#[test]
fn in_the_tlsstream_dialect_the_stream_waits() {
    // [STREAM-4]
    let config = receiver().dialect(Dialect::TlsStream);
    let mut guest = arrived(&config, 1);
    assert_eq!(guest.request(), Some(Request::New));
    guest.handle_input(NOW, b"5!he");
    guest.handle_input(NOW, b"llo");
    assert_eq!(
        (guest.state(), said(&mut guest)),
        (LinkState::Greeting, vec![])
    );
    let mut refused = guest.clone();
    let mut link = accepted(NOW, guest);
    assert_eq!(link.state(), LinkState::Open);
    assert_eq!(said(&mut link), b"OK!");
    assert_eq!(link.waiting(countersign_core::ChannelId(0)), 1);
    // The dialect has no frame for a refusal.
    refused.refuse(NOW, &Refusal::busy(WHY));
    assert_eq!(refused.end_reason(), Some(&busy()));
    assert_eq!(refused.poll_output(NOW, &mut [0; 9]), Output::End);
    // An end that comes meanwhile is one like others, in order or not.
    for (input, in_order) in [(&b"5!hello"[..], true), (b"", true), (b"5!he", false)] {
        let mut guest = arrived(&config, 1);
        guest.handle_input(NOW, input);
        guest.handle_eof(NOW);
        assert_eq!(
            (guest.request(), guest.state()),
            (Some(Request::New), LinkState::Greeting)
        );
        let mut refused = guest.clone();
        let mut link = accepted(NOW, guest);
        said(&mut link);
        let expected = match in_order {
            true => EndReason::closed(false),
            false => EndReason::Lost(Loss::PeerLeft),
        };
        assert_eq!(link.end_reason(), Some(&expected), "{input:?}");
        assert_eq!(link.poll_event(), Some(Event::Connected));
        refused.refuse(NOW, &Refusal::busy(WHY));
        assert_eq!(refused.end_reason(), Some(&busy()));
        assert_eq!(refused.poll_output(NOW, &mut [0; 9]), Output::End);
        assert!(!refused.wants_connection());
    }
    // What is wrong with it shows once it is let in.
    let mut guest = arrived(&config, 1);
    guest.handle_input(NOW, b"GET /");
    let mut link = accepted(NOW, guest);
    let expected = EndReason::Peer(PeerMisbehaved::StreamLength);
    assert_eq!(link.end_reason(), Some(&expected));
    assert_eq!(events(&mut link), [Event::Connected, Event::Ended]);
}
