//! Back-pressure: queues that are full, and what happens when there is room again.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use countersign_core::{Bytes, ReceiveChannel, SendChannel, VerdictKind};

use super::{both_ways, one};
use crate::backend::Link;
use crate::pair::payload;
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        a_full_queue_hands_back,
        a_full_queue_of_bytes,
        send_waits_for_room,
        a_large_message_waits_for_its_room,
        many_wait_for_room,
        a_batch_larger_than_the_queue,
        both_ends_full,
    }
}

const QUEUE: usize = 4;

fn send() -> SendChannel {
    SendChannel::new("data")
        .max_message(1 << 20)
        .queue(QUEUE, 1 << 20)
}

fn receive() -> ReceiveChannel {
    ReceiveChannel::new("data").max_message(1 << 20)
}

/// What does not fit into the queue is handed back, and nothing is kept of it.
fn a_full_queue_hands_back(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let accepted: Vec<_> = (0..QUEUE)
            .map(|_| sender.try_send("x".into()).unwrap())
            .collect();
        for _ in 0..3 {
            let refused = sender.try_send("back".into()).err().unwrap();
            assert!(refused.is_blocked() && refused.link().is_none());
            assert_eq!(refused.into_message(), "back");
        }
        let mut receiver = to.receiver("data").unwrap();
        for receipt in accepted {
            assert_eq!(receiver.take(), "x");
            assert!(receipt.wait().is_handled());
        }
        assert!(sender.try_send("room".into()).unwrap().sequence() == QUEUE as u64 + 1);
        assert_eq!(receiver.take(), "room");
    });
}

/// The queue has a separate bound in bytes.
fn a_full_queue_of_bytes(pair: &Pair) {
    let sending = one(send().queue(1000, 1 << 20));
    both_ways(pair, &sending, &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let large = sender.try_send(payload(1 << 20, 0).into()).unwrap();
        assert!(sender.try_send("y".into()).err().unwrap().is_blocked());
        // A message without content takes no room.
        let empty = sender.try_send("".into()).unwrap();
        let mut receiver = to.receiver("data").unwrap();
        assert_eq!(receiver.take(), payload(1 << 20, 0));
        assert!(large.wait().is_handled());
        assert!(receiver.take().is_empty());
        assert!(empty.wait().is_handled());
        let again = sender.try_send(payload(1 << 20, 1).into()).unwrap();
        assert_eq!(receiver.take().len(), 1 << 20);
        assert!(again.wait().is_handled());
    });
}

/// `send` waits for room, and goes on when the receiver has taken something.
fn send_waits_for_room(pair: &Pair) {
    let sending = one(send()).channel(SendChannel::new("meanwhile"));
    let receiving = one(receive()).channel(ReceiveChannel::new("meanwhile"));
    both_ways(pair, &sending, &receiving, |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        for _ in 0..QUEUE {
            let _ = sender.give("fill");
        }
        let taken = AtomicBool::new(false);
        let (full, is_full) = mpsc::channel();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let refused = sender.try_send("waited".into()).err().unwrap();
                assert!(refused.is_blocked());
                full.send(()).unwrap();
                let receipt = sender.give(refused.into_message());
                assert!(taken.load(Ordering::SeqCst), "there was no room");
                receipt
            });
            is_full.recv().unwrap();
            // A `send` that does not wait is back long before all of these have been.
            let mut meanwhile = to.receiver("meanwhile").unwrap();
            for _ in 0..50 {
                let receipt = from.sender("meanwhile").unwrap().give("message");
                assert_eq!(meanwhile.take(), "message");
                assert!(receipt.wait().is_handled());
            }
            // Before the first is taken, since that makes room at once.
            taken.store(true, Ordering::SeqCst);
            for _ in 0..QUEUE {
                assert_eq!(receiver.take(), "fill");
            }
            assert_eq!(receiver.take(), "waited");
            assert!(waiting.join().unwrap().wait().is_handled());
        });
    });
}

