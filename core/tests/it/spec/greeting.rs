//! Handshake: HELLO and WELCOME.

use countersign_core::{
    Config, EndReason, Event, Incompatible, LinkState, PeerMisbehaved, ReceiveChannel, Rejection,
    Role, SendChannel, Verdict, reject, wire,
};

use crate::common::bytes::{Entry, Greeting, coded, done, message, number};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{MAIN, against, against_receiver, against_sender};

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn hello() -> Greeting {
    Greeting::hello(&[Entry::send("main")])
}

fn welcome() -> Greeting {
    Greeting::welcome(&[Entry::receive("main")])
}

/// A change to a greeting is a violation both in HELLO and in WELCOME, or in neither.
fn judged(change: impl Fn(&mut Greeting), expected: Option<(PeerMisbehaved, u8)>) {
    for (role, config, greeting) in [
        (Role::Acceptor, receiver(), hello()),
        (Role::Opener, Config::default(), welcome()),
    ] {
        against(role, &config, |peer| {
            peer.say();
            let mut greeting = greeting.clone();
            change(&mut greeting);
            match expected {
                Some((of, code)) => peer.refuses(&greeting.bytes(), of, code),
                None => {
                    peer.takes(&greeting.bytes());
                    assert_eq!(peer.link.state(), LinkState::Open);
                }
            }
        });
    }
}

const IMPOSSIBLE: Option<(PeerMisbehaved, u8)> = Some((PeerMisbehaved::Greeting, 2));

#[test]
fn nothing_comes_between_hello_and_welcome() {
    // [HELLO-1]
    against(Role::Acceptor, &receiver(), |peer| {
        let early = [hello().bytes(), message(0, 1, b"x")].concat();
        peer.refuses(&early, PeerMisbehaved::Unexpected, 2);
    });
    against(Role::Acceptor, &receiver(), |peer| {
        let early = [hello().bytes(), number(0x20, 0, 1)].concat();
        peer.refuses(&early, PeerMisbehaved::Unexpected, 2);
    });
    against(Role::Acceptor, &receiver(), |peer| {
        peer.hear(&[hello().bytes(), coded(0x32, 0, 1, b"")].concat());
        let (code, text) = (1, String::new());
        let expected = EndReason::AccusedByPeer { code, text };
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    against(Role::Opener, &Config::default(), |peer| {
        peer.send(b"early");
        let said = peer.say();
        assert_eq!(said[0], 1);
        assert_eq!(said.len(), 8 + usize::from(said[7]), "HELLO alone");
    });
}

#[test]
fn the_acceptor_speaks_when_it_is_spoken_to() {
    // [HELLO-2]
    against(Role::Acceptor, &receiver(), |peer| {
        assert_eq!(peer.say(), []);
    });
    against(Role::Opener, &Config::default(), |peer| {
        // WELCOME to a HELLO that was never sent.
        peer.refuses(&welcome().bytes(), PeerMisbehaved::Unexpected, 2);
    });
}

#[test]
fn frames_have_their_time() {
    // [HELLO-3]
    let early = [message(0, 1, b"x"), number(0x20, 0, 1), done()];
    for bytes in early {
        against(Role::Acceptor, &receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::Unexpected, 2);
        });
        against(Role::Opener, &Config::default(), |peer| {
            peer.say();
            peer.refuses(&bytes, PeerMisbehaved::Unexpected, 2);
        });
    }
    let refuse = coded(0x03, 0, 5, b"");
    for bytes in [hello().bytes(), welcome().bytes(), refuse.clone()] {
        against_receiver(&receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::Unexpected, 2);
        });
        against_sender(&Config::default(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::Unexpected, 2);
        });
    }
    for bytes in [welcome().bytes(), refuse] {
        against(Role::Acceptor, &receiver(), |peer| {
            peer.refuses(&bytes, PeerMisbehaved::Unexpected, 2);
        });
    }
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        peer.refuses(&hello().bytes(), PeerMisbehaved::Unexpected, 2);
    });
}

