//! Spreading what is new: push, announce, ask, stop.

use std::time::Duration;

use rand::RngExt;

use super::link::{Link, Serving};
use super::{Mesh, Pending};
use crate::effect::Effect;
use crate::feed::Span;
use crate::id::{FeedId, Instance, LinkId, Seq};
use crate::limits::{ANNOUNCED_LINKS_MAX, WANTS_PER_LINK_MAX};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::{Facts, LinkFeed, Push, begins_live};
use crate::wire::message::{Have, Want};

impl Mesh {
    /// An envelope is stored: push it where its feed is pushed, announce it elsewhere.
    pub(super) fn spread(&mut self, pending: &Pending, now: Now) {
        let envelope = &pending.delivery.envelope;
        let (feed, first, last) = (envelope.feed_id(), envelope.first(), envelope.last());
        let floor = self.feeds.get(&feed).map_or(Seq(1), |state| state.stored.floor());
        let links: Vec<LinkId> = self.up_links().map(|link| link.id).collect();
        let mut announced = 0;
        for id in links {
            if Some(id) == pending.via {
                self.note_brought(id, feed, Span { floor: first, head: last });
                self.mark_have(id, feed);
                continue;
            }
            self.decide_push(id, feed, first);
            self.leave_to_author(id, feed, last);
            let Some(link) = self.links.get_mut(&id) else { continue };
            let Some(state) = link.feeds.get_mut(&feed) else { continue };
            let next_held = |cursor| self.feeds.get(&feed).and_then(|state| state.next_held(cursor));
            let is_through = |cursor| cursor < floor && next_held(cursor).is_none_or(|next| next >= floor);
            let is_there = state.span().covers(first, last);
            let is_announced = match &mut state.push {
                // Also to who has it: so all know of each other who holds what.
                Push::Live { .. } if is_there => {
                    state.skip_held(Span { head: last, ..state.span() });
                    true
                }
                // What was repaired is not pushed on: its neighbours repair it too. Only a cursor that has not
                // come this far yet takes it along, and one that has nothing left to give before it.
                Push::Live { cursor, .. } if !pending.is_live && (*cursor >= first || is_through(*cursor)) => {
                    *cursor = (*cursor).max(last.next());
                    true
                }
                Push::Live { .. } => {
                    link.enqueue(feed);
                    self.dirty.insert(id);
                    false
                }
                Push::Off => true,
            };
            if is_announced && (!pending.is_live || announced < ANNOUNCED_LINKS_MAX) {
                announced += 1;
                self.mark_have(id, feed);
            }
        }
        self.announce_soon(now);
    }

    /// Announcements go out together: the first after a pause almost at once, so that who waits for a receipt gets it;
    /// the others in rounds.
    pub(super) fn announce_soon(&mut self, now: Now) {
        let next_round = self.announced.map_or(now.mono, |announced| announced + ANNOUNCE_INTERVAL);
        self.timers.set_once(Timer::Announce, next_round.max(now.mono + ANNOUNCE_AFTER));
    }

    /// Decides how a feed is pushed on a link, where that is not decided yet. `from` is where pushing would begin.
    fn decide_push(&mut self, id: LinkId, feed: FeedId, from: Seq) {
        let Some(link) = self.links.get(&id) else { return };
        if link.feeds.contains_key(&feed) {
            return;
        }
        let is_live = self.facts(link, feed).is_some_and(begins_live);
        let push = if is_live { Push::Live { cursor: from, repaired: Seq(0) } } else { Push::Off };
        if let Some(link) = self.links.get_mut(&id) {
            link.feeds.insert(feed, LinkFeed::new(push));
        }
    }

