//! The turns of links and of incoming connections.

use std::collections::BTreeMap;
use std::task::Context;

use countersign_core::{
    CloseMode, Consequence, EndReason, Event, Incoming, Instant, Link, LinkState, Protocol,
    Refusal, Route, TakeOver, refuse,
};

use super::carrier::{Admission, Carrier, Origin};
use super::{Happened, LinkId, Links, Listener, ListenerId};
use crate::stream::Stream;

impl<S: Stream> Links<S> {
    /// It is `now`: does everything that can be done without waiting, and appends what happened to
    /// `happened`.
    pub fn service(&mut self, now: Instant, happened: &mut Vec<Happened>) {
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            self.ready.insert(id);
        }
        if self.is_replaced() {
            self.recheck(now);
        }
        for id in std::mem::take(&mut self.ready) {
            if let Some((incoming, carrier)) = self.arriving.remove(&id) {
                self.serve_arriving(now, id, incoming, carrier, happened);
            } else if let Some((link, carrier)) = self.links.remove(&id) {
                self.serve_link(now, id, link, carrier, happened);
            } else {
                self.arm(id, None);
            }
        }
    }

    /// Whether anybody's identity and trust were replaced.
    fn is_replaced(&mut self) -> bool {
        let mut context = Context::from_waker(&self.waker);
        let watches = self.watches.values_mut();
        // All are asked, or they do not tell of the next time.
        let told = watches.map(|watch| watch.poll_changed(&mut context).is_ready());
        told.fold(false, |any, told| any | told)
    }

    fn recheck(&mut self, now: Instant) {
        for (incoming, carrier) in self.arriving.values_mut() {
            carrier.recheck(now, incoming);
        }
        for (link, carrier) in self.links.values_mut() {
            carrier.recheck(now, link);
        }
        self.ready_all();
    }

    fn serve_arriving(
        &mut self,
        now: Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut carrier: Carrier<S>,
        happened: &mut Vec<Happened>,
    ) {
        let stays = match carrier.admission {
            Admission::Unasked => {
                let more = carrier.turn(now, &mut incoming);
                match incoming.request() {
                    None => Some((incoming, carrier, more)),
                    Some(_) => self.route(now, id, incoming, carrier, happened),
                }
            }
            Admission::Asked => {
                // Nothing more is read until there is an answer, or none is needed any more.
                incoming.handle_timeout(now);
                let ended = incoming.end_reason().is_some();
                Some((incoming, carrier, ended))
            }
            Admission::Admitted(_) | Admission::Refused(_) => {
                self.settle(now, id, incoming, carrier, happened)
            }
        };
        if let Some((incoming, carrier, more)) = stays {
            self.keep(now, id, incoming, carrier, happened);
            if more && self.arriving.contains_key(&id) {
                self.ready.insert(id);
            }
        }
    }

    /// Goes on with a connection that belongs to no link yet, or to none any more.
    fn keep(
        &mut self,
        now: Instant,
        id: LinkId,
        incoming: Incoming,
        mut carrier: Carrier<S>,
        happened: &mut Vec<Happened>,
    ) {
        if incoming.end_reason().is_some() {
            carrier.admission = Admission::Unasked;
            if let Some(origin) = &mut carrier.origin
                && let Some(its) = self.listeners.get_mut(&origin.listener)
            {
                release(its, origin);
            }
        }
        if let (Some(reason), Some(origin)) = (incoming.end_reason(), &carrier.origin)
            && !std::mem::replace(&mut carrier.forgotten, true)
            // Who has come back on a newer connection since is no news.
            && *reason != EndReason::Stale
        {
            let (listener, from) = (origin.listener, origin.from);
            let error = carrier.error_context.of(reason);
            happened.push(Happened::Refused {
                listener,
                from,
                error,
            });
        }
        self.drop_finished(now, &mut carrier);
        if carrier.connection.is_none() {
            self.arm(id, None);
            return;
        }
        self.arm(id, carrier.deadline(&incoming));
        self.arriving.insert(id, (incoming, carrier));
    }

    /// Leads a peer to where it belongs; gives back the connection of one that belongs nowhere, or
    /// not yet, and whether there is more to do for it.
    fn route(
        &mut self,
        now: Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut carrier: Carrier<S>,
        happened: &mut Vec<Happened>,
    ) -> Option<(Incoming, Carrier<S>, bool)> {
        let listener = carrier.origin.as_ref()?.listener;
        loop {
            let its = self.listeners.get_mut(&listener)?;
            match its.acceptor.route(&mut incoming) {
                Route::Wait => return Some((incoming, carrier, true)),
                Route::Refuse(refusal) => incoming.refuse(now, &refusal),
                Route::Resume(owner) => {
                    if self.hand_over(now, owner, &mut incoming, &mut carrier) {
                        self.arm(id, None);
                        return None;
                    }
                }
                Route::New(place) => {
                    let peer = carrier.named();
                    let origin = carrier.origin.as_mut()?;
                    origin.place = Some(place);
                    if !its.asks {
                        return self.settle(now, id, incoming, carrier, happened);
                    }
                    carrier.admission = Admission::Asked;
                    happened.push(Happened::Asks {
                        listener,
                        link: id,
                        from: origin.from,
                        peer,
                    });
                    return Some((incoming, carrier, false));
                }
            }
        }
    }

    /// Makes a link of a connection for which there is room, unless its owner does not want it.
    fn settle(
        &mut self,
        now: Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut carrier: Carrier<S>,
        happened: &mut Vec<Happened>,
    ) -> Option<(Incoming, Carrier<S>, bool)> {
        match std::mem::replace(&mut carrier.admission, Admission::Unasked) {
            Admission::Refused(refusal) => incoming.refuse(now, &refusal),
            Admission::Admitted(Some(channels)) => {
                if let Err(error) = incoming.declare(channels) {
                    let why = Refusal::new(refuse::MISCONFIGURED, error.to_string());
                    incoming.refuse(now, &why);
                }
            }
            _ => {}
        }
        // Who was refused is not accepted.
        match incoming.accept(now) {
            Ok(link) => {
                greeted(&mut self.listeners, &mut carrier);
                self.serve_link(now, id, link, carrier, happened);
                None
            }
            Err(refused) => Some((refused, carrier, true)),
        }
    }

    /// Hands a connection over to the link to which its peer may return; false if that declines.
    fn hand_over(
        &mut self,
        now: Instant,
        owner: LinkId,
        incoming: &mut Incoming,
        carrier: &mut Carrier<S>,
    ) -> bool {
        let Some((link, its)) = self.links.get_mut(&owner) else {
            return false;
        };
        // It may have ended for that.
        self.ready.insert(owner);
        if link.take_over(now, incoming) != TakeOver::Done {
            return false;
        }
        its.error_context.clear();
        its.peer = carrier.peer.take();
        std::mem::swap(&mut its.connection, &mut carrier.connection);
        if let Some(connection) = &mut its.connection {
            connection.endpoint.attach(link.connection());
            self.moved.insert(connection.number, owner);
        }
        greeted(&mut self.listeners, its);
        self.drop_connection(carrier);
        true
    }

    fn serve_link(
        &mut self,
        now: Instant,
        id: LinkId,
        mut link: Link,
        mut carrier: Carrier<S>,
        happened: &mut Vec<Happened>,
    ) {
        let more = carrier.turn(now, &mut link);
        self.drop_finished(now, &mut carrier);
        let evicted = self.push_events(now, id, &mut link, &mut carrier, happened);
        if link.wants_connect() && carrier.connection.is_none() {
            self.wanting.insert(id);
        } else {
            self.wanting.remove(&id);
        }
        self.arm(id, carrier.deadline(&link));
        let over = link.state() == LinkState::Ended && carrier.connection.is_none();
        if over && carrier.forgotten {
            self.watches.remove(&id.0);
            self.arm(id, None);
        } else {
            self.links.insert(id, (link, carrier));
            if more {
                self.ready.insert(id);
            }
        }
        if let Some(evicted) = evicted
            && let Some((link, _)) = self.links.get_mut(&evicted)
        {
            link.evict(now);
            self.ready.insert(evicted);
        }
    }

    /// Passes on what a link has to tell; gives back the link for which there is no room any more.
    fn push_events(
        &mut self,
        now: Instant,
        id: LinkId,
        link: &mut Link,
        carrier: &mut Carrier<S>,
        happened: &mut Vec<Happened>,
    ) -> Option<LinkId> {
        let mut evicted = None;
        let mut lost = false;
        while let Some(event) = link.poll_event() {
            lost |= matches!(event, Event::Lost(_));
            evicted = self.follow(now, id, link, carrier, &event).or(evicted);
            if !carrier.forgotten {
                happened.extend(describe(id, link, carrier, event));
            }
        }
        if std::mem::take(&mut carrier.given_up)
            && link.end_reason().is_none()
            && let Some(loss) = link.last_loss()
        {
            if carrier.origin.is_none() && !lost {
                let error = carrier.error_context.of_loss(link, loss);
                happened.push(Happened::NotConnected { link: id, error });
            }
            // What was said about this connection is no reason for what happens to the next.
            carrier.error_context.clear();
        }
        evicted
    }

    /// Keeps the listener's account in step with a link.
    fn follow(
        &mut self,
        now: Instant,
        id: LinkId,
        link: &mut Link,
        carrier: &mut Carrier<S>,
        event: &Event,
    ) -> Option<LinkId> {
        let origin = carrier.origin.as_mut()?;
        let listener = self.listeners.get_mut(&origin.listener)?;
        let consequence = listener.acceptor.follow(link, event, || id);
        if *event == Event::Ended {
            release(listener, origin);
        }
        match consequence {
            Some(Consequence::Evict(evicted)) => return Some(evicted),
            Some(Consequence::Close) => {
                link.close_with(now, CloseMode::DrainBoth, listener.close_reason.clone());
                self.ready.insert(id);
            }
            None => {}
        }
        None
    }

    /// Drops a connection that is of no more use.
    fn drop_finished(&mut self, now: Instant, carrier: &mut Carrier<S>) {
        if let Some(connection) = &mut carrier.connection
            && connection.endpoint.is_over(now)
        {
            carrier.given_up = true;
            self.drop_connection(carrier);
        }
    }

    fn drop_connection(&mut self, carrier: &mut Carrier<S>) {
        let Some(connection) = carrier.connection.take() else {
            return;
        };
        self.moved.remove(&connection.number);
        if let (Some(origin), Some(permit)) = (&carrier.origin, connection.permit)
            && let Some(listener) = self.listeners.get_mut(&origin.listener)
        {
            listener.acceptor.depart(permit);
        }
    }
}

