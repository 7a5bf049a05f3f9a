//! When to dial again.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;

use crate::id::PeerId;
use crate::membership::record::Addr;

/// Whom to dial.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Target {
    /// An address from the user, whoever is there.
    Addr(Addr),
    /// A peer, wherever it is.
    Peer(PeerId),
}

/// Decorrelated jitter: each wait is drawn between the base and three times the one before, up to a cap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backoff {
    previous: Option<Duration>,
    refusals: u32,
}

impl Backoff {
    /// The wait after a dial that failed or a link that ended.
    pub(crate) fn next(&mut self, rng: &mut Xoshiro256PlusPlus, cap: Duration) -> Duration {
        let wait = match self.previous {
            // The first retry comes at once, but not from everybody in the same moment.
            None => rng.random_range(Duration::ZERO..BASE),
            Some(previous) => rng.random_range(BASE..(previous * 3).max(BASE * 2)).min(cap),
        };
        self.previous = Some(wait.max(BASE));
        wait
    }

    /// The wait after somebody who is there refused us: soon once, in case it was just stopping, then rarely.
    pub(crate) fn next_refused(&mut self) -> Duration {
        let wait = REFUSED_BASE * 4u32.saturating_pow(self.refusals.min(8));
        self.refusals += 1;
        wait.min(REFUSED_CAP)
    }

    /// The last thing that happened was a refusal.
    pub(crate) fn is_refused(&self) -> bool {
        self.refusals > 0
    }

    /// The link held: the next failure is a new story.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}

const BASE: Duration = Duration::from_millis(250);
/// Longest wait for peers that are to be linked.
pub(crate) const CAP: Duration = Duration::from_secs(30);
/// Longest wait for peers beyond those.
pub(crate) const CAP_OTHERS: Duration = Duration::from_secs(300);
const REFUSED_BASE: Duration = Duration::from_secs(1);
const REFUSED_CAP: Duration = Duration::from_secs(600);
/// A link that was up for this long ends the backoff.
pub(crate) const STABLE_AFTER: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn waits_grow_to_the_cap_and_stay_there() {
        for seed in 0..50 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            assert!(backoff.next(&mut rng, CAP) <= BASE);
            let waits: Vec<Duration> = (0..200).map(|_| backoff.next(&mut rng, CAP)).collect();
            assert!(waits.iter().all(|wait| (BASE..=CAP).contains(wait)), "{waits:?}");
            assert!(waits.iter().any(|wait| *wait > CAP / 3), "{waits:?}");
            backoff.reset();
            assert!(backoff.next(&mut rng, CAP) <= BASE);
        }
    }

    #[test]
    fn h_02_who_refuses_us_is_asked_rarely() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..7).map(|_| backoff.next_refused().as_secs()).collect();
        assert_eq!(waits, [1, 4, 16, 64, 256, 600, 600]);
    }
}
