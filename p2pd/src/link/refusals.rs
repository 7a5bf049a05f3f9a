//! The log lines about strangers, so few of them that nobody can fill a disk by knocking.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

/// Counts the refused and says which of them are worth a line.
#[derive(Default)]
pub(super) struct Refusals {
    windows: BTreeMap<(IpAddr, &'static str), Window>,
    /// For everybody who finds no place in `windows`.
    others: Option<Window>,
    total: u64,
}

struct Window {
    since: Instant,
    lines: u32,
    suppressed: u64,
}

impl Refusals {
    /// One more. Some where it shall be logged: with how many were not, in the minute before.
    pub(super) fn count(&mut self, ip: IpAddr, reason: &'static str, now: Instant) -> Option<u64> {
        self.total += 1;
        let key = (ip, reason);
        if !self.windows.contains_key(&key) && self.windows.len() >= WINDOWS_MAX {
            self.windows.retain(|_, window| now.duration_since(window.since) < SPAN);
        }
        let window = if self.windows.contains_key(&key) || self.windows.len() < WINDOWS_MAX {
            self.windows.entry(key).or_insert_with(|| Window::new(now))
        } else {
            self.others.get_or_insert_with(|| Window::new(now))
        };
        window.admit(now)
    }

    /// All that were counted.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}

impl Window {
    fn new(now: Instant) -> Self {
        Self { since: now, lines: 0, suppressed: 0 }
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        let mut suppressed = 0;
        if now.duration_since(self.since) >= SPAN {
            suppressed = self.suppressed;
            *self = Self::new(now);
        }
        if self.lines < LINES_MAX {
            self.lines += 1;
            return Some(suppressed);
        }
        self.suppressed += 1;
        None
    }
}

const SPAN: Duration = Duration::from_secs(60);
/// Lines for one address and reason in one span.
const LINES_MAX: u32 = 10;
/// Pairs of address and reason that are told apart.
const WINDOWS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    #[test]
    fn ten_lines_a_minute_and_then_how_many_were_left_out() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let lines = (0..100).filter_map(|_| refusals.count(ip(1), "not_p2pd", start)).count();
        assert_eq!(lines, 10);
        assert_eq!(refusals.count(ip(1), "timeout", start), Some(0));
        assert_eq!(refusals.count(ip(2), "not_p2pd", start), Some(0));
        assert_eq!(refusals.count(ip(1), "not_p2pd", start + SPAN), Some(90));
        assert_eq!(refusals.count(ip(1), "not_p2pd", start + SPAN), Some(0));
        assert_eq!(refusals.total(), 104);
    }

    #[test]
    fn many_addresses_share_one_allowance_and_cost_no_more_memory() {
        let (mut refusals, start) = (Refusals::default(), Instant::now());
        let lines = (0..10_000).filter_map(|n| refusals.count(ip(n), "not_p2pd", start)).count();
        assert_eq!(lines, WINDOWS_MAX + LINES_MAX as usize);
        assert_eq!(refusals.windows.len(), WINDOWS_MAX);
        assert_eq!(refusals.count(ip(77_777), "not_p2pd", start + SPAN), Some(0));
        assert_eq!(refusals.windows.len(), 1);
    }
}
