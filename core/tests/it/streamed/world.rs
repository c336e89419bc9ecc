//! Two ends, the wire between them, a clock, and the model of their channel.

use core::time::Duration;
use std::collections::VecDeque;

use countersign_core::{
    ChannelId, CloseMode, CloseReason, Disconnect, Event, Instant, Link, LinkState, Output,
    ReceiveError, Role, SendError, Verdict, close,
};

use super::StreamCase;
use super::wire::{Confirmations, Messages};
use crate::lasting::observer::Seen;
use crate::lasting::receiver::{Receiver, Taken};
use crate::lasting::sender::Sender;
use crate::lasting::usual::{Case, Chan, Op, payload, reason};

pub(super) const CHANNEL: ChannelId = ChannelId(0);

/// What came out of a run.
#[derive(PartialEq, Eq, Default, Debug)]
pub(crate) struct Log {
    bytes: [Vec<u8>; 2],
    events: Vec<(usize, Event)>,
}

/// How far an end is, as the outside can tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    Before,
    Open,
    Closing,
    Over,
}

pub(super) struct End {
    pub(super) link: Link,
    /// 0: no connection; 1: opened; 2: secured.
    pub(super) connected: u8,
    pub(super) opened: Instant,
    pub(super) stage: Stage,
    pub(super) by_us: bool,
    pub(super) closing_since: Instant,
    /// What it has written, and whether it has ended that.
    pub(super) pipe: VecDeque<u8>,
    pub(super) write_ended: bool,
    pub(super) eof_given: bool,
    /// It has dropped the connection.
    pub(super) dropped: bool,
    pub(super) connected_told: bool,
    pub(super) closing_told: bool,
    pub(super) ended_told: bool,
    /// What it says with its close.
    pub(super) said: CloseReason,
}

pub(crate) struct World<'a> {
    pub(super) case: &'a Case,
    ops: &'a [Op],
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    /// Which end sends.
    pub(super) from: usize,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    /// Numbers at the sender, in the order in which the messages went on the wire.
    begun: Vec<u64>,
    /// How many of those have arrived, were taken and were confirmed.
    arrived: usize,
    taken: usize,
    confirmed: usize,
    abandoned: bool,
    /// Observers of what is written and of what is read.
    messages: [Messages; 2],
    confirmations: [Confirmations; 2],
    pub(super) cut: bool,
    pub(super) log: Log,
}

impl<'a> World<'a> {
    pub(crate) fn new(case: &'a StreamCase) -> Self {
        let (case, ops) = (&case.pair, &case.ops);
        let chan = &case.channels[0];
        let end = |at: usize| {
            let role = [Role::Opener, Role::Acceptor][at];
            let seed = [u8::try_from(at).expect("two ends"); 16];
            let config = case.config(at).single_connection();
            End {
                link: Link::new(&config, role, seed).expect("a sound declaration"),
                connected: 0,
                opened: Instant::ZERO,
                stage: Stage::Before,
                by_us: false,
                closing_since: Instant::ZERO,
                pipe: VecDeque::new(),
                write_ended: false,
                eof_given: false,
                dropped: false,
                connected_told: false,
                closing_told: false,
                ended_told: false,
                said: CloseReason::ALL_WELL,
            }
        };
        // One message is on the wire at a time, however long.
        let alone = Chan {
            window: (1, usize::MAX),
            ..chan.clone()
        };
        Self {
            case,
            ops,
            now: Instant::from_micros(1_000),
            ends: [end(0), end(1)],
            from: chan.sender,
            sender: Sender::new(&alone),
            receiver: Receiver::new(chan),
            begun: Vec::new(),
            arrived: 0,
            taken: 0,
            confirmed: 0,
            abandoned: false,
            messages: Default::default(),
            confirmations: Default::default(),
            cut: false,
            log: Log::default(),
        }
    }

    pub(crate) fn run(mut self) -> Log {
        if self.case.connected {
            self.connect_all();
        }
        for op in self.ops {
            self.apply(op);
            self.check();
        }
        self.finish();
        self.log
    }

    pub(super) fn to(&self) -> usize {
        1 - self.from
    }