    /// Whoever has a post before we do, and is linked to its author, has it from there: it needs no push and did not ask
    /// for one. It would tell us so itself as soon as we were faster once.
    fn leave_to_author(&mut self, id: LinkId, feed: FeedId, last: Seq) {
        let Some(link) = self.links.get(&id) else { return };
        let is_unasked = |held: &LinkFeed| matches!(held.push, Push::Live { repaired: Seq(0), .. });
        let is_there = link.feeds.get(&feed).is_some_and(|held| held.head >= last && is_unasked(held));
        if !is_there || !self.facts(link, feed).is_some_and(|facts| !facts.is_own && facts.is_authors_neighbor) {
            return;
        }
        if let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            held.push = Push::Off;
        }
    }

    fn facts(&self, link: &Link, feed: FeedId) -> Option<Facts> {
        let (state, up) = (self.feeds.get(&feed)?, link.up()?);
        let author = state.feed?;
        let previous = self.feeds.previous(author).and_then(|previous| link.feeds.get(&previous));
        Some(Facts {
            is_own: feed == self.me.feed,
            is_authors_link: up.instance == author,
            previous_is_live: previous.map(|previous| previous.push != Push::Off),
            is_authors_neighbor: up.view.contains(&super::hello::view_id(author.id)),
            is_older_than_link: state.born < up.since,
        })
    }

    /// This run just said its first words: from now on its feed is pushed to everybody.
    pub(super) fn push_own_feed(&mut self) {
        let feed = self.me.feed;
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            let push = Push::Live { cursor: Seq(1), repaired: Seq(0) };
            link.feeds.entry(feed).or_insert_with(|| LinkFeed::new(push)).push = push;
        }
    }

    /// Announces a feed's head on a link with the next round.
    pub(super) fn mark_have(&mut self, id: LinkId, feed: FeedId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.control.have.insert(feed);
        }
    }

    /// The run that is announced begins somewhere else: everybody shall know.
    pub(super) fn tell_floor(&mut self, feed: FeedId) {
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.control.have.insert(feed);
        }
    }

    /// Announces every feed of which the other side was told another floor than it has.
    pub(super) fn tell_floors(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for (feed, held) in &link.feeds {
            let floor = self.feeds.get(feed).filter(|state| state.is_stored()).map(|state| state.stored.floor());
            if floor.is_some_and(|floor| floor != held.floor_told) {
                link.control.have.insert(*feed);
            }
        }
        if !link.control.have.is_empty() {
            self.announce_soon(now);
        }
    }

    pub(super) fn on_announce(&mut self, now: Now) {
        for link in self.links.values().filter(|link| link.is_up() && !link.control.have.is_empty()) {
            self.dirty.insert(link.id);
            self.announced = Some(now.mono);
        }
    }

    /// A burst is over: compare with one neighbour, so that whatever was lost on the way is found soon.
    pub(super) fn on_settle(&mut self) {
        // Whoever is still behind gets it from the store. In a quiet daemon it would only take memory.
        self.feeds.forget_newest();
        self.effects.push_back(Effect::Rest);
        let links: Vec<LinkId> = self.up_links().map(|link| link.id).collect();
        if links.is_empty() {
            return;
        }
        let chosen = links[self.rng.random_range(0..links.len())];
        if let Some(link) = self.links.get_mut(&chosen) {
            link.control.ping |= !link.liveness.is_pinging();
            self.dirty.insert(chosen);
        }
    }

    /// The other side holds this run of a feed.
    pub(super) fn note_span(&mut self, id: LinkId, feed: FeedId, held: Span, now: Now) {
        let stored = self.feeds.get(&feed).map_or(Seq(0), |state| state.stored.head());
        self.decide_push(id, feed, stored.next());
        let Some(link) = self.links.get_mut(&id) else { return };
        link.exchanged = now.mono;
        let Some(state) = link.feeds.get_mut(&feed) else { return };
        state.head = state.head.max(held.head);
        state.skip_held(Span { head: held.head.min(stored), ..held });
    }

    /// The other side holds what it brought itself: pushing goes on behind it.
    fn note_brought(&mut self, id: LinkId, feed: FeedId, brought: Span) {
        if let Some(state) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            state.skip_held(brought);
        }
    }

    pub(super) fn on_have(&mut self, id: LinkId, haves: &[Have], now: Now) {
        for have in haves {
            if have.feed == self.me.feed && self.is_more_than_said(have.head) {
                self.doubt_own_feed(id, have.feed, self.own_head().next());
                continue;
            }
            // Nothing to learn from somebody who has nothing.
            if have.head == Seq(0) || have.head < have.floor || !self.knows_or_may_create(id, have.feed, None, now) {
                continue;
            }
            self.note_span(id, have.feed, Span { floor: have.floor, head: have.head }, now);
            self.note_rebuilt(id, have.feed, have.head);
            self.note_floor(id, have.feed, have.floor);
            self.consider_repair(have.feed, now);
        }
    }

    /// The last number that this run gave out.
    pub(super) fn own_head(&self) -> Seq {
        self.feeds.get(&self.me.feed).map_or(Seq(0), |own| own.accepted.head())
    }

    pub(super) fn is_more_than_said(&self, head: Seq) -> bool {
        head > self.own_head()
    }

    pub(super) fn on_want(&mut self, id: LinkId, want: &Want, now: Now) {
        let Some(state) = self.feeds.get(&want.feed).filter(|state| state.is_stored()) else { return };
        let (floor, head) = (state.stored.floor(), state.stored.head());
        let Some(link) = self.links.get_mut(&id) else { return };
        link.exchanged = now.mono;
        // What is asked for now stands in place of what was asked for before.
        link.serving.retain(|serving| serving.feed != want.feed);
        let mut push = want.push.then_some(Push::Live { cursor: head.next(), repaired: head });
        let (mut ranges, mut has_gone) = (Vec::new(), false);
        for (from, to) in &want.ranges {
            // Older runs are not announced, and given to who asks.
            let mut parts = state.held_within(*from, head.min(to.unwrap_or(head))).peekable();
            has_gone |= *from < floor && parts.peek().is_none_or(|(first, _)| *first >= floor);
            match to {
                None if want.push => push = Some(Push::Live { cursor: *from, repaired: head }),
                Some(_) | None => ranges.extend(parts),
            }
        }
        if has_gone {
            link.control.gone.insert(want.feed, floor);
        }
        link.serving.extend(Serving::of(want.feed, ranges.into_iter()));
        if let Some(push) = push {
            link.feeds.entry(want.feed).or_insert_with(|| LinkFeed::new(push)).push = push;
            link.enqueue(want.feed);
        }
        let is_over = link.serving.len() > WANTS_PER_LINK_MAX;
        if is_over {
            // Nobody is to blame: while our disk is slow, an honest peer asks for one feed after the other.
            link.serving.retain(|serving| serving.feed != want.feed);
        }
        self.dirty.insert(id);
        if is_over {
            self.count("wants_dropped_total", 1);
        }
    }

    pub(super) fn on_prune(&mut self, id: LinkId, feeds: &[FeedId]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for feed in feeds {
            if let Some(state) = link.feeds.get_mut(feed) {
                state.push = Push::Off;
            }
        }
        self.count("prunes_received_total", feeds.len() as u64);
    }

    /// A live envelope that was not needed from there: stop it, unless this link is where the feed comes from.
    pub(super) fn prune_unless_source(&mut self, id: LinkId, feed: FeedId, author: Instance) {
        let author_link = self.author_link(author);
        let Some(state) = self.feeds.get(&feed) else { return };
        let is_asked = state.asked.as_ref().is_some_and(|asked| asked.link == id);
        if author_link == Some(id) || is_asked || (author_link.is_none() && state.provider == Some(id)) {
            return;
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.control.prune.insert(feed);
            self.dirty.insert(id);
        }
    }

    /// An envelope of this feed came over this link and was new.
    pub(super) fn note_source(&mut self, id: LinkId, feed: FeedId, is_live: bool) {
        let Some(author) = self.feeds.get(&feed).and_then(|state| state.feed) else { return };
        let author_link = self.author_link(author);
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        let is_asked = state.asked.as_ref().is_some_and(|asked| asked.link == id && asked.push);
        if !is_live && !is_asked {
            return;
        }
        match author_link {
            // The author is the root of its tree: nobody else needs to push it here.
            Some(root) => {
                state.provider = Some(root);
                if is_live && root != id {
                    self.prune_unless_source(id, feed, author);
                }
            }
            None => state.provider = Some(id),
        }
    }
}

/// Between two rounds of announcements.
const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(100);
/// Announcements wait this long for what is stored at the same moment. Guess: what one flush of the store brings.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(2);
/// Quiet after a burst before its digest is compared.
pub(super) const SETTLE_AFTER: Duration = Duration::from_secs(1);
