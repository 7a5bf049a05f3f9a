//! Every feed: its runs, what waits beyond a gap, who brings it, and the newest envelopes in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::search::Search;
use crate::envelope::{Envelope, RawEnvelope, VerifiedEnvelope};
use crate::feed::{Fit, Runs, StoredFeed, Tip};
use crate::fork::{ForkPlace, ForkProof, Forks};
use crate::id::{Epoch, FeedId, INTEGER_END, Instance, LinkId, PeerId, Seq};
use crate::limits::{
    ENVELOPES_FRAME_BYTES, ENVELOPES_PER_FRAME_MAX, FORK_PROOFS_BYTES_MAX, REORDER_BYTES_MAX,
    REORDER_BYTES_PER_FEED_MAX, RUNS_PER_FEED_MAX, TAIL_BYTES_MAX,
};
use crate::status::Count;
use crate::sync::Sum;
use crate::time::Mono;
use crate::wire::message::Digest;

/// All feeds.
#[derive(Clone, Debug, Default)]
pub(super) struct Feeds {
    map: BTreeMap<FeedId, FeedState>,
    by_instance: BTreeMap<Instance, FeedId>,
    sum: Sum,
    pub(super) tail: Tail,
    /// Posts stored, of all feeds.
    pub(super) posts: u64,
    /// Bytes of the proofs of forks that are kept.
    pub(super) fork_bytes: usize,
    /// Posts missing between base and head, of all feeds. What feeds claim adds up to more than 64 bits.
    holes: u128,
    waiting_bytes: usize,
    /// The most runs of a feed that the store told of: what is there stays, however many they are.
    runs_found: usize,
}

/// One feed.
#[derive(Clone, Debug)]
pub(super) struct FeedState {
    /// Author and epoch; none while only an announcement told of it.
    pub(super) feed: Option<Instance>,
    /// The lowest number that is still wanted.
    pub(super) base: Seq,
    /// What is stored.
    pub(super) stored: Runs,
    /// The same, and what is verified and on its way into the store.
    pub(super) accepted: Runs,
    /// When it was first heard of.
    pub(super) born: Mono,
    /// Links between here and the author, for the newest envelope.
    pub(super) hop: u64,
    /// When its head last rose.
    pub(super) risen: Mono,
    /// Who pushes it to us.
    pub(super) provider: Option<LinkId>,
    /// Whom we asked for what is missing.
    pub(super) asked: Option<Asked>,
    /// What was asked for last: over a slow line the answer comes when nobody waits for it any more.
    pub(super) expected: Vec<(Seq, Seq)>,
    /// How often everybody was asked in vain since the last step forward.
    pub(super) laps: u32,
    /// Who was asked in vain since the last step forward.
    pub(super) tried: BTreeSet<LinkId>,
    /// Where it parts, as far as that is proven.
    pub(super) forks: Forks,
    /// A search for the place where a link's branch parts from ours. Rare and large, and a stranger can name many feeds.
    pub(super) search: Option<Box<Search>>,
    /// The lowest place where it parts that is wanted, and held here or by a neighbour.
    pub(super) order_place: Option<Seq>,
    /// Verified envelopes beyond a gap, by their first number.
    pub(super) waiting: BTreeMap<Seq, VerifiedEnvelope>,
}

/// A question on its way.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// Whom.
    pub(super) link: LinkId,
    /// First and last numbers of what is still to come, at most as many as one `want` may have.
    pub(super) ranges: Vec<(Seq, Seq)>,
    /// It shall go on pushing.
    pub(super) push: bool,
    /// When the question went out; none while it waits for its turn.
    pub(super) sent: Option<Mono>,
}

/// What a change did to the run that is announced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Floor {
    /// It begins where it began.
    Stayed,
    /// It begins somewhere else: whoever was told must hear of it.
    Moved,
}

/// The newest envelopes, so that live links need no disk.
#[derive(Clone, Debug, Default)]
pub(super) struct Tail {
    by_place: BTreeMap<(FeedId, Seq), RawEnvelope>,
    order: VecDeque<(FeedId, Seq)>,
    bytes: usize,
}

impl Feeds {
    pub(super) fn new(stored: Vec<StoredFeed>, forks: &[ForkProof]) -> Self {
        let mut feeds = Self::default();
        for stored in stored {
            feeds.replace(stored, Mono(0));
        }
        for proof in forks {
            let state = feeds.entry(proof.feed().feed_id(), Some(proof.feed()), Mono(0));
            state.forks.learn(proof);
            state.forks.settle(&proof.place(), proof.winner().hash());
            feeds.fork_bytes += proof.bytes_len();
            if feeds.fork_bytes > FORK_PROOFS_BYTES_MAX {
                feeds.forget_proof(&proof.feed().feed_id(), &proof.place());
            }
        }
        feeds
    }

