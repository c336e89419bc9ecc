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
mod split;
mod stdio;
mod streams;
mod stuck;
mod trace;
mod words;
