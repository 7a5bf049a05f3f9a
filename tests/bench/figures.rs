//! Small arithmetic on what was measured.

use std::cmp::Ordering;
use std::time::Duration;

/// Half of the values, and all but one in a hundred, are at most this long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Latency {
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
}

impl Latency {
    /// From microseconds in any order; `None` without any.
    pub(crate) fn of(mut values_us: Vec<u32>) -> Option<Self> {
        values_us.sort_unstable();
        let at = |percent| percentile(&values_us, percent).map(|us| Duration::from_micros(us.into()));
        Some(Self { p50: at(50)?, p99: at(99)? })
    }
}

/// The smallest of the sorted values that is not below this share of them (nearest rank).
pub(crate) fn percentile(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// The middle one; of two, the smaller. `None` without any.
pub(crate) fn median<V: PartialOrd + Copy>(mut values: Vec<V>) -> Option<V> {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap_or(Ordering::Equal));
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// Per second.
pub(crate) fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(f64::EPSILON)
}

/// Milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// `52,340`: a whole number with commas.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<u32> = (1..=200).collect();
        assert_eq!(percentile(&values, 50), Some(100));
        assert_eq!(percentile(&values, 99), Some(198));
        assert_eq!(percentile(&values, 100), Some(200));
        assert_eq!(percentile(&[7], 50), Some(7));
        assert_eq!(percentile(&[1, 9], 99), Some(9));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn latency_does_not_mind_the_order() {
        let latency = Latency { p50: Duration::from_millis(2), p99: Duration::from_millis(3) };
        assert_eq!(Latency::of(vec![3_000, 1_000, 2_000]), Some(latency));
        assert_eq!(Latency::of(Vec::new()), None);
    }

    #[test]
    fn the_median_of_few() {
        assert_eq!(median(vec![5, 1, 3]), Some(3));
        assert_eq!(median(vec![4.5, 1.5]), Some(1.5));
        assert_eq!(median(Vec::<Duration>::new()), None);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        assert_eq!(grouped(999.4), "999");
        assert_eq!(grouped(1_000.0), "1,000");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }

    #[test]
    fn a_rate_is_per_second() {
        assert!((rate(500, Duration::from_millis(250)) - 2_000.0).abs() < 1e-9);
    }
}
