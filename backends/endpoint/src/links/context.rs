//! The connection of a link or of an incoming, and their common state.

use std::net::SocketAddr;

use countersign_core::{ChannelConfig, ConnectionPermit, Instant, LinkPermit, Protocol, Refusal};

use super::{LinkId, ListenerId};
use crate::link_error::ErrorContext;
use crate::peer::Peer;
use crate::security::Security;
use crate::stream::Stream;
use crate::{Endpoint, EndpointEvent};

pub(super) struct LinkContext<S> {
    pub(super) security: Security,
    /// `None` if this end opens the connections.
    pub(super) origin: Option<Origin>,
    pub(super) connection: Option<Box<Connection<S>>>,
    pub(super) error_context: ErrorContext,
    /// The identity that the peer has proved.
    pub(super) peer: Option<Peer>,
    /// A connection was dropped, or could not be opened, which was not reported to the owner yet.
    pub(super) connection_lost: bool,
    /// No more events are reported to the owner.
    pub(super) forgotten: bool,
    pub(super) admission: Admission,
}

/// The owner's decision about a peer that wants a link.
pub(super) enum Admission {
    Unasked,
    Asked,
    Admitted(Option<Vec<ChannelConfig>>),
    Refused(Refusal),
}

/// Where an accepted connection comes from.
pub(super) struct Origin {
    pub(super) listener: ListenerId,
    pub(super) from: SocketAddr,
    /// Counts the link at the listener, until it has ended.
    pub(super) permit: Option<LinkPermit>,
}

pub(super) struct Connection<S> {
    /// The stream's number, by which the owner refers to it.
    pub(super) number: LinkId,
    pub(super) stream: S,
    pub(super) endpoint: Endpoint,
    /// Counts the connection at the listener that has accepted it.
    pub(super) permit: Option<ConnectionPermit>,
}

impl<S> LinkContext<S> {
    pub(super) fn new(security: &Security, origin: Option<Origin>) -> Self {
        Self {
            security: security.clone(),
            origin,
            connection: None,
            error_context: ErrorContext::default(),
            peer: None,
            connection_lost: false,
            forgotten: false,
            admission: Admission::Unasked,
        }
    }

    /// Takes a stream as the connection.
    pub(super) fn connect(
        &mut self,
        number: LinkId,
        link: &impl Protocol,
        stream: S,
        permit: Option<ConnectionPermit>,
    ) {
        let dialect = link.config().get_dialect();
        self.connection = Some(Box::new(Connection {
            number,
            stream,
            endpoint: Endpoint::new(&self.security, link.role(), dialect),
            permit,
        }));
    }

    /// Returns the identity that the peer has proved, under its current name.
    pub(super) fn current_peer(&self) -> Option<Peer> {
        Some(self.security.renamed(self.peer.as_ref()?))
    }

    pub(super) fn is_of(&self, listener: ListenerId) -> bool {
        let origin = self.origin.as_ref();
        origin.is_some_and(|origin| origin.listener == listener)
    }

    /// Returns when the next turn is due, if nothing happens before.
    pub(super) fn deadline(&self, link: &impl Protocol) -> Option<Instant> {
        let connection = self.connection.as_ref();
        let lingers = connection.and_then(|connection| connection.endpoint.deadline());
        link.poll_deadline().into_iter().chain(lingers).min()
    }
}

impl<S: Stream> LinkContext<S> {
    /// Verifies the peer again after identity and trust were replaced.
    pub(super) fn recheck(&mut self, now: Instant, link: &mut impl Protocol) {
        match &mut self.connection {
            Some(connection) => connection.endpoint.recheck(now, link),
            None => {
                if let Some(error) = self.security.recheck(now, link) {
                    self.error_context.on_event(EndpointEvent::Failed(error));
                }
            }
        }
    }

    /// Does all that can be done now; returns true if there is more to do in the next turn.
    pub(super) fn service(
        &mut self,
        clock: &impl Fn() -> Instant,
        link: &mut impl Protocol,
    ) -> bool {
        let Some(connection) = &mut self.connection else {
            link.handle_timeout(clock());
            return false;
        };
        let Connection {
            stream, endpoint, ..
        } = &mut **connection;
        let more = endpoint.transfer(clock, link, stream);
        while let Some(event) = endpoint.poll_event() {
            if matches!(event, EndpointEvent::Secured) {
                self.peer = endpoint.peer().cloned();
            }
            self.error_context.on_event(event);
        }
        more
    }
}
