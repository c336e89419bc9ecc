//! The model's receiver: what one link has got on one channel, and what it may say of that.

use std::collections::VecDeque;

use countersign_core::{Rejection, Sequence, SessionLoss, Verdict, reject};

use crate::lasting::lease::Lease;
use crate::lasting::usual::Chan;

/// Which message: its sender's incarnation, and its number there.
pub(crate) type Origin = (usize, Sequence);

#[derive(Clone, PartialEq, Eq, Debug)]
enum State {
    Queued,
    Taken,
    Handled,
    Rejected(Rejection),
    Noted,
}

/// A message of this session that has come.
#[derive(Clone, Debug)]
struct Item {
    /// In the session.
    number: u64,
    origin: Origin,
    length: usize,
    state: State,
}

/// What is left of a session that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Left {
    /// Number, message, length.
    Message(Sequence, Origin, usize),
    Border(SessionLoss),
}

/// What taking gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    Nothing,
    Border(SessionLoss),
    Message {
        number: Sequence,
        origin: Origin,
        length: usize,
        /// Whether taking it is handling it.
        handles: bool,
    },
}

/// What a link gets on one channel, across its sessions.
#[derive(Debug)]
pub(crate) struct Receiver {
    pub(crate) chan: Chan,
    /// How many numbers earlier sessions used.
    pub(crate) base: u64,
    received: u64,
    partial: usize,
    items: Vec<Item>,
    /// What is left of earlier sessions.
    left: VecDeque<Left>,
    cut_short: bool,
    abandoned: bool,
    /// Which session the last message that was taken was of, and how many borders were since.
    last_session: Option<usize>,
    borders: usize,
    /// How many sessions are over.
    over: usize,
    pub(crate) delivered: u64,
    /// Whether messages have arrived that the application has not been notified of.
    unread: bool,
    pub(crate) lease: Lease,
}

fn no_receiver() -> Rejection {
    Rejection {
        code: reject::NO_RECEIVER,
        reason: String::new(),
    }
}

impl Receiver {
    pub(crate) fn new(chan: &Chan) -> Self {
        Self {
            chan: chan.clone(),
            base: 0,
            received: 0,
            partial: 0,
            items: Vec::new(),
            left: VecDeque::new(),
            cut_short: false,
            abandoned: false,
            last_session: None,
            borders: 0,
            over: 0,
            delivered: 0,
            unread: false,
            lease: Lease::new(chan),
        }
    }

    // The wire.

    /// A part of a message has arrived. If it is the last, and the message unwanted, returns its
    /// rejection.
    pub(crate) fn arrive(
        &mut self,
        (first, last): (bool, bool),
        length: usize,
        origin: impl Fn(u64) -> Origin,
    ) -> Option<(Origin, Verdict)> {
        assert!(!first || self.partial == 0, "sent again from the beginning");
        self.partial += length;
        if !last {
            return None;
        }
        self.received += 1;
        let (number, origin) = (self.received, origin(self.received));
        let state = if self.abandoned {
            State::Rejected(no_receiver())
        } else {
            self.unread = true;
            State::Queued
        };
        self.items.push(Item {
            number,
            origin,
            length: core::mem::take(&mut self.partial),
            state,
        });
        let refused = self.abandoned.then(|| Verdict::Rejected(no_receiver()));
        refused.map(|verdict| (origin, verdict))
    }

    pub(crate) fn skip(&mut self, through: u64) {
        assert!(self.partial == 0 && through > self.received);
        self.received = through;
    }

    pub(crate) fn noted(&mut self, number: u64) {
        let mut items = self.items.iter_mut();
        let item = items.find(|item| item.number == number).expect("it came");
        assert!(matches!(item.state, State::Rejected(_)), "{item:?}");
        item.state = State::Noted;
    }

    /// What the connection cut off of a message counts as far as it came.
    pub(crate) fn lose_connection(&mut self, cut: Option<usize>) {
        self.partial += cut.unwrap_or(0);
    }

    /// The last number up to which everything is settled.
    pub(crate) fn settled(&self) -> u64 {
        let settled = |item: &&Item| matches!(item.state, State::Handled | State::Noted);
        let open = self.items.iter().find(|item| !settled(item));
        open.map_or(self.received, |item| item.number - 1)
    }

    /// What a greeting that resumes must say.
    pub(crate) fn figures(&self) -> [u64; 3] {
        [self.settled(), self.received, self.partial as u64]
    }

    /// What the link may say about a message.
    pub(crate) fn check_rejection(&self, number: u64, code: u32, reason: &str) {
        let item = self.items.iter().find(|item| item.number == number);
        let reason = reason.to_owned();
        let said = State::Rejected(Rejection { code, reason });
        assert_eq!(item.map(|item| &item.state), Some(&said));
    }

    /// What is left of earlier sessions, in messages and bytes.
    fn left_over(&self) -> (usize, usize) {
        let length = |left: &Left| match left {
            Left::Message(_, _, length) => Some(*length),
            Left::Border(_) => None,
        };
        let lengths = self.left.iter().filter_map(length);
        (lengths.clone().count(), lengths.sum())
    }

