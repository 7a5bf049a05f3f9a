//! Another secret for the network: members get it, wherever they were, and who is shut out does not.

use std::fs;
use std::net::TcpListener;

use p2p_proto::v1::{self, NetworkMemberState};
use p2p_tests::daemon::{AT_ONCE, Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};

use super::check_equal;

/// A member at a place of its own, with a key file of its own.
fn member(network: &Network, name: &str, dials: &[&TestPeer]) -> TestPeer {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dials = dials.iter().map(|peer| peer.addr()).collect();
    network.start_with(Options { name: name.into(), dials, listen: Some(free.to_string()), ..Options::default() })
}

fn members<const N: usize>(network: &Network, names: [&str; N]) -> [TestPeer; N] {
    let mut peers: Vec<TestPeer> = Vec::new();
    for name in names {
        let dials: Vec<&TestPeer> = peers.iter().collect();
        let peer = member(network, name, &dials);
        peers.push(peer);
    }
    let others = u32::try_from(N - 1).unwrap();
    peers.iter().for_each(|peer| peer.wait_for_peers(others));
    peers.try_into().unwrap_or_else(|_| unreachable!("as many as names"))
}

fn shown(peer: &TestPeer) -> v1::NetworkResponse {
    peer.ask(async |client| client.mesh().network(v1::NetworkRequest {}).await.expect("an answer").into_inner())
}

/// The name of the key that it dials with.
fn key_of(peer: &TestPeer) -> String {
    shown(peer).keys.first().map(|key| key.name.clone()).unwrap_or_default()
}

fn rotate(peer: &TestPeer, args: &[&str]) -> String {
    let out = peer.p2pctl(&[&["network", "rotate", "-ojson"], args].concat()).ok();
    serde_json::from_str::<serde_json::Value>(&out).unwrap()["key"].as_str().unwrap().to_owned()
}

fn say(peer: &TestPeer, text: &str) {
    drop(peer.p2pctl(&["send", text]).ok());
}

#[track_caller]
fn wait_for_key(peers: &[&TestPeer], key: &str) {
    eventually(PATIENCE, "all have the new key", || peers.iter().all(|peer| key_of(peer) == key));
}

#[track_caller]
fn check_linked(a: &TestPeer, b: &TestPeer) {
    eventually(PATIENCE, "they are linked", || a.state_of(b) == v1::PeerState::Up);
}

/// Its old key opens no link, and nothing tells it the new one.
#[track_caller]
fn check_stays_out(out: &TestPeer, members: &[&TestPeer]) {
    let refused = || members.iter().map(|peer| peer.status().counters["links_refused_total"]).sum::<u64>();
    let before = refused();
    eventually(PATIENCE, "it tries, and is refused", || {
        drop(out.p2pctl(&["peers", "reconnect"]));
        refused() >= before + 2
    });
    assert_eq!(out.status().peers_up, 0);
    assert!(members.iter().all(|peer| peer.state_of(out) != v1::PeerState::Up));
}

#[test]
fn h_14_a_rotation_under_traffic_loses_nothing_and_ends_no_link() {
    let network = Network::new();
    let [one, two, three] = members(&network, ["one", "two", "three"]);
    let lines: Vec<u8> = (0..300).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
    let sending = [&two, &three].map(|peer| peer.p2pctl_start(&["send", "-l"], lines.clone()));
    let (id, old) = (one.status().network, key_of(&one));
    let key = rotate(&one, &["--grace", "1h"]);
    wait_for_key(&[&one, &two, &three], &key);
    for sender in sending {
        drop(sender.wait(PATIENCE).ok());
    }
    check_equal(&[&one, &two, &three], 600);
    assert_ne!(key, old);
    for peer in [&one, &two, &three] {
        assert_eq!((peer.status().network, peer.status().peers_up), (id.clone(), 2));
        let ended = peer.log().lines().filter(|line| line.contains("INFO link_down")).count();
        assert_eq!(ended, 0, "{}", peer.log());
        assert_eq!(shown(peer).keys.len(), 2, "the old one is accepted for an hour");
        eventually(PATIENCE, "it knows that all have it", || {
            let rotation = shown(peer).rotation.unwrap();
            rotation.members.len() == 3
                && rotation.members.iter().all(|member| member.state() == NetworkMemberState::Taken)
        });
    }
    let history = one.p2pctl(&["history", "--all"]).ok();
    assert!(!history.contains("parts") && !history.contains(&key), "daemons talk where nobody sees it");
}

