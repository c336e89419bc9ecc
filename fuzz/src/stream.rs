//! The `tlsstream` dialect, both ends, against a reading of its section of `docs/protocol.md` that
//! knows nothing of the core.
//!
//! Input: one byte for the end that is tried and for how it is, one for the size of pieces, then
//! what the peer says.

use countersign_core::{
    Bytes, ChannelConfig, ChannelId, Config, Dialect, EndReason, Event, Instant, Link, LinkState,
    Output, PeerMisbehaved, ReceiveChannel, Role, SendChannel,
};

use crate::input::{byte, pieces};

const MAIN: ChannelId = ChannelId(0);
const NOW: Instant = Instant::from_micros(1_000_000);
const CONFIRMATION: &[u8] = b"OK!";

/// Tries one input.
pub fn check(mut input: &[u8]) {
    let how = byte(&mut input);
    let size = usize::from(byte(&mut input));
    let role = if how & 1 == 0 {
        Role::Opener
    } else {
        Role::Acceptor
    };
    if how & 2 == 0 {
        let largest = [1, 9, 100, 5000][usize::from(how >> 2) % 4];
        let model = Received::of(input, largest);
        for size in [1, size, input.len()] {
            assert_eq!(
                receive(role, input, size, largest),
                model,
                "in pieces of {size}"
            );
        }
    } else {
        let model = Sent::of(input);
        for size in [1, size, input.len()] {
            assert_eq!(send(role, input, size), model, "in pieces of {size}");
        }
    }
}

fn connected(channel: impl Into<ChannelConfig>, role: Role) -> Link {
    let config = Config::new()
        .dialect(Dialect::TlsStream)
        .channel(channel)
        .single_connection();
    let mut link = Link::new(&config, role, [3; 16]).expect("a sound declaration");
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    link
}

fn output(link: &mut Link, space: usize) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; space]);
    while let Output::Written(length) = link.poll_output(NOW, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// How a connection ended whose peer has said all and left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ending {
    Closed,
    Lost,
    Violation,
}

fn ending(link: &mut Link) -> Ending {
    link.handle_eof(NOW);
    assert_eq!(output(link, 64), [], "nothing is said behind the end");
    link.handle_lost(NOW, countersign_core::Disconnect::Transport);
    assert_eq!(link.state(), LinkState::Ended);
    match link.end_reason() {
        Some(EndReason::Closed { .. }) => Ending::Closed,
        Some(EndReason::Lost(_)) => Ending::Lost,
        Some(EndReason::Peer(what)) => {
            let of_the_dialect = matches!(
                what,
                PeerMisbehaved::StreamLength
                    | PeerMisbehaved::StreamEmpty
                    | PeerMisbehaved::StreamTooSoon
                    | PeerMisbehaved::StreamConfirmation
                    | PeerMisbehaved::MessageTooLarge { .. }
            );
            assert!(of_the_dialect, "{what:?}");
            Ending::Violation
        }
        other => panic!("{other:?}"),
    }
}

/// What a receiver makes of a stream whose sender waits for each confirmation.
#[derive(PartialEq, Eq, Debug)]
struct Received {
    messages: Vec<Vec<u8>>,
    ending: Ending,
}

impl Received {
    fn of(mut input: &[u8], largest: usize) -> Self {
        let mut messages = Vec::new();
        let ending = loop {
            if input.is_empty() {
                break Ending::Closed;
            }
            let digits = input
                .iter()
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let rest = &input[digits..];
            if digits > 20
                || rest
                    .first()
                    .is_some_and(|byte| *byte != b'!' || digits == 0)
            {
                break Ending::Violation;
            }
            if rest.is_empty() {
                break Ending::Lost;
            }
            let text = std::str::from_utf8(&input[..digits]).expect("digits");
            // Twenty digits can be more than any number here; then they are above every limit.
            let length = text.parse::<u128>().expect("twenty digits");
            if length == 0 || length > largest as u128 {
                break Ending::Violation;
            }
            let length = usize::try_from(length).expect("below the limit");
            let Some((message, rest)) = rest[1..].split_at_checked(length) else {
                break Ending::Lost;
            };
            messages.push(message.to_vec());
            input = rest;
        };
        Self { messages, ending }
    }
}

