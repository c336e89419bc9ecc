//! The declarations of both ends, and what happens to links whatever becomes of their connections:
//! one choice and its numbers each.

use countersign_core::{CloseMode, Dialect};

use super::Draw;
use crate::lasting::usual::{Case, Chan, Op};

/// How many things happen at most: enough for every state, and few enough to try many cases.
pub(super) const MOST: usize = 150;

/// A case in which nothing happens yet.
pub(super) fn case(draw: &mut Draw<'_>) -> Case {
    let count = draw.size(1, 4);
    let channels = (0..count).map(|_| chan(draw)).collect();
    let frame_limits = [frame_limit(draw), frame_limit(draw)];
    let (reversed, eager, connected) = (draw.flag(), draw.flag(), draw.size(0, 4) > 0);
    let watched = draw.size(0, 7);
    Case {
        dialect: Dialect::Countersign,
        channels,
        frame_limits,
        reversed,
        eager,
        connected,
        unwatched: watched & 1 != 0,
        paced: [watched & 2 != 0, watched & 4 != 0],
        ack_delay: draw.one_of([(0, 0), (1000, 1000), (1, 50_000)]) as u64,
        closers: closers(draw),
        last_space: draw.one_of([(16_384, 16_384), (600, 2000)]),
        byte_by_byte: false,
    }
}

fn chan(draw: &mut Draw<'_>) -> Chan {
    let max = draw.one_of([(1, 40), (200, 600), (1000, 5000)]);
    let other = (draw.size(0, 4) == 4).then(|| draw.size(1, 3000));
    let (sender, how) = (draw.size(0, 1), draw.size(0, 7));
    Chan {
        sender,
        latest: how & 1 != 0,
        urgent: how >= 6,
        manual: draw.flag(),
        max: [max, other.unwrap_or(max)],
        queue: (draw.size(1, 12), draw.size(1, 6000)),
        window: (
            u32::try_from(draw.one_of([(1, 5), (1, 50)])).unwrap_or(1),
            draw.one_of([(1, 300), (1, 9000)]),
        ),
        in_flight: (draw.size(0, 2) == 2).then(|| draw.from(1, 4) as u32),
        lease: (draw.size(0, 3) == 3).then(|| draw.from(1, 3000)),
    }
}

fn frame_limit(draw: &mut Draw<'_>) -> usize {
    draw.one_of([(512, 600), (512, 3000), (16_384, 16_384)])
}

fn close_mode(draw: &mut Draw<'_>) -> CloseMode {
    match draw.size(0, 2) {
        0 => CloseMode::Drain,
        1 => CloseMode::Withdraw,
        _ => CloseMode::DrainBoth,
    }
}

fn close(draw: &mut Draw<'_>) -> (CloseMode, u32) {
    (close_mode(draw), draw.from(0, 2) as u32)
}

fn closers(draw: &mut Draw<'_>) -> [Option<(CloseMode, u32)>; 2] {
    match draw.size(0, 2) {
        0 => [Some(close(draw)), None],
        1 => [None, Some(close(draw))],
        _ => [Some(close(draw)), Some(close(draw))],
    }
}

/// One thing that happens. What happens often has several of the numbers.
pub(super) fn op(draw: &mut Draw<'_>) -> Op {
    match draw.size(0, 31) {
        0..=6 => Op::Send {
            channel: draw.size(0, 3),
            size: draw.one_of([(0, 0), (0, 60), (0, 1001), (1000, 1000)]),
            expires: expires(draw),
        },
        7..=10 => Op::Take(draw.size(0, 3)),
        11..=12 => Op::Handle {
            channel: draw.size(0, 3),
            which: draw.choice(),
        },
        13 => Op::Reject {
            channel: draw.size(0, 3),
            which: draw.choice(),
            code: draw.from(0, 4) as u32,
            reason: draw.one_of([(0, 0), (0, 19), (120, 139)]),
        },
        14 => Op::HandleWrong {
            channel: draw.size(0, 3),
            sequence: draw.from(0, 8),
        },
        15 => Op::Abandon(draw.size(0, 3)),
        16 => {
            let end = draw.size(0, 1);
            let (mode, code) = close(draw);
            Op::Close(end, mode, code)
        }
        17 => Op::Pass(draw.one_of([(0, 0), (1, 2000), (1, 4_000_000)]) as u64),
        18 => Op::Sleep,
        19..=23 => Op::Move {
            from: draw.size(0, 1),
            bytes: draw.one_of([(0, 29), (0, 2000), (1_000_000, 1_000_000)]),
            piece: draw.one_of([(1_000_000, 1_000_000), (1, 7), (1, 100)]),
        },
        24..=28 => Op::Poll {
            end: draw.size(0, 1),
            space: draw.one_of([(20_000, 20_000), (0, 39), (20, 319), (300, 1499)]),
        },
        29 => Op::PollEvents(draw.size(0, 1)),
        30 => Op::Connect(draw.size(0, 1)),
        _ => Op::Cut,
    }
}

fn expires(draw: &mut Draw<'_>) -> Option<u64> {
    match draw.size(0, 3) {
        0 | 1 => None,
        2 => Some(0),
        _ => Some(draw.from(1, 3_000_000)),
    }
}
