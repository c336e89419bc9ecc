//! The applications: what they send, what they do with what they get, and which events they see.

use std::collections::VecDeque;

use countersign_core::{
    ChannelId, EndReason, Event, Link, LinkState, Loss, ReceiveError, RetryLimit, SendError,
    SessionLoss,
};

use super::ledger::{Reading, Sight, code, reply};
use super::plan::{ACCEPTOR, Act, Do, OPENER, Plant, host};
use super::rng::mix;
use super::world::World;

const FOREVER: RetryLimit = RetryLimit::Forever;

/// A message that an application has and has not settled.
#[derive(Debug)]
struct Held {
    due: u64,
    channel: usize,
    number: u64,
    id: usize,
}

/// The receiving side of the application at one link.
#[derive(Debug)]
pub(super) struct Inbox {
    held: Vec<Held>,
    /// Channels that have reported messages that were not taken yet.
    readable: Vec<bool>,
    /// It takes nothing until then.
    stalled: u64,
}

impl Inbox {
    pub(super) fn new(channels: usize) -> Self {
        Self {
            held: Vec::new(),
            readable: vec![false; channels],
            stalled: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.held.is_empty() && !self.readable.contains(&true)
    }

    pub(super) fn describe(&self) -> usize {
        self.held.len() + self.readable.iter().filter(|readable| **readable).count()
    }

    /// When the application acts by itself.
    pub(super) fn next(&self, now: u64) -> Option<u64> {
        let settles = self.held.iter().map(|held| held.due).min();
        let takes = self
            .readable
            .contains(&true)
            .then_some(self.stalled.max(now));
        match (settles, takes) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}

/// The sending side of the application of one end of a pair, whichever link it has just now.
#[derive(Debug)]
pub(super) struct Party {
    /// What it does at a given moment, and what once its link was up; each in order.
    acts: [VecDeque<Act>; 2],
    /// Its link.
    pub(super) node: Option<usize>,
    /// When it was up for the first time.
    pub(super) up: Option<u64>,
    /// What waits for room, by channel.
    waiting: Vec<VecDeque<(usize, Option<u64>)>>,
}

impl Party {
    pub(super) fn new(script: &[Act], channels: usize) -> Self {
        let of = |once_up: bool| {
            let mut acts: Vec<Act> = script.to_vec();
            acts.retain(|act| act.once_up == once_up);
            acts.sort_by_key(|act| act.at);
            acts.into()
        };
        Self {
            acts: [of(false), of(true)],
            node: None,
            up: None,
            waiting: vec![VecDeque::new(); channels],
        }
    }

    /// When it does something.
    pub(super) fn next(&self) -> Option<u64> {
        self.node?;
        let by_itself = self.acts[0].front().map(|act| act.at);
        let once_up = self.acts[1]
            .front()
            .zip(self.up)
            .map(|(act, up)| act.at + up);
        match (by_itself, once_up) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn take(&mut self) -> Option<Act> {
        let due = self.next()?;
        let first = self.acts[0].front().is_some_and(|act| act.at == due);
        self.acts[usize::from(!first)].pop_front()
    }

    pub(super) fn is_done(&self) -> bool {
        self.acts.iter().all(VecDeque::is_empty) && self.waiting.iter().all(VecDeque::is_empty)
    }

    /// It does nothing more.
    pub(super) fn rest(&mut self) {
        self.acts = Default::default();
        self.forget();
    }

    fn forget(&mut self) {
        for waiting in &mut self.waiting {
            waiting.clear();
        }
    }
}

impl World<'_> {
    pub(super) fn act(&mut self, pair: usize, end: usize) {
        let party = &mut self.parties[pair][end];
        let (Some(act), Some(node)) = (party.take(), party.node) else {
            return;
        };
        if self.nodes[node].crashed || self.nodes[node].ended {
            return;
        }
        self.say(|| format!("{}: {:?}", self.name(node), act.what));
        match act.what {
            Do::Send {
                channel,
                size,
                expires,
            } => {
                let expires = expires.map(|after| self.now + after);
                self.parties[pair][end].waiting[channel].push_back((size, expires));
                self.pump(node, channel);
            }
            Do::Close(how) => self.close(node, how),
            Do::Stall(time) => self.nodes[node].inbox.stalled = self.now + time,
            Do::Abandon(channel) => {
                let now = self.local(node);
                let id = self.id(node, channel);
                let link = self.nodes[node].link.link_mut();
                let done = link.map(|link| link.abandon(now, id));
                self.nodes[node].inbox.readable[channel] = false;
                self.ledger.abandoned(pair, channel);
                if done != Some(Ok(())) {
                    self.ledger.object("a channel that can't be abandoned");
                }
            }
        }
        self.touch(node, false);
    }

    fn id(&self, node: usize, channel: usize) -> ChannelId {
        let place = self.plan.place(self.nodes[node].end, channel);
        ChannelId(u16::try_from(place).expect("few channels"))
    }

    fn channel(&self, node: usize, id: ChannelId) -> usize {
        self.plan.place(self.nodes[node].end, usize::from(id.0))
    }

    // Sending.

    pub(super) fn pump_all(&mut self, node: usize) {
        for channel in 0..self.plan.channels.len() {
            self.pump(node, channel);
        }
    }

    /// Sends what waits, as far as there is room.
    fn pump(&mut self, node: usize, channel: usize) {
        let (pair, end) = (self.nodes[node].pair, self.nodes[node].end);
        if self.parties[pair][end].node != Some(node) {
            return;
        }
        let now = self.local(node);
        let id = self.id(node, channel);
        while let Some((size, expires)) = self.parties[pair][end].waiting[channel].front().copied()
        {
            let payload = self.ledger.compose(size);
            let clock = self.plan.clocks[host(pair, end)];
            let expires = expires.map(|at| clock.at(at));
            let Some(link) = self.nodes[node].link.link_mut() else {
                return;
            };
            match link.send(now, id, payload, expires) {
                Ok(number) => {
                    let ups = self.nodes[node].ups + u64::from(!self.is_up(node));
                    let from = (pair, node, channel);
                    let due = self.parties[pair][end].waiting[channel]
                        .front()
                        .and_then(|(_, due)| *due);
                    let life = (self.now, due);
                    self.ledger.accepted(from, number, size, expires, life, ups);
                    self.parties[pair][end].waiting[channel].pop_front();
                }
                Err(not) => match not.why {
                    SendError::Blocked => return,
                    SendError::Closing | SendError::Ended => {
                        self.parties[pair][end].waiting[channel].clear();
                    }
                    why => self
                        .ledger
                        .object(format!("a message is not accepted: {why}")),
                },
            }
            if self.ledger.objection().is_some() {
                return;
            }
        }
    }

    // Hearing.

    /// Reads a link's events; true when there were any.
    pub(super) fn on_event(&mut self, node: usize) -> bool {
        let (mut session_lost, mut on_record) = (false, false);
        let mut any = false;
        let mut evicted = Vec::new();
        while let Some(event) = self.nodes[node].link.poll_event() {
            any = true;
            evicted.extend(self.follow(node, &event));
            self.say(|| format!("{}: {event:?}", self.name(node)));
            session_lost |= matches!(event, Event::SessionLost(_));
            on_record |= matches!(event, Event::SessionLost(SessionLoss::TooOld));
            self.nodes[node].lost |= matches!(event, Event::Lost(_));
            self.pass_on(node, event);
        }
        if any {
            let link = &self.nodes[node].link;
            let closes = matches!(
                link.state(),
                LinkState::Closing | LinkState::Finishing | LinkState::Ended
            );
            let reading = Reading {
                session_lost,
                on_record,
                closing: closes || self.nodes[node].closing,
                ended: link.end_reason(),
            };
            self.ledger.read(node, &reading);
            self.receive(node);
        }
        for node in evicted {
            self.evict(node);
        }
        any | self.on_end_of_incoming(node)
    }

    /// A connection that does not become a link has no events. Returns whether it has just ended.
    fn on_end_of_incoming(&mut self, node: usize) -> bool {
        let it = &self.nodes[node];
        let ends = it.link.incoming().is_some() && it.link.state() == LinkState::Ended && !it.ended;
        if ends {
            self.on_end(node);
        }
        ends
    }

    fn pass_on(&mut self, node: usize, event: Event) {
        let plants = |plant| self.plan.plant == Some(plant) && !self.planted;
        if plants(Plant::ForgetVerdict) && matches!(event, Event::Handled { .. }) {
            self.planted = true;
            return;
        }
        if plants(Plant::RepeatVerdict) && matches!(event, Event::Verdict { .. }) {
            self.planted = true;
            self.pass_on(node, event.clone());
        }
        match event {
            Event::Connected => {
                self.on_up(node);
                self.on_closing(node);
            }
            Event::Resumed => self.on_up(node),
            Event::SessionLost(why) => self.on_session_lost(node, why),
            Event::Readable(id) => {
                let channel = self.channel(node, id);
                self.nodes[node].inbox.readable[channel] = true;
            }
            Event::Room(id) => self.pump(node, self.channel(node, id)),
            Event::Handled {
                channel,
                first,
                last,
                ..
            } => {
                let channel = self.channel(node, channel);
                self.ledger.handled_range(node, channel, first, last);
            }
            Event::Verdict {
                channel,
                sequence,
                verdict,
            } => {
                let sight = Sight {
                    now: self.local(node),
                    ups: self.nodes[node].ups,
                };
                let of = (node, self.channel(node, channel));
                let early = self.ledger.verdict(of, sequence, &verdict, &sight);
                self.check_early(node, early);
            }
            Event::Ended => self.on_end(node),
            _ => {}
        }
    }

    fn on_up(&mut self, node: usize) {
        self.check_not_over(node);
        self.nodes[node].ups += 1;
        self.nodes[node].lost = false;
        let end = self.nodes[node].end;
        if self.nodes[node].at == Some(0) && self.summary.greeting[end] == 0 {
            self.summary.greeting[end] = self.conns[0].pipes[end].written;
        }
        if self.nodes[node].end == OPENER {
            let id = self.nodes[node].link.session();
            self.nodes[node].session = id;
            if self.nodes[node].first_session == [0; 16] {
                self.nodes[node].first_session = id;
            }
            self.known.insert(id);
            let pair = self.nodes[node].pair;
            self.parties[pair][OPENER].up.get_or_insert(self.now);
        }
    }

    /// Only an acceptor that no longer has the session can have said so.
    fn on_session_lost(&mut self, node: usize, why: SessionLoss) {
        if self.nodes[node].end == ACCEPTOR {
            // Whether there was a reason was looked at when its peer came.
            if self.nodes[node].over != Some(why) {
                let name = self.name(node);
                self.ledger
                    .object(format!("{name} loses a session for no reason: {why}"));
            }
            return;
        }
        self.summary.lost_sessions += 1;
        self.on_over(node, why);
        let id = self.nodes[node].session;
        let holder = self.holders.get(&id).map(|holder| &self.nodes[*holder]);
        let over = |state| matches!(state, LinkState::Finishing | LinkState::Ended);
        let held = holder.is_some_and(|holder| !holder.crashed && !over(holder.link.state()));
        let honest = matches!(why, SessionLoss::NotKnown | SessionLoss::TooOld);
        if held || !honest || self.plan.lasting {
            let name = self.name(node);
            self.ledger
                .object(format!("{name} loses a session for no reason: {why}"));
        }
    }

    fn on_end(&mut self, node: usize) {
        self.nodes[node].ended = true;
        if self.nodes[node].end == ACCEPTOR {
            let drops = self.nodes[node].drops.len();
            self.ledger.ended(node, drops);
        }
        self.check_said(node);
        let it = &self.nodes[node];
        let Some(reason) = it.link.end_reason() else {
            return;
        };
        let id = it.link.session();
        let over = self.judge_over(node, reason);
        let incoming = it.end == ACCEPTOR && it.link.incoming().is_some();
        let wrong = match reason {
            _ if over.is_some() => over == Some(true),
            EndReason::Closed { .. } | EndReason::ClosedBeforeConnected => false,
            EndReason::TakenOver | EndReason::Stale => !incoming,
            EndReason::Lost(Loss::NotTrusted | Loss::Abandoned) => true,
            EndReason::Lost(_) if incoming => false,
            EndReason::Lost(Loss::CloseTooSlow) => self.ledger.open(node) > 0,
            // Its opener never heard that there is such a session, or has lost it.
            EndReason::Lost(Loss::StayedAway) if it.end == ACCEPTOR => {
                self.plan.lasting && self.known.contains(&id)
            }
            EndReason::Lost(Loss::Evicted) if it.end == ACCEPTOR => self.plan.lasting,
            EndReason::Lost(_) if it.end == ACCEPTOR => {
                !self.plan.timeouts[ACCEPTOR].retain.is_zero()
            }
            EndReason::Lost(_) => self.plan.reconnect.limit == FOREVER,
            _ => true,
        };
        if wrong {
            let what = format!("{} ends: {reason}", self.name(node));
            self.ledger.object(what);
        }
        self.begin_anew(node);
    }

    // Receiving.

    /// The application takes what there is, unless it is stalled, and settles what is due.
    pub(super) fn receive(&mut self, node: usize) {
        if self.nodes[node].crashed {
            return;
        }
        for channel in 0..self.plan.channels.len() {
            let inbox = &mut self.nodes[node].inbox;
            if inbox.readable[channel] && inbox.stalled <= self.now {
                inbox.readable[channel] = false;
                self.take_all(node, channel);
            }
        }
        let mut at = 0;
        while at < self.nodes[node].inbox.held.len() {
            if self.nodes[node].inbox.held[at].due <= self.now {
                let held = self.nodes[node].inbox.held.remove(at);
                self.settle(node, &held);
            } else {
                at += 1;
            }
        }
    }

    fn take_all(&mut self, node: usize, channel: usize) {
        let pair = self.nodes[node].pair;
        let id = self.id(node, channel);
        let of = (pair, node, channel);
        let now = self.local(node);
        loop {
            let Some(link) = self.nodes[node].link.link_mut() else {
                return;
            };
            let late = |link: &Link| link.report()[usize::from(id.0)].expired;
            let before = late(link);
            let taken = link.take(now, id);
            if late(link) > before {
                let now = self.now;
                self.nodes[node].drops.push(now);
            }
            let message = match taken {
                Ok(Some(message)) => message,
                Ok(None) => return,
                Err(ReceiveError::SessionBorder(why)) => {
                    self.say(|| format!("{}: the border on {channel}: {why}", self.name(node)));
                    self.ledger.crossed(of);
                    self.check_border_of(node);
                    continue;
                }
                Err(why) => {
                    self.ledger.object(format!("taking fails: {why}"));
                    return;
                }
            };
            if self.plan.plant == Some(Plant::LoseTaken) && !self.planted {
                self.planted = true;
                continue;
            }
            let (number, bytes) = (message.sequence, &message.payload);
            let Some(taken) = self.ledger.took(of, number, bytes) else {
                return;
            };
            self.check_in_time(node, taken);
            self.say(|| format!("{}: takes #{taken} on {channel}", self.name(node)));
            self.check_session_of(node, taken);
            if self.plan.plant == Some(Plant::TakeTwice) && !self.planted {
                self.planted = true;
                self.ledger.took(of, number, bytes);
            }
            if !self.plan.channels[channel].manual {
                self.ledger.handled(taken);
                continue;
            }
            let holds = mix(taken as u64) % (self.plan.holds + 1);
            self.nodes[node].inbox.held.push(Held {
                due: self.now + holds,
                channel,
                number,
                id: taken,
            });
        }
    }

    /// No application takes a message that is late, in the world's time.
    fn check_in_time(&mut self, node: usize, id: usize) {
        let it = &self.nodes[node];
        let (pair, sender) = (it.pair, 1 - it.end);
        let Some((_, due)) = self.ledger.life(id).filter(|_| self.knows_ages(pair)) else {
            return;
        };
        if self.now >= due + self.deceived_by(pair, sender) {
            let over = self.now - due;
            self.ledger
                .object(format!("message #{id} is taken {over} us late"));
        }
    }

    /// A message has expired before its time by its sender's clock: its receiver was in doubt.
    fn check_early(&mut self, node: usize, early: Option<usize>) {
        let (pair, sender) = (self.nodes[node].pair, self.nodes[node].end);
        let clocks = [0, pair + 1].map(|host| self.plan.clocks[host]);
        let honest = clocks.iter().all(|clock| clock.is_honest());
        let Some(id) = early.filter(|_| honest) else {
            return;
        };
        let Some((accepted, due)) = self.ledger.life(id) else {
            return;
        };
        if !self.may_have_dropped(pair, sender, due, due - accepted) {
            self.ledger.object(format!(
                "message #{id} is Expired {} us before its time",
                due.saturating_sub(self.now)
            ));
        }
    }

    fn settle(&mut self, node: usize, held: &Held) {
        let now = self.local(node);
        let channel = self.id(node, held.channel);
        let Some(link) = self.nodes[node].link.link_mut() else {
            return;
        };
        let rejects = self.ledger.is_rejected(held.id, self.plan.rejects);
        let replies = self.ledger.is_replied(held.id, self.plan.replies);
        let done = if rejects {
            self.ledger.refused(held.id);
            link.reject(now, channel, held.number, code(held.id), "no")
        } else if replies {
            self.ledger.replied(held.id);
            link.handle_with(now, channel, held.number, &reply(held.id))
        } else {
            if self.plan.plant != Some(Plant::ConfirmUnhandled) {
                self.ledger.handled(held.id);
            }
            link.handle(now, channel, held.number)
        };
        self.say(|| {
            let what = if rejects { "rejects" } else { "handles" };
            format!("{}: {what} #{}", self.name(node), held.id)
        });
        match done {
            Ok(()) => {}
            // The acceptor's links have one session each.
            Err(ReceiveError::SessionLost) if self.nodes[node].end == OPENER => {}
            Err(why) => self.ledger.object(format!("settling fails: {why}")),
        }
    }
}
