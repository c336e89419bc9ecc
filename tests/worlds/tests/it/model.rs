//! All interleavings of small worlds: real links, in every order of everything that may happen.
//!
//! `docs/verification.md` has the figures. Without `COUNTERSIGN_TESTS=all` some worlds are smaller.
//! Larger ones, for a long run in release:
//!
//! ```text
//! COUNTERSIGN_TESTS=long cargo test --release -p countersign-worlds -- \
//!     --nocapture --test-threads=1 model::
//! ```

#![allow(
    clippy::unwrap_used,
    reason = "panicking is how a test fails, in its helpers too"
)]

use countersign_core::VerdictKind;
use countersign_worlds::model::{End, Found, Lane, Setup, search};
use countersign_worlds::size::{Size, TESTS, leaves_out};

/// Visits every state of one of these worlds, from small to large, and checks that all is well.
fn check(name: &str, worlds: [&Setup; 3]) -> Found {
    let world = Size::get().of(worlds);
    if !std::ptr::eq(worlds[0], worlds[1]) {
        leaves_out(&format!("larger worlds for {name}"));
    }
    let found = if Size::get() == Size::Long {
        let threads = std::thread::available_parallelism().map_or(1, Into::into);
        search(world, threads, false)
    } else {
        search(world, 1, true)
    };
    println!("{name}: {found:?}");
    assert!(
        found.broken.is_empty(),
        "cargo test -p countersign-worlds model::{name} finds this again, with the same {TESTS}:\n{found:?}"
    );
    assert!(found.complete, "{found:?}");
    assert_ne!(found.acyclic, Some(false), "{found:?}");
    // There is more than one way, or else nothing was tried.
    assert!(found.seen.ends > 1 && found.seen.resumed > 0, "{found:?}");
    found
}

fn came_up(found: &Found, verdicts: &[VerdictKind]) {
    for verdict in verdicts {
        let at = VerdictKind::ALL.iter().position(|kind| kind == verdict);
        assert!(
            found.seen.verdicts[at.unwrap()] > 0,
            "{verdict:?} in {found:?}"
        );
    }
}

fn up(messages: u8) -> Lane {
    Lane::new(End::Opener, messages)
}

fn down(messages: u8) -> Lane {
    Lane::new(End::Acceptor, messages)
}

fn manual(lane: Lane) -> Lane {
    Lane {
        manual: true,
        ..lane
    }
}

/// `Latest`, and expiring.
fn fleeting(lane: Lane) -> Lane {
    Lane {
        latest: true,
        expires: true,
        ..lane
    }
}

fn long(length: usize, lane: Lane) -> Lane {
    Lane { length, ..lane }
}

#[test]
fn messages_both_ways() {
    let world = Setup {
        cuts: 2,
        ..Setup::new([up(1), down(1)])
    };
    let small = Setup {
        cuts: 1,
        ..world.clone()
    };
    let larger = Setup {
        losses: 1,
        lanes: vec![up(2), down(1)],
        ..world.clone()
    };
    let found = check("messages_both_ways", [&small, &world, &larger]);
    assert!(
        found.seen.replayed > 0 && found.seen.fenced > 0,
        "{found:?}"
    );
    came_up(&found, &[VerdictKind::Handled]);
}

#[test]
fn lost_sessions() {
    let world = Setup {
        cuts: 1,
        losses: 1,
        ..Setup::new([up(1), down(1)])
    };
    let larger = Setup {
        cuts: 2,
        lanes: vec![up(1), down(2)],
        ..world.clone()
    };
    let found = check("lost_sessions", [&world, &world, &larger]);
    assert!(found.seen.lost > 0, "{found:?}");
    let verdicts = [
        VerdictKind::Handled,
        VerdictKind::Unknown,
        VerdictKind::Withdrawn,
    ];
    came_up(&found, &verdicts);
}

/// Several messages in each of two sessions, at the end whose link goes on with the next.
#[test]
fn borders() {
    let world = Setup {
        cuts: 1,
        losses: 1,
        ..Setup::new([down(3)])
    };
    let small = Setup {
        lanes: vec![down(2)],
        ..world.clone()
    };
    let larger = Setup {
        cuts: 2,
        losses: 2,
        ..world.clone()
    };
    let found = check("borders", [&small, &world, &larger]);
    assert!(found.seen.lost > 0, "{found:?}");
}

#[test]
fn rejections() {
    let world = Setup {
        cuts: 1,
        losses: 1,
        ..Setup::new([manual(up(2))])
    };
    let small = Setup {
        losses: 0,
        ..world.clone()
    };
    let larger = Setup {
        cuts: 2,
        lanes: vec![manual(up(2)), manual(down(1))],
        ..world.clone()
    };
    let found = check("rejections", [&small, &world, &larger]);
    came_up(&found, &[VerdictKind::Handled, VerdictKind::Rejected]);
}

