//! countersign for blocking code: threads and sockets, no runtime.
//!
//! [`connect`] and [`listen`] return a [`Link`] for each peer. Its types can be used from any
//! thread; their methods block, most of them also with a time limit. A separate thread drives
//! each link, so pings are answered and acknowledgements arrive while the application is busy
//! elsewhere. An idle link's thread sleeps in the operating system.
//!
//! ```
//! use countersign_std::{
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
//! let listener = listen("127.0.0.1:0", robot)?;
//! let address = listener.local_addr();
//! let robot = std::thread::spawn(move || {
//!     let link = listener.accept().unwrap();
//!     let mut commands = link.receiver("commands").unwrap();
//!     while let Some(command) = commands.recv().unwrap() {
//!         assert_eq!(&command[..], b"forward");
//!     }
//! });
//!
//! let link = connect(address, &operator)?;
//! let commands = link.sender("commands")?;
//! let receipt = commands.send("forward")?;
//! assert!(receipt.wait().is_handled());
//! let report = link.close(CloseMode::Drain);
//! assert!(report.is_orderly());
//! robot.join().unwrap();
//! # Ok(())
//! # }
//! ```
//!
//! # Bytes instead of messages
//!
//! [`secure_connect`] and [`secure_over`] return a [`SecureStream`]: the same identities and pins,
//! with the standard library's traits for reading and writing. There are no messages, no receipts,
//! no thread, and no reconnection when the connection is lost.
//!
//! ```
//! use std::io::{BufRead, Read, Write};
//! use std::net::TcpListener;
//!
//! use countersign_certs::NewIdentity;
//! use countersign_std::{Identity, Role, Security, StreamSetup, secure_connect, secure_over};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two machines, each with an identity and a pin of the other's.
//! let (robot, station) = (NewIdentity::new("robot").generate()?, NewIdentity::new("station").generate()?);
//! let identity = Identity::from_der(robot.certificate_der(), robot.key_der())?;
//! let on_robot = StreamSetup::new(Security::tls(identity, station.fingerprint()).build()?);
//! let identity = Identity::from_der(station.certificate_der(), station.key_der())?;
//! let on_station = StreamSetup::new(Security::tls(identity, robot.fingerprint()).build()?);
//!
//! let listener = TcpListener::bind("127.0.0.1:0")?;
//! let address = listener.local_addr()?;
//! let serving = std::thread::spawn(move || -> std::io::Result<()> {
//!     let (socket, _) = listener.accept()?;
//!     // A server should use a thread for each: a handshake takes time, and a bad one longer.
//!     let mut stream = secure_over(socket, Role::Acceptor, &on_robot)?;
//!     let mut question = Vec::new();
//!     // No more than 1000 bytes, whatever arrives.
//!     (&mut stream).take(1000).read_until(b'\n', &mut question)?;
//!     stream.write_all(b"forward")?;
//!     stream.close()
//! });
//!
//! let mut stream = secure_connect(address, &on_station)?;
//! assert_eq!(stream.peer(), Some(robot.fingerprint()));
//! stream.write_all(b"where to?\n")?;
//! stream.shutdown()?;
//! let mut answer = Vec::new();
//! // A connection that just breaks off is an error, and never the end.
//! stream.read_to_end(&mut answer)?;
//! assert_eq!(answer, b"forward");
//! serving.join().unwrap()?;
//! # Ok(())
//! # }
//! ```

mod block;
mod connect;
mod connecting;
mod event_loop;
mod halves;
mod incoming;
mod lease;
mod link;
mod listener;
mod lookup;
mod receiver;
mod runtime;
mod secure;
mod timeout;

pub use connect::{Socket, connect, link_over, pair, start_connect};
#[cfg(unix)]
pub use connect::{connect_unix, start_connect_unix};
pub use connecting::{ConnectTimeoutError, Connecting};
pub use halves::link_over_halves;
pub use incoming::Incoming;
pub use lease::Lease;
pub use link::{BatchReceipt, Link, Receipt, Sender};
#[cfg(unix)]
pub use listener::listen_unix;
pub use listener::{Listener, listen, listen_with};
pub use receiver::{ManualReceiver, Receiver};
pub use secure::{
    ReadHalf, SecureStream, WriteHalf, secure_connect, secure_over, secure_over_with,
};
pub use timeout::{AcceptTimeoutError, RecvTimeoutError, WaitTimeoutError};

pub use countersign_driver::api::common::*;
