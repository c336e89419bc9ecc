//! A connection takes no more memory than [`Security::memory_bound`] says, whatever a peer with a
//! TLS implementation of its own sends.

#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "it/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::crypto::sign::any_supported_type;
use common::{Foreign, Node, foreign_client, security};
use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{ChannelId, Config, Dialect, Instant, Link, Role, SendChannel};
use countersign_endpoint::{Buffer, Endpoint, Pins, Security, ToSend};
use peak_alloc::PeakAlloc;
use rustls::Connection;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const NOW: Instant = Instant::from_micros(1_000_000);

/// An acceptor's link and connection, and what they take.
struct Victim {
    link: Link,
    endpoint: Endpoint,
    held: usize,
    most: usize,
}

impl Victim {
    fn new(config: &Config, security: &Security) -> Self {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let mut link = Link::new(config, Role::Acceptor, [1; 16]).unwrap();
        let mut endpoint = Endpoint::new(security, Role::Acceptor, Dialect::Countersign);
        endpoint.exchange(NOW, &mut link);
        Self {
            link,
            endpoint,
            held: MEMORY.current_usage() - before,
            most: MEMORY.peak_usage() - before,
        }
    }

    /// Lets link and connection work; what they take counts, and nothing else.
    fn count<R>(&mut self, work: impl FnOnce(&mut Link, &mut Endpoint) -> R) -> R {
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let result = work(&mut self.link, &mut self.endpoint);
        self.most = self.most.max(self.held + MEMORY.peak_usage() - before);
        self.held = (self.held + MEMORY.current_usage()).saturating_sub(before);
        result
    }

    fn hear(&mut self, bytes: &[u8], piece: usize) {
        for bytes in bytes.chunks(piece) {
            self.count(|link, endpoint| {
                endpoint.input().space(16_384)[..bytes.len()].copy_from_slice(bytes);
                endpoint.input().commit(bytes.len());
                endpoint.received(bytes.len());
                endpoint.exchange(NOW, link);
            });
        }
    }

    /// Passes as much as may arrive between two exchanges, and the rest, before the link gets any.
    fn hear_at_once(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(3 * 16_384) {
            self.count(|link, endpoint| {
                for bytes in bytes.chunks(16_384) {
                    endpoint.input().space(16_384)[..bytes.len()].copy_from_slice(bytes);
                    endpoint.input().commit(bytes.len());
                    endpoint.received(bytes.len());
                }
                endpoint.exchange(NOW, link);
            });
        }
    }

    /// What it wants to send, which is sent if `taken`.
    fn say(&mut self, taken: bool) -> Vec<u8> {
        let mut said = vec![0; 1 << 20];
        let length = self.count(|link, endpoint| {
            endpoint.exchange(NOW, link);
            let ToSend::Bytes(buffer) = endpoint.to_send() else {
                return 0;
            };
            let length = buffer.filled().len();
            if taken {
                said[..length].copy_from_slice(buffer.filled());
                buffer.consume(length);
                endpoint.sent();
            }
            length
        });
        said.truncate(if taken { length } else { 0 });
        said
    }
}

fn declaration() -> Config {
    let send = SendChannel::new("up").max_message(65_536);
    Config::new().channel(send.queue(4, 4 * 65_536))
}

/// An attacker that the victim has pinned, with a chain of `certificates` certificates.
fn attacker(own: &GeneratedIdentity, certificates: usize) -> Foreign {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.key_der().to_vec()));
    let key = any_supported_type(&key).unwrap();
    let chain = vec![CertificateDer::from(own.certificate_der().to_vec()); certificates];
    let mut config = foreign_client(None, &[&TLS13]);
    config.alpn_protocols = vec![b"countersign".to_vec()];
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    config.client_auth_cert_resolver = Arc::new(certified);
    Foreign::client(config)
}

