//! Peers that speak something else, or TLS in a way that is not ours.

#![allow(clippy::unwrap_used, reason = "a test")]

use crate::common::{
    End, Foreign, Node, PIECES, carry, foreign_client, foreign_server, identity, security,
};
use countersign_certs::fixtures;
use countersign_endpoint::{Blame, PlainProtocol, Reason, Security};
use rustls::version::{TLS12, TLS13};

fn ours() -> (Security, countersign_certs::GeneratedIdentity) {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    (security(&robot, station.fingerprint()), station)
}

/// [TLS-1]
#[test]
fn a_client_without_a_certificate_is_refused() {
    let (on_robot, _) = ours();
    for piece in PIECES {
        let mut left = Foreign::client(foreign_client(None, &[&TLS13]));
        let mut right = End::accept(&on_robot);
        carry(&mut left, &mut right, piece);
        let error = right.error.unwrap();
        assert_eq!(error.reason(), &Reason::PeerCertificateMissing);
        assert_eq!((error.blame(), error.can_retry()), (Blame::Refused, false));
        let alert = rustls::AlertDescription::CertificateRequired;
        assert_eq!(left.error, Some(rustls::Error::AlertReceived(alert)));
    }
}

/// A rustls server that asks for no client certificate, as on the web.
fn indifferent(own: &countersign_certs::GeneratedIdentity) -> Foreign {
    let mut config = foreign_server(own, &[&TLS13]);
    let provider = config.crypto_provider().clone();
    let resolver = config.cert_resolver.clone();
    config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(resolver);
    Foreign::server(config)
}

/// TLS allows a server not to ask for a certificate; then it can't know who we are. [TLS-6]
#[test]
fn an_end_that_is_not_asked_for_its_certificate_does_not_go_on() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let ours = security(&station, robot.fingerprint());
    for piece in PIECES {
        let (mut end, mut server) = (End::connect(&ours), indifferent(&robot));
        carry(&mut end, &mut server, piece);
        let error = end.error.as_ref().unwrap();
        assert_eq!(*error.reason(), Reason::NotAskedForCertificate);
        assert_eq!(error.blame(), Blame::Refused);
        assert!(!error.can_retry() && end.secured.is_none());
        assert!(!end.connection.may_write());
        // It gets an orderly end, and no data of ours.
        assert!(server.error.is_none() && server.data.is_empty());
    }
    // One that asks gets it, and so does the next connection of the same settings.
    for _ in 0..2 {
        let server = foreign_server(&robot, &[&TLS13]);
        let (mut end, mut server) = (End::connect(&ours), Foreign::server(server));
        carry(&mut end, &mut server, usize::MAX);
        assert_eq!(
            end.secured,
            Some(Some(robot.fingerprint())),
            "{}",
            end.message()
        );
        assert!(server.tls.peer_certificates().is_some());
    }
}

#[test]
fn a_one_sided_connection_has_to_be_asked_for() {
    let (robot, station) = (fixtures::good("robot"), fixtures::good("station"));
    let ours = security(&station, robot.fingerprint()).one_sided();
    let (mut end, mut server) = (End::connect(&ours), indifferent(&robot));
    carry(&mut end, &mut server, usize::MAX);
    assert_eq!(
        end.secured,
        Some(Some(robot.fingerprint())),
        "{}",
        end.message()
    );
    end.send(b"hello");
    server.arrive(&end.depart());
    assert_eq!(server.data, b"hello");
    // The pin counts as before.
    let (mut end, mut server) = (End::connect(&ours), indifferent(&fixtures::good("other")));
    carry(&mut end, &mut server, usize::MAX);
    assert!(matches!(
        end.error.unwrap().reason(),
        Reason::PinMismatch { .. }
    ));
    // An acceptor asks for a certificate all the same.
    let accepting = Security::tls(identity(&robot), station.fingerprint());
    let accepting = accepting.build().unwrap().without_alpn().one_sided();
    let client = foreign_client(None, &[&TLS13]);
    let (mut end, mut client) = (End::accept(&accepting), Foreign::client(client));
    carry(&mut end, &mut client, usize::MAX);
    assert_eq!(*end.error.unwrap().reason(), Reason::PeerCertificateMissing);
}

/// [TLS-1]
#[test]
fn peers_of_tls_1_2_are_told_apart() {
    let (on_robot, station) = ours();
    for piece in PIECES {
        let mut left = Foreign::client(foreign_client(Some(&station), &[&TLS12]));
        let mut right = End::accept(&on_robot);
        carry(&mut left, &mut right, piece);
        let accepting = right.error.unwrap();
        assert!(left.error.is_some());

        let mut left = End::connect(&on_robot);
        let mut right = Foreign::server(foreign_server(&station, &[&TLS12]));
        carry(&mut left, &mut right, piece);
        let connecting = left.error.unwrap();
        assert!(right.error.is_some());

        for error in [accepting, connecting] {
            assert_eq!(error.reason(), &Reason::TlsVersion);
            assert_eq!((error.blame(), error.can_retry()), (Blame::Refused, false));
            assert!(error.to_string().contains("TLS 1.3"));
        }
    }
}

