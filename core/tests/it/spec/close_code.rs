//! What the ends say with a close: a code, a text, and whether another link may fare better.

use countersign_core::wire::{CloseHead, encode_close};
use countersign_core::{
    CloseMode, CloseReason, Config, EndReason, Event, LinkState, Loss, PeerMisbehaved,
    ReceiveChannel, Role, SendChannel, SessionLoss, close as codes,
};

use crate::common::bytes::{
    Entry, Greeting, ack, close, closing, coded, done, message, skip, withdrawing,
};
use crate::common::pair::{ACCEPTOR, OPENER, lasting, paired};
use crate::common::peer::{MAIN, Peer, against_lasting, against_receiver, against_sender, closed};

const TAKEN_BACK: PeerMisbehaved = PeerMisbehaved::CloseReason;

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn failed() -> CloseReason {
    CloseReason::new(3, "no input")
}

/// The peer has said CLOSE; what is left of the close goes through, and this is why the link ends.
fn ends(peer: &mut Peer) -> EndReason {
    peer.say();
    peer.takes(&done());
    peer.say();
    peer.link.handle_eof(peer.now);
    assert!(matches!(peer.events().last(), Some(Event::Ended)));
    peer.link.end_reason().expect("ended").clone()
}

#[test]
fn a_close_says_whether_all_is_well() {
    // [CLOSE-14] [CLOSE-15] [CLOSE-16] [CLOSE-19]
    for again in [false, true] {
        let reason = CloseReason { again, ..failed() };
        let bytes = |list| closing(u8::from(again), 3, list, b"no input");
        against_sender(&Config::default(), |peer| {
            peer.send(b"x");
            peer.say();
            peer.link
                .close_with(peer.now, CloseMode::Drain, reason.clone());
            assert_eq!(peer.say(), bytes(&[(0, 1)]));
            peer.takes(&[close(&[]), ack(0, 1)].concat());
            let end = ends(peer);
            assert_eq!(end, closed(true, reason.clone(), CloseReason::ALL_WELL));
            // What this end has said is no error of what it receives.
            assert!(!end.is_orderly() && end.is_closed() && end.ends_stream());
            assert!(!end.can_retry());
        });
        against_receiver(&receiver(), |peer| {
            peer.takes(&message(0, 1, b"x"));
            peer.takes(&bytes(&[(0, 1)]));
            assert_eq!(peer.link.peer_closes(), Some(&reason));
            // It answers, and has nothing to complain of.
            assert_eq!(peer.say(), close(&[]));
            assert_eq!(peer.take(), Some((1, b"x".to_vec())));
            let end = ends(peer);
            assert_eq!(end, closed(false, CloseReason::ALL_WELL, reason.clone()));
            assert!(!end.is_orderly() && end.is_closed() && !end.ends_stream());
            assert_eq!(end.can_retry(), again);
        });
    }
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(peer.link.peer_closes(), Some(&CloseReason::ALL_WELL));
        let end = ends(peer);
        assert!(end.is_orderly() && end.is_closed() && end.ends_stream());
    });
}

#[test]
fn both_ends_hear_what_the_other_says() {
    // [CLOSE-11] [CLOSE-14] [CLOSE-16]
    let other = CloseReason::new(codes::SESSION_OVER, "").again();
    paired(&Config::default(), &receiver(), |pair| {
        pair.run();
        pair.ends[OPENER].close_with(pair.now, CloseMode::Drain, failed());
        pair.ends[ACCEPTOR].close_with(pair.now, CloseMode::Drain, other.clone());
        pair.run();
        let expected = [
            closed(true, failed(), other.clone()),
            closed(true, other.clone(), failed()),
        ];
        for (end, expected) in pair.ends.iter().zip(&expected) {
            assert_eq!(end.end_reason(), Some(expected));
        }
        assert_eq!(
            expected[0].to_string(),
            "closed by this end: no input (code 3); the peer says: the session is over"
        );
    });
}

#[test]
fn codes_that_nobody_knows_are_passed_on() {
    // [CLOSE-20]
    for code in [1, codes::RESERVED - 1, codes::RESERVED, u32::MAX] {
        against_receiver(&receiver(), |peer| {
            peer.takes(&closing(0, code, &[(0, 0)], b""));
            let end = ends(peer);
            let theirs = CloseReason::new(code, "");
            assert_eq!(end, closed(false, CloseReason::ALL_WELL, theirs));
            assert!(end.to_string().contains(&code.to_string()), "{end}");
        });
    }
    for (code, words) in [
        (codes::SESSION_OVER, "the session is over"),
        (codes::DROPPED, "let go of the link"),
        (codes::GOING_AWAY, "about to end"),
        (codes::WITHDRAWN, "withdrawn"),
    ] {
        let said = CloseReason::new(code, "why").to_string();
        assert!(said.contains(words) && said.ends_with(": why"), "{said}");
    }
}

