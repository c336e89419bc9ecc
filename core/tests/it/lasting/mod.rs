//! A model of two links that outlive their connections, and of everything that can happen to them.

pub(crate) mod case;
mod check;
mod connection;
mod late;
pub(crate) mod lease;
mod listener;
pub(crate) mod observer;
pub(crate) mod receiver;
pub(crate) mod sender;
mod single;
pub(crate) mod usual;
mod wire;
pub(crate) mod world;