    /// What all that is stored comes down to.
    pub(super) fn digest(&self) -> Digest {
        let holes = u64::try_from(self.holes).unwrap_or(u64::MAX).min(INTEGER_END - 1);
        Digest { holes, ..self.sum.digest() }
    }

    pub(super) fn get(&self, id: &FeedId) -> Option<&FeedState> {
        self.map.get(id)
    }

    pub(super) fn get_mut(&mut self, id: &FeedId) -> Option<&mut FeedState> {
        self.map.get_mut(id)
    }

    /// The feed's state, made where there is none.
    pub(super) fn entry(&mut self, id: FeedId, feed: Option<Instance>, now: Mono) -> &mut FeedState {
        let state = self.map.entry(id).or_insert_with(|| FeedState::new(now));
        if let (None, Some(feed)) = (state.feed, feed) {
            state.feed = Some(feed);
            self.by_instance.insert(feed, id);
        }
        state
    }

    /// Forgets a feed of which nothing is here.
    pub(super) fn remove_empty(&mut self, id: &FeedId) {
        if let Some(state) = self.map.get(id).filter(|state| state.is_empty()) {
            if let Some(feed) = state.feed {
                self.by_instance.remove(&feed);
            }
            self.map.remove(id);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&FeedId, &FeedState)> {
        self.map.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&FeedId, &mut FeedState)> {
        self.map.iter_mut()
    }

    /// Every feed with an author, from `from` on, in the order of author and epoch.
    pub(super) fn by_instance(&self, from: Instance) -> impl Iterator<Item = (Instance, &FeedState)> {
        self.by_instance.range(from..).filter_map(|(feed, id)| Some((*feed, self.map.get(id)?)))
    }

    pub(super) fn named_len(&self) -> usize {
        self.by_instance.len()
    }

    /// The feed that the author wrote before this one.
    pub(super) fn previous(&self, feed: Instance) -> Option<FeedId> {
        let first = Instance { id: feed.id, epoch: Epoch(0) };
        self.by_instance.range(first..feed).next_back().map(|(_, id)| *id)
    }

    /// The newest epoch in which a peer wrote.
    pub(super) fn newest_of(&self, id: PeerId) -> Option<Epoch> {
        let (first, last) = (Instance { id, epoch: Epoch(0) }, Instance { id, epoch: Epoch(u64::MAX) });
        self.by_instance.range(first..=last).next_back().map(|(feed, _)| feed.epoch)
    }

    /// An envelope is stored: the feed grows, and links may have it from memory.
    pub(super) fn store(&mut self, envelope: &VerifiedEnvelope) -> Floor {
        self.tail.push(envelope.feed_id(), envelope.raw());
        self.change(&envelope.feed_id(), |state| {
            state.stored.add(envelope);
        })
    }

    /// What the store holds of a feed now, whatever was known before. What is on its way there is to be accepted again.
    pub(super) fn replace(&mut self, stored: StoredFeed, now: Mono) -> Floor {
        let id = stored.feed.feed_id();
        self.entry(id, Some(stored.feed), now);
        self.runs_found = self.runs_found.max(stored.runs.len());
        self.change(&id, |state| {
            state.base = state.base.max(stored.base);
            state.accepted = stored.runs.clone();
            state.stored = stored.runs;
        })
    }

    /// Changes what is stored of a feed, and all sums with it.
    fn change(&mut self, id: &FeedId, change: impl FnOnce(&mut FeedState)) -> Floor {
        let Some(state) = self.map.get_mut(id) else { return Floor::Stayed };
        let (tip, floor, posts, holes) = state.sums();
        change(state);
        let after = state.sums();
        self.posts = self.posts - posts + after.2;
        self.holes = self.holes - u128::from(holes) + u128::from(after.3);
        if let Some(feed) = state.feed {
            self.sum.replace(feed, &tip, &after.0);
        }
        if floor == after.1 { Floor::Stayed } else { Floor::Moved }
    }

    /// Gives up the envelopes of a proof; what it proved stays.
    pub(super) fn forget_proof(&mut self, id: &FeedId, place: &ForkPlace) {
        let Some(state) = self.map.get_mut(id) else { return };
        let bytes = |state: &FeedState| state.forks.proof(place).map_or(0, ForkProof::bytes_len);
        let before = bytes(state);
        state.forks.forget_proof(place);
        self.fork_bytes = self.fork_bytes.saturating_sub(before - bytes(state));
    }

    /// Whether another body than this one is held for its numbers, as far as memory tells.
    pub(super) fn is_other(&self, envelope: &Envelope) -> bool {
        let Some(state) = self.map.get(&envelope.feed_id()) else { return false };
        let Some(run) = state.accepted.run_with(envelope.first()) else { return false };
        let is_other_end = run.tip.head == envelope.last() && run.tip.hash != Some(envelope.hash());
        is_other_end || self.tail.is_other(envelope)
    }

    /// Gives the memory of the newest envelopes back.
    pub(super) fn forget_newest(&mut self) {
        self.tail = Tail::default();
    }

    /// Drops from memory what is not stored any more.
    pub(super) fn cut_tail(&mut self, id: &FeedId) {
        if let Some(state) = self.map.get(id) {
            self.tail.retain(*id, |held| state.stored.contains(held.first, held.last));
        }
    }

    /// Keeps an envelope until the gap before it is filled; `false` where there is no room.
    pub(super) fn wait(&mut self, envelope: VerifiedEnvelope, posts_max: usize) -> bool {
        let Some(state) = self.map.get_mut(&envelope.feed_id()) else { return false };
        let len = envelope.memory_bytes();
        let (bytes, posts) = (state.waiting_bytes(), state.waiting_posts());
        let fits = bytes + len <= REORDER_BYTES_PER_FEED_MAX && self.waiting_bytes + len <= REORDER_BYTES_MAX;
        if !fits || posts + envelope.body().posts.len() > posts_max.max(1) {
            return false;
        }
        self.waiting_bytes += len;
        // A longer envelope with the same first number takes the place of the one that waited.
        if let Some(replaced) = state.waiting.insert(envelope.first(), envelope) {
            self.waiting_bytes -= replaced.memory_bytes();
        }
        true
    }

    /// Gives back what waits below the lowest number that is wanted.
    pub(super) fn stop_waiting_below_base(&mut self, id: &FeedId) {
        let Some(state) = self.map.get_mut(id) else { return };
        let kept = state.waiting.split_off(&state.base);
        let dropped = std::mem::replace(&mut state.waiting, kept);
        self.waiting_bytes -= dropped.values().map(|waiting| waiting.memory_bytes()).sum::<usize>();
    }

    /// Takes out the waiting envelope with the lowest number.
    pub(super) fn take_first_waiting(&mut self, id: &FeedId) -> Option<VerifiedEnvelope> {
        let (_, envelope) = self.map.get_mut(id)?.waiting.pop_first()?;
        self.waiting_bytes -= envelope.memory_bytes();
        Some(envelope)
    }

    /// Gives back what waits beyond a gap that nobody is left to fill.
    pub(super) fn stop_waiting(&mut self, id: &FeedId) {
        if let Some(state) = self.map.get_mut(id) {
            self.waiting_bytes -= state.waiting_bytes();
            state.waiting.clear();
        }
    }

    pub(super) fn census(&self, posts_max: usize, links: usize) -> Vec<Count> {
        let bytes: usize = self.map.values().map(FeedState::waiting_bytes).sum();
        let largest = self.map.values().map(FeedState::waiting_bytes).max().unwrap_or(0);
        let posts = self.map.values().map(FeedState::waiting_posts).max().unwrap_or(0);
        let runs = self.map.values().map(|state| state.accepted.len().max(state.stored.len())).max().unwrap_or(0);
        let tried = self.map.values().map(|state| state.tried.len()).max().unwrap_or(0);
        vec![
            Count::new("bytes beyond gaps", self.waiting_bytes, REORDER_BYTES_MAX),
            Count::new("bytes beyond gaps, counted again", bytes, self.waiting_bytes),
            Count::new("bytes beyond the gaps of a feed", largest, REORDER_BYTES_PER_FEED_MAX),
            Count::new("posts beyond the gaps of a feed", posts, posts_max.max(1)),
            Count::new("runs of a feed", runs, RUNS_PER_FEED_MAX.max(self.runs_found)),
            Count::new("links asked in vain for a feed", tried, links),
            Count::new("feeds by author", self.by_instance.len(), self.map.len()),
            Count::new("bytes of the newest envelopes", self.tail.bytes, TAIL_BYTES_MAX),
            Count::new("order of the newest envelopes", self.tail.order.len(), self.tail.by_place.len()),
        ]
    }

    /// Takes out the waiting envelope that comes next in the run that now holds `seq`, and drops what was overtaken.
    pub(super) fn take_next(&mut self, id: &FeedId, seq: Seq) -> Option<VerifiedEnvelope> {
        let state = self.map.get_mut(id)?;
        let run = *state.accepted.run_with(seq)?;
        while let Some(first) = state.waiting.range(run.first..=run.tip.head.next()).next().map(|(first, _)| *first) {
            let envelope = state.waiting.remove(&first)?;
            self.waiting_bytes -= envelope.memory_bytes();
            if envelope.last() > run.tip.head {
                return Some(envelope);
            }
        }
        None
    }
}

impl FeedState {
    fn new(now: Mono) -> Self {
        Self {
            feed: None,
            base: Seq(1),
            stored: Runs::default(),
            accepted: Runs::default(),
            born: now,
            hop: 0,
            risen: Mono(0),
            provider: None,
            asked: None,
            expected: Vec::new(),
            laps: 0,
            tried: BTreeSet::new(),
            forks: Forks::default(),
            search: None,
            order_place: None,
            waiting: BTreeMap::new(),
        }
    }

