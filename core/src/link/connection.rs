//! What lives as long as one transport connection. The next one gets a new value, so nothing of an old
//! one can be left over.

use alloc::string::String;
use alloc::vec::Vec;

use super::arriving::Waiting;
use super::close::CloseFrames;
use super::stream::Stream;
use crate::config::Config;
use crate::refuse::Refusal;
use crate::wire::{Decoder, SessionOutcome};
use crate::{Instant, Sequence};

/// One transport connection of a link, the latest.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Connection {
    /// When it was opened.
    pub(super) opened_at: Instant,
    /// It has not ended, as far as the caller has told.
    pub(super) is_there: bool,
    /// The peer has ended its direction.
    pub(super) read_ended: bool,
    /// The caller has been told to end ours.
    pub(super) write_ended: bool,
    pub(super) decoder: Decoder,
    /// The channel, as numbered on the wire, of the MESSAGE frame that is arriving.
    pub(super) arriving: u16,
    pub(super) stream: Stream,
    pub(super) to_greet: ToGreet,
    pub(super) close: CloseFrames,
    /// The last words, once it has failed.
    pub(super) last_frame: Option<LastFrame>,
    /// When the peer was last heard of.
    pub(super) heard: Instant,
    /// When this end last wrote anything.
    pub(super) spoke: Instant,
    pub(super) ping_outstanding: bool,
    pub(super) to_ping: Option<u64>,
    pub(super) to_pong: Option<u64>,
    /// Acceptor: what has come, until the caller has decided.
    pub(super) waiting: Option<Waiting>,
    /// Acceptor: what an old session had settled, by channel, for WELCOME.
    pub(super) settled_once: Vec<Option<Sequence>>,
}

impl Connection {
    /// None, before the first.
    pub(super) fn none(config: &Config) -> Self {
        Self {
            opened_at: Instant::ZERO,
            is_there: false,
            read_ended: false,
            write_ended: false,
            decoder: Decoder::new(config.frame_limit),
            arriving: 0,
            stream: Stream::default(),
            to_greet: ToGreet::Nothing,
            close: CloseFrames::default(),
            last_frame: None,
            heard: Instant::ZERO,
            spoke: Instant::ZERO,
            ping_outstanding: false,
            to_ping: None,
            to_pong: None,
            waiting: None,
            settled_once: Vec::new(),
        }
    }

    /// One that is open from now on.
    pub(super) fn opened(config: &Config, now: Instant) -> Self {
        Self {
            opened_at: now,
            is_there: true,
            heard: now,
            spoke: now,
            ..Self::none(config)
        }
    }
}

/// What an opened connection still has to say before any message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum ToGreet {
    Nothing,
    /// Naming the session to resume, or none.
    Hello {
        resume: bool,
    },
    Welcome(SessionOutcome),
}

/// The last words on a connection that failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum LastFrame {
    Abort { code: u16, text: String },
    Refuse { channel: u16, refusal: Refusal },
}
