//! The reference model: what must become of every message of one channel, said plainly.

use core::time::Duration;
use std::collections::VecDeque;

use countersign_core::{
    Dialect, Event, Instant, Rejection, SendError, Verdict, VerdictKind, reject,
};

use super::case::Chan;
use super::wire::Seen;

/// One message, from its sender to its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    length: usize,
    expires: Option<Instant>,
    /// Some of it is on the wire, and all of it.
    begun: bool,
    whole: bool,
    /// How much of it is on the wire.
    written: usize,
    /// The receiver's acknowledgement has passed it.
    acked: bool,
    /// What the receiving application said.
    decision: Option<Verdict>,
    /// The verdict that it must get, once that is certain.
    expected: Option<Verdict>,
    /// The verdict that the sender was told.
    told: Option<Verdict>,
}

impl Msg {
    fn is_waiting(&self) -> bool {
        !self.begun && self.expected.is_none()
    }
}

/// One channel.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) chan: Chan,
    at: usize,
    native: bool,
    /// The receiver's limit is known to the sender.
    agreed: bool,
    pub(crate) msgs: Vec<Msg>,
    /// Sequence numbers in the order in which they went on the wire.
    begun: Vec<u64>,
    /// How many of those have arrived.
    arrived: usize,
    /// Arrived and not taken: number at the sender, number at the receiver.
    queue: VecDeque<(u64, u64)>,
    /// Taken and not settled, `Manual` only.
    pub(crate) waiting: Vec<u64>,
    abandoned: bool,
    taken: u64,
    /// The shortest message that was refused for want of room since the last `Room`.
    blocked: Option<usize>,
    /// Arrivals that the application has not been told of.
    unread: bool,
    /// When the receiver last had a message, or got its link, unless silence was told since.
    heard: Option<Instant>,
    /// Silence that the application has not been told of.
    silent: bool,
}

/// The payload of a message: a function of where and which it is.
pub(crate) fn payload(channel: usize, sequence: u64, length: usize) -> Vec<u8> {
    let mut state = (channel as u64 + 1)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add(sequence);
    let mut bytes = Vec::with_capacity(length);
    for _ in 0..length {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        bytes.push(state.to_be_bytes()[0]);
    }
    bytes
}

fn at(sequence: u64) -> usize {
    usize::try_from(sequence - 1).expect("few messages")
}

impl Model {
    pub(crate) fn new(chan: &Chan, at: usize, dialect: Dialect) -> Self {
        Self {
            chan: chan.clone(),
            at,
            native: dialect == Dialect::Countersign,
            agreed: false,
            msgs: Vec::new(),
            begun: Vec::new(),
            arrived: 0,
            queue: VecDeque::new(),
            waiting: Vec::new(),
            abandoned: false,
            taken: 0,
            blocked: None,
            unread: false,
            heard: None,
            silent: false,
        }
    }

    pub(crate) fn limit(&self) -> usize {
        if self.agreed && self.native {
            self.chan.max[0].min(self.chan.max[1])
        } else {
            self.chan.max[0]
        }
    }

    // The sender's side.

    fn has_room(&self, length: usize) -> bool {
        let stored = |msg: &&Msg| (msg.begun && !msg.acked) || msg.is_waiting();
        let rejected = |msg: &Msg| matches!(msg.expected, Some(Verdict::Rejected(_)));
        let count = self.msgs.iter().filter(stored).count();
        let untold = self.msgs.iter().filter(|msg| {
            msg.told.is_none() && msg.expected.as_ref().is_some_and(|v| !v.is_handled())
        });
        let held = self.msgs.iter().filter(stored).filter(|msg| !rejected(msg));
        let bytes: usize = held.map(|msg| msg.length).sum();
        let replaced = self
            .msgs
            .iter()
            .filter(|msg| self.chan.latest && msg.is_waiting());
        let freed: usize = replaced.map(|msg| msg.length).sum();
        count + untold.count() < self.chan.queue.0
            && bytes - freed + length <= self.chan.queue_bytes()
    }

    /// What `send` must answer on a link that takes messages.
    pub(crate) fn send(
        &mut self,
        length: usize,
        expires: Option<Instant>,
    ) -> Result<u64, SendError> {
        let limit = self.limit();
        if length > limit {
            return Err(SendError::TooLarge { length, limit });
        }
        if length == 0 && !self.native {
            return Err(SendError::Empty);
        }
        if !self.has_room(length) {
            self.blocked = Some(self.blocked.map_or(length, |least| least.min(length)));
            return Err(SendError::Blocked);
        }
        if self.chan.latest {
            for msg in self.msgs.iter_mut().filter(|msg| msg.is_waiting()) {
                msg.expected = Some(Verdict::Superseded);
            }
        }
        self.msgs.push(Msg {
            length,
            expires,
            begun: false,
            whole: false,
            written: 0,
            acked: false,
            decision: None,
            expected: None,
            told: None,
        });
        Ok(self.msgs.len() as u64)
    }

