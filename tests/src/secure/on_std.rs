//! Streams of countersign-std.

use std::io::{self, BufRead, Read, Write};
use std::net::{SocketAddr, TcpStream};

use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::Fingerprint;
use countersign_std as backend;

use super::{Backend, Sink, Source, Stream};
use crate::on_std::Std;

/// Something of the standard library's traits.
struct Plain<T>(T);

impl Backend for Std {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(Plain(backend::secure_connect(address, setup)?)))
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let stream = backend::secure_over_with(socket, role, setup, already_read)?;
        Ok(Box::new(Plain(stream)))
    }
}

impl<R: BufRead + Send> Source for Plain<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact(buffer)
    }
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.0.read_to_end(bytes)
    }
    fn read_until(&mut self, byte: u8, limit: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        (&mut self.0).take(limit).read_until(byte, bytes)
    }
    fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        self.0.read_line(line)
    }
}

impl Sink for Plain<backend::SecureStream> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown()
    }
}

impl Sink for Plain<backend::WriteHalf> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown()
    }
}

impl Stream for Plain<backend::SecureStream> {
    fn close(&mut self) -> io::Result<()> {
        self.0.close()
    }
    fn split(self: Box<Self>) -> (Box<dyn Source>, Box<dyn Sink>) {
        let (read, write) = self.0.split();
        (Box::new(Plain(read)), Box::new(Plain(write)))
    }
    fn peer(&self) -> Option<Fingerprint> {
        self.0.peer()
    }
    fn peer_name(&self) -> Option<&str> {
        self.0.peer_name()
    }
    fn cipher(&self) -> Option<&'static str> {
        self.0.cipher()
    }
}
