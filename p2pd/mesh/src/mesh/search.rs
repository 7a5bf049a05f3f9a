//! Where two branches part: found by halving, with one envelope of the other side's and one of ours at a time.
//!
//! Up to the place both chains are the same, and from there on no envelope is. So a pair of envelopes for one number
//! tells on which side of it the place is, and it takes no more memory than that pair, however long the branches are.

use std::time::Duration;

use super::Mesh;
use crate::effect::Effect;
use crate::envelope::VerifiedEnvelope;
use crate::fork::ForkProof;
use crate::id::{FeedId, LinkId, Seq};
use crate::input::{ReadFrom, Ticket};
use crate::time::Now;
use crate::timers::Timer;
use crate::wire::message::Want;

/// A search on its way: one at a time for each feed.
#[derive(Clone, Debug)]
pub(super) struct Search {
    /// Who holds the other branch.
    link: LinkId,
    /// The place is not below this number, and not above the other.
    low: Seq,
    high: Seq,
    /// The number that is compared now.
    at: Seq,
    ours: Option<VerifiedEnvelope>,
    theirs: Option<VerifiedEnvelope>,
    ticket: Ticket,
}

/// What a pair of envelopes tells.
enum Found {
    Place(Box<ForkProof>),
    Between(Seq, Seq),
}

impl Mesh {
    /// A link holds another branch than we do: find out where they part. `theirs` is of that branch, or else the end
    /// of what both hold is.
    pub(super) fn begin_search(&mut self, id: LinkId, feed: FeedId, theirs: Option<VerifiedEnvelope>, now: Now) {
        let Some(held) = self.links.get(&id).filter(|link| link.is_up()).and_then(|link| link.feeds.get(&feed)) else {
            return;
        };
        let (may_begin, their_floor) = (held.search_after <= now.mono, held.floor);
        let Some(state) = self.feeds.get(&feed).filter(|state| state.search.is_none() && !state.is_held_up()) else {
            return;
        };
        // Where it claims what is held, or beside what it does not continue.
        let beside = |theirs: &VerifiedEnvelope| {
            let first = theirs.first();
            let places = [first, Seq(first.0.saturating_sub(1)), theirs.last().next()];
            places.into_iter().find(|seq| state.accepted.run_with(*seq).is_some())
        };
        let high = theirs.as_ref().map_or(Some(state.accepted.head()), beside);
        let Some((high, run)) = high.and_then(|high| Some((high, *state.accepted.run_with(high)?))) else { return };
        let theirs = theirs.filter(|theirs| theirs.first() <= high && high <= theirs.last());
        let low = run.first.max(their_floor);
        if !may_begin || low > high {
            return;
        }
        if state.asked.as_ref().is_some_and(|asked| asked.link == id) {
            self.unask(feed);
        }
        self.count("fork_searches_total", 1);
        let (ours, ticket) = (None, Ticket(0));
        let search = Search { link: id, low, high, at: high, ours, theirs, ticket };
        self.probe(feed, search, now);
    }

    /// Asks both sides for what they hold at one number.
    fn probe(&mut self, feed: FeedId, mut search: Search, now: Now) {
        let (at, id) = (search.at, search.link);
        // What is on its way into the store is compared too: the store reads behind what it was given.
        self.append_accepted();
        search.ticket = self.ticket();
        self.searches.insert(search.ticket, feed);
        let from = ReadFrom { feed, from: at, to: at, bytes_max: 1 };
        self.effects.push_back(Effect::Read { ticket: search.ticket, from });
        if search.theirs.is_none()
            && let Some(link) = self.links.get_mut(&id)
        {
            link.control.wants.insert(feed, Want { feed, ranges: vec![(at, Some(at))], push: false });
            self.dirty.insert(id);
        }
        if let Some(state) = self.feeds.get_mut(&feed) {
            state.search = Some(Box::new(search));
        }
        self.timers.set(Timer::Fork(feed), now.mono + PROBE_PATIENCE);
    }

    /// Our half of a pair came from the store.
    pub(super) fn on_search_read(&mut self, feed: FeedId, ticket: Ticket, envelopes: &[VerifiedEnvelope], now: Now) {
        let search = self.feeds.get_mut(&feed).and_then(|state| state.search.as_mut());
        let Some(search) = search.filter(|search| search.ticket == ticket) else { return };
        let at = search.at;
        search.ours = envelopes.iter().find(|ours| ours.first() <= at && at <= ours.last()).cloned();
        if search.ours.is_none() {
            return self.end_search(feed, now);
        }
        self.compare_branches(feed, now);
    }

