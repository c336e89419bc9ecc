//! Hosts, their links, the connections between them, and one event after the other.

use std::collections::{BTreeMap, BTreeSet};

use countersign_capture::Capture;
use countersign_core::{
    Acceptor, Incoming, Limits, Link, LinkPermit, LinkState, Role, SessionId, SessionLoss,
    VerdictKind,
};
use countersign_endpoint::Security;

use crate::mistakes;

use super::app::{Inbox, Party};
use super::ledger::Ledger;
use super::plan::{ACCEPTOR, Closes, OPENER, Plan};
use super::rng::Rng;
use super::wire::Conn;
use crate::any_link::AnyLink;

/// After this many steps a run counts as one that never ends.
const MOST_STEPS: u64 = 400_000;
/// How long, in microseconds, a run may take after the last thing that goes wrong.
const MOST_TIME: u64 = 3_600_000_000;
/// How often one thing that happens may lead to another at the same moment.
pub(super) const MOST_TURNS: usize = 10_000;

/// One link of one host, from its first connection to its end, or a connection that does not become
/// one.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) link: AnyLink,
    pub(super) pair: usize,
    /// Which end it is.
    pub(super) end: usize,
    /// Its connection, if it has one.
    pub(super) at: Option<usize>,
    /// When it next needs the time.
    pub(super) wake: u64,
    /// Its host was restarted.
    pub(super) crashed: bool,
    /// It has reported its end.
    pub(super) ended: bool,
    /// When it was made.
    pub(super) born: u64,
    /// Its session, as last reported.
    pub(super) session: SessionId,
    /// Acceptor: when that began.
    pub(super) began: u64,
    /// Opener: the first session that it learned of.
    pub(super) first_session: SessionId,
    /// It was declared to end with its session, and that is over.
    pub(super) over: Option<SessionLoss>,
    /// How often it was up, and whether it has lost its connection since.
    pub(super) ups: u64,
    pub(super) lost: bool,
    /// Its application has asked it to close.
    pub(super) closing: bool,
    /// With which codes.
    pub(super) said: Vec<u32>,
    pub(super) inbox: Inbox,
    /// The worst that it has known of its peer's clock, in microseconds, and when late messages were
    /// dropped.
    pub(super) vague: u64,
    /// How many bytes its link had received when what it knows was last looked at.
    pub(super) heard: u64,
    pub(super) drops: Vec<u64>,
    /// Acceptor: it waits for its peer, as the acceptor knows.
    pub(super) away: bool,
    /// Acceptor: its place among the links.
    pub(super) place: Option<LinkPermit>,
    /// Opener: a connection is being opened.
    pub(super) dials: bool,
}

/// What came out of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many things happened.
    pub steps: u64,
    /// How long it took, in microseconds of the world.
    pub time: u64,
    /// How many bytes each end wrote on each connection.
    pub written: Vec<[u64; 2]>,
    /// How many of them, on the first connection, before it was up.
    pub greeting: [u64; 2],
    /// How many of the planned cuts came.
    pub cuts: usize,
    /// Whether the planned crash came.
    pub crashed: bool,
    /// How many links openers had.
    pub openers: u64,
    /// How many times a session went on, as openers see it.
    pub resumes: u64,
    /// How many sessions openers lost.
    pub lost_sessions: u64,
    /// How many messages were accepted.
    pub messages: u64,
    /// How many of them were late at their receiver.
    pub late: u64,
    /// How many of them ended in each verdict.
    pub verdicts: [u64; 6],
    /// How many connections still brought bytes after they had been replaced.
    pub stale: u64,
    /// How many links were evicted.
    pub evicted: u64,
    /// How many links of the acceptor have ended because their peer began anew.
    pub left_behind: u64,
    /// How many links ended for each reason, in the words of `Debug`.
    pub ends: BTreeMap<String, u64>,
}

/// Everything there is.
pub struct World<'a> {
    pub(super) plan: &'a Plan,
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    pub(super) conns: Vec<Conn>,
    /// Nodes that have not ended or have something to do, and connections likewise.
    pub(super) live: Vec<usize>,
    pub(super) open: Vec<usize>,
    pub(super) parties: Vec<[Party; 2]>,
    /// Connections that are being opened: when they will be, and by whom.
    pub(super) dials: Vec<(u64, usize)>,
    pub(super) acceptor: Acceptor<usize>,
    /// Which link has, or had, which session at the acceptor.
    pub(super) holders: BTreeMap<SessionId, usize>,
    /// Sessions that an opener has heard of.
    pub(super) known: BTreeSet<SessionId>,
    pub(super) ledger: Ledger,
    pub(super) summary: Summary,
    /// Where the links are recorded.
    capture: Option<&'a Capture>,
    /// How many disturbances have come.
    pub(super) disturbed: usize,
    pub(super) unreachable_until: u64,
    /// Until when each host stands still, and when one that did goes on.
    pub(super) stopped: Vec<u64>,
    pub(super) resumes: Vec<(u64, usize)>,
    /// What is done wrong on purpose was done.
    pub(super) planted: bool,
    /// Everything was done, and links are being closed.
    pub(super) finale: bool,
}

