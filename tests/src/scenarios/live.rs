//! Messages that are good for a limited time, leases, and replies.

use std::thread;
use std::time::{Duration, Instant};

use countersign_core::{
    Config, MAX_REPLY, ReceiveChannel, Rejection, SendChannel, Verdict, VerdictKind, reject,
};
use countersign_driver::{ChannelError, LinkEvent, Outgoing, RequestError};

use super::{back, both_ways, both_ways_lasting, one};
use crate::backend::{Link, Receipt, Receiver};
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        late_in_the_receivers_queue,
        late_on_a_manual_channel,
        late_behind_a_stalled_network: "cuts by itself",
        late_through_a_cut: "cuts by itself",
        good_for_long_enough,
        a_lease_is_held_and_lapses,
        a_lease_lapses_without_the_peer: "cuts by itself",
        leases_of_channels_without,
        replies,
        replies_through_a_cut: "cuts by itself",
        replies_that_are_too_long,
        requests,
    }
}

/// What a short life is: long enough to arrive mostly, and short to wait for.
const LIFE: Duration = Duration::from_millis(50);
/// What is good for this long is not late in any test.
const LONG: Duration = Duration::from_secs(3600);

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> ReceiveChannel {
    ReceiveChannel::new("data")
}

fn good_for(text: &'static str, life: Duration) -> Outgoing {
    Outgoing::from(text).expires_in(life)
}

/// Waits until this many messages wait at the receiver, or the first has its verdict already, and
/// until its life is over.
fn wait_out(to: &dyn Link, count: usize, first: &dyn Receipt) {
    while to.status().link.channels[0].waiting < count && first.verdict().is_none() {
        thread::yield_now();
    }
    // Its life began before this, whenever that was.
    thread::sleep(LIFE);
}

/// A message whose life is over while it waits at the receiver is not delivered, in whatever way the
/// application receives.
fn late_in_the_receivers_queue(pair: &Pair) {
    type Take = fn(&mut (dyn Receiver + 'static)) -> Vec<countersign_core::Bytes>;
    let ways: [Take; 5] = [
        |receiver| vec![receiver.take()],
        |receiver| vec![receiver.recv_message().unwrap().unwrap().0],
        |receiver| loop {
            if let Some(message) = receiver.try_recv().unwrap() {
                return vec![message];
            }
            thread::yield_now();
        },
        |receiver| {
            let mut messages = Vec::new();
            assert_eq!(receiver.recv_batch(&mut messages, 10).unwrap(), 1);
            messages
        },
        |receiver| vec![receiver.next_item().unwrap().unwrap()],
    ];
    both_ways(pair, &send(), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        for (round, way) in (1..).zip(ways) {
            let late = sender.give(good_for("late", LIFE));
            wait_out(to, 1, &*late);
            let fresh = sender.give("fresh");
            assert_eq!(way(&mut *receiver), ["fresh"]);
            assert_eq!(late.wait(), Verdict::Expired);
            assert!(fresh.wait().is_handled());
            assert_eq!(from.report().verdicts()[VerdictKind::Expired], round);
        }
        assert_eq!(to.report().channels[0].delivered, 5);
    });
}

/// The same where the application settles messages, and may still have others.
fn late_on_a_manual_channel(pair: &Pair) {
    both_ways(pair, &send(), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.manual_receiver("data").unwrap();
        let held = sender.give("held");
        let held_here = receiver.take();
        let late = sender.give(good_for("late", LIFE));
        wait_out(to, 1, &*late);
        let last = sender.give(good_for("last", LONG));
        let taken = receiver.take();
        assert_eq!(&taken[..], b"last");
        assert!(taken.age().is_some_and(|age| age.at_most < LONG));
        assert_eq!(
            held_here.age(),
            None,
            "its sender has not said when it sent it"
        );
        assert_eq!(late.wait(), Verdict::Expired);
        let _ = taken.handled();
        let _ = held_here.handled();
        assert!(held.wait().is_handled());
        assert!(last.wait().is_handled());
    });
}

