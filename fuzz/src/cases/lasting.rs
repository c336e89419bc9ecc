//! Links that outlive their connections: cuts that either end learns of or not, half-open
//! connections, restarts, evictions, and all that happens to a pair.
//!
//! Input: the declarations of both ends, then what happens, one choice and its numbers each.

use super::Draw;
use super::usual::{MOST, case, op};
use crate::lasting::case::{Happens, LastingCase};
use crate::lasting::world::World;

/// Tries one input: the case must hold, come out the same a second time, and as well if everything
/// arrives byte by byte.
///
/// # Panics
///
/// Where the model says that something else must happen.
pub fn check(input: &[u8]) {
    let mut case = lasting_case(input);
    let first = World::new(&case).run();
    assert!(
        first == World::new(&case).run(),
        "the same calls gave something else"
    );
    case.pair.byte_by_byte = true;
    assert!(
        first == World::new(&case).run(),
        "the cuts made a difference"
    );
}

/// Tries one input on links that make a mistake.
///
/// # Panics
///
/// Where it shows.
#[cfg(planted)]
pub fn check_with(mistake: countersign_core::Planted, input: &[u8]) {
    let case = lasting_case(input);
    World::new(&case).with_mistake(mistake).run();
}

fn lasting_case(input: &[u8]) -> LastingCase {
    let mut draw = Draw::new(input);
    let pair = case(&mut draw);
    // What chose between seven in ten and the rest had more to say: inputs keep their meaning, but
    // for the few that say so.
    let how = draw.choice();
    let (single, proven) = match how / 10 {
        20 => ([true, false], false),
        21 => ([true, false], true),
        22 => ([false, true], true),
        23 => ([true; 2], true),
        24 => ([true; 2], false),
        _ => ([false; 2], false),
    };
    let mut case = LastingCase {
        pair,
        listens: how % 10 < 7,
        single,
        proven,
        retain: draw.one_of([(300, 300), (300, 300), (1, 19)]) as u64,
        last_cut: draw.flag(),
        happens: Vec::new(),
    };
    while !draw.is_over() && case.happens.len() < MOST {
        case.happens.push(happens(&mut draw));
    }
    case
}

fn happens(draw: &mut Draw<'_>) -> Happens {
    match draw.size(0, 31) {
        0..=16 => Happens::Usual(op(draw)),
        17..=19 => Happens::Flow(draw.size(1, 5)),
        20..=21 => Happens::Lose(draw.size(0, 1)),
        22 => Happens::Drop,
        23..=24 => Happens::Connect,
        25 => Happens::Reconnect,
        26 => Happens::Return {
            arrives: draw.flag(),
        },
        27..=28 => Happens::CutInside {
            from: draw.size(0, 1),
            bytes: draw.one_of([(0, 99), (0, 6000)]),
        },
        29 => Happens::FailToConnect,
        30 => Happens::Restart(draw.size(0, 1)),
        _ => Happens::Evict,
    }
}
