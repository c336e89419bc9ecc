//! The security of one transport connection, without I/O.

use std::fmt;

use countersign_core::PeerId;
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use crate::error::{Reason, SecurityError};
use crate::peer::Peer;
use crate::plain::PlainConnection;
use crate::security::{Choice, Security};
use crate::tls::{Judgement, TlsConnection};
use crate::translate::translate;

/// The longest piece of input that can be incomplete, in bytes: a TLS record with its header
/// (RFC 8446, section 5.2).
///
/// A buffer of this size for what arrives is always enough, also before the peer is known: with
/// that much in it, [`Connection::read`] either consumes something or fails.
pub const MAX_RECORD: usize = 5 + 16_384 + 256;

/// What [`Connection::read`] found.
#[derive(PartialEq, Eq)]
pub enum Received<'a> {
    /// The handshake is done as far as this end can tell, once for each connection and before
    /// anything else.
    ///
    /// On the connecting side the peer may still refuse: in TLS 1.3 the accepting side judges
    /// the other's certificate last, and a refusal arrives as an error of a later `read`.
    Secured {
        /// Who the peer has proved to be; `None` on a plain connection, where nobody knows.
        peer: Option<Peer>,
        /// Whose key that is: the same for all pinned keys of [one peer](crate::Pins::of_one_peer).
        id: Option<PeerId>,
    },
    /// The peer's data, in the order it was sent; never empty.
    Data(&'a [u8]),
    /// The peer ended its direction in an orderly way (close_notify): no data comes after this.
    End,
}

impl fmt::Debug for Received<'_> {
    /// Without the data: what is formatted ends in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Secured { peer, .. } => f.debug_tuple("Secured").field(peer).finish(),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::End => f.write_str("End"),
        }
    }
}

/// The security of one transport connection, without I/O: ciphertext in, plaintext out, and the
/// other way round.
///
/// Whoever owns the transport
/// - hands what arrives to [`read`](Self::read), and its end to [`read_eof`](Self::read_eof);
/// - sends what [`write_pending`](Self::write_pending) gives, at the start and after each `read`
///   or `close`, also when `read` failed: then it is the alert that tells the peer why;
/// - once [`may_write`](Self::may_write) says so, encrypts data with [`write`](Self::write).
///
/// The methods may be called in any order. An error of `read` or `read_eof` is final and comes
/// again from the methods called after it.
///
/// The calendar's time and randomness are asked from the system, through rustls.
pub struct Connection {
    inner: Inner,
}

enum Inner {
    Plain(PlainConnection),
    Connecting(Box<TlsConnection<UnbufferedClientConnection>>),
    Accepting(Box<TlsConnection<UnbufferedServerConnection>>),
}

/// Calls the same method whichever kind of TLS connection it is.
macro_rules! inner {
    ($self:expr, $plain:pat => $for_plain:expr, $tls:ident => $for_tls:expr) => {
        match $self {
            Inner::Plain($plain) => $for_plain,
            Inner::Connecting($tls) => $for_tls,
            Inner::Accepting($tls) => $for_tls,
        }
    };
}

impl Connection {
    /// Begins on the side that opened the transport connection.
    ///
    /// # Errors
    /// [`Reason::ServerNameMissing`] with an authority for which nobody said which server to
    /// expect, [`Reason::Internal`] if the TLS library fails, for want of random bytes, say.
    pub fn connect(security: &Security) -> Result<Self, SecurityError> {
        Self::connect_to(security, security.is_one_sided())
    }

    /// The same, where the peer must ask for our certificate, whatever was said of that.
    pub(crate) fn connect_mutually(security: &Security) -> Result<Self, SecurityError> {
        Self::connect_to(security, false)
    }

