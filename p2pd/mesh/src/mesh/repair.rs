//! Anti-entropy: what peers name is compared with what is here, and what is missing is asked for.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::time::Duration;

use super::Mesh;
use super::feeds::Asked;
use super::link::Link;
use super::missing::Reach;
use super::penalty::Offence;
use crate::feed::Span;
use crate::id::{FeedId, LinkId, Seq};
use crate::limits::VAIN_ASKS_MAX;
use crate::time::{Mono, Now};
use crate::timers::Timer;
use crate::wire::message::{Head, Heads, Want};

impl Mesh {
    pub(super) fn on_heads(&mut self, id: LinkId, heads: &Heads, now: Now) {
        if let Some(link) = self.links.get_mut(&id).filter(|_| heads.part == 0) {
            link.heads_named.clear();
            link.has_skipped = false;
        }
        let mut told: Vec<&Head> = Vec::new();
        for head in &heads.heads {
            let feed = head.feed.feed_id();
            if head.head == Seq(0) {
                continue;
            }
            if !self.knows_or_may_create(id, feed, Some(head.feed), now) {
                self.note_skipped(id);
                continue;
            }
            if feed == self.me.feed && self.is_more_than_said(head.head) {
                self.doubt_own_feed(id, feed, self.own_head().next());
                continue;
            }
            self.note_span(id, feed, Span { floor: head.floor, head: head.head }, now);
            self.note_rebuilt(id, feed, head.head);
            self.note_floor(id, feed, head.floor);
            if let Some(link) = self.links.get_mut(&id) {
                link.heads_named.insert(feed);
            }
            if !self.on_other_head(id, head, now) {
                told.push(head);
            }
        }
        // What was said last is asked for first.
        told.sort_by_key(|head| Reverse(head.feed.epoch));
        for head in told {
            self.on_head(id, head, now);
        }
        if heads.part + 1 >= heads.of {
            self.note_named(id);
            self.tell_unnamed(id);
        }
        self.timers.set_once(Timer::Announce, now.mono);
    }

    fn on_head(&mut self, id: LinkId, head: &Head, now: Now) {
        let feed = head.feed.feed_id();
        let Some(state) = self.feeds.get(&feed) else { return };
        let has_less = head.head < state.stored.head() || (head.floor > state.stored.floor() && state.is_stored());
        if has_less {
            self.mark_have(id, feed);
        }
        self.consider_repair(feed, now);
    }

    /// Whether the other side ends a feed at the same number with something else.
    fn on_other_head(&mut self, id: LinkId, head: &Head, now: Now) -> bool {
        let feed = head.feed.feed_id();
        self.set_order(feed);
        let Some(state) = self.feeds.get(&feed) else { return false };
        let (tip, lies_apart) = (state.stored.tip(), state.lies_apart());
        let is_other = tip.head == head.head && tip.hash.is_some_and(|hash| hash.0[..8] != head.hash);
        if is_other || tip.head != head.head {
            self.tell_forks_of(id, feed, now);
        }
        if is_other && feed == self.me.feed {
            self.doubt_own_feed(id, feed, head.head);
        } else if is_other && lies_apart {
            // Which branch our end is of shows when what comes before it is here.
            return false;
        } else if is_other {
            self.set_torn(id, feed);
            self.begin_search(id, feed, None, now);
        }
        is_other
    }

    /// The other side named all it has: announce what was not among it.
    fn tell_unnamed(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let named = std::mem::take(&mut link.heads_named);
        let held = self.feeds.iter().filter(|(_, state)| state.is_stored());
        link.control.have.extend(held.map(|(feed, _)| *feed).filter(|feed| !named.contains(feed)));
    }

