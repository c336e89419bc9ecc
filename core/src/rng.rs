//! The stream of numbers that the core draws from its seed.

/// SplitMix64. It is not a source of secrets: every number here is a function of the seed, so a
/// caller that needs an unguessable session id passes an unguessable seed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rng(u64, u64);

impl Rng {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let (high, low) = seed.split_at(8);
        Self(be(high), be(low))
    }

    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0) ^ mix(self.1.wrapping_add(self.0.rotate_left(32)))
    }
}

fn be(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte))
}

fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
