//! Encoding and decoding of a link's declaration in CBOR.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, Config, DEFAULT_QUEUE_BYTES, DEFAULT_QUEUE_MESSAGES, DEFAULT_WINDOW_BYTES,
    DEFAULT_WINDOW_MESSAGES, Dialect, Mode, Policy, ReceiveChannel, Reconnect, RetryLimit, Role,
    SendChannel, Timeouts,
};

use crate::cbor::{Cbor, Fields, ItemError};

pub(crate) const fn role(role: Role) -> &'static str {
    match role {
        Role::Opener => "opener",
        Role::Acceptor => "acceptor",
    }
}

pub(crate) fn decode_role(fields: &mut Fields<'_>) -> Result<Role, ItemError> {
    match fields.text()? {
        "opener" => Ok(Role::Opener),
        "acceptor" => Ok(Role::Acceptor),
        _ => Err(ItemError::Value("a role")),
    }
}

/// Returns the timeouts in the order of the format.
const fn durations(timeouts: &Timeouts) -> [Duration; 7] {
    [
        timeouts.handshake,
        timeouts.ping,
        timeouts.give_up,
        timeouts.close,
        timeouts.linger,
        timeouts.ack_delay,
        timeouts.retain,
    ]
}

pub(crate) fn encode(cbor: &mut Cbor, config: &Config) {
    // The last items are written only where they say something, which is rare.
    let budget = config.get_latency_budget();
    let length = match (config.is_single_session(), budget) {
        (_, Some(_)) => 7,
        (true, None) => 6,
        (false, None) => 5,
    };
    cbor.array(length).text(match config.get_dialect() {
        Dialect::Countersign => "countersign",
        Dialect::TlsStream => "tlsstream",
    });
    cbor.size(config.get_frame_limit()).array(7);
    for wait in durations(config.get_timeouts()) {
        duration(cbor, wait);
    }
    let reconnect = config.get_reconnect();
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
    if length > 5 {
        cbor.flag(config.is_single_session());
    }
    if let Some(budget) = budget {
        duration(cbor, budget);
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
    let length = 12 + usize::from(channel.is_urgent());
    cbor.array(length).text(channel.name());
    cbor.text(match channel.mode() {
        Mode::Send => "send",
        Mode::Receive => "receive",
    });
    match channel.policy() {
        Some(Policy::Reliable) => cbor.text("reliable"),
        Some(Policy::Latest) => cbor.text("latest"),
        None => cbor.null(),
    };
    cbor.flag(channel.is_manual()).size(channel.max_message());
    // Fields that only the other mode has are written with their defaults.
    let mut queue = (DEFAULT_QUEUE_MESSAGES, DEFAULT_QUEUE_BYTES);
    let mut window = (DEFAULT_WINDOW_MESSAGES, DEFAULT_WINDOW_BYTES);
    let (mut in_flight, mut lease) = (u32::MAX, None);
    let max_reply = match channel {
        ChannelConfig::Send(channel) => {
            (queue, in_flight) = (channel.get_queue(), channel.get_in_flight());
            channel.get_max_reply()
        }
        ChannelConfig::Receive(channel) => {
            (window, lease) = (channel.get_window(), channel.get_lease());
            channel.get_max_reply()
        }
    };
    cbor.size(queue.0).size(queue.1);
    cbor.uint(window.0.into()).size(window.1);
    cbor.uint(in_flight.into()).size(max_reply);
    match lease {
        Some(lease) => duration(cbor, lease),
        None => _ = cbor.null(),
    }
    if channel.is_urgent() {
        cbor.flag(true);
    }
}

pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Config, ItemError> {
    let length = fields.array()?;
    if !(5..=7).contains(&length) {
        return Err(ItemError::Value("a declaration of five to seven parts"));
    }
    let dialect = match fields.text()? {
        "countersign" => Dialect::Countersign,
        "tlsstream" => Dialect::TlsStream,
        _ => return Err(ItemError::Value("a dialect")),
    };
    let frame_limit = fields.size()?;
    fields.expect_array(7)?;
    let mut wait = || decode_duration(fields);
    let timeouts = Timeouts {
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
        .timeouts(timeouts)
        .reconnect(reconnect);
    for channel in decode_channels(fields)? {
        config = config.channel(channel);
    }
    if length > 5 && fields.flag()? {
        config = config.single_session();
    }
    if length == 7 {
        config = config.latency_budget(decode_duration(fields)?);
    }
    config
        .check()
        .map_err(|_| ItemError::Value("a declaration"))?;
    Ok(config)
}

pub(crate) fn decode_channels(fields: &mut Fields<'_>) -> Result<Vec<ChannelConfig>, ItemError> {
    (0..fields.array()?)
        .map(|_| decode_channel(fields))
        .collect()
}

fn decode_duration(fields: &mut Fields<'_>) -> Result<Duration, ItemError> {
    fields.expect_array(2)?;
    let seconds = fields.uint()?;
    match u32::try_from(fields.uint()?) {
        Ok(nanos) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => Err(ItemError::Value("a duration")),
    }
}

fn decode_reconnect(fields: &mut Fields<'_>) -> Result<Reconnect, ItemError> {
    fields.expect_array(3)?;
    let limit = if fields.is_text()? {
        match fields.text()? {
            "forever" => RetryLimit::Forever,
            "never" => RetryLimit::Never,
            _ => return Err(ItemError::Value("a limit of attempts")),
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

fn decode_channel(fields: &mut Fields<'_>) -> Result<ChannelConfig, ItemError> {
    let length = fields.array()?;
    if !(12..=13).contains(&length) {
        return Err(ItemError::Value("a channel of twelve or thirteen parts"));
    }
    let name = fields.text()?;
    let mode = fields.text()?;
    let policy = match fields.optional(Fields::text)? {
        None => None,
        Some("reliable") => Some(Policy::Reliable),
        Some("latest") => Some(Policy::Latest),
        Some(_) => return Err(ItemError::Value("a policy")),
    };
    let manual = fields.flag()?;
    let max_message = fields.size()?;
    let (queue_messages, queue_bytes) = (fields.size()?, fields.size()?);
    let (window_messages, window_bytes) = (fields.u32()?, fields.size()?);
    let in_flight = fields.u32()?;
    let max_reply = fields.size()?;
    let lease = fields.optional(decode_duration)?;
    let urgent = length == 13 && fields.flag()?;
    match mode {
        "send" => {
            let channel = SendChannel::new(name);
            let channel = match policy {
                Some(Policy::Reliable) => channel,
                Some(Policy::Latest) => channel.latest(),
                None => return Err(ItemError::Value("a policy")),
            };
            // `max_message` raises the sizes of queue and window, so it comes first.
            let channel = channel.max_message(max_message);
            let channel = channel.queue(queue_messages, queue_bytes);
            let mut channel = channel.in_flight(in_flight).max_reply(max_reply);
            if urgent {
                channel = channel.urgent();
            }
            Ok(channel.into())
        }
        "receive" if !urgent => {
            let mut channel = ReceiveChannel::new(name);
            channel = match policy {
                Some(Policy::Reliable) => channel.reliable(),
                Some(Policy::Latest) => channel.latest(),
                None => channel,
            };
            if manual {
                channel = channel.manual();
            }
            if let Some(lease) = lease {
                channel = channel.lease(lease);
            }
            let channel = channel.max_message(max_message).max_reply(max_reply);
            Ok(channel.window(window_messages, window_bytes).into())
        }
        _ => Err(ItemError::Value("a mode")),
    }
}
