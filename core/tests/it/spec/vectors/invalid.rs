//! What must not be sent, and what it is accused of.

use countersign_core::{
    ChannelConfig, Config, Dialect, EndReason, LinkState, ReceiveChannel, Role, SendChannel, abort,
};

use super::{Vector, bytes, read};
use crate::common::bytes::Entry;
use crate::common::peer::{Peer, against};

#[test]
fn every_violation_is_seen() {
    for vector in read("invalid.txt") {
        let (who, state) = vector.get("hearer").split_once(' ').expect("who and state");
        let (role, channel) = match who {
            "opener" => (Role::Opener, ChannelConfig::from(SendChannel::new("main"))),
            _ => (Role::Acceptor, ReceiveChannel::new("main").into()),
        };
        let native = vector.all("dialect").next().is_none();
        let dialect = if native {
            Dialect::Countersign
        } else {
            Dialect::TlsStream
        };
        let config = Config::new().channel(channel).dialect(dialect);
        against(role, &config, |peer| {
            match (native, state, role) {
                (true, "open", Role::Opener) => peer.welcome(&[Entry::receive("main")]),
                (true, "open", Role::Acceptor) => peer.hello(&[Entry::send("main")]),
                _ => assert!(peer.say().len() != 1),
            }
            peer.hear(&bytes(vector.get("bytes")));
            judge(&vector, peer);
        });
    }
}

fn judge(vector: &Vector, peer: &mut Peer) {
    let name = &vector.name;
    let Some(EndReason::Peer(what)) = peer.link.end_reason() else {
        panic!(
            "'{name}': {:?} {:?}",
            peer.link.state(),
            peer.link.end_reason()
        );
    };
    let code = what.abort_code();
    let what = format!("{what:?}");
    let what = what.split(['(', ' ']).next().expect("a name");
    assert_eq!(what, vector.get("what"), "{name}");
    let expected = match vector.get("code") {
        "FRAMING" => abort::FRAMING,
        "HANDSHAKE" => abort::HANDSHAKE,
        "LIMIT" => abort::LIMIT,
        "SEQUENCE" => abort::SEQUENCE,
        "CLOSE" => abort::CLOSE,
        _ => 0,
    };
    let said = peer.say();
    if expected == 0 {
        assert_eq!(said, [], "{name}");
    } else {
        assert_eq!(code, expected, "{name}");
        assert_eq!(said[0], 0x32, "{name}");
        assert_eq!(said[8..10], expected.to_be_bytes(), "{name}");
    }
    assert!(
        peer.ended && peer.link.state() == LinkState::Ended,
        "{name}"
    );
}
