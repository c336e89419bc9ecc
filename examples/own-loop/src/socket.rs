//! A socket that the poller watches.

use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;

use countersign_core::Config;
use countersign_endpoint::{LinkId, Stream};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
#[cfg(target_os = "linux")]
use {socket2::SockRef, std::time::Duration};

/// A non-blocking TCP socket.
#[derive(Debug)]
pub struct Socket(pub TcpStream);

impl Socket {
    /// Configures a socket for a link with this declaration, and registers it with the poller.
    pub(crate) fn new(
        mut socket: TcpStream,
        config: &Config,
        registry: &Registry,
        id: LinkId,
    ) -> io::Result<Self> {
        // The core decides what is sent together: acknowledgements must not wait for more data.
        socket.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        prepare(&SockRef::from(&socket), config)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, Token(id.0), interest)?;
        Ok(Self(socket))
    }

    /// Returns whether the connection that is being opened is established.
    pub(crate) fn stands(&self) -> io::Result<bool> {
        if let Some(error) = self.0.take_error()? {
            return Err(error);
        }
        match self.0.peer_addr() {
            // Nothing listens at this local port, and the system chose it for our end.
            Ok(peer) if peer == self.0.local_addr()? => Err(ErrorKind::ConnectionRefused.into()),
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(false),
            result => result.map(|_| true),
        }
    }
}

/// Sets what Linux offers for links.
#[cfg(target_os = "linux")]
fn prepare(socket: &SockRef<'_>, config: &Config) -> io::Result<()> {
    // The link's pings do not go out while the system takes nothing, so the system has to detect a
    // dead peer by itself then. It keeps that time in 31 bits, in milliseconds.
    let longest = Duration::from_millis(0x7FFF_FFFF);
    let silence = config.get_timeouts().give_up.min(longest);
    socket.set_tcp_user_timeout(Some(silence))?;
    // What waits in the system can't be replaced, expire or be overtaken any more.
    socket.set_tcp_notsent_lowat(16_384)
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Stream for Socket {
    fn end(&mut self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}
