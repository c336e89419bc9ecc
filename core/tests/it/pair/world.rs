//! Two links, the wire between them, a clock, and the models of their channels.

use std::collections::VecDeque;

use countersign_core::{
    ChannelId, CloseMode, CloseReason, Dialect, Disconnect, Event, Instant, Life, Link, Output,
    ReceiveError, Rejection, Role, SendError, Verdict, close,
};

use super::case::{Case, Op};
use super::model::Model;
use super::wire::{Observer, Seen};

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
    pub(super) heard: Instant,
    /// What it has written, and whether it has ended that.
    pub(super) pipe: VecDeque<u8>,
    pub(super) write_ended: bool,
    pub(super) eof_given: bool,
    /// It has let go of the connection.
    pub(super) dropped: bool,
    /// Observers of what it writes and of what it reads.
    pub(super) out: Observer,
    pub(super) inp: Observer,
    pub(super) connected_told: bool,
    pub(super) closing_told: bool,
    pub(super) ended_told: bool,
    /// What it says with its close, what it has heard, and whether it has said DONE.
    pub(super) said: CloseReason,
    pub(super) heard_said: CloseReason,
    pub(super) done: bool,
}

/// What is said with a code.
pub(crate) fn reason(code: u32) -> CloseReason {
    match code {
        0 => CloseReason::ALL_WELL,
        1 => CloseReason::new(1, "because"),
        _ => CloseReason::new(code, "").again(),
    }
}

pub(crate) struct World<'a> {
    pub(super) case: &'a Case,
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    pub(super) models: Vec<Model>,
    pub(super) cut: bool,
    pub(super) log: Log,
}

impl<'a> World<'a> {
    pub(crate) fn new(case: &'a Case) -> Self {
        let end = |at: usize| {
            let role = [Role::Opener, Role::Acceptor][at];
            let seed = [u8::try_from(at).expect("two ends"); 16];
            let sends = case.channels[0].sender == at;
            End {
                link: Link::new(&case.config(at).single_connection(), role, seed)
                    .expect("a sound declaration"),
                connected: 0,
                opened: Instant::ZERO,
                stage: Stage::Before,
                by_us: false,
                closing_since: Instant::ZERO,
                heard: Instant::ZERO,
                pipe: VecDeque::new(),
                write_ended: false,
                eof_given: false,
                dropped: false,
                out: Observer::new(case.dialect, sends),
                inp: Observer::new(case.dialect, !sends),
                connected_told: false,
                closing_told: false,
                ended_told: false,
                said: CloseReason::ALL_WELL,
                heard_said: CloseReason::ALL_WELL,
                done: false,
            }
        };
        let model = |(at, chan)| Model::new(chan, at, case.dialect);
        Self {
            case,
            now: Instant::from_micros(1_000),
            ends: [end(0), end(1)],
            models: case.channels.iter().enumerate().map(model).collect(),
            cut: false,
            log: Log::default(),
        }
    }

    pub(crate) fn run(mut self) -> Log {
        if self.case.connected {
            self.connect_all();
        }
        for op in &self.case.ops {
            self.apply(op);
            self.check();
        }
        self.finish();
        self.log
    }

    pub(super) fn id(&self, channel: usize, end: usize) -> ChannelId {
        ChannelId(self.case.position(channel, end))
    }

    pub(super) fn receiver(&self, channel: usize) -> usize {
        1 - self.models[channel].chan.sender
    }

    pub(super) fn native(&self) -> bool {
        self.case.dialect == Dialect::Countersign
    }

    // What happens.

    fn apply(&mut self, op: &Op) {
        let count = self.models.len();
        match *op {
            Op::Connect(end) => self.connect(end),
            Op::Send {
                channel,
                size,
                expires,
            } => self.send(channel % count, size, expires),
            Op::Take(channel) => drop(self.take(channel % count)),
            Op::Handle { channel, which } => self.handle(channel % count, which),
            Op::Reject {
                channel,
                which,
                code,
                reason,
            } => {
                self.reject(channel % count, which, code, reason);
            }
            Op::HandleWrong { channel, sequence } => self.handle_wrong(channel % count, sequence),
            Op::Abandon(channel) => self.abandon(channel % count),
            Op::Close(end, mode, code) => self.close(end, mode, code),
            Op::Pass(micros) => self.pass(self.now + core::time::Duration::from_micros(micros)),
            Op::Sleep => self.sleep(),
            Op::Move { from, bytes, piece } => drop(self.carry(from, bytes, piece)),
            Op::Poll { end, space } => drop(self.poll(end, space)),
            Op::PollEvents(end) => self.poll_events(end),
            Op::Cut => self.cut(),
        }
    }

