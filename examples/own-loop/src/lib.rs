//! An example: countersign in a loop of your own.
//!
//! No runtime, no threads, no clock: one thread serves any number of links over TCP, opened and
//! accepted. The caller says what time it is and when to do something. The code for sockets is
//! here, the rest is `countersign_endpoint::Links`. `docs/custom-runtime.md` has the contract.
//!
//! ```
//! use std::time::Instant as StdInstant;
//!
//! use countersign_core::{Config, Event, Instant, ReceiveChannel, SendChannel};
//! use countersign_endpoint::Security;
//! use own_loop::{LinksEvent, Limits, OwnLoop};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let sends = Config::new().channel(SendChannel::new("orders"));
//! let receives = Config::new().channel(ReceiveChannel::new("orders"));
//! let security = Security::plaintext(); // asked for by name; see the programs for TLS
//!
//! let mut links = OwnLoop::new()?;
//! let listener = links.listen("127.0.0.1:0".parse()?, &receives, &security, Limits::default())?;
//! let address = links.address(listener).ok_or("listens nowhere")?;
//! let client = links.connect(address, &sends, &security)?;
//!
//! let begun = StdInstant::now();
//! let clock = || Instant::ZERO + begun.elapsed();
//! let mut events = Vec::new();
//! let verdict = 'served: loop {
//!     links.service(clock, &mut events)?;
//!     for event in events.drain(..) {
//!         match event {
//!             LinksEvent::Event { link, event: Event::Connected } => {
//!                 let link = links.link_mut(link).ok_or("gone")?;
//!                 let orders = link.channel_id("orders").ok_or("undeclared")?;
//!                 link.send(clock(), orders, "go", None)?;
//!             }
//!             LinksEvent::Event { link, event: Event::Readable(channel) } => {
//!                 let link = links.link_mut(link).ok_or("gone")?;
//!                 while let Some(message) = link.take(clock(), channel)? {
//!                     assert_eq!(message.payload, "go");
//!                 }
//!             }
//!             LinksEvent::Event { link, event: Event::Handled { .. } } => break 'served link,
//!             _ => {}
//!         }
//!     }
//!     links.wait(links.deadline().map(|deadline| deadline.saturating_since(clock())))?;
//! };
//! assert_eq!(verdict, client);
//! # Ok(())
//! # }
//! ```

#![allow(clippy::missing_errors_doc, reason = "they are the system's")]

mod own_loop;
mod socket;

pub use countersign_core::Limits;
pub use countersign_endpoint::{LinkId, LinksEvent, ListenerId};
pub use own_loop::OwnLoop;
pub use socket::Socket;
