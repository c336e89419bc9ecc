//! Which peers are let in, and what both ends report when one is not.

use std::slice;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{Config, Dialect, EndReason, Loss, ReceiveChannel, SendChannel, Verdict};
use countersign_driver::{LinkError, Setup};
use countersign_endpoint::{Blame, Fingerprint, Pin, Pins, Reason, Security, Trust, ValidityDates};

use super::one;
use crate::pair::{IDENTITIES, loopback, payload, tls};
use crate::{Ends, Pair};

scenarios! {
    SECURED {
        wrong_pin_at_the_client,
        wrong_pin_at_the_server,
        expired,
        not_yet_valid: "what may heal is tried for ever",
        dates_ignored,
        pin_rotation,
        renewed_certificate,
        other_identities,
        plain_server,
        peers_are_known,
        plain_client: "what may heal is tried for ever",
        refused_while_sending: "tlsstream has no sessions",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn setup(config: Config, own: &GeneratedIdentity, trust: impl Into<Trust>) -> Setup {
    Setup::new(config.single_connection(), tls(own, trust)).unwrap()
}

fn security(error: &LinkError) -> &Reason {
    let EndReason::Lost(loss) = *error.reason() else {
        panic!("{error}");
    };
    let security = error.security().expect("why it could not be secured");
    match (security.is_about_dates(), error.can_retry()) {
        (true, _) => assert_eq!(loss, Loss::OutOfDate, "{error}"),
        (false, true) => {
            let can_heal = [Loss::Security, Loss::PeerLeft, Loss::PeerLeftEarly];
            assert!(can_heal.contains(&loss), "{error}");
        }
        (false, false) => assert!(matches!(loss, Loss::NotTrusted | Loss::Unproven), "{error}"),
    }
    assert_eq!(security.to_string(), error.to_string());
    security.reason()
}

fn assert_says(error: &LinkError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "'{word}' is missing in: {text}");
    }
}

/// The peer refused the certificate of this fingerprint.
fn assert_refused_by_peer(error: &LinkError, own: Fingerprint) {
    match security(error) {
        Reason::RefusedByPeer { ours, .. } => assert_eq!(*ours, own),
        other => panic!("{other:?}: {error}"),
    }
    assert_says(
        error,
        &["the peer refused our certificate", &own.to_string()],
    );
    assert!(!error.can_retry());
    assert_eq!(error.security().unwrap().blame(), Blame::Refused);
}

/// We refused the peer because of its key.
fn assert_mismatch(error: &LinkError, theirs: Fingerprint, pinned: Fingerprint) {
    match security(error) {
        Reason::PinMismatch {
            presented,
            expected,
            pinned: 1,
        } => {
            assert_eq!(
                (*presented, &expected[..]),
                (theirs, slice::from_ref(&pinned))
            );
        }
        other => panic!("{other:?}: {error}"),
    }
    assert_says(
        error,
        &["we refused", &theirs.to_string(), &pinned.to_string()],
    );
    assert!(!error.can_retry());
}

/// Makes a link and sends a message over it; checks the fingerprints of the peers.
fn assert_works(pair: &Pair, client: &Setup, server: Setup) {
    let prints = [client, &server].map(|setup| setup.security().fingerprint());
    let listener = pair
        .server
        .listen(loopback(), server, countersign_driver::Limits::default());
    let address = listener.address();
    std::thread::scope(|scope| {
        let opening = scope.spawn(move || pair.client.connect(address, client).unwrap());
        let server = listener.accept().unwrap();
        let client = opening.join().unwrap();
        assert_eq!([server.peer(), client.peer()], prints);
        let receipt = client.sender("data").unwrap().give("welcome");
        assert_eq!(server.receiver("data").unwrap().take(), "welcome");
        assert!(receipt.wait().is_handled());
    });
}

/// The opener has pinned another identity.
fn wrong_pin_at_the_client(pair: &Pair) {
    let [client, server] = &*IDENTITIES;
    let other = fixtures::good("other").fingerprint();
    let (at_client, at_server) = pair.refused(
        &setup(send(), client, other),
        setup(receive(), server, client.fingerprint()),
    );
    assert_mismatch(&at_client, server.fingerprint(), other);
    assert_refused_by_peer(&at_server, server.fingerprint());
}

