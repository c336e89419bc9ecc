//! A link's declaration in CBOR, and back.

use core::time::Duration;

use countersign_core::{
    Acking, ChannelConfig, Config, Dialect, Mode, Patience, Policy, Reconnect, RetryLimit, Role,
};

use crate::decode::{Fields, Wrong};
use crate::encode::Cbor;

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Opener => "opener",
        Role::Acceptor => "acceptor",
    }
}

pub(crate) fn decode_role(fields: &mut Fields<'_>) -> Result<Role, Wrong> {
    match fields.text()? {
        "opener" => Ok(Role::Opener),
        "acceptor" => Ok(Role::Acceptor),
        _ => Err(Wrong::Value("a role")),
    }
}

/// The patience's figures, in the order of the format.
const fn waits(patience: &Patience) -> [Duration; 7] {
    [
        patience.handshake,
        patience.ping,
        patience.give_up,
        patience.close,
        patience.linger,
        patience.ack_delay,
        patience.retain,
    ]
}

pub(crate) fn encode(cbor: &mut Cbor, config: &Config) {
    // What most links are not is said of those that are.
    let length = 5 + usize::from(config.is_single_session());
    cbor.array(length).text(match config.wire_dialect() {
        Dialect::Countersign => "countersign",
        Dialect::TlsStream => "tlsstream",
    });
    cbor.size(config.largest_frame()).array(7);
    for wait in waits(config.waits()) {
        duration(cbor, wait);
    }
    let reconnect = config.reconnects();
    cbor.array(3);
    match reconnect.limit {
        RetryLimit::Forever => _ = cbor.text("forever"),
        RetryLimit::Never => _ = cbor.text("never"),
        RetryLimit::Attempts(attempts) => _ = cbor.uint(attempts.into()),
        RetryLimit::For(time) => duration(cbor, time),
    }
    duration(cbor, reconnect.first_delay);
    duration(cbor, reconnect.longest_delay);
    encode_channels(cbor, config.channels());
    if config.is_single_session() {
        cbor.flag(true);
    }
}

pub(crate) fn encode_channels(cbor: &mut Cbor, channels: &[ChannelConfig]) {
    cbor.array(channels.len());
    for channel in channels {
        encode_channel(cbor, channel);
    }
}

fn duration(cbor: &mut Cbor, duration: Duration) {
    let nanos = duration.subsec_nanos().into();
    cbor.array(2).uint(duration.as_secs()).uint(nanos);
}

fn encode_channel(cbor: &mut Cbor, channel: &ChannelConfig) {
    cbor.array(11).text(channel.name());
    cbor.text(match channel.mode() {
        Mode::Send => "send",
        Mode::Receive => "receive",
    });
    match channel.policy() {
        Some(Policy::Reliable) => cbor.text("reliable"),
        Some(Policy::Latest) => cbor.text("latest"),
        None => cbor.null(),
    };
    cbor.flag(channel.acking() == Acking::Manual);
    let limits = channel.limits();
    cbor.size(limits.max_message);
    cbor.size(limits.queue_messages).size(limits.queue_bytes);
    cbor.uint(limits.window_messages.into());
    cbor.size(limits.window_bytes);
    cbor.uint(limits.in_flight.into());
    match channel.silent_after() {
        Some(silence) => duration(cbor, silence),
        None => _ = cbor.null(),
    }
}

pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Config, Wrong> {
    let length = fields.array()?;
    if !(5..=6).contains(&length) {
        return Err(Wrong::Value("a declaration of five or six parts"));
    }
    let dialect = match fields.text()? {
        "countersign" => Dialect::Countersign,
        "tlsstream" => Dialect::TlsStream,
        _ => return Err(Wrong::Value("a dialect")),
    };
    let frame_limit = fields.size()?;
    fields.expect_array(7)?;
    let mut wait = || decode_duration(fields);
    let patience = Patience {
        handshake: wait()?,
        ping: wait()?,
        give_up: wait()?,
        close: wait()?,
        linger: wait()?,
        ack_delay: wait()?,
        retain: wait()?,
    };
    let reconnect = decode_reconnect(fields)?;
    let mut config = Config::new()
        .dialect(dialect)
        .frame_limit(frame_limit)
        .patience(patience)
        .reconnect(reconnect);
    for channel in decode_channels(fields)? {
        config = config.channel(channel);
    }
    if length == 6 && fields.flag()? {
        config = config.single_session();
    }
    config.check().map_err(|_| Wrong::Value("a declaration"))?;
    Ok(config)
}

pub(crate) fn decode_channels(fields: &mut Fields<'_>) -> Result<Vec<ChannelConfig>, Wrong> {
    (0..fields.array()?)
        .map(|_| decode_channel(fields))
        .collect()
}

fn decode_duration(fields: &mut Fields<'_>) -> Result<Duration, Wrong> {
    fields.expect_array(2)?;
    let seconds = fields.uint()?;
    match u32::try_from(fields.uint()?) {
        Ok(nanos) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(Wrong::Value("a duration")),
    }
}

fn decode_reconnect(fields: &mut Fields<'_>) -> Result<Reconnect, Wrong> {
    fields.expect_array(3)?;
    let limit = if fields.is_text()? {
        match fields.text()? {
            "forever" => RetryLimit::Forever,
            "never" => RetryLimit::Never,
            _ => return Err(Wrong::Value("a limit of attempts")),
        }
    } else if fields.is_uint()? {
        RetryLimit::Attempts(fields.u32()?)
    } else {
        RetryLimit::For(decode_duration(fields)?)
    };
    Ok(Reconnect {
        limit,
        first_delay: decode_duration(fields)?,
        longest_delay: decode_duration(fields)?,
    })
}

fn decode_channel(fields: &mut Fields<'_>) -> Result<ChannelConfig, Wrong> {
    fields.expect_array(11)?;
    let name = fields.text()?;
    let channel = match fields.text()? {
        "send" => ChannelConfig::send(name),
        "receive" => ChannelConfig::receive(name),
        _ => return Err(Wrong::Value("a mode")),
    };
    let policy = fields.optional(Fields::text)?;
    let channel = match (policy, channel.mode()) {
        (Some("reliable"), _) => channel.reliable(),
        (Some("latest"), _) => channel.latest(),
        (None, Mode::Receive) => channel,
        _ => return Err(Wrong::Value("a policy")),
    };
    let channel = if fields.flag()? {
        channel.manual()
    } else {
        channel
    };
    // The largest message raises what holds it, so it comes first.
    let channel = channel
        .max_message(fields.size()?)
        .queue(fields.size()?, fields.size()?)
        .window(fields.u32()?, fields.size()?)
        .in_flight(fields.u32()?);
    Ok(match fields.optional(decode_duration)? {
        Some(silence) => channel.silence(silence),
        None => channel,
    })
}