    fn connect_to(security: &Security, one_sided: bool) -> Result<Self, SecurityError> {
        let Choice::Tls { store, bare, .. } = &security.choice else {
            return Ok(Self::plain());
        };
        let current = store.current();
        let tls = current.tls(*bare);
        let name = tls.server_name.clone().ok_or(Reason::ServerNameMissing)?;
        let (client, asked) = if one_sided {
            (tls.client.clone(), None)
        } else {
            let (client, asked) = tls.client_once();
            (client, Some(asked))
        };
        let engine =
            UnbufferedClientConnection::new(client, name).map_err(|error| translate(error, tls))?;
        let (tls, store, generation) = (tls.clone(), store.clone(), current.generation);
        let connection = TlsConnection::new(engine, tls, store, generation, asked)?;
        Ok(Self {
            inner: Inner::Connecting(Box::new(connection)),
        })
    }

    /// Begins on the side that accepted the transport connection.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the TLS library fails, for want of random bytes, say.
    pub fn accept(security: &Security) -> Result<Self, SecurityError> {
        let Choice::Tls { store, bare, .. } = &security.choice else {
            return Ok(Self::plain());
        };
        let current = store.current();
        let tls = current.tls(*bare);
        let engine = UnbufferedServerConnection::new(tls.server.clone())
            .map_err(|error| translate(error, tls))?;
        let (tls, store, generation) = (tls.clone(), store.clone(), current.generation);
        let connection = TlsConnection::new(engine, tls, store, generation, None)?;
        Ok(Self {
            inner: Inner::Accepting(Box::new(connection)),
        })
    }

    /// A connection that never was.
    pub(crate) fn closed() -> Self {
        let mut connection = Self::plain();
        connection.close();
        connection
    }

    fn plain() -> Self {
        Self {
            inner: Inner::Plain(PlainConnection::default()),
        }
    }

    /// Takes what arrived. Returns how many bytes at the front of `ciphertext` were consumed and
    /// may be discarded.
    ///
    /// The rest is incomplete: it must be presented again, exactly as this call left it, with
    /// more bytes behind it. (It may have been decrypted in place, so it can't be fetched from
    /// anywhere else.) It is never [`MAX_RECORD`] bytes or more. With less than that nothing happens.
    ///
    /// Finds everything that is complete, so that there is no need to call again before more
    /// arrives. A plain connection is `Secured` at the first call, also with nothing to read.
    ///
    /// # Errors
    /// Final ones, each a [`Reason`]. What was delivered before stays valid; send what
    /// [`write_pending`](Self::write_pending) gives, then close the transport.
    pub fn read(
        &mut self,
        ciphertext: &mut [u8],
        deliver: &mut dyn FnMut(Received<'_>),
    ) -> Result<usize, SecurityError> {
        inner!(&mut self.inner,
            plain => Ok(plain.read(ciphertext, deliver)),
            tls => tls.read(ciphertext, deliver))
    }

    /// The transport says that nothing more will arrive. Whatever `read` left is dropped.
    ///
    /// # Errors
    /// [`Reason::Truncated`] unless the peer ended its direction before,
    /// [`Reason::ClosedDuringHandshake`] and [`Reason::NotTls`] before the connection was
    /// secured; or the error that `read` gave. A plain connection can't tell and reports nothing.
    pub fn read_eof(&mut self) -> Result<(), SecurityError> {
        inner!(&mut self.inner, _ => Ok(()), tls => tls.read_eof())
    }

    /// How many bytes [`write_pending`](Self::write_pending) has to give.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        inner!(&self.inner, _ => 0, tls => tls.pending_len())
    }

    /// Writes what the security layer itself has to say (handshake, alerts, key updates) to the
    /// front of `out`, as much as fits. Returns how many bytes; they must be sent before anything
    /// that a later call writes. Works after errors too.
    pub fn write_pending(&mut self, out: &mut [u8]) -> usize {
        inner!(&mut self.inner, _ => 0, tls => tls.write_pending(out))
    }