    pub(super) fn on_gone(&mut self, id: LinkId, feed: FeedId, floor: Seq, now: Now) {
        self.note_floor(id, feed, floor);
        self.on_search_gone(id, feed, floor, now);
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        let Some(asked) = state.asked.as_mut().filter(|asked| asked.link == id) else { return };
        for range in asked.ranges.iter_mut().chain(&mut state.expected) {
            range.0 = range.0.max(floor);
        }
        asked.ranges.retain(|(from, to)| from <= to);
        // What lies above the floor is on its way.
        if asked.ranges.is_empty() {
            self.unask(feed);
            if let Some(state) = self.feeds.get_mut(&feed) {
                state.tried.insert(id);
            }
            self.timers.set(Timer::Repair(feed), now.mono);
            self.ask_others(now);
        }
    }

    /// The last number that any neighbour is known to hold.
    pub(super) fn target(&self, feed: &FeedId) -> Seq {
        let head = self.up_links().map(|link| link.head_of(feed)).max().unwrap_or_default();
        let end = self.feeds.get(feed).and_then(|state| state.forks.end());
        end.map_or(head, |end| head.min(Seq(end.0.saturating_sub(1))))
    }

    /// Whether any neighbour holds something that is missing.
    fn is_offered(&self, feed: &FeedId, reach: Reach) -> bool {
        self.feeds.get(feed).is_some_and(|state| {
            self.up_links().filter_map(|link| link.feeds.get(feed)).any(|held| state.lacks(held, reach))
        })
    }

    /// Is something missing that somebody has? Then ask, at once or after the push that should bring it.
    pub(super) fn consider_repair(&mut self, feed: FeedId, now: Now) {
        if feed == self.me.feed || self.feeds.get(&feed).is_none_or(|state| state.is_held_up()) {
            return;
        }
        self.set_order(feed);
        let is_offered = self.is_offered(&feed, Reach::All);
        let Some(state) = self.feeds.get(&feed) else { return };
        if !is_offered {
            self.behind.remove(&feed);
            if state.asked.is_none() {
                self.timers.cancel(&Timer::Repair(feed));
            }
            return;
        }
        if state.asked.is_some() {
            self.behind.insert(feed);
            return;
        }
        let provider = state.provider.and_then(|id| self.links.get(&id)).filter(|link| link.is_up());
        // Its author pushes it by itself: what the author has not told of is on its way, and somebody else was faster.
        let target = self.target(&feed);
        let writer = || self.writer_link(feed).filter(|link| link.head_of(&feed) < target);
        let pusher = provider.or_else(writer);
        let Some(patience) = pusher.map(|link| link.liveness.rtt_times(2, GRAFT_MIN, GRAFT_MAX)) else {
            self.behind.insert(feed);
            return self.ask(feed, Reach::All, now);
        };
        // Nobody pushes what lies below our head.
        if self.is_offered(&feed, Reach::BelowHead) {
            let is_rising = now.mono.since(state.risen) < GRAFT_MAX && state.risen > Mono(0);
            let reach = if is_rising || provider.is_none() { Reach::BelowHead } else { Reach::All };
            self.behind.insert(feed);
            return self.ask(feed, reach, now);
        }
        // What is on its way is not missing yet.
        self.timers.set_once(Timer::Repair(feed), now.mono + patience);
    }

    pub(super) fn on_repair_due(&mut self, feed: FeedId, now: Now) {
        let Some(state) = self.feeds.get(&feed) else { return };
        if let Some(asked) = state.asked.clone() {
            if self.is_busy(&asked, now) {
                let patience = self.patience(feed, asked.link);
                self.timers.set(Timer::Repair(feed), now.mono + patience);
                return;
            }
            self.unask(feed);
            self.on_vain_ask(feed, &asked, now);
        }
        if self.feeds.get(&feed).is_some_and(|state| !state.is_held_up()) {
            self.repair(feed, now);
        }
    }

