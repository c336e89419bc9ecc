//! Peers that come back, to the same link or too late, and programs that were restarted.

use std::time::Duration;

use countersign_core::{
    CloseMode, Config, EndReason, Loss, ReceiveChannel, SendChannel, SessionLoss, Verdict,
    VerdictKind,
};
use countersign_driver::{Limits, LinkEvent};

use super::{away, back, lost, one, timeouts};
use crate::backend::{Link, Listener, Receipt};
use crate::pair::loopback;
use crate::{Ends, Pair, Proxy};

scenarios! {
    SECURED_OR_PLAIN {
        to_its_own_link: "cuts by itself",
        while_the_old_connection_seems_alive: "cuts by itself",
        to_a_listener_that_was_restarted: "cuts by itself",
        as_another_link_after_a_restart: "cuts by itself",
        too_late: "cuts by itself",
        more_than_there_is_room_for: "cuts by itself",
    }
}

fn send() -> Config {
    one(SendChannel::new("data"))
}

fn receive() -> Config {
    one(ReceiveChannel::new("data"))
}

/// Room for three messages that are not settled.
fn manual() -> Config {
    one(ReceiveChannel::new("data").manual().window(3, 16 << 20))
}

fn listen(pair: &Pair, config: Config) -> Box<dyn Listener> {
    listen_with(pair, config, Limits::default())
}

fn listen_with(pair: &Pair, config: Config, limits: Limits) -> Box<dyn Listener> {
    let setup = pair.lasting_server(config);
    pair.server.listen(loopback(), setup, limits)
}

/// A message goes from the opener to the acceptor, and it is this one.
fn assert_passes(ends: &Ends, message: &str) {
    let receipt = ends.client.sender("data").unwrap().give(message.to_owned());
    assert_eq!(ends.server.receiver("data").unwrap().take(), message);
    assert!(receipt.wait().is_handled());
}

fn ends(ends: &Ends) -> [&dyn Link; 2] {
    [&*ends.client, &*ends.server]
}

fn end(link: &dyn Link) -> EndReason {
    link.ended().end.unwrap().reason().clone()
}

/// Several links of the same identity: each peer returns to its own, and the listener does not
/// report it.
fn to_its_own_link(pair: &Pair) {
    const LINKS: usize = 4;
    let listener = listen(pair, receive());
    let links: Vec<_> = (0..LINKS)
        .map(|_| pair.lasting_join(&*listener, send()))
        .collect();
    let mut receivers: Vec<_> = links
        .iter()
        .map(|(link, _)| link.server.receiver("data").unwrap())
        .collect();
    for round in 0..3 {
        for (_, proxy) in &links {
            proxy.cut();
        }
        for (at, (link, _)) in links.iter().enumerate() {
            let words = format!("{round}: {at}");
            let receipt = link.client.sender("data").unwrap().give(words.clone());
            assert_eq!(receivers[at].take(), words);
            assert!(receipt.wait().is_handled());
            for link in ends(link) {
                let _ = lost(link);
                assert_eq!(link.event(), Some(LinkEvent::Resumed));
            }
        }
    }
    // What the listener accepts next is a new peer.
    let (new, _proxy) = pair.lasting_join(&*listener, send());
    assert_passes(&new, "new");
    for (link, _) in &links {
        assert!(link.client.close(CloseMode::Drain).is_orderly());
        assert!(link.server.ended().is_orderly());
    }
}

