//! What a connection and its link have for each other.

use countersign_core::{Disconnect, Instant, LinkState, Output, Protocol};

use crate::error::{Reason, SecurityError};
use crate::tls::Judgement;

use super::{Endpoint, EndpointEvent, PLAINTEXT, Seen};

impl Endpoint {
    /// Hands the link what has arrived, lets it do what is due, and takes what it has to say: all
    /// that concerns the link.
    pub fn exchange(&mut self, now: Instant, link: &mut impl Protocol) {
        self.exchange_amid(now, link, false);
    }

    /// As [`exchange`](Self::exchange), before the transport has said that there is nothing more to
    /// read.
    ///
    /// What waits there has arrived before now, so an owner that was held up for long must not take
    /// that for the peer's silence: what is due is put off, once, to the next exchange. The longest
    /// record takes two reads of 16 KiB.
    pub fn exchange_while_reading(&mut self, now: Instant, link: &mut impl Protocol) {
        self.exchange_amid(now, link, true);
    }

    fn exchange_amid(&mut self, now: Instant, link: &mut impl Protocol, reading: bool) {
        self.deliver(now, link);
        let due = link.poll_deadline().is_some_and(|deadline| deadline <= now);
        self.put_off = due && reading && !self.put_off;
        if due && !self.put_off {
            link.handle_timeout(now);
        }
        self.collect(now, link);
    }

    /// Hands the link what has arrived: the first part of [`exchange`](Self::exchange).
    pub fn deliver(&mut self, now: Instant, link: &mut impl Protocol) {
        self.open(now, link);
        self.keep_up(now, link);
        if self.receiving.secured && self.is_current(link) {
            let id = self.proven.as_ref().and_then(|proven| proven.id);
            // A link that has ended meanwhile does not care.
            self.news.secured = link.handle_secured(now, id).is_ok();
        }
        if !self.receiving.plaintext.is_empty() && self.is_current(link) {
            link.handle_input(now, self.receiving.plaintext.filled());
        }
        let ends = self.receiving.eof || self.receiving.failed;
        // One that is finishing has come to its end before.
        let losing = ends && self.is_current(link) && link.state() != LinkState::Finishing;
        if self.receiving.eof && self.is_current(link) {
            link.handle_eof(now);
        }
        if self.receiving.failed && self.is_current(link) {
            link.handle_lost(now, Disconnect::Transport);
        }
        if losing && !link.wants_connection() {
            self.news.lost = self.cause.clone();
        }
        self.receiving.discard();
        self.report_failure(now, link);
        self.see(link);
    }

    /// Tells the link of the connection, once.
    fn open(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.number.is_none() {
            let opened = link.handle_opened(now).is_ok();
            // A link that did not want this connection has none of this number.
            self.number = Some(if opened { link.connection() } else { 0 });
        }
    }

    fn report_failure(&mut self, now: Instant, link: &mut impl Protocol) {
        let Some((error, how)) = self.failure.as_ref().filter(|_| !self.news.link_told) else {
            return;
        };
        let how = *how;
        if self.number.is_none() {
            return;
        }
        if !self.is_fenced_by(link) && link.state() != LinkState::Ended {
            self.news.failure = Some(error.clone());
        }
        self.news.link_told = true;
        if self.is_current(link) {
            link.handle_lost(now, how);
        }
    }

    /// Takes what the link has to say, if what it has said before is sent.
    pub fn collect(&mut self, now: Instant, link: &mut impl Protocol) {
        self.keep_up(now, link);
        self.report_failure(now, link);
        if self.may_collect() {
            if self.connection.may_write() {
                self.collect_from(now, link);
            } else if link.state() == LinkState::Ended || self.is_fenced_by(link) {
                // A link that ended during the handshake has nothing to say any more, or not here.
                self.sending.ended = true;
            }
        }
        self.see(link);
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
        // On a plain connection what the link writes is what is sent: straight to where it goes.
        let buffer = if self.connection.is_plain() {
            &mut self.sending.output
        } else {
            &mut self.sending.plaintext
        };
        match link.poll_output(now, &mut buffer.space(PLAINTEXT)[..PLAINTEXT]) {
            Output::Written(length) => buffer.commit(length),
            Output::Idle => buffer.release(),
            Output::End => {
                if !link.breaks_off() {
                    self.connection.close();
                }
                self.sending.ended = true;
            }
            // The buffer holds any frame, so this can't come; a link that can't write is lost.
            Output::TooSmall { .. } => {
                self.fail_transport();
                link.handle_lost(now, Disconnect::Transport);
            }
        }
    }

