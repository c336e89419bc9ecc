//! Two cores, and everything that can happen to them, against the model of the property tests.
//!
//! The model is that of `core/tests`; only how cases are made is another: from bytes, so that the
//! fuzzer can see to what a case leads and change a part of it. The numbers are drawn from the
//! ranges that the property tests draw from.

pub mod lasting;
mod usual;

use arbitrary::Unstructured;

/// What a case is drawn from. Where it has come to its end, everything drawn is the first choice.
struct Draw<'a>(Unstructured<'a>);

impl<'a> Draw<'a> {
    fn new(input: &'a [u8]) -> Self {
        Self(Unstructured::new(input))
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns a number from `low` to `high`. It uses up as many bytes as `high - low` has.
    fn from(&mut self, low: u64, high: u64) -> u64 {
        self.0.int_in_range(low..=high).unwrap_or(low)
    }

    fn size(&mut self, low: usize, high: usize) -> usize {
        self.0.int_in_range(low..=high).unwrap_or(low)
    }

    fn flag(&mut self) -> bool {
        self.size(0, 1) == 1
    }

    /// A number below 256, to choose among what there is.
    fn choice(&mut self) -> usize {
        self.size(0, 255)
    }

    /// One of the ranges, then one of its numbers.
    fn one_of<const N: usize>(&mut self, ranges: [(usize, usize); N]) -> usize {
        let (low, high) = ranges[self.size(0, N - 1)];
        self.size(low, high)
    }
}
