//! The books of a run: what every message went through at both ends, and whether that is possible.
//!
//! Each message carries its own number in these books, so that the receiving application can tell
//! which one it got, whatever the links make of it.

use std::collections::{BTreeMap, BTreeSet};

use countersign_core::{ChannelReport, EndReason, Instant, Verdict, VerdictKind, reject};

use super::plan::Channel;
use super::rng::mix;

/// The least size of a message: the number that it carries.
pub const LEAST: usize = 8;

/// What the receiving application has made of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    NotTaken,
    Held,
    Handled,
    Refused,
}

/// A message that a link has accepted.
#[derive(Debug)]
struct Message {
    pair: usize,
    channel: usize,
    node: usize,
    number: u64,
    size: usize,
    expires: Option<Instant>,
    /// When it was accepted, and when it is late, if it ever is, by the world's time.
    accepted: u64,
    due: Option<u64>,
    /// Whether its receiver has replied, and its sender has the reply.
    replied: bool,
    has_reply: bool,
    /// How often the sender's link had been up when it accepted the message, now included.
    ups: u64,
    verdict: Option<VerdictKind>,
    fate: Fate,
    /// The link that brought it.
    receiver: Option<usize>,
    /// The link that brought it has ended, and had reported it before, or can report it.
    on_record: bool,
}

/// What the receiver of one channel of one link has seen.
#[derive(Debug, Default)]
struct Seen {
    /// The last number that its own link gave.
    number: u64,
    /// The sending links, the newest last, and the last number of that one's.
    senders: Vec<usize>,
    last: u64,
    taken: u64,
    /// How many borders between sessions it was given since.
    borders: u64,
}

/// What is to be judged when a link's events have been read.
#[derive(Debug)]
pub(super) struct Reading<'a> {
    pub(super) session_lost: bool,
    /// The peer still had a record of the session.
    pub(super) on_record: bool,
    pub(super) closing: bool,
    pub(super) ended: Option<&'a EndReason>,
}

/// What is known when a verdict comes.
#[derive(Debug)]
pub(super) struct Sight {
    pub(super) now: Instant,
    /// How often the sender's link has been up.
    pub(super) ups: u64,
}

/// The books.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    channels: Vec<Channel>,
    messages: Vec<Message>,
    /// The messages that a link has accepted on a channel, in order.
    sent: BTreeMap<(usize, usize), Vec<usize>>,
    seen: BTreeMap<(usize, usize), Seen>,
    abandoned: BTreeSet<(usize, usize)>,
    /// Sending links whose peer takes nothing, since it ends with its session.
    turned_away: BTreeSet<usize>,
    crashed: BTreeSet<usize>,
    /// Links' receipts without a verdict.
    open: BTreeMap<usize, usize>,
    /// Verdicts of the events that are being read.
    unknown: usize,
    withdrawn: usize,
    /// A message that is Unknown and need not be.
    forgotten: Option<usize>,
    objections: Vec<String>,
}

fn fill(id: usize, at: usize) -> u8 {
    // The low byte is what is wanted.
    #[expect(clippy::cast_possible_truncation)]
    let byte = mix(id as u64 ^ (at as u64 >> 3) << 32) as u8;
    byte.wrapping_add(at as u8)
}

fn payload(id: usize, size: usize) -> Vec<u8> {
    let mut bytes = (id as u64).to_be_bytes().to_vec();
    bytes.extend((LEAST..size).map(|at| fill(id, at)));
    bytes
}

/// The code with which the application refuses a message.
pub(super) fn code(id: usize) -> u32 {
    (id & 0xFFFF) as u32
}

/// The application's reply to a message.
pub(super) fn reply(id: usize) -> Vec<u8> {
    vec![fill(id, 3); id % 40]
}

impl Ledger {
    pub(super) fn new(channels: &[Channel]) -> Self {
        Self {
            channels: channels.to_vec(),
            ..Self::default()
        }
    }

    pub(super) fn object(&mut self, what: impl Into<String>) {
        self.objections.push(what.into());
    }

    pub(super) fn objection(&self) -> Option<&str> {
        self.objections.first().map(String::as_str)
    }

    /// How many messages were accepted.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// How many of a link's messages have no verdict.
    pub(super) fn open(&self, node: usize) -> usize {
        self.open.get(&node).copied().unwrap_or(0)
    }

    pub(super) fn is_rejected(&self, id: usize, one_in: u64) -> bool {
        one_in > 0 && mix(id as u64 + 1).is_multiple_of(one_in)
    }

