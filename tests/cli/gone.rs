//! What retention dropped: whoever reads there is told exactly how much it was.

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

use super::document;

/// A daemon that said 150 long things and keeps about the last 60 of them. Gives how many are gone.
fn forgetful(network: &Network) -> (TestPeer, u64) {
    let env = vec![("P2P_RETENTION_BYTES".into(), "1MB".into())];
    let one = network.start_with(Options { name: "one".into(), env, ..Options::default() });
    let texts: Vec<String> = (1..=SAID).map(|number| format!("{number} {}", "x".repeat(16_000))).collect();
    drop(one.p2pctl_with(&["send", "-0"], texts.join("\0").as_bytes()).ok());
    eventually(PATIENCE, "the oldest are dropped", || {
        let status = one.status();
        status.expired_posts > 0 && status.bytes <= 1_000_000
    });
    let gone = one.status().expired_posts;
    (one, gone)
}

/// The numbers of the texts, which are parted by NUL.
fn numbers(raw: &str) -> Vec<u64> {
    raw.split_terminator('\0').map(|text| text.split_once(' ').unwrap().0.parse().unwrap()).collect()
}

#[test]
fn d_15_whoever_watches_from_below_a_floor_is_told_how_much_is_gone() {
    let network = Network::new();
    let (one, gone) = forgetful(&network);
    for (start, from) in [(&["--all"][..], 1), (&["--after", "10"], 11), (&["--since", "1h"], 1)] {
        let warning = format!(
            "p2pctl: warning: gap: {} posts at offsets {from} to {gone} are not held here: \
             dropped by retention, or damaged (see p2pctl status)\n",
            gone + 1 - from
        );
        let watch = |format: &[&str]| one.p2pctl(&[&["watch", "--until-caught-up"], start, format].concat());
        let raw = watch(&["-0"]);
        assert_eq!(raw.stderr, warning, "{start:?}");
        assert_eq!(numbers(&raw.ok()), (gone + 1..=SAID).collect::<Vec<_>>());

        let json = watch(&["-o", "json"]);
        let told = document(&json.stderr, "gap");
        let documents: Vec<Value> = json.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&documents[0], documents.len() as u64), (&told, SAID - gone + 2), "a gap, the posts, caught up");
        assert_eq!(
            (&told["from"], &told["to"], &told["posts"]),
            (&from.into(), &gone.into(), &(gone + 1 - from).into())
        );
    }
    let held = gone.to_string();
    let behind = one.p2pctl(&["watch", "--until-caught-up", "--after", &held, "-0"]);
    assert_eq!((behind.stderr.as_str(), numbers(&behind.stdout).len() as u64), ("", SAID - gone), "nothing is missing");
}

#[test]
fn d_15_whoever_asks_for_all_of_the_history_is_told_how_much_is_gone() {
    let network = Network::new();
    let (one, gone) = forgetful(&network);
    let history = |args: &[&str]| one.p2pctl(&[&["history"], args].concat());
    let warning = format!("p2pctl: warning: {gone} older posts are no longer held (retention)\n");
    for args in [&["--all"][..], &["-n", "0"], &["--since", "1h", "--all"]] {
        let raw = history(&[args, &["-0"]].concat());
        assert_eq!(raw.stderr, warning, "{args:?}");
        assert_eq!(numbers(&raw.ok()), (gone + 1..=SAID).collect::<Vec<_>>());
        let json = history(&[args, &["-o", "json"]].concat());
        assert_eq!(json.stderr, "", "the document says it");
        let json = document(&json.ok(), "history");
        assert_eq!((&json["expired"], json["posts"].as_array().unwrap().len() as u64), (&gone.into(), SAID - gone));
    }
    for some in [&["-n", "5"][..], &["--since", "0s", "--all"]] {
        assert_eq!(history(&[some, &["-0"]].concat()).stderr, "", "{some:?}: what is gone is no part of it");
    }
    let status = document(&one.p2pctl(&["status", "-o", "json"]).ok(), "status");
    assert_eq!(status["expired_posts"], gone);
    assert!(one.p2pctl(&["status"]).ok().contains(&format!("{gone} posts, dropped by retention")));
}

const SAID: u64 = 150;
