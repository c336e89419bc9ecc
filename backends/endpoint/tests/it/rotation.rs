//! Identity and pins are replaced while links are up, away, or about to be.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

use crate::common::identity;
use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    ChannelConfig, Config, Dialect, EndReason, Event, Instant, Link, LinkState, Loss,
    ReceiveChannel, Role, SendChannel, VerdictKind,
};
use countersign_endpoint::{
    Authority, Endpoint, EndpointEvent, ErrorContext, Fingerprint, Identity, Peer, Pin, Pins,
    Security, ToSend, Trust, ValidityDates,
};

mod merged;

const NOW: Instant = Instant::ZERO;
const OPENER: usize = 0;
const ACCEPTOR: usize = 1;

fn tls(own: &GeneratedIdentity, trust: impl Into<Trust>) -> Security {
    Security::tls(identity(own), trust).build().unwrap()
}

fn one_peer(keys: &[&GeneratedIdentity]) -> Pins {
    Pins::of_one_peer(keys.iter().map(|key| Pin::from(key.fingerprint()))).unwrap()
}

/// A link with what the layers below it have said.
struct End {
    link: Link,
    error_context: ErrorContext,
    /// The key at the other end of its connection.
    key: Option<Fingerprint>,
    endpoint: Option<Endpoint>,
    security: Security,
    events: Vec<Event>,
}

impl End {
    fn new(role: Role, dialect: Dialect, security: &Security) -> Self {
        let channel = match role {
            Role::Opener => ChannelConfig::from(SendChannel::new("data")),
            Role::Acceptor => ReceiveChannel::new("data").into(),
        };
        let config = Config::new().channel(channel).dialect(dialect);
        Self {
            link: Link::new(&config, role, [role as u8 + 1; 16]).unwrap(),
            error_context: ErrorContext::default(),
            key: None,
            endpoint: None,
            security: security.clone(),
            events: Vec::new(),
        }
    }

    fn connect(&mut self) {
        while !self.link.wants_connect() && self.link.role() == Role::Opener {
            let at = self.link.poll_deadline().unwrap();
            self.link.handle_timeout(at);
        }
        let (role, dialect) = (self.link.role(), self.link.config().get_dialect());
        self.endpoint = Some(Endpoint::new(&self.security, role, dialect));
        self.exchange();
    }

    fn exchange(&mut self) {
        if let Some(endpoint) = &mut self.endpoint {
            endpoint.exchange(NOW, &mut self.link);
        }
        self.listen();
    }

    /// Takes the events of connection and link.
    fn listen(&mut self) {
        while let Some(event) = self.endpoint.as_mut().and_then(Endpoint::poll_event) {
            if matches!(event, EndpointEvent::Secured) {
                let peer = self.endpoint.as_ref().and_then(Endpoint::peer);
                self.key = peer.map(Peer::fingerprint);
            }
            self.error_context.on_event(event);
        }
        self.events
            .extend(std::iter::from_fn(|| self.link.poll_event()));
    }

    /// What its driver does when it learns that identity and pins were replaced.
    fn recheck(&mut self) {
        match &mut self.endpoint {
            Some(endpoint) => endpoint.recheck(NOW, &mut self.link),
            None => {
                if let Some(error) = self.security.recheck(NOW, &mut self.link) {
                    self.error_context.on_event(EndpointEvent::Failed(error));
                }
            }
        }
        self.listen();
    }

    /// Carries this end's output to its peer, up to `most` bytes. Returns whether there was any.
    fn moves(&mut self, peer: &mut Self, most: usize) -> bool {
        self.exchange();
        let (Some(endpoint), Some(other)) = (&mut self.endpoint, &mut peer.endpoint) else {
            return false;
        };
        match endpoint.to_send() {
            ToSend::Nothing => return false,
            ToSend::Bytes(output) => {
                let count = output.filled().len().min(most);
                other.input().space(count)[..count].copy_from_slice(&output.filled()[..count]);
                other.input().commit(count);
                output.consume(count);
                endpoint.sent();
                if !other.is_read_ended() {
                    other.received(count);
                }
            }
            ToSend::End => {
                endpoint.shut();
                other.received(0);
            }
        }
        peer.exchange();
        true
    }

    fn error(&self) -> String {
        let error = self.error_context.of_end(&self.link);
        error.unwrap().to_string()
    }
}

struct Pair([End; 2]);

impl Pair {
    fn new(opener: &Security, acceptor: &Security) -> Self {
        Self::speaking(Dialect::Countersign, opener, acceptor)
    }

    fn speaking(dialect: Dialect, opener: &Security, acceptor: &Security) -> Self {
        let mut pair = Self([
            End::new(Role::Opener, dialect, opener),
            End::new(Role::Acceptor, dialect, acceptor),
        ]);
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        self.0.iter_mut().for_each(End::connect);
    }

