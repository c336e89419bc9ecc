//! Why a connection could not be secured, or is no longer: which end refused, and what to change.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use countersign_core::Escaped;

use crate::alert::Alert;
use crate::certificate::utc;
use crate::fingerprint::Fingerprint;

/// Why a connection could not be secured, or is no longer.
///
/// `Display` is one line that says what to change. [`SecurityError::reason`] is for programs,
/// [`SecurityError::blame`] returns whose fault it is, [`SecurityError::can_retry`] whether another
/// connection may succeed. The TLS library's error, if any, is the
/// [`source`](Error::source). No message ever contains a byte of a key.
#[derive(Clone, Debug)]
pub struct SecurityError {
    reason: Box<Reason>,
    source: Option<Arc<LibraryError>>,
}

/// The TLS library's error, escaped since it may contain names from the peer.
#[derive(Debug)]
struct LibraryError(rustls::Error);

impl fmt::Display for LibraryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped::new(&self.0).fmt(f)
    }
}

impl Error for LibraryError {}

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// This end used the library, or is configured, in a way that cannot work.
    Local,
    /// The peer broke the rules of TLS, or what arrived is not what it sent.
    Peer,
    /// Both ends behaved correctly, and they are incompatible, or one refused the other.
    Refused,
    /// The connection ended before it should have.
    Transport,
}

/// What a peer that does not speak TLS seems to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PlainProtocol {
    /// HTTP, as a client or as a server.
    Http,
    /// The tlsstream dialect in plaintext: it begins with a decimal length, or the confirmation.
    Tlsstream,
    /// SSH.
    Ssh,
    /// `countersign/1` in plaintext.
    Countersign,
    /// An unknown protocol.
    Unknown,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// We refused the peer: its certificate is not one of those pinned.
    PinMismatch {
        /// The fingerprint of the key it presented.
        presented: Fingerprint,
        /// The fingerprints of the pins, at most [`Reason::SHOWN`]. If `presented` is among them,
        /// it is the first: a certificate is pinned, and the peer has another one for the same key.
        expected: Vec<Fingerprint>,
        /// How many pins there are.
        pinned: usize,
    },
    /// We refused the peer: the pin is the SHA-256 of its whole certificate, as `openssl x509
    /// -fingerprint` shows it, and not of its key.
    CertificateHashPinned {
        /// The fingerprint of the key it presented: the pin to use.
        presented: Fingerprint,
        /// The pin, which is of the certificate.
        pinned: Fingerprint,
    },
    /// We no longer accept the peer: identity and trust were
    /// [replaced](crate::Security::replace), and the new pins or authority do not accept it.
    PinRemoved {
        /// The fingerprint of the key that it had presented; `None` for a peer without a
        /// connection.
        presented: Option<Fingerprint>,
    },
    /// The pins were [replaced](crate::Security::replace) while the peer connected, and according
    /// to the new ones it is another peer. The next connection is verified against these alone.
    PinsChanged,
    /// We refused the peer: its certificate matches and has expired.
    PeerCertificateExpired {
        /// The last second at which it was valid.
        not_after: SystemTime,
        /// This machine's time.
        now: SystemTime,
    },
    /// We refused the peer: its certificate matches and is not valid yet.
    PeerCertificateNotYetValid {
        /// The first second at which it is valid.
        not_before: SystemTime,
        /// This machine's time.
        now: SystemTime,
    },
    /// We refused the peer: it presented no certificate.
    PeerCertificateMissing,
    /// We refused the peer: the authority did not certify it, or the certificate is damaged.
    PeerCertificateRefused,
    /// We refused the peer: its certificate is unusable, since it has an old version, or is
    /// damaged, or its key supports no signature of TLS 1.3 that is supported here.
    PeerCertificateUnusable {
        /// Why, as a clause.
        why: String,
    },
    /// We refused the peer, which accepted our connection: it did not request our certificate, so
    /// it did not authenticate us.
    NotAskedForCertificate,
    /// We refused the peer: it presented a pinned certificate, which is public, and did not prove
    /// that it holds the private key.
    PeerKeyUnproven,
    /// The peer refused us, because of our certificate.
    RefusedByPeer {
        /// The alert that it sent.
        alert: Alert,
        /// The fingerprint of the key we presented.
        ours: Fingerprint,
    },
    /// The peer does not speak TLS 1.3.
    TlsVersion,
    /// The peer does not speak TLS.
    NotTls {
        /// What it seems to speak.
        seems: PlainProtocol,
    },
    /// The peer speaks TLS, and none of our protocols in it.
    Protocol {
        /// The protocols that we offered or would have accepted.
        ours: Vec<String>,
    },
    /// Both ends have opened the connection, and neither has accepted it.
    BothOpened,
    /// The peer speaks TLS 1.3, and supports no cipher, key exchange or signature that we do.
    NoCommonAlgorithm,
    /// The peer ended the connection with an alert that is not about our certificate.
    PeerAlert {
        /// The alert.
        alert: Alert,
    },
    /// The peer broke the rules of TLS.
    PeerMisbehaved,
    /// The received data is not what the peer sent: it does not decrypt.
    Corrupted,
    /// The peer closed the connection before the handshake was done, without an alert.
    ClosedDuringHandshake,
    /// The connection ended without a close_notify from the peer: data may be missing.
    Truncated,
    /// The caller tried to write data before the handshake was done.
    NotSecured,
    /// The caller tried to write data after this end had closed its direction.
    AlreadyClosed,
    /// The caller's buffer is too small. The connection is unchanged.
    OutputTooSmall {
        /// How many bytes are needed.
        needed: usize,
    },
    /// An authority is set, but not the name of the server to connect to.
    ServerNameMissing,
    /// The TLS library failed, for example for lack of random bytes or of the time.
    Internal,
}