    /// The runs of numbers that are stored, in order.
    pub(super) fn held(&self) -> impl Iterator<Item = (Seq, Seq)> {
        self.stored.iter().map(|run| (run.first, run.tip.head))
    }

    /// The lowest number from `seq` on that is stored.
    pub(super) fn next_held(&self, seq: Seq) -> Option<Seq> {
        self.held().find(|(_, last)| *last >= seq).map(|(first, _)| first.max(seq))
    }

    /// The parts of `from..=to` that are stored, in order.
    pub(super) fn held_within(&self, from: Seq, to: Seq) -> impl Iterator<Item = (Seq, Seq)> {
        let parts = self.held().map(move |(first, last)| (first.max(from), last.min(to)));
        parts.filter(|(first, last)| first <= last)
    }

    /// What is wanted up to `to` and not stored.
    pub(super) fn missing(&self, to: Seq) -> Vec<(Seq, Seq)> {
        let from = self.base.max(Seq(1));
        let to = self.forks.end().map_or(to, |end| to.min(Seq(end.0.saturating_sub(1))));
        // Nearly always nothing is.
        if to < from || self.stored.contains(from, to) {
            return Vec::new();
        }
        self.stored.held().gaps(from, to, usize::MAX)
    }

    /// Whether every post of it is here already, stored or waiting, or is not wanted any more.
    pub(super) fn holds(&self, envelope: &Envelope) -> bool {
        let (first, last) = (envelope.first(), envelope.last());
        let waiting = || self.waiting.get(&first).is_some_and(|held| held.last() >= last);
        last < self.base || self.accepted.contains(first, last) || waiting()
    }

