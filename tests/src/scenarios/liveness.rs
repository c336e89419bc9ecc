//! Pings, and peers that are no longer there.

use std::time::Duration;

use countersign_core::{Config, EndReason, Loss, ReceiveChannel, SendChannel, Verdict};

use super::{one, timeouts};
use crate::pair::payload;
use crate::{Direction, Ends, Pair, Transport};

scenarios! {
    SECURED_OR_PLAIN {
        a_silent_peer_is_given_up: "a link that ends with its connection",
        pings_keep_a_link_alive: "counts bytes",
        a_cut_is_noticed: "a link that ends with its connection",
    }
}

const SOON: Duration = Duration::from_millis(20);

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// A silent peer is given up, by either end.
fn a_silent_peer_is_given_up(pair: &Pair) {
    let short = timeouts(|timeouts| {
        timeouts.ping = SOON;
        timeouts.give_up = Duration::from_millis(500);
    });
    for client_gives_up in [true, false] {
        let (client, server) = match client_gives_up {
            true => (send().timeouts(short), receive()),
            false => (send(), receive().timeouts(short)),
        };
        let (ends, proxy) = pair.link_through(client, server);
        // More than pings and what is left of the handshake add up to.
        let begun = proxy.passed(Direction::Up) + 50_000;
        let receipt = ends
            .client
            .sender("data")
            .unwrap()
            .give(payload(100_000, 0));
        proxy.wait_for(Direction::Up, begun);
        proxy.stall();
        let (patient, impatient) = match client_gives_up {
            true => (ends.server, ends.client),
            false => (ends.client, ends.server),
        };
        let lost = impatient.ended().end.unwrap();
        assert_eq!(*lost.reason(), EndReason::Lost(Loss::Silence));
        assert!(lost.can_retry());
        proxy.cut();
        assert!(!patient.ended().is_orderly());
        assert_eq!(receipt.wait(), Verdict::Unknown);
    }
}

/// What a PING or a PONG takes on the wire, in bytes, at least.
fn ping_length(pair: &Pair) -> u64 {
    match pair.transport {
        Transport::Plain => 16,
        Transport::Tls => 16 + 22,
    }
}

/// Pings keep an idle link alive while the applications do something else.
fn pings_keep_a_link_alive(pair: &Pair) {
    const PINGS: u64 = 60;
    let short = timeouts(|timeouts| {
        timeouts.ping = SOON;
        timeouts.give_up = SOON * 50;
    });
    let (ends, proxy) = pair.link_through(send().timeouts(short), receive());
    let Ends { client, server } = ends;
    for direction in [Direction::Up, Direction::Down] {
        let bytes = proxy.passed(direction) + PINGS * ping_length(pair);
        // The end of the link would cut it short, and this would hang.
        proxy.wait_for(direction, bytes);
    }
    let receipt = client.sender("data").unwrap().give("still here");
    assert_eq!(server.receiver("data").unwrap().take(), "still here");
    assert!(receipt.wait().is_handled());
}

/// A connection that is cut is noticed at once by both ends, without any traffic.
fn a_cut_is_noticed(pair: &Pair) {
    let (ends, proxy) = pair.link_through(send(), receive());
    proxy.cut();
    for link in [&ends.client, &ends.server] {
        let report = link.ended();
        let lost = report.end.unwrap();
        assert!(matches!(lost.reason(), EndReason::Lost(_)), "{lost}");
        assert!(lost.can_retry(), "{lost}");
        assert_eq!(link.event(), None);
    }
}
