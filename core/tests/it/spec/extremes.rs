//! Figures at the limits of the types that hold them: on 64 bits and on 32, where a length from the
//! wire may be more than any address. Nothing may overflow, whether the figures come from the
//! application or the peer.

use core::time::Duration;

use countersign_core::{
    Bytes, Config, Dialect, EndReason, Instant, LinkState, PeerMisbehaved, ReceiveChannel,
    Reconnect, RetryLimit, Role, SendChannel, SendError, Timeouts, VerdictKind,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::common::Cut;
use crate::common::bytes::{
    Entry, Greeting, ack, close, first, message, noted, number, reject, skip,
};
use crate::common::pair::{ACCEPTOR, OPENER, Pair};
use crate::common::peer::{MAIN, Peer, against, against_receiver, against_sender};

/// What a field of 64 bits may hold where arithmetic could go wrong.
const FIGURES: [u64; 17] = [
    0,
    1,
    2,
    511,
    512,
    (1 << 24) - 8,
    1 << 24,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 32) + 1,
    i64::MAX.unsigned_abs(),
    1 << 63,
    (1 << 63) + 1,
    u64::MAX - 1,
    u64::MAX,
];

fn figure() -> impl Strategy<Value = u64> {
    select(&FIGURES[..])
}

/// The same figures as far as an address reaches, and the limit where it does not.
fn length() -> impl Strategy<Value = usize> {
    figure().prop_map(|figure| usize::try_from(figure).unwrap_or(usize::MAX))
}

fn count() -> impl Strategy<Value = u32> {
    figure().prop_map(|figure| u32::try_from(figure).unwrap_or(u32::MAX))
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        figure().prop_map(Duration::from_micros),
        figure().prop_map(Duration::from_secs),
        Just(Duration::MAX),
    ]
}

#[derive(Clone, Debug)]
struct Declared {
    max_message: usize,
    queue: (usize, usize),
    window: (u32, usize),
    in_flight: u32,
    frame_limit: usize,
}

fn declared() -> impl Strategy<Value = Declared> {
    let channel = (length(), (length(), length()), (count(), length()), count());
    (channel, length()).prop_map(|((max_message, queue, window, in_flight), frame_limit)| {
        Declared {
            max_message,
            queue,
            window,
            in_flight,
            frame_limit,
        }
    })
}

impl Declared {
    fn sender(&self) -> Config {
        let channel = SendChannel::new("main")
            .max_message(self.max_message)
            .queue(self.queue.0, self.queue.1)
            .in_flight(self.in_flight);
        Config::new().channel(channel).frame_limit(self.frame_limit)
    }

    fn receiver(&self) -> Config {
        let channel = ReceiveChannel::new("main")
            .max_message(self.max_message)
            .window(self.window.0, self.window.1);
        Config::new().channel(channel).frame_limit(self.frame_limit)
    }

    /// The rules of a declaration, once more and by themselves.
    fn is_sound(&self, sends: bool) -> bool {
        let frames = self.frame_limit >= 512 && self.frame_limit <= 1 << 24;
        let (count, bytes) = if sends {
            (self.queue.0.min(self.in_flight as usize), self.queue.1)
        } else {
            (self.window.0 as usize, self.window.1)
        };
        frames && self.max_message > 0 && count > 0 && bytes >= self.max_message
    }
}

/// One frame that names figures. None of them is ever right for a link on which nothing was sent.
fn claim() -> impl Strategy<Value = Vec<u8>> {
    let channel = || select(&[0_u16, 1, 63, 64, u16::MAX][..]);
    prop_oneof![
        (channel(), figure()).prop_map(|(channel, through)| skip(channel, through)),
        (channel(), figure()).prop_map(|(channel, handled)| ack(channel, handled)),
        (channel(), figure()).prop_map(|(channel, sequence)| noted(channel, sequence)),
        (channel(), figure(), count()).prop_map(|(c, s, code)| reject(c, s, code, "no")),
        (channel(), figure()).prop_map(|(channel, last)| close(&[(channel, last)])),
        figure().prop_map(|value| number(0x20, 0, value)),
        figure().prop_map(|value| number(0x21, 0, value)),
        (channel(), count(), figure()).prop_map(|(c, s, total)| first(c, s, total, &[7; 9])),
        (channel(), count()).prop_map(|(channel, sequence)| message(channel, sequence, &[7; 9])),
        // A header alone, which promises a body of any length.
        (any::<u8>(), any::<u8>(), count()).prop_map(|(kind, flags, length)| {
            let [l0, l1, l2, l3] = length.to_be_bytes();
            vec![kind, flags, 0, 0, l0, l1, l2, l3]
        }),
    ]
}

