//! Six peers that start, or come back, all at the same moment.

use std::thread;

use p2p_tests::chaos::netns::Netns;
use p2p_tests::chaos::ways::PEERS;
use p2p_tests::daemon::TestPeer;
use p2p_tests::program::{PATIENCE, eventually};

use super::Field;

#[test]
fn h_08_six_peers_that_start_at_once_have_one_link_each_to_each() {
    let Some(mut field) = Field::open() else { return };
    // Everybody dials everybody.
    let dials = |place| (0..PEERS).filter(|other| *other != place).map(Netns::addr).collect();
    let options: Vec<_> = (0..PEERS).map(|place| field.options(place, dials(place), "0.0.0.0:8080", &[])).collect();
    let network = &field.network;
    field.peers = thread::scope(|scope| {
        let starts: Vec<_> =
            options.into_iter().map(|options| scope.spawn(move || network.start_with(options))).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    for _ in 0..ROUNDS {
        check_one_link_a_pair(&field);
        field.peers.iter_mut().for_each(TestPeer::kill_9);
        thread::scope(|scope| field.peers.iter_mut().for_each(|peer| drop(scope.spawn(|| peer.restart()))));
    }
    check_one_link_a_pair(&field);
}

/// Each namespace has as many connections as there are others, each to another one.
#[track_caller]
fn check_one_link_a_pair(field: &Field) {
    field.wait_for_links();
    for place in 0..PEERS {
        eventually(PATIENCE, "there is one connection to each", || {
            let sockets = field.run(place, "ss -tnH state established");
            let others = sockets.lines().filter_map(|line| line.split_whitespace().nth(3)?.rsplit_once(':'));
            let mut others: Vec<&str> = others.map(|(ip, _)| ip).collect();
            let count = others.len();
            others.sort_unstable();
            others.dedup();
            count == PEERS - 1 && others.len() == count
        });
    }
}

const ROUNDS: usize = 5;
