//! A link in a session whose peer speaks in frames that look right, with fields that need not be:
//! acknowledgements of what was never sent, gaps, lengths of 2^63, fragments, closes, resumes.
//!
//! Input: a declaration, then steps. A step of zeros is one of an honest peer, so inputs get far.

mod act;
mod clock;
mod frames;
mod messages;
mod peer;
mod read;

use arbitrary::{Result, Unstructured};

pub(crate) use self::act::act;
pub(crate) use self::peer::Peer;

use crate::link::try_case;
use crate::subject::{Case, Seen, Subject};

/// Tries one input.
pub fn check(input: &[u8]) {
    try_case(input, run);
}

/// Tries one input on a link that makes a mistake.
///
/// # Panics
///
/// Where it shows.
#[cfg(planted)]
pub fn check_with(mistake: countersign_core::Planted, input: &[u8]) {
    let mut drawn = Unstructured::new(input);
    if let Ok(mut case) = Case::draw(&mut drawn)
        && case.spoiled().is_none()
    {
        case.mistake = Some(mistake);
        run(
            &case,
            Unstructured::new(drawn.take_rest()),
            0,
            Seen::default(),
        );
    }
}

fn run(case: &Case, mut input: Unstructured<'_>, cut: usize, seen: Seen) -> Seen {
    let mut subject = Subject::new(case, cut, seen);
    let mut peer = Peer::new(case);
    // Out of input, zeros are drawn: nothing that a step does can fail.
    let _ = peer.connect(&mut subject, &mut input);
    while !input.is_empty() {
        let _ = step(&mut input, &mut subject, &mut peer);
    }
    subject.finish(&mut |moment, bytes| peer.read(moment, bytes))
}

fn step(input: &mut Unstructured<'_>, subject: &mut Subject, peer: &mut Peer) -> Result<()> {
    let kind: u8 = input.arbitrary()?;
    if kind & 0x7F < 80 {
        let bytes = peer.speak(kind & 0x7F, subject.now, input)?;
        peer.say(subject, &bytes);
    } else {
        act(kind & 0x7F, input, subject, peer)?;
    }
    if kind & 0x80 == 0 {
        subject.settle(&mut |moment, bytes| peer.read(moment, bytes));
    }
    Ok(())
}
