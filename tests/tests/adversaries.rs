//! Every scenario with a hostile peer, for every backend at either end.

use std::process::ExitCode;

use countersign_tests::{adversary, harness};

fn main() -> ExitCode {
    harness::run(&[], adversary::trials())
}
