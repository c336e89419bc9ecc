//! Resuming: what a receiver says that it has, and what it holds its peer to.

use core::time::Duration;

use countersign_core::{Config, Output, PeerMisbehaved, ReceiveChannel, Role};

use crate::common::bytes::{Entry, Greeting, ack, first, message, next, noted, reject, skip};
use crate::common::peer::{MAIN, Peer, against_lasting};

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn manual() -> Config {
    Config::new().channel(ReceiveChannel::new("main").manual())
}

#[test]
fn a_receiver_says_what_it_has_of_an_unfinished_message() {
    // [RESUME-1] [RESUME-10]
    let whole: Vec<u8> = (1..=10).collect();
    let one = || message(0, 1, &whole);
    let border = || first(0, 1, 10, &whole[..4]);
    let inside = || [border(), next(0, 1, false, &whole[4..8])].concat();
    for (sent, partial) in [
        (Vec::new(), 0),
        // In the head of a frame, and right behind it.
        (one()[..5].to_vec(), 0),
        (one()[..11].to_vec(), 0),
        (one()[..12].to_vec(), 0),
        (border()[..20].to_vec(), 0),
        // In the payload.
        (one()[..13].to_vec(), 1),
        (one()[..21].to_vec(), 9),
        (border()[..22].to_vec(), 2),
        // At a border, and in what follows.
        (border(), 4),
        (inside()[..border().len() + 12].to_vec(), 4),
        (inside()[..border().len() + 13].to_vec(), 5),
        (inside(), 8),
    ] {
        against_lasting(Role::Acceptor, &receiver(), |peer| {
            peer.hello(&[Entry::send("main")]);
            peer.takes(&sent);
            peer.lose();
            let (figures, rest) = peer.returns();
            assert_eq!((figures, rest), ([0, 0, partial], Vec::new()));
            let from = usize::try_from(partial).expect("short");
            let fragment = if partial == 0 {
                one()
            } else {
                next(0, 1, true, &whole[from..])
            };
            peer.takes(&fragment);
            assert_eq!(peer.take(), Some((1, whole.clone())));
            assert_eq!(peer.say(), ack(0, 1));
        });
    }
}

#[test]
fn a_message_goes_on_where_it_was_cut_and_nowhere_else() {
    // [RESUME-10]
    let cut = |script: &dyn Fn(&mut Peer)| {
        against_lasting(Role::Acceptor, &receiver(), |peer| {
            peer.hello(&[Entry::send("main")]);
            peer.takes(&first(0, 1, 10, &[1; 6]));
            peer.lose();
            assert_eq!(peer.returns().0, [0, 0, 6]);
            script(peer);
        });
    };
    let order = PeerMisbehaved::FragmentOrder;
    cut(&|peer| peer.refuses(&first(0, 1, 10, &[1; 6]), order, 4));
    cut(&|peer| peer.refuses(&message(0, 1, &[1; 10]), order, 4));
    cut(&|peer| peer.refuses(&skip(0, 1), order, 4));
    let length = PeerMisbehaved::FragmentLength;
    cut(&|peer| peer.refuses(&next(0, 1, true, &[1; 3]), length, 4));
    cut(&|peer| peer.refuses(&next(0, 1, false, &[1; 4]), length, 4));
    let gap = PeerMisbehaved::SequenceGap;
    cut(&|peer| peer.refuses(&next(0, 2, true, &[1; 4]), gap, 4));
    // With nothing there, there is nothing to go on with.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&first(0, 1, 10, &[1; 6])[..20]);
        peer.lose();
        assert_eq!(peer.returns().0, [0, 0, 0]);
        peer.refuses(&next(0, 1, true, &[1; 4]), order, 4);
    });
}

