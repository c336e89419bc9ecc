//! Handshake: REFUSE.

use countersign_core::{
    ChannelConfig, Config, EndReason, Incompatible, LinkState, Mode, Policy, ReceiveChannel,
    Refusal, Role, SendChannel, refuse, wire,
};

use crate::common::arriving::arrived;
use crate::common::bytes::{Entry, Greeting, coded, for_now};
use crate::common::pair::{ACCEPTOR, OPENER, paired};
use crate::common::peer::{against, against_lasting};

/// Both ends end for the same reason, as each of them sees it.
fn both(opener: &Config, acceptor: &Config, at_opener: &EndReason, at_acceptor: &Incompatible) {
    paired(opener, acceptor, |pair| {
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Ended; 2]);
        assert_eq!(pair.ends[OPENER].end_reason(), Some(at_opener));
        let expected = EndReason::Incompatible(at_acceptor.clone());
        assert_eq!(pair.ends[ACCEPTOR].end_reason(), Some(&expected));
        assert!(!at_opener.can_retry());
        assert!(pair.ends.iter().all(|end| !end.wants_connection()));
    });
}

fn one(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel)
}

#[test]
fn both_ends_in_one_mode() {
    // [REFUSE-1]
    for both_in in [Mode::Send, Mode::Receive] {
        let why = Incompatible::ModeConflict {
            channel: "main".to_owned(),
            both: both_in,
        };
        let config = one(match both_in {
            Mode::Send => ChannelConfig::from(SendChannel::new("main")),
            Mode::Receive => ReceiveChannel::new("main").into(),
        });
        both(
            &config,
            &config,
            &EndReason::Incompatible(why.clone()),
            &why,
        );
    }
    against(
        Role::Acceptor,
        &one(ReceiveChannel::new("b")).channel(SendChannel::new("a")),
        |peer| {
            peer.hear(&Greeting::hello(&[Entry::receive("a"), Entry::receive("b")]).bytes());
            let said = peer.say();
            assert_eq!(said[..4], [3, 0, 0, 1], "the second of HELLO");
            assert_eq!(said[8..10], refuse::MODE_CONFLICT.to_be_bytes());
        },
    );
}

#[test]
fn channels_that_one_end_lacks() {
    // [REFUSE-2]
    let missing = |channel: &str, here| Incompatible::ChannelMissing {
        channel: channel.to_owned(),
        here,
    };
    let main = one(ReceiveChannel::new("main"));
    let opener = one(SendChannel::new("main")).channel(SendChannel::new("more"));
    let reason = EndReason::Incompatible(missing("more", false));
    both(&opener, &main, &reason, &missing("more", true));

    let acceptor = main.clone().channel(ReceiveChannel::new("more"));
    paired(&one(SendChannel::new("main")), &acceptor, |pair| {
        pair.run();
        let expected = EndReason::Incompatible(missing("more", false));
        assert_eq!(pair.ends[ACCEPTOR].end_reason(), Some(&expected));
        let Some(EndReason::Refused(Refusal { code, text, .. })) = pair.ends[OPENER].end_reason()
        else {
            panic!("{:?}", pair.ends[OPENER].end_reason());
        };
        assert_eq!(*code, refuse::CHANNEL_MISSING);
        assert!(
            text.contains("'more'") && text.contains("the peer's end only"),
            "{text}"
        );
    });
    against(Role::Acceptor, &acceptor, |peer| {
        peer.hear(&Greeting::hello(&[Entry::send("main")]).bytes());
        assert_eq!(peer.say()[..4], [3, 0, 0xFF, 0xFF]);
    });
}

#[test]
fn policies_that_the_receiver_does_not_want() {
    // [REFUSE-3]
    let send = |latest: bool| {
        let channel = SendChannel::new("main");
        if latest { channel.latest() } else { channel }
    };
    for (latest, wanted) in [(true, Policy::Reliable), (false, Policy::Latest)] {
        let receive = ReceiveChannel::new("main");
        let receive = match wanted {
            Policy::Reliable => receive.reliable(),
            Policy::Latest => receive.latest(),
        };
        let why = Incompatible::PolicyConflict {
            channel: "main".to_owned(),
            required: wanted,
        };
        let seen = EndReason::Incompatible(why.clone());
        both(&one(send(latest)), &one(receive.clone()), &seen, &why);
        both(&one(receive.clone()), &one(send(latest)), &seen, &why);
        paired(&one(send(!latest)), &one(receive), |pair| {
            pair.run();
            assert_eq!(pair.lives(), [LinkState::Open; 2]);
        });
        paired(
            &one(send(latest)),
            &one(ReceiveChannel::new("main")),
            |pair| {
                pair.run();
                assert_eq!(pair.lives(), [LinkState::Open; 2]);
            },
        );
    }
}

