//! What ends a link that was up, and what merely costs it a connection: only the peer itself can
//! refuse this end for good.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    Config, Dialect, Disconnect, EndReason, Instant, Link, LinkState, Loss, ReceiveChannel, Role,
    SendChannel,
};
use countersign_endpoint::{Endpoint, Identity, Reason, Security, ToSend};

const NOW: Instant = Instant::ZERO;
/// An alert in clear, as any attacker can send it: bad_certificate.
const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 42];

fn tls(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Security {
    let identity = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    let tls = Security::tls(identity, peer.fingerprint());
    tls.build().unwrap()
}

fn opener() -> Link {
    let config = Config::new().channel(SendChannel::new("main"));
    Link::new(&config, Role::Opener, [1; 16]).unwrap()
}

fn acceptor() -> Link {
    let config = Config::new().channel(ReceiveChannel::new("main"));
    Link::new(&config, Role::Acceptor, [2; 16]).unwrap()
}

/// One end of a connection.
struct End {
    endpoint: Endpoint,
}

impl End {
    fn new(security: &Security, link: &mut Link) -> Self {
        let mut endpoint = Endpoint::new(security, link.role(), Dialect::Countersign);
        endpoint.exchange(NOW, link);
        Self { endpoint }
    }

    fn hear(&mut self, link: &mut Link, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let input = self.endpoint.input();
        input.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        input.commit(bytes.len());
        self.endpoint.received(bytes.len());
        self.endpoint.exchange(NOW, link);
    }

    fn say(&mut self, link: &mut Link) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            self.endpoint.exchange(NOW, link);
            let ToSend::Bytes(output) = self.endpoint.to_send() else {
                return said;
            };
            said.extend_from_slice(output.filled());
            output.consume(output.filled().len());
            self.endpoint.sent();
        }
    }
}

/// Carries bytes between the two until neither has more to say.
fn carry(ends: [&mut End; 2], links: [&mut Link; 2]) {
    let ([left, right], [opener, acceptor]) = (ends, links);
    loop {
        let there = left.say(opener);
        right.hear(acceptor, &there);
        let back = right.say(acceptor);
        left.hear(opener, &back);
        if there.is_empty() && back.is_empty() {
            return;
        }
    }
}

/// A link that was up and has lost its connection, about to get another.
fn lasting(client: &GeneratedIdentity, server: &GeneratedIdentity) -> (Link, Link) {
    let (mut opener, mut acceptor) = (opener(), acceptor());
    let mut left = End::new(&tls(client, server), &mut opener);
    let mut right = End::new(&tls(server, client), &mut acceptor);
    carry([&mut left, &mut right], [&mut opener, &mut acceptor]);
    assert_eq!([opener.state(), acceptor.state()], [LinkState::Open; 2]);
    for link in [&mut opener, &mut acceptor] {
        link.handle_lost(NOW, Disconnect::Transport);
    }
    (opener, acceptor)
}

/// What an opener gets from another service than its peer after a link that was up has lost its
/// connection.
fn strangers() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a portal", b"HTTP/1.1 302 Found\r\n\r\n".to_vec()),
        ("another service", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        ("a refusal in clear", ALERT.to_vec()),
        ("no TLS 1.3", vec![21, 3, 3, 0, 2, 2, 70]),
        ("nothing in common", vec![21, 3, 3, 0, 2, 2, 40]),
        (
            "nonsense in a record",
            [&[22, 3, 3, 0, 9][..], &[9; 9]].concat(),
        ),
    ]
}

#[test]
fn strangers_cost_a_link_no_more_than_a_connection() {
    // [RECONNECT-5] [RECONNECT-6]
    let [client, server] = ["client", "server"].map(fixtures::good);
    for (who, bytes) in strangers() {
        let (mut link, mut acceptor) = lasting(&client, &server);
        let mut end = End::new(&tls(&client, &server), &mut link);
        end.hear(&mut link, &bytes);
        assert!(!end.endpoint.failure().unwrap().can_retry(), "{who}");
        assert_eq!(link.last_loss(), Some(Loss::Unproven), "{who}");
        assert_eq!(link.state(), LinkState::Offline, "{who}");
        // Then the peer is reachable again.
        let mut left = End::new(&tls(&client, &server), &mut link);
        let mut right = End::new(&tls(&server, &client), &mut acceptor);
        carry([&mut left, &mut right], [&mut link, &mut acceptor]);
        assert_eq!(
            (link.state(), link.resumes()),
            (LinkState::Open, 1),
            "{who}"
        );

        // A link that was never up ends: nothing says that there is a peer at all.
        let mut fresh = opener();
        let mut end = End::new(&tls(&client, &server), &mut fresh);
        end.hear(&mut fresh, &bytes);
        let expected = EndReason::Lost(Loss::Unproven);
        assert_eq!(fresh.end_reason(), Some(&expected), "{who}");
        assert!(!expected.can_retry());
    }
}

