//! The mesh: inputs go in, effects come out.

mod census;
mod compare;
mod configure;
mod dials;
mod epoch;
mod feeds;
mod forks;
mod graph;
mod hello;
mod hints;
mod holders;
mod link;
mod missing;
mod outbox;
mod pace;
mod penalty;
mod places;
mod pump;
mod rates;
mod receipts;
mod receive;
mod repair;
mod report;
mod retain;
mod search;
mod spread;
mod sync_state;

pub use outbox::{check_text, is_room};

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;

use crate::clock::Clock;
use crate::config::{Config, Setup};
use crate::effect::{Delivery, Effect, Event};
use crate::envelope::AuthorKey;
use crate::id::{FeedId, Instance, LinkId, Offset, PeerId, Seq};
use crate::input::{Command, Input, Ticket};
use crate::limits::{IN_FLIGHT_BYTES_MAX, SUSPICIONS_PER_LINK_MAX, UNSTORED_BYTES_MAX};
use crate::liveness::Verdict;
use crate::membership::book::Book;
use crate::membership::record::{Addr, Record};
use crate::status::Histogram;
use crate::time::{Mono, Now};
use crate::timers::{Timer, Timers};
use dials::Dials;
use epoch::Renewal;
use feeds::Feeds;
use forks::Settling;
use hints::Hints;
use holders::Memory;
use link::Link;
use outbox::{Outbox, Slot};
use pace::Pace;
use penalty::Penalties;
use rates::Bucket;

/// Everything this peer knows and decides. One input at a time; drain all effects before the next.
#[derive(Clone, Debug)]
pub struct Mesh {
    me: Me,
    config: Config,
    rng: Xoshiro256PlusPlus,
    clock: Clock,
    timers: Timers,
    effects: VecDeque<Effect>,
    links: BTreeMap<LinkId, Link>,
    /// Links that may have something to send.
    dirty: BTreeSet<LinkId>,
    dials: Dials,
    hints: Hints,
    book: Book,
    feeds: Feeds,
    /// Feeds known to be longer elsewhere.
    behind: BTreeSet<FeedId>,
    /// What peers hold that are not linked now.
    memory: Memory,
    /// When announcements last went out.
    announced: Option<Mono>,
    authors: BTreeMap<PeerId, AuthorKey>,
    outbox: Outbox,
    pace: Pace,
    /// Verified by this input, not yet handed to the store.
    accepted: Vec<Pending>,
    /// Handed to the store.
    pending: BTreeMap<Ticket, Appending>,
    unstored_bytes: usize,
    generation: u64,
    /// The store refused something: nothing is asked for before this moment.
    store_rests_until: Mono,
    next_ticket: u64,
    next_offset: Offset,
    stored_offset: Offset,
    /// Links that wait for the store.
    reads: BTreeMap<Ticket, LinkId>,
    /// Searches that wait for the store.
    searches: BTreeMap<Ticket, FeedId>,
    /// Forks that the store is at work on.
    settling: BTreeMap<Ticket, Settling>,
    renewal: Renewal,
    /// The last live frame: links at the same place share it.
    last_frame: Option<LastFrame>,
    penalties: Penalties,
    /// How many feeds each peer may still make us create.
    new_feeds: BTreeMap<PeerId, Bucket>,
    counters: BTreeMap<&'static str, u64>,
    rtt: Histogram,
    delivery: Histogram,
    is_leaving: bool,
    /// The handled timers were so late that nobody may be judged by them.
    is_late: bool,
}

/// This peer.
#[derive(Clone, Debug)]
struct Me {
    key: SigningKey,
    id: PeerId,
    instance: Instance,
    feed: FeedId,
    record: Record,
    addrs: Vec<Addr>,
}

/// An envelope on its way into the store.
#[derive(Clone, Debug)]
struct Pending {
    delivery: Delivery,
    /// Who brought it; none for one's own.
    via: Option<LinkId>,
    /// It was pushed when new.
    is_live: bool,
    /// Who waits for it.
    slots: Vec<Slot>,
}

/// Envelopes that the store was asked to keep.
#[derive(Clone, Debug)]
struct Appending {
    generation: u64,
    pending: Vec<Pending>,
}

/// A live frame and where it begins.
#[derive(Clone, Debug)]
struct LastFrame {
    feed: FeedId,
    from: Seq,
    first: Seq,
    head: Seq,
    next: Seq,
    is_live: bool,
    bytes: Bytes,
}

