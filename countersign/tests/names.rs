//! What a glob import of the crate leaves alone.

#![cfg(feature = "tokio")]

use countersign::*;

/// These are the crates still, and not something of countersign's.
#[test]
fn crates_keep_their_names() {
    let config: Config = core::convert::identity(Config::new());
    assert_eq!(std::iter::once(config).count(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    assert!(runtime.is_ok());
}
