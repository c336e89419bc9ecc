//! The bytes between an endpoint and a scripted stream.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};

use countersign_core::{
    CloseMode, Config, Dialect, EndReason, Event, Instant, Link, LinkState, Loss, ReceiveChannel,
    Role, SendChannel,
};
use countersign_endpoint::{Endpoint, EndpointEvent, ErrorContext, Security, Stream};

const NOW: Instant = Instant::ZERO;
const PAYLOAD: usize = 100_000;

/// What a stream answers, in this order; then it has nothing to read, and takes everything.
#[derive(Default)]
struct Script {
    reads: VecDeque<io::Result<Vec<u8>>>,
    writes: VecDeque<io::Result<usize>>,
    written: Vec<u8>,
    ended: usize,
}

impl Script {
    fn brings(&mut self, bytes: &[u8]) {
        self.reads.push_back(Ok(bytes.to_vec()));
    }
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut bytes = match self.reads.pop_front() {
            None => return Err(ErrorKind::WouldBlock.into()),
            Some(answer) => answer?,
        };
        let count = bytes.len().min(buffer.len());
        buffer[..count].copy_from_slice(&bytes[..count]);
        let rest = bytes.split_off(count);
        if !rest.is_empty() {
            self.reads.push_front(Ok(rest));
        }
        Ok(count)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let most = self.writes.pop_front().unwrap_or(Ok(usize::MAX))?;
        let count = bytes.len().min(most);
        self.written.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        panic!("the stream is not flushed")
    }
}

impl Stream for Script {
    fn end(&mut self) -> io::Result<()> {
        self.ended += 1;
        Ok(())
    }
}

struct End {
    link: Link,
    endpoint: Endpoint,
    stream: Script,
}

impl End {
    fn new(role: Role) -> Self {
        let config = Config::new();
        let config = match role {
            Role::Opener => config.channel(SendChannel::new("data").max_message(PAYLOAD)),
            Role::Acceptor => config.channel(ReceiveChannel::new("data").max_message(PAYLOAD)),
        };
        let mut link = Link::new(&config.single_connection(), role, [role as u8 + 1; 16]).unwrap();
        link.handle_timeout(NOW);
        let endpoint = Endpoint::new(&Security::plaintext(), role, Dialect::Countersign);
        let stream = Script::default();
        Self {
            link,
            endpoint,
            stream,
        }
    }

    fn transfer(&mut self) -> bool {
        self.transfer_at(NOW)
    }

    fn transfer_at(&mut self, now: Instant) -> bool {
        let Self {
            link,
            endpoint,
            stream,
        } = self;
        endpoint.transfer(|| now, link, stream)
    }

    fn send(&mut self, length: usize) {
        let channel = self.link.channel_id("data").unwrap();
        let sent = self.link.send(NOW, channel, vec![7; length], None);
        sent.unwrap();
    }

    fn waiting(&self) -> usize {
        self.link.waiting(self.link.channel_id("data").unwrap())
    }

    fn error(&mut self) -> String {
        let mut error_context = ErrorContext::default();
        while let Some(event) = self.endpoint.poll_event() {
            error_context.on_event(event);
        }
        error_context.of_end(&self.link).unwrap().to_string()
    }
}

/// Carries what one end has written to the other's stream, as a network would.
fn carry(from: &mut End, to: &mut End) {
    let written = std::mem::take(&mut from.stream.written);
    if !written.is_empty() {
        to.stream.brings(&written);
    }
    for _ in 0..std::mem::take(&mut from.stream.ended) {
        to.stream.brings(b"");
    }
}

/// Both have turns until neither has anything to read.
fn run(opener: &mut End, acceptor: &mut End) {
    loop {
        while opener.transfer() | acceptor.transfer() {}
        carry(opener, acceptor);
        carry(acceptor, opener);
        if opener.stream.reads.is_empty() && acceptor.stream.reads.is_empty() {
            return;
        }
    }
}

fn pair() -> [End; 2] {
    let [mut opener, mut acceptor] = [End::new(Role::Opener), End::new(Role::Acceptor)];
    run(&mut opener, &mut acceptor);
    for end in [&mut opener, &mut acceptor] {
        assert_eq!(end.link.poll_event(), Some(Event::Connected));
        assert!(matches!(
            end.endpoint.poll_event(),
            Some(EndpointEvent::Secured)
        ));
    }
    [opener, acceptor]
}

