//! Another run of this machine: after somebody else signed with our epoch, we go on under a new one and say again what
//! lost its number.

use std::time::Duration;

use super::Mesh;
use super::hello::NEW_RUN;
use crate::effect::{Effect, Event};
use crate::id::{Epoch, FeedId, Instance, LinkId, Offset, Seq};
use crate::input::{LostPost, Ticket};
use crate::membership::record::Record;
use crate::time::{Mono, Now};
use crate::timers::Timer;
use crate::wire::message::{ByeCode, Want};

/// Our own epoch, and own posts that lost their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Renewal {
    /// A new epoch is on its way: nothing is signed until it is there.
    is_drawing: bool,
    /// The store is asked for lost posts.
    lookup: Option<Ticket>,
    /// There may be more of them than were found so far.
    has_more: bool,
    /// Found, and neither stored again nor refused yet.
    left: usize,
    /// Everything up to here was found.
    after: Offset,
    /// How often a link gave way to one that we do not have.
    displaced: u32,
    /// When that last made us take a new epoch.
    renewed: Option<Mono>,
}

impl Mesh {
    /// Our feed was written by somebody else too: a machine that was resumed twice from one memory.
    pub(super) fn draw_epoch(&mut self) {
        if !self.renewal.is_drawing && !self.is_leaving {
            self.renewal.is_drawing = true;
            self.count("epochs_drawn_total", 1);
            self.effects.push_back(Effect::DrawEpoch);
        }
    }

    /// Nothing may be signed with an epoch that is not ours alone, nor on a branch that may have lost.
    pub(super) fn may_sign(&self) -> bool {
        let own = self.feeds.get(&self.me.feed);
        !self.renewal.is_drawing && own.is_none_or(|own| !own.is_held_up())
    }

    pub(super) fn on_epoch_drawn(&mut self, epoch: Option<Epoch>, now: Now) {
        if !self.renewal.is_drawing {
            return;
        }
        let Some(epoch) = epoch.filter(|epoch| *epoch > self.me.instance.epoch) else {
            self.timers.set(Timer::Epoch, now.mono + super::receive::STORE_RETRY);
            return;
        };
        self.renewal.is_drawing = false;
        let old = self.me.instance;
        self.me.instance = Instance { id: self.me.id, epoch };
        self.me.feed = self.me.instance.feed_id();
        let rev = epoch.0.max(self.me.record.rev + 1);
        self.me.record = Record::sign(&self.me.key, rev, &self.me.addrs, &self.config.name, epoch);
        self.effects.push_back(Effect::Event(Event::EpochChanged { old, new: self.me.instance }));
        // Links are between runs. Where we seemed to find ourselves, it may have been the other one.
        self.dials.forget_all_selves();
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for id in links {
            self.refuse(id, ByeCode::Restart, NEW_RUN, now);
        }
        self.adopt_winners(old.feed_id(), LinkId(0), now);
    }

    pub(super) fn on_epoch_due(&mut self) {
        if self.renewal.is_drawing {
            self.effects.push_back(Effect::DrawEpoch);
        } else {
            self.say_lost();
        }
    }

    /// A link that we were using gave way to a better one between us and that peer, and we have none: somebody else is
    /// linked there as this very run. Once may be chance, and a liar shall not make us change often.
    pub(super) fn on_displaced(&mut self, id: LinkId, now: Now) {
        let Some(peer) = self.links.get(&id).filter(|link| link.is_up()).map(|link| link.peer) else { return };
        if self.links.values().any(|other| other.id != id && other.peer == peer && !other.is_closing()) {
            return;
        }
        self.renewal.displaced += 1;
        let may_renew = self.renewal.renewed.is_none_or(|renewed| now.mono.since(renewed) > DISPLACED_PAUSE);
        if self.renewal.displaced >= DISPLACED_MAX && may_renew {
            self.renewal.displaced = 0;
            self.renewal.renewed = Some(now.mono);
            self.draw_epoch();
        }
    }

    /// A link says that it holds more of our feed than we wrote, or something else.
    pub(super) fn doubt_own_feed(&mut self, id: LinkId, feed: FeedId, at: Seq) {
        if let Some(link) = self.links.get_mut(&id).filter(|_| !self.renewal.is_drawing) {
            link.control.wants.insert(feed, Want { feed, ranges: vec![(at, Some(at))], push: false });
            self.dirty.insert(id);
        }
    }

    /// Own posts were set aside. They are said again when a neighbour holds all that we hold, because until then they may
    /// have been said again already: by us, before this disk was replaced by an older one, or by our other self.
    pub(super) fn find_lost(&mut self, now: Now) {
        self.renewal.has_more = true;
        self.renewal.after = Offset(0);
        self.timers.set_once(Timer::Epoch, now.mono + SYNC_PATIENCE);
    }

    /// Looks for lost posts, unless those found before are not said again yet.
    pub(super) fn say_lost(&mut self) {
        if !self.renewal.has_more || self.renewal.lookup.is_some() || self.renewal.left > 0 {
            return;
        }
        let ticket = self.ticket();
        self.renewal.lookup = Some(ticket);
        self.renewal.has_more = false;
        self.effects.push_back(Effect::FindLost { ticket, after: self.renewal.after });
    }

    pub(super) fn on_lost_found(&mut self, ticket: Ticket, posts: Vec<LostPost>) {
        if self.renewal.lookup.take_if(|lookup| *lookup == ticket).is_none() {
            return;
        }
        // What is set aside later may have any offset, so the end is the beginning of the next look.
        self.renewal.after = posts.last().map_or(Offset(0), |last| last.offset);
        self.renewal.has_more |= !posts.is_empty();
        for LostPost { id, post, .. } in posts {
            self.count("posts_said_again_total", 1);
            self.renewal.left += usize::from(self.say_again(id, post));
        }
        if self.renewal.left == 0 {
            self.say_lost();
        }
    }

    /// Lost posts were stored under new numbers.
    pub(super) fn note_said_again(&mut self, posts: usize) {
        self.renewal.left = self.renewal.left.saturating_sub(posts);
        if posts > 0 && self.renewal.left == 0 {
            self.say_lost();
        }
    }

    /// They were not stored: from the beginning, after a while.
    pub(super) fn note_not_said_again(&mut self, posts: usize, now: Now) {
        if posts > 0 {
            self.renewal.left = self.renewal.left.saturating_sub(posts);
            self.renewal.has_more = true;
            self.renewal.after = Offset(0);
            self.timers.set_once(Timer::Epoch, now.mono + super::receive::STORE_RETRY);
        }
    }
}

/// For a neighbour to hold all that we hold, before lost posts are said again anyway.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);
/// Links that give way to others before we believe that we run twice.
const DISPLACED_MAX: u32 = 2;
/// Before that may make us take a new epoch again.
const DISPLACED_PAUSE: Duration = Duration::from_secs(3_600);