    /// Whether an envelope is what a search waits for.
    pub(super) fn is_searched(&self, id: LinkId, envelope: &crate::envelope::Envelope) -> bool {
        let search = self.feeds.get(&envelope.feed_id()).and_then(|state| state.search.as_ref());
        search.is_some_and(|search| {
            search.link == id && search.theirs.is_none() && (envelope.first()..=envelope.last()).contains(&search.at)
        })
    }

    /// The other half came from the link.
    pub(super) fn on_searched(&mut self, envelope: VerifiedEnvelope, now: Now) {
        let feed = envelope.feed_id();
        if let Some(search) = self.feeds.get_mut(&feed).and_then(|state| state.search.as_mut()) {
            search.theirs = Some(envelope);
        }
        self.compare_branches(feed, now);
    }

    fn compare_branches(&mut self, feed: FeedId, now: Now) {
        let Some(search) = self.feeds.get(&feed).and_then(|state| state.search.as_deref().cloned()) else { return };
        let (Some(ours), Some(theirs)) = (&search.ours, &search.theirs) else { return };
        match compare(&search, ours, theirs) {
            Found::Place(proof) => {
                if let Some(state) = self.feeds.get_mut(&feed) {
                    state.search = None;
                }
                self.postpone_search(search.link, feed, now);
                let is_known = self
                    .feeds
                    .get(&feed)
                    .is_some_and(|state| !state.forks.is_news(&proof.place(), proof.winner().hash()));
                if is_known {
                    self.tell_fork(search.link, feed, proof.place(), now);
                    return self.consider_repair(feed, now);
                }
                self.learn_fork(&proof, search.link, now);
                self.tell_fork(search.link, feed, proof.place(), now);
            }
            Found::Between(low, high) if low <= high => {
                let at = Seq(low.0 + (high.0 - low.0) / 2);
                self.probe(feed, Search { low, high, at, ours: None, theirs: None, ..search }, now);
            }
            Found::Between(..) => self.end_search(feed, now),
        }
    }

    /// The other side holds nothing below its floor: neither do the branches part where we could see it.
    pub(super) fn on_search_gone(&mut self, id: LinkId, feed: FeedId, floor: Seq, now: Now) {
        let search = self.feeds.get(&feed).and_then(|state| state.search.as_deref().cloned());
        let Some(search) = search.filter(|search| search.link == id && search.at < floor) else { return };
        let low = search.low.max(floor);
        if low > search.high {
            return self.end_search(feed, now);
        }
        let at = Seq(low.0 + (search.high.0 - low.0) / 2);
        self.probe(feed, Search { low, at, ours: None, theirs: None, ..search }, now);
    }

    pub(super) fn on_search_due(&mut self, feed: FeedId, now: Now) {
        if self.feeds.get(&feed).is_some_and(|state| state.search.is_some()) {
            self.end_search(feed, now);
        }
    }

    /// Nothing was found: the branches part below what one of both holds, or the other side changed its mind. Each
    /// keeps what it has, and the next difference begins anew.
    fn end_search(&mut self, feed: FeedId, now: Now) {
        let search = self.feeds.get_mut(&feed).and_then(|state| state.search.take());
        if let Some(search) = search {
            self.count("fork_searches_vain_total", 1);
            self.postpone_search(search.link, feed, now);
        }
        self.timers.cancel(&Timer::Fork(feed));
        self.consider_repair(feed, now);
    }

    fn postpone_search(&mut self, id: LinkId, feed: FeedId, now: Now) {
        if let Some(held) = self.links.get_mut(&id).and_then(|link| link.feeds.get_mut(&feed)) {
            held.search_after = now.mono + SEARCH_PAUSE;
        }
    }
}

fn compare(search: &Search, ours: &VerifiedEnvelope, theirs: &VerifiedEnvelope) -> Found {
    if ours.hash() == theirs.hash() {
        return Found::Between(ours.last().next(), search.high);
    }
    let (low, lowest) = (search.low, ours.first().min(theirs.first()));
    if let Some(proof) = ForkProof::new(ours.clone(), theirs.clone()) {
        return Found::Place(Box::new(proof));
    }
    // Where both begin with different pasts, the place is before them; else it may be where the earlier one begins.
    let is_below = ours.first() == theirs.first() || search.low == search.high;
    Found::Between(low, if is_below { Seq(lowest.0.saturating_sub(1)) } else { lowest })
}

/// For one pair.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);
/// Before the branches of one link are compared again.
const SEARCH_PAUSE: Duration = Duration::from_secs(5);
