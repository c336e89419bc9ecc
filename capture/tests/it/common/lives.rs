//! What takes time: lives of messages, leases, and answers that a lost connection holds up.

use std::time::Duration;

use countersign_capture::Capture;
use countersign_core::{
    Config, Event, Instant, Output, ReceiveChannel, ReceiveError, SendChannel, TakeOver,
};

use super::{Pair, VIDEO, come_back_too_late, incoming, payload};

/// The longest reply on the channel: the sender's figure, which is the smaller one.
pub(crate) const LONGEST_REPLY: usize = 40;
/// How long a message has authority.
const LEASE: Duration = Duration::from_millis(10);

fn configs() -> [Config; 2] {
    let sender = SendChannel::new("video").max_reply(LONGEST_REPLY);
    let receiver = ReceiveChannel::new("video").manual().lease(LEASE);
    [
        Config::new().channel(sender),
        Config::new().frame_limit(512).channel(receiver),
    ]
}

/// Messages that are late when they would be taken and others between them, a lease that is held and
/// lapses, and replies, also on a connection that is lost.
pub(crate) fn lives(capture: &Capture, cut: usize) {
    let mut pair = Pair::new(capture, &configs());
    pair.cut = cut;
    pair.connect();
    assert_eq!(leases(&pair.settle()), "");
    some_are_late(&mut pair);
    a_lease_lapses(&mut pair);
    replies(&mut pair);
    come_back(&mut pair, capture);
    pair.close();
}

/// Which changes of the lease were reported.
fn leases(events: &[Event]) -> String {
    let letter = |event: &Event| match event {
        Event::LeaseHeld(VIDEO) => Some('h'),
        Event::LeaseLapsed(VIDEO) => Some('l'),
        _ => None,
    };
    events.iter().filter_map(letter).collect()
}

impl Pair {
    fn in_millis(&self, millis: u64) -> Option<Instant> {
        Some(self.now + Duration::from_millis(millis))
    }

    fn send_video(&mut self, length: usize, expires: Option<Instant>) {
        self.ends[0]
            .send(self.now, VIDEO, payload(length), expires)
            .unwrap();
    }

    fn take_video(&mut self) -> Option<u64> {
        let taken = self.ends[1].take(self.now, VIDEO).unwrap();
        taken.map(|message| message.sequence)
    }

    /// Lets both ends know what time it is.
    fn tick(&mut self, millis: u64) {
        self.sleep(millis * 1000);
        for end in &mut self.ends {
            end.handle_timeout(self.now);
        }
    }
}

fn some_are_late(pair: &mut Pair) {
    // Taken in time, whole and in fragments.
    for length in [20, 3000] {
        pair.send_video(length, pair.in_millis(5));
        pair.settle();
        let number = pair.take_video().unwrap();
        pair.ends[1].handle(pair.now, VIDEO, number).unwrap();
        pair.settle();
    }
    // Some are late, one is taken, and nothing else is late.
    for (length, life) in [(30, 5), (0, 5), (2000, 5), (10, 50)] {
        pair.send_video(length, pair.in_millis(life));
    }
    pair.settle();
    pair.tick(6);
    let number = pair.take_video().unwrap();
    assert_eq!((number, pair.take_video()), (6, None));
    pair.ends[1].handle(pair.now, VIDEO, number).unwrap();
    pair.settle();
    // All of them are late.
    for length in [30, 700] {
        pair.send_video(length, pair.in_millis(5));
    }
    pair.settle();
    pair.tick(6);
    assert_eq!((pair.take_video(), pair.take_video()), (None, None));
    // The life of one is over before it is sent.
    pair.send_video(30, Some(pair.now));
    pair.settle();
    assert_eq!(pair.take_video(), None);
}

