//! countersign for the compio runtime, where the operating system completes what it was asked for:
//! by io_uring on Linux, by IOCP on Windows, and by polling elsewhere.
//!
//! The names are those of `countersign-tokio`, and so is what they mean: [`connect`] and [`listen`]
//! give a [`Link`] for each peer; its channels are used through a [`Sender`] or a [`Receiver`] for
//! each. Sending gives a [`Receipt`], a future of what became of the message. [`secure_connect`] and
//! [`secure_over`] give a [`SecureStream`], for bytes instead of messages.
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
//! compio's runtime lives in one thread, and so do the futures of the functions here, which panic
//! outside of one, and the tasks that they start: those that accept and that drive links. What they
//! give, [`Link`], [`Listener`], [`Sender`], [`Receiver`], [`Receipt`] and so on, is `Send` and
//! `Sync` all the same, and works in every thread and under every executor, for as long as its
//! runtime is run. To use several cores, have a runtime in each of several threads. When a runtime
//! is dropped, its links end as lost, and its listeners are closed.
//!
//! # Memory
//!
//! The operating system has the memory of a transfer until that is over, so no byte is copied on
//! the way between it and the link. A connection on which little or nothing comes waits with 1 KiB of
//! memory, not with room for four records.
//!
//! Dropping what waits for a transfer asks the operating system to give it up. Until it has, compio
//! keeps the memory and the socket, so the peer finds out when the runtime is next run.
//!
//! # Where there is no io_uring
//!
//! On Linux compio asks the kernel when a runtime is made. If it lacks io_uring or what compio needs
//! of it, or does not allow it, as in many containers, compio polls the sockets instead. Links
//! behave the same. `compio::runtime::Runtime::driver_type` tells which it is, and
//! `compio::driver::ProactorBuilder::driver_type` chooses.

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
