//! A plan from a seed: many links, bad networks, and everything that can go wrong.

use std::time::Duration;

use countersign_core::{CloseMode, Reconnect, RetryLimit, Timeouts};

use super::clock::{Clock, HONEST};
use super::plan::{
    ACCEPTOR, Act, Channel, Closes, Disturbance, Do, Keys, Learn, Net, OPENER, Plan, Scripts,
};
use super::rng::Rng;

/// The most openers in a plan.
pub const MOST_PAIRS: usize = 4;

/// Latency budgets, in microseconds.
const BUDGETS: [Option<u64>; 6] = [
    None,
    None,
    Some(1_000),
    Some(5_000),
    Some(50_000),
    Some(10_000_000),
];

const NAMES: [&str; 4] = ["commands", "answers", "pictures", "telemetry"];

/// Returns the plan of a seed. `keys` are for [`MOST_PAIRS`] openers; with none, connections are
/// plain.
#[must_use]
pub fn plan(seed: u64, keys: Option<Keys>) -> Plan {
    let mut rng = Rng::new(seed);
    let rng = &mut rng;
    let pairs = usize::try_from(rng.between(1, MOST_PAIRS as u64)).unwrap_or(1);
    let channels = channels(rng);
    // How long applications go on.
    let time = rng.between(20, 4000) * 1000;
    let scripts = (0..pairs)
        .map(|_| Scripts([OPENER, ACCEPTOR].map(|end| script(rng, &channels, end, time))))
        .collect();
    let mut plan = Plan {
        seed,
        frame_limits: [0; 2].map(|_| rng.pick(&[512, 600, 4096, 16_384])),
        timeouts: [0; 2].map(|_| timeouts(rng)),
        reconnect: reconnect(rng),
        clocks: (0..=pairs).map(|_| clock(rng, time)).collect(),
        pairs: scripts,
        keys,
        net: net(rng),
        sessions: usize::try_from(rng.between(1, 5)).unwrap_or(1),
        rejects: rng.pick(&[0, 0, 3, 10]),
        replies: rng.pick(&[0, 0, 2, 5]),
        holds: rng.pick(&[0, 3_000, 200_000]),
        closers: rng.pick(&[[true, false], [true, false], [true, true]]),
        slow_drivers: rng.pick(&[0, 1, 3]),
        disturbances: disturbances(rng, pairs, time),
        lasting: false,
        ..Plan::pair(channels, Vec::new(), Vec::new())
    };
    if plan.keys.is_some() {
        // The greeting is that much longer, and the time-outs are not.
        plan.net.room = plan.net.room.max(3_000);
        plan.net.rate = plan.net.rate.map(|rate| rate.max(500));
    }
    // Whether anything may be a reason to lose a session decides what is asked of the run.
    if rng.one_in(3) {
        make_lasting(&mut plan);
    }
    plan.single = rng.pick(&[
        [false; 2],
        [false; 2],
        [true, false],
        [false, true],
        [true; 2],
    ]);
    plan.begins_anew = rng.one_in(2);
    // Drawn last, so that what was drawn before is as it was.
    plan.budgets = [0; 2].map(|_| rng.pick(&BUDGETS).map(Duration::from_micros));
    for channel in &mut plan.channels {
        channel.urgent = rng.one_in(4);
    }
    plan
}

/// Leaves in a plan only what sessions survive.
fn make_lasting(plan: &mut Plan) {
    plan.lasting = true;
    plan.sessions = 64;
    plan.reconnect.limit = RetryLimit::Forever;
    for timeouts in &mut plan.timeouts {
        timeouts.retain = Duration::from_secs(600);
        timeouts.close = Duration::from_secs(120);
    }
    let spares = |what: &Disturbance| {
        !matches!(
            what,
            Disturbance::RestartOpener { .. } | Disturbance::RestartAcceptor { .. }
        )
    };
    plan.disturbances.retain(|(_, what)| spares(what));
    // A close before there is a session leaves the other end alone with one that it has just made.
    let closes = |act: &Act| matches!(act.what, Do::Close(_));
    for scripts in &mut plan.pairs {
        for script in &mut scripts.0 {
            for act in script.iter_mut() {
                act.once_up |= closes(act);
            }
        }
    }
}

fn reconnect(rng: &mut Rng) -> Reconnect {
    let limit = if rng.one_in(15) {
        let time = Duration::from_millis(rng.below(5000));
        rng.pick(&[RetryLimit::Attempts(3), RetryLimit::For(time)])
    } else {
        RetryLimit::Forever
    };
    Reconnect {
        limit,
        first_delay: Duration::from_millis(rng.pick(&[1, 20, 100])),
        longest_delay: Duration::from_millis(rng.between(100, 3000)),
    }
}

fn channels(rng: &mut Rng) -> Vec<Channel> {
    let count = usize::try_from(rng.between(1, 4)).unwrap_or(1);
    let one = |at: usize| Channel {
        name: NAMES[at],
        sender: at % 2,
        latest: rng.one_in(4),
        manual: rng.one_in(2),
        window: u32::try_from(rng.between(1, 12)).unwrap_or(1),
        queue: usize::try_from(rng.between(1, 24)).unwrap_or(1),
        largest: rng.pick(&[64, 1500, 6000]),
        urgent: false,
    };
    (0..count).map(one).collect()
}

