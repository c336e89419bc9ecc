//! A model of two links that outlive their connections, and of everything that can happen to them.

pub(crate) mod case;
mod check;
mod connection;
mod receiver;
mod sender;
mod single;
mod wire;
pub(crate) mod world;
