//! Commands with limited lives, and a lease, on a network that stands still.

use std::mem;

use countersign_tests::namespaces::{FIRST, Namespaces, now};
use countersign_tests::size::leaves_out;

use super::{End, PORT, QUALITY, ROLES, identities, network, number};

/// What the network does to a robot's commands.
#[derive(Debug, PartialEq)]
enum Trouble {
    /// It keeps back what these of the two ends send, and lets all of it arrive at once.
    Stalls(&'static [usize]),
    /// The cable is pulled, and the connection outlasts it.
    Pulled,
    /// The cable is pulled until the operator has given its connection up.
    Cut,
}

use Trouble::{Cut, Pulled, Stalls};

const ROBOT: usize = 0;
const OPERATOR: usize = 1;
const TROUBLES: [Trouble; 5] = [
    Stalls(&[ROBOT, OPERATOR]),
    Stalls(&[OPERATOR]),
    Stalls(&[ROBOT]),
    Pulled,
    Cut,
];
/// How many commands are sent meanwhile, at least: one in 20 ms, so all lives are over in the end.
const MEANWHILE: u64 = 50;
/// In milliseconds. A command of the second life may be too old for the lease when it is taken.
const LEASE: u64 = 300;
const LIVES: [u64; 2] = [200, 600];

impl Trouble {
    fn set(&self, network: &Namespaces, bad: bool) {
        match self {
            Stalls(ends) => ends.iter().for_each(|end| network.stall(*end, bad)),
            Pulled | Cut => network.set_up(ROBOT, !bad).unwrap(),
        }
    }
}

/// What an end has said: a word and figures.
type Said = (String, Vec<u64>);

/// An end of which everything that it has said is kept.
struct Witness {
    end: End,
    said: Vec<Said>,
}

impl Witness {
    /// Waits until it says this, and returns the figures.
    fn hear(&mut self, word: &str, wanted: impl Fn(&[u64]) -> bool) -> Vec<u64> {
        loop {
            assert!(self.listen(), "it has ended before it said '{word}'");
            let said = self.said.last();
            if let Some((_, figures)) = said.filter(|said| said.0 == word && wanted(&said.1)) {
                return figures.clone();
            }
        }
    }

    /// Hears one line more, if there is one.
    fn listen(&mut self) -> bool {
        let line = self.end.lines.next();
        self.said.extend(line.iter().map(|line| {
            let (word, figures) = line.split_once(' ').unwrap_or((line, ""));
            let figures = figures.split_whitespace();
            let figures = figures.map(|figure| figure.parse().unwrap());
            (word.to_owned(), figures.collect())
        }));
        line.is_some()
    }

    /// Whether its connection was lost and has not come back.
    fn is_lost(&self) -> bool {
        let words = self.said.iter().map(|(word, _)| &word[..]);
        let mut of_the_connection = words.filter(|word| ["lost", "resumed"].contains(word));
        of_the_connection.next_back() == Some("lost")
    }

