//! Translates rustls's errors to countersign's, in one place, since this changes with rustls.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, HandshakeType, OtherError};

use crate::alert::Alert;
use crate::certificate::Unusable;
use crate::error::{PlainProtocol, Reason, SecurityError};
use crate::settings::Tls;
use crate::verify::PinMismatch;

/// Translates `error` of a connection with the settings `tls`.
pub(crate) fn translate(error: Error, tls: &Tls) -> SecurityError {
    let reason = match &error {
        Error::AlertReceived(description) => alert(*description, tls),
        Error::InvalidCertificate(refusal) => certificate(refusal, tls),
        Error::NoCertificatesPresented => Reason::PeerCertificateMissing,
        Error::PeerIncompatible(incompatible) => self::incompatible(incompatible),
        Error::NoApplicationProtocol => protocol(tls),
        Error::InappropriateHandshakeMessage {
            got_type: HandshakeType::ClientHello,
            expect_types,
        } if expect_types.contains(&HandshakeType::ServerHello) => Reason::BothOpened,
        Error::DecryptError => Reason::Corrupted,
        Error::FailedToGetCurrentTime
        | Error::FailedToGetRandomBytes
        | Error::General(_)
        | Error::EncryptError
        | Error::Other(_) => Reason::Internal,
        _ => Reason::PeerMisbehaved,
    };
    SecurityError::with_source(reason, error)
}

/// Returns the reason that no protocol was agreed on.
pub(crate) fn protocol(tls: &Tls) -> Reason {
    let ours = tls
        .alpn
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    Reason::Protocol { ours }
}

fn alert(description: AlertDescription, tls: &Tls) -> Reason {
    let alert = Alert(u8::from(description));
    match alert {
        Alert::PROTOCOL_VERSION => Reason::TlsVersion,
        Alert::NO_APPLICATION_PROTOCOL => protocol(tls),
        Alert::HANDSHAKE_FAILURE | Alert::INSUFFICIENT_SECURITY => Reason::NoCommonAlgorithm,
        _ if alert.refuses_certificate() => Reason::RefusedByPeer {
            alert,
            ours: tls.identity.fingerprint(),
        },
        _ => Reason::PeerAlert { alert },
    }
}

fn certificate(refusal: &CertificateError, tls: &Tls) -> Reason {
    let time = |time: &UnixTime| -> SystemTime {
        UNIX_EPOCH
            .checked_add(Duration::from_secs(time.as_secs()))
            .unwrap_or(UNIX_EPOCH)
    };
    match refusal {
        CertificateError::ExpiredContext {
            time: now,
            not_after,
        } => Reason::PeerCertificateExpired {
            not_after: time(not_after),
            now: time(now),
        },
        CertificateError::NotValidYetContext {
            time: now,
            not_before,
        } => Reason::PeerCertificateNotYetValid {
            not_before: time(not_before),
            now: time(now),
        },
        CertificateError::Other(OtherError(error)) => match error.downcast_ref::<PinMismatch>() {
            Some(PinMismatch {
                presented,
                certificate: Some(pinned),
                ..
            }) => Reason::CertificateHashPinned {
                presented: *presented,
                pinned: *pinned,
            },
            Some(PinMismatch {
                presented,
                expected,
                pinned,
                ..
            }) => Reason::PinMismatch {
                presented: *presented,
                expected: expected.clone(),
                pinned: *pinned,
            },
            None => match error.downcast_ref::<Unusable>() {
                Some(Unusable(why)) => Reason::PeerCertificateUnusable { why: why.clone() },
                None => Reason::PeerCertificateRefused,
            },
        },
        // The signature in the handshake is not by the certificate's key. With an authority it may
        // be the signature of the certificate instead.
        #[allow(deprecated)]
        CertificateError::BadSignature if tls.is_pinned() => Reason::PeerKeyUnproven,
        _ => Reason::PeerCertificateRefused,
    }
}

fn incompatible(incompatible: &rustls::PeerIncompatible) -> Reason {
    use rustls::PeerIncompatible as Incompatible;
    match incompatible {
        Incompatible::Tls12NotOffered
        | Incompatible::Tls12NotOfferedOrEnabled
        | Incompatible::SupportedVersionsExtensionRequired
        | Incompatible::ServerDoesNotSupportTls12Or13
        | Incompatible::ServerTlsVersionIsDisabledByOurConfig => Reason::TlsVersion,
        _ => Reason::NoCommonAlgorithm,
    }
}

/// What the first bytes of a connection look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// Too few to tell.
    TooFew,
    /// The header of a TLS record.
    Tls,
    /// Anything else.
    Plain(PlainProtocol),
}

/// A TLS record's header: type, version, length (RFC 8446, section 5.1).
pub(crate) const RECORD_HEADER: usize = 5;

/// Recognises the first bytes of a connection, always by the same number of them, so that it does
/// not matter in which pieces they arrive.
pub(crate) fn recognise(bytes: &[u8]) -> FirstBytes {
    /// The record types with which a connection can begin.
    const ALERT_OR_HANDSHAKE: std::ops::RangeInclusive<u8> = 21..=22;
    match bytes.get(..RECORD_HEADER) {
        None => FirstBytes::TooFew,
        Some([kind, 3, ..]) if ALERT_OR_HANDSHAKE.contains(kind) => FirstBytes::Tls,
        Some(start) => FirstBytes::Plain(plain(start)),
    }
}

fn plain(start: &[u8]) -> PlainProtocol {
    const HTTP: [&[u8]; 9] = [
        b"HTTP/", b"GET /", b"POST ", b"PUT /", b"HEAD ", b"OPTIO", b"DELET", b"CONNE", b"PRI *",
    ];
    if HTTP.contains(&start) {
        PlainProtocol::Http
    } else if start.starts_with(b"SSH-") {
        PlainProtocol::Ssh
    } else if is_length(start) || start.starts_with(b"OK!") {
        PlainProtocol::Tlsstream
    } else if is_first_frame(start) {
        PlainProtocol::Countersign
    } else {
        PlainProtocol::Unknown
    }
}

/// Whether a tlsstream sender could begin like this: with digits, followed by `!`.
fn is_length(start: &[u8]) -> bool {
    let digits = start
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    digits > 0 && start.get(digits).is_none_or(|after| *after == b'!')
}

/// Whether a `countersign/1` connection could begin like this: with a HELLO, or, as the response, a
/// WELCOME, a REFUSE or an ABORT, all without flags.
fn is_first_frame(start: &[u8]) -> bool {
    use countersign_core::wire::FrameType;
    const FIRST: [FrameType; 4] = [
        FrameType::Hello,
        FrameType::Welcome,
        FrameType::Refuse,
        FrameType::Abort,
    ];
    matches!(start, [kind, 0, _, _, 0] if FIRST.iter().any(|first| *first as u8 == *kind))
}
