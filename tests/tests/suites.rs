//! The suites: scenarios that are written once, for every pair of backends or for every backend.
//!
//! - `conformance`: every scenario of links, secured and plain.
//! - `cutting`: those again that can bear it, with connections that are cut at random. A failed test
//!   prints the seed of its cuts and the command that replays it.
//! - `secure`: every scenario of secure streams.
//! - `adversaries`: every scenario with a hostile peer, at either end.

use std::process::ExitCode;

use countersign_tests::{adversary, backends, conformance, harness, secure};

fn main() -> ExitCode {
    let couples = backends::couples();
    let mut trials = conformance::plainly(&couples);
    trials.extend(conformance::with_cuts(&couples));
    trials.extend(secure::trials(&couples));
    trials.extend(adversary::trials());
    harness::run(&couples, trials)
}
