//! Every state that a daemon can be in, as its users and their probes see it.

use std::io::{Read, Write};

use p2p_proto::v1::Health;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::http::fetch;
use p2p_tests::program::{PATIENCE, eventually};
use rustix::process::Signal;

use super::metrics::{measured, metrics_addr};

/// What probes are told: the state, whether it is ready, whether it lives.
#[track_caller]
fn probe(addr: &str) -> (String, bool, bool) {
    let (ready, live) = (fetch(addr, "/readyz"), fetch(addr, "/livez"));
    (ready.body.lines().next().unwrap_or_default().to_owned(), ready.code == 200, live.code == 200)
}

#[test]
fn a_store_that_takes_its_time_is_told_and_can_be_stopped() {
    let network = Network::new();
    // A port that is known before it is ready.
    let addr = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let flags = ["--metrics", &addr].map(str::to_owned).into();
    let mut one = network.start_with(Options { name: "one".into(), flags, ..Options::default() });
    drop(one.p2pctl(&["send", "hello"]).ok());
    assert_eq!(one.stop().code(), Some(0));

    // Somebody looks at the file with another program, and holds it.
    let holder = rusqlite::Connection::open(one.data_dir().join("history.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    one.launch();
    eventually(PATIENCE, "it says that it repairs", || one.p2pctl(&["status"]).stdout.contains("RECOVERING"));
    assert_eq!(one.status().health(), Health::Recovering);
    assert!(!one.status().ready);
    assert_eq!(probe(&addr), ("RECOVERING".into(), false, true), "a repair must not be cut short by a restart");
    assert_eq!((one.p2pctl(&["health"]).code, one.p2pctl(&["health", "--live"]).code), (Some(1), Some(0)));
    assert!(fetch(&addr, "/metrics").body.contains("p2p_health{state=\"RECOVERING\"} 1\n"));
    // What is asked meanwhile waits for its answer.
    let rooms = one.p2pctl_start(&["rooms"], Vec::new());
    holder.execute_batch("ROLLBACK").unwrap();
    drop(holder);
    one.wait_ready();
    assert_eq!(probe(&addr), ("READY".into(), true, true));
    assert!(rooms.wait(PATIENCE).ok().contains("general"));

    assert_eq!(one.stop().code(), Some(0));
    let holder = rusqlite::Connection::open(one.data_dir().join("history.db")).unwrap();
    holder.execute_batch("BEGIN EXCLUSIVE").unwrap();
    one.launch();
    eventually(PATIENCE, "it says that it repairs", || one.p2pctl(&["status"]).stdout.contains("RECOVERING"));
    assert_eq!(one.stop().code(), Some(0), "{}", one.log());
    assert!(!one.socket().exists(), "no socket is left behind");
}

#[test]
fn whoever_fetches_what_he_missed_is_syncing_until_he_has_it() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let text = format!("{}\n", "x".repeat(8_000));
    drop(one.p2pctl_with(&["send", "-l"], text.repeat(4_000).as_bytes()).ok());
    let two = measured(&network, "two", &[&one]);
    eventually(PATIENCE, "some of it is here", || two.status().posts > 0);
    one.freeze();
    let status = two.status();
    assert!(status.posts < 4_000, "all came before it could be looked at");
    assert_eq!((status.health(), status.ready), (Health::Syncing, false));
    let ready = fetch(&metrics_addr(&two), "/readyz");
    let why = ready.body.lines().nth(1).unwrap_or_default();
    assert_eq!((ready.code, ready.body.lines().next()), (503, Some("SYNCING")));
    assert!(why.ends_with("posts are missing here that peers hold"), "{why}");
    one.resume();
    eventually(PATIENCE, "it has all", || probe(&metrics_addr(&two)) == ("READY".into(), true, true));
    assert_eq!(two.status().posts, 4_000);
}

#[test]
fn whoever_loses_everybody_is_isolated_and_ready_again_when_they_are_back() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let two = measured(&network, "two", &[&one]);
    eventually(PATIENCE, "they are linked", || probe(&metrics_addr(&two)) == ("READY".into(), true, true));
    one.kill_9();
    eventually(PATIENCE, "nobody is there", || probe(&metrics_addr(&two)) == ("ISOLATED".into(), false, true));
    one.restart();
    let link = two.p2pctl(&["peers", "add", &one.addr()]);
    drop(link.ok());
    eventually(PATIENCE, "one is back", || probe(&metrics_addr(&two)) == ("READY".into(), true, true));
}

#[test]
fn damage_is_told_to_probes_and_does_not_end_the_daemon() {
    let network = Network::new();
    let mut one = measured(&network, "one", &[]);
    drop(one.p2pctl_with(&["send", "-l"], &super::lines("one", 50)).ok());
    assert_eq!(one.stop().code(), Some(0));
    let file = rusqlite::Connection::open(one.data_dir().join("history.db")).unwrap();
    let damage =
        "UPDATE envelopes SET body = zeroblob(length(body)) WHERE offset = (SELECT min(offset) FROM envelopes)";
    assert_eq!(file.execute(damage, ()), Ok(1));
    drop(file);
    one.restart();
    drop(one.p2pctl(&["history"]));
    drop(one.p2pctl(&["watch", "--all", "--until-caught-up"]));
    let ready = fetch(&metrics_addr(&one), "/readyz");
    assert_eq!((ready.code, ready.body.lines().next()), (503, Some("DEGRADED")), "{}", ready.body);
    assert!(ready.body.lines().count() > 1, "it says what is wrong: {}", ready.body);
    assert_eq!(fetch(&metrics_addr(&one), "/livez").code, 200);
    assert_eq!(one.status().health(), Health::Degraded);
}

#[test]
fn a_daemon_on_its_way_out_says_so_to_probes() {
    let network = Network::new();
    let mut one = measured(&network, "one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    // Somebody waits for an answer that does not come, so the daemon gives him some time before it goes.
    two.freeze();
    let sent = |peer: &TestPeer| peer.status().counters.get("heartbeats_sent_total").copied();
    let before = sent(&one);
    let ping = one.p2pctl_start(&["ping", two.id(), "-n", "1", "--timeout", "30s"], Vec::new());
    eventually(PATIENCE, "the ping is on its way", || sent(&one) > before);
    let addr = metrics_addr(&one);
    one.signal(Signal::TERM);
    let mut told = Vec::new();
    while let Ok(mut stream) = std::net::TcpStream::connect(&addr) {
        drop(stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n"));
        let mut text = String::new();
        drop(stream.read_to_string(&mut text));
        told.push(text);
    }
    assert!(told.iter().any(|text| text.contains(" 503 ") && text.contains("\nSTOPPING\n")), "{told:?}");
    assert_eq!(one.wait_exit().code(), Some(0));
    drop(ping);
}
