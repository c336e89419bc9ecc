//! The exchange between a connection and its link.

use countersign_core::{Disconnect, Instant, LinkState, Output, Protocol};

use crate::error::{Reason, SecurityError};
use crate::event::EndpointEvent;
use crate::tls::Recheck;

use super::{Endpoint, LinkSnapshot, PLAINTEXT};

impl Endpoint {
    /// Passes the link what has arrived, lets it do what is due, and takes its output: everything
    /// that concerns the link.
    pub fn exchange(&mut self, now: Instant, link: &mut impl Protocol) {
        self.exchange_amid(now, link, false);
    }

    /// As [`exchange`](Self::exchange), while there may be more to read from the transport.
    ///
    /// Unread data has arrived before now, so an owner that was delayed for long must not mistake
    /// its delay for the peer's silence: a timeout that is due is deferred, once, to the next
    /// exchange. The longest record takes two reads of 16 KiB.
    pub fn exchange_while_reading(&mut self, now: Instant, link: &mut impl Protocol) {
        self.exchange_amid(now, link, true);
    }

    fn exchange_amid(&mut self, now: Instant, link: &mut impl Protocol, reading: bool) {
        self.deliver(now, link);
        let due = link.poll_deadline().is_some_and(|deadline| deadline <= now);
        self.deferred_timeout = due && reading && !self.deferred_timeout;
        if due && !self.deferred_timeout {
            link.handle_timeout(now);
        }
        self.collect(now, link);
    }

    /// Passes the link what has arrived: the first part of [`exchange`](Self::exchange).
    pub fn deliver(&mut self, now: Instant, link: &mut impl Protocol) {
        self.open(now, link);
        self.apply_replaced_trust(now, link);
        if self.receiving.secured && self.is_current(link) {
            let id = self
                .authenticated
                .as_ref()
                .and_then(|authenticated| authenticated.id);
            // A link that has ended meanwhile ignores it.
            self.events.secured = link.handle_secured(now, id).is_ok();
        }
        if !self.receiving.plaintext.is_empty() && self.is_current(link) {
            link.handle_input(now, self.receiving.plaintext.filled());
        }
        let ends = self.receiving.eof || self.receiving.failed;
        // A link that is finishing has ended before.
        let losing = ends && self.is_current(link) && link.state() != LinkState::Finishing;
        if self.receiving.eof && self.is_current(link) {
            link.handle_eof(now);
        }
        if self.receiving.failed && self.is_current(link) {
            link.handle_lost(now, Disconnect::Transport);
        }
        if losing && !link.wants_connection() {
            self.events.lost = self.cause.clone();
        }
        self.receiving.discard();
        self.report_failure(now, link);
        self.observe(link);
    }

    /// Reports the connection to the link, once.
    fn open(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.number.is_none() {
            let opened = link.handle_opened(now).is_ok();
            // A link that did not want this connection has no connection 0.
            self.number = Some(if opened { link.connection() } else { 0 });
        }
    }

    fn report_failure(&mut self, now: Instant, link: &mut impl Protocol) {
        let Some((error, how)) = self
            .failure
            .as_ref()
            .filter(|_| !self.events.reported_to_link)
        else {
            return;
        };
        let how = *how;
        if self.number.is_none() {
            return;
        }
        if !self.is_fenced_by(link) && link.state() != LinkState::Ended {
            self.events.failure = Some(error.clone());
        }
        self.events.reported_to_link = true;
        if self.is_current(link) {
            link.handle_lost(now, how);
        }
    }

    /// Takes the link's output, once its previous output is sent.
    pub fn collect(&mut self, now: Instant, link: &mut impl Protocol) {
        self.apply_replaced_trust(now, link);
        self.report_failure(now, link);
        if self.may_collect() {
            if self.connection.may_write() {
                self.collect_from(now, link);
            } else if link.state() == LinkState::Ended || self.is_fenced_by(link) {
                // A link that ended during the handshake, or has moved on, sends nothing here.
                self.sending.ended = true;
            }
        }
        self.observe(link);
    }

    fn may_collect(&self) -> bool {
        let over = self.sending.ended || self.sending.shut || self.failure.is_some();
        self.sending.is_empty() && !over
    }

    fn collect_from(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.is_fenced_by(link) {
            self.sending.ended = true;
            return;
        }
        // A link that has ended says so, whether it has output or not.
        if !link.wants_output() && link.state() != LinkState::Ended {
            return;
        }
        // On a plain connection the link writes directly to the output.
        let buffer = if self.connection.is_plain() {
            &mut self.sending.output
        } else {
            &mut self.sending.plaintext
        };
        match link.poll_output(now, &mut buffer.space(PLAINTEXT)[..PLAINTEXT]) {
            Output::Written(length) => buffer.commit(length),
            Output::Idle => {}
            Output::End => {
                if !link.breaks_off() {
                    self.connection.close();
                }
                self.sending.ended = true;
            }
            // Unreachable, since the buffer holds any frame; a link that cannot write is lost.
            Output::TooSmall { .. } => {
                self.fail_transport();
                link.handle_lost(now, Disconnect::Transport);
            }
        }
    }

