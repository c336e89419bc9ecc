//! The turns in which a loop serves its links.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use countersign_core::{EndReason, Event, Instant, Refusal, TakeOver, Visit};
use countersign_endpoint::LinkError;
use mio::Token;
use mio::net::TcpStream;

use crate::happened::{Happened, LinkId, ListenerId};
use crate::listener::Listener;
use crate::own_loop::OwnLoop;
use crate::peer::{Origin, Peer};
use crate::socket::Socket;

impl OwnLoop {
    /// When [`service`](Self::service) is to be called even if nothing happens; [`Instant::ZERO`]
    /// for at once, `None` for never.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let mut listeners = self.listeners.values();
        if !self.ready.is_empty() || listeners.any(Listener::is_ready) {
            return Some(Instant::ZERO);
        }
        let of_links = self.deadlines.first().map(|(deadline, _)| *deadline);
        let of_listeners = self.listeners.values().filter_map(Listener::deadline);
        of_listeners.chain(of_links).min()
    }

    /// Waits until a socket is ready, the [waker](Self::waker) was used, or `limit` is over.
    /// Callers that wait in another way, or never, do without.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn wait(&mut self, limit: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.found, limit) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &self.found {
            let Token(number) = event.token();
            if let Some(peer) = self.peers.get_mut(&LinkId(number)) {
                peer.note(event);
                self.ready.insert(LinkId(number));
            } else if let Some(listener) = self.listeners.get_mut(&ListenerId(number)) {
                listener.note();
            }
        }
        Ok(())
    }

    /// It is `now`: does everything that can be done without waiting, and appends what happened to
    /// `happened`.
    ///
    /// # Errors
    ///
    /// What the system says about its poller. About connections it says it to their links.
    pub fn service(&mut self, now: Instant, happened: &mut Vec<Happened>) -> io::Result<()> {
        self.wait(Some(Duration::ZERO))?;
        self.accept(now, happened);
        while let Some((deadline, id)) = self.deadlines.first().copied() {
            if deadline > now {
                break;
            }
            self.deadlines.pop_first();
            self.ready.insert(id);
        }
        if self.rotation.take() {
            self.ready.extend(self.peers.keys());
        }
        for id in std::mem::take(&mut self.ready) {
            self.turn(now, id, happened);
        }
        Ok(())
    }

    fn accept(&mut self, now: Instant, happened: &mut Vec<Happened>) {
        let listeners: Vec<_> = self.listeners.keys().copied().collect();
        for id in listeners {
            while let Some((stream, from)) = self.next_stream(now, id) {
                if let Err(error) = self.welcome(now, id, stream, from) {
                    self.leave(id);
                    let listener = id;
                    happened.push(Happened::Refused {
                        listener,
                        from,
                        error,
                    });
                }
            }
        }
    }

    fn next_stream(&mut self, now: Instant, id: ListenerId) -> Option<(TcpStream, SocketAddr)> {
        self.listeners.get_mut(&id)?.accept(now)
    }

    /// Begins the handshake on a connection that was accepted.
    fn welcome(
        &mut self,
        now: Instant,
        listener: ListenerId,
        stream: TcpStream,
        from: SocketAddr,
    ) -> Result<(), LinkError> {
        let token = Token(self.number());
        let Some(its) = self.listeners.get(&listener) else {
            return Ok(());
        };
        let link = its
            .visitor()
            .map_err(|error| LinkError::transport(io::Error::other(error)))?;
        let registry = self.poll.registry();
        let socket = Socket::new(stream, its.config(), registry, token);
        let socket = socket.map_err(LinkError::transport)?;
        let told = false;
        let origin = Origin::Accepted {
            listener,
            from,
            told,
        };
        let mut peer = Peer::new(link, its.security.clone(), origin);
        peer.connect(now, socket);
        self.peers.insert(LinkId(token.0), peer);
        self.ready.insert(LinkId(token.0));
        Ok(())
    }

    fn leave(&mut self, listener: ListenerId) {
        if let Some(listener) = self.listeners.get_mut(&listener) {
            listener.leave();
        }
    }

    /// One link's turn.
    fn turn(&mut self, now: Instant, id: LinkId, happened: &mut Vec<Happened>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        peer.recheck(now, &self.rotation);
        let mut busy = peer.turn(now, self.poll.registry(), Token(id.0));
        busy |= self.receive(now, id);
        self.tell(now, id, happened);
        if busy {
            self.ready.insert(id);
        }
        self.settle(id);
    }

    /// Answers a peer that waits for a word: it is led to the link whose session it has named, or
    /// that ends because it has begun anew, or admitted, or sent away. True when one has waited.
    fn receive(&mut self, now: Instant, id: LinkId) -> bool {
        let Some(peer) = self.peers.get(&id) else {
            return false;
        };
        let (Some(visit), Origin::Accepted { listener, .. }) = (peer.link().visit(), peer.origin())
        else {
            return false;
        };
        if self.lead(now, id, listener, visit) {
            return true;
        }
        let mut gone = None;
        if let Visit::Returns(session) = visit {
            let its = self.listeners.get(&listener);
            let peer = self.peers.get(&id).and_then(|peer| peer.link().peer());
            gone = its
                .and_then(|listener| listener.sessions.gone(session, peer))
                .cloned();
        }
        let admitted = match self.listeners.get_mut(&listener) {
            Some(listener) => listener.admit(id),
            None => Err("the listener takes no more links".to_owned()),
        };
        if let Some(peer) = self.peers.get_mut(&id) {
            match admitted {
                Ok(()) => peer.link_mut().admit(now, gone.as_ref()),
                Err(why) => peer.link_mut().refuse(now, &Refusal::busy(why)),
            }
        }
        true
    }

    /// Leads a returning peer to its link; false if there is none that takes it.
    fn lead(&mut self, now: Instant, id: LinkId, listener: ListenerId, visit: Visit) -> bool {
        // Two links are needed at a time.
        let Some(mut visitor) = self.peers.remove(&id) else {
            return false;
        };
        let sessions = self
            .listeners
            .get(&listener)
            .map(|listener| &listener.sessions);
        let peer = visitor.link().peer();
        let candidates = sessions.map(|sessions| sessions.candidates(visit, peer));
        let candidates: Vec<LinkId> = candidates.into_iter().flatten().copied().collect();
        let mut result = TakeOver::NotMine;
        for owner in candidates {
            if let Some(link) = self.peers.get_mut(&owner)
                && result == TakeOver::NotMine
            {
                let registry = self.poll.registry();
                result = link.take_over(now, &mut visitor, registry, Token(owner.0));
                self.ready.insert(owner);
            }
        }
        self.peers.insert(id, visitor);
        result != TakeOver::NotMine
    }

    /// Passes on what a link has to tell.
    fn tell(&mut self, now: Instant, id: LinkId, happened: &mut Vec<Happened>) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let mut evicted = None;
        let mut lost = false;
        while let Some(event) = peer.link_mut().poll_event() {
            if let Origin::Accepted { listener, .. } = peer.origin()
                && let Some(listener) = self.listeners.get_mut(&listener)
            {
                evicted = evicted.or(listener.follow(id, peer.link(), &event));
            }
            lost |= matches!(event, Event::Lost(_));
            if let Some(what) = describe(id, peer, event) {
                if let Happened::Accepted { listener, .. } = what
                    && let Some(listener) = self.listeners.get_mut(&listener)
                {
                    listener.leave();
                }
                happened.push(what);
            }
        }
        if let Some(error) = peer.take_loss()
            && let Origin::Opened(_) = peer.origin()
            && !lost
            && !peer.forgotten
        {
            happened.push(Happened::NotConnected { link: id, error });
        }
        if let Some(id) = evicted
            && let Some(peer) = self.peers.get_mut(&id)
        {
            peer.link_mut().evict(now);
            self.ready.insert(id);
        }
    }

    /// Notes when a link wants its next turn, or lets go of it.
    fn settle(&mut self, id: LinkId) {
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        if let Some(armed) = peer.armed.take() {
            self.deadlines.remove(&(armed, id));
        }
        if !peer.is_over() {
            peer.armed = peer.deadline();
            self.deadlines
                .extend(peer.armed.map(|deadline| (deadline, id)));
            return;
        }
        match peer.origin() {
            Origin::Accepted {
                listener,
                told: false,
                ..
            } => {
                self.peers.remove(&id);
                self.leave(listener);
            }
            _ if peer.forgotten => drop(self.peers.remove(&id)),
            // The caller may still take what has arrived.
            _ => {}
        }
    }
}

/// What an event of a link's means to the caller, if anything.
fn describe(id: LinkId, peer: &mut Peer, event: Event) -> Option<Happened> {
    let link = id;
    if let Origin::Accepted {
        listener,
        from,
        told,
    } = peer.origin()
        && !told
    {
        return match event {
            Event::Connected => {
                peer.mark_told();
                Some(Happened::Accepted {
                    listener,
                    link,
                    from,
                })
            }
            Event::Ended => {
                let error = peer.error()?;
                // The peer has returned to the link that it has already.
                let led = matches!(error.reason(), EndReason::TakenOver | EndReason::Stale);
                (!led).then_some(Happened::Refused {
                    listener,
                    from,
                    error,
                })
            }
            _ => None,
        };
    }
    if peer.forgotten {
        return None;
    }
    Some(match event {
        Event::Lost(loss) => Happened::Lost {
            link,
            error: peer.loss(loss),
        },
        Event::Ended => Happened::Ended {
            link,
            error: peer.error()?,
        },
        event => Happened::Event { link, event },
    })
}