/// The acceptor still believes in the old connection when its peer returns: it takes the new one at
/// once and drops the old.
fn while_the_old_connection_seems_alive(pair: &Pair) {
    let (link, proxy, _listener) = pair.lasting_link(send(), receive());
    let sender = link.client.sender("data").unwrap();
    let mut receiver = link.server.receiver("data").unwrap();
    for round in 1..=3 {
        proxy.stall();
        let receipt = sender.give(format!("stuck {round}"));
        proxy.orphan();
        let _ = lost(&*link.client);
        // The acceptor has heard nothing.
        assert_eq!(link.server.report().resumes, round - 1);
        proxy.resume();
        assert_eq!(link.client.event(), Some(LinkEvent::Resumed));
        let (loss, why) = lost(&*link.server);
        assert_eq!(loss, Loss::Replaced);
        assert!(why.contains("came back"), "{why}");
        assert_eq!(link.server.event(), Some(LinkEvent::Resumed));
        proxy.wait_for_orphans();
        assert_eq!(receiver.take(), format!("stuck {round}"));
        assert!(receipt.wait().is_handled());
        assert!(receiver.try_recv().unwrap().is_none());
    }
}

/// The program that listens is restarted, on the same address: everything has its verdict, and the
/// opener's handles go on with a new session.
fn to_a_listener_that_was_restarted(pair: &Pair) {
    let (link, proxy, listener) = pair.lasting_link(send(), manual());
    let Ends { client, server } = link;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.manual_receiver("data").unwrap();
    let handled = sender.give("handled");
    let _ = receiver.take().handled();
    assert!(handled.wait().is_handled());
    let taken = sender.give("taken");
    let _taken = receiver.take();
    away(&proxy, [&*client, &*server]);
    let queued = sender.give("queued");
    let address = listener.address();
    listener.close();
    // What was connected to the old one, as far as the proxy goes.
    proxy.cut();
    let setup = pair.lasting_server(manual());
    let listener = pair.server.listen(address, setup, Limits::default());
    proxy.resume();
    assert_eq!(taken.wait(), Verdict::Unknown);
    assert_eq!(queued.wait(), Verdict::Withdrawn);
    let event = client.event();
    assert_eq!(event, Some(LinkEvent::SessionLost(SessionLoss::NotKnown)));
    assert_eq!(client.event(), Some(LinkEvent::NewSession));
    let server = listener.accept().unwrap();
    let mut receiver = server.manual_receiver("data").unwrap();
    let receipt = sender.give("new");
    assert_eq!(receipt.sequence(), 4, "numbers go on");
    let _ = receiver.take().handled();
    assert!(receipt.wait().is_handled());
    // The new session outlives its connections too.
    away(&proxy, [&*client, &*server]);
    let receipt = sender.give("again");
    back(&proxy, [&*client, &*server]);
    let _ = receiver.take().handled();
    assert!(receipt.wait().is_handled());
    let report = client.close(CloseMode::Drain);
    assert!(report.is_orderly(), "{report}");
    assert_eq!(
        report.verdicts().to_string(),
        "3 handled, 1 withdrawn, 1 unknown"
    );
    assert_eq!(report.resumes, 1);
}

/// The program that connects is restarted: its new link is accepted, and the old one ends when its
/// peer has not returned in time.
fn as_another_link_after_a_restart(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.retain = Duration::from_millis(100));
    let listener = listen(pair, receive().timeouts(short));
    let (old, proxy) = pair.lasting_join(&*listener, send());
    assert_passes(&old, "old");
    drop(proxy);
    let (new, _proxy) = pair.lasting_join(&*listener, send());
    assert_passes(&new, "new");
    let ended = old.server.ended().end.unwrap();
    assert_eq!(*ended.reason(), EndReason::Lost(Loss::StayedAway));
    assert!(ended.can_retry());
    assert!(
        ended.io().is_none() && ended.security().is_none(),
        "{ended}"
    );
    let _ = lost(&*old.server);
    assert_eq!(old.server.event(), None);
    assert!(new.server.end_reason().is_none());
}

