//! The search itself, by `stateright`.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_core::{EndReason, Link, VerdictKind};
use stateright::{Checker, HasDiscoveries, Model, Property as Checked};

use super::Setup;
use super::account::{Property, Told};
use super::moves::Move;
use super::world::World;

/// What came up in a search, so that one that has seen nothing does not pass for one that has
/// found nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// States in which nothing more happens by itself.
    pub ends: u64,
    /// How many of those had resumed a session.
    pub resumed: u64,
    /// How many of those had sent a message again.
    pub replayed: u64,
    /// How many of those had lost a session.
    pub lost: u64,
    /// In how many of those the opener had ended with its session.
    pub over: u64,
    /// How many of those had a link of the acceptor's that has ended because its peer began anew.
    pub left_behind: u64,
    /// In how many of those there is a message with each verdict, in the order of
    /// [`VerdictKind::ALL`].
    pub verdicts: [u64; 6],
    /// How often a fence kept something out.
    pub fenced: u64,
    /// How often a message went on in its middle on another connection.
    pub continued: u64,
}

#[derive(Debug, Default)]
struct Tally {
    ends: AtomicU64,
    resumed: AtomicU64,
    replayed: AtomicU64,
    lost: AtomicU64,
    over: AtomicU64,
    left_behind: AtomicU64,
    verdicts: [AtomicU64; 6],
    fenced: AtomicU64,
    continued: AtomicU64,
}

fn count(counter: &AtomicU64, happened: bool) {
    counter.fetch_add(u64::from(happened), Relaxed);
}

impl Tally {
    fn end(&self, world: &World) {
        let opener = world.opener.link();
        count(&self.ends, true);
        count(
            &self.resumed,
            opener.link().is_some_and(|link| link.resumes() > 0),
        );
        let acceptors = world.slots.iter().flatten();
        let again = std::iter::once(&world.opener).chain(acceptors).any(|part| {
            let channels = part.link().link().map(Link::report).unwrap_or_default();
            channels.iter().any(|channel| channel.replayed > 0)
        });
        count(&self.replayed, again);
        count(&self.lost, world.account.sessions_lost > 0);
        let reason = opener.end_reason();
        let over = matches!(reason, Some(EndReason::SessionLost(_)));
        count(&self.over, over);
        count(&self.left_behind, world.account.left_behind > 0);
        for (kind, counter) in VerdictKind::ALL.into_iter().zip(&self.verdicts) {
            let mut all = world.account.receipts.iter().flatten();
            count(
                counter,
                all.any(|receipt| receipt.told == Told::Verdict(kind)),
            );
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            ends: self.ends.load(Relaxed),
            resumed: self.resumed.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            lost: self.lost.load(Relaxed),
            over: self.over.load(Relaxed),
            left_behind: self.left_behind.load(Relaxed),
            verdicts: self
                .verdicts
                .each_ref()
                .map(|counter| counter.load(Relaxed)),
            fenced: self.fenced.load(Relaxed),
            continued: self.continued.load(Relaxed),
        }
    }
}

/// From each state to those that follow, by their digests.
type Steps = Mutex<Vec<(u64, u64)>>;

struct Space {
    setup: Setup,
    tally: Arc<Tally>,
    steps: Option<Arc<Steps>>,
}

impl Model for Space {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setup)]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        world.moves(&self.setup, moves);
    }

    fn next_state(&self, world: &World, what: Move) -> Option<World> {
        let next = world.make(&self.setup, what);
        count(&self.tally.fenced, next.notes.fenced);
        count(&self.tally.continued, next.notes.continued);
        if let Some(steps) = &self.steps {
            steps.lock().unwrap().push((digest(world), digest(&next)));
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Checked<Self>> {
        fn kept(world: &World, property: Property) -> bool {
            world.account.broken != Some(property)
        }
        use Property as P;
        vec![
            Checked::always("at most once", |_, world| kept(world, P::AtMostOnce)),
            Checked::always("never late", |_, world| kept(world, P::NeverLate)),
            Checked::always("in order", |_, world| kept(world, P::InOrder)),
            Checked::always("a border between sessions", |_, world| {
                kept(world, P::Border)
            }),
            Checked::always("one verdict", |_, world| kept(world, P::OneVerdict)),
            Checked::always("no verdict without cause", |_, world| {
                kept(world, P::VerdictWithCause)
            }),
            Checked::always("no violation", |_, world| kept(world, P::NoViolation)),
            Checked::always("no session lost without cause", |_, world| {
                kept(world, P::SessionKept)
            }),
            Checked::always("a true close", |_, world| kept(world, P::TrueClose)),
            Checked::always("one session", |_, world| kept(world, P::OneSession)),
            Checked::always("no stall", |_, world| kept(world, P::NoStall)),
            Checked::always("all settled in the end", |space: &Self, world| {
                kept(world, P::Settled) && space.ends_well(world)
            }),
        ]
    }
}

impl Space {
    /// Whether something happens by itself, or all is as it should be. Asked once of each state.
    fn ends_well(&self, world: &World) -> bool {
        let mut moves = Vec::new();
        world.moves(&self.setup, &mut moves);
        if moves.iter().any(|what| what.is_owed()) || world.account.broken.is_some() {
            return true;
        }
        self.tally.end(world);
        world.is_settled()
    }
}

fn digest(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// What a search has found.
#[derive(Clone)]
pub struct Found {
    /// How many different states were visited.
    pub states: usize,
    /// How many moves led to them.
    pub transitions: usize,
    /// The longest way to a state that was gone.
    pub depth: usize,
    /// How long it took.
    pub time: Duration,
    /// Whether there is no state that was not visited.
    pub complete: bool,
    /// Whether no state can come back; only asked of small searches.
    pub acyclic: Option<bool>,
    /// What came up.
    pub seen: Seen,
    /// Each property that does not hold, with a way that leads there.
    pub broken: Vec<(&'static str, Vec<Move>)>,
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} states, {} moves, depth {}, {:.1?}, complete: {}, acyclic: {:?}\n{:?}",
            self.states,
            self.transitions,
            self.depth,
            self.time,
            self.complete,
            self.acyclic,
            self.seen
        )?;
        for (property, way) in &self.broken {
            writeln!(f, "broken in {} moves: {property}", way.len())?;
            for step in way {
                writeln!(f, "  {step:?}")?;
            }
        }
        Ok(())
    }
}

