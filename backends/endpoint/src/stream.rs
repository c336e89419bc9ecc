//! The streams that applications with their own loop provide.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A non-blocking stream of bytes in both directions: instead of blocking, it returns
/// [`WouldBlock`](io::ErrorKind::WouldBlock). It is not flushed.
pub trait Stream: Read + Write {
    /// Shuts down this end's direction, as `shutdown(Shutdown::Write)` does on a socket.
    ///
    /// # Errors
    ///
    /// The operating system's error. The connection is gone then, which reading reports.
    fn end(&mut self) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

#[cfg(unix)]
impl Stream for std::os::unix::net::UnixStream {
    fn end(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}
