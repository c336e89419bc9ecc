//! Orderly ends, and ends that can't be orderly.

use std::thread;
use std::time::Duration;

use countersign_core::{
    CloseMode, CloseReason, Config, Dialect, EndReason, Loss, Mode, ReceiveChannel, SendChannel,
    SendError, Verdict, VerdictCounts, VerdictKind, close,
};
use countersign_driver::{LinkEvent, Report};

use super::{both_ways, one, timeouts};
use crate::backend::{Link, Receipt, Receiver};
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        drain,
        idle,
        the_rest_then_none,
        busy_from_the_client,
        busy_from_the_server,
        busy_from_both,
        dropping_all_handles_closes,
        dropping_the_receiving_end,
        after_idling: "a time limit that a return may take longer than; and tlsstream",
        receipts_outlive_links: "a link that ends with its connection",
        a_peer_that_does_not_answer: "ends that are not orderly, by loss",
        a_receiver_that_does_not_take: "ends that are not orderly, by loss",
        cut_while_closing: "a link that ends with its connection",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn reason(report: &Report) -> EndReason {
    report.end.as_ref().unwrap().reason().clone()
}

/// Drain: everything that was accepted arrives, then both ends end in order.
fn drain(pair: &Pair) {
    both_ways(pair, &send(), &receive(), |from, to| {
        let sender = from.sender("data").unwrap();
        let receipts: Vec<_> = (0..500).map(|_| sender.give("message")).collect();
        let mut receiver = to.receiver("data").unwrap();
        let got = thread::scope(|scope| {
            let got = scope.spawn(|| receiver.take_all().len());
            let report = from.close(CloseMode::Drain);
            assert_eq!(reason(&report), EndReason::closed(true));
            assert_eq!(report.verdicts().to_string(), "500 handled");
            got.join().unwrap()
        });
        assert_eq!(got, 500);
        for receipt in receipts {
            assert_eq!(receipt.verdict(), Some(Verdict::HANDLED));
        }
        let report = to.ended();
        assert_eq!(reason(&report), EndReason::closed(false));
        assert_eq!(report.channels[0].delivered, 500);
    });
}

/// An idle link closes from either end; again is no error; nothing can be sent afterwards.
fn idle(pair: &Pair) {
    for (mode, again) in [
        (CloseMode::Drain, CloseMode::Withdraw),
        (CloseMode::Withdraw, CloseMode::Drain),
    ] {
        both_ways(pair, &send(), &receive(), |from, to| {
            assert!(from.end_reason().is_none());
            assert!(from.close(mode).is_orderly());
            assert!(from.close(again).is_orderly());
            assert!(from.end_reason().unwrap().is_orderly());
            assert_eq!(from.event(), None);
            let refused = from.sender("data").unwrap().send("x".into()).err().unwrap();
            assert_eq!(refused.why(), SendError::Ended);
            assert!(
                refused.to_string().contains("closed by this end"),
                "{refused}"
            );
            let mut receiver = to.receiver("data").unwrap();
            assert!(to.ended().is_orderly());
            assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
            assert_eq!(to.event(), None);
            for _ in 0..3 {
                assert!(receiver.recv().unwrap().is_none());
                assert!(receiver.try_recv().unwrap().is_none());
            }
        });
        both_ways(pair, &send(), &receive(), |from, to| {
            assert!(to.close(mode).is_orderly());
            assert!(from.ended().is_orderly());
        });
    }
}

/// A link that was idle for longer than a close may take closes in order: its time counts from the
/// close.
///
/// The only test that waits for time, since time is its subject.
fn after_idling(pair: &Pair) {
    const CLOSE: Duration = Duration::from_millis(200);
    let idle = timeouts(|timeouts| {
        timeouts.close = CLOSE;
        // No ping comes in between.
        timeouts.ping = Duration::from_secs(600);
        timeouts.give_up = Duration::from_secs(1200);
    });
    for dialect in [Dialect::Countersign, Dialect::TlsStream] {
        let sending = send().timeouts(idle).dialect(dialect);
        let receiving = receive().timeouts(idle).dialect(dialect);
        for sender_closes in [true, false] {
            both_ways(pair, &sending, &receiving, |from, to| {
                let (closing, other) = if sender_closes {
                    (from, to)
                } else {
                    (to, from)
                };
                thread::sleep(CLOSE + Duration::from_millis(50));
                let report = closing.close(CloseMode::Drain);
                assert_eq!(reason(&report), EndReason::closed(true));
                assert_eq!(reason(&other.ended()), EndReason::closed(false));
            });
        }
    }
}

