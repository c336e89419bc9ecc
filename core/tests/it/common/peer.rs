//! A link opposite a scripted peer, which may say whatever the test wants.

use core::time::Duration;

use countersign_core::{
    ChannelId, CloseReason, Config, Disconnect, EndReason, Event, Instant, Link, LinkState, Output,
    PeerMisbehaved, ReceiveError, Role, SessionLoss,
};

use super::Cut;
use super::bytes::{Entry, Greeting, pong};

/// The link under test, and all that it has told so far.
pub(crate) struct Peer {
    pub(crate) link: Link,
    pub(crate) now: Instant,
    /// When the last WELCOME was heard.
    welcomed: Instant,
    /// The length of the buffer that output is written to.
    pub(crate) buffer: usize,
    cut: Cut,
    /// Everything that the link did, for comparison between the ways of cutting.
    log: Vec<String>,
    pub(crate) ended: bool,
}

/// How a link ends that is closed by this end, or by the peer.
pub(crate) fn closed(by_us: bool, ours: CloseReason, theirs: CloseReason) -> EndReason {
    EndReason::Closed {
        by_us,
        ours,
        theirs,
    }
}

/// Runs a script against a link twice, with input whole and byte by byte, and compares what the
/// link did.
pub(crate) fn against(role: Role, config: &Config, script: impl Fn(&mut Peer)) {
    against_lasting(role, &config.clone().single_connection(), script);
}

/// As [`against`], with a link that outlives its connections.
pub(crate) fn against_lasting(role: Role, config: &Config, script: impl Fn(&mut Peer)) {
    let run = |cut| {
        let mut peer = Peer::new(role, config, cut);
        script(&mut peer);
        peer.say();
        peer.events();
        peer.log.push(format!("{:?}", peer.link.end_reason()));
        peer.log
    };
    assert_eq!(run(Cut::Whole), run(Cut::Bytes));
}

/// The opener of one channel in send mode, greeted by a peer with a generous window.
pub(crate) fn against_sender(config: &Config, script: impl Fn(&mut Peer)) {
    against(Role::Opener, config, |peer| {
        peer.welcome(&[Entry::receive("main")]);
        script(peer);
    });
}

/// The acceptor of one channel in receive mode, greeted by a peer that sends on it.
pub(crate) fn against_receiver(config: &Config, script: impl Fn(&mut Peer)) {
    against(Role::Acceptor, config, |peer| {
        peer.hello(&[Entry::send("main")]);
        script(peer);
    });
}

/// The only channel of most tests.
pub(crate) const MAIN: ChannelId = ChannelId(0);

impl Peer {
    pub(crate) fn new(role: Role, config: &Config, cut: Cut) -> Self {
        let mut link = Link::new(config, role, [9; 16]).expect("a config that fits");
        let now = Instant::from_micros(1_000_000);
        link.handle_opened(now).expect("offline");
        link.handle_secured(now, None).expect("securing");
        Self {
            link,
            now,
            welcomed: now,
            buffer: 65_536,
            cut,
            log: Vec::new(),
            ended: false,
        }
    }

    /// Takes the link's HELLO and answers it.
    pub(crate) fn welcome(&mut self, entries: &[Entry]) {
        let hello = self.say();
        assert_eq!(hello.first(), Some(&1), "HELLO comes first");
        self.hear(&Greeting::welcome(entries).bytes());
        self.welcomed = self.now;
        assert_eq!(
            self.link.state(),
            LinkState::Open,
            "{:?}",
            self.link.end_reason()
        );
        assert_eq!(self.events(), [Event::Connected]);
    }

    /// Greets the link and takes its WELCOME.
    pub(crate) fn hello(&mut self, entries: &[Entry]) {
        self.hear(&Greeting::hello(entries).bytes());
        assert_eq!(
            self.link.state(),
            LinkState::Open,
            "{:?}",
            self.link.end_reason()
        );
        let welcome = self.say();
        assert_eq!(welcome.first(), Some(&2), "WELCOME answers HELLO");
        assert_eq!(self.events(), [Event::Connected]);
    }

    /// The connection is lost, and the link waits for another.
    pub(crate) fn lose(&mut self) {
        self.link.handle_lost(self.now, Disconnect::Transport);
        assert_eq!(
            self.link.state(),
            LinkState::Offline,
            "{:?}",
            self.link.end_reason()
        );
    }

    /// Another connection, once an opener's time for it has come.
    pub(crate) fn connect(&mut self) {
        while self.link.role() == Role::Opener && !self.link.wants_connect() {
            self.sleep_to_deadline();
        }
        self.link.handle_opened(self.now).expect("offline");
        self.link.handle_secured(self.now, None).expect("securing");
        self.ended = false;
    }

    /// An opener's link reconnects, names the session of [`Greeting::welcome`] and gets this
    /// answer.
    pub(crate) fn return_to(&mut self, answer: &Greeting) {
        self.connect();
        let hello = self.say();
        assert_eq!(hello.first(), Some(&1), "HELLO comes first");
        assert_eq!(hello[24..40], [7; 16], "it names the session");
        self.hear(&answer.bytes());
        self.welcomed = self.now;
    }

    /// What an opener answers to WELCOME before its first message with times, now.
    pub(crate) fn answer_to_welcome(&self) -> Vec<u8> {
        pong(0, self.welcomed.as_micros(), self.now.as_micros())
    }

