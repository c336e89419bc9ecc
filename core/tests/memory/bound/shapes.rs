//! Declarations of all sizes.

use std::time::Duration;

use countersign_core::{
    ChannelConfig, Config, MAX_CHANNEL_NAME, ReceiveChannel, SendChannel, Timeouts,
};

use super::attacks::Scale;

/// Declarations with no more messages than this are tried with drawn sequences too.
pub(crate) const FEW: usize = 200;

fn receive(name: &str, largest: usize, messages: u32, bytes: usize) -> ReceiveChannel {
    let channel = ReceiveChannel::new(name).max_message(largest);
    channel.window(messages, bytes)
}

fn send(name: &str, largest: usize, messages: usize, bytes: usize) -> SendChannel {
    let channel = SendChannel::new(name).max_message(largest);
    channel.queue(messages, bytes)
}

fn link<C: Into<ChannelConfig>>(channels: impl IntoIterator<Item = C>) -> Config {
    // So that an attack may take its time.
    let timeouts = Timeouts {
        retain: Duration::from_secs(1 << 30),
        give_up: Duration::from_secs(1 << 30),
        ..Timeouts::default()
    };
    let config = Config::new().timeouts(timeouts);
    channels.into_iter().fold(config, Config::channel)
}

const fn scale(channels: usize, messages: usize, largest: usize, share: usize) -> Scale {
    Scale {
        channels,
        messages,
        largest,
        share,
    }
}

/// Name, declaration, and what attacks are to be measured out for.
pub(crate) fn shapes() -> Vec<(&'static str, Config, Scale)> {
    let many = (0..64).map(|at| {
        let name = format!("{at:x<MAX_CHANNEL_NAME$}");
        match at % 3 {
            0 => ChannelConfig::from(send(&name, 64, 8, 256)),
            1 => receive(&name, 64, 8, 256).into(),
            _ => receive(&name, 64, 8, 256).manual().into(),
        }
    });
    vec![
        (
            "a controller",
            link([
                ChannelConfig::from(send("values", 64, 32, 1024)),
                receive("commands", 64, 4, 256).into(),
            ]),
            scale(1, 40, 64, 16),
        ),
        (
            "short messages",
            link([
                receive("a", 4096, 100, 16_384),
                receive("b", 4096, 100, 16_384),
            ]),
            scale(2, 120, 4096, 1024),
        ),
        (
            "jobs",
            link([
                receive("jobs", 16_384, 100, 100_000).manual(),
                receive("news", 1000, 10, 9000),
            ]),
            scale(2, 120, 16_384, 250),
        ),
        (
            "results",
            link([
                send("results", 4096, 150, 16_384),
                send("newest", 4096, 150, 16_384).latest(),
            ]),
            scale(2, 200, 4096, 1024),
        ),
        (
            "a budget",
            link([
                send("stop", 64, 8, 256).urgent(),
                send("bulk", 4096, 60, 60_000),
            ])
            .latency_budget(Duration::from_millis(50)),
            scale(2, 120, 4096, 1024),
        ),
        ("many channels", link(many), scale(43, 10, 64, 16)),
        (
            "numbers that are no powers of two",
            link([
                ChannelConfig::from(receive("a", 1, 4097, 5000).manual()),
                send("b", 3, 5001, 9999).into(),
            ]),
            scale(1, 5200, 3, 1),
        ),
        (
            "pictures",
            link([
                receive("pictures", 3 << 20, 3, 4 << 20),
                receive("more", 3 << 20, 3, 4 << 20),
            ]),
            scale(2, 1100, 3 << 20, 4096),
        ),
        (
            "the defaults",
            Config::new()
                .channel(ReceiveChannel::new("a"))
                .channel(SendChannel::new("b")),
            scale(1, 17_000, 16 << 20, 4096),
        ),
        (
            "the defaults, manual",
            link([ReceiveChannel::new("a").manual(), ReceiveChannel::new("b")]),
            scale(2, 8300, 16 << 20, 4096),
        ),
    ]
}
