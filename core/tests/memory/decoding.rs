//! Frames survive the wire however it cuts them, and no bytes make a decoder or a link panic or
//! hold more than its limits promise.
//!
//! `PROPTEST_CASES` sets how many cases are tried; 256 by default, 10,000 before a release.

use crate::codec::{Decoded, Item, cuts, damaged, decode, items, pieces, plausible};
use crate::{MEMORY, turn};
use core::time::Duration;
use countersign_core::{
    ChannelId, CloseMode, Config, Dialect, Event, Instant, Link, LinkState, Output, ReceiveChannel,
    Role, SendChannel,
};
use proptest::prelude::*;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

const LIMIT: usize = 16_384;
const NOW: Instant = Instant::from_micros(7);

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/decoding.txt",
        ))),
        ..ProptestConfig::default()
    }
}

/// Tries cases, with the program's memory to itself: making cases takes memory too.
fn try_cases<S: Strategy>(strategy: &S, case: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let _turn = turn();
    if let Err(failure) = TestRunner::new(config()).run(strategy, case) {
        panic!("{failure}");
    }
}

#[test]
fn frames_round_trip() {
    try_cases(&(items(12), cuts()), |(items, cuts)| {
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        let skipped = |item: &Item| matches!(item, Item::Unknown(..));
        let items = items.into_iter().filter(|item| !skipped(item)).collect();
        let expected = Decoded {
            items,
            error: None,
            whole: Some(true),
        };
        prop_assert_eq!(&decode(pieces(&bytes, &[]), LIMIT), &expected);
        prop_assert_eq!(&decode(pieces(&bytes, &cuts), LIMIT), &expected);
        Ok(())
    });
}

#[test]
fn cuts_change_nothing() {
    try_cases(
        &(damaged(8), cuts(), 512..20_000_usize),
        |(bytes, cuts, limit)| {
            let whole = decode(pieces(&bytes, &[]), limit);
            prop_assert_eq!(whole, decode(pieces(&bytes, &cuts), limit));
            Ok(())
        },
    );
}

#[test]
fn no_bytes_upset_a_link() {
    try_cases(&link_case(), |case| {
        let (whole, peak) = measured(|| run(&case, &[]));
        prop_assert!(peak <= promise(&case.config()), "{peak} bytes held");
        prop_assert_eq!(whole, run(&case, &case.cuts));
        Ok(())
    });
}

/// The most memory that a call holds at once, beyond what was held before.
fn measured<T>(call: impl FnOnce() -> T) -> (T, usize) {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let result = call();
    (result, MEMORY.peak_usage().saturating_sub(before))
}

/// A link in some state, and what comes to it.
#[derive(Clone, Debug)]
struct LinkCase {
    role: Role,
    dialect: Dialect,
    state: LinkState,
    manual: bool,
    latest: bool,
    /// Messages accepted before the bytes come.
    sent: usize,
    /// Rounds of bytes, with the application at work in between.
    rounds: Vec<Vec<u8>>,
    cuts: Vec<usize>,
}

const WINDOW: (u32, usize) = (5, 4000);
const QUEUE: (usize, usize) = (8, 4000);

impl LinkCase {
    fn config(&self) -> Config {
        let receive = ReceiveChannel::new("in")
            .max_message(3000)
            .window(WINDOW.0, WINDOW.1)
            .max_reply(64);
        let receive = match self.dialect {
            Dialect::Countersign => receive.lease(Duration::from_secs(1)),
            Dialect::TlsStream => receive,
        };
        let receive = if self.manual {
            receive.manual()
        } else {
            receive
        };
        let send = SendChannel::new("out")
            .max_message(3000)
            .queue(QUEUE.0, QUEUE.1);
        let send = if self.latest { send.latest() } else { send };
        let config = Config::new().dialect(self.dialect).frame_limit(1024);
        match (self.dialect, self.manual) {
            (Dialect::Countersign, _) => config.channel(receive).channel(send),
            // Here 'manual' only chooses between the two.
            (Dialect::TlsStream, true) => config.channel(send),
            (Dialect::TlsStream, false) => config.channel(
                ReceiveChannel::new("in")
                    .max_message(3000)
                    .window(WINDOW.0, WINDOW.1),
            ),
        }
    }

    fn peer(&self) -> Link {
        let config = match (self.dialect, self.manual) {
            (Dialect::Countersign, _) => Config::new()
                .channel(SendChannel::new("in"))
                .channel(ReceiveChannel::new("out")),
            (Dialect::TlsStream, true) => Config::new().channel(ReceiveChannel::new("out")),
            (Dialect::TlsStream, false) => Config::new().channel(SendChannel::new("in")),
        };
        let role = match self.role {
            Role::Opener => Role::Acceptor,
            Role::Acceptor => Role::Opener,
        };
        Link::new(
            &config.dialect(self.dialect).single_connection(),
            role,
            [9; 16],
        )
        .expect("a sound declaration")
    }
}

/// What the limits of a declaration promise, with twice that for what collections keep ready,
/// and the fixed costs of a link: its channels, a chunk for short messages, a greeting, the
/// test's own buffers.
fn promise(config: &Config) -> usize {
    let receive = WINDOW.1 + 3000 + WINDOW.0 as usize * 160;
    let send = QUEUE.1 + QUEUE.0 * (160 + 256);
    2 * (receive + send) * config.channels().len() + 40_000
}

