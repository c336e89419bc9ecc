//! Links that peers open.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use countersign_driver::{
    AcceptorTask, Addressed, Addresses, Limits, Listener, PendingConnection, Setup, prepare_socket,
    serve,
};
use futures_io::{AsyncRead, AsyncWrite};
use socket2::SockRef;

use crate::runtime::{Runtime, Stream, alarm, timed};

/// Makes links of the TCP connections that `accept` gives, each with the address of its peer: for
/// crates that bring a runtime with TCP sockets of its own.
///
/// `addresses`, one at least, are where the listener says that it listens; for several sockets `accept`
/// is made by [`accept_any`](countersign_driver::accept_any). The sockets are set to what links need.
/// `accept` is dropped when the listener is closed.
///
/// An error of `accept` is followed by a pause, which grows to a second.
#[must_use]
pub fn listen<S, F>(
    runtime: &(impl Runtime + Clone),
    addresses: Vec<SocketAddr>,
    accept: impl FnMut() -> F + Send + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
    for<'s> SockRef<'s>: From<&'s S>,
{
    let (listener, task) = Listener::at(addresses, timed(runtime, setup.clone()), limits);
    let prepare = move |stream: &S| {
        prepare_socket(&SockRef::from(stream), setup.config())?;
        Ok(Addresses::of(stream))
    };
    start(runtime, task, accept, prepare);
    listener
}

/// Makes links of the streams that `accept` gives, each with the address of its peer if it has one:
/// for other transports than TCP and Unix sockets. What is said of the stream at
/// [`link_over`](crate::link_over) applies.
///
/// An error of `accept` is followed by a pause, which grows to a second.
#[must_use]
pub fn listen_over<S, F>(
    runtime: &(impl Runtime + Clone),
    accept: impl FnMut() -> F + Send + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener<()>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    listen_at(runtime, (), accept, setup, limits)
}

/// As [`listen_over`], at an address of any kind, which [`Listener::local_addr`] tells.
#[must_use]
pub fn listen_at<A, S, F>(
    runtime: &(impl Runtime + Clone),
    address: A,
    accept: impl FnMut() -> F + Send + 'static,
    setup: Setup,
    limits: Limits,
) -> Listener<A>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    let (listener, task) = Listener::new(address, timed(runtime, setup), limits);
    start(runtime, task, accept, |_| Ok(Addresses::default()));
    listener
}

/// Starts the task that accepts connections, and one for each of them.
fn start<R, S, F>(
    runtime: &R,
    task: AcceptorTask,
    accept: impl FnMut() -> F + Send + 'static,
    prepare: impl Fn(&S) -> io::Result<Addresses> + Send + 'static,
) where
    R: Runtime + Clone,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = io::Result<(S, Option<SocketAddr>)>> + Send + 'static,
{
    let tasks = runtime.clone();
    let welcome = move |stream, pending: PendingConnection| {
        match prepare(&stream) {
            Ok(addresses) => {
                let served = pending.serve(Addressed::new(Stream(stream), addresses))?;
                tasks.spawn(Box::pin(served.run(alarm(&tasks))));
            }
            Err(error) => pending.refuse(error),
        }
        Ok(())
    };
    let timers = runtime.clone();
    let serving = serve(task, accept, welcome, move || alarm(&timers));
    runtime.spawn(Box::pin(async move { drop(serving.await) }));
}
