//! How many runs there are, from the environment, and how a failed one is reported.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::plan::Plan;
use super::world::{Summary, World};

/// Runs a plan; a panic on the way is a failure like any other.
///
/// # Errors
///
/// The first objection.
pub fn run(plan: &Plan) -> Result<Summary, String> {
    catch_unwind(AssertUnwindSafe(|| World::run(plan))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", text.unwrap_or("without words")))
    })
}

/// Runs a plan that must come out well.
///
/// # Panics
///
/// If it does not, with the one command that runs `case` again and prints what happens in it.
pub fn expect(plan: &Plan, test: &str, variable: &str, case: impl Display) -> Summary {
    run(plan).unwrap_or_else(|wrong| {
        panic!(
            "{wrong}\n  case: {case}\n  replay: {variable}='{case}' cargo test -p \
             countersign-worlds -- --nocapture {test}::replay"
        )
    })
}

/// Reads a range from the environment, as `from..to`.
///
/// # Panics
///
/// If it is set and is not a range.
#[must_use]
pub fn range(variable: &str, default: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let Ok(text) = std::env::var(variable) else {
        return default;
    };
    let parsed = text.split_once("..").and_then(|(from, to)| {
        let number = |text: &str| text.replace('_', "").parse().ok();
        Some(number(from)?..number(to)?)
    });
    parsed.unwrap_or_else(|| panic!("{variable} must look like 0..20000, and is '{text}'"))
}

/// Reads a number from the environment.
///
/// # Panics
///
/// If it is set and is not a number.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} must be a number, and is '{text}'")))
}
