//! Where victim, bystander and attacker meet.

use std::fmt;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use countersign_core::{
    ChannelConfig, Config, Dialect, Mode, ReceiveChannel, Reconnect, Role, SendChannel, Timeouts,
};
use countersign_driver::{Limits, LinkError, Setup};
use countersign_endpoint::{Pin, Pins, Security};
use socket2::{Domain, Socket, Type};

use super::{Bystander, CAST, Hostile, Words};
use crate::Ends;
use crate::backend::{Backend, Link, Listener};
use crate::pair::{loopback, tls};

/// Longer than any test takes.
const EVER: Duration = Duration::from_secs(3600);

/// The end under attack: one end of links that have a channel called `data`.
#[derive(Clone, Copy)]
pub struct Victim {
    /// Its backend.
    pub backend: &'static dyn Backend,
    /// Whether it accepts connections or opens them.
    pub role: Role,
    /// Whether it sends on the channel or receives.
    pub mode: Mode,
}

impl fmt::Debug for Victim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Victim")
            .field("role", &self.role)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

/// How the victim is set.
#[derive(Clone, Debug)]
pub struct Terms {
    /// Its declaration. By default one that ends links with their connections and has no
    /// time-out.
    pub config: Config,
    /// What its listener takes.
    pub limits: Limits,
    /// Whether it speaks TLS.
    pub secured: bool,
}

impl Terms {
    /// Changes the timeouts.
    #[must_use]
    pub fn timeouts(mut self, change: impl FnOnce(&mut Timeouts)) -> Self {
        let mut timeouts = *self.config.get_timeouts();
        change(&mut timeouts);
        self.config = self.config.timeouts(timeouts);
        self
    }

    /// Changes the limits.
    #[must_use]
    pub fn limits(mut self, change: impl FnOnce(&mut Limits)) -> Self {
        change(&mut self.limits);
        self
    }

    /// Changes the declaration.
    #[must_use]
    pub fn config(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.config = change(self.config);
        self
    }

    /// Declares the channel, and no other.
    #[must_use]
    pub fn channel(self, channel: impl Into<ChannelConfig>) -> Self {
        self.config(|config| {
            let same = Config::new().dialect(config.get_dialect());
            let same = same.timeouts(*config.get_timeouts());
            same.reconnect(*config.get_reconnect()).channel(channel)
        })
    }

    /// Has links outlive their connections.
    #[must_use]
    pub fn lasting(self) -> Self {
        let terms = self.config(|config| config.reconnect(Reconnect::default()));
        terms.timeouts(|timeouts| timeouts.retain = EVER)
    }

    /// In plain text.
    #[must_use]
    pub fn plain(mut self) -> Self {
        self.secured = false;
        self
    }
}

impl Victim {
    /// An end that sends if it opens its links, and receives if it accepts them.
    #[must_use]
    pub fn new(backend: &'static dyn Backend, role: Role) -> Self {
        let mode = match role {
            Role::Acceptor => Mode::Receive,
            Role::Opener => Mode::Send,
        };
        Self {
            backend,
            role,
            mode,
        }
    }

    /// The same, receiving.
    #[must_use]
    pub fn receiving(&self) -> Self {
        let mode = Mode::Receive;
        Self { mode, ..*self }
    }

    /// The same, sending.
    #[must_use]
    pub fn sending(&self) -> Self {
        let mode = Mode::Send;
        Self { mode, ..*self }
    }

    /// What is at this end of a link with it: itself, or its counterpart.
    fn at(&self, role: Role) -> Self {
        let mode = match role == self.role {
            true => self.mode,
            false => self.mode.opposite(),
        };
        Self {
            role,
            mode,
            ..*self
        }
    }

    /// Returns its peer's greeting.
    #[must_use]
    pub fn words(&self) -> Words {
        Words {
            mode: self.at(Role::Opener).mode,
            ..Words::default()
        }
    }

    /// The channel.
    #[must_use]
    pub fn channel(&self) -> ChannelConfig {
        match self.mode {
            Mode::Send => SendChannel::new("data").into(),
            Mode::Receive => ReceiveChannel::new("data").into(),
        }
    }

