//! When to seal: at once while it is calm; together with what comes next while the whole mesh talks.
//!
//! Every envelope costs each peer a verification, so a thousand posts a second from each of six peers, one envelope
//! each, would take all of two cores. Where many envelopes go by, whoever has just sealed one waits a few milliseconds
//! for company. A lone sender, however fast, waits for its flush only.

use std::time::Duration;

use crate::time::Mono;

/// How many envelopes go by, and when the last own one was sealed.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    window: Mono,
    /// Envelopes of others since the window began.
    count: u32,
    is_crowded: bool,
    sealed: Option<Mono>,
}

impl Pace {
    /// An envelope of somebody else was verified.
    pub(super) fn note_received(&mut self, now: Mono) {
        self.turn(now);
        self.count += 1;
    }

    /// When the next own envelope may be sealed; none for at once.
    pub(super) fn wait_until(&mut self, now: Mono) -> Option<Mono> {
        self.turn(now);
        let next = self.sealed? + COMPANY;
        (self.is_crowded && next > now).then_some(next)
    }

    pub(super) fn note_sealed(&mut self, now: Mono) {
        self.sealed = Some(now);
    }

    fn turn(&mut self, now: Mono) {
        let age = now.since(self.window);
        if age < WINDOW {
            return;
        }
        // Once it is crowded, fewer envelopes keep it so: they are fewer because everybody waits for company.
        let limit = if self.is_crowded { STAYS_CROWDED } else { BECOMES_CROWDED };
        self.is_crowded = age < WINDOW * 2 && self.count >= limit;
        self.count = 0;
        self.window = now;
    }
}

const WINDOW: Duration = Duration::from_millis(100);
/// Envelopes of others in a window: 600 a second.
const BECOMES_CROWDED: u32 = 60;
/// 300 a second: five others that seal every 6 ms make 830.
const STAYS_CROWDED: u32 = 30;
/// How long to wait for company. Measured: six peers, 1,000 messages a second each, 2 cores: 8 ms in the median and 21 ms
/// for the slowest of a hundred, instead of 14 and 166 without waiting.
const COMPANY: Duration = Duration::from_millis(6);

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Mono {
        Mono(ms * 1_000)
    }

    /// So many envelopes of others a second, for half a second.
    fn pace(per_second: u64) -> Pace {
        let mut pace = Pace::default();
        for n in 0..per_second / 2 {
            pace.note_received(Mono(n * 1_000_000 / per_second));
        }
        pace.note_sealed(ms(500));
        pace
    }

    #[test]
    fn in_a_calm_mesh_nothing_waits() {
        assert_eq!(pace(500).wait_until(ms(501)), None);
        assert_eq!(Pace::default().wait_until(ms(1)), None);
    }

    #[test]
    fn in_a_crowded_mesh_posts_wait_for_company_and_not_for_long() {
        let mut pace = pace(5_000);
        assert_eq!(pace.wait_until(ms(501)), Some(ms(506)));
        assert_eq!(pace.wait_until(ms(506)), None);
    }

    #[test]
    fn the_wait_ends_with_the_crowd() {
        let mut pace = pace(5_000);
        assert!(pace.wait_until(ms(501)).is_some());
        pace.note_sealed(ms(900));
        assert_eq!(pace.wait_until(ms(901)), None);
    }
}
