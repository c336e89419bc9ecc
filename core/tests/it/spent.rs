//! A payload's destructor is the application's code: it runs between calls, and never within one.

use core::cell::Cell;
use core::time::Duration;

use countersign_core::{
    Bytes, ChannelId, CloseMode, Config, Dialect, Disconnect, Incoming, Instant, Link, Output,
    Protocol, ReceiveChannel, Role, SendChannel, TakeOver,
};

const NOW: Instant = Instant::from_micros(1);
const MAIN: ChannelId = ChannelId(0);

thread_local! {
    /// A call of a link's is under way.
    static WITHIN: Cell<bool> = const { Cell::new(false) };
    static DROPPED: Cell<usize> = const { Cell::new(0) };
}

/// Memory of the application's, whose destructor must not run while a link is at work.
struct Picky(Vec<u8>);

impl AsRef<[u8]> for Picky {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Picky {
    fn drop(&mut self) {
        assert!(!WITHIN.get(), "dropped in the middle of a call");
        DROPPED.set(DROPPED.get() + 1);
    }
}

fn picky(length: usize) -> Bytes {
    Bytes::from_owner(Picky(vec![7; length]))
}

/// Makes a call and takes what the link no longer needs.
fn call<R>(link: &mut Link, work: impl FnOnce(&mut Link) -> R) -> R {
    WITHIN.set(true);
    let result = work(link);
    let spent = link.take_spent();
    WITHIN.set(false);
    drop(spent);
    result
}

fn send(link: &mut Link, payload: Bytes, expires: Option<Instant>) {
    let sent = call(link, |link| link.send(NOW, MAIN, payload, expires));
    sent.expect("accepted");
}

fn connect(link: &mut Link) {
    call(link, |link| link.handle_opened(NOW)).expect("a connection is awaited");
    call(link, |link| link.handle_secured(NOW, None)).expect("securing");
}

fn output(link: &mut Link) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Output::Written(length) = call(link, |link| link.poll_output(NOW, &mut buffer)) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}

/// Moves bytes both ways until there are none.
fn settle([a, b]: [&mut Link; 2]) {
    loop {
        let (from_a, from_b) = (output(a), output(b));
        call(b, |link| link.handle_input(NOW, &from_a));
        call(a, |link| link.handle_input(NOW, &from_b));
        if from_a.is_empty() && from_b.is_empty() {
            return;
        }
    }
}

fn take(link: &mut Link) -> usize {
    let mut count = 0;
    while let Ok(Some(message)) = link.take(NOW, MAIN) {
        count += 1;
        if !link.is_auto(MAIN) {
            link.reject(NOW, MAIN, message.sequence, 5, "no")
                .expect("it waits");
        }
    }
    count
}

fn ends(sender: &Config, receiver: &Config) -> [Link; 2] {
    DROPPED.set(0);
    [
        Link::new(sender, Role::Opener, [1; 16]).expect("sound"),
        Link::new(receiver, Role::Acceptor, [2; 16]).expect("sound"),
    ]
}

fn connected(sender: SendChannel, receiver: ReceiveChannel) -> [Link; 2] {
    let [mut sender, mut receiver] = ends(
        &Config::new().channel(sender),
        &Config::new().channel(receiver),
    );
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    [sender, receiver]
}

fn main_channel() -> [Link; 2] {
    connected(SendChannel::new("main"), ReceiveChannel::new("main"))
}

#[test]
fn of_handled_messages() {
    let [mut sender, mut receiver] = main_channel();
    for _ in 0..5 {
        send(&mut sender, picky(100), None);
    }
    settle([&mut sender, &mut receiver]);
    assert_eq!((take(&mut receiver), DROPPED.get()), (5, 0));
    settle([&mut sender, &mut receiver]);
    assert_eq!(DROPPED.get(), 5);
}

#[test]
fn of_rejected_messages() {
    let receiver = ReceiveChannel::new("main").manual();
    let [mut sender, mut receiver] = connected(SendChannel::new("main"), receiver);
    send(&mut sender, picky(100), None);
    settle([&mut sender, &mut receiver]);
    assert_eq!((take(&mut receiver), DROPPED.get()), (1, 0));
    settle([&mut sender, &mut receiver]);
    assert_eq!(DROPPED.get(), 1);
}

#[test]
fn of_superseded_messages() {
    let sender = SendChannel::new("main").latest();
    let [mut sender, _] = ends(
        &Config::new().channel(sender),
        &Config::new().channel(ReceiveChannel::new("main")),
    );
    for sent in 0..5 {
        assert_eq!(DROPPED.get(), usize::max(sent, 1) - 1);
        send(&mut sender, picky(100), None);
    }
}