    pub(super) fn is_replied(&self, id: usize, one_in: u64) -> bool {
        one_in > 0 && mix(id as u64 + 2).is_multiple_of(one_in)
    }

    // The sender.

    /// The payload of the next message.
    pub(super) fn compose(&self, size: usize) -> Vec<u8> {
        payload(self.messages.len(), size.max(LEAST))
    }

    pub(super) fn accepted(
        &mut self,
        (pair, node, channel): (usize, usize, usize),
        number: u64,
        size: usize,
        expires: Option<Instant>,
        (accepted, due): (u64, Option<u64>),
        ups: u64,
    ) {
        let id = self.messages.len();
        let numbers = self.sent.entry((node, channel)).or_default();
        numbers.push(id);
        if numbers.len() as u64 != number {
            let due = numbers.len();
            self.object(format!("message #{id} got the number {number}, not {due}"));
        }
        *self.open.entry(node).or_default() += 1;
        self.messages.push(Message {
            pair,
            channel,
            node,
            number,
            size: size.max(LEAST),
            expires,
            accepted,
            due,
            replied: false,
            has_reply: false,
            ups,
            verdict: None,
            fate: Fate::NotTaken,
            receiver: None,
            on_record: false,
        });
    }

    fn find(&mut self, node: usize, channel: usize, number: u64) -> Option<usize> {
        let numbers = self.sent.get(&(node, channel));
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        let id = numbers.and_then(|numbers| numbers.get(at)).copied();
        if id.is_none() {
            self.object(format!(
                "link {node} hears of number {number} on channel {channel}, which it never gave"
            ));
        }
        id
    }

    /// The sender gets a verdict other than a plain `Handled`. Returns the message if it is `Expired`
    /// before its time.
    pub(super) fn verdict(
        &mut self,
        (node, channel): (usize, usize),
        number: u64,
        verdict: &Verdict,
        sight: &Sight,
    ) -> Option<usize> {
        let id = self.find(node, channel, number)?;
        self.settle(id, verdict.kind());
        let message = &self.messages[id];
        let taken = message.fate != Fate::NotTaken;
        let mut early = false;
        let wrong = match verdict {
            Verdict::Handled(None) => Some("Handled comes as a verdict of its own"),
            Verdict::Handled(Some(given)) => {
                let right = message.replied && *given == reply(id)[..];
                self.messages[id].has_reply = true;
                (!right).then_some("the receiving application did not reply that")
            }
            Verdict::Rejected(why) => self.judge_rejection(id, why.code, &why.reason),
            _ if taken && !matches!(verdict, Verdict::Unknown) => {
                Some("the receiving application has it")
            }
            Verdict::Superseded => {
                let newest = self.sent[&(node, channel)].len() as u64;
                let replaced = self.channels[channel].latest && newest > number;
                (!replaced).then_some("nothing took its place")
            }
            Verdict::Expired => {
                early = message.expires.is_some_and(|expires| expires > sight.now);
                let limited = message.expires.is_some();
                (!limited).then_some("its life is not limited")
            }
            Verdict::Withdrawn => {
                self.withdrawn += 1;
                None
            }
            Verdict::Unknown => {
                self.unknown += 1;
                if message.on_record {
                    self.forgotten = Some(id);
                }
                (message.ups > sight.ups).then_some("no connection can have carried it")
            }
        };
        if let Some(wrong) = wrong {
            let fate = self.messages[id].fate;
            self.object(format!(
                "message #{id} is {:?}, but {wrong} ({fate:?})",
                verdict.kind()
            ));
        }
        early.then_some(id)
    }

