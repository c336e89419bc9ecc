//! A link's status, and the call that ends its pause.

use std::time::Duration;

use countersign_core::{
    Config, LinkState, ReceiveChannel, Reconnect, RetryLimit, Role, SendChannel,
};
use countersign_driver::{Limits, LinkEvent, Setup};

use super::{away, back, both_ways_lasting, lost, one};
use crate::backend::{Link, Standing};
use crate::pair::{IDENTITIES, loopback};
use crate::{Ends, Pair, Proxy, Transport};

scenarios! {
    SECURED_OR_PLAIN {
        of_both_ends: "cuts by itself",
        addresses: "looks at the ends of one connection",
        connect_now_ends_the_pause: "cuts by itself",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data").manual())
}

/// How many messages an end has accepted or got, and how many of them are waiting.
fn messages(standing: &Standing) -> (u64, usize) {
    let channel = &standing.link.channels[0];
    (channel.messages, channel.waiting)
}

/// Both ends report their status: with a connection, without, and with the next.
fn of_both_ends(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        let ends: [&dyn Link; 2] = [&*from, &*to];
        let before = ends.map(Link::status);
        for standing in &before {
            assert_eq!(standing.link.state, LinkState::Open);
            assert!(standing.link.since.is_some());
            assert_eq!((standing.link.resumes, standing.link.last_loss), (0, None));
            assert_eq!(messages(standing), (0, 0));
            let peer = match (pair.transport, standing.link.role) {
                (Transport::Plain, _) => None,
                (Transport::Tls, Role::Opener) => Some(IDENTITIES[1].fingerprint()),
                (Transport::Tls, Role::Acceptor) => Some(IDENTITIES[0].fingerprint()),
            };
            assert_eq!(standing.peer, peer);
        }
        let roles = before.each_ref().map(|standing| standing.link.role);
        assert_ne!(roles[0], roles[1]);

        let mut receiver = to.manual_receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        let receipt = sender.give("message");
        let delivery = receiver.take();
        assert_eq!(messages(&from.status()), (1, 1));
        assert_eq!(from.status().link.channels[0].bytes, "message".len());
        assert_eq!(messages(&to.status()).0, 1);
        let _ = delivery.handled();
        assert!(receipt.wait().is_handled());
        let meanwhile = ends.map(Link::status);
        assert_eq!(messages(&meanwhile[0]).0, 1);
        for (now, then) in meanwhile.iter().zip(&before) {
            assert!(now.link.bytes_sent > then.link.bytes_sent);
            assert!(now.link.bytes_received > then.link.bytes_received);
        }

        away(proxy, ends);
        for (standing, role) in ends.map(Link::status).iter().zip(roles) {
            assert!(!standing.link.state.is_up(), "{standing:?}");
            assert!(standing.link.last_loss.is_some());
            assert_eq!(standing.link.role, role);
            // An end that waits for its peer has no next attempt.
            assert!(role == Role::Opener || standing.link.next_attempt.is_none());
        }
        let _receipt = sender.give("unsent");
        assert_eq!(messages(&from.status()), (2, 1));
        assert_eq!(from.status().link.channels[0].in_flight, 0);

        back(proxy, ends);
        for (standing, then) in ends.map(Link::status).iter().zip(&before) {
            assert_eq!(
                (standing.link.state, standing.link.resumes),
                (LinkState::Open, 1)
            );
            assert!(standing.link.connections > then.link.connections);
            assert_eq!(standing.peer, then.peer);
        }
    });
}

/// Each end's address is what the other calls its peer's.
fn addresses(pair: &Pair) {
    let listener = pair.listen(receive());
    let Ends { client, server } = pair.join(&*listener, listener.address(), send());
    let (near, far) = (client.status(), server.status());
    assert_eq!(near.remote, Some(listener.address()));
    assert_eq!(near.remote, far.local);
    assert!(near.local.is_some());
    assert_eq!(near.local, far.remote);
}

/// `connect_now` ends a pause of an hour, and only at the end that connects.
fn connect_now_ends_the_pause(pair: &Pair) {
    let hour = Duration::from_secs(3600);
    let config = send().reconnect(Reconnect {
        limit: RetryLimit::Forever,
        first_delay: hour,
        longest_delay: hour,
    });
    let client = Setup::new(config, pair.client_security()).unwrap();
    let accepting = pair.lasting_server(receive());
    let listener = pair.server.listen(loopback(), accepting, Limits::default());
    let proxy = Proxy::to(listener.address());
    let Ends { client, server } = pair.join_with(&*listener, proxy.address(), &client);
    assert!(!client.connect_now() && !server.connect_now());
    for _ in 0..2 {
        proxy.cut();
        for link in [&*client, &*server] {
            let _ = lost(link);
        }
        let waiting = client.status().link;
        assert_eq!(waiting.state, LinkState::Offline);
        assert!(waiting.next_attempt.is_some());
        assert!(!server.connect_now());
        assert!(client.connect_now());
        for link in [&*client, &*server] {
            assert_eq!(link.event(), Some(LinkEvent::Resumed));
        }
        assert!(!client.connect_now());
    }
}
