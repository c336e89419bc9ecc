//! countersign over the streams of futures-io, for any executor.
//!
//! This is for runtimes that have no crate of their own, and for transports that are no sockets.
//! `countersign-smol` and `countersign-async-std` are built on it; programs on these runtimes use
//! those.
//!
//! A [`Runtime`] brings tasks and timers, two methods. With it, [`connect_with`] and [`link_over`]
//! give a [`Link`], [`listen_over`] a [`Listener`], and [`secure_over`] a [`SecureStream`], over
//! anything that implements [`AsyncRead`](futures_io::AsyncRead) and
//! [`AsyncWrite`](futures_io::AsyncWrite). What is used then is the same on all runtimes.
//!
//! Here is a runtime of async-executor and async-io, with one thread for all its tasks:
//!
//! ```
//! use std::net::{SocketAddr, TcpListener, TcpStream};
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use async_executor::Executor;
//! use async_io::{Async, Timer, block_on};
//! use countersign_futures_io::{
//!     ChannelConfig, CloseMode, Config, Limits, Runtime, Security, Setup, Socket, Task,
//!     connect_with, listen_over,
//! };
//!
//! #[derive(Clone)]
//! struct Tasks(Arc<Executor<'static>>);
//!
//! impl Runtime for Tasks {
//!     fn spawn(&self, task: Task) {
//!         self.0.spawn(task).detach();
//!     }
//!
//!     fn sleep_until(&self, deadline: Instant) -> Task {
//!         Box::pin(async move {
//!             Timer::at(deadline).await;
//!         })
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let executor = Arc::new(Executor::new());
//! let runtime = Tasks(executor.clone());
//! std::thread::spawn(move || block_on(executor.run(std::future::pending::<()>())));
//!
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ChannelConfig::receive("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(ChannelConfig::send("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! let socket = Arc::new(Async::<TcpListener>::bind(([127, 0, 0, 1], 0))?);
//! let address: SocketAddr = socket.get_ref().local_addr()?;
//! let accept = move || {
//!     let socket = socket.clone();
//!     async move {
//!         let (stream, peer) = socket.accept().await?;
//!         Ok((Socket(stream), Some(peer)))
//!     }
//! };
//! let listener = listen_over(&runtime, accept, robot, Limits::default());
//!
//! block_on(async {
//!     // `Async` does not end its direction when it is closed; `Socket` does.
//!     let dial = move || async move { Async::<TcpStream>::connect(address).await.map(Socket) };
//!     let link = connect_with(&runtime, dial, &operator).await?;
//!     let receipt = link.sender("commands")?.send("forward").await?;
//!
//!     let accepted = listener.accept().await?;
//!     let mut commands = accepted.receiver("commands")?;
//!     assert_eq!(commands.recv().await?.as_deref(), Some(&b"forward"[..]));
//!     assert!(receipt.await.is_handled());
//!     let report = link.close(CloseMode::Drain).await;
//!     assert!(report.is_orderly());
//!     # Ok::<(), Box<dyn std::error::Error>>(())
//! })?;
//! # Ok(())
//! # }
//! ```
//!
//! That `dial` has no time limit, but for the system's, which is two minutes or so. [`connect`],
//! [`listen`] and [`secure_connect`] do more for TCP: they have limits, try several addresses beside
//! each other, and set sockets to what links need. They are what a crate for a runtime wraps.
//!
//! # Map
//!
//! `runtime` is what a runtime brings, as the shared driver wants it; `connect`, `listen` and
//! `secure` have the functions of their names; `socket` mends sockets that close without a word.

mod connect;
mod listen;
mod runtime;
mod secure;
mod socket;

pub use connect::{connect, connect_with, link_over, pair, start_connect, start_connect_with};
pub use listen::{listen, listen_at, listen_over};
pub use runtime::{Runtime, Task};
pub use secure::{SecureStream, secure_connect, secure_over, secure_over_with};
pub use socket::Socket;

pub use countersign_driver::api::*;
