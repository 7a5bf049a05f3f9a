//! `history -f` while others speak: what was said joins what is said without a seam.

use std::collections::BTreeMap;
use std::fs::{self, File};

use p2p_tests::daemon::Network;
use p2p_tests::program::{PATIENCE, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lines;

#[test]
fn history_that_goes_on_shows_each_post_once_while_two_authors_speak() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let sending =
        [(&one, "one"), (&two, "two")].map(|(peer, name)| peer.p2pctl_start(&["send", "-l"], lines(name, EACH)));
    eventually(PATIENCE, "both speak", || one.status().posts > 500);
    let shown = network.dir().join("shown");
    let mut command = one.p2pctl_command(&["history", "--all", "-f", "-o", "json"]);
    let mut following = command.stdout(File::create(&shown).unwrap()).spawn().unwrap();
    sending.into_iter().for_each(|sending| drop(sending.wait(PATIENCE).ok()));
    let read = || fs::read_to_string(&shown).unwrap();
    eventually(PATIENCE, "all is shown", || read().lines().count() > 2 * EACH);
    kill_process(Pid::from_child(&following), Signal::INT).unwrap();
    assert_eq!(following.wait().unwrap().code(), Some(130));

    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut caught_up = 0;
    for line in read().lines() {
        let document: Value = serde_json::from_str(line).unwrap();
        if document["type"] == "caught_up" {
            caught_up += 1;
            continue;
        }
        let author = document["author_name"].as_str().unwrap().to_owned();
        seen.entry(author).or_default().push(document["seq"].as_u64().unwrap());
    }
    assert_eq!(caught_up, 1);
    let all: Vec<u64> = (1..=EACH as u64).collect();
    assert_eq!(seen, BTreeMap::from([("one".to_owned(), all.clone()), ("two".to_owned(), all)]));
}

/// What each of them says.
const EACH: usize = 5_000;

#[test]
fn a_history_too_long_to_be_held_is_the_same_as_one_that_is_held() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let each = 9_000;
    let sending =
        [(&one, "one"), (&two, "two")].map(|(peer, name)| peer.p2pctl_start(&["send", "-l"], lines(name, each)));
    sending.into_iter().for_each(|sending| drop(sending.wait(PATIENCE).ok()));
    eventually(PATIENCE, "all is there", || one.status().posts == 2 * each as u64);
    let read = |args: &[&str]| one.p2pctl(&[&["history", "-0", "--timeout", "25s"], args].concat()).ok();
    let all = read(&["--all"]);
    assert_eq!(all.matches('\0').count(), 2 * each);
    assert!(all == read(&["-n", "18000"]), "another order, or other posts");
}