#[test]
fn the_text_of_a_close_has_its_bound() {
    // [CLOSE-14] [FRAME-3] At the limit, and one above it.
    let limit = "a".repeat(256);
    against_receiver(&receiver(), |peer| {
        peer.takes(&closing(0, 1, &[(0, 0)], limit.as_bytes()));
        assert_eq!(
            peer.link.peer_closes().map(|said| said.text.len()),
            Some(256)
        );
    });
    against_receiver(&receiver(), |peer| {
        let (kind, length) = (0x30, 6 + 10 + 257);
        let long = closing(0, 1, &[(0, 0)], "a".repeat(257).as_bytes());
        peer.refuses(&long, PeerMisbehaved::FrameLength { kind, length }, 1);
    });
    // A link cuts its own, wherever it is written.
    let long = format!("x{}", "ä".repeat(128));
    let reason = CloseReason::new(1, long.clone());
    against_sender(&Config::default(), |peer| {
        peer.link
            .close_with(peer.now, CloseMode::Drain, reason.clone());
        assert_eq!(
            peer.say(),
            closing(0, 1, &[(0, 0)], &long.as_bytes()[..255])
        );
    });
    let head = CloseHead {
        code: 1,
        again: false,
        text: &long,
    };
    let written = encode_close(&head, core::iter::empty(), &mut [0; 300]);
    assert_eq!(written, Ok(8 + 6 + 255));
}

#[test]
fn all_may_be_well_at_first_and_not_later() {
    // [CLOSE-17] The sender has said that all is well, and then withdraws what it named.
    let slow = Config::new().channel(SendChannel::new("main").in_flight(1));
    against_sender(&slow, |peer| {
        peer.send(b"1");
        peer.send(b"2");
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), [close(&[(0, 2)]), message(0, 1, b"1")].concat());
        peer.link
            .close_with(peer.now, CloseMode::Withdraw, failed());
        let worse = closing(0, 3, &[(0, 2)], b"no input");
        assert_eq!(peer.say(), [worse, skip(0, 2)].concat());
        // That CLOSE is final.
        let other = CloseReason::new(4, "");
        for reason in [CloseReason::ALL_WELL, other, failed()] {
            peer.link.close_with(peer.now, CloseMode::Withdraw, reason);
            assert_eq!(peer.say(), []);
        }
        peer.takes(&[close(&[]), ack(0, 2)].concat());
        assert_eq!(ends(peer), closed(true, failed(), CloseReason::ALL_WELL));
    });
    // An end that only answers may find the same.
    against_sender(&slow, |peer| {
        peer.send(b"1");
        peer.say();
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), close(&[(0, 1)]));
        peer.link.close_with(peer.now, CloseMode::Drain, failed());
        assert_eq!(peer.say(), closing(0, 3, &[(0, 1)], b"no input"));
        peer.takes(&ack(0, 1));
        assert_eq!(ends(peer), closed(false, failed(), CloseReason::ALL_WELL));
    });
    // Not with DONE, which says that all is said.
    against_sender(&Config::default(), |peer| {
        peer.takes(&close(&[]));
        assert_eq!(peer.say(), [close(&[(0, 0)]), done()].concat());
        peer.link.close_with(peer.now, CloseMode::Drain, failed());
        assert_eq!(peer.say(), []);
        assert_eq!(ends(peer), EndReason::closed(false));
    });
    // The receiver takes it, also where it has said DONE before.
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.takes(&close(&[(0, 3)]));
        peer.say();
        peer.takes(&closing(0, 3, &[(0, 3)], b"no input"));
        assert_eq!(peer.link.peer_closes(), Some(&failed()));
        peer.take();
        peer.takes(&skip(0, 3));
        assert_eq!(ends(peer), closed(false, CloseReason::ALL_WELL, failed()));
    });
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(peer.say(), [close(&[]), done()].concat());
        peer.takes(&closing(0, 3, &[(0, 0)], b"no input"));
        assert_eq!(ends(peer), closed(false, CloseReason::ALL_WELL, failed()));
    });
}

