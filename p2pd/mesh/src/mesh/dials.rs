//! Whom to dial, where, and when.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::RngExt;

use super::Mesh;
use super::link::Up;
use crate::effect::{Effect, Event};
use crate::id::{DialId, PeerId};
use crate::input::DialFailure;
use crate::limits::{BOOK_LEN_MAX, DIALS_FOR_CONFIGURED, DIALS_FOR_HINTED, DIALS_IN_FLIGHT_MAX, HINTED_PEERS_MAX};
use crate::membership::record::Addr;
use crate::reconnect::{Backoff, CAP, CAP_OTHERS, Target};
use crate::status::Count;
use crate::time::{Mono, Now};
use crate::timers::Timer;

/// Every target and every dial on its way.
#[derive(Clone, Debug, Default)]
pub(super) struct Dials {
    targets: BTreeMap<Target, Dialing>,
    in_flight: BTreeMap<DialId, (Target, Addr)>,
    last: u64,
    /// Due while all places were taken, in turn.
    waiting: VecDeque<Target>,
    /// Addresses where we found ourselves.
    selves: BTreeSet<Addr>,
}

/// One target.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialing {
    pub(super) backoff: Backoff,
    pub(super) in_flight: Option<DialId>,
    pub(super) tries: u32,
    pub(super) last_error: String,
    /// At the address that was dialed last somebody else was, with another key.
    pub(super) met_other: bool,
    /// Who answered at this address.
    pub(super) answered: Option<PeerId>,
    /// Where the one who answered says that it is.
    place: Vec<Addr>,
    /// Counts dials, so that all addresses have their turn.
    turn: usize,
    /// When it was last seen to change, milliseconds since 1970.
    pub(super) since_ms: u64,
    /// A link to it was up in this run: the next one is one again.
    pub(super) was_linked: bool,
}

impl Dials {
    pub(super) fn get(&self, target: &Target) -> Option<&Dialing> {
        self.targets.get(target)
    }

    pub(super) fn entry(&mut self, target: &Target) -> &mut Dialing {
        self.targets.entry(target.clone()).or_default()
    }

    /// The user's addresses. They sort before all peers, so the many peers of a full book are not gone through.
    pub(super) fn addrs(&self) -> impl Iterator<Item = (&Addr, &Dialing)> {
        self.targets.iter().map_while(|(target, dialing)| match target {
            Target::Addr(addr) => Some((addr, dialing)),
            Target::Peer(_) => None,
        })
    }

    /// The user's addresses at which this peer answered.
    pub(super) fn addrs_of(&self, peer: PeerId) -> impl Iterator<Item = &Addr> {
        self.addrs().filter(move |(_, dialing)| dialing.answered == Some(peer)).map(|(addr, _)| addr)
    }

    pub(super) fn is_configured(&self, peer: PeerId) -> bool {
        self.addrs_of(peer).next().is_some()
    }

    pub(super) fn is_self(&self, addr: &Addr) -> bool {
        self.selves.contains(addr)
    }

    /// We are another run now, and may meet the one that we took for ourselves.
    pub(super) fn forget_all_selves(&mut self) {
        self.selves.clear();
    }

    /// A peer answered at an address; if the user gave that address, it is now known whose it is.
    pub(super) fn note_answer(&mut self, addr: &Addr, peer: PeerId) {
        if let Some(dialing) = self.targets.get_mut(&Target::Addr(addr.clone())) {
            dialing.answered = Some(peer);
        }
    }

    /// Somebody else says that it is there: addresses change hands, so we may not be there any more.
    pub(super) fn forget_selves(&mut self, addrs: &[Addr]) {
        self.selves.retain(|addr| !addrs.contains(addr));
    }

    /// Who answered at an address has said where it is.
    pub(super) fn note_place(&mut self, addr: &Addr, place: &[Addr]) {
        if let Some(dialing) = self.targets.get_mut(&Target::Addr(addr.clone())) {
            dialing.place = place.to_vec();
        }
    }

    /// It is dialed no more, unless it is named again.
    pub(super) fn forget(&mut self, target: &Target) {
        self.targets.remove(target);
    }

    /// It is due, and waits for its turn.
    pub(super) fn is_waiting(&self, target: &Target) -> bool {
        self.waiting.contains(target)
    }

