//! Receipts: who holds a post. Peers tell each other how much they hold of each feed, so none is ever sent.

use super::Mesh;
use super::holders::{Known, uncovered};
use super::link::Link;
use crate::id::{Epoch, FeedId, Instance, PostId};
use crate::status::{Holder, HolderState, Receipt};
use crate::time::Now;

impl Mesh {
    /// Who holds these posts: one receipt each, in order.
    #[must_use]
    pub fn receipts(&self, posts: &[PostId], now: Now) -> Vec<Receipt> {
        let others = self.others();
        posts.iter().map(|post| self.receipt(*post, &others, now)).collect()
    }

    fn receipt(&self, post: PostId, others: &[Known<'_>], now: Now) -> Receipt {
        let id = post.feed.feed_id();
        let state = self.feeds.get(&id);
        let holder = |known: &Known<'_>| Holder {
            peer: known.peer,
            state: if known.holds(&id, state, post.seq) { HolderState::Holds } else { handed(known, &id, post) },
            last_seen_ms: self.last_seen_ms(known, now),
        };
        let held = state.is_some_and(|state| state.stored.contains(post.seq, post.seq));
        Receipt { post, held, holders: others.iter().map(holder).collect() }
    }

    /// When something last arrived from a peer, milliseconds since 1970; 0 for never.
    pub(super) fn last_seen_ms(&self, known: &Known<'_>, now: Now) -> u64 {
        let silence = |link: &&Link| link.liveness.silence(now.mono).as_millis() as u64;
        let linked = known.links.iter().map(silence).min().map(|silence| now.unix_ms.saturating_sub(silence));
        linked.unwrap_or_else(|| self.book.get(&known.peer).map_or(0, |entry| entry.seen_ms))
    }

    /// Posts of this identity, from all its runs, that are stored here and that no other peer is known to hold.
    pub(super) fn unacked_own_posts(&self) -> u64 {
        let others = self.others();
        let first = Instance { id: self.me.id, epoch: Epoch(0) };
        let own = self.feeds.by_instance(first).take_while(|(feed, _)| feed.id == self.me.id);
        let unacked = own.map(|(feed, state)| {
            let id = feed.feed_id();
            let spans = || others.iter().flat_map(|known| known.spans(&id, Some(state)));
            state.held().map(|run| uncovered(run, spans)).sum::<u64>()
        });
        unacked.sum()
    }
}

/// How far a post came that a peer does not say it holds.
fn handed(known: &Known<'_>, id: &FeedId, post: PostId) -> HolderState {
    let is_sent = |link: &&Link| {
        let sent = link.feeds.get(id).and_then(|held| held.sent);
        sent.is_some_and(|sent| sent.covers(post.seq, post.seq))
    };
    match known.links.as_slice() {
        [] => HolderState::Away,
        links if links.iter().any(is_sent) => HolderState::Sent,
        _ => HolderState::Linked,
    }
}
