//! What frames of a hostile peer cost, with little or much waiting at the end that hears them.
//!
//! Takes the name of an attack, how many messages wait, and how many frames (up to [`FRAMES`]) the
//! peer says then. Runs under callgrind with and without frames give the cost of one;
//! `.ci/frame-costs` does that for each attack and compares little and much waiting.

mod common;

use countersign_core::wire::{Frame, MESSAGE_HEAD, MessageHead};
use countersign_core::{Bytes, ChannelId, Link, LinkState, ReceiveChannel, Role, SendChannel};

use common::{NOW, drain, end};

const MAIN: ChannelId = ChannelId(0);
/// The most frames that are measured; so many messages are kept for them.
const FRAMES: u64 = 500;
const PAYLOAD: &[u8] = &[7; 16];

fn carry(from: &mut Link, to: &mut Link) {
    drain(from, &mut [0; 65_536], |bytes| to.handle_input(NOW, bytes));
}

/// A sender and a receiver; so many messages have come from one to the other.
fn pair(waiting: u64) -> (Link, Link) {
    let window = u32::try_from(waiting + FRAMES).expect("a window");
    let queue = usize::try_from(waiting).expect("a queue");
    let send = SendChannel::new("main").queue(queue, 64 << 20);
    let receive = ReceiveChannel::new("main").manual();
    let mut sender = end(send, Role::Opener);
    let mut receiver = end(receive.window(window, 64 << 20), Role::Acceptor);
    carry(&mut sender, &mut receiver);
    carry(&mut receiver, &mut sender);
    for _ in 0..waiting {
        let message = Bytes::from_static(PAYLOAD);
        sender.send(NOW, MAIN, message, None).expect("room");
    }
    carry(&mut sender, &mut receiver);
    (sender, receiver)
}

fn hear(link: &mut Link, frame: &Frame<'_>) {
    let mut bytes = [0; 64];
    let length = frame.encode(&mut bytes).expect("a short frame");
    link.handle_input(NOW, &bytes[..length]);
}

fn reject(link: &mut Link, sequence: u64) {
    let (channel, code, reason) = (0, 1, "");
    hear(
        link,
        &Frame::Reject {
            channel,
            sequence,
            code,
            reason,
        },
    );
}

fn ack(link: &mut Link, handled: u64) {
    let channel = 0;
    hear(link, &Frame::Ack { channel, handled });
}

/// A sender whose peer has rejected all messages but the first and the last, and lets no note out.
fn rejected(waiting: u64) -> Link {
    let (mut sender, _) = pair(waiting);
    for sequence in 2..=waiting - FRAMES {
        reject(&mut sender, sequence);
    }
    sender
}

/// A receiver that has rejected everything, and whose sender has read of the first rejections alone.
fn rejecting(waiting: u64) -> Link {
    let (_, mut receiver) = pair(waiting);
    let mut buffer = vec![0; 65_536];
    for sequence in 1..=waiting {
        receiver
            .take(NOW, MAIN)
            .expect("open")
            .expect("it has come");
        receiver.reject(NOW, MAIN, sequence, 1, "").expect("taken");
        if sequence == FRAMES {
            drain(&mut receiver, &mut buffer, |_| ());
        }
    }
    receiver
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [attack, waiting, frames] = arguments.as_slice() else {
        panic!("an attack, how many messages wait, how many frames come");
    };
    let waiting: u64 = waiting.parse().expect("how many messages wait");
    let frames: u64 = frames.parse().expect("how many frames come");
    assert!(frames <= FRAMES && 2 * FRAMES < waiting, "see FRAMES");
    let mut link = match attack.as_str() {
        "message" => pair(waiting).1,
        "ack" => pair(waiting).0,
        "noted" => rejecting(waiting),
        _ => rejected(waiting),
    };
    let mut message = [7; MESSAGE_HEAD + PAYLOAD.len()];
    let mut head = MessageHead {
        channel: 0,
        first: true,
        last: true,
        sequence: u32::try_from(waiting).expect("a low number"),
        total: None,
        times: None,
        length: PAYLOAD.len(),
    };
    for at in 1..=frames {
        match attack.as_str() {
            "message" => {
                head.sequence += 1;
                head.encode(&mut message);
                link.handle_input(NOW, &message);
            }
            "ack" => ack(&mut link, at),
            "ack-again" => ack(&mut link, 0),
            "reject" => reject(&mut link, waiting - FRAMES + at),
            "reject-again" => reject(&mut link, waiting - FRAMES),
            "noted" => {
                let (channel, sequence) = (0, at);
                hear(&mut link, &Frame::Noted { channel, sequence });
            }
            _ => panic!("there is no attack {attack}"),
        }
    }
    // Nothing of this is a violation.
    assert_eq!(link.state(), LinkState::Open, "{:?}", link.end_reason());
}