    pub(super) fn targets_len(&self) -> usize {
        self.targets.len()
    }

    pub(super) fn census(&self) -> Vec<Count> {
        let peers = self.targets.len() - self.addrs().count();
        vec![
            Count::new("dials in flight", self.in_flight.len(), DIALS_IN_FLIGHT_MAX),
            Count::new("dials in turn", self.waiting.len(), self.targets.len()),
            Count::new("peers to be dialed", peers, BOOK_LEN_MAX + HINTED_PEERS_MAX),
        ]
    }

    /// A dial is over.
    pub(super) fn opened(&mut self, dial: DialId) -> Option<(Target, Addr)> {
        let (target, addr) = self.in_flight.remove(&dial)?;
        // The user may have forgotten it meanwhile.
        if let Some(dialing) = self.targets.get_mut(&target) {
            dialing.in_flight = None;
        }
        Some((target, addr))
    }
}

impl Mesh {
    pub(super) fn begin_dialing(&mut self, now: Now) {
        let addrs: Vec<Target> = self.config.peers.iter().cloned().map(Target::Addr).collect();
        let peers: Vec<Target> = self.book.ids().map(Target::Peer).collect();
        for target in addrs.into_iter().chain(peers) {
            self.dials.entry(&target).since_ms = now.unix_ms;
            self.dial_soon(target, now);
        }
    }

    /// Dials a target that was not tried yet.
    pub(super) fn dial_soon(&mut self, target: Target, now: Now) {
        // Of two that learn of each other in the same moment, the smaller id dials; the larger waits for that.
        let waits = matches!(target, Target::Peer(id) if id < self.me.id);
        let range = if waits { WAIT_MS } else { SOON_MS };
        let wait = Duration::from_millis(self.rng.random_range(range));
        self.timers.set_once(Timer::Dial(target), now.mono + wait);
    }

    /// A peer signed something new, so it is alive somewhere: the wait for its next dial is over.
    pub(super) fn dial_news(&mut self, id: PeerId, now: Now) {
        let target = Target::Peer(id);
        let dialing = self.dials.entry(&target);
        dialing.since_ms = now.unix_ms;
        if !dialing.backoff.is_refused() {
            dialing.backoff.reset();
            self.timers.cancel(&Timer::Dial(target.clone()));
        }
        self.dial_soon(target, now);
    }

    pub(super) fn on_add_peer(&mut self, addr: Addr, now: Now) {
        if self.dials.is_self(&addr) {
            return;
        }
        let target = Target::Addr(addr);
        self.dials.entry(&target).since_ms = now.unix_ms;
        self.timers.set(Timer::Dial(target), now.mono);
    }

    pub(super) fn on_forget_addr(&mut self, addr: &Addr) {
        let target = Target::Addr(addr.clone());
        self.dials.targets.remove(&target);
        self.timers.cancel(&Timer::Dial(target));
    }

    pub(super) fn on_forget_peer(&mut self, id: PeerId) {
        self.book.forget(&id);
        self.memory.forget(&id);
        self.hints.forget(id);
        let addrs: Vec<Addr> = self.dials.addrs_of(id).cloned().collect();
        for addr in addrs {
            self.on_forget_addr(&addr);
        }
        let target = Target::Peer(id);
        self.dials.targets.remove(&target);
        self.timers.cancel(&Timer::Dial(target));
        self.effects.push_back(Effect::ForgetRecord(id));
    }

    pub(super) fn on_reconnect(&mut self, peer: Option<PeerId>, now: Now) {
        let targets: Vec<Target> = self.reconnectable(peer, now).cloned().collect();
        for target in targets {
            self.dials.entry(&target).backoff.reset();
            self.timers.set(Timer::Dial(target), now.mono);
        }
    }

    /// Whether an address is from the configuration or was added by hand.
    #[must_use]
    pub fn is_configured_addr(&self, addr: &Addr) -> bool {
        self.dials.get(&Target::Addr(addr.clone())).is_some()
    }

    /// How many dials `Command::Reconnect` would bring.
    #[must_use]
    pub fn reconnects(&self, peer: Option<PeerId>, now: Now) -> u32 {
        u32::try_from(self.reconnectable(peer, now).count()).unwrap_or(u32::MAX)
    }

