//! Which peers are let in, and what each end reports when one is refused.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::common::{self, PIECES, certificate_pin, identity, security, shake};
use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_endpoint::{
    Authority, Blame, Connection, Identity, Pins, Reason, Security, Trust, ValidityDates,
};

/// Two ends that let each other in, whichever way the bytes arrive.
fn assert_secured(connecting: &Security, accepting: &Security) {
    for piece in PIECES {
        let (left, right) = shake(connecting, accepting, piece);
        assert!(
            left.error.is_none() && right.error.is_none(),
            "{left}{right}"
        );
        assert_eq!(left.secured, Some(accepting.fingerprint()));
        assert_eq!(right.secured, Some(connecting.fingerprint()));
        assert!(left.connection.may_write() && right.connection.may_write());
        for (end, peer) in [(&left, accepting), (&right, connecting)] {
            assert_eq!(
                end.connection.peer_certificate(),
                peer.identity().as_ref().map(Identity::certificate_der)
            );
            assert!(end.connection.cipher().unwrap().starts_with("TLS13_"));
        }
    }
}

/// Makes two ends, one of which refuses the other's certificate. Returns what each end reports.
fn assert_refused(connecting: &Security, accepting: &Security, by_connecting: bool, why: Why) {
    for piece in PIECES {
        let (left, right) = shake(connecting, accepting, piece);
        let (refuser, refused) = if by_connecting {
            (&left, &right)
        } else {
            (&right, &left)
        };
        let ours = if by_connecting { accepting } else { connecting }
            .fingerprint()
            .unwrap();

        let error = refuser.error.as_ref().unwrap();
        assert!(why.fits(error.reason(), ours), "{error:?}");
        assert_eq!(error.blame(), Blame::Refused);
        assert_eq!(error.can_retry(), matches!(why, Why::NotYetValid));
        assert!(refuser.secured.is_none() && !refuser.connection.may_write());

        let error = refused.error.as_ref().unwrap();
        let Reason::RefusedByPeer { alert, ours: shown } = error.reason() else {
            panic!("{error:?}")
        };
        assert_eq!((alert.to_string().as_str(), *shown), (why.alert(), ours));
        assert!(
            error
                .to_string()
                .contains(&format!("compare our fingerprint {ours}"))
        );
        assert!(!error.can_retry() && !refused.connection.may_write());
        // The connecting side is let down late: it was the accepting side's turn to judge.
        assert_eq!(refused.secured.is_some(), !by_connecting);

        for line in [left.message(), right.message()] {
            assert!(!line.contains('\n') && line.contains("peer"), "{line}");
        }
    }
}

#[derive(Clone, Copy)]
enum Why {
    Pin,
    Expired,
    NotYetValid,
    Authority,
}

impl Why {
    fn fits(self, reason: &Reason, presented_key: countersign_endpoint::Fingerprint) -> bool {
        match (self, reason) {
            (
                Self::Pin,
                Reason::PinMismatch {
                    presented,
                    expected,
                    pinned,
                },
            ) => *presented == presented_key && expected.len() == *pinned,
            (Self::Expired, Reason::PeerCertificateExpired { not_after, now }) => not_after < now,
            (Self::NotYetValid, Reason::PeerCertificateNotYetValid { not_before, now }) => {
                not_before > now
            }
            (Self::Authority, Reason::PeerCertificateRefused) => true,
            _ => false,
        }
    }

    fn alert(self) -> &'static str {
        match self {
            Self::Pin => "certificate_unknown",
            Self::Expired | Self::NotYetValid => "certificate_expired",
            Self::Authority => "unknown_ca",
        }
    }
}

impl std::fmt::Display for common::End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:?}; ", self.secured, self.error)
    }
}

#[test]
fn a_pin_may_be_a_certificate_or_a_fingerprint() {
    let (robot, station) = (fixtures::good("robot"), fixtures::ed25519("station"));
    let trusts = |peer: &GeneratedIdentity| {
        [
            Trust::from(certificate_pin(peer)),
            Trust::from(peer.fingerprint()),
        ]
    };
    for on_robot in trusts(&station) {
        for on_station in trusts(&robot) {
            assert_secured(
                &security(&robot, on_robot.clone()),
                &security(&station, on_station),
            );
        }
    }
}

#[test]
fn the_authority_flag_does_not_matter() {
    let robot = fixtures::with_authority_flag("robot");
    let station = fixtures::with_authority_flag("station");
    let on_robot = security(&robot, certificate_pin(&station));
    assert_secured(&on_robot, &security(&station, robot.fingerprint()));
    assert_secured(&security(&station, certificate_pin(&robot)), &on_robot);
}

/// [TLS-1] [TLS-3]
#[test]
fn another_pin_on_either_side_refuses() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let stranger = fixtures::good("stranger");
    for wrong in [
        Trust::from(stranger.fingerprint()),
        certificate_pin(&stranger).into(),
    ] {
        let right = security(&robot, station.fingerprint());
        let wrong = security(&station, wrong);
        assert_refused(&right, &wrong, false, Why::Pin);
        assert_refused(&wrong, &right, true, Why::Pin);
        let (end, _) = shake(&wrong, &right, usize::MAX);
        for fingerprint in [robot.fingerprint(), stranger.fingerprint()] {
            assert!(
                end.message().contains(&fingerprint.to_string()),
                "{}",
                end.message()
            );
        }
    }
}

#[test]
fn a_renewed_certificate_matches_the_fingerprint_and_not_the_certificate() {
    let (old, new) = fixtures::renewed("robot");
    let station = fixtures::good("station");
    let on_robot = security(&new, station.fingerprint());
    assert_secured(&on_robot, &security(&station, old.fingerprint()));
    let strict = security(&station, certificate_pin(&old));
    assert_refused(&on_robot, &strict, false, Why::Pin);
    let (_, end) = shake(&on_robot, &strict, usize::MAX);
    assert!(
        end.message().contains("for the same key"),
        "{}",
        end.message()
    );
}

