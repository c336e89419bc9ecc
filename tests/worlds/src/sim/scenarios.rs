//! Short runs in which nothing goes wrong, for connections to be cut and ends to crash in.

use countersign_core::{CloseMode, MIN_LATENCY_BUDGET};

use super::plan::{ACCEPTOR, Act, Channel, Closes, Do, OPENER, Plan};

/// A run with a name.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, to replay it by.
    pub name: &'static str,
    /// What happens in it.
    pub plan: Plan,
    /// Whether it is short enough to be cut twice at every pair of bytes.
    pub short: bool,
}

const UP: usize = 0;
const DOWN: usize = 1;

fn two_ways() -> Vec<Channel> {
    vec![Channel::new("up", OPENER), Channel::new("down", ACCEPTOR)]
}

fn manual() -> Vec<Channel> {
    two_ways().into_iter().map(Channel::manual).collect()
}

fn sends(channel: usize, sizes: &[usize]) -> Vec<Act> {
    let send = |size: &usize| Act::up(0, Do::send(channel, *size));
    sizes.iter().map(send).collect()
}

/// Returns every scenario.
#[must_use]
pub fn all() -> Vec<Scenario> {
    let long = |name, plan| Scenario {
        name,
        plan,
        short: false,
    };
    let short = |name, plan| Scenario {
        name,
        plan,
        short: true,
    };
    vec![
        short("handshake", handshake()),
        short("first-message", first_message()),
        short("both-ways", both_ways()),
        long("fragments", fragments()),
        long("acks", acks()),
        short("rejections", rejections()),
        long("latest", latest()),
        long("budget", budget()),
        short("close-soon", close_soon()),
        long("close", close(CloseMode::Drain, 3, [true, false])),
        long(
            "close-withdraw",
            close(CloseMode::Withdraw, 4, [false, true]),
        ),
        long("close-both", close(CloseMode::DrainBoth, 0, [true, true])),
    ]
}

/// Nothing but greetings, and a close.
fn handshake() -> Plan {
    let close = Act::up(5_000, Do::Close(Closes::saying(0, CloseMode::Drain)));
    Plan::pair(two_ways(), vec![close], vec![])
}

/// One message, accepted before there is a connection.
fn first_message() -> Plan {
    let message = Act::at(0, Do::send(UP, 20));
    Plan::pair(vec![Channel::new("up", OPENER)], vec![message], vec![])
}

/// Two messages each way at the same time.
fn both_ways() -> Plan {
    Plan::pair(two_ways(), sends(UP, &[9, 30]), sends(DOWN, &[30, 9]))
}

/// Messages of several frames each way, with a short one between them.
fn fragments() -> Plan {
    let sizes = [1100, 10, 700];
    Plan::pair(two_ways(), sends(UP, &sizes), sends(DOWN, &sizes))
}

/// A window that closes, and messages that are handled one by one and in any order.
fn acks() -> Plan {
    let channels = manual()
        .into_iter()
        .map(|channel| Channel {
            window: 3,
            ..channel
        })
        .collect();
    let sizes = [12; 7];
    Plan {
        holds: 30_000,
        ..Plan::pair(channels, sends(UP, &sizes), sends(DOWN, &sizes))
    }
}

/// Every other message is rejected.
fn rejections() -> Plan {
    Plan {
        rejects: 2,
        holds: 5_000,
        ..Plan::pair(manual(), sends(UP, &[10; 3]), sends(DOWN, &[10; 3]))
    }
}

/// Pictures that replace each other, each in several frames, and telemetry that expires.
fn latest() -> Plan {
    let channels = vec![
        Channel::new("up", OPENER).latest(),
        Channel::new("down", ACCEPTOR).latest(),
        Channel::new("telemetry", ACCEPTOR),
    ];
    let pictures = |channel: usize| -> Vec<Act> {
        let send = |at: u64| Act::up(at * 4_000, Do::send(channel, 600));
        (0..5).map(send).collect()
    };
    let telemetry = |at: u64| {
        let what = Do::Send {
            channel: 2,
            size: 16,
            expires: Some(25_000),
        };
        Act::up(at * 11_000, what)
    };
    let down = pictures(DOWN).into_iter().chain((0..4).map(telemetry));
    Plan::pair(channels, pictures(UP), down.collect())
}

/// Messages that wait for a latency budget, and urgent ones that do not.
fn budget() -> Plan {
    let channels = vec![
        Channel::new("up", OPENER),
        Channel::new("stop", OPENER).urgent(),
    ];
    let mut opener = sends(0, &[600]);
    let bulk = [2000, 2000, 1500].map(|size| Act::up(50_000, Do::send(0, size)));
    opener.extend(bulk);
    opener.push(Act::up(51_000, Do::send(1, 20)));
    Plan {
        budgets: [Some(MIN_LATENCY_BUDGET), None],
        ..Plan::pair(channels, opener, vec![])
    }
}

/// A close right behind the first messages, one of which is rejected.
fn close_soon() -> Plan {
    let mut opener = sends(UP, &[10, 11]);
    opener.push(Act::up(0, Do::Close(Closes::saying(7, CloseMode::Drain))));
    Plan {
        rejects: 2,
        ..Plan::pair(manual(), opener, sends(DOWN, &[10]))
    }
}

/// A close while messages are on their way in both directions.
fn close(mode: CloseMode, code: u32, who: [bool; 2]) -> Plan {
    let script = |end: usize, channel: usize| -> Vec<Act> {
        let early = sends(channel, &[10, 600, 10]);
        let late = Act::up(30_000, Do::send(channel, 700));
        let close = who[end].then_some(Act::up(30_000, Do::Close(Closes::saying(code, mode))));
        early.into_iter().chain([late]).chain(close).collect()
    };
    Plan {
        holds: 15_000,
        rejects: 3,
        ..Plan::pair(manual(), script(OPENER, UP), script(ACCEPTOR, DOWN))
    }
}
