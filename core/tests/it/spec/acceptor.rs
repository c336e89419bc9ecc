//! Acceptors: which link a connection belongs to, and what is remembered of those that are over.

use countersign_core::{
    Acceptor, CloseMode, Config, Consequence, Dialect, Disconnect, Drained, EndReason, Event,
    Incoming, Incompatible, Instant, Limits, Link, LinkPermit, LinkState, Loss, Output, PeerId,
    Protocol, ReceiveChannel, Refusal, Request, Route, TakeOver, refuse,
};

use crate::common::arriving::{arrived, declined, said};
use crate::common::bytes::{Entry, Greeting, close, done};

pub(super) const NOW: Instant = Instant::from_micros(1_000_000);
pub(super) const ALICE: Option<PeerId> = Some(PeerId([1; 32]));
const BOB: Option<PeerId> = Some(PeerId([2; 32]));

fn receiver() -> Config {
    Config::new().channel(ReceiveChannel::new("main"))
}

fn hello() -> Greeting {
    Greeting::hello(&[Entry::send("main")])
}

fn naming(session: [u8; 16]) -> Greeting {
    Greeting::naming(session, &[Entry::send("main")])
}

/// A connection from this peer, which has said this.
fn greeted(seed: u8, who: Option<PeerId>, hello: &Greeting) -> Incoming {
    let mut incoming = arrived(NOW, &receiver(), seed, who);
    incoming.handle_input(NOW, &hello.bytes());
    incoming
}

/// A connection from a new peer.
pub(super) fn newcomer(seed: u8) -> Incoming {
    greeted(seed, ALICE, &hello())
}

/// The place that an acceptor has for a connection.
pub(super) fn place<L: Clone>(acceptor: &mut Acceptor<L>, incoming: &mut Incoming) -> LinkPermit {
    match acceptor.route(incoming) {
        Route::New(place) => place,
        _ => panic!("there is room, and nobody else's link to try"),
    }
}

/// Passes on what a link tells, as its caller does.
fn follow(acceptor: &mut Acceptor<u8>, link: &mut Link, key: u8) -> Vec<Consequence<u8>> {
    let mut all = Vec::new();
    while let Some(event) = link.poll_event() {
        all.extend(acceptor.follow(link, &event, || key));
    }
    all
}

/// A link of this peer. The key is also the seed.
fn begun(acceptor: &mut Acceptor<u8>, key: u8, who: Option<PeerId>) -> (Link, LinkPermit) {
    let mut incoming = greeted(key, who, &hello());
    let permit = match acceptor.route(&mut incoming) {
        Route::New(permit) => permit,
        // Its peer has another one, which waits for it and declines.
        Route::Resume(_) => place(acceptor, &mut incoming),
        other => panic!("{other:?}"),
    };
    let mut link = incoming.accept(NOW).expect("fits");
    assert_eq!(follow(acceptor, &mut link, key), []);
    said(NOW, &mut link);
    (link, permit)
}

/// The link loses its connection. Returns which link is to be evicted for that.
fn lose(acceptor: &mut Acceptor<u8>, link: &mut Link, key: u8) -> Option<u8> {
    link.handle_lost(NOW, Disconnect::Transport);
    match &follow(acceptor, link, key)[..] {
        [] => None,
        [Consequence::Evict(other)] => Some(*other),
        other => panic!("{other:?}"),
    }
}

/// It goes on with another connection.
fn resume(acceptor: &mut Acceptor<u8>, link: &mut Link, key: u8) {
    let mut incoming = greeted(99, link.session_peer(), &naming(link.session()));
    assert_eq!(acceptor.route(&mut incoming), Route::Resume(key));
    assert_eq!(link.take_over(NOW, &mut incoming), TakeOver::Done);
    assert_eq!(follow(acceptor, link, key), []);
}

