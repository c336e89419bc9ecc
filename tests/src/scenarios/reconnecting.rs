//! When an opener connects again, and when it gives up.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use countersign_certs::fixtures;
use countersign_core::{
    CloseMode, Config, Dialect, EndReason, Incompatible, Loss, Mode, ReceiveChannel, Reconnect,
    RetryLimit, SendChannel, SessionLoss, Verdict,
};
use countersign_driver::{Limits, LinkEvent, Setup};
use countersign_endpoint::Reason;
use socket2::{Domain, Socket, Type};

use super::{away, lost, one};
use crate::backend::Receipt;
use crate::pair::{IDENTITIES, loopback, payload, tls};
use crate::{Direction, Ends, Pair, Proxy};

scenarios! {
    SECURED_OR_PLAIN {
        to_a_peer_that_is_not_there_yet: "cuts by itself",
        no_longer_than_the_limit: "cuts by itself",
        no_longer_than_the_limit_after_a_loss: "cuts by itself",
        not_where_declarations_do_not_fit: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
    SECURED {
        not_where_the_peer_refuses: "cuts by itself",
        past_strangers: "cuts by itself",
        past_another_identity: "cuts by itself",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn limited(limit: RetryLimit) -> Config {
    send().reconnect(Reconnect::limited(limit))
}

/// Returns an address that refuses connections, for as long as the socket is kept.
fn refusing() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&loopback().into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, address)
}

/// Connecting waits for a peer that is not there yet.
fn to_a_peer_that_is_not_there_yet(pair: &Pair) {
    let proxy = Proxy::to_nowhere();
    let client = pair.lasting_client(send());
    thread::scope(|scope| {
        let opening = scope.spawn(|| pair.client.connect(proxy.address(), &client).unwrap());
        proxy.wait_for_attempts(5);
        let setup = pair.lasting_server(receive());
        let listener = pair.server.listen(loopback(), setup, Limits::default());
        proxy.redirect(listener.address());
        let server = listener.accept().unwrap();
        let client = opening.join().unwrap();
        let receipt = client.sender("data").unwrap().give("at last");
        assert_eq!(server.receiver("data").unwrap().take(), "at last");
        assert!(receipt.wait().is_handled());
        assert_eq!(client.report().resumes, 0);
    });
}

/// With a limit, connecting ends with the last attempt's error.
fn no_longer_than_the_limit(pair: &Pair) {
    let (_socket, address) = refusing();
    let limits = [
        RetryLimit::Never,
        RetryLimit::Attempts(3),
        RetryLimit::For(Duration::from_millis(30)),
    ];
    for limit in limits {
        let client = pair.lasting_client(limited(limit));
        let error = pair.client.connect(address, &client).err().unwrap();
        assert_eq!(*error.reason(), EndReason::Lost(Loss::Transport), "{error}");
        assert_eq!(error.io().unwrap().kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains("refused"), "{error}");
        assert!(error.can_retry());
    }
    for (limit, attempts) in [(RetryLimit::Never, 1), (RetryLimit::Attempts(3), 4)] {
        let proxy = Proxy::to_nowhere();
        let client = pair.lasting_client(limited(limit));
        let error = pair.client.connect(proxy.address(), &client).err().unwrap();
        assert!(error.can_retry(), "{error}");
        assert_eq!(proxy.attempts(), attempts);
    }
}

/// A link that was up ends with the last attempt's error too, and everything has its verdict.
fn no_longer_than_the_limit_after_a_loss(pair: &Pair) {
    let limits = [
        RetryLimit::Never,
        RetryLimit::Attempts(3),
        RetryLimit::For(Duration::from_millis(30)),
    ];
    for limit in limits {
        let receiving = one(ReceiveChannel::new("data").manual().window(1, 16 << 20));
        let (ends, proxy, _listener) = pair.lasting_link(limited(limit), receiving);
        let Ends { client, server } = ends;
        let sender = client.sender("data").unwrap();
        let taken = sender.give("taken");
        let _taken = server.manual_receiver("data").unwrap().take();
        // The window is full.
        let unsent = sender.give("unsent");
        proxy.hang_up_on_later();
        let before = proxy.attempts();
        proxy.cut();
        assert_eq!(taken.wait(), Verdict::Unknown);
        assert_eq!(unsent.wait(), Verdict::Withdrawn);
        let end = client.ended().end.unwrap();
        assert!(matches!(end.reason(), EndReason::Lost(_)), "{end}");
        assert!(end.can_retry(), "{end}");
        let attempts = proxy.attempts() - before;
        match limit {
            RetryLimit::Never => assert_eq!(attempts, 0),
            RetryLimit::Attempts(most) => assert_eq!(attempts, u64::from(most)),
            _ => assert!(attempts > 0),
        }
        if limit != RetryLimit::Never {
            let _ = lost(&*client);
        }
        assert_eq!(client.event(), None);
        let refused = sender.send("more".into()).err().unwrap();
        assert!(refused.link().is_some());
    }
}

/// A server that comes back with a declaration that does not fit is not tried again.
fn not_where_declarations_do_not_fit(pair: &Pair) {
    let (ends, proxy, _listener) = pair.lasting_link(send(), receive());
    let Ends { client, server } = ends;
    away(&proxy, [&*client, &*server]);
    let unsent = client.sender("data").unwrap().give("unsent");
    let other = pair.server_setup(send());
    let other = pair.server.listen(loopback(), other, Limits::default());
    proxy.redirect(other.address());
    proxy.resume();
    let conflict = EndReason::Incompatible(Incompatible::ModeConflict {
        channel: "data".to_owned(),
        both: Mode::Send,
    });
    let end = client.ended().end.unwrap();
    assert_eq!(*end.reason(), conflict, "{end}");
    assert!(!end.can_retry());
    assert_eq!(unsent.wait(), Verdict::Withdrawn);
    assert_eq!(client.event(), None);
    let refused = other.accept().err().expect("no link");
    assert_eq!(*refused.error().reason(), conflict);
}

/// A server that trusts another identity on reconnection is not tried again.
fn not_where_the_peer_refuses(pair: &Pair) {
    let [_, server_is] = &*IDENTITIES;
    let stranger = fixtures::good("stranger");
    let (ends, proxy, _listener) = pair.lasting_link(send(), receive());
    let Ends { client, server } = ends;
    away(&proxy, [&*client, &*server]);
    let unsent = client.sender("data").unwrap().give("unsent");
    let pins_other = Setup::new(receive(), tls(server_is, stranger.fingerprint())).unwrap();
    let other = pair
        .server
        .listen(loopback(), pins_other, Limits::default());
    proxy.redirect(other.address());
    proxy.resume();
    let end = client.ended().end.unwrap();
    assert_eq!(*end.reason(), EndReason::Lost(Loss::NotTrusted), "{end}");
    assert!(!end.can_retry());
    let reason = end.security().unwrap().reason();
    assert!(matches!(reason, Reason::RefusedByPeer { .. }), "{end}");
    assert_eq!(unsent.wait(), Verdict::Withdrawn);
    assert!(other.accept().is_err());
}

/// A stranger that is at the peer's address for a while ends no link: it goes on with the peer, and
/// nothing is lost.
fn past_strangers(pair: &Pair) {
    const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 42];
    let (ends, proxy, listener) = pair.lasting_link(send(), receive());
    let mut receiver = ends.server.receiver("data").unwrap();
    for says in [&b"HTTP/1.1 302 Found\r\n\r\n"[..], b"SSH-2.0-x\r\n", ALERT] {
        away(&proxy, [&*ends.client, &*ends.server]);
        let receipt = ends.client.sender("data").unwrap().give(says.to_vec());
        let stranger = TcpListener::bind(loopback()).unwrap();
        proxy.redirect(stranger.local_addr().unwrap());
        proxy.resume();
        for _ in 0..2 {
            let (mut visit, _) = stranger.accept().unwrap();
            visit.write_all(says).unwrap();
            // Until the opener has turned away.
            let _ = visit.read_to_end(&mut Vec::new());
        }
        proxy.redirect(listener.address());
        drop(stranger);
        for link in [&*ends.client, &*ends.server] {
            assert_eq!(link.event(), Some(LinkEvent::Resumed));
        }
        assert_eq!(receiver.take(), says);
        assert!(receipt.wait().is_handled());
    }
}

