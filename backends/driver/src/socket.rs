//! What every TCP socket of a link is set to.

use std::io;
use std::time::Duration;

use countersign_core::{Config, Mode, Policy, Timeouts};
use socket2::{SockRef, TcpKeepalive};

/// How much may wait in the kernel unsent when a channel is `Latest`, in bytes: one TLS record.
const LATEST_UNSENT: u32 = 16_384;

/// How many times the kernel asks a silent peer before it gives the connection up.
const PROBES: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// The most that every system takes between two questions: Linux keeps seconds in 15 bits.
const LONGEST_PAUSE: Duration = Duration::from_secs(0x7FFF);
/// The most that Linux takes for a time-out: it keeps milliseconds in 31 bits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_TIMEOUT: Duration = Duration::from_millis(0x7FFF_FFFF);

/// Sets a TCP socket to what a link with this declaration needs.
///
/// # Errors
///
/// What the operating system says.
pub fn prepare_socket(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    // The core decides what travels together. Short frames, acknowledgements above all, must not
    // wait in the kernel for company.
    socket.set_tcp_nodelay(true)?;
    limit_silence(socket, config.get_timeouts())?;
    let has_latest = config
        .channels()
        .iter()
        .any(|channel| channel.mode() == Mode::Send && channel.policy() == Some(Policy::Latest));
    if has_latest {
        limit_unsent(socket)?;
    }
    Ok(())
}

/// Has the kernel notice a dead peer in the time that the link would give it: the link's own pings
/// do not go out while the transport takes nothing, and the tlsstream dialect has none.
fn limit_silence(socket: &SockRef<'_>, timeouts: &Timeouts) -> io::Result<()> {
    // The kernel counts in whole seconds, from one on.
    let seconds = |pause: Duration| pause.clamp(SECOND, LONGEST_PAUSE);
    let ping = seconds(timeouts.ping);
    let probes = seconds(timeouts.give_up.saturating_sub(timeouts.ping) / PROBES);
    let alive = TcpKeepalive::new().with_time(ping);
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    let alive = alive.with_interval(probes).with_retries(PROBES);
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    let _ = probes;
    socket.set_tcp_keepalive(&alive)?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(timeouts.give_up.min(LONGEST_TIMEOUT)))?;
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
