//! Links, and connections that may become one, under one name.

use countersign_core::{
    EndReason, Event, Incoming, Instant, Link, LinkState, Protocol, Request, SessionId,
};
use countersign_endpoint::Endpoint;

/// A link, or an incoming connection that has none yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct AnyLink {
    /// One of both.
    incoming: Option<Incoming>,
    link: Option<Link>,
}

impl From<Link> for AnyLink {
    fn from(link: Link) -> Self {
        let (incoming, link) = (None, Some(link));
        Self { incoming, link }
    }
}

impl From<Incoming> for AnyLink {
    fn from(incoming: Incoming) -> Self {
        let (incoming, link) = (Some(incoming), None);
        Self { incoming, link }
    }
}

impl AnyLink {
    pub(crate) fn link(&self) -> Option<&Link> {
        self.link.as_ref()
    }

    pub(crate) fn link_mut(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    pub(crate) fn incoming(&self) -> Option<&Incoming> {
        self.incoming.as_ref()
    }

    pub(crate) fn incoming_mut(&mut self) -> Option<&mut Incoming> {
        self.incoming.as_mut()
    }

    pub(crate) fn protocol(&self) -> &dyn Protocol {
        match (&self.link, &self.incoming) {
            (Some(link), _) => link,
            (None, incoming) => incoming.as_ref().unwrap(),
        }
    }

    pub(crate) fn protocol_mut(&mut self) -> &mut dyn Protocol {
        match (&mut self.link, &mut self.incoming) {
            (Some(link), _) => link,
            (None, incoming) => incoming.as_mut().unwrap(),
        }
    }

    /// As [`Endpoint::deliver`].
    pub(crate) fn deliver(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match (&mut self.link, &mut self.incoming) {
            (Some(link), _) => endpoint.deliver(now, link),
            (None, Some(incoming)) => endpoint.deliver(now, incoming),
            (None, None) => {}
        }
    }

    /// As [`Endpoint::collect`].
    pub(crate) fn collect(&mut self, now: Instant, endpoint: &mut Endpoint) {
        match (&mut self.link, &mut self.incoming) {
            (Some(link), _) => endpoint.collect(now, link),
            (None, Some(incoming)) => endpoint.collect(now, incoming),
            (None, None) => {}
        }
    }

    /// Makes a link of an incoming connection. Returns whether it has become one.
    pub(crate) fn accept(&mut self, now: Instant) -> bool {
        if let Some(incoming) = self.incoming.take() {
            match incoming.accept(now) {
                Ok(link) => self.link = Some(link),
                Err(incoming) => self.incoming = Some(incoming),
            }
        }
        self.link.is_some()
    }

    pub(crate) fn state(&self) -> LinkState {
        self.protocol().state()
    }

    pub(crate) fn end_reason(&self) -> Option<&EndReason> {
        match &self.incoming {
            Some(incoming) => incoming.end_reason(),
            None => self.link()?.end_reason(),
        }
    }

    /// Returns zeros if there is none.
    pub(crate) fn session(&self) -> SessionId {
        self.link().map(Link::session).unwrap_or_default()
    }

    pub(crate) fn request(&self) -> Option<Request> {
        self.incoming()?.request()
    }

    pub(crate) fn wants_connect(&self) -> bool {
        self.link().is_some_and(Link::wants_connect)
    }

    /// An incoming connection has none.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.link_mut()?.poll_event()
    }
}