impl Mesh {
    /// Begins.
    #[must_use]
    pub fn new(setup: Setup, now: Now) -> Self {
        let Setup { key, epoch, config, feeds, forks, next_offset, book, forgotten, seed } = setup;
        let id = PeerId(key.verifying_key().to_bytes());
        let instance = Instance { id, epoch };
        let addrs = config.advertise.clone();
        let record = Record::sign(&key, epoch.0, &addrs, &config.name, epoch);
        let mut mesh = Self {
            me: Me { key, id, instance, feed: instance.feed_id(), record, addrs },
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            clock: Clock::default(),
            timers: Timers::default(),
            effects: VecDeque::new(),
            links: BTreeMap::new(),
            dirty: BTreeSet::new(),
            dials: Dials::default(),
            hints: Hints::default(),
            book: Book::new(id, book, forgotten),
            feeds: Feeds::new(feeds, &forks),
            behind: BTreeSet::new(),
            memory: Memory::default(),
            announced: None,
            authors: BTreeMap::new(),
            outbox: Outbox::default(),
            pace: Pace::default(),
            accepted: Vec::new(),
            pending: BTreeMap::new(),
            unstored_bytes: 0,
            generation: 0,
            store_rests_until: Mono(0),
            next_ticket: 1,
            next_offset,
            stored_offset: Offset(next_offset.0.saturating_sub(1)),
            reads: BTreeMap::new(),
            searches: BTreeMap::new(),
            settling: BTreeMap::new(),
            renewal: Renewal::default(),
            last_frame: None,
            penalties: Penalties::default(),
            new_feeds: BTreeMap::new(),
            counters: BTreeMap::new(),
            rtt: Histogram::default(),
            delivery: Histogram::default(),
            is_leaving: false,
            is_late: false,
            config,
        };
        for tip in mesh.feeds.iter().map(|(_, feed)| feed.stored.tip().at).collect::<Vec<_>>() {
            mesh.clock.merge(tip, now.unix_ms);
        }
        mesh.begin_dialing(now);
        if forks.iter().any(|proof| proof.feed().id == id) {
            mesh.find_lost(now);
        }
        mesh
    }

