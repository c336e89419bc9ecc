//! The reasons that ends give when they close, and what becomes of the peer's messages then.

use std::thread;

use countersign_core::{
    CloseMode, CloseReason, Config, Dialect, EndReason, Loss, ReceiveChannel, SendChannel,
    SendError, Verdict, VerdictKind, close,
};
use countersign_driver::{LinkEvent, RecvError, Report};

use super::{both_ways, one};
use crate::backend::{Link, Receipt};
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        a_failed_sender_is_no_end_of_the_stream,
        both_ends_say_something,
        a_second_thought,
        a_close_that_is_cut_off: "cuts by itself",
        withdrawn_is_not_all_well,
        dropped_without_closing,
        a_receiver_in_hand,
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn failed() -> CloseReason {
    CloseReason::new(3, "the input could not be read")
}

fn reason(report: &Report) -> EndReason {
    report.end.as_ref().unwrap().reason().clone()
}

/// How a link ends that is closed by this end, or by the peer.
fn closed(by_us: bool, ours: CloseReason, theirs: CloseReason) -> EndReason {
    EndReason::Closed {
        by_us,
        ours,
        theirs,
    }
}

fn assert_says(error: &RecvError, expected: &CloseReason) {
    let error = error.link().expect("the end of the link");
    let EndReason::Closed { theirs, .. } = error.reason() else {
        panic!("{error}");
    };
    assert_eq!(theirs, expected);
    assert!(!error.is_orderly());
    assert!(error.to_string().contains(&expected.to_string()), "{error}");
}

/// A sender that could not send everything says so: its receiver gets what came, and then an error,
/// however it receives.
fn a_failed_sender_is_no_end_of_the_stream(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, to| {
        let mut receiver = to.receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        let receipts: Vec<_> = (0..3).map(|_| sender.give("message")).collect();
        from.start_close_with(CloseMode::Drain, failed());
        assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
        assert_eq!(to.peer_closes(), Some(failed()));
        let mut batch = Vec::new();
        while batch.len() < 3 {
            receiver.recv_batch(&mut batch, 10).unwrap();
        }
        for receipt in receipts {
            assert!(receipt.wait().is_handled());
        }
        // As often as it is asked.
        for _ in 0..2 {
            assert_says(&receiver.recv().unwrap_err(), &failed());
            assert_says(&receiver.try_recv().unwrap_err(), &failed());
            assert_says(&receiver.recv_batch(&mut batch, 10).unwrap_err(), &failed());
        }
        let well = CloseReason::ALL_WELL;
        let (ours, theirs) = (from.ended(), to.ended());
        assert_eq!(reason(&ours), closed(true, failed(), well.clone()));
        assert_eq!(reason(&theirs), closed(false, well, failed()));
        assert!(!ours.is_orderly() && !theirs.is_orderly());
        assert_eq!(ours.verdicts().to_string(), "3 handled");
    });
    let manual = one(ReceiveChannel::new("data").manual());
    both_ways(pair, &send(), &manual, |from, to| {
        let mut receiver = to.manual_receiver("data").unwrap();
        from.start_close_with(CloseMode::Drain, failed());
        assert_says(&receiver.recv().unwrap_err(), &failed());
        assert_says(&receiver.try_recv().unwrap_err(), &failed());
    });
}

/// Both ends close and give a reason: each gets the other's.
fn both_ends_say_something(pair: &Pair) {
    let other = CloseReason::new(4, "").again();
    both_ways(pair, &send(), &receive(), |from, to| {
        let receiver = to.receiver("data").unwrap();
        from.start_close_with(CloseMode::Drain, failed());
        to.start_close_with(CloseMode::Drain, other.clone());
        drop(receiver);
        let (ours, theirs) = (reason(&from.ended()), reason(&to.ended()));
        // An end that learned of the close before it asked for it can still say that not all is
        // well, unless its CLOSE had gone out by then.
        let heard = |reason: &EndReason| match reason {
            EndReason::Closed { ours, theirs, .. } => (ours.clone(), theirs.clone()),
            other => panic!("{other}"),
        };
        let (ours, theirs) = (heard(&ours), heard(&theirs));
        assert_eq!(ours, (theirs.1, theirs.0.clone()));
        assert_eq!(ours.0, failed());
        assert!([CloseReason::ALL_WELL, other.clone()].contains(&theirs.0));
    });
}

