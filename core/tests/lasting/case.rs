//! What a case consists of: that of a pair, and what happens to its connections.

use core::time::Duration;

use countersign_core::{Config, Dialect, Patience};
use proptest::prelude::*;

use crate::pair::case::{Case, Op, case_of, op};

/// Something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Happens {
    /// What happens to a pair with one connection, too.
    Usual(Op),
    /// Moves bytes both ways, this many times.
    Flow(usize),
    /// This end is told that its connection is lost. What it has written may still arrive.
    Lose(usize),
    /// Everything on its way is lost, and nobody is told.
    Drop,
    /// The opener connects, or its attempt gets one step further.
    Connect,
    /// Both ends are told, and the opener connects at once.
    Reconnect,
    /// Only the opener is told, and it connects at once. What it has written may still arrive.
    Return { arrives: bool },
    /// This much of what an end has to say arrives, then both ends are told.
    CutInside { from: usize, bytes: usize },
    /// The opener's attempt comes to nothing.
    FailToConnect,
    /// An end loses all of its state.
    Restart(usize),
    /// The acceptor has no room for a link whose peer is away.
    Evict,
}

/// A whole case.
#[derive(Clone, Debug)]
pub(crate) struct LastingCase {
    pub(crate) pair: Case,
    /// The acceptor makes a link for each connection and looks up whose it is; else it has one
    /// link and uses it again.
    pub(crate) listens: bool,
    /// Seconds.
    pub(crate) retain: u64,
    /// There is another connection before the end in any case.
    pub(crate) last_cut: bool,
    pub(crate) happens: Vec<Happens>,
}

impl LastingCase {
    pub(crate) fn patience(&self) -> Patience {
        Patience {
            retain: Duration::from_secs(self.retain),
            ..self.pair.patience()
        }
    }

    pub(crate) fn config(&self, end: usize) -> Config {
        self.pair.config(end).patience(self.patience())
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        40 => op().prop_map(Happens::Usual),
        6 => (1..6_usize).prop_map(Happens::Flow),
        2 => (0..2_usize).prop_map(Happens::Lose),
        1 => Just(Happens::Drop),
        4 => Just(Happens::Connect),
        2 => Just(Happens::Reconnect),
        2 => any::<bool>().prop_map(|arrives| Happens::Return { arrives }),
        3 => (0..2_usize, prop_oneof![0..100_usize, 0..6000_usize])
            .prop_map(|(from, bytes)| Happens::CutInside { from, bytes }),
        1 => prop_oneof![
            4 => Just(Happens::FailToConnect),
            2 => (0..2_usize).prop_map(Happens::Restart),
            1 => Just(Happens::Evict),
        ],
    ]
}

/// Cases of links that outlive their connections.
pub(crate) fn lasting_case() -> impl Strategy<Value = LastingCase> {
    (
        case_of(Dialect::Countersign, Just(Vec::new())),
        prop::bool::weighted(0.7),
        prop_oneof![4 => Just(300_u64), 1 => 1..20_u64],
        any::<bool>(),
        prop::collection::vec(happens(), 0..250),
    )
        .prop_map(|(pair, listens, retain, last_cut, happens)| LastingCase {
            pair,
            listens,
            retain,
            last_cut,
            happens,
        })
}
