//! Streams of countersign-tokio, and whatever else implements tokio's traits.

use std::io;
use std::net::{SocketAddr, TcpStream};

use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::Fingerprint;
use countersign_tokio as backend;
use tokio::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, split,
};

use super::{Backend, Sink, Source, Stream};
use crate::on_tokio::{RUNTIME, Tokio};

/// Something of tokio's, used from outside of its runtime.
struct Blocking<T>(T);

type Secured = backend::SecureStream<tokio::net::TcpStream>;

impl Backend for Tokio {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        let stream = RUNTIME.block_on(backend::secure_connect(address, setup))?;
        Ok(Box::new(Blocking(stream)))
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        socket.set_nonblocking(true)?;
        let stream = RUNTIME.block_on(async {
            let socket = tokio::net::TcpStream::from_std(socket)?;
            backend::secure_over_with(socket, role, setup, already_read).await
        })?;
        Ok(Box::new(Blocking(stream)))
    }
}

impl<R: AsyncBufRead + Unpin + Send> Source for Blocking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        RUNTIME.block_on(self.0.read(buffer))
    }
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        RUNTIME.block_on(self.0.read_exact(buffer)).map(drop)
    }
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        RUNTIME.block_on(self.0.read_to_end(bytes))
    }
    fn read_until(&mut self, byte: u8, limit: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let mut limited = (&mut self.0).take(limit);
        RUNTIME.block_on(limited.read_until(byte, bytes))
    }
    fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        RUNTIME.block_on(self.0.read_line(line))
    }
}

impl<W: AsyncWrite + Unpin + Send> Sink for Blocking<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        RUNTIME.block_on(self.0.write_all(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        RUNTIME.block_on(self.0.flush())
    }
    fn shutdown(&mut self) -> io::Result<()> {
        RUNTIME.block_on(self.0.shutdown())
    }
}

impl Stream for Blocking<Secured> {
    fn close(&mut self) -> io::Result<()> {
        RUNTIME.block_on(self.0.close())
    }
    fn split(self: Box<Self>) -> (Box<dyn Source>, Box<dyn Sink>) {
        let (read, write) = split(self.0);
        (
            Box::new(Blocking(BufReader::new(read))),
            Box::new(Blocking(write)),
        )
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
