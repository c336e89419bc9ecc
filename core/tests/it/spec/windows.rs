//! Messages: windows.

use countersign_core::{Config, PeerMisbehaved, ReceiveChannel, Role};

use crate::common::bytes::{Entry, ack, first, message, next, noted, reject, skip};
use crate::common::peer::{MAIN, Peer, against, against_receiver};

/// A sender whose peer has these windows.
fn windowed(messages: u32, bytes: u64, script: impl Fn(&mut Peer)) {
    against(Role::Opener, &Config::default(), |peer| {
        let mut entry = Entry::receive("main");
        (entry.window_messages, entry.window_bytes) = (messages, bytes);
        peer.welcome(&[entry]);
        script(peer);
    });
}

fn receiver(messages: u32, bytes: usize) -> Config {
    let channel = ReceiveChannel::new("main").manual().max_message(bytes);
    Config::new().channel(channel.window(messages, bytes))
}

#[test]
fn senders_keep_to_the_window_in_messages() {
    // [WINDOW-1] [WINDOW-5]
    windowed(2, 1000, |peer| {
        for _ in 0..4 {
            peer.send(b"x");
        }
        assert_eq!(
            peer.say(),
            [message(0, 1, b"x"), message(0, 2, b"x")].concat()
        );
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), message(0, 3, b"x"));
        peer.takes(&ack(0, 3));
        assert_eq!(peer.say(), message(0, 4, b"x"));
    });
}

#[test]
fn senders_keep_to_the_window_in_bytes() {
    // [WINDOW-2] [WINDOW-5]
    windowed(9, 1000, |peer| {
        peer.send(&[1; 600]);
        peer.send(&[2; 600]);
        let said = [message(0, 1, &[1; 600]), first(0, 2, 600, &[2; 400])];
        assert_eq!(peer.say(), said.concat());
        peer.takes(&ack(0, 1));
        assert_eq!(peer.say(), next(0, 2, true, &[2; 200]));
    });
}

#[test]
fn windows_are_enforced_in_messages() {
    // [WINDOW-3]
    let full = |peer: &mut Peer| {
        peer.takes(&[message(0, 1, b"a"), message(0, 2, b"b")].concat());
    };
    for extra in [message(0, 3, b""), first(0, 3, 2, b"c")] {
        against_receiver(&receiver(2, 100), |peer| {
            full(peer);
            peer.refuses(&extra, PeerMisbehaved::WindowExceeded, 3);
        });
    }
    // Taken and handled, but behind one that is not.
    against_receiver(&receiver(2, 100), |peer| {
        full(peer);
        peer.take();
        peer.take();
        peer.link.handle(peer.now, MAIN, 2).expect("taken");
        peer.refuses(&message(0, 3, b""), PeerMisbehaved::WindowExceeded, 3);
    });
    against_receiver(&receiver(2, 100), |peer| {
        full(peer);
        peer.take();
        peer.link.handle(peer.now, MAIN, 1).expect("taken");
        peer.say();
        peer.takes(&message(0, 3, b"c"));
    });
}

#[test]
fn windows_are_enforced_in_bytes() {
    // [WINDOW-3]
    against_receiver(&receiver(9, 100), |peer| {
        peer.takes(&message(0, 1, &[1; 60]));
        peer.takes(&message(0, 2, &[1; 40]));
        peer.takes(&message(0, 3, b""));
        peer.refuses(&message(0, 4, b"x"), PeerMisbehaved::WindowExceeded, 3);
    });
    against_receiver(&receiver(9, 100), |peer| {
        peer.takes(&message(0, 1, &[1; 60]));
        peer.takes(&first(0, 2, 50, &[1; 40]));
        peer.refuses(
            &next(0, 2, true, &[1; 10]),
            PeerMisbehaved::WindowExceeded,
            3,
        );
    });
    against_receiver(&receiver(9, 100), |peer| {
        peer.takes(&message(0, 1, &[1; 60]));
        peer.refuses(&message(0, 2, &[1; 41]), PeerMisbehaved::WindowExceeded, 3);
    });
}

#[test]
fn only_payload_takes_room() {
    // [WINDOW-4]
    against_receiver(&receiver(1, 100), |peer| {
        peer.takes(&skip(0, 1000));
        peer.takes(&message(0, 1001, &[1; 100]));
        peer.takes(&skip(0, 2000));
    });
    windowed(1, 100, |peer| {
        peer.send(&[1; 100]);
        assert_eq!(peer.say(), message(0, 1, &[1; 100]));
    });
}

#[test]
fn receivers_hold_whole_messages() {
    // [WINDOW-6]
    let channel = ReceiveChannel::new("main").max_message(100).window(1, 99);
    let problem = Config::new()
        .channel(channel)
        .check()
        .map_err(|e| e.problem);
    assert_eq!(
        problem,
        Err(countersign_core::ConfigProblem::WindowTooSmall)
    );
}

#[test]
fn rejected_messages_hold_their_place_until_noted() {
    // [WINDOW-3]
    against_receiver(&receiver(1, 100), |peer| {
        peer.takes(&message(0, 1, &[1; 100]));
        peer.take();
        peer.link.reject(peer.now, MAIN, 1, 7, "no").expect("taken");
        assert_eq!(peer.say(), reject(0, 1, 7, "no"));
        peer.takes(&noted(0, 1));
        peer.takes(&message(0, 2, &[1; 100]));
    });
}