    /// Waits for its end, and returns everything.
    fn all(mut self) -> Vec<Said> {
        while self.listen() {}
        assert!(self.end.child.wait().unwrap().success());
        mem::take(&mut self.said)
    }
}

/// No command is taken when its life is over, and authority does not outlive its lease, whatever the
/// network does. Nothing of that depends on how fast the machine is: what is compared are times of the
/// same clock, each read on the side on which a delay can't look like a broken promise.
fn leases(tag: char, backends: [&str; 2]) {
    let seed = number("COUNTERSIGN_SEED", fastrand::u64(..));
    println!("COUNTERSIGN_SEED={seed} cargo test -p countersign-tests --test bad_network");
    let Some(network) = network(tag, QUALITY, seed) else {
        return;
    };
    let folder = identities();
    let address = format!("{FIRST}:{PORT}");
    let start = |at: usize, times: &[u64]| {
        let times: Vec<_> = times.iter().map(u64::to_string).collect();
        let folder = folder.path().to_str().unwrap();
        let mut arguments = vec![ROLES[at], backends[at], &address, folder];
        arguments.extend(times.iter().map(String::as_str));
        let program = env!("CARGO_BIN_EXE_lease-end");
        let end = End::start(&network, at, program, &arguments);
        Witness {
            end,
            said: Vec::new(),
        }
    };
    let (mut robot, mut operator) = (start(ROBOT, &[LEASE]), start(OPERATOR, &LIVES));
    robot.hear("took", |_| true);
    let mut late = Vec::new();
    for trouble in TROUBLES {
        trouble.set(&network, true);
        let since = now();
        let first = operator.hear("sent", |sent| sent[2] > since)[0];
        let mut newest = operator.hear("sent", |sent| sent[0] == first + MEANWHILE)[0];
        while trouble == Cut && !operator.is_lost() {
            newest = operator.hear("sent", |_| true)[0];
        }
        if trouble != Stalls(&[ROBOT]) {
            late.push(first);
        }
        trouble.set(&network, false);
        robot.hear("took", |took| took[0] > newest);
    }
    drop(operator.end.child.stdin.take());
    check(&operator.all(), &robot.all(), &late);
}

/// Returns the figures of each line with this word.
fn figures<const COUNT: usize>(said: &[Said], word: &str) -> Vec<[u64; COUNT]> {
    let with_word = said.iter().filter(|said| said.0 == word);
    with_word
        .map(|(_, figures)| figures[..].try_into().unwrap())
        .collect()
}

/// Compares what both have said. The commands `late` can't have arrived while they were good.
fn check(operator: &[Said], robot: &[Said], late: &[u64]) {
    let sent = figures::<4>(operator, "sent");
    let sent = |command: u64| sent[usize::try_from(command).unwrap()];
    let taken = figures::<2>(robot, "took");
    let mut life_left = u64::MAX;
    for [command, time] in &taken {
        let [_, life, made, _] = sent(*command);
        let age = time.saturating_sub(made);
        assert!(
            age < life,
            "command {command} of {life} ns was taken {age} ns old"
        );
        life_left = life_left.min(life - age);
    }
    let held = figures::<2>(robot, "held");
    let mut lease_left = u64::MAX;
    for [command, time] in &held {
        let [_, _, _, accepted] = sent(*command);
        let (lease, age) = (LEASE * 1_000_000, time.saturating_sub(accepted));
        assert!(
            age < lease,
            "the lease was held {age} ns after command {command}, the newest"
        );
        lease_left = lease_left.min(lease - age);
    }
    println!(
        "{} commands taken, with {} us left at least, the lease held {} times, with {} us left, {} \
         connections lost",
        taken.len(),
        life_left / 1000,
        held.len(),
        lease_left / 1000,
        figures::<0>(operator, "lost").len(),
    );
    assert!(
        taken.is_sorted_by(|[one, _], [next, _]| one < next),
        "{taken:?}"
    );
    for command in late {
        let found = taken.iter().find(|taken| taken[0] == *command);
        assert_eq!(found, None, "sent while nothing arrived");
    }
    assert!(!held.is_empty());
    let [[handled, expired, other]] = figures::<3>(operator, "end")[..] else {
        panic!("{operator:?}");
    };
    assert_eq!((handled, other), (taken.len() as u64, 0));
    assert!(expired >= late.len() as u64);
}

#[test]
fn leases_with_tokio_and_std() {
    leases('a', ["tokio", "std"]);
}

#[test]
fn leases_with_other_backends() {
    if !leaves_out("leases on a bad network with other backends than tokio and std") {
        for (tag, backends) in [
            ('b', ["std"; 2]),
            ('c', ["own_loop", "tokio"]),
            ('d', ["smol", "compio"]),
        ] {
            leases(tag, backends);
        }
    }
}
