//! All interleavings of a small world: two real ends of a link, an acceptor that routes
//! connections to sessions as a listener does, connections that are cut, and applications.
//!
//! The state of the search is a [`World`], with the very [`Link`](countersign_core::Link)s of the
//! core in it; nothing of the protocol is modelled. What is modelled is what surrounds it: the
//! bytes under way, what each end has been told, and what each application has seen
//! ([`account`]). A [`Move`] is anything that may happen next; [`search()`] tries all of them in
//! all orders until no new state comes up, with `stateright`.
//!
//! `docs/verification.md` says what is checked and at which sizes.

pub mod account;
mod ends;
mod links;
mod moves;
mod search;
mod world;

use countersign_core::{Config, Instant, PeerId, ReceiveChannel, Reconnect, SendChannel, Timeouts};

use crate::mistakes::Planted;

pub use moves::Move;
pub use search::{Found, search, search_for};
pub use world::World;

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum End {
    /// The one that opens connections.
    Opener,
    /// The one that accepts them, with all its links.
    Acceptor,
}

/// The peer that the acceptor finds at the other end of every connection.
const WHO: PeerId = PeerId([7; 32]);
/// When [`Move::Expire`] has not happened, and when it has.
const TIMES: [Instant; 2] = [Instant::from_micros(0), Instant::from_micros(1_000_000)];
/// When every wait has timed out.
const MUCH_LATER: Instant = Instant::from_micros(10_000_000_000);

/// One channel, and what is sent on it.
#[derive(Clone, Copy, Debug)]
pub struct Lane {
    /// The end that sends.
    pub from: End,
    /// How many messages at most.
    pub messages: u8,
    /// How long each is, in bytes: one or more.
    pub length: usize,
    /// The receiver's window in messages.
    pub window: u32,
    /// Whether the policy is `Latest`, or else `Reliable`.
    pub latest: bool,
    /// Whether messages are handled or rejected after they were taken, or else handled by it.
    pub manual: bool,
    /// Whether messages expire.
    pub expires: bool,
    /// Whether messages that are handled after they were taken may get a reply.
    pub replies: bool,
}

impl Lane {
    /// A `Reliable` channel with a window of two for this many messages of one byte.
    #[must_use]
    pub fn new(from: End, messages: u8) -> Self {
        Self {
            from,
            messages,
            length: 1,
            window: 2,
            latest: false,
            manual: false,
            expires: false,
            replies: false,
        }
    }
}

/// How large the world is: what there is, and how often what may happen.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The channels.
    pub lanes: Vec<Lane>,
    /// How often a connection is cut. Each end learns of a cut separately, or much later.
    pub cuts: u8,
    /// How often the acceptor loses its sessions: it is restarted and knows nothing any more, or it
    /// gives up one that waits for its peer.
    pub losses: u8,
    /// How often an application closes the link.
    pub closes: u8,
    /// Whether frames with messages arrive in two pieces, between which the connection may be cut.
    pub pieces: bool,
    /// Which ends' links are declared to end with their session, the opener's first.
    pub single: [bool; 2],
    /// The memory that ends write into: longer messages are cut into several frames.
    pub buffer: usize,
    /// A mistake that both ends make.
    pub planted: Option<Planted>,
}

impl Setup {
    /// A world in which nothing goes wrong.
    #[must_use]
    pub fn new(lanes: impl Into<Vec<Lane>>) -> Self {
        Self {
            lanes: lanes.into(),
            cuts: 0,
            losses: 0,
            closes: 0,
            pieces: false,
            single: [false; 2],
            buffer: 16,
            planted: None,
        }
    }

    fn config(&self, end: End) -> Config {
        let timeouts = Timeouts {
            ack_delay: core::time::Duration::ZERO,
            ..Timeouts::default()
        };
        let at_once = Reconnect {
            first_delay: core::time::Duration::ZERO,
            longest_delay: core::time::Duration::ZERO,
            ..Reconnect::default()
        };
        let mut config = Config::new().timeouts(timeouts).reconnect(at_once);
        if self.single[end.at()] {
            config = config.single_session();
        }
        for (at, lane) in self.lanes.iter().enumerate() {
            let name = format!("{at}");
            config = if lane.from == end {
                let channel = SendChannel::new(name);
                config.channel(if lane.latest {
                    channel.latest()
                } else {
                    channel
                })
            } else {
                let bytes = lane.length * usize::try_from(lane.window).unwrap();
                let channel = ReceiveChannel::new(name).max_message(lane.length);
                let channel = channel.window(lane.window, bytes);
                config.channel(if lane.manual {
                    channel.manual()
                } else {
                    channel
                })
            };
        }
        config
    }
}