/// Shakes hands as far as it goes, what the attacker says in pieces of this length.
fn shake(victim: &mut Victim, attacker: &mut Foreign, piece: usize) {
    loop {
        let there = attacker.depart();
        victim.hear(&there, piece);
        let here = victim.say(true);
        if there.is_empty() && here.is_empty() {
            return;
        }
        attacker.arrive(&here);
    }
}

/// Keys are changed over and over, and each time an answer is asked for, which is not read.
fn change_keys(victim: &mut Victim, attacker: &mut Foreign) {
    for _ in 0..2000 {
        let Connection::Client(client) = &mut attacker.tls else {
            panic!("the attacker connects");
        };
        // rustls itself may want no more of it.
        let _ = client.refresh_traffic_keys();
        let flight = attacker.depart();
        victim.hear(&flight, 16_384);
        victim.say(false);
    }
}

/// All that can be in flight at once: output that is not read, and an incomplete record.
fn pile_up(victim: &mut Victim, attacker: &mut Foreign) {
    for _ in 0..4 {
        victim.count(|link, _| {
            let _ = link.send(NOW, ChannelId(0), vec![7; 65_536], None);
        });
    }
    // A frame that fills a record.
    attacker.send(&skipped(16_384));
    let flight = attacker.depart();
    victim.hear(&flight[..flight.len() - 1], 1000);
    victim.say(false);
}

/// A frame of `length` bytes that is skipped.
fn skipped(length: u16) -> Vec<u8> {
    let [high, low] = (length - 8).to_be_bytes();
    let mut frame = vec![0xFF, 0, 0, 0, 0, 0, high, low];
    frame.resize(usize::from(length), 0);
    frame
}

/// The most records that fit, with a byte of data each, and the most data that fits.
fn fill_input(victim: &mut Victim, attacker: &mut Foreign) {
    for byte in skipped(16_384) {
        attacker.send(&[byte]);
    }
    victim.hear_at_once(&attacker.depart());
    for _ in 0..12 {
        attacker.send(&skipped(16_384));
    }
    victim.hear_at_once(&attacker.depart());
}

/// Takes all buffers that the thread has in stock: what is lent from there would not be counted.
fn take_stock() -> [Buffer; 4] {
    let mut stock: [Buffer; 4] = Default::default();
    for buffer in &mut stock {
        buffer.space(1);
    }
    stock
}

/// What an idle connection takes, and has left in stock, does not grow with what it has carried.
fn check_idle(victim: &mut Victim, attacker: &mut Foreign) {
    let mut idle = [0; 3];
    for held in &mut idle {
        fill_input(victim, attacker);
        victim.count(|_, endpoint| endpoint.release());
        *held = victim.held;
    }
    assert!(idle == [idle[0]; 3], "{idle:?} bytes");
}

#[test]
fn a_connection_takes_no_more_than_it_says() {
    let (own, peer) = (fixtures::good("robot"), fixtures::good("station"));
    let pins = || Pins::new([common::certificate_pin(&peer)]).unwrap();
    let security = security(&own, pins());
    let config = declaration();
    let bound = config.memory_bound() + security.memory_bound();
    let mut worst = 0;
    let single = peer.certificate_der().len();
    for certificates in [1, 15_000 / single, 60_000 / single] {
        for piece in [1, 4000] {
            let _stock = take_stock();
            let mut victim = Victim::new(&config, &security);
            let mut foreign = attacker(&peer, certificates);
            shake(&mut victim, &mut foreign, piece);
            if victim.endpoint.failure().is_none() {
                check_idle(&mut victim, &mut foreign);
                pile_up(&mut victim, &mut foreign);
                change_keys(&mut victim, &mut foreign);
            }
            let most = victim.most + size_of::<Link>() + size_of::<Endpoint>();
            println!("{certificates} certificates: {most} of {bound} bytes");
            assert!(most <= bound, "{certificates}: {most} of {bound} bytes");
            worst = worst.max(most);
        }
    }
    assert!(worst >= bound / 3, "{worst} of {bound} bytes");
}