    fn step(&mut self) -> bool {
        self.step_by(usize::MAX)
    }

    fn step_by(&mut self, most: usize) -> bool {
        let [opener, acceptor] = &mut self.0;
        opener.moves(acceptor, most) | acceptor.moves(opener, most)
    }

    fn run(&mut self) {
        while self.step() {}
    }

    fn cut(&mut self) {
        for end in &mut self.0 {
            if let Some(endpoint) = &mut end.endpoint {
                endpoint.failed(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
            }
            end.exchange();
            end.endpoint = None;
        }
    }

    fn recheck(&mut self) {
        self.0.iter_mut().for_each(End::recheck);
    }

    fn lives(&mut self) -> [LinkState; 2] {
        [OPENER, ACCEPTOR].map(|end| self.0[end].link.state())
    }

    fn send(&mut self, message: &'static str) {
        let link = &mut self.0[OPENER].link;
        let channel = link.channel_id("data").unwrap();
        link.send(NOW, channel, message, None).unwrap();
    }

    fn take(&mut self) -> Vec<Vec<u8>> {
        let link = &mut self.0[ACCEPTOR].link;
        let channel = link.channel_id("data").unwrap();
        std::iter::from_fn(|| link.take(NOW, channel).unwrap())
            .map(|message| message.payload.to_vec())
            .collect()
    }

    fn count(&mut self, kind: VerdictKind) -> u64 {
        self.0[OPENER].link.report()[0].verdicts[kind]
    }
}

fn robot_and_station() -> [GeneratedIdentity; 2] {
    ["robot", "station"].map(fixtures::good)
}

#[test]
fn a_link_goes_on_while_either_end_changes_its_key() {
    for changes in [OPENER, ACCEPTOR] {
        let (old, new, other) = (
            fixtures::good("old"),
            fixtures::good("new"),
            fixtures::good("other"),
        );
        let securities = [
            tls(&old, other.fingerprint()),
            tls(&other, old.fingerprint()),
        ];
        let [changing, watching] = &securities;
        let mut pair = match changes {
            OPENER => Pair::new(changing, watching),
            _ => Pair::new(watching, changing),
        };
        pair.run();
        pair.send("one");
        pair.run();
        assert_eq!(pair.take(), [b"one"]);

        // The order of the steps for an operator, with a connection lost after each.
        let replace = |security: &Security, own: &GeneratedIdentity, pins: Pins| {
            security.replace(identity(own), pins).unwrap()
        };
        let replaced = replace(watching, &other, one_peer(&[&old, &new]));
        assert_eq!(replaced.added, [Pin::from(new.fingerprint())]);
        assert_eq!((replaced.removed.len(), replaced.is_change()), (0, true));
        pair.recheck();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        let replaced = replace(changing, &new, one_peer(&[&other]));
        assert_eq!(replaced.identities, [old.fingerprint(), new.fingerprint()]);
        pair.recheck();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        pair.cut();
        pair.send("two");
        pair.connect();
        pair.run();
        assert_eq!(pair.0[1 - changes].key, Some(new.fingerprint()));
        assert_eq!(pair.take(), [b"two"]);
        let replaced = replace(watching, &other, one_peer(&[&new]));
        assert_eq!(replaced.removed, [Pin::from(old.fingerprint())]);
        pair.recheck();
        pair.cut();
        pair.send("three");
        pair.connect();
        pair.run();
        assert_eq!(pair.take(), [b"three"]);
        pair.run();

        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        assert_eq!(pair.count(VerdictKind::Handled), 3);
        for end in &mut pair.0 {
            assert_eq!(end.link.resumes(), 2);
            let lost = |event: &Event| matches!(event, Event::SessionLost(_));
            assert!(!end.events.iter().any(lost), "{:?}", end.events);
        }
    }
}

#[test]
fn a_removed_pin_ends_the_link_and_both_ends_say_so() {
    // [ABORT-6]
    for by in [OPENER, ACCEPTOR] {
        let [robot, station] = robot_and_station();
        let other = fixtures::good("other");
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::new(&securities[0], &securities[1]);
        pair.run();
        pair.send("on the wire");
        pair.run();
        let own = [&robot, &station];
        let replaced = securities[by].replace(identity(own[by]), other.fingerprint());
        assert_eq!(replaced.unwrap().removed.len(), 1);
        pair.recheck();
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Ended; 2]);
        let [ours, theirs] = [&pair.0[by], &pair.0[1 - by]];
        assert_eq!(
            ours.link.end_reason(),
            Some(&EndReason::Revoked { by_us: true })
        );
        assert_eq!(
            theirs.link.end_reason(),
            Some(&EndReason::Revoked { by_us: false })
        );
        let [ours, theirs] = [ours.error(), theirs.error()];
        let key = own[1 - by].fingerprint().to_string();
        assert!(
            ours.contains("its pin was removed") && ours.contains(&key),
            "{ours}"
        );
        assert!(theirs.contains("it has removed our pin"), "{theirs}");
        assert_eq!(pair.count(VerdictKind::Unknown), 1);
        assert!(!pair.0[OPENER].link.wants_connect());
    }
}

