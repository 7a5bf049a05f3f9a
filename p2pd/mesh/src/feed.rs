//! What is held of one feed: which numbers, and the end of its hash chain.

use crate::envelope::{Envelope, Stamp};
use crate::id::{Hash, Instance, Seq};

/// A set of numbers as sorted, separate, inclusive runs. Exact: it never forgets and never guesses.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IntervalSet(Vec<(Seq, Seq)>);

/// The verified end of a feed: what the next envelope must continue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tip {
    /// The last number; 0 where there is none.
    pub head: Seq,
    /// The hash of the last envelope's body.
    pub hash: Option<Hash>,
    /// The last post's stamp.
    pub at: Stamp,
}

/// One feed as the store gives it back at a start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFeed {
    /// Author and epoch.
    pub feed: Instance,
    /// Held numbers.
    pub held: IntervalSet,
    /// The end of the run that begins at the floor.
    pub tip: Tip,
}

/// How an envelope fits to the end of its feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is the next one.
    Extends,
    /// Something before it is missing.
    Beyond,
    /// All of it is behind the end.
    Held,
    /// It claims numbers that are held, or its place, with another past: a fork, or damage.
    Conflicts,
}

impl IntervalSet {
    /// A set of one run.
    #[must_use]
    pub fn of(from: Seq, to: Seq) -> Self {
        let mut set = Self::default();
        set.insert(from, to);
        set
    }

    /// Adds the run `from..=to`.
    pub fn insert(&mut self, from: Seq, to: Seq) {
        if from > to {
            return;
        }
        // Runs that touch the new one, also end to end, melt into it.
        let begin = self.0.partition_point(|(_, end)| end.next() < from);
        let end = self.0.partition_point(|(start, _)| *start <= to.next());
        let merged = match self.0.get(begin..end) {
            Some([first, .., last]) => (first.0.min(from), last.1.max(to)),
            Some([only]) => (only.0.min(from), only.1.max(to)),
            Some([]) | None => (from, to),
        };
        self.0.splice(begin..end, [merged]);
    }

    /// Drops everything from `from` on.
    pub fn cut(&mut self, from: Seq) {
        self.0.retain(|(start, _)| *start < from);
        if let Some((_, end)) = self.0.last_mut() {
            *end = (*end).min(Seq(from.0.saturating_sub(1)));
        }
    }

    /// Whether all of `from..=to` is in it.
    #[must_use]
    pub fn contains(&self, from: Seq, to: Seq) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(at).is_some_and(|(start, end)| *start <= from && to <= *end)
    }

    /// Whether any of `from..=to` is in it.
    #[must_use]
    pub fn intersects(&self, from: Seq, to: Seq) -> bool {
        let at = self.0.partition_point(|(_, end)| *end < from);
        self.0.get(at).is_some_and(|(start, _)| *start <= to)
    }

    /// The runs of `from..=to` that are not in it, in order, at most `max`.
    #[must_use]
    pub fn gaps(&self, from: Seq, to: Seq, max: usize) -> Vec<(Seq, Seq)> {
        let mut gaps = Vec::new();
        let mut next = from;
        for (start, end) in self.0.iter().filter(|(_, end)| *end >= from) {
            if next > to || gaps.len() >= max {
                return gaps;
            }
            if *start > next {
                gaps.push((next, to.min(Seq(start.0 - 1))));
            }
            next = next.max(end.next());
        }
        if next <= to && gaps.len() < max {
            gaps.push((next, to));
        }
        gaps
    }

    /// The lowest number.
    #[must_use]
    pub fn first(&self) -> Option<Seq> {
        self.0.first().map(|(start, _)| *start)
    }

    /// The highest number.
    #[must_use]
    pub fn last(&self) -> Option<Seq> {
        self.0.last().map(|(_, end)| *end)
    }

    /// How many numbers are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(|(start, end)| end.0 - start.0 + 1).sum()
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.0.iter().copied()
    }
}