/// Hand-made: a server that answers as one of TLS 1.2 does, instead of sending an alert.
#[test]
fn a_server_hello_of_tls_1_2_is_told_apart() {
    let (on_robot, _) = ours();
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[5; 32]);
    // No session, TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, no compression.
    hello.extend_from_slice(&[0, 0xc0, 0x2b, 0]);
    let mut wire = vec![22, 3, 3, 0, 42, 2, 0, 0, 38];
    wire.extend_from_slice(&hello);
    for piece in PIECES {
        let mut left = End::connect(&on_robot);
        left.depart();
        for bytes in wire.chunks(piece) {
            left.arrive(bytes);
        }
        assert_eq!(left.error.as_ref().unwrap().reason(), &Reason::TlsVersion);
        // The alert: protocol_version.
        assert_eq!(left.depart(), [21, 3, 3, 0, 2, 2, 70]);
    }
}

#[test]
fn what_is_not_tls_is_named() {
    use PlainProtocol::{Http, Ssh, Tlsstream, Unknown};
    let (on_robot, _) = ours();
    for (wire, seems) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Http),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Http),
        (b"SSH-2.0-OpenSSH_9.9\r\n", Ssh),
        (b"5!hello", Tlsstream),
        (b"12345!", Tlsstream),
        (b"OK!OK!", Tlsstream),
        (&[0; 64], Unknown),
        (&[22, 2, 1, 0, 1], Unknown),
        (&[23, 3, 3, 0, 1, 0], Unknown),
        (b"\xff\xfe\xfd\xfc\xfb", Unknown),
    ] {
        for piece in PIECES {
            for mut end in [End::accept(&on_robot), End::connect(&on_robot)] {
                end.depart();
                for bytes in wire.chunks(piece) {
                    end.arrive(bytes);
                }
                let error = end.error.clone().unwrap();
                assert_eq!(error.reason(), &Reason::NotTls { seems }, "{wire:?}");
                assert_eq!((error.blame(), error.can_retry()), (Blame::Refused, false));
                assert!(error.to_string().contains("does not speak TLS"));
                // An alert would not be understood.
                assert!(end.depart().is_empty() && end.secured.is_none());
            }
        }
    }
}

#[test]
fn an_end_after_fewer_bytes_than_a_header() {
    let (on_robot, _) = ours();
    for (wire, expected) in [
        (&b""[..], Reason::ClosedDuringHandshake),
        (&[22, 3], Reason::ClosedDuringHandshake),
        (
            b"hi\n",
            Reason::NotTls {
                seems: PlainProtocol::Unknown,
            },
        ),
    ] {
        let mut end = End::accept(&on_robot);
        end.arrive(wire);
        end.eof();
        assert_eq!(end.error.unwrap().reason(), &expected);
    }
}

#[test]
fn garbage_in_tls_records_is_misbehaviour() {
    let (on_robot, _) = ours();
    for wire in [
        &[22, 3, 1, 0, 4, 1, 0, 0, 0][..],
        &[22, 3, 1, 0, 4, 2, 0, 0, 0],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[22, 3, 3, 0, 8, 1, 0, 0, 4, 9, 9, 9, 9],
    ] {
        for piece in PIECES {
            let mut end = End::accept(&on_robot);
            for bytes in wire.chunks(piece) {
                end.arrive(bytes);
            }
            let error = end.error.clone().unwrap();
            assert_eq!(error.reason(), &Reason::PeerMisbehaved, "{wire:?}");
            assert_eq!((error.blame(), error.can_retry()), (Blame::Peer, false));
            assert!(end.depart().starts_with(&[21, 3]), "there is an alert");
        }
    }
}

/// Every alert there is, before the handshake is done: none panics, all have a text.
#[test]
fn every_alert_has_a_meaning() {
    let (on_robot, _) = ours();
    for number in 1..=u8::MAX {
        let mut end = End::connect(&on_robot);
        end.arrive(&[21, 3, 3, 0, 2, 2, number]);
        let error = end.error.unwrap();
        let line = error.to_string();
        assert!(
            !line.contains('\n') && line.contains("peer"),
            "{number}: {line}"
        );
        match number {
            42..=46 | 48 | 49 | 116 => {
                assert!(
                    matches!(error.reason(), Reason::RefusedByPeer { .. }),
                    "{line}"
                );
                assert!(!error.can_retry());
            }
            70 => assert_eq!(error.reason(), &Reason::TlsVersion),
            120 => assert!(matches!(error.reason(), Reason::Protocol { .. })),
            40 | 71 => assert_eq!(error.reason(), &Reason::NoCommonAlgorithm),
            _ => {
                assert!(matches!(error.reason(), Reason::PeerAlert { .. }), "{line}");
                assert_eq!(error.can_retry(), matches!(number, 20 | 80));
            }
        }
        assert!(std::error::Error::source(&error).is_some());
    }
}

/// Neither answers, and both report what is wrong rather than advise an update.
#[test]
fn two_ends_that_have_both_opened_the_connection() {
    let (on_robot, _) = ours();
    for piece in PIECES {
        let (mut left, mut right) = (End::connect(&on_robot), End::connect(&on_robot));
        carry(&mut left, &mut right, piece);
        for end in [left, right] {
            let error = end.error.unwrap();
            assert_eq!(error.reason(), &Reason::BothOpened);
            assert_eq!(
                error.to_string(),
                "both ends have opened the connection, so neither answers; have one of them accept it"
            );
            assert_eq!((error.blame(), error.can_retry()), (Blame::Refused, false));
        }
    }
}
