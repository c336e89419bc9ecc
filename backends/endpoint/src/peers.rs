//! Whose keys are whose: what the core knows a peer as, whichever of its keys it uses.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_core::PeerId;
use sha2::{Digest, Sha256};

use crate::fingerprint::Fingerprint;
use crate::pin::Pin;
use crate::pins::Pins;
use crate::trust::Trust;

/// The peers that some trust lets in, and the ids under which their sessions are held.
///
/// An id is given to a peer once and is nobody else's after that: it does not follow from a key
/// alone, since a key may be one peer's today and another's when both have changed hands.
#[derive(Clone, Debug)]
pub(crate) enum Peers {
    Pinned(Pinned),
    /// Whoever an authority has certified: each key is a peer of its own. Counted from this
    /// generation on.
    Certified(u64),
}

/// Peers whose keys are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned {
    /// Whose each key is.
    ids: HashMap<Fingerprint, PeerId>,
    /// Everybody there is, and what the application calls them.
    names: HashMap<PeerId, Option<Arc<str>>>,
}

impl Peers {
    /// Of the first trust there is.
    pub(crate) fn first(trust: &Trust) -> Self {
        match trust {
            Trust::Authority(_) => Self::Certified(0),
            Trust::Pins(pins) => Self::Pinned(Pinned::default().then(pins, 0)),
        }
    }

    /// Of the trust that follows on this one. A peer goes on as the one that it has a key in common
    /// with; of several, which are merged by this, as the one whose key is pinned first. A peer that
    /// is parted goes on as none of its parts: what was whose can't be told.
    pub(crate) fn then(&self, trust: &Trust, generation: u64) -> Self {
        match (self, trust) {
            (Self::Certified(since), Trust::Authority(_)) => Self::Certified(*since),
            (Self::Pinned(_), Trust::Authority(_)) => Self::Certified(generation),
            (Self::Certified(_), Trust::Pins(pins)) => {
                Self::Pinned(Pinned::default().then(pins, generation))
            }
            (Self::Pinned(old), Trust::Pins(pins)) => Self::Pinned(old.then(pins, generation)),
        }
    }

    /// What the peer with this key is known as.
    pub(crate) fn id(&self, key: Fingerprint) -> Option<PeerId> {
        match self {
            Self::Pinned(pinned) => pinned.ids.get(&key).copied(),
            Self::Certified(since) => Some(fresh(key, *since)),
        }
    }

    /// What the application calls the peer with this key.
    pub(crate) fn name(&self, key: Fingerprint) -> Option<Arc<str>> {
        match self {
            Self::Pinned(pinned) => pinned.names.get(pinned.ids.get(&key)?)?.clone(),
            Self::Certified(_) => None,
        }
    }

    /// Whether a peer known as this may be let in, with one of its keys.
    pub(crate) fn may_know(&self, id: PeerId) -> bool {
        match self {
            Self::Pinned(pinned) => pinned.names.contains_key(&id),
            // Whom an authority certifies shows only when a certificate is there.
            Self::Certified(_) => true,
        }
    }
}

impl Pinned {
    fn then(&self, pins: &Pins, generation: u64) -> Self {
        // Which of the old peers each new one has keys of, and how many new ones have those of each
        // old one.
        let mut heirs: HashMap<PeerId, usize> = HashMap::new();
        let ancestors: Vec<Vec<PeerId>> = pins
            .entries()
            .map(|(_, pins)| {
                let mut ancestors: Vec<PeerId> = Vec::new();
                for id in pins
                    .iter()
                    .filter_map(|pin| self.ids.get(&pin.fingerprint()))
                {
                    if !ancestors.contains(id) {
                        ancestors.push(*id);
                        *heirs.entry(*id).or_default() += 1;
                    }
                }
                ancestors
            })
            .collect();
        let mut new = Self::default();
        for ((name, pins), ancestors) in pins.entries().zip(ancestors) {
            let inherited = ancestors.into_iter().find(|id| heirs.get(id) == Some(&1));
            let first = pins.first().map(Pin::fingerprint);
            let Some(id) = inherited.or_else(|| Some(fresh(first?, generation))) else {
                continue;
            };
            new.ids
                .extend(pins.iter().map(|pin| (pin.fingerprint(), id)));
            new.names.insert(id, name.cloned());
        }
        new
    }
}

