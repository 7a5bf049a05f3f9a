//! Partitions of every shape, with people who go on talking on all sides.

use std::time::Duration;

use p2p_tests::chaos::Run;
use p2p_tests::chaos::backend::Choice;
use p2p_tests::chaos::netns::Netns;
use p2p_tests::chaos::plan::{Kind, Plan};
use p2p_tests::skip::or_skip;

#[track_caller]
fn check(kinds: &[Kind], length: Duration) {
    if or_skip(Netns::open()).is_none() {
        return;
    }
    let run = Run { seed: 1, time: Duration::ZERO, backend: Choice::Netns, is_loud: true };
    let report = run.run_plan(&Plan::of_kinds(run.seed, kinds, length)).unwrap();
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.outcomes().0 > 200, "people talk: {report}");
}

#[test]
fn n_01_partitions_of_every_shape_heal() {
    use Kind::{Bridge, EveryPair, Halves, OneWay, Ring, Single};
    check(&[Halves, Bridge, Ring, OneWay, Single, EveryPair], Duration::from_secs(3));
}

#[test]
fn n_02_peers_that_are_clogged_in_one_order_and_freed_in_another_heal() {
    check(&[Kind::SwizzleClog], Duration::from_secs(8));
}