    /// Whether [`write`](Self::write) can be used: the connection is secured, has not failed, and
    /// this end has not closed its direction.
    #[must_use]
    pub fn may_write(&self) -> bool {
        inner!(&self.inner, plain => plain.may_write(), tls => tls.may_write())
    }

    /// How long `out` must be for [`write`](Self::write) to take `plaintext_len` bytes: 22 bytes
    /// for each record of up to 16,384 bytes, what is pending, and some room for a change of keys.
    #[must_use]
    pub fn ciphertext_len(&self, plaintext_len: usize) -> usize {
        inner!(&self.inner, _ => plaintext_len, tls => tls.ciphertext_len(plaintext_len))
    }

    /// Encrypts all of `plaintext` to the front of `out`, behind what is pending. Returns how
    /// many bytes it became.
    ///
    /// Each 16,384 bytes become one record, so the caller decides what travels together. The
    /// output goes into memory that the caller keeps and reuses, and not to the end of a vector,
    /// whose new bytes would have to be zeroed each time before rustls could fill them.
    ///
    /// # Errors
    /// [`Reason::OutputTooSmall`] when `out` is shorter than
    /// [`ciphertext_len`](Self::ciphertext_len) says, [`Reason::NotSecured`] and
    /// [`Reason::AlreadyClosed`]: after each the connection is as good as before. The error that
    /// `read` gave, if it gave one.
    pub fn write(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, SecurityError> {
        inner!(&mut self.inner,
            plain => plain.write(plaintext, out),
            tls => tls.write(plaintext, out))
    }

    /// Ends this end's direction: close_notify goes to what is pending, and nothing can be
    /// written after it. The peer's direction stays open. Does nothing when called again.
    ///
    /// Before the connection is secured the close_notify waits until it is.
    pub fn close(&mut self) {
        inner!(&mut self.inner, plain => plain.close(), tls => tls.close());
    }

    /// Judges the peer again if identity and trust were [replaced](Security::replace) since it was
    /// judged last; otherwise costs a comparison. Before the connection is secured there is nothing
    /// to judge: that happens by itself then.
    ///
    /// # Errors
    /// [`Reason::PinRemoved`] if the certificate that the peer has presented is none that is trusted
    /// now. It is final, as the errors of [`read`](Self::read) are, and the peer is not told: TLS
    /// has no way to say it after the handshake. The next connection tells.
    pub fn recheck(&mut self) -> Result<(), SecurityError> {
        inner!(&mut self.inner, _ => Ok(()), tls => tls.recheck())
    }

    /// Whether identity and trust were replaced since the peer was judged.
    pub(crate) fn is_outdated(&self) -> bool {
        inner!(&self.inner, _ => false, tls => tls.is_outdated())
    }

    /// As [`recheck`](Self::recheck), but the connection goes on whatever comes of it.
    pub(crate) fn judge(&mut self) -> Result<Judgement, SecurityError> {
        inner!(&mut self.inner, _ => Ok(Judgement::Same), tls => tls.judge())
    }

    /// Whether there is no security.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.inner, Inner::Plain(_))
    }

    /// The peer's certificate in DER, once the connection is secured.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        inner!(&self.inner, _ => None, tls => tls.peer_certificate())
    }

    /// The protocol agreed on through ALPN, once the connection is secured.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        inner!(&self.inner, _ => None, tls => tls.protocol())
    }

    /// The cipher suite in use, for people to read, once there is one.
    #[must_use]
    pub fn cipher(&self) -> Option<&'static str> {
        inner!(&self.inner, _ => None, tls => tls.cipher())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.inner {
            Inner::Plain(_) => "plain",
            Inner::Connecting(_) => "connecting",
            Inner::Accepting(_) => "accepting",
        };
        f.debug_struct("Connection")
            .field("kind", &kind)
            .field("may_write", &self.may_write())
            .field("pending_len", &self.pending_len())
            .finish_non_exhaustive()
    }
}
