//! Two links over a path with a bottleneck and full buffers, in virtual time.

use core::time::Duration;
use std::collections::VecDeque;

use countersign_core::{
    ChannelId, Config, Event, Instant, Link, LinkStatus, Output, ReceiveChannel, Role, SendChannel,
    SendError,
};

pub(crate) const STOP: ChannelId = ChannelId(0);
pub(crate) const BULK: ChannelId = ChannelId(1);
pub(crate) const BACK: ChannelId = ChannelId(2);
pub(crate) const STEP: u64 = 100;
pub(crate) const BUDGET: Duration = Duration::from_millis(50);

/// One way: a buffer that takes so many bytes, and a bottleneck behind it.
pub(crate) struct Path {
    /// Bytes a second at a time, in microseconds.
    pub(crate) rate: fn(u64) -> u64,
    /// How long the way takes behind the bottleneck, in microseconds.
    pub(crate) delay: fn(u64) -> u64,
    pub(crate) buffer: usize,
}

pub(crate) struct Way {
    pub(crate) path: Path,
    pub(crate) queue: VecDeque<u8>,
    /// What the bottleneck has let through and not used of its rate, in millionths of a byte.
    pub(crate) credit: u64,
    pub(crate) flying: VecDeque<(u64, Vec<u8>)>,
}

impl Way {
    pub(crate) fn new(path: Path) -> Self {
        Self {
            path,
            queue: VecDeque::new(),
            credit: 0,
            flying: VecDeque::new(),
        }
    }

    /// Takes from a link what there is room for.
    pub(crate) fn fill(&mut self, now: u64, link: &mut Link) {
        let mut buffer = [0; 16_384];
        loop {
            let room = (self.path.buffer - self.queue.len()).min(buffer.len());
            // A transport that is nearly full is not ready.
            if room < 2048 {
                return;
            }
            match link.poll_output(Instant::from_micros(now), &mut buffer[..room]) {
                Output::Written(written) => self.queue.extend(&buffer[..written]),
                Output::Idle => return,
                other => panic!("{other:?}"),
            }
        }
    }

    /// Lets a step of time pass. Returns what arrives.
    pub(crate) fn pass(&mut self, now: u64) -> Vec<u8> {
        self.credit += (self.path.rate)(now) * STEP;
        let served = usize::try_from(self.credit / 1_000_000).expect("small");
        self.credit %= 1_000_000;
        let served = served.min(self.queue.len());
        if served > 0 {
            let bytes = self.queue.drain(..served).collect();
            self.flying.push_back((now + (self.path.delay)(now), bytes));
        }
        let mut arrived = Vec::new();
        while self.flying.front().is_some_and(|(at, _)| *at <= now) {
            arrived.extend(self.flying.pop_front().expect("not empty").1);
        }
        arrived
    }
}

pub(crate) struct World {
    pub(crate) sender: Link,
    pub(crate) receiver: Link,
    /// Whether the receiver sends bulk, too.
    pub(crate) answers: bool,
    pub(crate) there: Way,
    pub(crate) back: Way,
    pub(crate) now: u64,
    /// Bulk in bytes that was accepted, and that was handled.
    pub(crate) bulk: u64,
    /// How often an urgent message is sent, in microseconds, and its length.
    pub(crate) stop: (u64, usize),
    /// When each urgent message was sent, and how long its verdict took.
    pub(crate) sent: VecDeque<u64>,
    pub(crate) took: Vec<Duration>,
}

pub(crate) const MESSAGE: usize = 10_000;

impl World {
    pub(crate) fn new(there: Path, budget: Option<Duration>) -> Self {
        let mut config = Config::new()
            .channel(SendChannel::new("stop").urgent())
            .channel(SendChannel::new("bulk"));
        if let Some(budget) = budget {
            config = config.latency_budget(budget);
        }
        let others = Config::new()
            .channel(ReceiveChannel::new("stop"))
            .channel(ReceiveChannel::new("bulk"));
        let back = Path {
            rate: |_| 10_000_000,
            delay: there.delay,
            buffer: 65_536,
        };
        let mut world = Self {
            sender: Link::new(&config, Role::Opener, [1; 16]).expect("valid"),
            receiver: Link::new(&others, Role::Acceptor, [2; 16]).expect("valid"),
            answers: false,
            there: Way::new(there),
            back: Way::new(back),
            now: 0,
            bulk: 0,
            // Not in step with anything.
            stop: (73_100, 20),
            sent: VecDeque::new(),
            took: Vec::new(),
        };
        world.connect(&config, &others);
        world
    }