impl std::fmt::Debug for World<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now).finish()
    }
}

/// Makes an acceptor that has forgotten everything.
pub(super) fn acceptor(plan: &Plan) -> Acceptor<usize> {
    Acceptor::new(Limits {
        sessions: plan.sessions,
        ..Limits::default()
    })
}

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Next {
    Connection(usize),
    Deadline(usize),
    Application(usize),
    Dial(usize),
    Act(usize, usize),
    Resume(usize),
    Disturbance,
}

impl<'a> World<'a> {
    /// Runs a plan to its end.
    ///
    /// # Errors
    ///
    /// The first objection.
    pub fn run(plan: &'a Plan) -> Result<Summary, String> {
        Self::run_captured(plan, None)
    }

    /// As [`World::run`], and records all links.
    ///
    /// # Errors
    ///
    /// As for [`World::run`].
    pub fn run_captured(plan: &'a Plan, capture: Option<&'a Capture>) -> Result<Summary, String> {
        let mut world = Self::new(plan, capture);
        let result = world.run_to_end();
        world.summarise();
        result.map(|()| world.summary)
    }

    fn new(plan: &'a Plan, capture: Option<&'a Capture>) -> Self {
        let party = |end: usize| {
            move |scripts: &super::plan::Scripts| Party::new(&scripts.0[end], plan.channels.len())
        };
        let parties = plan
            .pairs
            .iter()
            .map(|scripts| [party(OPENER)(scripts), party(ACCEPTOR)(scripts)])
            .collect();
        let mut world = Self {
            plan,
            now: 0,
            rng: Rng::new(plan.seed),
            nodes: Vec::new(),
            conns: Vec::new(),
            live: Vec::new(),
            open: Vec::new(),
            parties,
            dials: Vec::new(),
            acceptor: acceptor(plan),
            holders: BTreeMap::new(),
            known: BTreeSet::new(),
            ledger: Ledger::new(&plan.channels),
            summary: Summary::default(),
            capture,
            disturbed: 0,
            unreachable_until: 0,
            stopped: vec![0; plan.pairs.len() + 1],
            resumes: Vec::new(),
            planted: false,
            finale: false,
        };
        for pair in 0..plan.pairs.len() {
            world.begin_opener(pair);
        }
        world
    }

    /// A new link of an opener's.
    pub(super) fn begin_opener(&mut self, pair: usize) {
        let node = self.add_node(pair, OPENER);
        self.parties[pair][OPENER].node = Some(node);
        self.pump_all(node);
        self.touch(node, false);
    }

    pub(super) fn add_node(&mut self, pair: usize, end: usize) -> usize {
        let index = self.nodes.len();
        let link = self.any_link(end, index);
        self.nodes.push(Node {
            link,
            pair,
            end,
            at: None,
            wake: u64::MAX,
            crashed: false,
            ended: false,
            born: self.now,
            session: [0; 16],
            began: 0,
            first_session: [0; 16],
            over: None,
            ups: 0,
            lost: false,
            closing: false,
            said: Vec::new(),
            inbox: Inbox::new(self.plan.channels.len()),
            vague: 0,
            heard: 0,
            drops: Vec::new(),
            away: false,
            place: None,
            dials: false,
        });
        self.live.push(index);
        index
    }