#[test]
fn several_pins_allow_rotation() {
    let (old, new) = (fixtures::good("robot"), fixtures::good("robot"));
    let (station, stranger) = (fixtures::good("station"), fixtures::good("stranger"));
    let both = Pins::new([certificate_pin(&old), new.fingerprint().into()]).unwrap();
    let on_station = security(&station, both);
    assert_secured(&security(&old, station.fingerprint()), &on_station);
    assert_secured(&security(&new, station.fingerprint()), &on_station);
    let on_stranger = security(&stranger, station.fingerprint());
    assert_refused(&on_stranger, &on_station, false, Why::Pin);
}

#[test]
fn validity_dates_count_unless_told_otherwise() {
    let station = fixtures::good("station");
    for (robot, why) in [
        (fixtures::expired("robot"), Why::Expired),
        (fixtures::not_yet_valid("robot"), Why::NotYetValid),
    ] {
        let on_robot = security(&robot, station.fingerprint());
        for pin in [certificate_pin(&robot), robot.fingerprint().into()] {
            let pins = Pins::from(pin);
            let check = security(&station, pins.clone());
            assert_refused(&on_robot, &check, false, why);
            assert_refused(&check, &on_robot, true, why);
            let (end, _) = shake(&check, &on_robot, usize::MAX);
            assert!(end.message().contains(" UTC") && end.message().contains("ignore validity"));
            let ignore = security(&station, pins.validity_dates(ValidityDates::Ignore));
            assert_secured(&on_robot, &ignore);
            assert_secured(&ignore, &on_robot);
        }
    }
}

#[test]
fn dates_are_ignored_and_pins_are_not() {
    let (robot, station) = (fixtures::expired("robot"), fixtures::good("station"));
    let pins = Pins::from(station.fingerprint()).validity_dates(ValidityDates::Ignore);
    let on_robot = security(&robot, station.fingerprint());
    assert_refused(&on_robot, &security(&station, pins), false, Why::Pin);
}

#[test]
fn an_authority_is_a_choice_of_its_own() {
    let (ours, other) = (
        fixtures::TestAuthority::new("CA"),
        fixtures::TestAuthority::new("other"),
    );
    let make = |authority: &fixtures::TestAuthority, name: &str, expects: Option<&str>| {
        let issued = authority.issue(name);
        let identity =
            Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes());
        let mut trust = Authority::from_pem(ours.root_pem().as_bytes()).unwrap();
        if let Some(name) = expects {
            trust = trust.expecting_server(name).unwrap();
        }
        Security::tls(identity.unwrap(), trust).build().unwrap()
    };
    let robot = make(&ours, "robot", None);
    assert_secured(&make(&ours, "station", Some("robot")), &robot);
    // From another authority, on either side.
    assert_refused(
        &make(&other, "station", Some("robot")),
        &robot,
        false,
        Why::Authority,
    );
    let stranger = make(&other, "robot", None);
    assert_refused(
        &make(&ours, "station", Some("robot")),
        &stranger,
        true,
        Why::Authority,
    );
    // Another server of the same authority, and no server named.
    let (end, _) = shake(&make(&ours, "station", Some("crane")), &robot, usize::MAX);
    assert_eq!(end.error.unwrap().reason(), &Reason::PeerCertificateRefused);
    let error = Connection::connect(&make(&ours, "station", None)).unwrap_err();
    assert_eq!(
        (error.reason(), error.blame()),
        (&Reason::ServerNameMissing, Blame::Local)
    );
}

/// [TLS-2]
#[test]
fn protocols_agree_or_the_connection_fails() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let make = |own: &GeneratedIdentity, peer: &GeneratedIdentity, alpn: &[&str]| {
        Security::tls(identity(own), peer.fingerprint())
            .alpn(alpn)
            .build()
            .unwrap()
    };
    for piece in PIECES {
        let on_robot = make(&robot, &station, &["countersign"]);
        let (left, right) = shake(
            &on_robot,
            &make(&station, &robot, &["x", "countersign"]),
            piece,
        );
        for end in [left, right] {
            assert!(end.error.is_none(), "{}", end.message());
            assert_eq!(end.connection.protocol(), Some(&b"countersign"[..]));
        }
        for (one, other) in [
            (vec!["x"], vec!["countersign"]),
            (vec![], vec!["countersign"]),
        ] {
            for (one, other) in [(&one, &other), (&other, &one)] {
                let (left, right) = shake(
                    &make(&robot, &station, one),
                    &make(&station, &robot, other),
                    piece,
                );
                for (end, asked) in [(left, one), (right, other)] {
                    if asked.is_empty() {
                        // It asked for nothing; it sees the other go.
                        assert!(end.ended || end.error.is_some());
                        continue;
                    }
                    let error = end.error.unwrap();
                    let ours = asked.iter().map(ToString::to_string).collect();
                    assert_eq!(error.reason(), &Reason::Protocol { ours });
                    assert!(!error.can_retry());
                }
            }
        }
    }
}

#[test]
fn the_other_end_of_a_failed_handshake_hears_the_alert_and_then_the_end() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let on_robot = security(&robot, station.fingerprint());
    let mut accepting = Connection::accept(&on_robot).unwrap();
    let error = accepting.read_eof().unwrap_err();
    assert_eq!(
        (error.reason(), error.can_retry()),
        (&Reason::ClosedDuringHandshake, true)
    );
    assert_eq!(
        accepting.read_eof().unwrap_err().reason(),
        &Reason::ClosedDuringHandshake
    );
}