/// Visits every state of a world, depth first. With `steps`, every step is kept, to see whether
/// any state can come back.
#[must_use]
pub fn search(setup: &Setup, threads: usize, steps: bool) -> Found {
    let tally = Arc::new(Tally::default());
    let steps = steps.then(|| Arc::new(Steps::default()));
    let space = Space {
        setup: setup.clone(),
        tally: Arc::clone(&tally),
        steps: steps.clone(),
    };
    let begun = Instant::now();
    let checker = space
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_dfs()
        .join();
    let mut found = conclude(&checker, begun, &tally);
    found.acyclic = steps.map(|steps| is_acyclic(&steps.lock().unwrap()));
    found
}

/// Visits states breadth first until this property does not hold, and finds a shortest way there,
/// the only one of [`Found::broken`].
#[must_use]
pub fn search_for(setup: &Setup, property: &'static str) -> Found {
    let mut found = search_within(setup, property, None);
    // A search goes on for a little after its first find, and reports the last.
    while let Some((_, way)) = found.broken.first() {
        let shorter = search_within(setup, property, Some(way.len() + 1));
        if shorter.broken.is_empty() {
            break;
        }
        found = shorter;
    }
    found
}

/// Visits states to which there are fewer moves than `depth`, not counting the first state.
fn search_within(setup: &Setup, property: &'static str, depth: Option<usize>) -> Found {
    let tally = Arc::new(Tally::default());
    let space = Space {
        setup: setup.clone(),
        tally: Arc::clone(&tally),
        steps: None,
    };
    let begun = Instant::now();
    let sought = HasDiscoveries::AnyOf([property].into());
    let mut checker = space.checker().finish_when(sought);
    if let Some(depth) = depth {
        checker = checker.target_max_depth(depth);
    }
    let checker = checker.spawn_bfs().join();
    let mut found = conclude(&checker, begun, &tally);
    found.broken.retain(|(broken, _)| *broken == property);
    found
}

fn conclude(checker: &impl Checker<Space>, begun: Instant, tally: &Tally) -> Found {
    // Ways are found again by going them, which counts as well.
    let (time, seen) = (begun.elapsed(), tally.seen());
    let discoveries = checker.discoveries().into_iter();
    let mut broken: Vec<_> = discoveries
        .map(|(property, way)| (property, way.into_actions()))
        .collect();
    broken.sort_by_key(|(property, way)| (way.len(), *property));
    Found {
        states: checker.unique_state_count(),
        transitions: checker.state_count() - 1,
        depth: checker.max_depth(),
        time,
        complete: checker.is_done() && broken.is_empty(),
        acyclic: None,
        seen,
        broken,
    }
}

/// Whether the steps have an order in which none leads back: takes away what nothing leads to, for
/// as long as there is any.
fn is_acyclic(steps: &[(u64, u64)]) -> bool {
    let mut names: HashMap<u64, usize> = HashMap::new();
    let mut name = |digest: u64| {
        let next = names.len();
        *names.entry(digest).or_insert(next)
    };
    let steps: Vec<_> = steps
        .iter()
        .map(|(from, to)| (name(*from), name(*to)))
        .collect();
    let mut ways_in = vec![0_usize; names.len()];
    let mut after = vec![Vec::new(); names.len()];
    for (from, to) in steps {
        ways_in[to] += 1;
        after[from].push(to);
    }
    let mut free: Vec<_> = (0..ways_in.len())
        .filter(|state| ways_in[*state] == 0)
        .collect();
    let mut left = ways_in.len();
    while let Some(state) = free.pop() {
        left -= 1;
        for next in &after[state] {
            ways_in[*next] -= 1;
            if ways_in[*next] == 0 {
                free.push(*next);
            }
        }
    }
    left == 0
}
