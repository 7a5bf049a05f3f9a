//! Figures for scrapers, and probes for whoever starts and ends daemons.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};

use p2p_proto::v1;
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::exposition::Exposition;
use p2p_tests::http::{ask, fetch};
use p2p_tests::program::{PATIENCE, eventually, run};

/// Everything that is promised to whoever writes rules and dashboards.
const CONTRACT: &[&str] = &[
    "p2p_connections",
    "p2p_peers",
    "p2p_posts_sent_total",
    "p2p_posts_received_total",
    "p2p_posts_delivered_total",
    "p2p_posts_duplicate_total",
    "p2p_posts_rejected_total",
    "p2p_bytes_sent_total",
    "p2p_bytes_received_total",
    "p2p_heartbeats_sent_total",
    "p2p_heartbeats_received_total",
    "p2p_heartbeats_missed_total",
    "p2p_rtt_seconds",
    "p2p_delivery_seconds",
    "p2p_dials_total",
    "p2p_reconnects_total",
    "p2p_errors_total",
    "p2p_sync_rounds_total",
    "p2p_sync_posts_total",
    "p2p_lag_posts",
    "p2p_store_posts",
    "p2p_store_bytes",
    "p2p_flush_seconds",
    "p2p_unacked_own_posts",
    "p2p_clock_offset_seconds",
    "p2p_build_info",
    "p2p_health",
    "p2p_ready",
    "p2p_panics_total",
    "p2p_disk_free_bytes",
    "p2p_disk_size_bytes",
    "process_cpu_seconds_total",
    "process_resident_memory_bytes",
    "process_open_fds",
    "process_max_fds",
    "process_threads",
    "process_start_time_seconds",
];

/// A peer that serves its figures.
#[track_caller]
pub(super) fn measured(network: &Network, name: &str, dials: &[&TestPeer]) -> TestPeer {
    let dials = dials.iter().map(|peer| peer.addr()).collect();
    let flags = ["--metrics", "127.0.0.1:0"].map(str::to_owned).into();
    network.start_with(Options { name: name.into(), dials, flags, ..Options::default() })
}

/// Where its figures are.
#[track_caller]
pub(super) fn metrics_addr(peer: &TestPeer) -> String {
    peer.ready().metrics.first().cloned().expect("the ready file tells where figures are served")
}

#[track_caller]
fn scrape(peer: &TestPeer) -> Exposition {
    let answer = fetch(&metrics_addr(peer), "/metrics");
    assert_eq!(answer.code, 200, "{answer:?}");
    assert!(answer.headers.contains("content-type: text/plain; version=0.0.4"), "{}", answer.headers);
    Exposition::parse(&answer.body)
}

#[test]
fn every_figure_that_is_promised_is_there_from_the_start() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let figures = scrape(&one);
    let missing: Vec<&&str> = CONTRACT.iter().filter(|name| !figures.families.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(figures.value("p2p_build_info", &format!("version={}", one.status().version)), 1.0);
    assert_eq!(figures.value("p2p_connections", ""), 0.0);
    assert_eq!((figures.value("p2p_health", ""), figures.value("p2p_health", "state=READY")), (1.0, 1.0));
    for state in ["up", "suspect", "dialing", "waiting", "down"] {
        assert_eq!(figures.value("p2p_peers", &format!("state={state}")), 0.0, "{state}");
    }
}

