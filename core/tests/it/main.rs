//! The core against its specification, its model and its documents. How much memory a link takes is
//! measured in a separate program, `memory`.

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
