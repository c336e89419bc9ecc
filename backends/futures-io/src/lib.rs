//! countersign over the streams of futures-io, for any executor.
//!
//! This is for runtimes without a dedicated crate, and for transports other than sockets.
//! `countersign-smol` and `countersign-async-std` are built on it; programs on these runtimes use
//! those.
//!
//! A [`Runtime`] provides tasks and sleep, in two methods. With it, [`connect_with`] and
//! [`link_over`] return a [`Link`], [`listen_over`] a [`Listener`], and [`secure_over`] a
//! [`SecureStream`], over anything that implements [`AsyncRead`] and [`AsyncWrite`]. A
//! [`TcpRuntime`] also provides TCP sockets, a [`UnixRuntime`] Unix sockets: [`connect`],
//! [`listen`], [`secure_connect`] and the related functions use those. The handles are the same on
//! all runtimes.
//!
//! This is a runtime with async-executor and async-io, with one thread for all its tasks:
//!
//! ```
//! use std::future::Future;
//! use std::io;
//! use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use async_executor::Executor;
//! use async_io::{Async, Timer, block_on};
//! use countersign_futures_io::{
//!     Accept, ReceiveChannel, SendChannel, CloseMode, Config, Runtime, Security, Setup, Socket, Stream,
//!     TcpRuntime, connect, listen,
//! };
//!
//! #[derive(Clone)]
//! struct Tasks(Arc<Executor<'static>>);
//!
//! impl Runtime for Tasks {
//!     type Sleep = Timer;
//!
//!     fn spawn(
//!         &self,
//!         _: &'static str,
//!         task: impl Future<Output = ()> + Send + 'static,
//!     ) -> io::Result<()> {
//!         self.0.spawn(task).detach();
//!         Ok(())
//!     }
//!
//!     fn sleep_until(&self, deadline: Instant) -> Timer {
//!         Timer::at(deadline)
//!     }
//! }
//!
//! impl TcpRuntime for Tasks {
//!     // `Async` does not end its direction when it is closed; `Socket` does.
//!     type TcpStream = Stream<Socket<Async<TcpStream>>>;
//!     type TcpListener = Listening;
//!
//!     async fn resolve(&self, host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
//!         // This blocks: a real runtime should run it on another thread.
//!         Ok((host, port).to_socket_addrs()?.collect())
//!     }
//!
//!     async fn connect_tcp(&self, address: SocketAddr) -> io::Result<Self::TcpStream> {
//!         let stream = Async::<TcpStream>::connect(address).await?;
//!         Ok(Stream(Socket(stream)))
//!     }
//!
//!     fn listen_tcp(&self, socket: TcpListener) -> io::Result<Listening> {
//!         Async::new(socket).map(Listening)
//!     }
//! }
//!
//! struct Listening(Async<TcpListener>);
//!
//! impl Accept for Listening {
//!     type Stream = Stream<Socket<Async<TcpStream>>>;
//!
//!     async fn accept(&self) -> io::Result<(Self::Stream, Option<SocketAddr>)> {
//!         let (stream, peer) = self.0.accept().await?;
//!         Ok((Stream(Socket(stream)), Some(peer)))
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let executor = Arc::new(Executor::new());
//! let runtime = Tasks(executor.clone());
//! std::thread::spawn(move || block_on(executor.run(std::future::pending::<()>())));
//!
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ReceiveChannel::new("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(SendChannel::new("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! block_on(async {
//!     let listener = listen(&runtime, "127.0.0.1:0", robot).await?;
//!     let link = connect(&runtime, listener.local_addr(), &operator).await?;
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
//! # Map
//!
//! `stream` makes transports of the streams of futures-io; `socket` wraps sockets whose `close`
//! does not shut them down; `secure` has the secure streams.

mod secure;
mod socket;
mod stream;

use std::convert::identity;

use futures_io::{AsyncRead, AsyncWrite};

pub use secure::{SecureStream, secure_connect, secure_over, secure_over_with};
pub use socket::Socket;
pub use stream::Stream;

#[cfg(unix)]
pub use countersign_driver::UnixRuntime;
pub use countersign_driver::api::*;
pub use countersign_driver::{Accept, Clock, Runtime, StreamSocket, TcpRuntime, Transport};

countersign_driver::functions! {
    crate: "countersign_futures_io",
    runtime: runtime,
    given: [runtime: &impl Runtime,] [runtime: &impl TcpRuntime,] [runtime: &impl UnixRuntime,]
        "runtime: &impl countersign_futures_io::TcpRuntime" "runtime, ",
    stream: [AsyncRead + AsyncWrite + Unpin + Send + 'static] => Stream,
    note: "Closing such a stream must end this end's direction, and leave the other to be read: put a
[`Socket`](crate::Socket) around one that only flushes.",
    send: [Send +],
    own: identity, identity,
}
