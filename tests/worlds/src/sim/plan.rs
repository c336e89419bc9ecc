//! What a run is made of: the ends, what they send to each other, and what goes wrong meanwhile.

use std::time::Duration;

use countersign_certs::fixtures;
use countersign_core::{
    ChannelConfig, CloseMode, Config, ReceiveChannel, Reconnect, SendChannel, Timeouts,
};
use countersign_endpoint::{Identity, Pins, Security};

use super::clock::Clock;
use crate::mistakes::Planted;

/// Which end of a pair.
pub const OPENER: usize = 0;
/// Which end of a pair.
pub const ACCEPTOR: usize = 1;

/// The acceptor's host is the first, the openers' follow.
pub(super) const fn host(pair: usize, end: usize) -> usize {
    if end == ACCEPTOR { 0 } else { pair + 1 }
}

/// One channel, as both ends declare it.
#[derive(Clone, Copy, Debug)]
pub struct Channel {
    /// Its name.
    pub name: &'static str,
    /// Which end sends.
    pub sender: usize,
    /// Only the newest message counts.
    pub latest: bool,
    /// The receiving application says when a message is handled.
    pub manual: bool,
    /// How many messages the receiver takes without handling them.
    pub window: u32,
    /// How many messages the sender takes without a verdict.
    pub queue: usize,
    /// The largest message.
    pub largest: usize,
    /// Its messages go before those of other channels.
    pub urgent: bool,
}

/// How an application closes a link.
#[derive(Clone, Copy, Debug)]
pub struct Closes {
    /// What becomes of what is under way.
    pub mode: CloseMode,
    /// What it says.
    pub code: u32,
}

impl Closes {
    /// When everything is done: all that is left is to take what still arrives.
    pub const DONE: Self = Self {
        mode: CloseMode::DrainBoth,
        code: 0,
    };

    /// With a code.
    #[must_use]
    pub const fn saying(code: u32, mode: CloseMode) -> Self {
        Self { mode, code }
    }
}

/// What an application does by itself.
#[derive(Clone, Copy, Debug)]
pub enum Do {
    /// Sends a message, or queues for doing so.
    Send {
        /// The channel, by its place in the plan.
        channel: usize,
        /// How many bytes, [`super::ledger::LEAST`] at least.
        size: usize,
        /// After how many microseconds it is of no use any more.
        expires: Option<u64>,
    },
    /// Closes the link.
    Close(Closes),
    /// Takes nothing from its channels for this many microseconds.
    Stall(u64),
    /// Drops the receiver of a channel.
    Abandon(usize),
}

/// When an application does what.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// In microseconds, from the beginning or from the first time that its link was up.
    pub at: u64,
    /// Counted from the first time that its link was up.
    pub once_up: bool,
    /// What.
    pub what: Do,
}

/// How a network carries bytes.
#[derive(Clone, Copy, Debug)]
pub struct Net {
    /// How long a byte travels.
    pub delay: u64,
    /// How much longer it travels from the acceptor to an opener.
    pub back: u64,
    /// And how much longer at most.
    pub jitter: u64,
    /// How many bytes a millisecond go through, if that is bounded.
    pub rate: Option<u64>,
    /// How many bytes it takes before the first of them arrive.
    pub room: usize,
    /// How many bytes arrive at once at most.
    pub piece: usize,
}

/// Which ends learn that a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learn {
    /// Both ends, as a failure.
    Both,
    /// Both ends, as if the other had ended it.
    End,
    /// The opener; the acceptor's end stays half-open.
    Opener,
    /// The acceptor; the opener's end stays half-open.
    Acceptor,
    /// Neither.
    Nobody,
}

impl Learn {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Both,
        Self::End,
        Self::Opener,
        Self::Acceptor,
        Self::Nobody,
    ];

    pub(super) fn tells(self, end: usize) -> bool {
        match self {
            Self::Both | Self::End => true,
            Self::Opener => end == OPENER,
            Self::Acceptor => end == ACCEPTOR,
            Self::Nobody => false,
        }
    }
}

/// A connection that carries no byte after a given number.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// Which of the world's connections, counted from zero.
    pub connection: usize,
    /// Whose bytes are counted.
    pub from: usize,
    /// How many of them arrive.
    pub after: u64,
    /// Which ends learn of it.
    pub learn: Learn,
}

/// The whole state of one end is lost.
#[derive(Clone, Copy, Debug)]
pub struct Crash {
    /// After how many steps of the world.
    pub step: u64,
    /// Whose.
    pub end: usize,
    /// Whether the other end learns that the connection is gone.
    pub told: bool,
}

