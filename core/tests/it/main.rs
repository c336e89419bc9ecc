//! The core against its specification, its model and its documents. What a link takes of memory is
//! counted in a program of its own, `memory`.

mod common;
mod documents;
mod draw;
mod found;
mod found_resuming;
mod lasting;
mod properties;
mod spec;
mod spent;
mod streamed;
