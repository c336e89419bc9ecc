//! What the property tests found, each as the smallest case that shows it.

use core::time::Duration;

use countersign_core::{
    ChannelId, Config, EndReason, Event, Instant, Link, Output, PeerMisbehaved, ReceiveChannel,
    Role, SendChannel, SendError, Verdict,
};

const NOW: Instant = Instant::from_micros(1);
const MAIN: ChannelId = ChannelId(0);

/// One end, secured.
fn end(config: &Config, role: Role) -> Link {
    let mut link =
        Link::new(&config.clone().single_connection(), role, [7; 16]).expect("a sound declaration");
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    link
}

/// Everything that an end has to write now.
fn output(link: &mut Link) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Output::Written(length) = link.poll_output(NOW, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// Moves bytes both ways until there are none.
fn settle(a: &mut Link, b: &mut Link) {
    loop {
        let (from_a, from_b) = (output(a), output(b));
        b.handle_input(NOW, &from_a);
        a.handle_input(NOW, &from_b);
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
    }
}

fn pair(send: SendChannel, receive: ReceiveChannel) -> (Link, Link) {
    let mut sender = end(&Config::new().channel(send), Role::Opener);
    let mut receiver = end(&Config::new().channel(receive), Role::Acceptor);
    settle(&mut sender, &mut receiver);
    assert_eq!(sender.poll_event(), Some(Event::Connected));
    assert_eq!(receiver.poll_event(), Some(Event::Connected));
    (sender, receiver)
}

fn send(link: &mut Link, length: usize) -> Result<u64, SendError> {
    link.send(NOW, MAIN, vec![1; length], None)
        .map_err(|not| not.why)
}

/// `Room` at once, where the refused message still does not fit, makes a caller spin.
#[test]
fn room_is_told_when_the_refused_message_fits() {
    let (mut sender, mut receiver) = pair(
        SendChannel::new("main").max_message(100).queue(10, 100),
        ReceiveChannel::new("main").max_message(100),
    );
    assert_eq!(send(&mut sender, 60), Ok(1));
    assert_eq!(send(&mut sender, 60), Err(SendError::Blocked));
    assert_eq!(sender.poll_event(), None);
    settle(&mut sender, &mut receiver);
    receiver
        .take(NOW, MAIN)
        .expect("receive mode")
        .expect("a message");
    settle(&mut sender, &mut receiver);
    let (first, last) = (1, 1);
    let handled = Event::Handled {
        channel: MAIN,
        first,
        last,
        count: last - first + 1,
    };
    assert_eq!(sender.poll_event(), Some(handled));
    assert_eq!(sender.poll_event(), Some(Event::Room(MAIN)));
    assert_eq!(send(&mut sender, 60), Ok(2));
}

/// On a `Latest` channel, what counts is the room beside the message that would be replaced.
#[test]
fn room_counts_the_message_that_would_be_replaced() {
    let (mut sender, mut receiver) = pair(
        SendChannel::new("main")
            .latest()
            .in_flight(1)
            .max_message(100)
            .queue(10, 150),
        ReceiveChannel::new("main").max_message(100).manual(),
    );
    assert_eq!(send(&mut sender, 60), Ok(1));
    settle(&mut sender, &mut receiver);
    assert_eq!(send(&mut sender, 90), Ok(2));
    assert_eq!(send(&mut sender, 100), Err(SendError::Blocked));
    assert_eq!(sender.poll_event(), None);
    receiver.take(NOW, MAIN).expect("receive mode");
    receiver.reject(NOW, MAIN, 1, 3, "").expect("it waits");
    let rejection = output(&mut receiver);
    sender.handle_input(NOW, &rejection);
    assert!(matches!(
        sender.poll_event(),
        Some(Event::Verdict { sequence: 1, .. })
    ));
    assert_eq!(sender.poll_event(), Some(Event::Room(MAIN)));
    assert_eq!(send(&mut sender, 100), Ok(3));
}

/// The last messages before a close expire after it: the peer waits for the SKIP.
#[test]
fn expiry_behind_a_close_wants_output() {
    let (mut sender, mut receiver) = pair(
        SendChannel::new("main").in_flight(1),
        ReceiveChannel::new("main").manual(),
    );
    let expires = NOW + Duration::from_secs(1);
    assert_eq!(send(&mut sender, 1), Ok(1));
    sender.send(NOW, MAIN, "late", Some(expires)).expect("room");
    sender.close(NOW, countersign_core::CloseMode::Drain);
    settle(&mut sender, &mut receiver);
    assert!(!sender.wants_output());
    sender.handle_timeout(expires);
    assert!(sender.wants_output());
    let skip = [0x11, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 2];
    assert_eq!(output(&mut sender), skip);
}

/// A long message that waits for the window expires: the short one behind it can go.
#[test]
fn expiry_before_a_shorter_message_wants_output() {
    let (mut sender, mut receiver) = pair(
        SendChannel::new("main").max_message(1000),
        ReceiveChannel::new("main")
            .manual()
            .max_message(1000)
            .window(10, 1000),
    );
    let expires = NOW + Duration::from_secs(1);
    assert_eq!(send(&mut sender, 900), Ok(1));
    sender
        .send(NOW, MAIN, vec![2; 1000], Some(expires))
        .expect("room");
    assert_eq!(send(&mut sender, 50), Ok(3));
    settle(&mut sender, &mut receiver);
    assert!(!sender.wants_output());
    sender.handle_timeout(expires);
    assert!(sender.wants_output());
}

/// What comes to an abandoned channel is rejected, and the rejection wants out.
#[test]
fn arrival_on_an_abandoned_channel_wants_output() {
    let (mut sender, mut receiver) = pair(SendChannel::new("main"), ReceiveChannel::new("main"));
    receiver.abandon(NOW, MAIN).expect("receive mode");
    assert!(output(&mut receiver).is_empty());
    for length in [3, 5000] {
        send(&mut sender, length).expect("room");
        let message = output(&mut sender);
        for piece in message.chunks(1000) {
            receiver.handle_input(NOW, piece);
        }
        assert!(receiver.wants_output());
        settle(&mut sender, &mut receiver);
    }
}

/// Numbers end somewhere: a SKIP to the last one leaves none for a message.
#[test]
fn message_after_the_last_number_is_a_gap() {
    let (_, mut receiver) = pair(SendChannel::new("main"), ReceiveChannel::new("main"));
    let mut skip = vec![0x11, 0, 0, 0, 0, 0, 0, 8];
    skip.extend_from_slice(&u64::MAX.to_be_bytes());
    receiver.handle_input(NOW, &skip);
    receiver.handle_input(NOW, &[0x10, 3, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 9]);
    let gap = EndReason::Peer(PeerMisbehaved::SequenceGap);
    assert_eq!(receiver.end_reason(), Some(&gap));
}

/// `needed` is what is needed, not more.
#[test]
fn needed_is_the_length_of_the_next_frame() {
    let (mut sender, _receiver) = pair(SendChannel::new("main"), ReceiveChannel::new("main"));
    for length in [0, 1, 5] {
        send(&mut sender, length).expect("room");
        let needed = 12 + length;
        let mut buffer = [0; 100];
        let less = sender.poll_output(NOW, &mut buffer[..needed - 1]);
        assert_eq!(less, Output::TooSmall { needed });
        let enough = sender.poll_output(NOW, &mut buffer[..needed]);
        assert_eq!(enough, Output::Written(needed));
    }
}

/// A driver that comes late finds a message expired and the link lost: the expiry was first.
#[test]
fn expired_message_is_not_withdrawn_by_a_late_end() {
    let config = Config::new().channel(SendChannel::new("main"));
    let mut link = end(&config, Role::Opener);
    let expires = Some(NOW + Duration::from_secs(1));
    link.send(NOW, MAIN, "late", expires).expect("room");
    link.handle_timeout(NOW + Duration::from_secs(100));
    let (channel, sequence, verdict) = (MAIN, 1, Verdict::Expired);
    let expired = Event::Verdict {
        channel,
        sequence,
        verdict,
    };
    assert_eq!(link.poll_event(), Some(expired));
    assert_eq!(link.poll_event(), Some(Event::Ended));
}

/// An end of stream that is reported without a connection is not the next connection's.
#[test]
fn early_end_of_stream_is_forgotten() {
    let config = Config::new().channel(SendChannel::new("main"));
    let mut link = Link::new(&config, Role::Acceptor, [7; 16]).expect("a sound declaration");
    link.handle_eof(NOW);
    link.handle_opened(NOW).expect("offline");
    link.handle_secured(NOW, None).expect("securing");
    link.close(NOW, countersign_core::CloseMode::Drain);
    assert_eq!(link.poll_output(NOW, &mut [0; 100]), Output::End);
    assert!(link.wants_connection());
    link.handle_eof(NOW);
    assert!(!link.wants_connection());
}

/// What follows DONE is not read, whether it comes with it or after it.
#[test]
fn bytes_after_done_are_not_read_however_cut() {
    let message = |number| [0x10, 3, 0, 0, 0, 0, 0, 4, 0, 0, 0, number];
    let close = [
        0x30, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
    ];
    let done_and_more = [&[0x31, 0, 0, 0, 0, 0, 0, 0][..], &message(2)].concat();
    for cut in [done_and_more.len(), 8, 1] {
        let (_, mut receiver) = pair(SendChannel::new("main"), ReceiveChannel::new("main"));
        receiver.handle_input(NOW, &[&message(1)[..], &close].concat());
        receiver
            .take(NOW, MAIN)
            .expect("receive mode")
            .expect("a message");
        output(&mut receiver);
        for piece in done_and_more.chunks(cut) {
            receiver.handle_input(NOW, piece);
        }
        assert_eq!(receiver.state(), countersign_core::LinkState::Finishing);
    }
}