/// What goes wrong at a given moment.
#[derive(Clone, Copy, Debug)]
pub enum Disturbance {
    /// A pair's newest connection is cut.
    Cut(usize, Learn),
    /// A pair's newest connection carries nothing for a number of microseconds, then everything.
    Freeze {
        /// Which pair.
        pair: usize,
        /// How long.
        time: u64,
        /// Whether the opener takes it for lost.
        lost: bool,
    },
    /// The opener of a pair loses its state.
    RestartOpener {
        /// Which pair.
        pair: usize,
        /// Whether the acceptor learns that the connection is gone.
        told: bool,
    },
    /// The acceptor loses its state, all links' at once.
    RestartAcceptor {
        /// Whether the openers learn that their connections are gone.
        told: bool,
    },
    /// The acceptor can't be reached for this many microseconds.
    Unreachable(u64),
    /// A host stands still for this many microseconds, and its clock goes on: the acceptor's is the
    /// first, the openers' follow.
    Stop(usize, u64),
}

/// Something that is done wrong on purpose, for the checks to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Input of a replaced connection reaches the link all the same.
    NoFence,
    /// One message that the application takes never reaches it.
    LoseTaken,
    /// One message reaches the application twice.
    TakeTwice,
    /// Messages are confirmed without having been handled.
    ConfirmUnhandled,
    /// One verdict is not passed on.
    ForgetVerdict,
    /// One verdict is passed on twice.
    RepeatVerdict,
    /// Returning peers are not led to their links.
    ForgetSessions,
    /// The acceptor's deadlines are ignored.
    Oversleep,
    /// A few bytes in flight are lost without a trace.
    LoseBytes,
}

/// What the ends of one pair do.
#[derive(Clone, Debug, Default)]
pub struct Scripts(pub [Vec<Act>; 2]);

/// Keys and pins of all hosts.
#[derive(Clone, Debug)]
pub struct Keys {
    pub(super) acceptor: Security,
    pub(super) openers: Vec<Security>,
}

impl Keys {
    /// Makes identities for an acceptor and this many openers. All signatures have one length, so
    /// that two runs differ in no count of bytes.
    ///
    /// # Panics
    ///
    /// If the system has no randomness to give.
    #[must_use]
    pub fn new(openers: usize) -> Self {
        let own = |made: &countersign_certs::GeneratedIdentity| {
            Identity::from_der(made.certificate_der(), made.key_der()).expect("a sound identity")
        };
        let acceptor = fixtures::ed25519("acceptor");
        let made: Vec<_> = (0..openers).map(|_| fixtures::ed25519("opener")).collect();
        let pins = made
            .iter()
            .map(|made| countersign_endpoint::Pin::public_key(made.fingerprint()));
        let pins = Pins::new(pins).expect("pins");
        let security = |builder: countersign_endpoint::TlsBuilder| builder.build().expect("TLS");
        Self {
            acceptor: security(Security::tls(own(&acceptor), pins)),
            openers: made
                .iter()
                .map(|made| security(Security::tls(own(made), acceptor.fingerprint())))
                .collect(),
        }
    }
}

/// Everything that a run depends on.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed of everything that is not given here.
    pub seed: u64,
    /// The channels of every link.
    pub channels: Vec<Channel>,
    /// Largest frames of openers and acceptor.
    pub frame_limits: [usize; 2],
    /// Timeouts of openers and acceptor.
    pub timeouts: [Timeouts; 2],
    /// Latency budgets of openers and acceptor.
    pub budgets: [Option<Duration>; 2],
    /// When openers connect again.
    pub reconnect: Reconnect,
    /// The acceptor's clock, then the openers'.
    pub clocks: Vec<Clock>,
    /// What the ends of each pair do.
    pub pairs: Vec<Scripts>,
    /// TLS, or plain connections.
    pub keys: Option<Keys>,
    /// The network.
    pub net: Net,
    /// How many peers the acceptor waits for.
    pub sessions: usize,
    /// Which ends' links were declared to end with their session.
    pub single: [bool; 2],
    /// Whether an opener's application begins another link where one has ended so.
    pub begins_anew: bool,
    /// One message in this many is rejected on `Manual` channels, none if zero.
    pub rejects: u64,
    /// One message in this many is handled with a reply on `Manual` channels, none if zero.
    pub replies: u64,
    /// How long an application holds a message on `Manual` channels, at most.
    pub holds: u64,
    /// Which ends close when everything is done.
    pub closers: [bool; 2],
    /// One connection in this many is read on after it was replaced or lost, none if zero.
    pub slow_drivers: u64,
    /// What goes wrong when.
    pub disturbances: Vec<(u64, Disturbance)>,
    /// Which connections are cut where.
    pub cuts: Vec<Cut>,
    /// When an end loses its state.
    pub crash: Option<Crash>,
    /// Nothing in this plan is a reason to lose a session.
    pub lasting: bool,
    /// What is done wrong on purpose.
    pub plant: Option<Plant>,
    /// What every link does wrong on purpose.
    pub mistake: Option<Planted>,
    /// Whether what links know of clocks goes unchecked, to see that late messages are found without.
    pub unchecked_clocks: bool,
    /// Whether to print everything that happens.
    pub trace: bool,
}