    /// Judges the peer again if identity and trust were [replaced](crate::Security::replace) since it was
    /// judged last; otherwise costs a comparison. To be called for every connection when
    /// [`Security::watch`](crate::Security::watch) tells of it: it ends links in which nothing moves, and
    /// those on their way back whose peer has not proved yet who it is. In an
    /// [`exchange`](Self::exchange) it is done in any case for a peer that has.
    ///
    /// If the peer is not trusted any more, the link ends, and what is to be sent
    /// from here on tells the peer. In the tlsstream dialect, which has no words for it, the
    /// connection breaks off, so that the peer does not take it for an orderly end.
    pub fn recheck(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.failure.is_none() && !self.is_fenced_by(link) {
            self.judge(now, link);
        }
        self.see(link);
    }

    fn judge(&mut self, now: Instant, link: &mut impl Protocol) {
        let known = self.proven.is_some() && !self.receiving.secured;
        if !known || !link.wants_connection() {
            // The link may have a session from an earlier connection, or wait for the next.
            if let Some(error) = self.security.recheck(now, link) {
                self.news.failure = Some(error);
            }
        }
        match self.connection.judge() {
            Ok(Judgement::Same) => {}
            // As in the handshake: the link has not heard of this peer, and does not.
            Ok(Judgement::Other) if !known => self.give_up(now, Reason::PinsChanged.into(), link),
            Err(error) if !known => self.give_up(now, error, link),
            // What is under way goes on. But nobody begins or resumes anything as a peer that is
            // none any more.
            Ok(Judgement::Other) if link.state() == LinkState::Greeting => {
                self.give_up(now, Reason::PinsChanged.into(), link);
            }
            Ok(Judgement::Other) => {}
            Err(error) if link.wants_connection() => {
                if link.state() != LinkState::Ended {
                    self.news.failure = Some(error);
                }
                link.revoke(now);
            }
            Err(_) => {}
        }
    }

    /// The connection is of no more use, and the link hears nothing more from it than that.
    fn give_up(&mut self, now: Instant, error: SecurityError, link: &mut impl Protocol) {
        self.receiving.discard();
        self.fail(error);
        self.report_failure(now, link);
    }

    /// Nothing passes that has come, or was given to the link, since identity and trust were
    /// replaced, unless the peer is trusted still. Drivers hear of it later, in the middle of much
    /// work perhaps.
    fn keep_up(&mut self, now: Instant, link: &mut impl Protocol) {
        if self.connection.is_outdated() {
            self.recheck(now, link);
        }
    }

    /// Goes on for the link that has taken this connection over
    /// ([`Link::take_over`](countersign_core::Link::take_over)). `connection` is that link's
    /// [`Link::connection`](countersign_core::Link::connection) right afterwards.
    pub fn attach(&mut self, connection: u64) {
        self.number = Some(connection);
        self.seen = Seen::default();
        self.linger_until = None;
    }

    fn is_fenced_by(&self, link: &impl Protocol) -> bool {
        self.number
            .is_some_and(|number| number != link.connection())
    }

    /// Whether this is the link's connection, and is of use to it.
    fn is_current(&self, link: &impl Protocol) -> bool {
        !self.is_fenced_by(link) && link.wants_connection()
    }

    fn see(&mut self, link: &impl Protocol) {
        if self.number.is_none() {
            return;
        }
        let state = link.state();
        let ended = state == LinkState::Ended;
        self.seen = Seen {
            fenced: self.is_fenced_by(link),
            away: matches!(state, LinkState::Offline | LinkState::Connecting),
            ended: ended.then(|| link.config().get_timeouts().linger),
        };
    }

    /// Whether the link has gone on to another connection, or never took this one, as of the last
    /// [`exchange`](Self::exchange): then nothing passes between the two any more, and the
    /// transport can be dropped.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.seen.fenced
    }

    /// Returns the next thing to know of the connection, after an
    /// [`exchange`](Self::exchange) or a [`recheck`](Self::recheck).
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        if std::mem::take(&mut self.news.secured) {
            return Some(EndpointEvent::Secured);
        }
        let lost = self.news.lost.take().map(EndpointEvent::Lost);
        lost.or_else(|| self.news.failure.take().map(EndpointEvent::Failed))
    }
}
