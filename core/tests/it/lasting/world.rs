//! Two ends, the connections between them, a clock, and the models of their channels.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use countersign_core::{
    Acceptor, ChannelId, CloseMode, CloseReason, Disconnect, Event, Incoming, Instant, Link,
    LinkPermit, LinkState, Output, Protocol, ReceiveError, Rejection, Role, SendError, SessionId,
    SessionLoss, Verdict, close,
};

use super::case::{Happens, LastingCase};
use super::connection::Connection;
use super::receiver::{Origin, Receiver, Taken};
use super::sender::Sender;
use crate::lasting::usual::Op;
use crate::lasting::usual::{payload, reason};

pub(super) const OPENER: usize = 0;
pub(super) const ACCEPTOR: usize = 1;

/// What came out of a run.
#[derive(PartialEq, Eq, Default, Debug)]
pub(crate) struct Log {
    pub(super) bytes: [Vec<u8>; 2],
    pub(super) events: Vec<(usize, Event)>,
}

/// One link and what is known of it.
pub(super) struct End {
    pub(super) link: Link,
    pub(super) connection: Option<usize>,
    pub(super) is_secured: bool,
    pub(super) opened: Instant,
    pub(super) heard: Instant,
    pub(super) is_over: bool,
    /// A close is under way.
    pub(super) is_closing: bool,
    pub(super) by_us: bool,
    pub(super) closing_since: Instant,
    pub(super) ever_done: bool,
    /// What it says with its close, and the worst that it has heard.
    pub(super) said: CloseReason,
    pub(super) heard_said: CloseReason,
    /// What its CLOSE has named in this session.
    pub(super) named: Option<Vec<(usize, u64)>>,
    /// When the connection was lost without which it is.
    pub(super) lost_at: Option<Instant>,
    /// It ends with its session, and that is lost.
    pub(super) over: Option<SessionLoss>,
    /// The caller has dropped or evicted it.
    pub(super) was_dropped: bool,
    /// What it was when it was last looked at.
    pub(super) was_up: bool,
    pub(super) session: SessionId,
    pub(super) resumes: u64,
    pub(super) number: u64,
    /// The events about the link as a whole that it owes.
    pub(super) owes: BTreeSet<&'static str>,
    pub(super) ended_told: bool,
}

impl End {
    pub(super) fn new(link: Link) -> Self {
        Self {
            number: link.connection(),
            link,
            connection: None,
            is_secured: false,
            opened: Instant::ZERO,
            heard: Instant::ZERO,
            is_over: false,
            is_closing: false,
            by_us: false,
            closing_since: Instant::ZERO,
            ever_done: false,
            said: CloseReason::ALL_WELL,
            heard_said: CloseReason::ALL_WELL,
            named: None,
            lost_at: None,
            over: None,
            was_dropped: false,
            was_up: false,
            session: [0; 16],
            resumes: 0,
            owes: BTreeSet::new(),
            ended_told: false,
        }
    }

    pub(super) fn takes(&self) -> bool {
        !self.is_over && !self.is_closing
    }
}

pub(crate) struct World<'a> {
    pub(super) case: &'a LastingCase,
    pub(super) now: Instant,
    pub(super) ends: [End; 2],
    /// By channel, one for each incarnation of the end that sends.
    pub(super) senders: Vec<Vec<Sender>>,
    /// By channel.
    pub(super) receivers: Vec<Receiver>,
    pub(super) connections: Vec<Connection>,
    /// A connection whose link is not known yet, and whether it is secured.
    pub(super) incoming: Option<(Incoming, usize, bool)>,
    /// Where there is a listener, its link's.
    pub(super) acceptor: Acceptor<()>,
    pub(super) place: Option<LinkPermit>,
    /// What sessions that are over had settled, by channel.
    pub(super) gone: BTreeMap<SessionId, Vec<u64>>,
    /// All messages that have come, by channel, and in which of the sessions that there were.
    pub(super) came: BTreeMap<(usize, Origin), usize>,
    /// The sessions in the order of their beginning.
    pub(super) held: Vec<SessionId>,
    /// How many connections there were when the first end began to close.
    pub(super) closing_on: Option<usize>,
    pub(super) seeds: u64,
    #[cfg(planted)]
    pub(super) mistake: Option<countersign_core::Planted>,
    pub(super) log: Log,
}

