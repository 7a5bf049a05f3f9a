//! Is the other side of a link still there? Round-trip times and the clocks' difference come with the answer.

use std::time::Duration;

use crate::time::{Mono, Now};
use crate::wire::message::Pong;

/// One link's pulse.
#[derive(Clone, Debug)]
pub(crate) struct Liveness {
    interval: Duration,
    timeout: Duration,
    received: Mono,
    /// The first thing since then that the other side should answer.
    unanswered: Option<Mono>,
    ping: Option<Sent>,
    suspect: bool,
    /// When the last ping that was answered had been sent.
    proven: Mono,
    next: u64,
    rtt: Option<Rtt>,
    clock_offset_us: i64,
}

/// A ping on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    n: u64,
    at: Mono,
    /// From here on its link is suspect.
    doubted: Mono,
    deadline: Mono,
}

/// RFC 6298's estimate, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Rtt {
    smoothed: u64,
    variation: u64,
}

/// What to do about a link now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Nothing before this moment.
    Wait(Mono),
    /// Ask.
    Ping,
    /// It did not answer.
    Dead,
}

impl Liveness {
    /// A link that just came up. `interval` carries this link's own jitter.
    pub(crate) fn new(interval: Duration, timeout: Duration, now: Mono) -> Self {
        Self {
            interval,
            timeout,
            received: now,
            unanswered: None,
            ping: None,
            suspect: false,
            proven: Mono(0),
            next: 1,
            rtt: None,
            clock_offset_us: 0,
        }
    }

    /// Anything at all arrived.
    pub(crate) fn handle_received(&mut self, now: Mono) {
        self.received = now;
        self.unanswered = None;
        self.suspect = false;
    }

    /// The user wants other times. A ping on its way keeps its own.
    pub(crate) fn configure(&mut self, interval: Duration, timeout: Duration) {
        (self.interval, self.timeout) = (interval, timeout);
    }

    /// Something was sent that the other side answers.
    pub(crate) fn handle_sent(&mut self, now: Mono) {
        self.unanswered.get_or_insert(now);
    }

    /// Begins a ping and gives its number.
    pub(crate) fn ping(&mut self, now: Mono) -> u64 {
        let n = self.next;
        self.next += 1;
        let patience = if self.unanswered.is_some() { self.probe_patience() } else { self.timeout };
        let fresh = Sent { n, at: now, doubted: now + (patience / 2).min(SUSPECT_AFTER), deadline: now + patience };
        // Asking again gives no more time to who did not answer before.
        self.ping = Some(match self.ping.filter(|old| self.received < old.at) {
            Some(old) => Sent { doubted: old.doubted, deadline: old.deadline.min(fresh.deadline), ..fresh },
            None => fresh,
        });
        n
    }

    /// The number that the next ping will have.
    pub(crate) fn ping_next(&self) -> u64 {
        self.next
    }

    /// The other side takes bytes of a backlog: slow, not gone.
    pub(crate) fn handle_progress(&mut self, now: Mono) {
        let patience = self.probe_patience();
        if let Some(sent) = &mut self.ping {
            sent.deadline = sent.deadline.max(now + patience);
        }
    }

    /// Since when the other side is known to have read all that was sent: an answer came to a ping from then.
    pub(crate) fn proven(&self) -> Mono {
        self.proven
    }

    /// Whether a ping waits for its pong.
    pub(crate) fn is_pinging(&self) -> bool {
        self.ping.is_some()
    }

    /// A pong came: the round-trip time in microseconds, where it answers the last ping.
    pub(crate) fn handle_pong(&mut self, pong: &Pong, now: Now) -> Option<u64> {
        let sent = self.ping.take_if(|sent| sent.n == pong.n)?;
        self.proven = sent.at;
        let sample = now.mono.since(sent.at).as_micros() as u64;
        self.rtt = Some(match self.rtt {
            None => Rtt { smoothed: sample, variation: sample / 2 },
            Some(rtt) => Rtt {
                variation: (3 * rtt.variation + rtt.smoothed.abs_diff(sample)) / 4,
                smoothed: (7 * rtt.smoothed + sample) / 8,
            },
        });
        // The other clock read `r` half a round trip ago.
        let there_us = i128::from(pong.r) * 1_000 + i128::from(sample / 2);
        self.clock_offset_us = clamp_i64(there_us - i128::from(now.unix_ms) * 1_000);
        Some(sample)
    }