/// An end has said that all is well, and then does not send what it had promised.
fn a_second_thought(pair: &Pair) {
    let receiving = one(ReceiveChannel::new("data").manual().window(1, 1 << 24));
    both_ways(pair, &send(), &receiving, |from, to| {
        let mut receiver = to.manual_receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        let receipts = [sender.give("one"), sender.give("two")];
        let delivery = receiver.take();
        from.start_close(CloseMode::Drain);
        assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
        assert_eq!(to.peer_closes(), Some(CloseReason::ALL_WELL));
        from.start_close_with(CloseMode::Withdraw, failed());
        let _ = delivery.handled();
        assert_says(&receiver.recv().unwrap_err(), &failed());
        let [one, two] = receipts.map(|receipt| receipt.wait().kind());
        assert_eq!((one, two), (VerdictKind::Handled, VerdictKind::Withdrawn));
        let report = from.ended();
        assert_eq!(
            reason(&report),
            closed(true, failed(), CloseReason::ALL_WELL)
        );
    });
}

/// The peer has said why it closes, and the connection is lost before the close is complete: the
/// reported end has both.
fn a_close_that_is_cut_off(pair: &Pair) {
    let receiving = ReceiveChannel::new("data").manual();
    let (client, server) = (
        send().single_connection(),
        one(receiving).single_connection(),
    );
    let (ends, proxy) = pair.link_through(client, server);
    let (from, to) = (ends.client, ends.server);
    let mut receiver = to.manual_receiver("data").unwrap();
    let receipt = from.sender("data").unwrap().give("in hand");
    let delivery = receiver.take();
    from.start_close_with(CloseMode::Drain, failed());
    assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
    proxy.cut();
    let error = receiver.recv().unwrap_err();
    let error = error.link().expect("the end of the link");
    assert!(matches!(error.reason(), EndReason::Lost(_)), "{error}");
    assert_eq!(error.peer_closes(), Some(&failed()));
    assert!(error.to_string().contains(&failed().to_string()), "{error}");
    let end = to.ended().end.unwrap();
    assert_eq!(end.peer_closes(), Some(&failed()));
    drop(delivery);
    assert_eq!(receipt.wait().kind(), VerdictKind::Unknown);
    // The other end learned that all is well, or nothing.
    let end = from.ended().end.unwrap();
    assert!(end.peer_closes().is_none_or(CloseReason::is_all_well));
}

/// An end closes without waiting for what it has not begun, and gives no reason: its receiver does
/// not take the rest for the whole.
fn withdrawn_is_not_all_well(pair: &Pair) {
    let withdrawn = CloseReason::new(close::WITHDRAWN, "");
    let receiving = one(ReceiveChannel::new("data").manual().window(1, 1 << 24));
    for drains_first in [false, true] {
        both_ways(pair, &send(), &receiving, |from, to| {
            let mut receiver = to.manual_receiver("data").unwrap();
            let sender = from.sender("data").unwrap();
            let receipts = [sender.give("one"), sender.give("two")];
            let delivery = receiver.take();
            if drains_first {
                from.start_close(CloseMode::Drain);
                assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
                assert_eq!(to.peer_closes(), Some(CloseReason::ALL_WELL));
            }
            from.start_close(CloseMode::Withdraw);
            let _ = delivery.handled();
            assert_says(&receiver.recv().unwrap_err(), &withdrawn);
            let [one, two] = receipts.map(|receipt| receipt.wait().kind());
            assert_eq!((one, two), (VerdictKind::Handled, VerdictKind::Withdrawn));
            let (ours, theirs) = (from.ended(), to.ended());
            let well = CloseReason::ALL_WELL;
            assert_eq!(reason(&ours), closed(true, withdrawn.clone(), well.clone()));
            assert_eq!(reason(&theirs), closed(false, well, withdrawn.clone()));
            assert!(!ours.is_orderly() && !theirs.is_orderly());
        });
    }
    // With nothing to withdraw all is well.
    both_ways(pair, &send(), &receive(), |from, to| {
        let mut receiver = to.receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().give("message");
        assert_eq!(receiver.take(), "message");
        assert!(receipt.wait().is_handled());
        assert!(from.close(CloseMode::Withdraw).is_orderly());
        assert!(receiver.recv().unwrap().is_none());
    });
}

/// A program that returns early, or panics, drops its handles: that is not 'all is well'.
fn dropped_without_closing(pair: &Pair) {
    for turned in [false, true] {
        let up = one(SendChannel::new("up")).channel(ReceiveChannel::new("down").manual());
        let down = one(ReceiveChannel::new("up")).channel(SendChannel::new("down"));
        let Ends { client, server } = if turned {
            let Ends { client, server } = pair.link(down, up);
            Ends {
                client: server,
                server: client,
            }
        } else {
            pair.link(up, down)
        };
        let sender = client.sender("up").unwrap();
        let receipt = sender.give("the first of many");
        let mut receiver = server.receiver("up").unwrap();
        assert_eq!(receiver.take(), "the first of many");
        assert!(receipt.wait().is_handled());
        // As a panicking thread drops them.
        drop((sender, client));
        let dropped = CloseReason::new(close::DROPPED, "");
        assert_says(&receiver.recv().unwrap_err(), &dropped);
        let report = server.ended();
        assert_eq!(
            reason(&report),
            closed(false, CloseReason::ALL_WELL, dropped)
        );
    }
}

