//! An honest link beside the one that is attacked.

use std::panic::resume_unwind;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use countersign_core::CloseMode;

use crate::Ends;
use crate::backend::Link;

/// Many more than one: the first may have been under way before the attack, and the victim may read
/// the attacker's last byte some rounds after it was sent.
const ROUNDS: u64 = 20;

/// A link over which one message after the other goes and gets its verdict, until it is dropped.
/// Then it must close in order.
pub struct Bystander {
    count: Arc<Count>,
    ends: Ends,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for Bystander {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bystander({:?})", self.ends)
    }
}

#[derive(Debug, Default)]
struct Count {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rounds: u64,
    stops: bool,
    failed: bool,
}

impl Count {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, work: impl FnOnce(&mut State)) {
        work(&mut self.lock());
        self.changed.notify_all();
    }
}

/// Tells those that wait for the next round that there will be none.
struct OnPanic(Arc<Count>);

impl Drop for OnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.change(|state| state.failed = true);
        }
    }
}

impl Bystander {
    /// Messages go whichever way the channel `data` goes.
    #[must_use]
    pub fn on(ends: Ends) -> Self {
        let count = Arc::new(Count::default());
        let (sender, mut receiver) = match ends.client.sender("data") {
            Ok(sender) => (sender, ends.server.receiver("data").unwrap()),
            Err(_) => {
                let sender = ends.server.sender("data").unwrap();
                (sender, ends.client.receiver("data").unwrap())
            }
        };
        let guard = OnPanic(count.clone());
        let sending = thread::spawn(move || {
            while !guard.0.lock().stops {
                let verdict = sender.deliver("still here");
                assert!(verdict.is_handled(), "the bystander: {verdict}");
                guard.0.change(|state| state.rounds += 1);
            }
        });
        let guard = OnPanic(count.clone());
        let receiving = thread::spawn(move || {
            while let Some(message) = receiver.recv().unwrap() {
                assert_eq!(message, "still here");
            }
            drop(guard);
        });
        Self {
            count,
            ends,
            threads: vec![sending, receiving],
        }
    }

    /// Waits until messages have gone there and their verdicts back, from now on.
    pub fn keeps_pace(&self) {
        let mut state = self.count.lock();
        let goal = state.rounds + ROUNDS;
        while state.rounds < goal {
            assert!(!state.failed, "the bystander's link has failed");
            let waiting = self.count.changed.wait(state);
            state = waiting.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Checks that the attack has not affected it.
fn assert_undisturbed(link: &dyn Link) {
    let report = link.ended();
    assert!(report.is_orderly(), "the bystander: {report}");
    assert_eq!(report.resumes, 0, "the bystander: {report}");
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.count.change(|state| state.stops = true);
        if thread::panicking() {
            return;
        }
        let sending = self.threads.remove(0);
        sending.join().unwrap_or_else(|panic| resume_unwind(panic));
        self.ends.client.start_close(CloseMode::Drain);
        for link in [&self.ends.client, &self.ends.server] {
            assert_undisturbed(&**link);
        }
        for thread in self.threads.drain(..) {
            thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        }
    }
}