    /// The network is back: whatever failed for want of it may work again. Who refused us refuses us still.
    pub(super) fn dial_again(&mut self, now: Now) {
        let targets: Vec<Target> = self.reconnectable(None, now).cloned().collect();
        for target in targets {
            let dialing = self.dials.entry(&target);
            if !dialing.backoff.is_refused() {
                dialing.backoff.reset();
                self.timers.set(Timer::Dial(target), now.mono);
            }
        }
    }

    /// Targets that were left aside for want of room: now there may be some.
    pub(super) fn dial_idle(&mut self, now: Now) {
        let targets: Vec<Target> = self.reconnectable(None, now).cloned().collect();
        for target in targets {
            if self.timers.get(&Timer::Dial(target.clone())).is_none() && !self.dials.waiting.contains(&target) {
                self.dial_soon(target, now);
            }
        }
    }

    /// A dial is over: whoever waits for its place is next, the user's own addresses first.
    pub(super) fn dial_waiting(&mut self, now: Now) {
        let waiting = std::mem::take(&mut self.dials.waiting);
        let (configured, others): (Vec<Target>, Vec<Target>) =
            waiting.into_iter().partition(|target| self.is_configured(target));
        for target in configured.into_iter().chain(others) {
            self.on_dial_due(target, now);
        }
    }

    fn is_configured(&self, target: &Target) -> bool {
        match target {
            Target::Addr(_) => true,
            Target::Peer(id) => self.dials.is_configured(*id),
        }
    }

    /// Whether all places for a dial of this kind are taken.
    fn is_crowded(&self, target: &Target) -> bool {
        let kept = if self.is_configured(target) { 0 } else { DIALS_FOR_CONFIGURED };
        let is_full = self.dials.in_flight.len() + kept >= DIALS_IN_FLIGHT_MAX;
        is_full || (self.is_hearsay(target) && self.hearsay_in_flight() >= DIALS_FOR_HINTED)
    }

    /// Nothing but hints tells of it.
    fn is_hearsay(&self, target: &Target) -> bool {
        match target {
            Target::Addr(_) => false,
            Target::Peer(id) => self.book.get(id).is_none(),
        }
    }

    fn hearsay_in_flight(&self) -> usize {
        self.dials.in_flight.values().filter(|(target, _)| self.is_hearsay(target)).count()
    }

    fn longest_wait(&self, target: &Target) -> Duration {
        let is_to_be_linked = self.is_configured(target) || self.book.len() <= self.config.full_mesh_max;
        if is_to_be_linked { CAP } else { CAP_OTHERS }
    }

    fn reconnectable(&self, peer: Option<PeerId>, now: Now) -> impl Iterator<Item = &Target> {
        let targets = self.dials.targets.keys().filter(move |target| peer.is_none_or(|peer| self.is_for(target, peer)));
        targets.filter(move |target| self.wants_dial(target, now))
    }

    fn is_for(&self, target: &Target, peer: PeerId) -> bool {
        match target {
            Target::Peer(id) => *id == peer,
            Target::Addr(_) => self.dials.get(target).is_some_and(|dialing| dialing.answered == Some(peer)),
        }
    }

    /// Whether a target is to be linked and is not, nor about to be.
    fn wants_dial(&self, target: &Target, now: Now) -> bool {
        let Some(dialing) = self.dials.get(target) else { return false };
        if self.is_leaving || dialing.in_flight.is_some() {
            return false;
        }
        match target {
            // Once a peer answered there, its own target uses the address too.
            Target::Addr(addr) => {
                let is_covered = dialing.answered.is_some_and(|id| self.is_covered(id, &dialing.place));
                !is_covered && !self.dials.is_self(addr)
            }
            Target::Peer(id) => {
                let is_welcome = self.is_welcome(*id) && self.penalties.banned_until(id, now.mono).is_none();
                is_welcome && !self.is_linking(*id) && self.has_room_for(*id) && !self.candidates(*id).is_empty()
            }
        }
    }

    fn has_room_for(&self, id: PeerId) -> bool {
        let up = self.up_links().count();
        up < self.config.max_connections && (up < self.config.full_mesh_max || self.dials.is_configured(id))
    }

