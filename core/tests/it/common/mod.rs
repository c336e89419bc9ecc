//! What tests of whole links share: a link opposite a scripted peer, a pair of links with virtual
//! time, connections that arrive at a listener, and bytes by hand.

pub(crate) mod arriving;
pub(crate) mod bottleneck;
pub(crate) mod bytes;
pub(crate) mod pair;
pub(crate) mod peer;

/// How input is cut before a link gets it. No result may depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    Whole,
    Bytes,
}

impl Cut {
    /// The pieces of `input` in order.
    pub(crate) fn pieces(self, input: &[u8]) -> impl Iterator<Item = &[u8]> {
        let size = match self {
            Self::Whole => input.len().max(1),
            Self::Bytes => 1,
        };
        input.chunks(size)
    }
}
