//! What threads share: the standard library's, or that of `shuttle`, which tries interleavings.

#[cfg(shuttle)]
pub(crate) use shuttle::{
    sync::{Mutex, MutexGuard},
    thread_local,
};
#[cfg(not(shuttle))]
pub(crate) use std::{
    sync::{Mutex, MutexGuard},
    thread_local,
};