fn bring(link: &mut Link, peer: &mut Link, state: LinkState, sent: usize) {
    let secure = |link: &mut Link| {
        link.handle_opened(NOW).expect("offline");
        link.handle_secured(NOW, None).expect("securing");
    };
    for at in (0..2).map(ChannelId) {
        for length in (0..sent).map(|n| n * 300 + 1) {
            let _ = link.send(NOW, at, vec![5; length], None);
        }
    }
    match state {
        LinkState::Offline => return,
        LinkState::Connecting => return link.handle_timeout(NOW),
        LinkState::Securing => return link.handle_opened(NOW).expect("offline"),
        _ => secure(link),
    }
    if state == LinkState::Greeting {
        return;
    }
    secure(peer);
    settle(link, peer);
    match state {
        LinkState::Closing => link.close(NOW, CloseMode::Drain),
        LinkState::Finishing => {
            link.close(NOW, CloseMode::Withdraw);
            for at in (0..2).map(ChannelId) {
                while let Ok(Some(_)) = peer.take(NOW, at) {}
            }
            settle(link, peer);
        }
        LinkState::Ended => link.handle_lost(NOW, countersign_core::Disconnect::Transport),
        _ => {}
    }
}

fn settle(a: &mut Link, b: &mut Link) {
    loop {
        let (from_a, from_b) = (output(a, 700), output(b, 700));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
        b.handle_input(NOW, &from_a);
        a.handle_input(NOW, &from_b);
    }
}

fn output(link: &mut Link, space: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; space]);
    while let Output::Written(length) = link.poll_output(NOW, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// Everything that can be seen of a link.
#[derive(PartialEq, Eq, Debug, Default)]
struct Outcome {
    output: Vec<u8>,
    events: Vec<Event>,
    taken: Vec<(u64, usize)>,
    end: String,
}

fn run(case: &LinkCase, cuts: &[usize]) -> Outcome {
    let mut link = Link::new(&case.config().single_connection(), case.role, [3; 16])
        .expect("a sound declaration");
    bring(&mut link, &mut case.peer(), case.state, case.sent);
    let mut seen = Outcome::default();
    for (round, bytes) in case.rounds.iter().enumerate() {
        for piece in pieces(bytes, cuts) {
            link.handle_input(NOW, piece);
        }
        work(&mut link, &mut seen, round);
    }
    link.handle_eof(NOW);
    work(&mut link, &mut seen, 1);
    seen.end = format!(
        "{:?} {:?} {:?}",
        link.state(),
        link.end_reason(),
        link.report()
    );
    assert!(
        link.end_reason().is_some()
            || matches!(
                link.state(),
                LinkState::Offline | LinkState::Connecting | LinkState::Finishing
            )
    );
    seen
}

/// The application and the driver do what they do.
fn work(link: &mut Link, seen: &mut Outcome, round: usize) {
    let channel = link.channel_id("in").unwrap_or(ChannelId(0));
    while let Ok(Some(message)) = link.take(NOW, channel) {
        seen.taken.push((message.sequence, message.payload.len()));
        match message.sequence % 3 {
            0 => drop(link.handle(NOW, channel, message.sequence)),
            1 => drop(link.reject(NOW, channel, message.sequence, 1, "no")),
            _ => {}
        }
    }
    seen.output.extend(output(link, 600));
    if round % 2 == 1 {
        while let Some(event) = link.poll_event() {
            seen.events.push(event);
        }
        if let Some(deadline) = link.poll_deadline() {
            link.handle_timeout(deadline);
        }
    }
    if round == 3 {
        let _ = link.abandon(NOW, channel);
    }
}

fn stream_bytes() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        2 => (1..40_usize).prop_map(|n| {
            let mut bytes = format!("{n}!").into_bytes();
            bytes.resize(bytes.len() + n, b'x');
            bytes
        }),
        2 => Just(b"OK!".to_vec()),
        1 => Just(b"OK".to_vec()),
        1 => Just(b"3000!".to_vec()),
        1 => Just(b"99999999999999999999!".to_vec()),
        1 => Just(b"0".to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..4),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn link_case() -> impl Strategy<Value = LinkCase> {
    let native = prop::collection::vec(damaged(6), 1..6);
    let stream = prop::collection::vec(stream_bytes(), 1..6);
    let rounds = prop_oneof![
        2 => native.prop_map(|rounds| (Dialect::Countersign, rounds)),
        3 => plausible().prop_map(|rounds| (Dialect::Countersign, rounds)),
        1 => stream.prop_map(|rounds| (Dialect::TlsStream, rounds)),
    ];
    let role = prop_oneof![Just(Role::Opener), Just(Role::Acceptor)];
    let state = prop_oneof![
        3 => prop::sample::select(&LinkState::ALL[..]),
        3 => Just(LinkState::Open),
        2 => Just(LinkState::Closing),
    ];
    let flags = (any::<bool>(), any::<bool>(), 0..4_usize);
    (role, state, flags, rounds, cuts()).prop_map(
        |(role, state, (manual, latest, sent), (dialect, rounds), cuts)| LinkCase {
            role,
            dialect,
            state,
            manual,
            latest,
            sent,
            rounds,
            cuts,
        },
    )
}
