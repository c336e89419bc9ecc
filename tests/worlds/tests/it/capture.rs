//! Links on bad networks, captured and played back: whatever they did, they do again.
//!
//! `COUNTERSIGN_SEEDS=from..to` says which seeds are tried.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_capture::{Capture, Entry, Options, QUEUE, Reader, replay};
use countersign_core::TakeOver;
use countersign_worlds::sim::plan::Keys;
use countersign_worlds::sim::{World, generate, run};
use countersign_worlds::size::leaves_out;

/// What a capture has written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        written.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handshake of TLS costs more than many runs without.
const SECURED: u64 = 50;

#[test]
fn whatever_links_do_on_bad_networks_they_do_again() {
    let most = if leaves_out("seeds above 50") {
        50
    } else {
        200
    };
    let seeds = run::range("COUNTERSIGN_SEEDS", 0..most);
    let keys = Keys::new(generate::MOST_PAIRS);
    let (mut records, mut taken_over, mut links) = (0, 0, 0);
    for seed in seeds.clone() {
        let keys = seed.is_multiple_of(SECURED).then(|| keys.clone());
        let plan = generate::plan(seed, keys);
        let plain = World::run(&plan);
        let sink = Sink::default();
        let options = Options::new().payloads(seed % 2 == 0).limit(u64::MAX);
        let capture = Capture::to(sink.clone(), options).expect("a thread");
        let captured = World::run_captured(&plan, Some(&capture));
        assert_eq!(plain, captured, "seed {seed}: captured, it is another run");
        let end = capture.finish().expect("memory");
        let bytes = sink.0.lock().unwrap_or_else(PoisonError::into_inner);
        // All of a run is less than what may wait to be written, so that no thread that gets its
        // turn late ends a capture.
        assert!(end.bytes < QUEUE as u64, "seed {seed}: {} bytes", end.bytes);
        assert_eq!(end.why, "finished", "seed {seed}");
        let replayed = replay(&bytes).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(replayed.complete, "seed {seed}");
        records += replayed.records;
        links += replayed.links;
        let reader = Reader::new(&bytes).expect("it was read before");
        taken_over += reader
            .filter(|record| {
                let done = Some(TakeOver::Done);
                matches!(record, Ok(record)
                    if matches!(record.entry, Entry::TakeOver { outcome, .. } if outcome == done))
            })
            .count();
    }
    println!("{records} records of {links} links, {taken_over} of them taken over");
    let seeds = seeds.end - seeds.start;
    assert!(records > 0 && taken_over as u64 * 20 > seeds);
}
