//! What the drivers of a link do while it has no connection. Nothing here waits: the drivers are
//! polled by hand, only when they were woken.

#![allow(clippy::unwrap_used, reason = "panicking is how a test fails")]

use std::task::Poll;
use std::time::{Duration, Instant};

use countersign_certs::GeneratedIdentity;
use countersign_core::{
    ChannelConfig, CloseMode, Config, EndReason, Loss, ReceiveChannel, Reconnect, SendChannel,
    Timeouts, Verdict,
};
use countersign_driver::{Limits, Link, LinkEvent, Setup};
use countersign_endpoint::Security;
use countersign_tests::memory::{Answer, End, Listening, Network, connected, poll_once, settle};
use countersign_tests::pair::{IDENTITIES, payload, tls};

const HOUR: Duration = Duration::from_secs(3600);

/// A listener; one of its links may wait for its peer.
fn one_at_a_time() -> Listening {
    listening(receive())
}

fn listening(setup: Setup) -> Listening {
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    Listening::new(setup, limits)
}

/// Figures that no test reaches, and a first attempt to connect again after `delay` at most.
fn setup(channel: impl Into<ChannelConfig>, delay: Duration) -> Setup {
    let timeouts = Timeouts {
        handshake: HOUR,
        ping: HOUR,
        give_up: 2 * HOUR,
        close: HOUR,
        linger: HOUR,
        retain: 9 * HOUR,
        ..Timeouts::default()
    };
    let reconnect = Reconnect {
        first_delay: delay,
        longest_delay: delay,
        ..Reconnect::default()
    };
    let config = Config::new().channel(channel).timeouts(timeouts);
    Setup::new(config.reconnect(reconnect), Security::plaintext()).unwrap()
}

fn send(delay: Duration) -> Setup {
    setup(SendChannel::new("data"), delay)
}

fn receive() -> Setup {
    setup(ReceiveChannel::new("data"), HOUR)
}

/// A link that is up, with its two drivers.
fn link(network: &Network, delay: Duration, listening: &Listening) -> ([Link; 2], [End; 2]) {
    let (opening, mut opener) = network.dial(&send(delay));
    opener.run();
    let mut ends = [opener, network.accept(listening)];
    settle(&mut ends);
    ([connected(opening), listening.accepted()], ends)
}

fn event(link: &Link) -> Option<LinkEvent> {
    match poll_once(&mut Box::pin(link.event())) {
        Poll::Ready(event) => event,
        Poll::Pending => None,
    }
}

fn is_lost(event: &Option<LinkEvent>) -> bool {
    matches!(event, Some(LinkEvent::Lost { .. }))
}

/// Asserts that the driver has not been woken, and that `looks` calls of the connection show it
/// that there is nothing to do.
fn assert_sleeps(end: &mut End, looks: u64) {
    assert!(!end.run_if_woken(), "something wakes the driver");
    let (polls, calls) = (end.polls, end.calls());
    end.run();
    assert!(!end.run_if_woken(), "the driver wakes itself");
    assert_eq!((end.polls, end.calls()), (polls + 1, calls + looks));
}

fn deadline(end: &End) -> Option<Duration> {
    let deadline = end.driver.as_ref().and_then(|driver| driver.deadline())?;
    Some(deadline.saturating_duration_since(Instant::now()))
}

#[test]
fn a_link_without_a_connection_sleeps_until_its_deadline() {
    let network = Network::default();
    let listening = one_at_a_time();
    let ([client, server], mut ends) = link(&network, HOUR, &listening);
    network.cut();
    settle(&mut ends);
    assert!(is_lost(&event(&client)) && is_lost(&event(&server)));
    for end in &mut ends {
        assert_sleeps(end, 0);
    }
    // The next attempt, and the end of the wait for it.
    assert!(deadline(&ends[0]).unwrap() <= HOUR);
    assert!(deadline(&ends[1]).unwrap() > 8 * HOUR);
    assert_eq!(network.attempts(), 1);
}

#[test]
fn sending_wakes_no_driver_that_has_nowhere_to_send_to() {
    let network = Network::default();
    network.answer(Answer::Keeps);
    let (opening, opener) = network.dial(&send(Duration::ZERO));
    let mut ends = [opener];
    settle(&mut ends);
    network.answer(Answer::Connects);
    settle(&mut ends);
    let listening = one_at_a_time();
    let acceptor = network.accept(&listening);
    let [opener] = ends;
    let mut ends = [opener, acceptor];
    settle(&mut ends);
    let (client, server) = (connected(opening), listening.accepted());
    network.answer(Answer::Keeps);
    network.cut();
    settle(&mut ends);
    assert!(is_lost(&event(&client)) && is_lost(&event(&server)));
    assert_eq!(network.attempts(), 2);
    let sender = client.sender("data").unwrap();
    let receipts: Vec<_> = (0..100)
        .map(|_| sender.try_send("message").unwrap())
        .collect();
    for end in &mut ends {
        assert_sleeps(end, 0);
    }
    // While the new connection is being greeted, one of them may.
    network.answer(Answer::Connects);
    while ends[0].run_if_woken() {}
    let polls = ends[0].polls;
    for _ in 0..100 {
        drop(sender.try_send("message").unwrap());
    }
    while ends[0].run_if_woken() {}
    assert!(ends[0].polls - polls <= 1, "it polls again and again");
    assert_sleeps(&mut ends[0], 1);
    assert!(receipts.iter().all(|receipt| receipt.verdict().is_none()));
}

