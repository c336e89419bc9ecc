//! How much is tried: [`TESTS`] says.

use std::env;
use std::io::{self, Write};
use std::sync::LazyLock;

/// The environment variable that says how much is tried. Where it is not set that is what a change is
/// tried with at one's desk, `all` is what decides whether it lands, and `long` takes an hour.
pub const TESTS: &str = "COUNTERSIGN_TESTS";

/// How much is tried.
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
    /// What the environment says.
    ///
    /// # Panics
    ///
    /// If it says something else.
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

    /// One of these, which are what to try in a part, in all, and at length.
    #[must_use]
    pub fn of<T>(self, [part, all, long]: [T; 3]) -> T {
        match self {
            Self::Part => part,
            Self::All => all,
            Self::Long => long,
        }
    }
}

/// Tells what a test leaves out where only a part is tried, and how to try it; whether that is so. It
/// is seen where the harness keeps what tests print to itself, too.
pub fn leaves_out(what: &str) -> bool {
    let part = Size::get() == Size::Part;
    if part {
        // If it can't be written there is nothing to do.
        let _ = writeln!(io::stderr(), "left out without {TESTS}=all: {what}");
    }
    part
}
