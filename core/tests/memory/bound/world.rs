//! A link and its application, opposite an attacker that keeps to the letter of the protocol, so
//! as to go on for as long as it likes.

use std::collections::VecDeque;
use std::time::Duration;

use countersign_core::wire::{
    ChannelEntry, Decoder, Frame, FrameType, GreetingHead, HEADER_LEN, MAX_GREETING, MessageHead,
    NOT_KNOWN, Piece, Pong, SessionOutcome, Times, VERSION, encode_greeting,
};
use countersign_core::{
    ChannelConfig, ChannelId, Config, Disconnect, Instant, Link, LinkState, Message, Mode, Output,
    Policy, Protocol, Role,
};

use super::ledger::{Incoming, Outgoing, note_frame, sending};
use crate::meter::Meter;

/// What the attacker may do, and what the application does meanwhile. Channels count among those
/// of their direction, modulo their number.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// A message, its frame cut in the middle or not.
    Whole {
        channel: usize,
        length: usize,
        cut: bool,
    },
    /// A fragment of a message of `total` bytes, the next if there is one already.
    Fragment {
        channel: usize,
        total: usize,
        length: usize,
    },
    Skip {
        channel: usize,
    },
    Note {
        channel: usize,
    },
    Ack {
        channel: usize,
    },
    Reject {
        channel: usize,
        reason: usize,
    },
    Ping,
    /// The oldest PING of the victim's that has no answer gets one.
    Answer,
    /// The beginning of a frame that is to be skipped, or of one that never ends.
    Unknown {
        length: usize,
    },
    /// The victim's output is read. Without it, nothing goes out.
    Read,
    Lose,
    /// Another connection, for the session or without it.
    Return {
        resume: bool,
    },
    // The application.
    Send {
        channel: usize,
        length: usize,
        expires: bool,
    },
    Take {
        channel: usize,
    },
    Settle {
        channel: usize,
        newest: bool,
        reject: bool,
    },
    Abandon {
        channel: usize,
    },
    Poll,
    Wait {
        seconds: u64,
    },
}

pub(crate) struct World {
    pub(crate) meter: Meter,
    pub(crate) link: Link,
    config: Config,
    role: Role,
    now: Instant,
    out: Vec<u8>,
    decoder: Decoder,
    session: [u8; 16],
    attempt: u32,
    incoming: Vec<(u16, Incoming)>,
    outgoing: Vec<(u16, Outgoing)>,
    /// What the application has taken from each channel of `incoming` and not settled.
    kept: Vec<VecDeque<Message>>,
    /// PINGs of the victim's without an answer: their times, and when they were read.
    pings: VecDeque<(u64, u64)>,
}

const LIMIT: usize = 1 << 24;

impl World {
    pub(crate) fn new(config: &Config, role: Role) -> Self {
        let mut meter = Meter::default();
        let mut world = Self {
            link: meter.run(|| Link::new(config, role, [1; 16]).expect("a sound declaration")),
            meter,
            config: config.clone(),
            role,
            now: Instant::from_micros(1_000_000),
            out: vec![0; 65_536],
            decoder: Decoder::new(LIMIT),
            session: [0; 16],
            attempt: 0,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            kept: Vec::new(),
            pings: VecDeque::new(),
        };
        for (at, channel) in (0..).zip(config.channels()) {
            match channel {
                ChannelConfig::Send(_) => world.outgoing.push((at, Outgoing::default())),
                ChannelConfig::Receive(channel) => {
                    world
                        .incoming
                        .push((at, Incoming::new(channel.is_manual())));
                    world.kept.push(VecDeque::new());
                }
            }
        }
        match role {
            Role::Opener => world.connect(false),
            Role::Acceptor => world.arrive(),
        }
        world
    }

    /// The most memory that the link ever took, itself included.
    pub(crate) fn most(&self) -> usize {
        self.meter.most + size_of::<Link>()
    }

    fn is_up(&self) -> bool {
        matches!(self.link.state(), LinkState::Open | LinkState::Closing)
    }

    fn is_away(&self) -> bool {
        matches!(
            self.link.state(),
            LinkState::Offline | LinkState::Connecting
        )
    }

    /// Passes this to the victim.
    pub(crate) fn hear(&mut self, input: &[u8]) {
        let (link, now) = (&mut self.link, self.now);
        self.meter.run(|| link.handle_input(now, input));
        assert!(
            self.link.end_reason().is_none(),
            "{:?}",
            self.link.end_reason()
        );
    }

