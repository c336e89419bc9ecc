//! `Debug` of what holds keys or payloads shows neither.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::collections::VecDeque;
use std::fmt::Debug;
use std::panic::catch_unwind;

use countersign_certs::{Algorithm, GeneratedIdentity, NewIdentity};
use countersign_core::wire::{Decoder, Frame, MessageHead, Piece};
use countersign_core::{
    Acceptor, Bytes, Config, Dialect, Event, Incoming, Instant, Link, Output, Protocol,
    ReceiveChannel, Role, SendChannel,
};
use countersign_driver::{Limits, Outgoing, Setup, StreamSetup};
use countersign_endpoint::{
    Buffer, Connection, Endpoint, Identity, Pins, Received, Security, SecurityFiles, SetupError,
};
use countersign_tests::planted::{PAYLOAD, assert_without, assert_without_pem, payload};
use countersign_tokio as links;

const NOW: Instant = Instant::ZERO;
const SEED: [u8; 16] = *b"a planted seed..";

#[test]
fn what_is_there_is_found() {
    let secret = [0x80, 1, 2, 3, 4, 5, 6, 7, 8, 9];
    for text in [
        format!("{secret:?}"),
        format!("{secret:#?}"),
        format!("{secret:02x?}").replace(", ", ""),
        format!("key {}", secret.escape_ascii()),
        "80:01:02:03:04:05:06:07".to_owned(),
        "80010203040506070809".to_owned(),
    ] {
        let found = catch_unwind(|| assert_without(&text, "it", &secret));
        assert!(found.is_err(), "{text}");
    }
    let text = String::from_utf8_lossy(PAYLOAD);
    assert!(catch_unwind(|| assert_without(&text, "it", PAYLOAD)).is_err());
    assert_without("planted, but not much of it", "it", PAYLOAD);
    assert!(catch_unwind(|| assert_without_pem("MIIB", "it", "MIIB\n")).is_err());
}

fn identity() -> GeneratedIdentity {
    let new = NewIdentity::new("planted").algorithm(Algorithm::Ed25519);
    new.generate().unwrap()
}

/// What has been formatted.
#[derive(Default)]
struct Shown(String);

impl Shown {
    /// In both ways.
    fn show(&mut self, what: &dyn Debug) {
        let text = format!("{what:?}\n{what:#?}\n");
        assert_without(&text, "a payload", PAYLOAD);
        assert_without(&text, "a seed", &SEED);
        self.0.push_str(&text);
    }

    fn check_key(&self, identity: &GeneratedIdentity) {
        let private = &identity.key_der()[identity.key_der().len() - 32..];
        assert_without(&self.0, "a key", private);
        assert_without_pem(&self.0, "a key", identity.key_pem());
    }
}

#[test]
fn identities_and_what_is_made_of_them() {
    let made = identity();
    let mut shown = Shown::default();
    let (certificate, key) = (made.certificate_pem().as_bytes(), made.key_pem().as_bytes());
    let own = Identity::from_pem(certificate, key).unwrap();
    let builder = Security::tls(own.clone(), made.fingerprint()).key_log(true);
    shown.show(&made);
    shown.show(&NewIdentity::new("planted"));
    shown.show(&own);
    shown.show(&builder);
    let security = builder.build().unwrap();
    shown.show(&security);
    shown.show(&security.trust());
    shown.show(&security.watch());
    shown.show(&security.replace(own, made.fingerprint()).unwrap());
    shown.show(&SecurityFiles::new("planted.crt", "planted.key"));
    shown.show(&StreamSetup::new(security.clone()));
    let config = Config::new().channel(SendChannel::new("data"));
    shown.show(&Setup::new(config, security.clone()).unwrap());
    shown.show(&Connection::connect(&security).unwrap());
    shown.show(&Connection::accept(&security).unwrap());
    // What is wrong with a key says nothing of it.
    let broken = |text: &[u8]| Identity::from_pem(certificate, text).unwrap_err();
    let line = made.key_pem().find('\n').unwrap() + 1;
    let with = |byte: u8| {
        let mut text = key.to_vec();
        text[line + 8] = byte;
        text
    };
    let errors: [SetupError; 7] = [
        broken(&key[..key.len() / 2]),
        broken(&with(b'!')),
        broken(&with(b'-')),
        broken(&[key, key].concat()),
        Identity::from_pem(key, key).unwrap_err(),
        Identity::from_der(made.certificate_der(), &made.key_der()[1..]).unwrap_err(),
        Pins::from_text(key).unwrap_err(),
    ];
    for error in &errors {
        shown.show(error);
        shown.0.push_str(&error.to_string());
    }
    shown.check_key(&made);
}

