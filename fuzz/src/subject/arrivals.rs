//! What has come from the peer, read beside the link: what its application may be given, and until
//! when.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use countersign_core::wire::{Decoder, Frame, Greeting, MessageHead, Piece, Times};
use countersign_core::{ChannelId, Config, Dialect, Instant};

use super::PeerClock;

/// A message that has come, as far as its times say something about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    /// When it began to come.
    pub(super) at: Instant,
    /// It has times.
    pub(super) timed: bool,
    /// When its sender accepted it, by the link's clock, modulo 2^64; where its peer tells the
    /// truth.
    accepted: Option<u64>,
    /// How long it is good for, if not for ever.
    life: Option<u64>,
    /// It is good until then, and an application must be given it.
    sure_until: Instant,
}

impl Came {
    /// `answered` is a time of the link's that has had a true answer.
    fn new(
        now: Instant,
        times: Option<Times>,
        clock: Option<PeerClock>,
        answered: Option<Instant>,
    ) -> Self {
        let limited = times.filter(|times| times.expires != Times::NEVER);
        // One that expires before it is accepted has no life at all.
        let life = limited.map(|times| times.expires.wrapping_sub(times.accepted));
        let mut came = Self {
            at: now,
            timed: times.is_some(),
            accepted: times.zip(clock).map(|(times, clock)| {
                let age = clock.since(now, times.accepted);
                now.as_micros().wrapping_sub(age)
            }),
            life: life.map(|life| u64::try_from(life.cast_signed()).unwrap_or(0)),
            sure_until: Instant::from_micros(u64::MAX),
        };
        if let Some(life) = came.life {
            let sure = || came.left_for_sure(life, answered?);
            let left = Duration::from_micros(sure().unwrap_or(0));
            came.sure_until = now + left;
        }
        came
    }

    /// What is left of its life when it comes, less all by which the clocks may have drifted.
    fn left_for_sure(&self, life: u64, answered: Instant) -> Option<u64> {
        let drift = |micros: u64| micros / 1000 + 1;
        let since = self.at.saturating_since(answered).as_micros() as u64;
        // As much as the clocks may have drifted since then, and as much as the link allows for.
        let most = self.age(self.at)?.saturating_add(2 * drift(since));
        let left = life.checked_sub(most.saturating_add(drift(most)))?;
        left.checked_sub(drift(left))
    }

    /// Its age in microseconds, where that is known.
    pub(super) fn age(&self, now: Instant) -> Option<u64> {
        Some(now.as_micros().wrapping_sub(self.accepted?))
    }

    /// What is known if it may have been another message with the same payload.
    fn or(self, twin: &Self) -> Self {
        Self {
            at: self.at.max(twin.at),
            timed: self.timed || twin.timed,
            accepted: None,
            ..self
        }
    }

    /// Whether it may be given to an application now.
    fn is_good(&self, now: Instant) -> bool {
        self.life.is_none_or(|life| {
            let waited = now.saturating_since(self.at).as_micros();
            waited < u128::from(life) && self.age(now).is_none_or(|age| age < life)
        })
    }
}

/// One channel.
#[derive(Debug, Default)]
struct Line {
    /// The message of which not all has come.
    part: Option<(DefaultHasher, Came)>,
    /// Those that have come whole, each by the digest of its payload.
    whole: VecDeque<(u64, Came)>,
    abandoned: bool,
}

impl Line {
    /// A message has come whole.
    fn add(&mut self, digest: u64, mut came: Came) {
        // Of two that look the same, which one is left out can't be told.
        for (_, twin) in self.whole.iter_mut().filter(|(twin, _)| *twin == digest) {
            (twin.sure_until, came.sure_until) = (Instant::ZERO, Instant::ZERO);
        }
        self.whole.push_back((digest, came));
    }
}

/// All that has come.
#[derive(Debug)]
pub(super) struct Arrivals {
    /// None where it is no stream of frames, or not any more.
    decoder: Option<Decoder>,
    frame_limit: usize,
    native: bool,
    connection: u64,
    /// The channels `c0`, `c1` and so on.
    lines: Vec<Line>,
    /// Which of them each number on the wire stands for.
    wire: Vec<Option<usize>>,
    /// The channel of the payload that is coming, what is missing of that, and whether the message
    /// ends with it.
    coming: (Option<usize>, usize, bool),
    /// The latest time of the peer's clock that asks for an answer, and when it came.
    pub(super) heard: Option<(u64, Instant)>,
    /// The latest time of the link's that has had a true answer.
    answered: Option<Instant>,
    /// A message with times has come.
    pub(super) timed: bool,
}

impl Arrivals {
    pub(super) fn new(config: &Config) -> Self {
        let lines = config.channels().iter().map(|_| Line::default());
        Self {
            decoder: None,
            frame_limit: config.get_frame_limit(),
            native: config.get_dialect() == Dialect::Countersign,
            connection: 0,
            lines: lines.collect(),
            wire: Vec::new(),
            coming: (None, 0, false),
            heard: None,
            answered: None,
            timed: false,
        }
    }

