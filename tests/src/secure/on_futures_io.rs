//! Streams of countersign-futures-io, as smol and async-std have them too, and whatever else
//! implements the traits of futures-io.

use std::io;
use std::net::{SocketAddr, TcpStream};

use async_io::Async;
use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::Fingerprint;
use countersign_futures_io::{self as futures_io, SecureStream, Socket};
use futures_util::io::{
    AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader,
};

use super::{Backend, Sink, Source, Stream};
use crate::handles::block_on;
use crate::on_async_std::AsyncStd;
use crate::on_futures_io::{FuturesIo, Tasks};
use crate::on_smol::Smol;

/// Something of futures-io's, used by a thread that blocks.
struct Blocking<T>(T);

/// What a future of a secure stream gives.
fn stream<S>(
    future: impl Future<Output = io::Result<SecureStream<S>>>,
) -> io::Result<Box<dyn Stream>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Ok(Box::new(Blocking(block_on(future)?)))
}

impl Backend for FuturesIo {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        let tasks = Tasks::in_threads();
        stream(futures_io::secure_connect(&tasks, address, setup))
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let (tasks, socket) = (Tasks::in_threads(), Socket(Async::new(socket)?));
        stream(futures_io::secure_over_with(
            &tasks,
            socket,
            role,
            setup,
            already_read,
        ))
    }
}

impl Backend for Smol {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        stream(countersign_smol::secure_connect(address, setup))
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let socket = smol::net::TcpStream::try_from(socket)?;
        stream(countersign_smol::secure_over_with(
            socket,
            role,
            setup,
            already_read,
        ))
    }
}

impl Backend for AsyncStd {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        stream(countersign_async_std::secure_connect(address, setup))
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let socket = Socket(async_std::net::TcpStream::from(socket));
        stream(countersign_async_std::secure_over_with(
            socket,
            role,
            setup,
            already_read,
        ))
    }
}

impl<R: AsyncBufRead + Unpin + Send> Source for Blocking<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        block_on(self.0.read(buffer))
    }
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        block_on(self.0.read_exact(buffer))
    }
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        block_on(self.0.read_to_end(bytes))
    }
    fn read_until(&mut self, byte: u8, limit: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        block_on((&mut self.0).take(limit).read_until(byte, bytes))
    }
    fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        block_on(self.0.read_line(line))
    }
}

impl<W: AsyncWrite + Unpin + Send> Sink for Blocking<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        block_on(self.0.write_all(bytes))
    }
    fn flush(&mut self) -> io::Result<()> {
        block_on(self.0.flush())
    }
    fn shutdown(&mut self) -> io::Result<()> {
        block_on(AsyncWriteExt::close(&mut self.0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> Stream for Blocking<SecureStream<S>> {
    fn close(&mut self) -> io::Result<()> {
        block_on(self.0.close())
    }
    fn split(self: Box<Self>) -> (Box<dyn Source>, Box<dyn Sink>) {
        let (read, write) = self.0.split();
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
