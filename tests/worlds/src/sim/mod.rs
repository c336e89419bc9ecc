//! A world in which links meet, without sockets, threads or a clock: every run is a function of
//! its [`Plan`].
//!
//! Hosts have separate clocks, connections carry real bytes between real
//! [`Endpoint`](countersign_endpoint::Endpoint)s, the acceptor leads returning peers to their links
//! as a listener does, and applications send, take, handle and reject. Each message carries its own
//! number, by which the world's books find out whatever the links got wrong.

mod acceptor;
mod age;
mod app;
pub mod cases;
pub mod clock;
mod closes;
mod drive;
mod faults;
pub mod generate;
mod ledger;
pub mod plan;
mod rng;
pub mod run;
pub mod scenarios;
mod single;
mod wire;
mod world;

pub use clock::Clock;
pub use ledger::LEAST;
pub use plan::Plan;
pub use rng::{Rng, mix};
pub use world::{Summary, World};