#[test]
fn h_14_a_member_that_was_away_during_rotations_comes_back_and_gets_the_history() {
    let network = Network::new();
    let [one, two, mut three] = members(&network, ["one", "two", "three"]);
    let mut late = member(&network, "late", &[&one, &two]);
    late.wait_for_peers(3);
    three.stop();
    let first = rotate(&one, &["--grace", "0s"]);
    wait_for_key(&[&one, &two, &late], &first);
    late.stop();
    let second = rotate(&two, &["--grace", "0s"]);
    wait_for_key(&[&one, &two], &second);
    eventually(PATIENCE, "the first key has ended", || shown(&one).keys.len() == 1);
    say(&one, "while they were away");
    for peer in [&mut three, &mut late] {
        peer.restart();
        peer.wait_for_peers(2);
        wait_for_key(&[&*peer], &second);
        say(peer, "back");
    }
    check_equal(&[&one, &two, &three, &late], 3);
    let given = [&one, &two].map(|peer| peer.status().counters["network_keys_given_total"]);
    assert!(given.iter().sum::<u64>() >= 2, "{given:?}");
}

#[test]
fn h_14_who_is_shut_out_while_linked_is_gone_at_once_everywhere_and_for_good() {
    let network = Network::new();
    let [mut one, mut two, mut eve] = members(&network, ["one", "two", "eve"]);
    say(&eve, "before");
    check_equal(&[&one, &two, &eve], 1);
    let key = rotate(&one, &["--without", "eve"]);
    eventually(AT_ONCE, "its links are closed", || {
        eve.status().peers_up == 0 && one.state_of(&eve) != v1::PeerState::Up && two.state_of(&eve) != v1::PeerState::Up
    });
    wait_for_key(&[&one, &two], &key);
    check_linked(&one, &two);
    eventually(PATIENCE, "it is told", || {
        eve.status().problems.concat().contains("this daemon was shut out of the network by one~")
    });
    say(&two, "after");
    check_equal(&[&one, &two], 2);
    check_stays_out(&eve, &[&one, &two]);
    assert!(one.p2pctl(&["peers", "-a"]).ok().lines().any(|line| line.starts_with("eve~") && line.contains(" out ")));
    for peer in [&mut one, &mut two, &mut eve] {
        peer.restart();
    }
    check_linked(&one, &two);
    check_stays_out(&eve, &[&one, &two]);
    assert_eq!(eve.posts().len(), 1, "what was said after it is not for it");
    check_equal(&[&one, &two], 2);
}

#[test]
fn h_14_who_is_shut_out_while_away_finds_every_door_closed() {
    let network = Network::new();
    let [mut one, mut two, mut eve] = members(&network, ["one", "two", "eve"]);
    eve.stop();
    let key = rotate(&two, &["--without", "eve"]);
    wait_for_key(&[&one, &two], &key);
    for peer in [&mut one, &mut two] {
        peer.restart();
    }
    check_linked(&one, &two);
    eve.restart();
    check_stays_out(&eve, &[&one, &two]);
    assert_eq!(key_of(&one), key);
    // Let in again by name, it comes back like everybody who was away.
    let id = eve.id().to_owned();
    let key = rotate(&one, &["--readmit", &id, "--grace", "0s"]);
    wait_for_key(&[&two], &key);
    eventually(PATIENCE, "it is back", || {
        drop(eve.p2pctl(&["peers", "reconnect"]));
        eve.status().peers_up == 2
    });
    wait_for_key(&[&eve], &key);
}

#[test]
fn h_14_after_a_rotation_everybody_starts_again_with_the_new_key_whatever_the_configuration_says() {
    let network = Network::new();
    let [mut one, mut two] = members(&network, ["one", "two"]);
    let configured = fs::read_to_string(network.dir().join("network.key")).unwrap();
    let key = rotate(&one, &["--grace", "0s"]);
    wait_for_key(&[&one, &two], &key);
    assert_eq!(fs::read_to_string(network.dir().join("network.key")).unwrap(), configured, "it is not ours to write");
    for peer in [&mut one, &mut two] {
        peer.restart();
        let problems = peer.status().problems.concat();
        assert!(problems.contains("network_secret_file holds a network secret that was replaced"), "{problems}");
        assert!(problems.contains("network.rotated.key"), "{problems}");
        assert_ne!(peer.status().health(), v1::Health::Degraded, "it does all that it should");
    }
    wait_for_key(&[&one, &two], &key);
    check_linked(&one, &two);
    fs::copy(two.data_dir().join("network.rotated.key"), network.dir().join("network.key")).unwrap();
    one.restart();
    assert_eq!(one.status().problems, Vec::<String>::new());
    check_linked(&one, &two);
    let secret = configured.split_whitespace().nth(2).unwrap().to_owned();
    let fresh = fs::read_to_string(network.dir().join("network.key")).unwrap();
    let fresh = fresh.split_whitespace().nth(2).unwrap().to_owned();
    for said in [one.log(), two.log(), one.p2pctl(&["network", "-ojson"]).ok(), one.p2pctl(&["daemon", "metrics"]).ok()]
    {
        assert!(!said.contains(&secret) && !said.contains(&fresh), "{said}");
    }
    assert_ne!(secret, fresh);
}

