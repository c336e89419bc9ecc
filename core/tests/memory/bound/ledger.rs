//! What an attacker keeps in mind, so as not to be accused before it has done its worst.

use std::collections::{BTreeSet, VecDeque};

use countersign_core::wire::{Frame, Greeting, SessionOutcome};

/// What became of a message that the victim has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Waiting,
    Taken,
    Handled,
    Rejected,
    /// The attacker has heard of the rejection.
    Told,
    Noted,
}

/// A channel on which the attacker sends.
#[derive(Debug)]
pub(crate) struct Incoming {
    manual: bool,
    window_messages: usize,
    window_bytes: usize,
    abandoned: bool,
    /// Numbers of sessions before this one.
    base: u64,
    /// The last number that was sent whole or skipped.
    pub(crate) sent: u64,
    /// Total length of the message after that, and how much of it was sent.
    pub(crate) partial: Option<(usize, usize)>,
    held: usize,
    messages: VecDeque<(u64, usize, State)>,
}

impl Incoming {
    pub(crate) fn new(manual: bool) -> Self {
        Self {
            manual,
            window_messages: 0,
            window_bytes: 0,
            abandoned: false,
            base: 0,
            sent: 0,
            partial: None,
            held: 0,
            messages: VecDeque::new(),
        }
    }

    pub(crate) fn may_begin(&self) -> bool {
        self.partial.is_none() && self.messages.len() < self.window_messages
    }

    pub(crate) fn room(&self) -> usize {
        self.window_bytes - self.held
    }

    /// Notes that `length` bytes were sent of a message of `total`.
    pub(crate) fn send(&mut self, total: usize, length: usize) {
        let before = self.partial.take().map_or(0, |(_, sent)| sent);
        self.held += length;
        if before + length < total {
            self.partial = Some((total, before + length));
            return;
        }
        self.sent += 1;
        let mut state = State::Waiting;
        if self.abandoned {
            state = State::Rejected;
            self.held -= total;
        }
        self.messages.push_back((self.sent, total, state));
    }

    pub(crate) fn skip(&mut self, count: u64) {
        self.sent += count;
    }

    /// The application has taken the message with this number.
    pub(crate) fn taken(&mut self, number: u64) {
        if self.is_left_over(number) {
            return;
        }
        let number = number - self.base;
        if !self.manual {
            let front = self.messages.pop_front().expect("one that waits");
            assert_eq!(front.0, number);
            self.held -= front.1;
        } else {
            self.find(number).2 = State::Taken;
        }
    }

    /// The application has handled or rejected a message.
    pub(crate) fn settled(&mut self, number: u64, rejected: bool) {
        let found = self.find(number - self.base);
        found.2 = if rejected {
            State::Rejected
        } else {
            State::Handled
        };
        self.held -= found.1;
        self.advance();
    }

    pub(crate) fn abandoned(&mut self) {
        self.abandoned = true;
        for (_, length, state) in &mut self.messages {
            if *state == State::Waiting {
                *state = State::Rejected;
                self.held -= *length;
            }
        }
    }

    pub(crate) fn told(&mut self, number: u64) {
        let found = self.find(number);
        if found.2 == State::Rejected {
            found.2 = State::Told;
        }
    }

    /// A rejection to be noted: the newest, so that the others stay.
    pub(crate) fn next_to_note(&mut self) -> Option<u64> {
        let told = |(_, _, state): &&mut (u64, usize, State)| *state == State::Told;
        let found = self.messages.iter_mut().rev().find(told)?;
        found.2 = State::Noted;
        let number = found.0;
        self.advance();
        Some(number)
    }

    /// What the victim declares.
    pub(crate) fn declared(&mut self, messages: u32, bytes: u64) {
        self.window_messages = usize::try_from(messages).expect("a usize");
        self.window_bytes = usize::try_from(bytes).expect("a usize");
    }

    /// Whether a message is of a session that is lost.
    pub(crate) fn is_left_over(&self, number: u64) -> bool {
        number <= self.base
    }

    /// The connection has gone, and the victim has said what it has.
    pub(crate) fn resume(&mut self, received: u64, partial: usize) {
        assert_eq!(received, self.sent, "everything has arrived");
        assert_eq!(self.partial.map_or(0, |(_, sent)| sent), partial);
        // The victim will report its rejections again.
        for (_, _, state) in &mut self.messages {
            if *state == State::Told {
                *state = State::Rejected;
            }
        }
    }

    pub(crate) fn start_over(&mut self) {
        self.base += self.sent;
        self.sent = 0;
        self.partial = None;
        self.held = 0;
        self.messages.clear();
    }

