//! Connecting to a peer again and again, at all of its addresses.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use crate::address::Address;
use crate::driver::{Dial, Transport};
use crate::establish::Setup;
use crate::open::{in_turn, look_up, race};
use crate::runtime::{StreamSocket, TcpRuntime};
use crate::sleep_timer::SleepTimer;
use crate::socket::prepare_socket;
use crate::status::Addressed;

/// Whose turn it is among a peer's addresses.
///
/// An address has had its turn when it has refused a connection, or when one was opened to it. If that
/// does not lead to the peer, those come next that have not had theirs, until all had it. Then it
/// begins anew. Where the peer was reached last it is looked for first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Turns {
    /// All of them, as they were found last.
    all: Vec<SocketAddr>,
    /// Those that have had their turn.
    had: Vec<SocketAddr>,
    /// All of them had it since the peer was reached, if it ever was.
    through: bool,
    /// Where the latest connection was opened to.
    opened: Option<SocketAddr>,
    /// Where the peer was reached last.
    reached: Option<SocketAddr>,
}

impl Turns {
    /// In which order which addresses are to be tried next.
    fn next(&mut self, all: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
        self.had.retain(|had| all.contains(had));
        let left = |had: &Vec<SocketAddr>| -> Vec<_> {
            let left = all.iter().filter(|address| !had.contains(address));
            left.copied().collect()
        };
        let mut turns = left(&self.had);
        if turns.is_empty() && !self.had.is_empty() {
            self.through = true;
            self.had.clear();
            turns = left(&self.had);
        }
        self.all = all;
        let mut turns = in_turn(turns);
        let first = turns.iter().position(|one| Some(*one) == self.reached);
        if let Some(first) = first.and_then(|first| turns.remove(first)) {
            turns.push_front(first);
        }
        turns
    }

    /// These have had their turn, and the connection was opened to that one, if to any.
    fn note(&mut self, had: Vec<SocketAddr>, opened: Option<SocketAddr>) {
        self.had.extend(had);
        self.opened = opened;
    }

    /// The latest connection has led to the peer.
    fn arrived(&mut self) {
        self.reached = self.opened;
        self.through = false;
        self.had.clear();
    }

    /// Whether there are addresses that never had a turn since the peer was reached, if it ever was.
    fn has_others(&self) -> bool {
        let mut all = self.all.iter();
        !self.through && all.any(|address| !self.had.contains(address))
    }
}

/// Opens TCP connections to the addresses of a peer.
pub(crate) struct Reach<Open, F> {
    open: Open,
    attempt: Option<Pin<Box<F>>>,
    turns: Turns,
}

impl<Open, F> fmt::Debug for Reach<Open, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reach")
            .field("turns", &self.turns)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt, and whose turn it is after that.
pub(crate) type Attempted<T> = (Turns, io::Result<T>);

/// Opens TCP connections to a peer, at all addresses of its name. In each attempt they are tried as
/// by [`open`](crate::open). Where one answers that is not the peer, does not get on with the
/// handshake or refuses for now, the next attempt is made at those that have not had their turn,
/// until all had it.
pub(crate) fn reach<R: TcpRuntime>(
    runtime: R,
    address: Address,
    setup: Setup,
) -> impl Dial<Transport = Addressed<R::TcpStream>> {
    let open = move |mut turns: Turns| {
        let (runtime, address, setup) = (runtime.clone(), address.clone(), setup.clone());
        async move {
            let limit = setup.config().get_timeouts().handshake;
            let mut timer = SleepTimer::new(&runtime);
            let lookup = address.resolve(|host, port| runtime.resolve(host, port));
            let addresses = match look_up(lookup, limit, &mut timer).await {
                Ok(addresses) => turns.next(addresses),
                Err(error) => return (turns, Err(error)),
            };
            let connect = |address| runtime.connect_tcp(address);
            let (opened, had) = race(addresses, limit, timer, connect).await;
            turns.note(had, opened.as_ref().ok().map(|(address, _)| *address));
            let prepared = opened.and_then(|(_, stream)| {
                prepare_socket(&stream.socket(), setup.config())?;
                Ok(Addressed::new(stream))
            });
            (turns, prepared)
        }
    };
    Reach {
        open,
        attempt: None,
        turns: Turns::default(),
    }
}

impl<Open, F, W> Dial for Reach<Open, F>
where
    Open: FnMut(Turns) -> F,
    F: Future<Output = Attempted<W>>,
    W: Transport,
{
    type Transport = W;

    fn poll_dial(&mut self, context: &mut Context<'_>) -> Poll<io::Result<W>> {
        let (open, turns) = (&mut self.open, &self.turns);
        let attempt = &mut self.attempt;
        let attempt = attempt.get_or_insert_with(|| Box::pin(open(turns.clone())));
        let (turns, result) = ready!(attempt.as_mut().poll(context));
        self.turns = turns;
        self.attempt = None;
        Poll::Ready(result)
    }

    fn give_up(&mut self) {
        self.attempt = None;
    }

    fn arrived(&mut self) {
        self.turns.arrived();
    }

    fn has_others(&self) -> bool {
        self.turns.has_others()
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

    fn next(turns: &mut Turns, all: &[SocketAddr]) -> Vec<SocketAddr> {
        turns.next(all.to_vec()).into()
    }

    #[test]
    fn all_have_their_turn_before_any_has_another() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, &[A, B, C]), [A, B, C]);
        turns.note(vec![A], Some(A));
        assert!(turns.has_others());
        assert_eq!(next(&mut turns, &[A, B, C]), [B, C]);
        // One refuses, the other answers.
        turns.note(vec![B, C], Some(C));
        assert!(!turns.has_others());
        assert_eq!(next(&mut turns, &[A, B, C]), [A, B, C]);
        // Somebody who is not the peer answers again: no address is left that could be the peer's.
        turns.note(vec![A], Some(A));
        assert!(!turns.has_others());
        assert_eq!(next(&mut turns, &[A, B, C]), [B, C]);
    }

    #[test]
    fn where_the_peer_was_it_is_looked_for_first() {
        let mut turns = Turns::default();
        next(&mut turns, &[A, B, C]);
        turns.note(vec![A, B], Some(B));
        turns.arrived();
        assert_eq!(next(&mut turns, &[A, B, C]), [B, A, C]);
        turns.note(vec![B], Some(B));
        assert!(turns.has_others());
        assert_eq!(next(&mut turns, &[A, B, C]), [A, C]);
    }

    #[test]
    fn the_addresses_of_a_name_may_change() {
        let mut turns = Turns::default();
        assert_eq!(next(&mut turns, &[A]), [A]);
        turns.note(vec![A], Some(A));
        assert!(!turns.has_others());
        assert_eq!(next(&mut turns, &[A, B]), [B]);
        turns.note(vec![B], None);
        assert_eq!(next(&mut turns, &[C]), [C]);
        assert!(turns.has_others());
        assert!(next(&mut turns, &[]).is_empty());
        assert!(!turns.has_others());
    }
}
