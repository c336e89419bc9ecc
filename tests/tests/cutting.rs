//! The scenarios again, with connections that are cut at random, for every pair of backends,
//! secured and plain.
//!
//! Each test that fails tells the seed of its cuts and the command that replays it.

use std::process::ExitCode;

use countersign_tests::backends::{self, Couple};
use countersign_tests::{Transport, conformance, cutting, harness, scenarios};

fn main() -> ExitCode {
    let couples = backends::couples();
    let mut trials = conformance::with_cuts(&couples);
    for couple in couples.clone() {
        let name = format!("connections_are_cut::{}", couple.name());
        trials.push(harness::trial(name, move |name| {
            connections_are_cut(name, couple);
        }));
    }
    harness::run(&couples, trials)
}

/// A link that carries more than its cuts are apart is cut as often as it was to be.
fn connections_are_cut(name: &str, couple: Couple) {
    for transport in [Transport::Tls, Transport::Plain] {
        let pair = couple.pair(transport);
        let [cuts, planned] = cutting::run(name, pair, scenarios::pressure::both_ends_full);
        assert!(planned > 0);
        assert_eq!(cuts, planned);
    }
}
