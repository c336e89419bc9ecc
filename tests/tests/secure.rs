//! Every scenario of secure streams, for every pair of backends, secured and plain.

use std::process::ExitCode;

use countersign_tests::{backends, harness, secure};

fn main() -> ExitCode {
    let couples = backends::couples();
    harness::run(&couples, secure::trials(&couples))
}
