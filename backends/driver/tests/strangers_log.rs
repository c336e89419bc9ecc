//! How much a listener tells the log of strangers.

#![allow(clippy::unwrap_used, reason = "a test stops where something is wrong")]

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use countersign_core::Config;
use countersign_driver::{AcceptError, Limits, LinkError, Listener, Setup};
use countersign_endpoint::Security;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the level of every line.
#[derive(Clone, Default)]
struct Levels(Arc<Mutex<Vec<Level>>>);

impl Subscriber for Levels {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The levels at which `strangers` connections within a minute are logged; `None` if it took
/// longer.
fn levels(strangers: usize, log_lines: usize) -> Option<Vec<Level>> {
    let begun = Instant::now();
    let setup = Setup::new(Config::default(), Security::plaintext()).unwrap();
    let setup = setup.log_lines(log_lines);
    let (listener, _task) = Listener::new((), setup, Limits::default());
    let levels = Levels::default();
    tracing::subscriber::with_default(levels.clone(), || {
        for _ in 0..strangers {
            let error = LinkError::transport(io::Error::other("a stranger"));
            listener.log(&AcceptError::new(None, error));
        }
    });
    let levels = levels.0.lock().unwrap().clone();
    (begun.elapsed() < Duration::from_secs(60)).then_some(levels)
}

#[test]
fn strangers_are_warned_of_up_to_the_limit_and_no_further() {
    let within = |strangers| loop {
        if let Some(levels) = levels(strangers, 3) {
            return levels;
        }
    };
    assert_eq!(within(3), [Level::WARN; 3]);
    // The next one is logged at the debug level.
    assert_eq!(
        within(4),
        [Level::WARN, Level::WARN, Level::WARN, Level::DEBUG]
    );
}
