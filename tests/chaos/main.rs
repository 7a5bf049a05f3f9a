//! A fixed share of what `make chaos` runs.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use p2p_tests::chaos::Run;
use p2p_tests::chaos::backend::Choice;

#[track_caller]
fn check(seed: u64, backend: Choice) {
    let report = Run { seed, time: TIME, backend, is_loud: true }.run().unwrap();
    assert!(report.violations.is_empty(), "{report}");
    let (acknowledged, ..) = report.outcomes();
    assert!(acknowledged > 200, "people talk: {report}");
    println!("{report}");
}

#[test]
fn n_01_n_05_d_01_six_peers_keep_the_promise_under_the_faults_of_two_seeds() {
    // One after the other: twelve daemons at once would be a test of this machine.
    check(3, Choice::Auto);
    check(7, Choice::Proxy);
}

const TIME: Duration = Duration::from_secs(14);
