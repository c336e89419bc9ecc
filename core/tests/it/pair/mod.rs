//! Two links in virtual time, and a reference model of what must come of it.

pub(crate) mod case;
mod check;
pub(crate) mod model;
pub(crate) mod wire;
pub(crate) mod world;
