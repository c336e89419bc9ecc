//! The parts of the `countersign` program that are worth testing without running it.
//!
//! The program itself is `main.rs`. What stands here has no I/O of its own.
//!
//! - [`split`]: how a stream of bytes becomes messages, and messages a stream again.

pub mod split;