    // What happens.

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Connect(end) => self.connect(end),
            Op::Send { size, expires, .. } => self.send(size, expires),
            Op::Take(_) => drop(self.take()),
            // Taking a message is handling it.
            Op::Handle { which, .. } | Op::Reject { which, .. } => self.handle_wrong(which as u64),
            Op::HandleWrong { sequence, .. } => self.handle_wrong(sequence),
            Op::Abandon(_) => self.abandon(),
            Op::Close(end, mode, code) => self.close(end, mode, code),
            Op::Pass(micros) => self.pass(self.now + Duration::from_micros(micros)),
            Op::Sleep => self.sleep(),
            Op::Move { from, bytes, piece } => drop(self.carry(from, bytes, piece)),
            Op::Poll { end, space } => drop(self.poll(end, space)),
            Op::PollEvents(end) => self.poll_events(end),
            Op::Cut => self.cut(),
        }
    }

    fn connect(&mut self, at: usize) {
        let now = self.now;
        let end = &mut self.ends[at];
        if self.cut || end.stage == Stage::Over {
            return;
        }
        match end.connected {
            0 => {
                end.link.handle_opened(now).expect("offline");
                end.opened = now;
            }
            1 => {
                end.link.handle_secured(now, None).expect("securing");
                end.stage = Stage::Open;
            }
            _ => return,
        }
        self.ends[at].connected += 1;
    }

    pub(super) fn connect_all(&mut self) {
        for end in [0, 0, 1, 1] {
            self.connect(end);
        }
    }

    fn send(&mut self, size: usize, expires: Option<u64>) {
        let now = self.now;
        let sender = &mut self.sender;
        let length = sender.chan.max[0] * size / 1000;
        let expires = expires.map(|after| now + Duration::from_micros(after));
        let message = payload(0, sender.msgs.len() as u64 + 1, length);
        let end = &mut self.ends[self.from];
        let got = end
            .link
            .send(now, CHANNEL, message, expires)
            .map_err(|not| not.why);
        let expected = match end.stage {
            Stage::Over => Err(SendError::Ended),
            Stage::Closing => Err(SendError::Closing),
            _ if length == 0 => Err(SendError::Empty),
            _ => sender.send(length, now, expires),
        };
        assert_eq!(got, expected);
        if got.is_ok() && expires.is_some_and(|expires| expires <= now) {
            end.link.handle_timeout(now);
            sender.expire(now);
        }
    }

    pub(super) fn take(&mut self) -> bool {
        let at = self.to();
        let got = self.ends[at].link.take(self.now, CHANNEL);
        let got = got.expect("a channel in receive mode, and no border");
        let got = got.map(|message| (message.sequence, message.payload.to_vec()));
        let expected = match self.receiver.take() {
            Taken::Message {
                number,
                origin: (_, sequence),
                length,
                ..
            } => {
                self.taken += 1;
                Some((number, payload(0, sequence, length)))
            }
            Taken::Nothing => None,
            Taken::Border(why) => panic!("{why}: there are no sessions"),
        };
        assert!(got == expected, "took {got:?} instead of {expected:?}");
        got.is_some()
    }

    fn handle_wrong(&mut self, sequence: u64) {
        let now = self.now;
        let link = &mut self.ends[1 - self.from].link;
        let expected = Err(ReceiveError::NotWaiting);
        assert_eq!(link.handle(now, CHANNEL, sequence), expected);
        assert_eq!(link.reject(now, CHANNEL, sequence, 0, ""), expected);
    }

    /// What comes can't be rejected, so this closes.
    fn abandon(&mut self) {
        let at = self.to();
        self.closing(at, CloseMode::Withdraw, 0);
        assert_eq!(self.ends[at].link.abandon(self.now, CHANNEL), Ok(()));
        self.turn_away();
    }

    fn turn_away(&mut self) {
        self.abandoned = true;
        let _ = self.receiver.abandon();
    }

    pub(super) fn close(&mut self, at: usize, mode: CloseMode, code: u32) {
        self.closing(at, mode, code);
        self.ends[at].link.close_with(self.now, mode, reason(code));
    }

    /// What a close means to the models.
    fn closing(&mut self, at: usize, mode: CloseMode, code: u32) {
        let end = &mut self.ends[at];
        let withdraws = match end.stage {
            Stage::Before | Stage::Over => return,
            Stage::Open => {
                end.stage = Stage::Closing;
                end.by_us = true;
                end.closing_since = self.now;
                true
            }
            Stage::Closing => end.by_us,
        };
        if end.link.state() == LinkState::Finishing {
            return;
        }
        if end.said == CloseReason::ALL_WELL {
            end.said = reason(code);
        }
        if withdraws && mode == CloseMode::Withdraw && self.withdraw(at) {
            let said = &mut self.ends[at].said;
            if *said == CloseReason::ALL_WELL {
                *said = CloseReason::new(close::WITHDRAWN, "");
            }
        }
        if mode != CloseMode::DrainBoth && at == self.to() {
            self.turn_away();
        }
    }

    /// Whether there was anything to withdraw.
    fn withdraw(&mut self, at: usize) -> bool {
        at == self.from && self.sender.withdraw()
    }

    fn pass(&mut self, to: Instant) {
        self.now = to;
        for at in [0, 1] {
            self.ends[at].link.handle_timeout(to);
            // A link that ends now has seen to its channels first.
            if self.ends[at].stage != Stage::Over && at == self.from {
                self.sender.expire(to);
            }
            let next = self.ends[at].link.poll_deadline();
            assert!(
                next.is_none_or(|next| next > to),
                "the deadline stays at {next:?}"
            );
        }
    }

    /// The next moment at which anything can happen by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let deadlines = self.ends.iter().filter_map(|end| end.link.poll_deadline());
        deadlines.min()
    }

    pub(super) fn sleep(&mut self) {
        if let Some(deadline) = self.deadline() {
            self.pass(deadline.max(self.now));
        }
    }

    fn cut(&mut self) {
        self.cut = true;
        for end in &mut self.ends {
            end.pipe.clear();
            end.eof_given = true;
            if end.connected > 0 && !end.dropped {
                end.link.handle_lost(self.now, Disconnect::Transport);
                assert!(!end.link.wants_connection());
            }
        }
    }

    // The wire.

    /// Polls one end's output once; true when something moved.
    pub(super) fn poll(&mut self, at: usize, space: usize) -> bool {
        let mut buffer = vec![0; space];
        let now = self.now;
        match self.ends[at].link.poll_output(now, &mut buffer) {
            Output::Written(length) => {
                self.wrote(at, &buffer[..length]);
                true
            }
            Output::TooSmall { needed } => {
                assert!(needed > space, "{needed} needed, {space} given");
                self.poll_at_least(at, needed);
                true
            }
            Output::Idle => {
                assert!(!self.ends[at].link.wants_output());
                false
            }
            Output::End => {
                let moved = !self.ends[at].write_ended;
                self.ends[at].write_ended = true;
                moved
            }
        }
    }

    /// A buffer was too small: one byte less than `needed` is too, `needed` is enough.
    fn poll_at_least(&mut self, at: usize, needed: usize) {
        let mut buffer = vec![0; needed];
        let now = self.now;
        let less = self.ends[at]
            .link
            .poll_output(now, &mut buffer[..needed - 1]);
        assert_eq!(less, Output::TooSmall { needed });
        match self.ends[at].link.poll_output(now, &mut buffer) {
            Output::Written(length) => self.wrote(at, &buffer[..length]),
            other => panic!("{needed} bytes were asked for, then {other:?}"),
        }
    }

    fn wrote(&mut self, at: usize, bytes: &[u8]) {
        assert!(!bytes.is_empty());
        let end = &mut self.ends[at];
        assert!(!end.write_ended, "output after the end");
        self.log.bytes[at].extend_from_slice(bytes);
        if !self.cut && !self.ends[1 - at].dropped {
            self.ends[at].pipe.extend(bytes);
        }
        if at == self.from {
            for seen in self.messages[0].feed(bytes) {
                let sequence = self.sender.written(self.now, &seen);
                if let Seen::Data { first: true, .. } = seen {
                    self.begun.push(sequence);
                }
            }
        } else {
            for _ in 0..self.confirmations[0].feed(bytes) {
                self.confirm();
            }
        }
    }

    /// The receiver confirms a message: it has arrived, and is or will be taken. As far as this
    /// dialect can tell it is handled then.
    fn confirm(&mut self) {
        assert!(self.confirmed < self.arrived, "confirmed before it came");
        let taken = self.confirmed < self.taken;
        assert!(taken || !self.abandoned, "confirmed to nobody's use");
        let most = usize::try_from(self.receiver.chan.window.0).expect("few");
        assert!(
            taken || self.receiver.queued() < most,
            "confirmed without room"
        );
        self.sender
            .decide(self.begun[self.confirmed], Verdict::HANDLED);
        self.confirmed += 1;
    }

    /// Moves bytes from one end to the other; true when something moved.
    pub(super) fn carry(&mut self, from: usize, bytes: usize, piece: usize) -> bool {
        let to = 1 - from;
        if self.ends[to].dropped {
            self.ends[from].pipe.clear();
        }
        if self.ends[to].connected < 2 && !self.ends[from].pipe.is_empty() {
            return false;
        }
        let count = bytes.min(self.ends[from].pipe.len());
        let taken: Vec<u8> = self.ends[from].pipe.drain(..count).collect();
        for piece in taken.chunks(self.case.piece(piece)) {
            self.arrive(to, piece);
        }
        let gone = self.ends[from].write_ended || self.ends[from].dropped;
        let end = &mut self.ends[from];
        if bytes > 0 && gone && end.pipe.is_empty() && !end.eof_given {
            if self.ends[to].connected == 0 {
                return count > 0;
            }
            self.ends[from].eof_given = true;
            self.eof(to);
            return true;
        }
        count > 0
    }

    fn arrive(&mut self, at: usize, bytes: &[u8]) {
        if matches!(
            self.ends[at].link.state(),
            LinkState::Open | LinkState::Closing
        ) {
            if at == self.from {
                for _ in 0..self.confirmations[1].feed(bytes) {
                    let through = *self.begun.last().expect("a message to confirm");
                    self.sender.answered(&Seen::Ack {
                        channel: 0,
                        through,
                    });
                }
            } else {
                for seen in self.messages[1].feed(bytes) {
                    self.receive(&seen);
                }
            }
        }
        self.ends[at].link.handle_input(self.now, bytes);
    }

    fn receive(&mut self, seen: &Seen) {
        let Seen::Data {
            first,
            last,
            length,
            ..
        } = *seen
        else {
            panic!("{seen:?} is no part of a message");
        };
        // Without a receiver nothing looks at what arrives.
        if !self.abandoned {
            let origin = |number| (0, self.begun[usize::try_from(number).expect("few") - 1]);
            let refused = self.receiver.arrive((first, last), length, origin);
            assert_eq!(refused, None);
            self.arrived += usize::from(last);
        }
    }

    fn eof(&mut self, at: usize) {
        let open = self.ends[at].stage == Stage::Open;
        self.ends[at].link.handle_eof(self.now);
        if open && self.ends[at].link.state() == LinkState::Finishing {
            self.ends[at].stage = Stage::Closing;
            self.withdraw(at);
        }
    }

    // Events.

    pub(super) fn poll_events(&mut self, at: usize) {
        while let Some(event) = self.ends[at].link.poll_event() {
            self.told(at, &event);
            self.log.events.push((at, event));
        }
        let takes = matches!(self.ends[at].stage, Stage::Before | Stage::Open);
        if at == self.from {
            self.sender.check_told(takes);
        } else {
            self.receiver.check_read();
        }
        if self.ends[at].stage == Stage::Over {
            assert!(self.ends[at].ended_told, "not told of the end");
        }
    }

    fn told(&mut self, at: usize, event: &Event) {
        let end = &mut self.ends[at];
        assert!(!end.ended_told, "{event:?} after the end");
        match event {
            Event::Connected => {
                assert!(!end.connected_told && end.stage != Stage::Before);
                end.connected_told = true;
            }
            Event::PeerClosing => {
                assert!(!end.closing_told && end.stage != Stage::Open && !end.by_us);
                end.closing_told = true;
            }
            Event::Ended => {
                assert_eq!(end.stage, Stage::Over);
                end.ended_told = true;
            }
            Event::Readable(_) => self.receiver.readable(),
            Event::Handled { .. } | Event::Verdict { .. } | Event::Room(_) => {
                let takes = matches!(end.stage, Stage::Before | Stage::Open);
                self.sender.told(event, takes);
            }
            other => panic!("{other:?}"),
        }
    }
}
