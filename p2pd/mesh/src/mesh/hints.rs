//! Where peers are said to be, by somebody who proved nothing: what is heard on the local network.
//!
//! A hint is tried a few times and then forgotten. It never replaces what a peer says of itself, and a link ends it.

use std::collections::BTreeMap;

use super::Mesh;
use crate::id::PeerId;
use crate::limits::{ADDRS_PER_RECORD_MAX, HINT_INTERVAL, HINT_TRIES_MAX, HINTED_PEERS_MAX};
use crate::membership::record::Addr;
use crate::reconnect::Target;
use crate::status::Count;
use crate::time::{Mono, Now};
use crate::timers::Timer;

/// Hints by the peer that they are about.
#[derive(Clone, Debug, Default)]
pub(super) struct Hints(BTreeMap<PeerId, Hinted>);

#[derive(Clone, Debug, Default)]
struct Hinted {
    /// Where, and how often it was dialed there in vain.
    addrs: Vec<(Addr, u32)>,
    /// When a wait was last ended for it.
    hurried: Option<Mono>,
}

impl Hints {
    pub(super) fn addrs_of(&self, peer: PeerId) -> impl Iterator<Item = &Addr> {
        self.0.get(&peer).into_iter().flat_map(|hinted| &hinted.addrs).map(|(addr, _)| addr)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.0.remove(&peer);
    }

    /// A dial there came to nothing.
    pub(super) fn note_failure(&mut self, peer: PeerId, addr: &Addr) {
        let Some(hinted) = self.0.get_mut(&peer) else { return };
        hinted.addrs.iter_mut().filter(|(hint, _)| hint == addr).for_each(|(_, tries)| *tries += 1);
        hinted.addrs.retain(|(_, tries)| *tries < HINT_TRIES_MAX);
        if hinted.addrs.is_empty() {
            self.0.remove(&peer);
        }
    }

    /// Whether any address is new.
    fn note(&mut self, peer: PeerId, addrs: &[Addr]) -> bool {
        let hinted = self.0.entry(peer).or_default();
        let before = hinted.addrs.len();
        for addr in addrs.iter().filter(|addr| !addr.is_unroutable()) {
            let is_there = hinted.addrs.iter().any(|(hint, _)| hint == addr);
            if !is_there && hinted.addrs.len() < ADDRS_PER_RECORD_MAX {
                hinted.addrs.push((addr.clone(), 0));
            }
        }
        let is_new = hinted.addrs.len() > before;
        if hinted.addrs.is_empty() {
            self.0.remove(&peer);
        }
        is_new
    }

    /// Whether what was heard before may end a wait again.
    fn may_hurry(&mut self, peer: PeerId, now: Mono) -> bool {
        let Some(hinted) = self.0.get_mut(&peer) else { return false };
        let may = hinted.hurried.is_none_or(|hurried| now.since(hurried) >= HINT_INTERVAL);
        if may {
            hinted.hurried = Some(now);
        }
        may
    }

    pub(super) fn census(&self) -> Vec<Count> {
        let addrs = self.0.values().map(|hinted| hinted.addrs.len()).sum();
        vec![
            Count::new("hinted peers", self.0.len(), HINTED_PEERS_MAX),
            Count::new("hints", addrs, HINTED_PEERS_MAX * ADDRS_PER_RECORD_MAX),
        ]
    }
}

impl Mesh {
    /// Somebody says that a peer is there. Who is linked needs no hint.
    pub(super) fn on_hint(&mut self, peer: PeerId, addrs: &[Addr], now: Now) {
        self.count("hints_total", 1);
        let is_wanted = peer != self.me.id && self.is_welcome(peer) && !self.is_linking(peer) && !self.is_leaving;
        if !is_wanted {
            return;
        }
        if !self.has_room_for_hint(peer) {
            return self.count("hints_dropped_total", 1);
        }
        let is_new = self.hints.note(peer, addrs);
        let may_hurry = self.hints.may_hurry(peer, now.mono);
        if is_new || may_hurry {
            self.dial_hinted(peer, now);
        }
    }

    /// Ends the wait for the next dial, but not of one who refused us.
    fn dial_hinted(&mut self, peer: PeerId, now: Now) {
        let target = Target::Peer(peer);
        let is_first = self.dials.get(&target).is_none();
        let dialing = self.dials.entry(&target);
        if is_first {
            dialing.since_ms = now.unix_ms;
        }
        if !dialing.backoff.is_refused() {
            self.timers.cancel(&Timer::Dial(target.clone()));
        }
        self.dial_soon(target, now);
    }

    /// Hints that lead nowhere at the moment give way to others.
    fn has_room_for_hint(&mut self, peer: PeerId) -> bool {
        if self.hints.0.contains_key(&peer) || self.hints.0.len() < HINTED_PEERS_MAX {
            return true;
        }
        let Some(idle) = self.hints.0.keys().copied().find(|id| self.is_idle(*id)) else { return false };
        self.hints.forget(idle);
        self.forget_hearsay(idle);
        true
    }

    fn is_idle(&self, peer: PeerId) -> bool {
        let target = Target::Peer(peer);
        let is_dialed = self.dials.get(&target).is_some_and(|dialing| dialing.in_flight.is_some());
        !is_dialed && !self.dials.is_waiting(&target) && self.timers.get(&Timer::Dial(target)).is_none()
    }

    /// Whoever was known from hints alone, and has none left, is nobody to be dialed.
    pub(super) fn forget_hearsay(&mut self, peer: PeerId) {
        if self.book.get(&peer).is_none() && self.hints.addrs_of(peer).next().is_none() {
            self.dials.forget(&Target::Peer(peer));
            self.timers.cancel(&Timer::Dial(Target::Peer(peer)));
        }
    }

    /// A link proves more than any hint.
    pub(super) fn forget_hints(&mut self, peer: PeerId) {
        self.hints.forget(peer);
        self.forget_hearsay(peer);
    }
}
