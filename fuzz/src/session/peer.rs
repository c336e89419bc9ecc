//! A peer that knows what an honest one would say, so that what it says instead is near.

use std::collections::VecDeque;

use arbitrary::{Result, Unstructured};
use countersign_core::wire::{
    ChannelEntry, Decoder, Frame, FrameType, GreetingHead, MAX_FRAME_LIMIT, SessionOutcome,
    VERSION, encode_greeting,
};
use countersign_core::{ChannelConfig, Dialect, Instant, Link, LinkState, Mode, Policy, Role};

use super::act::{answer, someone, wait_offline};
use super::clock::Clock;
use super::frames::{figure, lie};
use crate::frames::encode;
use crate::subject::{Case, Subject};

/// The other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) dialect: Dialect,
    /// The role of the link that it talks to.
    pub(super) role: Role,
    pub(super) clock: Clock,
    /// Its channels, by their numbers on the wire.
    pub(super) lanes: Vec<Lane>,
    /// What it reads of the link; nothing once that is no stream of frames any more.
    pub(super) decoder: Option<Decoder>,
    pub(super) session: [u8; 16],
    attempt: u32,
    /// The link has named a session in its HELLO.
    pub(super) named: bool,
    /// The link has answered a time on this connection.
    pub(super) was_answered: bool,
    /// The time of its last PING on this connection.
    pub(super) last_ping: Option<u64>,
    /// The link's last frame on this connection, if it must be final.
    pub(super) last_word: Option<FrameType>,
    /// The channel and the missing bytes of the message that is arriving.
    pub(super) arriving: (usize, usize),
    /// How many messages it has begun, which makes each of them another.
    pub(super) count: u64,
}

/// One channel, as the peer has it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) name: String,
    pub(super) mode: Mode,
    policy: Option<Policy>,
    /// The receiver wants the times of each message.
    pub(super) wants_times: bool,
    /// The longest reply in the peer's greeting and in the link's, and the longest that both have
    /// allowed in this session.
    own_reply: u32,
    their_reply: u32,
    pub(super) max_reply: u32,
    /// Sender: the answers of the link on this connection, and whether they are noted.
    pub(super) answers: VecDeque<(u64, bool)>,
    /// Sender: the number of the message that comes next or goes on.
    pub(super) next: u64,
    /// Sender: the length of an unfinished message, and how much of it is sent.
    pub(super) open: Option<(u64, u64)>,
    /// Receiver: the last number that has come whole or was skipped, and what has come of the
    /// next message.
    pub(super) received: u64,
    pub(super) partial: u64,
    pub(super) acknowledged: u64,
    pub(super) answered: u64,
}

impl Lane {
    fn of(config: &ChannelConfig) -> Self {
        Self {
            name: config.name().to_owned(),
            mode: config.mode().opposite(),
            policy: match config.mode() {
                Mode::Send => None,
                Mode::Receive => config.policy().or(Some(Policy::Reliable)),
            },
            wants_times: false,
            own_reply: 0,
            their_reply: 0,
            max_reply: 0,
            answers: VecDeque::new(),
            next: 1,
            open: None,
            received: 0,
            partial: 0,
            acknowledged: 0,
            answered: 0,
        }
    }

    pub(super) fn sends(&self) -> bool {
        self.mode == Mode::Send
    }

    /// In another session everything begins again.
    fn begin_again(&mut self) {
        (self.next, self.open) = (1, None);
        (self.received, self.partial) = (0, 0);
        (self.acknowledged, self.answered) = (0, 0);
        self.max_reply = 0;
    }

    /// The link has greeted with this.
    pub(super) fn greeted(&mut self, theirs: &ChannelEntry<'_>) {
        if self.sends() {
            self.wants_times = theirs.wants_times;
        }
        self.their_reply = theirs.max_reply;
        self.allow_replies();
        if self.sends() && theirs.received > 0 || theirs.partial > 0 {
            self.next = theirs.received.saturating_add(1);
            // How long it was to be does not come back; a guess will do.
            self.open = (theirs.partial > 0).then_some((theirs.partial + 9, theirs.partial));
        }
    }

    /// The next answer of the link that is not noted, which is as good as noted then; without one,
    /// the last message.
    pub(super) fn note_next(&mut self) -> u64 {
        let answer = self.answers.iter_mut().find(|(_, noted)| !noted);
        answer.map_or(self.next.wrapping_sub(1), |(sequence, noted)| {
            *noted = true;
            *sequence
        })
    }

    /// A greeting has come. What was given before a resume may be longer than what is taken now.
    fn allow_replies(&mut self) {
        let both = self.own_reply.min(self.their_reply);
        self.max_reply = self.max_reply.max(both);
    }
}

impl Peer {
    pub(crate) fn new(case: &Case) -> Self {
        Self {
            dialect: case.config.get_dialect(),
            role: case.role,
            clock: Clock::new(case.cut),
            lanes: case.config.channels().iter().map(Lane::of).collect(),
            decoder: None,
            session: [0; 16],
            attempt: 0,
            named: false,
            was_answered: false,
            last_ping: None,
            last_word: None,
            arriving: (0, 0),
            count: 0,
        }
    }

