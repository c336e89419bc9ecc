//! The security of one transport connection, without I/O.

use std::fmt;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;

use crate::error::{Reason, SecurityError};
use crate::plain::PlainConnection;
use crate::received::Received;
use crate::security::{Choice, Security};
use crate::tls::{Recheck, TlsConnection};
use crate::translate::translate;

/// The security of one transport connection, without I/O: ciphertext in, plaintext out, and the
/// other way round.
///
/// The owner of the transport
/// - passes what arrives to [`read`](Self::read), and reports its end with
///   [`read_eof`](Self::read_eof);
/// - sends what [`write_pending`](Self::write_pending) writes, at the start and after each `read`
///   or `close`, also when `read` failed: then it is the alert that tells the peer why;
/// - once [`may_write`](Self::may_write) returns true, encrypts data with [`write`](Self::write).
///
/// The methods may be called in any order. An error of `read` or `read_eof` is final and is
/// returned again by the methods called after it.
///
/// Wall-clock time and randomness come from the system, through rustls.
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
    /// Begins the handshake on the side that opened the transport connection.
    ///
    /// # Errors
    /// [`Reason::ServerNameMissing`] with an authority for which no server name was set,
    /// [`Reason::Internal`] if the TLS library fails, for lack of random bytes for example.
    pub fn connect(security: &Security) -> Result<Self, SecurityError> {
        Self::connect_to(security, security.is_one_sided())
    }

    /// As [`connect`](Self::connect), but always requires the peer to request this end's
    /// certificate.
    pub(crate) fn connect_mutually(security: &Security) -> Result<Self, SecurityError> {
        Self::connect_to(security, false)
    }

    fn connect_to(security: &Security, one_sided: bool) -> Result<Self, SecurityError> {
        let Choice::Tls {
            store,
            without_alpn,
            ..
        } = &security.choice
        else {
            return Ok(Self::plain());
        };
        let current = store.current();
        let tls = current.tls(*without_alpn);
        let name = tls.server_name.clone().ok_or(Reason::ServerNameMissing)?;
        let (client, request) = if one_sided {
            (tls.client.clone(), None)
        } else {
            let (client, request) = tls.client_once();
            (client, Some(request))
        };
        let engine =
            UnbufferedClientConnection::new(client, name).map_err(|error| translate(error, tls))?;
        let (tls, store, generation) = (tls.clone(), store.clone(), current.generation);
        let connection = TlsConnection::new(engine, tls, store, generation, request)?;
        Ok(Self {
            inner: Inner::Connecting(Box::new(connection)),
        })
    }

    /// Begins the handshake on the side that accepted the transport connection.
    ///
    /// # Errors
    /// [`Reason::Internal`] if the TLS library fails, for lack of random bytes for example.
    pub fn accept(security: &Security) -> Result<Self, SecurityError> {
        let Choice::Tls {
            store,
            without_alpn,
            ..
        } = &security.choice
        else {
            return Ok(Self::plain());
        };
        let current = store.current();
        let tls = current.tls(*without_alpn);
        let engine = UnbufferedServerConnection::new(tls.server.clone())
            .map_err(|error| translate(error, tls))?;
        let (tls, store, generation) = (tls.clone(), store.clone(), current.generation);
        let connection = TlsConnection::new(engine, tls, store, generation, None)?;
        Ok(Self {
            inner: Inner::Accepting(Box::new(connection)),
        })
    }

    /// Makes a connection that is closed from the start.
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
    /// more bytes behind it. (It may have been decrypted in place, so it cannot be obtained from
    /// anywhere else.) It is always shorter than [`MAX_RECORD`](crate::MAX_RECORD). With less than
    /// that nothing happens.
    ///
    /// Processes everything that is complete, so that there is no need to call again before more
    /// arrives. A plain connection is `Secured` at the first call, even with nothing to read.
    ///
    /// # Errors
    /// Errors are final, each with a [`Reason`]. What was delivered before stays valid; send what
    /// [`write_pending`](Self::write_pending) writes, then close the transport.
    pub fn read(
        &mut self,
        ciphertext: &mut [u8],
        deliver: &mut dyn FnMut(Received<'_>),
    ) -> Result<usize, SecurityError> {
        inner!(&mut self.inner,
            plain => Ok(plain.read(ciphertext, deliver)),
            tls => tls.read(ciphertext, deliver))
    }

    /// Reports that the transport has ended and nothing more will arrive. Drops what `read` left.
    ///
    /// # Errors
    /// [`Reason::Truncated`] unless the peer ended its direction before,
    /// [`Reason::ClosedDuringHandshake`] and [`Reason::NotTls`] before the connection was
    /// secured; or the error that `read` has returned. A plain connection cannot detect truncation.
    pub fn read_eof(&mut self) -> Result<(), SecurityError> {
        inner!(&mut self.inner, _ => Ok(()), tls => tls.read_eof())
    }

    /// Returns how many bytes [`write_pending`](Self::write_pending) has to write.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        inner!(&self.inner, _ => 0, tls => tls.pending_len())
    }

    /// Writes the security layer's output (handshake, alerts, key updates) to the front of `out`,
    /// as much as fits. Returns how many bytes; they must be sent before anything that a later call
    /// writes. Works after errors too.
    pub fn write_pending(&mut self, out: &mut [u8]) -> usize {
        inner!(&mut self.inner, _ => 0, tls => tls.write_pending(out))
    }

    /// Whether [`write`](Self::write) can be used: the connection is secured, has not failed, and
    /// this end has not closed its direction.
    #[must_use]
    pub fn may_write(&self) -> bool {
        inner!(&self.inner, plain => plain.may_write(), tls => tls.may_write())
    }

    /// Returns how long `out` must be for [`write`](Self::write) to take `plaintext_len` bytes: the
    /// plaintext, 22 bytes for each record of up to 16,384 bytes, what is pending, and some room
    /// for a key update.
    #[must_use]
    pub fn ciphertext_len(&self, plaintext_len: usize) -> usize {
        inner!(&self.inner, _ => plaintext_len, tls => tls.ciphertext_len(plaintext_len))
    }

    /// Encrypts all of `plaintext` to the front of `out`, after what is pending. Returns how
    /// many bytes were written.
    ///
    /// Each 16,384 bytes become one record, so the caller decides what is sent together. The
    /// output goes into memory that the caller keeps and reuses, and not to the end of a vector,
    /// whose new bytes would have to be zeroed each time before rustls could fill them.
    ///
    /// # Errors
    /// [`Reason::OutputTooSmall`] when `out` is shorter than
    /// [`ciphertext_len`](Self::ciphertext_len) returns, [`Reason::NotSecured`] and
    /// [`Reason::AlreadyClosed`]: these leave the connection unchanged. The error that `read` has
    /// returned, if any.
    pub fn write(&mut self, plaintext: &[u8], out: &mut [u8]) -> Result<usize, SecurityError> {
        inner!(&mut self.inner,
            plain => plain.write(plaintext, out),
            tls => tls.write(plaintext, out))
    }

    /// Ends this end's direction: adds a close_notify to what is pending, after which nothing can
    /// be written. The peer's direction stays open. Does nothing when called again.
    ///
    /// Before the connection is secured the close_notify waits until it is.
    pub fn close(&mut self) {
        inner!(&mut self.inner, plain => plain.close(), tls => tls.close());
    }

    /// Verifies the peer again if identity and trust were [replaced](Security::replace) since it
    /// was last verified; otherwise costs a comparison. Does nothing before the connection is
    /// secured: the handshake verifies the peer.
    ///
    /// # Errors
    /// [`Reason::PinRemoved`] if the certificate that the peer has presented is no longer trusted.
    /// It is final, like the errors of [`read`](Self::read), and not reported to the peer: TLS
    /// cannot express it after the handshake. The peer learns it on its next connection.
    pub fn recheck(&mut self) -> Result<(), SecurityError> {
        inner!(&mut self.inner, _ => Ok(()), tls => tls.recheck())
    }

    /// Whether identity and trust were replaced since the peer was verified.
    pub(crate) fn is_outdated(&self) -> bool {
        inner!(&self.inner, _ => false, tls => tls.is_outdated())
    }

    /// As [`recheck`](Self::recheck), but does not fail the connection.
    pub(crate) fn reverify(&mut self) -> Result<Recheck, SecurityError> {
        inner!(&mut self.inner, _ => Ok(Recheck::Same), tls => tls.reverify())
    }

    /// Whether the connection is plain, without security.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.inner, Inner::Plain(_))
    }

    /// Returns the peer's certificate in DER, once the connection is secured.
    #[must_use]
    pub fn peer_certificate(&self) -> Option<&[u8]> {
        inner!(&self.inner, _ => None, tls => tls.peer_certificate())
    }

    /// Returns the protocol agreed on through ALPN, once the connection is secured.
    #[must_use]
    pub fn protocol(&self) -> Option<&[u8]> {
        inner!(&self.inner, _ => None, tls => tls.protocol())
    }

    /// Returns the name of the cipher suite in use, for display, once there is one.
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
