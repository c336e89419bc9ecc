//! The `tlsstream` dialect, which has a different wire format.

use std::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, Config, Dialect, Disconnect, EndReason, Incoming, Instant, Link,
    LinkState, Output, PeerMisbehaved, Protocol, ReceiveChannel, Role, SendChannel, Timeouts,
};

use crate::meter::Meter;

const MAIN: ChannelId = ChannelId(0);
const START: Instant = Instant::from_micros(1_000_000);

fn declare(channel: impl Into<ChannelConfig>) -> Config {
    let timeouts = Timeouts {
        retain: Duration::from_secs(1 << 30),
        ..Timeouts::default()
    };
    let config = Config::new().dialect(Dialect::TlsStream);
    config.timeouts(timeouts).channel(channel)
}

/// A link, or what may become one, and what it takes.
struct Victim<L = Link> {
    meter: Meter,
    link: L,
    now: Instant,
    out: Vec<u8>,
}

impl<L: Protocol> Victim<L> {
    fn of(make: impl FnOnce() -> L) -> Self {
        let mut meter = Meter::default();
        let link = meter.run(make);
        let out = vec![0; 65_536];
        let mut victim = Self {
            meter,
            link,
            now: START,
            out,
        };
        victim.open();
        victim
    }

    fn open(&mut self) {
        let (link, now) = (&mut self.link, self.now);
        self.meter.run(|| {
            link.handle_opened(now).expect("offline");
            link.handle_secured(now, None).expect("securing");
        });
    }

    fn hear(&mut self, input: &[u8]) {
        let (link, now) = (&mut self.link, self.now);
        self.meter.run(|| link.handle_input(now, input));
    }

    /// Whether it says anything.
    fn says(&mut self) -> bool {
        let (link, now, out) = (&mut self.link, self.now, &mut self.out);
        matches!(
            self.meter.run(|| link.poll_output(now, out)),
            Output::Written(_)
        )
    }
}

impl Victim {
    fn new(config: &Config) -> Self {
        Self::of(|| Link::new(config, Role::Opener, [1; 16]).expect("a sound declaration"))
    }

    fn connect(&mut self) {
        while !self.link.wants_connect() {
            self.now = self.link.poll_deadline().expect("an attempt").max(self.now);
            self.link.handle_timeout(self.now);
        }
        self.open();
    }

    /// Sends messages of this length for as long as they are confirmed.
    fn fill(&mut self, length: usize) {
        let head = format!("{length}!");
        loop {
            self.hear(head.as_bytes());
            for piece in vec![7; length].chunks(16_384) {
                self.hear(piece);
            }
            assert_eq!(self.link.state(), LinkState::Open);
            if !self.says() {
                return;
            }
        }
    }

    /// The bound holds, and is near.
    fn check(&self, what: &str) {
        let (most, bound) = (
            self.meter.most + size_of::<Link>(),
            self.link.config().memory_bound(),
        );
        println!("tlsstream, {what}: took {most} of {bound} bytes");
        assert!(most <= bound, "{what}: {most} of {bound} bytes");
        assert!(most >= bound / 3, "{what}: {most} of {bound} bytes");
    }
}

fn receiver(largest: usize, messages: u32, bytes: usize) -> Config {
    let channel = ReceiveChannel::new("main").max_message(largest);
    declare(channel.window(messages, bytes))
}

/// Whatever is sent before the caller has accepted the connection.
fn unaccepted() {
    let config = receiver(100_000, 8, 100_000);
    let sound = "a sound declaration";
    let mut victim = Victim::of(|| Incoming::new(&config, [1; 16]).expect(sound));
    victim.hear(b"99999!");
    for _ in 0..100 {
        victim.hear(&[7; 10_000]);
    }
    assert!(victim.link.request().is_some());
    let victim = victim.accept();
    let misbehaved = EndReason::Peer(PeerMisbehaved::StreamTooSoon);
    assert_eq!(victim.link.end_reason(), Some(&misbehaved));
    victim.check("not accepted");
}

impl Victim<Incoming> {
    #[allow(clippy::result_large_err, reason = "what comes back is what was given")]
    fn accept(mut self) -> Victim {
        let (incoming, now) = (self.link, self.now);
        let link = self.meter.run(|| incoming.accept(now));
        Victim {
            meter: self.meter,
            link: link.expect("what is wrong with it is the link's"),
            now,
            out: self.out,
        }
    }
}

/// Full windows on two connections, an earlier one and this one, and a message that is moved once
/// more.
fn unread(what: &str, config: &Config, length: usize, more: usize) {
    let mut victim = Victim::new(config);
    victim.fill(length);
    let (link, now) = (&mut victim.link, victim.now);
    victim
        .meter
        .run(|| link.handle_lost(now, Disconnect::Transport));
    victim.connect();
    victim.fill(length);
    while victim.link.waiting(MAIN) > 0 {
        let link = &mut victim.link;
        victim.meter.run(|| drop(link.take(START, MAIN)));
        if more > 0 && victim.says() {
            victim.hear(format!("{more}!").as_bytes());
            for piece in vec![7; more / 2 + 1].chunks(16_384) {
                victim.hear(piece);
            }
            break;
        }
    }
    victim.check(what);
}

fn unconfirmed() {
    let channel = SendChannel::new("main").max_message(40_000);
    let config = declare(channel.queue(50, 100_000));
    let mut victim = Victim::new(&config);
    let link = &mut victim.link;
    for length in [40_000, 40_000, 19_000, 1] {
        victim.meter.run(|| {
            let accepted = link.send(START, MAIN, vec![7; length], None);
            assert!(accepted.is_ok());
        });
    }
    while victim.says() {}
    victim.check("not confirmed");
}

pub(crate) fn run() {
    unaccepted();
    unread(
        "long messages",
        &receiver(100_000, 8, 200_000),
        100_000,
        100_000,
    );
    unread("single bytes", &receiver(1, 3000, 3000), 1, 0);
    unconfirmed();
}
