//! The security of one connection and the core, put together: ciphertext in, messages out.

use countersign_core::{Dialect, Disconnect, Instant, Life, Link, Output, Role};

use crate::buffer::Buffer;
use crate::connection::{Connection, Incoming};
use crate::error::{Blame, Reason, SecurityError};
use crate::peer::Peer;
use crate::security::Security;
use crate::tls::Judgement;

/// How much plaintext [`Endpoint::write`] takes from the link at once, in bytes: four TLS records.
const PLAINTEXT: usize = 4 * 16_384;

/// Gives access to a [`Link`], for as long as a closure runs.
///
/// A [`Link`] gives access to itself. Whoever shares a link between threads locks it here: the
/// [`Endpoint`] asks for it only for as long as the core works, and encrypts and decrypts outside.
pub trait LinkAccess {
    /// Runs `work` on the link.
    fn with<R>(&mut self, work: impl FnOnce(&mut Link) -> R) -> R;

    /// Hears why the connection can't be secured, before the link hears that it is lost: whoever
    /// is told of the link's end by [`with`](Self::with) can then be told why. Nothing by default.
    fn note(&mut self, failure: &SecurityError) {
        let _ = failure;
    }

    /// Hears who the peer has proved to be, before the link hears that its connection is secured; `None`
    /// on a plain one. Nothing by default.
    fn secured(&mut self, peer: Option<&Peer>) {
        let _ = peer;
    }
}

impl LinkAccess for Link {
    fn with<R>(&mut self, work: impl FnOnce(&mut Link) -> R) -> R {
        work(self)
    }
}

/// The link of one of its connections: once it has given that up, or has another, nothing of this
/// one reaches it.
struct Fenced<'a, L> {
    number: u64,
    link: &'a mut L,
}

impl<L: LinkAccess> Fenced<'_, L> {
    fn with(&mut self, work: impl FnOnce(&mut Link)) {
        let number = self.number;
        self.link.with(|link| {
            if link.connection() == number && link.wants_connection() {
                work(link);
            }
        });
    }

    fn is_current(&mut self) -> bool {
        let mut current = false;
        self.with(|_| current = true);
        current
    }
}

/// What [`Endpoint::write`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Written {
    /// Something was appended to the output. There may be more.
    Some,
    /// There is nothing to write until something happens.
    Nothing,
    /// Nothing will ever be written again: once the output so far is sent, end this direction of
    /// the transport, and read on until the peer has ended the other.
    End,
}

/// One transport connection of a link, without I/O.
///
/// Whoever owns the transport
/// - hands what arrives to [`read`](Self::read), and its end to [`read_eof`](Self::read_eof) or
///   [`failed`](Self::failed);
/// - sends what [`write`](Self::write) gives;
/// - calls [`Link::handle_timeout`] at [`Link::poll_deadline`];
/// - drops the transport when [`is_over`](Self::is_over) says so and the output is sent.
#[derive(Debug)]
pub struct Endpoint {
    connection: Connection,
    /// Which of the link's connections this is. What comes on an older one does not reach the
    /// link.
    number: u64,
    failure: Option<SecurityError>,
    /// The peer has proved who it is,
    secured: bool,
    /// this one.
    peer: Option<Peer>,
    security: Security,
    /// There are other addresses at which the peer may be.
    others: bool,
    read_ended: bool,
    write_ended: bool,
}

