//! What is said, and which code is given, when it is not well.

use std::fs;
use std::process::Command;

use p2p_tests::daemon::Network;
use p2p_tests::program::{Output, PATIENCE, eventually, program, run};
use rustix::process::{Pid, Signal, kill_process};

/// Nothing on stdout; on stderr one line of error with its code, then at most one hint.
#[track_caller]
fn check(output: &Output, exit: i32, code: &str, parts: &[&str]) {
    assert_eq!(output.code, Some(exit), "{output:?}");
    assert_eq!(output.stdout, "");
    let lines: Vec<&str> = output.stderr.lines().collect();
    assert!(lines[0].starts_with("p2pctl: error: ") && lines[0].ends_with(&format!("({code})")), "{}", lines[0]);
    assert!(lines.len() == 1 || (lines.len() == 2 && lines[1].starts_with("hint: ")), "{}", output.stderr);
    for part in parts {
        assert!(output.stderr.contains(part), "{part} is not named: {}", output.stderr);
    }
}

fn p2pctl(network: &Network, socket: &str, args: &[&str]) -> Output {
    run(program("p2pctl", network.dir()).args(["-s", socket]).args(args), b"")
}

#[test]
fn c_01_without_a_daemon_the_path_and_what_to_do_are_named() {
    let network = Network::new();
    let path = network.dir().join("p2pd.sock");
    let socket = path.display().to_string();
    check(&p2pctl(&network, &socket, &["status"]), 3, "UNREACHABLE", &[&socket, "p2pd"]);

    fs::write(&path, "a plain file").unwrap();
    check(&p2pctl(&network, &socket, &["send", "x"]), 3, "UNREACHABLE", &[&socket, "p2pd"]);

    fs::remove_file(&path).unwrap();
    // Bound and closed: the file stays, and nobody listens.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    check(&p2pctl(&network, &socket, &["peers"]), 3, "UNREACHABLE", &[&socket, "p2pd"]);
}

#[test]
fn c_01_the_usual_places_are_tried_and_named() {
    let network = Network::new();
    let runtime_dir = network.dir().display().to_string();
    let output = run(program("p2pctl", network.dir()).arg("status").env("XDG_RUNTIME_DIR", &runtime_dir), b"");
    // A machine may well run a daemon at the system's place.
    if output.code != Some(0) {
        check(&output, 3, "UNREACHABLE", &[&format!("{runtime_dir}/p2p/p2pd.sock"), "/run/p2pd/p2pd.sock"]);
    }
}

#[test]
fn an_error_is_json_on_request() {
    let network = Network::new();
    let output = p2pctl(&network, "/nowhere.sock", &["status", "-o", "json"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(3), ""));
    let error: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some("error"), Some("UNREACHABLE")));
    assert_eq!(error["retryable"], true);
}

#[test]
fn c_02_an_empty_message_is_wrong_usage() {
    let network = Network::new();
    let one = network.start("one", &[]);
    for text in ["", "   "] {
        let output = one.p2pctl(&["send", text]);
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
    }
    assert_eq!(one.status().posts, 0);
}

#[test]
fn w_24_a_text_at_the_limit_is_sent_and_one_byte_more_is_refused() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send"], &[b'x'; 16_384]).ok());
    check(&one.p2pctl_with(&["send"], &[b'x'; 16_385]), 6, "TEXT_TOO_LONG", &["16385", "16384"]);
    assert_eq!(one.status().posts, 1);
}

#[test]
fn c_03_a_bad_line_is_named_by_its_number_and_the_others_are_sent() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let lines = [b"first\n".as_slice(), &[b'x'; 20_000], b"\nthird\n", b"\xff\xfe\n", b"fifth"].concat();
    let output = one.p2pctl_with(&["send", "-l"], &lines);
    assert_eq!(output.code, Some(6), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 3, "{output:?}");
    for part in ["line 2", "line 4", "16384"] {
        assert!(output.stderr.contains(part), "{part} is not named: {}", output.stderr);
    }
    assert_eq!(one.status().posts, 3);
}

#[test]
fn g_07_a_key_used_for_something_else_is_a_conflict() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "--key", "k", "this"]).ok());
    check(&one.p2pctl(&["send", "--key", "k", "that"]), 9, "KEY_REUSED", &["k"]);
    assert_eq!(one.status().posts, 1);
}

#[test]
fn names_that_no_room_or_peer_has_are_refused() {
    let network = Network::new();
    let one = network.start("one", &[]);
    check(&one.p2pctl(&["send", "-r", "#General", "x"]), 6, "ROOM_INVALID", &["#General"]);
    check(&one.p2pctl(&["peers", "show", "nobody"]), 5, "NOT_FOUND", &["nobody"]);
    check(&one.p2pctl(&["ping", "nobody"]), 5, "NOT_FOUND", &["nobody"]);
}

#[test]
fn c_07_a_name_that_two_have_needs_the_key() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let options = |folder: &str| p2p_tests::daemon::Options {
        name: folder.into(),
        dials: vec![one.addr()],
        shown_as: Some("twin".into()),
        ..p2p_tests::daemon::Options::default()
    };
    let [left, right] = ["left", "right"].map(|folder| network.start_with(options(folder)));
    one.wait_for_peers(2);
    check(&one.p2pctl(&["peers", "show", "twin"]), 9, "AMBIGUOUS", &[&left.id()[..8], &right.id()[..8]]);
    drop(one.p2pctl(&["peers", "show", &left.id()[..8]]).ok());
}

#[test]
fn c_10_waiting_for_what_does_not_come_says_what_is_missing() {
    let network = Network::new();
    let one = network.start("one", &[]);
    check(&one.p2pctl(&["wait", "--peers", "3", "--timeout", "1s"]), 7, "TIMEOUT", &["3"]);
}

#[test]
fn c_04_a_closed_pipe_ends_watching_quietly() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-l"], &b"line\n".repeat(5_000)).ok());
    let client = one.p2pctl_command(&[]);
    let (program, socket) = (client.get_program().display(), one.socket());
    let line =
        format!("{program} -s {} watch --all --until-caught-up | head -n 1; echo ${{PIPESTATUS[0]}}", socket.display());
    let output = run(Command::new("bash").args(["-c", &line]), b"");
    assert_eq!(output.stderr, "");
    assert_eq!(output.stdout.lines().count(), 2, "{output:?}");
    assert!(output.stdout.ends_with("\n141\n"), "{output:?}");
}

#[test]
fn c_04_an_interrupt_ends_watching_with_130() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "hello"]).ok());
    let seen = network.dir().join("seen");
    let mut command = one.p2pctl_command(&["watch", "--all"]);
    let mut child = command.stdout(fs::File::create(&seen).unwrap()).spawn().unwrap();
    eventually(PATIENCE, "it watches", || fs::read_to_string(&seen).is_ok_and(|text| text.contains("hello")));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn g_16_watching_goes_on_behind_a_restart_of_the_daemon() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "before"]).ok());
    let seen = network.dir().join("seen");
    let mut command = one.p2pctl_command(&["watch", "--all", "--count", "2", "-0"]);
    let mut watching = command.stdout(fs::File::create(&seen).unwrap()).spawn().unwrap();
    eventually(PATIENCE, "it watches", || fs::read_to_string(&seen).is_ok_and(|text| text == "before\0"));
    one.restart();
    drop(one.p2pctl(&["send", "behind"]).ok());
    eventually(PATIENCE, "it has seen both", || watching.try_wait().unwrap().is_some());
    assert_eq!(fs::read_to_string(&seen).unwrap(), "before\0behind\0");
}
