//! Places: only so many feeds are asked for through one link at a time, and others wait for one of them to be done.
//!
//! Each link knows the feeds that wait for it, so that an answer costs the same however many feeds a peer names.

use std::cmp::Reverse;

use super::Mesh;
use super::link::Link;
use crate::id::{FeedId, LinkId};
use crate::limits::REPAIRS_PER_LINK_MAX;
use crate::time::Now;
use crate::timers::Timer;

impl Link {
    /// Whether one more feed may be asked for.
    pub(super) fn has_place(&self) -> bool {
        self.asked.len() < REPAIRS_PER_LINK_MAX
    }
}

impl Mesh {
    /// All that hold what is missing of a feed have their hands full: whichever has a place first is asked.
    pub(super) fn wait_for_place(&mut self, feed: FeedId, holders: &[LinkId]) {
        let epoch = self.feeds.get(&feed).and_then(|state| state.feed).map(|feed| feed.epoch);
        for holder in holders {
            if let Some(link) = self.links.get_mut(holder) {
                // What was said last is asked for first.
                link.waiting.insert((Reverse(epoch), feed));
            }
        }
    }

    /// A question is over: others may have waited for its place.
    pub(super) fn ask_others(&mut self, now: Now) {
        let free = self.up_links().filter(|link| link.has_place() && !link.waiting.is_empty());
        let free: Vec<LinkId> = free.map(|link| link.id).collect();
        for id in free {
            while let Some(feed) = self.next_in_line(id) {
                let is_idle = self.feeds.get(&feed).is_some_and(|state| state.asked.is_none());
                if is_idle && self.timers.get(&Timer::Repair(feed)).is_none() {
                    self.consider_repair(feed, now);
                }
            }
        }
    }

    /// The next feed that waits for a link, while that has a place.
    fn next_in_line(&mut self, id: LinkId) -> Option<FeedId> {
        let link = self.links.get_mut(&id).filter(|link| link.is_up() && link.has_place())?;
        link.waiting.pop_first().map(|(_, feed)| feed)
    }
}
