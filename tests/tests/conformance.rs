//! Every scenario, for every pair of backends, secured and plain.

use std::process::ExitCode;

use countersign_tests::{backends, conformance, harness};

fn main() -> ExitCode {
    let couples = backends::couples();
    harness::run(&couples, conformance::plainly(&couples))
}
