//! Forks: an author that used a number twice, and which of its branches everybody takes.
//!
//! A feed is a chain: every envelope names the hash of the one before. Two chains of one feed that differ anywhere part
//! at one place, where two envelopes have the same number and the same past. Such a pair proves the fork by itself. Of
//! all envelopes at one place the one with the smallest hash is taken, so whoever knows the same proofs takes the same
//! branch, in whatever order they came.

use std::collections::BTreeMap;

use crate::envelope::{Envelope, VerifiedEnvelope};
use crate::id::{Hash, Instance, Seq};
use crate::limits::FORKS_PER_FEED_MAX;

/// Where branches of a feed part: the next number, and the past that all of them continue.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ForkPlace {
    /// The number that was used more than once.
    pub seq: Seq,
    /// The hash of the envelope before it; none at the first number.
    pub prev: Option<Hash>,
}

/// Two envelopes that one author signed for one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForkProof {
    winner: VerifiedEnvelope,
    loser: VerifiedEnvelope,
}

/// Every known place of one feed where it parts, up to a limit.
///
/// Of more than that the lowest are kept, and the feed ends before the last of them: so what is taken depends on the
/// proofs alone, even of an author that forks without end.
#[derive(Clone, Debug, Default)]
pub struct Forks(BTreeMap<ForkPlace, Fork>);

#[derive(Clone, Debug)]
struct Fork {
    winner: Hash,
    /// None where there was no room to keep it.
    proof: Option<ForkProof>,
    /// What is stored is known to agree with it.
    is_settled: bool,
}

impl ForkPlace {
    /// The place that an envelope takes.
    #[must_use]
    pub fn of(envelope: &Envelope) -> Self {
        Self { seq: envelope.first(), prev: envelope.body().prev }
    }
}

impl ForkProof {
    /// The proof that these two make; none where they do not exclude each other at one place.
    #[must_use]
    pub fn new(a: VerifiedEnvelope, b: VerifiedEnvelope) -> Option<Self> {
        if !parts(&a, &b) {
            return None;
        }
        let (winner, loser) = if a.hash() < b.hash() { (a, b) } else { (b, a) };
        Some(Self { winner, loser })
    }

    /// Whose feed.
    #[must_use]
    pub fn feed(&self) -> Instance {
        self.winner.feed()
    }

    /// Where it parts.
    #[must_use]
    pub fn place(&self) -> ForkPlace {
        ForkPlace::of(&self.winner)
    }

    /// The envelope that everybody takes, of these two.
    #[must_use]
    pub fn winner(&self) -> &VerifiedEnvelope {
        &self.winner
    }

    /// The other one.
    #[must_use]
    pub fn loser(&self) -> &VerifiedEnvelope {
        &self.loser
    }

    /// Bytes of both bodies.
    #[must_use]
    pub fn bytes_len(&self) -> usize {
        self.winner.bytes().len() + self.loser.bytes().len()
    }
}

/// Whether two envelopes are different ones for one place of one feed.
#[must_use]
pub fn parts(a: &Envelope, b: &Envelope) -> bool {
    a.feed() == b.feed() && ForkPlace::of(a) == ForkPlace::of(b) && a.hash() != b.hash()
}

impl Forks {
    /// Takes a proof in.
    pub fn learn(&mut self, proof: &ForkProof) -> Learned {
        let (place, winner) = (proof.place(), proof.winner.hash());
        if self.0.get(&place).is_some_and(|known| known.winner <= winner) {
            return Learned::Nothing;
        }
        let fork = Fork { winner, proof: Some(proof.clone()), is_settled: false };
        let replaced = self.0.insert(place, fork).and_then(|old| old.proof);
        let over = if self.0.len() > FORKS_PER_FEED_MAX { self.0.pop_last() } else { None };
        match over {
            Some((dropped, _)) if dropped == place => Learned::Nothing,
            Some((dropped, fork)) => Learned::News { freed: bytes_of(fork.proof.as_ref()), dropped: Some(dropped) },
            None => Learned::News { freed: bytes_of(replaced.as_ref()), dropped: None },
        }
    }

    /// Whether two envelopes at a place would say something new, the smaller one with this hash.
    #[must_use]
    pub fn is_news(&self, place: &ForkPlace, winner: Hash) -> bool {
        match self.0.get(place) {
            Some(known) => winner < known.winner,
            None => self.0.len() < FORKS_PER_FEED_MAX || self.0.last_key_value().is_some_and(|(last, _)| place < last),
        }
    }

    /// The hash that is taken at a place, where a fork is known.
    #[must_use]
    pub fn winner(&self, place: &ForkPlace) -> Option<Hash> {
        self.0.get(place).map(|fork| fork.winner)
    }

    /// The proof of a place, where it is kept.
    #[must_use]
    pub fn proof(&self, place: &ForkPlace) -> Option<&ForkProof> {
        self.0.get(place)?.proof.as_ref()
    }

    /// Known places, in order.
    pub fn places(&self) -> impl Iterator<Item = ForkPlace> {
        self.0.keys().copied()
    }

    /// Places that what is stored may not agree with yet.
    pub fn unsettled(&self) -> impl Iterator<Item = ForkPlace> {
        self.0.iter().filter(|(_, fork)| !fork.is_settled).map(|(place, _)| *place)
    }

