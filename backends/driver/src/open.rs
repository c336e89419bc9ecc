//! Connects to one of several addresses, in the manner of happy eyeballs (RFC 8305).

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockAddr, SockRef};

use crate::runtime::StreamSocket;
use crate::transport::Timer;

/// How long an attempt runs before the next address is tried in parallel (RFC 8305, section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens a transport connection to the first of a peer's addresses that answers.
///
/// `lookup` finds the addresses, in the order in which the system prefers them. They are tried in
/// that order, but with the address families interleaved; each has [`ATTEMPT_DELAY`] before the
/// next is tried in parallel, and when one fails the next is tried at once (RFC 8305, sections 4
/// and 5). The look-up, and after it all attempts together, may take `limit` each. Unlike the RFC
/// proposes, attempts begin when all addresses are known, since that is how systems look names up.
///
/// A connection of this machine to itself, see [`refuse_self`], counts as refused.
///
/// # Errors
///
/// The error of each address, if none could be connected to; the error of the look-up; or
/// `TimedOut`.
pub async fn open<S, F, T: Timer>(
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    limit: Duration,
    mut timer: T,
    connect: impl FnMut(SocketAddr) -> F,
) -> io::Result<S>
where
    S: StreamSocket,
    F: Future<Output = io::Result<S>>,
{
    let addresses = look_up(lookup, limit, &mut timer).await?;
    let (opened, _) = race(interleave(addresses), limit, timer, connect).await;
    opened.map(|(_, stream)| stream)
}

/// Looks up addresses, within a time limit.
pub(crate) async fn look_up<T: Timer>(
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    limit: Duration,
    timer: &mut T,
) -> io::Result<Vec<SocketAddr>> {
    let mut lookup = pin!(lookup);
    let until = timer.now().checked_add(limit);
    poll_fn(|context| match lookup.as_mut().poll(context) {
        Poll::Pending if is_past(timer, context, until) => Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "looking the name up took too long",
        ))),
        result => result,
    })
    .await
}

/// Opens a connection to the first of these addresses that answers; also returns which were tried:
/// the one that has answered, and those that have failed.
pub(crate) async fn race<S, F, T: Timer>(
    addresses: VecDeque<SocketAddr>,
    limit: Duration,
    timer: T,
    connect: impl FnMut(SocketAddr) -> F,
) -> (io::Result<(SocketAddr, S)>, Vec<SocketAddr>)
where
    S: StreamSocket,
    F: Future<Output = io::Result<S>>,
{
    let mut race = Race {
        waiting: addresses,
        attempts: Vec::new(),
        tried: Vec::new(),
        failures: Vec::new(),
        next: None,
        until: timer.now().checked_add(limit),
        connect,
        timer,
    };
    let opened = poll_fn(|context| race.poll(context)).await;
    (opened, race.tried)
}

/// Refuses a TCP connection of this machine to itself: from and to one address and port.
///
/// This happens to an end that waits for a listener on its own machine, at a port in the ephemeral
/// range: two sockets that connect to each other at the same moment get one connection (RFC 9293,
/// section 3.5), and so does a socket that connects to its own port. No peer is behind it, and the
/// listener would find its port taken.
///
/// # Errors
///
/// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), as without the coincidence.
pub fn refuse_self(socket: &SockRef<'_>) -> io::Result<()> {
    let address = |address: io::Result<SockAddr>| address.ok()?.as_socket();
    let ends = (address(socket.local_addr()), address(socket.peer_addr()));
    // A socket without addresses has failed already, which its next use reports.
    let (Some(local), Some(peer)) = ends else {
        return Ok(());
    };
    if (local.ip(), local.port()) != (peer.ip(), peer.port()) {
        return Ok(());
    }
    // No TIME_WAIT, which would keep the port taken: no peer can send delayed segments.
    let _ = socket.set_linger(Some(Duration::ZERO));
    Err(io::Error::new(
        io::ErrorKind::ConnectionRefused,
        "nobody listens there, and the connection came back to this end",
    ))
}

/// Adds the address to an error, which does not contain it.
pub(crate) fn with_address(address: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

fn is_past(timer: &mut impl Timer, context: &mut Context<'_>, moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| timer.poll_until(context, moment).is_ready())
}

/// Interleaves the address families, beginning with that of the first address.
pub(crate) fn interleave(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (ours, others): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|address| address.is_ipv6() == first_is_v6);
    let mut others = others.into_iter();
    let mut all = VecDeque::new();
    for address in ours {
        all.push_back(address);
        all.extend(others.next());
    }
    all.extend(others);
    all
}

/// Attempts that run in parallel, until one of them has a connection.
struct Race<F, C, T> {
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<(SocketAddr, Pin<Box<F>>)>,
    /// The addresses that have answered or failed.
    tried: Vec<SocketAddr>,
    failures: Vec<io::Error>,
    /// When the next address is tried; `None`: now.
    next: Option<Instant>,
    until: Option<Instant>,
    connect: C,
    timer: T,
}

impl<S, F, C, T> Race<F, C, T>
where
    S: StreamSocket,
    F: Future<Output = io::Result<S>>,
    C: FnMut(SocketAddr) -> F,
    T: Timer,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(SocketAddr, S)>> {
        loop {
            if let Some(opened) = self.poll_attempts(context) {
                return Poll::Ready(Ok(opened));
            }
            if self.attempts.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(Err(self.failure()));
            }
            let now = self.timer.now();
            if self.until.is_some_and(|until| until <= now) {
                return Poll::Ready(Err(self.time_out()));
            }
            if self.next.is_none_or(|next| next <= now)
                && let Some(address) = self.waiting.pop_front()
            {
                let attempt = Box::pin((self.connect)(address));
                self.attempts.push((address, attempt));
                self.next = now.checked_add(ATTEMPT_DELAY);
                continue;
            }
            let next = self.next.filter(|_| !self.waiting.is_empty());
            let wake = [next, self.until].into_iter().flatten().min();
            if !is_past(&mut self.timer, context, wake) {
                return Poll::Pending;
            }
        }
    }

    /// Polls the attempts. After a failure, the next address is tried at once.
    fn poll_attempts(&mut self, context: &mut Context<'_>) -> Option<(SocketAddr, S)> {
        let mut index = 0;
        while let Some((address, attempt)) = self.attempts.get_mut(index) {
            let address = *address;
            let opened = attempt.as_mut().poll(context);
            let opened = opened.map(|opened| {
                let stream = opened?;
                refuse_self(&stream.socket()).map(|()| stream)
            });
            if opened.is_ready() {
                self.tried.push(address);
            }
            match opened {
                Poll::Ready(Ok(stream)) => return Some((address, stream)),
                Poll::Ready(Err(error)) => {
                    self.failures.push(with_address(address, &error));
                    drop(self.attempts.remove(index));
                    self.next = None;
                }
                Poll::Pending => index += 1,
            }
        }
        None
    }

    /// Returns why there is no connection: the error of each address.
    fn failure(&mut self) -> io::Error {
        let Some(last) = self.failures.last() else {
            return io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        };
        let all: Vec<_> = self.failures.iter().map(io::Error::to_string).collect();
        io::Error::new(last.kind(), all.join("; "))
    }

    fn time_out(&mut self) -> io::Error {
        let silent: Vec<_> = self
            .attempts
            .drain(..)
            .map(|(address, _)| address)
            .collect();
        self.tried.extend(&silent);
        for address in silent.into_iter().chain(self.waiting.drain(..)) {
            self.failures
                .push(with_address(address, &io::ErrorKind::TimedOut.into()));
        }
        self.failure()
    }
}