    /// Reads what the link is about to read on this connection. The peer's clock is given if it is
    /// known to have told the truth so far.
    pub(super) fn receive(
        &mut self,
        now: Instant,
        connection: u64,
        clock: Option<PeerClock>,
        bytes: &[u8],
    ) {
        if self.native && self.connection != connection {
            self.connection = connection;
            self.decoder = Some(Decoder::new(self.frame_limit));
            self.coming = (None, 0, false);
            (self.heard, self.answered) = (None, None);
        }
        let Some(mut decoder) = self.decoder.take() else {
            return;
        };
        let mut input = bytes;
        while let Ok(piece) = decoder.next(&mut input) {
            match piece {
                Some(Piece::Message { head, data }) => self.begin(now, clock, &head, data),
                Some(Piece::More(data)) => self.go_on(data),
                Some(Piece::Frame(frame)) => self.hear(now, clock, &frame),
                None => {
                    self.decoder = Some(decoder);
                    return;
                }
            }
        }
    }

    fn hear(&mut self, now: Instant, clock: Option<PeerClock>, frame: &Frame<'_>) {
        match frame {
            Frame::Hello(greeting) | Frame::Welcome(greeting) => {
                self.heard = Some((greeting.head.time, now));
                self.greeted(greeting);
            }
            Frame::Ping(time) => self.heard = Some((*time, now)),
            Frame::Pong(pong) if clock.is_some() => {
                self.answered = Some(Instant::from_micros(pong.echo));
            }
            _ => {}
        }
    }

    fn greeted(&mut self, greeting: &Greeting<'_>) {
        let channels = greeting.channels();
        self.wire = channels.map(|channel| self.place(channel.name)).collect();
    }

    fn place(&self, name: &str) -> Option<usize> {
        let number: usize = name.strip_prefix('c')?.parse().ok()?;
        (number < self.lines.len()).then_some(number)
    }

    fn begin(&mut self, now: Instant, clock: Option<PeerClock>, head: &MessageHead, data: &[u8]) {
        let at = self.wire.get(usize::from(head.channel));
        let at = at.copied().flatten();
        if let Some(line) = at.map(|at| &mut self.lines[at])
            && head.first
        {
            let came = Came::new(now, head.times, clock, self.answered);
            line.part = Some((DefaultHasher::new(), came));
        }
        self.timed |= head.times.is_some();
        self.coming = (at, head.length, head.last);
        self.go_on(data);
    }

    fn go_on(&mut self, data: &[u8]) {
        let (at, missing, last) = self.coming;
        let missing = missing - data.len();
        self.coming.1 = missing;
        let Some(line) = at.map(|at| &mut self.lines[at]) else {
            return;
        };
        if let Some((hash, _)) = &mut line.part {
            hash.write(data);
        }
        if missing == 0
            && last
            && let Some((hash, came)) = line.part.take()
            && !line.abandoned
        {
            line.add(hash.finish(), came);
        }
    }

    // The application.

    /// Its application takes a message. Returns what is known of it; nothing where it is no stream
    /// of frames.
    ///
    /// # Panics
    ///
    /// If no such message has come behind the one that was taken last, or if it must not be given
    /// to the application any more. If `all` that has come may be given, also if one is left out
    /// that is good.
    pub(super) fn take(
        &mut self,
        config: &Config,
        channel: ChannelId,
        payload: &[u8],
        now: Instant,
        all: bool,
    ) -> Option<Came> {
        if !self.native {
            return None;
        }
        let mut hash = DefaultHasher::new();
        hash.write(payload);
        let hash = hash.finish();
        let line = self.line(config, channel).expect("it was taken from it");
        let mut late = None;
        while let Some((digest, came)) = line.whole.pop_front() {
            if digest == hash && came.is_good(now) {
                let twins = line.whole.iter().filter(|(digest, _)| *digest == hash);
                return Some(twins.fold(came, |came, (_, twin)| came.or(twin)));
            }
            assert!(!all || came.sure_until <= now, "left out: {came:?}");
            late = (digest == hash).then_some(came).or(late);
        }
        panic!("took what has not come, or came too late: {late:?}, now {now:?}");
    }

    /// Nothing of a channel waits any more.
    ///
    /// # Panics
    ///
    /// If `all` that has come may be given to an application, and one is left that is good.
    pub(super) fn run_dry(&mut self, config: &Config, channel: ChannelId, now: Instant, all: bool) {
        if let Some(line) = self.line(config, channel) {
            for (_, came) in line.whole.drain(..) {
                assert!(!all || came.sure_until <= now, "left out: {came:?}");
            }
        }
    }

    pub(super) fn abandon(&mut self, config: &Config, channel: ChannelId) {
        if let Some(line) = self.line(config, channel) {
            line.abandoned = true;
            line.whole = VecDeque::new();
        }
    }

    /// The channel that the link has under this number.
    fn line(&mut self, config: &Config, channel: ChannelId) -> Option<&mut Line> {
        let declared = config.channels().get(usize::from(channel.0))?;
        let at = self.place(declared.name())?;
        Some(&mut self.lines[at])
    }
}
