//! What must hold after everything that happens, and how every case ends.

use core::time::Duration;

use countersign_core::{
    ChannelId, EndReason, Event, Instant, LinkState, Loss, Output, Protocol, SessionLoss,
    VerdictKind,
};

use super::sender::Sender;
use super::world::{ACCEPTOR, OPENER, World};

impl World<'_> {
    pub(super) fn check(&mut self) {
        if self.ends.iter().any(|end| end.is_closing) {
            self.closing_on.get_or_insert(self.connections.len());
        }
        for at in [OPENER, ACCEPTOR] {
            self.note(at);
            let comes_back = self.ends[at].link.wants_connect();
            assert!(!comes_back || self.ends[at].over.is_none(), "it is over");
            if !self.ends[at].link.wants_output() {
                self.check_idle(at);
            }
            if self.case.pair.eager {
                self.poll_events(at);
            }
        }
        for channel in 0..self.receivers.len() {
            let at = 1 - self.sends(channel);
            let waiting = self.ends[at].link.waiting(self.id(channel, at));
            assert_eq!(waiting, self.receivers[channel].queued());
        }
        if let Some((incoming, ..)) = &self.incoming {
            assert!(
                !incoming.wants_output(),
                "it speaks before it has an answer"
            );
        }
    }

    fn check_idle(&mut self, at: usize) {
        let mut buffer = [0; 20_000];
        let end = &mut self.ends[at];
        match end.link.poll_output(self.now, &mut buffer) {
            Output::Idle => {}
            Output::End => {
                let ended = |at: usize, of: usize| self.connections[of].write_ended[at];
                assert!(
                    end.connection
                        .is_none_or(|connection| ended(at, connection))
                );
            }
            other => panic!("wants no output, but {other:?} at end {at}"),
        }
    }

    /// Takes note of what has become of a link.
    pub(super) fn note(&mut self, at: usize) {
        self.note_connection(at);
        let now = self.now;
        let end = &mut self.ends[at];
        let state = end.link.state();
        let (session, number) = (end.link.session(), end.link.connection());
        let is_up = matches!(
            state,
            LinkState::Open | LinkState::Closing | LinkState::Finishing
        );
        if end.was_up
            && (state == LinkState::Offline || (number != end.number && state != LinkState::Ended))
        {
            end.owes.insert("lost");
        }
        if end.link.resumes() > end.resumes {
            end.owes.insert("resumed");
        }
        if session != end.session && session != [0; 16] {
            if end.session != [0; 16] && !end.ever_done {
                end.owes.insert("session lost");
            }
            if end.over.is_none() {
                end.owes.insert("connected");
            }
        }
        if is_up {
            end.lost_at = None;
        } else if state == LinkState::Offline {
            end.lost_at.get_or_insert(now);
        }
        (end.was_up, end.session, end.number) = (is_up, session, number);
        end.resumes = end.link.resumes();
        if state == LinkState::Ended && !end.is_over {
            end.is_over = true;
            self.note_end(at);
        }
    }

    /// Notes a connection that a link has dropped.
    fn note_connection(&mut self, at: usize) {
        let end = &mut self.ends[at];
        if let Some(connection) = end.connection
            && !end.link.wants_connection()
        {
            end.connection = None;
            end.is_secured = false;
            self.lose_parts(at, connection);
        }
    }

    fn note_end(&mut self, at: usize) {
        let reason = self.reason(at).expect("a reason").clone();
        let in_order = matches!(reason, EndReason::Closed { .. });
        for channel in self.sending(at) {
            self.sender(channel).end(in_order);
        }
        self.check_reason(at, &reason);
    }

    fn check_reason(&self, at: usize, reason: &EndReason) {
        let (end, timeouts) = (&self.ends[at], self.case.timeouts());
        let with_session = self.ended_with_session(at, reason);
        let holds = match reason {
            _ if with_session.is_some() => with_session == Some(true),
            EndReason::Closed {
                by_us,
                ours,
                theirs,
            } => {
                assert_eq!([ours, theirs], [&end.said, &end.heard_said]);
                end.is_closing && *by_us == end.by_us
            }
            EndReason::ClosedBeforeConnected => end.session == [0; 16],
            EndReason::Lost(Loss::CloseTooSlow) => {
                end.is_closing && self.now >= end.closing_since + timeouts.close
            }
            EndReason::Lost(Loss::Evicted | Loss::Abandoned) => end.was_dropped,
            EndReason::Lost(Loss::StayedAway) => {
                let since = end.lost_at.expect("it was lost");
                at == ACCEPTOR && self.now >= since + timeouts.retain
            }
            // Nothing to come back to.
            EndReason::Lost(Loss::Transport | Loss::HandshakeTooSlow | Loss::PeerLeftEarly) => {
                at == ACCEPTOR && end.session == [0; 16]
            }
            _ => false,
        };
        assert!(holds, "end {at} ended: {reason}");
    }

    // Events.

    pub(super) fn poll_events(&mut self, at: usize) {
        while let Some(event) = self.ends[at].link.poll_event() {
            if at == ACCEPTOR && self.case.listens {
                self.follow(&event);
            }
            self.told(at, &event);
            self.log.events.push((at, event));
        }
        let takes = self.ends[at].takes();
        for channel in self.sending(at) {
            self.sender(channel).check_told(takes);
        }
        for channel in self.receiving(at) {
            self.receivers[channel].check_read();
        }
        let end = &self.ends[at];
        assert!(end.owes.is_empty(), "not told: {:?}", end.owes);
        assert_eq!(end.is_over, end.ended_told, "told of the end");
    }

    fn told(&mut self, at: usize, event: &Event) {
        assert!(!self.ends[at].ended_told, "{event:?} after the end");
        let of = |channel: &ChannelId| usize::from(self.case.pair.position(channel.0.into(), at));
        let what = match event {
            Event::LeaseHeld(channel) | Event::LeaseLapsed(channel) => {
                return self.receivers[of(channel)].lease.told(event);
            }
            Event::Readable(channel) => return self.receivers[of(channel)].readable(),
            Event::Handled { channel, .. }
            | Event::Verdict { channel, .. }
            | Event::Room(channel) => {
                let (channel, takes) = (of(channel), self.ends[at].takes());
                return self.sender(channel).told(event, takes);
            }
            Event::Ended => {
                assert!(self.ends[at].is_over);
                self.ends[at].ended_told = true;
                return;
            }
            Event::Connected => "connected",
            Event::Resumed => "resumed",
            Event::Lost(_) => "lost",
            Event::PeerClosing => "peer closing",
            Event::SessionLost(why) => {
                let expected = if at == OPENER {
                    matches!(why, SessionLoss::NotKnown | SessionLoss::TooOld)
                } else {
                    *why == SessionLoss::StartedAnew
                };
                assert!(expected, "{why}");
                for channel in self.sending(at) {
                    assert!(self.sender(channel).is_told_of_the_past());
                }
                "session lost"
            }
            other => panic!("{other:?}"),
        };
        assert!(self.ends[at].owes.remove(what), "told of '{what}'");
    }

    // The end of every case: both ends take everything, then one or both close.

    pub(super) fn finish(&mut self) {
        let [opener, acceptor] = [0, 1].map(|at| self.ends[at].connection);
        let one = opener.filter(|_| opener == acceptor);
        let over = self.ends.iter().any(|end| end.is_over);
        let works = !over && one.is_some_and(|one| !self.connections[one].is_dead);
        if !works || self.case.last_cut || self.incoming.is_some() {
            self.reconnect();
        } else {
            self.connect();
        }
        // An end that had sent its last frame has ended with its connection.
        if self.ends[OPENER].is_over && !self.ends[ACCEPTOR].is_over {
            self.poll_events(OPENER);
            self.check_report(OPENER);
            self.restart(OPENER);
            self.reconnect();
        }
        let start = self.now;
        self.drive(|world| {
            let senders = world.senders.iter();
            senders.filter_map(|all| all.last()).all(Sender::is_settled)
        });
        self.check_settled(start);
        for at in [OPENER, ACCEPTOR] {
            if let Some((mode, code)) = self.case.pair.closers[at] {
                self.close(at, mode, code);
                self.check();
            }
        }
        self.drive(|world| {
            world
                .ends
                .iter()
                .all(|end| end.link.state() == LinkState::Ended)
        });
        for at in [OPENER, ACCEPTOR] {
            self.poll_events(at);
            assert!(self.ends[at].ended_told, "end {at} has not ended");
            self.check_report(at);
        }
        self.check_words();
        self.check_came();
        self.check_acceptor();
    }

    fn check_settled(&self, start: Instant) {
        let over = self.ends.iter().any(|end| end.is_over);
        for sender in self.senders.iter().filter_map(|all| all.last()) {
            assert!(sender.is_settled() || over, "stalled: {sender:?}");
        }
        // Only delayed acknowledgements are worth waiting for, unless an end closes.
        let took = self.now.saturating_since(start);
        let closing = self.ends.iter().any(|end| end.is_closing);
        let prompt = took < Duration::from_secs(2);
        assert!(prompt || closing || over, "stalled for {took:?}");
    }

    fn drive(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..30_000 {
            let mut moved = false;
            if self.ends[OPENER].link.wants_connect() {
                self.connect();
                self.connect();
            }
            for at in [OPENER, ACCEPTOR] {
                if self.ends[at].link.wants_output() {
                    moved |= self.poll(at, self.case.pair.last_space);
                }
                moved |= self.carry(at, 4096, 1000);
                self.check();
                self.poll_events(at);
            }
            for channel in 0..self.receivers.len() {
                while self.take(channel) {
                    moved = true;
                }
                while self.handle(channel, 0) {
                    moved = true;
                }
            }
            self.check();
            if !moved {
                if done(self) || self.deadline().is_none() {
                    return;
                }
                self.sleep();
                self.check();
            }
        }
        panic!("driven for too long");
    }

    pub(super) fn check_report(&mut self, at: usize) {
        let report = self.ends[at].link.report();
        for channel in 0..self.receivers.len() {
            let report = &report[usize::from(self.case.pair.position(channel, at))];
            if self.sends(channel) == at {
                let sender = self.sender(channel);
                for kind in VerdictKind::ALL {
                    assert_eq!(report.verdicts[kind], sender.count(kind), "{kind}");
                }
                assert_eq!(report.replayed, sender.replayed(), "{sender:?}");
            } else {
                assert_eq!(report.delivered, self.receivers[channel].delivered);
            }
        }
    }

    /// The reason of one end's close is what the other has received, if one connection was enough
    /// for that.
    fn check_words(&self) {
        let whole = self.connections.last().is_some_and(|last| !last.is_dead);
        if !whole || self.closing_on != Some(self.connections.len()) {
            return;
        }
        if let [
            Some(EndReason::Closed { ours, theirs, .. }),
            Some(EndReason::Closed {
                ours: said,
                theirs: heard,
                ..
            }),
        ] = [OPENER, ACCEPTOR].map(|at| self.ends[at].link.end_reason())
        {
            assert_eq!([ours, said], [heard, theirs]);
        }
    }

    /// Every message came where its verdict says so, and only there.
    fn check_came(&self) {
        for (channel, incarnations) in self.senders.iter().enumerate() {
            for (incarnation, sender) in incarnations.iter().enumerate() {
                for sequence in 1..=sender.msgs.len() as u64 {
                    let origin = (incarnation, sequence);
                    let came = self.came.contains_key(&(channel, origin));
                    sender.check_came(sequence, came);
                }
            }
        }
    }
}
