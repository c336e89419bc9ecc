//! Reports about a link.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::timers::Timer;
use super::{Half, Link};
use crate::Instant;
use crate::age::{Age, ClockOffset};
use crate::channel::{ChannelConfig, Mode};
use crate::config::Role;
use crate::error::Loss;
use crate::state::LinkState;
use crate::verdict::VerdictCounts;

/// The outcomes of the messages of one channel so far.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChannelReport {
    /// The channel's name.
    pub name: String,
    /// This end's mode.
    pub mode: Mode,
    /// Send mode: how many messages got each verdict. Receive mode: all zero.
    pub verdicts: VerdictCounts,
    /// Receive mode: how many messages the application has taken. Send mode: zero.
    pub delivered: u64,
    /// Receive mode: how many messages were late when the application would have taken them. Send
    /// mode: zero; their verdict is [`Expired`](crate::Verdict::Expired).
    pub expired: u64,
    /// Send mode: how many messages were sent again after a connection was lost. Receive mode:
    /// zero.
    pub replayed: u64,
}

/// A snapshot of a link, returned by [`Link::status`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LinkStatus {
    /// The role of this end.
    pub role: Role,
    /// The state of the link. It is connected while that [is up](LinkState::is_up).
    pub state: LinkState,
    /// When the link was connected, or, if it no longer is, when it ceased to be; `None` before its
    /// first connection.
    pub since: Option<Instant>,
    /// How the last connection was lost or could not be opened, if one was.
    pub last_loss: Option<Loss>,
    /// When the next attempt to connect begins, while the link waits for it.
    pub next_attempt: Option<Instant>,
    /// How many transport connections there were, including this one and those that failed.
    pub connections: u64,
    /// How many times a session was resumed on a new connection.
    pub resumes: u64,
    /// How many bytes this end has written, over all connections, before encryption.
    pub bytes_sent: u64,
    /// How many bytes have arrived from the peer, over all connections, after decryption.
    pub bytes_received: u64,
    /// The shortest round trip of a PING on this connection, or on the last one, without the time
    /// that the peer took to answer; `None` before the first. A shorter one counts at once, a longer
    /// one once that is older than 10 s.
    pub round_trip: Option<Duration>,
    /// How far this end's clock is ahead of the peer's; `None` while that is not known.
    pub clock: Option<ClockOffset>,
    /// How many bytes of frames arrive at the peer in a second where there is enough to send, as
    /// measured on this connection; `None` until there was, and on links without a
    /// [latency budget](crate::Config::latency_budget).
    pub rate: Option<u64>,
    /// How much all channels may send together without messages that wait, in bits a second, for
    /// the encoder of a video say, which leaves room for the other channels, for frame heads and for
    /// replies: nine tenths of [`rate`](Self::rate), or, until that is known, a quarter more than
    /// has been carried. It grows when messages had to wait and the path turns out to carry more.
    /// `None` while nothing has been measured, and on links without a latency budget.
    pub target_bitrate: Option<u64>,
    /// The channels, in the order of their declaration.
    pub channels: Vec<ChannelStatus>,
}

/// A snapshot of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ChannelStatus {
    /// The channel's name.
    pub name: String,
    /// This end's mode.
    pub mode: Mode,
    /// Send mode: how many messages were accepted so far. Receive mode: how many the application
    /// has taken or can take.
    pub messages: u64,
    /// Send mode: how many messages wait for their verdict, or for the acknowledgement to pass them
    /// after a rejection. Receive mode: how many wait to be taken.
    pub waiting: usize,
    /// How many bytes of payload are kept for the channel: those of messages without a verdict, or
    /// those that have arrived and are not settled.
    pub bytes: usize,
    /// Send mode: how many messages on the wire are not acknowledged yet. Receive mode: zero.
    pub in_flight: usize,
    /// How many more bytes the receiver's window holds now; zero before the handshake.
    pub window: usize,
    /// Send mode: how long ago the oldest of the messages that wait was accepted; `None` if none
    /// does. Receive mode: `None`.
    pub oldest: Option<Duration>,
    /// Receive mode: how old the last message with times was when the application took it. Messages
    /// with a limited life have times, and those of channels with a lease. `None` before the first.
    /// Send mode: `None`.
    pub age: Option<Age>,
}

/// What is counted for reports alone.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) sent: u64,
    pub(super) received: u64,
    since: Option<Instant>,
}

impl Tally {
    /// Notes when the link comes up or stops being up.
    #[inline]
    pub(super) fn record_transition(&mut self, now: Instant, was_up: bool, is_up: bool) {
        if was_up != is_up {
            self.since = Some(now);
        }
    }
}

impl Link {
    /// Returns the outcomes of the messages so far, one report for each channel in the order of
    /// declaration.
    #[must_use]
    pub fn report(&self) -> Vec<ChannelReport> {
        let channels = self.config.channels.iter().zip(&self.halves);
        let report = |(config, half): (&ChannelConfig, &Half)| ChannelReport {
            name: config.name().to_string(),
            mode: config.mode(),
            verdicts: half.verdicts(),
            delivered: match half {
                Half::Send(_) => 0,
                Half::Receive(half) => half.delivered,
            },
            expired: match half {
                Half::Send(_) => 0,
                Half::Receive(half) => half.expired,
            },
            replayed: match half {
                Half::Send(half) => half.replayed,
                Half::Receive(_) => 0,
            },
        };
        channels.map(report).collect()
    }

    /// Returns a snapshot of the link as it is now.
    #[must_use]
    pub fn status(&self, now: Instant) -> LinkStatus {
        let now = now.max(self.now);
        let channels = self.config.channels.iter().zip(&self.halves);
        let pace = self.connection.pace.as_ref();
        LinkStatus {
            role: self.role,
            state: self.state,
            since: self.tally.0.since,
            last_loss: self.last_loss,
            next_attempt: self.next_attempt(),
            connections: self.connections,
            resumes: self.session.resumes,
            bytes_sent: self.tally.0.sent,
            bytes_received: self.tally.0.received,
            round_trip: self.connection.peer_clock.round_trip(),
            clock: self.connection.peer_clock.offset(now),
            rate: pace.and_then(|pace| pace.rate()),
            target_bitrate: pace.and_then(|pace| pace.target_bitrate()),
            channels: channels
                .map(|(config, half)| half.status(config, now))
                .collect(),
        }
    }

    /// Returns when an opener without a connection begins its next attempt; `None` while it has
    /// one, and where there is no further attempt.
    #[must_use]
    pub fn next_attempt(&self) -> Option<Instant> {
        self.running(Timer::Connect)
    }
}

impl Half {
    fn status(&self, config: &ChannelConfig, now: Instant) -> ChannelStatus {
        let name = config.name().to_string();
        match self {
            Self::Send(half) => ChannelStatus {
                name,
                mode: Mode::Send,
                messages: half.accepted(),
                waiting: half.waiting(),
                bytes: half.stored_bytes(),
                in_flight: half.in_flight(),
                window: half.window_left(),
                oldest: half.oldest().map(|at| now.saturating_since(at)),
                age: None,
            },
            Self::Receive(half) => ChannelStatus {
                name,
                mode: Mode::Receive,
                messages: half.delivered + half.waiting() as u64,
                waiting: half.waiting(),
                bytes: half.kept_bytes(),
                in_flight: 0,
                window: half.window_left(),
                oldest: None,
                age: half.last_age.0,
            },
        }
    }
}
