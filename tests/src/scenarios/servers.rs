//! Listeners with as many links as they take.

use std::thread;
use std::time::Duration;

use countersign_core::{
    ChannelConfig, CloseMode, Config, Dialect, EndReason, Loss, Reconnect, refuse,
};
use countersign_driver::{Limits, LinkEvent, Setup};

use super::{away, back, one, patience};
use crate::backend::Listener;
use crate::pair::loopback;
use crate::{Ends, Pair};

const PLACES: usize = 3;

fn send() -> Config {
    one(ChannelConfig::send("data"))
}

fn receive() -> Config {
    one(ChannelConfig::receive("data"))
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
    EndReason::Busy { text }
}

/// The listener reports a peer that it had no room for.
fn assert_full(listener: &dyn Listener) {
    let error = listener.accept().err().expect("there is no room");
    assert_eq!(error.error().reason(), &no_room());
    assert!(error.to_string().contains(&PLACES.to_string()), "{error}");
}

/// An opener that does not try again is told.
fn assert_refused(pair: &Pair, listener: &dyn Listener) {
    let config = send().reconnect(Reconnect::never());
    let setup = Setup::new(config, pair.client_security()).unwrap();
    let error = pair.client.connect(listener.address(), &setup);
    let error = error.err().expect("it is one too many");
    let EndReason::Refused { code, text } = error.reason() else {
        panic!("{error}");
    };
    assert_eq!(*code, refuse::BUSY);
    assert!(text.contains(&PLACES.to_string()), "{text}");
    assert!(error.can_retry());
    assert_full(listener);
}

/// All places of a listener are taken by links that work, and no more.
pub fn as_many_links_as_there_may_be(pair: &Pair) {
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

/// Of many that come at once, exactly as many get in as there are places.
pub fn no_more_links_than_there_may_be(pair: &Pair) {
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

/// One more waits outside, and gets in when a link ends, with all that it has to send.
pub fn one_more_gets_in_when_one_ends(pair: &Pair) {
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

/// Peers come back to their links although there is no place for new ones, not even while they are
/// away.
pub fn returning_peers_need_no_place(pair: &Pair) {
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
pub fn whose_session_is_gone_needs_a_place(pair: &Pair) {
    let config = receive().patience(patience(|patience| {
        patience.retain = Duration::from_millis(1);
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

/// The tlsstream dialect has no words for a refusal: the connection just ends, and what was sent
/// on it is not confirmed.
pub fn in_the_tlsstream_dialect(pair: &Pair) {
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
