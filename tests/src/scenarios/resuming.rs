//! Links that outlive their connections: what becomes of messages and of closes.

use std::iter;
use std::thread;
use std::time::{Duration, Instant};

use countersign_core::{
    CloseMode, CloseReason, Config, EndReason, Loss, ReceiveChannel, Rejection, SendChannel,
    Verdict, VerdictKind, close,
};
use countersign_driver::{LinkEvent, Outgoing};

use super::{away, back, both_ways_lasting, lost, one, timeouts};
use crate::backend::{Link, Receipt};
use crate::pair::payload;
use crate::{Direction, Ends, Pair, Proxy};

scenarios! {
    SECURED_OR_PLAIN {
        handles_survive_cuts: "cuts by itself",
        what_was_under_way_goes_out_again: "cuts by itself",
        the_latest_message_is_the_one_that_goes_out: "cuts by itself",
        messages_expire_without_a_connection: "cuts by itself",
        deliveries_are_held_across_cuts: "cuts by itself",
        a_large_message_goes_on_where_it_was_cut: "cuts by itself",
        a_close_waits_for_the_return: "cuts by itself",
        a_close_goes_on_after_the_return: "cuts by itself",
        a_close_for_which_nobody_returns: "cuts by itself",
        handles_dropped_while_away: "cuts by itself",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn manual() -> Config {
    one(ReceiveChannel::new("data").manual())
}

/// Sends a message of which one byte gets through, so that it is on the wire.
fn begin(link: &dyn Link, proxy: &Proxy, direction: Direction, message: &str) -> Box<dyn Receipt> {
    let begun = proxy.passed(direction) + 1;
    proxy.allow(direction, begun);
    let receipt = link.sender("data").unwrap().give(message.to_owned());
    proxy.wait_for(direction, begun);
    receipt
}

/// Both handles stay valid across cuts and report loss and return, and nothing is lost.
fn handles_survive_cuts(pair: &Pair) {
    let (ends, proxy, _listener) = pair.lasting_link(send(), receive());
    let Ends { client, server } = ends;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.receiver("data").unwrap();
    for round in 0..5 {
        let receipt = sender.give(format!("before {round}"));
        assert_eq!(receiver.take(), format!("before {round}"));
        assert!(receipt.wait().is_handled());
        proxy.cut();
        let receipt = sender.give(format!("cut {round}"));
        assert_eq!(receiver.take(), format!("cut {round}"));
        assert!(receipt.wait().is_handled());
        for link in [&client, &server] {
            let (loss, why) = lost(&**link);
            // The opener may be back first.
            let losses = [Loss::PeerLeft, Loss::Transport, Loss::Replaced];
            assert!(losses.contains(&loss), "{loss:?}: {why}");
            assert!(why.contains("connection"), "{why}");
            assert_eq!(link.event(), Some(LinkEvent::Resumed));
        }
    }
    let report = client.close(CloseMode::Drain);
    assert!(report.is_orderly(), "{report}");
    assert_eq!(report.resumes, 5);
    assert_eq!(server.ended().resumes, 5);
    assert_eq!(server.report().channels[0].delivered, 10);
}

/// What was on the wire is sent again, and arrives once. The reports count both.
fn what_was_under_way_goes_out_again(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, direction| {
        let mut receiver = to.receiver("data").unwrap();
        for round in 1..=3 {
            let begun = begin(&*from, proxy, direction, "begun");
            away(proxy, [&*from, &*to]);
            let queued = from.sender("data").unwrap().give("queued");
            assert_eq!((begun.verdict(), queued.verdict()), (None, None));
            back(proxy, [&*from, &*to]);
            assert_eq!(receiver.take(), "begun");
            assert_eq!(receiver.take(), "queued");
            assert!(begun.wait().is_handled() && queued.wait().is_handled());
            assert!(receiver.try_recv().unwrap().is_none());
            let (ours, theirs) = (from.report(), to.report());
            assert_eq!((ours.resumes, theirs.resumes), (round, round));
            assert_eq!(ours.channels[0].replayed, round);
            assert_eq!(theirs.channels[0].delivered, 2 * round);
        }
    });
}

/// `Latest`: what waits for a connection is replaced, and also what was on the wire and did not
/// arrive.
fn the_latest_message_is_the_one_that_goes_out(pair: &Pair) {
    let sending = one(SendChannel::new("data").latest().in_flight(1));
    both_ways_lasting(pair, &sending, &receive(), |from, to, proxy, direction| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        away(proxy, [&*from, &*to]);
        let receipts = ["one", "two", "three"].map(|message| sender.give(message));
        back(proxy, [&*from, &*to]);
        assert_eq!(receiver.take(), "three");
        let verdicts = receipts.map(Receipt::wait);
        let old = Verdict::Superseded;
        assert_eq!(verdicts, [old.clone(), old.clone(), Verdict::HANDLED]);

        let begun = begin(&*from, proxy, direction, "begun");
        let newer = sender.give("newer");
        away(proxy, [&*from, &*to]);
        // Whether it has arrived is not known before the peer is back.
        assert_eq!((begun.verdict(), newer.verdict()), (None, None));
        back(proxy, [&*from, &*to]);
        assert_eq!(receiver.take(), "newer");
        assert_eq!(begun.wait(), old);
        assert!(newer.wait().is_handled());
    });
}

