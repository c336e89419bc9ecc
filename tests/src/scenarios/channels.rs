//! Many channels, priorities, batches, and handles in many threads.

use std::collections::VecDeque;
use std::thread;

use countersign_core::{
    Bytes, CloseMode, Config, MAX_CHANNELS, ReceiveChannel, SendChannel, SendError, Verdict,
    VerdictKind,
};

use super::{both_ways, one};
use crate::backend::Receipt;
use crate::pair::payload;
use crate::{Direction, Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        as_many_as_there_can_be,
        a_full_channel_holds_up_no_other,
        a_batch_counts_its_verdicts,
        a_batch_may_be_handled_in_part,
        a_batch_stops_at_what_can_not_be_sent,
        senders_in_many_threads,
        an_urgent_message_overtakes: "counts bytes",
    }
}

/// As many channels as there can be, in both directions.
fn as_many_as_there_can_be(pair: &Pair) {
    let name = |at: usize| format!("channel {at}");
    let declare = |odd_sends: bool| {
        (0..MAX_CHANNELS).fold(Config::new(), |config, at| {
            if (at % 2 == 1) == odd_sends {
                config.channel(SendChannel::new(name(at)))
            } else {
                config.channel(ReceiveChannel::new(name(at)))
            }
        })
    };
    let Ends { client, server } = pair.link(declare(true), declare(false));
    let mut receipts = Vec::new();
    for at in 0..MAX_CHANNELS {
        let from = if at % 2 == 1 { &client } else { &server };
        receipts.push(from.sender(&name(at)).unwrap().give(name(at)));
    }
    for (at, receipt) in receipts.into_iter().enumerate() {
        let to = if at % 2 == 1 { &server } else { &client };
        assert_eq!(to.receiver(&name(at)).unwrap().take(), name(at));
        assert!(receipt.wait().is_handled());
    }
}

/// A short message on a channel declared earlier overtakes a long one that is under way.
fn an_urgent_message_overtakes(pair: &Pair) {
    const LONG: usize = 16 << 20;
    let sending = one(SendChannel::new("urgent")).channel(SendChannel::new("bulk"));
    let receiving = one(ReceiveChannel::new("urgent")).channel(ReceiveChannel::new("bulk"));
    let (ends, proxy) = pair.link_through(sending, receiving);
    let Ends { client, server } = ends;
    let begun = proxy.passed(Direction::Up) + (1 << 16);
    proxy.allow(Direction::Up, begun);
    let long = client.sender("bulk").unwrap().give(payload(LONG, 0));
    // It is on its way, and stuck.
    proxy.wait_for(Direction::Up, begun);
    let short = client.sender("urgent").unwrap().give("stop");
    // Enough for what the system's buffers hold by now, and less than the long message.
    proxy.allow(Direction::Up, begun + LONG as u64 - (1 << 20));
    let mut urgent = server.receiver("urgent").unwrap();
    assert_eq!(urgent.take(), "stop");
    assert!(short.wait().is_handled());
    let mut bulk = server.receiver("bulk").unwrap();
    assert!(bulk.try_recv().unwrap().is_none());
    assert_eq!(long.verdict(), None);
    proxy.resume();
    assert!(bulk.take() == payload(LONG, 0));
    assert!(long.wait().is_handled());
}

/// A channel that is not read does not hold up the others.
fn a_full_channel_holds_up_no_other(pair: &Pair) {
    let sending = one(SendChannel::new("full")).channel(SendChannel::new("free"));
    let receiving = one(ReceiveChannel::new("full")
        .max_message(1000)
        .window(2, 1000))
    .channel(ReceiveChannel::new("free"));
    both_ways(pair, &sending, &receiving, |from, to| {
        let full = from.sender("full").unwrap();
        let stuck: Vec<_> = (0..10).map(|_| full.give("stuck")).collect();
        let free = from.sender("free").unwrap();
        let mut receiver = to.receiver("free").unwrap();
        for _ in 0..10 {
            let receipt = free.give(payload(100_000, 0));
            assert_eq!(receiver.take().len(), 100_000);
            assert!(receipt.wait().is_handled());
        }
        assert!(stuck.iter().all(|receipt| receipt.verdict().is_none()));
        from.start_close(CloseMode::Withdraw);
        drop(to.receiver("full").unwrap());
        let verdicts: Vec<_> = stuck.into_iter().map(Receipt::wait).collect();
        assert!(
            verdicts[2..]
                .iter()
                .all(|verdict| *verdict == Verdict::Withdrawn)
        );
    });
}