impl Reason {
    /// How many pins an error lists at most, so that the line stays readable.
    pub const SHOWN: usize = 3;
}

impl SecurityError {
    pub(crate) fn new(reason: Reason) -> Self {
        Self {
            reason: Box::new(reason),
            source: None,
        }
    }

    pub(crate) fn with_source(reason: Reason, source: rustls::Error) -> Self {
        Self {
            reason: Box::new(reason),
            source: Some(Arc::new(LibraryError(source))),
        }
    }

    /// Keeps the TLS library's error, with another reason.
    pub(crate) fn with_reason(self, reason: Reason) -> Self {
        Self {
            reason: Box::new(reason),
            source: self.source,
        }
    }

    /// Returns what went wrong.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// Returns whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        match *self.reason {
            Reason::NotSecured
            | Reason::AlreadyClosed
            | Reason::OutputTooSmall { .. }
            | Reason::ServerNameMissing
            | Reason::Internal => Blame::Local,
            Reason::PinsChanged => Blame::Local,
            Reason::PeerMisbehaved | Reason::Corrupted => Blame::Peer,
            Reason::ClosedDuringHandshake | Reason::Truncated => Blame::Transport,
            Reason::PinMismatch { .. }
            | Reason::CertificateHashPinned { .. }
            | Reason::PinRemoved { .. }
            | Reason::PeerCertificateExpired { .. }
            | Reason::PeerCertificateNotYetValid { .. }
            | Reason::PeerCertificateMissing
            | Reason::PeerCertificateRefused
            | Reason::PeerCertificateUnusable { .. }
            | Reason::NotAskedForCertificate
            | Reason::PeerKeyUnproven
            | Reason::RefusedByPeer { .. }
            | Reason::TlsVersion
            | Reason::NotTls { .. }
            | Reason::Protocol { .. }
            | Reason::BothOpened
            | Reason::NoCommonAlgorithm
            | Reason::PeerAlert { .. } => Blame::Refused,
        }
    }

    /// Whether another connection may succeed with nothing changed on either machine.
    ///
    /// True for failures of the network and for those that time mends: a certificate that is not
    /// valid yet becomes valid, or the clock is set. False for every refusal.
    #[must_use]
    pub fn can_retry(&self) -> bool {
        match *self.reason {
            // A failure of the peer, or of the network.
            Reason::PeerAlert { alert } => {
                matches!(alert, Alert::INTERNAL_ERROR | Alert::BAD_RECORD_MAC)
            }
            Reason::PeerCertificateNotYetValid { .. }
            | Reason::PinsChanged
            | Reason::Corrupted
            | Reason::ClosedDuringHandshake
            | Reason::Truncated
            | Reason::Internal => true,
            _ => false,
        }
    }
}

