//! Limits.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, Config, ConfigProblem, Dialect, Policy, ReceiveChannel, Reconnect, RetryLimit,
    Role, SendChannel, Timeouts,
};

use crate::common::bytes::{Entry, Greeting, first, next};
use crate::common::peer::{against, against_receiver};

fn problem(config: &Config) -> Option<ConfigProblem> {
    config.check().err().map(|error| error.problem)
}

fn one(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel)
}

fn many(count: usize) -> Config {
    (0..count).fold(Config::new(), |config, at| {
        config.channel(SendChannel::new(format!("c{at}")))
    })
}

#[test]
fn defaults_are_those_of_the_table() {
    // [LIMIT-1]
    against(Role::Opener, &Config::default(), |peer| {
        let entry = Entry {
            max_message: 16 << 20,
            ..Entry::send("main")
        };
        let mut hello = Greeting::hello(&[entry]);
        hello.times[0] = peer.now.as_micros();
        assert_eq!(peer.say(), hello.bytes());
    });
    let receiver = one(ReceiveChannel::new("main"));
    against(Role::Opener, &receiver, |peer| {
        let entry = Entry {
            max_message: 16 << 20,
            window_messages: 8192,
            window_bytes: 16 << 20,
            max_reply: 0,
            ..Entry::receive("main")
        };
        let mut hello = Greeting::hello(&[entry]);
        hello.times[0] = peer.now.as_micros();
        assert_eq!(peer.say(), hello.bytes());
    });
    let expected = Timeouts {
        handshake: Duration::from_secs(10),
        ping: Duration::from_secs(5),
        give_up: Duration::from_secs(15),
        close: Duration::from_secs(10),
        linger: Duration::from_secs(2),
        ack_delay: Duration::from_millis(1),
        retain: Duration::from_secs(300),
    };
    assert_eq!(Config::new().get_timeouts(), &expected);
    let expected = Reconnect {
        limit: RetryLimit::Forever,
        first_delay: Duration::from_millis(100),
        longest_delay: Duration::from_secs(10),
    };
    assert_eq!(Config::new().get_reconnect(), &expected);
    assert_eq!(countersign_core::DEFAULT_SESSIONS, 1024);
    assert_eq!(countersign_core::DEFAULT_QUEUE_MESSAGES, 16_384);
    assert_eq!(countersign_core::DEFAULT_QUEUE_BYTES, 32 << 20);
    assert_eq!(countersign_core::DEFAULT_LATEST_IN_FLIGHT, 2);
}

#[test]
fn links_have_bounds() {
    // [LIMIT-1]
    assert_eq!(problem(&many(0)), Some(ConfigProblem::NoChannels));
    assert_eq!(problem(&many(64)), None);
    assert_eq!(problem(&many(65)), Some(ConfigProblem::TooManyChannels));
    for (limit, expected) in [
        (511, Some(ConfigProblem::FrameLimit)),
        (512, None),
        (1 << 24, None),
        ((1 << 24) + 1, Some(ConfigProblem::FrameLimit)),
    ] {
        assert_eq!(problem(&many(1).frame_limit(limit)), expected);
    }
    let timeouts = Timeouts {
        ping: Duration::from_secs(15),
        ..Timeouts::default()
    };
    let expected = Some(ConfigProblem::PingNotBeforeGivingUp);
    assert_eq!(problem(&many(1).timeouts(timeouts)), expected);
    let twice = many(1).channel(ReceiveChannel::new("c0"));
    assert_eq!(problem(&twice), Some(ConfigProblem::NameTaken));
}

#[test]
fn channels_have_bounds() {
    // [LIMIT-1]
    let zero = |config: &Config| matches!(problem(config), Some(ConfigProblem::Zero(_)));
    for length in [0, 64] {
        assert_eq!(problem(&one(SendChannel::new("n".repeat(length)))), None);
    }
    let long = one(SendChannel::new("n".repeat(65)));
    assert_eq!(problem(&long), Some(ConfigProblem::NameTooLong));
    let send = || SendChannel::new("main");
    let receive = || ReceiveChannel::new("main");
    assert!(zero(&one(send().max_message(0))));
    assert_eq!(problem(&one(send().max_message(1))), None);
    assert!(zero(&one(send().queue(0, 32 << 20))));
    assert!(zero(&one(send().in_flight(0))));
    assert!(zero(&one(receive().window(0, 16 << 20))));
    assert!(zero(&one(receive().lease(Duration::ZERO))));
    let expected = Some(ConfigProblem::QueueTooSmall);
    assert_eq!(problem(&one(send().max_message(9).queue(1, 8))), expected);
    assert_eq!(problem(&one(send().max_message(9).queue(1, 9))), None);
    let expected = Some(ConfigProblem::WindowTooSmall);
    assert_eq!(
        problem(&one(receive().max_message(9).window(1, 8))),
        expected
    );
    assert_eq!(problem(&one(receive().max_message(9).window(1, 9))), None);
}

