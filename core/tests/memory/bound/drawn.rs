//! Attacks that are drawn at random.

use countersign_core::{Config, Role};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use super::attacks::Scale;
use super::play;
use super::world::Op;

fn op(scale: Scale) -> impl Strategy<Value = Op> {
    let channel = || 0..scale.channels;
    let length = move || {
        prop_oneof![
            Just(0),
            Just(1),
            Just(scale.share),
            Just(scale.share + 1),
            Just(scale.largest),
            0..=scale.largest
        ]
    };
    prop_oneof![
        6 => (channel(), length(), any::<bool>())
            .prop_map(|(channel, length, cut)| Op::Whole { channel, length, cut }),
        4 => (channel(), length(), length())
            .prop_map(|(channel, total, length)| Op::Fragment { channel, total, length }),
        1 => channel().prop_map(|channel| Op::Skip { channel }),
        2 => channel().prop_map(|channel| Op::Note { channel }),
        2 => channel().prop_map(|channel| Op::Ack { channel }),
        3 => (channel(), 0..=256_usize)
            .prop_map(|(channel, reason)| Op::Reject { channel, reason }),
        1 => Just(Op::Ping),
        2 => Just(Op::Answer),
        1 => (0..400_usize).prop_map(|length| Op::Unknown { length }),
        2 => Just(Op::Read),
        1 => Just(Op::Lose),
        1 => (0..4).prop_map(|kind| Op::Return { resume: kind > 0 }),
        5 => (channel(), length(), any::<bool>())
            .prop_map(|(channel, length, expires)| Op::Send { channel, length, expires }),
        3 => channel().prop_map(|channel| Op::Take { channel }),
        3 => (channel(), any::<bool>(), any::<bool>())
            .prop_map(|(channel, newest, reject)| Op::Settle { channel, newest, reject }),
        1 => Just(Op::Poll),
        1 => (0..4_u64).prop_map(|seconds| Op::Wait { seconds }),
    ]
}

/// Steps, each of them several times over: queues fill only by repetition.
fn attack(scale: Scale) -> impl Strategy<Value = Vec<(Op, usize)>> {
    let times = prop_oneof![1..4_usize, 1..=scale.messages];
    prop::collection::vec((op(scale), times), 1..60)
}

/// Draws sequences against links of this declaration.
pub(crate) fn run(name: &str, config: &Config, scale: Scale) {
    let bound = config.memory_bound();
    let mut runner = TestRunner::new(ProptestConfig {
        // A quarter for each: there are several declarations.
        cases: ProptestConfig::default().cases.div_ceil(4),
        failure_persistence: Some(Box::new(FileFailurePersistence::Off)),
        ..ProptestConfig::default()
    });
    let roles = prop_oneof![Just(Role::Acceptor), Just(Role::Opener)];
    let result = runner.run(&(roles, attack(scale)), |(role, steps)| {
        let steps = steps.iter();
        let ops: Vec<Op> = steps
            .flat_map(|(op, times)| std::iter::repeat_n(op.clone(), *times))
            .collect();
        let most = play(config, role, &ops);
        prop_assert!(most <= bound, "{name}: {most} of {bound} bytes");
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
