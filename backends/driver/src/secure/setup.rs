//! What a secure stream is made with, and what it says when it fails.

use std::io;
use std::time::Duration;

use countersign_endpoint::{ALPN_COUNTERSIGN, Reason, Security, SecurityError};

use crate::key_log;

/// How long the handshake of a secure stream may take by default: as long as a link's.
pub const DEFAULT_HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// How long closing a secure stream waits for the peer by default: as long as a link's.
pub const DEFAULT_SHUTDOWN_LIMIT: Duration = Duration::from_secs(10);

/// What an end brings to every secure stream: its security, and how long it waits.
///
/// Cheap to clone. The identity and the pins are those of a link. The protocol name of links
/// ([`ALPN_COUNTERSIGN`]) is left out, so the peer can be anything that speaks TLS 1.3 and has the
/// pinned identity; other names that [`Security`] was given stay.
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
    /// With the default limits: [`DEFAULT_HANDSHAKE_LIMIT`] and [`DEFAULT_SHUTDOWN_LIMIT`].
    ///
    /// [`Security::plaintext`] works too, and has to be asked for by that name.
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

    /// Goes on with an acceptor that does not ask for this end's certificate, as most servers of the web
    /// do not. The acceptor then does not know who we are; this end checks the acceptor's certificate as
    /// ever. Without this, an opener that is not asked refuses the peer
    /// ([`Reason::NotAskedForCertificate`]), since it may be set to let anybody in. An acceptor asks in
    /// any case.
    #[must_use]
    pub fn one_sided(mut self) -> Self {
        self.security = self.security.one_sided();
        self
    }

    /// How long the handshake may take, from the open transport on. Afterwards it has failed with
    /// [`TimedOut`](io::ErrorKind::TimedOut): with zero always, but for plain streams, which have
    /// none. With [`Duration::MAX`] it may take for ever.
    #[must_use]
    pub fn handshake_limit(mut self, limit: Duration) -> Self {
        self.handshake = limit;
        self
    }

    /// How long closing may take in all: sending what is left, ending our direction, and waiting
    /// until the peer has ended the other. Afterwards it has failed with
    /// [`TimedOut`](io::ErrorKind::TimedOut). With zero, closing says what can be said at once and
    /// waits for nothing, with [`Duration::MAX`] it may wait for ever.
    ///
    /// A failed handshake gives the peer as long to take the alert that tells it why.
    #[must_use]
    pub fn shutdown_limit(mut self, limit: Duration) -> Self {
        self.shutdown = limit;
        self
    }

    /// The security, as streams use it.
    #[must_use]
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// How long the handshake may take.
    #[must_use]
    pub fn handshake(&self) -> Duration {
        self.handshake
    }

    /// How long closing may take.
    #[must_use]
    pub fn shutdown(&self) -> Duration {
        self.shutdown
    }
}

/// What readers and writers get for an error of the security layer, which stays inside.
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
