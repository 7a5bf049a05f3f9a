//! What is held of one feed: which numbers, and the ends of its hash chain.

mod runs;

pub use runs::{Clash, Fit, Run, Runs, StoredFeed};

use crate::envelope::{Envelope, Stamp};
use crate::id::{Hash, Seq};

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

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.0.iter().copied()
    }
}

impl Tip {
    /// The end behind `envelope`.
    #[must_use]
    pub fn after(envelope: &Envelope) -> Self {
        Self { head: envelope.last(), hash: Some(envelope.hash()), at: envelope.body().last_at() }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

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