impl<'a> World<'a> {
    pub(crate) fn new(case: &'a LastingCase) -> Self {
        let chans = &case.pair.channels;
        let link = |at: usize| {
            let role = [Role::Opener, Role::Acceptor][at];
            let seed = [u8::try_from(at).expect("two ends"); 16];
            Link::new(&case.config(at), role, seed).expect("a sound declaration")
        };
        Self {
            case,
            now: Instant::from_micros(1_000),
            ends: [0, 1].map(|at| End::new(link(at))),
            senders: chans.iter().map(|chan| vec![Sender::new(chan)]).collect(),
            receivers: chans.iter().map(Receiver::new).collect(),
            connections: Vec::new(),
            incoming: None,
            acceptor: Acceptor::default(),
            place: None,
            gone: BTreeMap::new(),
            came: BTreeMap::new(),
            held: Vec::new(),
            closing_on: None,
            seeds: 1,
            #[cfg(planted)]
            mistake: None,
            log: Log::default(),
        }
    }

    /// Every link makes this mistake.
    #[cfg(planted)]
    #[allow(dead_code, reason = "fuzzing uses it")]
    pub(crate) fn with_mistake(mut self, mistake: countersign_core::Planted) -> Self {
        self.mistake = Some(mistake);
        for end in &mut self.ends {
            end.link.plant(mistake);
        }
        self
    }

    pub(crate) fn run(mut self) -> Log {
        if self.case.pair.connected {
            self.connect();
            self.connect();
        }
        for happens in &self.case.happens {
            self.apply(happens);
            self.check();
        }
        self.finish();
        self.log
    }

    // Ids and roles.

    pub(super) fn id(&self, channel: usize, end: usize) -> ChannelId {
        ChannelId(self.case.pair.position(channel, end))
    }

    pub(super) fn sends(&self, channel: usize) -> usize {
        self.case.pair.channels[channel].sender
    }

    pub(super) fn sender(&mut self, channel: usize) -> &mut Sender {
        let incarnations = &mut self.senders[channel];
        incarnations.last_mut().expect("at least one")
    }

    /// The channels on which an end sends.
    pub(super) fn sending(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        self.channels(at, true)
    }

    /// Those on which it receives.
    pub(super) fn receiving(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        self.channels(at, false)
    }

    fn channels(&self, at: usize, sends: bool) -> impl Iterator<Item = usize> + use<> {
        let chans = self.case.pair.channels.iter();
        let ends: Vec<bool> = chans.map(|chan| (chan.sender == at) == sends).collect();
        (0..ends.len()).filter(move |channel| ends[*channel])
    }

    pub(super) fn fresh(&mut self, at: usize) -> Link {
        self.seeds += 1;
        let role = [Role::Opener, Role::Acceptor][at];
        let config = self.case.config(at);
        let seed = u128::from(self.seeds).to_le_bytes();
        let link = Link::new(&config, role, seed).expect("it did before");
        #[cfg(planted)]
        let link = self.plant(link);
        link
    }

    #[cfg(planted)]
    fn plant(&self, mut link: Link) -> Link {
        if let Some(mistake) = self.mistake {
            link.plant(mistake);
        }
        link
    }

    /// The models of a link that knows nothing.
    pub(super) fn begin_anew(&mut self, at: usize, link: Link) {
        self.ends[at] = End::new(link);
        for channel in self.sending(at) {
            let sender = Sender::new(&self.case.pair.channels[channel]);
            self.senders[channel].push(sender);
        }
        for channel in self.receiving(at) {
            self.receivers[channel] = Receiver::new(&self.case.pair.channels[channel]);
        }
    }

    // What happens.

