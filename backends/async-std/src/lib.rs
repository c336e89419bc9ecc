//! countersign for the async-std runtime.
//!
//! [`connect`] and [`listen`] return a [`Link`] for each peer; its channels are used through a
//! [`Sender`] or a [`Receiver`] for each. Sending returns a [`Receipt`], a future of the message's
//! verdict.
//!
//! ```
//! use countersign_async_std::{
//!     CloseMode, Config, ReceiveChannel, Security, SendChannel, Setup, connect, listen,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # async_std::task::block_on(async {
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ReceiveChannel::new("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(SendChannel::new("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! let listener = listen("127.0.0.1:0", robot).await?;
//! let address = listener.local_addr();
//! let robot = async_std::task::spawn(async move {
//!     let link = listener.accept().await?;
//!     let mut commands = link.receiver("commands")?;
//!     while let Some(command) = commands.recv().await? {
//!         assert_eq!(&command[..], b"forward");
//!     }
//!     Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! let link = connect(address, &operator).await?;
//! let commands = link.sender("commands")?;
//! let receipt = commands.send("forward").await?;
//! assert!(receipt.await.is_handled());
//! let report = link.close(CloseMode::Drain).await;
//! assert!(report.is_orderly());
//! robot.await.map_err(|error| error.to_string())?;
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! Links run on async-std's executor, which starts its threads by itself, as many as the
//! environment variable `ASYNC_STD_THREAD_COUNT` sets, one for each core by default. The handles
//! may be used from anywhere, other runtimes included.
//!
//! async-std is no longer developed, and its authors recommend smol. Programs that still run on it
//! are fully supported, with the same code as on other runtimes; `countersign-smol` has the same
//! names, for when they migrate.
//!
//! Closing a socket of async-std only flushes it, and does not shut it down. Sockets that this
//! crate opens and accepts are shut down; put a [`Socket`] around those that you pass in.

mod runtime;

use std::convert::identity;

use async_std::io::{Read, Write};
use async_std::net::TcpStream;
use countersign_futures_io::Stream;

use runtime::AsyncStd;

pub use countersign_driver::api::*;
pub use countersign_futures_io::{SecureStream, Socket};

countersign_driver::functions! {
    crate: "countersign_async_std",
    runtime: &AsyncStd,
    given: [] [] [] "" "",
    stream: [Read + Write + Unpin + Send + 'static] => Stream,
    note: "Closing such a stream must end this end's direction, and leave the other to be read.
async-std's own sockets only flush when they are closed: put a [`Socket`] around them.",
    send: [Send +],
    own: identity, identity,
}

countersign_driver::secure_functions! {
    runtime: &AsyncStd,
    given: [] [],
    tcp: [] Socket<TcpStream>,
    stream: [Read + Write + Unpin] => Stream,
    note: "Closing the stream must end this end's direction, and leave the other to be read.
async-std's own sockets only flush when they are closed: put a [`Socket`] around them.",
    secured: SecureStream::new,
}
