//! Ends that have said DONE, and whose peer does not come back to say its own.

use core::time::Duration;

use countersign_core::{
    CloseMode, Config, Disconnect, EndReason, Instant, LinkState, Loss, ReceiveChannel, Reconnect,
    RetryLimit, Role, Timeouts,
};

use crate::common::bytes::{Entry, ack, close, done, message};
use crate::common::peer::{Peer, against, against_lasting};

const BY_US: EndReason = EndReason::closed(true);
const BY_PEER: EndReason = EndReason::closed(false);
const CLOSE: Duration = Duration::from_secs(10);

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

/// An acceptor that has taken what there was, and has said DONE to a peer that closes.
fn said_done(peer: &mut Peer) {
    peer.hello(&[Entry::send("main")]);
    peer.hear(&message(0, 1, b"1"));
    assert!(peer.take().is_some());
    assert_eq!(peer.say(), ack(0, 1));
    peer.hear(&close(&[(0, 1)]));
    assert_eq!(peer.say(), [close(&[]), done()].concat());
    assert_eq!(peer.link.state(), LinkState::Closing);
}

#[test]
fn an_acceptor_whose_opener_has_left_is_closed() {
    // [RECLOSE-7] [RECLOSE-6]
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        said_done(peer);
        let until = peer.now + CLOSE;
        peer.lose();
        // It may have missed the acceptor's DONE, so it is waited for.
        assert_eq!(peer.link.poll_deadline(), Some(until));
        peer.sleep_to_deadline();
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
    });
    // The same if it is not waited for as long.
    let retain = Duration::from_secs(1);
    let timeouts = Timeouts {
        retain,
        ..Timeouts::default()
    };
    against_lasting(Role::Acceptor, &receiver().timeouts(timeouts), |peer| {
        said_done(peer);
        peer.lose();
        assert_eq!(peer.link.poll_deadline(), Some(peer.now + retain));
        peer.sleep(retain);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
    });
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        said_done(peer);
        peer.lose();
        peer.link.evict(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
    });
    // A return that comes to nothing changes nothing.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        said_done(peer);
        peer.lose();
        peer.link.handle_opened(peer.now).expect("offline");
        peer.sleep(CLOSE);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
        assert!(!peer.link.wants_connection());
    });
}

#[test]
fn an_opener_whose_acceptor_is_gone_is_closed() {
    // [RECLOSE-7]
    let limits = [
        (RetryLimit::Attempts(3), Duration::ZERO),
        (RetryLimit::Forever, CLOSE),
    ];
    for (limit, waits) in limits {
        let reconnect = Reconnect {
            limit,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(1),
        };
        let config = Config::default().reconnect(reconnect);
        against_lasting(Role::Opener, &config, |peer| {
            peer.welcome(&[Entry::receive("main")]);
            peer.link.close(peer.now, CloseMode::Drain);
            assert_eq!(peer.say(), close(&[(0, 0)]));
            peer.hear(&close(&[]));
            assert_eq!(peer.say(), done());
            let said: Instant = peer.now;
            peer.lose();
            while peer.link.state() != LinkState::Ended {
                if peer.link.wants_connect() {
                    peer.link.handle_lost(peer.now, Disconnect::Transport);
                } else {
                    peer.sleep_to_deadline();
                }
            }
            assert_eq!(peer.link.end_reason(), Some(&BY_US));
            assert!(peer.now >= said + waits);
        });
    }
}

#[test]
fn what_is_no_absence_is_told() {
    // [RECLOSE-7] [CLOSE-12] The peer is connected but does not send its DONE.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        said_done(peer);
        peer.sleep(CLOSE);
        let expected = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    // an application that waits no longer, or a peer that does not take this end back,
    for how in [Disconnect::Abandoned, Disconnect::NotTrusted] {
        against_lasting(Role::Acceptor, &receiver(), |peer| {
            said_done(peer);
            peer.lose();
            peer.link.handle_lost(peer.now, how);
            assert_eq!(peer.link.end_reason(), Some(&EndReason::Lost(how.loss())));
        });
    }
    // an end that has not said DONE,
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.hear(&[message(0, 1, b"1"), close(&[(0, 1)])].concat());
        assert_eq!(peer.say(), close(&[]));
        peer.lose();
        peer.sleep(CLOSE);
        let expected = EndReason::Lost(Loss::CloseTooSlow);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    // [CLOSE-13] The link has only one connection, so the peer can't return.
    against(Role::Acceptor, &receiver(), |peer| {
        said_done(peer);
        peer.link.handle_lost(peer.now, Disconnect::Transport);
        let expected = EndReason::Lost(Loss::Transport);
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}
