//! How fast one link may talk. Who talks faster is read later: TCP then holds that peer back, and nothing is lost.

use std::time::Duration;

use tokio::time::Instant;

/// What one link said lately.
#[derive(Default)]
pub(super) struct Pace {
    frames: Meter,
    bytes: Meter,
}

/// Until when what came would take at the allowed rate.
#[derive(Default)]
struct Meter {
    until: Option<Instant>,
}

impl Pace {
    /// So much came just now; gives how long to wait before more is read.
    pub(super) fn count(&mut self, frames: usize, bytes: usize, now: Instant) -> Duration {
        let frames = self.frames.count(frames, FRAMES_PER_SECOND_MAX, now);
        frames.max(self.bytes.count(bytes, BYTES_PER_SECOND_MAX, now))
    }
}

impl Meter {
    fn count(&mut self, amount: usize, per_second: u32, now: Instant) -> Duration {
        let amount = u32::try_from(amount).unwrap_or(u32::MAX);
        let until = self.until.map_or(now, |until| until.max(now)) + Duration::from_secs(1) * amount / per_second;
        self.until = Some(until);
        until.duration_since(now).saturating_sub(BURST)
    }
}

/// Frames that one link may send for long. Noise messages count as frames, so empty ones are not free.
const FRAMES_PER_SECOND_MAX: u32 = 5_000;
/// Bytes that one link may send for long: enough for the highest rate of 1 KiB posts that we want to reach, 58,000 a
/// second.
const BYTES_PER_SECOND_MAX: u32 = 64 << 20;
/// A second's worth may come at once.
const BURST: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w_22_a_burst_is_free_and_what_is_beyond_it_waits() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.count(5_000, 1 << 20, now), Duration::ZERO);
        assert_eq!(pace.count(2_500, 1 << 20, now), Duration::from_millis(500));
        let later = now + Duration::from_secs(10);
        assert_eq!(pace.count(5_000, 0, later), Duration::ZERO);
        assert_eq!(pace.count(0, 128 << 20, later), Duration::from_secs(1));
    }

    #[test]
    fn no_amount_is_too_much_to_count() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert!(pace.count(usize::MAX, usize::MAX, now) > Duration::from_secs(60));
    }
}