/// An id that nobody has had.
fn fresh(key: Fingerprint, generation: u64) -> PeerId {
    if generation == 0 {
        return PeerId(key.0);
    }
    let id = Sha256::new()
        .chain_update(key.0)
        .chain_update(generation.to_be_bytes());
    PeerId(id.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Fingerprint = Fingerprint([1; 32]);
    const B: Fingerprint = Fingerprint([2; 32]);
    const C: Fingerprint = Fingerprint([3; 32]);

    /// Pins with these peers, each with these keys.
    fn pinned(peers: &[&[Fingerprint]]) -> Trust {
        let one = |keys: &&[Fingerprint]| Pins::of_one_peer(keys.iter().copied().map(Pin::from));
        let mut each = peers.iter().map(|keys| one(keys).unwrap());
        let first = each.next().unwrap();
        Trust::Pins(each.fold(first, |all, one| all.and(&one).unwrap()))
    }

    /// The peers after all of these, one after the other.
    fn after(trusts: &[&[&[Fingerprint]]]) -> Peers {
        let mut peers = Peers::first(&pinned(trusts[0]));
        for (generation, trust) in (1..).zip(&trusts[1..]) {
            peers = peers.then(&pinned(trust), generation);
        }
        peers
    }

    #[test]
    fn a_peer_that_changes_its_key_stays_the_same() {
        let first = after(&[&[&[A]]]);
        let id = first.id(A);
        assert_eq!(id, Some(PeerId(A.0)));
        for order in [[A, B], [B, A]] {
            let both = after(&[&[&[A]], &[&order]]);
            assert_eq!([both.id(A), both.id(B)], [id, id]);
            let new = after(&[&[&[A]], &[&order], &[&[B]]]);
            assert_eq!([new.id(B), new.id(A)], [id, None]);
            let third = after(&[&[&[A]], &[&order], &[&[B]], &[&[B, C]], &[&[C]]]);
            assert_eq!([third.id(C), third.id(B)], [id, None]);
        }
    }

    #[test]
    fn an_id_is_nobody_elses_afterwards() {
        // The old key, pinned again for another peer, finds nothing of what was its own.
        let peers = after(&[&[&[A]], &[&[A, B]], &[&[B]], &[&[B], &[A]]]);
        assert_eq!(peers.id(B), Some(PeerId(A.0)));
        assert_ne!(peers.id(A), peers.id(B));
        // Nor does one that comes back after a time in which it was not pinned.
        let peers = after(&[&[&[A]], &[&[B]], &[&[A]]]);
        assert!(peers.id(A).is_some() && peers.id(A) != Some(PeerId(A.0)));
        assert!(!peers.may_know(PeerId(A.0)));
    }

    #[test]
    fn without_overlap_it_is_another_peer() {
        let [old, new] = [after(&[&[&[A]]]), after(&[&[&[A]], &[&[B]]])];
        assert_ne!(old.id(A), new.id(B));
        assert!(old.may_know(PeerId(A.0)) && !new.may_know(PeerId(A.0)));
    }

    #[test]
    fn merged_peers_go_on_as_the_first_and_parted_ones_as_none() {
        let apart: &[&[Fingerprint]] = &[&[A], &[B]];
        let merged = after(&[apart, &[&[B, A]]]);
        assert_eq!([merged.id(A), merged.id(B)], [Some(PeerId(B.0)); 2]);
        let parted = after(&[&[&[A, B]], apart]);
        assert_ne!(parted.id(A), parted.id(B));
        assert!(!parted.may_know(PeerId(A.0)));
        // Parted and merged with others at once: what is whole goes on.
        let both = after(&[&[&[A, B], &[C]], &[&[A, C], &[B]]]);
        assert_eq!([both.id(A), both.id(C)], [Some(PeerId(C.0)); 2]);
        assert!(both.id(B).is_some() && !both.may_know(PeerId(A.0)));
    }
}
