//! A peer that knows what an honest one would say, so that what it says instead is near.

use arbitrary::{Result, Unstructured};
use countersign_core::wire::{
    ChannelEntry, Decoder, Frame, FrameType, Greeting, GreetingHead, Header, MAX_FRAME_LIMIT,
    MessageHead, Piece, SessionOutcome, VERSION, encode_greeting,
};
use countersign_core::{ChannelConfig, Dialect, Link, LinkState, Mode, Policy, Role};

use super::act::{answer, someone, wait_offline};
use super::frames::{figure, lie};
use crate::subject::{Case, Subject};

/// The other end.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) dialect: Dialect,
    /// The role of the link that it talks to.
    role: Role,
    /// Its channels, by their numbers on the wire.
    pub(super) lanes: Vec<Lane>,
    /// What it reads of the link; nothing once that is no stream of frames any more.
    decoder: Option<Decoder>,
    session: [u8; 16],
    attempt: u32,
    /// The link has named a session in its HELLO.
    named: bool,
    /// The link's last frame on this connection, if it must be final.
    last_word: Option<FrameType>,
    /// The channel and the missing bytes of the message that is arriving.
    arriving: (usize, usize),
}

/// One channel, as the peer has it.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    name: String,
    mode: Mode,
    policy: Option<Policy>,
    /// Sender: the number of the message that comes next or goes on.
    pub(super) next: u64,
    /// Sender: the length of an unfinished message, and how much of it is sent.
    pub(super) open: Option<(u64, u64)>,
    /// Receiver: the last number that has come whole or was skipped, and what has come of the
    /// next message.
    pub(super) received: u64,
    partial: u64,
    pub(super) acknowledged: u64,
    pub(super) rejected: u64,
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
            next: 1,
            open: None,
            received: 0,
            partial: 0,
            acknowledged: 0,
            rejected: 0,
        }
    }

    pub(super) fn sends(&self) -> bool {
        self.mode == Mode::Send
    }

    /// In another session everything begins again.
    fn begin_again(&mut self) {
        (self.next, self.open) = (1, None);
        (self.received, self.partial) = (0, 0);
        (self.acknowledged, self.rejected) = (0, 0);
    }
}

impl Peer {
    pub(crate) fn new(case: &Case) -> Self {
        Self {
            dialect: case.config.get_dialect(),
            role: case.role,
            lanes: case.config.channels().iter().map(Lane::of).collect(),
            decoder: None,
            session: [0; 16],
            attempt: 0,
            named: false,
            last_word: None,
            arriving: (0, 0),
        }
    }

    /// A connection begins, with nothing said on it.
    pub(crate) fn begin(&mut self) {
        self.last_word = None;
        self.arriving = (0, 0);
        self.named = false;
        self.decoder =
            (self.dialect == Dialect::Countersign).then(|| Decoder::new(MAX_FRAME_LIMIT));
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
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
        subject.settle(&mut |bytes| self.read(bytes));
        if self.dialect == Dialect::Countersign {
            let mut greeting = self.greeting(input)?;
            if how & 1 != 0 && self.role == Role::Opener {
                // With something behind it, for which an acceptor has not waited.
                greeting.extend(Header::encode(FrameType::Ping, 0, 0, 8));
                greeting.extend([how; 8]);
            }
            subject.receive(&greeting);
        }
        if subject.request().is_some() {
            answer(input.arbitrary()?, subject);
        }
        subject.settle(&mut |bytes| self.read(bytes));
        let open = |link: &&Link| link.state() == LinkState::Open;
        if let Some(link) = subject.link.as_ref().filter(open)
            && self.role == Role::Opener
        {
            self.session = link.session();
        }
        Ok(())
    }