proptest! {
    #[test]
    fn declarations_are_judged_and_those_that_are_sound_work(
        (sender, receiver) in (declared(), declared())
    ) {
        // [LIMIT-1]
        let (sends, receives) = (sender.sender(), receiver.receiver());
        prop_assert_eq!(sends.check().is_ok(), sender.is_sound(true));
        prop_assert_eq!(receives.check().is_ok(), receiver.is_sound(false));
        prop_assert!(sends.memory_bound() >= sender.queue.1);
        prop_assert!(receives.memory_bound() >= receiver.window.1);
        if sends.check().is_ok() && receives.check().is_ok() {
            let mut pair = Pair::new(&sends, &receives, Cut::Whole);
            pair.run();
            // Within all figures: one byte.
            pair.send(OPENER, MAIN, &[7]);
            pair.run();
            prop_assert_eq!(pair.take_all(ACCEPTOR, MAIN), [[7]]);
            pair.run();
            prop_assert_eq!(pair.ends[OPENER].report()[0].verdicts[VerdictKind::Handled], 1);
        }
    }

    #[test]
    fn a_peers_figures_bound_what_is_sent(
        (max_message, window_messages, window_bytes) in (figure(), count(), figure()),
        sent in vec(0_usize..600, 1..8),
    ) {
        // [WINDOW-1] [WINDOW-2]
        let entry = Entry { max_message, window_messages, window_bytes, ..Entry::receive("main") };
        let mut peer = Peer::new(Role::Opener, &Config::default().single_connection(), Cut::Whole);
        peer.say();
        peer.hear(&Greeting::welcome(&[entry]).bytes());
        let sound = max_message > 0 && window_messages > 0 && window_bytes > 0;
        prop_assert_eq!(peer.link.state() == LinkState::Open, sound);
        if !sound {
            let expected = EndReason::Peer(PeerMisbehaved::Greeting);
            prop_assert_eq!(peer.link.end_reason(), Some(&expected));
            return Ok(());
        }
        for length in sent {
            let refused = peer.link.send(peer.now, MAIN, vec![7; length], None).map_err(|error| error.why);
            if length as u64 > max_message {
                let limit = usize::try_from(max_message).expect("less than a length");
                prop_assert_eq!(refused, Err(SendError::TooLarge { length, limit }));
            } else {
                prop_assert!(refused.is_ok());
            }
        }
        let (mut frames, mut bytes) = (0_u64, 0_u64);
        let said = peer.say();
        let mut rest = &said[..];
        while let Some((header, body)) = rest.split_first_chunk::<8>() {
            let length = u32::from_be_bytes(header[4..].try_into().expect("four bytes"));
            prop_assert_eq!(header[0], 0x10);
            let head = if header[1] & 3 == 1 { 12 } else { 4 };
            frames += u64::from(header[1] & 1);
            bytes += u64::from(length) - head;
            rest = &body[length as usize..];
        }
        prop_assert!(frames <= u64::from(window_messages) && bytes <= window_bytes);
    }

    #[test]
    fn what_a_peer_claims_on_a_resume_is_judged((handled, received, partial) in (figure(), figure(), figure())) {
        // [RESUME-7]
        let mut peer = Peer::new(Role::Opener, &Config::default(), Cut::Whole);
        peer.welcome(&[Entry::receive("main")]);
        for _ in 0..2 {
            peer.send(&[7; 600]);
        }
        peer.say();
        peer.lose();
        let entry = Entry::receive("main").having([handled, received, partial]);
        peer.return_to(&Greeting::resumed(&[entry]));
        let most = [600, 600, 0];
        let whole = usize::try_from(received).ok().and_then(|at| most.get(at));
        let true_claim = handled <= received && whole.is_some_and(|most| partial < *most || partial == 0);
        prop_assert_eq!(peer.link.state() == LinkState::Open, true_claim);
        peer.say();
    }

    #[test]
    fn claims_that_can_not_be_true_end_the_link_and_nothing_else(
        (sends, claims) in (any::<bool>(), vec(claim(), 1..6))
    ) {
        // [LIMIT-1]
        let script = |peer: &mut Peer| {
            for claim in &claims {
                peer.hear(claim);
            }
            peer.sleep(Duration::from_secs(1));
        };
        if sends {
            against_sender(&Config::default(), script);
        } else {
            let channel = ReceiveChannel::new("main").max_message(usize::MAX);
            against_receiver(&Config::new().channel(channel), script);
        }
    }

    #[test]
    fn lengths_in_the_tlsstream_dialect_are_judged(length in figure(), limit in length()) {
        // [STREAM-2] [STREAM-3]
        prop_assume!(limit > 0);
        let channel = ReceiveChannel::new("main").max_message(limit);
        let config = Config::new().channel(channel).dialect(Dialect::TlsStream);
        against(Role::Acceptor, &config, |peer| {
            peer.hear(format!("{length}!").as_bytes());
            let expected = match usize::try_from(length) {
                Ok(0) => Some(EndReason::Peer(PeerMisbehaved::StreamEmpty)),
                Ok(total) if total <= limit => None,
                _ => Some(EndReason::Peer(PeerMisbehaved::MessageTooLarge { length, limit })),
            };
            assert_eq!(peer.link.end_reason(), expected.as_ref());
        });
    }

    #[test]
    fn waits_of_any_length_are_waited(
        (waits, since) in (vec(duration(), 9), figure()),
    ) {
        // [LIMIT-1]
        let timeouts = Timeouts {
            handshake: waits[0],
            ping: waits[1].min(waits[2]).saturating_sub(Duration::from_nanos(1)),
            give_up: waits[1].max(waits[2]),
            close: waits[3],
            linger: waits[4],
            ack_delay: waits[5],
            retain: waits[6],
        };
        let reconnect = Reconnect {
            limit: RetryLimit::For(waits[7]),
            first_delay: waits[8],
            longest_delay: waits[7].max(waits[8]),
        };
        let channel = ReceiveChannel::new("main");
        let config = Config::new().channel(channel).timeouts(timeouts).reconnect(reconnect);
        prop_assume!(config.check().is_ok());
        let mut peer = Peer::new(Role::Acceptor, &config, Cut::Whole);
        // From any epoch, and to its end.
        peer.now = peer.now.max(Instant::from_micros(since));
        peer.hear(&Greeting::hello(&[Entry::send("main")]).bytes());
        for _ in 0..4 {
            let deadline = peer.link.poll_deadline();
            let never = Instant::from_micros(u64::MAX);
            prop_assert!(deadline != Some(never), "never is no moment");
            let Some(deadline) = deadline else { break };
            peer.now = peer.now.max(deadline);
            peer.link.handle_timeout(peer.now);
            peer.say();
        }
    }
}

