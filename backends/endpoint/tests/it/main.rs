//! Endpoints against each other, and against other implementations of TLS. How much memory a
//! connection takes is measured in a separate program, `memory.rs`.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

mod common;
mod endpoint;
mod foreign;
mod given_up;
mod handshake;
mod links;
mod on_the_way;
mod peer_lists;
mod pin_files;
mod proof;
mod replacing;
mod rotation;
mod setup;
mod strangers;
mod streams;
mod transfer;
mod useless;
mod working_directory;
