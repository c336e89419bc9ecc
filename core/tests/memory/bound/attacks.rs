//! What a hostile peer and a careless application do to make a link hold as much as it can.

use super::world::Op;

/// What the attacks are measured out for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) channels: usize,
    /// More messages than any queue or window takes.
    pub(crate) messages: usize,
    /// The largest message of any channel.
    pub(crate) largest: usize,
    /// The longest message that shares memory with others.
    pub(crate) share: usize,
}

/// An attack, by name.
pub(crate) type Attack = (&'static str, fn(Scale) -> Vec<Op>);

pub(crate) const ATTACKS: &[Attack] = &[
    ("empty messages", empty),
    ("single bytes", single_bytes),
    ("a byte kept beside what goes", kept_beside_others),
    ("a byte kept of each piece of memory", kept_of_each),
    ("memory that is shared badly", wasteful),
    ("pings between single bytes", pings_between),
    ("fragments without an end", endless),
    ("long messages behind short ones", long_behind_short),
    ("settled from the end", settled_from_the_end),
    ("rejected from the end", rejected_from_the_end),
    ("nobody listens", abandoned),
    ("a full store", full_store),
    ("a full store, rejected", rejected_store),
    ("a store that is rejected again and again", rejected_again),
    ("expiries", expiries),
    ("answers that are late", late_answers),
    ("everything in flight, resumed", resumed),
    ("sessions lost with all that they had", lost_sessions),
    ("sessions lost with long messages", lost_long),
    ("sessions lost with messages of many frames", long_messages),
    ("all of it", all),
];

/// The same on every channel, over and over.
fn each(scale: Scale, times: usize, ops: impl Fn(usize) -> Vec<Op>) -> Vec<Op> {
    let channels = 0..scale.channels;
    let on_one = |channel| (0..times).flat_map(move |_| [channel]);
    channels.flat_map(on_one).flat_map(ops).collect()
}

const fn whole(channel: usize, length: usize) -> Op {
    let cut = false;
    Op::Whole {
        channel,
        length,
        cut,
    }
}

fn empty(scale: Scale) -> Vec<Op> {
    each(scale, scale.messages, |channel| vec![whole(channel, 0)])
}

fn single_bytes(scale: Scale) -> Vec<Op> {
    each(scale, scale.messages, |channel| vec![whole(channel, 1)])
}

/// A byte on one channel that is never taken, and between two of them what fills a piece of memory
/// on another channel, where everything is taken.
fn kept_beside_others(scale: Scale) -> Vec<Op> {
    let last = scale.channels - 1;
    let round = |_| {
        let mut ops = vec![whole(0, 1)];
        for _ in 0..4 {
            ops.push(whole(last, scale.share));
            ops.push(Op::Take { channel: last });
            ops.push(Op::Settle {
                channel: last,
                newest: true,
                reject: false,
            });
        }
        ops.push(Op::Read);
        ops
    };
    (0..scale.messages).flat_map(round).collect()
}

/// A byte that the application keeps, and behind it what fills the piece of memory and is settled.
fn kept_of_each(scale: Scale) -> Vec<Op> {
    each(scale, scale.messages, |channel| {
        let take = Op::Take { channel };
        let mut ops = vec![whole(channel, 1), take.clone()];
        for _ in 0..4 {
            ops.push(whole(channel, scale.share));
            ops.push(take.clone());
            ops.push(Op::Settle {
                channel,
                newest: true,
                reject: false,
            });
        }
        ops.push(Op::Read);
        ops
    })
}

/// The last message of each piece of memory is a little too long for what is left of it.
fn wasteful(scale: Scale) -> Vec<Op> {
    let lengths = [1, scale.share, scale.share, scale.share];
    each(scale, scale.messages, |channel| {
        lengths.map(|length| whole(channel, length)).to_vec()
    })
}

fn pings_between(scale: Scale) -> Vec<Op> {
    each(scale, scale.messages, |channel| {
        let wait = Op::Wait { seconds: 4 };
        vec![
            whole(channel, 1),
            wait.clone(),
            Op::Ping,
            wait,
            Op::Ping,
            Op::Read,
        ]
    })
}

fn fragment(channel: usize, total: usize, length: usize) -> Op {
    Op::Fragment {
        channel,
        total,
        length,
    }
}

fn endless(scale: Scale) -> Vec<Op> {
    each(scale, 1, |channel| {
        vec![
            fragment(channel, scale.largest, 1),
            Op::Unknown { length: 400 },
        ]
    })
}

/// Half of the window is full; then comes a message that is moved when it is as long as that.
fn long_behind_short(scale: Scale) -> Vec<Op> {
    each(scale, 1, |channel| {
        let half = scale.largest / 2;
        let step = half.clamp(1, 16_000);
        let short = (0..scale.messages / 2).map(|_| whole(channel, scale.share.min(half)));
        let short = short.take(half.div_ceil(scale.share.max(1)));
        let long = (0..half / step + 2).map(|_| fragment(channel, scale.largest, step));
        short.chain(long).collect()
    })
}

fn taken(scale: Scale, length: usize) -> Vec<Op> {
    let mut ops = each(scale, scale.messages, |channel| {
        vec![whole(channel, length)]
    });
    ops.extend(each(scale, scale.messages, |channel| {
        vec![Op::Take { channel }]
    }));
    ops
}

fn settle(scale: Scale, reject: bool) -> Vec<Op> {
    each(scale, scale.messages, |channel| {
        vec![Op::Settle {
            channel,
            newest: true,
            reject,
        }]
    })
}

fn settled_from_the_end(scale: Scale) -> Vec<Op> {
    let mut ops = taken(scale, 1);
    let mut settled = settle(scale, false);
    settled.truncate(settled.len() - 1);
    ops.extend(settled);
    ops
}

fn rejected_from_the_end(scale: Scale) -> Vec<Op> {
    let mut ops = taken(scale, 0);
    ops.extend(settle(scale, true));
    ops.push(Op::Read);
    ops.extend(each(scale, scale.messages / 2, |channel| {
        vec![Op::Note { channel }]
    }));
    ops
}

fn abandoned(scale: Scale) -> Vec<Op> {
    let mut ops = single_bytes(scale);
    ops.extend(each(scale, 1, |channel| vec![Op::Abandon { channel }]));
    ops.extend(single_bytes(scale));
    ops
}

fn fill(scale: Scale, length: usize, expires: bool) -> Vec<Op> {
    each(scale, scale.messages, |channel| {
        vec![Op::Send {
            channel,
            length,
            expires,
        }]
    })
}

fn full_store(scale: Scale) -> Vec<Op> {
    // As many as any queue takes, and few more: each that is refused has to be made first.
    let most = scale.messages.min((64 << 20) / scale.largest);
    let long = Scale {
        messages: most,
        ..scale
    };
    let mut ops = fill(long, scale.largest, false);
    ops.extend(fill(scale, 1, false));
    ops
}

fn reject(scale: Scale) -> Vec<Op> {
    each(scale, scale.messages, |channel| {
        vec![Op::Reject {
            channel,
            reason: 256,
        }]
    })
}

fn rejected_store(scale: Scale) -> Vec<Op> {
    let mut ops = fill(scale, 0, false);
    ops.push(Op::Read);
    ops.extend(reject(scale));
    ops
}

fn rejected_again(scale: Scale) -> Vec<Op> {
    let mut ops = rejected_store(scale);
    for _ in 0..2 {
        ops.push(Op::Read);
        ops.extend(reject(scale));
        ops.extend([Op::Lose, Op::Return { resume: true }]);
        ops.extend(reject(scale));
        ops.extend(each(scale, 1, |channel| vec![Op::Ack { channel }]));
        ops.extend(fill(scale, 1, false));
    }
    ops
}

fn expiries(scale: Scale) -> Vec<Op> {
    let mut ops = fill(scale, 1, true);
    ops.extend(fill(scale, 0, true));
    ops.push(Op::Wait { seconds: 3 });
    ops.extend(fill(scale, 3, true));
    ops
}

/// As many PINGs without an answer as there may be, again and again.
fn late_answers(scale: Scale) -> Vec<Op> {
    let step = |channel| {
        let send = Op::Send {
            channel,
            length: scale.share,
            expires: false,
        };
        let mut ops = vec![Op::Answer];
        ops.extend(vec![send; 4]);
        ops.extend([Op::Read, Op::Wait { seconds: 1 }, Op::Ack { channel }]);
        ops
    };
    each(scale, scale.messages.min(200), step)
}

fn resumed(scale: Scale) -> Vec<Op> {
    let mut ops = single_bytes(scale);
    ops.extend(fill(scale, 7, true));
    for _ in 0..3 {
        ops.extend([Op::Read, Op::Lose, Op::Return { resume: true }]);
    }
    ops.extend(endless(scale));
    ops
}

/// Windows full of long messages, twice, and one more that is not whole.
fn long_messages(scale: Scale) -> Vec<Op> {
    let steps = scale.largest / 16_000 + 1;
    let long = |channel| vec![fragment(channel, scale.largest, 16_000); 5 * steps];
    let mut ops = each(scale, 1, long);
    ops.extend([Op::Lose, Op::Return { resume: false }]);
    ops.extend(each(scale, 1, long));
    ops
}

/// Windows full of what takes most: few long messages, or many short ones.
fn full_windows(scale: Scale, most: usize) -> Vec<Op> {
    let mut ops = Vec::new();
    for channel in 0..scale.channels {
        ops.extend((0..scale.messages.min(most)).map(|_| whole(channel, scale.largest)));
        ops.extend((0..scale.messages).map(|at| {
            let length = if at % 4 == 0 { 1 } else { scale.share };
            whole(channel, length)
        }));
    }
    ops
}

fn lost_long(scale: Scale) -> Vec<Op> {
    let mut ops = full_windows(scale, usize::MAX);
    ops.extend([Op::Lose, Op::Return { resume: false }]);
    ops.extend(full_windows(scale, usize::MAX));
    ops.extend(endless(scale));
    ops
}

fn lost_sessions(scale: Scale) -> Vec<Op> {
    let mut ops = Vec::new();
    for _ in 0..2 {
        ops.extend(full_windows(scale, 4));
        ops.extend(full_store(scale));
        ops.extend([Op::Read, Op::Lose, Op::Return { resume: false }]);
    }
    ops.extend(long_behind_short(scale));
    ops.extend(fill(scale, 1, false));
    ops
}

fn all(scale: Scale) -> Vec<Op> {
    let mut ops = wasteful(scale);
    ops.extend([Op::Lose, Op::Return { resume: false }]);
    ops.extend(rejected_from_the_end(scale));
    ops.extend(long_behind_short(scale));
    ops.extend(rejected_store(scale));
    ops
}
