//! A warning wherever the keys of connections are written down.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use countersign_endpoint::Security;

/// What is written to find out whether anything can be, on a full disk say: a line that readers of the
/// format pass over.
const COMMENT: &[u8] = b"# keys of countersign's connections\n";

/// Says so where `security` writes keys: whoever asked for it may have forgotten, and whoever reads
/// the log may never have known.
pub(crate) fn warn(security: &Security) {
    if !security.logs_keys() {
        return;
    }
    let Some(path) = env::var_os("SSLKEYLOGFILE").map(PathBuf::from) else {
        tracing::warn!("the keys of connections are not written: SSLKEYLOGFILE names no file");
        return;
    };
    // The TLS library has tried the same by now, made the file if it could, and tells nobody.
    let opened = OpenOptions::new().append(true).open(&path);
    match opened.and_then(|mut file| file.write_all(COMMENT)) {
        Ok(()) => tracing::warn!(
            "the keys of connections are written to {}: whoever reads it can read all that is said",
            path.display()
        ),
        Err(error) => tracing::warn!(
            "the keys of connections are not written: {} can't be written ({error})",
            path.display()
        ),
    }
}