#[test]
fn a_receiver_repeats_its_rejections() {
    // [RESUME-13]
    let no = || reject(0, 1, 7, "no");
    let two = |script: &dyn Fn(&mut Peer)| {
        against_lasting(Role::Acceptor, &manual(), |peer| {
            peer.hello(&[Entry::send("main")]);
            peer.takes(&[message(0, 1, b"1"), message(0, 2, b"2")].concat());
            peer.take();
            peer.take();
            script(peer);
        });
    };
    let rejects = |peer: &mut Peer| {
        peer.link
            .reject(peer.now, MAIN, 1, 7, "no")
            .expect("it waits");
    };
    two(&|peer| {
        rejects(peer);
        assert_eq!(peer.say(), no());
        for _ in 0..3 {
            peer.lose();
            assert_eq!(peer.returns(), ([0, 2, 0], no()));
        }
        peer.takes(&noted(0, 1));
        peer.sleep(Duration::from_millis(1));
        assert_eq!(peer.say(), ack(0, 1));
        // Only once on each connection: the second NOTED answers nothing.
        peer.refuses(&noted(0, 1), PeerMisbehaved::NothingToSettle, 4);
    });
    // [REJECT-6] Nor does one that comes before the rejection went out again.
    two(&|peer| {
        let reason = "no".repeat(100);
        peer.link
            .reject(peer.now, MAIN, 1, 7, &reason)
            .expect("it waits");
        assert_eq!(peer.say(), reject(0, 1, 7, &reason));
        peer.lose();
        peer.connect();
        let hello = Greeting::naming(peer.link.session(), &[Entry::send("main")]);
        peer.hear(&hello.bytes());
        // Room for WELCOME, and none for the rejection behind it.
        let output = peer.link.poll_output(peer.now, &mut [0; 200]);
        assert!(matches!(output, Output::Written(..200)), "{output:?}");
        peer.refuses(&noted(0, 1), PeerMisbehaved::NothingToSettle, 4);
    });
    // Not what the sender has noted,
    two(&|peer| {
        rejects(peer);
        peer.say();
        peer.takes(&noted(0, 1));
        peer.lose();
        assert_eq!(peer.returns(), ([1, 2, 0], Vec::new()));
    });
    // also where something before it holds it back.
    two(&|peer| {
        peer.link
            .reject(peer.now, MAIN, 2, 7, "no")
            .expect("it waits");
        assert_eq!(peer.say(), reject(0, 2, 7, "no"));
        peer.takes(&noted(0, 2));
        peer.lose();
        assert_eq!(peer.returns(), ([0, 2, 0], Vec::new()));
        peer.link.handle(peer.now, MAIN, 1).expect("it waits");
        assert_eq!(peer.say(), ack(0, 2));
    });
    // What is rejected without a connection is reported on the next, once.
    two(&|peer| {
        peer.lose();
        rejects(peer);
        assert_eq!(peer.returns(), ([0, 2, 0], no()));
        assert_eq!(peer.say(), []);
        peer.link.handle(peer.now, MAIN, 2).expect("it waits");
        peer.takes(&noted(0, 1));
        assert_eq!(peer.say(), ack(0, 2));
    });
}

#[test]
fn a_receiver_holds_its_peer_to_the_window_after_a_resume() {
    // [RESUME-14]
    let narrow = |messages, bytes| {
        let channel = ReceiveChannel::new("main").max_message(10);
        Config::new().channel(channel.window(messages, bytes))
    };
    let exceeded = PeerMisbehaved::WindowExceeded;
    against_lasting(Role::Acceptor, &narrow(2, 99), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&[message(0, 1, b"1"), message(0, 2, b"2")].concat());
        peer.lose();
        assert_eq!(peer.returns().0, [0, 2, 0]);
        peer.refuses(&message(0, 3, b"3"), exceeded, 3);
    });
    // What a frame that was cut would have brought is free again.
    against_lasting(Role::Acceptor, &narrow(9, 12), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&first(0, 1, 10, &[1; 6])[..22]);
        peer.lose();
        assert_eq!(peer.returns().0, [0, 0, 2]);
        peer.takes(&next(0, 1, true, &[1; 8]));
        peer.takes(&message(0, 2, b"22"));
        peer.lose();
        assert_eq!(peer.returns().0, [0, 2, 0]);
        peer.refuses(&message(0, 3, b"3"), exceeded, 3);
    });
    // What was taken while the peer was away is settled in the greeting.
    against_lasting(Role::Acceptor, &narrow(2, 99), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&[message(0, 1, b"1"), message(0, 2, b"2")].concat());
        peer.lose();
        peer.take();
        assert_eq!(peer.returns(), ([1, 2, 0], Vec::new()));
        peer.takes(&message(0, 3, b"3"));
        peer.refuses(&message(0, 4, b"4"), exceeded, 3);
    });
}
