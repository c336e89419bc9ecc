//! Entry points to links, listeners and secure streams, shared by all runtimes.
//!
//! The functions here are generic over the [`Runtime`](crate::Runtime) and take transports.
//! [`functions!`](crate::functions) and [`secure_functions!`](crate::secure_functions) generate
//! what a crate's users call: the same names for the crate's runtime and kind of streams, with
//! their documentation. A crate whose handles block defines its functions by hand on top of these,
//! and takes the documentation from [`shared_doc!`](crate::shared_doc).

mod connect;
mod docs;
mod functions;
mod listen;
mod secure;

#[cfg(unix)]
pub use connect::start_connect_unix;
pub use connect::{pair, start_connect, start_connect_with, start_over};
#[cfg(unix)]
pub use listen::listen_unix;
pub use listen::{listen, listen_over};
pub use secure::{open_tcp, secure_over};
