//! The options of a link's TCP sockets.

use std::io;
use std::time::Duration;

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
use countersign_core::{ChannelConfig, Mode, Policy};
use countersign_core::{Config, Timeouts};
use socket2::{SockRef, TcpKeepalive};

/// How much unsent data the kernel takes, in bytes: one TLS record.
const UNSENT: u32 = 16_384;

/// How many keepalive probes the kernel sends to a silent peer before it drops the connection.
const PROBES: u32 = 3;
const SECOND: Duration = Duration::from_secs(1);
/// The longest interval between two probes that every system accepts: Linux keeps seconds in 15
/// bits.
const LONGEST_PAUSE: Duration = Duration::from_secs(0x7FFF);
/// The longest time-out that Linux accepts: it keeps milliseconds in 31 bits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_TIMEOUT: Duration = Duration::from_millis(0x7FFF_FFFF);

/// Sets the options that a link with this declaration needs on a TCP socket.
///
/// # Errors
///
/// The operating system's error.
pub fn prepare_socket(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    // The core decides what is sent together. Short frames, acknowledgements above all, must not
    // wait in the kernel for more data.
    socket.set_tcp_nodelay(true)?;
    limit_silence(socket, config.get_timeouts())?;
    limit_unsent(socket, config)
}

/// Has the kernel detect a dead peer in the same time as the link would: the link's pings are not
/// sent while the transport takes nothing, and the tlsstream dialect has none.
fn limit_silence(socket: &SockRef<'_>, timeouts: &Timeouts) -> io::Result<()> {
    // The kernel counts in whole seconds, at least one.
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

/// Keeps the kernel from taking more than it can send soon: data in its buffer can't be superseded,
/// expire, or be overtaken by another channel. Every channel may have messages that expire, and a
/// listener may declare channels once it knows its peer.
#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
fn limit_unsent(socket: &SockRef<'_>, _: &Config) -> io::Result<()> {
    socket.set_tcp_notsent_lowat(UNSENT)
}

/// Sets a small send buffer where messages hurry, for want of a better option on other systems. It
/// also bounds what is on its way, so that a link over a long path is slow; a latency budget does
/// better.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn limit_unsent(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    let hurries = |channel: &ChannelConfig| {
        let is_latest = channel.policy() == Some(Policy::Latest);
        channel.mode() == Mode::Send && (is_latest || channel.is_urgent())
    };
    let has_budget = config.get_latency_budget().is_some();
    if !has_budget && config.channels().iter().any(hurries) {
        socket.set_send_buffer_size(2 * UNSENT as usize)?;
    }
    Ok(())
}