/// A link of the core, with a message in every place where one can be.
#[test]
fn links_without_io() {
    let mut shown = Shown::default();
    for dialect in [Dialect::Countersign, Dialect::TlsStream] {
        let config = Config::new().dialect(dialect).single_connection();
        let sending = SendChannel::new("data")
            .max_message(1 << 20)
            .queue(2, 1 << 20);
        let mut sender = Link::new(&config.clone().channel(sending), Role::Opener, SEED).unwrap();
        let receiving = config.channel(ReceiveChannel::new("data"));
        let mut incoming = Incoming::new(&receiving, SEED).unwrap();
        for end in [&mut sender as &mut dyn Protocol, &mut incoming] {
            end.handle_opened(NOW).unwrap();
            end.handle_secured(NOW, None).unwrap();
        }
        let channel = sender.channel_id("data").unwrap();
        let mut buffer = vec![0; 1 << 17];
        let mut step = |from: &mut Link, to: &mut dyn Protocol, most: usize| {
            if let Output::Written(count) = from.poll_output(NOW, &mut buffer) {
                to.handle_input(NOW, &buffer[..count.min(most)]);
            }
        };
        // Before it is accepted, tlsstream's receiver keeps what comes.
        sender.send(NOW, channel, payload(0), None).unwrap();
        step(&mut sender, &mut incoming, usize::MAX);
        shown.show(&incoming);
        let mut receiver = incoming.accept(NOW).expect("its declaration fits");
        step(&mut receiver, &mut sender, usize::MAX);
        step(&mut sender, &mut receiver, usize::MAX);
        shown.show(&receiver);
        let message = receiver.take(NOW, channel).unwrap().unwrap();
        assert_eq!(message.payload, payload(0));
        shown.show(&message);
        step(&mut receiver, &mut sender, usize::MAX);
        while sender.poll_event().is_some() {}
        // In part at the receiver, under way and waiting at the sender, and handed back.
        let long = [payload(1), vec![7; 9000]].concat();
        sender.send(NOW, channel, long, None).unwrap();
        step(&mut sender, &mut receiver, 3000);
        shown.show(&receiver);
        sender.send(NOW, channel, payload(2), None).unwrap();
        let handed_back = sender.send(NOW, channel, payload(3), None).unwrap_err();
        shown.show(&sender);
        shown.show(&handed_back);
        shown.show(&sender.gone_session());
        let mut acceptor = Acceptor::default();
        let kept = || sender.clone();
        assert!(acceptor.follow(&sender, &Event::Connected, kept).is_none());
        shown.show(&acceptor);
    }
    assert!(shown.0.contains("bytes"), "lengths are shown");
}

