//! A stream of its owner's, over which bytes are moved.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

/// A stream of bytes in both directions that does not block: where it would, it says
/// [`WouldBlock`](io::ErrorKind::WouldBlock). It is not flushed.
pub trait Stream: Read + Write {
    /// Ends this end's direction, as `shutdown(Shutdown::Write)` does with a socket.
    ///
    /// # Errors
    ///
    /// Whatever the operating system says. The connection is gone then, and reading tells.
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
