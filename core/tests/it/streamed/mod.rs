//! A model of two links in the `tlsstream` dialect, which has one connection, one channel and no
//! sessions. Sender and receiver are those of [`lasting`](crate::lasting).

use crate::lasting::usual::{Case, Op};

mod check;
mod wire;
pub(crate) mod world;

/// A whole case.
#[derive(Clone, Debug)]
pub(crate) struct StreamCase {
    pub(crate) pair: Case,
    pub(crate) ops: Vec<Op>,
}