    /// Returns the terms that scenarios change as they need.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let terms = Terms {
            config: Config::new().channel(self.channel()).single_connection(),
            limits: Limits::default(),
            secured: true,
        };
        terms.timeouts(|timeouts| {
            timeouts.handshake = EVER;
            timeouts.ping = EVER / 4;
            timeouts.give_up = EVER / 2;
            timeouts.linger = EVER;
        })
    }

    /// The victim with a bystander, by the usual terms.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage_with(&self.terms())
    }

    /// The victim with a bystander.
    #[must_use]
    pub fn stage_with(&self, terms: &Terms) -> Stage {
        let security = match terms.secured {
            true => {
                let cast = &*CAST;
                let pinned = [
                    &cast.peer,
                    &cast.bystander,
                    &cast.expired,
                    &cast.not_yet_valid,
                ];
                let pins = pinned.map(|identity| Pin::from(identity.fingerprint()));
                tls(&cast.victim, Pins::new(pins).unwrap())
            }
            false => Security::plaintext(),
        };
        let setup = Setup::new(terms.config.clone(), security).unwrap();
        // An opener has nothing to share with its other links but the process and the runtime.
        let (theirs, attackers) = match self.role {
            Role::Acceptor => (setup.clone(), None),
            Role::Opener => {
                let config = self.at(Role::Acceptor).terms().config;
                let theirs = Setup::new(config, setup.security().clone()).unwrap();
                (theirs, Some(TcpListener::bind(loopback()).unwrap()))
            }
        };
        let listener = self.backend.listen(loopback(), theirs, terms.limits);
        Stage {
            victim: *self,
            setup,
            bystander: self.bystander(&*listener, terms),
            listener,
            attackers,
        }
    }

    fn bystander(&self, listener: &dyn Listener, terms: &Terms) -> Bystander {
        let security = match terms.secured {
            true => tls(&CAST.bystander, CAST.victim.fingerprint()),
            false => Security::plaintext(),
        };
        // Where the victim accepts, the listener is its own.
        let dialect = match self.role {
            Role::Acceptor => terms.config.get_dialect(),
            Role::Opener => Dialect::Countersign,
        };
        let config = self.at(Role::Opener).terms().config.dialect(dialect);
        let setup = Setup::new(config, security).unwrap();
        Bystander::on(self.join(listener, &setup))
    }

    /// Makes an honest link to a listener that has no other peers. Where that gives handshakes
    /// little time, it may take several attempts.
    fn join(&self, listener: &dyn Listener, setup: &Setup) -> Ends {
        let address = listener.address();
        loop {
            let ends = thread::scope(|scope| {
                let client = scope.spawn(move || self.backend.connect(address, setup));
                let server = listener.accept();
                (client.join().unwrap(), server)
            });
            match ends {
                (Ok(client), Ok(server)) => return Ends { client, server },
                (Ok(_), Err(error)) => panic!("{error}"),
                (Err(error), _) => assert!(error.can_retry(), "{error}"),
            }
        }
    }
}

/// A victim, a bystander, and where to attack.
pub struct Stage {
    /// The end under attack.
    pub victim: Victim,
    /// The victim's declaration and security.
    pub setup: Setup,
    /// The honest link that must not suffer from it.
    pub bystander: Bystander,
    /// The bystander's, and the victim's where it accepts.
    listener: Box<dyn Listener>,
    /// The attacker's, where the victim opens its links.
    attackers: Option<TcpListener>,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage")
            .field("victim", &self.victim)
            .field("bystander", &self.bystander)
            .finish_non_exhaustive()
    }
}

impl Stage {
    /// The bystander's listener, which is the victim's where it accepts.
    #[must_use]
    pub fn listener(&self) -> &dyn Listener {
        &*self.listener
    }

    /// Where the victim listens, or the attacker.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.attackers {
            None => self.listener.address(),
            Some(socket) => socket.local_addr().unwrap(),
        }
    }

    /// Opens a connection between the attacker and the victim. A victim that opens its links must
    /// be about to connect.
    #[must_use]
    pub fn approach(&self) -> Hostile {
        let socket = match &self.attackers {
            None => TcpStream::connect(self.address()).unwrap(),
            Some(socket) => socket.accept().unwrap().0,
        };
        Hostile::on(socket, self.victim.role)
    }

    /// Whether no connection of a victim that opens its links waits for the attacker.
    #[must_use]
    pub fn nobody_comes(&self) -> bool {
        let socket = self.attackers.as_ref().expect("a victim that opens");
        socket.set_nonblocking(true).unwrap();
        let accepted = socket.accept();
        socket.set_nonblocking(false).unwrap();
        matches!(accepted, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// The same from another address of the attacker's machine. The victim must be one that
    /// accepts.
    #[must_use]
    pub fn approach_from(&self, address: Ipv4Addr) -> Hostile {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((address, 0)).into()).unwrap();
        socket.connect(&self.address().into()).unwrap();
        Hostile::on(socket.into(), self.victim.role)
    }

    /// An honest peer's link, to a victim that accepts.
    #[must_use]
    pub fn honest_peer(&self) -> Box<dyn Link> {
        let opening = self.victim.at(Role::Opener);
        let security = tls(&CAST.peer, CAST.victim.fingerprint());
        let setup = Setup::new(opening.terms().config, security).unwrap();
        self.victim.backend.connect(self.address(), &setup).unwrap()
    }

    /// Returns the victim's next link, or why there is none.
    pub fn link(&self) -> Result<Box<dyn Link>, LinkError> {
        match self.victim.role {
            Role::Acceptor => self
                .listener
                .accept()
                .map_err(|error| error.error().clone()),
            Role::Opener => self.victim.backend.connect(self.address(), &self.setup),
        }
    }

    /// Runs the attacker in a separate thread, and `victim` on the outcome at the victim. Returns
    /// the results of both. After the attack the attacker keeps its socket open until the bystander
    /// has kept pace: a victim that waited for it to leave would make the others wait for ever.
    pub fn meet<A: Send, V>(
        &self,
        attack: impl FnOnce(Hostile) -> A + Send,
        victim: impl FnOnce(Result<Box<dyn Link>, LinkError>) -> V,
    ) -> (A, V) {
        thread::scope(|scope| {
            let attacking = scope.spawn(|| {
                let hostile = self.approach();
                let stays = hostile.socket.try_clone().unwrap();
                let attack = attack(hostile);
                self.bystander.keeps_pace();
                drop(stays);
                attack
            });
            let victim = victim(self.link());
            let attack = attacking
                .join()
                .unwrap_or_else(|panic| resume_unwind(panic));
            (attack, victim)
        })
    }

    /// Runs an attack that leads to no link. Returns the victim's error, and the result of the
    /// attack. The bystander keeps pace before the attacker leaves and afterwards.
    pub fn repels<A: Send>(&self, attack: impl FnOnce(Hostile) -> A + Send) -> (LinkError, A) {
        let (seen, error) = self.meet(attack, |link| link.err().expect("there is no link"));
        self.bystander.keeps_pace();
        (error, seen)
    }
}