    fn connect(&mut self, at: usize) {
        let (now, native) = (self.now, self.native());
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
                end.heard = now;
                if !native {
                    end.stage = Stage::Open;
                    if self.models[0].chan.sender == at {
                        self.models[0].agree();
                    } else {
                        self.models[0].open(now);
                    }
                }
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

    fn send(&mut self, channel: usize, size: usize, expires: Option<u64>) {
        let model = &mut self.models[channel];
        let at = model.chan.sender;
        let id = ChannelId(self.case.position(channel, at));
        let length = model.chan.max[0] * size / 1000;
        let expires = expires.map(|after| self.now + core::time::Duration::from_micros(after));
        let payload = model.next_payload(length);
        let end = &mut self.ends[at];
        let got = end
            .link
            .send(self.now, id, payload, expires)
            .map_err(|not| not.why);
        let expected = match end.stage {
            Stage::Over => Err(SendError::Ended),
            Stage::Closing => Err(SendError::Closing),
            _ => model.send(length, expires),
        };
        assert_eq!(got, expected);
        if got.is_ok() && expires.is_some_and(|expires| expires <= self.now) {
            end.link.handle_timeout(self.now);
            model.expire(self.now);
        }
    }

    pub(super) fn take(&mut self, channel: usize) -> bool {
        let at = self.receiver(channel);
        let id = self.id(channel, at);
        let got = self.ends[at]
            .link
            .take(self.now, id)
            .expect("a channel in receive mode");
        let expected = self.models[channel].take();
        let got = got.map(|message| (message.sequence, message.payload.to_vec()));
        assert!(got == expected, "took {got:?} instead of {expected:?}");
        got.is_some()
    }

    fn chosen(&self, channel: usize, which: usize) -> Option<u64> {
        let waiting = &self.models[channel].waiting;
        (!waiting.is_empty()).then(|| waiting[which % waiting.len()])
    }

    pub(super) fn handle(&mut self, channel: usize, which: usize) {
        let at = self.receiver(channel);
        let id = self.id(channel, at);
        if let Some(sequence) = self.chosen(channel, which) {
            assert_eq!(self.ends[at].link.handle(self.now, id, sequence), Ok(()));
            self.models[channel].decide(sequence, Verdict::Handled);
        }
    }

    fn reject(&mut self, channel: usize, which: usize, code: u32, reason: usize) {
        let at = self.receiver(channel);
        let id = self.id(channel, at);
        if let Some(sequence) = self.chosen(channel, which) {
            let said = "é".repeat(reason);
            assert_eq!(
                self.ends[at]
                    .link
                    .reject(self.now, id, sequence, code, &said),
                Ok(())
            );
            let reason = "é".repeat(reason.min(128));
            let rejection = Rejection { code, reason };
            self.models[channel].decide(sequence, Verdict::Rejected(rejection));
        }
    }

    fn handle_wrong(&mut self, channel: usize, sequence: u64) {
        let at = self.receiver(channel);
        let id = self.id(channel, at);
        if !self.models[channel].waiting.contains(&sequence) {
            let link = &mut self.ends[at].link;
            assert_eq!(
                link.handle(self.now, id, sequence),
                Err(ReceiveError::NotWaiting)
            );
            assert_eq!(
                link.reject(self.now, id, sequence, 0, ""),
                Err(ReceiveError::NotWaiting)
            );
        }
    }

    fn abandon(&mut self, channel: usize) {
        let at = self.receiver(channel);
        let id = self.id(channel, at);
        if !self.native() {
            self.closing(at, CloseMode::Withdraw, 0);
        }
        assert_eq!(self.ends[at].link.abandon(self.now, id), Ok(()));
        self.models[channel].abandon();
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
        if end.link.life() == Life::Finishing {
            return;
        }
        if end.said == CloseReason::ALL_WELL && !end.done {
            end.said = reason(code);
        }
        if withdraws && mode == CloseMode::Withdraw && self.withdraw(at) {
            let end = &mut self.ends[at];
            if end.said == CloseReason::ALL_WELL && !end.done {
                end.said = CloseReason::new(close::WITHDRAWN, "");
            }
        }
        if mode != CloseMode::DrainBoth {
            let theirs = self.models.iter_mut();
            theirs
                .filter(|model| model.chan.sender != at)
                .for_each(Model::abandon);
        }
    }

    /// Whether there was anything to withdraw.
    fn withdraw(&mut self, at: usize) -> bool {
        let mut any = false;
        for model in &mut self.models {
            any |= model.chan.sender == at && model.withdraw();
        }
        any
    }

    fn pass(&mut self, to: Instant) {
        self.now = to;
        for at in [0, 1] {
            self.ends[at].link.handle_timeout(to);
            // A link that ends now has seen to its channels first.
            if self.ends[at].stage != Stage::Over {
                for model in &mut self.models {
                    if model.chan.sender == at {
                        model.expire(to);
                    } else {
                        model.wait(to);
                    }
                }
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
        for seen in self.ends[at].out.feed(bytes) {
            match seen {
                Seen::Complaint => panic!("an honest end complains"),
                Seen::Done => self.ends[at].done = true,
                Seen::Data { channel, .. } => {
                    let model = &mut self.models[channel];
                    assert_eq!(model.chan.sender, at);
                    model.written(self.now, &seen);
                }
                _ => {}
            }
        }
        if self.native() && self.ends[at].stage != Stage::Before {
            // A greeting may be longer than a frame limit that is not agreed on yet.
            let greeting = 8 + 34 + self.models.len() * 50;
            let limit = self.case.frame_limits[0].min(self.case.frame_limits[1]);
            assert!(self.ends[at].out.longest <= limit.max(greeting));
        }
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
        let life = self.ends[at].link.life();
        if matches!(life, Life::Greeting | Life::Open | Life::Closing) {
            self.ends[at].heard = self.now;
            for seen in self.ends[at].inp.feed(bytes) {
                self.observe(at, &seen);
            }
        }
        self.ends[at].link.handle_input(self.now, bytes);
    }

    /// What an arriving frame means to the models.
    fn observe(&mut self, at: usize, seen: &Seen) {
        match seen {
            Seen::Greeting(_) => {
                self.ends[at].stage = Stage::Open;
                for model in &mut self.models {
                    if model.chan.sender == at {
                        model.agree();
                    } else {
                        model.open(self.now);
                    }
                }
            }
            Seen::Close((code, text, again), _) => {
                self.ends[at].heard_said = CloseReason {
                    code: u32::try_from(*code).expect("four bytes"),
                    text: text.clone(),
                    again: *again,
                };
                if self.ends[at].stage == Stage::Open {
                    self.ends[at].stage = Stage::Closing;
                    self.ends[at].closing_since = self.now;
                    self.withdraw(at);
                }
            }
            Seen::Ack { channel, .. } | Seen::Reject { channel, .. } => {
                self.models[*channel].answered(seen);
            }
            Seen::Data { channel, .. } => self.models[*channel].received(self.now, seen),
            _ => {}
        }
    }

    fn eof(&mut self, at: usize) {
        let open = self.ends[at].stage == Stage::Open;
        self.ends[at].link.handle_eof(self.now);
        if open && self.ends[at].link.life() == Life::Finishing {
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
        for model in &self.models {
            if model.chan.sender == at {
                model.check_told(takes);
            } else {
                model.check_read();
            }
        }
        if self.ends[at].stage == Stage::Over {
            assert!(self.ends[at].ended_told, "not told of the end");
        }
    }

    fn told(&mut self, at: usize, event: &Event) {
        let end = &mut self.ends[at];
        assert!(!end.ended_told, "{event:?} after the end");
        let of = |channel: &ChannelId| usize::from(self.case.position(channel.0.into(), at));
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
            Event::Readable(channel) => self.models[of(channel)].readable(),
            Event::Silent(channel) => self.models[of(channel)].silent(),
            Event::Handled { channel, .. }
            | Event::Verdict { channel, .. }
            | Event::Room(channel) => {
                let takes = matches!(end.stage, Stage::Before | Stage::Open);
                self.models[of(channel)].told(event, takes);
            }
            other => panic!("{other:?}"),
        }
    }
}
