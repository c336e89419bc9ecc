//! Events of links, for their owner.

use std::net::SocketAddr;

use countersign_core::Event;

use super::{LinkId, ListenerId};
use crate::link_error::LinkError;
use crate::peer::Peer;

/// An event of [`Links`](crate::Links).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LinksEvent {
    /// A peer wants a link from a listener that [asks](crate::Links::ask), and waits for an answer.
    Asks {
        /// The listener.
        listener: ListenerId,
        /// The id of the future link, for [`admit`](crate::Links::admit) and
        /// [`refuse`](crate::Links::refuse).
        link: LinkId,
        /// The address of the connection.
        from: SocketAddr,
        /// The identity that the peer has proved; `None` in plaintext, where it is unknown.
        peer: Option<Peer>,
    },
    /// A listener has a new link.
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// The link, which the caller owns from now on.
        link: LinkId,
        /// The address of its first connection.
        from: SocketAddr,
    },
    /// A connection to a listener did not become a link.
    Refused {
        /// The listener.
        listener: ListenerId,
        /// The address of the connection.
        from: SocketAddr,
        /// The reason.
        error: LinkError,
    },
    /// A link has lost its connection and waits for the next: nothing needs to be done.
    Lost {
        /// The link.
        link: LinkId,
        /// How the connection was lost.
        error: LinkError,
    },
    /// A link that this end opens could not be connected; it tries again by itself.
    NotConnected {
        /// The link.
        link: LinkId,
        /// The reason.
        error: LinkError,
    },
    /// A link has ended. Messages that have arrived can still be taken; then the caller should
    /// [forget](crate::Links::forget) it.
    Ended {
        /// The link.
        link: LinkId,
        /// The reason.
        error: LinkError,
    },
    /// Any other event of a link.
    Event {
        /// The link.
        link: LinkId,
        /// The core's event.
        event: Event,
    },
}
