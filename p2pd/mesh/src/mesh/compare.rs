//! Digests: whether the other side holds what we hold, told with every heartbeat.

use super::Mesh;
use super::link::{COMPARE_WAIT, Comparison, HeadsLeft};
use crate::effect::Effect;
use crate::id::{Epoch, Instance, LinkId, PeerId, Seq};
use crate::limits::{HEADS_PER_FRAME_MAX, PINGS_MAX, RANGES_PER_WANT_MAX, REPAIRS_PER_LINK_MAX};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::{LinkFeed, Push};
use crate::wire::message::{Digest, Ping, Pong, Want};

impl Mesh {
    pub(super) fn on_ping(&mut self, id: LinkId, ping: &Ping, now: Now) {
        self.count("heartbeats_received_total", 1);
        let digest = self.feeds.digest();
        if let Some(link) = self.links.get_mut(&id) {
            link.control.pong = Some(Pong { n: ping.n, t: ping.t, r: now.unix_ms, digest });
            self.dirty.insert(id);
        }
        self.compare(id, ping.digest, now);
    }

    pub(super) fn on_pong(&mut self, id: LinkId, pong: &Pong, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if let Some(rtt_us) = link.liveness.handle_pong(pong, now) {
            self.rtt.observe(rtt_us);
            let tokens = std::mem::take(&mut link.pings);
            self.effects.extend(tokens.into_iter().map(|token| Effect::Ponged { token, rtt_us: Some(rtt_us) }));
        }
        link.awaited_pong.take_if(|awaited| *awaited <= pong.n);
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

    /// The other side's digest came: different means that somebody lacks something, and so do holes.
    fn compare(&mut self, id: LinkId, theirs: Digest, now: Now) {
        if !self.may_compare(id, now) {
            return;
        }
        let ours = self.feeds.digest();
        let Some(link) = self.links.get_mut(&id) else { return };
        let is_first = link.comparison == Comparison::Pending;
        link.misses_nothing = theirs.holes == 0;
        if theirs.ends_like(&ours) {
            link.compare_wait = COMPARE_WAIT;
            self.timers.cancel(&Timer::Compare(id));
            return self.on_same_ends(id, ours.holes, theirs.holes, now);
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
            link.note_compared(Comparison::Differs);
            self.send_heads(id, now);
        } else if link.comparison != Comparison::Named {
            link.note_compared(Comparison::Differs);
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

    /// All feeds end the same here and there. Where something is missing before the ends, both name all floors, once:
    /// from then on each change of a floor is announced. Where nothing is, only floors that were not told yet.
    fn on_same_ends(&mut self, id: LinkId, ours: u64, theirs: u64, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        // All branches that are held end in the same posts, so they are the same.
        link.feeds.values_mut().for_each(|held| held.is_torn = false);
        // Where both have holes, floors tell what each can give.
        let is_known = ours.min(theirs) == 0 || link.has_named;
        link.note_compared(if !is_known {
            Comparison::Differs
        } else if ours == theirs {
            Comparison::Equal
        } else {
            Comparison::Named
        });
        // Who ends as we do and misses nothing has said all with that.
        link.has_named |= theirs == 0;
        let (peer, has_holes) = (link.peer, ours.max(theirs) > 0);
        if has_holes && !std::mem::replace(&mut link.is_told_holes, true) {
            self.send_heads(id, now);
        }
        if 0 < theirs && theirs < ours {
            self.ask_for_holes(id, ours);
        }
        if theirs == 0 {
            self.note_equal(id);
            self.forget_earlier(peer);
            self.say_lost();
        }
        if !has_holes {
            self.tell_floors(id, now);
        }
    }

    /// Between the same ends the other side misses less: it holds older runs, which nobody announces. It is asked for all
    /// that is missing here, once for each number of missing posts, and gives what it has.
    fn ask_for_holes(&mut self, id: LinkId, ours: u64) {
        let Some(link) = self.links.get_mut(&id).filter(|link| link.holes_asked != Some(ours)) else { return };
        link.holes_asked = Some(ours);
        let idle = self.feeds.iter_mut().filter(|(_, state)| state.asked.is_none() && !state.is_held_up());
        for (feed, state) in idle.filter(|(_, state)| state.holes() > 0).take(REPAIRS_PER_LINK_MAX) {
            let mut ranges = state.missing(state.stored.head());
            ranges.truncate(RANGES_PER_WANT_MAX);
            state.expected.clone_from(&ranges);
            let ranges = ranges.into_iter().map(|(from, to)| (from, Some(to))).collect();
            link.control.wants.insert(*feed, Want { feed: *feed, ranges, push: false });
        }
        self.dirty.insert(id);
    }

    /// The other side holds everything that is stored here, from its floors on.
    fn note_equal(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for (feed, state) in self.feeds.iter() {
            if let Some(held) = link.feeds.get_mut(feed) {
                // Of a feed that parts it may have held more, on another branch.
                let more = if state.forks.is_empty() { held.head } else { Seq(0) };
                held.head = state.stored.head().max(more);
                if let Push::Live { cursor, .. } = &mut held.push {
                    *cursor = (*cursor).max(state.stored.head().next());
                }
            } else if state.is_stored() {
                let mut held = LinkFeed::new(Push::Off);
                held.head = state.stored.head();
                link.feeds.insert(*feed, held);
            }
        }
    }

    pub(super) fn send_heads(&mut self, id: LinkId, now: Now) {
        let parts = self.feeds.named_len().div_ceil(HEADS_PER_FRAME_MAX).max(1) as u64;
        let from = Instance { id: PeerId([0; 32]), epoch: Epoch(0) };
        if let Some(link) = self.links.get_mut(&id) {
            link.control.heads = Some(HeadsLeft { part: 0, of: parts, from });
            link.heads_sent = Some(now.mono);
            self.dirty.insert(id);
        }
    }
}