#[test]
fn figures_tell_what_peers_did() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let two = measured(&network, "two", &[&one]);
    one.wait_for_peers(1);
    two.wait_for_peers(1);
    drop(two.p2pctl_with(&["send", "-l", "-w", "everyone"], &super::lines("two", 20)).ok());
    super::check_equal(&[&one, &two], 20);

    let (ones, twos) = (scrape(&one), scrape(&two));
    assert_eq!(ones.value("p2p_connections", "direction=inbound"), 1.0);
    assert_eq!(twos.value("p2p_connections", "direction=outbound"), 1.0);
    assert_eq!(ones.value("p2p_peers", "state=up"), 1.0);
    assert_eq!(twos.value("p2p_posts_sent_total", ""), 20.0);
    assert_eq!((ones.value("p2p_posts_received_total", ""), ones.value("p2p_posts_delivered_total", "")), (20.0, 20.0));
    assert_eq!(ones.value("p2p_store_posts", ""), 20.0);
    assert_eq!(twos.value("p2p_unacked_own_posts", ""), 0.0);
    assert_eq!(twos.value("p2p_dials_total", "result=opened"), 1.0);
    for figures in [&ones, &twos] {
        for name in ["p2p_bytes_sent_total", "p2p_bytes_received_total", "p2p_store_bytes", "p2p_disk_free_bytes"] {
            assert!(figures.value(name, "") > 0.0, "{name}");
        }
        assert!(histogram_count(figures, "p2p_rtt_seconds") > 0.0);
        assert!(histogram_count(figures, "p2p_flush_seconds") > 0.0);
        assert!(figures.value("p2p_clock_offset_seconds", "").abs() < 1.0, "it is one machine");
        assert_eq!(figures.value("p2p_lag_posts", ""), 0.0, "one series for the other peer, which has everything");
    }
    assert!(histogram_count(&ones, "p2p_delivery_seconds") > 0.0);
    assert_eq!(histogram_count(&twos, "p2p_delivery_seconds"), 0.0, "nothing came to it");
}

#[track_caller]
fn histogram_count(figures: &Exposition, name: &str) -> f64 {
    let samples = &figures.families[name].samples;
    samples.iter().find(|sample| sample.name == format!("{name}_count")).expect("every histogram has a count").value
}

#[test]
fn both_formats_and_the_api_tell_the_same() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    drop(one.p2pctl(&["send", "hello"]).ok());
    let plain = scrape(&one);
    let request = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    let answer = ask(&metrics_addr(&one), request).unwrap();
    assert!(answer.headers.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer:?}");
    let open = Exposition::parse_open_metrics(&answer.body);
    let over_api = Exposition::parse(&one.p2pctl(&["daemon", "metrics"]).ok());
    let json: serde_json::Value = serde_json::from_str(&one.p2pctl(&["daemon", "metrics", "-ojson"]).ok()).unwrap();
    assert_eq!((&json["v"], &json["type"]), (&1.into(), &"metrics".into()));
    let in_json = Exposition::parse(json["text"].as_str().unwrap());
    for other in [&open, &over_api, &in_json] {
        assert!(plain.families.keys().eq(other.families.keys()));
        assert_eq!(plain.value("p2p_posts_sent_total", ""), other.value("p2p_posts_sent_total", ""));
    }
}

#[test]
fn every_counter_of_status_is_among_the_figures() {
    let network = Network::new();
    let [one, two, _three] = network.start_three();
    drop(two.p2pctl(&["send", "hello"]).ok());
    let mut counted = 0;
    eventually(PATIENCE, "counters are there", || {
        counted = one.status().counters.len();
        counted >= 5
    });
    let status = one.status();
    let figures = Exposition::parse(&one.p2pctl(&["daemon", "metrics"]).ok());
    assert!(!figures.families.contains_key("p2p_others_total"), "{:?}", figures.families["p2p_others_total"]);
    for (sum, family) in [("dials_total", "p2p_dials_total"), ("errors_total", "p2p_errors_total")] {
        let told = status.counters.get(sum).copied().unwrap_or(0) as f64;
        assert!(figures.value(family, "") <= told.max(1.0), "{sum}");
    }
    for (name, count) in status.counters.iter().filter(|(name, _)| figures.has(&format!("p2p_{name}"))) {
        assert!(figures.value(&format!("p2p_{name}"), "") >= *count as f64, "{name} only grows");
    }
}

#[test]
fn no_chat_text_name_or_key_is_in_any_figure() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let shown_as = Some("a very private name".to_owned());
    let two =
        network.start_with(Options { name: "two".into(), shown_as, dials: vec![one.addr()], ..Options::default() });
    drop(two.p2pctl(&["send", "-r", "secret-room", "a very private sentence"]).ok());
    super::check_equal(&[&one, &two], 1);
    let text = fetch(&metrics_addr(&one), "/metrics").body;
    let key = fs::read_to_string(network.dir().join("network.key")).unwrap();
    for secret in ["private", "secret-room", key.split_whitespace().last().unwrap(), one.id(), two.id()] {
        assert!(!text.contains(secret), "{secret} is there:\n{text}");
    }
    assert!(text.contains(&format!("p2p_lag_posts{{peer=\"{}\"}} 0", &two.id()[..8])), "{text}");
}

