//! The state of one transport connection. The next one gets a new value, so that nothing of an old
//! one can remain.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::admission::PendingRequest;
use super::close::CloseFrames;
use super::stream::Stream;
use crate::config::Config;
use crate::pace::Pace;
use crate::peer_clock::PeerClock;
use crate::refuse::Refusal;
use crate::wire::{Decoder, SessionOutcome};
use crate::{Instant, Sequence};

/// The latest transport connection of a link.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Connection {
    /// When it was opened.
    pub(super) opened_at: Instant,
    /// Whether it is open, as far as the caller has reported.
    pub(super) is_open: bool,
    /// Whether the peer has ended its direction.
    pub(super) read_ended: bool,
    /// Whether the caller was asked to end ours ([`Output::End`](super::Output::End)).
    pub(super) write_ended: bool,
    pub(super) decoder: Decoder,
    /// The wire number of the channel of the MESSAGE frame that is arriving.
    pub(super) arriving_channel: u16,
    pub(super) stream: Stream,
    pub(super) to_greet: ToGreet,
    pub(super) close: CloseFrames,
    /// The last frame to write, once the link has ended.
    pub(super) last_frame: Option<LastFrame>,
    /// When bytes last arrived from the peer.
    pub(super) last_received: Instant,
    /// When this end last wrote anything.
    pub(super) last_sent: Instant,
    pub(super) ping_outstanding: bool,
    pub(super) to_ping: bool,
    pub(super) to_pong: bool,
    /// Opener: the peer has no answer to a time of its own yet, without which it can't judge the
    /// age of messages.
    pub(super) owes_time: bool,
    pub(super) peer_clock: PeerClock,
    /// Where the link has a latency budget.
    pub(super) pace: Option<Box<Pace>>,
    /// Acceptor: what the peer has sent, until the caller has decided about it.
    pub(super) pending_request: Option<PendingRequest>,
    /// Acceptor: what a session that can't be resumed had settled, by channel, for WELCOME.
    pub(super) old_settled: Vec<Option<Sequence>>,
}

impl Connection {
    /// Returns the value that stands for no connection, before the first.
    pub(super) fn none(config: &Config) -> Self {
        Self {
            opened_at: Instant::ZERO,
            is_open: false,
            read_ended: false,
            write_ended: false,
            decoder: Decoder::new(config.frame_limit),
            arriving_channel: 0,
            stream: Stream::default(),
            to_greet: ToGreet::Nothing,
            close: CloseFrames::default(),
            last_frame: None,
            last_received: Instant::ZERO,
            last_sent: Instant::ZERO,
            ping_outstanding: false,
            to_ping: false,
            to_pong: false,
            owes_time: false,
            peer_clock: PeerClock::default(),
            pace: config
                .latency_budget
                .map(|budget| Box::new(Pace::new(budget))),
            pending_request: None,
            old_settled: Vec::new(),
        }
    }

    /// Returns a connection that was opened at `now`.
    pub(super) fn opened(config: &Config, now: Instant) -> Self {
        Self {
            opened_at: now,
            is_open: true,
            last_received: now,
            last_sent: now,
            ..Self::none(config)
        }
    }
}

/// The greeting that this end has to write before any message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum ToGreet {
    Nothing,
    /// HELLO, which names the session to resume or none.
    Hello {
        resume: bool,
    },
    Welcome(SessionOutcome),
}

/// The last frame on a connection whose link has ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum LastFrame {
    Abort { code: u16, text: String },
    Refuse { channel: u16, refusal: Refusal },
}