fn end(acceptor: &mut Acceptor<u8>, link: &mut Link, key: u8) {
    link.handle_lost(NOW, Disconnect::Abandoned);
    assert_eq!(follow(acceptor, link, key), []);
}

/// The links to which a connection may belong, in order. If none takes it, it becomes a new link.
fn candidates(acceptor: &mut Acceptor<u8>, who: Option<PeerId>, hello: &Greeting) -> Vec<u8> {
    let (mut incoming, mut all) = (greeted(98, who, hello), Vec::new());
    loop {
        match acceptor.route(&mut incoming) {
            Route::Resume(link) => all.push(link),
            Route::New(permit) => {
                acceptor.release(permit);
                return all;
            }
            other => panic!("{other:?}"),
        }
    }
}

fn with_sessions(sessions: usize) -> Acceptor<u8> {
    Acceptor::new(Limits {
        sessions,
        ..Limits::default()
    })
}

#[test]
fn sessions_are_found_by_their_owners_only() {
    // [SESSION-2] [SESSION-3]
    let mut acceptor = with_sessions(2);
    assert!(acceptor.is_empty());
    let (one, _permit) = begun(&mut acceptor, 1, ALICE);
    let (plain, _permit) = begun(&mut acceptor, 2, None);
    assert_eq!((acceptor.links().count(), acceptor.away()), (2, 0));
    let id = |link: &Link| naming(link.session());
    assert_eq!(candidates(&mut acceptor, ALICE, &id(&one)), [1]);
    assert_eq!(candidates(&mut acceptor, None, &id(&plain)), [2]);
    for (hello, who) in [
        (id(&one), BOB),
        (id(&one), None),
        (id(&plain), ALICE),
        (naming([3; 16]), ALICE),
        (hello(), ALICE),
    ] {
        assert_eq!(candidates(&mut acceptor, who, &hello), [0; 0]);
    }
    assert!(!acceptor.is_empty());
}

#[test]
fn links_are_told_in_the_order_of_their_sessions() {
    let mut acceptor = with_sessions(2);
    let mut begun: Vec<_> = (1..=20)
        .map(|key| (begun(&mut acceptor, key, ALICE).0.session(), key))
        .collect();
    begun.sort_unstable();
    let keys: Vec<u8> = begun.into_iter().map(|(_, key)| key).collect();
    assert!(!keys.is_sorted(), "ids are drawn");
    assert_eq!(acceptor.links().copied().collect::<Vec<u8>>(), keys);
}

#[test]
fn as_many_are_kept_as_there_is_room_for() {
    // [SESSION-5]
    let mut acceptor = with_sessions(3);
    let mut links: Vec<Link> = (1..=5)
        .map(|key| begun(&mut acceptor, key, ALICE).0)
        .collect();
    // Those with a connection don't count.
    assert_eq!((acceptor.links().count(), acceptor.away()), (5, 0));
    for key in 1..=3 {
        let link = &mut links[usize::from(key) - 1];
        assert_eq!(lose(&mut acceptor, link, key), None);
    }
    // Reporting the same link again, or an unknown one, adds none.
    let lost = Event::Lost(Loss::Transport);
    assert_eq!(acceptor.follow(&links[0], &lost, || 1), None);
    let (mut strange, _permit) = begun(&mut with_sessions(1), 9, ALICE);
    strange.handle_lost(NOW, Disconnect::Transport);
    assert_eq!(acceptor.follow(&strange, &lost, || 9), None);
    assert_eq!(acceptor.away(), 3);
    // One too many: the link that has waited longest goes. After its second loss that is not the
    // first.
    assert_eq!(lose(&mut acceptor, &mut links[3], 4), Some(2));
    assert_eq!(acceptor.away(), 3);
    // One that is back leaves its room.
    resume(&mut acceptor, &mut links[2], 3);
    assert_eq!(acceptor.away(), 2);
    assert_eq!(lose(&mut acceptor, &mut links[4], 5), None);
    assert_eq!(lose(&mut acceptor, &mut links[2], 3), Some(1));
    // An evicted one is still found until its link has ended.
    let evicted = naming(links[0].session());
    assert_eq!(candidates(&mut acceptor, ALICE, &evicted)[0], 1);
    links[0].evict(NOW);
    assert_eq!(follow(&mut acceptor, &mut links[0], 1), []);
    assert!(!candidates(&mut acceptor, ALICE, &evicted).contains(&1));
    // Without any room each goes at once.
    let mut none = with_sessions(0);
    let (mut link, _permit) = begun(&mut none, 1, ALICE);
    assert_eq!(lose(&mut none, &mut link, 1), Some(1));
}

