//! Links that end with their session.

use std::time::Duration;

use countersign_core::{
    CloseMode, Config, Dialect, EndReason, Loss, ReceiveChannel, SendChannel, SessionLoss, Verdict,
    close, refuse,
};
use countersign_driver::{Limits, LinkError, LinkEvent, RecvError};

use super::{away, back, lost, one, timeouts};
use crate::backend::{Link, Listener};
use crate::pair::{loopback, payload};
use crate::{Direction, Ends, Pair, Proxy, Transport};

scenarios! {
    SECURED_OR_PLAIN {
        an_opener_whose_peer_was_restarted: "cuts by itself",
        an_opener_that_came_too_late: "cuts by itself",
        an_acceptor_whose_peer_was_restarted: "cuts by itself",
        a_session_that_resumes: "cuts by itself",
        in_the_tlsstream_dialect: "cuts by itself",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn end(link: &dyn Link) -> EndReason {
    link.ended().end.unwrap().reason().clone()
}

/// The link that an acceptor gets of an opener that ends: it is closed at once, with the reason.
fn assert_closed_at_once(link: &dyn Link) {
    let mut receiver = link.receiver("data").unwrap();
    let error = receiver.recv().unwrap_err();
    let Some(EndReason::Closed { theirs, .. }) = error.link().map(LinkError::reason) else {
        panic!("{error}");
    };
    assert_eq!(theirs.code, close::SESSION_OVER);
    assert!(theirs.again);
    assert!(matches!(end(link), EndReason::Closed { .. }));
}

fn restart(pair: &Pair, listener: Box<dyn Listener>, proxy: &Proxy) -> Box<dyn Listener> {
    let address = listener.address();
    listener.close();
    // What was connected to the old one, as far as the proxy goes.
    proxy.cut();
    let setup = pair.lasting_server(receive());
    let listener = pair.server.listen(address, setup, Limits::default());
    proxy.resume();
    listener
}

/// The program that listens is restarted: every receipt has its verdict, and the opener's link ends
/// and leaves none behind.
fn an_opener_whose_peer_was_restarted(pair: &Pair) {
    let (link, proxy, listener) = pair.lasting_link(send().single_session(), receive());
    let Ends { client, server } = link;
    let sender = client.sender("data").unwrap();
    let handled = sender.give("handled");
    assert_eq!(server.receiver("data").unwrap().take(), "handled");
    assert!(handled.wait().is_handled());
    away(&proxy, [&*client, &*server]);
    let queued = sender.give("queued");
    let listener = restart(pair, listener, &proxy);
    assert_eq!(queued.wait(), Verdict::Withdrawn);
    assert_closed_at_once(&*listener.accept().unwrap());
    let lost = SessionLoss::NotKnown;
    assert_eq!(client.event(), Some(LinkEvent::SessionLost(lost)));
    assert_eq!(client.event(), None, "no other session");
    let report = client.ended();
    assert_eq!(report.verdicts().to_string(), "1 handled, 1 withdrawn");
    let error = report.end.unwrap();
    assert_eq!(*error.reason(), EndReason::SessionLost(lost));
    assert!(error.can_retry() && !error.is_orderly());
    assert!(sender.send("more".into()).is_err());
}

/// As an opener that receives, and comes back when its session was given up.
fn an_opener_that_came_too_late(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.retain = Duration::from_millis(100));
    let (link, proxy, listener) =
        pair.lasting_link(receive().single_session(), send().timeouts(short));
    let Ends { client, server } = link;
    let mut receiver = client.receiver("data").unwrap();
    let receipt = server.sender("data").unwrap().give("one");
    assert_eq!(receiver.take(), "one");
    assert!(receipt.wait().is_handled());
    away(&proxy, [&*client, &*server]);
    assert_eq!(end(&*server), EndReason::Lost(Loss::StayedAway));
    proxy.resume();
    let error = receiver.recv().unwrap_err();
    let expected = EndReason::SessionLost(SessionLoss::TooOld);
    assert!(!error.is_border());
    assert_eq!(error.link().map(LinkError::reason), Some(&expected));
    assert!(
        matches!(receiver.try_recv(), Err(RecvError::Link(_))),
        "again and again"
    );
    let other = listener.accept().unwrap();
    let reason = end(&*other);
    assert!(
        matches!(reason, EndReason::Closed { by_us: false, .. }),
        "{reason}"
    );
}

/// The program that connects is restarted: the link that waits for it ends, and says why. Only a
/// peer that proves to be the same can bring that about.
fn an_acceptor_whose_peer_was_restarted(pair: &Pair) {
    let listener = {
        let setup = pair.lasting_server(receive().single_session());
        pair.server.listen(loopback(), setup, Limits::default())
    };
    let (old, proxy) = pair.lasting_join(&*listener, send());
    // While it has its connection, its peer may have another link.
    let (other, other_proxy) = pair.lasting_join(&*listener, send());
    away(&other_proxy, [&*other.client, &*other.server]);
    back(&other_proxy, [&*other.client, &*other.server]);
    let receipt = old.client.sender("data").unwrap().give("one");
    let mut receiver = old.server.receiver("data").unwrap();
    assert_eq!(receiver.take(), "one");
    assert!(receipt.wait().is_handled());
    drop(proxy);
    let _ = lost(&*old.server);
    if pair.transport == Transport::Plain {
        let (new, _proxy) = pair.lasting_join(&*listener, send());
        assert!(old.server.end_reason().is_none(), "anybody could say so");
        assert!(new.client.close(CloseMode::Drain).is_orderly());
        return;
    }
    let client = pair.lasting_client(send());
    let error = pair
        .client
        .connect(listener.address(), &client)
        .err()
        .unwrap();
    let EndReason::Refused(refusal) = error.reason() else {
        panic!("{error}");
    };
    assert_eq!(refusal.code, refuse::SESSION_OVER);
    assert!(refusal.text.contains("connect again"), "{refusal}");
    let turned_away = listener
        .accept()
        .err()
        .expect("no link")
        .error()
        .reason()
        .clone();
    assert!(
        matches!(turned_away, EndReason::TurnedAway(_)),
        "{turned_away}"
    );
    let expected = EndReason::SessionLost(SessionLoss::StartedAnew);
    assert_eq!(end(&*old.server), expected);
    let error = receiver.recv().unwrap_err();
    assert_eq!(error.link().map(LinkError::reason), Some(&expected));
    // The advice in the error helps.
    let (new, _proxy) = pair.lasting_join(&*listener, send());
    let receipt = new.client.sender("data").unwrap().give("new");
    assert_eq!(new.server.receiver("data").unwrap().take(), "new");
    assert!(receipt.wait().is_handled());
    assert!(other.server.end_reason().is_none());
}

/// Connections may be lost as often as they like.
fn a_session_that_resumes(pair: &Pair) {
    let (link, proxy, _listener) =
        pair.lasting_link(send().single_session(), receive().single_session());
    let Ends { client, server } = link;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.receiver("data").unwrap();
    for round in 0..3 {
        away(&proxy, [&*client, &*server]);
        let receipt = sender.give(format!("{round}"));
        back(&proxy, [&*client, &*server]);
        assert_eq!(receiver.take(), format!("{round}"));
        assert!(receipt.wait().is_handled());
    }
    assert!(client.close(CloseMode::Drain).is_orderly());
    assert!(receiver.recv().unwrap().is_none());
}

/// There the link ends with its first connection, and tries until there is one.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let config = |config: Config| config.dialect(Dialect::TlsStream).single_session();
    let (link, proxy, _listener) = pair.lasting_link(config(send()), config(receive()));
    let receipt = link.client.sender("data").unwrap().give("one");
    // Without a receiver the link would be closed.
    let mut receiver = link.server.receiver("data").unwrap();
    assert_eq!(receiver.take(), "one");
    assert!(receipt.wait().is_handled());
    // Between messages it would be an orderly end, without TLS.
    let begun = proxy.passed(Direction::Up) + 5000;
    proxy.allow(Direction::Up, begun);
    let receipt = link
        .client
        .sender("data")
        .unwrap()
        .give(payload(100_000, 0));
    proxy.wait_for(Direction::Up, begun);
    proxy.cut();
    assert_eq!(receipt.wait(), Verdict::Unknown);
    for end in [&link.client, &link.server].map(|link| end(&**link)) {
        assert!(matches!(end, EndReason::Lost(_)), "{end}");
    }
}
