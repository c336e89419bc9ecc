//! Identity and pins are replaced while links are up.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    Config, Dialect, EndReason, Loss, ReceiveChannel, Reconnect, SendChannel, Verdict, VerdictKind,
};
use countersign_driver::{Limits, LinkEvent, Setup};
use countersign_endpoint::{Identity, Pin, Pins, Reason, Security, Trust};

use super::{away, one};
use crate::backend::{Link, Listener, Receipt};
use crate::pair::{IDENTITIES, loopback, tls};
use crate::{Ends, Pair, Proxy};

scenarios! {
    SECURED {
        with_overlap_while_messages_flow: "cuts by itself",
        a_pin_is_removed: "cuts by itself",
        a_pin_of_a_peer_that_is_away: "cuts by itself",
        at_a_listener: "the setup is its own",
        a_list_of_peers: "the setup is its own",
        in_the_tlsstream_dialect: "tlsstream has no sessions",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

fn replace(security: &Security, own: &GeneratedIdentity, trust: impl Into<Trust>) {
    let own = Identity::from_der(own.certificate_der(), own.key_der()).unwrap();
    security.replace(own, trust).unwrap();
}

/// Pins of one peer that has these keys.
fn pins(keys: &[&GeneratedIdentity]) -> Pins {
    Pins::of_one_peer(keys.iter().map(|key| Pin::from(key.fingerprint()))).unwrap()
}

/// A lasting link through a proxy, and the security of both ends, the opener's first.
struct Linked {
    ends: Ends,
    securities: [Security; 2],
    proxy: Proxy,
    _listener: Box<dyn Listener>,
}

impl Linked {
    fn new(pair: &Pair, client: Config, server: Config) -> Self {
        let reconnect = Reconnect {
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(20),
            ..Reconnect::default()
        };
        let securities = [pair.client_security(), pair.server_security()];
        let [ours, theirs] = &securities;
        let client = Setup::new(client.reconnect(reconnect), ours.clone()).unwrap();
        let server = Setup::new(server, theirs.clone()).unwrap();
        let listener = pair.server.listen(loopback(), server, Limits::default());
        let proxy = Proxy::to(listener.address());
        let ends = pair.join_with(&*listener, proxy.address(), &client);
        Self {
            ends,
            securities,
            proxy,
            _listener: listener,
        }
    }

    fn both(&self) -> [&dyn Link; 2] {
        [&*self.ends.client, &*self.ends.server]
    }

    /// Cuts the connection, and waits until there is another.
    fn cut(&self) {
        self.proxy.cut();
        for link in self.both() {
            assert!(matches!(link.event(), Some(LinkEvent::Lost { .. })));
            assert_eq!(link.event(), Some(LinkEvent::Resumed));
        }
    }
}

/// Sends numbers, with a few under way at any time, until told to stop. Returns how many were
/// handled, which is all of them.
fn send_numbers(link: &dyn Link, stop: &AtomicBool) -> usize {
    let sender = link.sender("data").unwrap();
    let mut receipts: VecDeque<Box<dyn Receipt>> = VecDeque::new();
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        receipts.push_back(sender.give(sent.to_string()));
        sent += 1;
        if receipts.len() > 32 {
            let oldest = receipts.pop_front().unwrap();
            assert_eq!(oldest.wait(), Verdict::HANDLED);
        }
    }
    for receipt in receipts {
        assert_eq!(receipt.wait(), Verdict::HANDLED);
    }
    sender.give("end").wait();
    sent
}

/// Both ends change their keys, one after the other, with an overlap, while messages flow and
/// connections are lost: nothing is lost and nothing comes twice.
fn with_overlap_while_messages_flow(pair: &Pair) {
    let linked = Linked::new(pair, send(), receive());
    let stop = AtomicBool::new(false);
    let (sent, received) = thread::scope(|scope| {
        let sending = scope.spawn(|| send_numbers(&*linked.ends.client, &stop));
        let receiving = scope.spawn(|| {
            let mut receiver = linked.ends.server.receiver("data").unwrap();
            let mut numbers = Vec::new();
            loop {
                match receiver.take() {
                    end if end == "end" => return numbers,
                    number => numbers.push(String::from_utf8(number.to_vec()).unwrap()),
                }
            }
        });
        let mut keys = IDENTITIES.each_ref().map(|its| vec![its.clone()]);
        for round in 0..4 {
            let (changing, watching) = (round % 2, 1 - round % 2);
            let new = fixtures::good("new");
            let [ours, theirs] = [changing, watching].map(|end| keys[end].last().unwrap().clone());
            linked.cut();
            replace(&linked.securities[watching], &theirs, pins(&[&ours, &new]));
            linked.cut();
            replace(&linked.securities[changing], &new, pins(&[&theirs]));
            linked.cut();
            assert_eq!(linked.both()[watching].peer(), Some(new.fingerprint()));
            replace(&linked.securities[watching], &theirs, pins(&[&new]));
            linked.cut();
            keys[changing].push(new);
        }
        stop.store(true, Ordering::Relaxed);
        (sending.join().unwrap(), receiving.join().unwrap())
    });
    let expected: Vec<_> = (0..sent).map(|number| number.to_string()).collect();
    assert_eq!(received, expected);
    for link in linked.both() {
        let report = link.report();
        assert_eq!((report.resumes, report.end.is_none()), (16, true));
    }
}

/// An end that removes its peer's pin ends the link at once, and both ends say why.
fn a_pin_is_removed(pair: &Pair) {
    for by in [0, 1] {
        let linked = Linked::new(pair, send(), receive());
        let sender = linked.ends.client.sender("data").unwrap();
        let mut receiver = linked.ends.server.receiver("data").unwrap();
        assert_eq!(sender.give("before").sequence(), 1);
        assert_eq!(receiver.take(), "before");
        let pending = sender.give("not taken");
        let ours = &IDENTITIES[by];
        replace(
            &linked.securities[by],
            ours,
            fixtures::good("other").fingerprint(),
        );
        let ends = linked.both().map(|link| link.ended().end.unwrap());
        for (end, error) in ends.iter().enumerate() {
            let by_us = end == by;
            assert_eq!(*error.reason(), EndReason::Revoked { by_us }, "{error}");
            assert!(!error.can_retry() && !error.is_orderly(), "{error}");
        }
        let key = IDENTITIES[1 - by].fingerprint().to_string();
        let [local, remote] = [&ends[by], &ends[1 - by]].map(ToString::to_string);
        assert!(
            local.contains("its pin was removed") && local.contains(&key),
            "{local}"
        );
        assert!(remote.contains("it has removed our pin"), "{remote}");
        let verdict = pending.wait();
        assert!(
            matches!(verdict, Verdict::Unknown | Verdict::Withdrawn),
            "{verdict:?}"
        );
        // The first may have been handled without its sender knowing.
        let verdicts = linked.ends.client.report().verdicts();
        let kinds = [
            VerdictKind::Handled,
            VerdictKind::Unknown,
            VerdictKind::Withdrawn,
        ];
        assert_eq!(kinds.map(|kind| verdicts[kind]).iter().sum::<u64>(), 2);
        // The peer does not return, and makes no attempt.
        assert_eq!(linked.proxy.attempts(), 1);
    }
}

/// A peer that is away when its pin is removed is no longer waited for; one that has another key
/// is.
fn a_pin_of_a_peer_that_is_away(pair: &Pair) {
    for by in [0, 1] {
        let linked = Linked::new(pair, send(), receive());
        let [ours, theirs] = [&IDENTITIES[by], &IDENTITIES[1 - by]];
        let (new, other) = (fixtures::good("new"), fixtures::good("other"));
        away(&linked.proxy, linked.both());
        replace(&linked.securities[by], ours, pins(&[theirs, &new]));
        replace(&linked.securities[by], ours, pins(&[&new]));
        assert!(linked.both()[by].end_reason().is_none());
        replace(&linked.securities[by], ours, pins(&[&other]));
        let end = linked.both()[by].ended().end.unwrap();
        assert_eq!(*end.reason(), EndReason::Revoked { by_us: true }, "{end}");
        assert!(end.to_string().contains("away"), "{end}");
    }
}

/// A listener goes on with the new identity and the new pins: for new peers, and for no others.
fn at_a_listener(pair: &Pair) {
    let [old, station] = IDENTITIES.each_ref();
    let (new, successor) = (fixtures::good("new"), fixtures::good("successor"));
    let security = tls(station, old.fingerprint());
    let server = Setup::new(receive().single_connection(), security.clone()).unwrap();
    let listener = pair.server.listen(loopback(), server, Limits::default());
    let join = |own: &GeneratedIdentity, trust: &GeneratedIdentity| {
        let security = tls(own, trust.fingerprint());
        let client = Setup::new(send().single_connection(), security).unwrap();
        pair.client.connect(listener.address(), &client)
    };
    let first = join(old, station).unwrap();
    let at_first = listener.accept().unwrap();
    replace(&security, &successor, new.fingerprint());
    assert_eq!(
        *first.ended().end.unwrap().reason(),
        EndReason::Revoked { by_us: false }
    );
    assert!(at_first.ended().end.is_some());

    let second = join(&new, &successor).unwrap();
    let at_second = listener.accept().unwrap();
    assert_eq!(second.peer(), Some(successor.fingerprint()));
    assert_eq!(at_second.peer(), Some(new.fingerprint()));
    let receipt = second.sender("data").unwrap().give("welcome");
    assert_eq!(at_second.receiver("data").unwrap().take(), "welcome");
    assert!(receipt.wait().is_handled());

    let refused = join(old, &successor).err().expect("its pin is gone");
    let refused = refused.security().unwrap().reason().clone();
    assert!(matches!(refused, Reason::RefusedByPeer { .. }), "{refused}");
    assert!(listener.accept().is_err());
    let unknown = join(&new, station)
        .err()
        .expect("another identity is there");
    let unknown = unknown.security().unwrap().reason().clone();
    assert!(matches!(unknown, Reason::PinMismatch { .. }), "{unknown}");
}

/// A listener knows its peers by name, and applies another list at once: a peer that is no longer
/// in it goes, one with another name gets that name, a new one comes in, and the others notice
/// nothing.
fn a_list_of_peers(pair: &Pair) {
    let [robot, station] = IDENTITIES.each_ref();
    let (drone, late) = (fixtures::good("drone"), fixtures::good("late"));
    let list = |lines: &[(&str, &GeneratedIdentity)]| {
        let line =
            |(name, key): &(&str, &GeneratedIdentity)| format!("{name} {}\n", key.fingerprint());
        let list: String = lines.iter().map(line).collect();
        Pins::from_list(list.as_bytes()).unwrap()
    };
    let security = tls(station, list(&[("robot", robot), ("drone", &drone)]));
    let server = Setup::new(receive().single_connection(), security.clone()).unwrap();
    let listener = pair.server.listen(loopback(), server, Limits::default());
    let station_is = Pins::from(station.fingerprint()).named("station").unwrap();
    let join = |own: &GeneratedIdentity| {
        let security = tls(own, station_is.clone());
        let client = Setup::new(send().single_connection(), security).unwrap();
        pair.client.connect(listener.address(), &client)
    };
    let of_robot = join(robot).unwrap();
    let at_robot = listener.accept().unwrap();
    let of_drone = join(&drone).unwrap();
    let at_drone = listener.accept().unwrap();
    for (link, name) in [
        (&at_robot, "robot"),
        (&at_drone, "drone"),
        (&of_robot, "station"),
    ] {
        assert_eq!(link.peer_name().as_deref(), Some(name));
    }
    assert!(join(&late).is_err() && listener.accept().is_err());

    replace(
        &security,
        station,
        list(&[("robot-7", robot), ("late", &late)]),
    );
    let end = of_drone.ended().end.unwrap();
    assert_eq!(*end.reason(), EndReason::Revoked { by_us: false }, "{end}");
    assert!(at_drone.ended().end.is_some());
    // The log of its end has a name for it still.
    assert_eq!(at_drone.peer_name().as_deref(), Some("drone"));
    let _late = join(&late).unwrap();
    assert_eq!(
        listener.accept().unwrap().peer_name().as_deref(),
        Some("late")
    );
    let receipt = of_robot.sender("data").unwrap().give("still here");
    assert_eq!(at_robot.receiver("data").unwrap().take(), "still here");
    assert!(receipt.wait().is_handled());
    assert_eq!(at_robot.peer_name().as_deref(), Some("robot-7"));
    assert_eq!(at_robot.peer(), Some(robot.fingerprint()));
}

/// tlsstream has no frame for it: the connection breaks off, and the next is refused.
fn in_the_tlsstream_dialect(pair: &Pair) {
    let dialect = |config: Config| config.dialect(Dialect::TlsStream);
    let linked = Linked::new(pair, dialect(send()), dialect(receive()));
    let [robot, station] = IDENTITIES.each_ref();
    let new = fixtures::good("new");
    replace(&linked.securities[1], station, pins(&[robot, &new]));
    let sender = linked.ends.client.sender("data").unwrap();
    let mut receiver = linked.ends.server.receiver("data").unwrap();
    let receipt = sender.give("goes on");
    assert_eq!(receiver.take(), "goes on");
    assert!(receipt.wait().is_handled());
    replace(&linked.securities[1], station, pins(&[&new]));
    let local = linked.ends.server.ended().end.unwrap();
    assert_eq!(
        *local.reason(),
        EndReason::Revoked { by_us: true },
        "{local}"
    );
    // It is no orderly end, so the opener reconnects, and learns the reason.
    let remote = linked.ends.client.ended().end.unwrap();
    assert_eq!(
        *remote.reason(),
        EndReason::Lost(Loss::NotTrusted),
        "{remote}"
    );
    let reason = remote.security().unwrap().reason();
    assert!(matches!(reason, Reason::RefusedByPeer { .. }), "{remote}");
}