#[test]
fn from_the_first_byte_to_the_end() {
    let [mut opener, mut acceptor] = pair();
    opener.send(PAYLOAD);
    run(&mut opener, &mut acceptor);
    assert_eq!(acceptor.waiting(), 1);
    let channel = acceptor.link.channel_id("data").unwrap();
    let message = acceptor.link.take(NOW, channel).unwrap().unwrap();
    assert_eq!(message.payload, vec![7; PAYLOAD]);
    opener.link.close(NOW, CloseMode::Drain);
    run(&mut opener, &mut acceptor);
    for end in [&mut opener, &mut acceptor] {
        assert!(end.link.end_reason().unwrap().is_orderly());
        assert!(end.endpoint.is_over(NOW));
    }
}

/// An acceptor has nothing to send before it has received something; an opener does, even if input
/// never ends.
#[test]
fn an_opener_speaks_first() {
    let mut opener = End::new(Role::Opener);
    opener.stream.brings(&[0; 1000]);
    let _ = opener.transfer();
    assert!(!opener.stream.written.is_empty());
    assert_eq!(
        opener.link.state(),
        LinkState::Ended,
        "it was answered nonsense"
    );
}

/// Signals, and a stream that takes and gives single bytes.
#[test]
fn in_any_pieces() {
    let [mut opener, mut acceptor] = pair();
    let interrupted = || io::Error::from(ErrorKind::Interrupted);
    opener.stream.writes.extend([
        Err(interrupted()),
        Ok(1),
        Err(interrupted()),
        Ok(2),
        Err(ErrorKind::WouldBlock.into()),
    ]);
    opener.send(10);
    assert!(!opener.transfer());
    assert_eq!(opener.stream.written.len(), 3);
    assert!(opener.endpoint.is_blocked());
    assert!(!opener.transfer(), "it takes all there is now");
    let written = std::mem::take(&mut opener.stream.written);
    acceptor.stream.reads.push_back(Err(interrupted()));
    for byte in written {
        acceptor.stream.brings(&[byte]);
        acceptor.stream.reads.push_back(Err(interrupted()));
    }
    assert!(!acceptor.transfer());
    assert_eq!(acceptor.waiting(), 1);
}

/// One transfer reads and writes no more than others can wait for, and says that there is more.
#[test]
fn others_have_their_turn() {
    let [mut opener, mut acceptor] = pair();
    opener.send(PAYLOAD);
    assert!(!opener.transfer());
    carry(&mut opener, &mut acceptor);
    let mut turns = 1;
    while acceptor.transfer() {
        turns += 1;
    }
    assert_eq!(turns, 3);
    assert_eq!(acceptor.waiting(), 1);
    // It takes a byte at a time, and would for long.
    opener.send(1000);
    opener.stream.writes.extend((0..100).map(|_| Ok(1)));
    assert!(opener.transfer());
    assert!(opener.stream.written.len() < 100);
}

/// A driver that was held up for long does not take that for the peer's silence, even if the bytes
/// that have arrived are not yet all that the link can use.
#[test]
fn what_waits_is_no_silence() {
    let [mut opener, mut acceptor] = pair();
    let late = NOW + acceptor.link.config().get_timeouts().give_up;
    opener.send(PAYLOAD);
    let _ = opener.transfer();
    carry(&mut opener, &mut acceptor);
    while acceptor.transfer_at(late) {}
    assert_eq!(acceptor.link.state(), LinkState::Open);
    assert_eq!(acceptor.waiting(), 1);
    // Nothing waits.
    let _ = opener.transfer_at(late);
    assert_eq!(
        opener.link.end_reason(),
        Some(&EndReason::Lost(Loss::Silence))
    );
}

#[test]
fn errors_are_told() {
    let [mut opener, _] = pair();
    let reset = io::Error::new(ErrorKind::ConnectionReset, "cable pulled");
    opener.stream.reads.push_back(Err(reset));
    assert!(!opener.transfer());
    assert_eq!(
        opener.error(),
        "the connection was lost: cable pulled".to_owned()
    );

    let [mut opener, _] = pair();
    opener.send(10);
    opener.stream.writes.push_back(Ok(0));
    assert!(!opener.transfer());
    assert_eq!(
        opener.error(),
        "the connection was lost: the transport takes no more bytes"
    );
}

/// A peer that takes nothing more may have said why.
#[test]
fn who_can_not_send_reads_on() {
    let [mut opener, mut acceptor] = pair();
    acceptor.link.close(NOW, CloseMode::Withdraw);
    let _ = acceptor.transfer();
    opener.send(10);
    let broken = Err(ErrorKind::BrokenPipe.into());
    opener.stream.writes.push_back(broken);
    assert!(!opener.transfer());
    assert!(!opener.endpoint.is_read_ended());
    assert_eq!(opener.link.state(), LinkState::Open);
    carry(&mut acceptor, &mut opener);
    let _ = opener.transfer();
    assert!(opener.link.peer_closes().is_some());
}
