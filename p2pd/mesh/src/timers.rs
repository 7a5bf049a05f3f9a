//! Every deadline of the core, and the one that is next.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{FeedId, LinkId};
use crate::reconnect::Target;
use crate::time::Mono;

/// What a deadline is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Timer {
    /// The other side's hello.
    Hello(LinkId),
    /// Is it still alive?
    Liveness(LinkId),
    /// Compare digests once the link is quiet.
    Compare(LinkId),
    /// The next dial.
    Dial(Target),
    /// A repair that does not come forward, or waits for the push that should come first.
    Repair(FeedId),
    /// A search for the place of a fork, or its settling, does not come forward.
    Fork(FeedId),
    /// Proofs of forks are told one after the other.
    TellForks,
    /// Something about our own epoch is tried again.
    Epoch,
    /// Announcements go out together.
    Announce,
    /// A burst is over: is everything everywhere?
    Settle,
    /// Neighbours changed.
    View,
    /// Posts waited for company long enough.
    Seal,
}

/// Deadlines by purpose: setting one again moves it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    by_timer: BTreeMap<Timer, Mono>,
    by_time: BTreeSet<(Mono, Timer)>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Mono) {
        if let Some(old) = self.by_timer.insert(timer.clone(), at) {
            self.by_time.remove(&(old, timer.clone()));
        }
        self.by_time.insert((at, timer));
    }

    /// Sets it unless it is set.
    pub(crate) fn set_once(&mut self, timer: Timer, at: Mono) {
        if !self.by_timer.contains_key(&timer) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: &Timer) {
        if let Some(at) = self.by_timer.remove(timer) {
            self.by_time.remove(&(at, timer.clone()));
        }
    }

    pub(crate) fn get(&self, timer: &Timer) -> Option<Mono> {
        self.by_timer.get(timer).copied()
    }

    /// How many are set. Both maps are to hold the same.
    pub(crate) fn len(&self) -> usize {
        self.by_timer.len().max(self.by_time.len())
    }

    pub(crate) fn next(&self) -> Option<Mono> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes out one that is due, with the moment it was due at.
    pub(crate) fn pop_due(&mut self, now: Mono) -> Option<(Mono, Timer)> {
        if self.next()? > now {
            return None;
        }
        let (at, timer) = self.by_time.pop_first()?;
        self.by_timer.remove(&timer);
        Some((at, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_fires_once_at_its_new_time() {
        let mut timers = Timers::default();
        timers.set(Timer::Announce, Mono(5));
        timers.set(Timer::Settle, Mono(7));
        timers.set(Timer::Announce, Mono(9));
        timers.set_once(Timer::Announce, Mono(1));
        assert_eq!(timers.next(), Some(Mono(7)));
        assert_eq!(timers.pop_due(Mono(6)), None);
        assert_eq!(timers.pop_due(Mono(9)), Some((Mono(7), Timer::Settle)));
        assert_eq!(timers.pop_due(Mono(9)), Some((Mono(9), Timer::Announce)));
        assert_eq!(timers.next(), None);
    }
}
