//! What targets draw from their input besides the bytes that they try.

/// Takes one byte off the front; zero when there is none left.
pub fn byte(input: &mut &[u8]) -> u8 {
    let Some((first, rest)) = input.split_first() else {
        return 0;
    };
    *input = rest;
    *first
}

/// Cuts `bytes` into pieces of `size`, at least one byte; the last may be shorter.
pub fn pieces(bytes: &[u8], size: usize) -> impl Iterator<Item = &[u8]> {
    bytes.chunks(size.max(1))
}
