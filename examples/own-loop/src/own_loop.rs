//! The links of one thread, and their sockets.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use countersign_core::{Config, Instant, Limits};
use countersign_endpoint::{Happened, LinkId, Links, ListenerId, Security};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use crate::Socket;

/// Any number of links, opened and accepted, in one thread: the caller's.
///
/// Nothing happens but in [`service`](Self::service), which never blocks and is told what time it
/// is. See the [crate](crate) for a loop around it. What is not about sockets is done with the
/// [`Links`] that this is. Dropping it drops all connections.
#[derive(Debug)]
pub struct OwnLoop {
    links: Links<Socket>,
    poll: Poll,
    found: Events,
    waker: Waker,
    listeners: BTreeMap<ListenerId, (TcpListener, Config)>,
    /// Where the links lead that this end opens, and what is being opened, until then at most.
    openers: BTreeMap<LinkId, (SocketAddr, Option<(Socket, Instant)>)>,
    /// Nothing is accepted before then.
    pause: Option<Instant>,
}

struct WakesPoll(mio::Waker);

impl Wake for WakesPoll {
    fn wake(self: Arc<Self>) {
        // A poller that can't be woken says so when it is asked.
        let _ = self.0.wake();
    }
}

impl OwnLoop {
    /// A loop without links.
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

    /// Wakes [`wait`](Self::wait), from any thread.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// As [`Links::listen`], on an address.
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

    /// Where a listener listens.
    pub fn address(&self, listener: ListenerId) -> Option<SocketAddr> {
        self.listeners.get(&listener)?.0.local_addr().ok()
    }

    /// As [`Links::unlisten`], and lets go of the address.
    pub fn unlisten(&mut self, listener: ListenerId) {
        self.listeners.remove(&listener);
        self.links.unlisten(listener);
    }

    /// As [`Links::open`], to an address.
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

    /// When [`service`](Self::service) is to be called even if nothing happens;
    /// [`Instant::ZERO`] for at once, `None` for never.
    pub fn deadline(&self) -> Option<Instant> {
        let attempts = self.openers.values().flat_map(|(_, attempt)| attempt);
        let limits = attempts.map(|(_, until)| *until);
        limits.chain(self.links.deadline()).chain(self.pause).min()
    }

    /// Waits until a socket is ready, the [waker](Self::waker) was used, or `limit` is over.
    /// Callers that wait in another way, or never, do without.
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

    /// It is `now`: does everything that can be done without waiting, and appends what happened to
    /// `happened`. Errors are those of the poller; those of connections are told to their links.
    pub fn service(&mut self, now: Instant, happened: &mut Vec<Happened>) -> io::Result<()> {
        self.wait(Some(Duration::ZERO))?;
        self.links.service(now, happened);
        self.open(now);
        self.accept(now, happened);
        Ok(())
    }

    fn open(&mut self, now: Instant) {
        let (links, registry) = (&mut self.links, self.poll.registry());
        self.openers.retain(|id, _| links.link(*id).is_some());
        for (&id, (address, attempt)) in &mut self.openers {
            // One that is under way may not be wanted any more.
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

    fn accept(&mut self, now: Instant, happened: &mut Vec<Happened>) {
        if self.pause.is_some_and(|until| now < until) {
            return;
        }
        self.pause = None;
        for (&listener, (socket, config)) in &self.listeners {
            while self.links.has_room(listener) {
                let (stream, from) = match socket.accept() {
                    Ok(accepted) => accepted,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    // That was about one connection, whose peer was faster.
                    Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                    // Out of file descriptors, perhaps: in time it passes.
                    Err(_) => {
                        self.pause = Some(now + Duration::from_millis(100));
                        break;
                    }
                };
                let socket = |id| Socket::new(stream, config, self.poll.registry(), id);
                if let Err(error) = self.links.arrive(listener, from, socket) {
                    happened.push(Happened::Refused {
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
