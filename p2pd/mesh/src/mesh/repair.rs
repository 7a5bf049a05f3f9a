//! Anti-entropy: compare, find what is missing, ask for it.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Mesh;
use super::feeds::Asked;
use super::link::{COMPARE_WAIT, HeadsLeft};
use super::penalty::Offence;
use crate::effect::{Effect, Event};
use crate::id::{Epoch, FeedId, Instance, LinkId, PeerId, Seq};
use crate::limits::{HEADS_PER_FRAME_MAX, PINGS_MAX, RANGES_PER_WANT_MAX, REPAIRS_PER_LINK_MAX, VAIN_ASKS_MAX};
use crate::time::{Mono, Now};
use crate::timers::Timer;
use crate::tree::Push;
use crate::wire::message::{Digest, Heads, Ping, Pong, Want};

impl Mesh {
    pub(super) fn on_ping(&mut self, id: LinkId, ping: &Ping, now: Now) {
        self.count("heartbeats_received_total", 1);
        let digest = self.feeds.sum.digest();
        if let Some(link) = self.links.get_mut(&id) {
            link.control.pong = Some(Pong { n: ping.n, t: ping.t, r: now.unix_ms, digest });
            self.dirty.insert(id);
        }
        self.compare(id, ping.digest, now);
    }

    pub(super) fn on_pong(&mut self, id: LinkId, pong: &Pong, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(rtt_us) = link.liveness.handle_pong(pong, now) {
            let tokens = std::mem::take(&mut link.pings);
            self.effects.extend(tokens.into_iter().map(|token| Effect::Ponged { token, rtt_us: Some(rtt_us) }));
        }
        self.compare(id, pong.digest, now);
    }

    pub(super) fn on_ping_command(&mut self, token: u64, peer: PeerId) {
        let id = self.link_to(peer).map(|link| link.id);
        let link = id.and_then(|id| self.links.get_mut(&id)).filter(|link| link.pings.len() < PINGS_MAX);
        let Some(link) = link else {
            self.effects.push_back(Effect::Ponged { token, rtt_us: None });
            return;
        };
        link.pings.push(token);
        if !link.liveness.is_pinging() {
            link.control.ping = true;
        }
        self.dirty.insert(link.id);
    }

    /// Somebody lost its link to a peer: is ours alive?
    pub(super) fn on_suspect(&mut self, instance: Instance) {
        let Some(id) = self.author_link(instance) else { return };
        if let Some(link) = self.links.get_mut(&id).filter(|link| !link.liveness.is_pinging()) {
            link.control.ping = true;
            self.dirty.insert(id);
        }
    }

    /// The other side's digest came: equal means equal histories, different means that somebody lacks something.
    fn compare(&mut self, id: LinkId, theirs: Digest, now: Now) {
        let ours = self.feeds.sum.digest();
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_first = !std::mem::replace(&mut link.is_compared, true);
        if theirs == ours {
            link.compare_wait = COMPARE_WAIT;
            self.timers.cancel(&Timer::Compare(id));
            return self.note_equal(id);
        }
        let quiet_at = link.exchanged + COMPARE_WAIT;
        if !is_first && now.mono < quiet_at {
            // What differs may be on its way.
            self.timers.set(Timer::Compare(id), quiet_at);
            return;
        }
        let wait = link.compare_wait;
        if link.heads_sent.is_none_or(|sent| now.mono.since(sent) >= COMPARE_WAIT) {
            // What brings nothing is tried less and less often: some differences cannot be mended from here.
            link.compare_wait = (wait * 2).min(self.config.heartbeat_interval).max(COMPARE_WAIT);
            self.send_heads(id, now);
        }
        self.timers.set_once(Timer::Compare(id), now.mono + wait);
    }

    pub(super) fn on_compare(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let quiet_at = link.exchanged + COMPARE_WAIT;
        if now.mono < quiet_at {
            self.timers.set(Timer::Compare(id), quiet_at);
            return;
        }
        link.control.ping |= !link.liveness.is_pinging();
        self.dirty.insert(id);
    }

