//! An example: both ends of a link in one program. There is no socket, clock or thread: the program
//! carries the bytes itself, and time passes when it says so.
//!
//! ```sh
//! cargo run -p in-memory
//! ```
//!
//! This shows in one place what every owner of a transport does, whatever the transport: see
//! `docs/custom-runtime.md`.

use std::error::Error;
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, NewIdentity};
use countersign_core::{
    CloseMode, Config, Disconnect, Event, Instant, Link, LinkState, ReceiveChannel, Role,
    SendChannel,
};
use countersign_endpoint::{Endpoint, Identity, Security, ToSend, random_seed};

/// One end: a link, which outlives its connections, and its current connection.
struct End {
    name: &'static str,
    link: Link,
    security: Security,
    endpoint: Option<Endpoint>,
}

impl End {
    fn new(
        role: Role,
        config: &Config,
        own: &GeneratedIdentity,
        peer: &GeneratedIdentity,
    ) -> Result<Self, Box<dyn Error>> {
        let identity = Identity::from_der(own.certificate_der(), own.key_der())?;
        let name = match role {
            Role::Opener => "operator",
            Role::Acceptor => "robot",
        };
        Ok(Self {
            name,
            link: Link::new(config, role, random_seed()?)?,
            security: Security::tls(identity, peer.fingerprint()).build()?,
            endpoint: None,
        })
    }

    /// Gives the link a connection.
    fn connect(&mut self, now: Instant) {
        let (role, dialect) = (self.link.role(), self.link.config().get_dialect());
        self.endpoint = Some(Endpoint::new(&self.security, role, dialect));
        self.exchange(now);
    }

    /// Exchanges data between the link and its connection.
    fn exchange(&mut self, now: Instant) {
        match &mut self.endpoint {
            Some(endpoint) => endpoint.exchange(now, &mut self.link),
            None => self.link.handle_timeout(now),
        }
    }

    /// Loses the connection without notice.
    fn lose(&mut self, now: Instant) {
        self.endpoint = None;
        self.link.handle_lost(now, Disconnect::Transport);
    }

    /// Drops the connection once it is no longer needed.
    fn drop_finished(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.endpoint
            && endpoint.is_over(now)
        {
            self.endpoint = None;
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let linger = self.endpoint.as_ref().and_then(Endpoint::deadline);
        self.link.poll_deadline().into_iter().chain(linger).min()
    }
}

/// Carries what one end has to send to the other; returns true if there was anything.
fn carry(now: Instant, from: &mut End, to: &mut End) -> bool {
    let mut carried = false;
    loop {
        from.exchange(now);
        let (Some(sending), Some(receiving)) = (&mut from.endpoint, &mut to.endpoint) else {
            return carried;
        };
        match sending.to_send() {
            ToSend::Nothing => return carried,
            ToSend::End => {
                sending.shut();
                receiving.received(0);
            }
            ToSend::Bytes(output) => {
                let count = output.filled().len();
                let input = receiving.input();
                input.space(count)[..count].copy_from_slice(output.filled());
                input.commit(count);
                output.consume(count);
                sending.sent();
                receiving.received(count);
            }
        }
        to.exchange(now);
        carried = true;
    }
}

/// The two ends and their time, which begins at zero.
struct World<'a> {
    now: Instant,
    robot: End,
    operator: End,
    tell: &'a mut dyn FnMut(&str),
}

impl World<'_> {
    fn say(&mut self, words: &str) {
        let now = self.now.saturating_since(Instant::ZERO);
        (self.tell)(&format!("{:9.3} s  {words}", now.as_secs_f64()));
    }

    /// Does everything that can be done at this moment.
    fn settle(&mut self) {
        let now = self.now;
        self.robot.exchange(now);
        self.operator.exchange(now);
        if self.operator.link.wants_connect() {
            self.say("a connection is opened");
            self.operator.connect(now);
            self.robot.connect(now);
        }
        while carry(now, &mut self.operator, &mut self.robot)
            | carry(now, &mut self.robot, &mut self.operator)
        {
            self.receive();
        }
        self.robot.drop_finished(now);
        self.operator.drop_finished(now);
        self.receive();
    }

    /// Handles the events of both links.
    fn receive(&mut self) {
        while let Some(event) = self.operator.link.poll_event() {
            let words = format!("{}: {event:?}", self.operator.name);
            self.say(&words);
        }
        while let Some(event) = self.robot.link.poll_event() {
            let words = format!("{}: {event:?}", self.robot.name);
            self.say(&words);
            if let Event::Readable(channel) = event {
                while let Ok(Some(order)) = self.robot.link.take(self.now, channel) {
                    let words = String::from_utf8_lossy(&order.payload).into_owned();
                    self.say(&format!("robot: obeys '{words}'"));
                }
            }
        }
    }

    /// Lets time pass until the next deadline; returns false if there is nothing left to wait for.
    fn pass(&mut self) -> bool {
        let deadlines = [self.robot.deadline(), self.operator.deadline()];
        let next = deadlines.into_iter().flatten().min();
        self.now = next.unwrap_or(self.now);
        next.is_some()
    }

    fn order(&mut self, words: &'static str) -> Result<(), Box<dyn Error>> {
        self.say(&format!("operator: orders '{words}'"));
        let orders = self
            .operator
            .link
            .channel_id("orders")
            .ok_or("no such channel")?;
        self.operator.link.send(self.now, orders, words, None)?;
        Ok(())
    }
}

fn run(tell: &mut dyn FnMut(&str)) -> Result<(), Box<dyn Error>> {
    let [robot, operator] = ["robot", "operator"].map(|name| NewIdentity::new(name).generate());
    let (robot, operator) = (robot?, operator?);
    let receives = Config::new().channel(ReceiveChannel::new("orders"));
    let sends = Config::new().channel(SendChannel::new("orders"));
    let mut world = World {
        now: Instant::ZERO,
        robot: End::new(Role::Acceptor, &receives, &robot, &operator)?,
        operator: End::new(Role::Opener, &sends, &operator, &robot)?,
        tell,
    };

    world.order("forward")?; // before there is a connection, too
    world.settle();

    world.say("the cable is pulled");
    let now = world.now;
    world.robot.lose(now);
    world.operator.lose(now);
    world.order("left")?;
    world.settle();
    // The operator's end tries again after a random delay, which takes no real time here.
    while world.operator.link.state() != LinkState::Open {
        world.pass();
        world.settle();
    }

    // Silence: each end checks that the other is alive, for as long as the program likes.
    let later = world.now + Duration::from_secs(60);
    while world.now < later && world.pass() {
        world.settle();
    }

    world.say("the operator closes");
    world.operator.link.close(now, CloseMode::Drain);
    world.settle();
    for end in [&world.operator, &world.robot] {
        let reason = end.link.end_reason().ok_or("the link goes on")?;
        let left = end.deadline().is_some() || end.endpoint.is_some();
        (world.tell)(&format!("{}: {reason}, anything left: {left}", end.name));
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    run(&mut |line| println!("{line}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn both_orders_arrive_and_both_ends_close() {
        let mut lines = Vec::new();
        super::run(&mut |line| lines.push(line.to_owned())).unwrap();
        let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
        assert_eq!(count("obeys 'forward'"), 1);
        assert_eq!(count("obeys 'left'"), 1);
        assert_eq!(count("operator: Resumed"), 1);
        assert_eq!(count("a connection is opened"), 2);
        assert_eq!(
            count("operator: closed by this end, anything left: false"),
            1
        );
        assert_eq!(count("robot: closed by the peer, anything left: false"), 1);
    }
}