#[test]
fn nothing_passes_once_a_pin_is_removed_though_no_driver_has_heard_of_it() {
    // [ABORT-6]
    for (by, verdict) in [
        (OPENER, VerdictKind::Withdrawn),
        (ACCEPTOR, VerdictKind::Unknown),
    ] {
        let [robot, station] = robot_and_station();
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::new(&securities[0], &securities[1]);
        pair.run();
        let own = identity([&robot, &station][by]);
        let other = fixtures::good("other").fingerprint();
        securities[by].replace(own, other).unwrap();
        pair.send("too late");
        pair.run();
        assert!(pair.take().is_empty());
        assert_eq!(pair.lives(), [LinkState::Ended; 2]);
        let ours = &pair.0[by].link;
        let reason = EndReason::Revoked { by_us: true };
        assert_eq!(ours.end_reason(), Some(&reason));
        assert!(pair.0[by].error().contains("its pin was removed"));
        assert_eq!(pair.count(verdict), 1);
    }
}

#[test]
fn a_handshake_that_is_under_way_lets_nobody_in() {
    let [robot, station] = robot_and_station();
    let other = fixtures::good("other");
    for by in [OPENER, ACCEPTOR] {
        // Without a word to the driver until the end, and with one at once.
        for told in [false, true] {
            let mut steps = 0;
            loop {
                let securities = [
                    tls(&robot, station.fingerprint()),
                    tls(&station, robot.fingerprint()),
                ];
                let mut pair = Pair::new(&securities[0], &securities[1]);
                let done = (0..steps).any(|_| !pair.step_by(250));
                let own = [&robot, &station][by];
                securities[by]
                    .replace(identity(own), other.fingerprint())
                    .unwrap();
                if told {
                    pair.recheck();
                }
                pair.run();
                if !done {
                    assert_ne!(pair.lives()[by], LinkState::Open, "after {steps} steps");
                }
                pair.recheck();
                pair.run();
                assert_ne!(pair.lives()[by], LinkState::Open, "after {steps} steps");
                assert_ne!(pair.lives()[1 - by], LinkState::Open, "after {steps} steps");
                if done {
                    break;
                }
                steps += 1;
            }
            assert!(steps > 6, "{steps}");
        }
    }
}

#[test]
fn a_handshake_that_is_under_way_takes_a_peer_of_both() {
    let [robot, station] = robot_and_station();
    let new = fixtures::good("new");
    for steps in 0..6 {
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::new(&securities[0], &securities[1]);
        for _ in 0..steps {
            pair.step();
        }
        let replaced = securities[ACCEPTOR].replace(identity(&station), one_peer(&[&robot, &new]));
        replaced.unwrap();
        pair.recheck();
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
    }
}

#[test]
fn who_is_away_is_waited_for_only_while_pinned() {
    for by in [OPENER, ACCEPTOR] {
        let [robot, station] = robot_and_station();
        let new = fixtures::good("new");
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::new(&securities[0], &securities[1]);
        pair.run();
        pair.cut();
        pair.send("not begun");
        let own = [&robot, &station];
        let replace = |pins: Pins| securities[by].replace(identity(own[by]), pins).unwrap();
        replace(one_peer(&[own[1 - by], &new]));
        pair.recheck();
        replace(one_peer(&[&new]));
        pair.recheck();
        // By its new key it may come back.
        assert_ne!(pair.lives()[by], LinkState::Ended);
        replace(one_peer(&[own[by]]));
        pair.recheck();
        assert_eq!(
            pair.0[by].link.end_reason(),
            Some(&EndReason::Revoked { by_us: true })
        );
        let error = pair.0[by].error();
        assert!(error.contains("was away: its pin was removed"), "{error}");
        assert_eq!(pair.count(VerdictKind::Withdrawn), u64::from(by == OPENER));
    }
}