impl SecurityError {
    /// Whether one end's certificate is not valid at present, by either end's clock: it has expired
    /// or is not valid yet. A link that was up waits until that is fixed.
    #[must_use]
    pub fn is_about_dates(&self) -> bool {
        match *self.reason {
            Reason::PeerCertificateExpired { .. } | Reason::PeerCertificateNotYetValid { .. } => {
                true
            }
            Reason::RefusedByPeer { alert, .. } => alert == Alert::CERTIFICATE_EXPIRED,
            _ => false,
        }
    }
}

impl From<Reason> for SecurityError {
    fn from(reason: Reason) -> Self {
        Self::new(reason)
    }
}

impl fmt::Display for SecurityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}

impl Error for SecurityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_ref()
            .map(|source| &**source as &(dyn Error + 'static))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PinMismatch {
                presented,
                expected,
                pinned,
            } => pin_mismatch(f, presented, expected, *pinned),
            Self::CertificateHashPinned { presented, pinned } => write!(
                f,
                "we refused the peer: the pin {pinned} is the SHA-256 of its whole certificate, as \
                 `openssl x509 -fingerprint` shows it, and not of its key; pin {presented}"
            ),
            Self::PeerCertificateUnusable { why } => write!(
                f,
                "we refused the peer: its certificate cannot be used ({}); have it make a new one",
                Escaped::new(why)
            ),
            Self::NotAskedForCertificate => f.write_str(
                "we refused the peer: it did not ask for our certificate, so anybody could be talking to \
                 it; have it demand certificates, or check the address",
            ),
            Self::PinRemoved {
                presented: Some(presented),
            } => write!(
                f,
                "we no longer accept the peer: its pin was removed, for the key {presented}; pin the \
                 key that it is to use from now on"
            ),
            Self::PinRemoved { presented: None } => f.write_str(
                "we no longer accept the peer, which was away: its pin was removed; pin the key that \
                 it is to use from now on",
            ),
            Self::PinsChanged => {
                f.write_str("the pins were changed while the peer connected; connect again")
            }
            Self::PeerCertificateExpired { not_after, now } => write!(
                f,
                "we refused the peer: its certificate expired on {}, and it is {} here; renew \
                 it, or ignore validity dates",
                utc(*not_after),
                utc(*now)
            ),
            Self::PeerCertificateNotYetValid { not_before, now } => write!(
                f,
                "we refused the peer: its certificate is not valid before {}, and it is {} here; \
                 check this machine's clock, or ignore validity dates",
                utc(*not_before),
                utc(*now)
            ),
            Self::PeerCertificateMissing => {
                f.write_str("we refused the peer: it presented no certificate; give it an identity")
            }
            Self::PeerCertificateRefused => f.write_str(
                "we refused the peer: its certificate is damaged, or the authority that we trust \
                 did not certify it, or not for this name and use; check what it presents",
            ),
            Self::PeerKeyUnproven => f.write_str(
                "we refused the peer: it presented a pinned certificate and signed with another \
                 key; check that the peer's key belongs to its certificate, else beware of a \
                 stranger",
            ),
            Self::RefusedByPeer { alert, ours } => refused_by_peer(f, *alert, ours),
            Self::TlsVersion => f.write_str(
                "the peer does not speak TLS 1.3; update its TLS library, or allow 1.3 there",
            ),
            Self::NotTls { seems } => not_tls(f, *seems),
            Self::Protocol { ours } => write!(
                f,
                "the peer speaks TLS and not our protocol ({}); check the address, and that both \
                 ends use the same dialect",
                if ours.is_empty() {
                    "none by name".to_owned()
                } else {
                    ours.join(", ")
                }
            ),
            Self::BothOpened => f.write_str(
                "both ends have opened the connection, so neither answers; have one of them accept it",
            ),
            Self::NoCommonAlgorithm => f.write_str(
                "the peer has no TLS 1.3 cipher, key exchange or signature in common with us; \
                 update its TLS library, or relax its settings",
            ),
            Self::PeerAlert { alert } => {
                write!(
                    f,
                    "the peer ended the connection with {alert}; its log may tell why"
                )
            }
            Self::PeerMisbehaved => f.write_str(
                "the peer broke the rules of TLS; check the address, and update its TLS library",
            ),
            Self::Corrupted => f.write_str(
                "what arrived was changed on the way and does not decrypt; check the network",
            ),
            Self::ClosedDuringHandshake => f.write_str(
                "the peer closed the connection during the handshake without saying why; see its \
                 log, and check that it expects TLS here",
            ),
            Self::Truncated => f.write_str(
                "the connection broke off without the peer having closed it; check the network \
                 and whether the peer still runs",
            ),
            Self::NotSecured => {
                f.write_str("nothing can be sent before the handshake is done; wait for Secured")
            }
            Self::AlreadyClosed => {
                f.write_str("nothing can be sent after closing; open a new connection")
            }
            Self::OutputTooSmall { needed } => {
                write!(
                    f,
                    "the buffer for output is too small; it takes {needed} bytes"
                )
            }
            Self::ServerNameMissing => f.write_str(
                "connecting with an authority takes the name of the server; set the one to expect",
            ),
            Self::Internal => {
                f.write_str("TLS failed on this machine; check its clock and its random numbers")
            }
        }
    }
}

