//! The border between two sessions, in the stream of what is received.

use countersign_core::{
    ChannelId, Config, Dialect, Event, Link, LinkState, ReceiveChannel, ReceiveError, Role,
    SendChannel, SessionLoss,
};

use crate::common::bytes::{Entry, Greeting, close, done, first, message};
use crate::common::pair::{ACCEPTOR, OPENER, lasting};
use crate::common::peer::{MAIN, Peer, against_lasting};

const NOT_KNOWN: SessionLoss = SessionLoss::NotKnown;

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// An opener that receives on a channel, with a session.
fn receiving(config: &Config, script: impl Fn(&mut Peer)) {
    against_lasting(Role::Opener, config, |peer| {
        peer.welcome(&[Entry::send("main")]);
        peer.events();
        script(peer);
    });
}

/// Comes back to an acceptor that knows nothing.
fn lose_session(peer: &mut Peer) {
    lose_to(peer, Greeting::anew(2, &[Entry::send("main")]));
}

fn lose_to(peer: &mut Peer, mut welcome: Greeting) {
    welcome.session = peer.link.session().map(|byte| byte % 100 + 1);
    peer.lose();
    peer.connect();
    peer.say();
    peer.hear(&welcome.bytes());
}

fn is_readable(peer: &mut Peer) -> bool {
    peer.events().contains(&Event::Readable(MAIN))
}

#[test]
fn a_border_stands_between_the_messages_of_two_sessions() {
    // [BORDER-1]
    for manual in [false, true] {
        let channel = ReceiveChannel::new("main");
        let channel = if manual { channel.manual() } else { channel };
        receiving(&Config::new().channel(channel), |peer| {
            for number in 1..=3_u8 {
                peer.takes(&message(0, number.into(), &[number]));
            }
            assert_eq!(peer.take(), Some((1, vec![1])));
            assert!(is_readable(peer));
            lose_session(peer);
            peer.takes(&message(0, 1, b"new"));
            assert!(is_readable(peer));
            assert_eq!(peer.take(), Some((2, vec![2])));
            assert_eq!(peer.link.border(MAIN), None, "not yet");
            assert_eq!(peer.take(), Some((3, vec![3])));
            peer.take_border(NOT_KNOWN);
            assert_eq!(peer.link.border(MAIN), None, "once");
            assert_eq!(peer.take(), Some((4, b"new".to_vec())));
            assert_eq!(peer.take(), None);
            assert_eq!(peer.link.report()[0].delivered, 4);
        });
    }
}

#[test]
fn a_border_waits_to_be_taken_where_no_message_does() {
    // [BORDER-1] Neither before it nor behind it.
    receiving(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"old"));
        peer.take();
        peer.events();
        lose_session(peer);
        assert!(is_readable(peer), "somebody waits for a message");
        assert_eq!(peer.link.waiting(MAIN), 0);
        peer.take_border(NOT_KNOWN);
        assert_eq!(peer.take(), None);
        assert!(!is_readable(peer));
    });
    // Nothing ever came.
    receiving(&receiver(), |peer| {
        lose_session(peer);
        assert!(is_readable(peer));
        peer.take_border(NOT_KNOWN);
        assert_eq!(peer.take(), None);
    });
}

#[test]
fn borders_with_nothing_between_them_are_one() {
    // [BORDER-2]
    receiving(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"1"));
        for round in 0..1000 {
            let outcome = 2 + u8::from(round == 999);
            lose_to(peer, Greeting::anew(outcome, &[Entry::send("main")]));
            // A part of a message is nothing.
            peer.takes(&first(0, 1, 9, &[4; 5]));
        }
        assert_eq!(peer.take(), Some((1, b"1".to_vec())));
        peer.take_border(SessionLoss::TooOld);
        assert_eq!(peer.take(), None);
        // Losses that were not reported together are reported separately.
        lose_session(peer);
        peer.take_border(NOT_KNOWN);
    });
}

#[test]
fn every_session_with_a_message_has_its_border() {
    // [BORDER-1] [BORDER-2]
    receiving(&receiver(), |peer| {
        for number in 1..=20_u8 {
            peer.takes(&message(0, 1, &[number]));
            lose_session(peer);
        }
        for number in 1..=20_u8 {
            assert_eq!(peer.take(), Some((number.into(), vec![number])));
            peer.take_border(NOT_KNOWN);
        }
        assert_eq!(peer.take(), None);
    });
}