impl Tip {
    /// How `envelope` fits behind this end.
    #[must_use]
    pub fn fit(&self, envelope: &Envelope) -> Fit {
        let next = self.head.next();
        if envelope.last() < next {
            return Fit::Held;
        }
        if envelope.first() > next {
            return Fit::Beyond;
        }
        let continues = envelope.first() == next && envelope.body().prev == self.hash;
        // Strictly later, also than a first post's nothing.
        let later = self.hash.is_none() || envelope.body().at > self.at;
        if continues && later { Fit::Extends } else { Fit::Conflicts }
    }

    /// The end behind `envelope`.
    #[must_use]
    pub fn after(envelope: &Envelope) -> Self {
        Self { head: envelope.last(), hash: Some(envelope.hash()), at: envelope.body().last_at() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ed25519_dalek::SigningKey;
    use proptest::prelude::*;

    use super::*;
    use crate::envelope::{Body, Post};
    use crate::id::{Epoch, PeerId};

    fn envelope(first: u64, count: usize, prev: Option<Hash>, ms: u64) -> Envelope {
        let key = SigningKey::from_bytes(&[1; 32]);
        let body = Body {
            feed: Instance { id: PeerId(key.verifying_key().to_bytes()), epoch: Epoch(1) },
            first: Seq(first),
            prev,
            at: Stamp { ms, counter: 0 },
            posts: vec![Post::chat("general", "x"); count],
        };
        Envelope::clone(&body.sign(&key))
    }

    #[test]
    fn an_envelope_extends_only_the_past_it_names() {
        let first = envelope(1, 2, None, 10);
        let tip = Tip::after(&first);
        assert_eq!(Tip::default().fit(&first), Fit::Extends);
        assert_eq!(tip.fit(&envelope(3, 1, Some(first.hash()), 11)), Fit::Extends);
        assert_eq!(tip.fit(&first), Fit::Held);
        assert_eq!(tip.fit(&envelope(4, 1, Some(first.hash()), 11)), Fit::Beyond);
        assert_eq!(tip.fit(&envelope(3, 1, Some(Hash([9; 32])), 11)), Fit::Conflicts);
        assert_eq!(tip.fit(&envelope(2, 2, Some(first.hash()), 11)), Fit::Conflicts);
    }

    #[test]
    fn time_never_stands_still_in_a_feed() {
        let first = envelope(1, 2, None, 10);
        // The second post of the first envelope has counter 1.
        assert_eq!(Tip::after(&first).fit(&envelope(3, 1, Some(first.hash()), 10)), Fit::Conflicts);
        assert_eq!(Tip::after(&first).at, Stamp { ms: 10, counter: 1 });
    }

    #[test]
    fn gaps_of_an_empty_set_are_everything() {
        assert_eq!(IntervalSet::default().gaps(Seq(1), Seq(9), 4), [(Seq(1), Seq(9))]);
        assert_eq!(IntervalSet::of(Seq(1), Seq(9)).gaps(Seq(1), Seq(9), 4), []);
    }

    proptest! {
        #[test]
        fn an_interval_set_is_a_set(runs in prop::collection::vec((1u64..60, 0u64..6), 0..30), from in 1u64..60, len in 0u64..20) {
            let mut set = IntervalSet::default();
            let mut model = BTreeSet::new();
            for (start, more) in runs {
                set.insert(Seq(start), Seq(start + more));
                model.extend(start..=start + more);
            }
            let to = from + len;
            let missing: Vec<u64> = (from..=to).filter(|n| !model.contains(n)).collect();
            let gaps: Vec<u64> = set.gaps(Seq(from), Seq(to), 100).iter().flat_map(|(a, b)| a.0..=b.0).collect();
            prop_assert_eq!(&gaps, &missing);
            prop_assert_eq!(set.contains(Seq(from), Seq(to)), missing.is_empty());
            prop_assert_eq!(set.intersects(Seq(from), Seq(to)), missing.len() as u64 != len + 1);
            prop_assert_eq!(set.count(), model.len() as u64);
            prop_assert_eq!(set.first().map(|s| s.0), model.first().copied());
            prop_assert_eq!(set.last().map(|s| s.0), model.last().copied());
            let runs: Vec<_> = set.runs().collect();
            prop_assert!(runs.windows(2).all(|pair| pair[0].1.0 + 1 < pair[1].0.0), "runs that touch are one");
        }
    }
}