    fn judge_rejection(&self, id: usize, said: u32, reason: &str) -> Option<&'static str> {
        let message = &self.messages[id];
        match message.fate {
            Fate::Refused if said == code(id) && reason == "no" => None,
            Fate::Refused => Some("in other words than the application's"),
            Fate::NotTaken if said == reject::NO_RECEIVER => {
                let listens = !self.abandoned.contains(&(message.pair, message.channel))
                    && !self.turned_away.contains(&message.node);
                listens.then_some("somebody listens")
            }
            _ => Some("the receiving application did not refuse it"),
        }
    }

    /// The sender learns that these were handled, except those with another verdict.
    pub(super) fn handled_range(&mut self, node: usize, channel: usize, first: u64, last: u64) {
        let mut any = false;
        for number in first..=last {
            let Some(id) = self.find(node, channel, number) else {
                return;
            };
            let message = &self.messages[id];
            match message.verdict {
                Some(VerdictKind::Handled) if message.has_reply => {}
                Some(VerdictKind::Handled) => self.object(format!("#{id} is handled twice")),
                None if message.replied => {
                    self.object(format!("#{id} is handled, and its reply is lost"));
                }
                Some(_) => {}
                None => {
                    any = true;
                    let fate = message.fate;
                    self.settle(id, VerdictKind::Handled);
                    if fate != Fate::Handled {
                        self.object(format!(
                            "message #{id} is Handled, but the application did not ({fate:?})"
                        ));
                    }
                }
            }
        }
        if !any {
            self.object(format!("link {node}: nothing is new in {first} to {last}"));
        }
    }

    fn settle(&mut self, id: usize, verdict: VerdictKind) {
        let message = &mut self.messages[id];
        let earlier = message.verdict.replace(verdict);
        match earlier {
            None => *self.open.entry(message.node).or_default() -= 1,
            Some(earlier) => self.object(format!(
                "message #{id} gets a second verdict: {earlier}, then {verdict}"
            )),
        }
    }

    /// All events of a link have been read.
    pub(super) fn read(&mut self, node: usize, reading: &Reading<'_>) {
        let orderly = reading.ended.is_some_and(EndReason::is_closed);
        let over = reading.session_lost || reading.ended.is_some_and(|why| !why.is_closed());
        if self.unknown > 0 && !over {
            self.object(format!("link {node}: Unknown, but the session goes on"));
        }
        if self.withdrawn > 0 && !over && !orderly && !reading.closing {
            self.object(format!("link {node}: Withdrawn, but the link goes on"));
        }
        let forgotten = self.forgotten.take().filter(|_| reading.on_record);
        if let Some(id) = forgotten {
            self.object(format!("message #{id} is Unknown, but its receiver knew"));
        }
        self.unknown = 0;
        self.withdrawn = 0;
    }

    /// A receiving link has ended in order by itself: whatever its application had handled by now,
    /// if nothing else of the channel was in its hands, is on record. Not where it has answered
    /// anything, since what the sender has not noted holds the record back: replies, and late
    /// messages, `drops` of them.
    pub(super) fn ended(&mut self, node: usize, drops: usize) {
        for channel in 0..self.channels.len() {
            let is_here =
                |message: &Message| message.receiver == Some(node) && message.channel == channel;
            let messages = || self.messages.iter().filter(|message| is_here(message));
            let known = |message: &Message| message.fate == Fate::Handled && !message.replied;
            if drops == 0 && messages().all(known) {
                let messages = self.messages.iter_mut().filter(|message| is_here(message));
                messages.for_each(|message| message.on_record = true);
            }
        }
    }

    // The receiver.

    /// The application takes a message. Returns its number in these books.
    pub(super) fn took(
        &mut self,
        (pair, node, channel): (usize, usize, usize),
        number: u64,
        bytes: &[u8],
    ) -> Option<usize> {
        let Some(id) = self.identify(pair, channel, bytes) else {
            self.object(format!("link {node} brings what nobody sent"));
            return None;
        };
        let message = &self.messages[id];
        let (fate, verdict) = (message.fate, message.verdict);
        if fate != Fate::NotTaken {
            self.object(format!("message #{id} comes a second time ({fate:?})"));
        }
        if verdict.is_some_and(|verdict| verdict != VerdictKind::Unknown) {
            self.object(format!("message #{id} comes after its verdict {verdict:?}"));
        }
        let (sender, sent) = (self.messages[id].node, self.messages[id].number);
        let seen = self.seen.entry((node, channel)).or_default();
        let newer = match seen.senders.last() {
            Some(last) if *last == sender => sent > seen.last,
            _ => !seen.senders.contains(&sender),
        };
        let borders = std::mem::take(&mut seen.borders);
        let parted = match seen.senders.last() {
            Some(last) if *last == sender => borders == 0,
            Some(_) => borders > 0,
            None => true,
        };
        if !parted {
            let wrong = format!("message #{id} comes behind {borders} borders");
            self.object(wrong);
        }
        let seen = self.seen.entry((node, channel)).or_default();
        if newer && number > seen.number {
            if seen.senders.last() != Some(&sender) {
                seen.senders.push(sender);
            }
            seen.last = sent;
            seen.number = number;
            seen.taken += 1;
        } else {
            self.object(format!("message #{id} comes out of its order"));
        }
        self.messages[id].fate = Fate::Held;
        self.messages[id].receiver = Some(node);
        Some(id)
    }

    /// The application was given the border between two sessions.
    pub(super) fn crossed(&mut self, (_, node, channel): (usize, usize, usize)) {
        self.seen.entry((node, channel)).or_default().borders += 1;
    }

    fn identify(&self, pair: usize, channel: usize, bytes: &[u8]) -> Option<usize> {
        let id = u64::from_be_bytes(*bytes.first_chunk::<LEAST>()?);
        let id = usize::try_from(id).ok()?;
        let message = self.messages.get(id)?;
        let fits = message.pair == pair
            && message.channel == channel
            && message.size == bytes.len()
            && (LEAST..bytes.len()).all(|at| bytes[at] == fill(id, at));
        fits.then_some(id)
    }

    /// The application has handled it.
    pub(super) fn handled(&mut self, id: usize) {
        self.messages[id].fate = Fate::Handled;
    }

    /// The application has handled it, with a reply.
    pub(super) fn replied(&mut self, id: usize) {
        self.messages[id].fate = Fate::Handled;
        self.messages[id].replied = true;
    }

    /// When a message was accepted and when it is late, if it ever is.
    pub(super) fn life(&self, id: usize) -> Option<(u64, u64)> {
        let message = &self.messages[id];
        Some((message.accepted, message.due?))
    }

    /// The application has refused it.
    pub(super) fn refused(&mut self, id: usize) {
        self.messages[id].fate = Fate::Refused;
    }

    /// The receiver has been dropped.
    pub(super) fn abandoned(&mut self, pair: usize, channel: usize) {
        self.abandoned.insert((pair, channel));
    }

    /// Nothing is taken of what this link sends.
    pub(super) fn turned_away(&mut self, node: usize) {
        self.turned_away.insert(node);
    }

    /// The link that has sent a message.
    pub(super) fn sender(&self, id: usize) -> usize {
        self.messages[id].node
    }

    // The end.

    /// A link is gone with everything that it knew.
    pub(super) fn crashed(&mut self, node: usize) {
        self.crashed.insert(node);
        self.open.remove(&node);
    }

    /// How many messages ended in a verdict.
    pub(super) fn count(&self, kind: VerdictKind) -> u64 {
        let ends = |message: &&Message| message.verdict == Some(kind);
        self.messages.iter().filter(ends).count() as u64
    }

    /// Every receipt of a sender that lives has its verdict, and links count as these books do.
    pub(super) fn finish(&mut self, node: usize, channel: usize, report: &ChannelReport) {
        let ids = self.sent.get(&(node, channel)).cloned().unwrap_or_default();
        let mut counts = countersign_core::VerdictCounts::default();
        for id in ids {
            match self.messages[id].verdict {
                Some(verdict) => counts[verdict] += 1,
                None => self.object(format!("message #{id} never gets a verdict")),
            }
        }
        if counts != report.verdicts {
            let theirs = report.verdicts;
            self.object(format!("link {node} counts {theirs}, and it was {counts}"));
        }
        let taken = self.seen.get(&(node, channel)).map_or(0, |seen| seen.taken);
        if taken != report.delivered {
            let theirs = report.delivered;
            self.object(format!(
                "link {node} delivered {theirs}, {taken} were taken"
            ));
        }
    }

    /// If no session may be lost, every message was handled or rejected, unless it could expire, be
    /// superseded, or be withdrawn by a close. `orphans` are links whose opener never learned that
    /// they have a session.
    pub(super) fn check_lasting(&mut self, orphans: &BTreeSet<usize>) {
        let mut wrong = Vec::new();
        for (id, message) in self.messages.iter().enumerate() {
            let verdict = message.verdict;
            let fine = match (verdict, message.fate) {
                (Some(VerdictKind::Handled), Fate::Handled)
                | (Some(VerdictKind::Rejected), Fate::Refused | Fate::NotTaken) => true,
                (Some(VerdictKind::Unknown), Fate::NotTaken) => orphans.contains(&message.node),
                (Some(VerdictKind::Unknown) | None, _) => false,
                (Some(_), fate) => fate == Fate::NotTaken,
            };
            if !fine {
                let fate = message.fate;
                wrong.push(format!("message #{id} ends as {verdict:?} ({fate:?})"));
            }
        }
        self.objections.append(&mut wrong);
    }
}