    /// Asks for what is missing, unless it will come by itself.
    fn repair(&mut self, feed: FeedId, now: Now) {
        let Some(state) = self.feeds.get(&feed) else { return };
        // What is on its way to us, or lies unread in our own queue, needs nobody to send it again.
        let is_rising = now.mono.since(state.risen) < GRAFT_MAX && state.risen > Mono(0);
        let is_coming = is_rising && !state.has_gap() && state.provider.is_some();
        let reach = if is_coming { Reach::BelowHead } else { Reach::All };
        if self.is_offered(&feed, Reach::All) {
            self.behind.insert(feed);
        }
        if self.is_saturated() || (is_coming && !self.is_offered(&feed, reach)) {
            self.timers.set(Timer::Repair(feed), now.mono + GRAFT_MAX);
            return;
        }
        if self.is_offered(&feed, reach) {
            self.ask(feed, reach, now);
        } else {
            self.behind.remove(&feed);
        }
        self.ask_others(now);
    }

    /// Whoever is asked may have its hands full: with what it was asked before, or with a link that takes nothing.
    fn is_busy(&self, asked: &Asked, now: Now) -> bool {
        let Some(link) = self.links.get(&asked.link).filter(|link| link.is_up()) else { return false };
        let Some(sent) = asked.sent else { return true };
        let served = link.served.max(link.receiving);
        let is_serving = now.mono.since(served) < SERVING_PATIENCE && served > Mono(0);
        is_serving && now.mono.since(sent) < ASKED_MAX
    }

