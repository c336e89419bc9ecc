//! One link, and the connection that carries it for now.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};

use countersign_core::{Disconnect, Instant, Life, Link, Loss, TakeOver};
use countersign_endpoint::{
    Explanation, LinkAccess, LinkError, Peer as Known, Security, SecurityError, ToSend, Watch, Wire,
};
use mio::event::Event;
use mio::{Registry, Token};

use crate::ListenerId;
use crate::own_loop::Rotation;
use crate::socket::Socket;

/// How many reads one peer may have before the others have their turn.
const READS: usize = 16;

/// A link, its connection, and what is known of both.
#[derive(Debug)]
pub(crate) struct Peer {
    inner: Explained,
    security: Security,
    /// Tells when identity and pins are replaced.
    watch: Watch,
    origin: Origin,
    transport: Transport,
    /// The moment for which its loop has noted it down.
    pub(crate) armed: Option<Instant>,
    /// A connection was given up since the caller was last told of anything.
    given_up: bool,
    /// The caller of the loop has no more use for it.
    pub(crate) forgotten: bool,
}

/// Where a link's connections come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// This end opens them.
    Opened(SocketAddr),
    /// A peer has opened them.
    Accepted {
        listener: ListenerId,
        from: SocketAddr,
        /// The caller was told of it: until then it is a handshake, or what is left of one.
        told: bool,
    },
}

/// The connection that a link has, or is about to have.
#[derive(Debug, Default)]
enum Transport {
    #[default]
    None,
    /// It is being opened, until then at most.
    Opening(Socket, Instant),
    Open(Socket, Box<Wire>),
}

/// A link, and what the layers below it have said.
#[derive(Debug)]
struct Explained {
    link: Link,
    explanation: Explanation,
    /// Who the peer has proved to be.
    known: Option<Known>,
}

impl LinkAccess for Explained {
    fn with<R>(&mut self, work: impl FnOnce(&mut Link) -> R) -> R {
        work(&mut self.link)
    }

    fn note(&mut self, failure: &SecurityError) {
        self.explanation.security(&self.link, failure);
    }

    fn secured(&mut self, peer: Option<&Known>) {
        self.known = peer.cloned();
    }
}

impl Peer {
    pub(crate) fn new(link: Link, security: Security, origin: Origin) -> Self {
        let explanation = Explanation::default();
        Self {
            inner: Explained {
                link,
                explanation,
                known: None,
            },
            watch: security.watch(),
            security,
            origin,
            transport: Transport::None,
            armed: None,
            given_up: false,
            forgotten: false,
        }
    }

    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    pub(crate) fn link_mut(&mut self) -> &mut Link {
        &mut self.inner.link
    }

