//! Connections that are cut behind every single byte, and come back.
//!
//! `COUNTERSIGN_TESTS=long` tries every way of learning of a cut at every byte, and every pair of
//! bytes for two cuts; `all` thins runs where the tests say so, and without it only short scenarios
//! are cut, in one way at each byte. `COUNTERSIGN_CASE` names one run, to be told in full by
//! `replay`.

use std::time::Instant;

use countersign_worlds::sim::cases::Case;
use countersign_worlds::sim::plan::{ACCEPTOR, Keys, Learn, OPENER};
use countersign_worlds::sim::scenarios::{self, Scenario};
use countersign_worlds::sim::{Summary, run};
use countersign_worlds::size::{Size, leaves_out};

const ENDS: [usize; 2] = [OPENER, ACCEPTOR];

fn expect(case: &Case, keys: &Keys) -> Summary {
    run::expect(&case.plan(keys), "cut", "COUNTERSIGN_CASE", case)
}

fn tries_all() -> bool {
    Size::get() == Size::Long
}

/// The scenarios that are cut.
fn cut_scenarios() -> impl Iterator<Item = Scenario> {
    let part = leaves_out("cuts of the longer scenarios, and more ways to go on after each cut");
    let all = scenarios::all().into_iter();
    all.filter(move |scenario| !part || scenario.short)
}

/// Counts runs, and tells how many there were.
struct Count {
    what: &'static str,
    runs: u64,
    resumes: u64,
    left_behind: u64,
    begin: Instant,
}

impl Count {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            runs: 0,
            resumes: 0,
            left_behind: 0,
            begin: Instant::now(),
        }
    }

    fn add(&mut self, summary: &Summary) {
        self.runs += 1;
        self.resumes += summary.resumes;
        self.left_behind += summary.left_behind;
        assert_eq!(
            summary.lost_sessions, 0,
            "a cut is no reason to lose a session"
        );
    }

    /// Every run that was cut came back: most of them resumed.
    fn tell(&self) {
        let Self {
            what,
            runs,
            resumes,
            left_behind,
            begin,
        } = self;
        println!(
            "{what}: {runs} runs, {resumes} resumes, {left_behind} links left behind, {:.1?}",
            begin.elapsed()
        );
        assert!(*runs > 0 && *resumes > 0);
    }
}

/// Cuts a scenario's first connection behind every byte of both directions, until a run is no
/// longer cut. Over TLS, and where links end with their session, the ways of learning of it take
/// turns, and behind every byte of the greeting only `thinned` scenarios are not cut, since it is
/// much the same for all.
fn cut_everywhere(mut case: Case, thinned: bool, keys: &Keys, count: &mut Count) {
    let every_way = !case.tls && case.single == [false; 2] && Size::get() >= Size::All;
    let all = every_way || tries_all();
    let uncut = expect(&case, keys);
    assert_eq!(uncut.written.len(), 1, "nothing goes wrong by itself");
    for from in ENDS {
        let mut after = 0;
        loop {
            let turn = usize::try_from(after).unwrap_or(0) % Learn::ALL.len();
            let mut cut = false;
            for learn in if all {
                &Learn::ALL[..]
            } else {
                &Learn::ALL[turn..=turn]
            } {
                case.cuts = vec![(from, after, *learn)];
                let summary = expect(&case, keys);
                cut |= summary.cuts > 0;
                count.add(&summary);
            }
            if !cut {
                break;
            }
            let greets = thinned && !all && after + 11 < uncut.greeting[from];
            after += if greets { 11 } else { 1 };
        }
        // Its end was cut too, as if it were one byte more.
        assert_eq!(after, uncut.written[0][from] + 1);
    }
}

#[test]
fn plain_connections_behind_every_byte() {
    let keys = Keys::new(1);
    let mut count = Count::new("cut once, plain");
    for scenario in cut_scenarios() {
        cut_everywhere(Case::new(scenario.name, false), false, &keys, &mut count);
    }
    count.tell();
    assert_eq!(count.left_behind, 0);
}

#[test]
fn tls_connections_behind_every_byte() {
    let keys = Keys::new(1);
    let mut count = Count::new("cut once, TLS");
    let part = Size::get() == Size::Part;
    for (at, scenario) in cut_scenarios().enumerate() {
        cut_everywhere(
            Case::new(scenario.name, true),
            at > 0 || part,
            &keys,
            &mut count,
        );
    }
    count.tell();
    assert_eq!(count.left_behind, 0);
}

fn single(scenario: &str, tls: bool) -> Case {
    Case {
        single: [true; 2],
        ..Case::new(scenario, tls)
    }
}

/// Links that end with their session go on as others do. Without identities no peer can end one.
#[test]
fn single_sessions_on_plain_connections_behind_every_byte() {
    let keys = Keys::new(1);
    let mut count = Count::new("cut once, plain, single session");
    for scenario in cut_scenarios() {
        cut_everywhere(single(scenario.name, false), false, &keys, &mut count);
    }
    count.tell();
    assert_eq!(count.left_behind, 0);
}

/// An opener that has not heard of its session when it loses its connection begins anew, which ends
/// the link that waits for it; nothing else ends one.
#[test]
fn single_sessions_on_tls_connections_behind_every_byte() {
    let keys = Keys::new(1);
    let mut count = Count::new("cut once, TLS, single session");
    let part = leaves_out("single sessions cut behind every byte, in all scenarios but one");
    let short = scenarios::all().into_iter().filter(|all| all.short);
    let tried = if part { 1 } else { usize::MAX };
    for (at, scenario) in short.take(tried).enumerate() {
        cut_everywhere(
            single(scenario.name, true),
            at > 0 || part,
            &keys,
            &mut count,
        );
    }
    count.tell();
    assert!(count.left_behind > 0);
}

/// The connection that resumes is cut too, behind every byte, and resumed again. Short scenarios
/// only; the first cut is thinned, and in every other run links end with their session.
#[test]
fn connections_that_resume_behind_every_byte() {
    let keys = Keys::new(1);
    let mut count = Count::new("cut twice, plain");
    let mut way = 0;
    for scenario in scenarios::all().iter().filter(|scenario| scenario.short) {
        let mut case = Case::new(scenario.name, false);
        let uncut = expect(&case, &keys);
        for first in ENDS {
            let length = uncut.written[0][first];
            let stride = Size::get().of([length / 4, length / 12, 1]);
            for after in (0..=length).step_by(usize::try_from(stride).unwrap_or(1)) {
                for second in ENDS {
                    for again in 0.. {
                        way += 1;
                        case.single = [way % 2 == 0; 2];
                        let learn = |shift: usize| Learn::ALL[(way / 5 * shift + way) % 5];
                        case.cuts = vec![(first, after, learn(0)), (second, again, learn(1))];
                        let summary = expect(&case, &keys);
                        count.add(&summary);
                        if summary.cuts < 2 {
                            break;
                        }
                    }
                }
            }
        }
    }
    count.tell();
}

/// One run, told in full.
#[test]
fn replay() {
    let named = std::env::var("COUNTERSIGN_CASE");
    let default = "close/tls/opener:2500:Nobody/acceptor:2000:End";
    let name = named.as_deref().unwrap_or(default);
    let case: Case = name.parse().expect("the name of a run");
    assert_eq!(case.to_string(), name);
    let mut plan = case.plan(&Keys::new(1));
    plan.trace = true;
    let summary = run::expect(&plan, "cut", "COUNTERSIGN_CASE", &case);
    println!("{summary:#?}");
    assert!(summary.cuts <= case.cuts.len());
}
