//! Data directories that are copied, and copies that are brought back.

use std::fs;
use std::path::Path;

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::ledger::Ledger;
use p2p_tests::program::{PATIENCE, eventually};

/// Copies what a stopped daemon left.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Lets people talk until they had some answers.
#[track_caller]
fn talk(ledger: &mut Ledger, peer: &TestPeer) {
    let people = ledger.start(peer, 4);
    people.wait_for_answers(40);
    people.stop();
    ledger.finish(people);
}

#[track_caller]
fn wait_equal(one: &TestPeer, two: &TestPeer) {
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
}

#[test]
fn d_13_an_old_backup_reuses_no_number_and_gets_its_history_back_from_peers() {
    let network = Network::new();
    let two = network.start("two", &[]);
    let mut one = network.start("one", &[&two]);
    let mut ledger = Ledger::new(&one, 13);
    talk(&mut ledger, &one);
    assert_eq!(one.stop().code(), Some(0));
    let backup = network.dir().join("backup");
    copy(&one.data_dir(), &backup);
    one.restart();
    two.wait_for_peers(1);
    talk(&mut ledger, &one);
    wait_equal(&one, &two);
    let before = one.status();
    assert_eq!(one.stop().code(), Some(0));

    fs::remove_dir_all(one.data_dir()).unwrap();
    copy(&backup, &one.data_dir());
    one.restart();
    // At once, before anybody told it what it forgot.
    talk(&mut ledger, &one);
    assert_ne!(one.status().epoch, before.epoch, "the run of a backup is a run of its own");
    wait_equal(&one, &two);
    ledger.check(&[&one, &two]);
    assert!(one.log().contains("own_posts_returned"), "somebody should look at that: {}", one.log());
}

#[test]
fn d_13_a_cloned_data_dir_runs_on_two_machines_both_are_warned_and_all_hold_the_same() {
    let network = Network::new();
    let three = network.start("three", &[]);
    let mut one = network.start("one", &[&three]);
    let mut ledger = Ledger::new(&one, 13);
    talk(&mut ledger, &one);
    assert_eq!(one.stop().code(), Some(0));
    copy(&one.data_dir(), &network.dir().join("clone").join("data"));
    one.restart();
    let clone = network.start("clone", &[&three, &one]);
    assert_eq!(one.id(), clone.id());
    let is_warned =
        |peer: &TestPeer| peer.status().problems.iter().any(|problem| problem.contains("use this identity"));
    eventually(PATIENCE, "both are warned", || is_warned(&one) && is_warned(&clone));
    // The same keys could be used on both: each has its own sessions here.
    let mut other = Ledger::new(&clone, 14).with_sessions_from(1_000);
    talk(&mut ledger, &one);
    talk(&mut other, &clone);
    wait_equal(&one, &three);
    wait_equal(&clone, &three);
    ledger.check_with(&other, &[&one, &clone, &three]);
}
