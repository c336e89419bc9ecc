//! The bytes on their way between a link and a transport.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use std::io::{self, ErrorKind};
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    ChannelConfig, CloseMode, Config, Dialect, Disconnect, EndReason, Event, Instant, Link,
    LinkState, Loss, ReceiveChannel, Role, SendChannel, Timeouts,
};
use countersign_endpoint::{Endpoint, EndpointEvent, Identity, Reason, Security, ToSend};

use crate::common::identity;

mod idle;

const NOW: Instant = Instant::ZERO;

/// A link and its connection.
struct End(Link, Endpoint);

impl End {
    fn new(role: Role, security: &Security) -> Self {
        Self::speaking(Dialect::Countersign, role, security)
    }

    fn speaking(dialect: Dialect, role: Role, security: &Security) -> Self {
        let channel = match role {
            Role::Opener => ChannelConfig::from(SendChannel::new("data")),
            Role::Acceptor => ReceiveChannel::new("data").into(),
        };
        let config = Config::new().channel(channel).single_connection();
        Self::declared(&config.dialect(dialect), role, security)
    }

    fn declared(config: &Config, role: Role, security: &Security) -> Self {
        let mut link = Link::new(config, role, [role as u8 + 1; 16]).unwrap();
        link.handle_timeout(NOW);
        let endpoint = Endpoint::new(security, role, config.get_dialect());
        Self(link, endpoint)
    }

    fn exchange(&mut self) {
        self.1.exchange(NOW, &mut self.0);
    }

