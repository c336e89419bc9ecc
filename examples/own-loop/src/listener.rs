//! A listening socket, and the sessions to which its peers can come back.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use countersign_core::{Config, DEFAULT_SESSIONS, Event, Instant, Life, Link, Role, Sessions};
use countersign_endpoint::{Security, SetupError};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::LinkId;
use crate::own_loop::make;

/// How long to wait when the system has no more sockets to give.
const PAUSE: Duration = Duration::from_millis(100);

/// What a listener takes before it lets peers wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How many connections may be in their handshake, or refused and not yet gone. Further ones
    /// wait in the system's queue. 256 by default.
    pub half_open: usize,
    /// How many links there may be at a time, those without a connection included. Whoever wants
    /// another is refused for now. 16,384 by default.
    pub links: usize,
    /// How many links may be without a connection, for their peers to come back. With one more,
    /// the one that has waited longest is evicted. [`DEFAULT_SESSIONS`] by default.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            half_open: 256,
            links: 16_384,
            sessions: DEFAULT_SESSIONS,
        }
    }
}

/// Accepts connections, and knows which link has which session.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    config: Config,
    pub(crate) security: Security,
    pub(crate) sessions: Sessions<LinkId>,
    /// The links that were admitted and have not ended.
    admitted: BTreeSet<LinkId>,
    /// How many there may be.
    links: usize,
    /// How many more connections may be half open.
    places: usize,
    /// The system may have connections for us.
    readable: bool,
    /// Not to be asked again before then.
    pause: Option<Instant>,
}

impl Listener {
    pub(crate) fn bind(
        address: SocketAddr,
        config: &Config,
        security: &Security,
        limits: Limits,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        config.check().map_err(io::Error::other)?;
        let mut socket = TcpListener::bind(address)?;
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Self {
            socket,
            config: config.clone(),
            security: security.clone(),
            sessions: Sessions::new(limits.sessions),
            admitted: BTreeSet::new(),
            links: limits.links.max(1),
            places: limits.half_open.max(1),
            readable: false,
            pause: None,
        })
    }

    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The poller has found connections.
    pub(crate) fn note(&mut self) {
        self.readable = true;
    }

    /// Whether a connection could be accepted now.
    pub(crate) fn is_ready(&self) -> bool {
        self.readable && self.places > 0 && self.pause.is_none()
    }

    /// When to ask the system again although it did not say anything.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.pause.filter(|_| self.places > 0)
    }

    /// The next connection, if there is one and a place for it. Whoever gets it
    /// [leaves](Self::leave) the place later.
    pub(crate) fn accept(&mut self, now: Instant) -> Option<(TcpStream, SocketAddr)> {
        if self.pause.is_some_and(|until| until <= now) {
            self.pause = None;
        }
        while self.is_ready() {
            match self.socket.accept() {
                Ok(accepted) => {
                    self.places -= 1;
                    return Some(accepted);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                // That was about one connection, whose peer was faster.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted
                            | io::ErrorKind::ConnectionReset
                            | io::ErrorKind::Interrupted
                    ) => {}
                // Out of file descriptors: in time it passes.
                Err(_) => self.pause = Some(now + PAUSE),
            }
        }
        None
    }

    /// Gives a place back.
    pub(crate) fn leave(&mut self) {
        self.places += 1;
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// A link for a connection, whose peer may want to return to another: that is not known yet.
    pub(crate) fn visitor(&self) -> Result<Link, SetupError> {
        let mut link = make(&self.config, Role::Acceptor)?;
        link.ask_to_admit();
        Ok(link)
    }

    /// Takes one more link in, or tells why not.
    pub(crate) fn admit(&mut self, id: LinkId) -> Result<(), String> {
        let links = self.links;
        if self.admitted.len() >= links {
            return Err(format!(
                "the listener has all the links that it takes, {links}"
            ));
        }
        self.admitted.insert(id);
        Ok(())
    }

    /// Keeps account of links and sessions; gives back a link for which there is no room any more.
    pub(crate) fn follow(&mut self, id: LinkId, link: &Link, event: &Event) -> Option<LinkId> {
        match event {
            Event::Connected => self.sessions.add(link.session(), link.peer(), id),
            Event::Resumed => self.sessions.resumed(link.session()),
            // A peer that came back before it was missed is not away.
            Event::Lost(_) if link.life() == Life::Offline => {
                return self.sessions.lost(link.session()).copied();
            }
            Event::Ended => {
                self.admitted.remove(&id);
                self.sessions.remove(link.gone_session());
            }
            _ => {}
        }
        None
    }
}
