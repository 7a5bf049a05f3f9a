//! `peers`, `status`, `ping`, `wait`, `health`, `daemon`.

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::{ConfigChange, Health, Peer, PeerState, ReloadResponse, StatusResponse};

use super::fake::{ALICE, BOB, OWN};
use super::*;

fn with_peers() -> Fake {
    let fake = Fake::start();
    let peer = |id: &str, name: &str, state: PeerState| Peer {
        id: id.to_owned(),
        name: name.to_owned(),
        state: state.into(),
        address: "192.0.2.7:8080".to_owned(),
        ..Peer::default()
    };
    fake.state().peers = vec![peer(ALICE, "alice", PeerState::Up), peer(BOB, "bob", PeerState::Down)];
    fake
}

fn status(health: Health, ready: bool, peers_up: u32) -> StatusResponse {
    StatusResponse { id: ALICE.to_owned(), health: health.into(), ready, peers_up, ..StatusResponse::default() }
}

fn with_status(statuses: impl IntoIterator<Item = StatusResponse>) -> Fake {
    let fake = Fake::start();
    fake.state().statuses.extend(statuses);
    fake
}

#[tokio::test]
async fn peers_that_are_down_are_shown_when_asked_for() {
    let fake = with_peers();
    let ran = run_at(&fake, &["peers", "-v"]).await;
    assert_eq!((ran.exit, ran.stdout.lines().count()), (Exit::Ok, 2));
    assert_eq!(ran.stderr, "p2pctl: 1 more is down: p2pctl peers -a\n");
    let ran = run_at(&fake, &["peers", "-a"]).await;
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (3, ""));
}

#[tokio::test]
async fn g_16_peers_and_status_are_watched_over_restarts_of_the_daemon() {
    for command in ["peers", "status"] {
        let fake = with_peers();
        fake.state().statuses.extend([status(Health::Syncing, false, 1), status(Health::Ready, true, 5)]);
        fake.state().streams_max = Some(2);
        let ran = run_at(&fake, &[command, "--watch", "-ojson", "-v"]).await;
        assert_eq!(
            (ran.exit, ran.stdout.lines().count()),
            (Exit::Denied, 4),
            "two streams of two states each: {ran:?}"
        );
        let gone = "p2pctl: the daemon is gone (it ended the stream); waiting for it to come back";
        assert_eq!(ran.stderr.lines().filter(|line| *line == gone).count(), 2, "{}", ran.stderr);
    }
}

#[tokio::test]
async fn c_06_a_state_replaces_the_last_one_on_a_terminal_and_stands_below_it_elsewhere() {
    let watch = async |screen| {
        let fake = with_peers();
        fake.state().streams_max = Some(1);
        Setting { screen, ..Setting::at(&fake) }.run(&["peers", "-a", "--watch"]).await.stdout
    };
    let plain = watch(|| None).await;
    assert!(plain.starts_with("-- 2026-11-22 13:00:00 --\nNAME"), "{plain}");
    assert_eq!(plain.matches("-- 2026").count(), 2);
    let drawn = watch(|| Some(Screen { columns: 9, rows: 3 })).await;
    assert_eq!(
        drawn,
        "\x1b[HNAME    …\x1b[K\r\nalice~k5…\x1b[K\r\n\x1b[J\x1b[HNAME    …\x1b[K\r\n… 2 more…\x1b[K\r\n\x1b[J"
    );
}

