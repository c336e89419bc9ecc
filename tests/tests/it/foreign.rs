//! Foreign code that links run: the destructors of payloads, subscribers of the log, wakers. All of
//! it may use the very link that runs it.
//!
//! Code that runs under a lock and takes it again panics in builds with assertions, and would hang
//! otherwise: the watchdog reports that.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use countersign_capture::{Capture, Options};
use countersign_core::{Bytes, CloseMode, Config, ReceiveChannel, SendChannel};
use countersign_driver::{Limits, LinkEvent, Outgoing};
use countersign_tests::{
    Ends, Pair, Transport,
    backend::{Link, Sender as AnySender},
    backends::BACKENDS,
    pair::{IDENTITIES, loopback, tls},
    watch_as,
};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Runs a test on each backend that has the shared driver.
fn on_each(transport: Transport, test: fn(&Pair)) {
    let driven = BACKENDS.iter().filter(|one| one.name != "own_loop");
    for entry in driven {
        let pair = Pair {
            client: entry.backend,
            server: entry.backend,
            transport,
        };
        watch_as(entry.name, move || test(&pair));
    }
}

/// What an end declares that sends on `data` and `back`, or its peer.
fn ends(data: SendChannel, taken: ReceiveChannel) -> [Config; 2] {
    let config = Config::new().channel(data);
    let peer = Config::new().channel(taken);
    [
        config.channel(SendChannel::new("back").max_message(1000)),
        peer.channel(ReceiveChannel::new("back").max_message(1000)),
    ]
}

// Payloads.

/// Memory of the application's, whose destructor uses the link.
struct Meddler {
    data: Vec<u8>,
    link: Arc<Box<dyn Link>>,
    meddle: fn(&dyn Link),
    gone: Sender<()>,
}

impl AsRef<[u8]> for Meddler {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Meddler {
    fn drop(&mut self) {
        (self.meddle)(&**self.link);
        let _ = self.gone.send(());
    }
}

fn sends_something(link: &dyn Link) {
    let _ = link.report();
    let _ = link.sender("back").unwrap().try_send("gone".into());
}

fn closes(link: &dyn Link) {
    link.start_close(CloseMode::Withdraw);
}

/// One end, and what is heard of its payloads.
struct Meddling {
    link: Arc<Box<dyn Link>>,
    meddle: fn(&dyn Link),
    gone: Sender<()>,
    heard: Receiver<()>,
}

impl Meddling {
    fn new(link: Box<dyn Link>, meddle: fn(&dyn Link)) -> Self {
        let (gone, heard) = mpsc::channel();
        let link = Arc::new(link);
        Self {
            link,
            meddle,
            gone,
            heard,
        }
    }

    fn payload(&self) -> Bytes {
        Bytes::from_owner(Meddler {
            data: vec![7; 300],
            link: self.link.clone(),
            meddle: self.meddle,
            gone: self.gone.clone(),
        })
    }

    fn send(&self, count: usize) {
        let sender = self.link.sender("data").unwrap();
        for _ in 0..count {
            drop(sender.give(self.payload()));
        }
    }

