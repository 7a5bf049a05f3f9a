//! Every feed: its end, what waits beyond a gap, who brings it, and the newest envelopes in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::envelope::{Envelope, RawEnvelope, VerifiedEnvelope};
use crate::feed::{IntervalSet, StoredFeed, Tip};
use crate::id::{Epoch, FeedId, Instance, LinkId, Seq};
use crate::limits::{
    ENVELOPES_FRAME_BYTES, ENVELOPES_PER_FRAME_MAX, REORDER_BYTES_MAX, REORDER_BYTES_PER_FEED_MAX, TAIL_BYTES_MAX,
};
use crate::status::Count;
use crate::sync::Sum;
use crate::time::Mono;

/// All feeds.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    map: BTreeMap<FeedId, FeedState>,
    by_instance: BTreeMap<Instance, FeedId>,
    pub(super) sum: Sum,
    pub(super) tail: Tail,
    pub(super) posts: u64,
    waiting_bytes: usize,
}

/// One feed.
#[derive(Debug)]
pub(super) struct FeedState {
    /// Author and epoch; none while only an announcement told of it.
    pub(super) feed: Option<Instance>,
    /// The first number stored.
    pub(super) floor: Seq,
    /// The end of what is stored.
    pub(super) stored: Tip,
    /// The end of what is verified and on its way into the store.
    pub(super) accepted: Tip,
    /// When it was first heard of.
    pub(super) born: Mono,
    /// Links between here and the author, for the newest envelope.
    pub(super) hop: u64,
    /// When it last came forward.
    pub(super) progressed: Mono,
    /// Who pushes it to us.
    pub(super) provider: Option<LinkId>,
    /// Whom we asked for what is missing.
    pub(super) asked: Option<Asked>,
    /// Who was asked in vain since the last step forward.
    pub(super) tried: BTreeSet<LinkId>,
    /// Two pasts were seen: until one is chosen, nothing more is asked for and nobody is blamed.
    pub(super) is_forked: bool,
    /// Verified envelopes beyond a gap, by their first number.
    waiting: BTreeMap<Seq, VerifiedEnvelope>,
}

/// A question on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Whom.
    pub(super) link: LinkId,
    /// Up to which number.
    pub(super) to: Seq,
    /// When the question went out; none while it waits for its turn.
    pub(super) sent: Option<Mono>,
}

/// The newest envelopes, so that live links need no disk.
#[derive(Debug, Default)]
pub(super) struct Tail {
    by_place: BTreeMap<(FeedId, Seq), RawEnvelope>,
    order: VecDeque<(FeedId, Seq)>,
    bytes: usize,
}

impl Feeds {
    pub(super) fn new(stored: Vec<StoredFeed>) -> Self {
        let mut feeds = Self::default();
        for StoredFeed { feed, held, tip } in stored {
            let state = feeds.entry(feed.feed_id(), Some(feed), Mono(0));
            state.floor = held.first().unwrap_or(Seq(1));
            state.stored = tip;
            state.accepted = tip;
            feeds.posts += held.count();
            feeds.sum.replace(feed, &Tip::default(), &tip);
        }
        feeds
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

    /// An envelope is stored: the feed's end moves, and links may have it from memory.
    pub(super) fn store(&mut self, envelope: &VerifiedEnvelope) {
        let Some(state) = self.map.get_mut(&envelope.feed_id()) else { return };
        let tip = Tip::after(envelope);
        self.sum.replace(envelope.feed(), &state.stored, &tip);
        self.posts += envelope.body().posts.len() as u64;
        state.stored = tip;
        self.tail.push(envelope.feed_id(), envelope.raw());
    }

    /// Keeps an envelope until the gap before it is filled; `false` where there is no room.
    pub(super) fn wait(&mut self, envelope: VerifiedEnvelope, posts_max: usize) -> bool {
        let Some(state) = self.map.get_mut(&envelope.feed_id()) else { return false };
        let len = envelope.bytes().len();
        let (bytes, posts) = (state.waiting_bytes(), state.waiting_posts());
        let fits = bytes + len <= REORDER_BYTES_PER_FEED_MAX && self.waiting_bytes + len <= REORDER_BYTES_MAX;
        if !fits || posts + envelope.body().posts.len() > posts_max.max(1) {
            return false;
        }
        self.waiting_bytes += len;
        // A longer envelope with the same first number takes the place of the one that waited.
        if let Some(replaced) = state.waiting.insert(envelope.first(), envelope) {
            self.waiting_bytes -= replaced.bytes().len();
        }
        true
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
        let tried = self.map.values().map(|state| state.tried.len()).max().unwrap_or(0);
        vec![
            Count::new("bytes beyond gaps", self.waiting_bytes, REORDER_BYTES_MAX),
            Count::new("bytes beyond gaps, counted again", bytes, self.waiting_bytes),
            Count::new("bytes beyond the gaps of a feed", largest, REORDER_BYTES_PER_FEED_MAX),
            Count::new("posts beyond the gaps of a feed", posts, posts_max.max(1)),
            Count::new("links asked in vain for a feed", tried, links),
            Count::new("feeds by author", self.by_instance.len(), self.map.len()),
            Count::new("bytes of the newest envelopes", self.tail.bytes, TAIL_BYTES_MAX),
            Count::new("order of the newest envelopes", self.tail.order.len(), self.tail.by_place.len()),
        ]
    }

    /// Takes out the waiting envelope that comes next, and drops what fell behind.
    pub(super) fn take_next(&mut self, id: &FeedId) -> Option<VerifiedEnvelope> {
        let state = self.map.get_mut(id)?;
        while let Some(first) = state.waiting.first_entry() {
            if *first.key() > state.accepted.head.next() {
                return None;
            }
            let envelope = first.remove();
            self.waiting_bytes -= envelope.bytes().len();
            if envelope.last() > state.accepted.head {
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
            floor: Seq(1),
            stored: Tip::default(),
            accepted: Tip::default(),
            born: now,
            hop: 0,
            progressed: Mono(0),
            provider: None,
            asked: None,
            tried: BTreeSet::new(),
            is_forked: false,
            waiting: BTreeMap::new(),
        }
    }

    /// Whether every post of it is here already, stored or waiting.
    pub(super) fn holds(&self, envelope: &Envelope) -> bool {
        let waiting = || self.waiting.get(&envelope.first()).is_some_and(|held| held.last() >= envelope.last());
        envelope.last() <= self.accepted.head || waiting()
    }

    fn waiting_bytes(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.bytes().len()).sum()
    }

    fn waiting_posts(&self) -> usize {
        self.waiting.values().map(|waiting| waiting.body().posts.len()).sum()
    }

    /// Something beyond a gap came already: on a link in order, what is before it will not come by itself.
    pub(super) fn has_gap(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing of it is here, nor on its way into the store.
    pub(super) fn is_empty(&self) -> bool {
        self.stored.hash.is_none() && self.accepted.hash.is_none() && self.waiting.is_empty()
    }

    /// The gaps up to `to`, at most `max` of them.
    pub(super) fn gaps(&self, to: Seq, max: usize) -> Vec<(Seq, Seq)> {
        let mut held = IntervalSet::default();
        for envelope in self.waiting.values() {
            held.insert(envelope.first(), envelope.last());
        }
        held.gaps(self.accepted.head.next(), to, max)
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

    fn push(&mut self, feed: FeedId, envelope: RawEnvelope) {
        self.bytes += envelope.bytes.len();
        self.order.push_back((feed, envelope.first));
        self.by_place.insert((feed, envelope.first), envelope);
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
