//! Whose keys are whose: what the core knows a peer as, whichever of its keys it uses.

use aws_lc_rs::digest;
use countersign_core::PeerId;

use crate::fingerprint::Fingerprint;
use crate::pin::Pin;
use crate::trust::Trust;

/// The peers that some trust lets in, and the ids under which their sessions are held.
///
/// An id is given to a peer once and is nobody else's after that: it does not follow from a key
/// alone, since a key may be one peer's today and another's when both have changed hands.
#[derive(Clone, Debug)]
pub(crate) enum Peers {
    /// Every pinned key, in the order of the pins, and whose it is.
    Pinned(Vec<(Fingerprint, PeerId)>),
    /// Whoever an authority has certified: each key is a peer of its own. Counted from this
    /// generation on.
    Certified(u64),
}

impl Peers {
    /// Of the first trust there is.
    pub(crate) fn first(trust: &Trust) -> Self {
        Self::of(trust, 0, |_| None)
    }

    /// Of the trust that follows on this one. A peer goes on as the one that it has a key in common
    /// with; of several, which are merged by this, as the one whose key is pinned first. A peer that
    /// is parted goes on as none of its parts: what was whose can't be told.
    pub(crate) fn then(&self, trust: &Trust, generation: u64) -> Self {
        if let (Self::Certified(_), Trust::Authority(_)) = (self, trust) {
            return self.clone();
        }
        let old = match self {
            Self::Pinned(old) => old.as_slice(),
            Self::Certified(_) => &[],
        };
        let was = |key: Fingerprint| old.iter().find(|(its, _)| *its == key).map(|(_, id)| *id);
        let groups = groups(trust);
        let heirs = |id| {
            let is_heir = |group: &&Vec<Fingerprint>| group.iter().any(|key| was(*key) == Some(id));
            groups.iter().filter(is_heir).count()
        };
        Self::of(trust, generation, |group| {
            let ancestors = group.iter().filter_map(|key| was(*key));
            ancestors.into_iter().find(|id| heirs(*id) == 1)
        })
    }

    fn of(
        trust: &Trust,
        generation: u64,
        inherited: impl Fn(&[Fingerprint]) -> Option<PeerId>,
    ) -> Self {
        if matches!(trust, Trust::Authority(_)) {
            return Self::Certified(generation);
        }
        let groups = groups(trust);
        let keys = groups.iter().flat_map(|group| {
            let first = group.first().copied();
            let id = inherited(group).or_else(|| Some(fresh(first?, generation)));
            group.iter().filter_map(move |key| Some((*key, id?)))
        });
        Self::Pinned(keys.collect())
    }

    /// What the peer with this key is known as.
    pub(crate) fn id(&self, key: Fingerprint) -> Option<PeerId> {
        match self {
            Self::Pinned(keys) => keys.iter().find(|(its, _)| *its == key).map(|(_, id)| *id),
            Self::Certified(since) => Some(fresh(key, *since)),
        }
    }

    /// Whether a peer known as this may be let in, with one of its keys.
    pub(crate) fn may_know(&self, id: PeerId) -> bool {
        match self {
            Self::Pinned(keys) => keys.iter().any(|(_, its)| *its == id),
            // Whom an authority certifies shows only when a certificate is there.
            Self::Certified(_) => true,
        }
    }
}

/// The keys of each pinned peer.
fn groups(trust: &Trust) -> Vec<Vec<Fingerprint>> {
    match trust {
        Trust::Pins(pins) => pins
            .peers()
            .map(|pins| pins.iter().map(Pin::fingerprint).collect())
            .collect(),
        Trust::Authority(_) => Vec::new(),
    }
}

/// An id that nobody has had.
fn fresh(key: Fingerprint, generation: u64) -> PeerId {
    if generation == 0 {
        return PeerId(key.0);
    }
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&key.0);
    context.update(&generation.to_be_bytes());
    let mut id = [0; 32];
    id.copy_from_slice(context.finish().as_ref());
    PeerId(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pin::Pins;

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
