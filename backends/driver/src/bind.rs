//! Listens on all addresses of a name.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};

use crate::open::with_address;

/// The backlog of a listening socket, in connections.
const BACKLOG: i32 = 1024;

/// How many ports are tried, if the system chooses, until one is free on all addresses.
const PORT_TRIES: usize = 16;

/// Listens on all of these addresses, with sockets that do not block. Where the port is zero, it is
/// the same free one on all of them.
///
/// Of several addresses, those that this machine does not have at present are skipped, with a
/// warning.
///
/// # Errors
///
/// The operating system's error for an address, for example `AddrInUse`.
pub(crate) fn bind(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut distinct: Vec<SocketAddr> = Vec::new();
    for address in addresses {
        if !distinct.contains(address) {
            distinct.push(*address);
        }
    }
    let mut tries = PORT_TRIES;
    loop {
        tries -= 1;
        match bind_all(&distinct) {
            // The port that the system has chosen is taken at another address.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && distinct.len() > 1
                    && distinct.iter().all(|address| address.port() == 0)
                    && tries > 0 => {}
            result => return result,
        }
    }
}

fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let several = addresses.len() > 1;
    let mut sockets = Vec::new();
    let mut failed = None;
    let mut port = None;
    for address in addresses {
        let mut wanted = *address;
        if let (0, Some(port)) = (wanted.port(), port) {
            wanted.set_port(port);
        }
        match bind_one(wanted, several) {
            Ok(socket) => {
                port = Some(socket.local_addr()?.port());
                sockets.push(socket);
            }
            Err(error) if several && is_missing(&error) => {
                failed = Some(with_address(wanted, &error));
            }
            Err(error) => return Err(with_address(wanted, &error)),
        }
    }
    match failed {
        Some(error) if sockets.is_empty() => return Err(error),
        Some(error) => tracing::warn!("an address of the name is left out: {error}"),
        None if sockets.is_empty() => {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        None => {}
    }
    Ok(sockets)
}

fn bind_one(address: SocketAddr, several: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // On Windows this would let other processes bind the same address.
    #[cfg(not(windows))]
    socket.set_reuse_address(true)?;
    if several && address.is_ipv6() {
        // The list has a separate IPv4 address if that is wanted.
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether the machine does not have the address, or does not support its family.
fn is_missing(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied
    )
}

/// Combines several functions that accept connections into one, for [`serve`](crate::serve). They
/// take turns, so that none starves the others.
pub(crate) fn accept_any<A, F>(
    accepts: impl IntoIterator<Item = A>,
) -> impl FnMut() -> AcceptAny<A, F>
where
    A: FnMut() -> F,
    F: Future,
{
    let sources = accepts.into_iter().map(|accept| Source {
        accept,
        accepting: None,
    });
    let sources = Sources {
        sources: sources.collect(),
        next: 0,
    };
    let sources = Arc::new(Mutex::new(sources));
    move || AcceptAny(sources.clone())
}

/// A function that accepts, and its future, which is kept when another is ready first.
struct Source<A, F> {
    accept: A,
    accepting: Option<Pin<Box<F>>>,
}

struct Sources<A, F> {
    sources: Vec<Source<A, F>>,
    /// The index that is polled first.
    next: usize,
}

/// The future of [`accept_any`].
pub(crate) struct AcceptAny<A, F>(
    /// Only one task uses it, so the lock is never contended.
    Arc<Mutex<Sources<A, F>>>,
);

impl<A: FnMut() -> F, F: Future> Future for AcceptAny<A, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for step in 0..all.sources.len() {
            let at = (all.next + step) % all.sources.len();
            let source = &mut all.sources[at];
            let accepting = &mut source.accepting;
            let accepting = accepting.get_or_insert_with(|| Box::pin((source.accept)()));
            if let Poll::Ready(accepted) = accepting.as_mut().poll(context) {
                source.accepting = None;
                all.next = at + 1;
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    fn local(port: u16) -> [SocketAddr; 2] {
        [
            SocketAddr::from(([127, 0, 0, 1], port)),
            SocketAddr::from(([127, 0, 0, 2], port)),
        ]
    }

    /// Other systems have only one loopback address by default.
    #[cfg(target_os = "linux")]
    #[test]
    fn one_port_for_all() {
        let sockets = bind(&[local(0), local(0)].concat()).unwrap();
        let bound: Vec<_> = sockets
            .iter()
            .map(|one| one.local_addr().unwrap())
            .collect();
        assert_eq!(bound, local(bound[0].port()));
        assert_ne!(bound[0].port(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn who_listens_already_is_named_and_what_is_missing_is_left_out() {
        let [first, second] = local(0);
        let taken = bind(&[second]).unwrap();
        let port = taken[0].local_addr().unwrap().port();
        let error = bind(&local(port)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let named = format!("127.0.0.2:{port}: ");
        assert!(error.to_string().starts_with(&named), "{error}");
        // Reserved for documentation (RFC 5737).
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 0));
        assert_eq!(bind(&[elsewhere, first]).unwrap().len(), 1);
        let error = bind(&[elsewhere]).unwrap_err();
        assert!(error.to_string().starts_with("192.0.2.1:0: "), "{error}");
        assert_eq!(bind(&[]).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn they_take_turns_and_none_loses_its_future() {
        let mut context = Context::from_waker(Waker::noop());
        let mut accept = accept_any([1, 2, 3].map(|source| move || ready(source)));
        for expected in [1, 2, 3, 1] {
            let accepted = pin!(accept()).poll(&mut context);
            assert_eq!(accepted, Poll::Ready(expected));
        }
        let made = std::cell::Cell::new(0);
        let waits = || {
            made.set(made.get() + 1);
            pending::<()>()
        };
        let mut accept = accept_any([waits]);
        for _ in 0..3 {
            assert!(pin!(accept()).poll(&mut context).is_pending());
        }
        assert_eq!(made.get(), 1);
    }
}
