//! The loads that are put on six peers, whatever these peers are.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What the senders of a run do.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) enum Load {
    /// The first so many send as fast as it is accepted.
    Flood { senders: usize, enough: Enough },
    /// The first so many send at this rate each.
    Pace { senders: usize, rate: u32, time: Duration },
}

/// When a sender has said enough: whichever comes first.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Enough {
    pub(crate) time: Duration,
    pub(crate) posts: u64,
}

/// Says when each post of a paced sender is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    start: Instant,
    rate: u32,
    next: u64,
    count: u64,
}

impl Beat {
    /// Of the sender at this place: spread over a step, so that six do not speak in the same instant.
    pub(crate) fn new(place: usize, rate: u32, time: Duration) -> Self {
        let delay = Duration::from_secs(1) / rate * u32::try_from(place).unwrap_or(0) / 6;
        let count = u64::from(rate) * time.as_millis() as u64 / 1_000;
        Self { start: Instant::now() + delay, rate, next: 0, count }
    }

    /// Waits for the next post, and tells when it counts as handed over; `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<Instant> {
        if self.next == self.count {
            return None;
        }
        let due = self.start + Duration::from_nanos(self.next * 1_000_000_000 / u64::from(self.rate));
        self.next += 1;
        tokio::time::sleep_until(due.into()).await;
        let now = Instant::now();
        // A sender that is held up has still wanted to say it when it was due. A timer's own step is not counted.
        Some(if now.saturating_duration_since(due) > TIMER_STEP { due } else { now })
    }
}

/// The runtime's timers step by a millisecond, and round up.
const TIMER_STEP: Duration = Duration::from_millis(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_beat_says_as_many_as_its_rate_and_time_make() {
        let mut beat = Beat::new(5, 1_000, Duration::from_millis(7));
        let mut stamps = Vec::new();
        while let Some(at) = beat.next().await {
            stamps.push(at);
        }
        assert_eq!(stamps.len(), 7);
        assert!(stamps.is_sorted());
    }

    #[tokio::test]
    async fn a_sender_that_was_held_up_wanted_to_say_it_when_it_was_due() {
        let mut beat = Beat::new(0, 1_000, Duration::from_millis(1));
        beat.start -= Duration::from_secs(1);
        assert_eq!(beat.next().await, Some(beat.start));
    }
}
