//! What the simulation and the property tests found about sessions, each as the smallest case that
//! shows it.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, CloseMode, Config, Disconnect, Event, Instant, Link, LinkState,
    Output, ReceiveChannel, Role, SendChannel, Verdict,
};

const NOW: Instant = Instant::from_micros(1);
const MAIN: ChannelId = ChannelId(0);

fn end(channel: impl Into<ChannelConfig>, role: Role) -> Link {
    let seed = [role as u8; 16];
    Link::new(&Config::new().channel(channel), role, seed).expect("a sound declaration")
}

/// A sending opener and a receiving acceptor, with nothing between them.
fn pair() -> [Link; 2] {
    let sender = end(SendChannel::new("main"), Role::Opener);
    [sender, end(ReceiveChannel::new("main"), Role::Acceptor)]
}

fn connect(link: &mut Link) {
    link.handle_opened(NOW).expect("a connection is awaited");
    link.handle_secured(NOW, None).expect("securing");
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
fn settle([a, b]: [&mut Link; 2]) {
    loop {
        let (from_a, from_b) = (output(a), output(b));
        b.handle_input(NOW, &from_a);
        a.handle_input(NOW, &from_b);
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
    }
}

/// A driver that learns of output while it secures the connection would look for it, find none, and
/// look again without end.
#[test]
fn what_waits_for_a_session_is_no_output_while_a_connection_is_secured() {
    let [mut sender, mut receiver] = pair();
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    assert_eq!(sender.poll_event(), Some(Event::Connected));
    sender.handle_lost(NOW, Disconnect::Transport);
    sender
        .send(NOW, MAIN, &b"meanwhile"[..], None)
        .expect("accepted");
    assert!(!sender.wants_output(), "there is no connection");
    sender.handle_opened(NOW).expect("offline");
    assert_eq!(sender.state(), LinkState::Securing);
    assert!(!sender.wants_output(), "nothing can be written yet");
    sender.handle_secured(NOW, None).expect("securing");
    assert!(sender.wants_output(), "HELLO is due");
}

/// A message was begun, is late by now, and did not arrive, so that it is not begun again. Behind
/// WELCOME comes CLOSE. Whether both arrived together must not show in the verdict.
#[test]
fn what_is_late_when_a_link_resumes_expires_however_the_bytes_are_cut() {
    for piece in [usize::MAX, 1] {
        let [mut sender, mut receiver] = pair();
        connect(&mut sender);
        connect(&mut receiver);
        settle([&mut sender, &mut receiver]);
        assert_eq!(sender.poll_event(), Some(Event::Connected));
        let expires = NOW + Duration::from_micros(1);
        sender
            .send(NOW, MAIN, "late", Some(expires))
            .expect("accepted");
        assert!(!output(&mut sender).is_empty(), "it is begun, and lost");
        for end in [&mut sender, &mut receiver] {
            end.handle_lost(expires, Disconnect::Transport);
            end.handle_timeout(expires);
            connect(end);
        }
        receiver.handle_input(expires, &output(&mut sender));
        receiver.close(NOW, CloseMode::Drain);
        for bytes in output(&mut receiver).chunks(piece) {
            // As a driver that sleeps to the next deadline.
            if sender.poll_deadline().is_some_and(|at| at <= expires) {
                sender.handle_timeout(expires);
            }
            sender.handle_input(expires, bytes);
        }
        let verdict = std::iter::from_fn(|| sender.poll_event()).find_map(|event| match event {
            Event::Verdict { verdict, .. } => Some(verdict),
            _ => None,
        });
        assert_eq!(verdict, Some(Verdict::Expired), "pieces of {piece}");
    }
}
