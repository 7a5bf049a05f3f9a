//! What other peers are known to hold: what they say on their links, and what they said on links that are gone.

use std::collections::BTreeMap;

use super::Mesh;
use super::feeds::FeedState;
use super::link::{Comparison, Link};
use crate::feed::{IntervalSet, Span};
use crate::id::{FeedId, LinkId, PeerId, Seq};
use crate::limits::REMEMBERED_SPANS_MAX;
use crate::time::{Mono, Now};

/// What peers said on links that are gone, for as long as this run lasts.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    peers: BTreeMap<PeerId, Told>,
    /// Of all peers.
    spans: usize,
}

/// What one peer said.
#[derive(Clone, Debug)]
struct Told {
    spans: BTreeMap<FeedId, Span>,
    /// When its last link ended.
    at: Mono,
}

/// Another peer, with everything that tells what it holds. All runs of one identity are one peer.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) peer: PeerId,
    /// Its links that are up.
    pub(super) links: Vec<&'a Link>,
    told: Option<&'a Told>,
}

impl Memory {
    /// A link is gone: what was said on it is kept.
    fn remember(&mut self, peer: PeerId, spans: impl Iterator<Item = (FeedId, Span)>, now: Mono) {
        let told = self.peers.entry(peer).or_insert_with(|| Told { spans: BTreeMap::new(), at: now });
        told.at = now;
        let before = told.spans.len();
        for (feed, span) in spans {
            if told.spans.len() >= REMEMBERED_SPANS_MAX && !told.spans.contains_key(&feed) {
                break;
            }
            // The floor kept here is the last one that was told; a link that was told none has the lowest.
            let kept = told.spans.entry(feed).or_insert(span);
            kept.head = kept.head.max(span.head);
        }
        self.spans += told.spans.len() - before;
        while self.spans > REMEMBERED_SPANS_MAX {
            let oldest = self.peers.iter().min_by_key(|(_, told)| told.at).map(|(peer, _)| *peer);
            let Some(oldest) = oldest else { return };
            self.forget(&oldest);
        }
    }

    pub(super) fn forget(&mut self, peer: &PeerId) {
        if let Some(told) = self.peers.remove(peer) {
            self.spans -= told.spans.len();
        }
    }

    /// What was held of a feed may have been of a branch that is given up.
    pub(super) fn forget_feed(&mut self, feed: &FeedId) {
        for told in self.peers.values_mut() {
            self.spans -= usize::from(told.spans.remove(feed).is_some());
        }
    }

    fn set_floor(&mut self, peer: &PeerId, feed: &FeedId, floor: Seq) {
        if let Some(span) = self.peers.get_mut(peer).and_then(|told| told.spans.get_mut(feed)) {
            span.floor = floor;
        }
    }
}

impl Known<'_> {
    pub(super) fn is_linked(&self) -> bool {
        !self.links.is_empty()
    }

    /// What it is known to hold of a feed: a run for each link, what it said before, and what it wrote itself.
    pub(super) fn spans(&self, id: &FeedId, state: Option<&FeedState>) -> impl Iterator<Item = Span> {
        let told = self.told.and_then(|told| told.spans.get(id)).copied();
        let floor = told.map_or(Seq(1), |told| told.floor);
        let linked = self.links.iter().filter_map(|link| Some((link.feeds.get(id)?, link.has_named)));
        // Whoever holds another branch of it holds other posts.
        let linked = linked.filter(|(held, _)| !held.is_torn);
        // On a link on which not all was named the floor that was told on the one before counts.
        let linked = linked.map(move |(held, has_named)| {
            let span = held.span();
            if has_named { span } else { Span { floor: span.floor.max(floor), ..span } }
        });
        let floor = linked.clone().map(|span| span.floor).chain([floor]).max().unwrap_or(floor);
        let written = state.filter(|state| self.wrote(state)).map(|state| Span { floor, head: state.stored.head() });
        linked.chain(told).chain(written)
    }

    /// Whether it wrote a feed and may be taken to hold it: what is signed was there. A disk can be lost, so whoever
    /// has named all that it holds is believed.
    fn wrote(&self, state: &FeedState) -> bool {
        state.feed.is_some_and(|feed| feed.id == self.peer) && !self.links.iter().any(|link| link.has_named)
    }

    pub(super) fn holds(&self, id: &FeedId, state: Option<&FeedState>, seq: Seq) -> bool {
        self.spans(id, state).any(|span| span.covers(seq, seq))
    }

    /// Of what is stored here, how much it is not known to hold.
    pub(super) fn lacks(&self, id: &FeedId, state: &FeedState) -> u64 {
        self.lacks_from(id, state, Seq(1))
    }

    /// The same without what it does not want: it misses nothing, so what is below its floor was dropped there.
    pub(super) fn behind(&self, id: &FeedId, state: &FeedState) -> u64 {
        let content = self.links.iter().filter(|link| link.misses_nothing);
        let floor = content.filter_map(|link| link.feeds.get(id)).map(|held| held.floor).min();
        self.lacks_from(id, state, floor.unwrap_or(Seq(1)))
    }

    fn lacks_from(&self, id: &FeedId, state: &FeedState, from: Seq) -> u64 {
        let held = state.held().map(|(first, last)| (first.max(from), last)).filter(|(first, last)| first <= last);
        held.map(|run| uncovered(run, || self.spans(id, Some(state)))).sum()
    }
}

