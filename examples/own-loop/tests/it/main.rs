//! The example does what it says.

mod clock;
mod hundreds;