fn timeouts(rng: &mut Rng) -> Timeouts {
    let ping = rng.between(200, 3000);
    let seconds = |seconds: u64| Duration::from_secs(seconds);
    Timeouts {
        handshake: seconds(rng.between(2, 10)),
        ping: Duration::from_millis(ping),
        give_up: Duration::from_millis(ping + rng.between(500, 6000)),
        close: seconds(rng.between(2, 20)),
        linger: Duration::from_millis(rng.between(100, 2000)),
        ack_delay: Duration::from_millis(rng.below(5)),
        retain: seconds(rng.pick(&[0, 1, 5, 20, 60])),
    }
}

/// At any time at all, and wrong by as much as links allow for, or by far more.
fn clock(rng: &mut Rng, time: u64) -> Clock {
    let most = if rng.one_in(8) { 100_000 } else { HONEST };
    let fast = |rng: &mut Rng| {
        let by = rng.below(2 * most.unsigned_abs() + 1);
        i64::try_from(by).unwrap_or(0) - most
    };
    let jumps = rng.one_in(20);
    Clock {
        epoch: rng.pick(&[0, 1, 86_400_000_000, 1 << 50]),
        fast: [fast(rng), fast(rng)],
        turn: rng.pick(&[100_000, 3_000_000, 60_000_000]),
        jump: jumps.then(|| (rng.below(time), rng.pick(&[1_000, 50_000, 2_000_000]))),
    }
}

fn net(rng: &mut Rng) -> Net {
    Net {
        delay: rng.pick(&[50, 1_000, 10_000, 80_000]),
        back: rng.pick(&[0, 0, 5_000, 150_000]),
        jitter: rng.pick(&[0, 500, 20_000]),
        rate: rng.pick(&[None, None, Some(500), Some(20)]),
        room: rng.pick(&[200, 3_000, 65_536]),
        piece: rng.pick(&[100, 1460, 65_536]),
    }
}

fn script(rng: &mut Rng, channels: &[Channel], end: usize, time: u64) -> Vec<Act> {
    let mut acts = Vec::new();
    let own: Vec<usize> = (0..channels.len())
        .filter(|at| channels[*at].sender == end)
        .collect();
    let others: Vec<usize> = (0..channels.len())
        .filter(|at| channels[*at].sender != end)
        .collect();
    let mut act = |rng: &mut Rng, what: Do| {
        let at = rng.below(time);
        acts.push(Act {
            at,
            once_up: rng.one_in(2),
            what,
        });
    };
    if !own.is_empty() {
        for _ in 0..rng.pick(&[0, 3, 10, 30]) {
            let channel = rng.pick(&own);
            let most = channels[channel].largest as u64;
            let size = if rng.one_in(3) {
                rng.between(8, most)
            } else {
                rng.between(8, 60)
            };
            let what = Do::Send {
                channel,
                size: usize::try_from(size).unwrap_or(8),
                expires: rng.one_in(4).then(|| {
                    let most = rng.pick(&[300_000, 300_000, 5_000_000]);
                    rng.below(most)
                }),
            };
            act(rng, what);
        }
    }
    if rng.one_in(4) {
        let stall = rng.below(6_000_000);
        act(rng, Do::Stall(stall));
    }
    if !others.is_empty() && rng.one_in(20) {
        let channel = rng.pick(&others);
        act(rng, Do::Abandon(channel));
    }
    if rng.one_in(5) {
        let how = rng.pick(&[
            Closes::saying(0, CloseMode::Drain),
            Closes::saying(1, CloseMode::Withdraw),
            Closes::saying(2, CloseMode::DrainBoth),
        ]);
        act(rng, Do::Close(how));
    }
    acts
}

fn disturbances(rng: &mut Rng, pairs: usize, time: u64) -> Vec<(u64, Disturbance)> {
    let count = rng.pick(&[0, 1, 3, 8, 16]);
    // All over the time, or one close behind the other.
    let (from, within) = if rng.one_in(2) {
        (0, time * 2)
    } else {
        (rng.below(time), rng.pick(&[2_000, 100_000, 1_000_000]))
    };
    let mut all: Vec<_> = (0..count)
        .map(|_| {
            let at = from + rng.below(within);
            (at, disturbance(rng, pairs))
        })
        .collect();
    all.sort_by_key(|(at, _)| *at);
    all
}

fn disturbance(rng: &mut Rng, pairs: usize) -> Disturbance {
    let pair = usize::try_from(rng.below(pairs as u64)).unwrap_or(0);
    match rng.below(15) {
        0..=4 => Disturbance::Cut(pair, rng.pick(&Learn::ALL)),
        5..=8 => Disturbance::Freeze {
            pair,
            time: rng.pick(&[100_000, 2_000_000, 15_000_000]),
            lost: rng.one_in(2),
        },
        9 => Disturbance::Unreachable(rng.pick(&[500_000, 3_000_000, 30_000_000])),
        12..=14 => {
            let host = usize::try_from(rng.below(pairs as u64 + 1)).unwrap_or(0);
            Disturbance::Stop(host, rng.pick(&[30_000, 400_000, 5_000_000]))
        }
        10 => Disturbance::RestartOpener {
            pair,
            told: rng.one_in(2),
        },
        _ => Disturbance::RestartAcceptor {
            told: rng.one_in(2),
        },
    }
}
