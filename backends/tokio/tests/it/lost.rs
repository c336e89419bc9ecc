//! What a link says of a connection that it has lost.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use countersign_tokio::{
    Config, LinkEvent, Loss, ReceiveChannel, Role, Security, SendChannel, Setup, connect_with,
    link_over,
};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::join;

/// A stream that fails where it would end.
struct Failing(DuplexStream);

impl AsyncRead for Failing {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.0).poll_read(context, buffer) {
            Poll::Ready(Ok(())) if buffer.filled().len() == before => {
                Poll::Ready(Err(io::Error::other("the cable was pulled")))
            }
            polled => polled,
        }
    }
}

impl AsyncWrite for Failing {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

#[tokio::test]
async fn with_the_words_of_the_transport() {
    let (near, far) = duplex(1000);
    let mut near = Some(Failing(near));
    let dial = move || {
        let near = near.take();
        async move {
            match near {
                Some(near) => Ok::<_, io::Error>(near),
                None => pending().await,
            }
        }
    };
    let setup = |config| Setup::new(config, Security::plaintext()).unwrap();
    let sending = setup(Config::new().channel(SendChannel::new("main")));
    let receiving = setup(Config::new().channel(ReceiveChannel::new("main")));
    let (opener, acceptor) = join!(
        connect_with(dial, &sending),
        link_over(far, Role::Acceptor, &receiving)
    );
    let opener = opener.unwrap();
    acceptor.unwrap().abandon();
    let Some(LinkEvent::Lost { loss, why }) = opener.event().await else {
        panic!("no loss");
    };
    assert_eq!(loss, Loss::Transport);
    assert!(why.contains("the cable was pulled"), "{why}");
}
