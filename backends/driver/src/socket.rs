//! What every TCP socket of a link is set to.

use std::io;

use countersign_core::{Config, Mode, Policy};
use socket2::SockRef;

/// How much may wait in the kernel unsent when a channel is `Latest`, in bytes: one TLS record.
const LATEST_UNSENT: u32 = 16_384;

/// Sets a TCP socket to what a link with this declaration needs.
///
/// # Errors
///
/// What the operating system says.
pub fn prepare_socket(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    // The core decides what travels together. Short frames, acknowledgements above all, must not
    // wait in the kernel for company.
    socket.set_tcp_nodelay(true)?;
    let has_latest = config
        .channels()
        .iter()
        .any(|channel| channel.mode() == Mode::Send && channel.policy() == Some(Policy::Latest));
    if has_latest {
        limit_unsent(socket)?;
    }
    Ok(())
}

/// Keeps the kernel from taking more than it can send soon: what waits there can no longer be
/// replaced by something newer.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn limit_unsent(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(LATEST_UNSENT)
}

/// Elsewhere a small send buffer has to do.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn limit_unsent(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_send_buffer_size(2 * LATEST_UNSENT as usize)
}
