//! What must hold after everything that happens, and how every case ends.

use countersign_core::{CloseReason, EndReason, Instant, LinkState, Loss, Output, VerdictKind};

use super::world::{CHANNEL, Stage, World};

impl World<'_> {
    pub(super) fn check(&mut self) {
        for at in [0, 1] {
            self.note_end(at);
            if !self.ends[at].link.wants_output() {
                self.check_idle(at);
            }
            if self.case.eager {
                self.poll_events(at);
            }
        }
        let waiting = self.ends[self.to()].link.waiting(CHANNEL);
        assert_eq!(waiting, self.receiver.queued());
    }

    fn check_idle(&mut self, at: usize) {
        let mut buffer = [0; 20_000];
        let end = &mut self.ends[at];
        match end.link.poll_output(self.now, &mut buffer) {
            Output::Idle => {}
            Output::End => assert!(end.write_ended || !end.link.wants_connection()),
            other => panic!("wants no output, but {other:?} at end {at}"),
        }
    }

    /// Notes an ended link, and a connection that it has dropped.
    fn note_end(&mut self, at: usize) {
        let end = &mut self.ends[at];
        if end.link.state() == LinkState::Ended && end.stage != Stage::Over {
            end.stage = Stage::Over;
            let reason = end.link.end_reason().expect("a reason").clone();
            if at == self.from {
                self.sender.end(false);
            }
            self.check_reason(at, &reason);
        }
        let end = &mut self.ends[at];
        let gone = end.connected > 0 && !end.link.wants_connection();
        let never = end.connected == 0 && end.stage == Stage::Over;
        end.dropped |= gone || never;
    }

    fn check_reason(&self, at: usize, reason: &EndReason) {
        let end = &self.ends[at];
        let timeouts = self.case.timeouts();
        let holds = match reason {
            // Every end of the connection between messages is a close, with which nothing can be
            // said.
            EndReason::Closed {
                by_us,
                ours,
                theirs,
            } => {
                assert_eq!([ours, theirs], [&end.said, &CloseReason::ALL_WELL]);
                *by_us == end.by_us
            }
            EndReason::ClosedBeforeConnected => true,
            EndReason::Lost(Loss::Transport) => self.cut,
            EndReason::Lost(Loss::PeerLeft) => true,
            EndReason::Lost(Loss::PeerLeftEarly) => !end.connected_told,
            EndReason::Lost(Loss::HandshakeTooSlow) => self.now >= end.opened + timeouts.handshake,
            EndReason::Lost(Loss::CloseTooSlow) => self.now >= end.closing_since + timeouts.close,
            _ => false,
        };
        assert!(holds, "end {at} ended: {reason}");
    }

    // The end of every case: both ends take everything, then one or both close.

    pub(super) fn finish(&mut self) {
        let start = self.now;
        self.connect_all();
        self.drive(|world| world.sender.is_settled());
        if !self.cut && self.ends.iter().all(|end| end.stage != Stage::Over) {
            self.check_settled(start);
        }
        for at in [0, 1] {
            // Without a connection there is nothing to wait for.
            let (mode, code) = match self.case.closers[at] {
                None if self.ends[at].connected == 2 => continue,
                close => close.unwrap_or_default(),
            };
            self.close(at, mode, code);
            self.check();
        }
        self.drive(|world| {
            world
                .ends
                .iter()
                .all(|end| end.link.state() == LinkState::Ended)
        });
        for at in [0, 1] {
            self.poll_events(at);
            assert!(self.ends[at].ended_told, "end {at} has not ended");
            self.check_report(at);
        }
        assert!(self.sender.is_settled());
    }

    fn check_settled(&self, start: Instant) {
        assert!(self.sender.is_settled(), "stalled: {:?}", self.sender);
        assert_eq!(self.now, start, "there is nothing to wait for");
    }

    fn drive(&mut self, done: impl Fn(&Self) -> bool) {
        for _ in 0..20_000 {
            let mut moved = false;
            for at in [0, 1] {
                if self.ends[at].link.wants_output() {
                    moved |= self.poll(at, self.case.last_space);
                }
                moved |= self.carry(at, 4096, 1000);
                self.check();
                self.poll_events(at);
            }
            while self.take() {
                moved = true;
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

    fn check_report(&self, at: usize) {
        let report = &self.ends[at].link.report()[0];
        let sends = at == self.from;
        for kind in VerdictKind::ALL {
            let expected = if sends { self.sender.count(kind) } else { 0 };
            assert_eq!(report.verdicts[kind], expected, "{kind}");
        }
        let delivered = if sends { 0 } else { self.receiver.delivered };
        assert_eq!(report.delivered, delivered);
    }
}
