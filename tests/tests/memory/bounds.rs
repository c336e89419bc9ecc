//! Two links with their drivers and connections take no more memory than both say
//! ([`Setup::memory_bound`]), when their applications send all they can and take nothing.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use countersign_certs::fixtures;
use countersign_core::{Config, ReceiveChannel, SendChannel};
use countersign_driver::{Link, Receipt, Setup};
use countersign_endpoint::Security;
use countersign_tests::memory::{CAPACITY, End, link, settle};
use countersign_tests::pair::tls;

use crate::{MEMORY, in_turn};

/// What the connection in memory takes: each direction grows by doubling.
const NETWORK: usize = 2 * 3 * CAPACITY;
/// What one thread keeps for the next borrower of a buffer.
const SPARE: usize = 4 * 66_560;

fn setup(sends: &str, receives: &str, security: Security) -> Setup {
    let sends = SendChannel::new(sends).max_message(65_536);
    let receives = ReceiveChannel::new(receives).max_message(65_536);
    let config = Config::new()
        .channel(sends.queue(512, 1 << 20))
        .channel(receives.window(300, 512 << 10));
    Setup::new(config, security).unwrap()
}

/// Sends for as long as there is room; the receipts, which wait.
fn fill(link: &Link, channel: &str, length: usize) -> Vec<Receipt> {
    let sender = link.sender(channel).unwrap();
    std::iter::from_fn(|| sender.try_send(vec![7; length]).ok()).collect()
}

/// Both send messages of each of these lengths until nothing goes any more.
fn flood(setups: &[Setup; 2], lengths: &[usize]) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let (links, mut ends): ([Link; 2], [End; 2]) = link(&setups[0], &setups[1]);
    let mut receipts = Vec::with_capacity(4096);
    for length in lengths {
        for (link, channel) in links.iter().zip(["up", "down"]) {
            receipts.extend(fill(link, channel, *length));
        }
        settle(&mut ends);
    }
    assert!(receipts.iter().all(|receipt| receipt.verdict().is_none()));
    MEMORY.peak_usage().saturating_sub(before)
}

#[test]
fn two_links_take_no_more_than_they_say() {
    in_turn(|| {
        let (one, other) = (fixtures::good("one"), fixtures::good("other"));
        let secured = [
            tls(&one, other.fingerprint()),
            tls(&other, one.fingerprint()),
        ];
        let plain = [Security::plaintext(), Security::plaintext()];
        for [up, down] in [plain, secured] {
            let setups = [setup("up", "down", up), setup("down", "up", down)];
            let bound = setups.iter().map(Setup::memory_bound).sum::<usize>() + NETWORK + SPARE;
            let mut worst = 0;
            for lengths in [&[65_536, 2000, 1][..], &[4000, 1], &[0], &[1, 65_536]] {
                let most = flood(&setups, lengths);
                assert!(most <= bound, "{lengths:?}: {most} of {bound} bytes");
                worst = worst.max(most);
            }
            println!("took {worst} of {bound} bytes");
            assert!(worst >= bound / 3, "{worst} of {bound} bytes");
        }
    });
}
