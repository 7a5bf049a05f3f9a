//! A day of partitions.

use std::time::Duration;

use p2p_tests::sim::long;

#[test]
fn n_01_through_hours_of_random_partitions_all_are_equal_five_seconds_after_each_heal() {
    let report = long::run(1, Duration::from_secs(HOURS * 3_600));
    assert_eq!(report.violations, []);
    assert!(report.heals > 10 * HOURS as u32 && report.operations > 200 * HOURS as usize, "{report:?}");
}

/// `make sim ARGS="--long 24"` takes the whole day.
const HOURS: u64 = 6;
