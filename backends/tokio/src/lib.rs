//! countersign for the tokio runtime.
//!
//! [`connect`] and [`listen`] return a [`Link`] for each peer; its channels are used through a
//! [`Sender`] or a [`Receiver`] for each. Sending returns a [`Receipt`], a future of the message's
//! verdict.
//!
//! ```
//! use countersign_tokio::{
//!     CloseMode, Config, ReceiveChannel, Security, SendChannel, Setup, connect, listen,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ReceiveChannel::new("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(SendChannel::new("commands"));
//! let operator = Setup::new(operator, Security::plaintext())?;
//!
//! let listener = listen("127.0.0.1:0", robot).await?;
//! let address = listener.local_addr();
//! let robot = tokio::spawn(async move {
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
//! robot.await?.map_err(|error| error.to_string())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Bytes instead of messages
//!
//! [`secure_connect`] and [`secure_over`] return a [`SecureStream`]: the same identities and pins,
//! with tokio's traits for reading and writing. There are no messages, no receipts, and no
//! reconnection when the connection is lost.
//!
//! ```
//! use countersign_certs::NewIdentity;
//! use countersign_tokio::{Identity, Role, Security, StreamSetup, secure_connect, secure_over};
//! use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two machines, each with an identity and a pin of the other's.
//! let (robot, station) = (NewIdentity::new("robot").generate()?, NewIdentity::new("station").generate()?);
//! let identity = Identity::from_der(robot.certificate_der(), robot.key_der())?;
//! let on_robot = StreamSetup::new(Security::tls(identity, station.fingerprint()).build()?);
//! let identity = Identity::from_der(station.certificate_der(), station.key_der())?;
//! let on_station = StreamSetup::new(Security::tls(identity, robot.fingerprint()).build()?);
//!
//! let listener = TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let serving = tokio::spawn(async move {
//!     let (socket, _) = listener.accept().await?;
//!     // A server should use a task for each: a handshake takes time, and a bad one longer.
//!     let mut stream = secure_over(socket, Role::Acceptor, &on_robot).await?;
//!     let mut question = Vec::new();
//!     // No more than 1000 bytes, whatever arrives.
//!     (&mut stream).take(1000).read_until(b'\n', &mut question).await?;
//!     stream.write_all(b"forward").await?;
//!     stream.close().await
//! });
//!
//! let mut stream = secure_connect(address, &on_station).await?;
//! assert_eq!(stream.peer(), Some(robot.fingerprint()));
//! stream.write_all(b"where to?\n").await?;
//! stream.shutdown().await?;
//! let mut answer = Vec::new();
//! // A connection that just breaks off is an error, and never the end.
//! stream.read_to_end(&mut answer).await?;
//! assert_eq!(answer, b"forward");
//! serving.await??;
//! # Ok(())
//! # }
//! ```
//!
//! Everything here must be called inside a tokio runtime with its I/O and time drivers enabled.
//! Both runtime flavours work.

mod runtime;
mod secure;

use std::convert::identity;

use tokio::io::{AsyncRead, AsyncWrite};

use runtime::{Stream, Tokio};

pub use secure::{SecureStream, secure_connect, secure_over, secure_over_with};

pub use countersign_driver::api::*;

countersign_driver::functions! {
    crate: "countersign_tokio",
    runtime: &Tokio,
    given: [] [] [] "" "",
    stream: [AsyncRead + AsyncWrite + Unpin + Send + 'static] => Stream,
    note: "",
    send: [Send +],
    own: identity, identity,
}
