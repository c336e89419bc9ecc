//! What happens to links, for their owner.

use std::net::SocketAddr;

use countersign_core::Event;

use super::{LinkId, ListenerId};
use crate::link_error::LinkError;
use crate::peer::Peer;

/// Something that has happened to [`Links`](crate::Links).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Happened {
    /// A peer wants a link of a listener that [asks](crate::Links::ask), and waits for an answer.
    Asks {
        /// The listener.
        listener: ListenerId,
        /// The link that it will be, for [`admit`](crate::Links::admit) and
        /// [`refuse`](crate::Links::refuse).
        link: LinkId,
        /// Where it comes from.
        from: SocketAddr,
        /// Who it has proved to be; nobody knows in plain text.
        peer: Option<Peer>,
    },
    /// A listener has a new link.
    Accepted {
        /// The listener.
        listener: ListenerId,
        /// The link, which is the caller's from here on.
        link: LinkId,
        /// Where its first connection came from.
        from: SocketAddr,
    },
    /// A connection to a listener did not become a link.
    Refused {
        /// The listener.
        listener: ListenerId,
        /// Where it came from.
        from: SocketAddr,
        /// Why.
        error: LinkError,
    },
    /// A link has lost its connection and waits for the next: nothing needs to be done.
    Lost {
        /// The link.
        link: LinkId,
        /// How.
        error: LinkError,
    },
    /// A link that this end opens could not be connected; it tries again by itself.
    NotConnected {
        /// The link.
        link: LinkId,
        /// Why not.
        error: LinkError,
    },
    /// A link has ended. What has arrived can still be taken; then the caller
    /// [forgets](crate::Links::forget) it.
    Ended {
        /// The link.
        link: LinkId,
        /// Why.
        error: LinkError,
    },
    /// Anything else that the core tells of a link.
    Event {
        /// The link.
        link: LinkId,
        /// What the core tells.
        event: Event,
    },
}