    fn find(&mut self, number: u64) -> &mut (u64, usize, State) {
        let at = self.messages.partition_point(|entry| entry.0 < number);
        let found = self.messages.get_mut(at);
        found.filter(|entry| entry.0 == number).expect("a message")
    }

    fn advance(&mut self) {
        let gone = |entry: &&(u64, usize, State)| matches!(entry.2, State::Handled | State::Noted);
        while self.messages.front().filter(gone).is_some() {
            self.messages.pop_front();
        }
    }
}

/// A channel on which the attacker receives.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    /// The last number that has come whole, or was skipped.
    pub(crate) received: u64,
    acked: u64,
    /// What has come and is neither acknowledged nor rejected.
    fresh: VecDeque<u64>,
    /// Rejected and not acknowledged.
    rejected: BTreeSet<u64>,
    /// The rejected messages whose rejection the victim has not noted.
    unnoted: BTreeSet<u64>,
    /// The least that a resume has to say was received.
    floor: u64,
}

impl Outgoing {
    /// A part of a message has come, perhaps its last.
    pub(crate) fn hear(&mut self, whole: bool) {
        if whole {
            self.received += 1;
            self.fresh.push_back(self.received);
        }
    }

    /// How far it may acknowledge, if any further.
    pub(crate) fn ack(&mut self) -> Option<u64> {
        let first = self.unnoted.first();
        let through = first.map_or(self.received, |first| self.received.min(first - 1));
        let more = through > self.acked;
        self.acked = self.acked.max(through);
        self.fresh.retain(|number| *number > through);
        self.rejected.retain(|number| *number > through);
        more.then_some(through)
    }

    /// What it may reject: the newest that it has not, or the newest again.
    pub(crate) fn next_to_reject(&mut self) -> Option<u64> {
        let again = self.rejected.last().copied();
        let number = self.fresh.pop_back().or(again)?;
        self.rejected.insert(number);
        self.unnoted.insert(number);
        self.floor = self.floor.max(number);
        Some(number)
    }

    pub(crate) fn noted(&mut self, number: u64) {
        self.unnoted.remove(&number);
    }

    /// What a resume says: handled, and as little received as may be.
    pub(crate) fn resume(&mut self) -> (u64, u64) {
        self.floor = self.floor.max(self.acked);
        self.received = self.floor;
        let received = self.received;
        self.fresh.retain(|number| *number <= received);
        (self.acked, self.received)
    }

    pub(crate) fn start_over(&mut self) {
        *self = Self::default();
    }
}

pub(crate) fn sending(outgoing: &mut [(u16, Outgoing)], channel: u16) -> &mut Outgoing {
    let found = outgoing.iter_mut().find(|(at, _)| *at == channel);
    &mut found.expect("a channel on which the victim sends").1
}

/// Takes note of what a frame of the victim's says.
pub(crate) fn note_frame(
    frame: &Frame<'_>,
    incoming: &mut [(u16, Incoming)],
    outgoing: &mut [(u16, Outgoing)],
    session: &mut [u8; 16],
) {
    match frame {
        Frame::Hello(greeting) | Frame::Welcome(greeting) => {
            let resumes = greeting.head.outcome == SessionOutcome::Resumed;
            if let Frame::Welcome(_) = frame {
                *session = greeting.head.session;
            }
            let goes_on = resumes || (matches!(frame, Frame::Hello(_)) && *session != [0; 16]);
            note_figures(greeting, incoming, goes_on);
        }
        Frame::Reject {
            channel, sequence, ..
        } => {
            let found = incoming.iter_mut().find(|(at, _)| at == channel);
            found.expect("a channel").1.told(*sequence);
        }
        Frame::Noted { channel, sequence } => sending(outgoing, *channel).noted(*sequence),
        Frame::Skip { channel, through } => sending(outgoing, *channel).received = *through,
        Frame::Abort { text, .. } => panic!("accused: {text}"),
        _ => {}
    }
}

fn note_figures(greeting: &Greeting<'_>, incoming: &mut [(u16, Incoming)], goes_on: bool) {
    for (at, entry) in (0..).zip(greeting.channels()) {
        if let Some((_, ledger)) = incoming.iter_mut().find(|(channel, _)| *channel == at) {
            ledger.declared(entry.window_messages, entry.window_bytes);
            if goes_on {
                let partial = usize::try_from(entry.partial).expect("a part");
                ledger.resume(entry.received, partial);
            }
        }
    }
}
