//! Every scenario, for every pair of backends, secured and plain.

use countersign_tests::conformance;

conformance!(
    tokio_to_tokio,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_tokio::Tokio
);
conformance!(
    tokio_to_std,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_std::Std
);
conformance!(
    std_to_tokio,
    countersign_tests::on_std::Std,
    countersign_tests::on_tokio::Tokio
);
conformance!(
    std_to_std,
    countersign_tests::on_std::Std,
    countersign_tests::on_std::Std
);
