//! countersign for the compio runtime, which is completion-based: with io_uring on Linux, IOCP on
//! Windows, and polling elsewhere.
//!
//! The names and their meanings are those of `countersign-tokio`: [`connect`] and [`listen`] return
//! a [`Link`] for each peer; its channels are used through a [`Sender`] or a [`Receiver`] for each.
//! Sending returns a [`Receipt`], a future of the message's verdict. [`secure_connect`] and
//! [`secure_over`] return a [`SecureStream`], for bytes instead of messages.
//!
//! ```
//! use compio::runtime::{Runtime, spawn};
//! use countersign_compio::{
//!     CloseMode, Config, ReceiveChannel, Security, SendChannel, Setup, connect, listen,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ReceiveChannel::new("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(SendChannel::new("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! Runtime::new()?.block_on(async {
//!     let listener = listen("127.0.0.1:0", robot).await?;
//!     let address = listener.local_addr();
//!     let robot = spawn(async move {
//!         let link = listener.accept().await?;
//!         let mut commands = link.receiver("commands")?;
//!         while let Some(command) = commands.recv().await? {
//!             assert_eq!(&command[..], b"forward");
//!         }
//!         Ok::<(), Box<dyn std::error::Error>>(())
//!     });
//!
//!     let link = connect(address, &operator).await?;
//!     let commands = link.sender("commands")?;
//!     let receipt = commands.send("forward").await?;
//!     assert!(receipt.await.is_handled());
//!     let report = link.close(CloseMode::Drain).await;
//!     assert!(report.is_orderly());
//!     robot.await.map_err(|error| error.to_string())??;
//!     Ok(())
//! })
//! # }
//! ```
//!
//! # Threads
//!
//! A compio runtime lives in one thread, and so do the futures of the functions here, which panic
//! outside of one, and the tasks that they start to accept connections and to drive links. The
//! handles that they return, [`Link`], [`Listener`], [`Sender`], [`Receiver`], [`Receipt`] and so
//! on, are nevertheless `Send` and `Sync`, and work in every thread and under every executor, for
//! as long as their runtime is run. To use several cores, run a runtime in each of several threads.
//! When a runtime is dropped, its links end as lost, and its listeners are closed.
//!
//! # Memory
//!
//! The operating system holds the memory of a transfer until that is complete, so no byte is copied
//! between it and the link. A connection with little or no traffic waits with 1 KiB of memory, not
//! with room for four records.
//!
//! Dropping a pending transfer requests its cancellation from the operating system. Until that is
//! complete, compio keeps the memory and the socket, so the peer notices when the runtime is next
//! run.
//!
//! # Without io_uring
//!
//! On Linux compio queries the kernel when a runtime is made. If it lacks io_uring or a feature
//! that compio needs, or does not permit it, as in many containers, compio polls the sockets
//! instead. Links behave the same. `compio::runtime::Runtime::driver_type` returns which is used,
//! and `compio::driver::ProactorBuilder::driver_type` selects one.

mod runtime;
mod secure;
mod stream;

use compio::io::util::Splittable;
use compio::io::{AsyncRead, AsyncWrite};
use compio_send_wrapper::SendWrapper;

use runtime::Compio;
use stream::{OwnThread, Stream};

pub use secure::{
    ReadHalf, SecureStream, WriteHalf, secure_connect, secure_over, secure_over_with,
};

pub use countersign_driver::api::*;

countersign_driver::functions! {
    crate: "countersign_compio",
    runtime: &Compio,
    given: [] [] [] "" "",
    stream: [Splittable<ReadHalf: AsyncRead + 'static, WriteHalf: AsyncWrite + 'static> + 'static]
        => Stream::in_thread,
    note: "A pair of halves is a stream too: any `(reader, writer)`, and compio's `BufReader` is a
reader.",
    send: [],
    own: OwnThread::new, SendWrapper::new,
}