    /// A connection begins, with nothing said on it.
    pub(crate) fn begin(&mut self) {
        self.last_word = None;
        self.arriving = (0, 0);
        self.named = false;
        self.was_answered = false;
        self.last_ping = None;
        self.clock.begin();
        for lane in &mut self.lanes {
            lane.answers.clear();
        }
        self.decoder =
            (self.dialect == Dialect::Countersign).then(|| Decoder::new(MAX_FRAME_LIMIT));
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Says this to the link.
    pub(crate) fn say(&self, subject: &mut Subject, bytes: &[u8]) {
        subject.clock = self.clock.known();
        subject.receive(bytes);
    }

    /// Says this, of which it knows nothing.
    pub(crate) fn say_raw(&mut self, subject: &mut Subject, bytes: &[u8]) {
        self.clock.lie();
        self.say(subject, bytes);
    }

    /// Opens a connection if the link may have one, and greets; an input of zeros is the truth.
    pub(crate) fn connect(
        &mut self,
        subject: &mut Subject,
        input: &mut Unstructured<'_>,
    ) -> Result<()> {
        let how: u8 = input.arbitrary()?;
        let now = subject.now;
        if !wait_offline(subject) || subject.protocol().handle_opened(now).is_err() {
            return Ok(());
        }
        self.begin();
        let now = subject.now;
        if subject
            .protocol()
            .handle_secured(now, someone(how))
            .is_err()
        {
            return Ok(());
        }
        subject.settle(&mut |moment, bytes| self.read(moment, bytes));
        if self.dialect == Dialect::Countersign {
            let mut greeting = self.greeting(now, input)?;
            if how & 1 != 0 && self.role == Role::Opener {
                // With something behind it, for which an acceptor has not waited.
                greeting.extend(encode(&Frame::Ping(self.clock.time(now))));
            }
            self.say(subject, &greeting);
        }
        if subject.request().is_some() {
            answer(input.arbitrary()?, subject);
        }
        subject.settle(&mut |moment, bytes| self.read(moment, bytes));
        let open = |link: &&Link| link.state() == LinkState::Open;
        if let Some(link) = subject.link.as_ref().filter(open)
            && self.role == Role::Opener
        {
            self.session = link.session();
        }
        Ok(())
    }

    /// A HELLO or WELCOME that goes on with the session if there is one.
    pub(crate) fn greeting(
        &mut self,
        now: Instant,
        input: &mut Unstructured<'_>,
    ) -> Result<Vec<u8>> {
        let how: u8 = input.arbitrary()?;
        let has_session = self.session != [0; 16];
        let (kind, outcome) = match self.role {
            Role::Acceptor => (FrameType::Hello, SessionOutcome::New),
            // What the link offers to go on with, or what it has lost.
            Role::Opener => match (self.named && has_session, how) {
                (true, 0..200) => (FrameType::Welcome, SessionOutcome::Resumed),
                (true, 200..220) => (FrameType::Welcome, SessionOutcome::TooOld),
                (true, _) => (FrameType::Welcome, SessionOutcome::NotKnown),
                (false, _) => (FrameType::Welcome, SessionOutcome::New),
            },
        };
        let resumes = match self.role {
            Role::Acceptor => has_session && how < 230,
            Role::Opener => outcome == SessionOutcome::Resumed,
        };
        let session = match (self.role, resumes) {
            (_, true) => self.session,
            (Role::Acceptor, false) => [0; 16],
            // One that no earlier session has had.
            (Role::Opener, false) => [how.wrapping_add(self.session[0]).max(1); 16],
        };
        self.attempt = self.attempt.wrapping_add(lie(input, 1)? as u32);
        let head = GreetingHead {
            version_min: VERSION,
            version_max: VERSION,
            outcome,
            attempt: self.attempt & 0xFF_FFFF,
            frame_limit: [16_384, 512, 600][usize::from(how) % 3],
            session,
            time: self.clock.tell(now, how, input)?,
            arrived: match kind {
                FrameType::Hello => 0,
                _ => self.clock.welcome(how, input)?,
            },
        };
        if !resumes && outcome == SessionOutcome::New {
            self.lanes.iter_mut().for_each(Lane::begin_again);
        }
        let mut entries = Vec::new();
        let lanes = self.lanes.clone();
        for (was, lane) in lanes.iter().zip(&mut self.lanes) {
            let entry = entry(was, resumes, outcome, input)?;
            if !resumes {
                lane.begin_again();
            }
            lane.own_reply = entry.max_reply;
            lane.allow_replies();
            if !lane.sends() {
                lane.wants_times = entry.wants_times;
            }
            entries.push(entry);
        }
        let mut out = vec![0; 4096];
        let length = encode_greeting(kind, &head, entries.into_iter(), &mut out);
        out.truncate(length.expect("room for five channels"));
        Ok(out)
    }
}

/// One channel of a greeting.
fn entry<'a>(
    lane: &'a Lane,
    resumes: bool,
    outcome: SessionOutcome,
    input: &mut Unstructured<'_>,
) -> Result<ChannelEntry<'a>> {
    let receives = !lane.sends();
    let size: u8 = input.arbitrary()?;
    let (messages, bytes) =
        [(9, 5000), (1, 3000), (2, 10), (u32::MAX, u64::MAX)][usize::from(size) % 4];
    let mut entry = ChannelEntry {
        mode: lane.mode,
        policy: lane.policy,
        name: &lane.name,
        max_message: [3000, 100, 1, u64::MAX][usize::from(size >> 2) % 4],
        window_messages: if receives { messages } else { 0 },
        window_bytes: if receives { bytes } else { 0 },
        wants_times: receives && size & 0x40 != 0,
        max_reply: [256, 0, 5, u32::MAX][usize::from(size >> 4) % 4],
        handled: 0,
        received: 0,
        partial: 0,
    };
    if receives && resumes {
        entry.received = figure(input, lane.received)?;
        entry.handled = figure(input, lane.acknowledged)?.min(entry.received);
        entry.partial = figure(input, lane.partial)?;
    } else if receives && outcome != SessionOutcome::New {
        entry.handled = figure(input, lane.acknowledged)?;
    }
    Ok(entry)
}
