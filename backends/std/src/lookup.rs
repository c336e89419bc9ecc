//! Looking names up, which blocks.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Finds the addresses of a name in a thread of its own.
pub(crate) async fn lookup(
    address: impl ToSocketAddrs + Send + 'static,
) -> io::Result<Vec<SocketAddr>> {
    let answer = Answer::default();
    let theirs = answer.clone();
    let thread = thread::Builder::new().name("countersign-lookup".to_owned());
    thread.spawn(move || theirs.put(address.to_socket_addrs().map(Iterator::collect)))?;
    poll_fn(|context| answer.poll(context.waker())).await
}

/// Where the thread puts what it has found.
#[derive(Clone, Default)]
struct Answer(Arc<Mutex<Slot>>);

#[derive(Default)]
struct Slot {
    found: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, found: io::Result<Vec<SocketAddr>>) {
        let mut slot = self.lock();
        slot.found = Some(found);
        let waker = slot.waker.take();
        drop(slot);
        waker.into_iter().for_each(Waker::wake);
    }

    fn poll(&self, waker: &Waker) -> Poll<io::Result<Vec<SocketAddr>>> {
        let mut slot = self.lock();
        match slot.found.take() {
            Some(found) => Poll::Ready(found),
            None => {
                slot.waker = Some(waker.clone());
                Poll::Pending
            }
        }
    }
}