#[test]
fn what_a_close_withdraws_is_not_all_well() {
    // [CLOSE-21]
    let withdrawn = CloseReason::new(codes::WITHDRAWN, "");
    let slow = Config::new().channel(SendChannel::new("main").in_flight(1));
    let two = |script: &dyn Fn(&mut Peer)| {
        against_sender(&slow, |peer| {
            peer.send(b"1");
            peer.send(b"2");
            assert_eq!(peer.say(), message(0, 1, b"1"));
            script(peer);
        });
    };
    two(&|peer| {
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), withdrawing(&[(0, 1)]));
        // Once, and whatever is said later.
        peer.link
            .close_with(peer.now, CloseMode::Withdraw, failed());
        assert_eq!(peer.say(), []);
        peer.takes(&[close(&[]), ack(0, 1)].concat());
        let end = ends(peer);
        assert_eq!(end, closed(true, withdrawn.clone(), CloseReason::ALL_WELL));
        assert!(end.is_closed() && !end.is_orderly());
    });
    // If the application gives a reason, that is what goes out.
    two(&|peer| {
        peer.link
            .close_with(peer.now, CloseMode::Withdraw, failed());
        assert_eq!(peer.say(), closing(0, 3, &[(0, 1)], b"no input"));
    });
    // If nothing is left to withdraw all is well, and likewise for an end that only answers.
    against_sender(&slow, |peer| {
        peer.send(b"1");
        peer.say();
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), close(&[(0, 1)]));
    });
    two(&|peer| {
        peer.takes(&close(&[]));
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), close(&[(0, 1)]));
    });
    // [CLOSE-17] What CLOSE had promised, it takes back before DONE.
    two(&|peer| {
        peer.link.close(peer.now, CloseMode::Drain);
        assert_eq!(peer.say(), close(&[(0, 2)]));
        peer.link.close(peer.now, CloseMode::Withdraw);
        assert_eq!(peer.say(), [withdrawing(&[(0, 2)]), skip(0, 2)].concat());
        peer.takes(&[close(&[]), ack(0, 2)].concat());
        let expected = closed(true, withdrawn.clone(), CloseReason::ALL_WELL);
        assert_eq!(ends(peer), expected);
    });
    // [CLOSE-19] The receiver has what came, and no end of a stream behind it.
    against_receiver(&receiver(), |peer| {
        peer.takes(&message(0, 1, b"x"));
        peer.takes(&withdrawing(&[(0, 1)]));
        assert_eq!(peer.link.peer_closes(), Some(&withdrawn));
        assert_eq!(peer.take(), Some((1, b"x".to_vec())));
        let end = ends(peer);
        assert_eq!(end, closed(false, CloseReason::ALL_WELL, withdrawn.clone()));
        assert!(!end.ends_stream());
    });
}

#[test]
fn no_other_close_comes_twice() {
    // [CLOSE-17] [CLOSE-3]
    let well = close(&[(0, 3)]);
    let bad = closing(0, 3, &[(0, 3)], b"no input");
    for (first, second, of) in [
        (&well, well.clone(), PeerMisbehaved::AfterClose),
        (&bad, bad.clone(), PeerMisbehaved::AfterClose),
        (&bad, well.clone(), TAKEN_BACK),
        (&bad, closing(0, 4, &[(0, 3)], b"no input"), TAKEN_BACK),
        (&bad, closing(0, 3, &[(0, 3)], b"other"), TAKEN_BACK),
        (&bad, closing(1, 3, &[(0, 3)], b"no input"), TAKEN_BACK),
        (&well, closing(0, 0, &[(0, 3)], b"fine"), TAKEN_BACK),
        (&well, closing(1, 0, &[(0, 3)], b""), TAKEN_BACK),
        (
            &well,
            closing(0, 3, &[(0, 4)], b""),
            PeerMisbehaved::CloseList,
        ),
        (&well, closing(0, 3, &[], b""), PeerMisbehaved::CloseList),
    ] {
        against_receiver(&receiver(), |peer| {
            peer.takes(first);
            peer.refuses(&second, of, 5);
        });
    }
}

/// A receiver that has heard this CLOSE and lost the connection since.
fn cut_after(bytes: &[u8], script: impl Fn(&mut Peer)) {
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(bytes);
        peer.say();
        peer.lose();
        peer.returns();
        script(peer);
    });
}