    fn wait_for(&self, count: usize) {
        for _ in 0..count {
            self.heard.recv().unwrap();
        }
    }
}

fn send() -> SendChannel {
    SendChannel::new("data")
        .max_message(1000)
        .queue(100, 1 << 20)
}

fn receive() -> ReceiveChannel {
    ReceiveChannel::new("data").max_message(1000)
}

#[test]
fn destructors_of_handled_messages() {
    on_each(Transport::Plain, |pair| {
        for meddle in [sends_something, closes] {
            let [sending, taking] = ends(send(), receive());
            let Ends { client, server } = pair.link(sending, taking);
            let meddling = Meddling::new(client, meddle);
            meddling.send(20);
            let mut receiver = server.receiver("data").unwrap();
            // The first that is handled may close the link, which withdraws what is not on its way.
            for _ in 0..20 {
                if !matches!(receiver.recv(), Ok(Some(_))) {
                    break;
                }
            }
            meddling.wait_for(20);
        }
    });
}

#[test]
fn destructors_of_rejected_messages() {
    on_each(Transport::Plain, |pair| {
        let [sending, taking] = ends(send(), receive().manual());
        let Ends { client, server } = pair.link(sending, taking);
        let meddling = Meddling::new(client, sends_something);
        meddling.send(5);
        let mut receiver = server.manual_receiver("data").unwrap();
        for _ in 0..5 {
            receiver.take().reject(7, "no");
        }
        meddling.wait_for(5);
    });
}

#[test]
fn destructors_of_superseded_expired_and_withdrawn_messages() {
    on_each(Transport::Plain, |pair| {
        let [sending, taking] = ends(send().latest(), receive().window(1, 1000));
        let Ends { client, server } = pair.link(sending, taking);
        let meddling = Meddling::new(client, sends_something);
        // One is on its way, one waits, and all between them are superseded.
        meddling.send(10);
        meddling.wait_for(8);
        drop(server);
        meddling.wait_for(2);

        let [sending, taking] = ends(send(), receive().window(1, 1000));
        let Ends { client, server } = pair.link(sending, taking);
        let meddling = Meddling::new(client, sends_something);
        meddling.send(1);
        let late = Outgoing::from(meddling.payload()).expires(Instant::now());
        drop(meddling.link.sender("data").unwrap().give(late));
        meddling.wait_for(1);
        meddling.send(3);
        meddling.link.start_close(CloseMode::Withdraw);
        meddling.wait_for(3);
        drop(server);
        meddling.wait_for(1);
    });
}

#[test]
fn destructors_of_messages_whose_link_is_lost() {
    on_each(Transport::Tls, |pair| {
        let [sending, taking] = ends(send(), receive().window(2, 1000));
        let (Ends { client, server }, proxy) = pair.link_through(sending, taking);
        let meddling = Meddling::new(client, sends_something);
        meddling.send(5);
        proxy.cut();
        meddling.wait_for(5);
        drop(server);
    });
}

#[test]
fn destructors_that_drop_the_last_handle() {
    on_each(Transport::Plain, |pair| {
        let [sending, taking] = ends(send(), receive());
        let Ends { client, server } = pair.link(sending, taking);
        let meddling = Meddling::new(client, |_| ());
        meddling.send(1);
        let Meddling {
            heard, link, gone, ..
        } = meddling;
        // The link is the payload's alone now.
        drop((link, gone));
        let mut receiver = server.receiver("data").unwrap();
        assert_eq!(receiver.take().len(), 300);
        heard.recv().unwrap();
        // It was closed, as one whose handles were dropped.
        let end = server.ended().end.unwrap();
        assert!(end.reason().is_closed(), "{end}");
    });
}

// Lines in the log.

/// A link, and what sends over it.
type Way = (Arc<Box<dyn Link>>, Arc<Box<dyn AnySender>>);

/// Ships every line over all links that have been given to it.
struct Shipping {
    over: Mutex<Vec<Way>>,
    shipped: Mutex<Vec<String>>,
    more: Condvar,
}

static SHIPPING: Shipping = Shipping {
    over: Mutex::new(Vec::new()),
    shipped: Mutex::new(Vec::new()),
    more: Condvar::new(),
};

/// The tests of the log, one at a time.
static TURN: Mutex<()> = Mutex::new(());

#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, _: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!("{value:?} ");
    }
}

struct Shipper;

impl<S: tracing::Subscriber> Layer<S> for Shipper {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        if !event.metadata().target().starts_with("countersign") {
            return;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let over = SHIPPING.over.lock().unwrap().clone();
        for (link, sender) in over {
            let _ = link.report();
            let _ = sender.try_send(Bytes::from(words.0.clone()).into());
        }
        SHIPPING.shipped.lock().unwrap().push(words.0);
        SHIPPING.more.notify_all();
    }
}

