//! countersign for the smol runtime.
//!
//! [`connect`] and [`listen`] return a [`Link`] for each peer; its channels are used through a
//! [`Sender`] or a [`Receiver`] for each. Sending returns a [`Receipt`], a future of the message's
//! verdict.
//!
//! ```
//! use countersign_smol::{
//!     CloseMode, Config, ReceiveChannel, Security, SendChannel, Setup, connect, listen,
//! };
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # smol::block_on(async {
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ReceiveChannel::new("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(SendChannel::new("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! let listener = listen("127.0.0.1:0", robot).await?;
//! let address = listener.local_addr();
//! let robot = smol::spawn(async move {
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
//! Links run on smol's global executor, which starts its threads by itself, as many as the
//! environment variable `SMOL_THREADS` sets, one by default. The handles may be used from anywhere,
//! [`smol::LocalExecutor`] and other runtimes included. For links on another executor, see
//! `countersign-futures-io`.

mod runtime;

use std::convert::identity;

use countersign_futures_io::Stream;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

use runtime::Smol;

pub use countersign_driver::api::*;
pub use countersign_futures_io::SecureStream;

countersign_driver::functions! {
    crate: "countersign_smol",
    runtime: &Smol,
    given: [] [] [] "" "",
    stream: [AsyncRead + AsyncWrite + Unpin + Send + 'static] => Stream,
    note: "Closing such a stream must end this end's direction, and leave the other to be read.",
    send: [Send +],
    own: identity, identity,
}

countersign_driver::secure_functions! {
    runtime: &Smol,
    given: [] [],
    tcp: [] TcpStream,
    stream: [AsyncRead + AsyncWrite + Unpin] => Stream,
    note: "Closing the stream must end this end's direction, and leave the other to be read.",
    secured: SecureStream::new,
}