#[test]
fn probes_say_that_a_daemon_alone_is_well_and_one_that_is_cut_off_is_not() {
    let network = Network::new();
    let alone = measured(&network, "alone", &[]);
    for path in ["/livez", "/readyz", "/readyz?verbose"] {
        let answer = fetch(&metrics_addr(&alone), path);
        assert_eq!((answer.code, answer.body.as_str()), (200, "READY\n"), "{path}");
    }
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dials = vec![nobody.to_string()];
    let flags = ["--metrics", "127.0.0.1:0"].map(str::to_owned).into();
    let cut_off = network.start_with(Options { name: "cut-off".into(), dials, flags, ..Options::default() });
    let ready = fetch(&metrics_addr(&cut_off), "/readyz");
    assert_eq!((ready.code, ready.body.as_str()), (503, "ISOLATED\nno peer is linked, 1 are known\n"));
    assert_eq!(fetch(&metrics_addr(&cut_off), "/livez").code, 200);
    let figures = scrape(&cut_off);
    assert_eq!((figures.value("p2p_ready", ""), figures.value("p2p_health", "state=ISOLATED")), (0.0, 1.0));
    eventually(PATIENCE, "the dial failed", || scrape(&cut_off).value("p2p_dials_total", "result=unreachable") > 0.0);
}

#[test]
fn only_what_is_there_is_served_and_only_to_be_read() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let addr = metrics_addr(&one);
    let missing = fetch(&addr, "/");
    assert_eq!((missing.code, missing.body.as_str()), (404, "there are /metrics, /livez and /readyz\n"));
    assert_eq!(fetch(&addr, "/metrics/").code, 404);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let answer =
            ask(&addr, &format!("{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")).unwrap();
        assert_eq!(answer.code, 405, "{method}");
        assert!(answer.headers.contains("allow: get, head"), "{}", answer.headers);
    }
    for path in ["/metrics", "/livez"] {
        let head = ask(&addr, &format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n")).unwrap();
        assert_eq!((head.code, head.body.as_str()), (200, ""));
        assert!(head.headers.contains("content-length: "), "{}", head.headers);
    }
    assert_eq!(ask(&addr, "GET /livez HTTP/1.0\r\n\r\n").unwrap().body, "READY\n");
}

#[test]
fn slow_and_hostile_scrapers_hurt_nobody_and_leak_nothing() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let addr = metrics_addr(&one);
    drop(fetch(&addr, "/metrics"));
    let before = scrape(&one).value("process_open_fds", "");
    // They say nothing, half of something, too much, or do not read.
    let mut held = Vec::new();
    for start in
        ["", "GET /metr", "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ", "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"]
    {
        for _ in 0..50 {
            let mut stream = TcpStream::connect(&addr).unwrap();
            stream.write_all(start.as_bytes()).unwrap();
            held.push(stream);
            if held.len() % 10 == 0 {
                assert_eq!(fetch(&addr, "/livez").code, 200, "whoever asks properly is answered");
            }
        }
    }
    assert!(scrape(&one).value("process_open_fds", "") <= before + 20.0, "places are few");
    for request in [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(100_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: y\r\n".repeat(1_000)),
        format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(1_000_000)),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        "\x16\x03\x01\x02\x00\x01\x00".to_owned() + &"\0".repeat(600),
        "nonsense\r\n\r\n".to_owned(),
    ] {
        let answer = ask(&addr, &request);
        assert!(answer.as_ref().is_none_or(|answer| (400..500).contains(&answer.code)), "{answer:?}");
    }
    assert_eq!(fetch(&addr, "/livez").code, 200);
    drop(held);
    eventually(PATIENCE, "all places are free again", || scrape(&one).value("process_open_fds", "") <= before);
    assert_eq!(scrape(&one).value("p2p_panics_total", ""), 0.0);
}

