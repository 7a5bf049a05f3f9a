//! Each mistake, and that it is found by its own check and no other.

#![allow(clippy::unwrap_used)]

use jiff::tz::TimeZone;
use p2p_proto::v1::{ConfigChange, ConfigResponse, ConfigValue, Health, Peer, PeerState, StatusResponse};

use super::facts::{Facts, Reach, figures, ip_of, reach};
use super::*;

const DISK: &str = "# HELP p2p_disk_free_bytes Free.\np2p_disk_free_bytes 50000000000\np2p_disk_size_bytes 100000000000\n\
    p2p_flush_seconds_bucket{le=\"0.1\"} 4\np2p_flush_seconds_sum 0.2\np2p_flush_seconds_count 100\n\
    p2p_other_instances 0\nprocess_open_fds 20\nprocess_max_fds 1024\n";

/// A daemon with two peers on other machines, of which nothing is to be said.
fn well() -> Facts {
    let value = |key: &str, value: &str| ConfigValue { key: key.into(), value: value.into(), source: "default".into() };
    let peer = |id: &str, address: &str| Peer {
        id: id.repeat(52),
        name: id.into(),
        state: PeerState::Up.into(),
        address: address.into(),
        configured: true,
        agent: format!("p2pd/{}", env!("CARGO_PKG_VERSION")),
        ..Peer::default()
    };
    let status = StatusResponse {
        id: "m".repeat(52),
        version: env!("CARGO_PKG_VERSION").into(),
        health: Health::Ready.into(),
        ready: true,
        listen: vec!["0.0.0.0:8080".into()],
        advertise: vec!["10.0.0.5:8080".into()],
        data_dir: "/data".into(),
        peers_up: 2,
        peers_known: 2,
        pid: 7,
        ..StatusResponse::default()
    };
    let values = vec![value("metrics_addr", "off"), value("network_secret_file", "/data/network.key")];
    let config = ConfigResponse { values, ..ConfigResponse::default() };
    Facts {
        status,
        peers: vec![peer("a", "10.0.0.6:8080"), peer("b", "10.0.0.7:8080")],
        config,
        figures: figures(DISK),
        ..Facts::default()
    }
}

/// What is not well, as `id VERDICT`.
fn complaints(facts: &Facts) -> Vec<String> {
    let bad = examine(facts).into_iter().filter(|check| check.verdict != Verdict::Ok);
    bad.map(|check| {
        assert!(!check.hint.is_empty(), "{check:?}");
        format!("{} {:?}", check.id, check.verdict)
    })
    .collect()
}

#[track_caller]
fn check(expected: &[&str], break_it: impl FnOnce(&mut Facts)) {
    let mut facts = well();
    break_it(&mut facts);
    assert_eq!(complaints(&facts), expected);
}

/// The first peer cannot be linked, for this reason.
fn fails(facts: &mut Facts, why: &str) {
    facts.peers[0].state = PeerState::Waiting.into();
    facts.peers[0].last_error = why.into();
}

#[test]
fn where_all_is_well_nobody_is_alarmed() {
    check(&[], |_| ());
    let ids: std::collections::BTreeSet<&str> = examine(&well()).iter().map(|check| check.id).collect();
    assert_eq!(ids.len(), CHECKS.len(), "each check has an id of its own");
}

#[test]
fn the_daemon_and_its_machine() {
    check(&["daemon Warn"], |facts| facts.status.health = Health::Recovering.into());
    check(&["daemon Fail"], |facts| facts.status.health = Health::Stopping.into());
    check(&["version Warn", "versions Warn"], |facts| facts.status.version = "9.9.9".into());
    check(&["config Fail"], |facts| facts.config.mistakes = "c.yaml:1: no such key".into());
    let change = |applied| ConfigChange { key: "durability".into(), applied, ..ConfigChange::default() };
    check(&["config Warn"], |facts| facts.config.changes = vec![change(true)]);
    check(&["config Warn"], |facts| facts.config.changes = vec![change(false), change(true)]);
    for problem in ["disk full in /data", "history.db is damaged", "too many open files", "alice signed two histories"]
    {
        check(&["alarms Fail"], |facts| facts.status.problems = vec![problem.into()]);
    }
    let replaced = "network_secret holds a network secret that was replaced: the one that holds is in /d/k";
    check(&["alarms Warn"], |facts| facts.status.problems = vec![replaced.into()]);
    check(&["alarms Fail"], |facts| {
        facts.status.problems = vec!["this daemon was shut out of the network by eve~k5x3".into(), replaced.into()];
    });
    check(&["secret Fail"], |facts| facts.network.shut_out = true);
    check(&["secret Fail"], |facts| facts.network.left_out = true);
    check(&["identity Fail"], |facts| {
        facts.status.problems =
            vec!["1 other running daemon(s) use this identity: was the data directory copied?".into()];
        facts.figures.insert("p2p_other_instances".into(), 1.0);
    });
    for (figure, value, expected) in [
        ("p2p_disk_free_bytes", 1e6, "disk-space Fail"),
        ("p2p_disk_free_bytes", 1e8, "disk-space Warn"),
        ("p2p_disk_free_bytes", 2e9, "disk-space Warn"),
        ("p2p_flush_seconds_sum", 20.0, "disk-speed Warn"),
        ("process_open_fds", 1_000.0, "descriptors Fail"),
        ("process_open_fds", 900.0, "descriptors Warn"),
        ("process_max_fds", 64.0, "descriptors Warn"),
    ] {
        check(&[expected], |facts| {
            facts.figures.insert(figure.into(), value);
        });
    }
    check(&[], |facts| facts.figures.clear());
    check(&["retention Warn"], |facts| facts.status.expired_posts = 12);
    assert_eq!(machine::terminal(false).verdict, Verdict::Warn);
    assert_eq!(machine::time_zone(&TimeZone::unknown()).verdict, Verdict::Warn);
    assert_eq!(machine::time_zone(&TimeZone::UTC).verdict, Verdict::Ok);
}