    /// How an envelope fits. Behind a gap a run begins only where one was asked for.
    pub(super) fn fit(&self, envelope: &Envelope) -> Fit {
        match self.accepted.fit(envelope) {
            Fit::Beyond if self.may_begin(envelope) => Fit::Extends,
            fit @ (Fit::Extends | Fit::Beyond | Fit::Held | Fit::Conflicts) => fit,
        }
    }

    fn may_begin(&self, envelope: &Envelope) -> bool {
        let (first, last) = (envelope.first(), envelope.last());
        let is_expected = |from: Seq| first <= from && from <= last;
        self.may_begin_at(first) && self.expected.iter().any(|(from, _)| is_expected(*from))
    }

    /// Whether there is room for another run, and one that begins with this number can be joined.
    pub(super) fn may_begin_at(&self, first: Seq) -> bool {
        self.accepted.len() < RUNS_PER_FEED_MAX && self.order_end().is_none_or(|end| first <= end)
    }

    /// The first number that waits, and the last that is here before it.
    pub(super) fn gap_before_waiting(&self) -> Option<(Seq, Seq)> {
        let first = *self.waiting.keys().next()?;
        let below = self.accepted.iter().rev().find(|run| run.tip.head < first);
        Some((first, below.map_or(Seq(0), |run| run.tip.head)))
    }

    /// The highest number with which a run may begin. Behind a place where the feed parts every post has to follow the
    /// one before, because nothing else tells of which branch it is. Where nobody holds the place any more nothing can.
    pub(super) fn order_end(&self) -> Option<Seq> {
        let place = self.order_place?;
        Some(self.accepted.run_with(place).map_or(place, |run| run.tip.head.next()))
    }

    /// The highest run begins behind a place from which on posts have to come in their order.
    pub(super) fn lies_apart(&self) -> bool {
        self.order_place.is_some_and(|place| self.stored.top().is_some_and(|top| top.first > place))
    }

