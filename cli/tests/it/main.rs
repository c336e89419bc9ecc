//! The program, as its users run it.

mod common;
mod cuts;
mod demo;
mod exits;
mod failures;
mod keygen;
mod peer_words;
mod peers;
mod pipe;
mod reload;
#[allow(
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    reason = "it is of other tests, which are no program that users run"
)]
#[path = "../../../tests/src/size.rs"]
mod size;
mod split;
mod stdio;
mod streams;
mod stuck;
mod trace;
mod words;