#[test]
fn the_announced_length_of_a_message_is_only_a_word() {
    // [LIMIT-1] A receiver without a limit reserves no memory for what has not come.
    let unbounded = one(ReceiveChannel::new("main")
        .max_message(usize::MAX)
        .window(1, usize::MAX));
    against_receiver(&unbounded, |peer| {
        let total = u64::try_from(usize::MAX).expect("64 bits at most");
        peer.takes(&first(0, 1, total, &[7; 500]));
        peer.takes(&next(0, 1, false, &[7; 500]));
        assert_eq!(peer.take(), None);
    });
    against(
        Role::Acceptor,
        &unbounded.dialect(Dialect::TlsStream),
        |peer| {
            peer.takes(format!("{}!and little of it", usize::MAX).as_bytes());
            assert_eq!(peer.take(), None);
        },
    );
}

#[test]
fn tlsstream_has_one_channel_that_confirms_on_arrival() {
    // [LIMIT-1]
    let stream = |config: Config| problem(&config.dialect(Dialect::TlsStream));
    assert_eq!(stream(many(1)), None);
    assert_eq!(stream(many(2)), Some(ConfigProblem::ManyTlsStream));
    let manual = one(ReceiveChannel::new("main").manual());
    assert_eq!(stream(manual), Some(ConfigProblem::ManualTlsStream));
}

#[test]
fn the_senders_queue_is_bounded_and_gives_room_back() {
    // [LIMIT-1]
    use countersign_core::{Event, SendError};

    use crate::common::bytes::ack;
    use crate::common::peer::{MAIN, against_sender};

    for channel in [
        SendChannel::new("main").queue(2, 32 << 20),
        SendChannel::new("main").max_message(4).queue(99, 8),
    ] {
        against_sender(&one(channel), |peer| {
            peer.send(b"1234");
            peer.send(b"5678");
            let refused = peer
                .link
                .send(peer.now, MAIN, &b"9"[..], None)
                .expect_err("full");
            assert_eq!(refused.why, SendError::Blocked);
            assert_eq!(&refused.message[..], b"9");
            peer.say();
            assert_eq!(peer.events(), []);
            peer.takes(&ack(0, 1));
            assert!(peer.events().contains(&Event::Room(MAIN)));
            peer.send(b"9");
        });
    }
    let too_large = one(SendChannel::new("main").max_message(4));
    against_sender(&too_large, |peer| {
        let refused = peer
            .link
            .send(peer.now, MAIN, vec![0; 5], None)
            .expect_err("too large");
        assert_eq!(
            refused.why,
            SendError::TooLarge {
                length: 5,
                limit: 4
            }
        );
        peer.send(&[0; 4]);
    });
    assert_eq!(Policy::Latest.to_string(), "latest");
}

#[test]
fn room_is_told_when_it_is_enough() {
    // [LIMIT-1]
    use countersign_core::{Event, SendError};

    use crate::common::bytes::ack;
    use crate::common::peer::{MAIN, against_sender};

    let channel = SendChannel::new("main").max_message(8).queue(99, 10);
    against_sender(&one(channel), |peer| {
        peer.send(&[1; 4]);
        peer.send(&[2; 4]);
        let refused = peer
            .link
            .send(peer.now, MAIN, vec![3; 8], None)
            .expect_err("full");
        assert_eq!(refused.why, SendError::Blocked);
        peer.say();
        // Room for some message, but not for this one.
        peer.takes(&ack(0, 1));
        assert!(!peer.events().contains(&Event::Room(MAIN)));
        peer.takes(&ack(0, 2));
        assert!(peer.events().contains(&Event::Room(MAIN)));
        peer.send(&[3; 8]);
    });
}
