//! What is logged while there is no connection. tokio's clock is paused, so that waiting takes no
//! time.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use countersign_core::{ChannelConfig, Config, Dialect, Link, ReceiveChannel, Role, SendChannel};
use countersign_driver::{Connecting, Transport};
use countersign_endpoint::{Buffer, Endpoint, Security, ToSend};
use countersign_tests::pair::{IDENTITIES, tls};
use countersign_tokio::{LinkEvent, Setup, link_over, start_connect_with};
use tokio::io::{DuplexStream, duplex};
use tokio::join;
use tokio::sync::Mutex as AsyncMutex;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tracing::Level;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

/// The warnings of this thread, in which a runtime of one thread runs everything.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<Vec<u8>>>);

impl Warnings {
    fn collect() -> (Self, DefaultGuard) {
        let warnings = Self::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::WARN)
            .with_writer(warnings.clone())
            .with_ansi(false)
            .with_level(false)
            .with_target(false)
            .without_time();
        let guard = subscriber.set_default();
        (warnings, guard)
    }

    /// Those since it was asked last.
    fn take(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.0.lock().unwrap());
        let text = String::from_utf8(bytes).unwrap();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

impl io::Write for Warnings {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Warnings {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn setup(channel: impl Into<ChannelConfig>) -> Setup {
    let config = Config::new().channel(channel);
    Setup::new(config, Security::plaintext()).unwrap()
}

/// Attempts to connect, whose results a test decides.
#[derive(Clone)]
struct Attempts {
    begun: UnboundedSender<()>,
    results: Arc<AsyncMutex<UnboundedReceiver<io::Result<DuplexStream>>>>,
}

impl Attempts {
    async fn next(self) -> io::Result<DuplexStream> {
        let _ = self.begun.send(());
        let next = self.results.lock().await.recv().await;
        next.expect("the test has more to say")
    }
}

/// The test's side of them.
struct Script {
    begun: UnboundedReceiver<()>,
    results: UnboundedSender<io::Result<DuplexStream>>,
}

impl Script {
    fn new() -> (Self, Attempts) {
        let (begin, begun) = unbounded_channel();
        let (results, waiting) = unbounded_channel();
        let attempts = Attempts {
            begun: begin,
            results: Arc::new(AsyncMutex::new(waiting)),
        };
        (Self { begun, results }, attempts)
    }

    /// Waits for an attempt: what became of those before it has been told by then.
    async fn attempted(&mut self) {
        self.begun.recv().await.unwrap();
    }

    /// The attempt that waits fails. Waits for the next.
    async fn fails(&mut self, kind: io::ErrorKind, words: &str) {
        let error = io::Error::new(kind, words.to_owned());
        self.results.send(Err(error)).unwrap();
        self.attempted().await;
    }

    async fn finds_no_name(&mut self, time: &str) {
        let words = format!("nothing of that name at {time}");
        self.fails(io::ErrorKind::NotFound, &words).await;
    }

