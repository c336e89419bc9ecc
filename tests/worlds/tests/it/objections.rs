//! What the simulated world checks can fail: each fault that is planted in it is found.

use countersign_worlds::sim::cases::Case;
use countersign_worlds::sim::plan::{Keys, Plan, Plant};
use countersign_worlds::sim::{generate, run, scenarios};

/// What is found in a scenario with a fault in it.
fn found(scenario: &str, plant: Plant) -> String {
    let mut all = scenarios::all().into_iter();
    let found = all.find(|known| known.name == scenario);
    let mut plan = found.expect("a scenario of this name").plan;
    assert_eq!(run::run(&plan).map(|_| ()), Ok(()), "nothing is wrong yet");
    plan.plant = Some(plant);
    run::run(&plan).expect_err("a fault was planted")
}

/// What is found in the first of many seeds in which a fault shows.
fn found_in_seeds(plant: Plant) -> String {
    let plan = |seed| generate::plan(seed, None);
    let with = |seed| Plan {
        plant: Some(plant),
        ..plan(seed)
    };
    let mut shown = (0..2000).filter_map(|seed| Some((seed, run::run(&with(seed)).err()?)));
    let (seed, wrong) = shown.next().expect("a fault was planted");
    assert_eq!(run::run(&plan(seed)).map(|_| ()), Ok(()), "seed {seed}");
    wrong
}

fn assert_says(wrong: &str, words: &str) {
    assert!(wrong.contains(words), "'{words}' is not in '{wrong}'");
}

#[test]
fn a_message_that_is_confirmed_and_never_reaches_the_application() {
    let wrong = found("first-message", Plant::LoseTaken);
    assert_says(&wrong, "is Handled, but the application did not");
}

#[test]
fn a_message_that_comes_twice() {
    let wrong = found("first-message", Plant::TakeTwice);
    assert_says(&wrong, "comes a second time");
}

#[test]
fn a_message_that_is_confirmed_before_it_is_handled() {
    let wrong = found("acks", Plant::ConfirmUnhandled);
    assert_says(&wrong, "is Handled, but the application did not (Held)");
}

#[test]
fn a_verdict_that_is_forgotten() {
    let wrong = found("first-message", Plant::ForgetVerdict);
    assert_says(&wrong, "this does not end");
    assert_says(&wrong, "1 receipts open");
}

#[test]
fn a_verdict_that_is_told_twice() {
    let wrong = found("rejections", Plant::RepeatVerdict);
    assert_says(&wrong, "gets a second verdict");
}

#[test]
fn bytes_that_are_lost_on_the_way() {
    let wrong = found("fragments", Plant::LoseBytes);
    assert_says(&wrong, "the peer broke the protocol");
}

#[test]
fn an_end_that_sleeps_past_its_deadlines() {
    // The old link of an opener that has lost its state ends by its deadline alone.
    let case: Case = "both-ways/plain/crash:opener:20:untold"
        .parse()
        .expect("a case");
    let mut plan = case.plan(&Keys::new(1));
    assert_eq!(run::run(&plan).map(|_| ()), Ok(()));
    plan.plant = Some(Plant::Oversleep);
    let wrong = run::run(&plan).expect_err("a fault was planted");
    assert_says(&wrong, "this does not end");
    assert_says(&wrong, "acceptor of 0 (link 1) is Open, 2 receipts open");
}

#[test]
fn a_listener_that_does_not_lead_peers_to_their_links() {
    let wrong = found_in_seeds(Plant::ForgetSessions);
    assert_says(&wrong, "loses a session for no reason");
}

#[test]
fn an_old_connection_that_reaches_the_link() {
    let wrong = found_in_seeds(Plant::NoFence);
    assert_says(&wrong, "the peer broke the protocol");
}

/// What is found first where an end crashes at every step, one after the other.
fn found_in_crashes(case: &str, change: impl Fn(&mut Plan)) -> String {
    let keys = Keys::new(1);
    let at = |step: u64| {
        let case: Case = format!("{case}:{step}:told").parse().expect("a case");
        let mut plan = case.plan(&keys);
        assert_eq!(run::run(&plan).map(|_| ()), Ok(()), "nothing is wrong yet");
        change(&mut plan);
        run::run(&plan).err()
    };
    (1..400).find_map(at).expect("a fault was planted")
}

#[test]
fn a_listener_that_ends_no_link_whose_peer_began_anew() {
    let case = "both-ways/tls/single:acceptor/crash:opener";
    let plant = Some(Plant::ForgetSessions);
    let wrong = found_in_crashes(case, |plan| plan.plant = plant);
    assert_says(&wrong, "waits on, though its peer began anew");
}

/// Mistakes that the links make themselves.
#[cfg(planted)]
mod planted {
    use countersign_worlds::mistakes::Planted;
    use countersign_worlds::sim::plan::{Disturbance, Learn};

    use super::*;

    /// In one of many seeds, the links' mistake shows in these words.
    fn assert_shows(mistake: Planted, unchecked_clocks: bool, words: &str) {
        let plan = |seed| Plan {
            mistake: Some(mistake),
            unchecked_clocks,
            ..generate::plan(seed, None)
        };
        let mut shown = (0..2000).filter_map(|seed| run::run(&plan(seed)).err());
        let found = shown.any(|wrong| wrong.contains(words));
        assert!(found, "'{words}' is never found");
    }

    #[test]
    fn a_receiver_that_ignores_age() {
        assert_shows(Planted::IgnoresAge, false, "us late");
    }

    #[test]
    fn a_bound_of_the_clock_that_is_too_small() {
        let mistake = Planted::ClockBoundTooSmall;
        assert_shows(mistake, false, "takes its clock to be ahead by");
        for words in ["us late", "us before its time"] {
            assert_shows(mistake, true, words);
        }
    }

    #[test]
    fn an_opener_that_outlives_its_session() {
        let case = "both-ways/plain/single:opener/crash:acceptor";
        let mistake = Some(Planted::OutlivesSession);
        let wrong = found_in_crashes(case, |plan| plan.mistake = mistake);
        assert_says(&wrong, "goes on without its session");
    }

    /// What the opener has said on its first connection is held up until the acceptor's link waits
    /// for it to come back to the session of the second.
    fn with_a_late_hello() -> Plan {
        let case: Case = "both-ways/tls/single:acceptor".parse().expect("a case");
        let mut plan = case.plan(&Keys::new(1));
        plan.disturbances = vec![
            (
                45_000,
                Disturbance::Freeze {
                    pair: 0,
                    time: 955_000,
                    lost: true,
                },
            ),
            (900_000, Disturbance::Unreachable(500_000)),
            (900_001, Disturbance::Cut(0, Learn::Both)),
        ];
        plan
    }

    #[test]
    fn a_link_that_ends_for_a_hello_from_before_its_session() {
        let mut plan = with_a_late_hello();
        let summary = run::run(&plan).expect("nothing is wrong yet");
        assert_eq!((summary.left_behind, summary.resumes), (0, 1));
        plan.mistake = Some(Planted::EndsForLateHello);
        let wrong = run::run(&plan).expect_err("a fault was planted");
        assert_says(&wrong, "ends, though its peer has the session");
    }
}
