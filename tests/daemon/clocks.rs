//! Clocks that run as they like.

use std::fs;
use std::path::{Path, PathBuf};

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;

use super::check_equal;

/// A peer whose clocks, both of them, run so many times as fast.
#[track_caller]
fn start(network: &Network, name: &str, dials: Vec<String>, library: &Path, speed: &str) -> TestPeer {
    // Every second of silence is asked after. For the fast one that is a tenth of a second, and its timeout three.
    let env = [("P2P_HEARTBEAT_INTERVAL", "1s"), ("P2P_HEARTBEAT_TIMEOUT", "30s"), ("FAKETIME", speed)];
    let mut env: Vec<(String, String)> = env.map(|(key, value)| (key.into(), value.into())).into();
    // The program faketime would stay between us and the daemon.
    env.push(("LD_PRELOAD".into(), library.to_str().unwrap().into()));
    network.start_with(Options { name: name.into(), dials, env, ..Options::default() })
}

fn faketime() -> Result<PathBuf, String> {
    let folders = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let libraries = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    libraries.into_iter().find(|library| library.exists()).ok_or_else(|| "libfaketime is not installed".to_owned())
}

fn heartbeats(peer: &TestPeer, which: &str) -> u64 {
    peer.status().counters.get(&format!("heartbeats_{which}_total")).copied().unwrap_or(0)
}

#[test]
fn k_03_peers_whose_clocks_run_ten_times_as_fast_and_as_slow_keep_their_link() {
    let Some(faketime) = or_skip(faketime()) else { return };
    let network = Network::new();
    let fast = start(&network, "fast", vec![], &faketime, "+0 x10");
    let slow = start(&network, "slow", vec![fast.addr()], &faketime, "+0 x0.1");
    let usual = network.start("usual", &[&fast, &slow]);
    [&fast, &slow, &usual].iter().for_each(|peer| peer.wait_for_peers(2));
    let since: Vec<i64> = fast.peers().iter().map(|peer| peer.since_us).collect();
    eventually(PATIENCE, "the fast one asked many times", || heartbeats(&fast, "sent") >= 60);
    assert!(heartbeats(&slow, "received") >= 30);
    for peer in [&fast, &slow, &usual] {
        drop(peer.p2pctl(&["send", "what time is it?"]).ok());
    }
    check_equal(&[&fast, &slow, &usual], 3);
    for (peer, other) in [(&fast, &slow), (&slow, &fast), (&fast, &usual), (&slow, &usual)] {
        assert_eq!(peer.state_of(other), PeerState::Up);
        assert_eq!(heartbeats(peer, "missed"), 0);
    }
    assert_eq!(fast.peers().iter().map(|peer| peer.since_us).collect::<Vec<_>>(), since, "no link was lost");
}