#[test]
fn a_queue_without_a_limit_is_bounded_by_what_a_figure_holds() {
    // [LIMIT-1] The same bytes may be queued many times, so they may be more than there are
    // addresses.
    let channel = SendChannel::new("main")
        .max_message(usize::MAX)
        .queue(usize::MAX, usize::MAX);
    against_sender(&Config::new().channel(channel), |peer| {
        let entry = Bytes::from(vec![0; 1 << 20]);
        let fit = (usize::MAX >> 20).min(1 << 13);
        for _ in 0..fit {
            let sent = peer.link.send(peer.now, MAIN, entry.clone(), None);
            assert!(sent.is_ok());
        }
        let more = peer
            .link
            .send(peer.now, MAIN, entry, None)
            .map_err(|error| error.why);
        if fit < 1 << 13 {
            assert_eq!(more, Err(SendError::Blocked));
        } else {
            assert!(more.is_ok());
        }
        // What still fits is taken.
        peer.send(&[7]);
    });
}

#[test]
fn a_stream_holds_no_more_than_a_figure_does() {
    // [STREAM-3] What waits to be taken and the length of what comes are more than any address.
    let channel = ReceiveChannel::new("main").max_message(usize::MAX);
    let config = Config::new().channel(channel).dialect(Dialect::TlsStream);
    against(Role::Acceptor, &config, |peer| {
        peer.takes(b"5!hello");
        assert_eq!(peer.say(), b"OK!");
        let length = u64::try_from(usize::MAX).expect("64 bits at most");
        peer.hear(format!("{length}!").as_bytes());
        let limit = usize::MAX - 5;
        let expected = EndReason::Peer(PeerMisbehaved::MessageTooLarge { length, limit });
        assert_eq!(peer.link.end_reason(), Some(&expected));
    });
    against(Role::Acceptor, &config, |peer| {
        peer.takes(b"5!hello");
        assert_eq!(peer.say(), b"OK!");
        assert!(peer.take().is_some());
        peer.takes(format!("{}!", usize::MAX).as_bytes());
    });
}

#[cfg(target_pointer_width = "32")]
#[test]
fn a_peer_that_never_reads_may_send_more_than_there_are_addresses() {
    // [LIMIT-1] What was taken and could not be acknowledged is counted.
    const LENGTH: usize = 8 << 20;
    let channel = ReceiveChannel::new("main").max_message(LENGTH);
    let config = Config::new().channel(channel).frame_limit(1 << 24);
    let mut peer = Peer::new(Role::Acceptor, &config.single_connection(), Cut::Whole);
    peer.hello(&[Entry::send("main")]);
    let payload = vec![7; LENGTH];
    for at in 1..=(1 << 32) / (LENGTH as u64) + 1 {
        peer.takes(&message(0, u32::try_from(at).expect("few"), &payload));
        let taken = peer
            .link
            .take(peer.now, MAIN)
            .expect("receive mode")
            .expect("one");
        assert_eq!(taken.payload.len(), LENGTH);
    }
    let said = peer.say();
    assert_eq!(said[..2], [0x12, 0], "one acknowledgement for all");
}