    pub(crate) fn connect(&mut self, sender: &Config, receiver: &Config) {
        self.sender = Link::new(sender, Role::Opener, [1; 16]).expect("valid");
        self.receiver = Link::new(receiver, Role::Acceptor, [2; 16]).expect("valid");
        let now = Instant::ZERO;
        self.sender.handle_timeout(now);
        for link in [&mut self.sender, &mut self.receiver] {
            link.handle_opened(now).expect("offline");
            link.handle_secured(now, None).expect("securing");
        }
    }

    /// Runs for a while. Returns the rate of the bulk in bytes a second.
    pub(crate) fn run(&mut self, time: Duration, bulk: impl Fn(u64) -> bool) -> u64 {
        let end = self.now + u64::try_from(time.as_micros()).expect("short");
        let before = self.bulk;
        while self.now < end {
            self.step(&bulk);
        }
        (self.bulk - before) * 1_000_000 / u64::try_from(time.as_micros()).expect("short")
    }

    pub(crate) fn step(&mut self, bulk: &impl Fn(u64) -> bool) {
        self.now += STEP;
        let now = Instant::from_micros(self.now);
        let arrived = self.there.pass(self.now);
        self.receiver.handle_input(now, &arrived);
        let arrived = self.back.pass(self.now);
        self.sender.handle_input(now, &arrived);
        for link in [&mut self.sender, &mut self.receiver] {
            if link.poll_deadline().is_some_and(|at| at <= now) {
                link.handle_timeout(now);
            }
        }
        for channel in [STOP, BULK] {
            while self.receiver.take(now, channel).expect("open").is_some() {}
        }
        while self.receiver.poll_event().is_some() {}
        if self.answers {
            while self
                .receiver
                .send(now, BACK, vec![7; MESSAGE], None)
                .is_ok()
            {}
            while self.sender.take(now, BACK).expect("open").is_some() {}
        }
        while let Some(event) = self.sender.poll_event() {
            if let Event::Handled { channel, count, .. } = event {
                self.handled(channel, count);
            }
        }
        if bulk(self.now) {
            while self.send(BULK, MESSAGE) {}
        }
        let (every, length) = self.stop;
        if self.now.is_multiple_of(every) && self.send(STOP, length) {
            self.sent.push_back(self.now);
        }
        self.there.fill(self.now, &mut self.sender);
        self.back.fill(self.now, &mut self.receiver);
    }

    pub(crate) fn status(&self) -> LinkStatus {
        self.sender.status(Instant::from_micros(self.now))
    }

    pub(crate) fn send(&mut self, channel: ChannelId, length: usize) -> bool {
        let now = Instant::from_micros(self.now);
        match self.sender.send(now, channel, vec![7; length], None) {
            Ok(_) => true,
            Err(error) => {
                assert!(
                    matches!(error.why, SendError::Blocked),
                    "{error:?} {:?}",
                    self.sender.end_reason()
                );
                false
            }
        }
    }

    pub(crate) fn handled(&mut self, channel: ChannelId, count: u64) {
        for _ in 0..count {
            if channel == BULK {
                self.bulk += MESSAGE as u64;
            } else if channel == STOP {
                let sent = self.sent.pop_front().expect("sent");
                self.took.push(Duration::from_micros(self.now - sent));
            }
        }
    }

    /// Returns the longest time to an urgent verdict since this was last called.
    pub(crate) fn worst(&mut self) -> Duration {
        assert!(self.took.len() > 10);
        self.took.drain(..).max().expect("some")
    }
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn always(_: u64) -> bool {
    true
}

pub(crate) fn relay(rate: fn(u64) -> u64, delay: fn(u64) -> u64) -> Path {
    Path {
        rate,
        delay,
        buffer: 256 * 1024,
    }
}