impl Shipping {
    /// Runs a test while this ships over links.
    fn during(test: impl FnOnce()) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let subscriber = tracing_subscriber::registry().with(Shipper);
        // The first test has set it already.
        let _ = tracing::subscriber::set_global_default(subscriber);
        SHIPPING.shipped.lock().unwrap().clear();
        test();
        SHIPPING.over.lock().unwrap().clear();
    }

    fn over(&self, link: Box<dyn Link>) -> Arc<Box<dyn Link>> {
        let sender = Arc::new(link.sender("log").unwrap());
        let link = Arc::new(link);
        self.over.lock().unwrap().push((link.clone(), sender));
        link
    }

    /// Waits for a line with these words.
    fn wait_for(&self, words: &str) {
        let shipped = self.shipped.lock().unwrap();
        let missing = |shipped: &mut Vec<String>| !shipped.iter().any(|line| line.contains(words));
        let mut found = self.more.wait_while(shipped, missing).unwrap();
        found.retain(|line| !line.contains(words));
    }
}

/// An end that ships lines, and its peer.
fn shipping() -> [Config; 2] {
    let send = |name: &str| {
        SendChannel::new(name)
            .max_message(10_000)
            .queue(10, 100_000)
    };
    let receive = |name: &str| ReceiveChannel::new(name).max_message(10_000);
    [
        Config::new().channel(send("log")),
        Config::new().channel(receive("log")),
    ]
}

#[test]
fn lines_about_lost_connections() {
    Shipping::during(|| {
        on_each(Transport::Plain, |pair| {
            let [client, server] = shipping();
            let (ends, proxy, listener) = pair.lasting_link(client, server);
            let client = SHIPPING.over(ends.client);
            proxy.hang_up_on_later();
            proxy.cut();
            assert!(matches!(client.event(), Some(LinkEvent::Lost { .. })));
            SHIPPING.wait_for("connecting again");
            SHIPPING.wait_for("waiting for the peer to return");
            proxy.redirect(listener.address());
            assert_eq!(client.event(), Some(LinkEvent::Resumed));
            SHIPPING.over.lock().unwrap().clear();
        });
    });
}

#[test]
fn lines_about_strangers() {
    Shipping::during(|| {
        on_each(Transport::Plain, |pair| {
            let limits = Limits {
                backlog: 1,
                ..Limits::default()
            };
            let [client, server] = shipping();
            let setup = pair.server_setup(server);
            let listener = pair.server.listen(loopback(), setup, limits);
            let ends = pair.join(&*listener, listener.address(), client);
            let _link = SHIPPING.over(ends.client);
            for _ in 0..3 {
                let mut stranger = TcpStream::connect(listener.address()).unwrap();
                stranger.write_all(&[0; 100]).unwrap();
            }
            SHIPPING.wait_for("forgot about a refused connection");
            SHIPPING.over.lock().unwrap().clear();
        });
    });
}

#[test]
fn lines_about_a_full_capture() {
    Shipping::during(|| {
        on_each(Transport::Plain, |pair| {
            let options = Options::new().limit(countersign_capture::MIN_LIMIT);
            let capture = Capture::to(std::io::sink(), options).unwrap();
            let [client, server] = shipping();
            let listener = pair.listen(server);
            let setup = pair.client_setup(client).capture(&capture);
            let ends = pair.join_with(&*listener, listener.address(), &setup);
            let link = SHIPPING.over(ends.client);
            let mut log = ends.server.receiver("log").unwrap();
            let sender = link.sender("log").unwrap();
            // Until there is no room for more.
            for _ in 0..200 {
                drop(sender.give("line"));
                let _ = log.take();
            }
            SHIPPING.wait_for("the capture has reached its limit");
            SHIPPING.over.lock().unwrap().clear();
            capture.finish().unwrap();
        });
    });
}

#[test]
fn lines_about_a_peer_that_is_trusted_no_more() {
    Shipping::during(|| {
        on_each(Transport::Tls, |pair| {
            let [client, server] = shipping();
            let listener = pair.listen(server);
            let setup = pair.client_setup(client);
            let ends = pair.join_with(&*listener, listener.address(), &setup);
            let link = SHIPPING.over(ends.client);
            let [own, _] = &*IDENTITIES;
            let security = tls(own, own.fingerprint());
            let trust = security.trust().unwrap();
            setup
                .security()
                .replace(security.identity().unwrap(), trust)
                .unwrap();
            SHIPPING.wait_for("the link is ended");
            let _ = link.ended();
            SHIPPING.over.lock().unwrap().clear();
        });
    });
}

