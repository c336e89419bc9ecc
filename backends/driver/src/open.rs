//! Connecting to one of several addresses, in the manner of happy eyeballs (RFC 8305).

use std::collections::VecDeque;
use std::fmt::Display;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use crate::driver::Timer;

/// How long an attempt has before the next address is tried beside it (RFC 8305, section 5).
pub const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Opens a transport connection to the first of a peer's addresses that answers.
///
/// `lookup` finds the addresses, in the order in which the system prefers them. They are tried in
/// that order, but with the families of addresses taking turns; each has [`ATTEMPT_DELAY`] before
/// the next is tried beside it, and when one fails the next is tried at once (RFC 8305, sections 4
/// and 5). The look-up, and after it all attempts together, may take `limit` each. Unlike the RFC
/// proposes, attempts begin when all addresses are known, since that is how systems look names up.
///
/// # Errors
///
/// What each address answered, when none was to be had; that of the look-up; or `TimedOut`.
pub async fn open<S, F, T: Timer>(
    lookup: impl Future<Output = io::Result<Vec<SocketAddr>>>,
    limit: Duration,
    mut timer: T,
    connect: impl FnMut(SocketAddr) -> F,
) -> io::Result<S>
where
    F: Future<Output = io::Result<S>>,
{
    let mut lookup = pin!(lookup);
    let until = Instant::now().checked_add(limit);
    let addresses = poll_fn(|context| match lookup.as_mut().poll(context) {
        Poll::Pending if is_past(&mut timer, context, until) => Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "looking the name up took too long",
        ))),
        result => result,
    })
    .await?;
    let mut race = Race {
        waiting: in_turn(addresses),
        attempts: Vec::new(),
        failures: Vec::new(),
        next: None,
        until: Instant::now().checked_add(limit),
        connect,
        timer,
    };
    poll_fn(|context| race.poll(context)).await
}

/// Names the address in an error: of several, or in a log, it is not known otherwise.
#[must_use]
pub fn at(address: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{address}: {error}"))
}

fn is_past(timer: &mut impl Timer, context: &mut Context<'_>, moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| timer.poll_until(context, moment).is_ready())
}

/// Addresses with the families taking turns, beginning with that of the first.
fn in_turn(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
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

/// Attempts that run beside each other, until one of them has a connection.
struct Race<F, C, T> {
    waiting: VecDeque<SocketAddr>,
    attempts: Vec<(SocketAddr, Pin<Box<F>>)>,
    failures: Vec<io::Error>,
    /// When the next address has its turn; `None`: now.
    next: Option<Instant>,
    until: Option<Instant>,
    connect: C,
    timer: T,
}

impl<S, F, C, T> Race<F, C, T>
where
    F: Future<Output = io::Result<S>>,
    C: FnMut(SocketAddr) -> F,
    T: Timer,
{
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<io::Result<S>> {
        loop {
            if let Some(stream) = self.poll_attempts(context) {
                return Poll::Ready(Ok(stream));
            }
            if self.attempts.is_empty() && self.waiting.is_empty() {
                return Poll::Ready(Err(self.failure()));
            }
            let now = Instant::now();
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

    /// Sees how the attempts are doing. Where one has failed, the next address need not wait.
    fn poll_attempts(&mut self, context: &mut Context<'_>) -> Option<S> {
        let mut index = 0;
        while let Some((address, attempt)) = self.attempts.get_mut(index) {
            match attempt.as_mut().poll(context) {
                Poll::Ready(Ok(stream)) => return Some(stream),
                Poll::Ready(Err(error)) => {
                    self.failures.push(at(*address, &error));
                    drop(self.attempts.remove(index));
                    self.next = None;
                }
                Poll::Pending => index += 1,
            }
        }
        None
    }

    /// Why there is no connection: what each address has answered.
    fn failure(&mut self) -> io::Error {
        let Some(last) = self.failures.last() else {
            return io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        };
        let all: Vec<_> = self.failures.iter().map(io::Error::to_string).collect();
        io::Error::new(last.kind(), all.join("; "))
    }

    fn time_out(&mut self) -> io::Error {
        let silent = self.attempts.drain(..).map(|(address, _)| address);
        for address in silent.chain(self.waiting.drain(..)) {
            self.failures
                .push(at(address, &io::ErrorKind::TimedOut.into()));
        }
        self.failure()
    }
}
