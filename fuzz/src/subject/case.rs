//! What a link declares, drawn from the input.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use countersign_core::{
    ChannelConfig, Config, Dialect, MAX_REPLY, MIN_LATENCY_BUDGET, ReceiveChannel, Role,
    SendChannel, Timeouts,
};

/// No message is longer.
pub(super) const LARGEST: usize = 3000;

/// What the peer and the books of the test need, in bytes: a greeting, a message of the largest
/// kind twice while it moves to get longer, a verdict for each of up to a thousand messages.
const TEST: usize = 24_000;

/// A declaration, and how its link is driven.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) config: Config,
    pub(crate) role: Role,
    /// For each channel in receive mode its window, in messages and bytes.
    pub(crate) windows: Vec<(usize, usize)>,
    /// Whether an acceptor waits for its listener's decision.
    pub(crate) asks: bool,
    /// The length of the buffer for output.
    pub(crate) buffer: usize,
    /// What can't be about a declaration like this one, if anything: of most, one kind, and of some
    /// four.
    spoil: u8,
    /// One of the sizes that input is cut to.
    pub(crate) cut: usize,
    /// The most memory that all of it takes, in bytes: what the declaration promises of a link, the
    /// buffer, and what the peer and the books of the test need.
    pub(crate) promise: usize,
    /// What the link does wrong.
    #[cfg(planted)]
    pub(crate) mistake: Option<countersign_core::Planted>,
}

impl Case {
    pub(crate) fn draw(input: &mut Unstructured<'_>) -> Result<Self> {
        let (how, count, buffer, cut): (u8, u8, u8, u8) = input.arbitrary()?;
        let dialect = match how % 4 {
            3 => Dialect::TlsStream,
            _ => Dialect::Countersign,
        };
        let role = match how & 4 {
            0 => Role::Acceptor,
            _ => Role::Opener,
        };
        let (timeouts, paced) = timeouts(input)?;
        let mut config = Config::new()
            .dialect(dialect)
            .frame_limit([1024, 512, 16_384][usize::from(how >> 5) % 3])
            .timeouts(timeouts);
        if paced && dialect == Dialect::Countersign {
            // A short one, so that messages wait for it.
            config = config.latency_budget(MIN_LATENCY_BUDGET);
        }
        // The upper bits of the count are of no other use.
        if count >= 192 {
            config = config.single_session();
        }
        let count = match dialect {
            Dialect::Countersign => count % 4 + 1,
            Dialect::TlsStream => 1,
        };
        let mut windows = Vec::new();
        for number in 0..count {
            let how: u8 = input.arbitrary()?;
            let window = match how & 2 {
                0 => (5, 4000),
                _ => (1, 600),
            };
            config = config.channel(channel(number, how, window, dialect));
            windows.push(window);
        }
        if how & 0x80 != 0 {
            config = config.single_connection();
        }
        let spoil = buffer;
        let buffer = [700, 20_000, 1, 40][usize::from(buffer) % 4];
        Ok(Self {
            promise: config.memory_bound() + buffer + TEST,
            config,
            windows,
            role,
            asks: how & 0x18 == 0x18,
            buffer,
            spoil,
            cut: usize::from(cut).max(2),
            #[cfg(planted)]
            mistake: None,
        })
    }

    /// The same with a declaration that can't be; seldom there is one.
    pub(crate) fn spoiled(&self) -> Option<Config> {
        spoil(self.config.clone(), self.spoil)
    }
}

/// Declares what can't be, for some of 64 values, most of them in one way and some in four.
fn spoil(config: Config, how: u8) -> Option<Config> {
    let receive = |name: &str| ReceiveChannel::new(name);
    Some(match how >> 2 {
        49 => match how % 4 {
            0 | 1 => config.latency_budget(Duration::ZERO),
            _ => Config::new()
                .dialect(Dialect::TlsStream)
                .channel(receive("x"))
                .latency_budget(Duration::from_secs(1)),
        },
        50 => config.frame_limit(511),
        51 => config.frame_limit((1 << 24) + 1),
        52 => config.channel(receive("c0")),
        53 => config.channel(receive(&"n".repeat(65))),
        54 => config.channel(receive("x").max_message(0)),
        55 => config.channel(receive("x").window(0, 1 << 30)),
        56 => config.channel(receive("x").window(1, 1)),
        57 => match how % 4 {
            0 => config.channel(receive("x").lease(Duration::ZERO)),
            1 => config.channel(receive("x").manual().max_reply(MAX_REPLY + 1)),
            2 => config.channel(SendChannel::new("x").max_reply(MAX_REPLY + 1)),
            _ => Config::new()
                .dialect(Dialect::TlsStream)
                .channel(receive("x").lease(Duration::from_secs(1))),
        },
        58 => config.channel(SendChannel::new("x").max_message(0)),
        59 => config.channel(SendChannel::new("x").queue(0, 1 << 30)),
        60 => config.channel(SendChannel::new("x").queue(1, 1)),
        61 => config.channel(SendChannel::new("x").in_flight(0)),
        62 => config.timeouts(Timeouts {
            ping: Duration::from_secs(15),
            ..Timeouts::default()
        }),
        63 => (0..64).fold(config, |config, number| {
            config.channel(receive(&format!("x{number}")))
        }),
        _ => return None,
    })
}

/// Draws timeouts, and whether there is a latency budget.
fn timeouts(input: &mut Unstructured<'_>) -> Result<(Timeouts, bool)> {
    let how: u8 = input.arbitrary()?;
    let mut timeouts = Timeouts::default();
    if how & 1 != 0 {
        timeouts.ack_delay = Duration::ZERO;
    }
    if how & 2 != 0 {
        timeouts.retain = Duration::from_millis(1);
    }
    if how & 4 != 0 {
        timeouts.close = Duration::ZERO;
        timeouts.linger = Duration::ZERO;
    }
    Ok((timeouts, how & 8 != 0))
}

/// A channel whose messages are as large as its window allows, up to [`LARGEST`].
fn channel(number: u8, how: u8, window: (usize, usize), dialect: Dialect) -> ChannelConfig {
    let name = format!("c{number}");
    let largest = window.1.min(LARGEST);
    let native = dialect == Dialect::Countersign;
    let max_reply = [256, 0, 5, MAX_REPLY][usize::from(how >> 4) % 4];
    if how & 1 == 0 {
        let messages = u32::try_from(window.0).expect("few");
        let mut channel = ReceiveChannel::new(name)
            .max_message(largest)
            .window(messages, window.1)
            .max_reply(max_reply);
        if how & 4 != 0 && native {
            channel = channel.manual();
        }
        if how & 8 != 0 && native {
            let micros = [500_000, 20_000, 5_000_000, 1][usize::from(how >> 6)];
            channel = channel.lease(Duration::from_micros(micros));
        }
        return channel.into();
    }
    let mut channel = SendChannel::new(name)
        .max_message(largest)
        .queue(8, 4000)
        .max_reply(max_reply);
    if how & 4 != 0 && native {
        channel = channel.latest();
    }
    if how & 8 != 0 {
        channel = channel.in_flight(1);
    }
    if how & 0x80 != 0 {
        channel = channel.urgent();
    }
    channel.into()
}
