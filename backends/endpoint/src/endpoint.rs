//! One transport connection, and the bytes on their way between it and the core.

use std::time::Duration;

use countersign_core::{Dialect, Disconnect, Instant, Life, Output, PeerId, Protocol, Role};

use crate::buffer::Buffer;
use crate::connection::Connection;
use crate::error::{Blame, Reason, SecurityError};
use crate::peer::Peer;
use crate::security::Security;
use crate::tls::Judgement;

use receiving::Receiving;
use sending::Sending;
pub use sending::ToSend;

mod receiving;
mod sending;

/// How much plaintext is taken from the link at once, in bytes: four TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// What happened to the security of a connection.
#[derive(Clone, Debug)]
pub enum EndpointEvent {
    /// The connection is secured, and the peer is known ([`Endpoint::peer`]).
    Secured,
    /// The connection could not be secured, or is no longer. If the link has ended, this is why:
    /// [`Explanation::security`](crate::Explanation::security) makes it known.
    Failed(SecurityError),
}

/// One transport connection of a link, or of an [`Incoming`](countersign_core::Incoming), without
/// I/O: ciphertext in, messages out.
///
/// The owner of the transport
/// - while [`is_read_ended`](Self::is_read_ended) does not say otherwise, appends what there is to
///   [`input`](Self::input) and says how much came to [`received`](Self::received), or that
///   reading [`failed`](Self::failed);
/// - calls [`exchange`](Self::exchange) with the link: after that, at [`Protocol::poll_deadline`],
///   and when the link was given something to do;
/// - does what [`to_send`](Self::to_send) says, until that is nothing or the transport takes no
///   more, and exchanges again when it took something or this end's direction has ended;
/// - calls [`recheck`](Self::recheck) when [`Security::watch`] tells that identity and trust were
///   replaced;
/// - drops the transport, and this, when [`is_over`](Self::is_over) says so, which it asks after
///   all of these and at the [`deadline`](Self::deadline);
/// - calls [`release`](Self::release) before it waits.
///
/// Nothing is encrypted or decrypted while the link is in use, so a link that several threads use
/// is locked only for [`exchange`](Self::exchange), or for its parts.
///
/// # Bounds
/// Input that waits to be complete is shorter than [`MAX_RECORD`](crate::MAX_RECORD); output that
/// waits to be sent is at most about 64 KiB. What was received waits for the next exchange, so one
/// should follow before more than 48 KiB are read: [`Security::memory_bound`] counts with that.
/// What waits beyond that waits in the link, within the bounds that its declaration names.
#[derive(Debug)]
pub struct Endpoint {
    connection: Connection,
    security: Security,
    /// Which of the link's connections this is, once the link knows of it. What comes on an older
    /// one does not reach the link.
    number: Option<u64>,
    /// There are other addresses at which the peer may be.
    others: bool,
    /// Why the connection could not be secured or is no longer, and what that is to the link.
    failure: Option<(SecurityError, Disconnect)>,
    /// Who the peer has proved to be, once the connection is secured.
    proven: Option<Proven>,
    receiving: Receiving,
    sending: Sending,
    news: News,
    /// What the link was when it was seen last.
    seen: Seen,
    /// When to stop waiting for a peer that does not end its direction.
    linger_until: Option<Instant>,
}

/// Who the peer has proved to be; nobody knows on a plain connection.
#[derive(Debug)]
struct Proven {
    peer: Option<Peer>,
    id: Option<PeerId>,
}

/// What the owner was not told yet.
#[derive(Debug, Default)]
struct News {
    secured: bool,
    failure: Option<SecurityError>,
    /// The link knows of the failure.
    link_told: bool,
}

/// What a link was when it was seen last.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// It has gone on to another connection, or never took this one.
    fenced: bool,
    /// It waits for another connection.
    away: bool,
    /// It has ended, and leaves its peer so long to end the connection too.
    ended: Option<Duration>,
}