    /// Whether the peer that answered at an address is linked, or is dialed as a peer. A link to another place where
    /// the same identity runs does not count.
    fn is_covered(&self, id: PeerId, place: &[Addr]) -> bool {
        let mut links = self.links.values().filter(|link| link.peer == id && !link.is_closing()).peekable();
        if links.peek().is_none() {
            return self.book.get(&id).is_some();
        }
        links.any(|link| link.up().is_none_or(|up| place.is_empty() || up.addrs == place))
    }

    /// Whether a link to a peer is there or about to be. One to an older run of it is none where its newest record
    /// names another place: there a second machine has the same identity, and both must be reached.
    pub(super) fn is_linking(&self, id: PeerId) -> bool {
        let record = self.book.get(&id).map(|entry| &entry.record);
        let is_newest =
            |up: &Up| record.is_none_or(|record| record.epoch <= up.instance.epoch || record.addrs == up.addrs);
        let links = self.links.values().filter(|link| link.peer == id && !link.is_closing());
        links.into_iter().any(|link| link.up().is_none_or(is_newest))
    }

    pub(super) fn is_welcome(&self, id: PeerId) -> bool {
        let is_allowed = self.config.allow.is_empty() || self.config.allow.contains(&id);
        is_allowed && !self.config.block.contains(&id)
    }

    /// Where a peer may be: what it says itself, what others say, then what the user said. Of the last nobody said who is
    /// there.
    fn candidates(&self, id: PeerId) -> Vec<(Addr, Option<PeerId>)> {
        let said = self.book.get(&id).into_iter().flat_map(|entry| &entry.record.addrs);
        let said: Vec<&Addr> = said.filter(|addr| !self.dials.is_self(addr)).collect();
        let hinted = self.hints.addrs_of(id).filter(|addr| !self.dials.is_self(addr) && !said.contains(addr));
        let named: Vec<&Addr> = said.iter().copied().chain(hinted).collect();
        let configured = self.dials.addrs_of(id).filter(|addr| !named.contains(addr));
        let configured = configured.map(|addr| (addr.clone(), None));
        named.iter().map(|addr| ((*addr).clone(), Some(id))).chain(configured).collect()
    }

    pub(super) fn on_dial_due(&mut self, target: Target, now: Now) {
        if let Some(until) = self.banned_until(&target, now) {
            self.timers.set(Timer::Dial(target), until);
            return;
        }
        if !self.wants_dial(&target, now) {
            return;
        }
        if self.is_crowded(&target) {
            // A user may ask for it again and again meanwhile.
            if !self.dials.is_waiting(&target) {
                self.dials.waiting.push_back(target);
            }
            return;
        }
        let candidates = match &target {
            Target::Addr(addr) => vec![(addr.clone(), None)],
            Target::Peer(id) => self.candidates(*id),
        };
        self.dials.last += 1;
        let dial = DialId(self.dials.last);
        let dialing = self.dials.entry(&target);
        let (addr, expected) = candidates[dialing.turn % candidates.len()].clone();
        dialing.turn += 1;
        dialing.in_flight = Some(dial);
        self.dials.in_flight.insert(dial, (target, addr.clone()));
        self.count("dials_total", 1);
        self.effects.push_back(Effect::Dial { dial, addr, expected });
    }

    fn banned_until(&self, target: &Target, now: Now) -> Option<Mono> {
        match target {
            Target::Addr(_) => None,
            Target::Peer(id) => self.penalties.banned_until(id, now.mono),
        }
    }

