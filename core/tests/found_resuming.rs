//! What the simulation found about sessions, each as the smallest case that shows it.

use core::time::Duration;

use countersign_core::{
    ChannelConfig, ChannelId, Config, EndReason, Event, Instant, Life, Link, Loss, Output, Role,
};

const NOW: Instant = Instant::from_micros(1);
const MAIN: ChannelId = ChannelId(0);

fn end(channel: ChannelConfig, role: Role) -> Link {
    let seed = [role as u8; 16];
    Link::new(&Config::new().channel(channel), role, seed).expect("a sound declaration")
}

/// A sending opener and a receiving acceptor, with nothing between them.
fn pair() -> [Link; 2] {
    let sender = end(ChannelConfig::send("main"), Role::Opener);
    [sender, end(ChannelConfig::receive("main"), Role::Acceptor)]
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

/// A driver that is told of output while it secures the connection looks for it, finds none, and
/// looks again without end.
#[test]
fn what_waits_for_a_session_is_no_output_while_a_connection_is_secured() {
    let [mut sender, mut receiver] = pair();
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    assert_eq!(sender.poll_event(), Some(Event::Connected));
    sender.handle_lost(NOW, Loss::Transport);
    sender
        .send(MAIN, &b"meanwhile"[..], None)
        .expect("accepted");
    assert!(!sender.wants_output(), "there is no connection");
    sender.handle_opened(NOW).expect("offline");
    assert_eq!(sender.life(), Life::Securing);
    assert!(!sender.wants_output(), "nothing can be written yet");
    sender.handle_secured(NOW, None).expect("securing");
    assert!(sender.wants_output(), "HELLO is due");
}

/// A HELLO that was held up on the way until its opener had long been back on another connection
/// says what was true when it was written. Going on from there would end the newer connection,
/// and the session with it, since the figures contradict what came since.
#[test]
fn a_late_hello_on_an_older_connection_is_not_followed() {
    // [RESUME-18]
    let [mut sender, mut receiver] = pair();
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    let at = |seconds: u64| NOW + Duration::from_secs(seconds);
    // What the acceptor's listener does for every connection, on a clock that shows any time.
    let visit = |seconds: u64, hello: &[u8]| {
        let mut visitor = end(ChannelConfig::receive("main"), Role::Acceptor);
        visitor.ask_for_sessions();
        let accepted = Instant::from_micros(77 + seconds);
        visitor.handle_opened(accepted).expect("offline");
        visitor.handle_secured(accepted, None).expect("securing");
        visitor.handle_input(accepted + Duration::from_secs(seconds), hello);
        assert!(visitor.named_session().is_some());
        visitor
    };
    let lose = |link: &mut Link, now| {
        link.handle_lost(now, Loss::Transport);
        assert_eq!(link.life(), Life::Offline);
    };
    lose(&mut sender, at(1));
    connect(&mut sender);
    let late = output(&mut sender);
    lose(&mut sender, at(2));
    connect(&mut sender);
    let hello = output(&mut sender);
    let mut visitor = visit(0, &hello);
    assert!(receiver.take_over(at(3), &mut visitor));
    settle([&mut sender, &mut receiver]);
    let connection = receiver.connection();

    // It was accepted at second one, and comes at second four.
    let mut visitor = visit(3, &late);
    assert!(!receiver.take_over(at(4), &mut visitor));
    assert_eq!(receiver.connection(), connection);
    assert_eq!(receiver.life(), Life::Open);
    let replaced = EndReason::Lost(Loss::Replaced);
    assert_eq!(visitor.end_reason(), Some(&replaced));
    assert_eq!(output(&mut visitor), [], "nobody would read it");
    visitor.decline_session(at(4), None);
    assert_eq!(visitor.life(), Life::Ended, "and no session begins there");

    sender.send(MAIN, &b"on"[..], None).expect("accepted");
    settle([&mut sender, &mut receiver]);
    let message = receiver.take(MAIN).expect("receive mode").expect("one");
    assert_eq!(&message.payload[..], b"on");
}
