//! The runs of one feed that are held: normally one, more while older posts are fetched behind newer ones.

use super::{IntervalSet, Tip};
use crate::envelope::{Envelope, Stamp};
use crate::id::{Hash, Instance, Seq};

/// Consecutive envelopes of one feed, each of which continues the one before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Run {
    /// The first number.
    pub first: Seq,
    /// The hash that the first envelope names as its past; none where `first` is 1.
    pub prev: Option<Hash>,
    /// The first post's stamp, which what comes before must be older than; nothing where `first` is 1.
    pub first_at: Stamp,
    /// The end.
    pub tip: Tip,
}

/// The runs of one feed, in order and separate: where two touch they are one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Runs(Vec<Run>);

/// One feed as the store holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFeed {
    /// Author and epoch.
    pub feed: Instance,
    /// The lowest number that is still wanted: what the store dropped for its age or its size lies below.
    pub base: Seq,
    /// What is held.
    pub runs: Runs,
}

/// How an envelope fits to the runs of its feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fit {
    /// It is the first one, or the next one of a run.
    Extends,
    /// Something before it is missing: it begins a run of its own, if it may.
    Beyond,
    /// All of it is held.
    Held,
    /// It claims numbers that are held, or a place beside them, with another past: a fork, or damage.
    Conflicts,
}

/// Where an envelope and the runs of its feed cannot both be true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Clash {
    /// It claims some of this run's numbers and others that are not its.
    Overlaps(Run),
    /// It comes right behind this run and names another past, or an older time.
    Behind(Run),
    /// It comes right before this run, which names another past, or an older time.
    Before(Run),
}

impl Run {
    fn of(envelope: &Envelope) -> Self {
        let body = envelope.body();
        // Nothing comes before number 1, so nothing must be older.
        let first_at = if body.prev.is_some() { body.at } else { Stamp::default() };
        Self { first: body.first, prev: body.prev, first_at, tip: Tip::after(envelope) }
    }

    /// How many posts are in it.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.tip.head.0 - self.first.0 + 1
    }

    fn is_continued_by(&self, next: &Self) -> bool {
        next.prev == self.tip.hash && next.first_at > self.tip.at
    }
}

impl Clash {
    /// The run beside which the envelope cannot be true.
    #[must_use]
    pub fn run(&self) -> &Run {
        match self {
            Self::Overlaps(run) | Self::Behind(run) | Self::Before(run) => run,
        }
    }
}

impl StoredFeed {
    /// Where what is held ends being of the branch that is taken at `place`: there, where another branch is held; where a
    /// run begins behind it, if posts have to come in their order; and at `end`. None where all that is held stays.
    #[must_use]
    pub fn parted_from(&self, place: Seq, has_lost: bool, is_ordered: bool, end: Option<Seq>) -> Option<Seq> {
        let is_apart = |run: &&Run| is_ordered && run.first > place;
        let apart = self.runs.iter().find(is_apart).map(|run| run.first);
        let ends = [has_lost.then_some(place), apart, end];
        ends.into_iter().flatten().min()
    }
}

impl Runs {
    /// Runs that are in order, separate and not empty; none where they are not.
    #[must_use]
    pub fn of(runs: Vec<Run>) -> Option<Self> {
        let is_whole = |run: &Run| run.first > Seq(0) && run.first <= run.tip.head && run.tip.hash.is_some();
        let are_separate = runs.windows(2).all(|pair| pair[0].tip.head.next() < pair[1].first);
        (runs.iter().all(is_whole) && are_separate).then_some(Self(runs))
    }

