//! What a link declares, drawn from the input.

use std::time::Duration;

use arbitrary::{Result, Unstructured};
use countersign_core::{ChannelConfig, Config, Dialect, Patience, Role};

/// No message is longer.
pub(super) const LARGEST: usize = 3000;

/// A declaration, and how its link is driven.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) config: Config,
    pub(crate) role: Role,
    /// Whether an acceptor waits for the word of its listener.
    pub(crate) asks: bool,
    /// The length of the buffer for output.
    pub(crate) buffer: usize,
    /// One of the sizes that input is cut to.
    pub(crate) cut: usize,
    /// The most memory that all of it takes, in bytes: what the limits promise, with twice that
    /// for what collections keep ready, and the fixed costs of a link and of the test.
    pub(crate) promise: usize,
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
        let mut config = Config::new()
            .dialect(dialect)
            .frame_limit([1024, 512, 16_384][usize::from(how >> 5) % 3])
            .patience(patience(input)?);
        let mut promise = 48_000;
        let count = match dialect {
            Dialect::Countersign => count % 4 + 1,
            Dialect::TlsStream => 1,
        };
        for number in 0..count {
            let (channel, needs) = channel(number, dialect, input)?;
            config = config.channel(channel);
            promise += 2 * needs;
        }
        if how & 0x80 != 0 {
            config = config.single_connection();
        }
        Ok(Self {
            config,
            role,
            asks: how & 0x18 == 0x18,
            buffer: [700, 20_000, 1, 40][usize::from(buffer) % 4],
            cut: usize::from(cut).max(2),
            promise,
        })
    }
}

fn patience(input: &mut Unstructured<'_>) -> Result<Patience> {
    let how: u8 = input.arbitrary()?;
    let mut patience = Patience::default();
    if how & 1 != 0 {
        patience.ack_delay = Duration::ZERO;
    }
    if how & 2 != 0 {
        patience.retain = Duration::from_millis(1);
    }
    if how & 4 != 0 {
        patience.close = Duration::ZERO;
        patience.linger = Duration::ZERO;
    }
    Ok(patience)
}

/// A channel, and how much memory its limits promise.
fn channel(
    number: u8,
    dialect: Dialect,
    input: &mut Unstructured<'_>,
) -> Result<(ChannelConfig, usize)> {
    let how: u8 = input.arbitrary()?;
    let name = format!("c{number}");
    let (largest, messages, bytes) = match how & 2 {
        0 => (LARGEST, 5, 4000),
        _ => (600, 1, 600),
    };
    if how & 1 == 0 {
        let mut channel = ChannelConfig::receive(name)
            .max_message(largest)
            .window(messages, bytes);
        if how & 4 != 0 && dialect == Dialect::Countersign {
            channel = channel.manual();
        }
        if how & 8 != 0 {
            channel = channel.silence(Duration::from_millis(500));
        }
        return Ok((channel, bytes + largest + messages as usize * 160));
    }
    let mut channel = ChannelConfig::send(name)
        .max_message(largest)
        .queue(8, 4000);
    if how & 4 != 0 && dialect == Dialect::Countersign {
        channel = channel.latest();
    }
    if how & 8 != 0 {
        channel = channel.in_flight(1);
    }
    Ok((channel, 4000 + 8 * (160 + 256)))
}