    async fn is_refused(&mut self) {
        self.fails(io::ErrorKind::ConnectionRefused, "refused")
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn each_kind_is_told_once_until_there_is_a_connection() {
    let (warnings, _collects) = Warnings::collect();
    let (mut script, attempts) = Script::new();
    let sending = setup(SendChannel::new("data"));
    let connecting = start_connect_with(move || attempts.clone().next(), &sending).unwrap();
    script.attempted().await;
    script.finds_no_name("10:01").await;
    script.finds_no_name("10:02").await;
    script.is_refused().await;
    script.finds_no_name("10:03").await;
    script.is_refused().await;
    assert_eq!(
        warnings.take(),
        [
            "no connection: nothing of that name at 10:01; trying again",
            "no connection: refused; trying again"
        ]
    );
    assert_eq!(connecting.failure().unwrap().number, 5);

    let (near, far) = duplex(1000);
    script.results.send(Ok(near)).unwrap();
    let receiving = setup(ReceiveChannel::new("data"));
    let (link, accepted) = join!(connecting, link_over(far, Role::Acceptor, &receiving));
    let (link, accepted) = (link.unwrap(), accepted.unwrap());
    assert_eq!(warnings.take(), [""; 0]);

    // The other end is gone without a word, and what was logged before is logged again.
    accepted.abandon();
    assert!(matches!(link.event().await, Some(LinkEvent::Lost { .. })));
    script.attempted().await;
    script.finds_no_name("10:05").await;
    script.finds_no_name("10:06").await;
    let told = warnings.take();
    let [lost, not_found] = &told[..] else {
        panic!("{told:?}");
    };
    assert!(lost.ends_with("; connecting again"), "{lost}");
    assert_eq!(
        not_found,
        "no connection: nothing of that name at 10:05; connecting again"
    );
}

/// Waiting for a name that does not resolve is logged as long as it lasts, but not at each attempt.
#[tokio::test(start_paused = true)]
async fn what_is_waited_for_is_told_once_a_minute() {
    let (warnings, _collects) = Warnings::collect();
    let begun = Instant::now();
    let sending = setup(SendChannel::new("data"));
    let (failed, mut failures) = unbounded_channel();
    let dial = move || {
        let _ = failed.send(());
        async { Err::<DuplexStream, _>(io::Error::new(io::ErrorKind::NotFound, "no such name")) }
    };
    let _connecting = start_connect_with(dial, &sending).unwrap();
    let minutes = |count: u32| count * Duration::from_secs(60);
    while begun.elapsed() < minutes(30) {
        failures.recv().await.unwrap();
    }
    let told = warnings.take();
    assert_eq!(told[0], "no connection: no such name; trying again");
    for line in &told[1..] {
        assert_eq!(line, "no connection: no such name; still trying");
    }
    // An attempt comes up to ten seconds after the minute is over.
    assert!((25..=30).contains(&told.len()), "{told:?}");
}

/// Something to do in the middle of a turn.
type Meanwhile = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// A peer within the transport: it has answered before the driver is done with its turn.
struct WithPeer {
    link: Link,
    endpoint: Endpoint,
    /// Done once, when something is to be read.
    meanwhile: Meanwhile,
}

impl WithPeer {
    fn exchange(&mut self) {
        let now = countersign_core::Instant::ZERO;
        self.endpoint.exchange(now, &mut self.link);
    }
}

impl Transport for WithPeer {
    fn poll_read(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        if let Some(meanwhile) = self.meanwhile.lock().unwrap().take() {
            meanwhile();
        }
        self.exchange();
        match self.endpoint.to_send() {
            ToSend::Nothing => Poll::Pending,
            ToSend::End => {
                self.endpoint.shut();
                Poll::Ready(Ok(0))
            }
            ToSend::Bytes(output) => {
                let count = output.filled().len();
                buffer.space(count)[..count].copy_from_slice(output.filled());
                buffer.commit(count);
                output.consume(count);
                self.endpoint.sent();
                Poll::Ready(Ok(count))
            }
        }
    }

    fn poll_write(&mut self, _: &mut Context<'_>, buffer: &mut Buffer) -> Poll<io::Result<usize>> {
        let count = buffer.filled().len();
        let input = self.endpoint.input();
        input.space(count)[..count].copy_from_slice(buffer.filled());
        input.commit(count);
        buffer.consume(count);
        self.endpoint.received(count);
        self.exchange();
        Poll::Ready(Ok(count))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.endpoint.received(0);
        self.exchange();
        Poll::Ready(Ok(()))
    }
}

/// A peer that is no longer trusted is logged, even if its link ends in the same turn of the
/// driver.
#[test]
fn a_peer_that_is_trusted_no_more_is_told_of() {
    let (warnings, _guard) = Warnings::collect();
    let [own, other] = &*IDENTITIES;
    let (security, theirs) = (tls(own, other.fingerprint()), tls(other, own.fingerprint()));
    let config = Config::new().channel(SendChannel::new("data"));
    let setup = Setup::new(config, security.clone()).unwrap();
    let receives = Config::new().channel(ReceiveChannel::new("data"));
    let meanwhile = Meanwhile::default();
    let transport = WithPeer {
        link: Link::new(&receives, Role::Acceptor, [1; 16]).unwrap(),
        endpoint: Endpoint::new(&theirs, Role::Acceptor, Dialect::Countersign),
        meanwhile: meanwhile.clone(),
    };
    let (connecting, mut driver) = Connecting::over(&setup, Role::Opener, transport).unwrap();
    let mut context = Context::from_waker(Waker::noop());
    assert!(driver.poll(&mut context).is_pending());
    let Poll::Ready(link) = pin!(connecting).poll(&mut context) else {
        panic!("it is connected");
    };
    let identity = security.identity().unwrap();
    let nobody = tls(own, own.fingerprint()).trust().unwrap();
    *meanwhile.lock().unwrap() = Some(Box::new(move || {
        security.replace(identity, nobody).unwrap();
    }));
    assert!(driver.poll(&mut context).is_ready());
    let told = warnings.take();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("the link is ended"), "{told:?}");
    drop(link);
}
