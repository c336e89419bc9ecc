//! Two links in virtual time, and a reference model of what must come of it.

pub(crate) mod case;
mod check;
mod model;
mod wire;
pub(crate) mod world;