    /// Something is stored.
    pub(super) fn is_stored(&self) -> bool {
        !self.stored.is_empty()
    }

    /// Posts missing between base and head.
    pub(super) fn holes(&self) -> u64 {
        self.stored.missing_within(self.base, self.stored.head())
    }

    fn sums(&self) -> (Tip, Seq, u64, u64) {
        (self.stored.tip(), self.stored.floor(), self.stored.count(), self.holes())
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.memory_bytes()).sum()
    }

    fn waiting_posts(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.body().posts.len()).sum()
    }

    /// Something beyond a gap came already: on a link in order, what is before it will not come by itself.
    pub(super) fn has_gap(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What is stored may be a branch that lost: until the store has settled that, nothing is taken in.
    pub(super) fn is_held_up(&self) -> bool {
        self.forks.unsettled().next().is_some()
    }

    /// Whether no proof is against an envelope.
    pub(super) fn takes(&self, envelope: &Envelope) -> bool {
        self.forks.winner(&ForkPlace::of(envelope)).is_none_or(|winner| winner == envelope.hash())
    }

    /// Nothing of it is here, nor on its way into the store.
    pub(super) fn is_empty(&self) -> bool {
        self.forks.is_empty() && self.stored.is_empty() && self.accepted.is_empty() && self.waiting.is_empty()
    }
}

impl Tail {
    /// Consecutive envelopes from the one that holds `from`, up to `to`, as many as one frame takes; empty where the
    /// first is not in memory.
    pub(super) fn run(&self, feed: FeedId, from: Seq, to: Seq) -> Vec<RawEnvelope> {
        let Some((begin, _)) = self.by_place.range(..=(feed, from)).next_back() else { return Vec::new() };
        let held = self.by_place.range(*begin..=(feed, to)).filter(|((id, _), _)| *id == feed);
        run_of(held.map(|(_, envelope)| envelope), from)
    }

    /// Bytes of a feed from a number on; of all where the memory does not go back so far.
    pub(super) fn bytes_from(&self, feed: FeedId, from: Seq) -> usize {
        self.by_place.range((feed, from)..=(feed, Seq(u64::MAX))).map(|(_, held)| held.bytes.len()).sum()
    }

    fn retain(&mut self, feed: FeedId, keep: impl Fn(&RawEnvelope) -> bool) {
        let held = self.by_place.range((feed, Seq(0))..=(feed, Seq(u64::MAX)));
        let gone: Vec<_> = held.filter(|(_, held)| !keep(held)).map(|(place, _)| *place).collect();
        if gone.is_empty() {
            return;
        }
        for place in gone {
            if let Some(dropped) = self.by_place.remove(&place) {
                self.bytes -= dropped.bytes.len();
            }
        }
        self.order.retain(|place| self.by_place.contains_key(place));
    }

    /// Whether another envelope is here that holds the first number of this one.
    fn is_other(&self, envelope: &Envelope) -> bool {
        let (feed, first) = (envelope.feed_id(), envelope.first());
        let held = self.by_place.range(..=(feed, first)).next_back();
        let held = held.filter(|((id, _), held)| *id == feed && held.last >= first);
        held.is_some_and(|(_, held)| held.first != first || held.bytes != envelope.bytes())
    }

    fn push(&mut self, feed: FeedId, envelope: RawEnvelope) {
        let place = (feed, envelope.first);
        self.bytes += envelope.bytes.len();
        match self.by_place.insert(place, envelope) {
            Some(replaced) => self.bytes -= replaced.bytes.len(),
            None => self.order.push_back(place),
        }
        while self.bytes > TAIL_BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(dropped) = self.by_place.remove(&oldest) {
                self.bytes -= dropped.bytes.len();
            }
        }
    }
}

/// The consecutive ones from the one that holds `from`, as many as one frame takes, but at least one.
pub(super) fn run_of<'a>(envelopes: impl Iterator<Item = &'a RawEnvelope>, from: Seq) -> Vec<RawEnvelope> {
    let (mut run, mut bytes, mut next) = (Vec::new(), 0, from);
    for envelope in envelopes {
        bytes += envelope.bytes.len();
        let is_next = envelope.first <= next && envelope.last >= next;
        let is_over = bytes > ENVELOPES_FRAME_BYTES || run.len() == ENVELOPES_PER_FRAME_MAX;
        if !is_next || (is_over && !run.is_empty()) {
            break;
        }
        next = envelope.last.next();
        run.push(envelope.clone());
    }
    run
}
