//! `doctor` with real daemons that are not well.

use std::fs;

use p2p_tests::daemon::{AT_ONCE, Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

/// What is not well, as `id VERDICT`, and the exit code.
fn complaints(peer: &TestPeer) -> (Option<i32>, Vec<String>) {
    let ran = peer.p2pctl(&["doctor", "-o", "json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    let word = |check: &Value, field: &str| check[field].as_str().unwrap().to_owned();
    let checks = found["checks"].as_array().unwrap().iter();
    let bad = checks.map(|check| (word(check, "id"), word(check, "verdict")));
    // The machine of the test may have a full disk, and has no locale.
    let bad = bad.filter(|(id, verdict)| verdict != "OK" && !["terminal", "time-zone", "disk-space"].contains(&&**id));
    (ran.code, bad.map(|(id, verdict)| format!("{id} {verdict}")).collect())
}

#[track_caller]
fn finds(peer: &TestPeer, complaint: &str) {
    eventually(PATIENCE, complaint, || complaints(peer).1.contains(&complaint.to_owned()));
}

#[test]
fn two_that_are_well_have_nothing_to_complain_of() {
    let network = Network::new();
    let one = network.start("one", &[]);
    assert_eq!(complaints(&one), (Some(0), vec!["peers WARN".to_owned()]), "it is alone");
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    eventually(AT_ONCE, "both are in sync", || two.status().missing_posts == 0);
    assert_eq!(complaints(&two), (Some(0), Vec::new()));
    let shown = two.p2pctl(&["doctor"]).ok();
    assert!(shown.contains("OK    links         1 of 1 peers are linked\n"), "{shown}");
}

#[test]
fn a_peer_with_another_secret_one_that_is_not_there_and_one_without_a_name_are_told_apart() {
    let network = Network::new();
    let stranger = network.start_with(Options {
        name: "stranger".to_owned(),
        network_key: Some(network.keygen("other.key")),
        ..Options::default()
    });
    let dials = vec![stranger.addr(), "127.0.0.1:1".to_owned(), "nowhere.invalid:8080".to_owned()];
    let one = network.start_with(Options { name: "one".to_owned(), dials, ..Options::default() });
    for complaint in ["secret FAIL", "refused FAIL", "names FAIL", "links FAIL"] {
        finds(&one, complaint);
    }
    let ran = one.p2pctl(&["doctor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{} has another network secret", stranger.addr())), "{ran:?}");
    assert!(ran.stdout.contains("hint: give both the same key"), "{ran:?}");
}

#[test]
fn a_configuration_that_changed_or_has_a_mistake_is_found_and_not_taken_over() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let configure = |text: &str| fs::write(network.dir().join("config.yaml"), text).unwrap();
    configure("log_level: info\n");
    let shown = one.p2pctl(&["doctor"]).ok();
    assert!(shown.contains("of log_level is not in force") && shown.contains("p2pctl daemon reload"), "{shown}");
    configure("durability: always\n");
    let shown = one.p2pctl(&["doctor"]).ok();
    assert!(shown.contains("of durability needs a restart"), "{shown}");
    configure("durabilty: always\n");
    let ran = one.p2pctl(&["doctor"]);
    assert!(ran.code == Some(1) && ran.stdout.contains("FAIL  config ") && ran.stdout.contains("durabilty"), "{ran:?}");
    configure("log_level: debug\n");
    assert_eq!(complaints(&one), (Some(0), vec!["peers WARN".to_owned()]), "nothing was taken over");
}

#[test]
fn a_blocked_peer_an_open_network_and_few_descriptors_are_found() {
    let network = Network::new();
    let open = [("P2P_OPEN_NETWORK", "true"), ("P2P_NETWORK_SECRET_FILE", "")];
    let open: Vec<(String, String)> = open.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let two = network.start_with(Options { name: "two".to_owned(), env: open.clone(), ..Options::default() });
    finds(&two, "open-network WARN");
    let mut one = network.start_with(Options {
        name: "one".to_owned(),
        env: open.clone(),
        dials: vec![two.addr()],
        under: vec!["prlimit".to_owned(), "--nofile=64".to_owned()],
        ..Options::default()
    });
    one.wait_for_peers(1);
    finds(&one, "descriptors WARN");
    drop(one.p2pctl(&["send", "only here"]).ok());
    drop(one.p2pctl(&["peers", "block", "two"]).ok());
    finds(&one, "blocked WARN");
    one.kill_9();
    let ran = one.p2pctl(&["doctor"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.stdout.starts_with("FAIL  daemon        connect: no daemon at "), "{ran:?}");
}
