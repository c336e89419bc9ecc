//! countersign for blocking code: threads and sockets, no runtime.
//!
//! [`connect`] and [`listen`] give a [`Link`] for each peer. Its types can be used from any
//! thread; their methods block, most of them also with a time limit. A thread of its own drives
//! each link, so pings are answered and acknowledgements arrive while the application is busy
//! elsewhere. An idle link's thread sleeps in the operating system.
//!
//! ```
//! use countersign_std::core::{ChannelConfig, CloseMode, Config};
//! use countersign_std::endpoint::Security;
//! use countersign_std::{Setup, connect, listen};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Plain for the sake of a short example: see `Security::tls` for links that matter.
//! let robot = Config::new().channel(ChannelConfig::receive("commands"));
//! let robot = Setup::new(robot, Security::plaintext())?;
//! let operator = Config::new().channel(ChannelConfig::send("commands"));
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

mod block;
mod connect;
mod incoming;
mod link;
mod listener;
mod lookup;
mod receiver;
mod runtime;
mod secure;

#[cfg(unix)]
pub use connect::connect_unix;
pub use connect::{Socket, connect, link_over, pair};
pub use incoming::Incoming;
pub use link::{BatchReceipt, Link, Receipt, Sender};
#[cfg(unix)]
pub use listener::listen_unix;
pub use listener::{Listener, listen, listen_with};
pub use receiver::{ManualReceiver, Receiver};
pub use secure::{
    ReadHalf, SecureStream, WriteHalf, secure_connect, secure_over, secure_over_with,
};

pub use countersign_driver::api::{common::*, core, endpoint};
