//! Every verdict that a receipt can end in.

use std::time::{Duration, Instant};

use countersign_core::{
    CloseMode, CloseReason, EndReason, MAX_REASON, ReceiveChannel, Rejection, SendChannel, Verdict,
    VerdictKind, close, reject,
};
use countersign_driver::{LinkError, LinkEvent, Outgoing};

use super::{both_ways, one};
use crate::backend::{Link, Receipt};
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        handled_by_being_taken,
        handled_when_said_so,
        rejected_with_code_and_reason,
        rejected_by_dropping_the_delivery,
        rejected_by_dropping_the_receiver,
        superseded,
        latest_keeps_two_in_flight,
        in_flight_holds_back,
        expired,
        withdrawn_by_close,
        unknown_after_a_cut: "a link that ends with its connection",
        the_rest_before_the_error: "a link that ends with its connection",
    }
}

fn send() -> SendChannel {
    SendChannel::new("data")
}

fn receive() -> ReceiveChannel {
    ReceiveChannel::new("data")
}

fn rejected(code: u32, reason: &str) -> Verdict {
    let reason = reason.to_owned();
    Verdict::Rejected(Rejection { code, reason })
}

/// How many messages of a link got a verdict of this kind.
fn counted(link: &dyn Link, kind: VerdictKind) -> u64 {
    link.report().verdicts()[kind]
}

/// `Auto`: handled by being taken, and not before.
fn handled_by_being_taken(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let first = sender.give("one");
        let second = sender.give("two");
        assert_eq!((first.sequence(), second.sequence()), (1, 2));
        assert_eq!(second.verdict(), None);
        let mut receiver = to.receiver("data").unwrap();
        assert_eq!(receiver.take(), "one");
        assert_eq!(receiver.take(), "two");
        assert_eq!(first.wait(), Verdict::HANDLED);
        assert_eq!(second.wait(), Verdict::HANDLED);
        assert_eq!(counted(from, VerdictKind::Handled), 2);
        assert_eq!(to.report().channels[0].delivered, 2);
    });
}

/// `Manual`: handled when the application says so, in whatever order.
fn handled_when_said_so(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let first = sender.give("one");
        let second = sender.give("two");
        let mut receiver = to.manual_receiver("data").unwrap();
        let (one, two) = (receiver.take(), receiver.take());
        assert_eq!((one.sequence(), two.sequence()), (1, 2));
        assert_eq!(two.handled(), "two");
        // What is acknowledged is a prefix, so the second waits for the first.
        assert_eq!(second.verdict(), None);
        assert_eq!(one.handled(), "one");
        assert_eq!(first.wait(), Verdict::HANDLED);
        assert_eq!(second.wait(), Verdict::HANDLED);
    });
}

/// The application refuses a message with a code and a reason; its neighbours are handled.
fn rejected_with_code_and_reason(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let receipts: Vec<_> = (0..3).map(|_| sender.give("message")).collect();
        let mut receiver = to.manual_receiver("data").unwrap();
        let deliveries: Vec<_> = (0..3).map(|_| receiver.take()).collect();
        for (at, delivery) in deliveries.into_iter().enumerate() {
            if at == 1 {
                delivery.reject(77, "disk full: größer geht nicht");
            } else {
                let _ = delivery.handled();
            }
        }
        let verdicts: Vec<_> = receipts.into_iter().map(Receipt::wait).collect();
        let no = rejected(77, "disk full: größer geht nicht");
        assert_eq!(verdicts, [Verdict::HANDLED, no, Verdict::HANDLED]);
        let long = sender.give("message");
        receiver.take().reject(1, &"é".repeat(MAX_REASON));
        let Verdict::Rejected(cut) = long.wait() else {
            panic!("rejected");
        };
        assert_eq!(cut.reason, "é".repeat(MAX_REASON / 2));
    });
}

/// Dropping a message rejects it.
fn rejected_by_dropping_the_delivery(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive().manual()), |from, to| {
        let receipt = from.sender("data").unwrap().give("message");
        let mut receiver = to.manual_receiver("data").unwrap();
        drop(receiver.take());
        assert_eq!(receipt.wait(), rejected(reject::DROPPED, ""));
    });
}

