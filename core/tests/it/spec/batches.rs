//! Many messages with one call: the same as with a call for each.

use std::collections::VecDeque;

use countersign_core::{
    Bytes, ChannelId, CloseMode, Config, Event, Instant, Link, Output, ReceiveChannel,
    ReceiveError, Role, SendChannel, SendError,
};
use proptest::prelude::*;

use crate::common::Cut;
use crate::common::bytes::{Entry, Greeting};
use crate::common::pair::{ACCEPTOR, OPENER, Pair, lasting, paired};
use crate::common::peer::{MAIN, against_lasting};

const NOW: Instant = Instant::from_micros(1_000_000);

/// How a pair sends, takes, and gets its input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Batch,
    Single,
    /// As `Batch`, with input byte by byte.
    Bytewise,
}

/// A step of both ends.
#[derive(Clone, Debug)]
enum Step {
    Send(Vec<usize>),
    /// Everything that an end has to say, in outputs of this length.
    Carry {
        from: usize,
        space: usize,
    },
    Take(usize),
    Events,
}

fn payload(length: usize) -> Bytes {
    (0..length)
        .map(|at| u8::try_from(at % 251).expect("small"))
        .collect()
}

fn ends(sends: &SendChannel, receives: &ReceiveChannel) -> [Link; 2] {
    let sends = Config::new().channel(sends.clone());
    let receives = Config::new().channel(receives.clone());
    let mut ends = [
        Link::new(&sends, Role::Opener, [1; 16]).expect("valid"),
        Link::new(&receives, Role::Acceptor, [2; 16]).expect("valid"),
    ];
    for end in &mut ends {
        end.handle_opened(NOW).expect("offline");
        end.handle_secured(NOW, None).expect("securing");
    }
    ends
}

/// Does the step. Returns all that the application sees of it.
fn does(ends: &mut [Link; 2], step: &Step, way: Way) -> String {
    match step {
        Step::Send(lengths) => send(&mut ends[OPENER], lengths, way),
        Step::Carry { from, space } => {
            let cut = match way {
                Way::Bytewise => Cut::Bytes,
                _ => Cut::Whole,
            };
            let mut buffer = vec![0; *space];
            while let Output::Written(length) = ends[*from].poll_output(NOW, &mut buffer) {
                for piece in cut.pieces(&buffer[..length]) {
                    ends[1 - from].handle_input(NOW, piece);
                }
            }
            String::new()
        }
        Step::Take(limit) => take(&mut ends[ACCEPTOR], *limit, way),
        Step::Events => {
            let events = ends.iter_mut().map(|end| {
                let events = std::iter::from_fn(|| end.poll_event());
                events.collect::<Vec<_>>()
            });
            format!("{:?}", events.collect::<Vec<_>>())
        }
    }
}

fn send(link: &mut Link, lengths: &[usize], way: Way) -> String {
    let mut messages: VecDeque<_> = lengths.iter().map(|length| payload(*length)).collect();
    let (mut accepted, mut refused) = (Vec::new(), None);
    if way == Way::Single {
        while let Some(message) = messages.pop_front() {
            match link.send(NOW, MAIN, message, None) {
                Ok(number) => accepted.push(number),
                Err(not_sent) => {
                    messages.push_front(not_sent.message);
                    refused = Some(not_sent.why);
                    break;
                }
            }
        }
    } else {
        let sent = link.send_batch(NOW, MAIN, &mut messages);
        accepted.extend((sent.first..).take(usize::try_from(sent.count).expect("few")));
        refused = sent.refused;
    }
    format!("{accepted:?} {refused:?} {messages:?}")
}

fn take(link: &mut Link, limit: usize, way: Way) -> String {
    let mut messages = Vec::new();
    if way == Way::Single {
        for _ in 0..limit {
            match link.take(NOW, MAIN).expect("a receive channel") {
                Some(message) => messages.push(message.payload),
                None => break,
            }
        }
    } else {
        let before = vec![Bytes::from("earlier")];
        messages.clone_from(&before);
        let count = link.take_batch(NOW, MAIN, &mut messages, limit);
        assert_eq!(count, Ok(messages.len() - 1));
        assert_eq!(messages.remove(0), before[0]);
    }
    format!("{messages:?}")
}

fn step() -> impl Strategy<Value = Step> {
    let length = prop_oneof![4 => 0..80_usize, 2 => 80..600_usize, 1 => 600..5000_usize];
    let carry = |from| {
        prop_oneof![64..2000_usize, Just(65_536)].prop_map(move |space| Step::Carry {
            from,
            space: space.max(1000),
        })
    };
    prop_oneof![
        3 => prop::collection::vec(length, 0..60).prop_map(Step::Send),
        3 => carry(OPENER),
        2 => carry(ACCEPTOR),
        3 => (0..80_usize).prop_map(Step::Take),
        1 => Just(Step::Events),
    ]
}

fn channels() -> impl Strategy<Value = (SendChannel, ReceiveChannel)> {
    let window = prop_oneof![(1..40_u32, 4000..20_000_usize), Just((8192, 1 << 20))];
    let queue = prop_oneof![(1..50_usize, 4000..20_000_usize), Just((1000, 1 << 20))];
    (window, queue, any::<bool>()).prop_map(|((count, bytes), (queued, queue_bytes), latest)| {
        let sends = SendChannel::new("main")
            .max_message(4000)
            .queue(queued, queue_bytes);
        let receives = ReceiveChannel::new("main")
            .max_message(4000)
            .window(count, bytes);
        (if latest { sends.latest() } else { sends }, receives)
    })
}