impl Plan {
    /// Returns one pair on a good network, which does nothing yet.
    #[must_use]
    pub fn pair(channels: Vec<Channel>, opener: Vec<Act>, acceptor: Vec<Act>) -> Self {
        let timeouts = Timeouts {
            handshake: Duration::from_secs(4),
            ping: Duration::from_secs(1),
            give_up: Duration::from_secs(3),
            close: Duration::from_secs(20),
            retain: Duration::from_secs(30),
            ..Timeouts::default()
        };
        Self {
            seed: 1,
            channels,
            frame_limits: [512; 2],
            timeouts: [timeouts; 2],
            budgets: [None; 2],
            reconnect: Reconnect::default(),
            clocks: vec![Clock::RIGHT; 2],
            pairs: vec![Scripts([opener, acceptor])],
            keys: None,
            net: Net {
                delay: 10_000,
                back: 0,
                jitter: 0,
                rate: None,
                room: 65_536,
                piece: 65_536,
            },
            sessions: 16,
            single: [false; 2],
            begins_anew: true,
            rejects: 0,
            replies: 0,
            holds: 0,
            closers: [true, false],
            slow_drivers: 0,
            disturbances: Vec::new(),
            cuts: Vec::new(),
            crash: None,
            lasting: true,
            plant: None,
            mistake: None,
            unchecked_clocks: false,
            trace: false,
        }
    }

    /// Returns one end's declaration. The acceptor names its channels the other way round.
    #[must_use]
    pub(super) fn config(&self, end: usize) -> Config {
        let mut config = Config::new()
            .frame_limit(self.frame_limits[end])
            .timeouts(self.timeouts[end])
            .reconnect(self.reconnect);
        if self.single[end] {
            config = config.single_session();
        }
        if let Some(budget) = self.budgets[end] {
            config = config.latency_budget(budget);
        }
        for at in 0..self.channels.len() {
            config = config.channel(self.channels[self.place(end, at)].declare(end));
        }
        config
    }

    /// Returns where an end's declaration has a channel; the same both ways.
    pub(super) fn place(&self, end: usize, channel: usize) -> usize {
        if end == OPENER {
            channel
        } else {
            self.channels.len() - 1 - channel
        }
    }
}

impl Channel {
    /// Returns a reliable channel from one end to the other, with small figures.
    #[must_use]
    pub const fn new(name: &'static str, sender: usize) -> Self {
        Self {
            name,
            sender,
            latest: false,
            manual: false,
            window: 16,
            queue: 32,
            largest: 4096,
            urgent: false,
        }
    }

    /// Its receiver says when a message is handled.
    #[must_use]
    pub const fn manual(mut self) -> Self {
        self.manual = true;
        self
    }

    /// Its messages go before those of other channels.
    #[must_use]
    pub const fn urgent(mut self) -> Self {
        self.urgent = true;
        self
    }

    /// Only its newest message counts.
    #[must_use]
    pub const fn latest(mut self) -> Self {
        self.latest = true;
        self
    }

    fn declare(&self, end: usize) -> ChannelConfig {
        let largest = self.largest;
        if end == self.sender {
            let sends = SendChannel::new(self.name)
                .max_message(largest)
                .queue(self.queue, largest * 4);
            let sends = if self.latest { sends.latest() } else { sends };
            let sends = if self.urgent { sends.urgent() } else { sends };
            return sends.into();
        }
        let receives = ReceiveChannel::new(self.name)
            .max_message(largest)
            .window(self.window, largest * 2);
        if self.manual {
            receives.manual().into()
        } else {
            receives.into()
        }
    }
}

impl Act {
    /// Does something at a moment of the world.
    #[must_use]
    pub const fn at(at: u64, what: Do) -> Self {
        let once_up = false;
        Self { at, once_up, what }
    }

    /// Does something this long after the link was up.
    #[must_use]
    pub const fn up(at: u64, what: Do) -> Self {
        let once_up = true;
        Self { at, once_up, what }
    }
}

impl Do {
    /// Sends a message that never expires.
    #[must_use]
    pub const fn send(channel: usize, size: usize) -> Self {
        let expires = None;
        Self::Send {
            channel,
            size,
            expires,
        }
    }
}
