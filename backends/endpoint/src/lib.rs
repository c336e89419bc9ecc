//! Identities, pins and TLS around the countersign core, still without I/O.
//!
//! The security half, in the order in which it is used:
//! - [`Identity`]: this end's identity. [`Pins`], or by choice an [`Authority`]: the peers that it
//!   accepts.
//! - [`Security`]: both combined, for all of a link's connections.
//! - [`Connection`]: one of these. Ciphertext in, plaintext out, and the other way round.
//! - [`SetupError`] covers what can be wrong before there is a connection, [`SecurityError`] what
//!   can go wrong afterwards.
//!
//! With the core, for applications that drive links without a backend:
//! - [`Endpoint`]: a connection of a link. Ciphertext in, messages out; or all the work on a
//!   non-blocking [`Stream`]. `docs/custom-runtime.md` explains how to use it.
//! - [`Links`]: any number of links over such streams, opened and accepted: the application's loop
//!   only opens and accepts the streams, and reports when they are ready.
//! - [`LinkError`]: why there is no link, for display, from an [`ErrorContext`].
//!
//! TLS 1.3 only; both ends present a certificate and verify the other's, and there is no 'accept
//! anyone'. rustls is hidden: none of its types is public.
//!
//! # Features
//!
//! `aws-lc-rs` (default) and `ring` select the cryptographic provider of TLS, `aws-lc-rs` if both
//! are enabled. With neither, it is the rustls provider that the application has installed as the
//! process's default before it loads an identity; without one, loading an identity fails with
//! [`SetupError::NoProvider`].
//!
//! ```
//! use countersign_certs::NewIdentity;
//! use countersign_endpoint::{Connection, Identity, Pin, Received, Security, SecurityError};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Two machines, each with an identity and a pin of the other's.
//! let (robot, station) = (NewIdentity::new("robot").generate()?, NewIdentity::new("station").generate()?);
//! let identity = Identity::from_pem(robot.certificate_pem().as_bytes(), robot.key_pem().as_bytes())?;
//! let on_robot = Security::tls(identity, Pin::certificate(station.certificate_der())?).build()?;
//! let identity = Identity::from_der(station.certificate_der(), station.key_der())?;
//! let on_station = Security::tls(identity, robot.fingerprint()).build()?;
//!
//! // Carries the output of one to the other, as a network would, and collects the data.
//! fn carry(from: &mut Connection, to: &mut Connection) -> Result<Vec<u8>, SecurityError> {
//!     let mut wire = vec![0; from.pending_len()];
//!     from.write_pending(&mut wire);
//!     receive(to, &mut wire)
//! }
//! fn receive(to: &mut Connection, wire: &mut [u8]) -> Result<Vec<u8>, SecurityError> {
//!     let mut data = Vec::new();
//!     to.read(wire, &mut |received| match received {
//!         Received::Data(bytes) => data.extend_from_slice(bytes),
//!         Received::Secured { .. } | Received::End => {}
//!     })?;
//!     Ok(data)
//! }
//!
//! let mut left = Connection::connect(&on_station)?;
//! let mut right = Connection::accept(&on_robot)?;
//! while !(left.may_write() && right.may_write()) {
//!     carry(&mut left, &mut right)?;
//!     carry(&mut right, &mut left)?;
//! }
//! let mut wire = vec![0; left.ciphertext_len(7)];
//! let count = left.write(b"forward", &mut wire)?;
//! assert_eq!(receive(&mut right, &mut wire[..count])?, b"forward");
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//! Each file has one subject: `fingerprint`, `identity`, `pin`, `pins` (grouped by peer),
//! `pin_file`, `peer_list` and `peer_name` (their file formats), `peer` (an authenticated peer),
//! `trust` (pins or an authority), `verify` (the verifier that rustls calls), `endpoint` (a link's
//! connection),
//! `security` (settings of a link), `connection` over `tls` and `plain`, `error` and `alert`,
//! `link_error` (why a link ended), `links` and `stream` (many links in one loop), `translate`
//! (from rustls's errors), `setup_error`, `certificate` (what is read from one) and `pem`.

mod alert;
mod buffer;
mod certificate;
mod connection;
mod crypto;
mod endpoint;
mod error;
mod event;
mod files;
mod fingerprint;
mod identity;
mod link_error;
mod links;
mod peer;
mod peer_list;
mod peer_name;
mod peers;
mod pem;
mod pin;
mod pin_file;
mod pins;
mod plain;
mod received;
mod security;
mod settings;
mod setup_error;
mod stream;
mod tls;
mod translate;
mod trust;
mod verify;
mod watch;

pub use alert::Alert;
pub use buffer::Buffer;
pub use connection::Connection;
pub use endpoint::{Endpoint, ToSend};
pub use error::{Blame, PlainProtocol, Reason, SecurityError};
pub use event::{Cause, EndpointEvent};
pub use files::SecurityFiles;
pub use fingerprint::{Fingerprint, ParseFingerprintError};
pub use identity::{Identity, IdentityWarning};
pub use link_error::{ErrorContext, FailureKind, LinkError};
pub use links::{LinkId, Links, LinksEvent, ListenerId};
pub use peer::Peer;
pub use pin::{Pin, ValidityDates};
pub use pins::{PinnedPeer, Pins};
pub use received::{MAX_RECORD, Received};
pub use security::{ALPN_COUNTERSIGN, NamedPin, Replaced, Security, TlsBuilder, random_seed};
pub use setup_error::{Origin, SetupError};
pub use stream::Stream;
pub use trust::{Authority, Trust};
pub use watch::Watch;
