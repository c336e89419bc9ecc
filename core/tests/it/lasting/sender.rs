//! The model's sender: what must become of every message that one link accepted on one channel.

use countersign_core::{
    Event, Instant, Rejection, SendError, Sequence, Verdict, VerdictKind, reject,
};

use crate::lasting::observer::Seen;
use crate::lasting::usual::Chan;

/// One message, from its sender to its verdict.
#[derive(Clone, Debug)]
pub(crate) struct Msg {
    length: usize,
    accepted: Instant,
    expires: Option<Instant>,
    /// The receiver has some of it or may get it, and all of it, on this connection.
    begun: bool,
    whole: bool,
    /// How much of it that is.
    written: usize,
    /// It was begun on an earlier connection of this session.
    again: bool,
    /// The receiver's acknowledgement has passed it, or its session is over.
    settled: bool,
    /// What the receiving application said.
    decision: Option<Verdict>,
    /// The verdict that it must get, once that is certain.
    expected: Option<Verdict>,
    /// The verdict that the sender got.
    pub(super) told: Option<Verdict>,
}

impl Msg {
    fn is_waiting(&self) -> bool {
        !self.begun && self.expected.is_none()
    }
}

/// All messages of one link on one channel, across its sessions.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) chan: Chan,
    /// The largest message, as far as this end knows.
    limit: usize,
    pub(crate) msgs: Vec<Msg>,
    /// How many of them belong to earlier sessions.
    pub(crate) base: usize,
    /// The shortest message that was refused for want of room since the last `Room`.
    blocked: Option<usize>,
    /// How often a message went out again.
    replayed: u64,
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("few messages")
}

impl Sender {
    pub(crate) fn new(chan: &Chan) -> Self {
        Self {
            chan: chan.clone(),
            limit: chan.max[0],
            msgs: Vec::new(),
            base: 0,
            blocked: None,
            replayed: 0,
        }
    }

    fn session(&mut self) -> &mut [Msg] {
        &mut self.msgs[self.base..]
    }

    fn waiting(&mut self) -> impl Iterator<Item = &mut Msg> {
        self.session().iter_mut().filter(|msg| msg.is_waiting())
    }

    fn has_room(&self, length: usize) -> bool {
        let stored = |msg: &&Msg| (msg.begun && !msg.settled) || msg.is_waiting();
        let count = self.msgs.iter().filter(stored).count();
        let untold = self.msgs.iter().filter(|msg| {
            msg.told.is_none() && msg.expected.as_ref().is_some_and(|v| !v.is_handled())
        });
        let held = self
            .msgs
            .iter()
            .filter(stored)
            .filter(|msg| msg.expected.is_none());
        let bytes: usize = held.map(|msg| msg.length).sum();
        let mut replaced = self.msgs.iter().filter(|msg| msg.is_waiting());
        let freed = match replaced.next() {
            Some(msg) if self.chan.latest => msg.length,
            _ => 0,
        };
        count + untold.count() < self.chan.queue.0
            && bytes - freed + length <= self.chan.queue_bytes()
    }

    /// What `send` must answer on a link that takes messages.
    pub(crate) fn send(
        &mut self,
        length: usize,
        accepted: Instant,
        expires: Option<Instant>,
    ) -> Result<Sequence, SendError> {
        let limit = self.limit;
        if length > limit {
            return Err(SendError::TooLarge { length, limit });
        }
        if !self.has_room(length) {
            self.blocked = Some(self.blocked.map_or(length, |least| least.min(length)));
            return Err(SendError::Blocked);
        }
        if self.chan.latest {
            for msg in self.waiting() {
                msg.expected = Some(Verdict::Superseded);
            }
        }
        self.msgs.push(Msg {
            length,
            accepted,
            expires,
            begun: false,
            whole: false,
            written: 0,
            again: false,
            settled: false,
            decision: None,
            expected: None,
            told: None,
        });
        Ok(self.msgs.len() as u64)
    }

