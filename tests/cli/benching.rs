//! `bench` with real daemons: figures differ, but they add up.

use p2p_tests::daemon::Network;
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

use crate::document;

fn number(bench: &Value, field: &str) -> u64 {
    bench[field].as_u64().unwrap_or_else(|| panic!("{field} of {bench}"))
}

#[track_caller]
fn adds_up(bench: &Value, what: &str, posts: u64) {
    assert_eq!((bench["what"].as_str(), number(bench, "posts")), (Some(what), posts));
    let buckets = bench["buckets"].as_array().unwrap();
    assert_eq!(buckets.iter().map(|bucket| number(bucket, "posts")).sum::<u64>(), posts);
    let times = ["min_us", "p50_us", "p90_us", "p99_us", "max_us"].map(|field| number(bench, field));
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn what_a_benchmark_sends_is_counted_kept_and_warned_of() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let ran = one.p2pctl(&["bench", "send", "--count", "700", "--size", "100", "-o", "json"]);
    assert!(ran.stderr.contains("700 posts of 100 bytes are kept in the room bench by everybody"), "{ran:?}");
    let bench = document(&ran.ok(), "bench");
    adds_up(&bench, "send", 700);
    assert_eq!(number(&bench, "bytes"), 70_000);
    let paced = one.p2pctl(&["bench", "send", "--count", "20", "--rate", "200", "-r", "other", "-o", "json"]);
    let paced = document(&paced.ok(), "bench");
    adds_up(&paced, "send", 20);
    assert!(number(&paced, "elapsed_us") >= 95_000, "the last one is said 19/200 s behind the first: {paced}");
    let latency = one.p2pctl(&["bench", "latency", "--count", "5", "--rate", "1000"]).ok();
    assert!(latency.starts_with("5 posts, 320 B, in ") && latency.contains("up to "), "{latency}");
    assert_eq!(one.status().posts, 725);
    for odd in [&["--size", "10"][..], &["--size", "20000"], &["--count", "0"], &["--rate", "0"]] {
        assert_eq!(one.p2pctl(&[&["bench", "send"], odd].concat()).code, Some(2), "{odd:?}");
    }
}

#[test]
fn a_reader_measures_what_comes_from_another_peer() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let reader = two.p2pctl_start(&["bench", "watch", "--count", "50", "--for", "30s", "-o", "json"], Vec::new());
    let subscribers = || two.p2pctl(&["daemon", "metrics"]).ok().contains("p2p_api_subscribers 1");
    eventually(PATIENCE, "somebody reads", subscribers);
    drop(one.p2pctl(&["send", "-r", "bench", "no benchmark"]).ok());
    // More than are waited for, of which a batch may bring any number.
    drop(one.p2pctl(&["bench", "send", "--count", "500"]).ok());
    let bench = document(&reader.wait(PATIENCE).ok(), "bench");
    adds_up(&bench, "watch", 50);
    assert_eq!(number(&bench, "bytes"), 3_200);
    let nothing = two.p2pctl(&["bench", "watch", "--for", "10ms"]);
    assert_eq!(nothing.code, Some(7), "{nothing:?}");
}
