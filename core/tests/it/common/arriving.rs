//! Connections that arrive at a listener, and what is read of them.

use countersign_core::{Config, GoneSession, Incoming, Instant, Link, Output, PeerId, Protocol};

/// A connection that a listener has accepted, from this peer.
pub(crate) fn arrived(now: Instant, config: &Config, seed: u8, who: Option<PeerId>) -> Incoming {
    let mut incoming = Incoming::new(config, [seed; 16]).expect("fits");
    incoming.handle_opened(now).expect("offline");
    incoming.handle_secured(now, who).expect("securing");
    incoming
}

/// The link that becomes of it.
pub(crate) fn accepted(now: Instant, incoming: Incoming) -> Link {
    match incoming.accept(now) {
        Ok(link) => link,
        Err(incoming) => panic!("{:?}", incoming.end_reason()),
    }
}

/// As [`accepted`], where this is remembered of the session that it names.
pub(crate) fn accepted_after(
    now: Instant,
    mut incoming: Incoming,
    gone: Option<&GoneSession>,
) -> Link {
    incoming.remember(gone.cloned());
    accepted(now, incoming)
}

/// What comes back of one that is not accepted.
pub(crate) fn declined(now: Instant, incoming: Incoming) -> Incoming {
    incoming.accept(now).expect_err("not accepted")
}

/// All that it has to say.
pub(crate) fn said(now: Instant, from: &mut impl Protocol) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    while let Output::Written(length) = from.poll_output(now, &mut buffer) {
        all.extend_from_slice(&buffer[..length]);
    }
    all
}
