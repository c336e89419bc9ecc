//! Mistakes that the core's links make on demand, to see that they are found.
//!
//! Built with `--cfg planted` there are some. Otherwise there are none, so that nothing can be
//! planted, and the tests that would are compiled out: see `.ci/planted`.

use countersign_core::{Incoming, Link};

#[cfg(planted)]
pub use countersign_core::Planted;

/// A mistake; this build has none.
#[cfg(not(planted))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Planted {}

/// Makes a link make this mistake from here on, if there is one.
#[cfg(planted)]
pub(crate) fn plant(link: &mut Link, mistake: Option<Planted>) {
    if let Some(mistake) = mistake {
        link.plant(mistake);
    }
}

/// The same for an incoming connection.
#[cfg(planted)]
pub(crate) fn plant_incoming(incoming: &mut Incoming, mistake: Option<Planted>) {
    if let Some(mistake) = mistake {
        incoming.plant(mistake);
    }
}

/// Does nothing, as there is no mistake.
#[cfg(not(planted))]
pub(crate) fn plant(_: &mut Link, mistake: Option<Planted>) {
    let None = mistake;
}

/// Does nothing, as there is no mistake.
#[cfg(not(planted))]
pub(crate) fn plant_incoming(_: &mut Incoming, mistake: Option<Planted>) {
    let None = mistake;
}
