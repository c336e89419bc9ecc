//! Streams of countersign-compio, which stay in the thread of its runtime.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::marker::PhantomData;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use compio::BufResult;
use compio::io::util::Splittable;
use compio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use countersign_compio::{ReadHalf, SecureStream, WriteHalf};
use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::Fingerprint;

use super::{Backend, Sink, Source, Stream};
use crate::on_compio::{Compio, RuntimeThread};

type Socket = compio::net::TcpStream;

thread_local! {
    /// What is in the runtime's thread, by number.
    static KEPT: RefCell<HashMap<u64, Box<dyn Any>>> = RefCell::default();
}

/// A value in a runtime's thread, used by a thread that blocks.
struct Remote<T: 'static> {
    thread: Arc<RuntimeThread>,
    number: u64,
    /// What the peer is called.
    name: Option<String>,
    kept: PhantomData<fn() -> T>,
}

impl<T: 'static> Remote<T> {
    /// To be called in the runtime's thread.
    fn keep(thread: Arc<RuntimeThread>, value: T) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        put(number, Box::new(value));
        Self {
            thread,
            number,
            name: None,
            kept: PhantomData,
        }
    }

    fn call<R: Send + 'static>(&self, job: impl AsyncFnOnce(&mut T) -> R + Send + 'static) -> R {
        let number = self.number;
        self.thread.run(move || async move {
            let mut value: Box<T> = take(number);
            let result = job(&mut value).await;
            put(number, value);
            result
        })
    }
}

impl<T: 'static> Drop for Remote<T> {
    fn drop(&mut self) {
        let number = self.number;
        self.thread.run(move || async move {
            let kept = KEPT.with_borrow_mut(|kept| kept.remove(&number));
            drop(kept);
        });
    }
}

fn put(number: u64, value: Box<dyn Any>) {
    KEPT.with_borrow_mut(|kept| kept.insert(number, value));
}

fn take<T: 'static>(number: u64) -> Box<T> {
    let kept = KEPT.with_borrow_mut(|kept| kept.remove(&number));
    kept.unwrap().downcast().unwrap()
}

/// Runs what makes a stream, and keeps that.
fn stream<F>(make: impl FnOnce() -> F + Send + 'static) -> io::Result<Box<dyn Stream>>
where
    F: Future<Output = io::Result<SecureStream<Socket>>> + 'static,
{
    // One for each stream, so that the work of others takes no time of its limits.
    let thread = Arc::new(RuntimeThread::start());
    let kept = thread.clone();
    let made = thread.run(move || async move {
        let stream = make().await?;
        let name = stream.peer_name().map(str::to_owned);
        let mut remote = Remote::keep(kept, stream);
        remote.name = name;
        Ok::<_, io::Error>(remote)
    });
    Ok(Box::new(made?))
}

impl Backend for Compio {
    fn connect(&self, address: SocketAddr, setup: &StreamSetup) -> io::Result<Box<dyn Stream>> {
        let setup = setup.clone();
        stream(move || async move { countersign_compio::secure_connect(address, &setup).await })
    }

    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>> {
        let (setup, already_read) = (setup.clone(), already_read.to_owned());
        stream(move || async move {
            let socket = Socket::from_std(socket)?;
            countersign_compio::secure_over_with(socket, role, &setup, &already_read).await
        })
    }
}

impl<R: AsyncRead + 'static> Remote<R> {
    /// Reads until a byte and with it, but no more than `limit` bytes.
    fn until(&self, byte: u8, limit: u64) -> io::Result<Vec<u8>> {
        self.call(async move |reader| {
            let mut bytes = Vec::new();
            while (bytes.len() as u64) < limit && bytes.last() != Some(&byte) {
                let BufResult(count, next) = reader.read([0]).await;
                match count? {
                    0 => break,
                    _ => bytes.push(next[0]),
                }
            }
            Ok(bytes)
        })
    }
}

impl<R: AsyncRead + 'static> Source for Remote<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let memory = vec![0; buffer.len()].into_boxed_slice();
        let BufResult(count, memory) = self.call(async move |reader| reader.read(memory).await);
        let count = count?;
        buffer[..count].copy_from_slice(&memory[..count]);
        Ok(count)
    }
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let memory = vec![0; buffer.len()].into_boxed_slice();
        let read = self.call(async move |reader| reader.read_exact(memory).await);
        let BufResult(result, memory) = read;
        result?;
        buffer.copy_from_slice(&memory);
        Ok(())
    }
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let memory = std::mem::take(bytes);
        let read = self.call(async move |reader| reader.read_to_end(memory).await);
        *bytes = read.1;
        read.0
    }
    fn read_until(&mut self, byte: u8, limit: u64, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let more = self.until(byte, limit)?;
        bytes.extend_from_slice(&more);
        Ok(more.len())
    }
    fn read_line(&mut self, line: &mut String) -> io::Result<usize> {
        let more = self.until(b'\n', u64::MAX)?;
        let text = str::from_utf8(&more).map_err(|_| io::ErrorKind::InvalidData)?;
        line.push_str(text);
        Ok(more.len())
    }
}

impl<W: AsyncWrite + 'static> Sink for Remote<W> {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let bytes = bytes.to_owned();
        self.call(async move |writer| writer.write_all(bytes).await.0)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.call(async |writer| writer.flush().await)
    }
    fn shutdown(&mut self) -> io::Result<()> {
        self.call(async |writer| writer.shutdown().await)
    }
}

impl Stream for Remote<SecureStream<Socket>> {
    fn close(&mut self) -> io::Result<()> {
        self.call(async |stream| stream.close().await)
    }
    fn split(self: Box<Self>) -> (Box<dyn Source>, Box<dyn Sink>) {
        let (number, kept) = (self.number, self.thread.clone());
        let (read, write) = self.thread.run(move || async move {
            let stream: Box<SecureStream<Socket>> = take(number);
            let (read, write): (ReadHalf<Socket>, WriteHalf<Socket>) = stream.split();
            (Remote::keep(kept.clone(), read), Remote::keep(kept, write))
        });
        (Box::new(read), Box::new(write))
    }
    fn peer(&self) -> Option<Fingerprint> {
        self.call(async |stream| stream.peer())
    }
    fn peer_name(&self) -> Option<&str> {
        self.name.as_deref()
    }
    fn cipher(&self) -> Option<&'static str> {
        self.call(async |stream| stream.cipher())
    }
}