/// Feeds a receiver; it gets no byte of the next message before it has confirmed the last one.
fn receive(role: Role, input: &[u8], size: usize, largest: usize) -> Received {
    // A window for one message: the confirmation waits until the application takes it.
    let channel = ReceiveChannel::new("main")
        .max_message(largest)
        .window(1, largest);
    let mut link = connected(channel, role);
    let mut messages = Vec::new();
    let mut rest = input;
    while !rest.is_empty() && link.state() == LinkState::Open {
        // What is missing of a message is known to its sender alone: it stops at its end.
        let end = message_end(input, input.len() - rest.len());
        let length = size
            .max(1)
            .min(rest.len())
            .min(end - (input.len() - rest.len()));
        let (piece, after) = rest.split_at(length);
        rest = after;
        link.handle_input(NOW, piece);
        if link.waiting(MAIN) == 0 {
            assert_eq!(output(&mut link, 64), [], "nothing has come whole");
            continue;
        }
        assert_eq!(output(&mut link, 64), [], "there is no room yet");
        let message = link
            .take(NOW, MAIN)
            .expect("receive mode")
            .expect("one waits");
        messages.push(message.payload.to_vec());
        assert_eq!(message.sequence, messages.len() as u64);
        assert_eq!(output(&mut link, 3), CONFIRMATION);
    }
    let ending = ending(&mut link);
    Received { messages, ending }
}

/// Where the message that the byte `at` belongs to ends, as its sender sees it.
fn message_end(input: &[u8], at: usize) -> usize {
    let mut start = 0;
    loop {
        let digits = input[start..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let head = start + digits;
        let text = std::str::from_utf8(&input[start..head]).expect("digits");
        let length = text.parse::<usize>().unwrap_or(usize::MAX);
        let end = match input.get(head) {
            Some(b'!') => (head + 1).saturating_add(length),
            _ => usize::MAX,
        };
        // An empty message is a violation, whatever follows.
        if end > at || length == 0 {
            return end.clamp(at + 1, input.len());
        }
        start = end;
    }
}

/// What a sender makes of what its peer says.
#[derive(PartialEq, Eq, Debug)]
struct Sent {
    confirmed: u64,
    ending: Ending,
}

impl Sent {
    fn of(input: &[u8]) -> Self {
        let right = input.iter().zip(CONFIRMATION.iter().cycle());
        let right = right
            .take_while(|(byte, expected)| byte == expected)
            .count();
        let most = MESSAGES * CONFIRMATION.len();
        let confirmed = right.min(most) / CONFIRMATION.len();
        let ending = if right < input.len() || input.len() > most {
            Ending::Violation
        } else if confirmed == MESSAGES {
            Ending::Closed
        } else {
            // Another message is on the wire.
            Ending::Lost
        };
        Self {
            confirmed: confirmed as u64,
            ending,
        }
    }
}

/// How many messages a sender has.
const MESSAGES: usize = 40;

/// Feeds a sender, which writes all that it may before each piece.
fn send(role: Role, input: &[u8], size: usize) -> Sent {
    let mut link = connected(SendChannel::new("main"), role);
    for number in 1..=MESSAGES {
        let payload = Bytes::from(vec![b'0'; number * 7]);
        link.send(NOW, MAIN, payload, None).expect("room");
    }
    let mut written = output(&mut link, 11);
    // A piece ends with a confirmation: what follows must not come before the next message went.
    for piece in pieces(input, CONFIRMATION.len()).flat_map(|three| pieces(three, size)) {
        link.handle_input(NOW, piece);
        written.extend(output(&mut link, 11));
    }
    let mut confirmed = 0;
    while let Some(event) = link.poll_event() {
        if let Event::Handled {
            channel: MAIN,
            first,
            last,
            ..
        } = event
        {
            assert_eq!(first, confirmed + 1);
            confirmed = last;
        }
    }
    let begun = (usize::try_from(confirmed).expect("few") + 1).min(MESSAGES);
    let expected = (1..=begun).map(|number| {
        let length = number * 7;
        format!("{length}!{}", "0".repeat(length)).into_bytes()
    });
    let expected: Vec<u8> = expected.flatten().collect();
    assert_eq!(written, expected, "one message at a time, whole");
    let ending = ending(&mut link);
    Sent { confirmed, ending }
}