/// A connection is half open no longer.
fn greeted<S>(listeners: &mut BTreeMap<ListenerId, Listener>, carrier: &mut Carrier<S>) {
    if let Some(origin) = &carrier.origin
        && let Some(listener) = listeners.get_mut(&origin.listener)
        && let Some(connection) = &mut carrier.connection
        && let Some(permit) = &mut connection.permit
    {
        listener.acceptor.greeted(permit);
    }
}

/// A link has ended, or has not come to be.
fn release(listener: &mut Listener, origin: &mut Origin) {
    if let Some(place) = origin.place.take() {
        listener.acceptor.release(place);
    }
}

/// What an event of a link means to its owner.
fn describe<S>(id: LinkId, link: &Link, carrier: &Carrier<S>, event: Event) -> Option<Happened> {
    Some(match (event, &carrier.origin) {
        (Event::Connected, Some(origin)) => Happened::Accepted {
            listener: origin.listener,
            link: id,
            from: origin.from,
        },
        (Event::Lost(loss), _) => Happened::Lost {
            link: id,
            error: carrier.error_context.of_loss(link, loss),
        },
        (Event::Ended, _) => Happened::Ended {
            link: id,
            error: carrier.error_context.of_end(link)?,
        },
        (event, _) => Happened::Event { link: id, event },
    })
}
