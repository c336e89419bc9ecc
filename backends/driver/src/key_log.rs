//! A warning wherever the keys of connections are written down.

use std::env;

use countersign_endpoint::Security;

/// Says so where `security` writes keys: whoever asked for it may have forgotten, and whoever reads
/// the log may never have known.
pub(crate) fn warn(security: &Security) {
    if !security.logs_keys() {
        return;
    }
    match env::var_os("SSLKEYLOGFILE") {
        Some(path) => tracing::warn!(
            "the keys of connections are written to {}: whoever reads it can read all that is said",
            path.display()
        ),
        None => tracing::warn!(
            "the keys of connections are to be written, and SSLKEYLOGFILE names no file: none are"
        ),
    }
}
