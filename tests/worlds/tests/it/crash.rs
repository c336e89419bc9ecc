//! Ends that lose their whole state after every single step.
//!
//! `COUNTERSIGN_CASE` names one run, to be told in full by `replay`.

use std::time::Instant;

use countersign_worlds::sim::cases::Case;
use countersign_worlds::sim::plan::{ACCEPTOR, Keys, Learn, OPENER};
use countersign_worlds::sim::{Summary, run, scenarios};
use countersign_worlds::size::{Size, leaves_out};

fn expect(case: &Case, keys: &Keys) -> Summary {
    let summary = run::expect(&case.plan(keys), "crash", "COUNTERSIGN_CASE", case);
    check_recovery(case, &summary);
    summary
}

/// The end that did not crash goes on: an opener with the same link, an acceptor with a new one,
/// while the old one ends after the time for which it is kept.
fn check_recovery(case: &Case, summary: &Summary) {
    let Some((end, ..)) = case.crash.filter(|_| summary.crashed) else {
        return;
    };
    let openers = summary.openers;
    // One that has ended with its session, or was refused because the acceptor's has, begins anew.
    let over = if case.single[OPENER] {
        summary.lost_sessions
    } else {
        0
    };
    let most = if end == OPENER { 2 } else { 1 } + over + summary.left_behind;
    assert!(openers <= most, "{case}: {openers} links of the opener's");
    let lost = summary.lost_sessions;
    let most = if end == OPENER { 0 } else { 1 };
    assert!(lost <= most, "{case}: {lost} sessions were lost");
    let closed = summary.ends.keys().any(|end| end.starts_with("Closed"));
    assert!(closed, "{case}: nobody closes in order: {summary:?}");
}

/// Crashes at every step of every scenario, as in `base`. Gives how many links of the acceptor's
/// have ended because their peer began anew.
fn crash_everywhere(base: &Case, what: &str) -> u64 {
    let (keys, begin) = (Keys::new(1), Instant::now());
    let (mut runs, mut lost, mut left_behind) = (0, 0, 0);
    let part = leaves_out("crashes in the longer scenarios, and more cuts before them");
    for scenario in scenarios::all() {
        if part && !scenario.short {
            continue;
        }
        let mut case = Case {
            scenario: scenario.name.to_owned(),
            ..base.clone()
        };
        for (end, told) in [
            (OPENER, false),
            (OPENER, true),
            (ACCEPTOR, false),
            (ACCEPTOR, true),
        ] {
            for step in 1.. {
                case.crash = Some((end, step, told));
                let summary = expect(&case, &keys);
                runs += 1;
                lost += summary.lost_sessions;
                left_behind += summary.left_behind;
                if !summary.crashed {
                    assert!(step > 10, "{case}: a crash at every step");
                    break;
                }
            }
        }
    }
    println!(
        "{what}: {runs} runs, {lost} lost sessions, {left_behind} links left behind, {:.1?}",
        begin.elapsed()
    );
    assert!(lost > 0);
    left_behind
}

/// In any scenario, with links that end with their session at these ends.
fn every(tls: bool, single: [bool; 2]) -> Case {
    Case {
        single,
        ..Case::new("", tls)
    }
}

#[test]
fn ends_of_plain_connections_at_every_step() {
    let left_behind = crash_everywhere(&every(false, [false; 2]), "crash, plain");
    assert_eq!(left_behind, 0);
}

#[test]
fn ends_of_tls_connections_at_every_step() {
    let left_behind = crash_everywhere(&every(true, [false; 2]), "crash, TLS");
    assert_eq!(left_behind, 0);
}

/// Links that end with their session, at one end or at both. Without identities no peer can end one
/// at the acceptor.
#[test]
fn single_sessions_on_plain_connections_at_every_step() {
    for single in [[true, false], [true; 2]] {
        let what = "crash, plain, single session";
        assert_eq!(crash_everywhere(&every(false, single), what), 0);
    }
}

#[test]
fn single_sessions_on_tls_connections_at_every_step() {
    let singles = [[false, true], [true; 2]];
    let tried = if leaves_out("crashes where both ends' links end with their session") {
        1
    } else {
        2
    };
    for single in singles.into_iter().take(tried) {
        let what = "crash, TLS, single session";
        assert!(crash_everywhere(&every(true, single), what) > 0);
    }
}

/// The connection was cut before, or is while it comes back: the crash falls into all that a
/// resume consists of.
#[test]
fn ends_that_were_cut_at_every_step() {
    let places: &[u64] = match Size::get() {
        Size::Part => &[130],
        _ => &[90, 130, 250, 333],
    };
    for &after in places {
        for (from, learn) in [
            (OPENER, Learn::Both),
            (ACCEPTOR, Learn::Both),
            (OPENER, Learn::Opener),
            (ACCEPTOR, Learn::Nobody),
        ] {
            let mut case = every(false, [false; 2]);
            case.cuts = vec![(from, after, learn)];
            crash_everywhere(&case, &format!("crash, plain, cut at {after}"));
            if after == 130 {
                case.single = [true; 2];
                crash_everywhere(&case, "crash, plain, cut at 130, single session");
            }
        }
    }
}

/// One run, told in full.
#[test]
fn replay() {
    let named = std::env::var("COUNTERSIGN_CASE");
    let default = "acks/tls/crash:acceptor:120:told";
    let name = named.as_deref().unwrap_or(default);
    let case: Case = name.parse().expect("the name of a run");
    assert_eq!(case.to_string(), name);
    let mut plan = case.plan(&Keys::new(1));
    plan.trace = true;
    let summary = run::expect(&plan, "crash", "COUNTERSIGN_CASE", &case);
    println!("{summary:#?}");
    check_recovery(&case, &summary);
}