/// Replies, rejections and plain verdicts, in every order.
#[test]
fn replies() {
    let replying = |lane: Lane| Lane {
        replies: true,
        ..manual(lane)
    };
    let small = Setup {
        cuts: 1,
        ..Setup::new([replying(up(2))])
    };
    let larger = Setup {
        cuts: 2,
        losses: 1,
        ..small.clone()
    };
    let found = check("replies", [&small, &small, &larger]);
    came_up(&found, &[VerdictKind::Handled, VerdictKind::Rejected]);
}

/// Messages whose time may be over anywhere: before they are written, on their way, and where they
/// wait to be taken.
#[test]
fn messages_that_are_late() {
    let brief = |lane: Lane| Lane {
        expires: true,
        ..lane
    };
    let small = Setup {
        cuts: 1,
        ..Setup::new([brief(up(2))])
    };
    let world = Setup {
        lanes: vec![brief(manual(up(2)))],
        ..small.clone()
    };
    let larger = Setup {
        cuts: 2,
        losses: 1,
        lanes: vec![brief(manual(up(2))), brief(down(1))],
        ..small.clone()
    };
    let found = check("messages_that_are_late", [&small, &world, &larger]);
    came_up(&found, &[VerdictKind::Handled, VerdictKind::Expired]);
}

#[test]
fn messages_that_are_dropped() {
    let world = Setup {
        cuts: 1,
        ..Setup::new([fleeting(up(2))])
    };
    let larger = Setup {
        cuts: 2,
        losses: 1,
        lanes: vec![fleeting(up(2)), fleeting(down(1))],
        ..world.clone()
    };
    let found = check("messages_that_are_dropped", [&world, &world, &larger]);
    came_up(&found, &[VerdictKind::Superseded, VerdictKind::Expired]);
}

/// A window of one message, so that each waits for the verdict of the one before, also across a
/// resume.
#[test]
fn windows_that_are_full() {
    let narrow = |lane: Lane| Lane { window: 1, ..lane };
    let world = Setup {
        cuts: 1,
        ..Setup::new([narrow(up(3))])
    };
    let larger = Setup {
        cuts: 2,
        losses: 1,
        lanes: vec![narrow(manual(up(2))), narrow(down(1))],
        ..world.clone()
    };
    let found = check("windows_that_are_full", [&world, &world, &larger]);
    came_up(&found, &[VerdictKind::Handled]);
}

#[test]
fn messages_cut_in_their_middle() {
    let world = Setup {
        cuts: 2,
        pieces: true,
        ..Setup::new([long(4, up(1))])
    };
    let larger = Setup {
        losses: 1,
        buffer: 21,
        lanes: vec![long(12, up(1)), long(12, down(1))],
        ..world.clone()
    };
    let found = check("messages_cut_in_their_middle", [&world, &world, &larger]);
    assert!(found.seen.continued > 0, "{found:?}");
}

#[test]
fn closes() {
    let world = Setup {
        cuts: 1,
        closes: 1,
        ..Setup::new([up(1), down(1)])
    };
    let small = Setup {
        lanes: vec![up(1)],
        ..world.clone()
    };
    let larger = Setup {
        cuts: 2,
        losses: 1,
        ..world.clone()
    };
    let found = check("closes", [&small, &world, &larger]);
    came_up(&found, &[VerdictKind::Handled, VerdictKind::Withdrawn]);
}

/// An opener that ends with its session, at whatever moment that is lost.
#[test]
fn single_sessions_of_openers() {
    let world = Setup {
        cuts: 1,
        losses: 1,
        single: [true, false],
        ..Setup::new([up(1), down(2)])
    };
    let small = Setup {
        lanes: vec![up(1), down(1)],
        ..world.clone()
    };
    let larger = Setup {
        cuts: 2,
        closes: 1,
        ..world.clone()
    };
    let found = check("single_sessions_of_openers", [&small, &world, &larger]);
    assert!(found.seen.over > 0 && found.seen.lost > 0, "{found:?}");
    let verdicts = [
        VerdictKind::Handled,
        VerdictKind::Rejected,
        VerdictKind::Unknown,
        VerdictKind::Withdrawn,
    ];
    came_up(&found, &verdicts);
}

/// An acceptor whose link ends with its session. A greeting may be held up while the opener gets
/// its session with the next one.
#[test]
fn single_sessions_of_acceptors() {
    let world = Setup {
        cuts: 2,
        single: [false, true],
        ..Setup::new([up(1), down(1)])
    };
    let small = Setup {
        lanes: vec![down(1)],
        ..world.clone()
    };
    let larger = Setup {
        losses: 1,
        closes: 1,
        single: [true; 2],
        ..world.clone()
    };
    let found = check("single_sessions_of_acceptors", [&small, &world, &larger]);
    assert!(found.seen.left_behind > 0, "{found:?}");
    came_up(&found, &[VerdictKind::Handled, VerdictKind::Withdrawn]);
}