    fn apply(&mut self, happens: &Happens) {
        match happens {
            Happens::Usual(op) => self.apply_usual(op),
            Happens::Flow(times) => {
                for _ in 0..*times {
                    for at in [OPENER, ACCEPTOR] {
                        self.poll(at, 20_000);
                        self.carry(at, 1_000_000, 1_000_000);
                    }
                }
            }
            Happens::Lose(end) => self.lose(*end, Disconnect::Transport),
            Happens::Drop => self.drop_everything(),
            Happens::Connect => self.connect(),
            Happens::Reconnect => self.reconnect(),
            Happens::Return { arrives } => {
                if let Some(connection) = self.ends[OPENER].connection {
                    let connection = &mut self.connections[connection];
                    connection.is_silent = true;
                    if !arrives {
                        connection.die();
                    }
                }
                self.lose(OPENER, Disconnect::Transport);
                self.connect();
                self.connect();
            }
            Happens::CutInside { from, bytes } => {
                self.poll(*from, 20_000);
                self.carry(*from, *bytes, 1_000_000);
                self.reconnect();
            }
            Happens::FailToConnect => {
                if self.ends[OPENER].link.wants_connect() {
                    let now = self.now;
                    self.ends[OPENER]
                        .link
                        .handle_lost(now, Disconnect::Transport);
                }
            }
            Happens::Restart(at) => self.restart(*at),
            Happens::Evict => {
                let end = &mut self.ends[ACCEPTOR];
                end.was_dropped |= end.link.state() == LinkState::Offline;
                end.link.evict(self.now);
            }
        }
    }

    fn apply_usual(&mut self, op: &Op) {
        let count = self.receivers.len();
        match *op {
            Op::Connect(_) => self.connect(),
            Op::Send {
                channel,
                size,
                expires,
            } => self.send(channel % count, size, expires),
            Op::Take(channel) => drop(self.take(channel % count)),
            Op::Handle { channel, which } => drop(self.handle(channel % count, which)),
            Op::Reject {
                channel,
                which,
                code,
                reason,
            } => self.reject(channel % count, which, code, reason),
            Op::HandleWrong { channel, sequence } => self.handle_wrong(channel % count, sequence),
            Op::Abandon(channel) => self.abandon(channel % count),
            Op::Close(end, mode, code) => self.close(end, mode, code),
            Op::Pass(micros) => self.pass(self.now + Duration::from_micros(micros)),
            Op::Sleep => self.sleep(),
            Op::Move { from, bytes, piece } => drop(self.carry(from, bytes, piece)),
            Op::Poll { end, space } => drop(self.poll(end, space)),
            Op::PollEvents(end) => self.poll_events(end),
            Op::Cut => {
                self.drop_everything();
                self.lose(OPENER, Disconnect::Transport);
                self.lose(ACCEPTOR, Disconnect::Transport);
            }
        }
    }

    // The application.

    fn send(&mut self, channel: usize, size: usize, expires: Option<u64>) {
        let (now, at) = (self.now, self.sends(channel));
        let id = self.id(channel, at);
        let incarnation = self.senders[channel].len() - 1;
        let sender = self.sender(channel);
        let length = sender.chan.max[0] * size / 1000;
        let next = sender.msgs.len() as u64 + 1;
        let message = message(channel, (incarnation, next), length);
        let expires = expires.map(|after| now + Duration::from_micros(after));
        let end = &mut self.ends[at];
        let got = end
            .link
            .send(now, id, message, expires)
            .map_err(|not| not.why);
        let (is_over, is_closing) = (end.is_over, end.is_closing);
        let expected = match (is_over, is_closing) {
            (true, _) => Err(SendError::Ended),
            (_, true) => Err(SendError::Closing),
            _ => self.sender(channel).send(length, now, expires),
        };
        assert_eq!(got, expected);
        if got.is_ok() && expires.is_some_and(|expires| expires <= now) {
            self.time(at);
        }
    }

