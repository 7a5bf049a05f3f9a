#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2p_mesh::id::PeerId;
use p2p_mesh::status::{Histogram, PeerState};

use super::counters::COUNTERS;
use super::*;

fn peer(n: u16, state: PeerState) -> PeerStatus {
    let mut id = [7; 32];
    // The first characters of all ids are the same.
    id[30..].copy_from_slice(&n.to_be_bytes());
    PeerStatus {
        id: Some(PeerId(id)),
        name: "a name\n\"".into(),
        rtt_us: Some(250),
        behind: u64::from(n),
        address: "127.0.0.1:9".into(),
        queue_bytes: 1,
        clock_offset_us: i64::from(n) * 1_000_000,
        instances: 1,
        last_seen_ms: u64::from(n),
        ..PeerStatus::unknown(state)
    }
}

fn snapshot(status: Status, peers: Vec<PeerStatus>) -> Snapshot {
    Snapshot {
        version: "1.2.3".into(),
        began: SystemTime::UNIX_EPOCH + Duration::from_secs(5),
        health: Health::Ready,
        is_ready: true,
        mesh: Some((status, peers)),
        store: None,
        subscribers: 2,
    }
}

#[track_caller]
fn check_holds(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|other| other == *line), "{line} is not in:\n{text}");
    }
}

fn lags(text: &str) -> Vec<&str> {
    text.lines().filter(|line| line.starts_with("p2p_lag_posts{")).collect()
}

#[test]
fn both_formats_name_types_and_units_in_their_own_way() {
    let mut rtt = Histogram::default();
    rtt.observe(200);
    let snapshot = snapshot(Status { rtt, ..Status::default() }, Vec::new());
    let open = render(&snapshot, Exposition::OpenMetrics);
    check_holds(&open, &["# TYPE p2p_posts_sent counter", "p2p_posts_sent_total 0", "# UNIT p2p_rtt_seconds seconds"]);
    assert!(open.ends_with("# EOF\n"));
    let plain = render(&snapshot, Exposition::Plain);
    check_holds(&plain, &["# TYPE p2p_posts_sent_total counter", "p2p_posts_sent_total 0"]);
    check_holds(&plain, &["# HELP p2p_posts_sent_total Own posts that were stored.", "p2p_rtt_seconds_count 1"]);
    check_holds(&plain, &["p2p_rtt_seconds_bucket{le=\"0.0001\"} 0", "p2p_rtt_seconds_bucket{le=\"0.00025\"} 1"]);
    check_holds(&plain, &["p2p_rtt_seconds_bucket{le=\"+Inf\"} 1", "process_start_time_seconds 5.0"]);
    assert!(!plain.contains("# UNIT") && !plain.contains("# EOF"), "{plain}");
}

#[test]
fn what_is_not_known_has_no_sample_and_no_wrong_one() {
    let plain = render(&Snapshot { mesh: None, ..snapshot(Status::default(), Vec::new()) }, Exposition::Plain);
    check_holds(&plain, &["p2p_store_answers 0", "p2p_store_posts 0", "# TYPE p2p_store_bytes gauge"]);
    assert!(!plain.contains("\np2p_store_bytes ") && !plain.contains("\np2p_clock_offset_seconds "), "{plain}");
}

#[test]
fn peers_whose_ids_begin_alike_are_two_series() {
    let peers = vec![peer(1, PeerState::Up), peer(2, PeerState::Up), peer(3, PeerState::Up)];
    let plain = render(&snapshot(Status::default(), peers), Exposition::Plain);
    let lags = lags(&plain);
    assert_eq!(lags.len(), 3, "{lags:?}");
    assert_eq!(lags.iter().map(|line| line.split_once(' ').unwrap().0).collect::<BTreeSet<_>>().len(), 3);
    check_holds(&plain, &["p2p_clock_offset_seconds 2.0", "p2p_queue_bytes 3"]);
    assert!(!plain.contains("a name"));
}

#[test]
fn of_very_many_peers_those_that_are_linked_or_were_seen_last_have_series() {
    let mut peers: Vec<PeerStatus> = (0..2_000).map(|n| peer(n, PeerState::Down)).collect();
    peers[5].state = PeerState::Up;
    let plain = render(&snapshot(Status::default(), peers), Exposition::Plain);
    let lags = lags(&plain);
    assert_eq!(lags.len(), 100);
    assert!(lags[0].ends_with("} 5") && lags[1].ends_with("} 1901") && lags[99].ends_with("} 1999"), "{lags:?}");
    check_holds(&plain, &["p2p_peers{state=\"down\"} 1999", "p2p_peers{state=\"up\"} 1"]);
}

#[test]
fn what_the_core_counts_and_nobody_described_is_told_all_the_same() {
    let counters = BTreeMap::from([("news_total", 3), ("dials_total", 9), ("posts_dropped_total", 4)]);
    let plain = render(&snapshot(Status { counters, ..Status::default() }, Vec::new()), Exposition::Plain);
    check_holds(&plain, &["p2p_others_total{what=\"news\"} 3", "p2p_posts_rejected_total{reason=\"dropped\"} 4"]);
    assert!(!plain.contains("what=\"dials\""), "{plain}");
}

#[test]
fn no_family_is_there_twice() {
    let mut names: Vec<&str> = COUNTERS.iter().map(|counter| counter.name).collect();
    let mut keys: Vec<&str> = COUNTERS.iter().flat_map(|counter| counter.parts).map(|(_, key)| *key).collect();
    for list in [&mut names, &mut keys] {
        let len = list.len();
        list.sort_unstable();
        list.dedup();
        assert_eq!(list.len(), len);
    }
}
