//! The store drops the oldest posts: what is gone is neither offered nor asked for any more.

use super::Mesh;
use super::feeds::Floor;
use crate::feed::StoredFeed;
use crate::id::FeedId;
use crate::time::Now;
use crate::timers::Timer;

impl Mesh {
    pub(super) fn on_retained(&mut self, feeds: Vec<StoredFeed>, now: Now) {
        for stored in feeds {
            let feed = stored.feed.feed_id();
            let floor = self.feeds.replace(stored, now.mono);
            self.accept_again(feed);
            self.feeds.stop_waiting_below_base(&feed);
            if floor == Floor::Moved {
                self.tell_floor(feed);
                self.timers.set_once(Timer::Announce, now.mono + super::spread::ANNOUNCE_AFTER);
            }
            self.go_on(feed, now);
        }
    }

    /// What is on its way into the store is not among what is stored yet.
    fn accept_again(&mut self, feed: FeedId) {
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        // What comes behind a failed append fails too.
        let pending = self.pending.values().filter(|appending| appending.generation == self.generation);
        let pending = pending.flat_map(|appending| &appending.pending).chain(&self.accepted);
        for envelope in pending.map(|pending| &pending.delivery.envelope).filter(|held| held.feed_id() == feed) {
            state.accepted.add(envelope);
        }
    }
}
