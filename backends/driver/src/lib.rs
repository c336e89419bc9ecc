//! What all backends share: the handles of a link, and the driver that moves its bytes.
//!
//! Nothing here opens a socket, starts a thread or sleeps (a capture brings its own thread). A backend brings a [`Transport`] and a
//! [`Timer`] of its runtime, starts a [`Connecting`], runs the [`Driver`], and re-exports the
//! handles: [`Link`], [`Sender`], [`Receiver`], [`ManualReceiver`], [`Receipt`].
//!
//! The handles and the driver share one lock, held only while the core works, never while
//! anything is encrypted, decrypted, sent or received. Whoever gives the link something to do
//! wakes the driver, and only then; an idle link sleeps.
//!
//! # Map
//!
//! `establish` leads from a transport connection to a [`Link`]; `driver` keeps it connected;
//! `connection` moves the bytes of one connection; `registry` knows which link a returning peer
//! belongs to; `shared` is the state under the lock and decides whom to wake; `wakers` knows who
//! waits; `sender`, `receiver`, `receipt`, `link` and `listener` are the handles; `sink`, `stream`
//! and `callback` are their other forms; `hall` is where a listener's connections are until they are
//! accepted, `serve` takes them, `accept` has the limits, `admission` the application's word; `open` connects to one of several
//! addresses; `alarm` makes a [`Timer`] of futures that sleep; `unix` has the files of Unix sockets,
//! `memory` connections within a process; `error` says what handles can't do. [`secure`] is apart
//! from all of these: streams of bytes with the same pins, and no link.

mod accept;
mod admission;
mod alarm;
mod callback;
mod clock;
mod connection;
mod driver;
mod error;
mod establish;
mod hall;
mod incoming;
mod key_log;
mod link;
mod listener;
mod memory;
mod open;
mod receipt;
mod receiver;
mod registry;
pub mod secure;
mod sender;
mod serve;
mod shared;
mod sink;
mod socket;
mod stream;
#[cfg(unix)]
mod unix;
mod wakers;

pub use accept::{
    AcceptError, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS, DEFAULT_LINKS,
    DEFAULT_PER_ADDRESS, Drained, Limits,
};
pub use admission::{Admission, Arrival};
pub use alarm::Alarm;
pub use driver::{Dial, Dialer, Driver, Never, READ, Timer, Transport};
pub use error::{ChannelError, LinkError, RecvError, SendError};
pub use establish::{Connecting, Setup};
pub use hall::{Doors, Guest, Served};
pub use incoming::Incoming;
pub use link::{Link, Report};
pub use listener::Listener;
pub use memory::{Memory, memory};
pub use open::{ATTEMPT_DELAY, at, open};
pub use receipt::{BatchReceipt, Receipt};
pub use receiver::{Delivery, ManualReceiver, Receiver};
pub use registry::Registry;
pub use secure::{DEFAULT_HANDSHAKE_LIMIT, DEFAULT_SHUTDOWN_LIMIT, StreamSetup};
pub use sender::{Outgoing, Sender};
pub use serve::serve;
pub use shared::LinkEvent;
pub use sink::{MessageSink, SinkError};
pub use socket::prepare_socket;
#[cfg(unix)]
pub use unix::{UnixPath, bind_unix};

pub use countersign_capture as capture;
pub use countersign_core as core;
pub use countersign_endpoint as endpoint;

/// What the crates of the backends hand on to their users.
pub mod api {
    pub use crate::{
        BatchReceipt, Incoming, Link, Listener, ManualReceiver, MessageSink, Receipt, Receiver,
        Sender, SinkError, capture, core, endpoint,
    };
    pub use common::*;

    /// The same for handles that wait and for handles that block.
    pub mod common {
        pub use crate::{
            AcceptError, Admission, Arrival, ChannelError, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN,
            DEFAULT_HALF_OPEN_PER_ADDRESS, DEFAULT_HANDSHAKE_LIMIT, DEFAULT_LINKS,
            DEFAULT_PER_ADDRESS, DEFAULT_SHUTDOWN_LIMIT, Delivery, Drained, Limits, LinkError,
            LinkEvent, Outgoing, RecvError, Report, SendError, Setup, StreamSetup,
        };
    }
}
