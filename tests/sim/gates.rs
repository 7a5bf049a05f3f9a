//! The gates of the protocol, in virtual time: what a healthy mesh must reach on links of 10 to 50 ms.

use std::time::Duration;

use p2p_tests::sim::measure::Measure;
use p2p_tests::sim::network::Place;
use p2p_tests::sim::people::Manner;
use p2p_tests::sim::plan::{Plan, Topology};
use p2p_tests::sim::schedule::judge;
use p2p_tests::sim::trace::Detail;
use p2p_tests::sim::world::{Death, World};

const ONE: Manner = Manner { posts: 1, keyed: false };

/// A mesh in which everybody is linked to everybody and has said something.
fn warm(peers: usize, topology: Topology) -> World {
    let mut world = World::new(Plan { topology, ..Plan::calm(7, peers) }, Detail::Fingerprint);
    world.start_all();
    let linked = world.run_until(Duration::from_secs(60), World::are_links_complete);
    assert!(linked.is_some(), "{peers} peers that start at once are soon linked");
    // The first posts go out before everybody knows who is whose neighbour, the second ones shape what is left.
    for _ in 0..2 {
        for place in world.honest() {
            world.speak(place, ONE);
        }
        world.run_for(Duration::from_secs(5));
    }
    world
}

/// Everybody in turn says something, and all is counted.
fn talk(world: &mut World, places: &[Place], rounds: usize, pause: Duration) -> Measure {
    world.measure = Measure::default();
    for _ in 0..rounds {
        for place in places {
            world.speak(*place, ONE);
            world.run_for(pause);
        }
    }
    world.run_for(Duration::from_secs(2));
    std::mem::take(&mut world.measure)
}

#[track_caller]
fn check_promise(world: &World) {
    let broken: Vec<String> = world.violations().iter().chain(&judge(world)).map(ToString::to_string).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(world.are_disks_equal() && world.are_links_complete());
}

fn check_warm(peers: usize) {
    let mut world = warm(peers, Topology::Star);
    let places = world.honest();
    let measure = talk(&mut world, &places, 120_usize.div_ceil(peers), Duration::from_millis(100));
    assert_eq!(measure.latencies.len(), measure.firsts as usize);
    assert!(measure.redundancy() <= 0.01, "redundancy {}", measure.redundancy());
    assert_eq!(measure.hops_max(), 1, "{:?}", measure.hops);
    assert!(measure.latency(0.99) <= Duration::from_millis(55), "p99 {:?}", measure.latency(0.99));
    check_promise(&world);
}

#[test]
fn six_peers_hear_everything_once_in_one_hop_within_55_ms() {
    check_warm(6);
}

#[test]
fn thirty_three_peers_hear_everything_once_in_one_hop_within_55_ms() {
    check_warm(33);
}

fn check_half_crash(peers: usize) {
    let mut world = warm(peers, Topology::Star);
    let places = world.honest();
    let (alive, dead) = places.split_at(peers.div_ceil(2));
    for place in dead {
        world.kill(*place, Death::Crash);
    }
    let measure = talk(&mut world, alive, 60_usize.div_ceil(alive.len()), Duration::from_millis(50));
    assert_eq!(measure.firsts as usize, 60_usize.div_ceil(alive.len()) * alive.len() * (alive.len() - 1));
    assert!(measure.latency(0.99) <= Duration::from_millis(55), "p99 {:?}", measure.latency(0.99));
}

#[test]
fn the_rest_hears_as_fast_when_half_of_six_crash() {
    check_half_crash(6);
}

#[test]
fn the_rest_hears_as_fast_when_half_of_thirty_three_crash() {
    check_half_crash(33);
}

fn check_partition(peers: usize, copies_max: f64) {
    let mut world = warm(peers, Topology::Star);
    let places = world.honest();
    let (one, two) = places.split_at(peers / 2);
    let ways = World::between(one, two);
    world.block(&ways);
    for round in 0..30 {
        for half in [one, two] {
            world.speak(half[round % half.len()], ONE);
        }
        world.run_for(Duration::from_secs(2));
    }
    let missing: usize = 30 * peers;
    world.measure = Measure::default();
    world.unblock(&ways);
    let linked = world.run_until(Duration::from_secs(60), World::are_links_complete).expect("links come back");
    let equal = world.run_until(Duration::from_secs(60), World::are_disks_equal).expect("histories become equal");
    assert!(equal <= Duration::from_secs(2), "equal {equal:?} after the links, which took {linked:?}");
    world.run_for(Duration::from_secs(5));
    let copies = world.measure.copies as f64 / missing as f64;
    println!("{peers} peers: {copies:.3} copies of each missing post");
    assert_eq!(world.measure.firsts as usize, missing);
    assert!(copies <= copies_max, "{copies} copies of each missing post");
    check_promise(&world);
}

#[test]
fn n_01_six_peers_are_equal_two_seconds_after_the_links_of_a_partition_are_back() {
    check_partition(6, 1.05);
}

#[test]
fn n_01_thirty_three_peers_are_equal_two_seconds_after_the_links_of_a_partition_are_back() {
    check_partition(33, 1.15);
}

#[test]
fn h_08_six_peers_that_start_at_once_have_one_link_each_to_each() {
    for (seed, topology) in
        (0..20).zip([Topology::Star, Topology::Line, Topology::Ring, Topology::Chords].into_iter().cycle())
    {
        let mut world = World::new(Plan { topology, ..Plan::calm(seed, 6) }, Detail::Fingerprint);
        world.start_all();
        let linked = world.run_until(Duration::from_secs(5), World::are_links_complete);
        assert!(linked.is_some(), "seed={seed} {topology:?}");
        world.run_for(Duration::from_secs(20));
        assert!(world.are_links_complete(), "seed={seed} {topology:?}: the links stay");
        check_promise(&world);
    }
}

#[test]
fn an_idle_mesh_sends_heartbeats_only() {
    let mut world = warm(6, Topology::Chords);
    world.measure = Measure::default();
    world.run_for(Duration::from_secs(300));
    assert_eq!(world.measure.frames_beyond_heartbeats(), 0, "{:?}", world.measure.frames);
    // Fifteen links, a ping and a pong on each every 30 s, ten per cent more or less, and two sides that may ask.
    let heartbeats: u64 = world.measure.frames.values().sum();
    assert!((200..=1_400).contains(&heartbeats), "{heartbeats}");
}

/// Each is told of the one before it. From one address that all are told of, the links can close up into
/// groups that nobody else gets into: where links are full, a newcomer is refused.
#[test]
fn in_a_chain_where_nobody_may_have_a_link_to_everybody_all_hear_the_same() {
    for (seed, topology) in (0..6).zip([Topology::Line, Topology::Ring].into_iter().cycle()) {
        for (peers, max_connections) in [(6, 3), (12, 4)] {
            let plan = Plan { max_connections, topology, ..Plan::calm(seed, peers) };
            let mut world = World::new(plan, Detail::Fingerprint);
            world.start_all();
            world.run_for(Duration::from_secs(60));
            world.honest().iter().for_each(|place| world.speak(*place, ONE));
            world.run_for(Duration::from_secs(10));
            let what = format!("seed={seed} {topology:?} {peers} peers, {max_connections} links");
            assert!(world.are_disks_equal(), "{what}");
            assert_eq!(world.machine(Place(0)).history().posts.len(), peers, "{what}");
            assert_eq!(world.violations(), [], "{what}");
        }
    }
}