/// The acceptor has pinned another identity. The opener believes itself connected when it learns of
/// it.
fn wrong_pin_at_the_server(pair: &Pair) {
    let [client, server] = &*IDENTITIES;
    let other = fixtures::good("other").fingerprint();
    let (at_client, at_server) = pair.refused(
        &setup(send(), client, server.fingerprint()),
        setup(receive(), server, other),
    );
    assert_refused_by_peer(&at_client, client.fingerprint());
    assert_mismatch(&at_server, client.fingerprint(), other);
}

/// The opener's certificate has the dates of `flawed`.
fn dates_of_the_client(pair: &Pair, flawed: &GeneratedIdentity) -> LinkError {
    let [_, server] = &*IDENTITIES;
    let (at_client, at_server) = pair.refused(
        &setup(send(), flawed, server.fingerprint()),
        setup(receive(), server, flawed.fingerprint()),
    );
    assert_refused_by_peer(&at_client, flawed.fingerprint());
    assert_says(&at_client, &["validity dates"]);
    at_server
}

/// The acceptor's certificate has the dates of `flawed`.
fn dates_of_the_server(pair: &Pair, flawed: &GeneratedIdentity) -> LinkError {
    let [client, _] = &*IDENTITIES;
    let (at_client, at_server) = pair.refused(
        &setup(send(), client, flawed.fingerprint()),
        setup(receive(), flawed, client.fingerprint()),
    );
    assert_refused_by_peer(&at_server, flawed.fingerprint());
    at_client
}

/// A pinned certificate that has expired, at either end.
fn expired(pair: &Pair) {
    let flawed = fixtures::expired("old");
    for error in [
        dates_of_the_client(pair, &flawed),
        dates_of_the_server(pair, &flawed),
    ] {
        assert!(
            matches!(security(&error), Reason::PeerCertificateExpired { .. }),
            "{error}"
        );
        assert_says(&error, &["expired", "renew"]);
        assert!(!error.can_retry());
    }
}

/// A pinned certificate that is not valid yet, at either end.
fn not_yet_valid(pair: &Pair) {
    let flawed = fixtures::not_yet_valid("new");
    for error in [
        dates_of_the_client(pair, &flawed),
        dates_of_the_server(pair, &flawed),
    ] {
        assert!(
            matches!(security(&error), Reason::PeerCertificateNotYetValid { .. }),
            "{error}"
        );
        assert_says(&error, &["not valid before", "clock"]);
        assert!(error.can_retry());
    }
}

/// Dates don't count for an end that ignores them.
fn dates_ignored(pair: &Pair) {
    for flawed in [fixtures::expired("old"), fixtures::not_yet_valid("new")] {
        let pins = Pins::new([flawed.fingerprint().into()]).unwrap();
        let pins = pins.validity_dates(ValidityDates::Ignore);
        let client = setup(send(), &flawed, pins.clone());
        assert_works(pair, &client, setup(receive(), &flawed, pins));
    }
}

/// A set of two pins lets in both peers, and no others.
fn pin_rotation(pair: &Pair) {
    let [client, server] = &*IDENTITIES;
    let successor = fixtures::good("successor");
    let pins = || {
        let pins = [client, &successor].map(|identity| Pin::from(identity.fingerprint()));
        Pins::new(pins).unwrap()
    };
    for identity in [client, &successor] {
        let client = setup(send(), identity, server.fingerprint());
        assert_works(pair, &client, setup(receive(), server, pins()));
    }
    let stranger = fixtures::good("stranger");
    let (at_client, at_server) = pair.refused(
        &setup(send(), &stranger, server.fingerprint()),
        setup(receive(), server, pins()),
    );
    assert_refused_by_peer(&at_client, stranger.fingerprint());
    let prints = [&stranger, client, &successor].map(|one| one.fingerprint().to_string());
    assert_says(&at_server, &[&prints[0], &prints[1], &prints[2]]);
}