    /// What the link answers to a PING that arrives now.
    pub(crate) fn answer_to_ping(&self, time: u64) -> Vec<u8> {
        let now = self.now.as_micros();
        pong(time, now, now)
    }

    /// An opener with one send channel reconnects and learns its peer's figures. Returns its
    /// output.
    pub(crate) fn resumes(&mut self, figures: [u64; 3]) -> Vec<u8> {
        let entry = Entry::receive("main").having(figures);
        self.return_to(&Greeting::resumed(&[entry]));
        let up = matches!(self.link.state(), LinkState::Open | LinkState::Closing);
        assert!(up, "{:?}", self.link.end_reason());
        self.say()
    }

    /// A sender comes back to an acceptor with one channel to receive on; what the link says that
    /// it has, and what it says after that.
    pub(crate) fn returns(&mut self) -> ([u64; 3], Vec<u8>) {
        self.connect();
        let hello = Greeting::naming(self.link.session(), &[Entry::send("main")]);
        self.hear(&hello.bytes());
        let welcome = self.say();
        assert_eq!(welcome[..2], [2, 0], "{:?}", self.link.end_reason());
        assert_eq!(welcome[16], 1, "resumed");
        assert_eq!(welcome[24..40], hello.session);
        let figure = |at: usize| {
            let bytes = welcome[at..at + 8].try_into().expect("eight bytes");
            u64::from_be_bytes(bytes)
        };
        let figures = [figure(82), figure(90), figure(98)];
        (figures, welcome[114..].to_vec())
    }

    /// Passes these bytes to the link.
    pub(crate) fn hear(&mut self, input: &[u8]) {
        for piece in self.cut.pieces(input) {
            self.link.handle_input(self.now, piece);
        }
    }

    /// Everything that the link wants to say now. What it says shows in `wants_output` before.
    pub(crate) fn say(&mut self) -> Vec<u8> {
        let wanted = self.link.wants_output();
        let mut said = Vec::new();
        let mut buffer = vec![0; self.buffer];
        loop {
            match self.link.poll_output(self.now, &mut buffer) {
                Output::Written(n) => said.extend(&buffer[..n]),
                Output::Idle => break,
                Output::End => {
                    self.ended = true;
                    break;
                }
                Output::TooSmall { needed } => {
                    assert!(needed > buffer.len(), "needs no more than there is");
                    buffer.resize(needed, 0);
                }
            }
        }
        assert!(wanted || said.is_empty(), "output that was not announced");
        self.log.push(format!("said {said:02x?}"));
        said
    }

    /// All events that wait.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        let events: Vec<Event> = core::iter::from_fn(|| self.link.poll_event()).collect();
        self.log.push(format!("{events:?}"));
        events
    }

    /// Sleeps.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.link.handle_timeout(self.now);
    }

    /// Sleeps until the link's next deadline.
    pub(crate) fn sleep_to_deadline(&mut self) {
        let deadline = self.link.poll_deadline().expect("a deadline");
        self.now = self.now.max(deadline);
        self.link.handle_timeout(self.now);
        let next = self.link.poll_deadline();
        assert!(next.is_none_or(|next| next > self.now), "a deadline stays");
    }

    /// Sends one message on the only channel.
    pub(crate) fn send(&mut self, payload: &[u8]) -> u64 {
        self.link
            .send(self.now, MAIN, payload.to_vec(), None)
            .expect("accepted")
    }

    /// Takes one message from the only channel.
    pub(crate) fn take(&mut self) -> Option<(u64, Vec<u8>)> {
        let message = self.link.take(self.now, MAIN).expect("receive mode")?;
        Some((message.sequence, message.payload.to_vec()))
    }

    /// Takes the border that must come next on the only channel.
    pub(crate) fn take_border(&mut self, why: SessionLoss) {
        assert_eq!(self.link.border(MAIN), Some(why));
        let border = Err(ReceiveError::SessionBorder(why));
        assert_eq!(self.link.take(self.now, MAIN), border);
    }

    /// The link must have accused its peer of exactly this, told it so, and ended.
    pub(crate) fn accused(&mut self, of: PeerMisbehaved, code: u8) {
        assert_eq!(self.link.end_reason(), Some(&EndReason::Peer(of)));
        assert_eq!(self.events().last(), Some(&Event::Ended));
        let said = self.say();
        assert_eq!(said.first(), Some(&0x32), "ABORT: {said:02x?}");
        assert_eq!(said[8..10], [0, code]);
        assert_eq!(
            said.len(),
            8 + usize::from(said[7]) + (usize::from(said[6]) << 8),
            "nothing behind ABORT"
        );
        assert!(self.ended);
        // Whatever comes now is of no interest.
        self.hear(&[0xFF; 40]);
        assert_eq!(self.link.end_reason(), Some(&EndReason::Peer(of)));
        assert_eq!(self.say(), []);
    }

    /// Passes bytes for which the link must accuse its peer of this.
    pub(crate) fn refuses(&mut self, input: &[u8], of: PeerMisbehaved, code: u8) {
        self.hear(input);
        self.accused(of, code);
    }

    /// Passes bytes that the link must accept.
    pub(crate) fn takes(&mut self, input: &[u8]) {
        self.hear(input);
        assert_eq!(self.link.end_reason(), None);
    }
}
