//! Strangers who open connections and leave it at that, from an address of their own.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use p2p_tests::chaos::footprint::Footprint;
use p2p_tests::chaos::netns::Netns;
use p2p_tests::daemon::TestPeer;
use p2p_tests::program::{PATIENCE, eventually};

use super::Field;

fn open_files(peer: &TestPeer) -> usize {
    Footprint::of(peer.pid(), Path::new("/nowhere")).open_files
}

/// A member comes, and is let in like on any other day.
#[track_caller]
fn check_open(field: &mut Field) {
    let count = field.peers.len();
    field.add(vec![Netns::addr(0)], "0.0.0.0:8080", &[]);
    field.say(count, "I got in");
    field.check_equal(1);
}

#[test]
fn n_07_a_thousand_half_open_connections_stay_in_the_kernel() {
    let Some(mut field) = Field::with(2) else { return };
    let before = open_files(&field.peers[0]);
    // The answers of the peer never arrive where the stranger is.
    field.run(STRANGER, "iptables -A INPUT -p tcp -s 10.77.0.1 -j DROP");
    let target: SocketAddr = Netns::addr(0).parse().unwrap();
    let knock = || (0..1_000).filter(|_| TcpStream::connect_timeout(&target, BRIEFLY).is_ok()).count();
    assert_eq!(field.netns.within(STRANGER, knock).unwrap(), 0, "no connection is complete");
    assert!(open_files(&field.peers[0]) <= before + 4, "the daemon has seen none of them");
    check_open(&mut field);
}

#[test]
fn n_08_a_thousand_connections_that_say_nothing_keep_no_member_out() {
    let Some(mut field) = Field::with(2) else { return };
    let link = field.link(0, 1);
    let before = open_files(&field.peers[0]);
    let target: SocketAddr = Netns::addr(0).parse().unwrap();
    let knock = || (0..1_000).filter_map(|_| TcpStream::connect_timeout(&target, PATIENCE).ok()).collect::<Vec<_>>();
    let silent = field.netns.within(STRANGER, knock).unwrap();
    assert!(silent.len() > 500, "only {} connections", silent.len());
    assert!(open_files(&field.peers[0]) <= before + HALF_OPEN_MAX + 4, "few of them are kept");
    check_open(&mut field);
    assert_eq!(field.link(0, 1), link, "the link that was there is there");
    drop(silent);
    eventually(PATIENCE, "all are closed", || open_files(&field.peers[0]) <= before + 4);
}

/// A place where no peer is.
const STRANGER: usize = 5;
const BRIEFLY: Duration = Duration::from_millis(1);
/// What the protocol allows at a time.
const HALF_OPEN_MAX: usize = 32;
