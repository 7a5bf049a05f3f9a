//! What is missing of a feed, and in which order it is asked for: what comes next first, as long as that is little;
//! else the newest first, then backwards in chunks.

use super::Mesh;
use super::feeds::FeedState;
use crate::feed::IntervalSet;
use crate::id::{FeedId, LinkId, Seq};
use crate::limits::{RANGES_PER_WANT_MAX, RUNS_PER_FEED_MAX};
use crate::tree::LinkFeed;

/// How far a question reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reach {
    /// To everything that the other side holds.
    All,
    /// Up to our own head: what is above is on its way.
    BelowHead,
}

impl FeedState {
    /// The numbers that the other side holds and that are wanted here: from the higher floor to its head.
    pub(super) fn offered(&self, held: &LinkFeed, reach: Reach) -> (Seq, Seq) {
        let from = held.floor.max(self.base).max(Seq(1));
        // What is of another branch cannot be used, and nothing is taken where a feed ends.
        let end = self.forks.end().map_or(held.head, |end| held.head.min(Seq(end.0.saturating_sub(1))));
        // Nor what does not join where every post has to follow the one before.
        let is_apart = held.is_torn || self.order_end().is_some_and(|end| end < from);
        match reach {
            Reach::All | Reach::BelowHead if is_apart => (from, Seq(0)),
            Reach::All => (from, end),
            Reach::BelowHead => (from, end.min(self.accepted.head())),
        }
    }

    /// Whether the other side holds something that is missing here.
    pub(super) fn lacks(&self, held: &LinkFeed, reach: Reach) -> bool {
        let (from, to) = self.offered(held, reach);
        from <= to && !self.accepted.contains(from, to)
    }

    /// What to ask the other side for, in this order, at most as many ranges as one question may have. More than
    /// `newest_first` posts behind, the newest come first.
    pub(super) fn question(&self, held: &LinkFeed, reach: Reach, newest_first: u64) -> Vec<(Seq, Seq)> {
        let (from, to) = self.offered(held, reach);
        let head = self.accepted.head();
        let here = self.here();
        let (order_end, is_full) = (self.order_end(), self.accepted.len() >= RUNS_PER_FEED_MAX);
        if is_full || order_end.is_some() {
            // Where no run may begin, only what continues one can be taken.
            let mut gaps = here.gaps(from, to, usize::MAX);
            let continues = |first: Seq| first.0 == 1 || self.accepted.run_with(Seq(first.0 - 1)).is_some();
            gaps.retain(|(first, _)| !is_full || continues(*first));
            gaps.retain(|(first, _)| order_end.is_none_or(|end| *first <= end));
            gaps.truncate(RANGES_PER_WANT_MAX);
            return gaps;
        }
        let above = here.gaps(from.max(head.next()), to, usize::MAX);
        let below = here.gaps(from, to.min(head), usize::MAX);
        let is_little = above.first().is_none_or(|(first, _)| to.0 - first.0 < newest_first);
        let mut ranges = Vec::new();
        let chunk = (newest_first / 2).max(1);
        if is_little {
            ranges.extend(above.into_iter().take(RANGES_PER_WANT_MAX));
        } else {
            push_chunks(&mut ranges, &above, chunk);
        }
        push_chunks(&mut ranges, &below, chunk);
        ranges
    }

    /// Whom this feed is asked of, and whether something of the question is still to come.
    pub(super) fn still_asked(&mut self) -> Option<(LinkId, bool)> {
        let asked = self.asked.as_mut()?;
        let (accepted, base) = (&self.accepted, self.base);
        asked.ranges.retain(|(from, to)| *to >= base && !accepted.contains((*from).max(base), *to));
        Some((asked.link, !asked.ranges.is_empty()))
    }

    /// What is accepted or waits beyond a gap.
    fn here(&self) -> IntervalSet {
        let mut here = self.accepted.held();
        for envelope in self.waiting.values() {
            here.insert(envelope.first(), envelope.last());
        }
        here
    }
}

impl Mesh {
    /// Posts that neighbours hold, and that are wanted and not here yet.
    pub(super) fn missing_posts(&self) -> u64 {
        self.behind.iter().map(|feed| self.offered_within(feed, Seq(u64::MAX))).fold(0, u64::saturating_add)
    }

    /// Posts up to `to` that neighbours hold, and that are wanted and not here yet.
    fn offered_within(&self, id: &FeedId, to: Seq) -> u64 {
        let Some(state) = self.feeds.get(id) else { return 0 };
        let mut offered = IntervalSet::default();
        for held in self.up_links().filter_map(|link| link.feeds.get(id)) {
            let (from, head) = state.offered(held, Reach::All);
            offered.insert(from, head.min(to));
        }
        offered.runs().map(|(from, to)| state.stored.missing_within(from, to)).fold(0, u64::saturating_add)
    }
}

/// Cuts gaps into chunks, the newest first.
fn push_chunks(ranges: &mut Vec<(Seq, Seq)>, gaps: &[(Seq, Seq)], chunk: u64) {
    for (first, last) in gaps.iter().rev() {
        let mut end = *last;
        while end >= *first && ranges.len() < RANGES_PER_WANT_MAX {
            let begin = Seq((end.0 + 1).saturating_sub(chunk)).max(*first);
            ranges.push((begin, end));
            end = Seq(begin.0 - 1);
        }
    }
}
