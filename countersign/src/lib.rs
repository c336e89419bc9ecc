//! Two machines hand each other messages directly, and know what became of every one of them.
//!
//! - **A verdict for each message.** Sending returns a [`Receipt`], which becomes exactly one
//!   [`Verdict`]: `Handled` by the application at the other end, `Rejected` by it with a reason,
//!   `Superseded`, `Expired`, `Withdrawn`, or honestly `Unknown`. Never two, never none.
//! - **A [`Link`] outlives its connections.** The next one continues where the last one broke off:
//!   nothing is lost, nothing arrives twice, and channels stay in order.
//! - **Pinned peers, no broker, no certificate authority.** TLS 1.3 only; each end holds its own
//!   key and a pin of the other's. There is no 'accept anyone'.
//! - **Bounds everywhere.** A full queue makes [`Sender::send`] wait; nothing is discarded to make
//!   room, and whatever a peer does, a link takes no more memory than the bound that is known
//!   beforehand ([`Setup::memory_bound`]).
//!
//! # A robot and its operator
//!
//! Each end declares its channels: names are the same at both ends, modes are opposite. This
//! example has both ends in one program, with generated identities; those of real machines are
//! generated once, by `countersign keygen` or the crate `countersign-certs`, and read by
//! [`Identity::from_pem_files`] and [`Pins::from_files`].
//!
#![cfg_attr(all(feature = "tokio", feature = "aws-lc-rs"), doc = "```")]
#![cfg_attr(not(all(feature = "tokio", feature = "aws-lc-rs")), doc = "```ignore")]
//! use std::time::Duration;
//!
//! use countersign::prelude::*;
//! use countersign::{connect, listen};
//! use countersign_certs::NewIdentity;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (robot, operator) = (NewIdentity::new("robot").generate()?, NewIdentity::new("operator").generate()?);
//!
//! // The robot's end listens. It decides when its commands are handled.
//! let identity = Identity::from_der(robot.certificate_der(), robot.key_der())?;
//! let security = Security::tls(identity, operator.fingerprint()).build()?;
//! let config = Config::new()
//!     .channel(ReceiveChannel::new("commands").manual())
//!     .channel(SendChannel::new("video"));
//! let listener = listen("127.0.0.1:0", Setup::new(config, security)?).await?;
//! let address = listener.local_addr();
//! let on_robot = tokio::spawn(async move {
//!     let link = listener.accept().await?; // an error is about one peer: accept again
//!     // Nobody takes this picture once it is older than that.
//!     let picture = Outgoing::from(vec![0; 100_000]).expires_in(Duration::from_secs(2));
//!     drop(link.sender("video")?.send(picture).await?); // its receipt is not needed
//!     let mut commands = link.manual_receiver("commands")?;
//!     while let Some(command) = commands.recv().await? {
//!         match &command[..] {
//!             b"forward" => drop(command.handled()),
//!             _ => command.reject(1, "no such command"),
//!         }
//!     }
//!     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
//! });
//!
//! // The operator's end connects, and reconnects when it has to.
//! let identity = Identity::from_der(operator.certificate_der(), operator.key_der())?;
//! let security = Security::tls(identity, robot.fingerprint()).build()?;
//! let config = Config::new()
//!     .channel(SendChannel::new("commands"))
//!     .channel(ReceiveChannel::new("video"));
//! let link = connect(address, &Setup::new(config, security)?).await?;
//! let commands = link.sender("commands")?;
//! let forward = commands.send("forward").await?;
//! let fly = commands.send("fly").await?;
//! assert!(forward.await.is_handled());
//! assert_eq!(fly.await.to_string(), "rejected with code 1: no such command");
//! let picture = link.receiver("video")?.recv().await?;
//! assert_eq!(picture.map(|picture| picture.len()), Some(100_000));
//! assert!(link.close(CloseMode::Drain).await.is_orderly());
//! # on_robot.await?.map_err(|error| error.to_string())?;
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | to | look at |
//! |---|---|
//! | declare channels, limits and timeouts | [`Config`], [`SendChannel`], [`ReceiveChannel`], [`Timeouts`], [`Reconnect`] |
//! | set this end's identity and the accepted peers | [`Identity`], [`Pins`], [`Authority`], [`Security`], [`SecurityFiles`] |
//! | open and accept links | `connect`, `listen`, [`Setup`], [`Limits`], [`Admission`], [`Listener`] |
//! | send, and know what became of it | [`Sender`], [`Outgoing`], [`Receipt`], [`Verdict`] |
//! | receive, and reply | [`Receiver`], [`ManualReceiver`], [`Delivery`] |
//! | call, and answer calls | [`Sender::request`], [`ManualReceiver::on_request`] |
//! | know how old messages are, and stop what they started | [`Age`], [`Lease`], [`guide::live`](https://docs.rs/countersign/latest/countersign/guide/live/) |
//! | follow a link, and end it | [`LinkEvent`], [`Status`], [`CloseMode`], [`Report`] |
//! | carry bytes instead of messages | `secure_connect`, `secure_over`, [`StreamSetup`] |
//! | tell errors apart | [`LinkError`], [`SendError`], [`RecvError`], [`SetupError`], [`SecurityError`] |
//! | read the guides | [`guide`](https://docs.rs/countersign/latest/countersign/guide/) |
//!
//! The root has everything that does not depend on a runtime and, with the feature `tokio`, tokio's
//! functions. [`prelude`] has what most programs need. The other modules need their features:
//! `blocking` is for programs without a runtime (`std`), `runtime` has each runtime by name, and
//! `capture` has recordings.
//!
//! # Logging
//!
//! A link that can't reach its peer keeps trying and returns no error, so the log is where a program
//! says what it waits for. It uses [`tracing`](https://docs.rs/tracing): install a subscriber, for
//! example `tracing_subscriber::fmt().with_writer(std::io::stderr).init()`. [`ConnectHandle::status`]
//! and [`Link::events`] have the same for the program itself.
//!
//! # Features
//!
//! | feature | brings |
//! |---|---|
//! | `tokio` (default) | links on tokio, in the root and in `runtime::tokio` |
//! | `std` | links that block, in `blocking`; the crate needs the standard library either way |
//! | `smol`, `async-std`, `futures-io` | links on these, in `runtime` |
//! | `capture` | `Setup::capture` and `capture`, to record what links do and to play it back |
//! | `aws-lc-rs` (default) | TLS by [aws-lc-rs](https://docs.rs/aws-lc-rs), with hybrid post-quantum key exchange; needs a C compiler |
//! | `ring` | TLS by [ring](https://docs.rs/ring); if both are enabled, aws-lc-rs is used |
//!
//! With neither of the last two, TLS uses the [provider] that the application has installed as
//! rustls's default before it loads its identity; without one, loading fails
//! ([`SetupError::NoProvider`]).
//!
//! # Which crate
//!
//! This one. The others are for special needs:
//!
//! - `countersign-compio`, for the compio runtime, which needs a newer Rust than this crate
//!   supports;
//! - `countersign-certs`, which makes identities, and `countersign-cli`, the program;
//! - `countersign-driver`, for a backend for another runtime;
//! - `countersign-endpoint`, for applications with their own loop: ciphertext in, messages out, no
//!   I/O;
//! - `countersign-core`, for everything else: `no_std`, no TLS, no clock.
//!
//! [provider]: https://docs.rs/rustls/latest/rustls/crypto/struct.CryptoProvider.html#method.install_default

#[cfg(feature = "capture")]
pub mod capture;
#[cfg(all(doc, not(doctest)))]
pub mod guide;
pub mod prelude;
pub mod runtime;

pub use countersign_driver::api::*;
#[cfg(feature = "tokio")]
pub use countersign_tokio::{
    SecureStream, connect, connect_with, link_over, listen, listen_over, listen_with, pair,
    secure_connect, secure_over, secure_over_with, start_connect, start_connect_with,
};
#[cfg(all(unix, feature = "tokio"))]
pub use countersign_tokio::{connect_unix, listen_unix, start_connect_unix};

/// Links for programs without a runtime: the same names, and methods that block.
///
/// A separate thread drives each link. The handles here ([`Link`](blocking::Link),
/// [`Sender`](blocking::Sender) and so on) differ from those in the root; all other types, from
/// [`Config`] to [`Verdict`], are the same.
#[cfg(feature = "std")]
pub mod blocking {
    pub use countersign_std::*;
}
