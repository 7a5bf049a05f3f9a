//! Names, petnames and blocks with real daemons, also over restarts.

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{AT_ONCE, Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};

/// What a peer shows of the history, without the times.
fn said(peer: &TestPeer) -> Vec<String> {
    let shown = peer.p2pctl(&["history"]).ok();
    shown.lines().map(|line| line.split_once("] ").unwrap().1.to_owned()).collect()
}

fn named(name: &str, title: &str) -> Options {
    Options { name: name.to_owned(), shown_as: Some(title.to_owned()), ..Options::default() }
}

#[test]
fn x_06_who_takes_the_name_of_another_is_told_apart_and_a_petname_stands_for_the_right_one() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let alice = network.start_with(Options { dials: vec![one.addr()], ..named("two", "alice") });
    one.wait_for_peers(1);
    let imitator = network.start_with(Options { dials: vec![one.addr()], ..named("three", "Alice") });
    one.wait_for_peers(2);
    drop(alice.p2pctl(&["send", "it is me"]).ok());
    drop(imitator.p2pctl(&["send", "no, me"]).ok());
    eventually(AT_ONCE, "both are heard", || one.posts().len() == 2);
    let texts = |one: &TestPeer| {
        let mut said = said(one);
        said.sort();
        said
    };
    let expected = [format!("Alice~{}: no, me", &imitator.id()[..8]), format!("alice~{}: it is me", &alice.id()[..4])];
    assert_eq!(texts(&one), expected);
    let shown = one.p2pctl(&["peers", "show", "Alice"]).ok();
    let owner = format!("this name was first used by Alice~{} ({})", &alice.id()[..4], alice.id());
    assert!(shown.contains(&owner), "{shown}");

    assert_eq!(
        one.p2pctl(&["peers", "name", "alice", "Ali of accounting"]).ok(),
        "alice is called Ali of accounting\n"
    );
    one.kill_9();
    one.restart();
    one.wait_for_peers(2);
    let called = ["Ali of accounting: it is me".to_owned(), expected[0].clone()];
    assert_eq!(texts(&one), called, "both are known over a restart");
    let ping = one.p2pctl(&["ping", "Ali of accounting", "-n", "1"]).ok();
    assert!(ping.starts_with("Ali of accounting: 1 "), "{ping}");
    let taken = one.p2pctl(&["peers", "name", "Alice", "ali OF accounting"]);
    assert_eq!(taken.code, Some(9), "{taken:?}");
    assert_eq!(one.p2pctl(&["peers", "name", "Ali of accounting", "--remove"]).code, Some(0));
    assert_eq!(texts(&one), expected);
}

#[test]
fn who_is_blocked_is_not_linked_and_not_shown_and_everybody_still_gets_what_he_says() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let pest = network.start("two", &[&one]);
    one.wait_for_peers(1);
    assert_eq!(one.p2pctl(&["peers", "block", "two"]).ok(), "blocked two\n");
    eventually(AT_ONCE, "the link is gone", || one.status().peers_up == 0);
    one.kill_9();
    one.restart();
    drop(pest.p2pctl(&["peers", "reconnect"]));
    drop(pest.p2pctl(&["send", "spam"]).ok());
    let refused = one.p2pctl(&["ping", "two", "-n", "1"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(10), ""), "{refused:?}");
    assert!(refused.stderr.contains("is blocked here (UNTRUSTED)"), "{refused:?}");

    // Somebody else brings it: it is kept, so that all hold the same, and left out.
    let three = network.start("three", &[&one, &pest]);
    one.wait_for_peers(1);
    eventually(PATIENCE, "what the blocked said is held", || one.status().digest == pest.status().digest);
    assert_eq!((one.status().posts, one.status().peers_up), (1, 1));
    let history = one.p2pctl(&["history", "-v"]);
    assert_eq!(history.stdout, "");
    assert!(history.stderr.contains("1 post of blocked peers is left out"), "{history:?}");
    assert_eq!(said(&three), [format!("two~{}: spam", &pest.id()[..4])]);
    assert!(one.p2pctl(&["history", "--blocked"]).ok().ends_with(": spam\n"));
    let peers = one.p2pctl(&["peers", "-a"]).ok();
    assert!(peers.lines().any(|line| line.starts_with("two~") && line.contains(" blocked ")), "{peers}");

    assert_eq!(one.p2pctl(&["peers", "unblock", "two"]).ok(), "unblocked two\n");
    eventually(PATIENCE, "it is linked again", || one.state_of(&pest) == PeerState::Up);
    assert_eq!(said(&one).len(), 1);
}

#[test]
fn who_is_forgotten_stays_so_over_a_restart_though_others_tell_of_him() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    let mut three = network.start("three", &[&one]);
    one.wait_for_peers(2);
    eventually(PATIENCE, "two knows three", || two.status().peers_known == 2);
    three.stop();
    eventually(AT_ONCE, "it is seen to be gone", || one.state_of(&three) != PeerState::Up);
    assert_eq!(one.p2pctl(&["peers", "forget", "three"]).ok(), "forgot three\n");
    one.kill_9();
    one.restart();
    one.wait_for_peers(1);
    // Whatever two tells at the beginning of a link was told before this answer came.
    drop(one.p2pctl(&["sync", "--now"]).ok());
    assert_eq!(one.status().peers_known, 1);
    three.restart();
    eventually(PATIENCE, "who says something new of himself is back", || one.status().peers_known == 2);
}
