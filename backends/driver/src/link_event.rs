//! The events of a link.

use std::fmt;

use countersign_core::{Escaped, Loss, SessionLoss};

/// An event of a link, as [`Link::event`](crate::Link::event) returns it.
///
/// ```
/// # use countersign_driver::{Link, LinkEvent};
/// # async fn example(link: &Link, stop_motors: impl Fn()) {
/// while let Some(event) = link.event().await {
///     match event {
///         LinkEvent::LeaseLapsed { .. } => stop_motors(),
///         event => println!("{event}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The lease of this channel is held: a message was taken that is young enough. It was not held
    /// before, or had lapsed. [`Link::lease`](crate::Link::lease) waits for it.
    LeaseHeld {
        /// The channel's name.
        channel: String,
    },
    /// The lease of this channel has lapsed: the newest message taken may be too old to be acted on
    /// still, or the link has ended.
    LeaseLapsed {
        /// The channel's name.
        channel: String,
    },
    /// The peer has begun to close the link. [`Link::peer_closes`](crate::Link::peer_closes)
    /// returns its reason.
    PeerClosing,
    /// The connection was lost. The link waits for the next one, and keeps everything.
    Lost {
        /// How, in the core's terms.
        loss: Loss,
        /// The same with the errors of the layers below, for display.
        why: String,
    },
    /// The link is connected again: no message was lost, none arrives twice.
    Resumed,
    /// The session could not be resumed. Every message of it has its verdict;
    /// [`LinkEvent::NewSession`] follows. In the tlsstream dialect, which cannot resume, this
    /// follows each loss of a connection.
    SessionLost(SessionLoss),
    /// The link is connected again, with a new session in place of the lost one.
    NewSession,
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseHeld { channel } => {
                write!(
                    f,
                    "the lease of channel '{}' is held",
                    Escaped::new(channel)
                )
            }
            Self::LeaseLapsed { channel } => {
                write!(
                    f,
                    "the lease of channel '{}' has lapsed",
                    Escaped::new(channel)
                )
            }
            Self::PeerClosing => f.write_str("the peer is closing the link"),
            Self::Lost { why, .. } => f.write_str(why),
            Self::Resumed => f.write_str("connected again, with the same session"),
            Self::SessionLost(why) => write!(f, "the session was lost: {why}"),
            Self::NewSession => f.write_str("connected again, with a new session"),
        }
    }
}

impl LinkEvent {
    /// Whether this event makes an earlier pending one obsolete.
    pub(crate) fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::LeaseHeld { channel }, Self::LeaseHeld { channel: other })
            | (Self::LeaseLapsed { channel }, Self::LeaseLapsed { channel: other }) => {
                channel == other
            }
            (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
        }
    }
}