    /// What is to be sent now, without saying that it was.
    fn shows(&mut self) -> Vec<u8> {
        self.exchange();
        match self.1.to_send() {
            ToSend::Bytes(output) => output.filled().to_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// What the endpoint has to send without another exchange, which is sent; nothing otherwise.
    fn sends(&mut self) -> Vec<u8> {
        let ToSend::Bytes(output) = self.1.to_send() else {
            return Vec::new();
        };
        let sent = output.filled().to_vec();
        output.consume(sent.len());
        self.1.sent();
        sent
    }

    /// All there is to send, which is sent.
    fn says(&mut self) -> Vec<u8> {
        let mut said = Vec::new();
        loop {
            self.exchange();
            let sent = self.sends();
            if sent.is_empty() {
                return said;
            }
            said.extend(sent);
        }
    }

    /// Bytes arrive, and the link does not have them yet.
    fn receives(&mut self, bytes: &[u8]) {
        let input = self.1.input();
        input.space(bytes.len())[..bytes.len()].copy_from_slice(bytes);
        input.commit(bytes.len());
        self.1.received(bytes.len());
    }

    fn hears(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.receives(bytes);
            self.exchange();
        }
    }

    /// Sends one byte after the other, for as long as there are any.
    fn trickle(&mut self, peer: &mut Self) -> bool {
        let mut moved = false;
        loop {
            self.exchange();
            let ToSend::Bytes(output) = self.1.to_send() else {
                return moved;
            };
            let byte = output.filled()[0];
            output.consume(1);
            self.1.sent();
            peer.hears(&[byte]);
            moved = true;
        }
    }

    fn send(&mut self, message: &'static str) {
        let channel = self.0.channel_id("data").unwrap();
        self.0.send(NOW, channel, message, None).unwrap();
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let channel = self.0.channel_id("data").unwrap();
        std::iter::from_fn(|| self.0.take(NOW, channel).unwrap())
            .map(|message| message.payload.to_vec())
            .collect()
    }

    fn news(&mut self) -> Vec<EndpointEvent> {
        std::iter::from_fn(|| self.1.poll_event()).collect()
    }
}

/// The kinds of a connection's events.
fn names(news: &[EndpointEvent]) -> Vec<String> {
    let name = |event: &EndpointEvent| match event {
        EndpointEvent::Secured => "Secured".to_owned(),
        EndpointEvent::Failed(error) => {
            let reason = format!("{:?}", error.reason());
            reason.split([' ', '(', '{']).next().unwrap().to_owned()
        }
        EndpointEvent::Lost(cause) => format!("{:?}", cause.error().kind()),
    };
    news.iter().map(name).collect()
}

/// Two ends in plain text, so that what is sent is known.
fn pair() -> [End; 2] {
    let plain = Security::plaintext();
    let mut opener = End::new(Role::Opener, &plain);
    let mut acceptor = End::new(Role::Acceptor, &plain);
    while opener.trickle(&mut acceptor) | acceptor.trickle(&mut opener) {}
    for end in [&mut opener, &mut acceptor] {
        assert_eq!(end.0.poll_event(), Some(Event::Connected));
        assert_eq!(names(&end.news()), ["Secured"]);
    }
    [opener, acceptor]
}

fn tls(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Security {
    Security::tls(identity(own), peer.fingerprint())
        .build()
        .unwrap()
}

/// The securities of an opener and an acceptor, and the acceptor's identity.
fn securities() -> ([Security; 2], GeneratedIdentity) {
    let [robot, station] = ["robot", "station"].map(fixtures::good);
    ([tls(&robot, &station), tls(&station, &robot)], station)
}

/// Two ends with TLS, connected.
fn secure_pair([opener, acceptor]: &[Security; 2]) -> [End; 2] {
    let mut ends = [
        End::new(Role::Opener, opener),
        End::new(Role::Acceptor, acceptor),
    ];
    run(&mut ends);
    for end in &mut ends {
        assert_eq!(end.0.poll_event(), Some(Event::Connected));
        assert_eq!(names(&end.news()), ["Secured"]);
    }
    ends
}

fn run([opener, acceptor]: &mut [End; 2]) {
    loop {
        let there = opener.says();
        acceptor.hears(&there);
        let back = acceptor.says();
        opener.hears(&back);
        if there.is_empty() && back.is_empty() {
            return;
        }
    }
}

/// Until some of it was sent, the output stays as it was handed out, whatever is to be said since.
#[test]
fn what_was_handed_out_stays() {
    let [mut opener, _] = pair();
    assert!(!opener.1.is_blocked());
    opener.send("one");
    let first = opener.shows();
    opener.send("two");
    assert!(opener.1.is_blocked());
    assert_eq!(opener.shows(), first);
    assert!(opener.0.wants_output(), "the second was not taken");

    // A transport may hold it meanwhile: nothing is added to the empty buffer.
    let ToSend::Bytes(output) = opener.1.to_send() else {
        panic!("there is output");
    };
    let held = std::mem::take(output);
    assert_eq!(opener.shows(), b"");
    let ToSend::Bytes(output) = opener.1.to_send() else {
        panic!("it is still held");
    };
    *output = held;
    output.consume(1);
    opener.1.sent();
    assert_eq!(opener.shows(), first[1..]);
}

/// A transport may hold the memory for what comes while the link has its turn.
#[test]
fn what_comes_may_be_held() {
    let (securities, _) = securities();
    for [mut opener, mut acceptor] in [pair(), secure_pair(&securities)] {
        opener.send("one");
        opener.send("two");
        let said = opener.says();
        let (first, second) = said.split_at(said.len() - 3);
        acceptor.receives(first);
        let held = std::mem::take(acceptor.1.input());
        acceptor.exchange();
        *acceptor.1.input() = held;
        acceptor.hears(second);
        assert_eq!(acceptor.take(), [b"one", b"two"]);
    }
}

/// A transport that takes nothing more may still bring what the peer has said.
#[test]
fn who_can_not_send_reads_on() {
    let [mut opener, mut acceptor] = pair();
    opener.send("one");
    opener.trickle(&mut acceptor);
    assert_eq!(acceptor.take(), [b"one"]);
    opener.send("two");
    let _ = opener.shows();
    opener.1.cannot_send(io::Error::from(ErrorKind::BrokenPipe));
    opener.exchange();
    assert!(matches!(opener.1.to_send(), ToSend::Nothing));
    assert!(!opener.1.is_read_ended());
    acceptor.trickle(&mut opener);
    assert!(matches!(
        opener.0.poll_event(),
        Some(Event::Handled { last: 1, .. })
    ));
    assert!(!opener.1.is_over(NOW));
}

/// Both ends say that they end, and neither waits longer than that takes.
#[test]
fn over_when_both_have_ended() {
    let [mut opener, mut acceptor] = pair();
    opener.0.close(NOW, CloseMode::Drain);
    while opener.trickle(&mut acceptor) | acceptor.trickle(&mut opener) {}
    for end in [&mut opener, &mut acceptor] {
        assert!(matches!(end.1.to_send(), ToSend::End));
        end.1.shut();
        assert!(!end.1.is_over(NOW));
    }
    for end in [&mut opener, &mut acceptor] {
        end.1.received(0);
        end.exchange();
        assert!(end.0.end_reason().unwrap().is_orderly());
        assert!(end.1.is_over(NOW));
    }
}

/// A peer that does not end its direction is waited for as long as the time-outs say.
#[test]
fn lingers_no_longer_than_it_should() {
    let [mut opener, _] = pair();
    opener.0.handle_lost(NOW, Disconnect::Abandoned);
    assert_eq!(opener.0.state(), LinkState::Ended);
    opener.exchange();
    assert!(matches!(opener.1.to_send(), ToSend::End));
    opener.1.shut();
    assert_eq!(opener.1.deadline(), None);
    assert!(!opener.1.is_over(NOW));
    let until = NOW + opener.0.config().get_timeouts().linger;
    assert_eq!(opener.1.deadline(), Some(until));
    let before = NOW + (opener.0.config().get_timeouts().linger - Duration::from_micros(1));
    assert!(!opener.1.is_over(before));
    assert!(opener.1.is_over(until));
}

/// A link that has another connection has no use for the old one.
#[test]
fn over_when_fenced() {
    let [mut opener, _] = pair();
    assert!(!opener.1.is_over(NOW));
    opener.1.attach(opener.0.connection() + 1);
    opener.exchange();
    assert!(opener.1.is_fenced());
    assert!(opener.1.is_over(NOW));
}

/// Whichever link it was made for, a connection lingers as the link says that has it.
#[test]
fn lingers_as_its_link_says() {
    let [mut opener, _] = pair();
    let linger = Duration::from_millis(1234);
    let timeouts = Timeouts {
        linger,
        ..Timeouts::default()
    };
    let config = Config::new().channel(SendChannel::new("data"));
    let config = config.single_connection().timeouts(timeouts);
    let mut other = End::declared(&config, Role::Opener, &Security::plaintext());
    other.exchange();
    opener.1.attach(other.0.connection());
    other.0.handle_lost(NOW, Disconnect::Abandoned);
    opener.1.exchange(NOW, &mut other.0);
    assert!(!opener.1.is_over(NOW));
    assert_eq!(opener.1.deadline(), Some(NOW + linger));
}

/// What comes in several reads is the link's with the exchange that follows, wherever it was cut.
#[test]
fn several_reads_make_one_exchange() {
    let (securities, _) = securities();
    for [mut opener, mut acceptor] in [pair(), secure_pair(&securities)] {
        opener.send("one");
        let mut said = opener.says();
        opener.send("two");
        said.extend(opener.says());
        let (first, rest) = said.split_at(said.len() / 3);
        let (second, third) = rest.split_at(rest.len() - 1);
        acceptor.receives(first);
        acceptor.receives(second);
        assert_eq!(acceptor.take(), Vec::<Vec<u8>>::new());
        acceptor.exchange();
        assert_eq!(acceptor.take(), [b"one"]);
        acceptor.hears(third);
        assert_eq!(acceptor.take(), [b"two"]);
    }
}

/// What came before an error is the link's, and then the connection is lost.
#[test]
fn data_before_an_error_arrives() {
    let (securities, _) = securities();
    let [mut opener, mut acceptor] = secure_pair(&securities);
    opener.send("before");
    let mut said = opener.says();
    opener.send("changed on the way");
    said.extend(opener.says());
    *said.last_mut().unwrap() ^= 1;
    acceptor.hears(&said);
    assert_eq!(acceptor.take(), [b"before"]);
    let lost = EndReason::Lost(Loss::Security);
    assert_eq!(acceptor.0.end_reason(), Some(&lost));
    assert_eq!(names(&acceptor.news()), ["Corrupted"]);
    // The peer gets an alert, and then the end of the stream.
    opener.hears(&acceptor.says());
    assert_eq!(names(&opener.news()), ["PeerAlert"]);
    assert!(matches!(acceptor.1.to_send(), ToSend::End));
}

/// What has failed first is why the link has lost its connection.
#[test]
fn an_error_of_the_transport_is_no_reason_afterwards() {
    let (securities, _) = securities();
    let [mut opener, mut acceptor] = secure_pair(&securities);
    opener.send("changed on the way");
    let mut said = opener.says();
    *said.last_mut().unwrap() ^= 1;
    acceptor.receives(&said);
    acceptor
        .1
        .failed(io::Error::from(ErrorKind::ConnectionReset));
    acceptor.exchange();
    let lost = EndReason::Lost(Loss::Security);
    assert_eq!(acceptor.0.end_reason(), Some(&lost));
    // And the other way round.
    let [mut opener, _] = secure_pair(&securities);
    opener.1.failed(io::Error::from(ErrorKind::ConnectionReset));
    opener.1.received(0);
    opener.exchange();
    let lost = EndReason::Lost(Loss::Transport);
    assert_eq!(opener.0.end_reason(), Some(&lost));
    assert_eq!(names(&opener.news()), ["ConnectionReset"]);
}

/// An error of the transport is reported once, the first of several, and only if the link has lost
/// its connection by it.
#[test]
fn the_first_error_of_the_transport_is_the_reason() {
    let reset = || io::Error::from(ErrorKind::ConnectionReset);
    // Sending fails, and nothing is lost before reading does.
    for ends in [false, true] {
        let [mut opener, _] = pair();
        opener.1.cannot_send(io::Error::from(ErrorKind::BrokenPipe));
        opener.exchange();
        assert!(opener.news().is_empty());
        if ends {
            opener.1.received(0);
        } else {
            opener.1.failed(reset());
        }
        opener.exchange();
        assert_eq!(names(&opener.news()), ["BrokenPipe"]);
        opener.exchange();
        assert!(opener.news().is_empty());
    }
    // A link that has gone on to another connection.
    let [mut opener, _] = pair();
    opener.1.attach(opener.0.connection() + 1);
    opener.1.failed(reset());
    opener.exchange();
    assert!(opener.news().is_empty());
    // One that has ended, and one that has only its last frames to send.
    let [mut opener, _] = pair();
    opener.0.handle_lost(NOW, Disconnect::Abandoned);
    opener.1.failed(reset());
    opener.exchange();
    assert!(opener.news().is_empty());
    let [mut opener, mut acceptor] = pair();
    opener.0.close(NOW, CloseMode::Drain);
    while opener.trickle(&mut acceptor) | acceptor.trickle(&mut opener) {}
    assert_eq!(opener.0.state(), LinkState::Finishing);
    opener.1.failed(reset());
    opener.exchange();
    assert_eq!(opener.0.state(), LinkState::Ended);
    assert!(opener.news().is_empty());
}

/// An end that was not announced comes behind what came before it.
#[test]
fn a_stream_that_is_cut_off_is_no_end() {
    let (securities, _) = securities();
    let [mut opener, mut acceptor] = secure_pair(&securities);
    opener.send("before");
    let said = opener.says();
    acceptor.receives(&said);
    acceptor.1.received(0);
    acceptor.exchange();
    assert_eq!(acceptor.take(), [b"before"]);
    let lost = EndReason::Lost(Loss::PeerLeft);
    assert_eq!(acceptor.0.end_reason(), Some(&lost));
    assert_eq!(names(&acceptor.news()), ["Truncated"]);
}

/// Nothing passes of what was received before a pin was removed, and not after it either.
#[test]
fn trust_is_judged_by_when_the_link_gets_it() {
    // [ABORT-6]
    let ([opening, accepting], station) = securities();
    let securities = [opening, accepting];
    let [mut opener, mut acceptor] = secure_pair(&securities);
    opener.send("too late");
    acceptor.receives(&opener.says());
    let other = fixtures::good("other").fingerprint();
    securities[1].replace(identity(&station), other).unwrap();
    acceptor.exchange();
    assert!(acceptor.take().is_empty());
    let revoked = EndReason::Revoked { by_us: true };
    assert_eq!(acceptor.0.end_reason(), Some(&revoked));
    assert_eq!(names(&acceptor.news()), ["PinRemoved"]);
    opener.hears(&acceptor.says());
    let revoked = EndReason::Revoked { by_us: false };
    assert_eq!(opener.0.end_reason(), Some(&revoked));
}

/// The same where the link has not heard yet that there is a peer: it never does.
#[test]
fn a_peer_that_is_none_any_more_is_not_told_of() {
    for rechecked in [false, true] {
        let (securities, station) = securities();
        let mut opener = End::new(Role::Opener, &securities[0]);
        let mut acceptor = End::new(Role::Acceptor, &securities[1]);
        acceptor.hears(&opener.says());
        opener.hears(&acceptor.says());
        // The end of the handshake, and HELLO.
        acceptor.receives(&opener.says());
        let other = fixtures::good("other").fingerprint();
        securities[1].replace(identity(&station), other).unwrap();
        if rechecked {
            acceptor.1.recheck(NOW, &mut acceptor.0);
        }
        acceptor.exchange();
        assert_eq!(acceptor.0.peer(), None);
        assert_eq!(names(&acceptor.news()), ["PinRemoved"]);
        let lost = EndReason::Lost(Loss::Unproven);
        assert_eq!(acceptor.0.end_reason(), Some(&lost));
        assert!(acceptor.says().is_empty());
        assert!(matches!(acceptor.1.to_send(), ToSend::End));
    }
}

/// The handshake's last flight does not travel alone.
#[test]
fn the_last_flight_and_hello_are_sent_together() {
    let (securities, _) = securities();
    let mut opener = End::new(Role::Opener, &securities[0]);
    let mut acceptor = End::new(Role::Acceptor, &securities[1]);
    acceptor.hears(&opener.says());
    opener.hears(&acceptor.says());
    let together = opener.sends();
    assert!(opener.says().is_empty());
    acceptor.hears(&together);
    assert_eq!(acceptor.0.state(), LinkState::Open);
}

/// That a connection was secured is reported before what became of it, and each once.
#[test]
fn news_come_once_and_in_order() {
    let [robot, station, other] = ["robot", "station", "other"].map(fixtures::good);
    let mut opener = End::new(Role::Opener, &tls(&robot, &station));
    let mut acceptor = End::new(Role::Acceptor, &tls(&station, &other));
    acceptor.hears(&opener.says());
    // The acceptor judges last; both come before the link gets any of it.
    opener.receives(&acceptor.says());
    acceptor.hears(&opener.sends());
    assert_eq!(names(&acceptor.news()), ["PinMismatch"]);
    opener.receives(&acceptor.says());
    assert!(opener.news().is_empty());
    opener.exchange();
    let refused = EndReason::Lost(Loss::NotTrusted);
    assert_eq!(opener.0.end_reason(), Some(&refused));
    assert_eq!(names(&opener.news()), ["Secured", "RefusedByPeer"]);
    assert_eq!(
        opener.1.peer().unwrap().fingerprint(),
        station.fingerprint()
    );
    opener.exchange();
    opener.1.recheck(NOW, &mut opener.0);
    assert!(opener.news().is_empty());
    let why = opener.1.failure().unwrap().reason();
    assert!(matches!(why, Reason::RefusedByPeer { .. }));
}

/// What may be waiting to be read is no silence, but it does not put off what is due for ever.
#[test]
fn what_is_due_waits_once_for_what_may_be_read() {
    let [mut opener, _] = pair();
    let late = NOW + opener.0.config().get_timeouts().give_up;
    for _ in 0..2 {
        assert_eq!(opener.0.state(), LinkState::Open);
        opener.1.exchange_while_reading(late, &mut opener.0);
    }
    let lost = EndReason::Lost(Loss::Silence);
    assert_eq!(opener.0.end_reason(), Some(&lost));
}

/// What is handed out at once is no more than a lent buffer holds, also behind a flight of the
/// handshake.
#[test]
fn output_is_bounded() {
    let [robot, station] = ["robot", "station"].map(fixtures::good);
    // A chain that makes a long flight.
    let chain = robot.certificate_pem().repeat(8);
    let own = Identity::from_pem(chain.as_bytes(), robot.key_pem().as_bytes()).unwrap();
    let opener = Security::tls(own, station.fingerprint()).build().unwrap();
    let dialect = Dialect::TlsStream;
    let mut opener = End::speaking(dialect, Role::Opener, &opener);
    let mut acceptor = End::speaking(dialect, Role::Acceptor, &tls(&station, &robot));
    let channel = opener.0.channel_id("data").unwrap();
    let message = vec![7; 200_000];
    opener.0.send(NOW, channel, message.clone(), None).unwrap();
    let mut most = 0;
    loop {
        opener.exchange();
        let there = opener.sends();
        most = most.max(there.len());
        acceptor.hears(&there);
        let back = acceptor.says();
        opener.hears(&back);
        if there.is_empty() && back.is_empty() {
            break;
        }
    }
    assert_eq!(acceptor.take(), [message]);
    assert!(most > 65_000 && most <= 65 * 1024, "{most} bytes");
}

/// Which buffers have memory.
fn held(end: &End) -> usize {
    let text = format!("{:?}", end.1);
    text.matches("memory: ").count() - text.matches("memory: 0 ").count()
}
