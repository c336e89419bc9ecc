//! Every scenario of secure streams, for every pair of backends, secured and plain.

use countersign_tests::secure_streams;

secure_streams!(
    tokio_to_tokio,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_tokio::Tokio
);
secure_streams!(
    tokio_to_std,
    countersign_tests::on_tokio::Tokio,
    countersign_tests::on_std::Std
);
secure_streams!(
    std_to_tokio,
    countersign_tests::on_std::Std,
    countersign_tests::on_tokio::Tokio
);
secure_streams!(
    std_to_std,
    countersign_tests::on_std::Std,
    countersign_tests::on_std::Std
);
