//! Attackers that speak TLS, and are not the pinned peer or not as they should be.

use countersign_certs::GeneratedIdentity;
use countersign_core::{EndReason, Loss, Role};
use countersign_driver::LinkError;
use countersign_endpoint::{ALPN_COUNTERSIGN, Reason};

use super::{assert_says, security};
use crate::adversary::{CAST, Disguise, Hostile, Seen, Victim};

scenarios! {
    EITHER_END {
        tls_1_2,
        no_certificate,
        unpinned,
        without_its_key,
        expired,
        not_yet_valid,
        another_protocol,
        no_protocol,
    }
    OPENER {
        tls_1_2_unasked,
        does_not_ask,
    }
}

/// Names and numbers of RFC 8446, section 6.
const CERTIFICATE_EXPIRED: Seen = Seen::Alert(45);
const CERTIFICATE_UNKNOWN: Seen = Seen::Alert(46);
const DECRYPT_ERROR: Seen = Seen::Alert(51);
const PROTOCOL_VERSION: Seen = Seen::Alert(70);
const CERTIFICATE_REQUIRED: Seen = Seen::Alert(116);
const NO_APPLICATION_PROTOCOL: Seen = Seen::Alert(120);

/// Comes in this disguise, and listens to the end.
fn comes_as(disguise: Disguise<'_>) -> impl FnOnce(Hostile) -> Seen + Send {
    move |mut hostile| {
        let _ = hostile.shake(disguise);
        hostile.receive_end()
    }
}

/// What the victim says, if it is final, and what the attacker sees.
fn refused(victim: &Victim, disguise: Disguise<'_>) -> (LinkError, Seen) {
    let stage = victim.stage();
    let (error, seen) = stage.repels(comes_as(disguise));
    assert_eq!(*error.reason(), EndReason::Lost(Loss::Unproven), "{error}");
    assert!(!error.can_retry(), "{error}");
    (error, seen)
}

/// Nothing newer than TLS 1.2. [TLS-1]
fn tls_1_2(victim: &Victim) {
    let (error, seen) = refused(victim, Disguise::of(&CAST.peer).of_tls_1_2());
    assert_eq!(security(&error), &Reason::TlsVersion);
    let text = "the peer does not speak TLS 1.3; update its TLS library, or allow 1.3 there";
    assert_says(&error, text);
    match victim.role {
        Role::Acceptor => assert_eq!(seen, PROTOCOL_VERSION),
        // The attacker itself has said so.
        Role::Opener => assert_eq!(seen, Seen::Ended),
    }
}

/// A server that goes on with TLS 1.2 although it was not offered. [TLS-1]
fn tls_1_2_unasked(victim: &Victim) {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[5; 32]);
    // No session, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    hello.extend_from_slice(&[0, 0xc0, 0x2b, 0]);
    let answer = [&[22, 3, 3, 0, 42, 2, 0, 0, 38][..], &hello].concat();
    let (error, seen) = victim.stage().repels(|mut hostile| {
        hostile.throw(&answer);
        hostile.receive_end()
    });
    assert_eq!(security(&error), &Reason::TlsVersion);
    assert_eq!(seen, PROTOCOL_VERSION);
}

/// A chain of certificates without any. [TLS-1]
fn no_certificate(victim: &Victim) {
    let (error, seen) = refused(victim, Disguise::of(&CAST.peer).without_certificate());
    assert_eq!(security(&error), &Reason::PeerCertificateMissing);
    let text = "we refused the peer: it presented no certificate; give it an identity";
    assert_says(&error, text);
    match victim.role {
        Role::Acceptor => assert_eq!(seen, CERTIFICATE_REQUIRED),
        // RFC 8446, 4.4.2.4, wants decode_error; rustls has no alert for it.
        Role::Opener => assert_eq!(seen, Seen::Ended),
    }
}

/// The pinned server does not ask for a certificate, so any client may be talking to it. [TLS-6]
fn does_not_ask(victim: &Victim) {
    let disguise = Disguise::of(&CAST.peer).without_asking();
    let (error, seen) = victim.stage().repels(comes_as(disguise));
    assert_eq!(security(&error), &Reason::NotAskedForCertificate);
    // It has proved its identity, and another attempt would not change it.
    let reason = error.reason();
    assert_eq!(*reason, EndReason::Lost(Loss::NotTrusted), "{error}");
    assert!(!error.can_retry(), "{error}");
    let text = "we refused the peer: it did not ask for our certificate, so anybody could be talking \
                to it; have it demand certificates, or check the address";
    assert_says(&error, text);
    assert_eq!(seen, Seen::Ended);
}