impl Mesh {
    /// Every peer that is known or linked, in the order of ids. This identity is among them where another run of it is
    /// linked.
    pub(super) fn known(&self) -> Vec<Known<'_>> {
        let mut links: BTreeMap<PeerId, Vec<&Link>> = self.book.ids().map(|id| (id, Vec::new())).collect();
        for link in self.up_links() {
            links.entry(link.peer).or_default().push(link);
        }
        let known = |(peer, links)| Known { peer, links, told: self.memory.peers.get(&peer) };
        links.into_iter().map(known).collect()
    }

    /// The same without this identity.
    pub(super) fn others(&self) -> Vec<Known<'_>> {
        let mut known = self.known();
        known.retain(|known| known.peer != self.me.id);
        known
    }

    /// The other side holds nothing below `floor`, or nothing that it offers.
    pub(super) fn note_floor(&mut self, id: LinkId, feed: FeedId, floor: Seq) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(held) = link.feeds.get_mut(&feed) {
            // What is below may be dropped there, or may be still to come: its next digest tells.
            link.misses_nothing &= floor <= held.floor;
            held.floor = floor;
        }
        self.memory.set_floor(&link.peer, &feed, floor);
    }

    /// The other side named a feed that may not be remembered yet: it cannot be taken to have named all.
    pub(super) fn note_skipped(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.has_skipped = true;
        }
    }

    /// The other side named all that it holds.
    pub(super) fn note_named(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.has_skipped) else { return };
        link.has_named = true;
        if link.comparison != Comparison::Equal {
            link.note_compared(Comparison::Named);
        }
        let peer = link.peer;
        self.forget_earlier(peer);
    }

    /// On all its links a peer told all that it holds: what it said on earlier ones does not count any more.
    pub(super) fn forget_earlier(&mut self, peer: PeerId) {
        if self.up_links().filter(|link| link.peer == peer).all(|link| link.has_named) {
            self.memory.forget(&peer);
        }
    }

    /// A link goes down: what was said on it stays known.
    pub(super) fn remember(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(&id).filter(|link| self.book.get(&link.peer).is_some()) else { return };
        let spans = link.feeds.iter().filter(|(_, held)| held.head > Seq(0)).map(|(feed, held)| (*feed, held.span()));
        self.memory.remember(link.peer, spans, now.mono);
    }
}

/// How much of a run is in none of these.
pub(super) fn uncovered<S: Iterator<Item = Span>>((from, to): (Seq, Seq), spans: impl Fn() -> S) -> u64 {
    // Nearly always one of them has it all.
    if spans().any(|span| span.covers(from, to)) {
        return 0;
    }
    count(&set_of(spans()).gaps(from, to, usize::MAX))
}

/// Some runs as one set.
pub(super) fn set_of(spans: impl Iterator<Item = Span>) -> IntervalSet {
    let mut set = IntervalSet::default();
    // An empty run ends before it begins, and adds nothing.
    spans.for_each(|span| set.insert(span.floor, span.head));
    set
}

/// How many numbers are in some runs.
pub(super) fn count(runs: &[(Seq, Seq)]) -> u64 {
    runs.iter().map(|(from, to)| to.0 - from.0 + 1).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(count: u64, salt: u8) -> impl Iterator<Item = (FeedId, Span)> {
        let feed = move |n: u64| {
            let mut bytes = [salt; 16];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            FeedId(bytes)
        };
        (0..count).map(move |n| (feed(n), Span { floor: Seq(1), head: Seq(n + 1) }))
    }

    #[test]
    fn what_is_remembered_is_bounded_and_who_left_first_is_forgotten_first() {
        let mut memory = Memory::default();
        let half = REMEMBERED_SPANS_MAX as u64 / 2;
        let peers = [1, 2, 3].map(|n| PeerId([n; 32]));
        for (at, peer) in (1..).zip(peers) {
            memory.remember(peer, spans(half, peer.0[0]), Mono(at));
        }
        assert_eq!(memory.peers.keys().copied().collect::<Vec<_>>(), peers[1..]);
        assert_eq!(memory.spans, REMEMBERED_SPANS_MAX);
        memory.remember(peers[0], spans(half * 4, 9), Mono(9));
        assert_eq!(memory.peers.keys().copied().collect::<Vec<_>>(), peers[..1]);
        assert_eq!(memory.spans, REMEMBERED_SPANS_MAX);
    }
}