impl Endpoint {
    /// Begins on a transport connection that has just been opened or accepted, for a link of this
    /// role and with this [dialect](countersign_core::Config::wire_dialect). The link hears of it
    /// with the first [`exchange`](Self::exchange).
    #[must_use]
    pub fn new(security: &Security, role: Role, dialect: Dialect) -> Self {
        let security = match dialect {
            Dialect::Countersign => security.clone(),
            Dialect::TlsStream => security.without_alpn(),
        };
        let connection = match role {
            Role::Opener => Connection::connect_mutually(&security),
            Role::Acceptor => Connection::accept(&security),
        };
        let (connection, failure) = match connection {
            Ok(connection) => (connection, None),
            Err(error) => (Connection::closed(), Some(error)),
        };
        let mut endpoint = Self {
            connection,
            security,
            number: None,
            others: false,
            failure: None,
            proven: None,
            receiving: Receiving::default(),
            sending: Sending::default(),
            news: News::default(),
            seen: Seen::default(),
            linger_until: None,
        };
        match failure {
            Some(failure) => endpoint.fail(failure),
            // A plain connection is secured before anything arrives.
            None => endpoint.decrypt(),
        }
        endpoint
    }

    /// The peer may be elsewhere: it has other addresses, to which no connection was opened yet. If
    /// whoever is at the other end of this one does not prove to be the peer, that ends no link,
    /// not even one that was never up ([`Disconnect::Security`] and not [`Disconnect::Unproven`]).
    pub fn expect_others(&mut self) {
        self.others = true;
    }

    // Receiving.

