//! What carries a link, or an incoming connection, and what is known of both.

use std::net::SocketAddr;

use countersign_core::{ChannelConfig, ConnectionPermit, Instant, LinkPermit, Protocol, Refusal};

use super::{LinkId, ListenerId};
use crate::link_error::ErrorContext;
use crate::peer::Peer;
use crate::security::Security;
use crate::stream::Stream;
use crate::{Endpoint, EndpointEvent};

pub(super) struct Carrier<S> {
    pub(super) security: Security,
    /// None where this end opens the connections.
    pub(super) origin: Option<Origin>,
    pub(super) connection: Option<Box<Connection<S>>>,
    pub(super) error_context: ErrorContext,
    /// Who the peer has proved to be.
    pub(super) peer: Option<Peer>,
    /// A connection was given up, or could not be had, and the owner was not told of it yet.
    pub(super) given_up: bool,
    /// The owner is not to hear of it any more.
    pub(super) forgotten: bool,
    pub(super) admission: Admission,
}

/// The owner's word about a peer that wants a link.
pub(super) enum Admission {
    Unasked,
    Asked,
    Admitted(Option<Vec<ChannelConfig>>),
    Refused(Refusal),
}

/// Of what a listener has accepted.
pub(super) struct Origin {
    pub(super) listener: ListenerId,
    pub(super) from: SocketAddr,
    /// The link's place at the listener, until it has ended.
    pub(super) place: Option<LinkPermit>,
}

pub(super) struct Connection<S> {
    /// What its owner calls it.
    pub(super) number: LinkId,
    pub(super) stream: S,
    pub(super) endpoint: Endpoint,
    /// What it counts for at the listener that has accepted it.
    pub(super) permit: Option<ConnectionPermit>,
}

impl<S> Carrier<S> {
    pub(super) fn new(security: &Security, origin: Option<Origin>) -> Self {
        Self {
            security: security.clone(),
            origin,
            connection: None,
            error_context: ErrorContext::default(),
            peer: None,
            given_up: false,
            forgotten: false,
            admission: Admission::Unasked,
        }
    }

    /// There is a connection from here on.
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

    /// Who the peer has proved to be, under the name that it has now.
    pub(super) fn named(&self) -> Option<Peer> {
        Some(self.security.renamed(self.peer.as_ref()?))
    }

    pub(super) fn is_of(&self, listener: ListenerId) -> bool {
        let origin = self.origin.as_ref();
        origin.is_some_and(|origin| origin.listener == listener)
    }

    /// When to have a turn if nothing happens before.
    pub(super) fn deadline(&self, link: &impl Protocol) -> Option<Instant> {
        let connection = self.connection.as_ref();
        let lingers = connection.and_then(|connection| connection.endpoint.deadline());
        link.poll_deadline().into_iter().chain(lingers).min()
    }
}

impl<S: Stream> Carrier<S> {
    /// Judges the peer again: identity and trust were replaced.
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

    /// Does all that can be done now; true where there is more, once others have had their turn.
    pub(super) fn turn(&mut self, now: Instant, link: &mut impl Protocol) -> bool {
        let Some(connection) = &mut self.connection else {
            link.handle_timeout(now);
            return false;
        };
        let Connection {
            stream, endpoint, ..
        } = &mut **connection;
        let more = endpoint.transfer(now, link, stream);
        while let Some(event) = endpoint.poll_event() {
            if matches!(event, EndpointEvent::Secured) {
                self.peer = endpoint.peer().cloned();
            }
            self.error_context.on_event(event);
        }
        more
    }
}