    /// Equal digests: the other side holds everything that is stored here.
    fn note_equal(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for (feed, state) in self.feeds.iter() {
            if let Some(held) = link.feeds.get_mut(feed) {
                held.head = held.head.max(state.stored.head);
                if let Push::Live { cursor, .. } = &mut held.push {
                    *cursor = (*cursor).max(state.stored.head.next());
                }
            } else if state.stored.hash.is_some() {
                let mut held = crate::tree::LinkFeed::new(Push::Off);
                held.head = state.stored.head;
                link.feeds.insert(*feed, held);
            }
        }
    }

    fn send_heads(&mut self, id: LinkId, now: Now) {
        let parts = self.feeds.named_len().div_ceil(HEADS_PER_FRAME_MAX).max(1) as u64;
        let from = Instance { id: PeerId([0; 32]), epoch: Epoch(0) };
        if let Some(link) = self.links.get_mut(&id) {
            link.control.heads = Some(HeadsLeft { part: 0, of: parts, from });
            link.heads_sent = Some(now.mono);
            self.dirty.insert(id);
        }
    }

    pub(super) fn on_heads(&mut self, id: LinkId, heads: &Heads, now: Now) {
        if let Some(link) = self.links.get_mut(&id).filter(|_| heads.part == 0) {
            link.heads_named.clear();
        }
        for head in &heads.heads {
            let feed = head.feed.feed_id();
            if head.head == Seq(0) || !self.knows_or_may_create(id, feed, Some(head.feed), now) {
                continue;
            }
            self.note_head(id, feed, head.head, now);
            let Some(link) = self.links.get_mut(&id) else { return };
            link.heads_named.insert(feed);
            if let Some(held) = link.feeds.get_mut(&feed) {
                held.floor = head.floor;
            }
            let Some(state) = self.feeds.get(&feed) else { continue };
            let hash = state.stored.hash.map(|hash| hash.0);
            let is_forked = state.stored.head == head.head && hash.is_some_and(|hash| hash[..8] != head.hash);
            if is_forked {
                let event = Event::ForkSeen { feed: head.feed, seq: head.head, held: state.stored.hash };
                self.effects.push_back(Effect::Event(event));
                self.note_fork(feed);
                continue;
            }
            if state.stored.head > head.head {
                self.mark_have(id, feed);
            }
            self.consider_repair(feed, now);
        }
        if heads.part + 1 >= heads.of {
            self.tell_unnamed(id);
        }
        self.timers.set_once(Timer::Announce, now.mono);
    }

    /// The other side named all it has: announce what was not among it.
    fn tell_unnamed(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let named = std::mem::take(&mut link.heads_named);
        let held = self.feeds.iter().filter(|(_, state)| state.stored.hash.is_some());
        link.control.have.extend(held.map(|(feed, _)| *feed).filter(|feed| !named.contains(feed)));
    }

    pub(super) fn on_gone(&mut self, id: LinkId, feed: FeedId, floor: Seq, now: Now) {
        if let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            held.floor = floor;
        }
        let was_asked = self.feeds.get(&feed).is_some_and(|state| state.asked.is_some_and(|asked| asked.link == id));
        if was_asked {
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
        self.up_links().map(|link| link.head_of(feed)).max().unwrap_or_default()
    }

    /// Is something missing that somebody has? Then ask, at once or after the push that should bring it.
    pub(super) fn consider_repair(&mut self, feed: FeedId, now: Now) {
        if feed == self.me.feed || self.feeds.get(&feed).is_none_or(|state| state.is_forked) {
            return;
        }
        let target = self.target(&feed);
        let Some(state) = self.feeds.get(&feed) else { return };
        if target <= state.accepted.head {
            self.behind.remove(&feed);
            if state.asked.is_none() {
                self.timers.cancel(&Timer::Repair(feed));
            }
            return;
        }
        self.behind.insert(feed);
        if state.asked.is_some() {
            return;
        }
        let provider = state.provider.and_then(|id| self.links.get(&id)).filter(|link| link.is_up());
        match provider {
            Some(link) => {
                let patience = link.liveness.rtt_times(2, GRAFT_MIN, GRAFT_MAX);
                self.timers.set_once(Timer::Repair(feed), now.mono + patience);
            }
            None => self.ask(feed, now),
        }
    }

