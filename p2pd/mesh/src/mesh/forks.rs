//! Authors that fork: proofs are learned, settled in the store and told on. Nobody is blamed for passing one branch on.

use super::Mesh;
use super::link::Link;
use super::penalty::Offence;
use crate::effect::{Effect, Event, Settle};
use crate::envelope::VerifiedEnvelope;
use crate::feed::Fit;
use crate::fork::{ForkPlace, ForkProof, Learned, parts};
use crate::id::{FeedId, Hash, LinkId, Seq};
use crate::input::{Settled, Ticket};
use crate::limits::{FORK_INTERVAL, FORK_PROOFS_BYTES_MAX, FORKS_TOLD_MAX, FORKS_WAITING_MAX};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::{LinkFeed, Push};
use crate::wire::message::{Fork, Message, fork_fits};

/// A fork that the store is at work on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settling {
    feed: FeedId,
    /// Where it parts.
    place: ForkPlace,
    /// The hash that is taken there.
    winner: Hash,
    via: LinkId,
}

impl Mesh {
    /// Two pasts for one number, this one from a link: a fork. Which of them is taken is for a proof to say.
    pub(super) fn on_conflict(&mut self, id: LinkId, envelope: VerifiedEnvelope, now: Now) {
        let (feed, place) = (envelope.feed_id(), ForkPlace::of(&envelope));
        if feed == self.me.feed {
            return self.draw_epoch();
        }
        if self.is_apart(&feed, &envelope) {
            return self.settle_again(feed, id);
        }
        let Some(state) = self.feeds.get(&feed) else { return };
        let known = state.forks.winner(&place).map(|winner| (winner, state.forks.proof(&place).cloned()));
        self.set_torn(id, feed);
        match known {
            // They do not know yet that their branch lost.
            Some((winner, _)) if winner < envelope.hash() => self.tell_fork(id, feed, place, now),
            Some((winner, Some(proof))) if winner > envelope.hash() => {
                if let Some(proof) = ForkProof::new(envelope, proof.winner().clone()) {
                    self.learn_fork(&proof, id, now);
                }
            }
            Some(_) | None => self.begin_search(id, feed, Some(envelope), now),
        }
    }