fn pin_mismatch(
    f: &mut fmt::Formatter<'_>,
    presented: &Fingerprint,
    expected: &[Fingerprint],
    pinned: usize,
) -> fmt::Result {
    if expected.contains(presented) {
        return write!(
            f,
            "we refused the peer: it presented another certificate than the pinned one, for the \
             same key {presented}; pin its new certificate, or that fingerprint"
        );
    }
    write!(
        f,
        "we refused the peer: it presented the key {presented}, and pinned is "
    )?;
    for (index, pin) in expected.iter().enumerate() {
        write!(f, "{}{pin}", if index == 0 { "" } else { " or " })?;
    }
    if pinned > expected.len() {
        write!(f, " or one of {} more", pinned - expected.len())?;
    }
    f.write_str("; if the peer's identity was renewed, pin the new one, else beware of a stranger")
}

fn refused_by_peer(f: &mut fmt::Formatter<'_>, alert: Alert, ours: &Fingerprint) -> fmt::Result {
    write!(f, "the peer refused our certificate ({alert}); ")?;
    match alert {
        // rustls and OpenSSL also send it for certificates that are not valid yet.
        Alert::CERTIFICATE_EXPIRED => write!(
            f,
            "check its validity dates and the peer's clock, and compare our fingerprint {ours} \
             with the peer's pin"
        ),
        _ => write!(f, "compare our fingerprint {ours} with the peer's pin"),
    }
}

fn not_tls(f: &mut fmt::Formatter<'_>, seems: PlainProtocol) -> fmt::Result {
    f.write_str("the peer does not speak TLS")?;
    f.write_str(match seems {
        PlainProtocol::Http => ", but HTTP; check the address and the port",
        PlainProtocol::Tlsstream => {
            ", but seems to be a tlsstream peer without credentials; give it an identity and a pin"
        }
        PlainProtocol::Ssh => ", but SSH; check the address and the port",
        PlainProtocol::Countersign => {
            ", but countersign in plain text; give it an identity and a pin"
        }
        PlainProtocol::Unknown => {
            "; check the address and the port, and that the peer is not set to plain text"
        }
    })
}
