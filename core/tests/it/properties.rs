//! Whatever two ends do, in whatever order and however their bytes are cut: every message gets
//! the one verdict that a plain model of the protocol says it must get, also where connections are
//! lost, sessions resumed, and ends restarted.
//!
//! `PROPTEST_CASES` sets how many cases are tried; 256 by default, 10,000 before a release.

use crate::draw::lasting::lasting_case;
use crate::draw::usual::stream_case;
use crate::lasting::{case::LastingCase, world::World};
use crate::streamed::{self, StreamCase};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/properties.txt",
        ))),
        ..ProptestConfig::default()
    }
}

/// Runs a case twice: it must hold, and come out the same. Then once more with everything arriving
/// byte by byte, which must not change anything.
fn run(case: &LastingCase) {
    let first = World::new(case).run();
    let second = World::new(case).run();
    assert!(first == second, "the same calls gave something else");
    let mut cut = case.clone();
    cut.pair.byte_by_byte = true;
    let third = World::new(&cut).run();
    assert!(first == third, "the cuts made a difference");
}

/// As [`run`], in the `tlsstream` dialect.
fn run_streamed(case: &StreamCase) {
    let first = streamed::world::World::new(case).run();
    let second = streamed::world::World::new(case).run();
    assert!(first == second, "the same calls gave something else");
    let mut cut = case.clone();
    cut.pair.byte_by_byte = true;
    let third = streamed::world::World::new(&cut).run();
    assert!(first == third, "the cuts made a difference");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn links_follow_the_model(case in lasting_case()) {
        run(&case);
    }

    #[test]
    fn links_in_the_tlsstream_dialect_follow_the_model(case in stream_case()) {
        run_streamed(&case);
    }
}
