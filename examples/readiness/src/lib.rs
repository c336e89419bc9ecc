//! An example: an echo server for many peers that is driven by repeated calls.
//!
//! It uses only the standard library's sockets: no poller, no runtime, no thread, no clock. The
//! caller of [`service`](Server::service) says what time it is.

#![allow(clippy::missing_errors_doc, reason = "they are the system's")]

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::task::Waker;

use countersign_core::{
    Bytes, CloseReason, Config, Drained, Instant, Limits, ReceiveChannel, ReceiveError,
    SendChannel, SendError,
};
use countersign_endpoint::{LinkId, Links, LinksEvent, ListenerId, Security};

/// Sends back on `echoes` what comes on `words`.
#[derive(Debug)]
pub struct Server {
    socket: TcpListener,
    listener: ListenerId,
    links: Links<TcpStream>,
    /// Messages that wait for room.
    held: BTreeMap<LinkId, Bytes>,
}

impl Server {
    /// Listens on an address; port 0 takes any free port.
    pub fn new(address: SocketAddr, security: &Security) -> io::Result<Self> {
        let config = Config::new()
            .channel(ReceiveChannel::new("words"))
            .channel(SendChannel::new("echoes"));
        let socket = TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        let mut links = Links::new(Waker::noop().clone());
        let listener = links.listen(&config, security, Limits::default());
        Ok(Self {
            socket,
            listener: listener.map_err(io::Error::other)?,
            links,
            held: BTreeMap::new(),
        })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Does everything that can be done without waiting, and reports what happened. `clock` reads the
    /// time.
    pub fn service(&mut self, clock: impl Fn() -> Instant, tell: &mut dyn FnMut(&LinksEvent)) {
        self.accept();
        // A caller with a poller would name the sockets that are ready.
        self.links.ready_all();
        let mut events = Vec::new();
        self.links.service(&clock, &mut events);
        let now = clock();
        for event in events {
            tell(&event);
            match event {
                LinksEvent::Accepted { link, .. } | LinksEvent::Event { link, .. } => {
                    self.echo(now, link);
                }
                LinksEvent::Ended { link, .. } => {
                    self.held.remove(&link);
                    self.links.forget(now, link);
                }
                _ => {}
            }
        }
    }

    /// Closes all links in order, and takes no new ones.
    pub fn drain(&mut self, now: Instant) {
        self.links.drain(now, self.listener, &CloseReason::ALL_WELL);
    }

    /// Returns how the drained links ended, once all have and their connections are closed.
    pub fn drained(&self) -> Option<Drained> {
        self.links.drained(self.listener)
    }

    fn accept(&mut self) {
        // An error of the system, such as a lack of sockets, may be gone the next time.
        while self.links.has_room(self.listener)
            && let Ok((stream, from)) = self.socket.accept()
        {
            let prepare = |_| {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true).map(|()| stream)
            };
            if let Err(error) = self.links.arrive(self.listener, from, prepare) {
                eprintln!("{from}: {error}");
            }
        }
    }

    /// Sends back what has come, as far as there is room.
    fn echo(&mut self, now: Instant, id: LinkId) {
        let Some(link) = self.links.link_mut(id) else {
            return;
        };
        let ids = ["words", "echoes"].map(|name| link.channel_id(name));
        let [Some(words), Some(echoes)] = ids else {
            return;
        };
        loop {
            let message = match self.held.remove(&id) {
                Some(held) => held,
                None => match link.take(now, words) {
                    Ok(Some(word)) => word.payload,
                    Err(ReceiveError::SessionBorder(_)) => continue,
                    _ => return,
                },
            };
            // A link that is being closed gets no echo.
            if let Err(not_sent) = link.send(now, echoes, message, None)
                && not_sent.why == SendError::Blocked
            {
                self.held.insert(id, not_sent.message);
                return;
            }
        }
    }
}
