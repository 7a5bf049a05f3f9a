//! The hybrid logical clock: orders posts of different authors, close to the wall clock, never backwards.

use crate::envelope::Stamp;
use crate::limits::{CLOCK_AHEAD_MAX, LATE_AFTER};

/// The newest moment this peer gave out or saw.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clock {
    last: Stamp,
}

impl Clock {
    /// The stamp for the first of `posts` new posts; the others follow by their counter.
    pub(crate) fn stamp(&mut self, unix_ms: u64, posts: u64) -> Stamp {
        let at = if unix_ms > self.last.ms {
            Stamp { ms: unix_ms, counter: 0 }
        } else if self.last.counter >= COUNTER_END {
            // Somebody's counter is near the end of all integers: a millisecond later there is room again.
            Stamp { ms: self.last.ms + 1, counter: 0 }
        } else {
            self.last.plus(1)
        };
        self.last = at.plus(posts.saturating_sub(1));
        at
    }

    /// Takes over what others stamped, unless it is so far ahead that their clock must be broken.
    pub(crate) fn merge(&mut self, seen: Stamp, unix_ms: u64) {
        if is_plausible(seen, unix_ms) {
            self.last = self.last.max(seen);
        }
    }

    /// Whether something stamped `at` arrives far behind what was seen.
    pub(crate) fn is_late(&self, at: Stamp) -> bool {
        at.ms.saturating_add(LATE_AFTER.as_millis() as u64) < self.last.ms
    }
}

fn is_plausible(seen: Stamp, unix_ms: u64) -> bool {
    seen.ms <= unix_ms.saturating_add(CLOCK_AHEAD_MAX.as_millis() as u64)
}

/// No honest clock counts this many posts in a millisecond.
const COUNTER_END: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_forward_when_the_wall_clock_jumps_back() {
        let mut clock = Clock::default();
        assert_eq!(clock.stamp(1_000, 3), Stamp { ms: 1_000, counter: 0 });
        assert_eq!(clock.stamp(1_000, 1), Stamp { ms: 1_000, counter: 3 });
        assert_eq!(clock.stamp(10, 1), Stamp { ms: 1_000, counter: 4 });
        assert_eq!(clock.stamp(1_001, 1), Stamp { ms: 1_001, counter: 0 });
    }

    #[test]
    fn k_01_one_broken_clock_moves_nobody_else() {
        let mut clock = Clock::default();
        clock.merge(Stamp { ms: 100_000_000, counter: 0 }, 1_000);
        assert_eq!(clock.stamp(1_000, 1), Stamp { ms: 1_000, counter: 0 });
        clock.merge(Stamp { ms: 61_000, counter: 5 }, 1_000);
        assert_eq!(clock.stamp(1_001, 1), Stamp { ms: 61_000, counter: 6 });
    }

    #[test]
    fn w_08_a_counter_at_the_end_of_all_integers_spoils_nobody_elses_stamps() {
        let mut clock = Clock::default();
        clock.merge(Stamp { ms: 1_500, counter: crate::id::INTEGER_END - 2 }, 1_000);
        assert_eq!(clock.stamp(1_000, 1), Stamp { ms: 1_501, counter: 0 });
    }

    #[test]
    fn what_sorts_more_than_five_seconds_back_is_late() {
        let mut clock = Clock::default();
        clock.stamp(10_000, 1);
        assert!(clock.is_late(Stamp { ms: 4_999, counter: 0 }));
        assert!(!clock.is_late(Stamp { ms: 5_000, counter: 0 }));
    }
}
