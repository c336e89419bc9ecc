//! The application decides which peers get a link.

use std::sync::{Arc, Mutex};

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    Bytes, Config, EndReason, Incompatible, ReceiveChannel, Reconnect, Refusal, SendChannel,
    Verdict, refuse,
};
use countersign_driver::{Admission, Limits, LinkError, LinkEvent, Setup};
use countersign_endpoint::Pins;

use super::one;
use crate::pair::{IDENTITIES, loopback, tls};
use crate::{Pair, Proxy};

scenarios! {
    SECURED {
        by_name: "cuts by itself",
        without_a_lock: "the setup is its own",
        channels_by_peer: "cuts by itself",
        channels_that_make_no_sense: "the setup is its own",
    }
}

const CLOSED: u16 = refuse::APPLICATION + 7;

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// By its name one peer gets a link and another is refused, with a text that reaches it, and with
/// the advice to retry or not. A peer that returns to its link is not asked about again.
fn by_name(pair: &Pair) {
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
    assert_eq!(receipt.wait(), Verdict::HANDLED);

    let expected = [("robot", robot), ("drone", &drone), ("shy", &shy)]
        .map(|(name, key)| (name.to_owned(), true, Some(key.fingerprint())));
    assert_eq!(*asked.lock().unwrap(), expected);
}

/// The handler may use the listener's links: nothing is locked meanwhile.
fn without_a_lock(pair: &Pair) {
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

/// Two peers get channels and directions of their own, and all others those of the listener's
/// declaration. They keep them when they return.
fn channels_by_peer(pair: &Pair) {
    let [robot, station] = IDENTITIES.each_ref();
    let (operator, sensor) = (fixtures::good("operator"), fixtures::good("sensor"));
    let list: String = [
        ("robot", robot),
        ("operator", &operator),
        ("sensor", &sensor),
    ]
    .map(|(name, key)| format!("{name} {}\n", key.fingerprint()))
    .concat();
    let security = tls(station, Pins::from_list(list.as_bytes()).unwrap());
    let setup = Setup::new(receive(), security).unwrap();
    let setup = setup.admit(|arrival| match arrival.name().unwrap() {
        "robot" => Admission::AdmitWith(vec![
            ReceiveChannel::new("video").into(),
            SendChannel::new("commands").into(),
        ]),
        "operator" => Admission::AdmitWith(vec![ReceiveChannel::new("commands").manual().into()]),
        _ => Admission::Admit,
    });
    let listener = pair.server.listen(loopback(), setup, Limits::default());
    let proxy = Proxy::to(listener.address());
    let join = |own: &GeneratedIdentity, config: Config| {
        let client = Setup::new(config, tls(own, station.fingerprint())).unwrap();
        let here = pair.client.connect(proxy.address(), &client)?;
        Ok::<_, LinkError>((here, listener.accept().unwrap()))
    };
    let commands = ReceiveChannel::new("commands");
    let video = SendChannel::new("video");
    let robots = join(robot, Config::new().channel(commands).channel(video)).unwrap();
    let operators = join(&operator, one(SendChannel::new("commands"))).unwrap();
    let sensors = join(&sensor, send()).unwrap();
    assert!(robots.1.receiver("data").is_err());

    let steers = operators.0.sender("commands").unwrap().give("left");
    let delivery = operators.1.manual_receiver("commands").unwrap().take();
    let passed_on = Bytes::copy_from_slice(&delivery);
    let passed_on = robots.1.sender("commands").unwrap().give(passed_on);
    assert_eq!(robots.0.receiver("commands").unwrap().take(), "left");
    assert_eq!(passed_on.wait(), Verdict::HANDLED);
    delivery.handled();
    assert_eq!(steers.wait(), Verdict::HANDLED);
    let reading = sensors.0.sender("data").unwrap().give("21 degrees");
    assert_eq!(sensors.1.receiver("data").unwrap().take(), "21 degrees");
    assert_eq!(reading.wait(), Verdict::HANDLED);

    proxy.cut();
    for link in [&robots.0, &robots.1] {
        assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
        assert_eq!(link.event(), Some(LinkEvent::Resumed));
    }
    let picture = robots.0.sender("video").unwrap().give("picture");
    assert_eq!(robots.1.receiver("video").unwrap().take(), "picture");
    assert_eq!(picture.wait(), Verdict::HANDLED);
}

/// Invalid channels, or channels that do not match the peer's, refuse the peer, and both ends learn
/// why.
fn channels_that_make_no_sense(pair: &Pair) {
    let [robot, station] = IDENTITIES.each_ref();
    let missing = |here| {
        let channel = "data".to_owned();
        EndReason::Incompatible(Incompatible::ChannelMissing { channel, here })
    };
    let wrong = Refusal::new(
        refuse::MISCONFIGURED,
        "channel 'data': another channel has the same name",
    );
    let twice = vec![
        ReceiveChannel::new("data").into(),
        ReceiveChannel::new("data").into(),
    ];
    let other = vec![ReceiveChannel::new("other").into()];
    for (channels, at_client, at_server) in [
        (
            twice,
            EndReason::Refused(wrong.clone()),
            EndReason::TurnedAway(wrong),
        ),
        (other, missing(false), missing(true)),
    ] {
        let setup = Setup::new(receive(), tls(station, robot.fingerprint())).unwrap();
        let setup = setup.admit(move |_| Admission::AdmitWith(channels.clone()));
        let client = Setup::new(send(), pair.client_security()).unwrap();
        let (refused, turned_away) = pair.refused(&client, setup);
        assert_eq!(*refused.reason(), at_client, "{refused}");
        assert_eq!(*turned_away.reason(), at_server, "{turned_away}");
    }
}