    /// What to do now.
    pub(crate) fn check(&mut self, now: Mono) -> Verdict {
        if let Some(sent) = self.ping {
            if self.received < sent.at {
                self.suspect |= now >= sent.doubted;
                let next = if self.suspect { sent.deadline } else { sent.doubted };
                return if now >= sent.deadline { Verdict::Dead } else { Verdict::Wait(next) };
            }
            // Alive, by whatever else it sent. The pong may still come; its absence alone kills nobody.
            if now < sent.deadline {
                return Verdict::Wait(sent.deadline);
            }
            self.ping = None;
        }
        let idle = self.received + self.interval;
        let due = match self.unanswered {
            Some(at) => idle.min(at + self.answer_patience()),
            None => idle,
        };
        if now >= due { Verdict::Ping } else { Verdict::Wait(due) }
    }

    /// Our own timers were late: whoever is on trial gets a new deadline.
    pub(crate) fn excuse(&mut self, now: Mono) {
        if let Some(sent) = &mut self.ping {
            sent.doubted = now + SUSPECT_AFTER.min(self.timeout / 2);
            sent.deadline = now + self.timeout;
        }
    }

    /// For how long nothing arrived.
    pub(crate) fn silence(&self, now: Mono) -> Duration {
        now.since(self.received)
    }

    /// Silent for longer than it should be.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect
    }

    /// Smoothed round-trip time in microseconds.
    pub(crate) fn rtt_us(&self) -> Option<u64> {
        self.rtt.map(|rtt| rtt.smoothed)
    }

    /// The other clock minus ours, in microseconds.
    pub(crate) fn clock_offset_us(&self) -> i64 {
        self.clock_offset_us
    }

    /// A multiple of the round-trip time between two bounds.
    pub(crate) fn rtt_times(&self, factor: u64, min: Duration, max: Duration) -> Duration {
        Duration::from_micros(self.rtt_us().unwrap_or(0).saturating_mul(factor)).clamp(min, max)
    }

    fn answer_patience(&self) -> Duration {
        self.rtt_times(8, Duration::from_secs(1), Duration::from_secs(5))
    }

    fn probe_patience(&self) -> Duration {
        let estimate = self.rtt.map_or(0, |rtt| 4 * rtt.smoothed + 4 * rtt.variation);
        Duration::from_micros(estimate).max(Duration::from_secs(2)).min(self.timeout)
    }
}

fn clamp_i64(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

/// A ping that waits this long, or half its deadline, makes its link suspect.
const SUSPECT_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn link() -> Liveness {
        Liveness::new(30 * SECOND, 5 * SECOND, Mono(0))
    }

    fn at(seconds: u64) -> Mono {
        Mono(0) + seconds as u32 * SECOND
    }

    #[test]
    fn an_idle_link_is_asked_after_the_interval_and_dead_after_the_timeout() {
        let mut link = link();
        assert_eq!(link.check(at(29)), Verdict::Wait(at(30)));
        assert_eq!(link.check(at(30)), Verdict::Ping);
        link.ping(at(30));
        assert!(matches!(link.check(at(30)), Verdict::Wait(_)));
        assert!(!link.is_suspect());
        assert_eq!(link.check(at(32)), Verdict::Wait(at(35)));
        assert!(link.is_suspect());
        assert_eq!(link.check(at(35)), Verdict::Dead);
    }

    #[test]
    fn a_link_that_owes_an_answer_is_asked_after_a_second() {
        let mut link = link();
        link.handle_sent(at(10));
        assert_eq!(link.check(at(10)), Verdict::Wait(at(11)));
        assert_eq!(link.check(at(11)), Verdict::Ping);
        link.ping(at(11));
        assert_eq!(link.check(at(13)), Verdict::Dead);
    }

    #[test]
    fn anything_that_arrives_counts_as_life() {
        let mut link = link();
        link.ping(at(30));
        link.handle_received(at(31));
        assert_eq!(link.check(at(35)), Verdict::Wait(at(61)));
        assert!(!link.is_suspect());
    }

    #[test]
    fn a_pong_tells_round_trip_time_and_clock() {
        let mut link = link();
        let n = link.ping(at(1));
        let now = Now { mono: at(1) + Duration::from_millis(100), unix_ms: 5_000 };
        let digest = Default::default();
        assert_eq!(link.handle_pong(&Pong { n: n + 1, t: 0, r: 0, digest }, now), None);
        assert_eq!(link.handle_pong(&Pong { n, t: 0, r: 6_950, digest }, now), Some(100_000));
        assert_eq!(link.rtt_us(), Some(100_000));
        assert_eq!(link.clock_offset_us(), 2_000_000);
        assert_eq!(link.rtt_times(8, SECOND / 2, SECOND), Duration::from_millis(800));
    }

    #[test]
    fn nobody_is_judged_by_a_loop_that_slept() {
        let mut link = link();
        link.ping(at(30));
        link.excuse(at(90));
        assert_eq!(link.check(at(90)), Verdict::Wait(at(91)));
        assert!(!link.is_suspect());
        assert_eq!(link.check(at(94)), Verdict::Wait(at(95)));
    }
}
