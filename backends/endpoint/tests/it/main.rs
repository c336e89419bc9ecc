//! Endpoints against each other, and against TLS of others. What a connection takes of memory is counted
//! in a program of its own, `memory.rs`.

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
