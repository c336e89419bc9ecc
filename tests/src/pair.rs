//! Two backends, a choice of security, and the links between them.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use countersign_certs::{GeneratedIdentity, fixtures};
use countersign_core::{Config, Reconnect, Timeouts};
use countersign_driver::{Limits, LinkError, Setup};
use countersign_endpoint::{Identity, Pins, Security, Trust};

use crate::backend::{Backend, Link, Listener};
use crate::proxy::Proxy;

/// Whether connections are secured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Mutual TLS with pins.
    Tls,
    /// Plain text.
    Plain,
}

impl Transport {
    /// Returns its name in tests.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Transport::Tls => "tls",
            Transport::Plain => "plain",
        }
    }
}

/// What a scenario runs on.
#[derive(Clone, Copy)]
pub struct Pair {
    /// The opener's backend.
    pub client: &'static dyn Backend,
    /// The acceptor's backend.
    pub server: &'static dyn Backend,
    /// How the two are secured.
    pub transport: Transport,
}

/// The two ends of a link.
pub struct Ends {
    /// The opener.
    pub client: Box<dyn Link>,
    /// The acceptor.
    pub server: Box<dyn Link>,
}

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Ends({}; {})",
            self.client.report(),
            self.server.report()
        )
    }
}

/// The identities that all scenarios share: the opener's and the acceptor's.
pub static IDENTITIES: LazyLock<[GeneratedIdentity; 2]> =
    LazyLock::new(|| [fixtures::good("client"), fixtures::good("server")]);

/// Returns TLS with an identity and a trust.
pub fn tls(identity: &GeneratedIdentity, trust: impl Into<Trust>) -> Security {
    let own = Identity::from_der(identity.certificate_der(), identity.key_der()).unwrap();
    Security::tls(own, trust).build().unwrap()
}

/// Returns the declaration, without channels, of a process that is one end of a bad network: it
/// notices soon that there is no way, and soon tries again.
#[must_use]
pub fn restless(give_up: Duration) -> Config {
    let timeouts = Timeouts {
        ping: Duration::from_millis(500),
        give_up,
        handshake: Duration::from_secs(3),
        close: Duration::from_secs(60),
        ..Timeouts::default()
    };
    let reconnect = Reconnect {
        longest_delay: Duration::from_millis(500),
        ..Reconnect::default()
    };
    Config::new().timeouts(timeouts).reconnect(reconnect)
}

/// Returns the security of a process that is one end, `listen` or `connect`: the folder holds both
/// as pairs of `.crt` and `.key`.
#[must_use]
pub fn role_security(folder: &Path, role: &str) -> Security {
    let file = |name: &str, kind: &str| folder.join(format!("{name}.{kind}"));
    let peer = if role == "listen" {
        "connect"
    } else {
        "listen"
    };
    let identity = Identity::from_pem_files(file(role, "crt"), file(role, "key")).unwrap();
    let pins = Pins::from_files([file(peer, "crt")]).unwrap();
    Security::tls(identity, pins).build().unwrap()
}

/// Returns `count` bytes that differ from place to place and from `seed` to `seed`.
#[must_use]
pub fn payload(count: usize, seed: usize) -> Vec<u8> {
    let period: [u8; 251] = std::array::from_fn(|at| ((at + seed) % 251) as u8);
    let mut bytes = period.repeat(count.div_ceil(period.len()));
    bytes.truncate(count);
    bytes
}

/// Returns an address of this machine, with a free port.
///
/// Where the system has enough of them, it is an address that was never used before. An end that
/// has lost its peer connects to its address again and again, and would disturb the next listener
/// there.
#[must_use]
pub fn loopback() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    if !cfg!(target_os = "linux") {
        return SocketAddr::from(([127, 0, 0, 1], 0));
    }
    let [high, low] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // Another for each of the processes that run beside each other.
    let process = (process::id() % 250) as u8 + 1;
    SocketAddr::from(([127, process, high, low], 0))
}

impl Pair {
    /// Returns the opener's security.
    #[must_use]
    pub fn client_security(&self) -> Security {
        let [client, server] = &*IDENTITIES;
        self.security(client, server)
    }

    /// Returns the acceptor's security.
    #[must_use]
    pub fn server_security(&self) -> Security {
        let [client, server] = &*IDENTITIES;
        self.security(server, client)
    }

