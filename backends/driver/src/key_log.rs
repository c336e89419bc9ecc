//! A warning wherever the keys of connections are written to a key log.

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use countersign_endpoint::Security;

/// The line that is written to find out whether the file can be written, on a full disk for
/// example: a comment, which readers of the format skip.
const COMMENT: &[u8] = b"# keys of countersign's connections\n";

/// Warns if `security` writes a key log: it may have been enabled long ago, or by someone else than
/// the reader of the log.
pub(crate) fn warn(security: &Security) {
    if !security.logs_keys() {
        return;
    }
    let Some(path) = env::var_os("SSLKEYLOGFILE").map(PathBuf::from) else {
        tracing::warn!("the keys of connections are not written: SSLKEYLOGFILE names no file");
        return;
    };
    // The TLS library has opened the file by now, or created it, and does not report errors.
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