    /// Who it has proved to be, under the name that it has now.
    pub(crate) fn known(&self) -> Option<Known> {
        Some(self.security.renamed(self.inner.known.as_ref()?))
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// The caller knows of it now.
    pub(crate) fn mark_told(&mut self) {
        if let Origin::Accepted { told, .. } = &mut self.origin {
            *told = true;
        }
    }

    /// Why the link has ended.
    pub(crate) fn error(&self) -> Option<LinkError> {
        self.inner.explanation.of_end(&self.inner.link)
    }

    /// How its connection was lost.
    pub(crate) fn loss(&self, loss: Loss) -> LinkError {
        self.inner.explanation.of_loss(&self.inner.link, loss)
    }

    /// The poller has found something out about its socket.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Transport::Opening(socket, _) | Transport::Open(socket, _) = &mut self.transport {
            socket.note(event);
        }
    }

    /// There is a connection from here on.
    pub(crate) fn connect(&mut self, now: Instant, socket: Socket) {
        let wire = Wire::new(&self.security, now, &mut self.inner);
        self.transport = Transport::Open(socket, Box::new(wire));
    }

    /// Judges the peer again where identity and pins were replaced; `rotation` hears of the next
    /// time.
    pub(crate) fn recheck(&mut self, now: Instant, rotation: &Arc<Rotation>) {
        let waker = Waker::from(rotation.clone());
        let mut context = Context::from_waker(&waker);
        if self.watch.poll_changed(&mut context).is_pending() {
            return;
        }
        match &mut self.transport {
            Transport::Open(_, wire) => wire.recheck(now, &mut self.inner),
            _ => self.security.recheck(now, &mut self.inner),
        }
    }

    /// Does everything that can be done now; true when there is more that could be, once others
    /// have had their turn.
    pub(crate) fn turn(&mut self, now: Instant, registry: &Registry, token: Token) -> bool {
        // In this order: what has arrived arrived before now, and must not be taken for silence.
        self.read(now);
        self.inner.link.handle_timeout(now);
        self.open(now, registry, token);
        self.write(now);
        self.let_go(now)
    }

    fn read(&mut self, now: Instant) {
        let Transport::Open(socket, wire) = &mut self.transport else {
            return;
        };
        for _ in 0..READS {
            // A peer that waits to be admitted is answered before it is heard out.
            if wire.is_read_ended() || self.inner.link.visit().is_some() {
                return;
            }
            match socket.read(wire.input()) {
                None => return,
                Some(Ok(count)) => wire.received(now, count, &mut self.inner),
                Some(Err(error)) => {
                    self.inner.explain(error, wire);
                    wire.failed(now, &mut self.inner);
                }
            }
        }
    }

    fn write(&mut self, now: Instant) {
        let Transport::Open(socket, wire) = &mut self.transport else {
            return;
        };
        loop {
            match wire.to_send(now, &mut self.inner) {
                ToSend::Nothing => return,
                ToSend::End => {
                    socket.shut_down();
                    wire.shut();
                }
                ToSend::Bytes(buffer) => match socket.write(buffer) {
                    None => return,
                    Some(Ok(count)) if count > 0 => wire.sent(),
                    Some(Ok(_)) => {
                        self.inner.explain(io::ErrorKind::WriteZero.into(), wire);
                        wire.failed(now, &mut self.inner);
                    }
                    Some(Err(error)) => {
                        wire.cannot_send();
                        self.inner.explain(error, wire);
                    }
                },
            }
        }
    }

    /// Opens a connection where the link wants one.
    fn open(&mut self, now: Instant, registry: &Registry, token: Token) {
        let Origin::Opened(address) = self.origin else {
            return;
        };
        if !self.inner.link.wants_connect() {
            // The link was closed while one was being opened.
            if matches!(self.transport, Transport::Opening(..)) {
                self.transport = Transport::None;
            }
            return;
        }
        if matches!(self.transport, Transport::None) {
            let config = self.inner.link.config();
            let until = now + config.waits().handshake;
            match Socket::connect(address, config, registry, token) {
                Ok(socket) => self.transport = Transport::Opening(socket, until),
                Err(error) => return self.not_opened(now, error),
            }
        }
        let Transport::Opening(socket, until) = &self.transport else {
            return;
        };
        let opened = match socket.opened() {
            None if now >= *until => Some(Err(io::ErrorKind::TimedOut.into())),
            opened => opened,
        };
        match (opened, std::mem::take(&mut self.transport)) {
            (Some(Ok(())), Transport::Opening(socket, _)) => self.connect(now, socket),
            (Some(Err(error)), _) => self.not_opened(now, error),
            (_, transport) => self.transport = transport,
        }
    }

    fn not_opened(&mut self, now: Instant, error: io::Error) {
        self.transport = Transport::None;
        self.given_up = true;
        let Explained {
            link, explanation, ..
        } = &mut self.inner;
        explanation.unopened(link, error);
        link.handle_lost(now, Disconnect::Transport);
    }

    /// Drops a connection that is of no more use, and the memory of one that is idle; true when
    /// there is more to read or to write at once.
    fn let_go(&mut self, now: Instant) -> bool {
        let Transport::Open(socket, wire) = &mut self.transport else {
            return false;
        };
        if wire.is_over(now, &mut self.inner) {
            self.transport = Transport::None;
            self.given_up = true;
            return self.inner.link.wants_connect();
        }
        wire.release();
        let reads = socket.is_readable() && !wire.is_read_ended();
        let writes = socket.is_writable() && self.inner.link.wants_output() && !wire.is_blocked();
        reads || writes
    }

    /// When it wants its next turn if nothing happens before.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let of_transport = match &self.transport {
            Transport::None => None,
            Transport::Opening(_, until) => Some(*until),
            Transport::Open(_, wire) => wire.deadline(),
        };
        let of_link = self.inner.link.poll_deadline();
        [of_link, of_transport].into_iter().flatten().min()
    }

    /// Whether there is nothing left to do, ever.
    pub(crate) fn is_over(&self) -> bool {
        self.inner.link.life() == Life::Ended && matches!(self.transport, Transport::None)
    }

    /// Why its latest connection is gone, or could not be had, where it waits for another. That is
    /// forgotten then, so that it does not explain the end of the next one.
    pub(crate) fn take_loss(&mut self) -> Option<LinkError> {
        let waits = self.inner.link.life() == Life::Offline;
        if !waits || !std::mem::take(&mut self.given_up) {
            return None;
        }
        let loss = self.inner.link.last_loss()?;
        let error = self.inner.explanation.of_loss(&self.inner.link, loss);
        self.inner.explanation.clear();
        Some(error)
    }

    /// Takes over the connection of `visitor`, whose peer has named this link's session. The
    /// connection that this link still has is dropped.
    pub(crate) fn take_over(
        &mut self,
        now: Instant,
        visitor: &mut Self,
        registry: &Registry,
        token: Token,
    ) -> TakeOver {
        let result = self.inner.link.take_over(now, &mut visitor.inner.link);
        if result != TakeOver::Done {
            return result;
        }
        self.inner.explanation.clear();
        self.inner.known = visitor.inner.known.take();
        self.transport = std::mem::take(&mut visitor.transport);
        if let Transport::Open(socket, wire) = &mut self.transport {
            wire.attach(self.inner.link.connection());
            if let Err(error) = socket.rename(registry, token) {
                self.inner.explain(error, wire);
                wire.failed(now, &mut self.inner);
            }
        }
        result
    }
}

impl Explained {
    /// Keeps what the system says about a connection, if the link still has to do with it.
    fn explain(&mut self, error: io::Error, wire: &Wire) {
        if !wire.is_fenced(self) {
            self.explanation.transport(&self.link, error);
        }
    }
}