#[test]
fn greetings_begin_with_the_magic() {
    // [HELLO-4]
    judged(
        |greeting| greeting.magic = *b"CSGM",
        Some((PeerMisbehaved::NotCountersign, 1)),
    );
}

#[test]
fn other_versions_are_refused_whatever_follows_them() {
    // [HELLO-5] [HELLO-6]
    for versions in [(2, 2), (2, u16::MAX), (0, 0)] {
        against(Role::Acceptor, &receiver(), |peer| {
            let mut hello = hello();
            hello.versions = versions;
            // A layout that this version does not have.
            (hello.outcome, hello.count) = (77, Some(999));
            peer.hear(&hello.bytes());
            let (peer_min, peer_max) = versions;
            let expected = Incompatible::Version { peer_min, peer_max };
            assert_eq!(
                peer.link.end_reason(),
                Some(&EndReason::Incompatible(expected))
            );
            let said = peer.say();
            assert_eq!(said[..4], [3, 0, 0xFF, 0xFF]);
            assert_eq!(said[8..10], [0, 1]);
        });
    }
    against(Role::Acceptor, &receiver(), |peer| {
        let mut hello = hello();
        hello.versions = (2, 1);
        peer.refuses(&hello.bytes(), PeerMisbehaved::Greeting, 2);
    });
}

#[test]
fn the_acceptor_chooses_the_version() {
    // [HELLO-7]
    for versions in [(0, 1), (1, 1), (1, 9), (0, u16::MAX)] {
        against(Role::Acceptor, &receiver(), |peer| {
            let mut hello = hello();
            hello.versions = versions;
            peer.takes(&hello.bytes());
            assert_eq!(peer.say()[12..16], [0, 1, 0, 1]);
        });
    }
    for versions in [(2, 2), (0, 1), (1, 2), (0, 0)] {
        against(Role::Opener, &Config::default(), |peer| {
            peer.say();
            let mut welcome = welcome();
            welcome.versions = versions;
            peer.refuses(&welcome.bytes(), PeerMisbehaved::Greeting, 2);
        });
    }
}

#[test]
fn outcomes_fit_what_was_asked() {
    // [HELLO-8] [HELLO-18]
    for outcome in [1, 2, 3, 4, 255] {
        judged(|greeting| greeting.outcome = outcome, IMPOSSIBLE);
    }
}

#[test]
fn frame_limits_have_bounds() {
    // [HELLO-9]
    for limit in [0, 511, (1 << 24) + 1, u32::MAX] {
        judged(|greeting| greeting.frame_limit = limit, IMPOSSIBLE);
    }
    for limit in [512, 1 << 24] {
        judged(|greeting| greeting.frame_limit = limit, None);
    }
}

#[test]
fn channels_have_bounds() {
    // [HELLO-10]
    let names: Vec<String> = (0..65).map(|at| format!("c{at}")).collect();
    let entries: Vec<Entry> = names.iter().map(|name| Entry::send(name)).collect();
    let config = names[..64].iter().fold(Config::new(), |config, name| {
        config.channel(ReceiveChannel::new(name.as_str()))
    });
    against(Role::Acceptor, &config, |peer| {
        peer.takes(&Greeting::hello(&entries[..64]).bytes());
        assert_eq!(peer.link.state(), LinkState::Open);
    });
    against(Role::Acceptor, &config, |peer| {
        let hello = Greeting::hello(&entries).bytes();
        peer.refuses(&hello, PeerMisbehaved::Greeting, 2);
    });
    against(Role::Acceptor, &receiver(), |peer| {
        let twice = [Entry::send("main"), Entry::send("main")];
        let hello = Greeting::hello(&twice).bytes();
        peer.refuses(&hello, PeerMisbehaved::Greeting, 2);
    });
}

