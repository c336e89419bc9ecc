//! The protocol of countersign as a state machine without I/O.
//!
//! **Determinism.** The core has no clock, no source of randomness, no sockets, no threads and no
//! global state. The same calls with the same arguments give the same results and the same output,
//! byte for byte. Every backend, test and simulation relies on it.
//!
//! One [`Link`] is one end of a link. The caller moves bytes between it and a transport, passes in
//! the time, and handles its events; [`Link`]'s documentation has a worked example of two ends that
//! exchange bytes in memory. `docs/protocol.md` specifies what goes over the wire.
//!
//! # Map
//!
//! | to | look at |
//! |---|---|
//! | declare channels, limits and timeouts | [`Config`], [`SendChannel`], [`ReceiveChannel`], [`Timeouts`] |
//! | choose whether and when to connect again | [`Reconnect`], [`RetryLimit`] |
//! | admit peers, and route those that return to their links | [`Acceptor`], [`Incoming`], [`Route`], [`Limits`], [`Link::take_over`] |
//! | move the bytes of either | [`Protocol`] |
//! | bound the memory of a link | [`Config::memory_bound`] |
//! | drive a link | [`Link`], [`Output`], [`Event`], [`Instant`] |
//! | see the state of a link | [`Link::status`] |
//! | learn what became of a message | [`Verdict`], [`VerdictCounts`], [`ChannelReport`] |
//! | tell errors apart by blame | [`SendError`], [`ReceiveError`], [`OutOfOrder`] (this end's caller), [`PeerMisbehaved`] (the peer), [`Incompatible`] (both ends' declarations), [`Disconnect`] and [`Loss`] (the transport, as the caller reports it and as the link does); [`EndReason`] holds the one that ended a link |
//! | close a link and say why, or refuse one | [`Link::close`], [`CloseReason`], [`Refusal`] |
//! | show text from a peer | [`Escaped`] |
//! | read the table of a link's states | [`LinkState`], [`Input`], [`Step`] |
//! | record every call of a link | [`Link::observed`], [`Observe`], [`Call`], [`Outcome`] |
//! | work with frames themselves | [`wire`], [`abort`], [`close`], [`refuse`], [`reject`] |
//!
//! # Features
//!
//! `std` (default) passes `std` on to the `bytes` crate. Without it the core needs `alloc` and
//! nothing else.

#![no_std]

extern crate alloc;

pub mod abort;
mod acceptor;
mod age;
mod bound;
mod channel;
pub mod close;
mod config;
mod config_error;
mod disconnect;
mod error;
mod escaped;
mod event;
mod limits;
mod link;
mod misbehaved;
mod names;
mod observe;
mod pace;
mod peer_clock;
mod receive;
mod reconnect;
mod redact;
pub mod refuse;
mod reported;
mod rng;
mod send;
mod spent;
mod state;
mod time;
mod verdict;
pub mod wire;

pub use acceptor::*;
pub use age::{Age, ClockOffset};
pub use channel::*;
pub use close::CloseReason;
pub use config::*;
pub use config_error::{ConfigError, ConfigProblem, DeclareError};
pub use disconnect::Disconnect;
pub use error::*;
pub use escaped::Escaped;
pub use event::*;
pub use limits::*;
#[cfg(planted)]
#[doc(hidden)]
pub use link::Planted;
pub use link::{
    ChannelReport, ChannelStatus, CloseMode, Link, LinkStatus, Message, Output, PeerId, Protocol,
    Request, STREAM_WHOLE, SentBatch, TakeOver,
};
pub use observe::{Call, Observe, Outcome};
pub use reconnect::{Reconnect, RetryLimit};
pub use refuse::Refusal;
pub(crate) use send::SendHalf;
pub use spent::Spent;
pub use state::{Input, LinkState, Step};
pub use time::Instant;
pub use verdict::*;

/// The payload type, from the `bytes` crate: cheap to clone and to slice.
pub use bytes::Bytes;
