//! The bytes on their way between a link and a transport.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::time::Duration;

use countersign_core::{
    ChannelConfig, CloseMode, Config, Disconnect, Event, Instant, Life, Link, Role,
};
use countersign_endpoint::{Security, ToSend, Wire};

const NOW: Instant = Instant::ZERO;

/// A link and its wire, in plain text, so that what is sent is known.
struct End(Link, Wire);

impl End {
    fn new(role: Role, channel: ChannelConfig) -> Self {
        let config = Config::new().channel(channel).single_connection();
        let mut link = Link::new(&config, role, [role as u8 + 1; 16]).unwrap();
        link.handle_timeout(NOW);
        let wire = Wire::new(&Security::plaintext(), NOW, &mut link);
        Self(link, wire)
    }

    /// What is to be sent now, without saying that it was.
    fn shows(&mut self) -> Vec<u8> {
        match self.1.to_send(NOW, &mut self.0) {
            ToSend::Bytes(output) => output.filled().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// Sends one byte after the other, for as long as there are any.
    fn trickle(&mut self, peer: &mut Self) -> bool {
        let mut moved = false;
        while let ToSend::Bytes(output) = self.1.to_send(NOW, &mut self.0) {
            peer.1.input().space(1)[0] = output.filled()[0];
            peer.1.input().commit(1);
            output.consume(1);
            self.1.sent();
            peer.1.received(NOW, 1, &mut peer.0);
            moved = true;
        }
        moved
    }
}

fn pair() -> [End; 2] {
    let mut opener = End::new(Role::Opener, ChannelConfig::send("data"));
    let mut acceptor = End::new(Role::Acceptor, ChannelConfig::receive("data"));
    while opener.trickle(&mut acceptor) | acceptor.trickle(&mut opener) {}
    assert_eq!(opener.0.poll_event(), Some(Event::Connected));
    assert_eq!(acceptor.0.poll_event(), Some(Event::Connected));
    [opener, acceptor]
}

fn send(end: &mut End, message: &'static str) {
    let channel = end.0.channel_id("data").unwrap();
    end.0.send(NOW, channel, message, None).unwrap();
}

/// Until some of it was sent, the output stays as it was handed out, whatever is to be said since.
#[test]
fn what_was_handed_out_stays() {
    let [mut opener, _] = pair();
    assert!(!opener.1.is_blocked());
    send(&mut opener, "one");
    let first = opener.shows();
    send(&mut opener, "two");
    assert!(opener.1.is_blocked());
    assert_eq!(opener.shows(), first);

    // A transport may hold it meanwhile: nothing is added to the empty buffer.
    let ToSend::Bytes(output) = opener.1.to_send(NOW, &mut opener.0) else {
        panic!("there is output");
    };
    let held = std::mem::take(output);
    assert_eq!(opener.shows(), b"");
    let ToSend::Bytes(output) = opener.1.to_send(NOW, &mut opener.0) else {
        panic!("it is still held");
    };
    *output = held;
    output.consume(1);
    opener.1.sent();
    assert_eq!(opener.shows(), first[1..]);
}

/// A transport that takes nothing more may still bring what the peer has said.
#[test]
fn who_can_not_send_reads_on() {
    let [mut opener, mut acceptor] = pair();
    send(&mut opener, "one");
    opener.trickle(&mut acceptor);
    let channel = acceptor.0.channel_id("data").unwrap();
    assert_eq!(
        acceptor.0.take(NOW, channel).unwrap().unwrap().payload,
        "one"
    );
    send(&mut opener, "two");
    let _ = opener.shows();
    opener.1.cannot_send();
    assert!(matches!(
        opener.1.to_send(NOW, &mut opener.0),
        ToSend::Nothing
    ));
    assert!(!opener.1.is_read_ended());
    acceptor.trickle(&mut opener);
    assert!(matches!(
        opener.0.poll_event(),
        Some(Event::Handled { last: 1, .. })
    ));
    assert!(!opener.1.is_over(NOW, &mut opener.0));
}

/// Both ends say that they end, and neither waits longer than that takes.
#[test]
fn over_when_both_have_ended() {
    let [mut opener, mut acceptor] = pair();
    opener.0.close(NOW, CloseMode::Drain);
    while opener.trickle(&mut acceptor) | acceptor.trickle(&mut opener) {}
    for end in [&mut opener, &mut acceptor] {
        assert!(matches!(end.1.to_send(NOW, &mut end.0), ToSend::End));
        end.1.shut();
        assert!(!end.1.is_over(NOW, &mut end.0));
    }
    for end in [&mut opener, &mut acceptor] {
        end.1.received(NOW, 0, &mut end.0);
        assert!(end.0.end_reason().unwrap().is_orderly());
        assert!(end.1.is_over(NOW, &mut end.0));
    }
}

/// A peer that does not end its direction is waited for as long as the patience says.
#[test]
fn lingers_no_longer_than_it_should() {
    let [mut opener, _] = pair();
    opener.0.handle_lost(NOW, Disconnect::Abandoned);
    assert_eq!(opener.0.life(), Life::Ended);
    assert!(matches!(opener.1.to_send(NOW, &mut opener.0), ToSend::End));
    opener.1.shut();
    assert_eq!(opener.1.deadline(), None);
    assert!(!opener.1.is_over(NOW, &mut opener.0));
    let until = NOW + opener.0.config().waits().linger;
    assert_eq!(opener.1.deadline(), Some(until));
    let before = NOW + (opener.0.config().waits().linger - Duration::from_micros(1));
    assert!(!opener.1.is_over(before, &mut opener.0));
    assert!(opener.1.is_over(until, &mut opener.0));
}

/// A link that has another connection has no use for the old one.
#[test]
fn over_when_fenced() {
    let [mut opener, _] = pair();
    assert!(!opener.1.is_over(NOW, &mut opener.0));
    opener.1.attach(opener.0.connection() + 1);
    assert!(opener.1.is_fenced(&mut opener.0));
    assert!(opener.1.is_over(NOW, &mut opener.0));
}