#[test]
fn a_busy_acceptor_may_say_so_at_once() {
    // [REFUSE-4] [REFUSE-5]
    for hello_first in [true, false] {
        against(Role::Opener, &Config::default(), |peer| {
            if hello_first {
                peer.say();
            }
            peer.hear(&for_now(refuse::BUSY, b"too many links"));
            let reason = peer.link.end_reason().expect("ended").clone();
            assert_eq!(reason, EndReason::Refused(Refusal::busy("too many links")));
            assert!(reason.can_retry());
            assert_eq!(peer.say(), []);
            assert!(peer.ended);
        });
    }
}

#[test]
fn nothing_follows_a_refusal() {
    // [REFUSE-5] [REFUSE-6]
    against(Role::Acceptor, &one(SendChannel::new("main")), |peer| {
        peer.hear(&Greeting::hello(&[Entry::send("main")]).bytes());
        let said = peer.say();
        assert_eq!(said.len(), 8 + usize::from(said[7]), "REFUSE alone");
        assert!(core::str::from_utf8(&said[12..]).is_ok_and(|text| text.contains("'main'")));
        assert!(peer.ended);
        peer.hear(&coded(0x32, 0, 1, b"late"));
        assert_eq!(peer.say(), []);
    });
    let (channel, code, long) = (0, 2, "ä".repeat(129));
    let frame = wire::Frame::Refuse {
        channel,
        code,
        again: false,
        text: &long,
    };
    assert_eq!(frame.encode(&mut [0; 300]), Ok(8 + 4 + 256));
}

#[test]
fn unknown_codes_refuse_too() {
    // [REFUSE-7]
    against(Role::Opener, &Config::default(), |peer| {
        peer.say();
        peer.hear(&coded(0x03, 0, 4711, b"because"));
        let expected = EndReason::Refused(Refusal::new(4711, "because"));
        assert_eq!(peer.link.end_reason(), Some(&expected));
        assert!(!expected.can_retry());
    });
}

#[test]
fn an_application_refuses_with_a_code_of_its_own() {
    // [REFUSE-10] [REFUSE-12] [RECONNECT-5]
    use countersign_core::{Instant, Protocol};

    let closed = Refusal::new(refuse::APPLICATION + 7, "closed");
    for refusal in [closed.clone(), closed.again()] {
        let now = Instant::ZERO;
        let config = one(ReceiveChannel::new("main"));
        let mut guest = arrived(now, &config, 1, None);
        let hello = Greeting::hello(&[Entry::send("main")]).bytes();
        guest.handle_input(now, &hello);
        guest.refuse(now, &refusal);
        let reason = EndReason::TurnedAway(refusal.clone());
        assert_eq!(guest.end_reason(), Some(&reason));
        assert!(!reason.can_retry() && !reason.is_closed());
        assert_eq!((guest.state(), guest.request()), (LinkState::Ended, None));
        let mut bytes = [0; 300];
        let countersign_core::Output::Written(length) = guest.poll_output(now, &mut bytes) else {
            panic!("nothing to say");
        };
        let mut expected = coded(0x03, 0xFFFF, 0x8007, b"closed");
        expected[1] = u8::from(refusal.again);
        assert_eq!(bytes[..length], expected);
        // With AGAIN the opener keeps what it has and comes back; without, it does not.
        against_lasting(Role::Opener, &Config::default(), |peer| {
            peer.send(b"kept");
            peer.say();
            peer.hear(&expected);
            if refusal.again {
                assert_eq!(peer.link.state(), LinkState::Offline);
                assert_eq!(peer.link.last_loss(), Some(countersign_core::Loss::Refused));
                assert_eq!(peer.link.refusal(), Some(&refusal));
                assert_eq!(peer.events(), []);
            } else {
                let reason = EndReason::Refused(refusal.clone());
                assert_eq!(peer.link.end_reason(), Some(&reason));
                assert_eq!(reason.to_string(), "the peer refused: closed (code 32775)");
            }
        });
    }
}

#[test]
fn every_code_may_come_with_the_flag_or_without() {
    // [REFUSE-7] [REFUSE-10] [REFUSE-11]
    for code in [refuse::BUSY, refuse::SESSION_OVER, 99, 0x7FFF, u16::MAX] {
        for again in [false, true] {
            let mut bytes = coded(0x03, 0xFFFF, code, b"why");
            bytes[1] = u8::from(again);
            against(Role::Opener, &Config::default(), |peer| {
                peer.say();
                peer.hear(&bytes);
                let reason = peer.link.end_reason().expect("ended");
                let refusal = Refusal::new(code, "why");
                let refusal = if again { refusal.again() } else { refusal };
                assert_eq!(reason, &EndReason::Refused(refusal));
                assert_eq!(reason.can_retry(), again);
            });
        }
    }
    assert!(Refusal::busy("full").again);
}
