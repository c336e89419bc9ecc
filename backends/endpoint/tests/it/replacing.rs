//! Replacing identity and pins without a link: connections by themselves, clones, watches.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Wake, Waker};

use crate::common::{self, End as Raw, carry, identity, shake};
use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_endpoint::{Reason, Security, SetupError, Trust};

fn tls(own: &GeneratedIdentity, trust: impl Into<Trust>) -> Security {
    Security::tls(identity(own), trust).build().unwrap()
}

fn robot_and_station() -> [GeneratedIdentity; 2] {
    ["robot", "station"].map(fixtures::good)
}

#[test]
fn a_connection_by_itself_is_judged_too() {
    let [robot, station] = robot_and_station();
    let other = fixtures::good("other");
    let securities = [
        common::security(&robot, station.fingerprint()),
        common::security(&station, robot.fingerprint()),
    ];
    let (mut left, mut right) = shake(&securities[0], &securities[1], usize::MAX);
    for connection in [&mut left.connection, &mut right.connection] {
        connection.recheck().unwrap();
    }
    securities[1]
        .replace(identity(&station), other.fingerprint())
        .unwrap();
    left.connection.recheck().unwrap();
    let error = right.connection.recheck().unwrap_err();
    let presented = Some(robot.fingerprint());
    assert_eq!(*error.reason(), Reason::PinRemoved { presented });
    assert!(!error.can_retry() && !right.connection.may_write());
    left.send(b"unheard");
    carry(&mut left, &mut right, usize::MAX);
    assert!(right.data.is_empty());
    // TLS has no alert for it at this stage, and a close_notify would be taken for an orderly end.
    assert_eq!(right.connection.pending_len(), 0);
    let mut plain = countersign_endpoint::Connection::accept(&Security::plaintext()).unwrap();
    plain.recheck().unwrap();
    // A new connection is refused explicitly.
    let mut raw = [Raw::connect(&securities[0]), Raw::accept(&securities[1])];
    let [left, right] = &mut raw;
    carry(left, right, usize::MAX);
    assert!(
        right.message().contains("we refused"),
        "{}",
        right.message()
    );
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn clones_follow_and_watches_tell_once() {
    let [robot, station] = robot_and_station();
    let security = tls(&robot, station.fingerprint());
    let bare = security.without_alpn();
    assert!(bare.protocols().is_empty() && !security.protocols().is_empty());
    let mut watches = [security.watch(), bare.watch(), security.clone().watch()];
    let counts = [(); 3].map(|()| Arc::<Count>::default());
    let mut ready = || {
        let polled = watches.iter_mut().zip(&counts).map(|(watch, count)| {
            let waker = Waker::from(count.clone());
            watch
                .poll_changed(&mut Context::from_waker(&waker))
                .is_ready()
        });
        polled.collect::<Vec<_>>()
    };
    let woken = || {
        counts
            .each_ref()
            .map(|count| count.0.load(Ordering::Relaxed))
    };
    assert_eq!(ready(), [false; 3]);
    for round in 1..=2 {
        for security in [&security, &bare] {
            security
                .replace(identity(&station), robot.fingerprint())
                .unwrap();
        }
        assert_eq!(woken(), [2 * round; 3]);
        assert_eq!(ready(), [true; 3]);
        assert_eq!(ready(), [false; 3]);
    }
    for security in [&security, &bare] {
        assert_eq!(security.fingerprint(), Some(station.fingerprint()));
    }
    // Dropped watches are not woken.
    drop(watches);
    security
        .replace(identity(&robot), station.fingerprint())
        .unwrap();
    assert_eq!(woken(), [4; 3]);
    assert!(security.protocols().len() == 1 && bare.protocols().is_empty());

    let plain = Security::plaintext();
    let refused = plain.replace(identity(&robot), station.fingerprint());
    assert!(matches!(refused, Err(SetupError::Plaintext)));
    let mut watch = plain.watch();
    let mut context = Context::from_waker(Waker::noop());
    assert!(watch.poll_changed(&mut context).is_pending());
}
