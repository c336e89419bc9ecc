//! Messages of every length that could be special.

use countersign_core::wire::MIN_FRAME_LIMIT;
use countersign_core::{
    Config, DEFAULT_FRAME_LIMIT, DEFAULT_MAX_MESSAGE, ReceiveChannel, SendChannel, SendError,
};

use super::{both_ways, one};
use crate::Pair;
use crate::pair::payload;

scenarios! {
    SECURED_OR_PLAIN {
        the_smallest,
        around_the_frame_limit,
        the_smallest_frames,
        the_largest_frames,
        large_ones,
        the_maximum_and_one_more,
    }
}

/// Sends messages of these lengths back to back, and checks each that arrives.
fn exchange(pair: &Pair, sending: &Config, receiving: &Config, lengths: &[usize]) {
    both_ways(pair, sending, receiving, |from, to| {
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        let mut receipts = Vec::new();
        for (seed, length) in lengths.iter().enumerate() {
            receipts.push(sender.give(payload(*length, seed)));
        }
        for (seed, length) in lengths.iter().enumerate() {
            let message = receiver.take();
            assert_eq!(message.len(), *length);
            assert!(message == payload(*length, seed), "{length} bytes, changed");
        }
        for receipt in receipts {
            assert!(receipt.wait().is_handled());
        }
    });
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// Nothing, and next to nothing.
fn the_smallest(pair: &Pair) {
    exchange(pair, &send(), &receive(), &[0, 1, 2, 0, 0, 3]);
}

/// Around the frame limit, less its head, which is also where TLS records end.
fn around_the_frame_limit(pair: &Pair) {
    let limit = DEFAULT_FRAME_LIMIT;
    let mut lengths: Vec<usize> = (limit - 26..=limit + 2).collect();
    lengths.extend(2 * limit - 40..=2 * limit + 2);
    exchange(pair, &send(), &receive(), &lengths);
}

/// The smallest frames, at one end and at both.
fn the_smallest_frames(pair: &Pair) {
    let small = |config: Config| config.frame_limit(MIN_FRAME_LIMIT);
    let mut lengths: Vec<usize> = (MIN_FRAME_LIMIT - 26..=MIN_FRAME_LIMIT + 2).collect();
    lengths.extend([3000, 70_000]);
    exchange(pair, &small(send()), &receive(), &lengths);
    exchange(pair, &send(), &small(receive()), &lengths);
}

/// Frames that are larger than a TLS record and than what is written at once.
fn the_largest_frames(pair: &Pair) {
    let large = |config: Config| config.frame_limit(1 << 20);
    let lengths = [
        16_384,
        65_535,
        65_536,
        65_537,
        (1 << 20) - 12,
        1 << 20,
        3 << 20,
    ];
    exchange(pair, &large(send()), &large(receive()), &lengths);
}

/// 64 KiB, 1 MiB, and the largest by default.
fn large_ones(pair: &Pair) {
    let lengths = [65_535, 65_536, 65_537, 1 << 20, DEFAULT_MAX_MESSAGE];
    exchange(pair, &send(), &receive(), &lengths);
}

/// The maximum goes, one byte more is refused with both figures and handed back.
fn the_maximum_and_one_more(pair: &Pair) {
    let sizes = [(1000, 1000), (1000, 500), (500, 1000)];
    for (ours, theirs) in sizes {
        let sending = one(SendChannel::new("data").max_message(ours));
        let receiving = one(ReceiveChannel::new("data").max_message(theirs));
        both_ways(pair, &sending, &receiving, |from, to| {
            let limit = ours.min(theirs);
            let sender = from.sender("data").unwrap();
            assert_eq!(sender.max_message(), limit);
            let length = limit + 1;
            for refused in [
                sender.send(payload(length, 0).into()).err().unwrap(),
                sender.try_send(payload(length, 0).into()).err().unwrap(),
            ] {
                assert_eq!(refused.why(), SendError::TooLarge { length, limit });
                let text = refused.to_string();
                assert!(text.contains("501") || text.contains("1001"), "{text}");
                assert!(text.contains(&limit.to_string()), "{text}");
                assert_eq!(refused.into_message(), payload(length, 0));
            }
            let receipt = sender.give(payload(limit, 1));
            assert_eq!(to.receiver("data").unwrap().take(), payload(limit, 1));
            assert!(receipt.wait().is_handled());
        });
    }
}