/// The next connection stands, but the link has not been notified of it yet.
#[test]
fn who_comes_back_is_waited_for_only_while_pinned() {
    for by in [OPENER, ACCEPTOR] {
        let [robot, station] = robot_and_station();
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::new(&securities[0], &securities[1]);
        pair.run();
        pair.cut();
        let own = [&robot, &station];
        let replaced = securities[by].replace(identity(own[by]), own[by].fingerprint());
        replaced.unwrap();
        let end = &mut pair.0[by];
        let role = end.link.role();
        let mut endpoint = Endpoint::new(&end.security, role, Dialect::Countersign);
        endpoint.recheck(NOW, &mut end.link);
        assert!(!endpoint.is_over(NOW), "it has not begun");
        end.endpoint = Some(endpoint);
        end.exchange();
        assert_eq!(
            end.link.end_reason(),
            Some(&EndReason::Revoked { by_us: true })
        );
        assert!(end.error().contains("its pin was removed"));
        let endpoint = end.endpoint.as_mut().unwrap();
        assert!(endpoint.is_over(NOW), "the link did not take it");
    }
}

#[test]
fn tlsstream_breaks_off_and_the_next_handshake_tells() {
    let [robot, station] = robot_and_station();
    for by in [OPENER, ACCEPTOR] {
        let securities = [
            tls(&robot, station.fingerprint()),
            tls(&station, robot.fingerprint()),
        ];
        let mut pair = Pair::speaking(Dialect::TlsStream, &securities[0], &securities[1]);
        pair.run();
        assert_eq!(pair.lives(), [LinkState::Open; 2]);
        let own = [&robot, &station];
        let replaced = securities[by].replace(identity(own[by]), own[by].fingerprint());
        replaced.unwrap();
        pair.recheck();
        pair.run();
        assert_eq!(
            pair.0[by].link.end_reason(),
            Some(&EndReason::Revoked { by_us: true })
        );
        // No orderly end is to be seen.
        let peer = &pair.0[1 - by].link;
        match by {
            OPENER => assert_eq!(peer.end_reason(), Some(&EndReason::Lost(Loss::PeerLeft))),
            _ => {
                assert_eq!(peer.last_loss(), Some(Loss::PeerLeft));
                let mut again = Pair::speaking(Dialect::TlsStream, &securities[0], &securities[1]);
                again.run();
                let refused = Some(&EndReason::Lost(Loss::NotTrusted));
                assert_eq!(again.0[OPENER].link.end_reason(), refused);
            }
        }
    }
}

#[test]
fn dates_count_as_of_the_moment_of_the_handshake() {
    let station = fixtures::good("station");
    let expired = fixtures::expired("robot");
    let pins = |dates| one_peer(&[&expired]).validity_dates(dates);
    let acceptor = tls(&station, pins(ValidityDates::Ignore));
    let mut pair = Pair::new(&tls(&expired, station.fingerprint()), &acceptor);
    pair.run();
    acceptor
        .replace(identity(&station), pins(ValidityDates::Ignore))
        .unwrap();
    pair.recheck();
    assert_eq!(pair.lives(), [LinkState::Open; 2]);
    // Dates count from here on, and by them it would never have been let in.
    acceptor
        .replace(identity(&station), pins(ValidityDates::Check))
        .unwrap();
    pair.recheck();
    assert_eq!(pair.lives()[ACCEPTOR], LinkState::Ended);
    let error = pair.0[ACCEPTOR].error();
    assert!(error.contains("expired"), "{error}");
}

#[test]
fn an_authority_that_is_replaced_takes_its_peers_with_it() {
    let [first, second] = ["first", "second"].map(fixtures::TestAuthority::new);
    let of = |authority: &fixtures::TestAuthority, name: &str| {
        let issued = authority.issue(name);
        Identity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes()).unwrap()
    };
    let roots = |authority: &fixtures::TestAuthority| {
        Authority::from_pem(authority.root_pem().as_bytes())
            .unwrap()
            .expecting_server("station.example")
            .unwrap()
    };
    let station = of(&first, "station.example");
    let acceptor = Security::tls(station.clone(), roots(&first))
        .build()
        .unwrap();
    let opener = Security::tls(of(&first, "robot.example"), roots(&first))
        .build()
        .unwrap();
    let mut pair = Pair::new(&opener, &acceptor);
    pair.run();
    acceptor.replace(station.clone(), roots(&first)).unwrap();
    opener
        .replace(opener.identity().unwrap(), roots(&first))
        .unwrap();
    pair.recheck();
    pair.cut();
    pair.connect();
    pair.run();
    assert_eq!(pair.lives(), [LinkState::Open; 2]);
    assert_eq!(pair.0[OPENER].link.resumes(), 1);
    let replaced = acceptor.replace(station, roots(&second)).unwrap();
    assert!(
        !replaced.is_change(),
        "neither identity nor pins: {replaced}"
    );
    pair.recheck();
    pair.run();
    assert_eq!(pair.lives(), [LinkState::Ended; 2]);
}