/// Messages expire while there is no connection, and also those that were on the wire and did not
/// arrive.
fn messages_expire_without_a_connection(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, direction| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let expires = |message: &'static str, after| {
            sender.give(Outgoing::from(message).expires(Instant::now() + after))
        };
        const SOON: Duration = Duration::from_millis(20);
        away(proxy, [&*from, &*to]);
        let expiring = expires("expiring", SOON);
        let lasting = sender.give("lasting");
        // Nothing but time has to pass.
        assert_eq!(expiring.wait(), Verdict::Expired);
        back(proxy, [&*from, &*to]);
        assert_eq!(receiver.take(), "lasting");
        assert!(lasting.wait().is_handled());

        let begun = proxy.passed(direction) + 1;
        proxy.allow(direction, begun);
        // On a slow machine it may expire before it goes out: then the next one has more time.
        let (under_way, time) = iter::successors(Some(SOON), |time| Some(*time * 2))
            .find_map(|time| {
                let receipt = expires("under way", time);
                while receipt.verdict().is_none() {
                    if proxy.passed(direction) >= begun {
                        return Some((receipt, time));
                    }
                    thread::yield_now();
                }
                None
            })
            .unwrap();
        away(proxy, [&*from, &*to]);
        // It expires in the same time as this one, which goes out behind it.
        let behind = expires("behind", time);
        assert_eq!(behind.wait(), Verdict::Expired);
        assert_eq!(under_way.verdict(), None);
        back(proxy, [&*from, &*to]);
        assert_eq!(under_way.wait(), Verdict::Expired);
        let receipt = sender.give("after");
        assert_eq!(receiver.take(), "after");
        assert!(receipt.wait().is_handled());
    });
}

/// Messages that a `Manual` receiver holds across cuts stay its own, and are settled whenever it
/// settles them.
fn deliveries_are_held_across_cuts(pair: &Pair) {
    both_ways_lasting(pair, &send(), &manual(), |from, to, proxy, _| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.manual_receiver("data").unwrap();
        let receipts: Vec<_> = (0..6_u8).map(|at| sender.give(vec![at])).collect();
        let mut held: Vec<_> = (0..6).map(|_| receiver.take()).collect();
        let mut settle = |code: u32| {
            let _ = held.remove(0).handled();
            held.remove(0).reject(code, "no");
        };
        settle(1);
        away(proxy, [&*from, &*to]);
        settle(2);
        back(proxy, [&*from, &*to]);
        settle(3);
        away(proxy, [&*from, &*to]);
        back(proxy, [&*from, &*to]);
        let verdicts: Vec<_> = receipts.into_iter().map(Receipt::wait).collect();
        for (pair, code) in verdicts.chunks(2).zip(1..) {
            let reason = "no".to_owned();
            let rejected = Verdict::Rejected(Rejection { code, reason });
            assert_eq!(pair, [Verdict::HANDLED, rejected]);
        }
        assert!(receiver.try_recv().unwrap().is_none());
        assert_eq!(to.report().channels[0].delivered, 6);
    });
}

/// A large message that is cut in the middle goes on there.
fn a_large_message_goes_on_where_it_was_cut(pair: &Pair) {
    const LONG: usize = 4 << 20;
    /// Greetings and heads, and the record that was cut.
    const MORE: u64 = 200_000;
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, direction| {
        let before = proxy.passed(direction);
        proxy.allow(direction, before);
        let receipt = from.sender("data").unwrap().give(payload(LONG, 1));
        for part in 1..4 {
            let through = before + part * LONG as u64 / 4;
            proxy.allow(direction, through);
            if part > 1 {
                for link in [&from, &to] {
                    assert_eq!(link.event(), Some(LinkEvent::Resumed));
                }
            }
            proxy.wait_for(direction, through);
            proxy.cut();
            for link in [&from, &to] {
                let _ = lost(&**link);
            }
        }
        back(proxy, [&*from, &*to]);
        assert!(to.receiver("data").unwrap().take() == payload(LONG, 1));
        assert!(receipt.wait().is_handled());
        let passed = proxy.passed(direction) - before;
        assert!(passed < LONG as u64 + MORE, "{passed} bytes");
    });
}

