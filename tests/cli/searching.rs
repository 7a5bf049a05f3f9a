//! `search` among thousands of posts.

use p2p_tests::daemon::Network;
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

use super::document;

#[test]
fn a_search_over_many_pages_finds_each_match_once_and_the_newest_of_them_first() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    // Every second one matches. They take turns, because within a millisecond authors have no order that a page keeps.
    let said = |name: &str, from: usize| -> Vec<u8> {
        let word = |n: usize| if n.is_multiple_of(2) { "Needle" } else { "hay" };
        (from..from + 1_500).map(|n| format!("{name} {n} {}\n", word(n))).collect::<String>().into_bytes()
    };
    for (turn, from) in [(1, 1), (2, 1_501)] {
        drop(one.p2pctl_with(&["send", "-l"], &said("one", from)).ok());
        eventually(PATIENCE, "two heard it", || two.status().posts == turn * 3_000 - 1_500);
        drop(two.p2pctl_with(&["send", "-l"], &said("two", from)).ok());
        eventually(PATIENCE, "one heard it", || one.status().posts == turn * 3_000);
    }
    drop(two.p2pctl(&["send", "-r", "tea", "a needle in the tea"]).ok());
    eventually(PATIENCE, "all is there", || one.status().posts == 6_001);

    let texts = |args: &[&str]| -> Vec<String> {
        let output = one.p2pctl(&[&["search", "NEEDLE", "-0"], args].concat()).ok();
        output.split_terminator('\0').map(str::to_owned).collect()
    };
    let found = texts(&["-n", "0"]);
    let history = one.p2pctl(&["history", "--all", "-0"]).ok();
    let expected: Vec<&str> =
        history.split_terminator('\0').filter(|text| text.to_lowercase().contains("needle")).collect();
    assert_eq!((found.len(), &found), (3_001, &expected.iter().map(|text| (*text).to_owned()).collect()));
    assert_eq!(texts(&["-n", "2500"]), expected[501..], "the newest of them");
    assert_eq!(texts(&["-n", "2"])[1], "a needle in the tea");
    assert_eq!(texts(&["-r", "tea"]), ["a needle in the tea"]);

    let json = document(&one.p2pctl(&["search", "needle", "two", "-n", "1", "-o", "json"]).ok(), "search");
    assert_eq!((&json["complete"], json["posts"].as_array().unwrap().len()), (&Value::from(false), 1));
    let none = one.p2pctl(&["search", "haystack", "-v"]);
    assert_eq!((none.code, none.stdout.as_str(), none.stderr.as_str()), (Some(0), "", "p2pctl: no match\n"));
}

#[test]
fn x_01_what_a_search_finds_is_escaped_like_everything_of_others() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    drop(two.p2pctl_with(&["send", "-0"], b"needle \x1b[2J\x1b]0;title\x07\nneedle too").ok());
    eventually(PATIENCE, "it has arrived", || one.status().posts == 1);
    let shown = one.p2pctl(&["search", "needle"]).ok();
    assert!(shown.chars().all(|character| character == '\n' || !character.is_control()), "{shown:?}");
    assert!(shown.contains("needle ^[[2J^[]0;title^G"), "{shown}");
    assert!(shown.lines().nth(1).is_some_and(|line| line.trim_start().starts_with("| needle too")), "{shown}");
}
