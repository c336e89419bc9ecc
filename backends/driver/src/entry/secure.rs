//! Opens secure streams: bytes between two pinned ends.

use std::io;
use std::time::Duration;

use countersign_core::Role;

use crate::address::{Address, AddressError};
use crate::open::open;
use crate::runtime::{Runtime, StreamSocket, TcpRuntime};
use crate::secure::{SecureStream, StreamSetup};
use crate::sleep_timer::SleepTimer;
use crate::transport::Transport;

/// Opens a TCP connection to the first of a name's addresses that answers, with `TCP_NODELAY` set.
/// The look-up and the connection may take `limit` each.
///
/// # Errors
///
/// The operating system's error for each address.
pub async fn open_tcp<R: TcpRuntime>(
    runtime: &R,
    address: impl TryInto<Address, Error: Into<AddressError>>,
    limit: Duration,
) -> io::Result<R::TcpStream> {
    let address = Address::of_peer(address)?;
    let lookup = address.resolve(|host, port| runtime.resolve(host, port));
    let connect = |address| runtime.connect_tcp(address);
    let stream = open(lookup, limit, SleepTimer::new(runtime), connect).await?;
    stream.socket().set_tcp_nodelay(true)?;
    Ok(stream)
}

/// Secures an open transport: [`SecureStream::establish`] with the runtime's timer.
///
/// # Errors
///
/// As for [`SecureStream::establish`].
pub async fn secure_over<R: Runtime, T: Transport>(
    runtime: &R,
    transport: T,
    role: Role,
    setup: &StreamSetup,
    already_read: &[u8],
) -> io::Result<SecureStream<T>> {
    let mut timer = SleepTimer::new(runtime);
    SecureStream::establish(transport, role, setup, already_read, &mut timer).await
}