    /// A link of an opener's, or a connection that the acceptor gets.
    fn any_link(&self, end: usize, index: usize) -> AnyLink {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.plan.seed.to_be_bytes());
        seed[8..].copy_from_slice(&(index as u64).to_be_bytes());
        let config = self.plan.config(end);
        let observer = self.capture.map(Capture::observer);
        if end == ACCEPTOR {
            let incoming = match observer {
                Some(observer) => Incoming::observed(&config, seed, observer),
                None => Incoming::new(&config, seed),
            };
            let mut incoming = incoming.expect("a sound declaration");
            mistakes::plant_incoming(&mut incoming, self.plan.mistake);
            return incoming.into();
        }
        let link = match observer {
            Some(observer) => Link::observed(&config, Role::Opener, seed, observer),
            None => Link::new(&config, Role::Opener, seed),
        };
        let mut link = link.expect("a sound declaration");
        mistakes::plant(&mut link, self.plan.mistake);
        link.into()
    }

    pub(super) fn security(&self, pair: usize, end: usize) -> Security {
        match &self.plan.keys {
            None => Security::plaintext(),
            Some(keys) if end == ACCEPTOR => keys.acceptor.clone(),
            Some(keys) => keys.openers[pair].clone(),
        }
    }

    pub(super) fn say(&self, what: impl FnOnce() -> String) {
        if self.plan.trace {
            let (seconds, micros) = (self.now / 1_000_000, self.now % 1_000_000);
            println!("{seconds:>5}.{micros:06}  {}", what());
        }
    }

    /// A link's name in a trace.
    pub(super) fn name(&self, node: usize) -> String {
        let Node { pair, end, .. } = self.nodes[node];
        format!("{}{pair} (link {node})", ["opener ", "acceptor of "][end])
    }

    fn run_to_end(&mut self) -> Result<(), String> {
        loop {
            if let Some(objection) = self.ledger.objection() {
                return Err(objection.to_owned());
            }
            self.live.retain(|node| {
                let node = &self.nodes[*node];
                let over = node.ended && node.inbox.is_idle() && node.at.is_none();
                !node.crashed && !over
            });
            self.open.retain(|conn| !self.conns[*conn].is_over());
            if !self.finale && self.is_idle() {
                self.begin_finale();
                continue;
            }
            if self.finale && self.live.is_empty() && self.dials.is_empty() {
                return self.finish();
            }
            let Some((at, next)) = self.next() else {
                return Err(format!("nothing will ever happen again: {}", self.state()));
            };
            self.now = self.now.max(at);
            self.summary.steps += 1;
            let quiet = self.plan.disturbances.last().map_or(0, |(at, _)| *at);
            if self.summary.steps > MOST_STEPS || self.now > quiet + MOST_TIME {
                return Err(format!("this does not end: {}", self.state()));
            }
            self.step(next);
            self.crash_if_due();
        }
    }

    /// The earliest thing that happens; of several at one moment, the first in a fixed order.
    fn next(&self) -> Option<(u64, Next)> {
        let mut best: Option<(u64, Next)> = None;
        // Before all else: what is due on that host has waited for it.
        let first = self
            .resumes
            .iter()
            .enumerate()
            .min_by_key(|(_, (at, _))| *at);
        let mut consider = |at: Option<u64>, next: Next| {
            if let Some(at) = at
                && best.is_none_or(|(earliest, _)| at < earliest)
            {
                best = Some((at, next));
            }
        };
        consider(
            first.map(|(_, (at, _))| *at),
            Next::Resume(first.map_or(0, |(which, _)| which)),
        );
        let disturbance = self.plan.disturbances.get(self.disturbed);
        consider(disturbance.map(|(at, _)| *at), Next::Disturbance);
        for conn in &self.open {
            let next = self.conns[*conn].next(self.stopped_ends(*conn));
            consider(next, Next::Connection(*conn));
        }
        for dial in 0..self.dials.len() {
            let (at, node) = self.dials[dial];
            consider(Some(at.max(self.stopped(node))), Next::Dial(dial));
        }
        for node in &self.live {
            let it = &self.nodes[*node];
            let stopped = self.stopped(*node);
            let later = |at: u64| at.max(stopped);
            let wake = (it.wake != u64::MAX).then_some(it.wake);
            consider(wake.map(later), Next::Deadline(*node));
            let acts = it.inbox.next(self.now);
            consider(acts.map(later), Next::Application(*node));
        }
        for (pair, parties) in self.parties.iter().enumerate() {
            for end in [OPENER, ACCEPTOR] {
                let host = if end == ACCEPTOR { 0 } else { pair + 1 };
                let later = |at: u64| at.max(self.stopped[host]);
                consider(parties[end].next().map(later), Next::Act(pair, end));
            }
        }
        best
    }

    fn step(&mut self, next: Next) {
        match next {
            Next::Connection(conn) => self.happen(conn),
            Next::Deadline(node) => self.deadline(node),
            Next::Application(node) => {
                self.receive(node);
                self.touch(node, false);
            }
            Next::Dial(dial) => {
                let (_, node) = self.dials.remove(dial);
                self.dial(node);
            }
            Next::Act(pair, end) => self.act(pair, end),
            Next::Resume(which) => {
                let (_, host) = self.resumes.remove(which);
                self.go_on(host);
            }
            Next::Disturbance => {
                let (_, disturbance) = self.plan.disturbances[self.disturbed];
                self.disturbed += 1;
                self.disturb(disturbance);
            }
        }
    }

    /// Whether nothing is left to do but to close.
    fn is_idle(&self) -> bool {
        let quiet = self.disturbed == self.plan.disturbances.len();
        let over = |party: &Party| party.node.is_some_and(|node| self.nodes[node].ended);
        let scripts = self.parties.iter().all(|[opener, acceptor]| {
            // Without an opener no connection will ever arrive.
            let alone = over(opener) && acceptor.node.is_none();
            (over(opener) || opener.is_done()) && (alone || over(acceptor) || acceptor.is_done())
        });
        let nodes = self
            .live
            .iter()
            .all(|node| self.nodes[*node].inbox.is_idle() && self.ledger.open(*node) == 0);
        quiet && nodes && (scripts || self.live.is_empty())
    }

    fn begin_finale(&mut self) {
        self.say(|| "everything is done: closing".to_owned());
        self.finale = true;
        for party in self.parties.iter_mut().flatten() {
            party.rest();
        }
        for node in self.live.clone() {
            if self.plan.closers[self.nodes[node].end] {
                self.close(node, Closes::DONE);
                self.touch(node, false);
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        for (index, node) in self.nodes.iter().enumerate() {
            if node.crashed {
                continue;
            }
            let report = node.link.link().map(Link::report).unwrap_or_default();
            for (place, report) in report.iter().enumerate() {
                let channel = self.plan.place(node.end, place);
                self.ledger.finish(index, channel, report);
            }
        }
        self.check_heard();
        self.check_told();
        if self.plan.lasting {
            let orphans = self.holders.iter();
            let orphans = orphans.filter(|(session, _)| !self.known.contains(*session));
            let orphans = orphans.map(|(_, node)| *node).collect();
            self.ledger.check_lasting(&orphans);
            self.check_ends();
        }
        self.ledger
            .objection()
            .map_or(Ok(()), |objection| Err(objection.to_owned()))
    }

    /// If nothing is a reason to lose a session, both ends close in order; only an end that lacks
    /// nothing but the other's last frame may give up on it.
    fn check_ends(&mut self) {
        for pair in 0..self.plan.pairs.len() {
            let of = |end: usize| {
                let mut nodes = self.nodes.iter();
                nodes.any(|node| {
                    let closed = node.link.end_reason();
                    node.pair == pair
                        && node.end == end
                        && closed.is_some_and(countersign_core::EndReason::is_closed)
                })
            };
            if !of(OPENER) && !of(ACCEPTOR) {
                self.ledger
                    .object(format!("neither end of pair {pair} closes in order"));
            }
        }
    }

    fn summarise(&mut self) {
        self.summary.time = self.now;
        self.summary.messages = self.ledger.len() as u64;
        self.summary.verdicts = VerdictKind::ALL.map(|kind| self.ledger.count(kind));
        for conn in &self.conns {
            let written = [conn.pipes[0].written, conn.pipes[1].written];
            self.summary.written.push(written);
        }
        for node in &self.nodes {
            let report = node.link.link().map(Link::report).unwrap_or_default();
            self.summary.late += report.iter().map(|channel| channel.expired).sum::<u64>();
            if node.end == OPENER {
                self.summary.openers += 1;
                self.summary.resumes += node.link.link().map_or(0, Link::resumes);
            }
            let reason = match node.link.end_reason() {
                _ if node.crashed => "crashed".to_owned(),
                Some(reason) => format!("{reason:?}"),
                None => format!("{:?}", node.link.state()),
            };
            *self.summary.ends.entry(reason).or_default() += 1;
        }
    }

    /// The state of all ends, for people.
    fn state(&self) -> String {
        let mut lines = vec![format!("after {} steps", self.summary.steps)];
        for index in &self.live {
            let node = &self.nodes[*index];
            lines.push(format!(
                "{} is {}, {} receipts open, {} waiting",
                self.name(*index),
                node.link.state(),
                self.ledger.open(*index),
                node.inbox.describe(),
            ));
        }
        let busy = self
            .parties
            .iter()
            .flatten()
            .filter(|party| !party.is_done());
        lines.push(format!("{} applications are not done", busy.count()));
        lines.join("; ")
    }

    pub(super) fn is_up(&self, node: usize) -> bool {
        matches!(
            self.nodes[node].link.state(),
            LinkState::Open | LinkState::Closing
        )
    }
}