#[test]
fn who_is_back_before_it_was_missed_is_not_away() {
    let mut acceptor = with_sessions(0);
    let (mut link, _permit) = begun(&mut acceptor, 1, ALICE);
    let mut incoming = greeted(2, ALICE, &naming(link.session()));
    assert_eq!(acceptor.route(&mut incoming), Route::Resume(1));
    assert_eq!(link.take_over(NOW, &mut incoming), TakeOver::Done);
    // It reports a loss and a return, and there was no room for the loss.
    assert_eq!(follow(&mut acceptor, &mut link, 1), []);
    assert_eq!((acceptor.away(), link.resumes()), (0, 1));
}

/// What WELCOME says became of the session that a peer names: 0 new, 2 not known, 3 too old.
fn outcome(acceptor: &mut Acceptor<u8>, who: Option<PeerId>, hello: &Greeting) -> u8 {
    let mut incoming = greeted(97, who, hello);
    let permit = place(acceptor, &mut incoming);
    let mut link = incoming.accept(NOW).expect("fits");
    acceptor.release(permit);
    said(NOW, &mut link)[16]
}

#[test]
fn memories_are_bounded_too() {
    // [REFUSED-1] [REFUSED-2]
    let mut acceptor = with_sessions(3);
    let mut links: Vec<Link> = (1..=5)
        .map(|key| begun(&mut acceptor, key, ALICE).0)
        .collect();
    // What was never there leaves no memory.
    let mut other = with_sessions(3);
    end(&mut other, &mut links[0].clone(), 1);
    let named: Vec<Greeting> = links.iter().map(|link| naming(link.session())).collect();
    assert_eq!(outcome(&mut other, ALICE, &named[0]), 2);
    for (key, link) in (1..).zip(&mut links) {
        end(&mut acceptor, link, key);
    }
    assert_eq!((acceptor.links().count(), acceptor.away()), (0, 0));
    let known: Vec<u8> = named
        .iter()
        .map(|hello| outcome(&mut acceptor, ALICE, hello))
        .collect();
    assert_eq!(known, [2, 2, 3, 3, 3]);
    for hello in &named {
        assert_eq!(outcome(&mut acceptor, BOB, hello), 2);
    }
    assert_eq!(outcome(&mut acceptor, ALICE, &hello()), 0);
}

