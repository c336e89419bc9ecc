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
//! `establish` leads from a transport connection to a [`Connecting`], and that to a [`Link`]; `driver`
//! keeps it connected;
//! `connection` moves the bytes of one connection; `registry` knows which link a returning peer
//! belongs to; `shared` is the state under the lock and decides whom to wake; `lock` has that
//! done once it is released; `wakers` knows who waits; `status` is what a link tells about itself; `sender`, `receiver`, `receipt`, `link` and `listener` are the handles; `sink`, `stream`
//! and `callback` are their other forms; `hall` is where a listener's connections are until they are
//! accepted, `guest` one of these, `serve` takes them, `accept` has the limits, `admission` the application's
//! word, `quota` bounds what the log hears of
//! strangers, `told` what it hears of connections that don't come about; `address` is a host and a port,
//! `open` connects to one of several addresses, `reach` does so again and again, `bind` listens on
//! several; `clock` says what time it is, `alarm` makes a [`Timer`] of futures that sleep; `unix` has the files of Unix sockets,
//! `memory` connections within a process; `recorded` has links recorded; `error` says what handles can't do. [`secure`] is apart
//! from all of these: streams of bytes with the same pins, and no link.

mod accept;
mod address;
mod admission;
mod alarm;
mod bind;
mod callback;
mod clock;
mod connecting;
mod connection;
mod driver;
mod error;
mod establish;
mod guest;
mod hall;
mod incoming;
mod key_log;
mod link;
mod listener;
mod lock;
mod memory;
mod open;
mod parts;
mod quota;
mod reach;
mod receipt;
mod receiver;
mod recorded;
mod registry;
pub mod secure;
mod sender;
mod serve;
mod shared;
mod sink;
mod socket;
mod status;
mod stream;
mod told;
#[cfg(unix)]
mod unix;
mod wakers;

pub use accept::{
    AcceptError, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS, DEFAULT_LINKS,
    DEFAULT_LOG_LINES, DEFAULT_PER_ADDRESS, Drained, Limits,
};
pub use address::{Address, AddressError, AddressFault};
pub use admission::{Admission, Arrival};
pub use alarm::Alarm;
pub use bind::{AcceptAny, accept_any, bind};
pub use clock::Clock;
pub use connecting::{ConnectHandle, Connecting};
pub use driver::{Dial, Dialer, Driver, Never, READ, Timer, Transport};
pub use error::{ChannelError, LinkError, RecvError, SendError};
pub use establish::Setup;
pub use guest::{Guest, Served};
pub use hall::Doors;
pub use incoming::Incoming;
pub use link::{Link, Report};
pub use listener::Listener;
pub use memory::{Memory, memory};
pub use open::{ATTEMPT_DELAY, at, open, refuse_self};
pub use receipt::{BatchReceipt, Receipt};
pub use receiver::{Delivery, ManualReceiver, Receiver};
pub use registry::Registry;
pub use secure::{DEFAULT_HANDSHAKE_LIMIT, DEFAULT_SHUTDOWN_LIMIT, StreamSetup};
pub use sender::{Outgoing, Sender};
pub use serve::serve;
pub use shared::LinkEvent;
pub use sink::{MessageSink, SinkError};
pub use socket::prepare_socket;
pub use status::{Addressed, Addresses, FailedAttempt, Status, TransportAddress};
#[cfg(unix)]
pub use unix::{UnixPath, bind_unix, lasting};

/// What the crates of the backends hand on to their users.
pub mod api {
    pub use crate::{
        BatchReceipt, Connecting, Incoming, Link, Listener, ManualReceiver, MessageSink, Receipt,
        Receiver, Sender, SinkError,
    };
    pub use common::*;

    /// The same for handles that wait and for handles that block.
    pub mod common {
        pub use crate::{
            AcceptError, Address, AddressError, AddressFault, Admission, Arrival, ChannelError,
            ConnectHandle, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS,
            DEFAULT_HANDSHAKE_LIMIT, DEFAULT_LINKS, DEFAULT_LOG_LINES, DEFAULT_PER_ADDRESS,
            DEFAULT_SHUTDOWN_LIMIT, Delivery, Drained, FailedAttempt, Limits, LinkError, LinkEvent,
            Outgoing, RecvError, Report, SendError, Setup, Status, StreamSetup, TransportAddress,
        };

        pub use countersign_core::{
            Acking, Bytes, ChannelConfig, ChannelId, ChannelLimits, ChannelReport, ChannelStatus,
            CloseMode, CloseReason, Config, ConfigError, ConfigProblem, DEFAULT_CHANNEL,
            DEFAULT_FRAME_LIMIT, DEFAULT_LATEST_IN_FLIGHT, DEFAULT_MAX_MESSAGE,
            DEFAULT_QUEUE_BYTES, DEFAULT_QUEUE_MESSAGES, DEFAULT_SESSIONS, DEFAULT_WINDOW_BYTES,
            DEFAULT_WINDOW_MESSAGES, DeclareError, Dialect, EndReason, Escaped, Incompatible, Loss,
            MAX_CHANNEL_NAME, MAX_CHANNELS, MAX_REASON, Mode, Patience, PeerId, PeerMisbehaved,
            Policy, Reconnect, Refusal, Rejection, RetryLimit, Role, STREAM_WHOLE,
            SendError as SendErrorKind, Sequence, SessionLoss, Verdict, VerdictCounts, VerdictKind,
            abort, close, refuse, reject,
        };

        pub use countersign_endpoint::{
            ALPN_COUNTERSIGN, Alert, Authority, Blame, Cause, Explanation, FailureKind,
            Fingerprint, Identity, IdentityWarning, NamedPin, Origin, ParseFingerprintError, Pin,
            PinnedPeer, Pins, PlainProtocol, Reason, Replaced, Security, SecurityError,
            SecurityFiles, SetupError, TlsBuilder, Trust, ValidityDates,
        };
    }
}