    fn security(&self, own: &GeneratedIdentity, peer: &GeneratedIdentity) -> Security {
        match self.transport {
            Transport::Tls => tls(own, peer.fingerprint()),
            Transport::Plain => Security::plaintext(),
        }
    }

    /// Returns the opener's setup.
    #[must_use]
    pub fn client_setup(&self, config: Config) -> Setup {
        Setup::new(config.single_connection(), self.client_security()).unwrap()
    }

    /// Returns the acceptor's setup.
    #[must_use]
    pub fn server_setup(&self, config: Config) -> Setup {
        Setup::new(config.single_connection(), self.server_security()).unwrap()
    }

    /// Opens a listener with the acceptor's security.
    #[must_use]
    pub fn listen(&self, config: Config) -> Box<dyn Listener> {
        let setup = self.server_setup(config);
        self.server.listen(loopback(), setup, Limits::default())
    }

    /// Opens a link with the opener's security.
    pub fn connect(&self, to: SocketAddr, config: Config) -> Result<Box<dyn Link>, LinkError> {
        self.client.connect(to, &self.client_setup(config))
    }

    /// Makes a link between an opener and an acceptor.
    #[must_use]
    pub fn link(&self, client: Config, server: Config) -> Ends {
        let listener = self.listen(server);
        self.join(&*listener, listener.address(), client)
    }

    /// Makes a link that goes through a proxy.
    #[must_use]
    pub fn link_through(&self, client: Config, server: Config) -> (Ends, Proxy) {
        let listener = self.listen(server);
        let proxy = Proxy::to(listener.address());
        let ends = self.join(&*listener, proxy.address(), client);
        (ends, proxy)
    }

    /// Returns the opener's setup for links that outlive their connections.
    #[must_use]
    pub fn lasting_client(&self, config: Config) -> Setup {
        let reconnect = Reconnect {
            limit: config.get_reconnect().limit,
            first_delay: Duration::from_millis(1),
            longest_delay: Duration::from_millis(20),
        };
        Setup::new(config.reconnect(reconnect), self.client_security()).unwrap()
    }

    /// Returns the acceptor's setup for links that outlive their connections.
    #[must_use]
    pub fn lasting_server(&self, config: Config) -> Setup {
        Setup::new(config, self.server_security()).unwrap()
    }

    /// Makes a link through a proxy that outlives its connections as long as the listener exists.
    #[must_use]
    pub fn lasting_link(&self, client: Config, server: Config) -> (Ends, Proxy, Box<dyn Listener>) {
        let server = self.lasting_server(server);
        let listener = self.server.listen(loopback(), server, Limits::default());
        let (ends, proxy) = self.lasting_join(&*listener, client);
        (ends, proxy, listener)
    }

    /// Opens a link through a separate proxy, and accepts it.
    #[must_use]
    pub fn lasting_join(&self, listener: &dyn Listener, client: Config) -> (Ends, Proxy) {
        let proxy = Proxy::to(listener.address());
        let client = self.lasting_client(client);
        let ends = self.join_with(listener, proxy.address(), &client);
        (ends, proxy)
    }

    /// Opens a link to `address` and accepts it.
    #[must_use]
    pub fn join(&self, listener: &dyn Listener, address: SocketAddr, client: Config) -> Ends {
        self.join_with(listener, address, &self.client_setup(client))
    }

    /// Opens a link to `address` with this setup, and accepts it.
    #[must_use]
    pub fn join_with(&self, listener: &dyn Listener, address: SocketAddr, client: &Setup) -> Ends {
        thread::scope(|scope| {
            let client = scope.spawn(|| self.client.connect(address, client));
            let server = listener.accept().map_err(|error| error.to_string());
            let client = client.join().unwrap().expect("the opener's end");
            let server = server.expect("the acceptor's end");
            Ends { client, server }
        })
    }

    /// Tries to make a link that must fail, and returns both ends' errors.
    #[must_use]
    pub fn refused(&self, client: &Setup, server: Setup) -> (LinkError, LinkError) {
        let listener = self.server.listen(loopback(), server, Limits::default());
        let address = listener.address();
        thread::scope(|scope| {
            let client = scope.spawn(move || self.client.connect(address, client).err());
            let server = listener.accept().err().map(|error| error.error().clone());
            let client = client.join().unwrap().expect("the opener is refused");
            (client, server.expect("the acceptor refuses"))
        })
    }
}
