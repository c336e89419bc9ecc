//! Mistakes that links of the core make when they are told to, to see that these are found.
//!
//! Built with `--cfg planted` there are some. Else there is none, so that nothing can be planted, and
//! the tests that would are compiled out: see `.ci/planted`.

use countersign_core::{Incoming, Link};

#[cfg(planted)]
pub use countersign_core::Planted;

/// A mistake; this build has none.
#[cfg(not(planted))]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Planted {}

/// Has a link make this mistake from here on, if it is to make one.
#[cfg(planted)]
pub(crate) fn plant(link: &mut Link, mistake: Option<Planted>) {
    if let Some(mistake) = mistake {
        link.plant(mistake);
    }
}

/// The same for a link to be.
#[cfg(planted)]
pub(crate) fn plant_incoming(incoming: &mut Incoming, mistake: Option<Planted>) {
    if let Some(mistake) = mistake {
        incoming.plant(mistake);
    }
}

/// Nothing, as there is no mistake.
#[cfg(not(planted))]
pub(crate) fn plant(_: &mut Link, mistake: Option<Planted>) {
    let None = mistake;
}

/// Nothing, as there is no mistake.
#[cfg(not(planted))]
pub(crate) fn plant_incoming(_: &mut Incoming, mistake: Option<Planted>) {
    let None = mistake;
}
