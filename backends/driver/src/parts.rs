//! Messages that the original of the tlsstream dialect may take in parts.

use std::sync::atomic::{AtomicBool, Ordering};

use countersign_core::{Config, Dialect, Escaped, STREAM_WHOLE};

/// Warns of the first such message on a link.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The channel, where there is reason to warn.
    channel: Option<String>,
    warned: AtomicBool,
}

impl Parts {
    pub(crate) fn of(config: &Config) -> Self {
        let channel = config.channels().first();
        let channel = channel.filter(|_| config.wire_dialect() == Dialect::TlsStream);
        Self {
            channel: channel.map(|channel| channel.name().to_owned()),
            warned: AtomicBool::new(false),
        }
    }

    /// Whether there may be reason to warn.
    pub(crate) fn matter(&self) -> bool {
        self.channel.is_some()
    }

    /// A message of so many bytes is about to be sent. Under no lock: this may write to the log.
    pub(crate) fn heed(&self, length: usize) {
        let Some(channel) = &self.channel else {
            return;
        };
        if length > STREAM_WHOLE && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "channel '{}': a message of {length} bytes, and the tlsstream original may take one \
                 above {STREAM_WHOLE} in parts and confirm it all the same; send less at once",
                Escaped::new(channel)
            );
        }
    }
}