#[test]
fn of_superseded_messages_after_a_resume() {
    let sender = SendChannel::new("main").latest();
    let [mut sender, mut receiver] = connected(sender, ReceiveChannel::new("main"));
    for _ in 0..2 {
        send(&mut sender, picky(100), None);
        let lost = output(&mut sender);
        assert!(!lost.is_empty());
    }
    for link in [&mut sender, &mut receiver] {
        call(link, |link| link.handle_lost(NOW, Disconnect::Transport));
    }
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    assert_eq!((take(&mut receiver), DROPPED.get()), (1, 1));
}

#[test]
fn of_expired_messages() {
    let [mut sender, _] = ends(
        &Config::new().channel(SendChannel::new("main")),
        &Config::new().channel(ReceiveChannel::new("main")),
    );
    let soon = NOW + Duration::from_millis(1);
    send(&mut sender, picky(100), Some(soon));
    call(&mut sender, |link| link.handle_timeout(soon));
    assert_eq!(DROPPED.get(), 1);
    // By the time of writing, too.
    let [mut sender, _] = main_channel();
    send(&mut sender, picky(100), Some(soon));
    let mut buffer = [0; 4096];
    call(&mut sender, |link| link.poll_output(soon, &mut buffer));
    assert_eq!(DROPPED.get(), 1);
}

#[test]
fn of_withdrawn_and_unknown_messages() {
    let [mut sender, _] = main_channel();
    send(&mut sender, picky(100), None);
    assert!(!output(&mut sender).is_empty());
    send(&mut sender, picky(100), None);
    call(&mut sender, |link| link.close(NOW, CloseMode::Withdraw));
    assert_eq!(DROPPED.get(), 1);
    call(&mut sender, |link| {
        link.handle_lost(NOW, Disconnect::Abandoned);
    });
    assert_eq!(DROPPED.get(), 2);
}

#[test]
fn of_messages_that_the_peer_does_not_take() {
    let [mut sender, mut receiver] = ends(
        &Config::new().channel(SendChannel::new("main")),
        &Config::new().channel(ReceiveChannel::new("main").max_message(10)),
    );
    send(&mut sender, picky(100), None);
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    assert_eq!(DROPPED.get(), 1);
}

#[test]
fn of_a_session_that_is_lost() {
    let [mut sender, mut receiver] = main_channel();
    for _ in 0..2 {
        send(&mut sender, picky(100), None);
    }
    settle([&mut sender, &mut receiver]);
    assert_eq!(take(&mut receiver), 2);
    // What the receiver has said of these is lost, and what comes then waits to be sent.
    assert!(!output(&mut receiver).is_empty());
    send(&mut sender, picky(100), None);
    receiver.handle_lost(NOW, Disconnect::Abandoned);
    call(&mut sender, |link| {
        link.handle_lost(NOW, Disconnect::Transport);
    });
    let config = receiver.config().clone();
    let mut next = Incoming::new(&config, [3; 16]).expect("sound");
    connect(&mut sender);
    next.handle_opened(NOW).expect("a connection is awaited");
    next.handle_secured(NOW, None).expect("securing");
    let hello = output(&mut sender);
    next.handle_input(NOW, &hello);
    assert_eq!(receiver.take_over(NOW, &mut next), TakeOver::NotMine);
    next.remember(Some(receiver.gone_session()));
    let mut next = next.accept(NOW).expect("accepted");
    assert_eq!(DROPPED.get(), 0);
    settle([&mut sender, &mut next]);
    assert_eq!(DROPPED.get(), 3);
}

#[test]
fn in_the_tlsstream_dialect() {
    let sender = Config::new()
        .dialect(Dialect::TlsStream)
        .channel(SendChannel::new("main"));
    let receiver = Config::new()
        .dialect(Dialect::TlsStream)
        .channel(ReceiveChannel::new("main"));
    let [mut sender, mut receiver] = ends(&sender, &receiver);
    send(&mut sender, picky(100), None);
    connect(&mut sender);
    connect(&mut receiver);
    settle([&mut sender, &mut receiver]);
    assert_eq!((take(&mut receiver), DROPPED.get()), (1, 1));
}

#[test]
fn what_nobody_takes_goes_before_the_next_call_changes_anything() {
    let mut sender = main_channel().into_iter().next().expect("two ends");
    send(&mut sender, picky(100), None);
    sender.close(NOW, CloseMode::Withdraw);
    assert_eq!(DROPPED.get(), 0);
    assert!(sender.clone().take_spent().is_empty(), "a clone has none");
    sender.handle_timeout(NOW);
    assert_eq!(DROPPED.get(), 1);
    assert!(sender.take_spent().is_empty());
}

#[test]
fn what_nobody_takes_goes_before_more_is_sent() {
    let [mut sender, mut receiver] = main_channel();
    send(&mut sender, picky(100), None);
    settle([&mut sender, &mut receiver]);
    assert_eq!(take(&mut receiver), 1);
    let ack = output(&mut receiver);
    sender.handle_input(NOW, &ack);
    assert_eq!(DROPPED.get(), 0);
    sender.send(NOW, MAIN, picky(100), None).expect("accepted");
    assert_eq!(DROPPED.get(), 1);
}
