//! One non-blocking TCP socket, and what it was last found ready for.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::time::Duration;

use countersign_core::{Config, Mode, Policy};
use countersign_endpoint::Buffer;
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::SockRef;

/// How much room to make for one read, in bytes.
const READ: usize = 16 * 1024;

/// The most that Linux takes for a time-out: it keeps milliseconds in 31 bits.
#[cfg(any(target_os = "linux", target_os = "android"))]
const LONGEST_TIMEOUT: Duration = Duration::from_millis(0x7FFF_FFFF);

/// A socket that the poller watches.
///
/// The poller tells of a change only (it is edge-triggered), so what it has told is remembered
/// until the system says that there is nothing more to do.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    readable: bool,
    writable: bool,
}

impl Socket {
    /// Begins to open a connection.
    pub(crate) fn connect(
        address: SocketAddr,
        config: &Config,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        Self::new(TcpStream::connect(address)?, config, registry, token)
    }

    /// A connection that is being opened, or was accepted.
    pub(crate) fn new(
        mut stream: TcpStream,
        config: &Config,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        prepare(&stream, config)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            readable: false,
            writable: false,
        })
    }

    /// From here on the poller reports this socket by another name.
    pub(crate) fn rename(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.reregister(&mut self.stream, token, interest)
    }

    /// What the poller has found.
    pub(crate) fn note(&mut self, event: &Event) {
        self.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether the connection stands; `None` while it is not known.
    pub(crate) fn opened(&self) -> Option<io::Result<()>> {
        if !self.writable {
            return None;
        }
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
        }
        match self.stream.peer_addr() {
            // Nobody listens at a port of this machine's, and the system gave the connection just that.
            Ok(peer) if self.stream.local_addr().is_ok_and(|local| local == peer) => {
                Some(Err(io::ErrorKind::ConnectionRefused.into()))
            }
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    /// Whether there may be room for something to write.
    pub(crate) fn is_writable(&self) -> bool {
        self.writable
    }

    /// Appends what there is to `buffer`; `None` when there is nothing now.
    pub(crate) fn read(&mut self, buffer: &mut Buffer) -> Option<io::Result<usize>> {
        let result = try_now(&mut self.readable, || {
            self.stream.read(&mut buffer.space(READ)[..])
        });
        if let Some(Ok(count)) = result {
            buffer.commit(count);
        }
        result
    }

    /// Sends from the front of `buffer`; `None` when the system takes nothing now.
    pub(crate) fn write(&mut self, buffer: &mut Buffer) -> Option<io::Result<usize>> {
        let result = try_now(&mut self.writable, || self.stream.write(buffer.filled()));
        if let Some(Ok(count)) = result {
            buffer.consume(count);
        }
        result
    }

    /// Ends this end's direction. That can fail only where the connection is gone, and then
    /// reading tells.
    pub(crate) fn shut_down(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

fn try_now<T>(ready: &mut bool, mut call: impl FnMut() -> io::Result<T>) -> Option<io::Result<T>> {
    while *ready {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => *ready = false,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return Some(result),
        }
    }
    None
}

/// Sets a socket to what a link with this declaration needs.
fn prepare(stream: &TcpStream, config: &Config) -> io::Result<()> {
    // The core decides what travels together: acknowledgements must not wait for company.
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    // The link's pings do not go out while the system takes nothing, so the system has to notice
    // a dead peer by itself then.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    socket.set_tcp_user_timeout(Some(config.waits().give_up.min(LONGEST_TIMEOUT)))?;
    let latest = config
        .channels()
        .iter()
        .any(|channel| channel.mode() == Mode::Send && channel.policy() == Some(Policy::Latest));
    if latest {
        // What waits in the system can't be replaced by something newer any more.
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        socket.set_tcp_notsent_lowat(16_384)?;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        socket.set_send_buffer_size(32_768)?;
    }
    Ok(())
}