/// What has arrived stays receivable after the close.
fn the_rest_then_none(pair: &Pair) {
    // An unclaimed channel rejects at close, so the receiver is claimed first.
    both_ways(
        pair,
        &send(),
        &one(ReceiveChannel::new("data").manual()),
        |from, to| {
            let mut receiver = to.manual_receiver("data").unwrap();
            let sender = from.sender("data").unwrap();
            let receipts = [sender.give("one"), sender.give("two")];
            from.start_close(CloseMode::Drain);
            assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
            // The link can't end before these are handled.
            let (one, two) = (receiver.take(), receiver.take());
            assert!(receiver.try_recv().unwrap().is_none());
            assert!(from.end_reason().is_none());
            let _ = one.handled();
            two.reject(9, "no");
            let [one, two] = receipts.map(Receipt::wait);
            assert_eq!(
                (one.kind(), two.kind()),
                (VerdictKind::Handled, VerdictKind::Rejected)
            );
            assert!(receiver.recv().unwrap().is_none());
            assert!(from.ended().is_orderly() && to.ended().is_orderly());
        },
    );
}

/// Sends on a link that is being closed until it is refused, and returns how many messages were
/// accepted.
fn send_until_refused(link: &dyn Link, channel: &str) -> u64 {
    let sender = link.sender(channel).unwrap();
    let mut accepted = 0;
    let error = loop {
        match sender.send(vec![7; 1000].into()) {
            Ok(receipt) => {
                accepted += 1;
                drop(receipt);
            }
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error.why(), SendError::Closing | SendError::Ended),
        "{error}"
    );
    accepted
}

fn adds_up(report: &Report, accepted: u64) -> VerdictCounts {
    let counts = report.verdicts();
    let EndReason::Closed { ours, theirs, .. } = reason(report) else {
        panic!("{report}");
    };
    // Only what was withdrawn is not well.
    let withdrawn = CloseReason::new(close::WITHDRAWN, "");
    for said in [&ours, &theirs] {
        assert!(said.is_all_well() || *said == withdrawn, "{report}");
    }
    assert!(
        ours.is_all_well() || counts[VerdictKind::Withdrawn] > 0,
        "{report}"
    );
    assert_eq!(counts.total(), accepted, "{report}");
    assert_eq!(counts[VerdictKind::Unknown], 0, "{report}");
    counts
}

fn delivered(report: &Report) -> u64 {
    let receiving = report
        .channels
        .iter()
        .filter(|channel| channel.mode == Mode::Receive);
    receiving.map(|channel| channel.delivered).sum()
}

/// Whether another message has arrived, rather than the end, with which the peer may say that it
/// has withdrawn the rest.
fn takes_more(receiver: &mut dyn Receiver) -> bool {
    let error = match receiver.recv() {
        Ok(message) => return message.is_some(),
        Err(error) => error,
    };
    let end = error.link().expect("the end of the link").reason();
    assert!(
        matches!(end, EndReason::Closed { theirs, .. } if theirs.code == close::WITHDRAWN),
        "{error}"
    );
    false
}

/// Closes a link that is busy in both directions, and adds up what both ends report.
fn busy(pair: &Pair, client_closes: Option<CloseMode>, server_closes: Option<CloseMode>) {
    let small = |name| SendChannel::new(name).queue(50, 16 << 20);
    let Ends { client, server } = pair.link(
        one(small("up")).channel(ReceiveChannel::new("down")),
        one(ReceiveChannel::new("up")).channel(small("down")),
    );
    let (up, down) = (
        server.receiver("up").unwrap(),
        client.receiver("down").unwrap(),
    );
    thread::scope(|scope| {
        let sent_up = scope.spawn(|| send_until_refused(&*client, "up"));
        let sent_down = scope.spawn(|| send_until_refused(&*server, "down"));
        let drink = |mut receiver: Box<dyn Receiver>, link, mode| {
            let link: &dyn Link = link;
            move || {
                let mut count = 0;
                while takes_more(&mut *receiver) {
                    count += 1;
                    if count == 100
                        && let Some(mode) = mode
                    {
                        link.start_close(mode);
                    }
                }
                count
            }
        };
        let got_up = scope.spawn(drink(up, &*server, server_closes));
        let got_down = scope.spawn(drink(down, &*client, client_closes));
        let (ours, theirs) = (client.ended(), server.ended());
        let ours_counts = adds_up(&ours, sent_up.join().unwrap());
        let theirs_counts = adds_up(&theirs, sent_down.join().unwrap());
        let handled = (got_up.join().unwrap(), got_down.join().unwrap());
        assert_eq!(ours_counts[VerdictKind::Handled], handled.0, "{ours}");
        assert_eq!(theirs_counts[VerdictKind::Handled], handled.1, "{theirs}");
        assert_eq!((delivered(&theirs), delivered(&ours)), handled);
    });
}

const MODES: [CloseMode; 3] = [CloseMode::DrainBoth, CloseMode::Drain, CloseMode::Withdraw];

