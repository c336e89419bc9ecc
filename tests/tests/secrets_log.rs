//! No log of any crate, at any level, has a byte of a key or of a payload.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::fs;
use std::io;
use std::sync::{Arc, Mutex};

use countersign_certs::{NewIdentity, Overwrite, fixtures};
use countersign_core::{CloseMode, Config, ReceiveChannel, SendChannel};
use countersign_driver::{Limits, LinkEvent, Setup};
use countersign_endpoint::{Identity, Security, SecurityFiles};
use countersign_tests::pair::loopback;
use countersign_tests::planted::{PAYLOAD, assert_without, assert_without_pem, payload};
use countersign_tests::{Pair, Proxy, Transport, backends};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that is logged, by any crate.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl Collected {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Collected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Collected {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// For the crates that log through `log`, rustls and mio among them.
impl log::Log for Collected {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().unwrap().extend_from_slice(line.as_bytes());
    }

    fn flush(&self) {}
}

/// A link with messages that are handled, rejected and resent, keys that are replaced, files that
/// can't be used, peers that are refused, and a pin that is removed.
fn everything(pair: &Pair, folder: &std::path::Path) {
    let file = |name: &str| folder.join(name);
    let files = |own: &str, peer: &str| {
        let [certificate, key] = ["crt", "key"].map(|kind| file(&format!("{own}.{kind}")));
        SecurityFiles::new(certificate, key).peer_file(file(&format!("{peer}.crt")))
    };
    let security = |files: &SecurityFiles| {
        let (identity, pins) = files.read().unwrap();
        Security::tls(identity, pins).build().unwrap()
    };
    let (ours, theirs) = (files("client", "server"), files("server", "client"));
    let [at_client, at_server] = [&ours, &theirs].map(security);
    let client = Config::new().channel(SendChannel::new("data"));
    let server = Config::new().channel(ReceiveChannel::new("data").manual());
    let client = Setup::new(client, at_client.clone()).unwrap();
    let server = Setup::new(server, at_server.clone()).unwrap();
    let listener = pair.server.listen(loopback(), server, Limits::default());
    let proxy = Proxy::to(listener.address());
    let ends = pair.join_with(&*listener, proxy.address(), &client);
    let sender = ends.client.sender("data").unwrap();
    let mut receiver = ends.server.manual_receiver("data").unwrap();
    for number in 0..20 {
        let receipt = sender.give(payload(number));
        let delivery = receiver.take();
        match number % 3 {
            0 => drop(delivery.handled()),
            1 => delivery.reject(7, "not today"),
            _ => drop(delivery),
        }
        receipt.wait();
    }
    let under_way = sender.give([payload(20), vec![0; 100_000]].concat());
    proxy.cut();
    assert!(matches!(ends.client.event(), Some(LinkEvent::Lost { .. })));
    receiver.take().handled();
    under_way.wait();

    // Files that can't be used, the key's cut in the middle among them.
    let key = fs::read(file("server.key")).unwrap();
    for text in [
        &key[..0],
        &key[..key.len() / 2],
        &fs::read(file("client.key")).unwrap(),
    ] {
        fs::write(file("server.key"), text).unwrap();
        let error = theirs.reload(&at_server).unwrap_err();
        tracing_error(&error);
    }
    fs::write(file("server.key"), &key).unwrap();
    theirs.reload(&at_server).unwrap();
    // A stranger, and a pin that is removed while a message waits.
    let stranger = fixtures::good("stranger");
    let own = Identity::from_der(stranger.certificate_der(), stranger.key_der()).unwrap();
    let strangers = Security::tls(own, at_client.trust().unwrap())
        .build()
        .unwrap();
    let config = Config::new().channel(SendChannel::new("data"));
    let refused = Setup::new(config, strangers).unwrap();
    let refused = pair.client.connect(listener.address(), &refused);
    tracing_error(&refused.err().unwrap());
    tracing_error(&listener.accept().err().unwrap());
    let _unheard = sender.give(payload(21));
    at_server
        .replace(at_server.identity().unwrap(), stranger.fingerprint())
        .unwrap();
    tracing_error(&ends.server.ended().end.unwrap());
    tracing_error(&ends.client.close(CloseMode::Withdraw).end.unwrap());
}

/// Logs an error in every way in which applications do.
fn tracing_error(error: &(dyn std::error::Error + 'static)) {
    log::error!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        log::error!("caused by {error} {error:?}");
        cause = error.source();
    }
}

#[test]
fn no_log_has_a_key_or_a_payload() {
    let collected = Collected::default();
    log::set_boxed_logger(Box::new(collected.clone())).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(collected.clone())
        .init();
    let folder = tempfile::tempdir().unwrap();
    let identities = ["client", "server"].map(|name| {
        let identity = NewIdentity::new(name)
            .algorithm(countersign_certs::Algorithm::Ed25519)
            .generate()
            .unwrap();
        identity.write(folder.path(), Overwrite::No).unwrap();
        identity
    });
    for couple in backends::couples() {
        if couple.client.name == couple.server.name {
            everything(&couple.pair(Transport::Tls), folder.path());
        }
    }
    let text = collected.text();
    // The log has lines from the library and from those below it.
    for words in ["its pin was removed", "rustls", "the link is ended", "mio"] {
        assert!(text.contains(words), "{words}");
    }
    assert!(text.len() > 10_000, "{}", text.len());
    assert_without(&text, "a payload", PAYLOAD);
    for identity in &identities {
        let private = &identity.key_der()[identity.key_der().len() - 32..];
        assert_without(&text, "a key", private);
        assert_without_pem(&text, "a key", identity.key_pem());
    }
}
