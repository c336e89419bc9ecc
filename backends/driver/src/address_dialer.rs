//! Connects to a peer for each attempt of a link, at all of its addresses.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::address::Address;
use crate::dial::Dial;
use crate::open::{interleave, look_up, race};
use crate::runtime::Addressed;
use crate::runtime::{StreamSocket, TcpRuntime};
use crate::setup::Setup;
use crate::sleep_timer::SleepTimer;
use crate::socket::prepare_socket;
use crate::transport::Transport;

/// The rotation of a peer's addresses.
///
/// An address counts as tried when it has refused a connection, or when one was opened to it. If
/// that does not lead to the peer, the next attempt uses the addresses that were not tried, until
/// all were. Then the rotation begins anew. The address at which the peer was reached last goes
/// first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rotation {
    /// All addresses, as the latest look-up has found them.
    all: Vec<SocketAddr>,
    /// The addresses that were tried in this round.
    tried: Vec<SocketAddr>,
    /// All of them were tried since the peer was reached last, or since the start.
    exhausted: bool,
    /// The address of the latest connection.
    last_opened: Option<SocketAddr>,
    /// The address at which the peer was reached last.
    last_reached: Option<SocketAddr>,
}

impl Rotation {
    /// Returns the addresses to try next, in order.
    fn next(&mut self, all: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
        self.tried.retain(|tried| all.contains(tried));
        let left = |tried: &Vec<SocketAddr>| -> Vec<_> {
            let left = all.iter().filter(|address| !tried.contains(address));
            left.copied().collect()
        };
        let mut turns = left(&self.tried);
        if turns.is_empty() && !self.tried.is_empty() {
            self.exhausted = true;
            self.tried.clear();
            turns = left(&self.tried);
        }
        self.all = all;
        let mut turns = interleave(turns);
        let first = turns.iter().position(|one| Some(*one) == self.last_reached);
        if let Some(first) = first.and_then(|first| turns.remove(first)) {
            turns.push_front(first);
        }
        turns
    }

    /// Records the addresses that were tried, and the one to which the connection was opened, if
    /// any.
    fn record(&mut self, tried: Vec<SocketAddr>, opened: Option<SocketAddr>) {
        self.tried.extend(tried);
        self.last_opened = opened;
    }

    /// Records that the latest connection has led to the peer.
    fn arrived(&mut self) {
        self.last_reached = self.last_opened;
        self.exhausted = false;
        self.tried.clear();
    }

    /// Whether there are addresses that were not tried since the peer was reached last, or since
    /// the start.
    fn has_others(&self) -> bool {
        let mut all = self.all.iter();
        !self.exhausted && all.any(|address| !self.tried.contains(address))
    }
}

/// Opens TCP connections to the addresses of a peer.
pub(crate) struct AddressDialer<Open, F> {
    open: Open,
    attempt: Option<Pin<Box<F>>>,
    rotation: Rotation,
}

impl<Open, F> fmt::Debug for AddressDialer<Open, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressDialer")
            .field("rotation", &self.rotation)
            .finish_non_exhaustive()
    }
}

/// The outcome of an attempt, and the rotation after it.
pub(crate) type Outcome<T> = (Rotation, io::Result<T>);

/// Opens TCP connections to a peer, at all addresses of its name. In each attempt they are tried as
/// by [`open`](crate::open). If one answers that is not the peer, stalls in the handshake or
/// refuses for now, the next attempt uses the addresses that were not tried, until all were.
pub(crate) fn address_dialer<R: TcpRuntime>(
    runtime: R,
    address: Address,
    setup: Setup,
) -> impl Dial<Transport = Addressed<R::TcpStream>> {
    let open = move |mut rotation: Rotation| {
        let (runtime, address, setup) = (runtime.clone(), address.clone(), setup.clone());
        async move {
            let limit = setup.config().get_timeouts().handshake;
            let mut timer = SleepTimer::new(&runtime);
            let lookup = address.resolve(|host, port| runtime.resolve(host, port));
            let addresses = match look_up(lookup, limit, &mut timer).await {
                Ok(addresses) => rotation.next(addresses),
                Err(error) => return (rotation, Err(error)),
            };
            let connect = |address| runtime.connect_tcp(address);
            let (opened, tried) = race(addresses, limit, timer, connect).await;
            rotation.record(tried, opened.as_ref().ok().map(|(address, _)| *address));
            let prepared = opened.and_then(|(_, stream)| {
                prepare_socket(&stream.socket(), setup.config())?;
                Ok(Addressed::new(stream))
            });
            (rotation, prepared)
        }
    };
    AddressDialer {
        open,
        attempt: None,
        rotation: Rotation::default(),
    }
}

impl<Open, F, W> Dial for AddressDialer<Open, F>
where
    Open: FnMut(Rotation) -> F,
    F: Future<Output = Outcome<W>>,
    W: Transport,
{
    type Transport = W;

    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<W>> {
        let (open, rotation) = (&mut self.open, &self.rotation);
        let attempt = &mut self.attempt;
        let attempt = attempt.get_or_insert_with(|| Box::pin(open(rotation.clone())));
        let (rotation, result) = ready!(attempt.as_mut().poll(context));
        self.rotation = rotation;
        self.attempt = None;
        Poll::Ready(result)
    }

    fn give_up(&mut self) {
        self.attempt = None;
    }

    fn arrived(&mut self) {
        self.rotation.arrived();
    }

    fn has_others(&self) -> bool {
        self.rotation.has_others()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1)),
        1,
    );
    const B: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2)),
        1,
    );
    const C: SocketAddr = SocketAddr::new(
        std::net::IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 3)),
        1,
    );

    fn next(rotation: &mut Rotation, all: &[SocketAddr]) -> Vec<SocketAddr> {
        rotation.next(all.to_vec()).into()
    }

    #[test]
    fn all_have_their_turn_before_any_has_another() {
        let mut rotation = Rotation::default();
        assert_eq!(next(&mut rotation, &[A, B, C]), [A, B, C]);
        rotation.record(vec![A], Some(A));
        assert!(rotation.has_others());
        assert_eq!(next(&mut rotation, &[A, B, C]), [B, C]);
        // One refuses, the other answers.
        rotation.record(vec![B, C], Some(C));
        assert!(!rotation.has_others());
        assert_eq!(next(&mut rotation, &[A, B, C]), [A, B, C]);
        // The wrong peer answers again: no address is left that could be the peer's.
        rotation.record(vec![A], Some(A));
        assert!(!rotation.has_others());
        assert_eq!(next(&mut rotation, &[A, B, C]), [B, C]);
    }

    #[test]
    fn where_the_peer_was_it_is_looked_for_first() {
        let mut rotation = Rotation::default();
        next(&mut rotation, &[A, B, C]);
        rotation.record(vec![A, B], Some(B));
        rotation.arrived();
        assert_eq!(next(&mut rotation, &[A, B, C]), [B, A, C]);
        rotation.record(vec![B], Some(B));
        assert!(rotation.has_others());
        assert_eq!(next(&mut rotation, &[A, B, C]), [A, C]);
    }

    #[test]
    fn the_addresses_of_a_name_may_change() {
        let mut rotation = Rotation::default();
        assert_eq!(next(&mut rotation, &[A]), [A]);
        rotation.record(vec![A], Some(A));
        assert!(!rotation.has_others());
        assert_eq!(next(&mut rotation, &[A, B]), [B]);
        rotation.record(vec![B], None);
        assert_eq!(next(&mut rotation, &[C]), [C]);
        assert!(rotation.has_others());
        assert!(next(&mut rotation, &[]).is_empty());
        assert!(!rotation.has_others());
    }
}
