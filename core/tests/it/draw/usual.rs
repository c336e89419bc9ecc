//! What two ends declare, and what happens to them whatever becomes of their connections.

use countersign_core::{CloseMode, Dialect};
use proptest::prelude::*;

use crate::lasting::usual::{Case, Chan, Op};
use crate::streamed::StreamCase;

fn chan(native: bool) -> impl Strategy<Value = Chan> {
    let max = prop_oneof![1..40_usize, 200..600_usize, 1000..5000_usize];
    let same = prop_oneof![4 => Just(None), 1 => (1..3000_usize).prop_map(Some)];
    (
        (
            0..2_usize,
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.25),
        ),
        (max, same),
        (1..12_usize, 1..6000_usize),
        (
            prop_oneof![1..5_u32, 1..50_u32],
            prop_oneof![1..300_usize, 1..9000_usize],
        ),
        prop_oneof![2 => Just(None), 1 => (1..5_u32).prop_map(Some)],
        prop_oneof![3 => Just(None), 1 => (1..3000_u64).prop_map(Some)],
    )
        .prop_map(
            move |(kind, (max, other), queue, window, in_flight, lease)| {
                let (sender, latest, manual, urgent) = kind;
                Chan {
                    sender,
                    latest,
                    urgent,
                    manual: manual && native,
                    // Without a handshake, two figures that differ are a mistake of the callers'.
                    max: [max, other.filter(|_| native).unwrap_or(max)],
                    queue,
                    window,
                    in_flight,
                    lease: lease.filter(|_| native),
                }
            },
        )
}

fn close_mode() -> impl Strategy<Value = CloseMode> {
    prop_oneof![
        Just(CloseMode::DrainBoth),
        Just(CloseMode::Drain),
        Just(CloseMode::Withdraw)
    ]
}

/// Codes of a close.
fn code() -> impl Strategy<Value = u32> {
    prop_oneof![2 => Just(0), 1 => 1..3_u32]
}

fn space() -> impl Strategy<Value = usize> {
    prop_oneof![
        2 => 0..40_usize,
        2 => 20..320_usize,
        2 => 300..1500_usize,
        2 => Just(20_000_usize),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let expires = prop_oneof![
        3 => Just(None),
        1 => Just(Some(0)),
        2 => (1..3_000_000_u64).prop_map(Some),
    ];
    let size = prop_oneof![Just(0_usize), 0..60_usize, 0..1002_usize, Just(1000_usize)];
    let bytes = prop_oneof![0..30_usize, 0..2000_usize, Just(1_000_000_usize)];
    let piece = prop_oneof![1..8_usize, 1..100_usize, Just(1_000_000_usize)];
    let micros = prop_oneof![Just(0_u64), 1..2000_u64, 1..4_000_000_u64];
    let reason = prop_oneof![Just(0_usize), 0..20_usize, 120..140_usize];
    prop_oneof![
        2 => (0..2_usize).prop_map(Op::Connect),
        20 => (any::<usize>(), size, expires)
            .prop_map(|(channel, size, expires)| Op::Send { channel, size, expires }),
        10 => any::<usize>().prop_map(Op::Take),
        6 => (any::<usize>(), any::<usize>())
            .prop_map(|(channel, which)| Op::Handle { channel, which }),
        4 => (any::<usize>(), any::<usize>(), 0..5_u32, reason).prop_map(
            |(channel, which, code, reason)| Op::Reject { channel, which, code, reason }
        ),
        1 => (any::<usize>(), 0..9_u64)
            .prop_map(|(channel, sequence)| Op::HandleWrong { channel, sequence }),
        1 => any::<usize>().prop_map(Op::Abandon),
        1 => (0..2_usize, close_mode(), code())
            .prop_map(|(end, mode, code)| Op::Close(end, mode, code)),
        4 => micros.prop_map(Op::Pass),
        3 => Just(Op::Sleep),
        16 => (0..2_usize, bytes, piece)
            .prop_map(|(from, bytes, piece)| Op::Move { from, bytes, piece }),
        16 => (0..2_usize, space()).prop_map(|(end, space)| Op::Poll { end, space }),
        5 => (0..2_usize).prop_map(Op::PollEvents),
        1 => prop_oneof![3 => Just(Op::Pass(0)), 1 => Just(Op::Cut)],
    ]
}

fn frame_limit() -> impl Strategy<Value = usize> {
    prop_oneof![512..600_usize, 512..3000_usize, Just(16_384_usize)]
}

fn closers() -> impl Strategy<Value = [Option<(CloseMode, u32)>; 2]> {
    let close = || (close_mode(), code());
    prop_oneof![
        close().prop_map(|close| [Some(close), None]),
        close().prop_map(|close| [None, Some(close)]),
        (close(), close()).prop_map(|(a, b)| [Some(a), Some(b)]),
    ]
}

/// Cases in the `tlsstream` dialect.
pub(crate) fn stream_case() -> impl Strategy<Value = StreamCase> {
    let ops = prop::collection::vec(op(), 0..150);
    (case_of(Dialect::TlsStream), ops).prop_map(|(pair, ops)| StreamCase { pair, ops })
}

/// What cases in one dialect begin and end with.
pub(super) fn case_of(dialect: Dialect) -> impl Strategy<Value = Case> {
    let native = dialect == Dialect::Countersign;
    let most = if native { 5 } else { 2 };
    (
        prop::collection::vec(chan(native), 1..most),
        [frame_limit(), frame_limit()],
        (
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.8),
            any::<bool>(),
            any::<[bool; 2]>(),
        ),
        prop_oneof![Just(0_u64), Just(1000_u64), 1..50_000_u64],
        closers(),
        prop_oneof![Just(16_384_usize), 600..2000_usize],
    )
        .prop_map(
            move |(channels, frame_limits, flags, ack_delay, closers, last_space)| {
                let (reversed, eager, connected, unwatched, paced) = flags;
                Case {
                    dialect,
                    channels,
                    frame_limits,
                    reversed,
                    eager,
                    connected,
                    unwatched,
                    paced,
                    ack_delay,
                    closers,
                    last_space,
                    byte_by_byte: false,
                }
            },
        )
}
