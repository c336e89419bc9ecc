//! Turns a hang into a failure.

use std::panic::resume_unwind;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Far more than any test takes on any machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs a test in a separate thread, and panics if it hangs.
pub fn watch<T: Send + 'static>(test: impl FnOnce() -> T + Send + 'static) -> T {
    let thread = thread::current();
    watch_as(thread.name().unwrap_or("test"), test)
}

/// The same, with a name for the thread, which is part of its panic message.
pub fn watch_as<T: Send + 'static>(name: &str, test: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel();
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let result = test();
        // Fails only if the test was given up.
        let _ = sender.send(());
        result
    });
    let thread = thread.unwrap();
    match receiver.recv_timeout(LIMIT) {
        Err(RecvTimeoutError::Timeout) => panic!("the test hangs"),
        // Without a word the thread has panicked, and joining passes that on.
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match thread.join() {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        },
    }
}