    fn frame(&mut self, frame: &Frame<'_>) {
        let mut bytes = [0; 1024];
        let length = frame.encode(&mut bytes).expect("a short frame");
        self.hear(&bytes[..length]);
    }

    /// A listener's first connection, which becomes the link.
    #[allow(clippy::result_large_err, reason = "what comes back is what was given")]
    fn arrive(&mut self) {
        let greeting = self.greeting(false, SessionOutcome::New);
        let (config, now) = (&self.config, self.now);
        let mut incoming = self.meter.run(|| {
            let incoming = countersign_core::Incoming::new(config, [1; 16]);
            let mut incoming = incoming.expect("a sound declaration");
            incoming.handle_opened(now).expect("offline");
            incoming.handle_secured(now, None).expect("securing");
            incoming
        });
        let (most, last) = greeting.split_at(greeting.len() - 1);
        for piece in most.chunks(100).chain([last]) {
            self.meter.run(|| incoming.handle_input(now, piece));
        }
        let link = self.meter.run(|| incoming.accept(now));
        self.link = link.expect("a greeting that fits");
        assert!(self.is_up());
        self.read();
    }

    /// A connection, on which the attacker goes on with the session or does not.
    fn connect(&mut self, resume: bool) {
        if self.role == Role::Opener {
            while !self.link.wants_connect() {
                let due = self.link.poll_deadline().expect("another attempt");
                self.now = self.now.max(due);
                let (link, now) = (&mut self.link, self.now);
                self.meter.run(|| link.handle_timeout(now));
            }
        }
        let (link, now) = (&mut self.link, self.now);
        self.meter.run(|| {
            link.handle_opened(now).expect("offline");
            link.handle_secured(now, None).expect("securing");
        });
        self.decoder = Decoder::new(LIMIT);
        self.pings.clear();
        let had = self.session != [0; 16];
        if !resume {
            self.session = [0; 16];
            let ledgers = self.incoming.iter_mut().zip(&mut self.kept);
            for ((_, ledger), kept) in ledgers {
                ledger.start_over();
                // Nothing of a lost session can be settled.
                self.meter.run(|| kept.clear());
            }
            for (_, ledger) in &mut self.outgoing {
                ledger.start_over();
            }
        }
        if self.role == Role::Opener {
            self.read();
        }
        let outcome = match (self.role, resume, had) {
            (Role::Opener, true, _) => SessionOutcome::Resumed,
            (Role::Opener, false, true) => SessionOutcome::NotKnown,
            _ => SessionOutcome::New,
        };
        let greeting = self.greeting(resume, outcome);
        let (most, last) = greeting.split_at(greeting.len() - 1);
        for piece in most.chunks(100) {
            self.hear(piece);
        }
        self.hear(last);
        assert!(self.is_up());
        if self.role == Role::Acceptor {
            self.read();
        }
    }

    fn greeting(&mut self, resume: bool, outcome: SessionOutcome) -> Vec<u8> {
        self.attempt += u32::from(resume);
        if self.role == Role::Opener && !resume {
            let [.., low] = self.link.connection().to_be_bytes();
            self.session = [low.max(1); 16];
        }
        let head = GreetingHead {
            version_min: VERSION,
            version_max: VERSION,
            outcome,
            attempt: self.attempt,
            frame_limit: 512,
            session: self.session,
            time: 0,
            arrived: 0,
        };
        let channels = self.config.channels().iter();
        let mut entries: Vec<ChannelEntry<'_>> = channels.map(opposite).collect();
        for (at, ledger) in &mut self.outgoing {
            let entry = &mut entries[usize::from(*at)];
            if resume {
                (entry.handled, entry.received) = ledger.resume();
            } else if outcome == SessionOutcome::NotKnown {
                entry.handled = NOT_KNOWN;
            }
        }
        let kind = match self.role {
            Role::Acceptor => FrameType::Hello,
            Role::Opener => FrameType::Welcome,
        };
        let mut bytes = vec![0; 16_384];
        let length = encode_greeting(kind, &head, entries.into_iter(), &mut bytes);
        length.expect("a greeting fits");
        // As long as a greeting may be: what is behind the channels is for later versions.
        bytes.truncate(HEADER_LEN + MAX_GREETING);
        let length = u32::try_from(MAX_GREETING).expect("short");
        bytes[4..HEADER_LEN].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    /// Reads all that the victim says.
    fn read(&mut self) {
        loop {
            let (link, now, out) = (&mut self.link, self.now, &mut self.out);
            let Output::Written(length) = self.meter.run(|| link.poll_output(now, out)) else {
                return;
            };
            let mut said = &self.out[..length];
            let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(LIMIT));
            // A message whose frame the output cut would come in several pieces: it does not.
            while let Some(piece) = decoder.next(&mut said).expect("sound output") {
                match piece {
                    Piece::Message { head, .. } => {
                        sending(&mut self.outgoing, head.channel).hear(head.last);
                    }
                    Piece::More(_) => {}
                    Piece::Frame(Frame::Ping(time)) => {
                        self.pings.push_back((time, now.as_micros()));
                    }
                    Piece::Frame(frame) => {
                        let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
                        note_frame(&frame, incoming, outgoing, &mut self.session);
                    }
                }
            }
            self.decoder = decoder;
        }
    }

