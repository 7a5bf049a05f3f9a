//! `kill -9` and stopped clocks: nothing acknowledged is lost, nothing is there twice, and the others see it.

use std::collections::BTreeSet;

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{AT_ONCE, Network, Options};
use p2p_tests::program::{PATIENCE, eventually};

use super::{check_equal, lines, texts_by_author};

#[test]
fn d_01_kill_9_while_sending_loses_nothing_acknowledged_and_doubles_nothing() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    let three = network.start("three", &[&one, &two]);
    two.wait_for_peers(2);
    let said = lines("two", LINES);

    let mut interrupted = 0;
    for round in 1..=3 {
        let before = one.status().posts;
        let sending = two.p2pctl_start(&["send", "-l", "--key", "crash"], said.clone());
        // Each round dies in the middle of something that is new.
        eventually(PATIENCE, "some posts have arrived", || one.status().posts >= (before + 100).min(LINES as u64));
        two.kill_9();
        let acknowledged: BTreeSet<String> = sending.wait(PATIENCE).stdout.lines().map(str::to_owned).collect();
        interrupted += usize::from(acknowledged.len() < LINES);

        two.restart();
        let kept: BTreeSet<String> = two.posts().iter().filter_map(|post| post.id.as_ref()).map(short_id).collect();
        let lost: Vec<&String> = acknowledged.difference(&kept).collect();
        assert!(lost.is_empty(), "acknowledged and lost in round {round}: {lost:?}");
    }
    assert!(interrupted > 0, "no kill came in the middle, so nothing was shown");

    // The same keys again: what was said is not said twice, and the rest follows.
    let ids = two.p2pctl_with(&["send", "-l", "--key", "crash"], &said).ok();
    assert_eq!(ids.lines().collect::<BTreeSet<_>>().len(), LINES, "one id a line, all different");
    check_equal(&[&one, &two, &three], LINES as u64);
    let expected: Vec<String> = (1..=LINES).map(|number| format!("two says {number}")).collect();
    assert_eq!(texts_by_author(&three.posts())[two.id()], expected);
}

#[test]
fn a_killed_receiver_comes_back_and_holds_what_all_hold() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    let three = network.start("three", &[&one, &two]);
    three.wait_for_peers(2);
    let sending =
        [(&one, "one"), (&three, "three")].map(|(peer, name)| peer.p2pctl_start(&["send", "-l"], lines(name, 1000)));
    eventually(PATIENCE, "some posts have arrived", || two.status().posts >= 200);
    two.restart();
    for output in sending {
        drop(output.wait(PATIENCE).ok());
    }
    check_equal(&[&one, &two, &three], 2000);
}

#[test]
fn g_06_a_client_that_dies_and_sends_again_with_its_key_has_said_it_once() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let said = lines("one", LINES);
    let sending = one.p2pctl_start(&["send", "-l", "--key", "again"], said.clone());
    eventually(PATIENCE, "some posts are there", || one.status().posts > 0);
    // Dropping it kills it.
    drop(sending);
    drop(one.p2pctl_with(&["send", "-l", "--key", "again"], &said).ok());
    check_equal(&[&one], LINES as u64);
}

#[test]
fn a_killed_peer_is_seen_by_the_others_at_once_and_again_when_it_is_back() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[&one]);
    eventually(PATIENCE, "two is up", || one.state_of(&two) == PeerState::Up);
    let epoch = two.status().epoch;
    two.kill_9();
    eventually(AT_ONCE, "two is not up any more", || one.state_of(&two) != PeerState::Up);
    two.restart();
    eventually(PATIENCE, "two is up again", || one.state_of(&two) == PeerState::Up);
    assert!(two.status().epoch > epoch, "every start has an epoch of its own");
}

#[test]
fn n_06_a_peer_that_is_silent_is_suspected_then_hung_up_and_linked_again_when_it_lives() {
    let network = Network::new();
    let env = [("P2P_HEARTBEAT_INTERVAL", "1s"), ("P2P_HEARTBEAT_TIMEOUT", "1s")];
    let env: Vec<(String, String)> = env.map(|(key, value)| (key.into(), value.into())).into();
    let start = |name: &str, dials| {
        network.start_with(Options { name: name.into(), dials, env: env.clone(), ..Options::default() })
    };
    let one = start("one", vec![]);
    let two = start("two", vec![one.addr()]);
    eventually(PATIENCE, "two is up", || one.state_of(&two) == PeerState::Up);

    two.pause();
    let mut seen = BTreeSet::new();
    eventually(PATIENCE, "two is hung up", || {
        let state = one.state_of(&two);
        seen.insert(state.as_str_name());
        state != PeerState::Up && state != PeerState::Suspect
    });
    assert!(seen.contains(PeerState::Suspect.as_str_name()), "it was suspected first, but was seen as {seen:?} only");

    drop(one.p2pctl(&["send", "are you there?"]).ok());
    two.resume();
    eventually(PATIENCE, "two is up again", || one.state_of(&two) == PeerState::Up);
    check_equal(&[&one, &two], 1);
}

/// As `p2pctl send` prints it.
fn short_id(id: &p2p_proto::v1::PostId) -> String {
    format!("{}-{}-{}", &id.author[..8], id.epoch, id.seq)
}

/// Enough to be still under way when the first hundred have arrived.
const LINES: usize = 20_000;