#[test]
fn where_it_can_be_reached() {
    check(&["listen Warn"], |facts| facts.status.listen = vec!["127.0.0.1:8080".into(), "[::1]:8080".into()]);
    check(&[], |facts| {
        facts.status.listen = vec!["127.0.0.1:8080".into()];
        facts.peers.iter_mut().for_each(|peer| peer.address = "localhost:8081".into());
    });
    for useless in ["0.0.0.0:8080", "127.0.0.1:8080", "[fe80::1]:8080"] {
        check(&["advertise Warn"], |facts| facts.status.advertise = vec![useless.into()]);
    }
    check(&["open-network Fail"], |facts| facts.status.open_network = true);
    check(&["open-network Warn"], |facts| {
        facts.status.open_network = true;
        facts.status.listen = vec!["192.168.1.4:8080".into()];
    });
    let lan = |change: fn(&mut Facts)| {
        let mut facts = well();
        facts.config.values.push(ConfigValue { key: "lan_discovery".into(), value: "true".into(), source: "x".into() });
        facts.status.uptime_ms = 61_000;
        change(&mut facts);
        complaints(&facts).into_iter().filter(|complaint| complaint.starts_with("lan ")).collect::<Vec<_>>()
    };
    assert!(lan(|_| ()).is_empty(), "others are linked");
    assert_eq!(lan(|facts| facts.status.listen = vec!["127.0.0.1:8080".into()]), ["lan Warn"]);
    assert_eq!(lan(|facts| facts.status.peers_up = 0), ["lan Warn"]);
    assert!(lan(|facts| (facts.status.peers_up, facts.status.uptime_ms) = (0, 9_000)).is_empty(), "too early");
    let heard = lan(|facts| {
        facts.status.peers_up = 0;
        facts.status.counters.insert("hints_total".into(), 3);
    });
    assert!(heard.is_empty());
    let metrics = |value: &str| {
        let mut facts = well();
        facts.config.values[0].value = value.into();
        complaints(&facts)
    };
    assert_eq!(metrics("[127.0.0.1:9464, 0.0.0.0:9464]"), ["metrics Warn"]);
    assert_eq!(metrics("8.8.8.8:9464"), ["metrics Warn"]);
    assert!(metrics("localhost:9464").is_empty() && metrics("10.0.0.5:9464").is_empty());
}

#[test]
fn why_peers_are_not_linked() {
    for (error, expected) in [
        ("refused the network secret (ours: …)", "secret Warn"),
        ("it does not know the network secret", "secret Warn"),
        ("\"nowhere\" cannot be resolved: failed to lookup address", "names Warn"),
        ("10.0.0.6:8080: Connection refused (os error 111)", "refused Warn"),
        ("10.0.0.6:8080: no answer within 10s", "silent Warn"),
        ("10.0.0.6:8080: No route to host (os error 113)", "silent Warn"),
    ] {
        check(&[expected], |facts| fails(facts, error));
        // Whoever has nobody else has more than a blemish.
        check(&["links Fail", &expected.replace("Warn", "Fail")], |facts| {
            fails(facts, error);
            facts.peers[1].state = PeerState::Down.into();
            facts.status.health = Health::Isolated.into();
        });
    }
    check(&["peers Warn"], |facts| {
        facts.peers.clear();
        (facts.status.peers_up, facts.status.peers_known) = (0, 0);
    });
    check(&[], |facts| facts.peers.iter_mut().for_each(|peer| peer.configured = false));
    check(&["blocked Warn"], |facts| {
        fails(facts, "10.0.0.6:8080: Connection refused (os error 111)");
        facts.peers[0].blocked = true;
    });
}

#[test]
fn what_the_others_tell() {
    check(&["versions Warn"], |facts| facts.peers[1].agent = "p2pd/0.0.1".into());
    check(&["clocks Warn"], |facts| facts.peers[1].clock_offset_us = -90_000_000);
    check(&["clocks Warn"], |facts| facts.peers.iter_mut().for_each(|peer| peer.clock_offset_us = 3_000_000));
    check(&["own-posts Warn"], |facts| facts.status.unacked_own_posts = 3);
    check(&["history Warn"], |facts| facts.status.missing_posts = 3);
    check(&["history Warn"], |facts| facts.status.unavailable_posts = 3);
    let mut facts = well();
    facts.peers[0].clock_offset_us = -90_500_000;
    let clocks = peers::clocks(&facts);
    assert_eq!(clocks.finding, "that of a~aaaa is -90 s from ours");
}

#[test]
fn addresses_reach_as_far_as_they_do() {
    for (address, expected) in [
        ("127.0.0.1:1", Some(Reach::Loopback)),
        ("localhost:1", Some(Reach::Loopback)),
        ("[::1]:1", Some(Reach::Loopback)),
        ("[::ffff:127.0.0.1]:1", Some(Reach::Loopback)),
        ("169.254.1.1:1", Some(Reach::Link)),
        ("[fe80::1]:1", Some(Reach::Link)),
        ("100.64.0.1:1", Some(Reach::Private)),
        ("192.168.1.1:1", Some(Reach::Private)),
        ("[fd00::1]:1", Some(Reach::Private)),
        ("0.0.0.0:1", Some(Reach::Any)),
        ("[2001:db8::1]:1", Some(Reach::Public)),
        ("8.8.8.8:1", Some(Reach::Public)),
        ("example.org:1", None),
    ] {
        assert_eq!(ip_of(address).map(reach), expected, "{address}");
    }
}
