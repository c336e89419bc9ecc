//! Messages that the original of the tlsstream dialect may take in parts.

use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::{Config, Dialect, STREAM_WHOLE};

/// Warns of the first such message on a link.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The peer may be the original.
    matter: bool,
    warned: AtomicBool,
}

impl Parts {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            matter: config.get_dialect() == Dialect::TlsStream,
            warned: AtomicBool::new(false),
        }
    }

    /// Whether there may be reason to warn.
    pub(crate) fn matter(&self) -> bool {
        self.matter
    }

    /// A message of so many bytes is about to be sent. Under no lock: this may write to the log.
    pub(crate) fn heed(&self, length: usize) {
        if !self.matter || length <= STREAM_WHOLE {
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