/// The opener closes a busy link.
fn busy_from_the_client(pair: &Pair) {
    for mode in MODES {
        busy(pair, Some(mode), None);
    }
}

/// The acceptor closes a busy link.
fn busy_from_the_server(pair: &Pair) {
    for mode in MODES {
        busy(pair, None, Some(mode));
    }
}

/// Both ends close a busy link, as it happens at once.
fn busy_from_both(pair: &Pair) {
    for mode in MODES {
        for other in MODES {
            busy(pair, Some(mode), Some(other));
        }
    }
}

/// Dropping all handles of an end closes the link in order, after what was sent.
fn dropping_all_handles_closes(pair: &Pair) {
    for turned in [false, true] {
        let (a, b) = if turned {
            (receive(), send())
        } else {
            (send(), receive())
        };
        let Ends { client, server } = pair.link(a, b);
        let (from, to) = if turned {
            (server, client)
        } else {
            (client, server)
        };
        let sender = from.sender("data").unwrap();
        drop(from);
        let receipt = sender.give("first");
        let another = sender.another();
        drop(sender);
        let last = another.give("last");
        drop(another);
        let mut receiver = to.receiver("data").unwrap();
        let got = [receiver.take(), receiver.take()];
        assert_eq!(got, ["first", "last"]);
        assert!(reason(&to.ended()).is_closed());
        // Receipts outlive the link.
        assert!(receipt.wait().is_handled());
        assert!(last.wait().is_handled());
    }
}

/// Dropping an end that only receives closes the link too, and what was not taken is rejected.
fn dropping_the_receiving_end(pair: &Pair) {
    let Ends { client, server } = pair.link(send(), receive());
    let sender = client.sender("data").unwrap();
    let receipt = sender.give("message");
    drop(server);
    let verdict = receipt.wait();
    // Rejected where it arrived in time, withdrawn where the close was faster.
    assert!(
        matches!(
            verdict.kind(),
            VerdictKind::Rejected | VerdictKind::Withdrawn
        ),
        "{verdict}"
    );
    assert!(client.ended().is_orderly());
}

/// Receipts outlive the links, the senders and the connection that they came from.
fn receipts_outlive_links(pair: &Pair) {
    let (ends, proxy) = pair.link_through(send(), receive());
    let Ends { client, server } = ends;
    let sender = client.sender("data").unwrap();
    let receipt = sender.give("message");
    proxy.cut();
    let _ = client.ended();
    drop((sender, client, server, proxy));
    let kind = receipt.wait().kind();
    assert!(
        matches!(kind, VerdictKind::Unknown | VerdictKind::Withdrawn),
        "{kind}"
    );
}

/// A peer that never answers: the close is given up after its time.
fn a_peer_that_does_not_answer(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.close = Duration::from_secs(1));
    let (ends, proxy) = pair.link_through(send().timeouts(short), receive());
    let Ends { client, server } = ends;
    proxy.stall();
    let receipt = client.sender("data").unwrap().give("message");
    let report = client.close(CloseMode::Drain);
    assert_eq!(reason(&report), EndReason::Lost(Loss::CloseTooSlow));
    assert_eq!(receipt.wait(), Verdict::Unknown);
    proxy.cut();
    assert!(!server.ended().is_orderly());
}

/// A receiver that does not take what was sent holds up a close, no longer than its time.
fn a_receiver_that_does_not_take(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.close = Duration::from_millis(100));
    let Ends { client, server } = pair.link(send().timeouts(short), receive());
    let mut receiver = server.receiver("data").unwrap();
    let receipt = client.sender("data").unwrap().give("message");
    let report = client.close(CloseMode::Drain);
    assert_eq!(reason(&report), EndReason::Lost(Loss::CloseTooSlow));
    assert_eq!(receipt.wait(), Verdict::Unknown);
    assert!(!server.ended().is_orderly());
    assert_eq!(receiver.take(), "message");
    assert!(receiver.recv().is_err());
}

/// A connection that breaks while the link is being closed is a lost one.
fn cut_while_closing(pair: &Pair) {
    let receiving = one(ReceiveChannel::new("data").manual());
    let (ends, proxy) = pair.link_through(send(), receiving);
    let Ends { client, server } = ends;
    let mut receiver = server.manual_receiver("data").unwrap();
    let receipt = client.sender("data").unwrap().give("message");
    let delivery = receiver.take();
    client.start_close(CloseMode::Drain);
    assert_eq!(server.event(), Some(LinkEvent::PeerClosing));
    proxy.cut();
    assert_eq!(receipt.wait(), Verdict::Unknown);
    for report in [client.ended(), server.ended()] {
        assert!(matches!(reason(&report), EndReason::Lost(_)), "{report}");
    }
    drop(delivery);
}
