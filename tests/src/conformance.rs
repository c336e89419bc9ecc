//! The tests that are made of the [scenarios](mod@crate::scenarios).
//!
//! A scenario runs as it is, with links that end with their connections, and again with lasting
//! links whose connections are [cut at random](crate::cutting), except for those that can't bear
//! that; each states the reason.
//!
//! Which scenario runs on which [pair of backends](crate::backends) follows from their lists alone.

use crate::backends::Couple;
use crate::harness::{Trial, trial};
use crate::scenarios::{self, Scenario};
use crate::size::leaves_out;
use crate::{Pair, cutting, watch_as};

/// Returns a test of each scenario for each of the pairs, secured and plain.
#[must_use]
pub fn plainly(couples: &[Couple]) -> Vec<Trial> {
    let all = |_: &Scenario| true;
    tests("conformance", couples, all, |name, pair, run| {
        watch_as(name, move || run(&pair));
    })
}

/// Returns a test of each scenario that can bear it, with connections that are cut at random, and
/// for each pair one that checks that cuts do happen.
#[must_use]
pub fn with_cuts(couples: &[Couple]) -> Vec<Trial> {
    let bears = |scenario: &Scenario| scenario.of_one_connection.is_none();
    let mut couples = couples.to_vec();
    if leaves_out("cut connections between different backends") {
        couples.retain(Couple::is_of_one_backend);
    }
    let mut trials = tests("cutting", &couples, bears, |name, pair, run| {
        let _ = cutting::run(name, pair, run);
    });
    for couple in couples {
        let name = format!("cutting::connections_are_cut::{}", couple.name());
        trials.push(trial(name, move |name| connections_are_cut(name, couple)));
    }
    trials
}

/// A link that carries enough bytes is cut as often as planned.
fn connections_are_cut(name: &str, couple: Couple) {
    let path = "pressure::both_ends_full";
    let scenario = scenarios::all().find(|scenario| scenario.path() == path);
    let run = scenario.expect("it is registered").run;
    for &transport in couple.transports() {
        let pair = couple.pair(transport);
        let [cuts, planned] = cutting::run(name, pair, run);
        assert!(planned > 0);
        assert_eq!(cuts, planned);
    }
}

fn tests(
    suite: &str,
    couples: &[Couple],
    which: impl Fn(&Scenario) -> bool,
    how: fn(&str, Pair, fn(&Pair)),
) -> Vec<Trial> {
    let mut trials = Vec::new();
    for couple in couples {
        for &transport in couple.transports() {
            for scenario in scenarios::all().filter(|scenario| which(scenario)) {
                let path = scenario.path();
                if !scenario.places.contains(&transport) || couple.cannot(&path).is_some() {
                    continue;
                }
                let between = format!("{}::{}", couple.name(), transport.name());
                let name = format!("{suite}::{between}::{path}");
                let pair = couple.pair(transport);
                let run = scenario.run;
                trials.push(trial(name, move |name| how(name, pair, run)));
            }
        }
    }
    trials
}