    /// The session is over; what comes next belongs to another, which the application is to see.
    pub(crate) fn start_over(&mut self, border: Option<SessionLoss>) {
        let (mut count, mut bytes) = self.left_over();
        for item in core::mem::take(&mut self.items) {
            if item.state != State::Queued {
                continue;
            }
            let messages = usize::try_from(self.chan.window.0).expect("few");
            let full = count >= messages || bytes + item.length > self.chan.window_bytes();
            self.cut_short |= full;
            if !self.cut_short {
                (count, bytes) = (count + 1, bytes + item.length);
                let number = self.base + item.number;
                let left = Left::Message(number, item.origin, item.length);
                self.left.push_back(left);
            }
        }
        if let Some(why) = border.filter(|_| !self.abandoned) {
            if matches!(self.left.back(), Some(Left::Border(_))) {
                self.left.pop_back();
            }
            self.left.push_back(Left::Border(why));
            self.unread = true;
        }
        self.over += 1;
        self.base += self.received;
        self.received = 0;
        self.partial = 0;
    }

    /// The session is over, and nothing of another is to be seen.
    pub(crate) fn end_stream(&mut self) {
        self.start_over(None);
        self.abandoned = true;
    }

    // The application.

    pub(crate) fn queued(&self) -> usize {
        let queued = |item: &&Item| item.state == State::Queued;
        self.left_over().0 + self.items.iter().filter(queued).count()
    }

    /// The border that `take` must give next.
    pub(crate) fn border(&self) -> Option<SessionLoss> {
        match self.left.front() {
            Some(Left::Border(why)) => Some(*why),
            _ => None,
        }
    }

    /// The message that `take` must give, unless it is late.
    pub(crate) fn next(&self) -> Option<(u64, Origin)> {
        match self.left.front() {
            Some(Left::Message(number, origin, _)) => Some((*number, *origin)),
            Some(Left::Border(_)) => None,
            None => {
                let mut queued = self.items.iter().filter(|item| item.state == State::Queued);
                let item = queued.next()?;
                Some((self.base + item.number, item.origin))
            }
        }
    }

    /// `take` has dropped that one. Returns whether its sender is to hear of it.
    pub(crate) fn drop_late(&mut self) -> bool {
        if self.left.pop_front().is_some() {
            self.cut_short &= self.left_over().0 > 0;
            return false;
        }
        let mut items = self.items.iter_mut();
        let item = items
            .find(|item| item.state == State::Queued)
            .expect("a message");
        item.state = State::Rejected(Rejection::new(reject::EXPIRED, ""));
        true
    }

    /// What `take` must give.
    pub(crate) fn take(&mut self) -> Taken {
        match self.left.pop_front() {
            Some(Left::Border(why)) => {
                self.borders += 1;
                return Taken::Border(why);
            }
            Some(Left::Message(number, origin, length)) => {
                self.cut_short &= self.left_over().0 > 0;
                self.delivered += 1;
                return Taken::Message {
                    number,
                    origin,
                    length,
                    handles: false,
                };
            }
            None => {}
        }
        let manual = self.chan.manual;
        let mut items = self.items.iter_mut();
        let Some(item) = items.find(|item| item.state == State::Queued) else {
            return Taken::Nothing;
        };
        item.state = if manual { State::Taken } else { State::Handled };
        self.delivered += 1;
        Taken::Message {
            number: self.base + item.number,
            origin: item.origin,
            length: item.length,
            handles: !manual,
        }
    }

    /// A message of this session was taken: none but a border parts it from those of another.
    pub(crate) fn check_place(&mut self, session: usize) {
        let borders = core::mem::take(&mut self.borders);
        if let Some(last) = self.last_session.replace(session) {
            // With no message in between, one border stands for several; each counts if taken.
            // There may be more sessions than greetings that announced one.
            let later = session.checked_sub(last).expect("sessions in order");
            let (least, most) = (later.min(1), self.over * later.min(1));
            let holds = (least..=most).contains(&borders);
            assert!(holds, "{borders} borders from session {last} to {session}");
        }
    }

    /// The numbers that the application has yet to settle.
    pub(crate) fn waiting(&self) -> Vec<Sequence> {
        let taken = self.items.iter().filter(|item| item.state == State::Taken);
        taken.map(|item| self.base + item.number).collect()
    }

    pub(crate) fn handle(&mut self, sequence: Sequence) -> Origin {
        self.settle(sequence, State::Handled)
    }

    pub(crate) fn reject(&mut self, sequence: Sequence, rejection: Rejection) -> Origin {
        self.settle(sequence, State::Rejected(rejection))
    }

    fn settle(&mut self, sequence: Sequence, state: State) -> Origin {
        let number = sequence - self.base;
        let mut items = self.items.iter_mut();
        let item = items.find(|item| item.number == number).expect("it waits");
        assert_eq!(item.state, State::Taken);
        item.state = state;
        item.origin
    }

    /// The receiver is dropped. Returns what is rejected for that.
    pub(crate) fn abandon(&mut self) -> Vec<(Origin, Verdict)> {
        self.abandoned = true;
        self.left.clear();
        let mut refused = Vec::new();
        for item in &mut self.items {
            if item.state == State::Queued {
                item.state = State::Rejected(no_receiver());
                refused.push((item.origin, Verdict::Rejected(no_receiver())));
            }
        }
        refused
    }

    // Events.

    pub(crate) fn readable(&mut self) {
        let is_there = self.queued() > 0 || self.border().is_some();
        assert!(is_there, "told of messages where there are none");
        self.unread = false;
    }

    pub(crate) fn check_read(&self) {
        self.lease.check();
        let read = !self.unread || (self.queued() == 0 && self.border().is_none());
        assert!(read, "not told of a message");
    }
}