    /// Verifies the peer again if identity and trust were [replaced](crate::Security::replace)
    /// since it was last verified; otherwise costs a comparison. Must be called for every
    /// connection when [`Security::watch`](crate::Security::watch) reports a replacement: it ends
    /// idle links, and those that are reconnecting and whose peer has not authenticated yet. An
    /// [`exchange`](Self::exchange) does it anyway for a peer that has authenticated.
    ///
    /// If the peer is no longer trusted, the link ends, and the output that follows tells the peer.
    /// In the tlsstream dialect, which cannot express it, the connection breaks off, so that the
    /// peer does not take it for an orderly end.
    pub fn recheck(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.failure.is_none() && !self.is_fenced_by(link) {
            self.reverify(now, link);
        }
        self.observe(link);
    }

    fn reverify(&mut self, now: Instant, link: &mut impl Protocol) {
        let known = self.authenticated.is_some() && !self.receiving.secured;
        if !known || !link.wants_connection() {
            // The link may have a session from an earlier connection, or wait for the next.
            if let Some(error) = self.security.recheck(now, link) {
                self.events.failure = Some(error);
            }
        }
        match self.connection.reverify() {
            Ok(Recheck::Same) => {}
            // As in the handshake: the peer is not reported to the link.
            Ok(Recheck::Other) if !known => {
                self.fail_connection(now, Reason::PinsChanged.into(), link);
            }
            Err(error) if !known => self.fail_connection(now, error, link),
            // A session in progress goes on. But none is begun or resumed under an identity that
            // is no longer a peer's.
            Ok(Recheck::Other) if link.state() == LinkState::Greeting => {
                self.fail_connection(now, Reason::PinsChanged.into(), link);
            }
            Ok(Recheck::Other) => {}
            Err(error) if link.wants_connection() => {
                if link.state() != LinkState::Ended {
                    self.events.failure = Some(error);
                }
                link.revoke(now);
            }
            Err(_) => {}
        }
    }

    /// Fails the connection, and reports nothing else from it to the link.
    fn fail_connection(&mut self, now: Instant, error: SecurityError, link: &mut impl Protocol) {
        self.receiving.discard();
        self.fail(error);
        self.report_failure(now, link);
    }

    /// Verifies the peer again if identity and trust were replaced, so that nothing passes in
    /// either direction unless the peer is still trusted. The notification of drivers may come
    /// later, while they are busy.
    fn apply_replaced_trust(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.connection.is_outdated() {
            self.recheck(now, link);
        }
    }

    /// Attaches this connection to the link that has taken it over
    /// ([`Link::take_over`](countersign_core::Link::take_over)). `connection` is that link's
    /// [`Link::connection`](countersign_core::Link::connection) right afterwards.
    pub fn attach(&mut self, connection: u64) {
        self.number = Some(connection);
        self.snapshot = LinkSnapshot::default();
        self.linger_until = None;
    }

    fn is_fenced_by(&self, link: &impl Protocol) -> bool {
        self.number
            .is_some_and(|number| number != link.connection())
    }

    /// Whether this is the link's connection, and the link still needs it.
    fn is_current(&self, link: &impl Protocol) -> bool {
        !self.is_fenced_by(link) && link.wants_connection()
    }

    fn observe(&mut self, link: &impl Protocol) {
        if self.number.is_none() {
            return;
        }
        let state = link.state();
        let ended = state == LinkState::Ended;
        self.snapshot = LinkSnapshot {
            fenced: self.is_fenced_by(link),
            offline: matches!(state, LinkState::Offline | LinkState::Connecting),
            ended: ended.then(|| link.config().get_timeouts().linger),
        };
    }

    /// Whether the link has moved on to another connection, or never took this one, as of the last
    /// [`exchange`](Self::exchange): then nothing passes between the two any more, and the
    /// transport can be dropped.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.snapshot.fenced
    }

    /// Returns the next event of the connection, after an [`exchange`](Self::exchange) or a
    /// [`recheck`](Self::recheck).
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        if std::mem::take(&mut self.events.secured) {
            return Some(EndpointEvent::Secured);
        }
        let lost = self.events.lost.take().map(EndpointEvent::Lost);
        lost.or_else(|| self.events.failure.take().map(EndpointEvent::Failed))
    }
}
