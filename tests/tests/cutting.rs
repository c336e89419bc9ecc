//! The scenarios again, with connections that are cut at random, for every pair of backends,
//! secured and plain.
//!
//! Each test prints the seed of its cuts and the command that replays it.

use countersign_tests::on_std::Std;
use countersign_tests::on_tokio::Tokio;
use countersign_tests::{Pair, Transport, conformance_with_cuts, cutting, scenarios};

conformance_with_cuts!(
    tokio_to_tokio,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_tokio::Tokio
);
conformance_with_cuts!(
    tokio_to_std,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_std::Std
);
conformance_with_cuts!(
    std_to_tokio,
    countersign_tests::on_std::Std,
    countersign_tests::on_tokio::Tokio
);
conformance_with_cuts!(
    std_to_std,
    countersign_tests::on_std::Std,
    countersign_tests::on_std::Std
);
conformance_with_cuts!(
    own_loop_to_own_loop,
    countersign_tests::on_own_loop::OwnLoop,
    countersign_tests::on_own_loop::OwnLoop
);
conformance_with_cuts!(
    own_loop_to_tokio,
    countersign_tests::on_own_loop::OwnLoop,
    countersign_tests::on_tokio::Tokio
);
conformance_with_cuts!(
    tokio_to_own_loop,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_own_loop::OwnLoop
);
conformance_with_cuts!(
    own_loop_to_std,
    countersign_tests::on_own_loop::OwnLoop,
    countersign_tests::on_std::Std
);
conformance_with_cuts!(
    std_to_own_loop,
    countersign_tests::on_std::Std,
    countersign_tests::on_own_loop::OwnLoop
);

/// A link that carries more than its cuts are apart is cut as often as it was to be.
#[test]
fn connections_are_cut() {
    for transport in [Transport::Tls, Transport::Plain] {
        let pair = Pair {
            client: &Tokio,
            server: &Std,
            transport,
        };
        let name = concat!(module_path!(), "::connections_are_cut");
        let [cuts, planned] = cutting::run(name, pair, scenarios::pressure::both_ends_full);
        assert!(planned > 0);
        assert_eq!(cuts, planned);
    }
}