    pub(super) fn take(&mut self, channel: usize) -> bool {
        let at = 1 - self.sends(channel);
        let id = self.id(channel, at);
        let link = &mut self.ends[at].link;
        assert_eq!(link.border(id), self.receivers[channel].border());
        let got = link.take(self.now, id);
        let dropped = self.drop_late(channel, &got);
        let (number, origin, length, handles) = match self.receivers[channel].take() {
            Taken::Nothing => {
                assert_eq!(got, Ok(None));
                return dropped;
            }
            Taken::Border(why) => {
                assert_eq!(got, Err(ReceiveError::SessionBorder(why)));
                return true;
            }
            Taken::Message {
                number,
                origin,
                length,
                handles,
            } => (number, origin, length, handles),
        };
        let got = got.expect("no border here");
        let got = got.map(|message| (message.sequence, message.payload.to_vec()));
        let expected = (number, message(channel, origin, length));
        assert!(got == Some(expected), "took {got:?}, not {number}");
        if handles {
            self.decide(channel, origin, Verdict::HANDLED);
        }
        let session = self.came[&(channel, origin)];
        self.receivers[channel].check_place(session);
        true
    }

    pub(super) fn decide(&mut self, channel: usize, origin: Origin, decision: Verdict) {
        self.senders[channel][origin.0].decide(origin.1, decision);
    }

    fn chosen(&self, channel: usize, which: usize) -> Option<u64> {
        let waiting = self.receivers[channel].waiting();
        (!waiting.is_empty()).then(|| waiting[which % waiting.len()])
    }

    pub(super) fn handle(&mut self, channel: usize, which: usize) -> bool {
        let at = 1 - self.sends(channel);
        let id = self.id(channel, at);
        let Some(sequence) = self.chosen(channel, which) else {
            return false;
        };
        assert_eq!(self.ends[at].link.handle(self.now, id, sequence), Ok(()));
        let origin = self.receivers[channel].handle(sequence);
        self.decide(channel, origin, Verdict::HANDLED);
        true
    }

