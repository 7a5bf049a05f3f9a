//! Starting, and not starting.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;

use p2p_tests::daemon::{Network, Options};
use p2p_tests::program::{Output, run};

/// Runs `p2pd` where it is expected to end by itself.
#[track_caller]
fn p2pd(network: &Network, args: &[&str]) -> Output {
    run(network.p2pd().args(args).env("P2P_NETWORK_SECRET_FILE", network.dir().join("network.key")), b"")
}

#[test]
fn the_ready_file_tells_where_everything_is() {
    let network = Network::new();
    let peer = network.start("one", &[]);
    let ready = peer.ready();
    assert_eq!(ready.pid, peer.pid());
    assert_eq!(ready.id, peer.status().id);
    assert_eq!(ready.api, [format!("unix:{}", peer.socket().display())]);
    assert_eq!(ready.listen.len(), 1);
    assert!(TcpStream::connect(peer.addr()).is_ok(), "it listens at {}", peer.addr());
}

#[test]
fn the_identity_stays_and_the_epoch_grows() {
    let network = Network::new();
    let mut peer = network.start("one", &[]);
    let before = peer.status();
    assert_eq!(peer.stop().code(), Some(0));
    peer.restart();
    let after = peer.status();
    assert_eq!(after.id, before.id);
    assert!(after.epoch > before.epoch);
}

#[test]
fn p_11_only_the_user_can_reach_keys_history_and_socket() {
    let network = Network::new();
    let peer = network.start("one", &[]);
    drop(peer.p2pctl(&["send", "hello"]).ok());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&peer.data_dir()), 0o700);
    assert_eq!(mode(&peer.socket()), 0o600);
    assert_eq!(mode(&peer.data_dir().join("identity.key")), 0o600);
    assert_eq!(mode(&network.dir().join("network.key")), 0o600);
}

#[test]
fn h_10_a_second_daemon_on_one_data_directory_exits_75_and_names_the_first() {
    let network = Network::new();
    let peer = network.start("one", &[]);
    let data_dir = peer.data_dir().display().to_string();
    let api = format!("unix:{}", network.dir().join("other.sock").display());
    let output = p2pd(&network, &["-l", "127.0.0.1:0", "--data-dir", &data_dir, "--api", &api]);
    assert_eq!(output.code, Some(75), "{output:?}");
    let expected = format!("data directory {data_dir} is in use by pid {}", peer.pid());
    assert!(output.stderr.contains(&expected), "{}", output.stderr);
    assert!(peer.p2pctl(&["health"]).code == Some(0), "the first one is not disturbed");
}

#[test]
fn p_05_a_port_in_use_exits_69_and_names_it() {
    let network = Network::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let data_dir = network.dir().join("data").display().to_string();
    let api = format!("unix:{}", network.dir().join("p2pd.sock").display());
    let output = p2pd(&network, &["-l", &addr, "--data-dir", &data_dir, "--api", &api]);
    assert_eq!(output.code, Some(69), "{output:?}");
    assert!(output.stderr.contains(&addr), "{}", output.stderr);
    assert!(!network.dir().join("p2pd.sock").exists(), "no socket is left behind");
}

#[test]
fn f_02_a_bad_configuration_exits_78_with_all_its_mistakes() {
    let network = Network::new();
    let path = network.dir().join("bad.yaml");
    fs::write(&path, "log_level: info\nmax_conections: 5\nheartbeat_interval: 30\npeers: [nowhere]\n").unwrap();
    let file = path.display().to_string();
    let output = run(network.p2pd().args(["-c", &file]).env("P2P_LISTENADDR", "x:1"), b"");
    assert_eq!(output.code, Some(78), "{output:?}");
    for part in [
        "max_conections",
        "max_connections",
        "heartbeat_interval",
        "unit",
        "nowhere",
        "P2P_LISTENADDR",
        "P2P_LISTEN_ADDR",
        &file,
    ] {
        assert!(output.stderr.contains(part), "{part} is not named:\n{}", output.stderr);
    }
    assert_eq!(output.stdout, "");
}

#[test]
fn f_01_a_configuration_file_that_is_named_must_be_there() {
    let network = Network::new();
    let output = p2pd(&network, &["-c", "nothing-here.yaml"]);
    assert_eq!(output.code, Some(78), "{output:?}");
    assert!(output.stderr.contains("nothing-here.yaml"), "{}", output.stderr);
}

#[test]
fn wrong_usage_exits_2() {
    let network = Network::new();
    let output = p2pd(&network, &["--no-such-flag"]);
    assert_eq!(output.code, Some(2), "{output:?}");
    assert!(output.stderr.contains("--no-such-flag"), "{}", output.stderr);
}

#[test]
fn check_prints_the_configuration_and_touches_nothing() {
    let network = Network::new();
    let data_dir = network.dir().join("untouched");
    let output = p2pd(&network, &["check", "--data-dir", &data_dir.display().to_string(), "--name", "somebody"]).ok();
    assert!(output.contains("name: somebody"), "{output}");
    assert!(output.contains("--name"), "the source of each value is told: {output}");
    assert!(!data_dir.exists());
}

#[test]
fn a_network_key_is_made_once() {
    let network = Network::new();
    let path = network.dir().join("network.key");
    let before = fs::read(&path).unwrap();
    let file = path.display().to_string();
    drop(p2pd(&network, &["keygen", "--if-missing", &file]).ok());
    let output = p2pd(&network, &["keygen", &file]);
    assert_ne!(output.code, Some(0));
    assert!(output.stderr.contains(&file), "{}", output.stderr);
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn log_lines_are_json_on_request_and_hold_no_chat_text_or_key() {
    let network = Network::new();
    let flags = ["--log-format", "json", "--log-level", "trace"].map(str::to_owned).into();
    let mut one = network.start_with(Options { name: "one".into(), flags, ..Options::default() });
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    drop(two.p2pctl(&["send", "a very private sentence"]).ok());
    drop(one.p2pctl(&["send", "another private sentence"]).ok());
    super::check_equal(&[&one, &two], 2);
    assert_eq!(one.stop().code(), Some(0));

    let log = one.log();
    assert!(log.lines().count() > 0, "a daemon that runs says so");
    for line in log.lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok_and(|line| line.is_object()), "{line}");
    }
    assert!(!log.contains("private sentence"), "chat text was logged");
    let key = fs::read_to_string(network.dir().join("network.key")).unwrap();
    let secret = key.split_whitespace().last().unwrap();
    assert!(secret.len() > 20 && !log.contains(secret), "the network's secret was logged");
}
