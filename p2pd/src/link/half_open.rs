//! Links that were accepted and have not said hello: how many there may be, and which one goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2p_mesh::limits::{HALF_OPEN_MAX, HALF_OPEN_PER_ADDR_MAX};
use tokio_util::sync::CancellationToken;

/// All half-open links, oldest first.
#[derive(Default)]
pub(super) struct HalfOpen {
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    held: Vec<Held>,
    next: u64,
}

struct Held {
    number: u64,
    ip: IpAddr,
    /// It showed that it knows a network secret.
    known: bool,
    evicted: CancellationToken,
}

/// The place of one half-open link. Dropping it frees the place: the link said hello, or it is gone.
pub(super) struct Slot {
    of: Arc<HalfOpen>,
    number: u64,
    /// Somebody newer needs the place: the link must close.
    pub(super) evicted: CancellationToken,
}

impl HalfOpen {
    /// A place for a link from `ip`; none where that address has as many as it may have.
    ///
    /// When all places are taken the oldest link goes, of those that showed no secret where there are any: strangers
    /// can then push each other out, but hardly a peer.
    pub(super) fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let mut slots = self.lock();
        let from_there = slots.held.iter().filter(|held| held.ip == ip).count();
        if from_there >= HALF_OPEN_PER_ADDR_MAX && !ip.is_loopback() {
            return None;
        }
        if slots.held.len() >= HALF_OPEN_MAX {
            let oldest = slots.held.iter().position(|held| !held.known).unwrap_or(0);
            slots.held.remove(oldest).evicted.cancel();
        }
        let (number, evicted) = (slots.next, CancellationToken::new());
        slots.next += 1;
        slots.held.push(Held { number, ip, known: false, evicted: evicted.clone() });
        Some(Slot { of: Arc::clone(self), number, evicted })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().held.len()
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// The link showed that it knows a network secret.
    pub(super) fn mark_known(&self) {
        let mut slots = self.of.lock();
        if let Some(held) = slots.held.iter_mut().find(|held| held.number == self.number) {
            held.known = true;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.lock().held.retain(|held| held.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn n_08_an_address_has_four_places_and_loopback_has_all() {
        let half_open = Arc::new(HalfOpen::default());
        let slots: Vec<Slot> = (0..4).map(|_| half_open.enter(ip(1)).unwrap()).collect();
        assert!(half_open.enter(ip(1)).is_none());
        assert!(half_open.enter(ip(2)).is_some());
        drop(slots);
        assert!(half_open.enter(ip(1)).is_some());
        let local: Vec<Slot> = (0..20).map(|_| half_open.enter([127, 0, 0, 1].into()).unwrap()).collect();
        assert_eq!(half_open.count(), local.len());
    }

    #[test]
    fn h_04_the_oldest_goes_when_all_places_are_taken() {
        let half_open = Arc::new(HalfOpen::default());
        let slots: Vec<Slot> = (0..40).map(|n| half_open.enter(ip(n)).unwrap()).collect();
        assert_eq!(half_open.count(), HALF_OPEN_MAX);
        let evicted = slots.iter().take_while(|slot| slot.evicted.is_cancelled()).count();
        assert_eq!(evicted, 40 - HALF_OPEN_MAX);
        assert!(slots[evicted..].iter().all(|slot| !slot.evicted.is_cancelled()));
        drop(slots);
        assert_eq!(half_open.count(), 0);
    }

    #[test]
    fn n_08_strangers_do_not_push_out_who_knows_the_secret() {
        let half_open = Arc::new(HalfOpen::default());
        let member = half_open.enter(ip(0)).unwrap();
        member.mark_known();
        let strangers: Vec<Slot> = (1..200).map(|n| half_open.enter(ip(n)).unwrap()).collect();
        assert!(!member.evicted.is_cancelled());
        assert_eq!(strangers.iter().filter(|slot| !slot.evicted.is_cancelled()).count(), HALF_OPEN_MAX - 1);
    }

    #[test]
    fn the_oldest_goes_where_all_know_the_secret() {
        let half_open = Arc::new(HalfOpen::default());
        let enter = |n| {
            let slot = half_open.enter(ip(n)).unwrap();
            slot.mark_known();
            slot
        };
        let slots: Vec<Slot> = (0..33).map(enter).collect();
        assert!(slots[0].evicted.is_cancelled());
        assert!(!slots[1].evicted.is_cancelled());
    }
}