#[test]
fn the_link_that_was_left_behind_is_found() {
    // [SINGLE-3] [SINGLE-4] By its peer, and the one that has waited longest first.
    fn left_behind(acceptor: &mut Acceptor<u8>, who: Option<PeerId>) -> Option<u8> {
        let all = candidates(acceptor, who, &hello());
        assert!(all.len() <= 1, "{all:?}");
        all.first().copied()
    }
    let mut acceptor = with_sessions(3);
    let peers = [ALICE, BOB, ALICE, None];
    let mut links: Vec<Link> = Vec::new();
    for (key, who) in (1..).zip(peers) {
        links.push(begun(&mut acceptor, key, who).0);
        assert_eq!(
            left_behind(&mut acceptor, who),
            None,
            "it has its connection"
        );
    }
    for key in [3, 2, 1] {
        let link = &mut links[usize::from(key) - 1];
        assert_eq!(lose(&mut acceptor, link, key), None);
    }
    assert_eq!(left_behind(&mut acceptor, ALICE), Some(3));
    assert_eq!(left_behind(&mut acceptor, BOB), Some(2));
    // One that has come back, and one for which there is no room.
    resume(&mut acceptor, &mut links[2], 3);
    assert_eq!(left_behind(&mut acceptor, ALICE), Some(1));
    assert_eq!(lose(&mut acceptor, &mut links[2], 3), None);
    assert_eq!(lose(&mut acceptor, &mut links[3], 4), Some(2));
    assert_eq!(left_behind(&mut acceptor, BOB), None);
    assert_eq!(
        left_behind(&mut acceptor, None),
        None,
        "anybody could be that"
    );
    assert_eq!(left_behind(&mut acceptor, ALICE), Some(1));
    // A peer that names an existing session has that session tried first.
    let third = naming(links[2].session());
    assert_eq!(candidates(&mut acceptor, ALICE, &third), [3, 1]);
    assert_eq!(candidates(&mut acceptor, BOB, &third), [0; 0]);
    // One that is both is named once.
    let first = naming(links[0].session());
    assert_eq!(candidates(&mut acceptor, ALICE, &first), [1]);
    // One that has ended.
    end(&mut acceptor, &mut links[0], 1);
    assert_eq!(left_behind(&mut acceptor, ALICE), Some(3));
    end(&mut acceptor, &mut links[2], 3);
    assert_eq!(left_behind(&mut acceptor, ALICE), None);
}

#[test]
fn nothing_is_decided_before_the_peer_has_spoken_or_after_its_answer() {
    // [HELLO-18]
    let mut acceptor = with_sessions(1);
    let fresh = acceptor.clone();
    let mut incoming = arrived(NOW, &receiver(), 1, ALICE);
    for byte in hello().bytes() {
        assert_eq!(acceptor.route(&mut incoming), Route::Wait);
        incoming.handle_input(NOW, &[byte]);
    }
    let mut refused = incoming.clone();
    refused.refuse(NOW, &Refusal::busy("full"));
    assert_eq!(acceptor.route(&mut refused), Route::Wait);
    let mut late = incoming.clone();
    late.handle_timeout(late.poll_deadline().expect("the handshake's"));
    assert_eq!(acceptor.route(&mut late), Route::Wait);
    assert!(acceptor == fresh, "no place was taken");
    let permit = place(&mut acceptor, &mut incoming);
    assert!(acceptor != fresh);
    acceptor.release(permit);
    assert!(acceptor == fresh);
}

#[test]
fn what_can_not_be_accepted_comes_back_and_says_why() {
    // [REFUSE-1] [REFUSE-2]
    let mut acceptor = with_sessions(1);
    let fresh = acceptor.clone();
    let more = Greeting::hello(&[Entry::send("main"), Entry::send("more")]);
    let mut incoming = greeted(1, ALICE, &more);
    let permit = place(&mut acceptor, &mut incoming);
    let mut incoming = declined(NOW, incoming);
    let why = Incompatible::ChannelMissing {
        channel: "more".to_owned(),
        here: true,
    };
    assert_eq!(incoming.end_reason(), Some(&EndReason::Incompatible(why)));
    assert_eq!(
        (incoming.request(), incoming.state()),
        (None, LinkState::Ended)
    );
    assert!(incoming.wants_connection() && incoming.wants_output());
    let refusal = said(NOW, &mut incoming);
    assert_eq!((refusal[0], &refusal[8..10]), (3, &[0, 3][..]));
    assert_eq!(incoming.poll_output(NOW, &mut [0; 9]), Output::End);
    acceptor.release(permit);
    assert!(acceptor == fresh, "it never was a link");
}