impl Endpoint {
    /// Begins a connection that has just been opened, or accepted, as the link's role says, and
    /// tells the link. If that fails, the link has ended and [`failure`](Self::failure) tells why.
    pub fn new(security: &Security, now: Instant, link: &mut impl LinkAccess) -> Self {
        let opened = link.with(|link| link.handle_opened(now)).is_ok();
        // A link that did not want this connection has none of this number.
        let number = if opened {
            link.with(|link| link.connection())
        } else {
            0
        };
        let (role, dialect) = link.with(|link| (link.role(), link.config().wire_dialect()));
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
            number,
            failure: None,
            secured: false,
            peer: None,
            security,
            others: false,
            read_ended: false,
            write_ended: false,
        };
        if let Some(failure) = failure {
            endpoint.fail(now, failure, link);
        } else if opened {
            // A plain connection is secured before anything arrives.
            endpoint.read(now, &mut [], link);
        }
        endpoint
    }

    /// The peer may be elsewhere: it has other addresses, to which no connection was opened yet. If
    /// whoever is at the other end of this one does not prove to be the peer, that ends no link, not
    /// even one that was never up ([`Disconnect::Security`] and not [`Disconnect::Unproven`]).
    pub fn expect_others(&mut self) {
        self.others = true;
    }

    /// Goes on for the link that has taken this connection over ([`Link::take_over`]) from the one
    /// that it was made with. `connection` is that link's [`Link::connection`] right afterwards.
    pub fn attach(&mut self, connection: u64) {
        self.number = connection;
    }

    /// Whether the link has gone on to another connection, or never took this one: then nothing
    /// passes between the two any more, and the transport can be dropped.
    pub fn is_fenced(&self, link: &mut impl LinkAccess) -> bool {
        link.with(|link| link.connection() != self.number)
    }

    /// Judges the peer again if identity and trust were [replaced](Security::replace) since it was
    /// judged last; otherwise costs a comparison. Whoever drives links does this for each of them
    /// when [`Security::watch`] tells of it: it ends those in which nothing moves. Before anything is
    /// [read](Self::read) or [written](Self::write), it is done in any case.
    ///
    /// If the peer is not trusted any more, the link ends, and what is to be [written](Self::write)
    /// from here on tells the peer. In the tlsstream dialect, which has no words for it, the
    /// connection breaks off, so that the peer does not take it for an orderly end.
    pub fn recheck(&mut self, now: Instant, link: &mut impl LinkAccess) {
        if self.failure.is_some() || self.is_fenced(link) {
            return;
        }
        if !self.secured || !link.with(|link| link.wants_connection()) {
            // The link may have a session from an earlier connection, or wait for the next.
            return self.security.recheck(now, link);
        }
        match self.connection.judge() {
            Ok(Judgement::Same) => {}
            Ok(Judgement::Other) => {
                // What is under way goes on. But nobody begins or resumes anything as a peer that
                // is none any more.
                if link.with(|link| link.life() == Life::Greeting) {
                    self.fail(now, Reason::PinsChanged.into(), link);
                }
            }
            Err(error) => {
                link.note(&error);
                self.fenced(link).with(|link| link.revoke(now));
            }
        }
    }

    /// Nothing passes that has come, or was given to the link, since identity and trust were replaced,
    /// unless the peer is trusted still. Drivers hear of it later, in the middle of much work perhaps.
    fn keep_up(&mut self, now: Instant, link: &mut impl LinkAccess) {
        if self.connection.is_outdated() {
            self.recheck(now, link);
        }
    }

    /// Takes what arrived, decrypts it in place and hands it to the link. Returns how many bytes
    /// at the front were consumed; the rest must be presented again, as this call left it, with
    /// more behind it. It is never [`MAX_RECORD`](crate::MAX_RECORD) bytes or more.
    pub fn read(
        &mut self,
        now: Instant,
        ciphertext: &mut [u8],
        link: &mut impl LinkAccess,
    ) -> usize {
        self.keep_up(now, link);
        // Once our direction has ended, all that counts of the other is its end.
        if self.failure.is_some() || self.read_ended || self.write_ended {
            return ciphertext.len();
        }
        let length = ciphertext.len();
        let (mut ended, mut secured, mut presented) = (false, false, None);
        let mut link = Fenced {
            number: self.number,
            link,
        };
        let result = self
            .connection
            .read(ciphertext, &mut |incoming| match incoming {
                Incoming::Secured { peer, id } => {
                    secured = true;
                    if link.is_current() {
                        link.link.secured(peer.as_ref());
                    }
                    presented = peer;
                    // A link that has ended meanwhile does not care.
                    link.with(|link| {
                        let _ = link.handle_secured(now, id);
                    });
                }
                Incoming::Data(data) => link.with(|link| link.handle_input(now, data)),
                Incoming::End => {
                    ended = true;
                    link.with(|link| link.handle_eof(now));
                }
            });
        self.read_ended |= ended;
        self.secured |= secured;
        self.peer = presented.or_else(|| self.peer.take());
        result.unwrap_or_else(|error| {
            self.fail(now, error, link.link);
            length
        })
    }

    /// The transport says that nothing more will arrive.
    pub fn read_eof(&mut self, now: Instant, link: &mut impl LinkAccess) {
        if self.failure.is_some() || self.read_ended {
            self.read_ended = true;
            return;
        }
        self.read_ended = true;
        let ended = if self.write_ended {
            Ok(())
        } else {
            self.connection.read_eof()
        };
        match ended {
            Ok(()) => self.fenced(link).with(|link| link.handle_eof(now)),
            Err(error) => self.fail(now, error, link),
        }
    }

    /// The transport has failed: nothing will arrive and nothing can be sent.
    pub fn failed(&mut self, now: Instant, link: &mut impl LinkAccess) {
        self.read_ended = true;
        self.write_ended = true;
        self.fenced(link)
            .with(|link| link.handle_lost(now, Disconnect::Transport));
    }

    fn fail(&mut self, now: Instant, error: SecurityError, link: &mut impl LinkAccess) {
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
        if !self.is_fenced(link) {
            link.note(&error);
        }
        self.failure = Some(error);
        self.fenced(link).with(|link| link.handle_lost(now, how));
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
        (refused && self.secured) || does_not_ask || error.blame() == Blame::Local
    }

    fn fenced<'a, L: LinkAccess>(&self, link: &'a mut L) -> Fenced<'a, L> {
        Fenced {
            number: self.number,
            link,
        }
    }

    /// Appends what is to be sent to `out`, at most about 64 KiB more. `scratch` is where the
    /// plaintext goes in between; it is empty before and after, and endpoints can share it.
    pub fn write(
        &mut self,
        now: Instant,
        out: &mut Buffer,
        scratch: &mut Buffer,
        link: &mut impl LinkAccess,
    ) -> Written {
        self.keep_up(now, link);
        if self.write_pending(out) {
            return Written::Some;
        }
        if self.write_ended || self.failure.is_some() {
            self.write_ended = true;
            return Written::End;
        }
        if self.connection.may_write() {
            return self.write_link(now, out, scratch, link);
        }
        // A link that ended during the handshake has nothing to say any more, or not here.
        if link.with(|link| link.life() == Life::Ended || link.connection() != self.number) {
            self.write_ended = true;
            return Written::End;
        }
        Written::Nothing
    }

    /// Moves what the security layer has to say to `out`; true when it had something.
    fn write_pending(&mut self, out: &mut Buffer) -> bool {
        let pending = self.connection.pending_len();
        if pending > 0 {
            let written = self.connection.write_pending(out.space(pending));
            out.commit(written);
        }
        pending > 0
    }

    /// Moves output of the link to `out`, encrypted.
    fn write_link(
        &mut self,
        now: Instant,
        out: &mut Buffer,
        scratch: &mut Buffer,
        link: &mut impl LinkAccess,
    ) -> Written {
        // On a plain connection what the link writes is what is sent: straight to where it goes.
        let plain = self.connection.is_plain();
        let buffer = if plain { &mut *out } else { &mut *scratch };
        let space = &mut buffer.space(PLAINTEXT)[..PLAINTEXT];
        let current = |link: &mut Link| link.connection() == self.number;
        let output = link.with(|link| current(link).then(|| link.poll_output(now, space)));
        let Some(output) = output else {
            self.write_ended = true;
            return Written::End;
        };
        match output {
            Output::Written(length) if plain => out.commit(length),
            Output::Written(length) => {
                scratch.commit(length);
                let encrypted = self.encrypt(scratch, out);
                scratch.consume(length);
                if let Err(error) = encrypted {
                    self.fail(now, error, link);
                }
            }
            Output::Idle => return Written::Nothing,
            Output::End => {
                if !link.with(|link| link.breaks_off()) {
                    self.connection.close();
                }
                self.write_ended = true;
                return if self.write_pending(out) {
                    Written::Some
                } else {
                    Written::End
                };
            }
            // The buffer holds any frame, so this can't come; a link that can't write is lost.
            Output::TooSmall { .. } => {
                self.failed(now, link);
                return Written::End;
            }
        }
        Written::Some
    }

    fn encrypt(&mut self, plaintext: &Buffer, out: &mut Buffer) -> Result<(), SecurityError> {
        let space = out.space(self.connection.ciphertext_len(plaintext.filled().len()));
        let encrypted = self.connection.write(plaintext.filled(), space)?;
        out.commit(encrypted);
        Ok(())
    }

    /// Why the connection could not be secured or is no longer, if that is so.
    #[must_use]
    pub fn failure(&self) -> Option<&SecurityError> {
        self.failure.as_ref()
    }

    /// Who the peer has proved to be, once the connection is secured; `None` on a plain one. The name is
    /// that of then: [`Security::name_of`] has the one of now.
    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        self.peer.as_ref()
    }

    /// The cipher suite in use, for people to read.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        self.connection.cipher()
    }

    /// Whether nothing that still arrives would be looked at.
    #[must_use]
    pub fn is_read_ended(&self) -> bool {
        self.read_ended
    }

    /// Whether both directions have ended, so that the transport is of no more use.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.read_ended && self.write_ended && self.connection.pending_len() == 0
    }
}