#[test]
fn a_close_says_the_same_on_the_next_connection() {
    // [RECLOSE-1] [CLOSE-17]
    let bad = closing(0, 3, &[(0, 2)], b"no input");
    cut_after(&bad, |peer| {
        peer.takes(&bad);
        assert_eq!(peer.link.peer_closes(), Some(&failed()));
    });
    cut_after(&close(&[(0, 2)]), |peer| peer.takes(&bad));
    for other in [
        close(&[(0, 2)]),
        closing(0, 4, &[(0, 2)], b"no input"),
        closing(0, 3, &[(0, 2)], b""),
        closing(1, 3, &[(0, 2)], b"no input"),
    ] {
        cut_after(&bad, |peer| peer.refuses(&other, TAKEN_BACK, 5));
    }
    // A link does so by itself, and says what it has been told meanwhile.
    against_lasting(Role::Opener, &Config::default(), |peer| {
        peer.welcome(&[Entry::receive("main")]);
        peer.send(b"x");
        peer.link.close(peer.now, CloseMode::Drain);
        peer.say();
        peer.lose();
        peer.link.close_with(peer.now, CloseMode::Drain, failed());
        let said = peer.resumes([0, 0, 0]);
        let bad = closing(0, 3, &[(0, 1)], b"no input");
        assert_eq!(said, [bad.clone(), message(0, 1, b"x")].concat());
        peer.lose();
        assert_eq!(peer.resumes([1, 1, 0]), bad);
        peer.takes(&close(&[]));
        assert_eq!(ends(peer), closed(true, failed(), CloseReason::ALL_WELL));
    });
}

#[test]
fn a_new_session_does_not_whitewash_the_old_one() {
    // [RECLOSE-5] [RECLOSE-8] The sender says that its input failed, and starts again.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&closing(0, 3, &[(0, 2)], b"no input"));
        peer.say();
        peer.lose();
        peer.link.handle_opened(peer.now).expect("offline");
        peer.link.handle_secured(peer.now, None).expect("securing");
        peer.hear(&Greeting::hello(&[Entry::send("main")]).bytes());
        peer.say();
        let events = peer.events();
        assert!(events.contains(&Event::SessionLost(SessionLoss::StartedAnew)));
        peer.takes(&close(&[(0, 0)]));
        // In the new session that is what is said again.
        peer.say();
        peer.lose();
        let entry = Entry::send("main");
        let session = peer.link.session();
        peer.connect();
        peer.hear(&Greeting::naming(session, &[entry]).bytes());
        peer.say();
        peer.takes(&close(&[(0, 0)]));
        assert_eq!(ends(peer), closed(false, CloseReason::ALL_WELL, failed()));
    });
    // The other way round the new one counts.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&close(&[(0, 2)]));
        peer.say();
        peer.lose();
        peer.link.handle_opened(peer.now).expect("offline");
        peer.link.handle_secured(peer.now, None).expect("securing");
        peer.hear(&Greeting::hello(&[Entry::send("main")]).bytes());
        peer.say();
        peer.takes(&closing(0, 3, &[(0, 0)], b"no input"));
        assert_eq!(ends(peer), closed(false, CloseReason::ALL_WELL, failed()));
    });
    // What an end has to say itself it says in the new session too.
    lasting(&Config::default(), &receiver(), |pair| {
        pair.send(OPENER, MAIN, b"x");
        pair.run();
        pair.ends[OPENER].close_with(pair.now, CloseMode::Drain, failed());
        pair.restart_acceptor();
        pair.reconnect();
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Ended; 2]);
        let expected = closed(false, CloseReason::ALL_WELL, failed());
        assert_eq!(pair.ends[ACCEPTOR].end_reason(), Some(&expected));
    });
}

#[test]
fn a_lost_farewell_does_not_lose_the_reason() {
    // [RECLOSE-7] [RECLOSE-3] DONE has gone out, and the peer does not return.
    against_lasting(Role::Acceptor, &receiver(), |peer| {
        peer.hello(&[Entry::send("main")]);
        peer.takes(&closing(0, 3, &[(0, 0)], b"no input"));
        assert_eq!(peer.say(), [close(&[]), done()].concat());
        peer.lose();
        while peer.link.state() != LinkState::Ended {
            peer.sleep_to_deadline();
        }
        let expected = closed(false, CloseReason::ALL_WELL, failed());
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
}

#[test]
fn a_close_that_breaks_off_is_no_close() {
    // [CLOSE-13] Whatever was said with it.
    against_receiver(&receiver(), |peer| {
        peer.takes(&close(&[(0, 1)]));
        peer.link.handle_eof(peer.now);
        let reason = peer.link.end_reason().expect("ended");
        assert_eq!(reason, &EndReason::Lost(Loss::PeerLeft));
        assert!(!reason.ends_stream());
    });
    against_receiver(&receiver(), |peer| {
        peer.hear(&coded(0x32, 0, 3, b"no"));
        assert!(!peer.link.end_reason().expect("ended").ends_stream());
    });
}
