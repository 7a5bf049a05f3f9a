//! What is held of each author, what is known to exist, who agrees; and comparing at once when a user asks for it.

use super::Mesh;
use super::feeds::FeedState;
use super::holders::{Known, count, set_of};
use super::link::{COMPARE_WAIT, Comparison};
use crate::feed::IntervalSet;
use crate::id::{FeedId, Instance, Seq};
use crate::limits::HOLES_LISTED_MAX;
use crate::status::{FeedSync, Hole, PeerSync, SyncState};

/// What is not here of one feed, by whether a linked peer holds it.
struct Missing {
    known_head: Seq,
    /// A linked peer holds it.
    coming: Vec<(Seq, Seq)>,
    /// No linked peer holds it.
    unavailable: Vec<(Seq, Seq)>,
}

impl Mesh {
    /// What is held, what is missing, and who agrees.
    #[must_use]
    pub fn sync_state(&self) -> SyncState {
        let known = self.known();
        let linked: Vec<&Known<'_>> = known.iter().filter(|known| known.is_linked()).collect();
        let first = Instance { id: crate::id::PeerId([0; 32]), epoch: crate::id::Epoch(0) };
        let feeds = self.feeds.by_instance(first);
        let feeds: Vec<FeedSync> = feeds.map(|(feed, state)| self.feed_sync(feed, state, &known)).collect();
        let (missing_posts, unavailable_posts) = self.missing(&known);
        let is_compared = self.up_links().all(|link| matches!(link.comparison, Comparison::Named | Comparison::Equal));
        SyncState {
            feeds,
            peers: linked.iter().map(|known| self.peer_sync(known)).collect(),
            digest: self.feeds.digest(),
            posts: self.feeds.posts,
            missing_posts,
            unavailable_posts,
            is_synced: missing_posts == 0 && is_compared,
        }
    }

    /// Peers that have a link; this identity among them where another run of it is linked.
    #[must_use]
    pub fn linked_len(&self) -> usize {
        self.known().iter().filter(|known| known.is_linked()).count()
    }

    /// Posts known to have existed that no linked peer holds any more.
    pub(super) fn unavailable_posts(&self) -> u64 {
        self.missing(&self.known()).1
    }

    /// Our user wants to know now: what is compared from here on counts, and nothing from before.
    pub(super) fn on_sync(&mut self) {
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.comparison = Comparison::Pending;
            link.awaited_pong = Some(link.liveness.ping_next());
            link.heads_sent = None;
            link.compare_wait = COMPARE_WAIT;
            link.control.ping = true;
            self.dirty.insert(link.id);
        }
    }

    fn feed_sync(&self, feed: Instance, state: &FeedState, known: &[Known<'_>]) -> FeedSync {
        let id = feed.feed_id();
        let missing = missing_of(&id, state, known);
        let agree = known.iter().filter(|known| known.is_linked() && known.lacks(&id, state) == 0).count();
        FeedSync {
            feed,
            have: state.stored.count(),
            floor: state.held().next().map_or(Seq(0), |(floor, _)| floor),
            head: state.stored.head(),
            known_head: missing.known_head,
            holes: missing.holes(),
            hash: state.stored.tip().hash,
            agree,
            is_forked: !state.forks.is_empty(),
            is_own: feed.id == self.me.id,
        }
    }

    fn peer_sync(&self, known: &Known<'_>) -> PeerSync {
        let ahead = |(id, state): (&FeedId, &FeedState)| {
            let spans = set_of(known.spans(id, Some(state)));
            let missing = spans.last().map_or(Vec::new(), |head| state.missing(head));
            missing.iter().map(|run| count(&[*run]) - count(&spans.gaps(run.0, run.1, usize::MAX))).sum::<u64>()
        };
        PeerSync {
            peer: known.peer,
            behind: self.posts_behind(known),
            ahead: self.feeds.iter().map(ahead).fold(0, u64::saturating_add),
            is_compared: known.links.iter().all(|link| link.comparison != Comparison::Pending),
            is_equal: known.links.iter().all(|link| link.comparison == Comparison::Equal),
        }
    }

    /// Posts that are not here, of all feeds: those that a linked peer holds, and those that none does.
    fn missing(&self, known: &[Known<'_>]) -> (u64, u64) {
        let (mut coming, mut unavailable) = (0u64, 0u64);
        for (id, state) in self.feeds.iter() {
            let missing = missing_of(id, state, known);
            coming = coming.saturating_add(count(&missing.coming));
            unavailable = unavailable.saturating_add(count(&missing.unavailable));
        }
        (coming, unavailable)
    }

    /// Posts that are stored here, and that a peer wants and is not known to hold.
    pub(super) fn posts_behind(&self, known: &Known<'_>) -> u64 {
        self.feeds.iter().map(|(id, state)| known.behind(id, state)).fold(0, u64::saturating_add)
    }
}

impl Missing {
    fn holes(&self) -> Vec<Hole> {
        let coming = self.coming.iter().map(|(from, to)| Hole { from: *from, to: *to, is_unavailable: false });
        let gone = self.unavailable.iter().map(|(from, to)| Hole { from: *from, to: *to, is_unavailable: true });
        let mut holes: Vec<Hole> = coming.chain(gone).collect();
        holes.sort_by_key(|hole| hole.from);
        holes.truncate(HOLES_LISTED_MAX);
        holes
    }
}

fn missing_of(id: &FeedId, state: &FeedState, known: &[Known<'_>]) -> Missing {
    let heads = known.iter().flat_map(|known| known.spans(id, Some(state))).map(|span| span.head);
    let known_head = heads.max().unwrap_or_default().max(state.stored.head());
    let missing = state.missing(known_head);
    let (mut coming, mut unavailable) = (Vec::new(), Vec::new());
    if !missing.is_empty() {
        let linked = known.iter().filter(|known| known.is_linked());
        let linked = set_of(linked.flat_map(|known| known.spans(id, Some(state))));
        for (from, to) in missing {
            let gone = linked.gaps(from, to, usize::MAX);
            let mut gaps = IntervalSet::default();
            gone.iter().for_each(|(from, to)| gaps.insert(*from, *to));
            coming.extend(gaps.gaps(from, to, usize::MAX));
            unavailable.extend(gone);
        }
    }
    Missing { known_head, coming, unavailable }
}
