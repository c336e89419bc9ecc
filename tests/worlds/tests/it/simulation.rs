//! Many links on bad networks, each run from one seed.
//!
//! `COUNTERSIGN_SEEDS=from..to` says which seeds are tried, `COUNTERSIGN_SEED=n` which one `replay`
//! tells in full. One run in [`SECURED`] is over TLS, and one in [`SECURED_SINGLE`] where an
//! acceptor's links end with their session.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use countersign_core::VerdictKind;
use countersign_worlds::sim::generate::{self, MOST_PAIRS};
use countersign_worlds::sim::plan::{ACCEPTOR, Keys, Plan};
use countersign_worlds::sim::{Summary, run};
use countersign_worlds::size::leaves_out;

/// A handshake of TLS costs more than many runs without.
const SECURED: u64 = 100;
/// Where an acceptor's links end with their session, which only a peer with a proven identity can
/// bring about.
const SECURED_SINGLE: u64 = 10;

fn plan(seed: u64, keys: &Keys) -> Plan {
    let plain = generate::plan(seed, None);
    let single = plain.single[ACCEPTOR] && seed.is_multiple_of(SECURED_SINGLE);
    if single || seed.is_multiple_of(SECURED) {
        return generate::plan(seed, Some(keys.clone()));
    }
    plain
}

/// What came out of many runs.
#[derive(Default)]
struct Totals {
    runs: u64,
    steps: u64,
    messages: u64,
    resumes: u64,
    lost_sessions: u64,
    stale: u64,
    evicted: u64,
    left_behind: u64,
    late: u64,
    verdicts: [u64; 6],
    ends: BTreeMap<String, u64>,
}

impl Totals {
    fn add(&mut self, summary: Summary) {
        self.merge(Self {
            runs: 1,
            steps: summary.steps,
            messages: summary.messages,
            resumes: summary.resumes,
            lost_sessions: summary.lost_sessions,
            stale: summary.stale,
            evicted: summary.evicted,
            left_behind: summary.left_behind,
            late: summary.late,
            verdicts: summary.verdicts,
            ends: summary.ends,
        });
    }

    fn merge(&mut self, more: Self) {
        self.runs += more.runs;
        self.steps += more.steps;
        self.messages += more.messages;
        self.resumes += more.resumes;
        self.lost_sessions += more.lost_sessions;
        self.stale += more.stale;
        self.evicted += more.evicted;
        self.left_behind += more.left_behind;
        self.late += more.late;
        for (mine, more) in self.verdicts.iter_mut().zip(more.verdicts) {
            *mine += more;
        }
        for (end, count) in more.ends {
            *self.ends.entry(end).or_default() += count;
        }
    }

    fn tell(&self, begin: Instant) {
        println!(
            "{} seeds in {:.1?}: {} steps, {} messages, {} resumes, {} lost sessions, {} arrivals \
             on connections that were replaced, {} evictions, {} left behind, {} messages late where \
             they would have been taken",
            self.runs,
            begin.elapsed(),
            self.steps,
            self.messages,
            self.resumes,
            self.lost_sessions,
            self.stale,
            self.evicted,
            self.left_behind,
            self.late,
        );
        for (kind, count) in VerdictKind::ALL.iter().zip(self.verdicts) {
            println!("  verdict {kind}: {count}");
        }
        for (end, count) in &self.ends {
            println!("  links ended {end}: {count}");
        }
    }
}

#[test]
fn seeds() {
    let most = if leaves_out("seeds above 3,000") {
        3_000
    } else {
        20_000
    };
    let seeds = run::range("COUNTERSIGN_SEEDS", 0..most);
    let (begin, keys) = (Instant::now(), Keys::new(MOST_PAIRS));
    let next = AtomicU64::new(seeds.start);
    let totals = Mutex::new(Totals::default());
    let work = || {
        let mut mine = Totals::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            let plan = plan(seed, &keys);
            mine.add(run::expect(&plan, "simulation", "COUNTERSIGN_SEED", seed));
        }
        mine
    };
    let workers = run::number("COUNTERSIGN_THREADS")
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, |count| count.get() as u64));
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            // What failed has said so.
            let mine = worker.join().expect("every run comes out well");
            let mut totals = totals.lock().expect("nobody panics with it");
            totals.merge(mine);
        }
    });
    let totals = totals.into_inner().expect("nobody panics with it");
    totals.tell(begin);
    assert_eq!(totals.runs, seeds.end - seeds.start);
    if totals.runs >= 20_000 {
        // Nothing of what this is about has gone missing.
        assert!(totals.verdicts.iter().all(|count| *count > 100));
        assert!(totals.resumes > 1000 && totals.lost_sessions > 1000);
        assert!(totals.stale > 1000 && totals.evicted > 100);
        assert!(totals.left_behind > 10);
        assert!(totals.late > 1000);
    }
}

/// Two runs of one seed do the same.
#[test]
fn a_seed_says_everything() {
    let keys = Keys::new(MOST_PAIRS);
    for seed in 0..200 {
        let once = run::run(&plan(seed, &keys));
        assert_eq!(once, run::run(&plan(seed, &keys)), "seed {seed}");
    }
}

/// One run, told in full.
#[test]
fn replay() {
    let seed = run::number("COUNTERSIGN_SEED").unwrap_or(1);
    let mut plan = plan(seed, &Keys::new(MOST_PAIRS));
    plan.trace = true;
    println!("{plan:#?}");
    let summary = run::expect(&plan, "simulation", "COUNTERSIGN_SEED", seed);
    println!("{summary:#?}");
    assert!(summary.steps > 0);
}