/// The pin of a key outlives a renewed certificate, the pin of a certificate does not.
fn renewed_certificate(pair: &Pair) {
    let [_, server] = &*IDENTITIES;
    let (old, new) = fixtures::renewed("client");
    let client = || setup(send(), &new, server.fingerprint());
    assert_works(pair, &client(), setup(receive(), server, new.fingerprint()));
    let exact =
        |identity: &GeneratedIdentity| Pin::certificate(identity.certificate_der()).unwrap();
    assert_works(pair, &client(), setup(receive(), server, exact(&new)));
    let refusing = setup(receive(), server, exact(&old));
    let (at_client, at_server) = pair.refused(&client(), refusing);
    assert_refused_by_peer(&at_client, new.fingerprint());
    assert_says(
        &at_server,
        &[
            "another certificate",
            "same key",
            &new.fingerprint().to_string(),
        ],
    );
}

/// Other kinds of keys and certificates that are as good.
fn other_identities(pair: &Pair) {
    let [_, server] = &*IDENTITIES;
    for identity in [
        fixtures::ed25519("ed"),
        fixtures::with_authority_flag("openssl"),
    ] {
        let client = setup(send(), &identity, server.fingerprint());
        assert_works(
            pair,
            &client,
            setup(receive(), server, identity.fingerprint()),
        );
    }
}

/// The opener is set to plain text, the acceptor is not. [TLS-4]
fn plain_client(pair: &Pair) {
    let client = Setup::new(send().single_connection(), Security::plaintext()).unwrap();
    let (at_client, at_server) = pair.refused(&client, pair.server_setup(receive()));
    assert!(
        matches!(security(&at_server), Reason::NotTls { .. }),
        "{at_server}"
    );
    assert_says(&at_server, &["does not speak TLS"]);
    assert_says(&at_server, &["countersign in plain text"]);
    // The acceptor has nothing to say that the opener would understand.
    assert_eq!(
        *at_client.reason(),
        EndReason::Lost(Loss::PeerLeftEarly),
        "{at_client}"
    );
}

/// The acceptor is set to plain text, the opener is not. [TLS-4]
fn plain_server(pair: &Pair) {
    let server = Setup::new(receive().single_connection(), Security::plaintext()).unwrap();
    let (at_client, at_server) = pair.refused(&pair.client_setup(send()), server);
    assert!(
        matches!(security(&at_client), Reason::NotTls { .. }),
        "{at_client}"
    );
    assert_says(
        &at_client,
        &["does not speak TLS", "countersign in plain text"],
    );
    assert!(
        matches!(at_server.reason(), EndReason::Peer(_)),
        "{at_server}"
    );
    assert_says(&at_server, &["TLS", "plain text"]);
}

/// Without a handshake of the link, as in the `tlsstream` dialect, the opener may already be in the
/// middle of a long message when it is refused. It learns why all the same.
fn refused_while_sending(pair: &Pair) {
    let [client, server] = &*IDENTITIES;
    let other = fixtures::good("other").fingerprint();
    let server = setup(receive().dialect(Dialect::TlsStream), server, other);
    let listener = pair
        .server
        .listen(loopback(), server, countersign_driver::Limits::default());
    let ends = pair.client.connect(
        listener.address(),
        &setup(
            send().dialect(Dialect::TlsStream),
            client,
            IDENTITIES[1].fingerprint(),
        ),
    );
    let error = match ends {
        Err(error) => error,
        Ok(link) => {
            if let Ok(receipt) = link
                .sender("data")
                .unwrap()
                .send(payload(8 << 20, 0).into())
            {
                let verdict = receipt.wait();
                assert!(
                    matches!(verdict, Verdict::Unknown | Verdict::Withdrawn),
                    "{verdict}"
                );
            }
            link.ended().end.unwrap()
        }
    };
    assert_refused_by_peer(&error, client.fingerprint());
    let refused = listener.accept().err().expect("the acceptor refuses");
    assert_mismatch(refused.error(), client.fingerprint(), other);
}

/// A link knows its peer's fingerprint.
fn peers_are_known(pair: &Pair) {
    let Ends { client, server } = pair.link(send(), receive());
    let [client_is, server_is] = &*IDENTITIES;
    assert_eq!(client.peer(), Some(server_is.fingerprint()));
    assert_eq!(server.peer(), Some(client_is.fingerprint()));
}
