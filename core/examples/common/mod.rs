//! Two ends without a network or a clock, for programs whose instructions are counted.

use countersign_core::{ChannelConfig, Config, Instant, Link, Output, Role};

pub(crate) const NOW: Instant = Instant::from_micros(1);

/// An end whose connection is open.
pub(crate) fn end(channel: impl Into<ChannelConfig>, role: Role) -> Link {
    let config = Config::new().channel(channel);
    let mut link = Link::new(&config, role, [1; 16]).expect("a sound declaration");
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    link
}

/// Lets out everything that an end has to write.
pub(crate) fn drain(from: &mut Link, buffer: &mut [u8], mut hear: impl FnMut(&[u8])) {
    while let Output::Written(length) = from.poll_output(NOW, buffer) {
        hear(&buffer[..length]);
    }
}