    /// From the lowest to the highest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.0.iter()
    }

    /// How many runs there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The highest run: the one that is announced.
    #[must_use]
    pub fn top(&self) -> Option<&Run> {
        self.0.last()
    }

    /// The end of the highest run; the beginning of everything where nothing is held.
    #[must_use]
    pub fn tip(&self) -> Tip {
        self.top().map(|run| run.tip).unwrap_or_default()
    }

    /// The highest number; 0 where nothing is held.
    #[must_use]
    pub fn head(&self) -> Seq {
        self.top().map(|run| run.tip.head).unwrap_or_default()
    }

    /// The first number of the highest run; 1 where nothing is held.
    #[must_use]
    pub fn floor(&self) -> Seq {
        self.top().map_or(Seq(1), |run| run.first)
    }

    /// How many numbers are held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.iter().map(Run::count).sum()
    }

    /// How many numbers of `from..=to` are held.
    #[must_use]
    pub fn count_within(&self, from: Seq, to: Seq) -> u64 {
        let within = |run: &Run| (run.tip.head.min(to).0 + 1).saturating_sub(run.first.max(from).0);
        self.0.iter().map(within).sum()
    }

    /// How many numbers of `from..=to` are not held.
    #[must_use]
    pub fn missing_within(&self, from: Seq, to: Seq) -> u64 {
        (to.0 + 1).saturating_sub(from.0) - self.count_within(from, to)
    }

    /// Whether all of `from..=to` is held.
    #[must_use]
    pub fn contains(&self, from: Seq, to: Seq) -> bool {
        self.run_with(from).is_some_and(|run| to <= run.tip.head)
    }

    /// The run that holds a number.
    #[must_use]
    pub fn run_with(&self, seq: Seq) -> Option<&Run> {
        self.0.get(self.place_of(seq)).filter(|run| run.first <= seq)
    }

    /// The numbers that are held.
    #[must_use]
    pub fn held(&self) -> IntervalSet {
        let mut held = IntervalSet::default();
        self.0.iter().for_each(|run| held.insert(run.first, run.tip.head));
        held
    }

    /// Where an envelope and what is held cannot both be true.
    #[must_use]
    pub fn clash(&self, envelope: &Envelope) -> Option<Clash> {
        let (place, new) = (self.place_of(envelope.first()), Run::of(envelope));
        if let Some(run) = self.0.get(place).filter(|run| run.first <= new.tip.head) {
            let is_held = run.first <= new.first && new.tip.head <= run.tip.head;
            return (!is_held).then_some(Clash::Overlaps(*run));
        }
        if let Some(run) = self.touching_below(place, new.first).filter(|run| !run.is_continued_by(&new)) {
            return Some(Clash::Behind(*run));
        }
        let above = self.0.get(place).filter(|run| run.first == new.tip.head.next());
        above.filter(|run| !new.is_continued_by(run)).map(|run| Clash::Before(*run))
    }

    /// How an envelope fits to what is held.
    #[must_use]
    pub fn fit(&self, envelope: &Envelope) -> Fit {
        if self.clash(envelope).is_some() {
            return Fit::Conflicts;
        }
        let (place, first) = (self.place_of(envelope.first()), envelope.first());
        if self.0.get(place).is_some_and(|run| run.first <= first) {
            return Fit::Held;
        }
        let is_next = first == Seq(1) || self.touching_below(place, first).is_some();
        if is_next { Fit::Extends } else { Fit::Beyond }
    }

    /// Takes an envelope in: at the end of a run, or as a run of its own. Where it is held, or conflicts, nothing
    /// changes. Gives back how it fitted.
    pub fn add(&mut self, envelope: &Envelope) -> Fit {
        let fit = self.fit(envelope);
        if fit == Fit::Held || fit == Fit::Conflicts {
            return fit;
        }
        let (mut place, tip) = (self.place_of(envelope.first()), Tip::after(envelope));
        if self.touching_below(place, envelope.first()).is_some() {
            place -= 1;
            self.0[place].tip = tip;
        } else {
            self.0.insert(place, Run::of(envelope));
        }
        // That they continue each other was part of the fit.
        if let Some(above) = self.0.get(place + 1).copied().filter(|above| above.first == tip.head.next()) {
            self.0[place].tip = above.tip;
            self.0.remove(place + 1);
        }
        fit
    }

    /// Drops everything before `first`, which is held and the lowest envelope from now on.
    pub fn cut_before(&mut self, first: &Envelope) {
        self.0.retain(|run| run.tip.head >= first.first());
        if let Some(run) = self.0.first_mut().filter(|run| run.first < first.first()) {
            *run = Run { tip: run.tip, ..Run::of(first) };
        }
    }

    /// Drops everything from `from` on, where an envelope begins. `before` is the end of what comes right before it.
    pub fn cut_from(&mut self, from: Seq, before: Tip) {
        self.0.retain(|run| run.first < from);
        if let Some(run) = self.0.last_mut().filter(|run| run.tip.head >= from) {
            run.tip = before;
        }
    }

    /// The place of the lowest run that does not end before `seq`.
    fn place_of(&self, seq: Seq) -> usize {
        self.0.partition_point(|run| run.tip.head < seq)
    }

    fn touching_below(&self, place: usize, first: Seq) -> Option<&Run> {
        self.0.get(place.checked_sub(1)?).filter(|run| run.tip.head.next() == first)
    }
}

#[cfg(test)]
mod tests;