/// A peer that returns too late learns what was handled meanwhile, and begins a new session.
fn too_late(pair: &Pair) {
    let short = timeouts(|timeouts| timeouts.retain = Duration::from_millis(200));
    let (link, proxy, listener) = pair.lasting_link(send(), manual().timeouts(short));
    let Ends { client, server } = link;
    let sender = client.sender("data").unwrap();
    let mut receiver = server.manual_receiver("data").unwrap();
    let receipts: Vec<_> = (0..4_u8).map(|at| sender.give(vec![at])).collect();
    let [first, second, _third] = [receiver.take(), receiver.take(), receiver.take()];
    let _ = first.handled();
    let mut receipts = receipts.into_iter();
    assert!(receipts.next().unwrap().wait().is_handled());
    away(&proxy, [&*client, &*server]);
    // The acknowledgement can't go out any more.
    let _ = second.handled();
    assert_eq!(end(&*server), EndReason::Lost(Loss::StayedAway));
    let rest: Vec<_> = receipts.collect();
    assert!(rest.iter().all(|receipt| receipt.verdict().is_none()));
    proxy.resume();
    let mut verdicts = rest.into_iter().map(Receipt::wait);
    assert_eq!(verdicts.next(), Some(Verdict::HANDLED));
    assert_eq!(verdicts.next(), Some(Verdict::Unknown));
    // Its place in the window was free again since the first was handled, so it may have been sent.
    let last = verdicts.next().unwrap().kind();
    assert!(
        matches!(last, VerdictKind::Unknown | VerdictKind::Withdrawn),
        "{last}"
    );
    let event = client.event();
    assert_eq!(event, Some(LinkEvent::SessionLost(SessionLoss::TooOld)));
    assert_eq!(client.event(), Some(LinkEvent::NewSession));
    let server = listener.accept().unwrap();
    let receipt = sender.give("new");
    let mut receiver = server.manual_receiver("data").unwrap();
    assert_eq!(receiver.take().handled(), "new");
    assert!(receipt.wait().is_handled());
}

/// A listener keeps a limited number of links without a connection, and with one more ends the
/// oldest.
fn more_than_there_is_room_for(pair: &Pair) {
    const ROOM: usize = 2;
    let limits = Limits {
        sessions: ROOM,
        ..Limits::default()
    };
    let listener = listen_with(pair, receive(), limits);
    let links: Vec<_> = (0..=ROOM)
        .map(|_| pair.lasting_join(&*listener, send()))
        .collect();
    for (link, proxy) in &links[..ROOM] {
        away(proxy, ends(link));
    }
    assert!(
        links
            .iter()
            .all(|(link, _)| link.server.end_reason().is_none())
    );
    // One that comes back at once is not one too many.
    let (last, proxy) = &links[ROOM];
    proxy.stall();
    proxy.orphan();
    let _ = lost(&*last.client);
    back_from(proxy, last);
    assert!(
        links
            .iter()
            .all(|(link, _)| link.server.end_reason().is_none())
    );

    away(proxy, ends(last));
    let (oldest, proxy) = &links[0];
    assert_eq!(end(&*oldest.server), EndReason::Lost(Loss::Evicted));
    for (link, proxy) in &links[1..] {
        assert!(link.server.end_reason().is_none());
        back(proxy, ends(link));
        assert_passes(link, "still here");
    }
    proxy.resume();
    let event = oldest.client.event();
    assert_eq!(event, Some(LinkEvent::SessionLost(SessionLoss::TooOld)));
    assert_eq!(oldest.client.event(), Some(LinkEvent::NewSession));
    let server = listener.accept().unwrap();
    let receipt = oldest.client.sender("data").unwrap().give("anew");
    assert_eq!(server.receiver("data").unwrap().take(), "anew");
    assert!(receipt.wait().is_handled());
}

/// Lets an opener return whose acceptor has not noticed its absence.
fn back_from(proxy: &Proxy, link: &Ends) {
    proxy.resume();
    assert_eq!(link.client.event(), Some(LinkEvent::Resumed));
    assert_eq!(lost(&*link.server).0, Loss::Replaced);
    assert_eq!(link.server.event(), Some(LinkEvent::Resumed));
}
