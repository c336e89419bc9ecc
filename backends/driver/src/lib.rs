//! What all backends share: the handles of a link, and the driver that moves its bytes.
//!
//! Nothing here opens a connection, starts a thread or sleeps (a capture brings its own thread): a
//! backend's [`Runtime`] does that, in about a hundred lines. [`entry`] builds links, listeners and
//! secure streams on it, and [`functions!`] generates what the backend's users call. A backend
//! re-exports the handles: [`Link`], [`Sender`], [`Receiver`], [`ManualReceiver`], [`Receipt`].
//!
//! The handles and the driver share one lock, held only while the core works, never while anything
//! is encrypted, decrypted, sent or received. A handle that gives the link something to do wakes
//! the driver, and only then; an idle link sleeps.
//!
//! # Map
//!
//! - A link: `establish` makes a [`Connecting`] of a transport connection, and that becomes a
//!   [`Link`]; `driver` keeps it connected, `connection` moves the bytes of one connection;
//!   `shared` is the state under the lock and decides what to wake, `lock` wakes it once the lock
//!   is released, `wakers` holds the wakers of waiting tasks; `status` is a snapshot of a link.
//! - Handles: `sender`, `receiver` and `received`, `receipt`, `lease`, `link` and `listener`; `sink`,
//!   `stream`, `callback` and `request` are their other forms; `error` has the errors of handles.
//! - A listener: `serve` takes its connections, `pending` is one of them until it belongs to a
//!   link, `accept_queue` holds them and the links until the application accepts them, `accept` has
//!   the errors, `admission` the application's decision; `quota` bounds the log lines about
//!   strangers, `failure_log` those about failed connections.
//! - Addresses: `address` is a host and a port, `open` connects to one of several addresses,
//!   `address_dialer` does so for each attempt of a link, `bind` listens on several.
//! - A backend: `runtime` is what it implements, [`entry`] the functions on top of that; `clock` is
//!   the time source, `sleep_timer` makes a [`Timer`] of a runtime's sleep; `unix` has the files of
//!   Unix sockets, `memory` connections within a process.
//! - [`secure`] is separate from all of these: streams of bytes with the same pins, and no link.

mod accept;
mod accept_queue;
mod address;
mod address_dialer;
mod addresses;
mod admission;
mod bind;
mod callback;
mod clock;
mod connecting;
mod connection;
mod dial;
mod driver;
pub mod entry;
mod error;
mod establish;
mod events;
mod failure;
mod failure_log;
mod incoming;
mod key_log;
mod lease;
mod link;
mod link_event;
mod listener;
mod lock;
mod memory;
mod open;
mod pending;
#[cfg(planted)]
#[doc(hidden)]
pub mod planted;
mod quota;
mod receipt;
mod received;
mod receiver;
mod recorder;
mod request;
mod runtime;
pub mod secure;
mod sender;
mod serve;
mod setup;
mod shared;
mod sink;
mod sleep_timer;
mod socket;
mod split_warning;
mod status;
mod stream;
mod sync;
mod transport;
#[cfg(unix)]
mod unix;
mod wakers;

