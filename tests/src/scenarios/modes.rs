//! Modes and policies: what fits together, and what both ends say when it does not.

use countersign_core::{
    ChannelConfig, Config, EndReason, Incompatible, Mode, Policy, ReceiveChannel, SendChannel,
};
use countersign_driver::{ChannelError, LinkError};

use super::one;
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        both_send,
        both_receive,
        missing_at_the_server,
        missing_at_the_client,
        policies_that_conflict,
        everything_that_fits,
        handles_that_can_not_be_had,
    }
}

fn conflict(
    pair: &Pair,
    client: impl Into<ChannelConfig>,
    server: impl Into<ChannelConfig>,
) -> (LinkError, LinkError) {
    let server = pair.server_setup(one(server));
    pair.refused(&pair.client_setup(one(client)), server)
}

fn assert_says(error: &LinkError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in: {text}");
    }
    assert!(!error.can_retry(), "{text}");
}

fn same_mode(pair: &Pair, channel: impl Into<ChannelConfig> + Clone, both: Mode) {
    let (client, server) = conflict(pair, channel.clone(), channel);
    for error in [client, server] {
        let channel = "video".to_owned();
        let expected = EndReason::Incompatible(Incompatible::ModeConflict { channel, both });
        assert_eq!(*error.reason(), expected);
        assert_says(&error, &["video", "send mode", "receive mode"]);
    }
}

/// Both ends would send.
fn both_send(pair: &Pair) {
    same_mode(pair, SendChannel::new("video"), Mode::Send);
}

/// Both ends would receive.
fn both_receive(pair: &Pair) {
    same_mode(pair, ReceiveChannel::new("video"), Mode::Receive);
}

/// The opener declares a channel that the acceptor lacks.
fn missing_at_the_server(pair: &Pair) {
    let client = one(SendChannel::new("a")).channel(SendChannel::new("extra"));
    let server = pair.server_setup(one(ReceiveChannel::new("a")));
    let (client, server) = pair.refused(&pair.client_setup(client), server);
    assert_says(&client, &["'extra'", "this end only"]);
    assert_says(&server, &["'extra'", "the peer's end only"]);
}

/// The acceptor declares a channel that the opener lacks.
fn missing_at_the_client(pair: &Pair) {
    let server = one(ReceiveChannel::new("a")).channel(ReceiveChannel::new("extra"));
    let client = pair.client_setup(one(SendChannel::new("a")));
    let (client, server) = pair.refused(&client, pair.server_setup(server));
    assert_says(&client, &["'extra'", "the peer's end only"]);
    assert_says(&server, &["'extra'", "this end only"]);
}

/// The receiver requires another policy than the sender has, either way round.
fn policies_that_conflict(pair: &Pair) {
    let send = || SendChannel::new("x");
    let receive = || ReceiveChannel::new("x");
    for (send, receive, required) in [
        (send(), receive().latest(), Policy::Latest),
        (send().latest(), receive().reliable(), Policy::Reliable),
    ] {
        let up = conflict(pair, send.clone(), receive.clone());
        let down = conflict(pair, receive, send);
        for error in [up.0, up.1, down.0, down.1] {
            let channel = "x".to_owned();
            let expected = Incompatible::PolicyConflict { channel, required };
            assert_eq!(*error.reason(), EndReason::Incompatible(expected));
            assert_says(&error, &["'x'", &required.to_string()]);
        }
    }
}

/// Every combination that fits, in one link, declared in another order at the other end.
fn everything_that_fits(pair: &Pair) {
    let channels = [
        (SendChannel::new("a"), ReceiveChannel::new("a")),
        (SendChannel::new("b"), ReceiveChannel::new("b").reliable()),
        (SendChannel::new("c").latest(), ReceiveChannel::new("c")),
        (
            SendChannel::new("d").latest(),
            ReceiveChannel::new("d").latest(),
        ),
        (SendChannel::new(""), ReceiveChannel::new("")),
    ];
    let up =
        |config: Config, (send, _): &(SendChannel, ReceiveChannel)| config.channel(send.clone());
    let down = |config: Config, (_, receive): &(SendChannel, ReceiveChannel)| {
        config.channel(receive.clone())
    };
    for turned in [false, true] {
        let sending = channels.iter().fold(Config::new(), up);
        let receiving = channels.iter().rev().fold(Config::new(), down);
        let (client, server) = if turned {
            (receiving, sending)
        } else {
            (sending, receiving)
        };
        let ends = pair.link(client, server);
        let (from, to) = if turned {
            (&ends.server, &ends.client)
        } else {
            (&ends.client, &ends.server)
        };
        for (send, _) in &channels {
            let mut receiver = to.receiver(send.name()).unwrap();
            let receipt = from
                .sender(send.name())
                .unwrap()
                .give(send.name().to_owned());
            assert_eq!(receiver.take(), send.name());
            assert!(receipt.wait().is_handled());
        }
    }
}

/// Handles that can't be had.
fn handles_that_can_not_be_had(pair: &Pair) {
    let client = one(SendChannel::new("out")).channel(ReceiveChannel::new("in"));
    let server = one(ReceiveChannel::new("out").manual()).channel(SendChannel::new("in"));
    let Ends { client, server } = pair.link(client, server);
    let name = |name: &str| name.to_owned();
    assert_eq!(
        client.sender("none").err(),
        Some(ChannelError::NoSuchChannel { name: name("none") })
    );
    assert_eq!(
        client.sender("in").err(),
        Some(ChannelError::OtherMode {
            name: name("in"),
            mode: Mode::Receive
        })
    );
    assert_eq!(
        client.receiver("out").err(),
        Some(ChannelError::OtherMode {
            name: name("out"),
            mode: Mode::Send
        })
    );
    assert_eq!(
        server.receiver("out").err(),
        Some(ChannelError::WrongReceiver { name: name("out") })
    );
    assert_eq!(
        client.manual_receiver("in").err(),
        Some(ChannelError::WrongReceiver { name: name("in") })
    );
    let _receiver = client.receiver("in").unwrap();
    assert_eq!(
        client.receiver("in").err(),
        Some(ChannelError::Taken { name: name("in") })
    );
}
