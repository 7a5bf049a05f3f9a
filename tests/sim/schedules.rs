//! A fixed share of the schedules, and that they can be trusted.

use p2p_tests::sim::batch;
use p2p_tests::sim::plan::Plan;
use p2p_tests::sim::schedule;
use p2p_tests::sim::trace::Detail;

#[test]
fn d_01_n_01_every_schedule_keeps_the_promise() {
    let batch = batch::run(0..100, 2, Plan::of_seed);
    assert!(batch.failed.is_empty(), "{batch}");
    assert!(batch.operations > 1_000, "users talk: {batch}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 1_000..1_004 {
        let one = schedule::run(Plan::of_seed(seed), Detail::Fingerprint);
        let two = schedule::run(Plan::of_seed(seed), Detail::Lines);
        assert_eq!(one.fingerprint, two.fingerprint, "seed={seed}");
        let other = schedule::run(Plan { seed: seed + 1, ..Plan::of_seed(seed) }, Detail::Fingerprint);
        assert_ne!(one.fingerprint, other.fingerprint, "seed={seed}");
    }
}
