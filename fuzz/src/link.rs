//! A link that gets any bytes, in any state that it can be in, while its application and its
//! network do what they like.
//!
//! Input: a declaration, the state that the link is brought to, then steps: bytes from the peer
//! and everything else that can happen.

use arbitrary::{Arbitrary, Result, Unstructured};
use countersign_core::Link;

use crate::memory::bounded;
use crate::session::{Peer, act};
use crate::subject::{Case, Seen, Subject, same};

/// Tries one input.
pub fn check(input: &[u8]) {
    try_case(input, run);
}

/// Runs an input whole, byte by byte, and in pieces: all that is to be seen must be the same.
pub(crate) fn try_case(input: &[u8], run: fn(&Case, Unstructured<'_>, usize, Seen) -> Seen) {
    let mut drawn = Unstructured::new(input);
    let Ok(case) = Case::draw(&mut drawn) else {
        return;
    };
    if let Some(config) = case.spoiled() {
        let error = config.check().expect_err("a declaration that can't be");
        assert!(!error.to_string().is_empty());
        let link = Link::new(&config, case.role, [3; 16]);
        assert_eq!(link.err(), Some(error));
        return;
    }
    let rest = drawn.take_rest();
    let run = |cut, seen| run(&case, Unstructured::new(rest), cut, seen);
    let whole = bounded(case.promise, || run(0, Seen::default()));
    same(&whole, &[1, case.cut], run);
}

fn run(case: &Case, mut input: Unstructured<'_>, cut: usize, seen: Seen) -> Seen {
    let mut subject = Subject::new(case, cut, seen);
    let mut peer = Peer::new(case);
    // Out of input, zeros are drawn: nothing that a step does can fail.
    let _ = begin(&mut input, &mut subject, &mut peer);
    while !input.is_empty() {
        let _ = step(&mut input, &mut subject, &mut peer);
    }
    subject.finish(&mut |moment, bytes| peer.read(moment, bytes))
}

/// Brings the link to some state, as an honest peer would.
fn begin(input: &mut Unstructured<'_>, subject: &mut Subject, peer: &mut Peer) -> Result<()> {
    if u8::arbitrary(input)? % 4 < 3 {
        peer.connect(subject, &mut Unstructured::new(&[]))?;
    }
    Ok(())
}

fn step(input: &mut Unstructured<'_>, subject: &mut Subject, peer: &mut Peer) -> Result<()> {
    let kind: u8 = input.arbitrary()?;
    if kind & 0x7F < 80 {
        let length = usize::from(u8::arbitrary(input)?).min(input.len());
        peer.say_raw(subject, input.bytes(length)?);
    } else {
        act(kind & 0x7F, input, subject, peer)?;
    }
    if kind & 0x80 == 0 {
        subject.settle(&mut |moment, bytes| peer.read(moment, bytes));
    }
    Ok(())
}