/// A large message waits while there is room for small ones only.
fn a_large_message_waits_for_its_room(pair: &Pair) {
    let sending = one(send().queue(1000, 1 << 20));
    both_ways(pair, &sending, &one(receive().manual()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.manual_receiver("data").unwrap();
        let half: Vec<_> = (0..2).map(|_| sender.give(payload(1 << 19, 0))).collect();
        let last = AtomicBool::new(false);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let receipt = sender.give(payload(1 << 20, 1));
                assert!(last.load(Ordering::SeqCst), "there was no room");
                receipt
            });
            let (first, second) = (receiver.take(), receiver.take());
            let _ = first.handled();
            let mut half = half.into_iter();
            assert!(half.next().unwrap().wait().is_handled());
            last.store(true, Ordering::SeqCst);
            let _ = second.handled();
            let large = receiver.take();
            assert_eq!(large.len(), 1 << 20);
            let _ = large.handled();
            assert!(waiting.join().unwrap().wait().is_handled());
        });
    });
}

/// Many threads wait for room on one channel, and all of them get it.
fn many_wait_for_room(pair: &Pair) {
    const THREADS: usize = 8;
    const EACH: usize = 50;
    both_ways(pair, &one(send()), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let sender = sender.another();
                scope.spawn(move || {
                    for at in 0..EACH {
                        assert!(sender.deliver(vec![thread as u8, at as u8]).is_handled());
                    }
                });
            }
            let mut next = [0; THREADS];
            for _ in 0..THREADS * EACH {
                let message = receiver.take();
                let thread = usize::from(message[0]);
                // In order for each thread.
                assert_eq!(usize::from(message[1]), next[thread]);
                next[thread] += 1;
            }
        });
        assert_eq!(
            from.report().verdicts()[VerdictKind::Handled],
            (THREADS * EACH) as u64
        );
    });
}

/// A batch larger than the queue waits for room as often as it takes.
fn a_batch_larger_than_the_queue(pair: &Pair) {
    both_ways(pair, &one(send()), &one(receive()), |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let messages = || (0..100_u8).map(|at| Bytes::from(vec![at]));
        thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut batch: VecDeque<Bytes> = messages().collect();
                let receipt = sender.send_batch(&mut batch).unwrap();
                assert!(batch.is_empty());
                receipt.wait()
            });
            let mut got = Vec::new();
            while got.len() < 100 {
                let before = got.len();
                let count = receiver.recv_batch(&mut got, 7).unwrap();
                assert!(count > 0 && count <= 7 && got.len() == before + count);
            }
            assert!(got.into_iter().eq(messages()));
            assert_eq!(sending.join().unwrap()[VerdictKind::Handled], 100);
        });
    });
}

const COUNT: usize = 150;
const LENGTH: usize = 40_000;

fn pour(link: &dyn Link, channel: &str, stuck: &AtomicUsize) {
    let sender = link.sender(channel).unwrap();
    let mut receipts = Vec::new();
    for at in 0..COUNT {
        match sender.try_send(payload(LENGTH, at).into()) {
            Ok(receipt) => receipts.push(receipt),
            Err(refused) => {
                assert!(refused.is_blocked());
                stuck.fetch_add(1, Ordering::SeqCst);
                receipts.push(sender.give(refused.into_message()));
            }
        }
    }
    for receipt in receipts {
        assert!(receipt.wait().is_handled());
    }
}

fn drink(link: &dyn Link, channel: &str) {
    let mut receiver = link.receiver(channel).unwrap();
    for at in 0..COUNT {
        assert!(receiver.take() == payload(LENGTH, at));
    }
}

/// Both ends send at full speed through full buffers, and neither reads until both are stuck.
fn both_ends_full(pair: &Pair) {
    let send = |name| {
        SendChannel::new(name)
            .max_message(1 << 20)
            .queue(1000, 1 << 20)
    };
    let receive = |name| {
        ReceiveChannel::new(name)
            .max_message(1 << 20)
            .window(8, 1 << 20)
    };
    let Ends { client, server } = pair.link(
        one(send("up")).channel(receive("down")),
        one(receive("up")).channel(send("down")),
    );
    let stuck = AtomicUsize::new(0);
    thread::scope(|scope| {
        scope.spawn(|| pour(&*client, "up", &stuck));
        scope.spawn(|| pour(&*server, "down", &stuck));
        // With a queue of a mebibyte and no reader, both get stuck.
        while stuck.load(Ordering::SeqCst) < 2 {
            thread::yield_now();
        }
        scope.spawn(|| drink(&*client, "down"));
        scope.spawn(|| drink(&*server, "up"));
    });
}