    /// What this link holds of a feed is of another branch: it is not asked for it until it says something new of it.
    pub(super) fn set_torn(&mut self, id: LinkId, feed: FeedId) {
        if let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            held.is_torn = true;
        }
    }

    pub(super) fn is_torn(&self, id: LinkId, feed: FeedId) -> bool {
        self.links.get(&id).and_then(|link| link.feeds.get(&feed)).is_some_and(|held| held.is_torn)
    }

    /// A link said what it holds of a feed now. Of a forked one that may be less than before, and then it is not what it
    /// was asked for.
    pub(super) fn note_rebuilt(&mut self, id: LinkId, feed: FeedId, head: Seq) {
        let is_forked = self.feeds.get(&feed).is_some_and(|state| !state.forks.is_empty());
        let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) else { return };
        held.is_torn = false;
        let is_less = is_forked && head < held.head;
        if is_forked {
            held.head = head;
        }
        let asked = self.feeds.get(&feed).and_then(|state| state.asked.as_ref());
        if is_less && asked.is_some_and(|asked| asked.link == id) {
            self.drop_question(feed);
        }
    }

    pub(super) fn on_fork(&mut self, id: LinkId, fork: Fork, now: Now) {
        let Fork { a, b } = fork;
        if !parts(&a, &b) {
            return self.penalize(id, Offence::Protocol, "a proof of a fork that proves nothing".into(), now);
        }
        let (feed, place, winner) = (a.feed_id(), ForkPlace::of(&a), a.hash().min(b.hash()));
        self.note_told(id, feed, place, winner);
        let is_news = self.feeds.get(&feed).is_none_or(|state| state.forks.is_news(&place, winner));
        if !is_news || !self.knows_or_may_create(id, feed, Some(a.feed()), now) {
            return;
        }
        // Verified before anything of it is remembered.
        match self.verify(a).and_then(|a| Ok((a, self.verify(b)?))) {
            Ok((a, b)) => {
                if let Some(proof) = ForkProof::new(a, b) {
                    self.learn_fork(&proof, id, now);
                }
            }
            Err(error) => self.penalize(id, Offence::InvalidSignature, error.to_string(), now),
        }
    }

    /// A proof: what it says is settled here, and told to everybody else.
    pub(super) fn learn_fork(&mut self, proof: &ForkProof, via: LinkId, now: Now) {
        let (author, place, winner) = (proof.feed(), proof.place(), proof.winner().hash());
        let feed = author.feed_id();
        let state = self.feeds.entry(feed, Some(author), now.mono);
        let Learned::News { freed, dropped } = state.forks.learn(proof) else { return };
        state.search = None;
        self.feeds.fork_bytes = (self.feeds.fork_bytes + proof.bytes_len()).saturating_sub(freed);
        self.count("forks_seen_total", 1);
        self.effects.push_back(Effect::Event(Event::ForkSeen { feed: author, seq: place.seq, winner }));
        self.settle(feed, place, dropped, via);
        if feed == self.me.feed {
            self.draw_epoch();
        }
        let others: Vec<LinkId> = self.up_links().map(|link| link.id).filter(|id| *id != via).collect();
        for id in others {
            self.tell_fork(id, feed, place, now);
        }
    }

    fn settle(&mut self, feed: FeedId, place: ForkPlace, forget: Option<ForkPlace>, via: LinkId) {
        // What was verified before belongs before.
        self.append_accepted();
        let ticket = self.ticket();
        self.set_order(feed);
        let Some(state) = self.feeds.get(&feed) else { return };
        let Some(proof) = state.forks.proof(&place).cloned() else { return };
        self.settling.insert(ticket, Settling { feed, place, winner: proof.winner().hash(), via });
        let is_ordered = state.order_place.is_some_and(|seq| seq <= place.seq);
        let settle = Settle { ticket, proof, is_ordered, end: state.forks.end(), forget };
        self.effects.push_back(Effect::Settle(Box::new(settle)));
    }

    /// The store sets aside what lies apart behind the place from which on posts come in their order.
    fn settle_again(&mut self, feed: FeedId, via: LinkId) {
        let Some(state) = self.feeds.get(&feed) else { return };
        let places = state.forks.places().filter(|place| Some(place.seq) == state.order_place);
        let Some(place) = places.filter(|place| state.forks.proof(place).is_some()).last() else { return };
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.forks.unsettle(&place);
        }
        self.settle(feed, place, None, via);
    }

    pub(super) fn on_settled(&mut self, ticket: Ticket, settled: Settled, now: Now) {
        let Some(settling) = self.settling.remove(&ticket) else { return };
        let (Settling { feed, via, .. }, Settled { left, posts, ours }) = (settling, settled);
        self.feeds.replace(left, now.mono);
        self.feeds.cut_tail(&feed);
        self.memory.forget_feed(&feed);
        // What waits beyond a gap was judged before this was known, and may be of a branch that lost. It comes again.
        self.feeds.stop_waiting(&feed);
        if posts > 0 {
            self.on_set_aside(feed, posts, now);
        }
        self.trust_again(feed);
        // What was asked for may not fit any more, and what fits was not asked for.
        self.drop_question(feed);
        self.on_place_settled(&settling, ours, now);
        self.adopt_winners(feed, via, now);
    }

    fn on_place_settled(&mut self, settling: &Settling, ours: Option<VerifiedEnvelope>, now: Now) {
        let Settling { feed, place, winner, via } = *settling;
        let Some(state) = self.feeds.get_mut(&feed) else { return };
        state.forks.settle(&place, winner);
        let proven = state.forks.proof(&place).map(|proof| proof.winner().clone());
        if self.feeds.fork_bytes > FORK_PROOFS_BYTES_MAX {
            self.feeds.forget_proof(&feed, &place);
        }
        // Of three the smallest may be our own.
        if let Some(proof) = ours.zip(proven).and_then(|(ours, proven)| ForkProof::new(ours, proven)) {
            self.learn_fork(&proof, via, now);
        }
    }

    /// What did not fit to what was held may fit now.
    fn trust_again(&mut self, feed: FeedId) {
        for held in self.links.values_mut().filter_map(|link| link.feeds.get_mut(&feed)) {
            held.is_torn = false;
        }
    }

    /// A branch was given up: links learn that less is held here, and are served from where the branches part.
    fn on_set_aside(&mut self, feed: FeedId, posts: u64, now: Now) {
        let held = self.feeds.get(&feed).and_then(|state| Some((state.feed?, state.stored.head())));
        let Some((author, head)) = held else { return };
        self.last_frame = None;
        self.count("posts_set_aside_total", posts);
        self.effects.push_back(Effect::Event(Event::SetAside { feed: author, head, posts }));
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.serving.retain(|serving| serving.feed != feed);
            link.control.have.insert(feed);
            let Some(held) = link.feeds.get_mut(&feed) else { continue };
            if let Push::Live { cursor, .. } = &mut held.push {
                *cursor = (*cursor).min(head.next());
            }
            // Of which branch the rest was is asked anew.
            if held.head > head {
                held.head = head;
                link.control.ping |= !link.liveness.is_pinging();
                self.dirty.insert(link.id);
            }
        }
        self.announce_soon(now);
        if author.id == self.me.id {
            self.find_lost(now);
        }
    }

    /// The envelopes of the proofs themselves are the first ones of the branches that are taken.
    pub(super) fn adopt_winners(&mut self, feed: FeedId, via: LinkId, now: Now) {
        let Some(state) = self.feeds.get(&feed).filter(|state| feed != self.me.feed && !state.is_held_up()) else {
            return;
        };
        let winners = state.forks.places().filter_map(|place| state.forks.proof(&place));
        let winners: Vec<VerifiedEnvelope> = winners.map(|proof| proof.winner().clone()).collect();
        for winner in winners {
            let state = self.feeds.get(&feed);
            let fits = |state: &super::feeds::FeedState| state.accepted.fit(&winner) == Fit::Extends;
            if state.is_some_and(|state| fits(state) && state.takes(&winner)) {
                self.on_verified(via, winner, 0, false, now);
            }
        }
        self.consider_repair(feed, now);
    }

    pub(super) fn on_settle_failed(&mut self, ticket: Ticket, now: Now) {
        if let Some(settling) = self.settling.remove(&ticket) {
            self.count("store_failed_total", 1);
            self.timers.set(Timer::Fork(settling.feed), now.mono + super::receive::STORE_RETRY);
        }
    }

    /// Looks again from where on posts of a feed have to come in their order.
    pub(super) fn set_order(&mut self, feed: FeedId) {
        let Some(state) = self.feeds.get(&feed).filter(|state| !state.forks.is_empty()) else { return };
        let offers = |held: &LinkFeed, place: Seq| held.floor <= place && place <= held.head;
        let is_there = |place: Seq| {
            let mut held = self.up_links().filter_map(|link| link.feeds.get(&feed));
            state.accepted.run_with(place).is_some() || held.any(|held| offers(held, place))
        };
        let places = state.forks.places().map(|place| place.seq).filter(|seq| *seq >= state.base);
        let place = places.into_iter().find(|seq| is_there(*seq));
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.order_place = place;
        }
    }

    /// What follows in its order does not lead to a run that lies apart behind the place: that one is of another branch.
    fn is_apart(&self, feed: &FeedId, envelope: &VerifiedEnvelope) -> bool {
        let Some(state) = self.feeds.get(feed) else { return false };
        let Some(place) = state.order_place else { return false };
        state.accepted.clash(envelope).is_some_and(|clash| clash.run().first > place)
    }

    /// Something about a fork of this feed did not come forward.
    pub(super) fn on_fork_due(&mut self, feed: FeedId, now: Now) {
        self.on_search_due(feed, now);
        let Some(state) = self.feeds.get(&feed) else { return };
        let unsettled: Vec<ForkPlace> = state.forks.unsettled().collect();
        for place in unsettled {
            let mut at_work = self.settling.values().filter(|settling| settling.feed == feed);
            let is_at_work = at_work.any(|settling| settling.place == place);
            if !is_at_work {
                self.settle(feed, place, None, LinkId(0));
            }
        }
    }

    /// Tells a link of a fork, unless it knows.
    pub(super) fn tell_fork(&mut self, id: LinkId, feed: FeedId, place: ForkPlace, now: Now) {
        let Some(winner) = self.feeds.get(&feed).and_then(|state| state.forks.winner(&place)) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.forks_told.contains(&(feed, place, winner)) || link.control.forks.len() >= FORKS_WAITING_MAX {
            return;
        }
        link.control.forks.insert((feed, place));
        let due = link.fork_sent.map_or(now.mono, |sent| sent + FORK_INTERVAL);
        self.timers.set_once(Timer::TellForks, due);
        self.dirty.insert(id);
    }

    /// A link holds something else of this feed: it may not know of all its forks.
    pub(super) fn tell_forks_of(&mut self, id: LinkId, feed: FeedId, now: Now) {
        let places: Vec<ForkPlace> =
            self.feeds.get(&feed).map(|state| state.forks.places().collect()).unwrap_or_default();
        for place in places {
            self.tell_fork(id, feed, place, now);
        }
    }

    pub(super) fn on_tell_forks(&mut self) {
        for link in self.links.values().filter(|link| link.is_up() && !link.control.forks.is_empty()) {
            self.dirty.insert(link.id);
        }
    }

    fn note_told(&mut self, id: LinkId, feed: FeedId, place: ForkPlace, winner: Hash) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.forks_told.len() >= FORKS_TOLD_MAX {
            // At the worst something is told twice.
            link.forks_told.clear();
        }
        link.forks_told.insert((feed, place, winner));
        link.control.forks.remove(&(feed, place));
    }

    /// The next proof for a link, at most one in a while.
    pub(super) fn fork_frame(&mut self, id: LinkId, now: Now) -> Option<bytes::Bytes> {
        let link = self.links.get(&id).filter(|link| !link.control.forks.is_empty())?;
        let due = link.fork_sent.map_or(now.mono, |sent| sent + FORK_INTERVAL);
        if due > now.mono {
            self.timers.set_once(Timer::TellForks, due);
            return None;
        }
        while let Some((feed, place)) = self.links.get(&id)?.control.forks.first().copied() {
            let proof = self.feeds.get(&feed).and_then(|state| state.forks.proof(&place)).cloned();
            let winner = proof.as_ref().map_or(Hash([0; 32]), |proof| proof.winner().hash());
            self.note_told(id, feed, place, winner);
            let Some(proof) = proof.filter(|proof| fork_fits(proof.winner(), proof.loser())) else { continue };
            let link: &mut Link = self.links.get_mut(&id)?;
            link.fork_sent = Some(now.mono);
            if !link.control.forks.is_empty() {
                self.timers.set_once(Timer::TellForks, now.mono + FORK_INTERVAL);
            }
            let (a, b) = ((**proof.winner()).clone(), (**proof.loser()).clone());
            return Some(Message::Fork(Box::new(Fork { a, b })).encode());
        }
        None
    }
}
