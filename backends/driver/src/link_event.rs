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
///         LinkEvent::Lost { .. } | LinkEvent::Silent { .. } => stop_motors(),
///         event => println!("{event}"),
///     }
/// }
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkEvent {
    /// No message has arrived on this channel for the time that its declaration sets.
    Silent {
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
            Self::Silent { channel } => write!(f, "channel '{}' is silent", Escaped::new(channel)),
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
            (Self::Silent { channel }, Self::Silent { channel: other }) => channel == other,
            (new, old) => std::mem::discriminant(new) == std::mem::discriminant(old),
        }
    }
}