#[test]
fn no_border_stands_inside_a_session() {
    // [BORDER-3] However often it resumes.
    let sender = Config::new().channel(SendChannel::new("main"));
    lasting(&sender, &receiver(), |pair| {
        for round in 0..50_u8 {
            pair.send(OPENER, MAIN, &[round]);
            pair.run();
            pair.cut();
            pair.reconnect();
            if round % 3 == 0 {
                assert!(!pair.take_all(ACCEPTOR, MAIN).is_empty());
            }
        }
        pair.run();
        pair.take_all(ACCEPTOR, MAIN);
        assert_eq!(pair.ends[ACCEPTOR].report()[0].delivered, 50);
        assert_eq!(pair.borders, [[], []]);
    });
}

#[test]
fn what_is_lost_is_lost_before_the_border() {
    // [BORDER-1] [BORDER-2] Where there was no room for all that was left, the border still stands.
    let channel = ReceiveChannel::new("main").window(2, 16 << 20);
    receiving(&Config::new().channel(channel), |peer| {
        for round in 0..3_u8 {
            peer.takes(&message(0, 1, &[2 * round]));
            peer.takes(&message(0, 2, &[2 * round + 1]));
            lose_session(peer);
        }
        peer.takes(&message(0, 1, b"new"));
        assert_eq!(peer.take(), Some((1, vec![0])));
        assert_eq!(peer.take(), Some((2, vec![1])));
        peer.take_border(NOT_KNOWN);
        assert_eq!(peer.take(), Some((7, b"new".to_vec())));
    });
}

#[test]
fn a_session_that_was_closed_in_order_has_none() {
    // [BORDER-3] [RECLOSE-3] The receiver has said DONE, and its peer does not know it any more.
    receiving(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"1"));
        peer.take();
        peer.say();
        peer.takes(&close(&[(0, 1)]));
        let said = peer.say();
        assert!(said.ends_with(&done()), "{said:02x?}");
        peer.events();
        lose_session(peer);
        assert!(!is_readable(peer));
        assert_eq!(peer.take(), None);
    });
}

#[test]
fn nobody_is_told_of_a_border_who_listens_no_more() {
    // [BORDER-3]
    receiving(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"1"));
        lose_session(peer);
        peer.link.abandon(peer.now, MAIN).expect("receive mode");
        lose_session(peer);
        peer.events();
        assert_eq!(peer.take(), None);
    });
}

#[test]
fn every_channel_has_the_border() {
    // [BORDER-1] Those in send mode have none to take.
    let config = Config::new()
        .channel(ReceiveChannel::new("main"))
        .channel(SendChannel::new("out"))
        .channel(ReceiveChannel::new("more"));
    let entries = || {
        [
            Entry::send("main"),
            Entry::receive("out").having([u64::MAX, 0, 0]),
            Entry::send("more"),
        ]
    };
    against_lasting(Role::Opener, &config, |peer| {
        let [main, out, more] = entries();
        peer.welcome(&[main, out.having([0; 3]), more]);
        peer.takes(&message(2, 1, b"1"));
        peer.lose();
        peer.return_to(&Greeting::anew(2, &entries()));
        let take = |link: &mut Link, at| link.take(peer.now, ChannelId(at));
        let border = Err(ReceiveError::SessionBorder(NOT_KNOWN));
        assert_eq!(take(&mut peer.link, 0), border);
        assert_eq!(take(&mut peer.link, 1), Err(ReceiveError::SendMode));
        assert_eq!(peer.link.border(ChannelId(1)), None);
        assert!(take(&mut peer.link, 2).is_ok_and(|taken| taken.is_some()));
        assert_eq!(take(&mut peer.link, 2), border);
        assert_eq!(peer.link.border(ChannelId(9)), None);
    });
}

#[test]
fn every_lost_connection_is_a_border_in_the_tlsstream_dialect() {
    // [BORDER-1] [STREAM-10]
    let config = receiver().dialect(Dialect::TlsStream);
    against_lasting(Role::Opener, &config, |peer| {
        for _ in 0..3 {
            assert_eq!(peer.link.state(), LinkState::Open);
            peer.takes(b"1!a");
            peer.lose();
            peer.connect();
            peer.takes(b"1!b");
            assert_eq!(peer.take().map(|(_, message)| message), Some(b"a".to_vec()));
            peer.take_border(SessionLoss::Dialect);
            assert_eq!(peer.take().map(|(_, message)| message), Some(b"b".to_vec()));
            peer.lose();
            peer.connect();
            peer.take_border(SessionLoss::Dialect);
            assert_eq!(peer.take(), None);
        }
    });
}
