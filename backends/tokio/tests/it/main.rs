//! What only links on tokio have.

mod abandon;
mod close;
mod lost;
mod paused;
mod write_zero;
