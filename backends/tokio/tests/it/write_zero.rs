//! A stream that takes no bytes and says nothing of an error.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_tokio::{Config, EndReason, Loss, Role, Security, SendChannel, Setup, link_over};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Takes nothing, and its peer has ended its direction.
struct Full;

impl AsyncRead for Full {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Full {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(0))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What this end's own stream does is not the peer's end.
#[tokio::test]
async fn a_stream_that_takes_no_more_bytes_is_told_of_as_such() {
    let config = Config::new().channel(SendChannel::new("main"));
    let setup = Setup::new(config, Security::plaintext()).unwrap();
    let error = link_over(Full, Role::Opener, &setup).await.unwrap_err();
    assert_eq!(
        error.io().map(io::Error::kind),
        Some(io::ErrorKind::WriteZero)
    );
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Transport));
    assert_eq!(
        error.to_string(),
        "the connection was lost: the transport takes no more bytes"
    );
}