#[test]
fn modes_policies_and_names_are_known() {
    // [HELLO-11]
    judged(|greeting| greeting.entries[0].mode = 2, IMPOSSIBLE);
    for policy in [2, 0xFE] {
        judged(|greeting| greeting.entries[0].policy = policy, IMPOSSIBLE);
    }
    judged(
        |greeting| greeting.entries[0].name = vec![b'n'; 65],
        IMPOSSIBLE,
    );
    against(Role::Acceptor, &receiver(), |peer| {
        let mut hello = hello();
        hello.entries[0].policy = 0xFF;
        peer.refuses(&hello.bytes(), PeerMisbehaved::Greeting, 2);
    });
    for name in [String::new(), "n".repeat(64)] {
        let config = Config::new().channel(ReceiveChannel::new(name.as_str()));
        against(Role::Acceptor, &config, |peer| {
            peer.hello(&[Entry::send(&name)]);
        });
    }
}

#[test]
fn windows_fit_the_mode() {
    // [HELLO-12]
    judged(|greeting| greeting.entries[0].max_message = 0, IMPOSSIBLE);
    judged(|greeting| greeting.entries[0].max_message = 1, None);
    // Zero where it must not be, and the other way round.
    let flip = |figure: u64| if figure == 0 { 1 } else { 0 };
    judged(
        |greeting| greeting.entries[0].window_bytes = flip(greeting.entries[0].window_bytes),
        IMPOSSIBLE,
    );
    judged(
        |greeting| {
            let flipped = flip(greeting.entries[0].window_messages.into());
            greeting.entries[0].window_messages = u32::try_from(flipped).expect("small");
        },
        IMPOSSIBLE,
    );
}

#[test]
fn a_new_session_has_received_nothing() {
    // [HELLO-13]
    for at in 0..3 {
        judged(|greeting| greeting.entries[0].resume[at] = 1, IMPOSSIBLE);
    }
}

#[test]
fn bytes_behind_the_channels_are_ignored() {
    // [HELLO-14]
    judged(|greeting| greeting.tail = vec![0xAB; 100], None);
    let fixed = 50 + 52 + 4;
    judged(|greeting| greeting.tail = vec![0xAB; 8192 - fixed], None);
    let (kind_of, length) = (|role| if role == Role::Acceptor { 1 } else { 2 }, 8193);
    for (role, greeting) in [(Role::Acceptor, hello()), (Role::Opener, welcome())] {
        let config = if role == Role::Acceptor {
            receiver()
        } else {
            Config::default()
        };
        against(role, &config, |peer| {
            peer.say();
            let mut greeting = greeting.clone();
            greeting.tail = vec![0; length - fixed];
            let kind = kind_of(role);
            let expected = PeerMisbehaved::FrameLength { kind, length };
            peer.refuses(&greeting.bytes(), expected, 1);
        });
    }
}

#[test]
fn channels_are_matched_by_name_and_numbered_by_hello() {
    // [HELLO-15]
    let opener = Config::new()
        .channel(SendChannel::new("a"))
        .channel(SendChannel::new("b"));
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("b"))
        .channel(ReceiveChannel::new("a"));
    paired(&opener, &acceptor, |pair| {
        let [a, b] = ["a", "b"].map(|name| pair.ends[OPENER].channel_id(name).expect("declared"));
        pair.send(OPENER, a, b"for a");
        pair.send(OPENER, b, b"for b");
        pair.run();
        for (name, text) in [("a", "for a"), ("b", "for b")] {
            let id = pair.ends[ACCEPTOR].channel_id(name).expect("declared");
            assert_eq!(pair.take_all(ACCEPTOR, id), [text.as_bytes()]);
        }
    });
    against(Role::Acceptor, &acceptor, |peer| {
        peer.hello(&[Entry::send("a"), Entry::send("b")]);
        peer.takes(&message(1, 1, b"for b"));
        assert_eq!(peer.take(), Some((1, b"for b".to_vec())));
    });
}

