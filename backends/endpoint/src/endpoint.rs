//! One transport connection, and the bytes between it and the core.

use std::time::Duration;

use countersign_core::{Dialect, Disconnect, Instant, PeerId, Role};

use crate::buffer::Buffer;
use crate::connection::Connection;
use crate::error::{Blame, Reason, SecurityError};
use crate::event::Cause;
use crate::peer::Peer;
use crate::security::Security;

use receiving::Receiving;
use sending::Sending;
pub use sending::ToSend;

mod bound;
mod exchange;
mod receiving;
mod sending;
mod transfer;

/// How much plaintext is taken from the link at once, in bytes: four TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// One transport connection of a link, or of an [`Incoming`](countersign_core::Incoming), without
/// I/O: ciphertext in, messages out.
///
/// The owner of the transport
/// - unless [`is_read_ended`](Self::is_read_ended) returns true, appends what has arrived to
///   [`input`](Self::input) and passes the number of bytes to [`received`](Self::received), or the
///   error of reading to [`failed`](Self::failed);
/// - calls [`exchange`](Self::exchange) with the link: after that, at
///   [`Protocol::poll_deadline`](countersign_core::Protocol::poll_deadline), and after commands to
///   the link;
/// - does what [`to_send`](Self::to_send) returns, until that is nothing or the transport takes no
///   more, and exchanges again when the transport has taken something or this end's direction has
///   ended;
/// - calls [`recheck`](Self::recheck) when [`Security::watch`] notifies it that identity and trust
///   were replaced;
/// - drops the transport and the endpoint when [`is_over`](Self::is_over) returns true, which it
///   checks after all of these and at the [`deadline`](Self::deadline);
/// - calls [`release`](Self::release) before it waits.
///
/// Nothing is encrypted or decrypted while the link is in use, so a link that several threads share
/// needs to be locked only for [`exchange`](Self::exchange), or for its parts.
///
/// # Bounds
/// Incomplete input is shorter than [`MAX_RECORD`](crate::MAX_RECORD); pending output is at most
/// about 64 KiB. Received data is kept until the next exchange, so one should follow before more
/// than 48 KiB are read: [`Security::memory_bound`] assumes that. Everything else is queued in the
/// link, within the bounds of its declaration.
#[derive(Debug)]
pub struct Endpoint {
    connection: Connection,
    security: Security,
    /// Which of the link's connections this is, once it was reported to the link. Data of an older
    /// one does not reach the link.
    number: Option<u64>,
    /// The peer may be at other addresses.
    others: bool,
    /// Why the connection could not be secured or is no longer, and how that is reported to the
    /// link.
    failure: Option<(SecurityError, Disconnect)>,
    /// The transport's first error. Kept as long as the endpoint, since dropping the last clone may
    /// run foreign code.
    cause: Option<Cause>,
    /// The identity that the peer has proved, once the connection is secured.
    authenticated: Option<Authenticated>,
    receiving: Receiving,
    sending: Sending,
    /// A timeout that was due was deferred once, since there may be more to read.
    deferred_timeout: bool,
    events: PendingEvents,
    /// The state of the link when it was last used.
    snapshot: LinkSnapshot,
    /// When to stop waiting for a peer that does not end its direction.
    linger_until: Option<Instant>,
}

/// The identity that the peer has proved; empty on a plain connection.
#[derive(Debug)]
struct Authenticated {
    peer: Option<Peer>,
    id: Option<PeerId>,
}

/// Events that were not polled yet.
#[derive(Debug, Default)]
struct PendingEvents {
    secured: bool,
    lost: Option<Cause>,
    failure: Option<SecurityError>,
    /// The failure was reported to the link.
    reported_to_link: bool,
}

/// The state of a link when it was last used.
#[derive(Clone, Copy, Debug, Default)]
struct LinkSnapshot {
    /// It has moved on to another connection, or never took this one.
    fenced: bool,
    /// It waits for another connection.
    offline: bool,
    /// It has ended, and gives its peer this long to end the connection too.
    ended: Option<Duration>,
}

