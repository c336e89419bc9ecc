//! How much is tested, from [`TESTS`].

use std::env;
use std::io::{self, Write};
use std::sync::LazyLock;

/// The environment variable that sets how much is tested. If it is not set, a part that suits
/// development; `all` is what every change must pass, and `long` takes an hour.
pub const TESTS: &str = "COUNTERSIGN_TESTS";

/// How much is tested.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Size {
    /// A part of it: minutes.
    Part,
    /// All that runs for every change.
    All,
    /// More than that, before a release.
    Long,
}

impl Size {
    /// Reads the size from the environment.
    ///
    /// # Panics
    ///
    /// If the variable has another value.
    #[must_use]
    pub fn get() -> Self {
        static SIZE: LazyLock<Size> = LazyLock::new(|| match env::var(TESTS).as_deref() {
            Err(env::VarError::NotPresent) => Size::Part,
            Ok("all") => Size::All,
            Ok("long") => Size::Long,
            other => panic!("{TESTS} must be 'all' or 'long', and is {other:?}"),
        });
        *SIZE
    }

    /// Returns the one of these for this size: for a part, for all, and for long.
    #[must_use]
    pub fn of<T>(self, [part, all, long]: [T; 3]) -> T {
        match self {
            Self::Part => part,
            Self::All => all,
            Self::Long => long,
        }
    }
}

/// Reports what a test leaves out if only a part is tested, and how to test it. Returns whether
/// that is so. The message is visible even if the harness captures the output of tests.
pub fn leaves_out(what: &str) -> bool {
    let part = Size::get() == Size::Part;
    if part {
        // If it can't be written there is nothing to do.
        let _ = writeln!(io::stderr(), "left out without {TESTS}=all: {what}");
    }
    part
}
