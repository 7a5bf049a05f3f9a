//! Disks without room, and disks that take no more writes.

use std::fs;
use std::path::Path;

use p2p_proto::v1::Health;
use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, Running, eventually};
use p2p_tests::skip::or_skip;
use p2p_tests::volume::Volume;

use super::{data_dir, p2pd};

/// Fills the disk, and says one thing that still fits into what the log of the database has already.
#[track_caller]
fn fill(volume: &Volume, peer: &TestPeer) -> std::path::PathBuf {
    let ballast = volume.fill();
    eventually(PATIENCE, "nothing fits any more", || peer.p2pctl(&["send", "does it fit?"]).code != Some(0));
    ballast
}

#[track_caller]
fn check_refused(peer: &TestPeer) {
    let refused = peer.p2pctl(&["send", "too much"]);
    let dir = peer.data_dir().display().to_string();
    let line = refused.stderr.lines().next().unwrap_or_default();
    let start = format!("p2pctl: error: send: disk full in {dir} (");
    let bytes =
        line.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" bytes free); nothing was sent (STORE_FAILED)"));
    assert!(bytes.is_some_and(|bytes| bytes.parse::<u64>().is_ok()), "{}", refused.stderr);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(11), ""), "{}", refused.stderr);
}

/// Everything that needs no room works, and the daemon says what is wrong.
#[track_caller]
fn check_degraded(peer: &TestPeer) {
    let status = peer.status();
    assert_eq!(status.health(), Health::Degraded);
    assert!(status.problems.iter().any(|problem| problem.starts_with("disk full in ")), "{:?}", status.problems);
    assert_eq!(peer.p2pctl(&["health"]).code, Some(1));
    for args in [
        &["daemon", "metrics"][..],
        &["peers"],
        &["history"],
        &["watch", "--all", "--until-caught-up"],
        &["status"],
        &["rooms"],
    ] {
        drop(peer.p2pctl(args).ok());
    }
}

#[track_caller]
fn a_full_disk_refuses_and_resumes(make: impl Fn(&Path) -> Result<Volume, String>) {
    let network = Network::new();
    let Some(volume) = or_skip(make(&data_dir(&network, "one"))) else { return };
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    drop(one.p2pctl(&["send", "before"]).ok());
    let watcher = watch(&two);
    let ballast = fill(&volume, &one);
    check_refused(&one);
    check_degraded(&one);

    // What others say pauses here, and only here.
    let said: Vec<String> = (1..=50).map(|number| format!("{number} {}", "x".repeat(4_000))).collect();
    drop(two.p2pctl_with(&["send", "-l"], said.join("\n").as_bytes()).ok());
    let three = network.start("three", &[&two, &one]);
    eventually(PATIENCE, "three has it all", || three.status().digest == two.status().digest);
    assert!(one.status().posts < two.status().posts, "there was room, so nothing was shown");
    check_degraded(&one);

    fs::remove_file(ballast).unwrap();
    eventually(PATIENCE, "what was missed is here", || one.status().digest == two.status().digest);
    eventually(PATIENCE, "nothing is wrong any more", || one.status().health() == Health::Ready);
    drop(one.p2pctl(&["send", "after"]).ok());
    eventually(PATIENCE, "all hold the same", || {
        one.status().digest == two.status().digest && one.status().digest == three.status().digest
    });
    for peer in [&one, &two, &three] {
        let texts: Vec<String> = peer.posts().into_iter().map(|post| post.text).collect();
        assert!(texts.contains(&"after".to_owned()) && said.iter().all(|said| texts.contains(said)));
        assert!(!texts.contains(&"too much".to_owned()), "what was refused is nowhere");
    }
    drop(two.p2pctl(&["send", "the end"]).ok());
    let shown = watcher.wait(PATIENCE).ok();
    assert!(!shown.contains("too much"), "{shown}");
}

/// Reads along until somebody says the end.
fn watch(peer: &TestPeer) -> Running {
    let exec = ["watch", "--all", "--idle", "20s", "--count", "53"];
    peer.p2pctl_start(&exec, Vec::new())
}

#[test]
fn d_06_a_full_disk_refuses_sends_and_resumes_by_itself() {
    a_full_disk_refuses_and_resumes(|at| Volume::ext4(at, 24));
}

#[test]
fn d_06_a_full_disk_in_memory_refuses_sends_and_resumes_by_itself() {
    a_full_disk_refuses_and_resumes(|at| Volume::memory(at, "size=2m"));
}

#[test]
fn d_06_a_refused_send_leaves_no_alarm_behind_once_there_is_room() {
    let network = Network::new();
    let Some(volume) = or_skip(Volume::memory(&data_dir(&network, "one"), "size=2m")) else { return };
    let one = network.start("one", &[]);
    let ballast = fill(&volume, &one);
    check_refused(&one);
    fs::remove_file(ballast).unwrap();
    // Nobody says anything meanwhile.
    eventually(PATIENCE, "nothing is wrong any more", || one.status().health() == Health::Ready);
    assert_eq!(one.p2pctl(&["health"]).code, Some(0));
}