#[test]
fn welcome_lists_the_channels_of_hello() {
    // [HELLO-16]
    let acceptor = Config::new()
        .channel(ReceiveChannel::new("b"))
        .channel(ReceiveChannel::new("a"));
    against(Role::Acceptor, &acceptor, |peer| {
        peer.takes(&Greeting::hello(&[Entry::send("a"), Entry::send("b")]).bytes());
        let welcome = peer.say();
        let mut decoder = wire::Decoder::new(1 << 14);
        let mut input = &welcome[..];
        let Ok(Some(wire::Piece::Frame(wire::Frame::Welcome(welcome)))) = decoder.next(&mut input)
        else {
            panic!("not a WELCOME");
        };
        let names: Vec<&str> = welcome.channels().map(|entry| entry.name).collect();
        assert_eq!(names, ["a", "b"]);
    });
    judged_welcome(&[]);
    judged_welcome(&[Entry::receive("main"), Entry::receive("more")]);
    judged_welcome(&[Entry::receive("niam")]);
    judged_welcome(&[Entry::send("main")]);
    let mut latest = Entry::receive("main");
    latest.policy = 1;
    judged_welcome(&[latest]);
}

fn judged_welcome(entries: &[Entry]) {
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        let welcome = Greeting::welcome(entries).bytes();
        peer.refuses(&welcome, PeerMisbehaved::Greeting, 2);
    });
}

#[test]
fn sessions_are_not_zero() {
    // [HELLO-17]
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        let mut welcome = welcome();
        welcome.session = [0; 16];
        peer.refuses(&welcome.bytes(), PeerMisbehaved::Greeting, 2);
    });
    against_receiver(&receiver(), |peer| {
        assert_ne!(peer.link.session(), [0; 16]);
    });
    paired(&Config::default(), &receiver(), |pair| {
        pair.run();
        assert_eq!(pair.ends[0].session(), pair.ends[1].session());
    });
}

#[test]
fn both_ends_may_send_once_connected() {
    // [HELLO-19]
    let both = |config: Config| config;
    let opener = both(Config::new())
        .channel(SendChannel::new("there"))
        .channel(ReceiveChannel::new("back"));
    let acceptor = both(Config::new())
        .channel(ReceiveChannel::new("there"))
        .channel(SendChannel::new("back"));
    against(Role::Acceptor, &acceptor, |peer| {
        peer.takes(&Greeting::hello(&[Entry::send("there"), Entry::receive("back")]).bytes());
        assert_eq!(peer.events(), [Event::Connected]);
        let back = peer.link.channel_id("back").expect("declared");
        peer.link
            .send(peer.now, back, &b"x"[..], None)
            .expect("accepted");
        let said = peer.say();
        assert_eq!(said[0], 2, "WELCOME first");
        assert!(said.ends_with(&message(1, 1, b"x")));
    });
    against(Role::Opener, &opener, |peer| {
        assert_eq!(peer.events(), []);
        peer.welcome(&[Entry::receive("there"), Entry::send("back")]);
        peer.send(b"y");
        assert_eq!(peer.say(), message(0, 1, b"y"));
    });
}

#[test]
fn the_smaller_of_the_largest_messages_counts() {
    // [HELLO-20]
    against(Role::Opener, &Config::default(), |peer| {
        peer.send(&[1; 11]);
        peer.send(&[2; 10]);
        peer.say();
        let mut entry = Entry::receive("main");
        entry.max_message = 10;
        peer.hear(&Greeting::welcome(&[entry]).bytes());
        let events = peer.events();
        let [
            Event::Connected,
            Event::Verdict {
                channel: MAIN,
                sequence: 1,
                verdict,
            },
        ] = &events[..]
        else {
            panic!("{events:?}");
        };
        let Verdict::Rejected(Rejection { code, .. }) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(*code, reject::TOO_LARGE);
        assert_eq!(peer.link.max_message(MAIN), Some(10));
        let refused = peer.link.send(peer.now, MAIN, vec![0; 11], None);
        assert!(refused.is_err());
        // Only the second goes out, its number behind a SKIP.
        let expected = [crate::common::bytes::skip(0, 1), message(0, 2, &[2; 10])];
        assert_eq!(peer.say(), expected.concat());
    });
}
