//! Services links and incoming connections in turn.

use std::collections::BTreeMap;
use std::task::Context;

use countersign_core::{
    CloseMode, Consequence, EndReason, Event, Incoming, Instant, Link, LinkState, Protocol,
    Refusal, Route, TakeOver, refuse,
};

use super::context::{Admission, LinkContext, Origin};
use super::{LinkId, Links, LinksEvent, Listener, ListenerId};
use crate::stream::Stream;

impl<S: Stream> Links<S> {
    /// Does everything that can be done without waiting, and appends the events to `events`. `clock`
    /// reads the time, once for each link that has something to do: what arrives may have been
    /// written at any moment until it is read.
    pub fn service(&mut self, clock: impl Fn() -> Instant, events: &mut Vec<LinksEvent>) {
        let now = clock();
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
            if let Some((incoming, context)) = self.arriving.remove(&id) {
                self.serve_arriving(&clock, id, incoming, context, events);
            } else if let Some((link, context)) = self.links.remove(&id) {
                self.serve_link(&clock, id, link, context, events);
            } else {
                self.arm(id, None);
            }
        }
    }

    /// Whether identity and trust of any link or listener were replaced.
    fn is_replaced(&mut self) -> bool {
        let mut task = Context::from_waker(&self.waker);
        let watches = self.watches.values_mut();
        // All must be polled, or they do not notify of the next replacement.
        let replaced = watches.map(|watch| watch.poll_changed(&mut task).is_ready());
        replaced.fold(false, |any, replaced| any | replaced)
    }

    fn recheck(&mut self, now: Instant) {
        for (incoming, context) in self.arriving.values_mut() {
            context.recheck(now, incoming);
        }
        for (link, context) in self.links.values_mut() {
            context.recheck(now, link);
        }
        self.ready_all();
    }

    fn serve_arriving(
        &mut self,
        clock: &impl Fn() -> Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut context: LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) {
        let reads = matches!(context.admission, Admission::Unasked);
        let more = reads && context.service(clock, &mut incoming);
        let now = clock();
        let stays = match context.admission {
            Admission::Unasked => match incoming.request() {
                None => Some((incoming, context, more)),
                Some(_) => self.route(clock, id, incoming, context, events),
            },
            Admission::Asked => {
                // Nothing more is read until there is an answer, or none is needed any more.
                incoming.handle_timeout(now);
                let ended = incoming.end_reason().is_some();
                Some((incoming, context, ended))
            }
            Admission::Admitted(_) | Admission::Refused(_) => {
                self.settle(clock, id, incoming, context, events)
            }
        };
        if let Some((incoming, context, more)) = stays {
            self.keep_incoming(now, id, incoming, context, events);
            if more && self.arriving.contains_key(&id) {
                self.ready.insert(id);
            }
        }
    }

    /// Keeps a connection that belongs to no link yet, or to none any more, until it is finished.
    fn keep_incoming(
        &mut self,
        now: Instant,
        id: LinkId,
        incoming: Incoming,
        mut context: LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) {
        if incoming.end_reason().is_some() {
            context.admission = Admission::Unasked;
            if let Some(origin) = &mut context.origin
                && let Some(entry) = self.listeners.get_mut(&origin.listener)
            {
                release(entry, origin);
            }
        }
        if let (Some(reason), Some(origin)) = (incoming.end_reason(), &context.origin)
            && !std::mem::replace(&mut context.forgotten, true)
            // A peer that has since come back on a newer connection is not reported.
            && *reason != EndReason::Stale
        {
            let (listener, from) = (origin.listener, origin.from);
            let error = context.error_context.of(reason);
            events.push(LinksEvent::Refused {
                listener,
                from,
                error,
            });
        }
        self.drop_finished(now, &mut context);
        if context.connection.is_none() {
            self.arm(id, None);
            return;
        }
        self.arm(id, context.deadline(&incoming));
        self.arriving.insert(id, (incoming, context));
    }

    /// Routes a peer to its link; returns the connection of one that belongs to none, or not yet,
    /// and whether there is more to do for it.
    fn route(
        &mut self,
        clock: &impl Fn() -> Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut context: LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) -> Option<(Incoming, LinkContext<S>, bool)> {
        let now = clock();
        let listener = context.origin.as_ref()?.listener;
        loop {
            let entry = self.listeners.get_mut(&listener)?;
            match entry.acceptor.route(&mut incoming) {
                Route::Wait => return Some((incoming, context, true)),
                Route::Refuse(refusal) => incoming.refuse(now, &refusal),
                Route::Resume(owner) => {
                    if self.hand_over(now, owner, &mut incoming, &mut context) {
                        self.arm(id, None);
                        return None;
                    }
                }
                Route::New(permit) => {
                    let peer = context.current_peer();
                    let origin = context.origin.as_mut()?;
                    origin.permit = Some(permit);
                    if !entry.asks {
                        return self.settle(clock, id, incoming, context, events);
                    }
                    context.admission = Admission::Asked;
                    events.push(LinksEvent::Asks {
                        listener,
                        link: id,
                        from: origin.from,
                        peer,
                    });
                    return Some((incoming, context, false));
                }
            }
        }
    }

    /// Makes a link of a connection for which there is room, unless its owner has refused it.
    fn settle(
        &mut self,
        clock: &impl Fn() -> Instant,
        id: LinkId,
        mut incoming: Incoming,
        mut context: LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) -> Option<(Incoming, LinkContext<S>, bool)> {
        let now = clock();
        match std::mem::replace(&mut context.admission, Admission::Unasked) {
            Admission::Refused(refusal) => incoming.refuse(now, &refusal),
            Admission::Admitted(Some(channels)) => {
                if let Err(error) = incoming.declare(channels) {
                    let why = Refusal::new(refuse::MISCONFIGURED, error.to_string());
                    incoming.refuse(now, &why);
                }
            }
            _ => {}
        }
        // Fails if the peer was refused.
        match incoming.accept(now) {
            Ok(link) => {
                greeted(&mut self.listeners, &mut context);
                self.serve_link(clock, id, link, context, events);
                None
            }
            Err(refused) => Some((refused, context, true)),
        }
    }

    /// Hands a connection over to the link that its peer resumes; returns false if that declines.
    fn hand_over(
        &mut self,
        now: Instant,
        owner: LinkId,
        incoming: &mut Incoming,
        context: &mut LinkContext<S>,
    ) -> bool {
        let Some((link, target)) = self.links.get_mut(&owner) else {
            return false;
        };
        // The attempt may have ended the link.
        self.ready.insert(owner);
        if link.take_over(now, incoming) != TakeOver::Done {
            return false;
        }
        target.error_context.clear();
        target.peer = context.peer.take();
        std::mem::swap(&mut target.connection, &mut context.connection);
        if let Some(connection) = &mut target.connection {
            connection.endpoint.attach(link.connection());
            self.moved.insert(connection.number, owner);
        }
        greeted(&mut self.listeners, target);
        self.drop_connection(context);
        true
    }

    fn serve_link(
        &mut self,
        clock: &impl Fn() -> Instant,
        id: LinkId,
        mut link: Link,
        mut context: LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) {
        let more = context.service(clock, &mut link);
        let now = clock();
        self.drop_finished(now, &mut context);
        let evicted = self.push_events(now, id, &mut link, &mut context, events);
        if link.wants_connect() && context.connection.is_none() {
            self.wanting.insert(id);
        } else {
            self.wanting.remove(&id);
        }
        self.arm(id, context.deadline(&link));
        let over = link.state() == LinkState::Ended && context.connection.is_none();
        if over && context.forgotten {
            self.watches.remove(&id.0);
            self.arm(id, None);
        } else {
            self.links.insert(id, (link, context));
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

    /// Reports a link's events; returns the link to evict for lack of room, if any.
    fn push_events(
        &mut self,
        now: Instant,
        id: LinkId,
        link: &mut Link,
        context: &mut LinkContext<S>,
        events: &mut Vec<LinksEvent>,
    ) -> Option<LinkId> {
        let mut evicted = None;
        let mut lost = false;
        while let Some(event) = link.poll_event() {
            lost |= matches!(event, Event::Lost(_));
            evicted = self.follow(now, id, link, context, &event).or(evicted);
            if !context.forgotten {
                events.extend(describe(id, link, context, event));
            }
        }
        if std::mem::take(&mut context.connection_lost)
            && link.end_reason().is_none()
            && let Some(loss) = link.last_loss()
        {
            if context.origin.is_none() && !lost {
                let error = context.error_context.of_loss(link, loss);
                events.push(LinksEvent::NotConnected { link: id, error });
            }
            // Errors of this connection do not explain what happens to the next.
            context.error_context.clear();
        }
        evicted
    }

    /// Keeps the listener's acceptor in step with a link.
    fn follow(
        &mut self,
        now: Instant,
        id: LinkId,
        link: &mut Link,
        context: &mut LinkContext<S>,
        event: &Event,
    ) -> Option<LinkId> {
        let origin = context.origin.as_mut()?;
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

    /// Drops a connection that is no longer needed.
    fn drop_finished(&mut self, now: Instant, context: &mut LinkContext<S>) {
        if let Some(connection) = &mut context.connection
            && connection.endpoint.is_over(now)
        {
            context.connection_lost = true;
            self.drop_connection(context);
        }
    }

    fn drop_connection(&mut self, context: &mut LinkContext<S>) {
        let Some(connection) = context.connection.take() else {
            return;
        };
        self.moved.remove(&connection.number);
        if let (Some(origin), Some(permit)) = (&context.origin, connection.permit)
            && let Some(listener) = self.listeners.get_mut(&origin.listener)
        {
            listener.acceptor.depart(permit);
        }
    }
}

/// Marks a connection as no longer half open.
fn greeted<S>(listeners: &mut BTreeMap<ListenerId, Listener>, context: &mut LinkContext<S>) {
    if let Some(origin) = &context.origin
        && let Some(listener) = listeners.get_mut(&origin.listener)
        && let Some(connection) = &mut context.connection
        && let Some(permit) = &mut connection.permit
    {
        listener.acceptor.greeted(permit);
    }
}

/// Releases a link's permit, once it has ended or was not made.
fn release(listener: &mut Listener, origin: &mut Origin) {
    if let Some(permit) = origin.permit.take() {
        listener.acceptor.release(permit);
    }
}

/// Translates an event of a link for its owner.
fn describe<S>(
    id: LinkId,
    link: &Link,
    context: &LinkContext<S>,
    event: Event,
) -> Option<LinksEvent> {
    Some(match (event, &context.origin) {
        (Event::Connected, Some(origin)) => LinksEvent::Accepted {
            listener: origin.listener,
            link: id,
            from: origin.from,
        },
        (Event::Lost(loss), _) => LinksEvent::Lost {
            link: id,
            error: context.error_context.of_loss(link, loss),
        },
        (Event::Ended, _) => LinksEvent::Ended {
            link: id,
            error: context.error_context.of_end(link)?,
        },
        (event, _) => LinksEvent::Event { link: id, event },
    })
}
