//! Calls of the system that fail, are interrupted, or take their time: strace tampers with them in a real daemon.

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::ledger::Ledger;
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::sim::dice::Dice;
use p2p_tests::skip::or_skip;
use p2p_tests::tracer::Tracer;
use rustix::process::Signal;

use super::seed;

/// What the database calls to flush.
const FLUSH: &str = "fsync,fdatasync";

#[test]
fn d_07_after_one_failed_flush_nothing_is_acknowledged_and_a_restart_has_all_that_was() {
    let seed = seed();
    let mut dice = Dice::new(seed);
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let mut ledger = Ledger::new(&one, seed);
    for _ in 0..8 {
        let when = format!("error=EIO:when={}", dice.between(1, 40));
        let Some(tracer) = or_skip(Tracer::attach(&one, FLUSH, &when)) else { return };
        let people = ledger.start(&one, 4);
        // Nobody stops it but itself.
        let status = one.wait_exit();
        drop(tracer);
        ledger.finish(people);
        assert_eq!(status.code(), Some(74), "{}", one.log());
        one.restart();
        super::look(&one, &mut ledger, 0);
    }
    ledger.check(&[&one]);
    assert!(one.log().contains("store_failed"), "{}", one.log());
    assert!(ledger.refused().is_empty(), "a failed flush is no refusal: what is on disk is not known");
}

#[test]
fn d_08_writes_that_are_interrupted_or_refused_are_done_or_failed_as_a_whole() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let mut ledger = Ledger::new(&one, 1);
    // Every so many-th write: interrupted, not now, broken, no room, over quota, and nothing of it written.
    for (inject, is_refused) in [
        ("error=EINTR:when=3+2", false),
        ("error=EAGAIN:when=9+9", true),
        ("error=EIO:when=9+9", true),
        ("error=ENOSPC:when=9+9", true),
        ("error=EDQUOT:when=9+9", true),
        ("retval=0:when=9+9", true),
    ] {
        let Some(tracer) = or_skip(Tracer::attach(&one, "pwrite64", inject)) else { return };
        let before = ledger.refused().len();
        let people = ledger.start(&one, 4);
        people.wait_for_answers(60);
        people.stop();
        ledger.finish(people);
        drop(tracer);
        assert_eq!(ledger.refused().len() > before, is_refused, "{inject}: {:?}", &ledger.refused()[before..]);
        drop(one.p2pctl(&["send", "now it works"]).ok());
        ledger.check_shown_but(&one, "now it works");
    }
    one.restart();
    ledger.check_shown_but(&one, "now it works");
    super::look(&one, &mut ledger, 0);
}

/// Says this many things, one after the other.
#[track_caller]
fn say(peer: &TestPeer, count: usize) {
    let lines: String = (0..count).map(|number| format!("{number}\n")).collect();
    drop(peer.p2pctl_with(&["send", "-l"], lines.as_bytes()).ok());
}

/// A thread of the daemon is inside a flush.
fn is_flushing(peer: &TestPeer) -> bool {
    let numbers = if cfg!(target_arch = "x86_64") { ["74 ", "75 "] } else { ["82 ", "83 "] };
    let threads = std::fs::read_dir(format!("/proc/{}/task", peer.pid())).unwrap();
    let calls = threads.flatten().filter_map(|thread| std::fs::read_to_string(thread.path().join("syscall")).ok());
    calls.into_iter().any(|call| numbers.iter().any(|number| call.starts_with(number)))
}

#[test]
fn p_04_a_second_signal_ends_at_once_what_waits_for_a_flush() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let Some(tracer) = or_skip(Tracer::attach(&one, FLUSH, "delay_enter=600s")) else { return };
    let sending = one.p2pctl_start(&["--timeout", "60s", "send", "slowly"], Vec::new());
    eventually(PATIENCE, "the send waits for its flush", || is_flushing(&one));
    one.signal(Signal::TERM);
    eventually(PATIENCE, "it is about to stop", || one.log().contains("stopping"));
    one.signal(Signal::INT);
    // What the kernel does for the tracer, it does to the end.
    drop(tracer);
    assert_eq!(one.wait_exit().code(), Some(130));
    assert!(one.log().contains("stopping at once"), "{}", one.log());
    drop(sending);
}

#[test]
fn a_disk_that_flushes_slowly_holds_up_its_own_senders_and_nobody_else() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    let three = network.start("three", &[&one, &two]);
    [&one, &two, &three].iter().for_each(|peer| peer.wait_for_peers(2));
    // Longer than anybody waits here: it ends when the tracer lets go.
    let Some(tracer) = or_skip(Tracer::attach(&one, FLUSH, "delay_enter=600s")) else { return };
    let mut waiting = one.p2pctl_start(&["--timeout", "60s", "send", "slowly"], Vec::new());
    say(&two, 50);
    eventually(PATIENCE, "two and three go on", || three.status().posts == 50);
    assert_eq!(one.peers().len(), 2, "it answers what needs no disk");
    assert!(!waiting.is_over(), "it was acknowledged before it was flushed");
    drop(tracer);
    drop(waiting.wait(PATIENCE).ok());
    for peer in [&one, &two, &three] {
        eventually(PATIENCE, "all is everywhere", || peer.status().posts == 51);
    }
}
