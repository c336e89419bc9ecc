//! A connection that a listener has let in, until it is a link or gone.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;

use countersign_core::{Config, EndReason};

use crate::accept::AcceptError;
use crate::connecting::Connecting;
use crate::driver::{Driver, Never, Timer, Transport};
use crate::error::LinkError;
use crate::establish::Setup;
use crate::hall::{Counted, Hall, Known, Place, whose};

/// A connection that was let in: what it takes to make a link of it.
#[derive(Debug)]
pub struct Guest {
    place: Place,
    counted: Counted,
    peer: Option<SocketAddr>,
    setup: Setup,
}

impl Guest {
    /// Lets a connection in, unless there are too many from its address.
    pub(crate) fn admit(
        mut place: Place,
        peer: Option<SocketAddr>,
        setup: &Setup,
    ) -> io::Result<Self> {
        let address = peer.map(|peer| whose(peer.ip()));
        if let Some(address) = address {
            place.hall.count(address)?;
        }
        place.address = address;
        Ok(Self {
            counted: Counted(address.map(|address| (place.hall.clone(), address))),
            place,
            peer,
            setup: setup.clone(),
        })
    }

    /// The listener's declaration.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.setup.config()
    }

    /// Sends the connection away, for something that is wrong with it alone.
    pub fn refuse(self, error: io::Error) {
        let hall = self.place.hall.clone();
        hall.refuse(self.peer, LinkError::transport(error));
    }

    /// Makes a link of the connection: one for the application to accept, or the one to which its
    /// peer returns.
    ///
    /// # Errors
    ///
    /// The system has no randomness to give.
    pub fn serve<T: Transport>(self, transport: T) -> io::Result<Served<T>> {
        let hall = self.place.hall.clone();
        let made = Connecting::accept(&self.setup, transport, self.peer, &hall.registry);
        let (connecting, driver) = made.map_err(io::Error::other)?;
        Ok(Served {
            driver,
            hall: hall.clone(),
            counted: self.counted,
            greeting: Box::pin(greet(hall, self.place, self.peer, connecting)),
        })
    }
}

/// Waits for the end of a handshake; when the listener goes, that gives the connection up. A
/// connection that was refused keeps its place until it is gone.
async fn greet(
    hall: Arc<Hall>,
    place: Place,
    peer: Option<SocketAddr>,
    connecting: Connecting,
) -> Option<Place> {
    let who = connecting.handle();
    let (mut accepted, mut closed) = (pin!(connecting.accepted()), pin!(hall.closed()));
    let result = poll_fn(|context| match accepted.as_mut().poll(context) {
        Poll::Pending if closed.as_mut().poll(context).is_ready() => Poll::Ready(None),
        result => result.map(Some),
    });
    match result.await {
        // The listener is gone, or the peer has returned to a link that was accepted before.
        None | Some(None) => None,
        // It is told so, and nobody else needs to know.
        Some(Some(Err(error))) if *error.reason() == EndReason::Stale => Some(place),
        Some(Some(Ok(link))) => {
            drop(place);
            hall.finish(Ok(link));
            None
        }
        Some(Some(Err(error))) => {
            let error = AcceptError::new(peer, error).of_known_peer(who.peer());
            hall.turn_away(error);
            Some(place)
        }
    }
}

/// A connection that a listener has let in, with all that is left to do for it.
pub struct Served<T: Transport> {
    driver: Driver<Never<T>>,
    hall: Arc<Hall>,
    counted: Counted,
    greeting: Pin<Box<dyn Future<Output = Option<Place>> + Send>>,
}

impl<T: Transport> std::fmt::Debug for Served<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Served").finish_non_exhaustive()
    }
}

impl<T: Transport> Served<T> {
    /// Drives the connection until it is over.
    pub async fn run(self, timer: impl Timer) {
        let Self {
            driver,
            hall,
            counted,
            greeting,
        } = self;
        let mut greeting = Some(greeting);
        let (mut kept, mut known) = (None, None);
        let mut driving = pin!(driver.run(timer));
        poll_fn(|context| {
            let over = driving.as_mut().poll(context).is_ready();
            if let Some(waits) = &mut greeting
                && let Poll::Ready(place) = waits.as_mut().poll(context)
            {
                kept = place;
                known = Some(Known::new(&hall));
                greeting = None;
            }
            if over { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop((kept, known, counted));
    }
}
