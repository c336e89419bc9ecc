//! Listeners with as many links as they take.

use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use countersign_core::{
    CloseMode, Config, Dialect, EndReason, Loss, ReceiveChannel, Reconnect, Refusal, SendChannel,
    Verdict, refuse,
};
use countersign_driver::{Drained, Limits, LinkEvent, Setup};

use super::{away, back, one, timeouts};
use crate::backend::Listener;
use crate::pair::loopback;
use crate::{Ends, Pair};

scenarios! {
    SECURED_OR_PLAIN {
        as_many_links_as_there_may_be: "links beyond the limit that come back",
        no_more_links_than_there_may_be: "links beyond the limit that come back",
        one_more_gets_in_when_one_ends: "links beyond the limit that come back",
        one_more_gets_in_when_one_is_accepted: "links beyond the limit that come back",
        so_many_from_one_address: "counts connections",
        links_that_are_drained: "cuts by itself",
        links_that_are_not_drained_in_time: "cuts by itself",
        returning_peers_need_no_place: "cuts by itself",
        whose_session_is_gone_needs_a_place: "cuts by itself",
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
}

const PLACES: usize = 3;

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// A listener for a few links that outlive their connections.
fn listen(pair: &Pair, config: Config) -> Box<dyn Listener> {
    let limits = Limits {
        links: PLACES,
        ..Limits::default()
    };
    let setup = pair.lasting_server(config);
    pair.server.listen(loopback(), setup, limits)
}

fn assert_passes(ends: &Ends, message: &str) {
    let receipt = ends.client.sender("data").unwrap().give(message.to_owned());
    assert_eq!(ends.server.receiver("data").unwrap().take(), message);
    assert!(receipt.wait().is_handled());
}

fn no_room() -> EndReason {
    let text = format!("the listener has all the links that it takes, {PLACES}");
    EndReason::TurnedAway(Refusal::busy(text))
}

/// The listener reports a peer that it had no room for.
fn assert_full(listener: &dyn Listener) {
    let error = listener.accept().err().expect("there is no room");
    assert_eq!(error.error().reason(), &no_room());
    assert!(error.to_string().contains(&PLACES.to_string()), "{error}");
}

/// An opener that does not try again learns that it is refused.
fn assert_refused(pair: &Pair, listener: &dyn Listener) {
    let config = send().reconnect(Reconnect::never());
    let setup = Setup::new(config, pair.client_security()).unwrap();
    let error = pair.client.connect(listener.address(), &setup);
    let error = error.err().expect("it is one too many");
    let EndReason::Refused(Refusal { code, text, again }) = error.reason() else {
        panic!("{error}");
    };
    assert_eq!((*code, *again), (refuse::BUSY, true));
    assert!(text.contains(&PLACES.to_string()), "{text}");
    assert!(error.can_retry());
    assert_full(listener);
}

/// All places of a listener are taken by links that work, and no more.
fn as_many_links_as_there_may_be(pair: &Pair) {
    let listener = listen(pair, receive());
    let links: Vec<_> = (0..PLACES)
        .map(|_| pair.join(&*listener, listener.address(), send()))
        .collect();
    for _ in 0..2 {
        assert_refused(pair, &*listener);
    }
    for link in &links {
        assert_passes(link, "in");
    }
    // Each that ends makes room for one.
    let mut since = Vec::new();
    for Ends { client, server } in links {
        assert!(client.close(CloseMode::Drain).is_orderly());
        assert!(server.ended().is_orderly());
        let next = pair.join(&*listener, listener.address(), send());
        assert_passes(&next, "next");
        assert_refused(pair, &*listener);
        since.push(next);
    }
}

/// If many connect at once, exactly as many get in as there are places.
fn no_more_links_than_there_may_be(pair: &Pair) {
    const PEERS: usize = 4 * PLACES;
    let listener = listen(pair, receive());
    let config = send().reconnect(Reconnect::never());
    let setup = Setup::new(config, pair.client_security()).unwrap();
    thread::scope(|scope| {
        let openers: Vec<_> = (0..PEERS)
            .map(|_| scope.spawn(|| pair.client.connect(listener.address(), &setup).ok()))
            .collect();
        let accepted: Vec<_> = (0..PEERS).map(|_| listener.accept()).collect();
        let opened: Vec<_> = openers
            .into_iter()
            .filter_map(|opener| opener.join().unwrap())
            .collect();
        assert_eq!(opened.len(), PLACES);
        let refusals = accepted.iter().filter_map(|result| result.as_ref().err());
        let refusals: Vec<_> = refusals.map(|error| error.error().reason()).collect();
        assert_eq!(refusals, vec![&no_room(); PEERS - PLACES]);
    });
}

/// One more peer has to wait, and gets in when a link ends, with all that it has to send.
fn one_more_gets_in_when_one_ends(pair: &Pair) {
    let listener = listen(pair, receive());
    let mut links: Vec<_> = (0..PLACES)
        .map(|_| pair.join(&*listener, listener.address(), send()))
        .collect();
    let setup = pair.lasting_client(send());
    thread::scope(|scope| {
        let opening = scope.spawn(|| pair.client.connect(listener.address(), &setup).unwrap());
        for _ in 0..3 {
            assert_full(&*listener);
        }
        let leaving = links.pop().unwrap();
        assert!(leaving.server.close(CloseMode::Drain).is_orderly());
        let server = loop {
            match listener.accept() {
                Ok(link) => break link,
                Err(error) => assert_eq!(error.error().reason(), &no_room()),
            }
        };
        let client = opening.join().unwrap();
        assert_passes(&Ends { client, server }, "at last");
    });
    for link in &links {
        assert_passes(link, "undisturbed");
    }
}

/// One more than may wait to be accepted is sent away, and gets in when the application has taken
/// one.
fn one_more_gets_in_when_one_is_accepted(pair: &Pair) {
    let limits = Limits {
        backlog: PLACES,
        ..Limits::default()
    };
    let server = pair.lasting_server(receive());
    let listener = pair.server.listen(loopback(), server, limits);
    let connect = || pair.connect(listener.address(), send()).unwrap();
    let mut clients: Vec<_> = (0..PLACES).map(|_| connect()).collect();
    let never = send().reconnect(Reconnect::never());
    let never = Setup::new(never, pair.client_security()).unwrap();
    let refused = pair.client.connect(listener.address(), &never).err();
    let refused = refused.expect("it is one too many").to_string();
    assert!(refused.contains("wait to be accepted"), "{refused}");
    let lasting = pair.lasting_client(send());
    let servers: Vec<_> = thread::scope(|scope| {
        let opening = scope.spawn(|| pair.client.connect(listener.address(), &lasting).unwrap());
        // The refused ones are reported as well.
        let accepted = std::iter::repeat_with(|| listener.accept()).filter_map(Result::ok);
        let servers = accepted.take(PLACES + 1).collect();
        clients.push(opening.join().unwrap());
        servers
    });
    // Which of them is whose is not known.
    for (at, client) in clients.iter().enumerate() {
        let sender = client.sender("data").unwrap();
        drop(sender.give(format!("from {at}")));
    }
    let mut came: Vec<_> = servers
        .iter()
        .map(|server| server.receiver("data").unwrap().take())
        .collect();
    came.sort();
    assert_eq!(came, ["from 0", "from 1", "from 2", "from 3"]);
}

/// The number of connections of one address is limited; those of others do not count.
fn so_many_from_one_address(pair: &Pair) {
    let limits = Limits {
        per_address: PLACES,
        ..Limits::default()
    };
    let setup = pair.server_setup(receive());
    let listener = pair.server.listen(loopback(), setup, limits);
    let connect = || pair.join(&*listener, listener.address(), send());
    let mut links: Vec<_> = (0..PLACES).map(|_| connect()).collect();
    assert!(pair.connect(listener.address(), send()).is_err());
    let error = listener.accept().err().expect("it is one too many");
    assert!(error.peer().is_some());
    let why = error.to_string();
    let limit = format!("{PLACES} connections from this address");
    assert!(why.contains(&limit), "{why}");
    let Ends { client, server } = links.remove(0);
    assert!(client.close(CloseMode::Drain).is_orderly());
    assert!(server.ended().is_orderly());
    drop((client, server));
    // The connection is gone a little later than the link.
    let next = loop {
        if let Ok(client) = pair.connect(listener.address(), send()) {
            let server = listener.accept().unwrap();
            break Ends { client, server };
        }
        assert!(listener.accept().is_err());
    };
    assert_passes(&next, "next");
    for link in &links {
        assert_passes(link, "undisturbed");
    }
}

/// Draining lets links send what they have to send, even if their peers are away just now, takes no
/// new ones, and ends with the socket.
fn links_that_are_drained(pair: &Pair) {
    let listener = listen(pair, receive());
    let (there, _proxy) = pair.lasting_join(&*listener, send());
    let (leaving, proxy) = pair.lasting_join(&*listener, send());
    away(&proxy, [&*leaving.client, &*leaving.server]);
    let receipts = [&there, &leaving].map(|link| {
        let sender = link.client.sender("data").unwrap();
        sender.give("the last")
    });
    let mut receivers = [&there, &leaving].map(|link| link.server.receiver("data").unwrap());
    let drained = thread::scope(|scope| {
        let draining = scope.spawn(|| listener.drain(Duration::from_secs(60)));
        // From here on the listener is draining.
        assert_eq!(there.client.event(), Some(LinkEvent::PeerClosing));
        let config = send().reconnect(Reconnect::never());
        let setup = Setup::new(config, pair.client_security()).unwrap();
        let refused = pair.client.connect(listener.address(), &setup).err();
        assert!(refused.expect("no new ones").can_retry());
        proxy.resume();
        for receiver in &mut receivers {
            while receiver.recv().unwrap().is_some() {}
        }
        draining.join().unwrap()
    });
    let all = Drained {
        orderly: 2,
        cut_short: 0,
    };
    assert_eq!(drained, all);
    for (link, receipt) in [there, leaving].iter().zip(receipts) {
        assert!(link.client.ended().is_orderly());
        assert!(link.server.ended().is_orderly());
        let verdict = receipt.wait();
        // What had not begun when the peer closed may go elsewhere.
        assert!(
            matches!(verdict, Verdict::Handled(_) | Verdict::Withdrawn),
            "{verdict}"
        );
    }
    assert!(listener.accept().err().unwrap().is_closed());
    assert!(TcpStream::connect(listener.address()).is_err());
}

/// What is not closed in time is abandoned.
fn links_that_are_not_drained_in_time(pair: &Pair) {
    let listener = listen(pair, receive());
    let in_time = pair.lasting_join(&*listener, send());
    let late = pair.lasting_join(&*listener, send());
    let receipt = late.0.client.sender("data").unwrap().give("not taken");
    // Its receiver has been claimed, and takes nothing.
    let mut receiver = late.0.server.receiver("data").unwrap();
    // A message that has arrived is not withdrawn when the link closes.
    while late.0.server.status().link.channels[0].waiting == 0 {
        thread::yield_now();
    }
    // The shorter of two limits counts, whichever comes first.
    let drained = thread::scope(|scope| {
        scope.spawn(|| listener.drain(Duration::from_secs(3600)));
        assert_eq!(late.0.client.event(), Some(LinkEvent::PeerClosing));
        listener.drain(Duration::from_millis(50))
    });
    assert_eq!(drained.orderly + drained.cut_short, 2);
    assert!(drained.cut_short >= 1, "{drained:?}");
    let end = late.0.server.ended().end.unwrap();
    assert_eq!(*end.reason(), EndReason::Lost(Loss::Abandoned));
    // What has arrived can still be taken.
    assert_eq!(receiver.take(), "not taken");
    assert!(receiver.recv().is_err());
    late.0.client.start_close(CloseMode::Withdraw);
    drop((in_time, late, listener));
    drop(receipt);
}

/// Peers come back to their links although there is no place for new ones, not even while they are
/// away.
fn returning_peers_need_no_place(pair: &Pair) {
    let listener = listen(pair, receive());
    let links: Vec<_> = (0..PLACES)
        .map(|_| pair.lasting_join(&*listener, send()))
        .collect();
    for (link, proxy) in &links {
        away(proxy, [&*link.client, &*link.server]);
    }
    assert_refused(pair, &*listener);
    for (at, (link, proxy)) in links.iter().enumerate() {
        back(proxy, [&*link.client, &*link.server]);
        assert_passes(link, &format!("back {at}"));
    }
    assert_refused(pair, &*listener);
}

/// A peer whose session is gone needs a place like a new one, and keeps its messages until it has
/// got one.
fn whose_session_is_gone_needs_a_place(pair: &Pair) {
    let config = receive().timeouts(timeouts(|timeouts| {
        timeouts.retain = Duration::from_millis(1);
    }));
    let listener = listen(pair, config);
    let (gone, proxy) = pair.lasting_join(&*listener, send());
    let links: Vec<_> = (1..PLACES)
        .map(|_| pair.join(&*listener, listener.address(), send()))
        .collect();
    away(&proxy, [&*gone.client, &*gone.server]);
    let reason = gone.server.ended().end.unwrap().reason().clone();
    assert_eq!(reason, EndReason::Lost(Loss::StayedAway));
    let kept = gone.client.sender("data").unwrap().give("kept");
    let taken = pair.join(&*listener, listener.address(), send());
    proxy.resume();
    for _ in 0..3 {
        assert_full(&*listener);
    }
    assert_eq!(kept.verdict(), None);
    assert_passes(&taken, "undisturbed");
    assert!(taken.client.close(CloseMode::Drain).is_orderly());
    assert!(taken.server.ended().is_orderly());
    let server = loop {
        match listener.accept() {
            Ok(link) => break link,
            Err(error) => assert_eq!(error.error().reason(), &no_room()),
        }
    };
    let Some(LinkEvent::SessionLost(_)) = gone.client.event() else {
        panic!("its session was gone");
    };
    let client = gone.client;
    assert_eq!(client.event(), Some(LinkEvent::NewSession));
    assert!(!kept.wait().is_handled());
    assert_passes(&Ends { client, server }, "anew");
    drop(links);
}

/// The tlsstream dialect has no frame for a refusal: the connection just ends, and what was sent on
/// it is not confirmed.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let stream = |config: Config| config.dialect(Dialect::TlsStream);
    let listener = listen(pair, stream(receive()));
    let connect = || pair.join(&*listener, listener.address(), stream(send()));
    let mut links: Vec<_> = (0..PLACES).map(|_| connect()).collect();
    if let Ok(link) = pair.connect(listener.address(), stream(send())) {
        if let Ok(receipt) = link.sender("data").unwrap().send("outside".into()) {
            assert!(!receipt.wait().is_handled());
        }
        let _ = link.ended();
    }
    assert_full(&*listener);
    for link in &links {
        assert_passes(link, "in");
    }
    let Ends { client, server } = links.remove(0);
    assert!(client.close(CloseMode::Drain).is_orderly());
    assert!(server.ended().is_orderly());
    assert_passes(&connect(), "next");
}
