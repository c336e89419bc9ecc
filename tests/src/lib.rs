//! The conformance suite of countersign and everything that runs several of its parts together.
//!
//! A scenario is written once, in [`scenarios`], against the traits of [`backend`], and knows
//! neither which backends it runs on nor whether the connection is secured. [`conformance!`]
//! makes a test of each scenario for a pair of backends; `tests/conformance.rs` names the pairs.
//! A backend joins by implementing [`backend::Backend`]: see [`on_tokio`] for one whose handles
//! are the shared driver's, [`on_std`] for one that has its own.
//!
//! [`conformance_with_cuts!`] makes a second test of every scenario that can bear it, in which the
//! links are lasting and their connections are cut at random ([`cutting`]);
//! `tests/cutting.rs` runs them for the same pairs.
//!
//! Scenarios wait for events. The only time limit is [`watch`]'s, which turns a hang into a
//! failure.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::missing_errors_doc,
    reason = "everything here is a test, and panicking is how a test fails"
)]

#[cfg(target_os = "linux")]
pub mod air;
pub mod backend;
pub mod conformance;
pub mod cutting;
mod handles;
pub mod memory;
pub mod model;
#[cfg(target_os = "linux")]
pub mod namespaces;
pub mod on_own_loop;
pub mod on_std;
pub mod on_tokio;
pub mod pair;
pub mod proxy;
pub mod python;
pub mod scenarios;
pub mod sim;
mod watchdog;

pub use pair::{Ends, Pair, Transport};
pub use proxy::{Direction, Proxy};
pub use watchdog::watch;

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
