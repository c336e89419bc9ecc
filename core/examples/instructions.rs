//! How many instructions a message costs, both ends together.
//!
//! Pushes N messages of 64 bytes (first argument) from `send` to their verdicts through two links
//! in memory, 256 at a time: with calls for many at once, or with a call for each (second argument
//! `single`). Two runs under callgrind with different N give the cost of one message
//! without that of the start:
//!
//! ```sh
//! cargo build --release --example instructions -p countersign-core
//! valgrind --tool=callgrind target/release/examples/instructions 100000
//! valgrind --tool=callgrind target/release/examples/instructions 200000
//! ```

mod common;

use std::collections::VecDeque;

use countersign_core::{Bytes, ChannelId, Event, Link, ReceiveChannel, Role, SendChannel};

use common::{NOW, drain, end};

const MAIN: ChannelId = ChannelId(0);
const BATCH: u64 = 256;

fn carry(from: &mut Link, to: &mut Link, buffer: &mut [u8]) {
    drain(from, buffer, |bytes| to.handle_input(NOW, bytes));
}

/// Takes what has come; gives its length, so that nobody can leave the taking out.
fn take_all(link: &mut Link, messages: &mut Vec<Bytes>, single: bool) -> usize {
    if !single {
        link.take_batch(NOW, MAIN, messages, usize::MAX)
            .expect("a receive channel");
        return messages.drain(..).map(|message| message.len()).sum();
    }
    let mut length = 0;
    while let Ok(Some(message)) = link.take(NOW, MAIN) {
        length += message.payload.len();
    }
    length
}

fn send_all(link: &mut Link, messages: &mut VecDeque<Bytes>, single: bool) {
    if !single {
        assert_eq!(link.send_batch(NOW, MAIN, messages).refused, None);
        return;
    }
    for message in messages.drain(..) {
        link.send(NOW, MAIN, message, None).expect("room");
    }
}

fn main() {
    let argument = std::env::args().nth(1);
    let messages: u64 = argument.map_or(100_000, |n| n.parse().expect("a number of messages"));
    let single = std::env::args().nth(2).is_some_and(|how| how == "single");
    let mut sender = end(SendChannel::new("main"), Role::Opener);
    let mut receiver = end(ReceiveChannel::new("main"), Role::Acceptor);
    let mut buffer = vec![0; 65_536];
    let payload = Bytes::from(vec![7; 64]);
    let (mut outgoing, mut incoming) = (VecDeque::new(), Vec::new());
    let (mut sent, mut handled, mut taken) = (0, 0, 0);
    carry(&mut sender, &mut receiver, &mut buffer);
    carry(&mut receiver, &mut sender, &mut buffer);
    while handled < messages {
        let batch = BATCH.min(messages - sent);
        outgoing.extend((0..batch).map(|_| payload.clone()));
        send_all(&mut sender, &mut outgoing, single);
        sent += batch;
        carry(&mut sender, &mut receiver, &mut buffer);
        while let Some(event) = receiver.poll_event() {
            assert!(matches!(event, Event::Connected | Event::Readable(_)));
        }
        taken += take_all(&mut receiver, &mut incoming, single);
        carry(&mut receiver, &mut sender, &mut buffer);
        while let Some(event) = sender.poll_event() {
            if let Event::Handled { first, last, .. } = event {
                handled += last - first + 1;
            }
        }
    }
    println!("{handled} messages handled, {taken} bytes taken");
}
