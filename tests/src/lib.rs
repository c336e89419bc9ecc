//! The conformance suite of countersign and everything that runs several of its parts together.
//!
//! A scenario is written once, in [`scenarios`], against the traits of [`backend`], and knows
//! neither which backends it runs on nor whether the connection is secured. Each is registered in
//! its module (`scenarios!`), each backend in [`backends`]; `tests/suites.rs` makes a test of each
//! scenario for each pair. A backend joins by implementing [`backend::Backend`], and by its line in
//! the list: see [`on_tokio`] for one whose handles are the shared driver's, [`on_std`] for one
//! that has its own, [`on_own_loop`] for one that does without the shared driver.
//!
//! It makes a second test of every scenario that can bear it, in which the links are lasting and
//! their connections are cut at random ([`cutting`]).
//!
//! Secure streams have a separate suite, in [`secure`]. Hostile peers are in [`adversary`].
//!
//! Scenarios wait for events. The only time limit is [`watch`]'s, which turns a hang into a
//! failure.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "everything here is a test, and panicking is how a test fails"
)]

// First, for its macro.
#[macro_use]
pub mod suite;

pub mod adversary;
#[cfg(target_os = "linux")]
pub mod air;
pub mod backend;
pub mod backends;
pub mod cancelling;
pub mod conformance;
pub mod cutting;
mod handles;
pub mod harness;
pub mod memory;
#[cfg(target_os = "linux")]
pub mod namespaces;
pub mod on_async_std;
pub mod on_compio;
pub mod on_futures_io;
pub mod on_own_loop;
pub mod on_smol;
pub mod on_std;
pub mod on_tokio;
pub mod pair;
pub mod planted;
pub mod proxy;
pub mod python;
/// The demo's relay. The program is published and can't depend on unpublished crates, and tests
/// need not build a program.
#[path = "../../cli/src/relay.rs"]
pub mod relay;
pub mod scenarios;
pub mod secure;
pub mod size;
mod watchdog;

pub use pair::{Ends, Pair, Transport};
pub use proxy::{Direction, Proxy};
pub use watchdog::{watch, watch_as};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// So do those in the guide to live messages.
#[cfg(doctest)]
#[doc = include_str!("../../docs/live.md")]
struct Live;

/// So does the guide to driving links by oneself.
#[cfg(doctest)]
#[doc = include_str!("../../docs/custom-runtime.md")]
struct CustomRuntime;