fn a_lease_lapses(pair: &mut Pair) {
    pair.tick(20);
    pair.settle();
    pair.send_video(5, None);
    pair.settle();
    let first = pair.take_video().unwrap();
    assert_eq!(leases(&pair.settle()), "h");
    pair.tick(20);
    assert_eq!(leases(&pair.settle()), "l");
    pair.send_video(5, None);
    pair.settle();
    let second = pair.take_video().unwrap();
    assert_eq!(leases(&pair.settle()), "h");
    // It lapses and is held again before anybody asks.
    pair.tick(20);
    pair.send_video(5, None);
    let mut buffer = vec![0; 4096];
    while let Output::Written(length) = pair.ends[0].poll_output(pair.now, &mut buffer) {
        pair.ends[1].handle_input(pair.now, &buffer[..length]);
    }
    let third = pair.take_video().unwrap();
    assert_eq!(leases(&pair.settle()), "lh");
    for number in [first, second, third] {
        pair.ends[1].handle(pair.now, VIDEO, number).unwrap();
    }
    pair.settle();
}

fn replies(pair: &mut Pair) {
    for length in [0, 6, LONGEST_REPLY, LONGEST_REPLY + 1] {
        pair.send_video(5, None);
        pair.settle();
        let number = pair.take_video().unwrap();
        let replied = pair.ends[1].handle_with(pair.now, VIDEO, number, &payload(length));
        if length > LONGEST_REPLY {
            let limit = LONGEST_REPLY;
            assert_eq!(replied, Err(ReceiveError::ReplyTooLong { limit }));
            pair.ends[1].reject(pair.now, VIDEO, number, 7, "").unwrap();
        }
        pair.settle();
    }
}

/// The connection is lost with one reply on it and before another; both are sent again.
fn come_back(pair: &mut Pair, capture: &Capture) {
    for _ in [0, 1] {
        pair.send_video(5, None);
    }
    pair.settle();
    let (first, second) = (pair.take_video().unwrap(), pair.take_video().unwrap());
    let reply = payload(LONGEST_REPLY);
    pair.ends[1]
        .handle_with(pair.now, VIDEO, first, &reply)
        .unwrap();
    let mut buffer = vec![0; 4096];
    let Output::Written(length) = pair.ends[1].poll_output(pair.now, &mut buffer) else {
        panic!("the reply goes out");
    };
    pair.ends[0].handle_input(pair.now, &buffer[..length]);
    pair.lose();
    pair.ends[1]
        .handle_with(pair.now, VIDEO, second, &reply)
        .unwrap();
    let config = pair.ends[1].config().clone();
    pair.incoming = Some(incoming(capture, &config, 9));
    pair.connect();
    pair.settle();
    assert_eq!(pair.take_over(), TakeOver::Done);
    pair.incoming = None;
    pair.settle();
}

/// A session is lost, with messages in it of which some or all are late when they would be taken.
pub(crate) fn left_behind(capture: &Capture, cut: usize) {
    let [opener, acceptor] = [
        Config::new().channel(ReceiveChannel::new("video").lease(LEASE)),
        Config::new().channel(SendChannel::new("video")),
    ];
    for lives in [[1, 90_000], [1, 1]] {
        let mut pair = Pair::new(capture, &[opener.clone(), acceptor.clone()]);
        pair.cut = cut;
        pair.connect();
        pair.settle();
        for life in lives {
            let expires = pair.in_millis(life);
            pair.ends[1]
                .send(pair.now, VIDEO, payload(5), expires)
                .unwrap();
        }
        pair.settle();
        pair.lose();
        come_back_too_late(&mut pair, capture, &acceptor);
        pair.settle();
        let in_time = lives.iter().filter(|life| **life > 1).count();
        for _ in 0..in_time {
            let message = pair.ends[0].take(pair.now, VIDEO).unwrap().unwrap();
            assert_eq!(message.sequence, 2);
        }
        let border = pair.ends[0].take(pair.now, VIDEO).unwrap_err();
        assert!(matches!(border, ReceiveError::SessionBorder(_)));
        pair.settle();
        pair.close();
    }
}