/// A receiver that is kept while its link is closed does not hold up the close, though its peer
/// never stops sending.
fn a_receiver_in_hand(pair: &Pair) {
    for mode in [CloseMode::Drain, CloseMode::Withdraw] {
        let small = one(SendChannel::new("data").queue(50, 16 << 20));
        both_ways(pair, &small, &receive(), |from, to| {
            let mut receiver = to.receiver("data").unwrap();
            thread::scope(|scope| {
                let sending = scope.spawn(|| {
                    let sender = from.sender("data").unwrap();
                    let mut accepted = 0;
                    loop {
                        match sender.send(vec![7; 1000].into()) {
                            Ok(receipt) => drop(receipt),
                            Err(error) => break assert_closing(error.why(), accepted),
                        }
                        accepted += 1;
                    }
                });
                for _ in 0..100 {
                    assert_eq!(receiver.recv().unwrap().map(|m| m.len()), Some(1000));
                }
                let report = to.close(mode);
                // A close that had waited for the receiver would have run out of time.
                assert_eq!(reason(&report), EndReason::closed(true));
                assert_eq!(report.channels[0].delivered, 100);
                assert!(receiver.recv().unwrap().is_none());
                let accepted = sending.join().unwrap();
                let report = from.ended();
                assert_eq!(reason(&report), EndReason::closed(false));
                let counts = report.verdicts();
                assert_eq!(counts[VerdictKind::Handled], 100, "{report}");
                let others = [VerdictKind::Rejected, VerdictKind::Withdrawn];
                let others: u64 = others.iter().map(|kind| counts[*kind]).sum();
                assert_eq!(100 + others, accepted, "{report}");
                assert_eq!(counts.total(), accepted, "{report}");
            });
        });
    }
}

fn assert_closing(why: SendError, accepted: u64) -> u64 {
    assert!(
        matches!(why, SendError::Closing | SendError::Ended),
        "{why}"
    );
    accepted
}

fn assert_breaks_off(error: &RecvError) {
    let error = error.link().expect("the end of the link");
    let lost = matches!(error.reason(), EndReason::Lost(Loss::PeerLeft));
    assert!(lost && !error.is_orderly(), "{error}");
}

/// The tlsstream dialect has no field for a reason, so an end that is not well is not orderly
/// there.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let dialect = Dialect::TlsStream;
    let (sending, receiving) = (send().dialect(dialect), receive().dialect(dialect));
    both_ways(pair, &sending, &receiving, |from: &dyn Link, to| {
        let mut receiver = to.receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().give("message");
        assert_eq!(receiver.take(), "message");
        assert!(receipt.wait().is_handled());
        let report = from.close_with(CloseMode::Drain, failed());
        assert_eq!(
            reason(&report),
            closed(true, failed(), CloseReason::ALL_WELL)
        );
        assert_breaks_off(&receiver.recv().unwrap_err());
    });
    // What is withdrawn is not well either.
    let narrow = one(ReceiveChannel::new("data").window(1, 1 << 24)).dialect(dialect);
    both_ways(pair, &sending, &narrow, |from, to| {
        let mut receiver = to.receiver("data").unwrap();
        let sender = from.sender("data").unwrap();
        // One at a time is under way, until it is taken.
        let receipts = ["one", "two"].map(|message| sender.give(message));
        from.start_close(CloseMode::Withdraw);
        let error = loop {
            match receiver.recv() {
                Ok(message) => assert_eq!(message.as_deref(), Some(&b"one"[..])),
                Err(error) => break error,
            }
        };
        assert_breaks_off(&error);
        let [_, two] = receipts.map(Receipt::wait);
        assert_eq!(two, Verdict::Withdrawn);
        let withdrawn = CloseReason::new(close::WITHDRAWN, "");
        assert_eq!(
            reason(&from.ended()),
            closed(true, withdrawn, CloseReason::ALL_WELL)
        );
    });
    // With nothing to complain of it is one.
    both_ways(pair, &sending, &receiving, |from, to| {
        let mut receiver = to.receiver("data").unwrap();
        assert!(from.close(CloseMode::Drain).is_orderly());
        assert!(receiver.recv().unwrap().is_none());
    });
}