/// What is under way while the network stands still is late when it arrives.
fn late_behind_a_stalled_network(pair: &Pair) {
    both_ways_lasting(pair, &send(), &one(receive()), |from, to, proxy, _| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        assert!(sender.give(good_for("before", LONG)).verdict().is_none());
        assert_eq!(receiver.take(), "before");
        proxy.stall();
        let late: Vec<_> = (0..3)
            .map(|_| sender.give(good_for("late", LIFE)))
            .collect();
        thread::sleep(LIFE);
        let fresh = sender.give(good_for("fresh", LONG));
        proxy.resume();
        assert_eq!(receiver.take(), "fresh");
        for receipt in late {
            assert_eq!(receipt.wait(), Verdict::Expired);
        }
        assert!(fresh.wait().is_handled());
    });
}

/// A message that was late in the receiver's queue gets its verdict over the next connection.
fn late_through_a_cut(pair: &Pair) {
    both_ways_lasting(pair, &send(), &one(receive()), |from, to, proxy, _| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let late = sender.give(good_for("late", LIFE));
        wait_out(&*to, 1, &*late);
        super::away(proxy, [&*from, &*to]);
        assert_eq!(
            receiver.try_recv().unwrap(),
            None,
            "not even while it is away"
        );
        back(proxy, [&*from, &*to]);
        assert_eq!(late.wait(), Verdict::Expired);
        assert!(sender.give("fresh").verdict().is_none());
        assert_eq!(receiver.take(), "fresh");
    });
}

/// A message that arrives in time is delivered, and its age is known.
fn good_for_long_enough(pair: &Pair) {
    both_ways(pair, &send(), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        for _ in 0..3 {
            let sent = Instant::now();
            let receipt = sender.give(good_for("in time", LONG));
            let (message, age) = receiver.recv_message().unwrap().unwrap();
            let most = sent.elapsed();
            assert_eq!(message, "in time");
            let age = age.expect("its sender says when it sent it");
            assert!(age.at_least <= most, "{age} after {most:?}");
            assert!(age.at_least <= age.at_most);
            assert!(receipt.wait().is_handled());
        }
        let receipt = sender.give("whenever");
        assert_eq!(receiver.recv_message().unwrap().unwrap().1, None);
        assert!(receipt.wait().is_handled());
    });
}