    pub(super) fn on_dial_failed(&mut self, dial: DialId, reason: DialFailure, detail: &str, now: Now) {
        let Some((target, addr)) = self.dials.opened(dial) else { return };
        self.count("dials_failed_total", 1);
        let hinted = self.note_vain_dial(&target, &addr);
        self.count(
            match reason {
                DialFailure::Unreachable => "dials_unreachable_total",
                DialFailure::Refused => "dials_refused_total",
                DialFailure::WrongPeer => "dials_wrong_peer_total",
            },
            1,
        );
        if self.dials.get(&target).is_some_and(|dialing| dialing.was_linked) {
            self.count("reconnects_failed_total", 1);
        }
        self.dial_waiting(now);
        if reason == DialFailure::WrongPeer {
            self.ask_anew(&addr, now);
        }
        if !self.dials.targets.contains_key(&target) {
            return;
        }
        let cap = self.longest_wait(&target);
        let addresses = match &target {
            Target::Addr(_) => 1,
            Target::Peer(id) => self.candidates(*id).len().max(1),
        };
        let dialing = self.dials.entry(&target);
        dialing.tries += 1;
        let tries = dialing.tries;
        dialing.last_error = detail.to_owned();
        dialing.met_other = reason == DialFailure::WrongPeer;
        let wait = match reason {
            DialFailure::Refused => dialing.backoff.next_refused(),
            // The other addresses come first, the wait after the last of them.
            DialFailure::Unreachable | DialFailure::WrongPeer if !dialing.turn.is_multiple_of(addresses) => {
                Duration::ZERO
            }
            DialFailure::Unreachable | DialFailure::WrongPeer => dialing.backoff.next(&mut self.rng, cap),
        };
        if self.wants_dial(&target, now) {
            self.timers.set(Timer::Dial(target), now.mono + wait);
        }
        let (retry_ms, is_refused) = (wait.as_millis() as u64, reason == DialFailure::Refused);
        let event = Event::DialFailed { addr, reason: detail.to_owned(), is_refused, tries, retry_ms };
        self.effects.push_back(Effect::Event(event));
        if let Some(id) = hinted {
            self.forget_hearsay(id);
        }
    }

    /// The peer that was dialed, where it was one.
    fn note_vain_dial(&mut self, target: &Target, addr: &Addr) -> Option<PeerId> {
        match target {
            Target::Addr(_) => None,
            Target::Peer(id) => {
                self.hints.note_failure(*id, addr);
                Some(*id)
            }
        }
    }

    /// Somebody else is now where a peer was: if the user gave that address, whoever is there is meant.
    fn ask_anew(&mut self, addr: &Addr, now: Now) {
        let target = Target::Addr(addr.clone());
        let cap = self.longest_wait(&target);
        if let Some(dialing) = self.dials.targets.get_mut(&target) {
            dialing.answered = None;
            let wait = dialing.backoff.next(&mut self.rng, cap);
            self.timers.set_once(Timer::Dial(target), now.mono + wait);
        }
    }

    /// We found ourselves there.
    pub(super) fn on_self_dialed(&mut self, addr: Addr) {
        self.timers.cancel(&Timer::Dial(Target::Addr(addr.clone())));
        self.dials.selves.insert(addr.clone());
        self.effects.push_back(Effect::Event(Event::SelfDialed { addr }));
    }

    /// A link to a peer is gone, or came to nothing: dial again after a wait.
    pub(super) fn redial(&mut self, peer: PeerId, target: Option<Target>, wait: Redial, why: &str, now: Now) {
        let targets = [Some(Target::Peer(peer)), target];
        for target in targets.into_iter().flatten() {
            if !self.dials.targets.contains_key(&target) {
                continue;
            }
            let cap = self.longest_wait(&target);
            let dialing = self.dials.entry(&target);
            dialing.since_ms = now.unix_ms;
            if wait != Redial::Spare {
                dialing.last_error = why.to_owned();
                dialing.met_other = false;
            }
            let wait = match wait {
                Redial::Spare => SPARE_WAIT,
                Redial::Fresh => {
                    dialing.backoff.reset();
                    dialing.backoff.next(&mut self.rng, cap)
                }
                Redial::Backoff => dialing.backoff.next(&mut self.rng, cap),
                Redial::Refused => dialing.backoff.next_refused(),
                Redial::After(wait) => wait,
            };
            let at = self.banned_until(&target, now).unwrap_or(now.mono + wait);
            if self.wants_dial(&target, now) || at > now.mono + wait {
                self.timers.set(Timer::Dial(target), at);
            }
        }
    }
}

/// How long to wait before dialing again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Redial {
    /// The link had held: a new story.
    Fresh,
    /// One more failure.
    Backoff,
    /// They do not want us.
    Refused,
    /// There is another link, so this is no failure.
    Spare,
    /// They said when.
    After(Duration),
}

/// Should the other link be gone too, this is soon enough.
const SPARE_WAIT: Duration = Duration::from_secs(1);
const SOON_MS: std::ops::Range<u64> = 0..20;
const WAIT_MS: std::ops::Range<u64> = 100..300;