#[test]
fn h_14_of_two_rotations_at_once_all_take_the_same() {
    let network = Network::new();
    let [mut one, mut two, mut three] = members(&network, ["one", "two", "three"]);
    two.stop();
    three.stop();
    let first = rotate(&one, &["--grace", "1h"]);
    one.stop();
    two.restart();
    let second = rotate(&two, &["--grace", "1h"]);
    assert_ne!(first, second);
    one.restart();
    three.restart();
    eventually(PATIENCE, "all have one key", || {
        let keys = [&one, &two, &three].map(key_of);
        keys.iter().all(|key| *key == keys[0]) && (keys[0] == first || keys[0] == second)
    });
    say(&three, "still here");
    check_equal(&[&one, &two, &three], 1);
}

#[test]
fn a_daemon_with_a_key_file_of_its_own_writes_the_new_key_there() {
    let network = Network::new();
    let env = vec![("P2P_NETWORK_SECRET_FILE".to_owned(), String::new())];
    let mut own = network.start_with(Options { name: "own".into(), env, ..Options::default() });
    let file = own.data_dir().join("network.key");
    let before = fs::read_to_string(&file).unwrap();
    let key = rotate(&own, &[]);
    let after = fs::read_to_string(&file).unwrap();
    assert!(after.lines().count() == 2 && after.ends_with(&before), "the old one is behind the new one");
    assert_eq!(rotate(&own, &["--grace", "0s"]).len(), key.len());
    eventually(PATIENCE, "the old ones are gone from disk", || fs::read_to_string(&file).unwrap().lines().count() == 1);
    own.restart();
    assert_eq!((shown(&own).keys.len(), own.status().problems), (1, Vec::new()));
}

#[test]
fn h_14_of_two_that_shut_out_others_at_once_one_holds_and_the_other_is_told_to_do_it_again() {
    let network = Network::new();
    let [mut one, mut two, mut eve, mut mallory] = members(&network, ["one", "two", "eve", "mallory"]);
    [&mut two, &mut eve, &mut mallory].into_iter().for_each(|peer| assert!(peer.stop().success()));
    let first = rotate(&one, &["--without", "eve"]);
    one.stop();
    two.restart();
    let second = rotate(&two, &["--without", "mallory"]);
    one.restart();
    eventually(PATIENCE, "both have one key", || key_of(&one) == key_of(&two));
    let (winner, loser, lost) = if key_of(&one) == first { (&one, &two, &mallory) } else { (&two, &one, &eve) };
    assert_eq!(key_of(loser), if std::ptr::eq(winner, &one) { first } else { second });
    eventually(PATIENCE, "who lost is told", || {
        loser.status().problems.concat().contains("the network's secret was changed by two at once, and ")
    });
    let key = rotate(loser, &["--without", lost.id()]);
    wait_for_key(&[winner], &key);
    let out = shown(winner).rotation.unwrap().out;
    assert_eq!(out.len(), 2, "{out:?}");
    assert!(loser.status().problems.iter().all(|problem| !problem.contains("by two at once")));
    check_linked(&one, &two);
}