    /// Something happened outside.
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::LinkOpened(opened) => self.on_link_opened(&opened, now),
            Input::DialFailed { dial, reason, detail } => self.on_dial_failed(dial, reason, &detail, now),
            Input::Frame { link, frame } => self.on_frame(link, &frame, now),
            Input::Receiving(link) => self.on_receiving(link, now),
            Input::BadFrame { link, error } => self.on_bad_frame(link, error, now),
            Input::Written { link, bytes } => self.on_written(link, bytes, now),
            Input::LinkClosed { link, reason } => self.on_link_closed(link, &reason, now),
            Input::Appended(ticket) => self.on_appended(ticket, now),
            Input::AppendFailed { ticket, why } => self.on_append_failed(ticket, &why, now),
            Input::ReadDone { ticket, envelopes } => self.on_read_done(ticket, &envelopes, now),
            Input::KeysFound { ticket, posts } => self.on_keys_found(ticket, posts),
            Input::Settled { ticket, settled } => self.on_settled(ticket, *settled, now),
            Input::SettleFailed(ticket) => self.on_settle_failed(ticket, now),
            Input::EpochDrawn(epoch) => self.on_epoch_drawn(epoch, now),
            Input::LostFound { ticket, posts } => self.on_lost_found(ticket, posts),
            Input::Retained { feeds } => self.on_retained(feeds, now),
            Input::Command(command) => self.on_command(command, now),
        }
        self.finish(now);
    }

    /// The moment of `poll_timeout` has come, or is past.
    pub fn handle_timeout(&mut self, now: Now) {
        // After a sleep of our own loop every silence is our own fault.
        self.is_late = self.timers.next().is_some_and(|due| now.mono.since(due) > LATE_AFTER);
        while let Some((_, timer)) = self.timers.pop_due(now.mono) {
            self.on_timer(timer, now);
        }
        self.finish(now);
    }

    /// What shall be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When `handle_timeout` wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// So much waits for the store that nothing more should be read from links for now.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.unstored_bytes > UNSTORED_BYTES_MAX
    }

    fn on_command(&mut self, command: Command, now: Now) {
        match command {
            Command::Publish { token, posts } => self.on_publish(token, posts),
            Command::AddPeer(addr) => self.on_add_peer(addr, now),
            Command::Hint { peer, addrs } => self.on_hint(peer, &addrs, now),
            Command::ForgetPeer(id) => self.on_forget_peer(id),
            Command::ForgetAddr(addr) => self.on_forget_addr(&addr),
            Command::Reconnect(peer) => self.on_reconnect(peer, now),
            Command::Ping { token, peer } => self.on_ping_command(token, peer),
            Command::Sync => self.on_sync(),
            Command::Configure(config) => self.on_configure(*config, now),
            Command::Block(peers) => self.on_block(peers, now),
            Command::Leave => self.on_leave(now),
        }
    }

    fn on_timer(&mut self, timer: Timer, now: Now) {
        match timer {
            Timer::Hello(link) => self.refuse(link, crate::wire::message::ByeCode::Protocol, "no hello in time", now),
            Timer::Liveness(link) => self.on_liveness(link, now),
            Timer::Compare(link) => self.on_compare(link, now),
            Timer::Dial(target) => self.on_dial_due(target, now),
            Timer::Repair(feed) => self.on_repair_due(feed, now),
            Timer::Fork(feed) => self.on_fork_due(feed, now),
            Timer::TellForks => self.on_tell_forks(),
            Timer::Epoch => self.on_epoch_due(),
            Timer::Announce => self.on_announce(now),
            Timer::Settle => self.on_settle(),
            Timer::View => self.on_view_due(),
            // Every input ends with sealing what may be sealed.
            Timer::Seal => (),
        }
    }

    /// What every input ends with: hand over what was verified, seal what was said, fill the links.
    fn finish(&mut self, now: Now) {
        self.append_accepted();
        self.seal(now);
        while let Some(link) = self.dirty.pop_first() {
            self.pump(link, now);
        }
    }

    fn on_liveness(&mut self, id: LinkId, now: Now) {
        // While our own store holds us up, we read nobody's answers.
        let is_late = self.is_late || self.is_saturated();
        let Some(link) = self.links.get_mut(&id).filter(|link| link.is_up()) else { return };
        if is_late {
            link.liveness.excuse(now.mono);
        }
        let was_suspect = link.liveness.is_suspect();
        let verdict = link.liveness.check(now.mono);
        let instance = link.up().map(|up| up.instance);
        if let Some(peer) = instance.filter(|_| link.liveness.is_suspect() && !was_suspect) {
            self.effects.push_back(Effect::Event(Event::Suspected { peer }));
        }
        match verdict {
            Verdict::Wait(at) => self.timers.set(Timer::Liveness(id), at),
            Verdict::Ping => {
                link.control.ping = true;
                if link.in_flight >= IN_FLIGHT_BYTES_MAX {
                    // It cannot go out, and that nothing goes out is a reason to doubt: the trial begins all the same.
                    link.liveness.ping(now.mono);
                    self.timers.set(Timer::Liveness(id), now.mono);
                }
                // Sending it sets the next look.
                self.dirty.insert(id);
            }
            Verdict::Dead => self.on_dead(id, now),
        }
    }

    /// A link died silently: others may find out the same sooner if they know.
    fn on_dead(&mut self, id: LinkId, now: Now) {
        self.count("heartbeats_missed_total", 1);
        if let Some(instance) = self.links.get(&id).and_then(|link| link.up()).map(|up| up.instance) {
            let frame = crate::wire::message::Message::Suspect(instance).encode();
            let takes = |link: &Link| link.is_up() && link.control.frames.len() < SUSPICIONS_PER_LINK_MAX;
            for (other, link) in self.links.iter_mut().filter(|(other, link)| **other != id && takes(link)) {
                link.control.frames.push_back(frame.clone());
                self.dirty.insert(*other);
            }
        }
        self.take_down(id, "heartbeat timeout", now);
    }

    fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    fn count(&mut self, counter: &'static str, by: u64) {
        *self.counters.entry(counter).or_default() += by;
    }

    fn up_links(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|link| link.is_up())
    }

    fn link_to(&self, peer: PeerId) -> Option<&Link> {
        self.up_links().find(|link| link.peer == peer)
    }

    /// The link to the run that writes a feed, also where its author is not known by name yet.
    fn writer_link(&self, feed: FeedId) -> Option<&Link> {
        self.up_links().find(|link| link.up().is_some_and(|up| up.feed == feed))
    }

    fn author_link(&self, feed: Instance) -> Option<LinkId> {
        self.up_links().find(|link| link.up().is_some_and(|up| up.instance == feed)).map(|link| link.id)
    }
}

/// Timers later than this say something of us, not of others.
const LATE_AFTER: std::time::Duration = std::time::Duration::from_millis(500);

#[cfg(test)]
mod tests;