#[test]
fn a_stream_that_has_ended_already_was_a_link() {
    // [STREAM-4]
    let config = receiver().dialect(Dialect::TlsStream);
    for (input, orderly) in [(&b"5!hello"[..], true), (b"", true), (b"5!he", false)] {
        let mut acceptor = Acceptor::default();
        let mut incoming = arrived(NOW, &config, 1, ALICE);
        incoming.handle_input(NOW, input);
        incoming.handle_eof(NOW);
        assert_eq!(incoming.request(), Some(Request::New));
        let permit = place(&mut acceptor, &mut incoming);
        let mut link = incoming.accept(NOW).expect("it says nothing wrong");
        said(NOW, &mut link);
        assert_eq!(link.state(), LinkState::Ended);
        let mut told = Vec::new();
        while let Some(event) = link.poll_event() {
            assert_eq!(acceptor.follow(&link, &event, || 1), None);
            told.push(event);
        }
        assert_eq!(told.first(), Some(&Event::Connected));
        assert_eq!(told.last(), Some(&Event::Ended));
        let closed = link.end_reason().is_some_and(EndReason::is_closed);
        assert_eq!(closed, orderly);
        let kept = link.waiting(countersign_core::ChannelId(0));
        assert_eq!(kept, usize::from(input.len() == 7));
        acceptor.release(permit);
        assert!(acceptor.is_empty());
        assert_eq!(acceptor.links().count(), 0);
    }
}

/// Both ends close, and say so.
fn close_orderly(acceptor: &mut Acceptor<u8>, link: &mut Link, key: u8) {
    link.close(NOW, CloseMode::Drain);
    said(NOW, link);
    link.handle_input(NOW, &[close(&[(0, 0)]), done()].concat());
    said(NOW, link);
    link.handle_eof(NOW);
    assert_eq!(link.end_reason(), Some(&EndReason::closed(true)));
    assert_eq!(follow(acceptor, link, key), []);
}

#[test]
fn who_is_about_to_go_takes_no_new_links() {
    let mut acceptor = with_sessions(2);
    let (mut early, permit) = begun(&mut acceptor, 1, ALICE);
    end(&mut acceptor, &mut early, 1);
    acceptor.release(permit);
    let mut links: Vec<(Link, LinkPermit)> =
        (2..=4).map(|key| begun(&mut acceptor, key, BOB)).collect();
    let mut coming = newcomer(5);
    let permit = place(&mut acceptor, &mut coming);
    assert_eq!(acceptor.drained(), Drained::default());
    acceptor.drain();
    // No new peer is let in, however much room there is.
    let mut late = newcomer(6);
    let Route::Refuse(refusal) = acceptor.route(&mut late) else {
        panic!("no new links");
    };
    assert_eq!((refusal.code, refusal.again), (refuse::BUSY, true));
    late.refuse(NOW, &refusal);
    assert_eq!(late.end_reason(), Some(&EndReason::TurnedAway(refusal)));
    // What was on its way to be a link is closed with the first that it tells.
    let mut coming = coming.accept(NOW).expect("fits");
    assert_eq!(follow(&mut acceptor, &mut coming, 5), [Consequence::Close]);
    links.push((coming, permit));
    // A returning peer is let in: it has messages whose verdicts are due.
    assert_eq!(lose(&mut acceptor, &mut links[0].0, 2), None);
    resume(&mut acceptor, &mut links[0].0, 2);
    assert_eq!(acceptor.links().count(), 4);
    // How they end is counted from here on.
    acceptor.drain();
    for (key, (link, _)) in (2..).zip(&mut links) {
        match key {
            3 => end(&mut acceptor, link, key),
            _ => close_orderly(&mut acceptor, link, key),
        }
    }
    let expected = Drained {
        orderly: 3,
        cut_short: 1,
    };
    assert_eq!(acceptor.drained(), expected);
    for (_, permit) in links {
        assert!(!acceptor.is_empty());
        acceptor.release(permit);
    }
    assert!(acceptor.is_empty());
}