    fn reject(&mut self, channel: usize, which: usize, code: u32, reason: usize) {
        let at = 1 - self.sends(channel);
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
            let origin = self.receivers[channel].reject(sequence, rejection.clone());
            self.decide(channel, origin, Verdict::Rejected(rejection));
        }
    }

    fn handle_wrong(&mut self, channel: usize, sequence: u64) {
        let at = 1 - self.sends(channel);
        let id = self.id(channel, at);
        if self.receivers[channel].waiting().contains(&sequence) {
            return;
        }
        let lost = (1..=self.receivers[channel].base).contains(&sequence);
        let expected = Err(if lost {
            ReceiveError::SessionLost
        } else {
            ReceiveError::NotWaiting
        });
        let link = &mut self.ends[at].link;
        assert_eq!(link.handle(self.now, id, sequence), expected);
        assert_eq!(link.reject(self.now, id, sequence, 0, ""), expected);
    }

    fn abandon(&mut self, channel: usize) {
        let at = 1 - self.sends(channel);
        let id = self.id(channel, at);
        assert_eq!(self.ends[at].link.abandon(self.now, id), Ok(()));
        self.turn_away(channel);
    }

    fn turn_away(&mut self, channel: usize) {
        for (origin, verdict) in self.receivers[channel].abandon() {
            self.decide(channel, origin, verdict);
        }
    }

    pub(super) fn close(&mut self, at: usize, mode: CloseMode, code: u32) {
        let now = self.now;
        let end = &mut self.ends[at];
        let is_up = matches!(end.link.state(), LinkState::Open | LinkState::Closing);
        let finishing = end.link.state() == LinkState::Finishing;
        end.link.close_with(now, mode, reason(code));
        if end.is_over || finishing || (!is_up && end.session == [0; 16]) {
            return self.note(at);
        }
        if !end.is_closing {
            end.is_closing = true;
            end.by_us = true;
            end.closing_since = now;
        }
        if end.said == CloseReason::ALL_WELL && !end.ever_done {
            end.said = reason(code);
        }
        if end.by_us && mode == CloseMode::Withdraw && self.withdraw(at) {
            let end = &mut self.ends[at];
            if end.said == CloseReason::ALL_WELL && !end.ever_done {
                end.said = CloseReason::new(close::WITHDRAWN, "");
            }
        }
        if mode != CloseMode::DrainBoth {
            for channel in self.receiving(at) {
                self.turn_away(channel);
            }
        }
        self.note(at);
    }

    /// Whether there was anything to withdraw.
    pub(super) fn withdraw(&mut self, at: usize) -> bool {
        let mut any = false;
        for channel in self.sending(at) {
            any |= self.sender(channel).withdraw();
        }
        any
    }

    // Time.

    /// Passes the time to an end again.
    pub(super) fn time(&mut self, at: usize) {
        let now = self.now;
        let end = &mut self.ends[at];
        let was_up = matches!(end.link.state(), LinkState::Open | LinkState::Closing);
        end.link.handle_timeout(now);
        if was_up && matches!(end.link.state(), LinkState::Offline | LinkState::Connecting) {
            let silent = end.heard + self.case.timeouts().give_up;
            assert!(now >= silent, "given up at {now:?}, not at {silent:?}");
        }
        // A link that ends now has seen to its channels first.
        if !self.ends[at].is_over {
            for channel in self.sending(at) {
                self.sender(channel).expire(now);
            }
        }
        for channel in self.receiving(at) {
            self.receivers[channel].lease.wait(now);
        }
        self.note(at);
    }

    pub(super) fn pass(&mut self, to: Instant) {
        self.now = to;
        for at in [OPENER, ACCEPTOR] {
            self.time(at);
            // What time has done to a connection may make something else due: an attempt without a
            // delay, the end of what was kept for a peer that came back and went away.
            let is_due = |world: &Self| {
                let next = world.ends[at].link.poll_deadline();
                next.is_some_and(|next| next <= to)
            };
            if is_due(self) {
                self.time(at);
            }
            assert!(!is_due(self), "the deadline stays");
        }
        if let Some((incoming, ..)) = &mut self.incoming {
            incoming.handle_timeout(to);
        }
        self.note_incoming();
    }

    /// The next moment at which anything can happen by itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let incoming = self.incoming.iter();
        let incoming = incoming.filter_map(|(incoming, ..)| incoming.poll_deadline());
        let links = self.ends.iter().filter_map(|end| end.link.poll_deadline());
        links.chain(incoming).min()
    }

    pub(super) fn sleep(&mut self) {
        if let Some(deadline) = self.deadline() {
            self.pass(deadline.max(self.now));
        }
    }

    // Output.

    /// Polls one end's output once; true when something moved.
    pub(super) fn poll(&mut self, at: usize, space: usize) -> bool {
        let mut buffer = vec![0; space];
        let now = self.now;
        let moved = match self.ends[at].link.poll_output(now, &mut buffer) {
            Output::Written(length) => {
                self.wrote(at, &buffer[..length]);
                true
            }
            Output::TooSmall { needed } => {
                assert!(needed > space, "{needed} needed, {space} given");
                buffer.resize(needed, 0);
                match self.ends[at].link.poll_output(now, &mut buffer) {
                    Output::Written(length) => self.wrote(at, &buffer[..length]),
                    other => panic!("{needed} bytes were asked for, then {other:?}"),
                }
                true
            }
            Output::Idle => {
                assert!(!self.ends[at].link.wants_output());
                false
            }
            Output::End => match self.ends[at].connection {
                Some(connection) => {
                    let ended = &mut self.connections[connection].write_ended[at];
                    !core::mem::replace(ended, true)
                }
                None => false,
            },
        };
        self.note(at);
        moved
    }
}

/// What the application sends: a function of where and which it is.
fn message(channel: usize, (incarnation, number): Origin, length: usize) -> Vec<u8> {
    payload(channel, (incarnation as u64) << 32 | number, length)
}
