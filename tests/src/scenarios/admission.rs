//! The application has a word about who gets a link.

use std::sync::{Arc, Mutex};

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{ChannelConfig, Config, EndReason, Reconnect, Refusal, Verdict, refuse};
use countersign_driver::{Admission, Limits, LinkEvent, Setup};
use countersign_endpoint::Pins;

use super::one;
use crate::pair::{IDENTITIES, loopback, tls};
use crate::{Pair, Proxy};

const CLOSED: u16 = refuse::APPLICATION + 7;

fn send() -> Config {
    one(ChannelConfig::send("data"))
}

fn receive() -> Config {
    one(ChannelConfig::receive("data"))
}

/// By its name one peer gets a link and another is turned away, with words that reach it, and with the
/// advice to come back or not. Who returns to the link that it has is not asked about again.
pub fn by_name(pair: &Pair) {
    let [robot, station] = IDENTITIES.each_ref();
    let (drone, shy) = (fixtures::good("drone"), fixtures::good("shy"));
    let list: String = [("robot", robot), ("drone", &drone), ("shy", &shy)]
        .map(|(name, key)| format!("{name} {}\n", key.fingerprint()))
        .concat();
    let security = tls(station, Pins::from_list(list.as_bytes()).unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let refusal = |again| {
        let refusal = Refusal::new(CLOSED, "closed for the night");
        if again { refusal.again() } else { refusal }
    };
    let setup = Setup::new(receive(), security).unwrap().admit({
        let asked = asked.clone();
        move |arrival| {
            let name = arrival.name().unwrap().to_owned();
            let from = arrival
                .address()
                .is_some_and(|address| address.ip().is_loopback());
            asked
                .lock()
                .unwrap()
                .push((name.clone(), from, arrival.fingerprint()));
            match &*name {
                "robot" => Admission::Admit,
                name => refusal(name == "shy").into(),
            }
        }
    });
    let listener = pair.server.listen(loopback(), setup, Limits::default());
    let proxy = Proxy::to(listener.address());
    let join = |own: &GeneratedIdentity, reconnect: Reconnect| {
        let security = tls(own, station.fingerprint());
        let client = Setup::new(send().reconnect(reconnect), security).unwrap();
        pair.client.connect(proxy.address(), &client)
    };
    let robots = join(robot, Reconnect::default()).unwrap();
    let at_robot = listener.accept().unwrap();
    assert_eq!(at_robot.peer_name().as_deref(), Some("robot"));

    for (own, again) in [(&drone, false), (&shy, true)] {
        let refused = join(own, Reconnect::never())
            .err()
            .expect("it is turned away");
        assert_eq!(
            *refused.reason(),
            EndReason::Refused(refusal(again)),
            "{refused}"
        );
        assert_eq!(refused.can_retry(), again);
        let told = listener.accept().err().expect("it gets no link");
        let told = told.error().reason().clone();
        assert_eq!(told, EndReason::TurnedAway(refusal(again)));
    }

    proxy.cut();
    for link in [&robots, &at_robot] {
        assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
        assert_eq!(link.event(), Some(LinkEvent::Resumed));
    }
    let receipt = robots.sender("data").unwrap().give("still here");
    assert_eq!(at_robot.receiver("data").unwrap().take(), "still here");
    assert_eq!(receipt.wait(), Verdict::Handled);

    let expected = [("robot", robot), ("drone", &drone), ("shy", &shy)]
        .map(|(name, key)| (name.to_owned(), true, Some(key.fingerprint())));
    assert_eq!(*asked.lock().unwrap(), expected);
}

/// The handler may use the listener's links: nothing is locked meanwhile.
pub fn without_a_lock(pair: &Pair) {
    let [robot, station] = IDENTITIES.each_ref();
    let first = Arc::new(Mutex::new(None::<Box<dyn crate::backend::Link>>));
    let setup = Setup::new(
        receive().single_connection(),
        tls(station, robot.fingerprint()),
    );
    let setup = setup.unwrap().admit({
        let first = first.clone();
        move |_| {
            if let Some(link) = &*first.lock().unwrap() {
                assert!(link.report().end.is_none());
            }
            Admission::Admit
        }
    });
    let listener = pair.server.listen(loopback(), setup, Limits::default());
    let client = Setup::new(send().single_connection(), pair.client_security()).unwrap();
    let _one = pair.client.connect(listener.address(), &client).unwrap();
    *first.lock().unwrap() = Some(listener.accept().unwrap());
    let _two = pair.client.connect(listener.address(), &client).unwrap();
    assert!(listener.accept().is_ok());
    drop(first.lock().unwrap().take());
}
