//! The links of one listener: how many there are, which of them a returning peer belongs to, and
//! how they all end.

use std::future::poll_fn;
use std::sync::{Arc, Weak};
use std::task::Poll;

use countersign_core::{EndReason, GoneSession, Link, PeerId, SessionId, Sessions, Visit};

use crate::accept::{Drained, Limits};
use crate::lock::{Later, Lock, Locked};
use crate::shared::Shared;
use crate::wakers::{Waiting, Waits, WakerSet};

/// Which link of a listener has which session.
///
/// Its lock is taken while a link's is held, and never the other way round.
#[derive(Debug)]
pub struct Registry {
    links: Lock<Links>,
    limits: Limits,
}

#[derive(Debug)]
pub(crate) struct Links {
    sessions: Sessions<Weak<Shared>>,
    places_taken: usize,
    unaccepted: usize,
    /// Once the links are to end: how they have.
    drained: Option<Drained>,
    /// Who waits for the last link to end.
    emptied: WakerSet,
    later: Later,
}

impl Locked for Links {
    fn later(&mut self) -> &mut Later {
        &mut self.later
    }
}

impl Waits for Registry {
    type State = Links;
    /// The end of the last link.
    type Awaited = ();

    fn with<R>(&self, work: impl FnOnce(&mut Links) -> R) -> R {
        self.links.with(work)
    }

    fn wakers(links: &mut Links, (): ()) -> &mut WakerSet {
        &mut links.emptied
    }
}

/// A link's place among those of its listener, from its admission until it has ended.
#[derive(Debug)]
pub(crate) struct Place(Arc<Registry>);

/// A link's place among those that nobody has accepted yet.
#[derive(Debug)]
pub(crate) struct Unaccepted(Arc<Registry>);

impl Registry {
    /// With the limits of a listener.
    #[must_use]
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self {
            links: Lock::new(Links {
                sessions: Sessions::new(limits.sessions),
                places_taken: 0,
                unaccepted: 0,
                drained: None,
                emptied: WakerSet::default(),
                later: Later::default(),
            }),
            limits,
        })
    }

    /// Takes the places of another link, or tells why there are none.
    pub(crate) fn admit(self: &Arc<Self>) -> Result<(Place, Unaccepted), String> {
        let Limits { links, backlog, .. } = self.limits;
        self.links.with(|state| {
            if state.drained.is_some() {
                return Err("the listener takes no more links, it is about to go".to_owned());
            }
            if state.places_taken >= links.max(1) {
                return Err(format!(
                    "the listener has all the links that it takes, {links}"
                ));
            }
            if state.unaccepted >= backlog.max(1) {
                return Err(format!(
                    "as many links as may wait to be accepted do so, {backlog}"
                ));
            }
            state.places_taken += 1;
            state.unaccepted += 1;
            Ok(())
        })?;
        Ok((Place(self.clone()), Unaccepted(self.clone())))
    }

    /// A link has its session; true when all are to end, so this one as well.
    pub(crate) fn add(&self, link: &Link, shared: Weak<Shared>) -> bool {
        self.links.with(|links| {
            links.sessions.add(link.session(), link.peer(), shared);
            links.drained.is_some()
        })
    }

    /// The links to which a visitor may belong.
    pub(crate) fn candidates(&self, visit: Visit, peer: Option<PeerId>) -> Vec<Arc<Shared>> {
        self.links.with(|links| {
            let candidates = links.sessions.candidates(visit, peer);
            candidates.filter_map(Weak::upgrade).collect()
        })
    }

    /// A link has lost its connection; gives back one for which there is no room any more.
    pub(crate) fn lost(&self, id: SessionId) -> Option<Arc<Shared>> {
        self.links
            .with(|links| links.sessions.lost(id).and_then(Weak::upgrade))
    }

    pub(crate) fn resumed(&self, id: SessionId) {
        self.links.with(|links| links.sessions.resumed(id));
    }

    pub(crate) fn remove(&self, link: &Link) {
        self.links.with(|links| {
            if links.sessions.remove(link.gone_session())
                && let Some(drained) = &mut links.drained
            {
                let orderly = link.end_reason().is_some_and(EndReason::is_closed);
                drained.orderly += usize::from(orderly);
                drained.cut_short += usize::from(!orderly);
            }
        });
    }

    pub(crate) fn gone(&self, id: SessionId, peer: Option<PeerId>) -> Option<GoneSession> {
        self.links
            .with(|links| links.sessions.gone(id, peer).cloned())
    }

    fn all(&self) -> Vec<Arc<Shared>> {
        self.links
            .with(|links| links.sessions.links().filter_map(Weak::upgrade).collect())
    }

    /// Begins to close all links; there are no new ones from here on.
    pub(crate) fn drain(&self) {
        self.links
            .with(|links| _ = links.drained.get_or_insert_default());
        for shared in self.all() {
            shared.start_close();
        }
    }

    /// Waits until there are no links.
    pub(crate) async fn drained(&self) {
        let mut waiting = Waiting::new(self, ());
        poll_fn(|context| {
            waiting.poll(context, |links| match links.places_taken {
                0 => Poll::Ready(()),
                _ => Poll::Pending,
            })
        })
        .await;
    }

    /// Ends what has not ended by itself, and says how all of them have.
    pub(crate) fn abandon_rest(&self) -> Drained {
        for shared in self.all() {
            shared.abandon();
        }
        self.links.with(|links| links.drained.unwrap_or_default())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.links.with(|links| {
            links.places_taken -= 1;
            if links.places_taken == 0 {
                links.emptied.wake_all(&mut links.later);
            }
        });
    }
}

impl Drop for Unaccepted {
    fn drop(&mut self) {
        self.0.links.with(|links| links.unaccepted -= 1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_link_that_was_just_admitted_is_waited_for() {
        let registry = Registry::new(Limits::default());
        let (place, unaccepted) = registry.admit().unwrap();
        registry.drain();
        assert!(registry.admit().is_err());
        let mut context = Context::from_waker(Waker::noop());
        let mut drained = pin!(registry.drained());
        assert!(drained.as_mut().poll(&mut context).is_pending());
        drop(unaccepted);
        assert!(drained.as_mut().poll(&mut context).is_pending());
        drop(place);
        assert_eq!(drained.as_mut().poll(&mut context), Poll::Ready(()));
    }
}