fn assert_closed(from: &dyn Link, to: &dyn Link) {
    assert_closed_saying(&CloseReason::ALL_WELL, from, to);
}

fn assert_closed_saying(said: &CloseReason, from: &dyn Link, to: &dyn Link) {
    let reasons = [from, to].map(|link| link.ended().end.unwrap().reason().clone());
    let closed = |by_us, ours: &CloseReason, theirs: &CloseReason| EndReason::Closed {
        by_us,
        ours: ours.clone(),
        theirs: theirs.clone(),
    };
    let well = CloseReason::ALL_WELL;
    assert_eq!(
        reasons,
        [closed(true, said, &well), closed(false, &well, said)]
    );
}

/// A close while there is no connection waits for the next one, and what was queued arrives.
fn a_close_waits_for_the_return(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        away(proxy, [&*from, &*to]);
        let receipts = ["one", "two"].map(|message| sender.give(message));
        from.start_close(CloseMode::Drain);
        assert!(sender.send("three".into()).is_err());
        assert!(from.end_reason().is_none());
        proxy.resume();
        assert_eq!(receiver.take_all(), ["one", "two"]);
        assert!(
            receipts
                .into_iter()
                .all(|receipt| receipt.wait().is_handled())
        );
        assert_closed(&*from, &*to);
    });
    // By the end that receives.
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        away(proxy, [&*from, &*to]);
        to.start_close(CloseMode::Drain);
        proxy.resume();
        assert_closed(&*to, &*from);
    });
    // With nothing sent any more that is not on the wire.
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        away(proxy, [&*from, &*to]);
        let receipt = from.sender("data").unwrap().give("unsent");
        from.start_close(CloseMode::Withdraw);
        assert_eq!(receipt.wait(), Verdict::Withdrawn);
        proxy.resume();
        let withdrawn = CloseReason::new(close::WITHDRAWN, "");
        assert_closed_saying(&withdrawn, &*from, &*to);
    });
}

/// A close that a cut comes in between goes on with the next connection.
fn a_close_goes_on_after_the_return(pair: &Pair) {
    both_ways_lasting(pair, &send(), &manual(), |from, to, proxy, _| {
        let mut receiver = to.manual_receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().give("message");
        let delivery = receiver.take();
        from.start_close(CloseMode::Drain);
        assert_eq!(to.event(), Some(LinkEvent::PeerClosing));
        away(proxy, [&*from, &*to]);
        let _ = delivery.handled();
        assert_eq!(receipt.verdict(), None);
        proxy.resume();
        assert!(receipt.wait().is_handled());
        assert!(receiver.recv().unwrap().is_none());
        assert_closed(&*from, &*to);
    });
}

/// A close is given up when the peer does not return for as long as closes may take.
fn a_close_for_which_nobody_returns(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.close = Duration::from_millis(100));
    let sending = send().timeouts(short);
    both_ways_lasting(pair, &sending, &receive(), |from, to, proxy, direction| {
        let begun = begin(&*from, proxy, direction, "begun");
        away(proxy, [&*from, &*to]);
        let queued = from.sender("data").unwrap().give("queued");
        let report = from.close(CloseMode::Drain);
        let end = report.end.unwrap();
        assert_eq!(*end.reason(), EndReason::Lost(Loss::CloseTooSlow));
        assert!(end.io().is_none() && end.security().is_none(), "{end}");
        assert_eq!(begun.wait(), Verdict::Unknown);
        assert_eq!(queued.wait(), Verdict::Withdrawn);
        assert!(to.end_reason().is_none());
    });
}

/// Dropping all handles while there is no connection closes the link in order with the next one.
fn handles_dropped_while_away(pair: &Pair) {
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        let mut receiver = to.receiver("data").unwrap();
        away(proxy, [&*from, &*to]);
        let receipt = from.sender("data").unwrap().give("last words");
        drop(from);
        proxy.resume();
        assert_eq!(receiver.take(), "last words");
        assert!(receipt.wait().is_handled());
        let end = to.ended().end.unwrap();
        let expected = EndReason::Closed {
            by_us: false,
            ours: CloseReason::ALL_WELL,
            theirs: CloseReason::new(close::DROPPED, ""),
        };
        assert_eq!(*end.reason(), expected);
    });
    // The end that receives: messages are not taken.
    both_ways_lasting(pair, &send(), &receive(), |from, to, proxy, _| {
        away(proxy, [&*from, &*to]);
        let receipt = from.sender("data").unwrap().give("too late");
        drop(to);
        proxy.resume();
        let kind = receipt.wait().kind();
        let expected = [VerdictKind::Rejected, VerdictKind::Withdrawn];
        assert!(expected.contains(&kind), "{kind}");
        assert!(from.ended().is_orderly());
    });
}
