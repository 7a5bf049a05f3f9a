//! Frames to steps; envelopes to the store.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::feeds::Floor;
use super::link::COMPARE_WAIT;
use super::missing::Reach;
use super::penalty::Offence;
use super::{Appending, Mesh, Pending};
use crate::effect::{Append, Delivery, Effect, Event};
use crate::envelope::{AuthorKey, Envelope, EnvelopeError, VerifiedEnvelope};
use crate::feed::{Fit, Span};
use crate::id::{FeedId, Instance, LinkId, Offset, PeerId, Seq};
use crate::input::Ticket;
use crate::limits::{AUTHOR_KEYS_MAX, HOP_MAX, NEW_FEEDS_RATE, PENALTIES_MAX};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::LinkFeed;
use crate::wire::frame::FrameError;
use crate::wire::message::{Envelopes, Message, Pong};

impl Mesh {
    pub(super) fn on_frame(&mut self, id: LinkId, frame: &Bytes, now: Now) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_closing()) else { return };
        link.liveness.handle_received(now.mono);
        link.stats.bytes_received += frame.len() as u64;
        let is_up = link.is_up();
        self.count("bytes_received_total", frame.len() as u64);
        let message = match Message::decode(frame) {
            Ok(message) => message,
            Err(error) => return self.penalize(id, Offence::Protocol, error.to_string(), now),
        };
        match (is_up, message) {
            (_, Message::Hello(hello)) => self.on_hello(id, *hello, now),
            (_, Message::Bye(bye)) => self.on_bye(id, bye, now),
            // What the other side sent before it heard our goodbye, or before its hello: nothing that counts.
            (false, _) => self.penalize(id, Offence::Protocol, "a frame before the hello".into(), now),
            (true, message) => self.on_message(id, message, now),
        }
    }

    /// A frame is on its way: the other side lives, and is at work on what it was asked. It hears that we live too: its
    /// ping waits behind that frame, and it could not tell a slow line from a dead one.
    pub(super) fn on_receiving(&mut self, id: LinkId, now: Now) {
        let digest = self.feeds.digest();
        if let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up()) {
            link.liveness.handle_received(now.mono);
            link.receiving = now.mono;
            // No ping has this number.
            link.control.pong.get_or_insert(Pong { n: 0, t: 0, r: now.unix_ms, digest });
            self.dirty.insert(id);
        }
    }

    /// Whoever sends a hostile length is told why, and then not heard any more.
    pub(super) fn on_bad_frame(&mut self, id: LinkId, error: FrameError, now: Now) {
        if self.links.get(&id).is_some_and(|link| !link.is_closing()) {
            let offence = match error {
                FrameError::TooLong { .. } => Offence::Oversize,
                FrameError::TooShort { .. } => Offence::Protocol,
            };
            self.penalize(id, offence, error.to_string(), now);
        }
    }

    fn on_message(&mut self, id: LinkId, message: Message, now: Now) {
        if !self.is_within_rate(id, &message, now) {
            return;
        }
        match message {
            Message::Hello(_) | Message::Bye(_) => (),
            Message::Ping(ping) => self.on_ping(id, &ping, now),
            Message::Pong(pong) => self.on_pong(id, &pong, now),
            Message::Suspect(instance) => self.on_suspect(instance),
            Message::Peers(records) => {
                let source = self.links.get(&id).map_or(self.me.id, |link| link.peer);
                for record in records {
                    self.learn_record(record, source, Some(id), now);
                }
            }
            Message::View(view) => {
                if let Some(link) = self.links.get_mut(&id)
                    && let super::link::Phase::Up(up) = &mut link.phase
                {
                    up.view = view.neighbors.into_iter().collect();
                }
            }
            Message::Envelopes(envelopes) => self.on_envelopes(id, envelopes, now),
            Message::Have(haves) => self.on_have(id, &haves, now),
            Message::Want(want) => self.on_want(id, &want, now),
            Message::Prune(feeds) => self.on_prune(id, &feeds),
            Message::Gone { feed, floor } => self.on_gone(id, feed, floor, now),
            Message::Heads(heads) => self.on_heads(id, &heads, now),
            Message::Fork(fork) => self.on_fork(id, *fork, now),
            Message::Reserved(_) => self.count("frames_ignored_total", 1),
            Message::Unknown => self.count("frames_unknown_total", 1),
        }
    }

    fn on_envelopes(&mut self, id: LinkId, envelopes: Envelopes, now: Now) {
        let Envelopes { items, hop, live, .. } = envelopes;
        for envelope in items {
            if !self.on_envelope(id, envelope, hop, live, now) {
                return;
            }
        }
    }

    /// One envelope from a link; `false` when the link is of no more use.
    fn on_envelope(&mut self, id: LinkId, envelope: Envelope, hop: u64, is_live: bool, now: Now) -> bool {
        let feed = envelope.feed_id();
        let is_other = self.feeds.is_other(&envelope);
        if feed == self.me.feed && (is_other || self.feeds.get(&feed).is_none_or(|own| !own.holds(&envelope))) {
            return self.on_foreign_own(id, envelope, now);
        }
        if !self.knows_or_may_create(id, feed, Some(envelope.feed()), now) {
            return true;
        }
        self.note_span(id, feed, Span { floor: envelope.first(), head: envelope.last() }, now);
        self.note_served(id, feed, now);
        let is_searched = self.is_searched(id, &envelope);
        let Some(state) = self.feeds.get(&feed) else { return true };
        if state.holds(&envelope) && !is_other && !is_searched {
            self.on_duplicate(id, &envelope, is_live);
            return true;
        }
        let posts = envelope.body().posts.len() as u64;
        // Verified before anything of it is remembered.
        let envelope = match self.verify(envelope) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.count("posts_rejected_total", posts);
                self.penalize(id, Offence::InvalidSignature, error.to_string(), now);
                return false;
            }
        };
        self.pace.note_received(now.mono);
        if is_searched {
            self.on_searched(envelope, now);
        } else {
            self.on_verified(id, envelope, hop, is_live, now);
        }
        true
    }

    /// An envelope of this run's feed that this run did not write: only a machine that was resumed twice from one
    /// memory can have signed it.
    fn on_foreign_own(&mut self, id: LinkId, envelope: Envelope, now: Now) -> bool {
        match self.verify(envelope) {
            Ok(_) => self.draw_epoch(),
            Err(error) => self.penalize(id, Offence::InvalidSignature, error.to_string(), now),
        }
        self.links.get(&id).is_some_and(|link| !link.is_closing())
    }

    pub(super) fn on_verified(&mut self, id: LinkId, envelope: VerifiedEnvelope, hop: u64, is_live: bool, now: Now) {
        let feed = envelope.feed_id();
        let Some(state) = self.feeds.get(&feed) else { return };
        if state.is_held_up() || state.forks.end().is_some_and(|end| end <= envelope.last()) {
            return self.count("posts_dropped_total", envelope.body().posts.len() as u64);
        }
        if !state.takes(&envelope) {
            return self.on_conflict(id, envelope, now);
        }
        match state.fit(&envelope) {
            // Where it is held it was known to be another one, or it was not looked at here.
            Fit::Held | Fit::Conflicts => self.on_conflict(id, envelope, now),
            // What is behind a gap on another branch would wait for ever.
            Fit::Beyond if self.is_torn(id, feed) => self.count("posts_dropped_total", 1),
            Fit::Beyond => {
                if !self.feeds.wait(envelope, self.config.reorder_posts_max) {
                    self.count("posts_dropped_total", 1);
                }
                self.note_source(id, feed, is_live);
                self.consider_repair(feed, now);
            }
            Fit::Extends => {
                let last = envelope.last();
                self.note_source(id, feed, is_live);
                self.accept(envelope, id, hop, is_live, now);
                self.accept_waiting(feed, last, id, (hop, is_live), now);
                self.note_progress(feed, id, now);
            }
        }
    }

    /// A run that holds `seq` grew: what waited behind it fits now.
    fn accept_waiting(&mut self, feed: FeedId, seq: Seq, id: LinkId, (hop, is_live): (u64, bool), now: Now) {
        while let Some(next) = self.feeds.take_next(&feed, seq) {
            let Some(state) = self.feeds.get(&feed) else { return };
            match state.accepted.fit(&next) {
                Fit::Extends if state.takes(&next) => self.accept(next, id, hop, is_live, now),
                Fit::Extends | Fit::Beyond | Fit::Held | Fit::Conflicts => self.on_conflict(id, next, now),
            }
        }
    }

    /// What waits behind a gap of which nobody holds anything begins a run of its own: whoever had to ask for it has it
    /// so. Whether it did.
    pub(super) fn begin_waiting(&mut self, feed: FeedId, id: LinkId, now: Now) -> bool {
        let Some(state) = self.feeds.get(&feed) else { return false };
        let Some((first, before)) = state.gap_before_waiting() else { return false };
        let offers = |held: &LinkFeed| {
            let (from, to) = state.offered(held, Reach::All);
            from < first && before < to
        };
        let is_offered = self.up_links().filter_map(|link| link.feeds.get(&feed)).any(offers);
        if is_offered || !state.may_begin_at(first) {
            return false;
        }
        let fits = |envelope: &VerifiedEnvelope| matches!(state.accepted.fit(envelope), Fit::Extends | Fit::Beyond);
        let fits = state.waiting.get(&first).is_some_and(fits);
        let Some(envelope) = self.feeds.take_first_waiting(&feed) else { return false };
        if !fits {
            // Its author signed something else for its last numbers, and that came first.
            self.on_conflict(id, envelope, now);
            return false;
        }
        let last = envelope.last();
        self.accept(envelope, id, 0, false, now);
        self.accept_waiting(feed, last, id, (0, false), now);
        self.note_progress(feed, id, now);
        true
    }

    fn on_duplicate(&mut self, id: LinkId, envelope: &Envelope, is_live: bool) {
        let posts = envelope.body().posts.len() as u64;
        self.count("posts_duplicate_total", posts);
        if let Some(link) = self.links.get_mut(&id) {
            link.stats.posts_duplicate += posts;
        }
        if is_live {
            self.prune_unless_source(id, envelope.feed_id(), envelope.feed());
        }
    }

    pub(super) fn verify(&mut self, envelope: Envelope) -> Result<VerifiedEnvelope, EnvelopeError> {
        let author = envelope.feed().id;
        if !self.authors.contains_key(&author) {
            let key = AuthorKey::new(&author)?;
            if self.authors.len() >= AUTHOR_KEYS_MAX {
                self.authors.pop_first();
            }
            self.authors.insert(author, key);
        }
        let key = self.authors.get(&author).ok_or(EnvelopeError::Author)?;
        envelope.verify(key)
    }

    fn accept(&mut self, envelope: VerifiedEnvelope, via: LinkId, hop: u64, is_live: bool, now: Now) {
        let posts = envelope.body().posts.len() as u64;
        if let Some(state) = self.feeds.get_mut(&envelope.feed_id()) {
            state.accepted.add(&envelope);
            if state.accepted.head() == envelope.last() {
                state.risen = now.mono;
                state.hop = hop.min(HOP_MAX) + 1;
            }
        }
        if let Some(link) = self.links.get_mut(&via) {
            link.stats.posts_received += posts;
            link.compare_wait = COMPARE_WAIT;
        }
        self.count("posts_received_total", posts);
        if !is_live {
            self.count("sync_posts_total", posts);
        }
        let own = envelope.feed().id == self.me.id;
        if own {
            self.note_own_returned(envelope.feed(), posts);
        }
        let last_at = envelope.body().last_at();
        let delivery = self.delivery(envelope, own);
        self.clock.merge(last_at, now.unix_ms);
        self.accepted.push(Pending { delivery, via: Some(via), is_live, slots: Vec::new() });
    }

    /// While another machine with this identity is linked, its posts are no news: that one is told by itself. The epochs
    /// say nothing here: the run that was lost may have begun within the second in which this one did.
    fn note_own_returned(&mut self, feed: Instance, posts: u64) {
        let has_twin = self.links.values().any(|link| link.peer == self.me.id);
        if has_twin {
            return;
        }
        if !self.counters.contains_key(OWN_RETURNED) {
            self.effects.push_back(Effect::Event(Event::OwnPostsReturned { feed }));
        }
        self.count(OWN_RETURNED, posts);
    }

    /// Gives an envelope its place in the order of arrival.
    pub(super) fn delivery(&mut self, envelope: VerifiedEnvelope, own: bool) -> Delivery {
        let offset = self.next_offset;
        self.next_offset = Offset(offset.0 + envelope.body().posts.len() as u64);
        let head = self.feeds.get(&envelope.feed_id()).map_or(Seq(0), |state| state.accepted.head());
        // Readers are told where a feed is not in its order, however short a time that takes.
        let late = envelope.last() < head || self.clock.is_late(envelope.body().at);
        Delivery { offset, envelope, own, late, forked: false }
    }

    pub(super) fn append_accepted(&mut self) {
        if !self.accepted.is_empty() {
            let accepted = std::mem::take(&mut self.accepted);
            self.append(accepted, false);
        }
    }

    pub(super) fn append(&mut self, pending: Vec<Pending>, flush: bool) -> Ticket {
        let ticket = self.ticket();
        let envelopes: Vec<Delivery> = pending.iter().map(|pending| pending.delivery.clone()).collect();
        self.unstored_bytes += bytes_of(&pending);
        self.pending.insert(ticket, Appending { generation: self.generation, pending });
        self.effects.push_back(Effect::Append(Append { ticket, generation: self.generation, flush, envelopes }));
        ticket
    }

    pub(super) fn on_appended(&mut self, ticket: Ticket, now: Now) {
        let Some(Appending { pending, .. }) = self.pending.remove(&ticket) else { return };
        self.unstored_bytes -= bytes_of(&pending);
        for pending in pending {
            let delivery = &pending.delivery;
            let posts = delivery.envelope.body().posts.len() as u64;
            let floor = self.feeds.store(&delivery.envelope);
            self.stored_offset = Offset(delivery.offset.0 + posts - 1);
            self.effects.push_back(Effect::Deliver(delivery.clone()));
            self.count("posts_delivered_total", posts);
            self.note_delay(&pending, now);
            if pending.via.is_none() {
                self.count("posts_sent_total", posts);
                self.answer_sealed(&pending);
                self.note_said_again(again(&pending));
            }
            self.spread(&pending, now);
            if floor == Floor::Moved {
                self.tell_floor(pending.delivery.envelope.feed_id());
            }
        }
        self.sealed_done(ticket);
        self.timers.set(Timer::Settle, now.mono + super::spread::SETTLE_AFTER);
    }

    /// How long it took from the author's clock to here. What was fetched later says nothing of how fast we are.
    fn note_delay(&mut self, pending: &Pending, now: Now) {
        let Some(via) = pending.via.filter(|_| pending.is_live) else { return };
        let body = pending.delivery.envelope.body();
        let author = pending.delivery.envelope.feed().id;
        let link = self.links.get(&via).filter(|link| link.peer == author).or_else(|| self.link_to(author));
        let offset_us = link.map_or(0, |link| link.liveness.clock_offset_us());
        let sent_us = (body.at.ms as i64).saturating_mul(1_000).saturating_sub(offset_us);
        let delay_us = (now.unix_ms as i64).saturating_mul(1_000).saturating_sub(sent_us);
        // Clocks differ by more than a fast delivery takes.
        self.delivery.observe(u64::try_from(delay_us).unwrap_or(0));
    }

    pub(super) fn on_append_failed(&mut self, ticket: Ticket, why: &str, now: Now) {
        let Some(failed) = self.pending.remove(&ticket) else { return };
        self.unstored_bytes -= bytes_of(&failed.pending);
        self.count("store_failed_total", 1);
        if failed.generation == self.generation {
            // What was built on it fails too: its feeds go back now, before anything new can build on it.
            self.generation += 1;
            self.store_rests_until = now.mono + STORE_RETRY;
            self.roll_back(&failed.pending, now);
            let pending = std::mem::take(&mut self.pending);
            for appending in pending.values() {
                self.roll_back(&appending.pending, now);
            }
            self.pending = pending;
            self.effects.push_back(Effect::Event(Event::StoreFailed { why: why.into() }));
        }
        for pending in failed.pending {
            self.refuse_sealed(&pending.slots, why);
            self.note_not_said_again(again(&pending), now);
        }
        self.sealed_done(ticket);
    }

    fn roll_back(&mut self, pending: &[Pending], now: Now) {
        for pending in pending {
            let feed = pending.delivery.envelope.feed_id();
            if let Some(state) = self.feeds.get_mut(&feed) {
                state.accepted = state.stored.clone();
            }
            self.unask(feed);
            self.timers.set(Timer::Repair(feed), now.mono + STORE_RETRY);
        }
    }

    /// Whether something of this feed may be remembered. A peer can make us create only so many.
    pub(super) fn knows_or_may_create(&mut self, id: LinkId, feed: FeedId, name: Option<Instance>, now: Now) -> bool {
        let is_known = self.feeds.get(&feed).is_some();
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return false };
        if self.new_feeds.len() >= PENALTIES_MAX {
            let linked: BTreeSet<PeerId> = self.links.values().map(|link| link.peer).collect();
            self.new_feeds.retain(|peer, _| linked.contains(peer));
        }
        let bucket = self.new_feeds.entry(peer).or_default();
        if !is_known && !bucket.take(1, NEW_FEEDS_RATE, now.mono) {
            self.count("feeds_delayed_total", 1);
            return false;
        }
        self.feeds.entry(feed, name, now.mono);
        true
    }
}

/// How many of its posts say again what lost its number.
fn again(pending: &Pending) -> usize {
    let posts = &pending.delivery.envelope.body().posts;
    if pending.via.is_some() { 0 } else { posts.iter().filter(|post| post.was.is_some()).count() }
}

fn bytes_of(pending: &[Pending]) -> usize {
    pending.iter().map(|pending| pending.delivery.envelope.bytes().len()).sum()
}

const OWN_RETURNED: &str = "own_posts_returned_total";
/// Before what the store refused is asked for again.
pub(super) const STORE_RETRY: std::time::Duration = std::time::Duration::from_secs(1);
