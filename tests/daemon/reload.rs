//! Reading the configuration again, by signal and over the API, which is one way.

use std::fs;

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{AT_ONCE, Network, Options, TestPeer};
use p2p_tests::program::{Output, PATIENCE, eventually};
use rustix::process::Signal;

/// A network whose peers read this.
fn network(config: &str) -> Network {
    let network = Network::new();
    configure(&network, config);
    network
}

fn configure(network: &Network, config: &str) {
    fs::write(network.dir().join("config.yaml"), config).unwrap();
}

fn reload(peer: &TestPeer) -> Output {
    peer.p2pctl(&["daemon", "reload"])
}

/// The value in force of a key.
#[track_caller]
fn value(peer: &TestPeer, key: &str) -> String {
    let config = peer.p2pctl(&["daemon", "config", "-o", "json"]).ok();
    let config: serde_json::Value = serde_json::from_str(&config).unwrap();
    let values = config["values"].as_array().unwrap();
    values.iter().find(|each| each["key"] == key).unwrap()["value"].as_str().unwrap().to_owned()
}

#[test]
fn a_reload_takes_over_what_it_can_and_says_what_it_cannot() {
    let network = network("log_level: info\nmax_connections: 9\n");
    let one = network.start("one", &[]);
    assert_eq!(reload(&one).ok(), "nothing changed\n");

    configure(&network, "log_level: debug\nmax_connections: 9\ndurability: always\nretention_age: 30d\n");
    let output = reload(&one);
    let expected = "KEY            OLD    NEW     RESULT\n\
                    log_level      info   debug   applied\n\
                    durability     batch  always  needs a restart\n\
                    retention_age  none   30d     applied\n";
    assert_eq!((output.clone().ok().as_str(), output.stderr.as_str()), (expected, ""));
    assert_eq!((value(&one, "durability"), value(&one, "retention_age")), ("batch".into(), "30d".into()));
    assert_eq!(one.p2pctl(&["daemon", "log-level"]).ok(), "debug\n");
    let log = one.log();
    assert!(log.contains("configuration_changed key=\"log_level\""), "{log}");
    assert!(log.contains("configuration_needs_restart key=\"durability\""), "{log}");

    // Still not in force, so it is said again; everything else is.
    let again = reload(&one).ok();
    assert!(again.contains("durability") && !again.contains("retention_age"), "{again}");
}

#[test]
fn a_hangup_signal_does_the_same_as_a_reload() {
    let network = network("default_room: lobby\n");
    let mut one = network.start("one", &[]);
    configure(&network, "default_room: kitchen\n");
    one.signal(Signal::HUP);
    eventually(PATIENCE, "the new room is the default", || one.status().default_room == "kitchen");
    drop(one.p2pctl(&["send", "is the kettle on"]).ok());
    assert_eq!(one.posts()[0].room, "kitchen");
    assert!(one.log().contains("reloaded by=\"HUP\" applied=1 need_restart=0"), "{}", one.log());
    assert_eq!(one.stop().code(), Some(0));
}

#[test]
fn f_09_a_broken_file_changes_nothing_and_names_all_its_mistakes() {
    let network = network("default_room: lobby\n");
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    let since = two.peers()[0].since_us;
    configure(&network, "default_room: kitchen\nmax_conections: 5\nheartbeat_interval: 30\n");
    let output = reload(&one);
    assert_eq!((output.code, output.stdout.as_str()), (Some(6), ""), "{output:?}");
    for part in ["nothing was changed", "max_conections", "max_connections", "heartbeat_interval", "unit"] {
        assert!(output.stderr.contains(part), "{part} is not in {}", output.stderr);
    }
    one.signal(Signal::HUP);
    eventually(PATIENCE, "both mistakes are logged twice", || one.log().matches("reload_refused").count() == 4);
    assert_eq!(one.status().default_room, "lobby");
    assert_eq!((two.state_of(&one), two.peers()[0].since_us), (PeerState::Up, since), "no link was dropped");
    // What is broken cannot be read away.
    fs::remove_file(network.dir().join("config.yaml")).unwrap();
    assert_eq!(reload(&one).code, Some(6));
    assert_eq!(one.status().default_room, "lobby");
}

#[test]
fn new_peers_are_dialed_at_once() {
    let network = network("log_level: debug\n");
    let one = network.start("one", &[]);
    let two = network.start("two", &[]);
    configure(&network, &format!("log_level: debug\npeers: [\"{}\"]\n", one.addr()));
    let output = reload(&two).ok();
    assert!(output.contains("peers") && output.contains("dialing 1 peer"), "{output}");
    eventually(AT_ONCE, "they are linked", || two.state_of(&one) == PeerState::Up);
}

#[test]
fn a_blocked_peer_is_hung_up_at_once_and_may_come_back() {
    let network = network("");
    let [one, two, three] = network.start_three();
    configure(&network, &format!("block: [{}]\n", three.id()));
    drop(reload(&one).ok());
    eventually(AT_ONCE, "the link is gone", || one.state_of(&three) != PeerState::Up);
    assert_eq!(one.state_of(&two), PeerState::Up);
    configure(&network, "");
    drop(reload(&one).ok());
    eventually(AT_ONCE, "the link is back", || one.state_of(&three) == PeerState::Up);
}

#[test]
fn what_a_flag_or_a_variable_says_goes_before_the_file_also_in_a_reload() {
    let network = network("");
    let env = vec![("P2P_LOG_LEVEL".to_owned(), "debug".to_owned())];
    let one = network.start_with(Options { name: "one".into(), env, ..Options::default() });
    configure(&network, "name: somebody\nlog_level: warn\n");
    assert_eq!(reload(&one).ok(), "nothing changed\n");
    assert_eq!((one.status().name.as_str(), value(&one, "log_level").as_str()), ("one", "debug"));
}

#[test]
fn new_addresses_are_told_to_others() {
    let network = network("");
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    two.wait_for_peers(1);
    configure(&network, "advertise_addr: [chat.example:80]\n");
    drop(reload(&one).ok());
    let is_told = || two.peers()[0].addresses.contains(&"chat.example:80".to_owned());
    eventually(AT_ONCE, "the other one knows it", is_told);
    assert_eq!((one.status().advertise, two.state_of(&one)), (vec!["chat.example:80".to_owned()], PeerState::Up));
}
