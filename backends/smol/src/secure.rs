//! Secure streams: bytes between two pinned ends.

use std::io;

use countersign_core::Role;
use countersign_driver::{Address, AddressError, StreamSetup};
use countersign_futures_io as shared;
use countersign_futures_io::SecureStream;
use smol::io::{AsyncRead, AsyncWrite};
use smol::net::TcpStream;

use crate::connect::look_up;
use crate::runtime::Smol;

/// Opens a TCP connection and secures it, as its opener: see [`secure_over`].
///
/// Of several addresses the first that answers is taken, as by [`open`](countersign_driver::open)
/// (RFC 8305). Looking the name up, connecting and the handshake may each take
/// [`StreamSetup::handshake_limit`]. Records go out at once (`TCP_NODELAY`). There is one attempt.
///
/// Cancel-safe: dropping the future gives the connection up.
///
/// # Errors
///
/// What the operating system says of each address, and as for [`secure_over`].
pub async fn secure_connect(
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &StreamSetup,
) -> io::Result<SecureStream<TcpStream>> {
    let lookup = look_up(Address::of_peer(address)?);
    shared::secure_connect(&Smol, lookup, TcpStream::connect, setup).await
}

/// Secures a stream that is open: of the two ends, one is the opener and one the acceptor.
///
/// An accepting program calls it with [`Role::Acceptor`] for what its `TcpListener` has accepted,
/// in a task for each, so that a peer that stalls holds up nobody else.
///
/// Closing the stream must end this end's direction, and leave the other to be read. What it may
/// have carried before, how long it takes, and what dropping the future does is as for
/// [`countersign_futures_io::secure_over`].
///
/// # Errors
///
/// As there.
pub async fn secure_over<S>(
    stream: S,
    role: Role,
    setup: &StreamSetup,
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    secure_over_with(stream, role, setup, &[]).await
}

/// As [`secure_over`], where `already_read` is what the caller has read from the stream beyond the
/// point where TLS begins.
///
/// # Errors
///
/// As for [`secure_over`].
pub async fn secure_over_with<S>(
    stream: S,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    shared::secure_over_with(&Smol, stream, role, setup, already_read).await
}
