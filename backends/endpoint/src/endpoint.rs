//! One transport connection, and the bytes on their way between it and the core.

use std::time::Duration;

use countersign_core::{Dialect, Disconnect, Instant, PeerId, Role};

use crate::buffer::Buffer;
use crate::connection::Connection;
use crate::error::{Blame, Reason, SecurityError};
use crate::link_error::Cause;
use crate::peer::Peer;
use crate::security::Security;

use receiving::Receiving;
use sending::Sending;
pub use sending::ToSend;

mod exchange;
mod receiving;
mod sending;
mod transfer;

/// How much plaintext is taken from the link at once, in bytes: four TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// What happened to a connection. [`ErrorContext::hear`](crate::ErrorContext::hear) is to be given
/// it: if the link has ended or lost its connection, this may be why.
#[derive(Clone, Debug)]
pub enum EndpointEvent {
    /// The connection is secured, and the peer is known ([`Endpoint::peer`]).
    Secured,
    /// The connection could not be secured, or is no longer.
    Failed(SecurityError),
    /// The transport has failed, and the link has lost this connection by that. Not told to a link
    /// that has another connection, or that had come to its end before.
    Lost(Cause),
}

/// One transport connection of a link, or of an [`Incoming`](countersign_core::Incoming), without
/// I/O: ciphertext in, messages out.
///
/// The owner of the transport
/// - while [`is_read_ended`](Self::is_read_ended) does not say otherwise, appends what there is to
///   [`input`](Self::input) and says how much came to [`received`](Self::received), or that
///   reading [`failed`](Self::failed);
/// - calls [`exchange`](Self::exchange) with the link: after that, at [`Protocol::poll_deadline`](countersign_core::Protocol::poll_deadline),
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
    /// What the transport has said when it failed first. The last clone of it is not dropped before
    /// this is: what happens then may be others' code.
    cause: Option<Cause>,
    /// Who the peer has proved to be, once the connection is secured.
    proven: Option<Proven>,
    receiving: Receiving,
    sending: Sending,
    /// What was due was put off for what may still have to be read.
    put_off: bool,
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
    lost: Option<Cause>,
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
    /// role and with this [dialect](countersign_core::Config::get_dialect). The link hears of it
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
            cause: None,
            proven: None,
            receiving: Receiving::default(),
            sending: Sending::default(),
            put_off: false,
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
    pub fn failed(&mut self, error: impl Into<Cause>) {
        self.cause.get_or_insert_with(|| error.into());
        self.fail_transport();
    }

    fn fail_transport(&mut self) {
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
    pub fn cannot_send(&mut self, error: impl Into<Cause>) {
        self.cause.get_or_insert_with(|| error.into());
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
    /// [`Timeouts::linger`](countersign_core::Timeouts::linger) to end the connection too: closing
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