    pub(super) fn on_repair_due(&mut self, feed: FeedId, now: Now) {
        let Some(state) = self.feeds.get(&feed) else { return };
        if let Some(asked) = state.asked {
            if self.is_busy(&asked, now) {
                let patience = self.patience(asked.link);
                self.timers.set(Timer::Repair(feed), now.mono + patience);
                return;
            }
            self.unask(feed);
            self.on_vain_ask(feed, &asked, now);
        }
        let Some(state) = self.feeds.get(&feed).filter(|state| !state.is_forked) else { return };
        // What is on its way to us, or lies unread in our own queue, needs nobody to send it again.
        let is_coming = now.mono.since(state.progressed) < GRAFT_MAX && state.progressed > Mono(0);
        if state.asked.is_none() && (self.is_saturated() || (is_coming && !state.has_gap() && state.provider.is_some()))
        {
            self.timers.set(Timer::Repair(feed), now.mono + GRAFT_MAX);
            return;
        }
        if self.target(&feed) > state.accepted.head {
            self.behind.insert(feed);
            self.ask(feed, now);
        } else {
            self.behind.remove(&feed);
        }
        self.ask_others(now);
    }

    /// Whoever is asked may have its hands full: with what it was asked before, or with a link that takes nothing.
    fn is_busy(&self, asked: &Asked, now: Now) -> bool {
        let Some(link) = self.links.get(&asked.link).filter(|link| link.is_up()) else { return false };
        let Some(sent) = asked.sent else { return true };
        let is_serving = now.mono.since(link.served) < SERVING_PATIENCE && link.served > Mono(0);
        is_serving && now.mono.since(sent) < ASKED_MAX
    }

