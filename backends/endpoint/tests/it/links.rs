//! Many links in one loop, over streams in memory and with time that passes when the test says so.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::Waker;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{
    ChannelConfig, CloseMode, CloseReason, Config, Drained, EndReason, Event, Incompatible,
    Instant, Limits, Loss, ReceiveChannel, Reconnect, Refusal, SendChannel, Timeouts, refuse,
};
use countersign_endpoint::{LinkError, LinkId, Links, LinksEvent, ListenerId, Security, Stream};

use crate::common::identity;

const NOW: Instant = Instant::ZERO;

thread_local! {
    /// How often something went into a pipe of this test.
    static WRITES: Cell<usize> = const { Cell::new(0) };
}

/// One direction of a pipe.
#[derive(Default)]
struct Way {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// One end of a pipe.
struct Pipe {
    near: Rc<RefCell<Way>>,
    far: Rc<RefCell<Way>>,
}

impl Pipe {
    fn pair() -> [Self; 2] {
        let [near, far] = [Rc::<RefCell<Way>>::default(), Rc::default()];
        let (there, here) = (far.clone(), near.clone());
        [
            Self { near, far },
            Self {
                near: there,
                far: here,
            },
        ]
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut way = self.near.borrow_mut();
        if way.bytes.is_empty() && !way.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        way.bytes.read(buffer)
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        WRITES.set(WRITES.get() + 1);
        self.far.borrow_mut().bytes.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Pipe {
    fn end(&mut self) -> io::Result<()> {
        WRITES.set(WRITES.get() + 1);
        self.far.borrow_mut().ended = true;
        Ok(())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.far.borrow_mut().ended = true;
    }
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 1))
}

fn send() -> Config {
    Config::new().channel(SendChannel::new("data"))
}

fn receive() -> Config {
    Config::new().channel(ReceiveChannel::new("data"))
}

/// Openers and a listener's links, and what happened to them.
struct World {
    now: Instant,
    openers: Links<Pipe>,
    links: Links<Pipe>,
    listener: ListenerId,
    /// No connection reaches the listener.
    cut_off: bool,
    at_openers: Vec<LinksEvent>,
    at_listener: Vec<LinksEvent>,
}

impl World {
    fn new(config: &Config, security: &Security, limits: Limits) -> Self {
        let [openers, mut links] = [(); 2].map(|()| Links::new(Waker::noop().clone()));
        let listener = links.listen(config, security, limits).unwrap();
        Self {
            now: NOW,
            openers,
            links,
            listener,
            cut_off: false,
            at_openers: Vec::new(),
            at_listener: Vec::new(),
        }
    }

    fn plain(limits: Limits) -> Self {
        Self::new(&receive(), &Security::plaintext(), limits)
    }

    fn open(&mut self) -> LinkId {
        self.open_with(&send(), &Security::plaintext())
    }

    fn open_with(&mut self, config: &Config, security: &Security) -> LinkId {
        let opened = self.openers.open(config, security).unwrap();
        self.run();
        opened
    }

    /// Opens the streams that are wanted, all from one address.
    fn connect(&mut self) {
        let wanting: Vec<_> = self.openers.wanting().collect();
        for id in wanting {
            let [near, far] = Pipe::pair();
            let arrived = match self.links.has_room(self.listener) && !self.cut_off {
                true => self.links.arrive(self.listener, address(1), |_| Ok(far)),
                false => Err(LinkError::transport(ErrorKind::ConnectionRefused.into())),
            };
            match arrived {
                Ok(_) => self.openers.opened(id, near),
                Err(_) => {
                    let refused = ErrorKind::ConnectionRefused.into();
                    self.openers.not_opened(self.now, id, refused);
                }
            }
        }
    }

    /// Does all that can be done at this moment.
    fn run(&mut self) {
        loop {
            self.openers.ready_all();
            self.links.ready_all();
            self.connect();
            let before = self.passed();
            self.openers.service(|| self.now, &mut self.at_openers);
            self.links.service(|| self.now, &mut self.at_listener);
            let ready = [self.openers.deadline(), self.links.deadline()];
            let at_once = ready.into_iter().flatten().any(|at| at <= self.now);
            if self.passed() == before && !at_once && self.openers.wanting().next().is_none() {
                return;
            }
        }
    }

