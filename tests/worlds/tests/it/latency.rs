//! How soon a link goes on once it has a connection again, on a network with a delay: in virtual
//! time, so that the figures are exact.

#![allow(
    clippy::unwrap_used,
    reason = "panicking is how a helper of a test fails"
)]

use std::collections::VecDeque;
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    ChannelId, Config, Disconnect, Instant, Link, LinkState, ReceiveChannel, Role, SendChannel,
};
use countersign_endpoint::{Endpoint, Fingerprint, Identity, Security, ToSend};

/// From one end to the other.
const DELAY: Duration = Duration::from_millis(50);
const ROUND_TRIP: Duration = Duration::from_millis(100);
const OPENER: usize = 0;
const ACCEPTOR: usize = 1;

/// One end of the link.
struct End {
    link: Link,
    security: Security,
    endpoint: Option<Endpoint>,
    /// What is under way to this end, and when it arrives.
    arriving: VecDeque<(Instant, Vec<u8>)>,
    /// When its side of the handshake of TLS was done.
    secured: Option<Instant>,
}

fn tls(identity: &GeneratedIdentity, pin: Fingerprint) -> Security {
    let own = Identity::from_der(identity.certificate_der(), identity.key_der()).unwrap();
    Security::tls(own, pin).build().unwrap()
}

struct World {
    ends: [End; 2],
    now: Instant,
}

impl World {
    fn new() -> Self {
        let [client, server] = ["client", "server"].map(fixtures::good);
        let opener = Config::new()
            .channel(SendChannel::new("up"))
            .channel(ReceiveChannel::new("down"));
        let acceptor = Config::new()
            .channel(ReceiveChannel::new("up"))
            .channel(SendChannel::new("down"));
        let end = |config: &Config, role, security| End {
            link: Link::new(config, role, [7; 16]).unwrap(),
            security,
            endpoint: None,
            arriving: VecDeque::new(),
            secured: None,
        };
        let ends = [
            end(&opener, Role::Opener, tls(&client, server.fingerprint())),
            end(
                &acceptor,
                Role::Acceptor,
                tls(&server, client.fingerprint()),
            ),
        ];
        let now = Instant::from_micros(1);
        Self { ends, now }
    }

    /// Opens a connection as TCP does: the opener has it after a round trip, and the acceptor when
    /// the first that the opener sends has arrived. Gives the moment of the first packet.
    fn connect(&mut self) -> Instant {
        while !self.ends[OPENER].link.wants_connect() {
            self.now = self.ends[OPENER].link.poll_deadline().unwrap();
            self.ends[OPENER].link.handle_timeout(self.now);
        }
        let begun = self.now;
        self.now = begun + ROUND_TRIP;
        self.open(OPENER);
        self.now = self.now + DELAY;
        self.open(ACCEPTOR);
        begun
    }

    fn open(&mut self, at: usize) {
        let end = &mut self.ends[at];
        let (role, dialect) = (end.link.role(), end.link.config().get_dialect());
        end.endpoint = Some(Endpoint::new(&end.security, role, dialect));
        end.secured = None;
        self.pump(at);
    }

    /// Sends what an end has to say.
    fn pump(&mut self, at: usize) {
        let now = self.now;
        let end = &mut self.ends[at];
        let Some(endpoint) = &mut end.endpoint else {
            return;
        };
        let mut bytes = Vec::new();
        loop {
            endpoint.exchange(now, &mut end.link);
            let ToSend::Bytes(output) = endpoint.to_send() else {
                break;
            };
            bytes.extend_from_slice(output.filled());
            output.consume(output.filled().len());
            endpoint.sent();
        }
        if end.link.peer().is_some() && !matches!(end.link.state(), LinkState::Securing) {
            end.secured.get_or_insert(now);
        }
        if !bytes.is_empty() {
            self.ends[1 - at].arriving.push_back((now + DELAY, bytes));
        }
    }

    /// Goes on to the next moment at which anything arrives; false when nothing is under way.
    fn step(&mut self) -> bool {
        let next = |end: &End| end.arriving.front().map(|(at, _)| *at);
        let Some(moment) = self.ends.iter().filter_map(next).min() else {
            return false;
        };
        self.now = self.now.max(moment);
        for at in [OPENER, ACCEPTOR] {
            let now = self.now;
            let end = &mut self.ends[at];
            while end.arriving.front().is_some_and(|(at, _)| *at <= now) {
                let (_, bytes) = end.arriving.pop_front().unwrap();
                let endpoint = end.endpoint.as_mut().unwrap();
                let input = endpoint.input();
                input.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
                input.commit(bytes.len());
                endpoint.received(bytes.len());
                endpoint.exchange(now, &mut end.link);
            }
            self.pump(at);
        }
        true
    }

    fn settle(&mut self) {
        while self.step() {}
    }

    fn send(&mut self, at: usize, channel: ChannelId) {
        self.ends[at]
            .link
            .send(self.now, channel, "x", None)
            .unwrap();
        self.pump(at);
    }

    /// Everything under way is lost, and both ends learn of it.
    fn cut(&mut self) {
        for end in &mut self.ends {
            end.arriving.clear();
            end.link.handle_lost(self.now, Disconnect::Transport);
            end.endpoint = None;
        }
    }
}

#[test]
fn the_first_replayed_message_comes_without_delay() {
    let mut world = World::new();
    world.connect();
    world.settle();
    let (up, down) = (ChannelId(0), ChannelId(1));
    world.send(OPENER, up);
    world.send(ACCEPTOR, down);
    world.cut();
    let begun = world.connect();
    let mut arrived = [None; 2];
    while arrived.contains(&None) {
        assert!(world.step(), "nothing is under way");
        let (now, [opener, acceptor]) = (world.now, &world.ends);
        for (at, waiting) in [opener.link.waiting(down), acceptor.link.waiting(up)]
            .into_iter()
            .enumerate()
        {
            if waiting > 0 {
                arrived[at].get_or_insert(now);
            }
        }
    }
    let since = |moment: Option<Instant>| moment.unwrap().saturating_since(begun);
    let handshake = since(world.ends[ACCEPTOR].secured.max(world.ends[OPENER].secured));
    // TCP takes one round trip, TLS one and a half.
    assert_eq!(handshake, ROUND_TRIP * 5 / 2);
    let [to_opener, to_acceptor] = arrived.map(since);
    // The acceptor's comes with WELCOME, the opener's answers it.
    assert_eq!(to_opener, handshake + DELAY);
    assert_eq!(to_acceptor, handshake + ROUND_TRIP);
    assert!(to_opener.max(to_acceptor) <= handshake + 2 * ROUND_TRIP);
    for end in &world.ends {
        assert_eq!(end.link.resumes(), 1);
    }
}