#[test]
fn sending_wakes_no_driver_that_secures_its_connection() {
    let [client, server] = IDENTITIES.each_ref();
    let secured = |config: &Setup, own, peer: &GeneratedIdentity| {
        Setup::new(config.config().clone(), tls(own, peer.fingerprint())).unwrap()
    };
    let network = Network::default();
    let (opening, opener) = network.dial(&secured(&send(Duration::ZERO), client, server));
    let mut ends = [opener];
    settle(&mut ends);
    let listening = listening(secured(&receive(), server, client));
    let acceptor = network.accept(&listening);
    let [opener] = ends;
    let mut ends = [opener, acceptor];
    settle(&mut ends);
    let client = connected(opening);
    network.cut();
    while ends[0].run_if_woken() {}
    // The opener's first bytes are not answered.
    assert_eq!(network.attempts(), 2);
    let sender = client.sender("data").unwrap();
    for _ in 0..100 {
        drop(sender.try_send("message").unwrap());
    }
    assert_sleeps(&mut ends[0], 1);
}

#[test]
fn attempts_that_fail_at_once_leave_others_their_turn() {
    let network = Network::default();
    network.answer(Answer::Refuses);
    let (_opening, mut opener) = network.dial(&send(Duration::ZERO));
    for attempts in 1..=10 {
        opener.run();
        assert_eq!(network.attempts(), attempts);
        assert_eq!(deadline(&opener), Some(Duration::ZERO));
    }
}

#[test]
fn a_link_that_is_given_up_while_it_connects_lets_its_driver_finish() {
    for answer in [Answer::Keeps, Answer::Refuses] {
        let network = Network::default();
        network.answer(answer);
        let (opening, opener) = network.dial(&send(HOUR));
        let mut ends = [opener];
        settle(&mut ends);
        assert!(ends[0].driver.is_some());
        drop(opening);
        settle(&mut ends);
        assert!(ends[0].driver.is_none(), "a driver goes on");
    }
}

#[test]
fn a_link_that_is_evicted_lets_its_driver_finish() {
    let listening = one_at_a_time();
    let networks = [Network::default(), Network::default()];
    let mut links = networks
        .each_ref()
        .map(|network| link(network, HOUR, &listening));
    for (network, (_, ends)) in networks.iter().zip(&mut links) {
        network.cut();
        settle(ends);
    }
    let [(first, mut ends), (second, _)] = links;
    let evicted = first[1].end_reason().unwrap();
    assert_eq!(*evicted.reason(), EndReason::Lost(Loss::Evicted));
    assert!(second[1].end_reason().is_none());
    settle(&mut ends);
    assert!(ends[1].driver.is_none(), "a driver goes on");
}

#[test]
fn a_peer_that_comes_back_before_it_is_missed_evicts_nobody() {
    let listening = one_at_a_time();
    let away = Network::default();
    let (waiting, mut ends) = link(&away, HOUR, &listening);
    away.cut();
    settle(&mut ends);
    assert!(is_lost(&event(&waiting[1])));
    // Another link's opener loses its connection, and its acceptor does not notice.
    let network = Network::default();
    let (links, ends) = link(&network, Duration::ZERO, &listening);
    let [mut opener, mut acceptor] = ends;
    network.cut();
    while opener.run_if_woken() {}
    assert_eq!(network.attempts(), 2);
    let mut visitor = network.accept(&listening);
    visitor.run();
    // Its old driver finds itself replaced.
    acceptor.run();
    assert!(acceptor.driver.is_none());
    assert!(waiting[1].end_reason().is_none(), "it was evicted");
    settle(&mut [opener, visitor]);
    assert_eq!(links[0].report().resumes, 1);
}

#[test]
fn a_close_without_a_connection_wakes_the_driver_for_its_time_limit() {
    let network = Network::default();
    let listening = one_at_a_time();
    let ([client, _server], mut ends) = link(&network, 9 * HOUR, &listening);
    let receipt = client.sender("data").unwrap().try_send(payload(100, 0));
    network.cut();
    settle(&mut ends);
    client.start_close(CloseMode::Withdraw);
    settle(&mut ends);
    assert!(deadline(&ends[0]).unwrap() <= HOUR);
    assert!(client.end_reason().is_none());
    let verdict = receipt.unwrap().verdict();
    assert!(
        matches!(verdict, None | Some(Verdict::Withdrawn)),
        "{verdict:?}"
    );
}

#[test]
fn an_event_outlives_the_future_that_waited_for_it() {
    let network = Network::default();
    let listening = one_at_a_time();
    let (links, ends) = link(&network, Duration::ZERO, &listening);
    let mut ends = Vec::from(ends);
    for _ in 0..20 {
        // Woken, and dropped before they are polled again.
        let mut waiting = links.each_ref().map(|link| Box::pin(link.event()));
        assert!(
            waiting
                .iter_mut()
                .all(|event| poll_once(event).is_pending())
        );
        network.cut();
        settle(&mut ends);
        drop(waiting);
        assert!(links.iter().all(|link| is_lost(&event(link))));
        let mut waiting = links.each_ref().map(|link| Box::pin(link.event()));
        assert!(
            waiting
                .iter_mut()
                .all(|event| poll_once(event).is_pending())
        );
        let visitor = network.accept(&listening);
        ends.push(visitor);
        settle(&mut ends);
        drop(waiting);
        for link in &links {
            assert_eq!(event(link), Some(LinkEvent::Resumed));
            assert_eq!(event(link), None);
        }
    }
}