/// Authority comes with a message that is taken, and lapses without another.
fn a_lease_is_held_and_lapses(pair: &Pair) {
    let leased = one(receive().lease(LIFE));
    both_ways(pair, &send(), &leased, |from, to| {
        let lease = to.lease("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        assert!(!lease.is_held());
        lease.lapsed();
        for _ in 0..2 {
            thread::scope(|scope| {
                let waits = scope.spawn(|| to.lease("data").unwrap().held());
                // On a slow machine, a message may be too old when it is taken.
                while !waits.is_finished() {
                    let receipt = from.sender("data").unwrap().give("go on");
                    assert_eq!(receiver.take(), "go on");
                    assert!(receipt.wait().is_handled());
                }
                assert!(waits.join().unwrap());
            });
            lease.lapsed();
            assert!(!lease.is_held());
        }
        // Of several changes that nobody has read, the last ones are left.
        let mut held = false;
        loop {
            match to.event() {
                Some(LinkEvent::LeaseHeld { channel }) => held = channel == "data",
                Some(LinkEvent::LeaseLapsed { .. }) if held => break,
                Some(LinkEvent::LeaseLapsed { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

/// It lapses whatever becomes of the connection and of the link.
fn a_lease_lapses_without_the_peer(pair: &Pair) {
    let leased = one(receive().lease(LONG));
    both_ways_lasting(pair, &send(), &leased, |from, to, proxy, _| {
        let lease = to.lease("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let receipt = from.sender("data").unwrap().give("go on");
        assert_eq!(receiver.take(), "go on");
        assert!(lease.held());
        assert!(receipt.wait().is_handled());
        let channel = "data".to_owned();
        assert_eq!(to.event(), Some(LinkEvent::LeaseHeld { channel }));
        super::away(proxy, [&*from, &*to]);
        assert!(lease.is_held(), "it does not depend on the connection");
        back(proxy, [&*from, &*to]);
        assert!(lease.is_held());
        from.start_close(countersign_core::CloseMode::Drain);
        let _ = to.close(countersign_core::CloseMode::Drain);
        lease.lapsed();
        assert!(!lease.held(), "nothing holds it any more");
    });
}

fn leases_of_channels_without(pair: &Pair) {
    let Ends { client, server } = pair.link(send(), one(receive()));
    let name = || "data".to_owned();
    let no_lease = server.lease("data").err();
    assert_eq!(no_lease, Some(ChannelError::NoLease { name: name() }));
    let mode = countersign_core::Mode::Send;
    let other = ChannelError::OtherMode { name: name(), mode };
    assert_eq!(client.lease("data").err(), Some(other));
    assert!(matches!(
        server.lease("other").err(),
        Some(ChannelError::NoSuchChannel { .. })
    ));
}

fn replied(reply: &[u8]) -> Verdict {
    Verdict::Handled(Some(countersign_core::Bytes::copy_from_slice(reply)))
}

/// Replies, rejections and verdicts without content, in one window.
fn replies(pair: &Pair) {
    both_ways(pair, &send(), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let receipts: Vec<_> = (0..5).map(|_| sender.give("?")).collect();
        let mut receiver = to.manual_receiver("data").unwrap();
        let mut deliveries: Vec<_> = (0..5).map(|_| receiver.take()).collect();
        let last = deliveries.remove(4).handled_with(&[7; 256]);
        assert_eq!(last.ok().as_deref(), Some(&b"?"[..]));
        deliveries.remove(3).reject(9, "never");
        let _ = deliveries.remove(2).handled();
        assert!(deliveries.remove(1).handled_with(b"").is_ok());
        assert!(deliveries.remove(0).handled_with(b"first").is_ok());
        let verdicts: Vec<_> = receipts.into_iter().map(Receipt::wait).collect();
        let expected = [
            replied(b"first"),
            replied(b""),
            Verdict::HANDLED,
            Verdict::Rejected(Rejection::new(9, "never")),
            replied(&[7; 256]),
        ];
        assert_eq!(verdicts, expected);
        assert_eq!(
            from.report().verdicts().to_string(),
            "4 handled, 1 rejected"
        );
    });
}

/// A reply that was given while the peer was away arrives when it is back.
fn replies_through_a_cut(pair: &Pair) {
    both_ways_lasting(
        pair,
        &send(),
        &one(receive().manual()),
        |from, to, proxy, _| {
            let sender = from.sender("data").unwrap();
            let mut receiver = to.manual_receiver("data").unwrap();
            let receipt = sender.give("?");
            let delivery = receiver.take();
            super::away(proxy, [&*from, &*to]);
            assert!(delivery.handled_with(b"yes").is_ok());
            assert_eq!(receipt.verdict(), None);
            back(proxy, [&*from, &*to]);
            assert_eq!(receipt.wait(), replied(b"yes"));
        },
    );
}

/// A reply is as long as both ends allow, and a message whose reply was too long still waits.
fn replies_that_are_too_long(pair: &Pair) {
    for (ours, theirs, limit) in [(8, 9, 8), (9, 8, 8), (MAX_REPLY, MAX_REPLY, MAX_REPLY)] {
        let sending = one(SendChannel::new("data").max_reply(ours));
        let receiving = one(receive().manual().max_reply(theirs));
        both_ways(pair, &sending, &receiving, |from, to| {
            let receipt = from.sender("data").unwrap().give("?");
            let delivery = to.manual_receiver("data").unwrap().take();
            let reply = vec![1; limit + 1];
            let (delivery, most) = delivery.handled_with(&reply).unwrap_err();
            assert_eq!(most, limit);
            assert!(delivery.handled_with(&reply[1..]).is_ok());
            assert_eq!(receipt.wait(), replied(&reply[1..]));
        });
    }
}

/// Sending a message and waiting for its reply, as a call.
fn requests(pair: &Pair) {
    both_ways(pair, &send(), &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.manual_receiver("data").unwrap();
        thread::scope(|scope| {
            scope.spawn(|| {
                assert!(receiver.take().handled_with(b"in the kitchen").is_ok());
                let _ = receiver.take().handled();
                drop(receiver.take());
            });
            let reply = sender.request("where?".into()).unwrap();
            assert_eq!(reply.as_deref(), Some(&b"in the kitchen"[..]));
            assert_eq!(sender.request("go".into()).unwrap(), None);
            let error = sender.request("dance".into()).unwrap_err();
            let RequestError::NotHandled(not) = &error else {
                panic!("{error}");
            };
            let Verdict::Rejected(rejection) = not.verdict() else {
                panic!("{error}");
            };
            assert_eq!(rejection.code, reject::DROPPED);
        });
        let late = sender
            .request(good_for("late", Duration::ZERO))
            .unwrap_err();
        assert_eq!(late.to_string(), "the message was not handled: expired");
    });
}
