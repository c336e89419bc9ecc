//! The settings of a secure stream, and the errors that it returns.

use std::io;
use std::time::Duration;

use countersign_endpoint::{ALPN_COUNTERSIGN, Reason, Security, SecurityError};

use crate::key_log;

/// How long the handshake of a secure stream may take by default: as long as a link's.
pub const DEFAULT_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long closing a secure stream waits for the peer by default: as long as a link's.
pub const DEFAULT_SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// An end's settings for every secure stream: its security and its time limits.
///
/// Cheap to clone. The identity and the pins are those of a link. The protocol name of links
/// ([`ALPN_COUNTERSIGN`]) is left out, so the peer can be anything that speaks TLS 1.3 and has the
/// pinned identity; other names set on the [`Security`] are kept.
///
/// ```
/// use std::time::Duration;
/// use countersign_driver::StreamSetup;
/// use countersign_endpoint::Security;
///
/// // Plain for the sake of a short example: see `Security::tls` for streams that matter.
/// let setup = StreamSetup::new(Security::plaintext()).handshake_limit(Duration::from_secs(3));
/// # let _ = setup;
/// ```
#[derive(Clone, Debug)]
pub struct StreamSetup {
    security: Security,
    handshake: Duration,
    shutdown: Duration,
}

impl StreamSetup {
    /// Makes a setup with the default limits: [`DEFAULT_HANDSHAKE_LIMIT`] and
    /// [`DEFAULT_SHUTDOWN_LIMIT`].
    ///
    /// [`Security::plaintext`] works too, and has to be named explicitly.
    #[must_use]
    pub fn new(security: Security) -> Self {
        key_log::warn(&security);
        let for_links = security.protocols() == [ALPN_COUNTERSIGN.as_bytes()];
        Self {
            security: if for_links {
                security.without_alpn()
            } else {
                security
            },
            handshake: DEFAULT_HANDSHAKE_LIMIT,
            shutdown: DEFAULT_SHUTDOWN_LIMIT,
        }
    }

    /// Accepts an acceptor that does not request this end's certificate, as most web servers do
    /// not. The acceptor then does not authenticate this end; this end still verifies the
    /// acceptor's certificate. By default, an opener that is not asked for its certificate refuses
    /// the peer ([`Reason::NotAskedForCertificate`]), which may be configured to admit anyone. An
    /// acceptor always requests a certificate.
    #[must_use]
    pub fn one_sided(mut self) -> Self {
        self.security = self.security.one_sided();
        self
    }

    /// Sets how long the handshake may take, from the open transport on. After that it fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut): with zero it always fails, except on plain streams,
    /// which have no handshake. With [`Duration::MAX`] it may take for ever.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// Sets how long closing may take in all: sending what is left, ending this end's direction,
    /// and waiting until the peer has ended the other. After that it fails with
    /// [`TimedOut`](io::ErrorKind::TimedOut). With zero, closing sends what can be sent at once and
    /// does not wait; with [`Duration::MAX`] it may wait for ever.
    ///
    /// After a failed handshake, the peer has as long to receive the alert that tells it why.
    #[must_use]
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    /// Returns the security, as streams use it.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// Returns how long the handshake may take.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        self.handshake
    }

    /// Returns how long closing may take.
    #[must_use]
    pub fn shutdown(&self) -> Duration {
        self.shutdown
    }
}

/// Wraps an error of the security layer for readers and writers.
pub(super) fn io_error(error: SecurityError) -> io::Error {
    let kind = match error.reason() {
        Reason::Truncated | Reason::ClosedDuringHandshake => io::ErrorKind::UnexpectedEof,
        Reason::AlreadyClosed => io::ErrorKind::BrokenPipe,
        Reason::PinMismatch { .. }
        | Reason::PinRemoved { .. }
        | Reason::CertificateHashPinned { .. }
        | Reason::NotAskedForCertificate
        | Reason::PeerCertificateUnusable { .. }
        | Reason::PeerCertificateExpired { .. }
        | Reason::PeerCertificateNotYetValid { .. }
        | Reason::PeerCertificateMissing
        | Reason::PeerCertificateRefused
        | Reason::PeerKeyUnproven
        | Reason::RefusedByPeer { .. } => io::ErrorKind::PermissionDenied,
        Reason::ServerNameMissing => io::ErrorKind::InvalidInput,
        Reason::NotSecured => io::ErrorKind::NotConnected,
        Reason::OutputTooSmall { .. } | Reason::Internal => io::ErrorKind::Other,
        _ => io::ErrorKind::InvalidData,
    };
    io::Error::new(kind, error)
}
