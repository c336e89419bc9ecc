//! A peer that never stops talking does not keep a driver busy for ever.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use countersign_core::{
    Config, Instant, Link, Output, ReceiveChannel, Role, SendChannel, wire::FrameType,
};
use countersign_driver::{Connecting, Setup, Transport};
use countersign_endpoint::{Buffer, Security};

/// More than a driver may read in one turn.
const MANY: usize = 10_000;

/// A connection that always has another ping.
struct Chatter {
    greeting: Vec<u8>,
    reads: Arc<AtomicUsize>,
}

impl Transport for Chatter {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        // An end of it, for drivers that would go on for ever.
        if self.reads.fetch_add(1, Ordering::Relaxed) > MANY {
            return Poll::Pending;
        }
        let mut bytes = std::mem::take(&mut self.greeting);
        bytes.extend([FrameType::Ping as u8, 0, 0, 0, 0, 0, 0, 8]);
        bytes.extend([1; 8]);
        buffer.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
        buffer.commit(bytes.len());
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let count = buffer.filled().len();
        buffer.consume(count);
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts how often it was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn greeting() -> Vec<u8> {
    let config = Config::new().channel(SendChannel::new("data"));
    let mut link = Link::new(&config, Role::Opener, [1; 16]).unwrap();
    let now = Instant::from_micros(0);
    link.handle_opened(now).unwrap();
    link.handle_secured(now, None).unwrap();
    let mut out = vec![0; 1024];
    let Output::Written(count) = link.poll_output(now, &mut out) else {
        panic!("no greeting");
    };
    out.truncate(count);
    out
}

#[test]
fn others_get_their_turn() {
    let config = Config::new().channel(ReceiveChannel::new("data"));
    let setup = Setup::new(config, Security::plaintext()).unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let transport = Chatter {
        greeting: greeting(),
        reads: reads.clone(),
    };
    let (connecting, mut driver) = Connecting::over(&setup, Role::Acceptor, transport).unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    let mut context = Context::from_waker(&waker);
    for turn in 1..=3 {
        assert!(driver.poll(&mut context).is_pending());
        let reads = reads.load(Ordering::Relaxed);
        assert!((turn..=turn * 100).contains(&reads), "{reads} in {turn}");
        // It has not run dry, so it asks for the next turn itself.
        assert_eq!(woken.0.load(Ordering::Relaxed), turn);
    }
    let connected = pin!(connecting);
    let Poll::Ready(link) = connected.poll(&mut context) else {
        panic!("the greeting was heard");
    };
    drop(link.unwrap());
}
