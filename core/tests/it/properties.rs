//! Whatever two ends do, in whatever order and however their bytes are cut: every message gets
//! the one verdict that a plain model of the protocol says it must get, also where connections are
//! lost, sessions resumed, and ends restarted.
//!
//! `PROPTEST_CASES` sets how many cases are tried; 256 by default, 10,000 before a release.

use crate::draw::lasting::lasting_case;
use crate::draw::pair::case;
use crate::lasting::case::LastingCase;
use crate::pair::case::Case;
use crate::pair::world::World;
use countersign_core::Dialect;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/prop_pair.txt",
        ))),
        ..ProptestConfig::default()
    }
}

/// Runs a case twice: it must hold, and come out the same. Then once more with everything arriving
/// byte by byte, of which nobody may notice anything.
fn run(case: &Case) {
    let first = World::new(case).run();
    let second = World::new(case).run();
    assert!(first == second, "the same calls gave something else");
    let cut = Case {
        byte_by_byte: true,
        ..case.clone()
    };
    assert!(
        first == World::new(&cut).run(),
        "the cuts made a difference"
    );
}

/// As [`run`], with links that outlive their connections.
fn run_lasting(case: &LastingCase) {
    let first = crate::lasting::world::World::new(case).run();
    let second = crate::lasting::world::World::new(case).run();
    assert!(first == second, "the same calls gave something else");
    let mut cut = case.clone();
    cut.pair.byte_by_byte = true;
    let third = crate::lasting::world::World::new(&cut).run();
    assert!(first == third, "the cuts made a difference");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn countersign_pair_follows_the_model(case in case(Dialect::Countersign)) {
        run(&case);
    }

    #[test]
    fn lasting_pair_follows_the_model(case in lasting_case()) {
        run_lasting(&case);
    }

    #[test]
    fn tlsstream_pair_follows_the_model(case in case(Dialect::TlsStream)) {
        run(&case);
    }
}