/// Dropping the receiver rejects what waits, what was taken unhandled, and what comes.
fn rejected_by_dropping_the_receiver(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let taken = sender.give("taken");
        let waiting = sender.give("waiting");
        let mut receiver = to.manual_receiver("data").unwrap();
        let delivery = receiver.take();
        drop(receiver);
        let _ = delivery.handled();
        assert_eq!(taken.wait(), Verdict::HANDLED);
        let nobody = |verdict| match verdict {
            Verdict::Rejected(rejection) => assert_eq!(rejection.code, reject::NO_RECEIVER),
            other => panic!("{other}"),
        };
        nobody(waiting.wait());
        nobody(sender.deliver("later"));
    });
    both_ways(pair, &one(send()), &one(receive()), |from, to| {
        drop(to.receiver("data").unwrap());
        let verdict = from.sender("data").unwrap().deliver("message");
        assert_eq!(verdict.kind(), VerdictKind::Rejected);
    });
}

/// `Latest`: a newer message replaces one that is not on the wire.
fn superseded(pair: &Pair) {
    let sending = one(send().latest().in_flight(1));
    both_ways(pair, &sending, &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let first = sender.give("first");
        let mut receiver = to.manual_receiver("data").unwrap();
        let delivery = receiver.take();
        // One is in flight, and no more are allowed to be.
        let old: Vec<_> = (0..5).map(|_| sender.give("old")).collect();
        let newest = sender.give("newest");
        for receipt in old {
            assert_eq!(receipt.wait(), Verdict::Superseded);
        }
        let _ = delivery.handled();
        assert_eq!(first.wait(), Verdict::HANDLED);
        assert_eq!(receiver.take().handled(), "newest");
        assert_eq!(newest.wait(), Verdict::HANDLED);
        assert_eq!(counted(from, VerdictKind::Superseded), 5);
    });
}

/// `Latest` keeps two messages in flight unless told otherwise.
fn latest_keeps_two_in_flight(pair: &Pair) {
    both_ways(
        pair,
        &one(send().latest()),
        &one(receive().manual()),
        |from, to| {
            let sender = from.sender("data").unwrap();
            let mut receiver = to.manual_receiver("data").unwrap();
            let first = sender.give("first");
            let one = receiver.take();
            let second = sender.give("second");
            let two = receiver.take();
            let third = sender.give("third");
            let fourth = sender.give("fourth");
            assert_eq!(third.wait(), Verdict::Superseded);
            let _ = one.handled();
            let four = receiver.take();
            assert_eq!(four.handled(), "fourth");
            let _ = two.handled();
            for receipt in [first, second, fourth] {
                assert_eq!(receipt.wait(), Verdict::HANDLED);
            }
        },
    );
}

/// `Reliable` with a limit on what is in flight: held back, not replaced.
fn in_flight_holds_back(pair: &Pair) {
    both_ways(
        pair,
        &one(send().in_flight(1)),
        &one(receive().manual()),
        |from, to| {
            let sender = from.sender("data").unwrap();
            let mut receiver = to.manual_receiver("data").unwrap();
            let receipts: Vec<_> = (0..3).map(|at| sender.give(vec![at])).collect();
            for (at, receipt) in receipts.into_iter().enumerate() {
                let delivery = receiver.take();
                assert_eq!(usize::from(delivery[0]), at);
                // The next one is only sent once this one's acknowledgement is on its way.
                assert!(receiver.try_recv().unwrap().is_none());
                let _ = delivery.handled();
                assert_eq!(receipt.wait(), Verdict::HANDLED);
            }
        },
    );
}

/// A message that is not on the wire by its expiry is dropped, the ones behind it are not.
fn expired(pair: &Pair) {
    let receiving = one(receive().manual().window(1, 1 << 24));
    both_ways(pair, &one(send()), &receiving, |from, to| {
        let sender = from.sender("data").unwrap();
        let now = Instant::now();
        let first = sender.give("first");
        let mut receiver = to.manual_receiver("data").unwrap();
        let delivery = receiver.take();
        // The window is full, so nothing more is put on the wire.
        let soon = sender.give(Outgoing::from("soon").expires(now + Duration::from_millis(20)));
        let past = sender.give(Outgoing::from("past").expires(now));
        let late = Outgoing::from("late").expires(now + Duration::from_secs(3600));
        let late = sender.give(late);
        assert_eq!(past.wait(), Verdict::Expired);
        assert_eq!(soon.wait(), Verdict::Expired);
        assert_eq!(late.verdict(), None);
        let _ = delivery.handled();
        let delivery = receiver.take();
        assert_eq!((delivery.sequence(), &delivery[..]), (4, &b"late"[..]));
        let _ = delivery.handled();
        assert_eq!(first.wait(), Verdict::HANDLED);
        assert_eq!(late.wait(), Verdict::HANDLED);
    });
}

/// How a link ends that is closed by this end, or by the peer.
fn closed(by_us: bool, ours: CloseReason, theirs: CloseReason) -> EndReason {
    EndReason::Closed {
        by_us,
        ours,
        theirs,
    }
}