    /// A question brought nothing. Whoever answers pings meanwhile has read it: it is not slow, it has not what it says.
    fn on_vain_ask(&mut self, feed: FeedId, asked: &Asked, now: Now) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.tried.insert(asked.link);
        }
        let Some(link) = self.links.get_mut(&asked.link).filter(|link| link.is_up()) else { return };
        let Some(held) = link.feeds.get_mut(&feed) else { return };
        let Some(since) = held.asked_since else { return };
        if link.liveness.proven() <= since || link.served > since {
            link.control.ping |= !link.liveness.is_pinging();
            self.dirty.insert(asked.link);
            return;
        }
        held.asked_since = None;
        held.vain_asks += 1;
        if held.vain_asks < VAIN_ASKS_MAX {
            return;
        }
        held.vain_asks = 0;
        held.head = Seq(0);
        self.penalize(asked.link, Offence::BogusAnnouncement, format!("feed {feed} is announced and not served"), now);
    }

    /// A want went out: from now on its answer is waited for.
    pub(super) fn note_want_sent(&mut self, feed: FeedId, id: LinkId, now: Now) {
        let patience = self.patience(id);
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
            held.asked_since = None;
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

    /// Two pasts were seen: asking for more could only bring more of what does not fit.
    pub(super) fn note_fork(&mut self, feed: FeedId) {
        self.unask(feed);
        self.behind.remove(&feed);
        self.timers.cancel(&Timer::Repair(feed));
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.is_forked = true;
        }
    }

    /// Asks the best neighbour for what is missing.
    fn ask(&mut self, feed: FeedId, now: Now) {
        let Some(state) = self.feeds.get(&feed) else { return };
        let next = state.accepted.head.next();
        let holders: Vec<LinkId> =
            self.up_links().filter(|link| link.head_of(&feed) >= next).map(|link| link.id).collect();
        if holders.iter().all(|id| state.tried.contains(id)) {
            return self.on_lap(feed, !holders.is_empty(), now);
        }
        let untried = holders.iter().filter_map(|id| self.links.get(id)).filter(|link| !state.tried.contains(&link.id));
        let free = untried.filter(|link| link.asked.len() < REPAIRS_PER_LINK_MAX);
        let best = free.min_by_key(|link| (link.asked.len(), link.liveness.rtt_us(), link.id)).map(|link| link.id);
        // Where all are busy, the next answer that is complete brings us back here.
        if let Some(id) = best {
            self.ask_link(feed, id, now);
        }
    }

    fn ask_link(&mut self, feed: FeedId, id: LinkId, now: Now) {
        let head = self.links.get(&id).map_or(Seq(0), |link| link.head_of(&feed));
        let Some(state) = self.feeds.get(&feed) else { return };
        let author_link = state.feed.and_then(|author| self.author_link(author));
        // The author pushes by itself. Anybody else who has what we lack shall go on pushing it.
        let push = author_link.is_none();
        let mut ranges: Vec<(Seq, Option<Seq>)> =
            state.gaps(head, RANGES_PER_WANT_MAX).into_iter().map(|(from, to)| (from, Some(to))).collect();
        let Some(last) = ranges.last_mut() else { return };
        if push && last.1 == Some(head) {
            last.1 = None;
        }
        let old = state.provider.filter(|old| push && *old != id && Some(*old) != author_link);
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.asked = Some(Asked { link: id, to: head, sent: None });
            if push {
                state.provider = Some(id);
            }
        }
        if let Some(old) = old.and_then(|old| self.links.get_mut(&old)) {
            old.control.prune.insert(feed);
            self.dirty.insert(old.id);
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.asked.insert(feed);
            link.control.wants.insert(feed, Want { feed, ranges, push });
            self.dirty.insert(id);
        }
        self.count("sync_rounds_total", 1);
        let patience = self.patience(id);
        self.timers.set(Timer::Repair(feed), now.mono + patience);
    }

    /// Everybody who announced it was asked in vain: after a while, from the beginning.
    fn on_lap(&mut self, feed: FeedId, has_holders: bool, now: Now) {
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.tried.clear();
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
        let patience = self.patience(id);
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        state.tried.clear();
        state.progressed = now.mono;
        match state.asked {
            Some(asked) if state.accepted.head < asked.to => {
                if asked.link == id {
                    self.timers.set(Timer::Repair(feed), now.mono + patience);
                }
            }
            Some(_) => {
                self.unask(feed);
                self.timers.cancel(&Timer::Repair(feed));
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

    /// A question is over: others may have waited for its place.
    fn ask_others(&mut self, now: Now) {
        let waiting: Vec<FeedId> = self.behind.iter().copied().collect();
        for feed in waiting {
            if self.up_links().all(|link| link.asked.len() >= REPAIRS_PER_LINK_MAX) {
                return;
            }
            let is_idle = self.feeds.get(&feed).is_some_and(|state| state.asked.is_none());
            if is_idle && self.timers.get(&Timer::Repair(feed)).is_none() {
                self.consider_repair(feed, now);
            }
        }
    }

    fn patience(&self, id: LinkId) -> Duration {
        self.links.get(&id).map_or(ANSWER_MIN, |link| link.liveness.rtt_times(3, ANSWER_MIN, ANSWER_MAX))
    }

    /// A link is gone: what it brought, or was to bring, comes from somebody else.
    pub(super) fn orphan_feeds(&mut self, id: LinkId, now: Now) {
        let mut orphans = BTreeSet::new();
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
        self.forget_unreachable();
    }

    /// What only this link told of is forgotten with it: posts beyond a gap that nobody is left to fill, and feeds of
    /// which nothing else is here.
    fn forget_unreachable(&mut self) {
        let open = self.feeds.iter().filter(|(_, state)| state.is_empty() || state.has_gap());
        let open: Vec<FeedId> = open.map(|(id, _)| *id).collect();
        for feed in open {
            if feed != self.me.feed && self.target(&feed) == Seq(0) {
                self.feeds.stop_waiting(&feed);
                self.timers.cancel(&Timer::Repair(feed));
                self.behind.remove(&feed);
                self.feeds.remove_empty(&feed);
            }
        }
    }

    /// Posts that neighbours hold and that are not here yet.
    pub(super) fn missing_posts(&self) -> u64 {
        let missing = |feed: &FeedId| {
            let stored = self.feeds.get(feed).map_or(Seq(0), |state| state.stored.head);
            self.target(feed).0.saturating_sub(stored.0)
        };
        self.behind.iter().map(missing).fold(0, u64::saturating_add)
    }
}

const GRAFT_MIN: Duration = Duration::from_millis(100);
const GRAFT_MAX: Duration = Duration::from_millis(500);
const ANSWER_MIN: Duration = Duration::from_millis(200);
const ANSWER_MAX: Duration = Duration::from_secs(2);
const LAP_WAIT: Duration = Duration::from_secs(1);
/// Whoever brought something within this time is at work on the rest.
const SERVING_PATIENCE: Duration = Duration::from_secs(5);
/// The longest that one question may take while the other side is at work.
const ASKED_MAX: Duration = Duration::from_secs(60);
