//! Clocks that are wrong: libfaketime stands between a real daemon and the time.

use std::fs;
use std::path::PathBuf;

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::ledger::Ledger;
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;

/// Where Debian and others put it.
fn library() -> Result<PathBuf, String> {
    let dirs = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64", "/usr/lib"];
    let paths = dirs.iter().map(|dir| PathBuf::from(dir).join("faketime/libfaketimeMT.so.1"));
    paths.into_iter().find(|path| path.exists()).ok_or_else(|| "libfaketime is not installed".into())
}

/// A network with a peer whose wall clock is what a file says; only that clock, as when somebody sets it.
fn start(network: &Network, library: &std::path::Path, name: &str, dials: &[&TestPeer], clock: &str) -> TestPeer {
    let file = network.dir().join(format!("{name}.clock"));
    fs::write(&file, clock).unwrap();
    let env = [
        ("LD_PRELOAD", library.display().to_string()),
        ("FAKETIME_TIMESTAMP_FILE", file.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()),
        ("DONT_FAKE_MONOTONIC", "1".into()),
    ];
    let env = env.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let dials = dials.iter().map(|peer| peer.addr()).collect();
    network.start_with(Options { name: name.into(), dials, env, ..Options::default() })
}

fn set(network: &Network, name: &str, clock: &str) {
    fs::write(network.dir().join(format!("{name}.clock")), clock).unwrap();
}

fn seconds(peer: &TestPeer) -> u64 {
    peer.status().epoch >> 20
}

#[test]
fn k_01_with_any_wall_clock_a_daemon_starts_its_epochs_grow_and_its_posts_stay_in_order() {
    let Some(library) = or_skip(library()) else { return };
    let network = Network::new();
    let two = network.start("two", &[]);
    let mut one = start(&network, &library, "one", &[&two], "-10y");
    let mut ledger = Ledger::new(&one, 1);
    let begin = one.status().epoch;
    assert!(seconds(&two) - seconds(&one) > 300_000_000, "the clock is right, so nothing is shown");
    let mut last = begin;
    for clock in ["+10y", "-10y", "+3d", "@1970-01-01 00:00:01", "@2038-01-19 03:14:05", "+0"] {
        let people = ledger.start(&one, 2);
        people.wait_for_answers(20);
        set(&network, "one", clock);
        people.wait_for_answers(40);
        people.stop();
        ledger.finish(people);
        one.restart();
        let epoch = one.status().epoch;
        assert!(epoch > last, "with {clock} the epoch is {epoch} behind {last}");
        last = epoch;
    }
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    ledger.check(&[&one, &two]);
}

#[test]
fn k_01_a_clock_that_is_set_while_peers_talk_loses_no_link_and_no_post() {
    let Some(library) = or_skip(library()) else { return };
    let network = Network::new();
    let two = network.start("two", &[]);
    let one = start(&network, &library, "one", &[&two], "+0");
    two.wait_for_peers(1);
    let mut ledgers = [Ledger::new(&one, 1), Ledger::new(&two, 2)];
    for clock in ["+10y", "-10y", "@1969-12-31 12:00:00", "+0"] {
        set(&network, "one", clock);
        let people = [ledgers[0].start(&one, 2), ledgers[1].start(&two, 2)];
        for (ledger, people) in ledgers.iter_mut().zip(people) {
            people.wait_for_answers(30);
            people.stop();
            ledger.finish(people);
        }
    }
    eventually(PATIENCE, "both hold the same", || one.status().digest == two.status().digest);
    ledgers[0].check_with(&ledgers[1], &[&one, &two]);
    assert!(!two.log().contains("link_down"), "{}", two.log());
}