#[test]
fn figures_are_off_unless_they_are_asked_for() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    assert!(one.ready().metrics.is_empty());
    assert!(!one.log().contains("metrics="), "{}", one.log());
    one.set_env(vec![("P2P_METRICS_ADDR".into(), "127.0.0.1:0".into())]);
    one.restart();
    assert_eq!(fetch(&metrics_addr(&one), "/livez").code, 200);
    assert!(one.log().contains(&metrics_addr(&one)), "{}", one.log());
    assert!(!one.log().contains("asks for no password"), "{}", one.log());
    one.set_env(vec![("P2P_METRICS_ADDR".into(), "0.0.0.0:0".into())]);
    one.restart();
    assert!(one.log().contains("asks for no password"), "who opens it to all is told: {}", one.log());
}

#[test]
fn p_05_a_port_for_figures_that_is_in_use_exits_69_and_leaves_no_socket() {
    let network = Network::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let socket = network.dir().join("p2pd.sock");
    let mut command = network.p2pd();
    command.args(["-l", "127.0.0.1:0", "--metrics", &addr, "--api", &format!("unix:{}", socket.display())]);
    command.arg("--data-dir").arg(network.dir().join("data"));
    let output = run(command.env("P2P_NETWORK_SECRET_FILE", network.dir().join("network.key")), b"");
    assert_eq!(output.code, Some(69), "{output:?}");
    assert!(output.stderr.contains(&format!("metrics_addr: {addr} is used by")), "{}", output.stderr);
    assert!(output.stderr.contains("hint: ") && output.stderr.contains("--metrics"), "{}", output.stderr);
    assert!(!socket.exists());
}

#[test]
fn f_05_an_address_for_figures_is_an_address_or_off() {
    let network = Network::new();
    let check = |value: &str| run(network.p2pd().args(["check", "--metrics", value]), b"");
    assert!(check("off").ok().contains("metrics_addr: off"));
    assert!(check("localhost:9464").ok().contains("metrics_addr: localhost:9464"));
    let bad = check("9464");
    assert_eq!(bad.code, Some(78), "{bad:?}");
    assert!(bad.stderr.contains("--metrics"), "{}", bad.stderr);
}

#[test]
fn a_link_that_came_back_is_counted() {
    let network = Network::new();
    let one = measured(&network, "one", &[]);
    let mut two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    assert_eq!(scrape(&one).value("p2p_reconnects_total", "result=up"), 0.0);
    two.restart();
    eventually(PATIENCE, "it is back", || scrape(&one).value("p2p_reconnects_total", "result=up") >= 1.0);
    assert_eq!(one.state_of(&two), v1::PeerState::Up);
}

/// Every name of a metric in an expression.
fn names_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("p2p_") || word.starts_with("process_")).map(str::to_owned).collect()
}

/// Everything behind `expr` in a document.
fn expressions(document: &serde_json::Value, found: &mut Vec<String>) {
    match document {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(text) if key == "expr" || key == "query" => found.push(text.to_owned()),
                    _ => expressions(value, found),
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        _ => (),
    }
}

#[test]
fn rules_and_dashboard_name_only_figures_that_there_are() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../p2pd/monitoring");
    let rules = fs::read_to_string(format!("{folder}/alerts.yml")).unwrap();
    let rules: serde_json::Value = serde_yaml::from_str(&rules).unwrap();
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let is_text = |value: &serde_json::Value| value.as_str().is_some_and(|text| !text.is_empty());
        let (labels, annotations) = (&rule["labels"], &rule["annotations"]);
        assert!(is_text(&rule["alert"]) && is_text(&rule["expr"]) && is_text(&labels["severity"]), "{rule}");
        assert!(is_text(&annotations["summary"]) && is_text(&annotations["description"]), "{rule}");
    }
    let dashboard = fs::read_to_string(format!("{folder}/dashboard.json")).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let mut found = Vec::new();
    expressions(&rules, &mut found);
    assert!(found.len() >= 12, "{found:?}");
    expressions(&dashboard, &mut found);
    assert!(found.len() >= 40, "{found:?}");

    let network = Network::new();
    let one = measured(&network, "one", &[]);
    drop(one.p2pctl(&["send", "hello"]).ok());
    let figures = scrape(&one);
    let named: BTreeSet<String> = found.iter().flat_map(|expression| names_in(expression)).collect();
    let missing: Vec<&String> = named.iter().filter(|name| !figures.has(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert!(named.len() >= 25, "{named:?}");
}