    /// Whether nothing that still arrives would be looked at: there is no need to read.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.receiving.ended
    }

    /// Where what arrives is to be appended. 16 KiB at a time is a good measure; the longest record
    /// takes two of these.
    pub fn input(&mut self) -> &mut Buffer {
        &mut self.receiving.input
    }

    /// Decrypts what has arrived: `count` bytes were appended to [`input`](Self::input). None mean
    /// that the peer has ended its direction. The link gets it with the next
    /// [`exchange`](Self::exchange).
    pub fn received(&mut self, count: usize) {
        if count > 0 {
            self.decrypt();
        } else if !self.receiving.ended {
            self.end_reading();
        }
    }

    /// Takes note that the transport has failed: nothing will arrive and nothing can be sent.
    pub fn failed(&mut self) {
        self.receiving.ended = true;
        self.receiving.discard_input();
        self.sending.ended = true;
        self.sending.shut = true;
        // What has failed before is why the link loses the connection.
        self.receiving.failed = self.failure.is_none();
    }

    /// Whether nothing but the end of what comes is of interest: it has failed, or the link has
    /// nothing more to say, so it has ended.
    fn is_deaf(&self) -> bool {
        self.failure.is_some() || self.receiving.ended || self.sending.ended
    }

    fn decrypt(&mut self) {
        if self.is_deaf() {
            self.receiving.discard_input();
            return;
        }
        let (connection, proven) = (&mut self.connection, &mut self.proven);
        if let Err(error) = self.receiving.decrypt(connection, proven) {
            self.fail(error);
        }
    }

    /// The transport says that nothing more will arrive.
    fn end_reading(&mut self) {
        self.receiving.ended = true;
        self.receiving.discard_input();
        if self.failure.is_some() {
            return;
        }
        let ended = if self.sending.ended {
            Ok(())
        } else {
            self.connection.read_eof()
        };
        match ended {
            Ok(()) => self.receiving.eof = true,
            Err(error) => self.fail(error),
        }
    }

    /// The connection has failed, if it has not before.
    fn fail(&mut self, error: SecurityError) {
        if self.failure.is_some() {
            return;
        }
        let how = match error.reason() {
            // An end of the transport that only TLS knows to be one too early.
            Reason::Truncated => Disconnect::PeerLeft,
            Reason::ClosedDuringHandshake => Disconnect::PeerLeftEarly,
            _ if error.is_about_dates() => Disconnect::OutOfDate,
            _ if error.can_retry() => Disconnect::Security,
            _ if self.is_final(&error) => Disconnect::NotTrusted,
            _ if self.others => Disconnect::Security,
            _ => Disconnect::Unproven,
        };
        self.failure = Some((error, how));
    }

    /// Whether the peer itself, and nobody in its place, has brought this about, or this end has.
    ///
    /// An alert about our certificate comes once the peer has proved who it is, and encrypted. In
    /// clear anybody can send one. What else ends a secured connection may be the answer to bytes
    /// that somebody else has put between, at either end.
    fn is_final(&self, error: &SecurityError) -> bool {
        let refused = matches!(error.reason(), Reason::RefusedByPeer { .. });
        // That it does not ask is known once it has proved who it is.
        let does_not_ask = matches!(error.reason(), Reason::NotAskedForCertificate);
        (refused && self.proven.is_some()) || does_not_ask || error.blame() == Blame::Local
    }

    // With the link.

    /// Hands the link what has arrived, lets it do what is due, and takes what it has to say: all
    /// that concerns the link.
    pub fn exchange(&mut self, now: Instant, link: &mut impl Protocol) {
        self.deliver(now, link);
        if link.poll_deadline().is_some_and(|deadline| deadline <= now) {
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
        if self.receiving.eof && self.is_current(link) {
            link.handle_eof(now);
        }
        if self.receiving.failed && self.is_current(link) {
            link.handle_lost(now, Disconnect::Transport);
        }
        self.receiving.discard();
        self.tell_failure(now, link);
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

    fn tell_failure(&mut self, now: Instant, link: &mut impl Protocol) {
        let Some((error, how)) = self.failure.as_ref().filter(|_| !self.news.link_told) else {
            return;
        };
        let how = *how;
        if self.number.is_none() {
            return;
        }
        if !self.is_fenced_by(link) && link.life() != Life::Ended {
            self.news.failure = Some(error.clone());
        }
        self.news.link_told = true;
        if self.is_current(link) {
            link.handle_lost(now, how);
        }
    }

    /// Takes what the link has to say, if what it has said before is sent: the last part of
    /// [`exchange`](Self::exchange).
    pub fn collect(&mut self, now: Instant, link: &mut impl Protocol) {
        self.keep_up(now, link);
        self.tell_failure(now, link);
        if self.may_collect() {
            if self.connection.may_write() {
                self.collect_from(now, link);
            } else if link.life() == Life::Ended || self.is_fenced_by(link) {
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
                self.failed();
                link.handle_lost(now, Disconnect::Transport);
            }
        }
    }

    /// Judges the peer again if identity and trust were [replaced](Security::replace) since it was
    /// judged last; otherwise costs a comparison. To be called for every connection when
    /// [`Security::watch`] tells of it: it ends links in which nothing moves. In an
    /// [`exchange`](Self::exchange) it is done in any case.
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
            Ok(Judgement::Other) if link.life() == Life::Greeting => {
                self.give_up(now, Reason::PinsChanged.into(), link);
            }
            Ok(Judgement::Other) => {}
            Err(error) if link.wants_connection() => {
                if link.life() != Life::Ended {
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
        self.tell_failure(now, link);
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

    /// Whether this is the latest of the link's connections, or its next one, of which it knows
    /// nothing yet.
    #[must_use]
    pub fn is_of(&self, link: &impl Protocol) -> bool {
        !self.is_fenced_by(link)
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
        let life = link.life();
        let ended = life == Life::Ended;
        self.seen = Seen {
            fenced: self.is_fenced_by(link),
            away: matches!(life, Life::Offline | Life::Connecting),
            ended: ended.then(|| link.config().waits().linger),
        };
    }

    /// Whether the link has gone on to another connection, or never took this one, as of the last
    /// [`exchange`](Self::exchange): then nothing passes between the two any more, and the
    /// transport can be dropped.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.seen.fenced
    }

    /// Returns the next thing to know of the connection's security, after an
    /// [`exchange`](Self::exchange) or a [`recheck`](Self::recheck).
    pub fn poll_event(&mut self) -> Option<EndpointEvent> {
        if std::mem::take(&mut self.news.secured) {
            return Some(EndpointEvent::Secured);
        }
        self.news.failure.take().map(EndpointEvent::Failed)
    }

    // Sending.

    /// Returns what to send, if anything: encrypts what the last [`exchange`](Self::exchange) has
    /// given.
    pub fn to_send(&mut self) -> ToSend<'_> {
        if self.sending.shut {
            return ToSend::Nothing;
        }
        if !self.sending.has_output()
            && let Err(error) = self.sending.encrypt(&mut self.connection)
        {
            self.fail(error);
        }
        if self.sending.has_output() {
            self.sending.handed_out = true;
            return ToSend::Bytes(&mut self.sending.output);
        }
        if self.sending.ended || self.failure.is_some() {
            self.sending.ended = true;
            self.sending.ending = true;
            return ToSend::End;
        }
        ToSend::Nothing
    }

    /// Whether [`to_send`](Self::to_send) has something new to say since it was asked last.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let bytes = !self.sending.is_empty() || self.connection.pending_len() > 0;
        let ends = self.sending.ended || self.failure.is_some();
        !self.is_blocked() && (bytes || ends)
    }

    /// Takes note that some of what was to be sent was sent, and removed from the buffer.
    pub fn sent(&mut self) {
        self.sending.handed_out = false;
    }

    /// Takes note that this end's direction was ended, or can't be.
    pub fn shut(&mut self) {
        self.sending.shut = true;
    }

    /// Takes note that sending has failed: nothing more goes out. What the peer still had to say,
    /// an alert perhaps, may wait to be read and tell more than the error, so reading goes on to
    /// its end.
    pub fn cannot_send(&mut self) {
        self.sending.discard();
        self.sending.shut = true;
    }

    /// Whether output of the link would not go out now: the transport has to take other bytes
    /// first, or none any more.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.sending.handed_out || self.sending.ending || self.sending.shut
    }

    // The end.

    /// When to ask [`is_over`](Self::is_over) again if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.linger_until
    }

    /// Whether the link has no more use for this connection, as of the last
    /// [`exchange`](Self::exchange): it waits for the next one, or has one, or has ended.
    ///
    /// A link that has ended still leaves the peer
    /// [`Patience::linger`](countersign_core::Patience::linger) to end the connection too: closing
    /// with unread input would make the operating system reset it, and the peer might never read
    /// our last words.
    pub fn is_over(&mut self, now: Instant) -> bool {
        if self.seen.fenced || self.seen.away {
            return true;
        }
        let Some(linger) = self.seen.ended else {
            return false;
        };
        let until = *self.linger_until.get_or_insert(now + linger);
        (self.has_said_all() && self.receiving.ended) || now >= until
    }

    /// Whether nothing more goes out.
    fn has_said_all(&self) -> bool {
        let sending = &self.sending;
        let said = sending.ended && self.connection.pending_len() == 0;
        sending.shut || (said && sending.is_empty())
    }

    /// Why the connection could not be secured or is no longer, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<&SecurityError> {
        self.failure.as_ref().map(|(error, _)| error)
    }

    /// Who the peer has proved to be, once the connection is secured; `None` on a plain one. The
    /// name is that of then: [`Security::name_of`] has the one of now.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.proven.as_ref()?.peer.as_ref()
    }

    /// The cipher suite in use, for people to read.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.connection.cipher()
    }

    /// Lets go of memory that is not needed while nothing moves.
    pub fn release(&mut self) {
        self.receiving.release();
        self.sending.release();
    }
}
