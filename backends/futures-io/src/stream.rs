//! The streams of futures-io as transports.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_driver::{READ, StreamSocket, Transport};
use countersign_endpoint::Buffer;
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

/// Any stream of futures-io as a transport, such as the sockets of a
/// [`TcpRuntime`](crate::TcpRuntime).
#[derive(Debug)]
pub struct Stream<S>(
    /// The stream of the runtime.
    pub S,
);

impl<S> Stream<S> {
    pub(crate) fn get_ref(&self) -> &S {
        &self.0
    }
}

impl<S> StreamSocket for Stream<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Transport for Stream<S> {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.fill(READ, |space| {
            Pin::new(&mut self.0).poll_read(context, space)
        })
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        buffer.drain(|bytes| Pin::new(&mut self.0).poll_write(context, bytes))
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}
