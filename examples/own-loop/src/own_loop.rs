//! The links of one thread, and their sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use countersign_core::{Config, Instant, Limits};
use countersign_endpoint::{LinkId, Links, LinksEvent, ListenerId, Security};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Socket;

/// Any number of links, opened and accepted, in one thread: the caller's.
///
/// Everything happens in [`service`](Self::service), which never blocks and is passed the time. See
/// the [crate](crate) for a loop around it. Whatever is not about sockets is done with [`Links`],
/// to which this dereferences. Dropping it drops all connections.
#[derive(Debug)]
pub struct OwnLoop {
    links: Links<Socket>,
    poll: Poll,
    found: Events,
    waker: Waker,
    listeners: BTreeMap<ListenerId, (TcpListener, Config)>,
    /// The addresses of the links that this end opens, and attempts under way with their deadlines.
    openers: BTreeMap<LinkId, (SocketAddr, Option<(Socket, Instant)>)>,
    /// Nothing is accepted until then.
    pause: Option<Instant>,
}

struct WakesPoll(mio::Waker);

impl Wake for WakesPoll {
    fn wake(self: Arc<Self>) {
        // A poller that can't be woken returns an error when it is polled.
        let _ = self.0.wake();
    }
}

impl OwnLoop {
    /// Returns a loop without links.
    pub fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), Token(usize::MAX))?;
        let waker = Waker::from(Arc::new(WakesPoll(waker)));
        Ok(Self {
            links: Links::new(waker.clone()),
            poll,
            found: Events::with_capacity(1024),
            waker,
            listeners: BTreeMap::new(),
            openers: BTreeMap::new(),
            pause: None,
        })
    }

    /// Returns a waker for [`wait`](Self::wait), for use in any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Like [`Links::listen`], on an address.
    pub fn listen(
        &mut self,
        address: SocketAddr,
        config: &Config,
        security: &Security,
        limits: Limits,
    ) -> io::Result<ListenerId> {
        let mut socket = TcpListener::bind(address)?;
        let listener = self.links.listen(config, security, limits);
        let listener = listener.map_err(io::Error::other)?;
        let registry = self.poll.registry();
        registry.register(&mut socket, Token(listener.0), Interest::READABLE)?;
        self.listeners.insert(listener, (socket, config.clone()));
        Ok(listener)
    }

    /// Returns the address of a listener.
    pub fn address(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.listeners.get(&listener)?.0.local_addr().ok()
    }

    /// Like [`Links::unlisten`]; frees the address.
    pub fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
        self.links.unlisten(listener);
    }

    /// Like [`Links::open`], to an address.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        config: &Config,
        security: &Security,
    ) -> io::Result<LinkId> {
        let id = self.links.open(config, security);
        let id = id.map_err(io::Error::other)?;
        self.openers.insert(id, (address, None));
        Ok(id)
    }

    /// Returns when [`service`](Self::service) must be called even if nothing happens:
    /// [`Instant::ZERO`] means at once, `None` never.
    pub fn deadline(&self) -> Option<Instant> {
        let attempts = self.openers.values().flat_map(|(_, attempt)| attempt);
        let limits = attempts.map(|(_, until)| *until);
        limits.chain(self.links.deadline()).chain(self.pause).min()
    }

    /// Waits until a socket is ready, the [waker](Self::waker) is used, or `limit` has passed.
    /// Callers that wait in another way, or never, need not call it.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.found, limit) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.found {
            self.links.ready(LinkId(event.token().0));
        }
        Ok(())
    }

    /// Does everything that can be done without waiting, and appends what happened to `events`.
    /// `clock` reads the time. Errors are those of the poller; those of connections go to their links.
    pub fn service(
        &mut self,
        clock: impl Fn() -> Instant,
        events: &mut Vec<LinksEvent>,
    ) -> io::Result<()> {
        self.wait(Some(Duration::ZERO))?;
        self.links.service(&clock, events);
        let now = clock();
        self.open(now);
        self.accept(now, events);
        Ok(())
    }

    fn open(&mut self, now: Instant) {
        let (links, registry) = (&mut self.links, self.poll.registry());
        self.openers.retain(|id, _| links.link(*id).is_some());
        for (&id, (address, attempt)) in &mut self.openers {
            // An attempt under way may no longer be wanted.
            let under_way = attempt.take();
            let Some(link) = links.link(id).filter(|link| link.wants_connect()) else {
                continue;
            };
            let until = now + link.config().get_timeouts().handshake;
            let begin = |socket| Socket::new(socket, link.config(), registry, id);
            let begin = || Ok((begin(TcpStream::connect(*address)?)?, until));
            let tried = under_way.map_or_else(begin, Ok);
            match tried.and_then(|(socket, until)| Ok((socket.stands()?, socket, until))) {
                Ok((true, socket, _)) => links.opened(id, socket),
                Ok((false, socket, until)) if now < until => *attempt = Some((socket, until)),
                Ok(_) => links.not_opened(now, id, ErrorKind::TimedOut.into()),
                Err(error) => links.not_opened(now, id, error),
            }
        }
    }

    fn accept(&mut self, now: Instant, events: &mut Vec<LinksEvent>) {
        if self.pause.is_some_and(|until| now < until) {
            return;
        }
        self.pause = None;
        for (&listener, (socket, config)) in &self.listeners {
            while self.links.has_room(listener) {
                let (stream, from) = match socket.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // Concerns one connection, which its peer has aborted already.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                    // Out of file descriptors, perhaps: this passes with time.
                    Err(_) => {
                        self.pause = Some(now + Duration::from_millis(100));
                        break;
                    }
                };
                let socket = |id| Socket::new(stream, config, self.poll.registry(), id);
                if let Err(error) = self.links.arrive(listener, from, socket) {
                    events.push(LinksEvent::Refused {
                        listener,
                        from,
                        error,
                    });
                }
            }
        }
    }
}

impl Deref for OwnLoop {
    type Target = Links<Socket>;

    fn deref(&self) -> &Links<Socket> {
        &self.links
    }
}

impl DerefMut for OwnLoop {
    fn deref_mut(&mut self) -> &mut Links<Socket> {
        &mut self.links
    }
}
