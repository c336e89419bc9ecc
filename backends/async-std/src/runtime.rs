//! async-std's tasks and timers.

use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use async_std::net::{TcpStream, ToSocketAddrs};
use async_std::task;
use countersign_driver::Address;
use countersign_futures_io::{Runtime, Socket, Task};

/// async-std's executor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AsyncStd;

impl Runtime for AsyncStd {
    fn spawn(&self, task: Task) {
        // Its handle may go: the task stays.
        drop(task::spawn(task));
    }

    fn sleep_until(&self, deadline: Instant) -> Task {
        let pause = deadline.saturating_duration_since(Instant::now());
        Box::pin(task::sleep(pause))
    }
}

/// The addresses of a name.
pub(crate) async fn look_up(address: Address) -> io::Result<Vec<SocketAddr>> {
    address
        .resolve(|host, port| async move { (host.as_str(), port).to_socket_addrs().await })
        .await
}

/// A TCP connection to an address.
pub(crate) async fn socket(address: SocketAddr) -> io::Result<Socket<TcpStream>> {
    TcpStream::connect(address).await.map(Socket)
}