#[test]
fn d_06_a_disk_that_fills_up_by_what_is_said_loses_nothing_and_goes_on_when_it_grows() {
    let network = Network::new();
    let Some(volume) = or_skip(Volume::memory(&data_dir(&network, "one"), "size=8m")) else { return };
    let mut one = network.start("one", &[]);
    let mut ledger = p2p_tests::ledger::Ledger::new(&one, 1);
    // Neither the log nor the file can grow at the end, whichever comes first.
    let people = ledger.start_with_long_texts(&one, 8);
    eventually(PATIENCE, "the disk is full", || one.status().health() == Health::Degraded);
    people.wait_for_answers(one.status().posts + 200);
    volume.remount("size=32m").unwrap();
    eventually(PATIENCE, "nothing is wrong any more", || one.status().health() == Health::Ready);
    people.stop();
    ledger.finish(people);
    ledger.check(&[&one]);
    assert!(ledger.refused().len() > 100, "only {} were refused", ledger.refused().len());
    let is_full = |error: &p2p_proto::error::Error| error.message.starts_with("disk full in ");
    assert!(ledger.refused().iter().all(is_full), "{:?}", ledger.refused().iter().find(|error| !is_full(error)));
    assert_eq!(one.stop().code(), Some(0));
    one.restart();
    ledger.check(&[&one]);
}

#[test]
fn d_06_a_start_on_a_full_disk_says_so_and_the_next_one_with_room_works() {
    let network = Network::new();
    let dir = data_dir(&network, "one");
    let Some(volume) = or_skip(Volume::memory(&dir, "size=64k")) else { return };
    for size in ["16k", "64k"] {
        volume.remount(&format!("size={size}")).unwrap();
        let ballast = volume.fill();
        let refused = p2pd(&network, &dir);
        assert_eq!(refused.code, Some(74), "{}", refused.stderr);
        assert!(refused.stderr.contains(dir.to_str().unwrap()), "{}", refused.stderr);
        fs::remove_file(ballast).unwrap();
        // Little room is no better: whatever step it fails at, nothing half is in the way of the next one.
        let refused = p2pd(&network, &dir);
        assert_eq!(refused.code, Some(74), "{}", refused.stderr);
        assert!(refused.stderr.contains("disk full in "), "{}", refused.stderr);
    }
    volume.remount("size=4m").unwrap();
    let mut one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "it works"]).ok());
    assert_eq!(one.stop().code(), Some(0));

    // With a history that is there it is no different.
    let ballast = volume.fill();
    let refused = p2pd(&network, &dir);
    assert_eq!(refused.code, Some(74), "{}", refused.stderr);
    assert!(refused.stderr.contains("disk full in "), "{}", refused.stderr);
    fs::remove_file(ballast).unwrap();
    one.restart();
    assert_eq!(one.status().posts, 1);
}

#[test]
fn d_10_a_read_only_file_system_at_the_start_is_named() {
    let network = Network::new();
    let dir = data_dir(&network, "one");
    let Some(volume) = or_skip(Volume::ext4(&dir, 24)) else { return };
    let mut one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "while it can be written"]).ok());
    assert_eq!(one.stop().code(), Some(0));
    volume.remount("ro").unwrap();
    let refused = p2pd(&network, &dir);
    assert_eq!(refused.code, Some(74), "{}", refused.stderr);
    assert!(refused.stderr.contains(dir.to_str().unwrap()), "{}", refused.stderr);
    assert!(refused.stderr.contains("Read-only"), "{}", refused.stderr);
    volume.remount("rw").unwrap();
    one.restart();
    assert_eq!(one.status().posts, 1);
}

#[test]
fn d_10_a_file_system_that_becomes_read_only_acknowledges_nothing_more_and_loses_nothing() {
    let network = Network::new();
    let Some(mut volume) = or_skip(Volume::ext4(&data_dir(&network, "one"), 24)) else { return };
    let mut one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let mut ledger = p2p_tests::ledger::Ledger::new(&one, 1);
    let people = ledger.start(&one, 4);
    people.wait_for_answers(100);
    // Between two calls, as in the tests of power cuts.
    one.freeze();
    let broken = or_skip(volume.break_down());
    one.resume();
    if broken.is_none() {
        return;
    }
    let posts = one.status().posts;
    people.wait_for_answers(posts + 500);
    people.stop();
    ledger.finish(people);
    let refused = one.p2pctl(&["send", "too late"]);
    assert!([Some(11), Some(3)].contains(&refused.code), "{refused:?}");
    assert!(!ledger.refused().is_empty(), "nothing was refused");

    one.kill_9();
    volume.restore_power().unwrap();
    one.restart();
    ledger.check(&[&one]);
    drop(one.p2pctl(&["send", "it goes on"]).ok());
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
}
