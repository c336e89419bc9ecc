//! Whole worlds of countersign in one process: real links of the core, without sockets, threads or
//! a clock.
//!
//! [`model`] tries all interleavings of small worlds, without time. [`sim`] runs worlds of any size
//! in virtual time, on networks that are drawn from a seed. No runtime is built for them, and they
//! are optimised: see `profile.dev` in the workspace's `Cargo.toml`.

#![allow(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "everything here is a test, and panicking is how a test fails"
)]

mod any_link;
pub mod mistakes;
pub mod model;
pub mod sim;
// As in the suites, which need not wait for this package.
#[path = "../../src/size.rs"]
pub mod size;