    /// A HELLO or WELCOME that goes on with the session if there is one.
    pub(crate) fn greeting(&mut self, input: &mut Unstructured<'_>) -> Result<Vec<u8>> {
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
        };
        if !resumes && outcome == SessionOutcome::New {
            self.lanes.iter_mut().for_each(Lane::begin_again);
        }
        let mut entries = Vec::new();
        let lanes = self.lanes.clone();
        for lane in &lanes {
            entries.push(entry(lane, resumes, outcome, input)?);
        }
        if !resumes {
            self.lanes.iter_mut().for_each(Lane::begin_again);
        }
        let mut out = vec![0; 4096];
        let length = encode_greeting(kind, &head, entries.into_iter(), &mut out);
        out.truncate(length.expect("room for five channels"));
        Ok(out)
    }

    // What the link says.

    /// Reads what the link has written, which must keep to the rules whatever it reads.
    pub(crate) fn read(&mut self, bytes: &[u8]) {
        let Some(mut decoder) = self.decoder.take() else {
            return;
        };
        let mut input = bytes;
        while let Some(piece) = decoder.next(&mut input).expect("a link writes frames") {
            match piece {
                Piece::Message { head, data } => self.read_message(&head, data),
                Piece::More(data) => self.read_more(data.len()),
                Piece::Frame(frame) => self.read_frame(&frame),
            }
        }
        self.decoder = Some(decoder);
    }

    fn lane(&mut self, channel: u16) -> &mut Lane {
        &mut self.lanes[usize::from(channel)]
    }

    fn read_message(&mut self, head: &MessageHead, data: &[u8]) {
        assert_eq!(self.last_word, None, "a message behind the last word");
        let lane = self.lane(head.channel);
        assert!(!lane.sends(), "a message the wrong way");
        if head.first {
            lane.partial = 0;
        }
        if head.last {
            (lane.received, lane.partial) = (lane.received.saturating_add(1), 0);
        } else {
            lane.partial += data.len() as u64;
        }
        let missing = if head.last {
            0
        } else {
            head.length - data.len()
        };
        self.arriving = (head.channel.into(), missing);
    }

    fn read_more(&mut self, length: usize) {
        let (lane, missing) = self.arriving;
        if missing > 0 {
            self.lanes[lane].partial += length as u64;
            self.arriving.1 = missing - length;
        }
    }

    fn read_frame(&mut self, frame: &Frame<'_>) {
        let may_follow = matches!(frame, Frame::Ping(_) | Frame::Pong(_) | Frame::Abort { .. });
        match self.last_word {
            Some(FrameType::Done) => assert!(may_follow, "{frame:?} behind DONE"),
            Some(last) => panic!("{frame:?} behind {last:?}"),
            None => {}
        }
        match *frame {
            Frame::Hello(ref greeting) | Frame::Welcome(ref greeting) => self.greeted(greeting),
            Frame::Refuse { .. } | Frame::Abort { .. } | Frame::Done => {
                self.last_word = Some(frame.kind());
            }
            Frame::Skip { channel, through } => {
                let lane = self.lane(channel);
                (lane.received, lane.partial) = (through, 0);
            }
            Frame::Noted { channel, .. } => assert!(!self.lane(channel).sends()),
            Frame::Ack { channel, .. } | Frame::Reject { channel, .. } => {
                assert!(self.lane(channel).sends());
            }
            Frame::Ping(_) | Frame::Pong(_) | Frame::Close { .. } => {}
        }
    }

    fn greeted(&mut self, greeting: &Greeting<'_>) {
        self.named = greeting.head.session != [0; 16];
        if self.role == Role::Acceptor {
            self.session = greeting.head.session;
        }
        let theirs: Vec<_> = greeting.channels().collect();
        assert_eq!(theirs.len(), self.lanes.len());
        for (lane, theirs) in self.lanes.iter_mut().zip(theirs) {
            assert_eq!(
                (&*lane.name, lane.mode.opposite()),
                (theirs.name, theirs.mode)
            );
            if lane.sends() && theirs.received > 0 || theirs.partial > 0 {
                lane.next = theirs.received.saturating_add(1);
                // How long it was to be does not come back; a guess will do.
                lane.open = (theirs.partial > 0).then_some((theirs.partial + 9, theirs.partial));
            }
        }
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