/// The same with a stranger that speaks countersign and has another identity. It learns that it is
/// not the expected peer.
fn past_another_identity(pair: &Pair) {
    let [client_is, _] = &*IDENTITIES;
    let (ends, proxy, listener) = pair.lasting_link(send(), receive());
    away(&proxy, [&*ends.client, &*ends.server]);
    let receipt = ends.client.sender("data").unwrap().give("kept");
    let is_other = tls(&fixtures::good("stranger"), client_is.fingerprint());
    let is_other = Setup::new(receive(), is_other).unwrap();
    let stranger = pair.server.listen(loopback(), is_other, Limits::default());
    proxy.redirect(stranger.address());
    proxy.resume();
    for _ in 0..2 {
        let error = stranger.accept().err().expect("the opener turns away");
        let reason = error.error().security().unwrap().reason();
        assert!(matches!(reason, Reason::RefusedByPeer { .. }), "{error}");
    }
    proxy.redirect(listener.address());
    for link in [&*ends.client, &*ends.server] {
        assert_eq!(link.event(), Some(LinkEvent::Resumed));
    }
    assert_eq!(ends.server.receiver("data").unwrap().take(), "kept");
    assert!(receipt.wait().is_handled());
}

/// In the `tlsstream` dialect every connection is a separate session: what was under way is
/// unknown, what was not is withdrawn, and the opener's handles go on.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let (ends, proxy, listener) = pair.lasting_link(
        send().dialect(Dialect::TlsStream),
        receive().dialect(Dialect::TlsStream),
    );
    let Ends { client, mut server } = ends;
    let sender = client.sender("data").unwrap();
    // Without a receiver the link would be closed.
    let mut receiver = server.receiver("data").unwrap();
    for round in 0..3 {
        let receipt = sender.give("whole");
        assert_eq!(receiver.take(), "whole");
        assert!(receipt.wait().is_handled());
        let begun = proxy.passed(Direction::Up) + 5000;
        proxy.allow(Direction::Up, begun);
        let receipts = [sender.give(payload(100_000, round)), sender.give("next")];
        proxy.wait_for(Direction::Up, begun);
        proxy.cut();
        let verdicts = receipts.map(Receipt::wait);
        assert_eq!(verdicts, [Verdict::Unknown, Verdict::Withdrawn]);
        let _ = lost(&*client);
        let event = client.event();
        assert_eq!(event, Some(LinkEvent::SessionLost(SessionLoss::Dialect)));
        assert!(!server.ended().is_orderly());
        proxy.resume();
        server = listener.accept().unwrap();
        receiver = server.receiver("data").unwrap();
        assert_eq!(client.event(), Some(LinkEvent::NewSession));
    }
    let receipt = sender.give("whole");
    assert_eq!(receiver.take(), "whole");
    assert!(receipt.wait().is_handled());
    let report = client.close(CloseMode::Drain);
    assert!(report.is_orderly(), "{report}");
    let counts = report.verdicts().to_string();
    assert_eq!(counts, "4 handled, 3 withdrawn, 3 unknown");
}