    pub(crate) fn next_payload(&self, length: usize) -> Vec<u8> {
        payload(self.at, self.msgs.len() as u64 + 1, length)
    }

    /// The sender's clock was told of `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        for msg in self.msgs.iter_mut().filter(|msg| msg.is_waiting()) {
            if msg.expires.is_some_and(|expires| expires <= now) {
                msg.expected = Some(Verdict::Expired);
            }
        }
    }

    /// Whether there was anything to withdraw.
    pub(crate) fn withdraw(&mut self) -> bool {
        let mut any = false;
        for msg in self.msgs.iter_mut().filter(|msg| msg.is_waiting()) {
            msg.expected = Some(Verdict::Withdrawn);
            any = true;
        }
        any
    }

    /// The sender's link has ended. `in_order`: nothing may have been left.
    pub(crate) fn end(&mut self, in_order: bool) {
        for msg in self.msgs.iter_mut().filter(|msg| msg.expected.is_none()) {
            assert!(
                !in_order || !msg.begun,
                "closed in order, but {msg:?} is left"
            );
            msg.expected = Some(if msg.begun {
                Verdict::Unknown
            } else {
                Verdict::Withdrawn
            });
        }
    }

    /// The sender has heard the receiver's limits.
    pub(crate) fn agree(&mut self) {
        self.agreed = true;
        let limit = self.limit();
        for msg in self
            .msgs
            .iter_mut()
            .filter(|msg| msg.is_waiting() && msg.length > limit)
        {
            msg.expected = Some(Verdict::Rejected(Rejection {
                code: reject::TOO_LARGE,
                reason: format!("the peer takes messages of {limit} bytes at most"),
            }));
        }
    }

    /// The sender has put something on the wire.
    pub(crate) fn written(&mut self, now: Instant, seen: &Seen) {
        let Seen::Data {
            number,
            first,
            last,
            length,
            total,
            ..
        } = seen
        else {
            return;
        };
        let sequence = if *first {
            let next = self
                .msgs
                .iter()
                .position(Msg::is_waiting)
                .expect("something to send");
            self.begun.push(next as u64 + 1);
            next as u64 + 1
        } else {
            *self.begun.last().expect("a message to go on with")
        };
        let msg = &mut self.msgs[at(sequence)];
        assert!(
            msg.expires.is_none_or(|e| e > now) || !first,
            "begun after expiry: {msg:?}"
        );
        assert!(number.is_none_or(|number| u64::from(number) == sequence));
        assert!(total.is_none_or(|total| total == msg.length));
        msg.begun = true;
        msg.whole |= last;
        msg.written += length;
        assert_eq!(msg.whole, msg.written == msg.length && *last);
        self.check_flight();
    }

    fn check_flight(&self) {
        let flying = self.msgs.iter().filter(|msg| msg.begun && !msg.acked);
        let (count, bytes) = flying.fold((0, 0), |(n, sum), msg| (n + 1, sum + msg.written));
        if self.native {
            assert!(
                count <= self.chan.flight().min(self.chan.window.0),
                "{count} in flight"
            );
            assert!(bytes <= self.chan.window_bytes(), "{bytes} bytes in flight");
        } else {
            assert!(count <= 1);
        }
    }

    /// The sender has heard something about its messages.
    pub(crate) fn answered(&mut self, seen: &Seen) {
        match seen {
            Seen::Ack { through, .. } => {
                let oldest = || self.msgs.iter().position(|msg| msg.whole && !msg.acked);
                let through = through.or_else(|| oldest().map(|at| at as u64 + 1));
                let through = through.expect("a message to confirm");
                for msg in &mut self.msgs[..usize::try_from(through).expect("few")] {
                    if msg.begun && msg.expected.is_none() {
                        assert!(msg.whole, "acknowledged before it was written: {msg:?}");
                        // `tlsstream` confirms what has arrived.
                        let handled = msg.decision == Some(Verdict::Handled) || !self.native;
                        assert!(handled, "acknowledged but not handled: {msg:?}");
                        msg.expected = Some(Verdict::Handled);
                    }
                    assert!(
                        msg.expected.is_some(),
                        "acknowledged before it was begun: {msg:?}"
                    );
                    msg.acked |= msg.begun;
                }
            }
            Seen::Reject {
                sequence,
                code,
                reason,
                ..
            } => {
                let msg = &mut self.msgs[at(*sequence)];
                let reason = reason.clone();
                let said = Verdict::Rejected(Rejection {
                    code: *code,
                    reason,
                });
                assert_eq!(msg.decision.as_ref(), Some(&said));
                assert_eq!(msg.expected, None);
                msg.expected = Some(said);
            }
            _ => {}
        }
    }

    /// The sender's link has given an event about this channel.
    pub(crate) fn told(&mut self, event: &Event, takes: bool) {
        match event {
            Event::Verdict {
                sequence, verdict, ..
            } => {
                assert!(!verdict.is_handled());
                self.tell(*sequence, verdict);
            }
            Event::Handled { first, last, .. } => {
                let mut any = false;
                for sequence in *first..=*last {
                    if self.msgs[at(sequence)].told.is_none() {
                        self.tell(sequence, &Verdict::Handled);
                        any = true;
                    }
                }
                assert!(any, "a range of handled messages without one");
            }
            Event::Room(_) => {
                let length = self.blocked.take().expect("room for what was refused");
                assert!(
                    !takes || self.has_room(length),
                    "told of room where there is none"
                );
            }
            other => panic!("{other:?} at a sender"),
        }
    }

    fn tell(&mut self, sequence: u64, verdict: &Verdict) {
        let msg = &mut self.msgs[at(sequence)];
        assert_eq!(msg.told, None, "a second verdict for {sequence}: {verdict}");
        assert_eq!(
            msg.expected.as_ref(),
            Some(verdict),
            "message {sequence}: {msg:?}"
        );
        msg.told = Some(verdict.clone());
    }

    /// Checks that the sender was told all there is to tell.
    pub(crate) fn check_told(&self, takes: bool) {
        for (at, msg) in self.msgs.iter().enumerate() {
            assert_eq!(msg.told, msg.expected, "message {}: {msg:?}", at + 1);
        }
        if let (true, Some(length)) = (takes, self.blocked) {
            assert!(
                !self.has_room(length),
                "not told of room for {length} bytes"
            );
        }
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.msgs.iter().all(|msg| msg.told.is_some())
    }

    pub(crate) fn count(&self, kind: VerdictKind) -> u64 {
        let of_kind = |msg: &&Msg| msg.told.as_ref().is_some_and(|v| v.kind() == kind);
        self.msgs.iter().filter(of_kind).count() as u64
    }

    // The receiver's side.

    fn no_receiver() -> Verdict {
        Verdict::Rejected(Rejection {
            code: reject::NO_RECEIVER,
            reason: String::new(),
        })
    }

    /// The receiver has got something from the wire.
    pub(crate) fn received(&mut self, now: Instant, seen: &Seen) {
        if let Seen::Data { last: true, .. } = seen {
            if self.abandoned && !self.native {
                // Nobody looks at what comes: it can't be rejected, and must not be confirmed.
                return;
            }
            self.heard = Some(now);
            let sequence = self.begun[self.arrived];
            self.arrived += 1;
            // `tlsstream` has no numbers on the wire, so the receiver counts what comes.
            let theirs = if self.native {
                sequence
            } else {
                self.arrived as u64
            };
            if self.abandoned {
                self.msgs[at(sequence)].decision = Some(Self::no_receiver());
            } else {
                self.queue.push_back((sequence, theirs));
                self.unread = true;
            }
        }
    }

    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.taken
    }

    /// What `take` must give.
    pub(crate) fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        let (sequence, theirs) = self.queue.pop_front()?;
        self.taken += 1;
        let msg = &mut self.msgs[at(sequence)];
        if self.chan.manual {
            self.waiting.push(theirs);
        } else {
            msg.decision = Some(Verdict::Handled);
        }
        Some((theirs, payload(self.at, sequence, msg.length)))
    }

    pub(crate) fn decide(&mut self, sequence: u64, decision: Verdict) {
        self.waiting.retain(|waiting| *waiting != sequence);
        self.msgs[at(sequence)].decision = Some(decision);
    }

    pub(crate) fn abandon(&mut self) {
        self.abandoned = true;
        for (sequence, _) in self.queue.drain(..) {
            self.msgs[at(sequence)].decision = Some(Self::no_receiver());
        }
    }

    /// The receiver's link is up.
    pub(crate) fn open(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// The receiver's clock was told of `now`.
    pub(crate) fn wait(&mut self, now: Instant) {
        let after = self.chan.silence.map(Duration::from_millis);
        if let (Some(heard), Some(after)) = (self.heard, after)
            && now >= heard + after
        {
            self.silent = true;
            self.heard = None;
        }
    }

    pub(crate) fn silent(&mut self) {
        assert!(self.silent, "told of silence too early or again");
        self.silent = false;
    }

    pub(crate) fn readable(&mut self) {
        assert!(
            !self.queue.is_empty(),
            "told of messages where there are none"
        );
        self.unread = false;
    }

    pub(crate) fn check_read(&self) {
        assert!(!self.silent, "not told of silence");
        let read = !self.unread || self.queue.is_empty();
        assert!(read, "not told of a message");
    }
}
