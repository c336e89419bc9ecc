//! Synchronization primitives: the standard library's, or those of `shuttle`, which explores
//! interleavings.

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