    fn message(&mut self, at: usize, first: bool, total: usize, length: usize, cut: bool) {
        let (channel, ledger) = &mut self.incoming[at];
        let before = ledger.partial.map_or(0, |(_, sent)| sent);
        let last = before + length == total;
        let head = MessageHead {
            channel: *channel,
            first,
            last,
            #[expect(clippy::cast_possible_truncation)]
            sequence: (ledger.sent + 1) as u32,
            total: (first && !last).then_some(total as u64),
            times: first.then_some(Times {
                accepted: self.now.as_micros(),
                expires: Times::NEVER - 1,
            }),
            length,
        };
        ledger.send(total, length);
        let mut bytes = vec![7; head.encoded_len() + length];
        head.encode(&mut bytes);
        let middle = if cut { bytes.len() / 2 } else { 0 };
        self.hear(&bytes[..middle]);
        self.hear(&bytes[middle..]);
    }

    /// Does one thing; what makes no sense just then is left out.
    pub(crate) fn apply(&mut self, op: &Op) {
        match *op {
            Op::Return { resume } if self.is_away() => self.connect(resume),
            Op::Whole { .. } | Op::Fragment { .. } | Op::Skip { .. } | Op::Note { .. }
                if self.is_up() && !self.incoming.is_empty() =>
            {
                self.attack_receiver(op);
            }
            Op::Ack { .. } | Op::Reject { .. } if self.is_up() && !self.outgoing.is_empty() => {
                self.attack_sender(op);
            }
            Op::Ping if self.is_up() => self.frame(&Frame::Ping(1)),
            Op::Answer if self.is_up() => {
                if let Some((echo, arrived)) = self.pings.pop_front() {
                    let time = self.now.as_micros();
                    self.frame(&Frame::Pong(Pong {
                        echo,
                        arrived,
                        time,
                    }));
                }
            }
            Op::Unknown { length } if self.is_up() => {
                let length = length.min(400);
                let mut frame = vec![0xFF, 0, 0, 0];
                frame.extend(u32::try_from(length).expect("short").to_be_bytes());
                frame.resize(8 + length, 1);
                self.hear(&frame[..8]);
                self.hear(&frame[8..]);
            }
            Op::Read => self.read(),
            Op::Lose if self.is_up() => {
                let (link, now) = (&mut self.link, self.now);
                self.meter
                    .run(|| link.handle_lost(now, Disconnect::Transport));
            }
            _ => self.applies(op),
        }
    }

    fn attack_receiver(&mut self, op: &Op) {
        let count = self.incoming.len();
        match *op {
            Op::Whole {
                channel,
                length,
                cut,
            } => {
                let at = channel % count;
                let ledger = &mut self.incoming[at].1;
                // One frame, and within the frame limit.
                let length = length.min(ledger.room()).min(self.largest(at)).min(16_000);
                if self.incoming[at].1.may_begin() {
                    self.message(at, true, length, length, cut);
                }
            }
            Op::Fragment {
                channel,
                total,
                length,
            } => {
                let at = channel % count;
                let total = total.clamp(2, self.largest(at).max(2));
                let ledger = &self.incoming[at].1;
                let room = ledger.room().min(length.max(1)).min(16_000);
                match ledger.partial {
                    Some((total, sent)) if room > 0 => {
                        self.message(at, false, total, room.min(total - sent), false);
                    }
                    None if ledger.may_begin() && room > 0 && total <= self.largest(at) => {
                        self.message(at, true, total, room.min(total - 1), false);
                    }
                    _ => {}
                }
            }
            Op::Skip { channel } => {
                let (channel, ledger) = &mut self.incoming[channel % count];
                if ledger.partial.is_none() {
                    ledger.skip(3);
                    let (channel, through) = (*channel, ledger.sent);
                    self.frame(&Frame::Skip { channel, through });
                }
            }
            Op::Note { channel } => {
                let (channel, ledger) = &mut self.incoming[channel % count];
                if let Some(sequence) = ledger.next_to_note() {
                    let channel = *channel;
                    self.frame(&Frame::Noted { channel, sequence });
                }
            }
            _ => {}
        }
    }