// Wakers.

/// A waker that uses the link when it is woken and when it is dropped.
struct Restless {
    link: Arc<countersign_driver::Link>,
    done: Sender<&'static str>,
}

impl Restless {
    fn use_it(&self, what: &'static str) {
        let _ = self.link.report();
        let _ = self.link.status();
        let _ = self.link.sender("back").unwrap().try_send("woken");
        let _ = self.done.send(what);
    }
}

impl std::task::Wake for Restless {
    fn wake(self: Arc<Self>) {
        self.use_it("woken");
    }
}

impl Drop for Restless {
    fn drop(&mut self) {
        self.use_it("dropped");
    }
}

/// Polls a future once with a waker of that kind.
fn poll_restlessly<F: Future + Unpin>(
    link: &Arc<countersign_driver::Link>,
    future: &mut F,
) -> Receiver<&'static str> {
    let (done, heard) = mpsc::channel();
    let link = link.clone();
    let waker = std::task::Waker::from(Arc::new(Restless { link, done }));
    let mut context = std::task::Context::from_waker(&waker);
    assert!(std::pin::Pin::new(future).poll(&mut context).is_pending());
    heard
}

#[test]
fn wakers_that_use_the_link() {
    watch_as("wakers", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let pair = Pair {
            client: &countersign_tests::on_tokio::Tokio,
            server: &countersign_tests::on_tokio::Tokio,
            transport: Transport::Plain,
        };
        let [sending, taking] = ends(send(), receive());
        let setups = [pair.client_setup(sending), pair.server_setup(taking)];
        let (from, to) = runtime
            .block_on(countersign_tokio::pair(&setups[0], &setups[1]))
            .unwrap();
        let from = Arc::new(from);
        let mut receiver = to.receiver("data").unwrap();

        // A receipt that is replaced, woken, dropped.
        let sender = from.sender("data").unwrap();
        let mut receipt = sender.try_send("one").unwrap();
        let first = poll_restlessly(&from, &mut receipt);
        let second = poll_restlessly(&from, &mut receipt);
        assert_eq!(first.recv().unwrap(), "dropped");
        assert_eq!(runtime.block_on(receiver.recv()).unwrap().unwrap(), "one");
        assert_eq!(second.recv().unwrap(), "woken");

        // Wakers of an event: replaced, dropped, and woken by the end.
        let mut event = Box::pin(from.event());
        let first = poll_restlessly(&from, &mut event);
        let second = poll_restlessly(&from, &mut event);
        assert_eq!(first.recv().unwrap(), "dropped");
        drop(event);
        assert_eq!(second.recv().unwrap(), "dropped");
        let mut ended = Box::pin(from.ended());
        let third = poll_restlessly(&from, &mut ended);
        drop((receiver, to));
        assert_eq!(third.recv().unwrap(), "woken");
    });
}

#[test]
fn wakers_that_use_the_listener() {
    struct Asks(Arc<countersign_driver::Listener>, Sender<()>);

    impl std::task::Wake for Asks {
        fn wake(self: Arc<Self>) {
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = Box::pin(self.0.accept()).as_mut().poll(&mut context);
            let _ = self.1.send(());
        }
    }

    watch_as("listener", || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let setup = countersign_driver::Setup::new(
            Config::new().channel(receive()),
            countersign_endpoint::Security::plaintext(),
        );
        let listening = countersign_tokio::listen(loopback(), setup.unwrap());
        let listener = Arc::new(runtime.block_on(listening).unwrap());
        let (done, heard) = mpsc::channel();
        let waker = std::task::Waker::from(Arc::new(Asks(listener.clone(), done)));
        let mut context = std::task::Context::from_waker(&waker);
        let mut accepting = Box::pin(listener.accept());
        assert!(accepting.as_mut().poll(&mut context).is_pending());
        // A stranger that leaves is something to accept.
        drop(TcpStream::connect(listener.local_addr()).unwrap());
        heard.recv_timeout(Duration::from_secs(60)).unwrap();
    });
}