    /// The sender's clock has advanced to `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        for msg in self.waiting() {
            if msg.expires.is_some_and(|expires| expires <= now) {
                msg.expected = Some(Verdict::Expired);
            }
        }
    }

    /// Whether there was anything to withdraw.
    pub(crate) fn withdraw(&mut self) -> bool {
        let mut any = false;
        for msg in self.waiting() {
            msg.expected = Some(Verdict::Withdrawn);
            any = true;
        }
        any
    }

    /// The link has ended. `in_order`: nothing may have been left.
    pub(crate) fn end(&mut self, in_order: bool) {
        let left = self.session().iter().find(|msg| msg.expected.is_none());
        assert!(
            !in_order || left.is_none_or(|msg| !msg.begun),
            "closed in order, but {left:?} is left"
        );
        self.lose(None);
    }

    // Connections and sessions.

    /// The receiver has said what it has.
    pub(crate) fn resume(&mut self, figures: [u64; 3]) {
        let [handled, received, partial] = figures;
        self.acknowledge(handled);
        for (number, msg) in (1..).zip(self.session()) {
            if number <= received || !msg.begun {
                let there = number > received || msg.whole || msg.expected.is_some();
                assert!(there, "received before it was sent: {msg:?}");
            } else if number == received + 1 && partial > 0 {
                assert!(msg.written >= index(partial), "more than was sent: {msg:?}");
                msg.written = index(partial);
                msg.whole = false;
            } else {
                assert_eq!(msg.expected, None, "a verdict without a message");
                (msg.begun, msg.whole, msg.written) = (false, false, 0);
                msg.again = true;
            }
        }
        if self.chan.latest {
            let count = self.waiting().count();
            for msg in self.waiting().take(count.saturating_sub(1)) {
                msg.expected = Some(Verdict::Superseded);
            }
        }
    }

    /// The session is over. `known`: what its receiver says it has settled.
    pub(crate) fn lose(&mut self, known: Option<u64>) {
        for (number, msg) in (1..).zip(self.session()) {
            msg.settled = true;
            if msg.expected.is_some() {
                continue;
            }
            msg.expected = Some(if known.is_some_and(|known| number <= known) {
                let handled = msg.whole && msg.decision == Some(Verdict::HANDLED);
                assert!(handled, "said to be handled: {msg:?}");
                Verdict::HANDLED
            } else if msg.begun {
                Verdict::Unknown
            } else {
                Verdict::Withdrawn
            });
        }
        self.base = self.msgs.len();
        self.limit = self.chan.max[0];
    }

    /// The receiver has said how large its messages may be.
    pub(crate) fn agree(&mut self, max: usize) {
        self.limit = self.chan.max[0].min(max);
        let limit = self.limit;
        for msg in self.waiting().filter(|msg| msg.length > limit) {
            msg.expected = Some(Verdict::Rejected(Rejection {
                code: reject::TOO_LARGE,
                reason: format!("the peer takes messages of {limit} bytes at most"),
            }));
        }
    }

    // The wire.

    /// A part of a message went on the wire; its number in the session.
    pub(crate) fn written(&mut self, now: Instant, seen: &Seen) -> u64 {
        let Seen::Data {
            number,
            first,
            last,
            length,
            total,
            ..
        } = seen
        else {
            panic!("{seen:?} is no part of a message");
        };
        let mut session = self.msgs[self.base..].iter();
        let next = if *first {
            session.position(Msg::is_waiting)
        } else {
            session.position(|msg| msg.begun && !msg.whole)
        };
        let next = next.expect("something to send");
        let expected = next as u64 + 1;
        // One dialect has no numbers.
        let follows = number.is_none_or(|number| u64::from(number) == expected);
        assert!(follows, "out of order: {seen:?} for {expected}");
        let msg = &mut self.msgs[self.base + next];
        let expired = msg.expires.is_some_and(|expires| expires <= now);
        assert!(!expired || !first, "begun after expiry: {msg:?}");
        assert!(total.is_none_or(|total| total == msg.length));
        msg.begun = true;
        msg.whole |= last;
        msg.written += length;
        assert_eq!(msg.whole, msg.written == msg.length && *last, "{msg:?}");
        self.replayed += u64::from(*first && msg.again);
        self.check_flight();
        expected
    }

    fn check_flight(&self) {
        let flying = self.msgs.iter().filter(|msg| msg.begun && !msg.settled);
        let (count, bytes) = flying.fold((0, 0), |(n, sum), msg| (n + 1, sum + msg.written));
        let most = self.chan.flight().min(self.chan.window.0);
        assert!(count <= most, "{count} in flight");
        assert!(bytes <= self.chan.window_bytes(), "{bytes} bytes in flight");
    }

    /// The sender has said that numbers up to this one will not come.
    pub(crate) fn skipped(&mut self, through: u64) {
        let skipped = &self.session()[..index(through)];
        let open = skipped.iter().find(|msg| msg.is_waiting());
        assert!(open.is_none(), "skipped {open:?}");
    }

    pub(crate) fn answered(&mut self, seen: &Seen) {
        match seen {
            Seen::Ack { through, .. } => self.acknowledge(*through),
            Seen::Reject {
                sequence,
                code,
                reason,
                ..
            } => {
                let msg = &mut self.session()[index(sequence - 1)];
                let (code, reason) = (*code, reason.clone());
                let said = match code {
                    reject::EXPIRED => Verdict::Expired,
                    _ => Verdict::Rejected(Rejection { code, reason }),
                };
                assert_eq!(msg.decision.as_ref(), Some(&said));
                // One that is repeated says the same.
                assert!(msg.expected.is_none() || msg.expected.as_ref() == Some(&said));
                msg.expected = Some(said);
            }
            other => panic!("{other:?} is no answer"),
        }
    }

    fn acknowledge(&mut self, through: u64) {
        for msg in &mut self.session()[..index(through)] {
            if msg.begun && msg.expected.is_none() {
                assert!(msg.whole, "acknowledged before it was written: {msg:?}");
                let handled = msg.decision == Some(Verdict::HANDLED);
                assert!(handled, "acknowledged but not handled: {msg:?}");
                msg.expected = Some(Verdict::HANDLED);
            }
            assert!(msg.expected.is_some(), "acknowledged unsent: {msg:?}");
            msg.settled |= msg.begun;
        }
    }

    /// When a message was accepted.
    pub(crate) fn accepted(&self, sequence: Sequence) -> Instant {
        self.msgs[index(sequence - 1)].accepted
    }

    /// When a message is late, if it is good for a limited time.
    pub(crate) fn expires(&self, sequence: Sequence) -> Option<Instant> {
        self.msgs[index(sequence - 1)].expires
    }

    /// What the receiving application said of a message, or that it was late.
    pub(crate) fn decide(&mut self, sequence: Sequence, decision: Verdict) {
        let msg = &mut self.msgs[index(sequence - 1)];
        assert_eq!(msg.decision, None, "decided on twice");
        msg.decision = Some(decision);
    }

    // Events.

    /// The link has given an event about this channel.
    pub(crate) fn told(&mut self, event: &Event, takes: bool) {
        match event {
            Event::Verdict {
                sequence, verdict, ..
            } => {
                assert!(!verdict.is_handled());
                self.tell(*sequence, verdict);
            }
            Event::Handled {
                first, last, count, ..
            } => {
                let mut handled = 0;
                for sequence in *first..=*last {
                    if self.msgs[index(sequence - 1)].told.is_none() {
                        self.tell(sequence, &Verdict::HANDLED);
                        handled += 1;
                    }
                }
                assert!(handled > 0, "a range of handled messages without one");
                assert_eq!(handled, *count, "{event:?}");
            }
            Event::Room(_) => {
                let length = self.blocked.take().expect("room for what was refused");
                let room = !takes || self.has_room(length);
                assert!(room, "told of room where there is none");
            }
            other => panic!("{other:?} at a sender"),
        }
    }

    fn tell(&mut self, sequence: Sequence, verdict: &Verdict) {
        let msg = &mut self.msgs[index(sequence - 1)];
        assert_eq!(msg.told, None, "a second verdict for {sequence}: {verdict}");
        let expected = msg.expected.as_ref();
        assert_eq!(expected, Some(verdict), "message {sequence}: {msg:?}");
        msg.told = Some(verdict.clone());
    }

    /// Checks that every verdict has been reported to the application.
    pub(crate) fn check_told(&self, takes: bool) {
        for (at, msg) in self.msgs.iter().enumerate() {
            assert_eq!(msg.told, msg.expected, "message {}: {msg:?}", at + 1);
        }
        if let (true, Some(length)) = (takes, self.blocked) {
            assert!(!self.has_room(length), "not told of room for {length}");
        }
    }

    /// Whether every message of an earlier session has its verdict, and it was reported.
    pub(crate) fn is_told_of_the_past(&self) -> bool {
        self.msgs[..self.base].iter().all(|msg| msg.told.is_some())
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.msgs.iter().all(|msg| msg.told.is_some())
    }

    /// What `Link::report` must say of the verdicts, once all are told.
    pub(crate) fn count(&self, kind: VerdictKind) -> u64 {
        let of_kind = |msg: &&Msg| msg.told.as_ref().is_some_and(|v| v.kind() == kind);
        self.msgs.iter().filter(of_kind).count() as u64
    }

    pub(crate) fn replayed(&self) -> u64 {
        self.replayed
    }

    /// Checks that a message has arrived if its verdict implies that, and has not if it implies the
    /// opposite.
    pub(crate) fn check_came(&self, sequence: Sequence, came: bool) {
        let msg = &self.msgs[index(sequence - 1)];
        let holds = match &msg.told {
            None | Some(Verdict::Unknown) => true,
            Some(Verdict::Handled(_)) => came && msg.decision == Some(Verdict::HANDLED),
            Some(Verdict::Rejected(no)) => came == (no.code != reject::TOO_LARGE),
            Some(Verdict::Expired) => came == msg.decision.is_some(),
            Some(_) => !came,
        };
        assert!(holds, "message {sequence}, came: {came}, {msg:?}");
    }
}
