//! What must hold after everything that happens, and how every case ends.

use countersign_core::{EndReason, Instant, Life, Loss, Output, VerdictKind};

use super::model::Model;
use super::world::{Stage, World};

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
        for channel in 0..self.models.len() {
            let at = self.receiver(channel);
            let waiting = self.ends[at].link.waiting(self.id(channel, at));
            assert_eq!(waiting, self.models[channel].queued());
        }
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

    /// Takes note of an ended link, and of a connection that it has let go of.
    fn note_end(&mut self, at: usize) {
        let end = &mut self.ends[at];
        if end.link.life() == Life::Ended && end.stage != Stage::Over {
            end.stage = Stage::Over;
            let reason = end.link.end_reason().expect("a reason").clone();
            let closed = matches!(reason, EndReason::Closed { .. });
            let in_order = closed && self.native();
            for model in self
                .models
                .iter_mut()
                .filter(|model| model.chan.sender == at)
            {
                model.end(in_order);
            }
            self.check_reason(at, &reason);
        }
        let end = &mut self.ends[at];
        let gone = end.connected > 0 && !end.link.wants_connection();
        let never = end.connected == 0 && end.stage == Stage::Over;
        end.dropped |= gone || never;
    }

    fn check_reason(&self, at: usize, reason: &EndReason) {
        let (end, peer) = (&self.ends[at], &self.ends[1 - at]);
        let patience = self.case.patience();
        let holds = match reason {
            // In `tlsstream` every end of the connection between messages is a close.
            EndReason::Closed {
                by_us,
                ours,
                theirs,
            } => {
                // Every end hears what the other has said.
                assert_eq!([ours, theirs], [&end.said, &end.heard_said]);
                *by_us == end.by_us && (end.by_us || peer.by_us || !self.native())
            }
            EndReason::ClosedBeforeConnected => true,
            EndReason::Lost(Loss::Transport) => self.cut,
            EndReason::Lost(loss @ (Loss::PeerLeft | Loss::PeerLeftEarly)) => {
                let peers = peer.link.end_reason();
                let cut = peers.is_some_and(|why| !matches!(why, EndReason::Closed { .. }));
                let early = *loss == Loss::PeerLeftEarly;
                !(early && end.connected_told) && (cut || !self.native())
            }
            EndReason::Lost(Loss::Silence) => self.now >= end.heard + patience.give_up,
            EndReason::Lost(Loss::HandshakeTooSlow) => self.now >= end.opened + patience.handshake,
            EndReason::Lost(Loss::CloseTooSlow) => self.now >= end.closing_since + patience.close,
            _ => false,
        };
        assert!(holds, "end {at} ended: {reason}");
    }

    // The end of every case: everybody takes everything, then somebody closes.

    pub(super) fn finish(&mut self) {
        let start = self.now;
        self.connect_all();
        self.drive(|world| world.models.iter().all(Model::is_settled));
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
        self.drive(|world| world.ends.iter().all(|end| end.link.life() == Life::Ended));
        for at in [0, 1] {
            self.poll_events(at);
            assert!(self.ends[at].ended_told, "end {at} has not ended");
            self.check_report(at);
        }
        assert!(self.models.iter().all(Model::is_settled));
        // What one end has said is what the other has heard.
        if let [
            Some(EndReason::Closed { ours, theirs, .. }),
            Some(EndReason::Closed {
                ours: said,
                theirs: heard,
                ..
            }),
        ] = [0, 1].map(|at| self.ends[at].link.end_reason())
            && self.native()
        {
            assert_eq!([ours, said], [heard, theirs]);
        }
    }

    fn check_settled(&self, start: Instant) {
        for model in &self.models {
            assert!(model.is_settled(), "stalled: {model:?}");
        }
        let took = self.now.saturating_since(start);
        // Only delayed acknowledgements are worth waiting for.
        assert!(
            took < core::time::Duration::from_secs(2),
            "stalled for {took:?}"
        );
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
            for channel in 0..self.models.len() {
                while self.take(channel) {
                    moved = true;
                }
                while !self.models[channel].waiting.is_empty() {
                    self.handle(channel, 0);
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

    fn check_report(&self, at: usize) {
        let report = self.ends[at].link.report();
        for (channel, model) in self.models.iter().enumerate() {
            let report = &report[usize::from(self.case.position(channel, at))];
            for kind in VerdictKind::ALL {
                let expected = if model.chan.sender == at {
                    model.count(kind)
                } else {
                    0
                };
                assert_eq!(report.verdicts[kind], expected, "{kind}");
            }
            let delivered = if model.chan.sender == at {
                0
            } else {
                model.delivered()
            };
            assert_eq!(report.delivered, delivered);
        }
    }
}
