//! Opens links.

use std::future::Future;
use std::io;
#[cfg(unix)]
use std::path::PathBuf;

use countersign_core::Role;
use countersign_endpoint::SetupError;

use crate::address::{Address, AddressError};
use crate::address_dialer::address_dialer;
use crate::connecting::Connecting;
use crate::dial::Dial;
use crate::driver::Driver;
use crate::error::LinkError;
use crate::link::Link;
use crate::memory::memory;
#[cfg(unix)]
use crate::open::with_address;
#[cfg(unix)]
use crate::runtime::Addressed;
#[cfg(unix)]
use crate::runtime::UnixRuntime;
use crate::runtime::{Runtime, TcpRuntime};
use crate::setup::Setup;
use crate::sleep_timer::SleepTimer;
use crate::transport::Transport;
#[cfg(unix)]
use crate::unix::to_absolute;

/// Begins to connect over TCP, to one of the addresses of a name.
///
/// # Errors
///
/// An invalid address. The system provides no randomness, or nothing to run the link on.
pub fn start_connect<R: TcpRuntime>(
    runtime: &R,
    address: impl TryInto<Address, Error: Into<AddressError>>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let address = Address::of_peer(address).map_err(LinkError::unusable)?;
    let setup = timed(runtime, setup);
    let dialer = address_dialer(runtime.clone(), address, setup.clone());
    drive(runtime, Connecting::dial_with(&setup, dialer))
}

/// Begins to connect over a Unix socket.
///
/// # Errors
///
/// As for [`start_connect`], but for addresses.
#[cfg(unix)]
pub fn start_connect_unix<R: UnixRuntime>(
    runtime: &R,
    path: impl Into<PathBuf>,
    setup: &Setup,
) -> Result<Connecting, LinkError> {
    let (theirs, path) = (runtime.clone(), to_absolute(&path.into()));
    let open = move || {
        let (runtime, path) = (theirs.clone(), path.clone());
        async move {
            let connected = runtime.connect_unix(&path).await;
            let stream = connected.map_err(|error| with_address(path.display(), &error))?;
            Ok(Addressed::new(stream))
        }
    };
    start_connect_with(runtime, open, setup)
}

/// Begins to connect over transports that `open` opens: one now, and another for each reconnect.
/// `open` must apply its own time limit.
///
/// # Errors
///
/// As for [`start_connect`], but for addresses.
pub fn start_connect_with<R, T, F>(
    runtime: &R,
    open: impl FnMut() -> F + Send + 'static,
    setup: &Setup,
) -> Result<Connecting, LinkError>
where
    R: Runtime,
    T: Transport + Send + 'static,
    F: Future<Output = io::Result<T>> + Send + 'static,
{
    drive(runtime, Connecting::dial(&timed(runtime, setup), open))
}

/// Begins a link over a transport that is already open. The link ends with the transport.
///
/// # Errors
///
/// As for [`start_connect`], but for addresses.
pub fn start_over<R, T>(
    runtime: &R,
    transport: T,
    role: Role,
    setup: &Setup,
) -> Result<Connecting, LinkError>
where
    R: Runtime,
    T: Transport + Send + 'static,
{
    let setup = timed(runtime, setup);
    drive(runtime, Connecting::over(&setup, role, transport))
}

/// Makes a link between two declarations in one process.
///
/// # Errors
///
/// The reason why there is no link.
pub async fn pair<R: Runtime>(
    runtime: &R,
    opener: &Setup,
    acceptor: &Setup,
) -> Result<(Link, Link), LinkError> {
    let (near, far) = memory();
    let opening = start_over(runtime, near, Role::Opener, opener)?;
    let accepting = start_over(runtime, far, Role::Acceptor, acceptor)?;
    Ok((opening.await?, accepting.await?))
}

/// Returns the setup with the runtime's clock.
fn timed(runtime: &impl Runtime, setup: &Setup) -> Setup {
    setup.clone().timed_by(runtime.clock())
}

/// Spawns a task that drives the link.
fn drive<R: Runtime, D: Dial<Transport: Send> + Send + 'static>(
    runtime: &R,
    made: Result<(Connecting, Driver<D>), SetupError>,
) -> Result<Connecting, LinkError> {
    let (connecting, driver) =
        made.map_err(|error| LinkError::transport(io::Error::other(error)))?;
    let task = driver.run(SleepTimer::new(runtime));
    let spawned = runtime.spawn("countersign-link", task);
    spawned.map_err(LinkError::transport)?;
    Ok(connecting)
}