    fn passed(&self) -> usize {
        self.at_openers.len() + self.at_listener.len() + WRITES.get()
    }

    /// Time passes until the next thing that can happen.
    fn pass(&mut self) {
        let deadlines = [self.openers.deadline(), self.links.deadline()];
        self.now = deadlines.into_iter().flatten().min().unwrap();
        self.run();
    }

    fn accepted(&mut self) -> Vec<LinkId> {
        let mut accepted = Vec::new();
        for what in std::mem::take(&mut self.at_listener) {
            if let LinksEvent::Accepted { link, from, .. } = what {
                assert_eq!(from, address(1));
                accepted.push(link);
            }
        }
        accepted
    }

    /// Why connections to the listener came to nothing.
    fn refused(&mut self) -> Vec<EndReason> {
        let mut refused = Vec::new();
        for what in std::mem::take(&mut self.at_listener) {
            if let LinksEvent::Refused { error, .. } = what {
                refused.push(error.reason().clone());
            }
        }
        refused
    }

    /// Its streams break.
    fn cut(&mut self) {
        self.cut_off = true;
        for links in [&mut self.openers, &mut self.links] {
            let ids: Vec<_> = (0..100).map(LinkId).collect();
            for stream in ids.iter().filter_map(|id| links.stream(*id)) {
                stream.near.borrow_mut().ended = true;
            }
        }
        self.run();
    }
}

fn tls(own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Security {
    let tls = Security::tls(identity(own), peer.fingerprint());
    tls.build().unwrap()
}

/// A message each way of a link's life: connected, lost, resumed on another stream, closed.
#[test]
fn a_peer_comes_back_to_its_link() {
    let [robot, station] = ["robot", "station"].map(fixtures::good);
    let mut world = World::new(&receive(), &tls(&station, &robot), Limits::default());
    let opened = world.open_with(&send(), &tls(&robot, &station));
    let accepted = world.accepted()[0];
    let peer = world.links.peer(accepted).unwrap();
    assert_eq!(peer.fingerprint(), robot.fingerprint());

    world.cut();
    assert!(matches!(world.at_listener[..], [LinksEvent::Lost { link, .. }] if link == accepted));
    assert!(world.links.stream(accepted).is_none());
    let link = world.openers.link_mut(opened).unwrap();
    let data = link.channel_id("data").unwrap();
    let _ = link.send(world.now, data, "late", None).unwrap();
    world.at_openers.clear();
    while world.at_openers.is_empty() {
        world.pass();
    }
    let [LinksEvent::NotConnected { link, error }] = &world.at_openers[..] else {
        panic!("{:?}", world.at_openers);
    };
    assert_eq!(*link, opened);
    assert!(error.to_string().starts_with("no connection"), "{error}");

    world.cut_off = false;
    world.at_listener.clear();
    while world.at_listener.is_empty() {
        world.pass();
    }
    let [
        LinksEvent::Event {
            link,
            event: Event::Resumed,
        },
        LinksEvent::Event {
            event: Event::Readable(channel),
            ..
        },
    ] = world.at_listener[..]
    else {
        panic!("{:?}", world.at_listener);
    };
    assert_eq!(link, accepted);
    // It is known by the number under which it arrived, which is another.
    assert!(world.links.stream(accepted).is_some());
    assert_eq!(world.links.len(), 1);
    let link = world.links.link_mut(accepted).unwrap();
    let message = link.take(world.now, channel).unwrap().unwrap();
    assert_eq!(message.payload, "late");
    link.close(world.now, CloseMode::Drain);
    world.run();
    assert!(world.links.error(accepted).unwrap().is_orderly());
    assert!(world.openers.error(opened).unwrap().is_orderly());
    world.links.forget(world.now, accepted);
    world.openers.forget(world.now, opened);
    world.run();
    assert!(world.links.is_empty() && world.openers.is_empty());
    assert_eq!(world.links.deadline(), None);
    assert_eq!(world.openers.deadline(), None);
}

/// The stream that a peer left behind, and that seems alive, makes way for the new one.
#[test]
fn a_stream_is_ready_under_the_number_it_came_with() {
    let mut world = World::plain(Limits::default());
    let opened = world.open();
    let accepted = world.accepted()[0];
    // Only the opener's end breaks: the other learns nothing.
    let stream = world.openers.stream(opened).unwrap();
    stream.near.borrow_mut().ended = true;
    world.run();
    while world.openers.link(opened).unwrap().resumes() == 0 {
        world.pass();
    }
    // Listeners and links are numbered together: this is the third.
    let number = LinkId(accepted.0 + 1);
    let link = world.openers.link_mut(opened).unwrap();
    let data = link.channel_id("data").unwrap();
    let _ = link.send(world.now, data, "on the second", None).unwrap();
    world.openers.service(|| world.now, &mut world.at_openers);
    assert_eq!(world.links.link(accepted).unwrap().waiting(data), 0);
    world.links.ready(number);
    world.links.service(|| world.now, &mut world.at_listener);
    assert_eq!(world.links.link(accepted).unwrap().waiting(data), 1);
}

/// The owner decides in its own time which peer gets a link, and with which channels. Nothing is
/// read meanwhile.
#[test]
fn the_owner_is_asked() {
    let [robot, station] = ["robot", "station"].map(fixtures::good);
    let mut world = World::new(&receive(), &tls(&station, &robot), Limits::default());
    world.links.ask(world.listener);
    let never = send().reconnect(Reconnect::never());
    let closed = Refusal::new(refuse::APPLICATION, "closed");
    let asked = |world: &mut World| {
        let [
            LinksEvent::Asks {
                link,
                from,
                ref peer,
                ..
            },
        ] = world.at_listener[..]
        else {
            panic!("{:?}", world.at_listener);
        };
        assert_eq!(from, address(1));
        let key = peer.as_ref().unwrap().fingerprint();
        assert_eq!(key, robot.fingerprint());
        world.at_listener.clear();
        link
    };

    let opened = world.open_with(&never, &tls(&robot, &station));
    let link = asked(&mut world);
    world.run();
    assert!(world.at_listener.is_empty(), "it is asked once");
    world.links.refuse(link, closed.clone());
    world.run();
    assert_eq!(world.refused(), [EndReason::TurnedAway(closed.clone())]);
    let end = world.openers.error(opened).unwrap();
    assert_eq!(*end.reason(), EndReason::Refused(closed));

    // Channels for this peer: some that fit, some that do not, some that are invalid.
    let data = || ChannelConfig::from(ReceiveChannel::new("data"));
    let other = ChannelConfig::from(ReceiveChannel::new("other"));
    for (channels, fits) in [
        (vec![data(), other.clone()], false),
        (vec![data()], true),
        (vec![data(), data()], false),
    ] {
        world.open_with(&never, &tls(&robot, &station));
        let link = asked(&mut world);
        world.links.admit(link, Some(channels.clone()));
        // The first decision counts.
        world.links.refuse(link, Refusal::new(9999, "too late"));
        world.run();
        if fits {
            assert_eq!(world.accepted(), [link]);
        } else {
            let refused = world.refused();
            let missing = matches!(
                refused[..],
                [EndReason::Incompatible(Incompatible::ChannelMissing { .. })]
            );
            let code = match &refused[..] {
                [EndReason::TurnedAway(refusal)] => Some(refusal.code),
                _ => None,
            };
            assert!(
                missing || code == Some(refuse::MISCONFIGURED),
                "{refused:?}"
            );
        }
    }
}

/// A peer waits for the owner's decision no longer than for its handshake, and gives its place
/// back.
#[test]
fn an_owner_that_never_answers() {
    let limits = Limits {
        links: 1,
        ..Limits::default()
    };
    let mut world = World::plain(limits);
    world.links.ask(world.listener);
    let never = send().reconnect(Reconnect::never());
    world.open_with(&never, &Security::plaintext());
    let [LinksEvent::Asks { link, .. }] = world.at_listener[..] else {
        panic!("{:?}", world.at_listener);
    };
    world.at_listener.clear();
    assert!(world.links.link(link).is_none(), "it is none yet");
    // There is no room beside it.
    world.open_with(&never, &Security::plaintext());
    assert!(matches!(world.refused()[..], [EndReason::TurnedAway(_)]));
    while world.at_listener.is_empty() {
        world.pass();
    }
    assert!(world.now >= NOW + Timeouts::default().handshake);
    let slow = EndReason::Lost(Loss::HandshakeTooSlow);
    assert_eq!(world.refused(), [slow]);
    world.links.admit(link, None);
    world.run();
    assert!(world.at_listener.is_empty());
    // Its place is free.
    world.open_with(&never, &Security::plaintext());
    assert!(matches!(world.at_listener[..], [LinksEvent::Asks { .. }]));
}

/// A link that is not accepted takes one of the places of the backlog.
#[test]
fn the_backlog_is_what_was_not_used() {
    let limits = Limits {
        backlog: 1,
        ..Limits::default()
    };
    let mut world = World::plain(limits);
    world.open();
    let first = world.accepted()[0];
    world.open_with(
        &send().reconnect(Reconnect::never()),
        &Security::plaintext(),
    );
    assert!(matches!(world.refused()[..], [EndReason::TurnedAway(_)]));
    assert!(world.links.link_mut(first).is_some());
    world.open();
    assert_eq!(world.accepted().len(), 1);
}

#[test]
fn so_many_from_one_address() {
    let limits = Limits {
        per_address: 2,
        ..Limits::default()
    };
    let mut world = World::plain(limits);
    let first = world.open();
    world.open();
    let arrive = |world: &mut World, last, stream: fn(LinkId) -> io::Result<Pipe>| {
        world.links.arrive(world.listener, address(last), stream)
    };
    let made = |_| Ok(Pipe::pair().into_iter().next().unwrap());
    let error = arrive(&mut world, 1, made).unwrap_err();
    assert!(error.to_string().contains("2 connections"), "{error}");
    // An address whose stream can't be made does not count.
    for _ in 0..3 {
        let broken = arrive(&mut world, 2, |_| Err(ErrorKind::NotFound.into()));
        assert!(!broken.unwrap_err().to_string().contains("connections from"));
    }
    assert!(arrive(&mut world, 2, made).is_ok());
    world.openers.forget(NOW, first);
    world.run();
    let accepted = world.accepted();
    let ended = accepted.iter().find(|id| world.links.error(**id).is_some());
    assert!(ended.is_some() || world.links.stream(accepted[0]).is_none());
    while arrive(&mut world, 1, made).is_err() {
        world.pass();
    }
}

/// One link more than may wait for its peer: the one that has waited longest ends.
#[test]
fn one_link_too_many_is_evicted() {
    let limits = Limits {
        sessions: 1,
        ..Limits::default()
    };
    let mut world = World::plain(limits);
    for _ in 0..2 {
        world.open();
    }
    world.at_listener.clear();
    world.cut();
    let ended = world.at_listener.iter().filter_map(|what| match what {
        LinksEvent::Ended { error, .. } => Some(error.reason()),
        _ => None,
    });
    assert_eq!(ended.collect::<Vec<_>>(), [&EndReason::Lost(Loss::Evicted)]);
}

/// Draining closes all links, takes no new ones, and reports how they ended; what is left in the
/// end is abandoned.
#[test]
fn a_listener_is_drained() {
    let mut world = World::plain(Limits::default());
    let [first, second] = [world.open(), world.open()];
    let accepted = world.accepted();
    assert_eq!(world.links.drained(world.listener), None);
    // A message that is not taken holds the second up.
    let link = world.openers.link_mut(second).unwrap();
    let data = link.channel_id("data").unwrap();
    let _ = link.send(NOW, data, "not taken", None).unwrap();
    world.run();
    world
        .links
        .drain(NOW, world.listener, &CloseReason::ALL_WELL);
    world.run();
    assert!(world.openers.error(first).unwrap().is_orderly());
    assert_eq!(world.links.drained(world.listener), None);
    world.open_with(
        &send().reconnect(Reconnect::never()),
        &Security::plaintext(),
    );
    assert!(matches!(world.refused()[..], [EndReason::TurnedAway(_)]));
    let drained = world.links.abandon(NOW, world.listener);
    let expected = Drained {
        orderly: 1,
        cut_short: 1,
    };
    assert_eq!(drained, expected);
    world.run();
    while world.links.drained(world.listener).is_none() {
        world.pass();
    }
    assert_eq!(world.links.drained(world.listener), Some(expected));
    let end = world.links.error(accepted[1]).unwrap();
    assert_eq!(*end.reason(), EndReason::Lost(Loss::Abandoned));
    world.links.unlisten(world.listener);
    assert!(!world.links.has_room(world.listener));
    assert_eq!(world.links.len(), 2, "they can still be taken from");
}
