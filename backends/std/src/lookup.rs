//! Looking names up, which blocks.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// Looks names up in a thread of its own, one at a time.
///
/// A look-up can't be broken off. When nobody waits for it any more, it goes on, and the next who
/// asks is given what it finds: so the threads do not pile up while the system does not answer.
#[derive(Clone, Default)]
pub(crate) struct Lookup(Arc<Mutex<Slot>>);

/// Where the thread puts what it has found.
#[derive(Default)]
struct Slot {
    /// There is a thread, or what it has found was not taken yet.
    asked: bool,
    found: Option<io::Result<Vec<SocketAddr>>>,
    waker: Option<Waker>,
}

impl Lookup {
    /// Finds the addresses of a name, which has to be the same each time.
    pub(crate) async fn find(
        &self,
        address: impl ToSocketAddrs + Send + 'static,
    ) -> io::Result<Vec<SocketAddr>> {
        self.ask(address)?;
        poll_fn(|context| self.poll(context.waker())).await
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, address: impl ToSocketAddrs + Send + 'static) -> io::Result<()> {
        if std::mem::replace(&mut self.lock().asked, true) {
            return Ok(());
        }
        let theirs = self.clone();
        let work = move || {
            let find = || address.to_socket_addrs().map(Iterator::collect);
            // Without an answer nobody would ever ask again.
            let found = catch_unwind(AssertUnwindSafe(find));
            theirs.put(found.unwrap_or_else(|_| Err(io::Error::other("the look-up panicked"))));
        };
        let thread = thread::Builder::new().name("countersign-lookup".to_owned());
        // What is to be looked up is the caller's, and may go here.
        let spawned = thread.spawn(work);
        if spawned.is_err() {
            self.lock().asked = false;
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
                slot.asked = false;
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

    /// A name that is found when the test says so, under the number of the look-up as its port.
    #[derive(Clone)]
    struct Slow {
        asked: Arc<AtomicU16>,
        go: Arc<Mutex<Receiver<()>>>,
    }

    impl Slow {
        fn new() -> (Self, Sender<()>) {
            let (go, wait) = channel();
            let slow = Self {
                asked: Arc::default(),
                go: Arc::new(Mutex::new(wait)),
            };
            (slow, go)
        }
    }

    impl ToSocketAddrs for Slow {
        type Iter = vec::IntoIter<SocketAddr>;

        fn to_socket_addrs(&self) -> io::Result<Self::Iter> {
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
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
        assert_eq!(slow.asked.load(Ordering::SeqCst), 1);
        // What was taken is not given out again.
        go.send(()).unwrap();
        let found = block::on(lookup.find(slow.clone())).unwrap();
        assert_eq!(found[0].port(), 2);
    }

    /// A name that nobody can look up.
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
