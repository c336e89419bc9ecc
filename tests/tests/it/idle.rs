//! What a link costs when nothing happens on it, and how often it wakes when something does.
//! Nothing here waits: the drivers are polled by hand, only when they were woken.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::task::Poll;
use std::time::{Duration, Instant};

use countersign_core::{CloseMode, Config, ReceiveChannel, SendChannel, Timeouts};
use countersign_driver::Setup;
use countersign_tests::memory::{End, connecting, link, poll_once, settle};
use countersign_tests::on_tokio::Tokio;
use countersign_tests::{Pair, Transport};

const HOUR: Duration = Duration::from_secs(3600);

fn setups(transport: Transport, timeouts: Timeouts) -> [Setup; 2] {
    let pair = Pair {
        client: &Tokio,
        server: &Tokio,
        transport,
    };
    let config = Config::new().timeouts(timeouts);
    [
        pair.client_setup(config.clone().channel(SendChannel::new("data"))),
        pair.server_setup(config.channel(ReceiveChannel::new("data"))),
    ]
}

fn unhurried() -> Timeouts {
    Timeouts {
        handshake: HOUR,
        ping: HOUR,
        give_up: 2 * HOUR,
        ..Timeouts::default()
    }
}

/// An idle link has nothing to do before the next ping, and polling it all the same finds that
/// out with one look at the transport.
fn assert_idle(ends: &mut [End; 2]) {
    for end in ends {
        assert!(!end.run_if_woken());
        let deadline = end.driver.as_ref().and_then(|driver| driver.deadline());
        let sleeps = deadline.unwrap().saturating_duration_since(Instant::now());
        assert!(sleeps > HOUR / 2, "{sleeps:?}");
        let (calls, polls) = (end.calls(), end.polls);
        end.run();
        assert!(end.calls() - calls <= 1, "{} calls", end.calls() - calls);
        assert!(!end.run_if_woken(), "a driver wakes itself");
        assert_eq!(end.polls, polls + 1);
    }
}

#[test]
fn an_idle_link_sleeps() {
    for transport in [Transport::Tls, Transport::Plain] {
        let [client, server] = setups(transport, unhurried());
        let (_links, mut ends) = link(&client, &server);
        assert_idle(&mut ends);
    }
}

#[test]
fn a_message_wakes_each_end_a_few_times_and_then_both_sleep() {
    for transport in [Transport::Tls, Transport::Plain] {
        let [client, server] = setups(transport, unhurried());
        let ([from, to], mut ends) = link(&client, &server);
        let sender = from.sender("data").unwrap();
        let mut receiver = to.receiver("data").unwrap();
        for _ in 0..10 {
            let polls = ends.each_ref().map(|end| end.polls);
            let receipt = sender.try_send("message").unwrap();
            settle(&mut ends);
            assert_eq!(receiver.try_recv().unwrap().unwrap(), "message");
            settle(&mut ends);
            assert!(receipt.verdict().unwrap().is_handled());
            for (end, before) in ends.iter().zip(polls) {
                let polls = end.polls - before;
                assert!(polls <= 5, "{polls} polls for one message");
            }
        }
        assert_idle(&mut ends);
    }
}

#[test]
fn a_blocked_transport_does_not_keep_the_driver_awake() {
    let [client, server] = setups(Transport::Tls, unhurried());
    let ([from, to], mut ends) = link(&client, &server);
    let sender = from.sender("data").unwrap();
    let receipt = sender.try_send(vec![1; 1 << 20]).unwrap();
    // The acceptor does not run, so the connection fills up.
    let [opener, _] = &mut ends;
    while opener.run_if_woken() {}
    let polls = opener.polls;
    for _ in 0..100 {
        drop(sender.try_send("more").unwrap());
        while opener.run_if_woken() {}
    }
    assert_eq!(
        opener.polls, polls,
        "more to send does not help a full connection"
    );
    settle(&mut ends);
    let mut receiver = to.receiver("data").unwrap();
    assert_eq!(receiver.try_recv().unwrap().unwrap().len(), 1 << 20);
    // Once nothing is left to handle, the acknowledgement waits for no company.
    while receiver.try_recv().unwrap().is_some() {}
    settle(&mut ends);
    assert!(receipt.verdict().unwrap().is_handled());
}

#[test]
fn a_driver_that_was_held_up_hears_what_came_before_it_judges() {
    let timeouts = Timeouts {
        ping: Duration::from_millis(20),
        give_up: Duration::from_millis(40),
        ..Timeouts::default()
    };
    let [client, server] = setups(Transport::Tls, unhurried());
    let server = {
        let config = server.config().clone().timeouts(timeouts);
        Setup::new(config.single_connection(), server.security().clone()).unwrap()
    };
    let ([from, to], mut ends) = link(&client, &server);
    let made = Instant::now();
    let receipt = from.sender("data").unwrap().try_send("in time").unwrap();
    while ends[0].run_if_woken() {}
    // The message waits in the transport for longer than the acceptor's timeouts.
    while made.elapsed() <= 2 * timeouts.give_up {
        std::thread::yield_now();
    }
    ends[1].run();
    assert!(to.end_reason().is_none(), "{:?}", to.end_reason());
    assert_eq!(
        to.receiver("data").unwrap().try_recv().unwrap().unwrap(),
        "in time"
    );
    settle(&mut ends);
    assert!(receipt.verdict().unwrap().is_handled());
}

#[test]
fn a_close_lets_both_drivers_finish() {
    for transport in [Transport::Tls, Transport::Plain] {
        let [client, server] = setups(transport, unhurried());
        let ([from, to], mut ends) = link(&client, &server);
        from.start_close(CloseMode::Drain);
        settle(&mut ends);
        assert!(from.end_reason().unwrap().is_orderly());
        assert!(to.end_reason().unwrap().is_orderly());
        assert!(
            ends.iter().all(|end| end.driver.is_none()),
            "a driver goes on"
        );
    }
}

#[test]
fn handles_dropped_during_the_handshake_end_it() {
    for transport in [Transport::Tls, Transport::Plain] {
        for steps in 0..6 {
            let [client, server] = setups(transport, unhurried());
            let ([opening, accepting], mut ends) = connecting(&client, &server);
            for _ in 0..steps {
                for end in &mut ends {
                    let _ = end.run_if_woken();
                }
            }
            drop(opening);
            settle(&mut ends);
            assert!(
                ends.iter().all(|end| end.driver.is_none()),
                "a driver goes on"
            );
            // It may have been up for a moment.
            let Poll::Ready(result) = poll_once(&mut Box::pin(accepting)) else {
                panic!("the acceptor is left waiting");
            };
            assert!(result.is_err() || steps > 0);
        }
    }
}