    /// The largest message that a channel takes.
    fn largest(&self, at: usize) -> usize {
        let channel = ChannelId(self.incoming[at].0);
        self.link.max_message(channel).expect("a channel")
    }

    fn attack_sender(&mut self, op: &Op) {
        let count = self.outgoing.len();
        match *op {
            Op::Ack { channel } => {
                let (channel, ledger) = &mut self.outgoing[channel % count];
                if let Some(handled) = ledger.ack() {
                    let channel = *channel;
                    self.frame(&Frame::Ack { channel, handled });
                }
            }
            Op::Reject { channel, reason } => {
                let (channel, ledger) = &mut self.outgoing[channel % count];
                if let Some(sequence) = ledger.next_to_reject() {
                    let channel = *channel;
                    let reason = "x".repeat(reason.min(256));
                    self.frame(&Frame::Reject {
                        channel,
                        sequence,
                        code: 1,
                        reason: &reason,
                    });
                }
            }
            _ => {}
        }
    }

    /// What the application does.
    fn applies(&mut self, op: &Op) {
        let link = &mut self.link;
        match *op {
            Op::Send {
                channel,
                length,
                expires,
            } if !self.outgoing.is_empty() => {
                let channel = self.outgoing[channel % self.outgoing.len()].0;
                let expires = expires.then(|| self.now + Duration::from_secs(length as u64 % 9));
                self.meter.run(|| {
                    // What is refused is dropped at once.
                    let _ = link.send(self.now, ChannelId(channel), vec![7; length], expires);
                });
            }
            Op::Take { channel } if !self.incoming.is_empty() => {
                let at = channel % self.incoming.len();
                let (channel, ledger) = &mut self.incoming[at];
                let auto = link.is_auto(ChannelId(*channel));
                let taken = self.meter.run(|| {
                    // A border is no message.
                    let message = link.take(self.now, ChannelId(*channel)).ok()??;
                    let number = message.sequence;
                    Some((number, (!auto).then_some(message)))
                });
                if let Some((number, message)) = taken {
                    ledger.taken(number);
                    self.kept[at].extend(message);
                }
            }
            Op::Settle {
                channel,
                newest,
                reject,
            } if !self.incoming.is_empty() => {
                self.settle(channel % self.incoming.len(), newest, reject);
            }
            Op::Abandon { channel } if !self.incoming.is_empty() => {
                let count = self.incoming.len();
                let (channel, ledger) = &mut self.incoming[channel % count];
                let result = self
                    .meter
                    .run(|| link.abandon(self.now, ChannelId(*channel)));
                assert_eq!(result, Ok(()));
                ledger.abandoned();
            }
            Op::Poll => self.meter.run(|| while link.poll_event().is_some() {}),
            Op::Wait { seconds } => {
                self.now = self.now + Duration::from_secs(seconds.min(4));
                let now = self.now;
                self.meter.run(|| link.handle_timeout(now));
            }
            _ => {}
        }
    }

    fn settle(&mut self, at: usize, newest: bool, reject: bool) {
        let (channel, ledger) = &mut self.incoming[at];
        let (link, channel) = (&mut self.link, ChannelId(*channel));
        let kept = &mut self.kept[at];
        let message = if newest {
            kept.pop_back()
        } else {
            kept.pop_front()
        };
        let Some(message) = message else { return };
        let number = message.sequence;
        let left_over = ledger.is_left_over(number);
        let reason = "x".repeat(256);
        let result = self.meter.run(|| {
            drop(message);
            if reject {
                link.reject(self.now, channel, number, 1, &reason)
            } else {
                link.handle(self.now, channel, number)
            }
        });
        assert_eq!(result.is_err(), left_over);
        if !left_over {
            ledger.settled(number, reject);
        }
    }
}

/// How the attacker declares a channel: as generously as can be.
fn opposite(channel: &ChannelConfig) -> ChannelEntry<'_> {
    let receives = channel.mode() == Mode::Send;
    ChannelEntry {
        mode: channel.mode().opposite(),
        policy: if receives {
            None
        } else {
            Some(channel.policy().unwrap_or(Policy::Reliable))
        },
        name: channel.name(),
        wants_times: receives,
        max_reply: u32::MAX,
        max_message: u64::MAX,
        window_messages: if receives { u32::MAX } else { 0 },
        window_bytes: if receives { u64::MAX } else { 0 },
        handled: 0,
        received: 0,
        partial: 0,
    }
}