impl Endpoint {
    /// Takes a transport connection that has just been opened or accepted, for a link with this
    /// role and [dialect](countersign_core::Config::get_dialect). The first
    /// [`exchange`](Self::exchange) reports it to the link.
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
            authenticated: None,
            receiving: Receiving::default(),
            sending: Sending::default(),
            deferred_timeout: false,
            events: PendingEvents::default(),
            snapshot: LinkSnapshot::default(),
            linger_until: None,
        };
        match failure {
            Some(failure) => endpoint.fail(failure),
            // A plain connection is secured before anything arrives.
            None => endpoint.decrypt(),
        }
        endpoint
    }

    /// Notes that the peer may be elsewhere: it has other addresses, to which no connection was
    /// opened yet. If the other end of this one does not prove to be the peer, that ends no link,
    /// not even one that was never up ([`Disconnect::Security`] and not [`Disconnect::Unproven`]).
    pub fn expect_others(&mut self) {
        self.others = true;
    }

    // Receiving.

    /// Whether anything that still arrives would be ignored, so that there is no need to read.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.receiving.ended
    }

    /// Returns the buffer to append received data to. 16 KiB at a time is a good size; the longest
    /// record takes two of these.
    pub fn input(&mut self) -> &mut Buffer {
        &mut self.receiving.input
    }

    /// Decrypts what has arrived: `count` bytes were appended to [`input`](Self::input). Zero means
    /// that the peer has ended its direction. The next [`exchange`](Self::exchange) passes it to
    /// the link.
    pub fn received(&mut self, count: usize) {
        if count > 0 {
            self.decrypt();
        } else if !self.receiving.ended {
            self.end_reading();
        }
    }

    /// Reports that the transport has failed: nothing will arrive and nothing can be sent.
    pub fn failed(&mut self, error: impl Into<Cause>) {
        self.cause.get_or_insert_with(|| error.into());
        self.fail_transport();
    }

    fn fail_transport(&mut self) {
        self.receiving.ended = true;
        self.receiving.discard_input();
        self.sending.ended = true;
        self.sending.shut = true;
        // An earlier failure is the reason why the link loses the connection.
        self.receiving.failed = self.failure.is_none();
    }

    /// Whether input is discarded up to its end: the connection has failed, or the link has no more
    /// output, so it has ended.
    fn ignores_input(&self) -> bool {
        self.failure.is_some() || self.receiving.ended || self.sending.ended
    }

    fn decrypt(&mut self) {
        if self.ignores_input() {
            self.receiving.discard_input();
            return;
        }
        let (connection, authenticated) = (&mut self.connection, &mut self.authenticated);
        if let Err(error) = self.receiving.decrypt(connection, authenticated) {
            self.fail(error);
        }
    }

    /// Handles the end of the transport's input.
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

    /// Records the failure of the connection, unless it has failed before.
    fn fail(&mut self, error: SecurityError) {
        if self.failure.is_some() {
            return;
        }
        let how = match error.reason() {
            // Only TLS can tell that the transport has ended too early.
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

    /// Whether the error was caused by the authenticated peer itself, or by this end.
    ///
    /// An alert about this end's certificate arrives encrypted, after the peer has authenticated.
    /// Anyone can send one in the clear. Other errors of a secured connection may be caused by
    /// bytes that a third party has injected, at either end.
    fn is_final(&self, error: &SecurityError) -> bool {
        let refused = matches!(error.reason(), Reason::RefusedByPeer { .. });
        // That it does not request a certificate is known once it has authenticated.
        let does_not_ask = matches!(error.reason(), Reason::NotAskedForCertificate);
        (refused && self.authenticated.is_some()) || does_not_ask || error.blame() == Blame::Local
    }

    // Sending.

    /// Returns what to send, if anything: encrypts the output of the last
    /// [`exchange`](Self::exchange).
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

    /// Whether [`to_send`](Self::to_send) would return something new since the last call.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let bytes = !self.sending.is_empty() || self.connection.pending_len() > 0;
        let ends = self.sending.ended || self.failure.is_some();
        !self.is_blocked() && (bytes || ends)
    }

    /// Reports that some of the output was sent, and removed from the buffer.
    pub fn sent(&mut self) {
        self.sending.handed_out = false;
    }

    /// Reports that this end's direction was shut down, or cannot be.
    pub fn shut(&mut self) {
        self.sending.shut = true;
    }

    /// Reports that sending has failed: nothing more is sent. Data that the peer sent before, such
    /// as an alert, may explain more than the error, so reading continues to its end.
    pub fn cannot_send(&mut self, error: impl Into<Cause>) {
        self.cause.get_or_insert_with(|| error.into());
        self.sending.discard();
        self.sending.shut = true;
    }

    /// Whether output of the link would not be sent now: the transport has to take other bytes
    /// first, or takes none any more.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.sending.handed_out || self.sending.ending || self.sending.shut
    }

    // The end.

    /// Returns when to call [`is_over`](Self::is_over) again if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.linger_until
    }

    /// Whether the link no longer needs this connection, as of the last
    /// [`exchange`](Self::exchange): it waits for the next one, or has one, or has ended.
    ///
    /// A link that has ended still gives the peer
    /// [`Timeouts::linger`](countersign_core::Timeouts::linger) to end the connection too: closing
    /// with unread input would make the operating system reset it, and the peer might never read
    /// this end's last frames.
    pub fn is_over(&mut self, now: Instant) -> bool {
        if self.snapshot.fenced || self.snapshot.offline {
            return true;
        }
        let Some(linger) = self.snapshot.ended else {
            return false;
        };
        let until = *self.linger_until.get_or_insert(now + linger);
        (self.all_sent() && self.receiving.ended) || now >= until
    }

    /// Whether everything was sent, and nothing follows.
    fn all_sent(&self) -> bool {
        let sending = &self.sending;
        let flushed = sending.ended && self.connection.pending_len() == 0;
        sending.shut || (flushed && sending.is_empty())
    }

    /// Returns why the connection could not be secured, or is no longer secure, if it has failed.
    #[must_use]
    pub fn failure(&self) -> Option<&SecurityError> {
        self.failure.as_ref().map(|(error, _)| error)
    }

    /// Returns the identity that the peer has proved, once the connection is secured; `None` on a
    /// plain one. The name is the one of that time: [`Security::name_of`] returns the current one.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.authenticated.as_ref()?.peer.as_ref()
    }

    /// Returns the name of the cipher suite in use, for display.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.connection.cipher()
    }

    /// Releases memory that is not needed while the connection is idle.
    pub fn release(&mut self) {
        self.receiving.release();
        self.sending.release();
    }
}
