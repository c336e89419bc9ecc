//! What cases have in common: two declarations, and what happens to links whatever becomes of their
//! connections.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, CloseMode, CloseReason, Config, Dialect, MIN_LATENCY_BUDGET, ReceiveChannel,
    SendChannel, Timeouts,
};

/// One channel of a case, as both ends declare it.
#[derive(Clone, Debug)]
pub(crate) struct Chan {
    /// Which end sends.
    pub(crate) sender: usize,
    pub(crate) latest: bool,
    pub(crate) urgent: bool,
    pub(crate) manual: bool,
    /// The largest message at the sender and at the receiver.
    pub(crate) max: [usize; 2],
    pub(crate) queue: (usize, usize),
    pub(crate) window: (u32, usize),
    pub(crate) in_flight: Option<u32>,
    pub(crate) lease: Option<u64>,
}

impl Chan {
    pub(crate) fn queue_bytes(&self) -> usize {
        self.queue.1.max(self.max[0])
    }

    pub(crate) fn window_bytes(&self) -> usize {
        self.window.1.max(self.max[1])
    }

    pub(crate) fn flight(&self) -> u32 {
        let default = if self.latest { 2 } else { u32::MAX };
        self.in_flight.unwrap_or(default)
    }

    fn declare(&self, at: usize, end: usize) -> ChannelConfig {
        let name = format!("c{at}");
        if end == self.sender {
            let channel = SendChannel::new(name)
                .queue(self.queue.0, self.queue_bytes())
                .max_message(self.max[0]);
            let channel = if self.latest {
                channel.latest()
            } else {
                channel
            };
            let channel = if self.urgent {
                channel.urgent()
            } else {
                channel
            };
            match self.in_flight {
                Some(limit) => channel.in_flight(limit).into(),
                None => channel.into(),
            }
        } else {
            let mut channel = ReceiveChannel::new(name)
                .window(self.window.0, self.window_bytes())
                .max_message(self.max[1]);
            if self.manual {
                channel = channel.manual();
            }
            if let Some(millis) = self.lease {
                channel = channel.lease(Duration::from_millis(millis));
            }
            channel.into()
        }
    }
}

/// Something that happens. Numbers that choose among what there is are taken modulo it.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Opens, then secures, one end's connection.
    Connect(
        #[allow(
            dead_code,
            reason = "links that outlive connections have one way to connect"
        )]
        usize,
    ),
    Send {
        channel: usize,
        /// In thousandths of the largest message.
        size: usize,
        /// Microseconds from now.
        expires: Option<u64>,
    },
    Take(usize),
    Handle {
        channel: usize,
        which: usize,
    },
    Reject {
        channel: usize,
        which: usize,
        code: u32,
        /// Length of the reason in characters of two bytes.
        reason: usize,
    },
    /// Settles a number that does not wait for it.
    HandleWrong {
        channel: usize,
        sequence: u64,
    },
    Abandon(usize),
    /// With a code.
    Close(usize, CloseMode, u32),
    /// Microseconds.
    Pass(u64),
    /// Sleeps to the next deadline exactly.
    Sleep,
    /// Moves bytes from the end, cut into pieces.
    Move {
        from: usize,
        bytes: usize,
        piece: usize,
    },
    Poll {
        end: usize,
        space: usize,
    },
    PollEvents(usize),
    Cut,
}

/// What a case begins and ends with.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) dialect: Dialect,
    pub(crate) channels: Vec<Chan>,
    pub(crate) frame_limits: [usize; 2],
    /// The acceptor declares its channels in the opposite order.
    pub(crate) reversed: bool,
    /// Events are polled after everything that happens.
    pub(crate) eager: bool,
    pub(crate) connected: bool,
    /// No pings, which would hide a stall by waking everything up.
    pub(crate) unwatched: bool,
    /// Whether each end has a latency budget: a short one, so that messages wait for it.
    pub(crate) paced: [bool; 2],
    pub(crate) ack_delay: u64,
    /// For each end: whether it closes at the end, how, and with which code.
    pub(crate) closers: [Option<(CloseMode, u32)>; 2],
    pub(crate) last_space: usize,
    /// Whatever arrives comes byte by byte. No result may depend on it.
    pub(crate) byte_by_byte: bool,
}

impl Case {
    pub(crate) fn timeouts(&self) -> Timeouts {
        let (ping, give_up) = if self.unwatched {
            (100_000, 200_000)
        } else {
            (5, 15)
        };
        Timeouts {
            ping: Duration::from_secs(ping),
            give_up: Duration::from_secs(give_up),
            ack_delay: Duration::from_micros(self.ack_delay),
            ..Timeouts::default()
        }
    }

    /// How long the pieces are in which something arrives, where this length is asked for.
    pub(crate) fn piece(&self, asked: usize) -> usize {
        if self.byte_by_byte { 1 } else { asked }
    }

    /// The position of a channel in an end's declaration.
    pub(crate) fn position(&self, channel: usize, end: usize) -> u16 {
        let at = if self.reversed && end == 1 {
            self.channels.len() - 1 - channel
        } else {
            channel
        };
        u16::try_from(at).expect("few channels")
    }

    pub(crate) fn config(&self, end: usize) -> Config {
        let mut config = Config::new()
            .dialect(self.dialect)
            .frame_limit(self.frame_limits[end])
            .timeouts(self.timeouts());
        if self.paced[end] && self.dialect == Dialect::Countersign {
            config = config.latency_budget(MIN_LATENCY_BUDGET);
        }
        for at in 0..self.channels.len() {
            // Reversing twice is the identity, so this is the inverse too.
            let channel = usize::from(self.position(at, end));
            config = config.channel(self.channels[channel].declare(channel, end));
        }
        config
    }
}

/// What is said with a code.
pub(crate) fn reason(code: u32) -> CloseReason {
    match code {
        0 => CloseReason::ALL_WELL,
        1 => CloseReason::new(1, "because"),
        _ => CloseReason::new(code, "").again(),
    }
}

/// The payload of a message: a function of where and which it is.
pub(crate) fn payload(channel: usize, sequence: u64, length: usize) -> Vec<u8> {
    let mut state = (channel as u64 + 1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(sequence);
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.push(state.to_be_bytes()[0]);
    }
    bytes
}