#[test]
fn frames_and_buffers() {
    let mut shown = Shown::default();
    let bytes = payload(1);
    shown.show(&Received::Data(&bytes));
    shown.show(&Piece::More(&bytes));
    let head = MessageHead {
        channel: 0,
        sequence: 1,
        first: true,
        last: true,
        times: None,
        total: None,
        length: bytes.len(),
    };
    shown.show(&Piece::Message { head, data: &bytes });
    let mut frame = [0; 16];
    Frame::Ping(1).encode(&mut frame).unwrap();
    let mut decoder = Decoder::new(16_384);
    decoder.next(&mut &frame[..5]).unwrap();
    shown.show(&decoder);
    let mut buffer = Buffer::default();
    buffer.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
    buffer.commit(bytes.len());
    shown.show(&buffer);
    shown.show(&Outgoing::from(bytes.clone()));
    let config = Config::new().channel(SendChannel::new("data"));
    let mut link = Link::new(&config, Role::Opener, SEED).unwrap();
    let channel = link.channel_id("data").unwrap();
    link.send(NOW, channel, payload(2), None).unwrap();
    let plain = Security::plaintext();
    let mut endpoint = Endpoint::new(&plain, Role::Opener, config.get_dialect());
    shown.show(&endpoint);
    endpoint.exchange(NOW, &mut link);
    shown.show(&endpoint);
    let mut endpoint = Endpoint::new(&plain, Role::Acceptor, config.get_dialect());
    // What waits to be decrypted, and what waits for the link.
    for _ in 0..2 {
        let input = endpoint.input();
        input.space(bytes.len())[..bytes.len()].copy_from_slice(&bytes);
        input.commit(bytes.len());
        shown.show(&endpoint);
        endpoint.received(bytes.len());
        shown.show(&endpoint);
    }
    let mut link = Link::new(&config, Role::Acceptor, SEED).unwrap();
    endpoint.exchange(NOW, &mut link);
    while let Some(event) = endpoint.poll_event() {
        shown.show(&event);
    }
}

/// The handles of a link, on an asynchronous backend and on threads.
#[tokio::test(flavor = "multi_thread")]
async fn handles() {
    let made = identity();
    let mut shown = Shown::default();
    let own = Identity::from_der(made.certificate_der(), made.key_der()).unwrap();
    let security = Security::tls(own, made.fingerprint()).build().unwrap();
    let sends = Config::new().channel(
        SendChannel::new("data")
            .max_message(1 << 20)
            .queue(1, 1 << 20),
    );
    let receives = Config::new().channel(ReceiveChannel::new("data").manual());
    let [sends, receives] =
        [sends, receives].map(|config| Setup::new(config, security.clone()).unwrap());
    let (near, far) = links::pair(&sends, &receives).await.unwrap();
    let sender = near.sender("data").unwrap();
    let mut receiver = far.manual_receiver("data").unwrap();
    let receipt = sender.send(payload(1)).await.unwrap();
    let delivery = receiver.recv().await.unwrap().unwrap();
    assert_eq!(&delivery[..], payload(1));
    shown.show(&delivery);
    // The one place in the queue is taken.
    let handed_back = sender.try_send(payload(2)).unwrap_err();
    shown.show(&handed_back);
    shown.show(&handed_back.to_string());
    let mut batch: VecDeque<Bytes> = [payload(3).into()].into();
    {
        let waits = sender.send_batch(&mut batch);
        drop(waits);
    }
    shown.show(&sender);
    shown.show(&receiver);
    shown.show(&receipt);
    shown.show(&near);
    shown.show(&far.report());
    delivery.reject(1, "no");
    shown.show(&receipt.await);

    let setup = Setup::new(receives.config().clone(), security.clone()).unwrap();
    let listener = links::listen("127.0.0.1:0", setup).await.unwrap();
    shown.show(&listener);
    shown.show(&Limits::default());
    let setup = StreamSetup::new(security);
    let (one, other) = tokio::io::duplex(1 << 16);
    let role = [Role::Opener, Role::Acceptor];
    let (one, other) = tokio::join!(
        links::secure_over(one, role[0], &setup),
        links::secure_over(other, role[1], &setup)
    );
    let (mut one, mut other) = (one.unwrap(), other.unwrap());
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
    one.write_all(&payload(4)).await.unwrap();
    one.flush().await.unwrap();
    assert_eq!(other.fill_buf().await.unwrap(), payload(4));
    shown.show(&one);
    shown.show(&other);
    shown.check_key(&made);
}
