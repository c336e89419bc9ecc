//! The ids of peers in the core, which do not depend on the key that a peer uses.

use std::collections::HashMap;
use std::sync::Arc;

use countersign_core::PeerId;
use sha2::{Digest, Sha256};

use crate::fingerprint::Fingerprint;
use crate::pin::Pin;
use crate::pins::Pins;
use crate::trust::Trust;

/// The peers that a trust accepts, and the ids under which their sessions are held.
///
/// An id is assigned to one peer and never to another: it is not derived from a key alone, since a
/// key may be pinned for one peer today and for another one later.
#[derive(Clone, Debug)]
pub(crate) enum Peers {
    Pinned(Pinned),
    /// Peers that an authority has certified, each key a separate peer, since this generation.
    Certified(u64),
}

/// Peers whose keys are known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pinned {
    /// The peer of each key.
    ids: HashMap<Fingerprint, PeerId>,
    /// All peers, with their names.
    names: HashMap<PeerId, Option<Arc<str>>>,
}

impl Peers {
    /// Makes the peers of the initial trust.
    pub(crate) fn first(trust: &Trust) -> Self {
        match trust {
            Trust::Authority(_) => Self::Certified(0),
            Trust::Pins(pins) => Self::Pinned(Pinned::default().replaced_by(pins, 0)),
        }
    }

    /// Makes the peers of the trust that replaces this one. A peer keeps the id of the old peer
    /// that it shares a key with; if this merges several, that of the one whose key is pinned
    /// first. The parts of a peer that is split get new ids, since it is unknown which of them was
    /// the old peer.
    pub(crate) fn replaced_by(&self, trust: &Trust, generation: u64) -> Self {
        match (self, trust) {
            (Self::Certified(since), Trust::Authority(_)) => Self::Certified(*since),
            (Self::Pinned(_), Trust::Authority(_)) => Self::Certified(generation),
            (Self::Certified(_), Trust::Pins(pins)) => {
                Self::Pinned(Pinned::default().replaced_by(pins, generation))
            }
            (Self::Pinned(old), Trust::Pins(pins)) => {
                Self::Pinned(old.replaced_by(pins, generation))
            }
        }
    }

    /// Returns the id of the peer with this key.
    pub(crate) fn id(&self, key: Fingerprint) -> Option<PeerId> {
        match self {
            Self::Pinned(pinned) => pinned.ids.get(&key).copied(),
            Self::Certified(since) => Some(new_id(key, *since)),
        }
    }

    /// Returns the name of the peer with this key.
    pub(crate) fn name(&self, key: Fingerprint) -> Option<Arc<str>> {
        match self {
            Self::Pinned(pinned) => pinned.names.get(pinned.ids.get(&key)?)?.clone(),
            Self::Certified(_) => None,
        }
    }

    /// Whether the peer with this id may be accepted, with one of its keys.
    pub(crate) fn may_accept(&self, id: PeerId) -> bool {
        match self {
            Self::Pinned(pinned) => pinned.names.contains_key(&id),
            // Whether the authority has certified it is known only when it presents a certificate.
            Self::Certified(_) => true,
        }
    }
}

impl Pinned {
    fn replaced_by(&self, pins: &Pins, generation: u64) -> Self {
        // The old peers that each new one shares keys with, and for each old one the number of new
        // ones that do.
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
            let Some(id) = inherited.or_else(|| Some(new_id(first?, generation))) else {
                continue;
            };
            new.ids
                .extend(pins.iter().map(|pin| (pin.fingerprint(), id)));
            new.names.insert(id, name.cloned());
        }
        new
    }
}

/// Makes an id that no other peer has had.
fn new_id(key: Fingerprint, generation: u64) -> PeerId {
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

    /// Makes pins of these peers, each with these keys.
    fn pinned(peers: &[&[Fingerprint]]) -> Trust {
        let one = |keys: &&[Fingerprint]| Pins::of_one_peer(keys.iter().copied().map(Pin::from));
        let mut each = peers.iter().map(|keys| one(keys).unwrap());
        let first = each.next().unwrap();
        Trust::Pins(each.fold(first, |all, one| all.and(&one).unwrap()))
    }

    /// Returns the peers after all of these, one after the other.
    fn after(trusts: &[&[&[Fingerprint]]]) -> Peers {
        let mut peers = Peers::first(&pinned(trusts[0]));
        for (generation, trust) in (1..).zip(&trusts[1..]) {
            peers = peers.replaced_by(&pinned(trust), generation);
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
        // The old key, pinned again for another peer, does not get the old id.
        let peers = after(&[&[&[A]], &[&[A, B]], &[&[B]], &[&[B], &[A]]]);
        assert_eq!(peers.id(B), Some(PeerId(A.0)));
        assert_ne!(peers.id(A), peers.id(B));
        // Nor does one that is pinned again after it was removed.
        let peers = after(&[&[&[A]], &[&[B]], &[&[A]]]);
        assert!(peers.id(A).is_some() && peers.id(A) != Some(PeerId(A.0)));
        assert!(!peers.may_accept(PeerId(A.0)));
    }

    #[test]
    fn without_overlap_it_is_another_peer() {
        let [old, new] = [after(&[&[&[A]]]), after(&[&[&[A]], &[&[B]]])];
        assert_ne!(old.id(A), new.id(B));
        assert!(old.may_accept(PeerId(A.0)) && !new.may_accept(PeerId(A.0)));
    }

    #[test]
    fn merged_peers_go_on_as_the_first_and_parted_ones_as_none() {
        let apart: &[&[Fingerprint]] = &[&[A], &[B]];
        let merged = after(&[apart, &[&[B, A]]]);
        assert_eq!([merged.id(A), merged.id(B)], [Some(PeerId(B.0)); 2]);
        let parted = after(&[&[&[A, B]], apart]);
        assert_ne!(parted.id(A), parted.id(B));
        assert!(!parted.may_accept(PeerId(A.0)));
        // Split and merged with others at once: the peer that is not split keeps its id.
        let both = after(&[&[&[A, B], &[C]], &[&[A, C], &[B]]]);
        assert_eq!([both.id(A), both.id(C)], [Some(PeerId(C.0)); 2]);
        assert!(both.id(B).is_some() && !both.may_accept(PeerId(A.0)));
    }
}
