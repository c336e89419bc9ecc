//! Cases of links that outlive their connections.

use countersign_core::Dialect;
use proptest::prelude::*;

use super::usual::{case_of, op};
use crate::lasting::case::{Happens, LastingCase};

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
        case_of(Dialect::Countersign),
        prop::bool::weighted(0.7),
        prop_oneof![4 => Just(300_u64), 1 => 1..20_u64],
        any::<bool>(),
        prop::collection::vec(happens(), 0..250),
        prop_oneof![2 => Just([false; 2]), 2 => any::<[bool; 2]>()],
        any::<bool>(),
    )
        .prop_map(
            |(pair, listens, retain, last_cut, happens, single, proven)| LastingCase {
                pair,
                listens,
                retain,
                last_cut,
                single,
                proven,
                happens,
            },
        )
}