    /// A question brought nothing. Whoever answers pings meanwhile has read it: if neither its line nor its disk is
    /// slow, it has not what it says.
    fn on_vain_ask(&mut self, feed: FeedId, asked: &Asked, now: Now) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.tried.insert(asked.link);
        }
        let Some(link) = self.links.get_mut(&asked.link).filter(|link| link.is_up()) else { return };
        let Some(held) = link.feeds.get_mut(&feed) else { return };
        let Some(since) = held.asked_since else { return };
        if link.liveness.proven() <= since || link.served > since || now.mono.since(since) < DISK_PATIENCE {
            link.control.ping |= !link.liveness.is_pinging();
            self.dirty.insert(asked.link);
            return;
        }
        held.asked_since = None;
        // Of a feed that parts it may have given up what it announced.
        let may_be_blamed = self.feeds.get(&feed).is_some_and(|state| state.forks.is_empty()) && !held.is_torn;
        held.vain_asks += u32::from(may_be_blamed);
        if held.vain_asks < VAIN_ASKS_MAX {
            return;
        }
        held.vain_asks = 0;
        held.head = Seq(0);
        self.penalize(asked.link, Offence::BogusAnnouncement, format!("feed {feed} is announced and not served"), now);
    }

    /// A want went out: from now on its answer is waited for.
    pub(super) fn note_want_sent(&mut self, feed: FeedId, id: LinkId, now: Now) {
        let patience = self.patience(feed, id);
        let asked = self.feeds.get_mut(&feed).and_then(|state| state.asked.as_mut());
        if let Some(asked) = asked.filter(|asked| asked.link == id) {
            asked.sent = Some(now.mono);
            self.timers.set(Timer::Repair(feed), now.mono + patience);
        }
        if let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            held.asked_since.get_or_insert(now.mono);
        }
    }

    /// Something of a feed came over a link, new or not.
    pub(super) fn note_served(&mut self, id: LinkId, feed: FeedId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.asked.contains(&feed) {
            link.served = now.mono;
        }
        if let Some(held) = link.feeds.get_mut(&feed) {
            held.vain_asks = 0;
            if let Some(since) = held.asked_since.take() {
                link.answer_time = (link.answer_time + now.mono.since(since)) / 2;
            }
        }
    }

    /// Nobody is asked for this feed any more.
    pub(super) fn unask(&mut self, feed: FeedId) {
        let asked = self.feeds.get_mut(&feed).and_then(|state| state.asked.take());
        if let Some(link) = asked.and_then(|asked| self.links.get_mut(&asked.link)) {
            link.asked.remove(&feed);
            link.control.wants.remove(&feed);
        }
    }

    /// The question on its way is over, and so is the wait for its answer.
    pub(super) fn drop_question(&mut self, feed: FeedId) {
        self.unask(feed);
        self.timers.cancel(&Timer::Repair(feed));
    }

    /// Asks the best neighbour for what is missing.
    fn ask(&mut self, feed: FeedId, reach: Reach, now: Now) {
        if now.mono < self.store_rests_until {
            // What comes now is refused like the rest, and would be asked for as fast as it is answered.
            return self.timers.set(Timer::Repair(feed), self.store_rests_until);
        }
        let Some(state) = self.feeds.get(&feed) else { return };
        let lacks = |link: &&Link| link.feeds.get(&feed).is_some_and(|held| state.lacks(held, reach));
        let holders: Vec<LinkId> = self.up_links().filter(lacks).map(|link| link.id).collect();
        if holders.iter().all(|id| state.tried.contains(id)) {
            return self.on_lap(feed, !holders.is_empty(), now);
        }
        let untried = holders.iter().filter_map(|id| self.links.get(id)).filter(|link| !state.tried.contains(&link.id));
        let (free, busy): (Vec<&Link>, Vec<&Link>) = untried.partition(|link| link.has_place());
        let best = free.into_iter().min_by_key(|link| (link.asked.len(), link.liveness.rtt_us(), link.id));
        match best.map(|link| link.id) {
            Some(id) => self.ask_link(feed, id, reach, now),
            None => {
                let busy: Vec<LinkId> = busy.into_iter().map(|link| link.id).collect();
                self.wait_for_place(feed, &busy);
            }
        }
    }

    fn ask_link(&mut self, feed: FeedId, id: LinkId, reach: Reach, now: Now) {
        let Some(held) = self.links.get(&id).and_then(|link| link.feeds.get(&feed)) else { return };
        let Some(state) = self.feeds.get(&feed) else { return };
        let ranges = state.question(held, reach, self.config.newest_first_posts);
        let rises = ranges.iter().any(|(_, to)| *to > state.accepted.head());
        let (head, provider) = (held.head, state.provider);
        let author_link = state.feed.and_then(|author| self.author_link(author));
        // The author pushes by itself. Anybody else who has newer posts than we shall go on pushing.
        let push = author_link.is_none() && (rises || provider.is_none());
        if ranges.is_empty() && self.begin_waiting(feed, id, now) {
            return;
        }
        if ranges.is_empty() {
            // Too many runs are open for what this one holds.
            if let Some(state) = self.feeds.get_mut(&feed) {
                state.tried.insert(id);
            }
            self.timers.set(Timer::Repair(feed), now.mono + LAP_WAIT);
            return;
        }
        let open_end = |to: Seq| (!(push && to == head)).then_some(to);
        let wanted = ranges.iter().map(|(from, to)| (*from, open_end(*to))).collect();
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.expected.clone_from(&ranges);
            state.asked = Some(Asked { link: id, ranges, push, sent: None });
            if push {
                state.provider = Some(id);
            }
        }
        if let Some(old) = provider.filter(|old| push && *old != id).and_then(|old| self.links.get_mut(&old)) {
            old.control.prune.insert(feed);
            self.dirty.insert(old.id);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.asked.insert(feed);
            link.control.wants.insert(feed, Want { feed, ranges: wanted, push });
            self.dirty.insert(id);
        }
        self.count("sync_rounds_total", 1);
        let patience = self.patience(feed, id);
        self.timers.set(Timer::Repair(feed), now.mono + patience);
    }

    /// Everybody who announced it was asked in vain: after a while, from the beginning.
    fn on_lap(&mut self, feed: FeedId, has_holders: bool, now: Now) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.tried.clear();
            state.laps += 1;
        }
        if has_holders {
            self.count("sync_laps_total", 1);
            self.timers.set(Timer::Repair(feed), now.mono + LAP_WAIT);
        } else {
            self.behind.remove(&feed);
            self.feeds.remove_empty(&feed);
        }
    }

    /// A feed came forward over a link.
    pub(super) fn note_progress(&mut self, feed: FeedId, id: LinkId, now: Now) {
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        state.tried.clear();
        state.laps = 0;
        let patience = self.patience(feed, id);
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        match state.still_asked() {
            Some((link, true)) => {
                if link == id {
                    self.timers.set(Timer::Repair(feed), now.mono + patience);
                }
            }
            Some((_, false)) => {
                self.drop_question(feed);
                self.consider_repair(feed, now);
                self.ask_others(now);
            }
            None => {
                // It comes, so what is still missing has time again.
                self.timers.cancel(&Timer::Repair(feed));
                self.consider_repair(feed, now);
            }
        }
    }

    /// What is held or wanted of a feed changed from outside: the question on its way may be over.
    pub(super) fn go_on(&mut self, feed: FeedId, now: Now) {
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        if state.still_asked().is_some_and(|(_, is_open)| !is_open) {
            self.drop_question(feed);
        }
        self.consider_repair(feed, now);
        self.ask_others(now);
    }

    /// For an answer: some round trips, or twice as long as answers took on this link. Where everybody was asked in
    /// vain, lines may be slow: longer.
    fn patience(&self, feed: FeedId, id: LinkId) -> Duration {
        let laps = self.feeds.get(&feed).map_or(0, |state| state.laps.min(PATIENT_LAPS_MAX));
        let Some(link) = self.links.get(&id) else { return ANSWER_MIN };
        let usual = (link.answer_time * 2).min(ANSWER_MAX);
        link.liveness.rtt_times(3, ANSWER_MIN, ANSWER_MAX).max(usual) * (1 << laps)
    }

    /// A link is gone: what it brought, or was to bring, comes from somebody else.
    pub(super) fn orphan_feeds(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let told: Vec<FeedId> = std::mem::take(&mut link.feeds).into_keys().collect();
        let mut orphans: BTreeSet<FeedId> =
            std::mem::take(&mut link.waiting).into_iter().map(|(_, feed)| feed).collect();
        for (feed, state) in self.feeds.iter_mut() {
            let was_asked = state.asked.take_if(|asked| asked.link == id).is_some();
            let was_provider = state.provider.take_if(|provider| *provider == id).is_some();
            state.tried.remove(&id);
            if was_asked || was_provider {
                orphans.insert(*feed);
            }
        }
        for feed in orphans {
            // A question to somebody else goes on, and its timer with it.
            if self.feeds.get(&feed).is_some_and(|state| state.asked.is_none()) {
                self.timers.cancel(&Timer::Repair(feed));
            }
            self.consider_repair(feed, now);
        }
        self.forget_unreachable(&told);
    }

    /// What only this link told of is forgotten with it: posts beyond a gap that nobody is left to fill, and feeds of
    /// which nothing else is here.
    fn forget_unreachable(&mut self, told: &[FeedId]) {
        for feed in told {
            let is_open = self.feeds.get(feed).is_some_and(|state| state.is_empty() || state.has_gap());
            if is_open && *feed != self.me.feed && self.target(feed) == Seq(0) {
                self.feeds.stop_waiting(feed);
                self.timers.cancel(&Timer::Repair(*feed));
                self.behind.remove(feed);
                self.feeds.remove_empty(feed);
            }
        }
    }
}

const GRAFT_MIN: Duration = Duration::from_millis(100);
const GRAFT_MAX: Duration = Duration::from_millis(500);
/// Long enough for a full frame on 2 Mbit/s.
const ANSWER_MIN: Duration = Duration::from_millis(400);
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// From 0.4 s to 12.8 s, or from 2 s to 64 s.
const PATIENT_LAPS_MAX: u32 = 5;
const LAP_WAIT: Duration = Duration::from_secs(1);
/// Whoever brought something within this time is at work on the rest.
const SERVING_PATIENCE: Duration = Duration::from_secs(5);
/// For a disk that stalls, before its owner is taken for a liar.
const DISK_PATIENCE: Duration = Duration::from_secs(20);
/// The longest that one question may take while the other side is at work.
const ASKED_MAX: Duration = Duration::from_secs(60);
