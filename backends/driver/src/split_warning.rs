//! A warning about messages that the original of the tlsstream dialect may take in parts.

use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::{Config, Dialect, STREAM_WHOLE};

/// Warns about the first such message on a link.
#[derive(Debug)]
pub(crate) struct SplitWarning {
    /// The link speaks the tlsstream dialect, so the peer may be the original.
    enabled: bool,
    warned: AtomicBool,
}

impl SplitWarning {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            enabled: config.get_dialect() == Dialect::TlsStream,
            warned: AtomicBool::new(false),
        }
    }

    /// Whether lengths need to be checked.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Warns if a message of `length` bytes, which is about to be sent, is the first that is too
    /// long. Must not be called under a lock: this may write to the log.
    pub(crate) fn check(&self, length: usize) {
        if !self.enabled || length <= STREAM_WHOLE {
            return;
        }
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a message has {length} bytes, and the tlsstream original may take one above \
                 {STREAM_WHOLE} in parts and confirm it all the same; send less at once"
            );
        }
    }
}
