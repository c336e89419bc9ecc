//! Attackers that don't speak TLS, or not ours.

use countersign_core::Role;
use countersign_endpoint::{PlainProtocol, Reason};

use super::{assert_says, security};
use crate::adversary::{Hostile, Seen, Victim};

scenarios! {
    EITHER_END {
        http,
        noise,
        frames_in_plain_text,
    }
}

/// Says something that is not TLS, and listens to the end.
fn shouts(bytes: &[u8]) -> impl FnOnce(Hostile) -> Seen + Send {
    move |mut hostile| {
        hostile.throw(bytes);
        hostile.receive_end()
    }
}

/// The victim reports what the peer is not, and sends nothing: it would not be understood.
fn assert_not_tls(victim: &Victim, bytes: &[u8], seems: PlainProtocol, text: &str) {
    let stage = victim.stage();
    let (error, seen) = stage.repels(shouts(bytes));
    assert_eq!(security(&error), &Reason::NotTls { seems });
    assert_says(&error, text);
    assert!(!error.can_retry());
    assert_eq!(seen, Seen::Ended);
}

/// A browser, or a web server.
fn http(victim: &Victim) {
    let bytes: &[u8] = match victim.role {
        Role::Acceptor => b"GET / HTTP/1.1\r\nHost: robot\r\n\r\n",
        Role::Opener => b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
    };
    let text = "the peer does not speak TLS, but HTTP; check the address and the port";
    assert_not_tls(victim, bytes, PlainProtocol::Http, text);
}

/// A megabyte of noise.
fn noise(victim: &Victim) {
    let text = "the peer does not speak TLS; check the address and the port, and that the peer is \
                not set to plain text";
    let noise: Vec<u8> = (0..1 << 20).map(|_| fastrand::u8(0x80..)).collect();
    assert_not_tls(victim, &noise, PlainProtocol::Unknown, text);
}

/// The link's own frames, without TLS. [TLS-4]
fn frames_in_plain_text(victim: &Victim) {
    let bytes = victim.words().to(victim.role);
    let text = "the peer does not speak TLS, but countersign in plain text; give it an identity \
                and a pin";
    assert_not_tls(victim, &bytes, PlainProtocol::Countersign, text);
}
