//! What has happened to a link, for its handles, its listener and the log.

use countersign_core::{Consequence, Event, Instant, LinkState, Loss, Role};

use super::{Listening, State};
use crate::failure::Failure;
use crate::failure_log::Novelty;
use crate::link_event::LinkEvent;

impl State {
    /// Dispatches the link's events.
    pub(super) fn dispatch(&mut self) {
        while let Some(event) = self.link.poll_event() {
            self.update_listener(&event);
            match event {
                Event::Connected => {
                    // A link that reconnects only to close reports no new session.
                    if std::mem::take(&mut self.session_lost) {
                        self.push_event(LinkEvent::NewSession);
                    }
                    self.connected = true;
                    self.arrived = self.link.connection();
                    self.clear_failure();
                    self.wakers.wake_all(&mut self.deferred);
                }
                Event::Lost(loss) => self.on_lost(loss),
                Event::Resumed => {
                    self.arrived = self.link.connection();
                    self.clear_failure();
                    self.push_event(LinkEvent::Resumed);
                }
                Event::SessionLost(why) => {
                    self.session_lost = true;
                    self.push_event(LinkEvent::SessionLost(why));
                }
                Event::Readable(channel) | Event::Room(channel) => self.wake(channel),
                Event::Handled {
                    channel,
                    last,
                    count,
                    ..
                } => {
                    let receipts = &mut self.channels[usize::from(channel.0)].receipts;
                    receipts.handled(last, count, self.deferred.wakers());
                }
                Event::Verdict {
                    channel,
                    sequence,
                    verdict,
                } => {
                    let receipts = &mut self.channels[usize::from(channel.0)].receipts;
                    receipts.settle(sequence, verdict, self.deferred.wakers());
                }
                Event::LeaseHeld(channel) => self.on_lease(channel, true),
                Event::LeaseLapsed(channel) => self.on_lease(channel, false),
                Event::PeerClosing => {
                    self.push_event(LinkEvent::PeerClosing);
                    self.wake_all();
                }
                Event::Ended => self.on_ended(),
                _ => {}
            }
        }
    }

    /// Keeps the listener's sessions in step with the link.
    fn update_listener(&mut self, event: &Event) {
        let Some(Listening { slot, link }) = &self.listener else {
            return;
        };
        // The others don't need the lock that all links of a listener share.
        if !event.changes_session() {
            return;
        }
        match slot.queue().follow(&self.link, event, link) {
            Some(Consequence::Evict(evicted)) => self.deferred.push(move || {
                if let Some(evicted) = evicted.upgrade() {
                    evicted.evict();
                }
            }),
            Some(Consequence::Close) => self.go_away(),
            None => {}
        }
    }

    /// Reports that the connection was lost and the link waits for the next.
    fn on_lost(&mut self, loss: Loss) {
        let error = self.error_context.of_loss(&self.link, loss);
        let why = error.to_string();
        self.push_event(LinkEvent::Lost { loss, why });
    }

    /// Logs why there is no connection, and what happens next. If the link ends before the next
    /// connection, this is not the reason.
    pub(crate) fn log_loss(&mut self, now: Instant) {
        let (LinkState::Offline, Some(loss)) = (self.link.state(), self.link.last_loss()) else {
            return;
        };
        // The link's event about the loss has the same cause.
        self.dispatch();
        let error = self.error_context.of_loss(&self.link, loss);
        self.clear_error_context();
        self.failures += 1;
        let failed = Failure {
            number: self.failures,
            error: error.clone(),
            next: self.link.next_attempt(),
        };
        let former = self.failure.replace(failed);
        self.deferred.drop(former);
        if !self.connected {
            self.wakers.wake_all(&mut self.deferred);
        }
        let novelty = self.failure_log.record(error.kind(), now);
        let next = match (self.link.role(), novelty) {
            (Role::Opener, Novelty::Reminder) => "still trying",
            (Role::Opener, _) if self.connected => "connecting again",
            (Role::Opener, _) => "trying again",
            (Role::Acceptor, _) => "waiting for the peer to return",
        };
        self.deferred.push(move || {
            if novelty == Novelty::Repeated {
                tracing::debug!("{error}; {next}");
            } else {
                tracing::warn!("{error}; {next}");
            }
        });
    }

    /// Discards the latest failure, once a connection has led to the peer.
    fn clear_failure(&mut self) {
        self.failure_log.forget();
        let former = self.failure.take();
        self.deferred.drop(former);
    }

    /// Discards the errors of the last connection, which do not explain what happens to the next.
    pub(super) fn clear_error_context(&mut self) {
        let former = std::mem::take(&mut self.error_context);
        self.deferred.drop(Some(former));
    }
}
