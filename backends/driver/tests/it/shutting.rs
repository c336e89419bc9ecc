//! What a transport is asked while it ends its direction.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use countersign_core::{ChannelConfig, CloseMode, Config, ReceiveChannel, Role, SendChannel};
use countersign_driver::{Connecting, Memory, Setup, Transport, memory};
use countersign_endpoint::{Buffer, Security};

/// How often ending the direction is not done yet.
const DELAYS: usize = 3;

/// What a transport was asked, in order.
type Asked = Arc<Mutex<Vec<&'static str>>>;

/// A connection that takes its time to flush and to end.
struct Slow {
    inner: Memory,
    asked: Asked,
    flushes: usize,
    shutdowns: usize,
    /// A write is under way.
    writing: bool,
}

impl Slow {
    fn ask(&self, what: &'static str) {
        self.asked.lock().unwrap().push(what);
    }
}

impl Transport for Slow {
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        match self.inner.poll_read(context, buffer) {
            // A peer that keeps its end open: as long as that lasts, the connection stays.
            Poll::Ready(Ok(0)) => Poll::Pending,
            result => result,
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut Buffer,
    ) -> Poll<io::Result<usize>> {
        self.ask("write");
        self.flushes = 0;
        self.writing = !self.writing;
        if self.writing {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.inner.poll_write(context, buffer)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask("flush");
        assert!(!self.writing, "it is at work on what it was asked last");
        self.flushes += 1;
        if self.flushes < DELAYS {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ask("shutdown");
        self.shutdowns += 1;
        if self.shutdowns < DELAYS {
            return Poll::Pending;
        }
        self.inner.poll_shutdown(context)
    }
}

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    let config = Config::new().channel(channel).single_connection();
    Setup::new(config, Security::plaintext()).unwrap()
}

#[test]
fn one_thing_after_the_other() {
    let asked = Asked::default();
    let (near, far) = memory();
    let near = Slow {
        inner: near,
        asked: asked.clone(),
        flushes: 0,
        shutdowns: 0,
        writing: false,
    };
    let (send, receive) = (
        setup(SendChannel::new("data")),
        setup(ReceiveChannel::new("data")),
    );
    let (opening, mut opener) = Connecting::over(&send, Role::Opener, near).unwrap();
    let (_accepting, mut acceptor) = Connecting::over(&receive, Role::Acceptor, far).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    let mut connected = pin!(opening);
    let mut link = None;
    // More rounds than are ever needed.
    for _ in 0..100 {
        let _ = opener.poll(&mut context);
        let _ = acceptor.poll(&mut context);
        if link.is_none()
            && let Poll::Ready(connected) = connected.as_mut().poll(&mut context)
        {
            let connected = connected.unwrap();
            connected.start_close(CloseMode::Drain);
            link = Some(connected);
        }
    }
    assert!(link.is_some());
    let asked = asked.lock().unwrap();
    let last = asked.len() - DELAYS;
    assert_eq!(asked[last..], ["shutdown"; DELAYS], "{asked:?}");
    assert_eq!(asked[last - DELAYS..last], ["flush"; DELAYS], "{asked:?}");
}
