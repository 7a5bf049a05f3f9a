//! One peer that does not keep up must not be felt by the others.

use std::time::Duration;

use p2p_tests::sim::network::Place;
use p2p_tests::sim::people::Manner;
use p2p_tests::sim::plan::Plan;
use p2p_tests::sim::trace::Detail;
use p2p_tests::sim::world::{Death, World};

const PEERS: usize = 6;
const SLOW: Place = Place(PEERS - 1);

/// What is wrong with the last peer.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    None,
    StandsStill,
    ReadsNothing,
    SlowLine,
    SlowDisk,
    IsGone,
}

/// Everybody but the slow one talks; all ways take the same time, so that latencies can be compared to the microsecond.
fn latencies(trouble: Trouble) -> Vec<Duration> {
    let mut plan = Plan::calm(5, PEERS);
    plan.network.latency_min = Duration::from_millis(20);
    plan.network.latency_max = Duration::from_millis(20);
    plan.flush = (Duration::from_micros(300), Duration::from_micros(300));
    let mut world = World::new(plan, Detail::Fingerprint);
    world.start_all();
    assert!(world.run_until(Duration::from_secs(30), World::are_links_complete).is_some());
    talk(&mut world, 20);
    world.run_for(Duration::from_secs(5));
    match trouble {
        Trouble::None => (),
        Trouble::StandsStill => world.stall(SLOW),
        Trouble::ReadsNothing => world.stop_reading(SLOW),
        Trouble::SlowLine => world.slow_line(SLOW, 8_000),
        Trouble::SlowDisk => world.slow_disk(SLOW, 1_000),
        Trouble::IsGone => world.kill(SLOW, Death::PowerCut),
    }
    world.unmeasured = Some(SLOW);
    world.measure.latencies.clear();
    talk(&mut world, 150);
    assert_eq!(world.violations(), []);
    std::mem::take(&mut world.measure.latencies)
}

/// Enough for every queue towards the slow one to be full, and over every timeout.
fn talk(world: &mut World, rounds: usize) {
    for round in 0..rounds {
        world.speak(Place(round % (PEERS - 1)), Manner { posts: 20, keyed: false });
        world.run_for(Duration::from_millis(100));
    }
}

#[track_caller]
fn check(trouble: Trouble) {
    let (healthy, troubled) = (latencies(Trouble::None), latencies(trouble));
    assert_eq!(troubled.len(), healthy.len(), "the others hear everything");
    let longest = |latencies: &[Duration]| latencies.iter().max().copied().unwrap_or_default();
    let sum = |latencies: &[Duration]| latencies.iter().sum::<Duration>();
    let millisecond = Duration::from_millis(1);
    assert!(
        longest(&troubled) <= longest(&healthy) + millisecond,
        "{:?} and {:?}",
        longest(&troubled),
        longest(&healthy)
    );
    assert!(sum(&troubled) <= sum(&healthy) + millisecond * healthy.len() as u32);
}

#[test]
fn who_stands_still_delays_nobody() {
    check(Trouble::StandsStill);
}

#[test]
fn who_reads_nothing_delays_nobody() {
    check(Trouble::ReadsNothing);
}

#[test]
fn who_hangs_on_a_slow_line_delays_nobody() {
    check(Trouble::SlowLine);
}

#[test]
fn whose_disk_is_slow_delays_nobody() {
    check(Trouble::SlowDisk);
}

#[test]
fn who_is_gone_delays_nobody() {
    check(Trouble::IsGone);
}
