//! The caller's own clock, which goes as fast as the test likes.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::net::SocketAddr;
use std::time::Duration;

use countersign_core::{
    ChannelConfig, Config, EndReason, Event, Instant, Loss, ReceiveChannel, SendChannel, Timeouts,
};
use countersign_endpoint::Security;
use own_loop::{Limits, LinkId, LinksEvent, OwnLoop};

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

fn config(channel: impl Into<ChannelConfig>) -> Config {
    Config::new().channel(channel).single_connection()
}

/// Serves both loops at the moment `now`, for as long as `done` says nothing.
fn serve_until<T>(
    client: &mut OwnLoop,
    server: &mut OwnLoop,
    now: Instant,
    mut done: impl FnMut(&LinksEvent) -> Option<T>,
) -> T {
    let mut events = Vec::new();
    loop {
        client.service(|| now, &mut events).unwrap();
        server.service(|| now, &mut events).unwrap();
        for event in events.drain(..) {
            if let Some(result) = done(&event) {
                return result;
            }
        }
    }
}

/// A link between two loops.
fn link(client: &mut OwnLoop, server: &mut OwnLoop, timeouts: Timeouts) -> [LinkId; 2] {
    let plain = Security::plaintext();
    let receives = config(ReceiveChannel::new("data")).timeouts(timeouts);
    let listener = server.listen(loopback(), &receives, &plain, Limits::default());
    let address = server.address(listener.unwrap()).unwrap();
    let sends = config(SendChannel::new("data")).timeouts(timeouts);
    let opened = client.connect(address, &sends, &plain).unwrap();
    let mut accepted = None;
    let mut connected = false;
    let accepted = serve_until(client, server, Instant::ZERO, |what| {
        match what {
            LinksEvent::Accepted { link, .. } => accepted = Some(*link),
            LinksEvent::Event {
                event: Event::Connected,
                ..
            } => connected = true,
            what => panic!("{what:?}"),
        }
        accepted.filter(|_| connected)
    });
    [opened, accepted]
}

/// A peer that falls silent is asked, and then given up, at exactly the moments that the timeouts
/// names, on a clock that does not care how long the test takes.
#[test]
fn a_silent_peer_is_given_up_when_the_clock_says_so() {
    let timeouts = Timeouts::default();
    let [mut client, mut server] = [OwnLoop::new().unwrap(), OwnLoop::new().unwrap()];
    let [opened, _] = link(&mut client, &mut server, timeouts);
    // From here on nobody serves the server.
    let ping = Instant::ZERO + timeouts.ping;
    let give_up = Instant::ZERO + timeouts.give_up;
    let mut events = Vec::new();

    client.service(|| Instant::ZERO, &mut events).unwrap();
    assert_eq!(client.deadline(), Some(ping));
    client.service(|| ping, &mut events).unwrap();
    assert_eq!(client.deadline(), Some(give_up), "it has asked, and waits");
    let before = Instant::from_micros(give_up.as_micros() - 1);
    client.service(|| before, &mut events).unwrap();
    assert!(events.is_empty(), "{events:?}");
    client.service(|| give_up, &mut events).unwrap();
    let [LinksEvent::Ended { link, error }] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(*link, opened);
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Silence));
}

/// A peer that is asked in time answers, and is given its time anew.
#[test]
fn a_peer_that_answers_is_not_given_up() {
    let timeouts = Timeouts::default();
    let [mut client, mut server] = [OwnLoop::new().unwrap(), OwnLoop::new().unwrap()];
    let [opened, accepted] = link(&mut client, &mut server, timeouts);
    let mut now = Instant::ZERO;
    for _ in 0..100 {
        now = now + timeouts.ping;
        let next = now + timeouts.ping;
        let mut events = Vec::new();
        // Both have heard of the other when both have the same time to wait again.
        while client.deadline() != Some(next) || server.deadline() != Some(next) {
            for links in [&mut client, &mut server] {
                links.service(|| now, &mut events).unwrap();
            }
        }
        assert!(events.is_empty(), "{events:?}");
    }
    assert!(now > Instant::ZERO + 10 * timeouts.give_up);
    assert!(client.error(opened).is_none() && server.error(accepted).is_none());
}

/// However long a peer may be silent, the system's own limits must not be in the way.
#[test]
fn a_peer_that_is_never_given_up_can_be_connected_to() {
    let timeouts = Timeouts {
        give_up: Duration::MAX,
        ..Timeouts::default()
    };
    let [mut client, mut server] = [OwnLoop::new().unwrap(), OwnLoop::new().unwrap()];
    let [opened, accepted] = link(&mut client, &mut server, timeouts);
    assert!(client.error(opened).is_none() && server.error(accepted).is_none());
    // It is still asked.
    assert_eq!(client.deadline(), Some(Instant::ZERO + timeouts.ping));
}

/// A peer that says nothing at all does not hold its place for ever, and the place is free again.
#[test]
fn a_stranger_is_given_up_when_the_clock_says_so() {
    let timeouts = Timeouts::default();
    let mut server = OwnLoop::new().unwrap();
    let limits = Limits {
        half_open: 1,
        ..Limits::default()
    };
    let receives = config(ReceiveChannel::new("data"));
    let plain = Security::plaintext();
    let listener = server
        .listen(loopback(), &receives, &plain, limits)
        .unwrap();
    let address = server.address(listener).unwrap();
    let mut now = Instant::ZERO;
    for _ in 0..3 {
        let stranger = std::net::TcpStream::connect(address).unwrap();
        let mut events = Vec::new();
        while server.is_empty() {
            server.service(|| now, &mut events).unwrap();
        }
        server.service(|| now, &mut events).unwrap();
        assert_eq!(server.deadline(), Some(now + timeouts.handshake));
        now = now + timeouts.handshake;
        server.service(|| now, &mut events).unwrap();
        let [LinksEvent::Refused { from, error, .. }] = &events[..] else {
            panic!("{events:?}");
        };
        assert_eq!(*from, stranger.local_addr().unwrap());
        assert_eq!(*error.reason(), EndReason::Lost(Loss::HandshakeTooSlow));
        // It stays, and is waited for as long as it may linger.
        server.service(|| now, &mut events).unwrap();
        assert_eq!(server.len(), 1);
        now = now + timeouts.linger + Duration::from_micros(1);
        server.service(|| now, &mut events).unwrap();
        assert!(server.is_empty());
    }
}