/// Closing withdraws what is not on the wire, at the end that closes and at the other.
fn withdrawn_by_close(pair: &Pair) {
    let receiving = one(receive().manual().window(1, 1 << 24));
    for peer_closes in [false, true] {
        both_ways(pair, &one(send()), &receiving, |from, to| {
            let sender = from.sender("data").unwrap();
            let on_the_wire = sender.give("one");
            let mut receiver = to.manual_receiver("data").unwrap();
            let delivery = receiver.take();
            let unsent = sender.give("two");
            if peer_closes {
                to.start_close(CloseMode::Drain);
                assert_eq!(from.event(), Some(LinkEvent::PeerClosing));
            } else {
                from.start_close(CloseMode::Withdraw);
            }
            assert_eq!(unsent.wait(), Verdict::Withdrawn);
            let refused = sender.try_send("three".into()).err().unwrap();
            assert_eq!(refused.into_message(), "three");
            let _ = delivery.handled();
            assert_eq!(on_the_wire.wait(), Verdict::HANDLED);
            let (ours, theirs) = (from.ended(), to.ended());
            assert_eq!(ours.verdicts().total(), 2);
            // An end that only answers has nothing to complain of.
            let well = CloseReason::ALL_WELL;
            let said = match peer_closes {
                true => well.clone(),
                false => CloseReason::new(close::WITHDRAWN, ""),
            };
            let expected = [
                closed(!peer_closes, said.clone(), well.clone()),
                closed(peer_closes, well, said),
            ];
            let reasons = [ours, theirs].map(|report| report.end.unwrap().reason().clone());
            assert_eq!(reasons, expected);
            assert_eq!(from.event(), None);
        });
    }
}

/// A connection that breaks leaves what was on the wire unknown, and withdraws the rest.
fn unknown_after_a_cut(pair: &Pair) {
    let receiving = one(receive().manual().window(2, 1 << 24));
    let (ends, proxy) = pair.link_through(one(send()), receiving);
    let Ends { client, server } = ends;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.manual_receiver("data").unwrap();
    let handled = sender.give("handled");
    let _ = receiver.take().handled();
    assert_eq!(handled.wait(), Verdict::HANDLED);
    let taken = sender.give("taken");
    let waiting = sender.give("waiting");
    let unsent = sender.give("unsent");
    let delivery = receiver.take();
    let second = receiver.take();
    proxy.cut();
    assert_eq!(taken.wait(), Verdict::Unknown);
    assert_eq!(waiting.wait(), Verdict::Unknown);
    assert_eq!(unsent.wait(), Verdict::Withdrawn);
    let report = client.ended();
    assert_eq!(
        report.verdicts().to_string(),
        "1 handled, 1 withdrawn, 2 unknown"
    );
    let lost = report.end.unwrap();
    assert!(matches!(lost.reason(), EndReason::Lost(_)), "{lost}");
    assert!(lost.can_retry() && !lost.is_orderly());
    let report = server.ended();
    assert!(matches!(report.end.unwrap().reason(), EndReason::Lost(_)));
    // Too late, and no harm.
    let _ = delivery.handled();
    second.reject(1, "too late");
    let lost = receiver.recv().unwrap_err();
    let reason = lost.link().map(LinkError::reason);
    assert!(matches!(reason, Some(EndReason::Lost(_))), "{lost}");
    let refused = sender.send("more".into()).err().unwrap();
    assert!(refused.link().is_some());
}

/// What has arrived before the link is lost can still be received, then comes the error, for ever.
fn the_rest_before_the_error(pair: &Pair) {
    let sending = one(send()).channel(SendChannel::new("last"));
    let receiving = one(receive()).channel(ReceiveChannel::new("last"));
    let (ends, proxy) = pair.link_through(sending, receiving);
    let Ends { client, server } = ends;
    let sender = client.sender("data").unwrap();
    let receipts: Vec<_> = (0..3_u8).map(|at| sender.give(vec![at])).collect();
    // What is sent on another channel afterwards arrives afterwards.
    assert!({
        let receipt = client.sender("last").unwrap().give("last");
        let _ = server.receiver("last").unwrap().take();
        receipt.wait().is_handled()
    });
    proxy.cut();
    for receipt in receipts {
        assert_eq!(receipt.wait(), Verdict::Unknown);
    }
    let _ = server.ended();
    let mut receiver = server.receiver("data").unwrap();
    for at in 0..3_u8 {
        assert_eq!(receiver.take()[..], [at]);
    }
    assert!(receiver.recv().is_err() && receiver.try_recv().is_err());
    assert!(receiver.recv_batch(&mut Vec::new(), 10).is_err());
}
