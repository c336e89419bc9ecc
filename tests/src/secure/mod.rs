//! Secure streams: what a backend is to a scenario, and the pairs that scenarios run on.
//!
//! As with links, a scenario is written once, in [`scenarios`], against the traits here, and is
//! blocking. [`trials`] makes a test of each for each pair of [backends](crate::backends). A
//! backend joins by implementing [`Backend`]: if its streams implement the traits of `std`, as
//! [`Std`](crate::on_std::Std)'s do, of tokio, of compio, or of futures-io, most of that exists
//! already.

mod on_compio;
mod on_futures_io;
mod on_std;
mod on_tokio;
pub mod scenarios;

use std::fmt;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::thread;

use countersign_core::Role;
use countersign_driver::StreamSetup;
use countersign_endpoint::{Fingerprint, Security};

use crate::backends::Couple;
use crate::harness::{Trial, trial};
use crate::pair::{IDENTITIES, loopback, tls};
use crate::{Transport, watch_as};

/// A runtime's way to secure streams.
pub trait Backend: Send + Sync {
    /// Connects to an address, as the opener.
    fn connect(
        &self,
        address: std::net::SocketAddr,
        setup: &StreamSetup,
    ) -> io::Result<Box<dyn Stream>>;

    /// Secures a connection from which `already_read` was read too far.
    fn over(
        &self,
        socket: TcpStream,
        role: Role,
        setup: &StreamSetup,
        already_read: &[u8],
    ) -> io::Result<Box<dyn Stream>>;
}

/// The peer's direction.
pub trait Source: Send {
    /// Reads some bytes.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Fills the buffer.
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()>;
    /// Reads to the end.
    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize>;
    /// Reads until a byte and with it, but no more than `limit` bytes.
    fn read_until(&mut self, byte: u8, limit: u64, bytes: &mut Vec<u8>) -> io::Result<usize>;
    /// Reads a line.
    fn read_line(&mut self, line: &mut String) -> io::Result<usize>;
}

/// This end's direction.
pub trait Sink: Send {
    /// Writes all of it.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Sends what was written.
    fn flush(&mut self) -> io::Result<()>;
    /// Ends this direction.
    fn shutdown(&mut self) -> io::Result<()>;
}

/// Both directions.
pub trait Stream: Source + Sink {
    /// Ends this direction and waits for the other.
    fn close(&mut self) -> io::Result<()>;
    /// Takes the two apart.
    fn split(self: Box<Self>) -> (Box<dyn Source>, Box<dyn Sink>);
    /// Returns the peer's fingerprint.
    fn peer(&self) -> Option<Fingerprint>;
    /// Returns the application's name for the peer.
    fn peer_name(&self) -> Option<&str>;
    /// Returns the cipher in use.
    fn cipher(&self) -> Option<&'static str>;
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

impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair")
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

/// Unwraps a stream that must have been made.
pub type Made = Box<dyn Stream>;

/// A TCP connection, the opener's end first.
#[must_use]
pub fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(loopback()).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

impl Pair {
    /// The setup of the opener and of the acceptor.
    #[must_use]
    pub fn setups(&self) -> [StreamSetup; 2] {
        let [client, server] = &*IDENTITIES;
        [(client, server), (server, client)].map(|(own, peer)| {
            StreamSetup::new(match self.transport {
                Transport::Tls => tls(own, peer.fingerprint()),
                Transport::Plain => Security::plaintext(),
            })
        })
    }

    /// Secures both ends of a connection at the same time.
    pub fn try_over(
        &self,
        sockets: (TcpStream, TcpStream),
        setups: &[StreamSetup; 2],
    ) -> (io::Result<Made>, io::Result<Made>) {
        thread::scope(|scope| {
            let server =
                scope.spawn(|| self.server.over(sockets.1, Role::Acceptor, &setups[1], &[]));
            let client = self.client.over(sockets.0, Role::Opener, &setups[0], &[]);
            (client, server.join().unwrap())
        })
    }

    /// Secures both ends of a connection.
    #[must_use]
    pub fn over(&self, sockets: (TcpStream, TcpStream), setups: &[StreamSetup; 2]) -> (Made, Made) {
        let (client, server) = self.try_over(sockets, setups);
        (client.unwrap(), server.unwrap())
    }

    /// A stream, the opener's end first.
    #[must_use]
    pub fn streams(&self) -> (Made, Made) {
        self.over(sockets(), &self.setups())
    }

    /// Runs a scenario twice: with the opener as the first end, and with the acceptor.
    pub fn both_ways(&self, scenario: impl Fn(Made, Made)) {
        let (client, server) = self.streams();
        scenario(client, server);
        let (client, server) = self.streams();
        scenario(server, client);
    }
}

/// A test of each scenario for each pair of backends.
#[must_use]
pub fn trials(couples: &[Couple]) -> Vec<Trial> {
    let mut trials = Vec::new();
    for couple in couples {
        let (Ok(client), Ok(server)) = (couple.client.streams, couple.server.streams) else {
            continue;
        };
        for &transport in couple.transports() {
            for scenario in scenarios::all() {
                let path = scenario.path();
                if !scenario.places.contains(&transport) || couple.cannot(&path).is_some() {
                    continue;
                }
                let between = format!("{}::{}", couple.name(), transport.name());
                let name = format!("secure::{between}::{path}");
                let pair = Pair {
                    client,
                    server,
                    transport,
                };
                let run = scenario.run;
                trials.push(trial(name, move |name| watch_as(name, move || run(&pair))));
            }
        }
    }
    trials
}