#[test]
fn another_identity_is_a_stranger_too() {
    // [RECONNECT-6]
    let [client, server, other] = ["client", "server", "other"].map(fixtures::good);
    let (mut link, _) = lasting(&client, &server);
    let mut stranger = acceptor();
    let mut left = End::new(&tls(&client, &server), &mut link);
    let mut right = End::new(&tls(&other, &client), &mut stranger);
    carry([&mut left, &mut right], [&mut link, &mut stranger]);
    let why = left.endpoint.failure().unwrap().reason();
    assert!(matches!(why, Reason::PinMismatch { .. }), "{why}");
    assert_eq!(
        (link.state(), link.last_loss()),
        (LinkState::Offline, Some(Loss::Unproven))
    );
    // The stranger learns of it by the opener's own alert.
    let why = right.endpoint.failure().unwrap().reason();
    assert!(matches!(why, Reason::RefusedByPeer { .. }), "{why}");
    let expected = EndReason::Lost(Loss::Unproven);
    assert_eq!(stranger.end_reason(), Some(&expected));
}

/// In both roles, as the end that refuses and as the one that is refused. Renewed, the link goes
/// on.
#[test]
fn dates_are_waited_for_on_a_link_that_was_up() {
    // [RECONNECT-8]
    let [client, server] = ["client", "server"].map(fixtures::good);
    for flawed in [
        fixtures::expired("flawed"),
        fixtures::not_yet_valid("flawed"),
    ] {
        for opener_is_flawed in [true, false] {
            let ends = || match opener_is_flawed {
                true => (tls(&flawed, &server), tls(&server, &flawed)),
                false => (tls(&client, &flawed), tls(&flawed, &client)),
            };
            let (mut link, mut owner) = lasting(&client, &server);
            let mut visitor = acceptor();
            let (near, far) = ends();
            let mut left = End::new(&near, &mut link);
            let mut right = End::new(&far, &mut visitor);
            carry([&mut left, &mut right], [&mut link, &mut visitor]);
            let expected = (LinkState::Offline, Some(Loss::OutOfDate));
            assert_eq!((link.state(), link.last_loss()), expected);
            // The acceptor's own link learns nothing of a peer that was not let in.
            let expected = EndReason::Lost(Loss::OutOfDate);
            assert_eq!(visitor.end_reason(), Some(&expected));
            let mut left = End::new(&tls(&client, &server), &mut link);
            let mut right = End::new(&tls(&server, &client), &mut owner);
            carry([&mut left, &mut right], [&mut link, &mut owner]);
            assert_eq!((link.state(), link.resumes()), (LinkState::Open, 1));

            let (mut fresh, mut other) = (opener(), acceptor());
            let (near, far) = ends();
            let mut left = End::new(&near, &mut fresh);
            let mut right = End::new(&far, &mut other);
            carry([&mut left, &mut right], [&mut fresh, &mut other]);
            assert_eq!(fresh.end_reason(), Some(&expected));
            assert_eq!(other.end_reason(), Some(&expected));
        }
    }
}

#[test]
fn the_peer_itself_can_refuse() {
    // [RECONNECT-5] [RECONNECT-6]
    let [client, server, other] = ["client", "server", "other"].map(fixtures::good);
    let (mut link, _) = lasting(&client, &server);
    let mut changed = acceptor();
    let mut left = End::new(&tls(&client, &server), &mut link);
    let mut right = End::new(&tls(&server, &other), &mut changed);
    carry([&mut left, &mut right], [&mut link, &mut changed]);
    let why = left.endpoint.failure().unwrap().reason();
    assert!(matches!(why, Reason::RefusedByPeer { .. }), "{why}");
    let expected = EndReason::Lost(Loss::NotTrusted);
    assert_eq!(link.end_reason(), Some(&expected));
}

#[test]
fn bytes_put_between_end_no_link() {
    // [RECONNECT-6]
    let [client, server] = ["client", "server"].map(fixtures::good);
    for bytes in [
        ALERT.to_vec(),
        b"HTTP/1.1 302 Found\r\n\r\n".to_vec(),
        vec![
            23, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0,
        ],
    ] {
        for at_opener in [true, false] {
            let (mut opener, mut acceptor) = lasting(&client, &server);
            let mut left = End::new(&tls(&client, &server), &mut opener);
            let mut right = End::new(&tls(&server, &client), &mut acceptor);
            carry([&mut left, &mut right], [&mut opener, &mut acceptor]);
            match at_opener {
                true => left.hear(&mut opener, &bytes),
                false => right.hear(&mut acceptor, &bytes),
            }
            // The other end learns of it by an alert, which does not end it either.
            carry([&mut left, &mut right], [&mut opener, &mut acceptor]);
            for link in [&opener, &acceptor] {
                assert_eq!(link.state(), LinkState::Offline, "{bytes:?}");
                let loss = link.last_loss().unwrap();
                assert!(matches!(loss, Loss::Unproven | Loss::Security), "{loss}");
            }
        }
    }
}
