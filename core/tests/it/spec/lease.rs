//! Leases.

use core::time::Duration;

use countersign_core::{Config, Event, Instant, ReceiveChannel, Role};

use crate::common::bytes::{Entry, message, pong, timed};
use crate::common::peer::{MAIN, Peer, against_lasting};

const NEVER: u64 = u64::MAX;
const HELD: Event = Event::LeaseHeld(MAIN);
const LAPSED: Event = Event::LeaseLapsed(MAIN);

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn leased() -> Config {
    Config::new().channel(ReceiveChannel::new("main").lease(millis(300)))
}

/// An acceptor with a lease, opposite a peer whose clock is its own.
fn against_holder(script: impl Fn(&mut Peer)) {
    against_lasting(Role::Acceptor, &leased(), |end| {
        end.hello(&[Entry::send("main")]);
        answer(end);
        script(end);
    });
}

fn answer(end: &mut Peer) {
    let now = end.now.as_micros();
    end.takes(&pong(now, now, now));
}

/// A message that is this many milliseconds old arrives and is taken.
fn takes(end: &mut Peer, number: u32, age: u64) {
    let accepted = end.now.as_micros() - age * 1000;
    end.takes(&timed(0, number, [accepted, NEVER], b"x"));
    assert!(end.take().is_some());
}

#[test]
fn the_newest_message_that_was_taken_holds_the_lease() {
    // [LEASE-1] [LEASE-3]
    against_holder(|end| {
        assert_eq!(end.link.lease_until(MAIN), None);
        takes(end, 1, 100);
        assert_eq!(end.events(), [HELD]);
        let until = end.link.lease_until(MAIN).expect("held");
        assert!(until <= end.now + millis(200) && until > end.now + millis(199));
        end.sleep(millis(150));
        takes(end, 2, 0);
        assert_eq!(end.events(), [], "it was held all the while");
        assert_eq!(
            end.link
                .lease_until(MAIN)
                .map(|at| at > end.now + millis(299)),
            Some(true)
        );
        while end.link.lease_until(MAIN).is_some() {
            end.sleep_to_deadline();
        }
        assert_eq!(end.events(), [LAPSED]);
        takes(end, 3, 0);
        assert_eq!(end.events(), [HELD]);
    });
}

#[test]
fn nothing_else_prolongs_it() {
    // [LEASE-2]
    against_holder(|end| {
        takes(end, 1, 0);
        end.events();
        let until = end.link.lease_until(MAIN);
        end.sleep(millis(100));
        // A message that waits, one that is too old, one without times, a connection.
        end.takes(&timed(0, 2, [end.now.as_micros() - 300_000, NEVER], b"old"));
        assert_eq!(end.link.lease_until(MAIN), until);
        end.take();
        end.takes(&message(0, 3, b"x"));
        end.take();
        assert_eq!(end.link.lease_until(MAIN), until);
        end.takes(&timed(0, 4, [end.now.as_micros(), NEVER], b"waits"));
        end.lose();
        end.returns();
        assert_eq!(end.link.lease_until(MAIN), until);
        end.sleep(millis(200));
        assert!(end.events().contains(&LAPSED));
        // It is young enough still, by the clock of the connection that it came on.
        assert!(end.take().is_none_or(|(number, _)| number == 4));
    });
}

#[test]
fn it_lapses_without_a_connection_and_with_the_link() {
    // [LEASE-3] [LEASE-4]
    against_holder(|end| {
        takes(end, 1, 0);
        end.events();
        end.lose();
        end.events();
        let until = end.link.lease_until(MAIN).expect("held");
        assert_eq!(end.link.poll_deadline(), Some(until));
        end.sleep_to_deadline();
        assert_eq!(end.events(), [LAPSED]);
        end.returns();
        answer(end);
        takes(end, 2, 0);
        end.takes(&timed(0, 3, [end.now.as_micros(), NEVER], b"waits"));
        end.events();
        end.link.revoke(end.now);
        assert_eq!(end.events(), [LAPSED, Event::Ended]);
        assert!(end.take().is_some(), "what had arrived");
        assert_eq!(end.link.lease_until(MAIN), None, "holds nothing any more");
        assert_eq!(end.events(), []);
    });
}

#[test]
fn changes_that_nobody_has_polled_come_in_their_order() {
    // [LEASE-3]
    against_holder(|end| {
        takes(end, 1, 0);
        end.sleep(millis(400));
        takes(end, 2, 0);
        let events = |end: &mut Peer| {
            let mut events = end.events();
            events.retain(|event| matches!(event, Event::LeaseHeld(_) | Event::LeaseLapsed(_)));
            events
        };
        assert_eq!(events(end), [HELD], "never the same twice");
        end.sleep(millis(400));
        takes(end, 3, 0);
        assert_eq!(events(end), [LAPSED, HELD]);
        end.sleep(millis(400));
        takes(end, 4, 0);
        end.sleep(millis(400));
        assert_eq!(events(end), [LAPSED]);
        takes(end, 5, 0);
        end.sleep(millis(400));
        assert_eq!(events(end), [HELD, LAPSED]);
    });
}

#[test]
fn a_lease_asks_for_times() {
    // [AGE-3]
    against_lasting(Role::Opener, &leased(), |end| {
        let hello = end.say();
        assert_eq!(hello[8 + 50 + 2], 0x01, "{hello:02x?}");
        assert_eq!(
            end.link.poll_deadline().map(|at| at > Instant::ZERO),
            Some(true)
        );
    });
}
