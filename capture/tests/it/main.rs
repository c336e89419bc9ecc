//! Captures are written, read and played back.

mod captures;
mod common;
mod hostile;
mod limits;
mod lives;
mod vectors;