/// A certificate that is not pinned, with its key. [TLS-1]
fn unpinned(victim: &Victim) {
    let (error, seen) = refused(victim, Disguise::of(&CAST.stranger));
    let cast = &*CAST;
    let pinned = [
        &cast.peer,
        &cast.bystander,
        &cast.expired,
        &cast.not_yet_valid,
    ];
    let expected = pinned.map(GeneratedIdentity::fingerprint);
    let presented = cast.stranger.fingerprint();
    let [first, second, third, _] = expected;
    let mismatch = Reason::PinMismatch {
        presented,
        expected: vec![first, second, third],
        pinned: 4,
    };
    assert_eq!(security(&error), &mismatch);
    let text = format!(
        "we refused the peer: it presented the key {presented}, and pinned is {first} or {second} \
         or {third} or one of 1 more; if the peer's identity was renewed, pin the new one, else \
         beware of a stranger"
    );
    assert_says(&error, &text);
    assert_eq!(seen, CERTIFICATE_UNKNOWN);
}

/// The pinned certificate, which any attacker can have seen, and a signature by another key.
/// [TLS-1]
fn without_its_key(victim: &Victim) {
    let disguise = Disguise::of(&CAST.peer).with_the_key_of(&CAST.stranger);
    let (error, seen) = refused(victim, disguise);
    assert_eq!(security(&error), &Reason::PeerKeyUnproven);
    let text = "we refused the peer: it presented a pinned certificate and signed with another \
                key; check that the peer's key belongs to its certificate, else beware of a \
                stranger";
    assert_says(&error, text);
    assert_eq!(seen, DECRYPT_ERROR);
}

/// A pinned certificate that has expired.
fn expired(victim: &Victim) {
    let (error, seen) = victim.stage().repels(comes_as(Disguise::of(&CAST.expired)));
    assert_eq!(*error.reason(), EndReason::Lost(Loss::OutOfDate), "{error}");
    assert!(!error.can_retry(), "{error}");
    let reason = security(&error);
    assert!(
        matches!(reason, Reason::PeerCertificateExpired { .. }),
        "{reason:?}"
    );
    let text = error.to_string();
    let begins = "we refused the peer: its certificate expired on ";
    assert!(text.starts_with(begins), "{text}");
    let ends = " here; renew it, or ignore validity dates";
    assert!(text.ends_with(ends), "{text}");
    assert_eq!(seen, CERTIFICATE_EXPIRED);
}

/// A pinned certificate that is not valid yet. That heals.
fn not_yet_valid(victim: &Victim) {
    let stage = victim.stage();
    let (error, seen) = stage.repels(comes_as(Disguise::of(&CAST.not_yet_valid)));
    assert_eq!(*error.reason(), EndReason::Lost(Loss::OutOfDate), "{error}");
    let reason = security(&error);
    assert!(
        matches!(reason, Reason::PeerCertificateNotYetValid { .. }),
        "{reason:?}"
    );
    let text = error.to_string();
    let begins = "we refused the peer: its certificate is not valid before ";
    assert!(text.starts_with(begins), "{text}");
    let ends = " here; check this machine's clock, or ignore validity dates";
    assert!(text.ends_with(ends), "{text}");
    assert!(error.can_retry());
    assert_eq!(seen, CERTIFICATE_EXPIRED);
}

fn assert_other_protocol(error: &LinkError) {
    let ours = vec![ALPN_COUNTERSIGN.to_owned()];
    assert_eq!(security(error), &Reason::Protocol { ours });
    let text = "the peer speaks TLS and not our protocol (countersign); check the address, and \
                that both ends use the same dialect";
    assert_says(error, text);
}

/// The pinned peer itself, with another protocol inside TLS. [TLS-2]
fn another_protocol(victim: &Victim) {
    let (error, seen) = refused(victim, Disguise::of(&CAST.peer).speaking(Some("h2")));
    assert_other_protocol(&error);
    match victim.role {
        Role::Acceptor => assert_eq!(seen, NO_APPLICATION_PROTOCOL),
        // The attacker itself has said so.
        Role::Opener => assert_eq!(seen, Seen::Ended),
    }
}

/// The pinned peer itself, without naming a protocol. [TLS-2]
fn no_protocol(victim: &Victim) {
    let (error, seen) = refused(victim, Disguise::of(&CAST.peer).speaking(None));
    assert_other_protocol(&error);
    // Without close_notify, which a peer that speaks tlsstream would take for the end of its
    // stream.
    assert_eq!(seen, Seen::Ended);
}