#[tokio::test]
async fn a_person_is_told_why_peers_are_missing_from_the_table() {
    let fake = with_peers();
    let waiting = |id: &str, last_error: &str| Peer {
        id: id.to_owned(),
        state: PeerState::Waiting.into(),
        address: "localhost:8080".to_owned(),
        last_error: last_error.to_owned(),
        ..Peer::default()
    };
    fake.state().peers.extend([waiting("", "refused\x1b (os error 111)"), waiting(fake::OWN, "gone"), waiting("", "")]);
    let ran = run_at(&fake, &["peers", "-v"]).await;
    insta::assert_snapshot!(ran.stderr, @r"
    p2pctl: localhost:8080: refused^[
    p2pctl: mmmmabcd: gone
    p2pctl: 1 more is down: p2pctl peers -a
    ");
    let ran = run_at(&fake, &["peers", "-v", "-o", "wide"]).await;
    assert_eq!(ran.stderr, "p2pctl: 1 more is down: p2pctl peers -a\n", "the wide table has the reasons");
    fake.state().peers.clear();
    let ran = run_at(&fake, &["peers", "-v"]).await;
    assert_eq!(ran.stderr, "p2pctl: no peer is known yet; dial one with: p2pctl peers add HOST:PORT\n");
    let ran = run_at(&fake, &["peers"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
}

#[tokio::test]
async fn c_06_a_dumb_terminal_gets_no_commands() {
    let fake = with_peers();
    fake.state().streams_max = Some(1);
    fake.state().watches.push_back(vec![Ok(p2p_proto::v1::WatchResponse {
        offset: 1,
        item: Some(p2p_proto::v1::watch_response::Item::Batch(p2p_proto::v1::PostBatch::from(vec![post(1, "x")]))),
        blocked: 0,
    })]);
    for args in [&["peers", "--watch"][..], &["watch", "--count", "1"]] {
        let terminals = Terminals { stdin: true, stdout: true, stderr: true };
        let screen = || Some(Screen { columns: 80, rows: 24 });
        let mut setting = Setting { terminals, screen, ..Setting::at(&fake) };
        setting.env.dumb_terminal = true;
        let ran = setting.run(args).await;
        assert!(!ran.stdout.contains('\x1b') && !ran.stderr.contains('\x1b'), "{ran:?}");
    }
}

#[tokio::test]
async fn one_peer_is_found_by_its_name() {
    let ran = run_at(&with_peers(), &["peers", "show", "bob"]).await;
    assert!(ran.stdout.starts_with("name          bob~7qfd\n"), "{}", ran.stdout);
    let own = run_at(&with_peers(), &["peers", "show", &fake::OWN[..8]]).await;
    assert!(own.stderr.ends_with("hint: that is this daemon itself: p2pctl status\n"), "{}", own.stderr);
    let ran = run_at(&with_peers(), &["peers", "show", "carol"]).await;
    assert_eq!(ran.exit, Exit::NotFound);
    assert_eq!(
        ran.stderr,
        "p2pctl: error: peer \"carol\": nobody is called so (NOT_FOUND)\nhint: see who is there: p2pctl peers -a\n"
    );
}

#[tokio::test]
async fn the_book_is_changed_by_name_id_and_address() {
    let fake = with_peers();
    for (args, asked, said) in [
        (&["add", "peer.example:8080"][..], "add peer.example:8080".to_owned(), "dialing peer.example:8080\n"),
        (&["forget", "bob"], format!("forget {BOB}"), "forgot bob\n"),
        (&["forget", "192.0.2.7:8080"], "forget 192.0.2.7:8080".to_owned(), "forgot 192.0.2.7:8080\n"),
        (&["reconnect"], "reconnect ".to_owned(), "dialing 2 peers\n"),
        (&["reconnect", "k5x3ab"], format!("reconnect {ALICE}"), "dialing 2 peers\n"),
    ] {
        let ran = run_at(&fake, &[&["peers"], args].concat()).await;
        assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, said));
        assert_eq!(fake.state().requests.last(), Some(&asked));
    }
    for address in ["nonsense", ":8080", "host:99999", "host:0"] {
        assert_eq!(run_at(&fake, &["peers", "add", address]).await.exit, Exit::Usage, "{address}");
    }
}

#[tokio::test]
async fn x_06_who_calls_itself_as_we_call_another_is_told_apart_in_the_list() {
    let fake = with_peers();
    fake.state().peers[1].petname = "Alice".to_owned();
    let ran = run_at(&fake, &["peers", "-v"]).await;
    assert!(ran.stderr.contains("alice~k5x3: not whom you call Alice (7qfdabcd)"), "{}", ran.stderr);
    fake.state().peers[0].petname = "somebody else".to_owned();
    let ran = run_at(&fake, &["peers", "-v"]).await;
    assert!(!ran.stderr.contains("not whom"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_peer_is_called_blocked_and_let_in_again_by_any_of_its_names() {
    let fake = with_peers();
    fake.state().peers[1].petname = "boss".to_owned();
    for (args, asked, said) in [
        (&["name", "bob", "Chef"][..], format!("update {BOB} Some(\"Chef\") None"), "bob is called Chef\n"),
        (&["name", "boss", ""], format!("update {BOB} Some(\"\") None"), "boss has no petname\n"),
        (&["name", "boss", "--remove"], format!("update {BOB} Some(\"\") None"), "boss has no petname\n"),
        (&["block", "boss"], format!("update {BOB} None Some(true)"), "blocked boss\n"),
        (&["unblock", "7qfdab"], format!("update {BOB} None Some(false)"), "unblocked 7qfdab\n"),
    ] {
        let ran = run_at(&fake, &[&["peers"], args].concat()).await;
        assert_eq!((ran.exit, ran.stdout.as_str(), ran.stderr.as_str()), (Exit::Ok, said, ""));
        assert_eq!(fake.state().requests.last(), Some(&asked));
    }
    // An impostor cannot keep us from calling the right one by its name, and is told.
    let ran = run_at(&fake, &["peers", "name", "bob", "ALICE"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "bob is called ALICE\n"));
    assert_eq!(ran.stderr, "p2pctl: warning: alice~k5x3 calls itself so too: ALICE alone is 7qfdabcd now\n");
    // Of an id that is written out nothing need be known.
    let ran = run_at(&fake, &["peers", "block", OWN, "-ojson"]).await;
    assert_eq!(ran.stdout, "{\"v\":1,\"type\":\"peer_blocked\",\"ok\":true}\n");
    let ran = run_at(&fake, &["peers", "name", "bob", "taken"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Conflict, ""));
    assert_eq!(ran.stderr, "p2pctl: error: peers name: petname \"taken\" is that of another peer (NAME_TAKEN)\n");
    assert_eq!(run_at(&fake, &["peers", "name", "bob"]).await.exit, Exit::Usage);
    assert_eq!(run_at(&fake, &["peers", "name", "bob", "x", "--remove"]).await.exit, Exit::Usage);
}

#[tokio::test]
async fn whoever_uses_the_name_of_another_is_told_below_the_table() {
    let fake = with_peers();
    let imitator = Peer {
        id: OWN.to_owned(),
        name: "Alice".to_owned(),
        name_owner: ALICE.to_owned(),
        state: PeerState::Up.into(),
        ..Peer::default()
    };
    fake.state().peers.push(imitator);
    let ran = run_at(&fake, &["peers", "-v", "-a"]).await;
    let expected = format!("p2pctl: Alice~mmmmabcd: this name was first used by Alice~k5x3 ({ALICE})\n");
    assert_eq!(ran.stderr, expected);
    let shown = run_at(&fake, &["peers", "show", "Alice"]).await.stdout;
    assert!(shown.contains(&format!("Alice: this name was first used by Alice~k5x3 ({ALICE})")), "{shown}");
}

#[tokio::test]
async fn who_is_blocked_is_not_pinged_with_exit_10() {
    let fake = with_peers();
    fake.state().peers[0].blocked = true;
    let ran = run_at(&fake, &["ping", "alice"]).await;
    assert_eq!(ran.exit, Exit::Untrusted);
    assert_eq!(ran.stderr, "p2pctl: error: ping alice~k5x3: alice is blocked here (UNTRUSTED)\n");
}

#[tokio::test]
async fn pings_are_shown_and_summed_up() {
    let fake = with_peers();
    fake.state().rtts_us.extend([400, 600]);
    let ran = run_at(&fake, &["ping", "alice", "-n", "3", "--interval", "0s"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    insta::assert_snapshot!(ran.stdout, @r"
    alice~k5x3: 1 400us
    alice~k5x3: 2 600us
    alice~k5x3: 3 no answer
    alice~k5x3: 2 of 3 answered, min 400us, mean 500us, max 600us
    ");
}

#[tokio::test]
async fn a_ping_without_an_answer_is_no_success() {
    let fake = with_peers();
    let ran = run_at(&fake, &["ping", "--all", "-n", "1"]).await;
    assert_eq!(
        (ran.exit, ran.stderr.as_str()),
        (Exit::Timeout, "p2pctl: error: ping: no answer from alice~k5x3 (TIMEOUT)\n")
    );
    let ran = run_at(&fake, &["ping", "bob"]).await;
    assert_eq!(
        (ran.exit, ran.stderr.as_str()),
        (Exit::Rejected, "p2pctl: error: ping bob~7qfd: it is not linked (PEER_OFFLINE)\n")
    );
    fake.state().peers.clear();
    assert_eq!(run_at(&fake, &["ping", "--all"]).await.exit, Exit::NotFound);
}

#[tokio::test]
async fn status_is_a_page_of_facts() {
    let fake = with_status([status(Health::Syncing, false, 1), status(Health::Ready, true, 5)]);
    let ran = run_at(&fake, &["status"]).await;
    assert!(ran.stdout.contains("health        SYNCING\n"), "{}", ran.stdout);
}

#[tokio::test]
async fn health_is_zero_or_one() {
    for (health, ready, exit, live) in [
        (Health::Ready, true, Exit::Ok, Exit::Ok),
        (Health::Isolated, true, Exit::Ok, Exit::Ok),
        (Health::Isolated, false, Exit::Failed, Exit::Ok),
        (Health::Recovering, false, Exit::Failed, Exit::Ok),
        (Health::Starting, false, Exit::Failed, Exit::Failed),
    ] {
        let fake = with_status([status(health, ready, 0)]);
        assert_eq!(run_at(&fake, &["health"]).await.exit, exit, "{health:?}");
        assert_eq!(run_at(&fake, &["health", "--live"]).await.exit, live, "{health:?} --live");
    }
    let none = Setting::nowhere().run(&["health", "-s", "/nowhere/sock"]).await;
    assert_eq!(none.exit, Exit::Failed);
}

#[tokio::test]
async fn waiting_ends_when_all_is_true() {
    let statuses = [status(Health::Syncing, false, 0), status(Health::Ready, true, 3), status(Health::Ready, true, 5)];
    let ran = run_at(&with_status(statuses), &["wait", "--ready", "--peers", "5"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "READY\n"));
}

#[tokio::test]
async fn c_10_waiting_in_vain_says_what_is_missing() {
    let fake = with_status([status(Health::Syncing, false, 3)]);
    fake.state().holds = true;
    let ran = run_at(&fake, &["wait", "--ready", "--peers", "5", "--timeout", "500ms"]).await;
    assert_eq!(ran.exit, Exit::Timeout);
    insta::assert_snapshot!(ran.stderr, @r"
    p2pctl: error: wait: after 500ms: 3 of 5 peers are up, the daemon is SYNCING (TIMEOUT)
    hint: give it more time with --timeout
    ");
    let ran = Setting::nowhere().run(&["wait", "-s", "/nowhere/sock", "--timeout", "30ms"]).await;
    assert_eq!(ran.exit, Exit::Timeout);
    assert!(ran.stderr.contains("no daemon"), "{}", ran.stderr);
    assert!(ran.stderr.contains("\nhint: start the daemon with: p2pd"), "{}", ran.stderr);
    let delivered = ["wait", "-s", "/nowhere/sock", "--delivered", "mmmmabcd-1863-1", "--timeout", "30ms"];
    let ran = Setting::nowhere().run(&delivered).await;
    assert_eq!(ran.exit, Exit::Timeout);
    assert!(ran.stderr.contains("\nhint: start the daemon with: p2pd"), "{}", ran.stderr);
}

#[tokio::test]
async fn waiting_begins_before_the_daemon_does() {
    let mut fake = with_status([status(Health::Ready, true, 0)]);
    fake.stop();
    let setting = Setting::at(&fake);
    let start = async {
        tokio::task::yield_now().await;
        fake.restart();
    };
    let (ran, ()) = tokio::join!(setting.run(&["wait", "--timeout", "20s"]), start);
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Ok, "READY\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_daemon_is_asked_and_stopped() {
    let fake = Fake::start();
    let ran = run_at(&fake, &["daemon", "config"]).await;
    assert_eq!(ran.stdout, "KEY   VALUE  SOURCE\nname  own    default\n");
    let ran = run_at(&fake, &["daemon", "metrics"]).await;
    assert_eq!(ran.stdout.lines().last(), Some("p2p_ready 1"));
    let ran = run_at(&fake, &["daemon", "stop"]).await;
    assert_eq!(ran.stdout, "stopping\n");
    assert_eq!(fake.state().requests, ["config", "metrics", "stop"]);
}

#[tokio::test]
async fn a_reload_shows_what_it_did_and_what_it_could_not_do() {
    let fake = Fake::start();
    let change = ConfigChange { key: "name".to_owned(), old: "a".to_owned(), new: "b".to_owned(), applied: true };
    let warnings = vec!["peers: a:1 is there twice".to_owned()];
    fake.state().reloads.push_back(Ok(ReloadResponse { changes: vec![change], warnings, dials: 1 }));
    let ran = run_at(&fake, &["daemon", "reload"]).await;
    assert_eq!(ran.stdout, "KEY   OLD  NEW  RESULT\nname  a    b    applied\ndialing 1 peer\n");
    assert_eq!(ran.stderr, "p2pctl: warning: peers: a:1 is there twice\n");
    let why = Error::new(Code::InvalidArgument, "nothing was changed: f: a; f: b");
    fake.state().reloads.push_back(Err(why.into()));
    let ran = run_at(&fake, &["daemon", "reload"]).await;
    assert_eq!((ran.exit, ran.stdout.as_str()), (Exit::Rejected, ""));
    assert!(ran.stderr.contains("daemon reload: nothing was changed: f: a; f: b (INVALID_ARGUMENT)"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_log_filter_is_shown_and_set_for_a_time() {
    let fake = Fake::start();
    for args in [&["daemon", "log-level"][..], &["daemon", "log-level", "debug"]] {
        assert_eq!(run_at(&fake, args).await.exit, Exit::Ok);
    }
    let ran = run_at(&fake, &["daemon", "log-level", "debug", "--for", "10m"]).await;
    assert_eq!(ran.stdout, "debug  (in 10m back to info)\n");
    run_at(&fake, &["daemon", "log-level", "debug", "--for", "100years"]).await;
    let requests = &fake.state().requests;
    assert_eq!(*requests, ["log  0", "log debug 0", "log debug 600000", "log debug 4294967295"]);
}

#[tokio::test]
async fn a_doctor_exits_by_what_it_finds() {
    let sick = StatusResponse { problems: vec!["disk full in /data".to_owned()], ..status(Health::Degraded, false, 1) };
    let ran = run_at(&with_status([sick]), &["doctor"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Failed, ""));
    let shown = ran.stdout;
    assert!(shown.contains("FAIL  alarms        disk full in /data\n"), "{shown}");
    assert!(shown.contains("hint: make room"), "{shown}");
    assert!(shown.contains("WARN  terminal "), "{shown}");
    assert!(shown.contains(" checks, 1 failure, "), "{shown}");

    let fake = with_status([status(Health::Ready, true, 1)]);
    let mut setting = Setting::at(&fake);
    setting.env.locale = Some("de_DE.UTF-8".to_owned());
    let ran = setting.run(&["doctor", "-o", "json"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    let found: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&found["failures"], &found["type"]), (&0.into(), &"doctor".into()));
    assert!(!ran.stdout.contains("LANG"), "{}", ran.stdout);

    let ran = run_at(&with_status([status(Health::Recovering, false, 0)]), &["doctor"]).await;
    assert_eq!(ran.exit, Exit::Ok);
    assert!(ran.stdout.starts_with("WARN  daemon        it is RECOVERING"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_doctor_without_a_daemon_says_how_to_get_one() {
    let mut fake = Fake::start();
    fake.stop();
    let ran = run_at(&fake, &["doctor"]).await;
    assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Failed, ""));
    assert!(ran.stdout.starts_with("FAIL  daemon        connect: no daemon at "), "{}", ran.stdout);
    assert!(ran.stdout.contains("hint: start it with: p2pd\n"), "{}", ran.stdout);
}