#[test]
fn h_14_a_ticket_from_before_lets_nobody_in_who_was_shut_out_since() {
    let network = Network::new();
    let [one, three, eve] = members(&network, ["one", "three", "eve"]);
    let ticket = three.p2pctl(&["invite", "--uses", "5"]).ok().trim().to_owned();
    let old = key_of(&eve);
    let key = rotate(&one, &["--without", "eve"]);
    wait_for_key(&[&one, &three], &key);
    eventually(PATIENCE, "it is told", || eve.status().problems.concat().contains("was shut out of the network"));
    let refused = eve.p2pctl(&["join", &ticket, "--timeout", "30s"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("the ticket was taken back"), "{refused:?}");
    let refused = eve.p2pctl(&["network", "rotate"]);
    assert!(refused.code != Some(0) && refused.stderr.contains("network rotate --readmit"), "{refused:?}");
    assert_eq!(key_of(&eve), old);
    check_stays_out(&eve, &[&one, &three]);
}

#[test]
fn h_14_who_was_left_out_comes_back_by_a_ticket_and_can_change_the_secret_as_all_can() {
    let network = Network::new();
    let [one, two, three] = members(&network, ["one", "two", "three"]);
    drop(one.p2pctl(&["peers", "block", "two"]).ok());
    let left_out = || two.status().problems.concat().contains("did not give it to this daemon");
    let key = rotate(&one, &["--grace", "1h"]);
    wait_for_key(&[&one, &three], &key);
    eventually(PATIENCE, "it is told", left_out);
    let ticket = three.p2pctl(&["invite"]).ok().trim().to_owned();
    drop(two.p2pctl(&["join", &ticket, "--timeout", "30s"]).ok());
    wait_for_key(&[&two], &key);
    eventually(PATIENCE, "all is well", || !left_out());
    let further = rotate(&one, &["--grace", "1h"]);
    wait_for_key(&[&one, &three], &further);
    eventually(PATIENCE, "it is told again", left_out);
    let last = rotate(&two, &["--grace", "1h"]);
    wait_for_key(&[&one, &two, &three], &last);
    assert!(!left_out());
}

#[test]
fn h_14_where_a_new_key_cannot_be_kept_it_is_not_used_and_who_is_shut_out_is_gone_as_soon_as_it_can() {
    let network = Network::new();
    let [one, two, eve] = members(&network, ["one", "two", "eve"]);
    let kept = two.data_dir().join("rotation.json");
    assert!(!kept.exists(), "as long as nothing is to be kept");
    fs::create_dir_all(kept.join("in the way")).unwrap();
    let key = rotate(&one, &["--without", "eve"]);
    eventually(PATIENCE, "it is told", || {
        two.status().problems.concat().contains("the new network key is not kept, and not used: ")
    });
    assert_eq!(two.status().health(), v1::Health::Degraded);
    assert!(!two.data_dir().join("network.rotated.key").exists());
    let refused = two.p2pctl(&["network", "rotate"]);
    assert!(
        refused.code != Some(0) && refused.stderr.contains("it is said, and cannot be kept here yet"),
        "{refused:?}"
    );
    fs::remove_dir_all(&kept).unwrap();
    eventually(PATIENCE, "its links are closed", || {
        two.log().contains("peer_shut_out") && two.state_of(&eve) != v1::PeerState::Up
    });
    eventually(PATIENCE, "nothing is wrong any more", || !two.status().problems.concat().contains("not kept"));
    eventually(PATIENCE, "all have what was said meanwhile", || key_of(&one) == key_of(&two));
    assert_ne!(key_of(&one), key);
    check_stays_out(&eve, &[&one, &two]);
}

#[test]
fn a_daemon_that_forgot_what_it_heard_finds_it_in_its_history() {
    let network = Network::new();
    let [one, mut two] = members(&network, ["one", "two"]);
    let key = rotate(&one, &["--grace", "0s"]);
    wait_for_key(&[&one, &two], &key);
    two.stop();
    fs::remove_file(two.data_dir().join("rotation.json")).unwrap();
    fs::remove_file(two.data_dir().join("network.rotated.key")).unwrap();
    two.restart();
    wait_for_key(&[&two], &key);
    check_linked(&one, &two);
}

#[test]
fn what_cannot_be_rotated_says_why() {
    let network = Network::new();
    let [one, _two] = members(&network, ["one", "two"]);
    let env = [("P2P_NETWORK_SECRET_FILE", ""), ("P2P_OPEN_NETWORK", "true")];
    let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let open = network.start_with(Options { name: "open".into(), env, ..Options::default() });
    let own = one.id().to_owned();
    let stranger = "a".repeat(52);
    for (peer, args, code, why) in [
        (&open, vec![], 6, "open_network is set, so there is no secret to change"),
        (&one, vec!["--without", &own], 6, "this daemon cannot shut out itself"),
        (&one, vec!["--without", &stranger], 5, "no peer "),
        (&one, vec!["--readmit", "two"], 6, "two~"),
        (&one, vec!["--grace", "31d"], 6, "the old secret is accepted for 30d at most"),
    ] {
        let output = peer.p2pctl(&[&["network", "rotate"], &args[..]].concat());
        assert_eq!((output.code, output.stdout.as_str()), (Some(code), ""), "{output:?}");
        assert!(output.stderr.contains(why), "{output:?}");
    }
    assert!(shown(&one).rotation.is_none() && shown(&open).open);
}