proptest! {
    /// Whatever is sent and taken in between, however output and input are cut: the two ends are in
    /// the same state, and their applications have seen the same.
    #[test]
    fn a_batch_is_what_single_calls_are(
        (sends, receives) in channels(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut all = [Way::Batch, Way::Single, Way::Bytewise].map(|way| (way, ends(&sends, &receives)));
        let greet = [OPENER, ACCEPTOR, OPENER].map(|from| Step::Carry { from, space: 65_536 });
        for step in greet.iter().chain(&steps) {
            let [first, others @ ..] = &mut all;
            let seen = does(&mut first.1, step, first.0);
            for (way, ends) in others {
                prop_assert_eq!(&does(ends, step, *way), &seen, "{:?} {:?}", way, step);
                prop_assert!(*ends == first.1, "{:?} after {:?}", way, step);
            }
        }
    }
}

fn of(messages: &[&'static str]) -> VecDeque<Bytes> {
    messages
        .iter()
        .map(|message| Bytes::from(*message))
        .collect()
}

#[test]
fn what_cannot_be_sent_stays_where_it_was() {
    let sends = Config::new().channel(SendChannel::new("main").max_message(3).queue(2, 10));
    let receives = Config::new().channel(ReceiveChannel::new("main"));
    paired(&sends, &receives, |pair| {
        pair.run();
        let now = pair.now;
        let link = &mut pair.ends[OPENER];
        let mut messages = of(&["a", "long", "b"]);
        let sent = link.send_batch(now, MAIN, &mut messages);
        assert_eq!((sent.first, sent.count), (1, 1));
        assert_eq!(
            sent.refused,
            Some(SendError::TooLarge {
                length: 4,
                limit: 3
            })
        );
        assert_eq!(messages, of(&["long", "b"]));
        messages.pop_front();
        messages.extend(of(&["c"]));
        let sent = link.send_batch(now, MAIN, &mut messages);
        assert_eq!((sent.first, sent.count), (2, 1));
        assert_eq!(sent.refused, Some(SendError::Blocked));
        assert_eq!(messages, of(&["c"]));
        for (channel, refused) in [(MAIN, None), (ChannelId(7), None)] {
            let sent = link.send_batch(now, channel, &mut VecDeque::new());
            assert_eq!((sent.count, sent.refused), (0, refused));
        }
        let sent = link.send_batch(now, ChannelId(7), &mut messages);
        assert_eq!(sent.refused, Some(SendError::NoSuchChannel));
        pair.run();
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"a", b"b"]);
        pair.run();
        assert!(pair.events[OPENER].contains(&Event::Room(MAIN)));
        let now = pair.now;
        let sent = pair.ends[ACCEPTOR].send_batch(now, MAIN, &mut messages);
        assert_eq!(sent.refused, Some(SendError::ReceiveMode));
        pair.ends[OPENER].close(now, CloseMode::Drain);
        let sent = pair.ends[OPENER].send_batch(now, MAIN, &mut messages);
        assert_eq!(sent.refused, Some(SendError::Closing));
        pair.run();
        let sent = pair.ends[OPENER].send_batch(now, MAIN, &mut messages);
        assert_eq!(sent.refused, Some(SendError::Ended));
        assert_eq!(messages, of(&["c"]));
    });
}

#[test]
fn a_batch_ends_at_a_border() {
    let config = Config::new().channel(ReceiveChannel::new("main"));
    against_lasting(Role::Opener, &config, |peer| {
        use crate::common::bytes::message;
        peer.welcome(&[Entry::send("main")]);
        peer.takes(&[message(0, 1, b"a"), message(0, 2, b"b")].concat());
        let mut welcome = Greeting::anew(2, &[Entry::send("main")]);
        welcome.session = peer.link.session().map(|byte| byte % 100 + 1);
        peer.lose();
        peer.connect();
        peer.say();
        peer.hear(&welcome.bytes());
        peer.takes(&message(0, 1, b"c"));
        let mut messages = Vec::new();
        let mut take = |limit| peer.link.take_batch(NOW, MAIN, &mut messages, limit);
        assert_eq!(take(0), Ok(0));
        assert_eq!(take(10), Ok(2));
        assert!(matches!(take(10), Err(ReceiveError::SessionBorder(_))));
        assert_eq!(take(10), Ok(1));
        assert_eq!(take(10), Ok(0));
        assert_eq!(messages, ["a", "b", "c"]);
    });
}

#[test]
fn messages_that_are_settled_one_by_one_are_taken_one_by_one() {
    let sends = Config::new().channel(SendChannel::new("main"));
    let receives = Config::new().channel(ReceiveChannel::new("main").manual());
    lasting(&sends, &receives, |pair: &mut Pair| {
        pair.send(OPENER, MAIN, b"a");
        pair.run();
        let mut messages = Vec::new();
        let now = pair.now;
        let taken = pair.ends[ACCEPTOR].take_batch(now, MAIN, &mut messages, 10);
        assert_eq!(taken, Err(ReceiveError::Manual));
        let taken = pair.ends[OPENER].take_batch(now, MAIN, &mut messages, 10);
        assert_eq!(taken, Err(ReceiveError::SendMode));
        let taken = pair.ends[OPENER].take_batch(now, ChannelId(7), &mut messages, 10);
        assert_eq!(taken, Err(ReceiveError::NoSuchChannel));
        assert_eq!(pair.take_all(ACCEPTOR, MAIN), [b"a"]);
    });
}