    /// What is stored agrees with the winner of a place.
    pub fn settle(&mut self, place: &ForkPlace, winner: Hash) {
        if let Some(fork) = self.0.get_mut(place).filter(|fork| fork.winner == winner) {
            fork.is_settled = true;
        }
    }

    /// What is stored may disagree with a place after all.
    pub fn unsettle(&mut self, place: &ForkPlace) {
        if let Some(fork) = self.0.get_mut(place) {
            fork.is_settled = false;
        }
    }

    /// Gives the envelopes of a place's proof up; only the choice is kept. What is not settled yet keeps them: the store
    /// may have to be told again.
    pub fn forget_proof(&mut self, place: &ForkPlace) {
        if let Some(fork) = self.0.get_mut(place).filter(|fork| fork.is_settled) {
            fork.proof = None;
        }
    }

    /// The first number that is not taken any more, whatever it says: its author forked too often.
    #[must_use]
    pub fn end(&self) -> Option<Seq> {
        let last = self.0.last_key_value().filter(|_| self.0.len() >= FORKS_PER_FEED_MAX);
        last.map(|(place, _)| place.seq)
    }

    /// No fork is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many places are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// What a proof told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Learned {
    /// Nothing that changes anything.
    Nothing,
    /// Something.
    News {
        /// Bytes of bodies that are not kept any more.
        freed: usize,
        /// A place that is not kept any more.
        dropped: Option<ForkPlace>,
    },
}

fn bytes_of(proof: Option<&ForkProof>) -> usize {
    proof.map_or(0, ForkProof::bytes_len)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::{Body, Post, Stamp};
    use crate::id::{Epoch, PeerId};

    fn envelope(first: u64, prev: Option<Hash>, text: &str) -> VerifiedEnvelope {
        let key = SigningKey::from_bytes(&[1; 32]);
        let feed = Instance { id: PeerId(key.verifying_key().to_bytes()), epoch: Epoch(1) };
        let at = Stamp { ms: first, counter: 0 };
        Body { feed, first: Seq(first), prev, at, posts: vec![Post::chat("general", text)] }.sign(&key)
    }

    /// The proof that two of a few bodies make at one of a few places.
    fn proof(seq: u64, prev: u8, a: u8, b: u8) -> ForkProof {
        let prev = (seq > 1).then_some(Hash([prev; 32]));
        ForkProof::new(envelope(seq, prev, &a.to_string()), envelope(seq, prev, &b.to_string())).unwrap()
    }

    fn state(forks: &Forks) -> (Vec<(ForkPlace, Option<Hash>)>, Option<Seq>) {
        (forks.places().map(|place| (place, forks.winner(&place))).collect(), forks.end())
    }

    #[test]
    fn w_14_only_two_envelopes_for_one_place_are_a_proof() {
        let past = Some(Hash([3; 32]));
        let a = envelope(2, past, "a");
        assert_eq!(ForkProof::new(a.clone(), a.clone()), None);
        assert_eq!(ForkProof::new(a.clone(), envelope(3, past, "b")), None);
        assert_eq!(ForkProof::new(a.clone(), envelope(2, Some(Hash([4; 32])), "b")), None);
        let b = envelope(2, past, "b");
        let proof = ForkProof::new(a.clone(), b.clone()).unwrap();
        assert_eq!(proof.winner().hash(), a.hash().min(b.hash()));
        assert_eq!(ForkProof::new(b, a), Some(proof));
    }

    #[test]
    fn w_14_a_feed_that_forks_too_often_ends_before_the_last_place_that_is_kept() {
        let mut forks = Forks::default();
        for seq in (1..=1_000).rev() {
            forks.learn(&proof(seq, 7, 1, 2));
            assert_eq!(forks.end().is_some(), forks.len() == FORKS_PER_FEED_MAX);
        }
        assert_eq!(forks.len(), FORKS_PER_FEED_MAX);
        assert_eq!(forks.end(), Some(Seq(FORKS_PER_FEED_MAX as u64)));
        assert_eq!(forks.learn(&proof(1_000, 7, 1, 3)), Learned::Nothing);
    }

    proptest! {
        #[test]
        fn w_14_what_is_chosen_does_not_depend_on_the_order_of_the_proofs(
            drawn in prop::collection::vec((1u64..12, 0u8..3, 0u8..4, 4u8..8), 0..40),
            turn in 0usize..40,
        ) {
            let proofs: Vec<ForkProof> = drawn.iter().map(|(seq, prev, a, b)| proof(*seq, *prev, *a, *b)).collect();
            let (mut forks, mut turned) = (Forks::default(), Forks::default());
            for proof in &proofs {
                let is_news = forks.is_news(&proof.place(), proof.winner().hash());
                prop_assert_eq!(forks.learn(proof) != Learned::Nothing, is_news);
            }
            let turn = turn.min(proofs.len());
            for proof in proofs[turn..].iter().rev().chain(&proofs[..turn]) {
                turned.learn(proof);
            }
            prop_assert_eq!(state(&forks), state(&turned));
            for place in forks.places() {
                let hashes = proofs.iter().filter(|proof| proof.place() == place).map(|proof| proof.winner().hash());
                prop_assert_eq!(forks.winner(&place), hashes.min());
            }
        }
    }
}
