//! Ends that no longer accept their peer's identity.

use countersign_core::{
    Config, EndReason, LinkState, ReceiveChannel, Role, SendChannel, VerdictKind, abort,
};

use crate::common::bytes::{Entry, ack, close, coded, done, message};
use crate::common::pair::{lasting, paired};
use crate::common::peer::{against, against_lasting};

const BY_US: EndReason = EndReason::Revoked { by_us: true };
const BY_PEER: EndReason = EndReason::Revoked { by_us: false };
const TEXT: &[u8] = b"this end no longer accepts the identity of its peer";

fn sends() -> Config {
    Config::new().channel(SendChannel::new("main"))
}

fn receives() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

#[test]
fn the_peer_is_told_and_both_end_for_good() {
    // [ABORT-6]
    for by in [0, 1] {
        lasting(&sends(), &receives(), |pair| {
            let channel = pair.ends[0].channel_id("main").expect("declared");
            pair.send(0, channel, b"handled");
            pair.run();
            let receiving = pair.ends[1].channel_id("main").expect("declared");
            assert_eq!(pair.take_all(1, receiving), [b"handled"]);
            pair.run();
            pair.send(0, channel, b"on the wire");
            pair.run();
            pair.ends[by].revoke(pair.now);
            pair.run();
            assert_eq!(pair.ends[by].end_reason(), Some(&BY_US));
            assert_eq!(pair.ends[1 - by].end_reason(), Some(&BY_PEER));
            assert_eq!(pair.lives(), [LinkState::Ended; 2]);
            for end in &pair.ends {
                let reason = end.end_reason().expect("ended");
                assert!(!reason.can_retry() && !reason.is_orderly());
            }
            let verdicts = pair.ends[0].report()[0].verdicts;
            assert_eq!(verdicts[VerdictKind::Handled], 1);
            assert_eq!(verdicts[VerdictKind::Unknown], 1);
            // What has come can still be taken.
            assert_eq!(pair.take_all(1, receiving), [b"on the wire"]);
        });
    }
}

#[test]
fn the_words_on_the_wire() {
    // [ABORT-6]
    let aborted = coded(0x32, 0, abort::NOT_TRUSTED, TEXT);
    against_lasting(Role::Acceptor, &receives(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.link.revoke(peer.now);
        assert_eq!(peer.say(), aborted);
        assert_eq!(peer.link.end_reason(), Some(&BY_US));
        assert_eq!(
            peer.link.poll_output(peer.now, &mut [0; 64]),
            countersign_core::Output::End
        );
    });
    against_lasting(Role::Opener, &sends(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.hear(&aborted);
        assert_eq!(peer.link.end_reason(), Some(&BY_PEER));
        assert!(
            !peer.link.wants_connect()
                && peer.link.poll_deadline().is_none_or(|at| {
                    peer.link.handle_timeout(at);
                    !peer.link.wants_connect()
                })
        );
    });
}

#[test]
fn a_peer_that_is_away_is_waited_for_no_longer() {
    // [ABORT-6]
    lasting(&sends(), &receives(), |pair| {
        let channel = pair.ends[0].channel_id("main").expect("declared");
        pair.run();
        pair.cut();
        pair.send(0, channel, b"not begun");
        for end in &mut pair.ends {
            assert!(
                end.session_peer().is_none(),
                "a plain connection proves nobody"
            );
            end.revoke(pair.now);
            assert_eq!(end.end_reason(), Some(&BY_US));
            assert!(end.poll_deadline().is_none() && !end.wants_connect());
        }
        assert_eq!(pair.ends[0].report()[0].verdicts[VerdictKind::Withdrawn], 1);
    });
}

#[test]
fn what_is_all_said_just_finishes() {
    // [ABORT-6]
    against(Role::Acceptor, &receives(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.hear(&message(0, 1, b"1"));
        assert!(peer.take().is_some());
        assert_eq!(peer.say(), ack(0, 1));
        peer.hear(&close(&[(0, 1)]));
        assert_eq!(peer.say(), [close(&[]), done()].concat());
        peer.hear(&done());
        assert_eq!(peer.link.state(), LinkState::Finishing);
        peer.link.revoke(peer.now);
        assert_eq!(peer.say(), []);
        peer.link.handle_eof(peer.now);
        assert_eq!(peer.link.end_reason(), Some(&EndReason::closed(false)));
    });
    paired(&sends(), &receives(), |pair| {
        for end in &mut pair.ends {
            end.revoke(pair.now);
            end.revoke(pair.now);
            assert_eq!(end.end_reason(), Some(&BY_US));
        }
    });
}
