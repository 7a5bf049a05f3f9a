//! Proof that the judge sees: bugs put in on purpose are each found, for what they are.

use p2p_tests::sim::batch::catch;
use p2p_tests::sim::bug::Bug;

#[track_caller]
fn check(bug: Bug) {
    let found = catch(bug, 0..SEEDS);
    assert!(found.is_some(), "{bug:?} was not found in {SEEDS} seeds");
    println!("{bug:?} is found in seed={found:?}");
}

#[test]
fn d_02_an_acknowledgement_before_the_flush_is_found() {
    check(Bug::AckBeforeFlush);
}

#[test]
fn w_12_a_number_remembered_before_its_signature_is_checked_is_found() {
    check(Bug::RememberBeforeVerify);
}

#[test]
fn w_12_a_signature_that_is_not_checked_is_found() {
    check(Bug::NoVerify);
}

#[test]
fn a_mesh_without_repair_is_found() {
    check(Bug::NoRepair);
}

#[test]
fn d_13_a_reused_number_is_found() {
    check(Bug::ReusedNumber);
}

#[test]
fn w_16_a_lossy_dedup_is_found() {
    check(Bug::LossyDedup);
}

#[test]
fn g_06_forgotten_keys_are_found() {
    check(Bug::ForgottenKeys);
}

#[test]
fn d_06_a_failed_append_that_counts_as_done_is_found() {
    check(Bug::FailureIgnored);
}

#[test]
fn what_is_told_before_it_is_stored_is_found() {
    check(Bug::ForwardBeforeStore);
}

#[test]
fn pushing_on_what_was_repaired_is_found() {
    check(Bug::EagerRepair);
}

#[test]
fn links_that_are_never_forgotten_are_found() {
    check(Bug::LeakedLinks);
}

#[test]
fn a_dialer_that_gives_up_is_found() {
    check(Bug::DeadDial);
}

#[test]
fn k_01_following_a_broken_clock_is_found() {
    check(Bug::ClockFollowed);
}

/// Each bug must show in one of so many worlds.
const SEEDS: u64 = 250;
