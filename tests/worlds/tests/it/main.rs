//! Worlds without I/O, in virtual time or none: all interleavings of small ones, cuts and crashes
//! everywhere, and many networks drawn from seeds.

mod capture;
mod crash;
mod cut;
mod latency;
mod model;
#[cfg(planted)]
mod model_planted;
mod objections;
mod simulation;