pub use accept::{AcceptError, DEFAULT_LOG_LINES};
pub use accept_queue::AcceptorTask;
pub use address::{Address, AddressError, AddressFault};
pub use addresses::{Addresses, TransportAddress};
pub use admission::{Admission, Arrival};
pub use clock::Clock;
pub use connecting::{ConnectHandle, Connecting};
pub use countersign_core::{
    DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS, DEFAULT_LINKS,
    DEFAULT_PER_ADDRESS, Drained, Limits,
};
pub use dial::{Dial, Dialer, NoDial};
pub use driver::Driver;
pub use error::{ChannelError, LinkError, RecvError, SendError};
pub use events::Events;
pub use failure::FailedAttempt;
pub use incoming::Incoming;
pub use lease::Lease;
pub use link::{Link, Report};
pub use link_event::LinkEvent;
pub use listener::Listener;
pub use memory::{Memory, memory};
pub use open::{ATTEMPT_DELAY, open, refuse_self};
pub use pending::{PendingConnection, Served};
pub use receipt::{BatchReceipt, Receipt};
pub use received::{Received, ReplyTooLong};
pub use receiver::{Delivery, ManualReceiver, Receiver};
pub use request::RequestError;
#[cfg(unix)]
pub use runtime::UnixRuntime;
pub use runtime::{Accept, Runtime, StreamSocket, TcpRuntime};
pub use secure::{DEFAULT_HANDSHAKE_LIMIT, DEFAULT_SHUTDOWN_LIMIT, StreamSetup};
pub use sender::{Outgoing, Sender};
pub use serve::serve;
pub use setup::Setup;
pub use sink::{MessageSink, SinkError};
pub use sleep_timer::SleepTimer;
pub use socket::prepare_socket;
pub use status::Status;
pub use transport::{READ, Timer, Transport};

/// What the backends' crates re-export to their users.
pub mod api {
    pub use crate::{
        BatchReceipt, Connecting, Events, Incoming, Lease, Link, Listener, ManualReceiver,
        MessageSink, Receipt, Receiver, Sender, SinkError,
    };
    pub use common::*;

    /// What is common to async and blocking handles.
    pub mod common {
        pub use crate::{
            AcceptError, Address, AddressError, AddressFault, Admission, Arrival, ChannelError,
            ConnectHandle, DEFAULT_BACKLOG, DEFAULT_HALF_OPEN, DEFAULT_HALF_OPEN_PER_ADDRESS,
            DEFAULT_HANDSHAKE_LIMIT, DEFAULT_LINKS, DEFAULT_LOG_LINES, DEFAULT_PER_ADDRESS,
            DEFAULT_SHUTDOWN_LIMIT, Delivery, Drained, FailedAttempt, Limits, LinkError, LinkEvent,
            Outgoing, Received, RecvError, ReplyTooLong, Report, RequestError, SendError, Setup,
            Status, StreamSetup, TransportAddress,
        };

        pub use countersign_core::{
            Age, Bytes, ChannelConfig, ChannelId, ChannelReport, ChannelStatus, ClockOffset,
            CloseMode, CloseReason, Config, ConfigError, ConfigProblem, DEFAULT_CHANNEL,
            DEFAULT_FRAME_LIMIT, DEFAULT_LATEST_IN_FLIGHT, DEFAULT_MAX_MESSAGE, DEFAULT_MAX_REPLY,
            DEFAULT_QUEUE_BYTES, DEFAULT_QUEUE_MESSAGES, DEFAULT_SESSIONS, DEFAULT_WINDOW_BYTES,
            DEFAULT_WINDOW_MESSAGES, DeclareError, Dialect, EndReason, Escaped, Incompatible, Loss,
            MAX_CHANNEL_NAME, MAX_CHANNELS, MAX_LATENCY_BUDGET, MAX_REASON, MAX_REPLY,
            MIN_LATENCY_BUDGET, Mode, NotHandled, PeerId, PeerMisbehaved, Policy, ReceiveChannel,
            Reconnect, Refusal, Rejection, RetryLimit, Role, STREAM_WHOLE, SendChannel,
            SendError as SendErrorKind, Sequence, SessionLoss, Timeouts, Verdict, VerdictCounts,
            VerdictKind, abort, close, refuse, reject,
        };

        pub use countersign_endpoint::{
            ALPN_COUNTERSIGN, Alert, Authority, Blame, Cause, ErrorContext, FailureKind,
            Fingerprint, Identity, IdentityWarning, NamedPin, Origin, ParseFingerprintError, Pin,
            PinnedPeer, Pins, PlainProtocol, Reason, Replaced, Security, SecurityError,
            SecurityFiles, SetupError, TlsBuilder, Trust, ValidityDates,
        };
    }
}