/// A batch has one receipt, which counts all its verdicts.
fn a_batch_counts_its_verdicts(pair: &Pair) {
    let receive = ReceiveChannel::new("data").manual();
    both_ways(
        pair,
        &one(SendChannel::new("data")),
        &one(receive),
        |from, to| {
            let sender = from.sender("data").unwrap();
            let mut receiver = to.manual_receiver("data").unwrap();
            let before = sender.give("before");
            let mut batch: VecDeque<Bytes> = (0..9_u8).map(|at| Bytes::from(vec![at])).collect();
            let receipt = sender.send_batch(&mut batch).unwrap();
            let after = sender.give("after");
            let _ = receiver.take().handled();
            for at in 0..9_u8 {
                let delivery = receiver.take();
                assert_eq!(delivery[..], [at]);
                if at % 3 == 0 {
                    delivery.reject(5, "");
                } else {
                    let _ = delivery.handled();
                }
            }
            let counts = receipt.wait();
            assert_eq!(counts.to_string(), "6 handled, 3 rejected");
            drop(receiver.take());
            assert!(before.wait().is_handled());
            assert_eq!(after.wait().kind(), VerdictKind::Rejected);
            let empty = sender.send_batch(&mut VecDeque::new()).unwrap();
            assert_eq!(empty.wait().total(), 0);
        },
    );
}

/// A batch whose beginning was acknowledged long before the rest is rejected has all its verdicts
/// then, whatever comes after it.
fn a_batch_may_be_handled_in_part(pair: &Pair) {
    both_ways(
        pair,
        &one(SendChannel::new("data").queue(3, 64 << 20)),
        &one(ReceiveChannel::new("data").manual()),
        |from, to| {
            let sender = from.sender("data").unwrap();
            let mut receiver = to.manual_receiver("data").unwrap();
            let mut batch: VecDeque<Bytes> = (0..3_u8).map(|at| Bytes::from(vec![at])).collect();
            let receipt = sender.send_batch(&mut batch).unwrap();
            let _ = receiver.take().handled();
            // The queue has room once that has come to the sender.
            let after = sender.give("after");
            for _ in 0..3 {
                receiver.take().reject(5, "");
            }
            assert_eq!(after.wait().kind(), VerdictKind::Rejected);
            assert_eq!(receipt.wait().to_string(), "1 handled, 2 rejected");
        },
    );
}

/// A message in the middle of a batch that is too large stops it there.
fn a_batch_stops_at_what_can_not_be_sent(pair: &Pair) {
    let send = SendChannel::new("data").max_message(10);
    both_ways(
        pair,
        &one(send),
        &one(ReceiveChannel::new("data")),
        |from, to| {
            let sender = from.sender("data").unwrap();
            let lengths = [1, 10, 11, 2];
            let mut batch: VecDeque<Bytes> = lengths
                .iter()
                .map(|length| payload(*length, 0).into())
                .collect();
            let refused = sender.send_batch(&mut batch).err().unwrap();
            assert_eq!(
                refused.why(),
                SendError::TooLarge {
                    length: 11,
                    limit: 10
                }
            );
            let left: Vec<_> = batch.iter().map(Bytes::len).collect();
            assert_eq!(left, [11, 2]);
            let mut receiver = to.receiver("data").unwrap();
            assert_eq!(receiver.take().len(), 1);
            assert_eq!(receiver.take().len(), 10);
            let report = from.close(CloseMode::Drain);
            assert_eq!(report.verdicts().to_string(), "2 handled");
            assert!(receiver.take_all().is_empty());
        },
    );
}

/// Clones of a sender work from any thread, beside each other.
fn senders_in_many_threads(pair: &Pair) {
    let names = ["a", "b"];
    let sending = names
        .iter()
        .fold(Config::new(), |c, n| c.channel(SendChannel::new(*n)));
    let receiving = names
        .iter()
        .fold(Config::new(), |c, n| c.channel(ReceiveChannel::new(*n)));
    both_ways(pair, &sending, &receiving, |from, to| {
        thread::scope(|scope| {
            for name in names {
                let sender = from.sender(name).unwrap();
                for thread in 0..4_u8 {
                    let sender = sender.another();
                    scope.spawn(move || {
                        let receipts: Vec<_> =
                            (0..100).map(|at| sender.give(vec![thread, at])).collect();
                        for receipt in receipts {
                            assert!(receipt.wait().is_handled());
                        }
                    });
                }
                let mut receiver = to.receiver(name).unwrap();
                scope.spawn(move || {
                    let mut next = [0; 4];
                    for _ in 0..400 {
                        let message = receiver.take();
                        let thread = usize::from(message[0]);
                        assert_eq!(message[1], next[thread]);
                        next[thread] += 1;
                    }
                });
            }
        });
    });
}
