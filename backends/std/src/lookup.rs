//! Looks names up, which blocks.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Looks names up in a separate thread, one at a time.
///
/// A look-up cannot be cancelled. When its caller stops waiting, it goes on, and the next caller
/// gets its result: so threads do not pile up while the system does not answer.
#[derive(Clone, Default)]
pub(crate) struct Lookup(Arc<Mutex<Slot>>);

/// Where the thread puts its result.
#[derive(Default)]
struct Slot {
    /// A look-up is running, or its result was not taken yet.
    pending: bool,
    found: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

impl Lookup {
    /// Finds the addresses of a name, which must be the same in each call.
    pub(crate) async fn find(
        &self,
        address: impl ToSocketAddrs + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        self.start(address)?;
        poll_fn(|context| self.poll(context.waker())).await
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, address: impl ToSocketAddrs + Send + 'static) -> io::Result<()> {
        if std::mem::replace(&mut self.lock().pending, true) {
            return Ok(());
        }
        let lookup = self.clone();
        let work = move || {
            let find = || address.to_socket_addrs().map(Iterator::collect);
            // Without a result no look-up would ever start again.
            let found = catch_unwind(AssertUnwindSafe(find));
            lookup.put(found.unwrap_or_else(|_| Err(io::Error::other("the look-up panicked"))));
        };
        let thread = thread::Builder::new().name("countersign-lookup".to_owned());
        // Outside of the lock, since a failure drops the caller's address.
        let spawned = thread.spawn(work);
        if spawned.is_err() {
            self.lock().pending = false;
        }
        spawned.map(drop)
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
            Some(found) => {
                slot.pending = false;
                Poll::Ready(found)
            }
            None => {
                let former = slot.waker.replace(waker.clone());
                drop(slot);
                drop(former);
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicU16, Ordering};
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Context;
    use std::vec;

    use super::*;
    use crate::block;

    /// A name whose look-up ends when the test permits it, with the number of the look-up as port.
    #[derive(Clone)]
    struct Slow {
        started: Arc<AtomicU16>,
        go: Arc<Mutex<Receiver<()>>>,
    }

    impl Slow {
        fn new() -> (Self, Sender<()>) {
            let (go, wait) = channel();
            let slow = Self {
                started: Arc::default(),
                go: Arc::new(Mutex::new(wait)),
            };
            (slow, go)
        }
    }

    impl ToSocketAddrs for Slow {
        type Iter = vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
            let go = self.go.lock().map_err(|_| io::ErrorKind::Other)?;
            go.recv().map_err(|_| io::ErrorKind::Other)?;
            Ok(vec![SocketAddr::from(([127, 0, 0, 1], number))].into_iter())
        }
    }

    #[test]
    fn one_look_up_at_a_time() {
        let (slow, go) = Slow::new();
        let lookup = Lookup::default();
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let attempt = pin!(lookup.find(slow.clone()));
            assert!(attempt.poll(&mut context).is_pending());
        }
        go.send(()).unwrap();
        let found = block::on(lookup.find(slow.clone())).unwrap();
        assert_eq!(found[0].port(), 1);
        assert_eq!(slow.started.load(Ordering::SeqCst), 1);
        // A result that was taken is not returned again.
        go.send(()).unwrap();
        let found = block::on(lookup.find(slow.clone())).unwrap();
        assert_eq!(found[0].port(), 2);
    }

    /// A name whose look-up panics.
    struct Bad;

    impl ToSocketAddrs for Bad {
        type Iter = vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            panic!("on purpose")
        }
    }

    #[test]
    fn a_look_up_that_panics_is_an_error() {
        let lookup = Lookup::default();
        block::on(lookup.find(Bad)).unwrap_err();
        let (slow, go) = Slow::new();
        go.send(()).unwrap();
        let found = block::on(lookup.find(slow)).unwrap();
        assert_eq!(found.len(), 1);
    }
}
