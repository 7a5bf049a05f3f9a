//! Every command as a user types it, with all that he sees: results, errors, hints and exit codes, as text and as JSON. They
//! are written down in `snapshots`; what differs from run to run has a word in its place.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Command;

use p2p_proto::v1::{Peer, PeerState};
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{Output, PATIENCE, eventually, program, run};

/// Two peers that are linked, and where they keep everything.
struct Pair {
    one: TestPeer,
    _two: TestPeer,
    /// What differs from run to run, and the words for it.
    varying: Vec<(String, String)>,
    network: Network,
}

impl Pair {
    fn start() -> Self {
        let network = Network::new();
        let one = network.start("one", &[]);
        let two = network.start("two", &[&one]);
        for peer in [&one, &two] {
            let is_known = |other: &Peer| other.state() == PeerState::Up && other.rtt_us > 0;
            eventually(PATIENCE, "both are linked, and know how far", || peer.peers().iter().all(is_known));
            drop(peer.p2pctl(&["wait", "--ready", "--peers", "1", "--synced"]).ok());
        }
        let varying = varying(network.dir(), &[(&one, "ONE"), (&two, "TWO")]);
        Self { one, _two: two, varying, network }
    }

    /// Runs a line in a shell, where `p2pctl` asks the first peer.
    fn shell(&self, line: &str) -> Output {
        let client = self.one.p2pctl_command(&[]);
        let programs = Path::new(client.get_program()).parent().unwrap();
        let mut path = OsString::from(programs);
        path.push(":/usr/bin:/bin");
        let mut shell: Command = program("p2pctl", self.network.dir());
        let envs: Vec<_> = shell.get_envs().map(|(name, value)| (name.to_owned(), value.map(OsString::from))).collect();
        shell = Command::new("/bin/bash");
        shell.env_clear().envs(envs.into_iter().filter_map(|(name, value)| Some((name, value?))));
        shell.env("PATH", path).env("P2PCTL_SOCKET", self.one.socket());
        run(shell.current_dir(self.network.dir()).args(["-c", line]), b"")
    }

    /// What a terminal shows that runs these lines one after the other.
    fn transcript(&self, lines: &[&str]) -> String {
        let mut shown = String::new();
        for line in lines {
            let output = self.shell(line);
            shown += &format!("$ {line}\n{}{}", output.stdout, output.stderr);
            match output.code {
                Some(0) => shown.push('\n'),
                code => {
                    shown +=
                        &format!("exit {}\n\n", code.map_or_else(|| "by a signal".to_owned(), |code| code.to_string()))
                }
            }
        }
        shown
    }

    /// Compares what the lines show with what is written down.
    #[track_caller]
    fn check(&self, name: &str, lines: &[&str]) {
        let shown = self.transcript(lines);
        let mut settings = insta::Settings::clone_current();
        settings.set_omit_expression(true);
        settings.set_prepend_module_to_snapshot(false);
        for (what, word) in &self.varying {
            settings.add_filter(what, word);
        }
        settings.bind(|| insta::assert_snapshot!(name, shown));
    }
}

/// What differs from run to run, as regular expressions, and the words for it.
fn varying(dir: &Path, peers: &[(&TestPeer, &str)]) -> Vec<(String, String)> {
    let mut varying = Vec::new();
    for (peer, name) in peers {
        let (id, status) = (peer.id(), peer.status());
        let (begin, network) = (&id[..8], status.network);
        varying.extend([
            (id.to_owned(), format!("<{name}>")),
            (format!(r"\b{begin}\b"), format!("<{name}:8>")),
            (format!("~{}", &id[..4]), format!("~<{name}>")),
            (format!(r"\b{}\b", status.epoch), format!("<{name}'s epoch>")),
            (format!(r"\b{}[a-z2-7]*\b", &network[..8]), "<network>".to_owned()),
        ]);
    }
    varying.push((dir.display().to_string(), "DIR".to_owned()));
    varying.push((env!("CARGO_PKG_VERSION").replace('.', r"\."), "<version>".to_owned()));
    varying.extend(VARYING.map(|(what, word)| (what.to_owned(), word.to_owned())));
    varying
}

const VARYING: [(&str, &str); 19] = [
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
    (r"\b\d\d:\d\d:\d\d\b", "<time>"),
    (r"[+-]?\b\d+(\.\d+)? ?(us|ms|s|m|h)\b", "<span>"),
    (r"\b\d+(\.\d+)? (B|KiB|MiB)\b", "<size>"),
    (r#""([a-z0-9_]+_(us|ms|bytes|sent|received|total|second)|bytes)":-?\d+"#, r#""$1":<n>"#),
    (r"(_total|Up|up) +\d+\b", "$1  <n>"),
    (r#""buckets":\[.*?\]"#, r#""buckets":[<buckets>]"#),
    (r#"(pid"?:?) *\d+"#, "$1 <pid>"),
    (r"\b[0-9a-f]{32}\b", "<digest>"),
    (r"\b[0-9a-f]{16}\b", "<hash>"),
    (r"\bp2p1[a-z2-7]{60,}", "<ticket>"),
    (r#""id":"[a-z2-7]{13}""#, r#""id":"<invite>""#),
    (r"(?m)^[a-z2-7]{13}  ", "<invite>  "),
    (r#""(key|name)":"[a-z2-7]{26}""#, r#""$1":"<key>""#),
    (r"(?m)(^|new key )[a-z2-7]{8}([a-z2-7]{18})?( +dialed| for)", "$1<key>$3"),
    (r"\d+ of \d+ files", "<n> of <n> files"),
    (r"\d+ peers? up", "<n> peers up"),
    (r"(127\.0\.0\.1|localhost):\d{4,5}", "$1:<port>"),
    // Last: a table is as wide as what stands in it.
    (r"  +", "  "),
];

#[test]
fn what_is_said_and_what_is_refused_is_as_written_down() {
    let pair = Pair::start();
    pair.check(
        "send",
        &[
            "p2pctl send hello there",
            "echo from a pipe | p2pctl send",
            r"printf 'one\ntwo\n' | p2pctl send -l",
            "p2pctl send -o json --key k hello",
            "p2pctl send -o yaml --key k hello",
            "p2pctl send --key k 'something else'",
            "p2pctl send -w everyone -v 'to all'",
            "p2pctl send -w 2 --wait-timeout 1s 'to more than there are'",
            "p2pctl send -t two 'for you alone'",
            "p2pctl send ''",
            "p2pctl send -r Kitchen hello",
            "p2pctl send -t nobody hello",
            "p2pctl send -t two -r general hello",
            "p2pctl send --re 42 hello",
            "head -c 16385 /dev/zero | tr '\\0' x | p2pctl send",
            "p2pctl send -o json -r Kitchen hello",
            "p2pctl -s ./nowhere.sock send hello",
        ],
    );
    pair.check(
        "receipts",
        &[
            "p2pctl receipts $(p2pctl send -w everyone hello)",
            "p2pctl receipts -o json $(p2pctl send -w everyone hello)",
            "p2pctl receipts $(p2pctl send hello | sed 's/-[0-9]*$/-999/')",
            "p2pctl receipts 42",
            "p2pctl receipts -o json 42",
        ],
    );
    pair.check(
        "rooms",
        &["p2pctl rooms", "p2pctl rooms -o json", "p2pctl rooms --all", "p2pctl -s ./nowhere.sock rooms"],
    );
}

#[test]
fn what_is_read_is_as_written_down() {
    let pair = Pair::start();
    let said = "p2pctl send 'the first'; p2pctl send -r kitchen 'soup is ready'; p2pctl send -t two 'psst'";
    assert_eq!(pair.shell(said).code, Some(0));
    pair.check(
        "watch",
        &[
            "p2pctl watch --all --until-caught-up",
            "p2pctl watch --all --until-caught-up -o json",
            "p2pctl watch --all --until-caught-up -o yaml -q kitchen",
            "p2pctl watch -n 1 --count 1",
            "p2pctl watch --after 1 --count 1 -0 | tr '\\0' '!'",
            "p2pctl watch --all --count 2 -F '{room}: {text}'",
            "p2pctl watch --all --count 1 --exec 'echo \"$P2P_ROOM $P2P_TEXT\"'",
            "p2pctl watch -t two --all --until-caught-up",
            "p2pctl watch --no-own --all --until-caught-up",
            "p2pctl watch --for 10ms",
            "p2pctl watch --all --idle 500ms kitchen",
            "p2pctl watch --since yesterdayish",
            "p2pctl watch --from nobody",
            "p2pctl watch -F '{colour}'",
            "p2pctl watch --all --count 1 --exec false",
            "p2pctl watch Kitchen",
            "p2pctl watch --all -n 3",
            "p2pctl -s ./nowhere.sock watch",
        ],
    );
    pair.check(
        "history",
        &[
            "p2pctl history",
            "p2pctl history -o wide kitchen",
            "p2pctl history -o json -n 1",
            "p2pctl history -o yaml -n 1",
            "p2pctl history --all --from one -0 | tr '\\0' '!'",
            "p2pctl history -t two",
            "p2pctl history -F '{name} {text}'",
            "p2pctl history --since 1h --until 2020-01-01",
            "p2pctl history nowhere",
            "p2pctl history --until never",
            "p2pctl history --from nobody",
            "p2pctl history -n x",
            "p2pctl -s ./nowhere.sock history",
        ],
    );
    pair.check(
        "search",
        &[
            "p2pctl search soup",
            "p2pctl search -r kitchen rea",
            "p2pctl search -o json soup",
            "p2pctl search nothing-like-it",
            "p2pctl search ''",
            "p2pctl search -r Kitchen soup",
            "p2pctl -s ./nowhere.sock search soup",
        ],
    );
}

#[test]
fn what_is_told_of_peers_is_as_written_down() {
    let pair = Pair::start();
    pair.check(
        "peers",
        &[
            "p2pctl peers",
            "p2pctl peers -o wide",
            "p2pctl peers -o json",
            "p2pctl peers -a",
            "p2pctl peers --everybody",
            "p2pctl -s ./nowhere.sock peers",
            "p2pctl peers show two",
            "p2pctl peers show -o json two",
            "p2pctl peers show nobody",
            "p2pctl peers name two 'Bob of accounting'",
            "p2pctl peers name -o json two Bob",
            "p2pctl peers name two $'\\t'",
            "p2pctl peers name Bob --remove",
            "p2pctl peers name nobody Bob",
            "p2pctl peers add -o json 127.0.0.1:1",
            "p2pctl peers add 127.0.0.1:1",
            "p2pctl peers add 127.0.0.1",
            "p2pctl peers forget 127.0.0.1:1",
            "p2pctl peers forget -o json nobody",
            "p2pctl peers forget nobody",
            "p2pctl peers forget two",
            "p2pctl peers reconnect",
            "p2pctl peers reconnect -o json two",
            "p2pctl peers reconnect nobody",
        ],
    );
    pair.check(
        "ping",
        &[
            "p2pctl ping two -n 1",
            "p2pctl ping --all -n 1 -o json",
            "p2pctl ping nobody",
            "p2pctl ping",
            "p2pctl ping two --interval soon",
        ],
    );
    pair.check(
        "graph",
        &[
            "p2pctl graph",
            "p2pctl graph --format dot | grep bold",
            "p2pctl graph -o json",
            "p2pctl graph --format png",
            "p2pctl -s ./nowhere.sock graph",
        ],
    );
    pair.check(
        "peers-block",
        &[
            "p2pctl peers block two",
            "p2pctl peers block -o json two",
            "p2pctl send -t two hello",
            "p2pctl peers block nobody",
            "p2pctl peers block one",
            "p2pctl peers unblock two",
            "p2pctl peers unblock -o json two",
            "p2pctl peers unblock nobody",
        ],
    );
}

#[test]
fn what_is_told_of_the_state_is_as_written_down() {
    let pair = Pair::start();
    assert_eq!(pair.shell("p2pctl send -w everyone hello").code, Some(0));
    pair.check(
        "status",
        &[
            "p2pctl status",
            "p2pctl status -o wide",
            "p2pctl status -o json",
            "p2pctl status --long",
            "p2pctl -s ./nowhere.sock status",
            "p2pctl -s ./nowhere.sock -o json status",
            "p2pctl -s nowhere status",
            "p2pctl -s nowhere:path status",
        ],
    );
    pair.check(
        "sync",
        &[
            "p2pctl sync",
            "p2pctl sync --now -o json",
            "p2pctl sync -o wide general",
            "p2pctl sync nowhere",
            "p2pctl sync Nowhere",
            "p2pctl -s ./nowhere.sock sync",
        ],
    );
    pair.check(
        "wait",
        &[
            "p2pctl wait",
            "p2pctl wait --ready --peers 1 --synced -o json",
            "p2pctl wait --delivered $(p2pctl send hello)",
            "p2pctl wait --peers 3 --timeout 300ms",
            "p2pctl wait --peers 3 --timeout 300ms -o json",
            "p2pctl wait --delivered 42",
            "p2pctl wait --peers many",
            "p2pctl -s ./nowhere.sock --timeout 300ms wait",
        ],
    );
    pair.check(
        "health",
        &[
            "p2pctl health",
            "p2pctl health --live",
            "p2pctl health -o json",
            "p2pctl -s ./nowhere.sock health",
            "p2pctl -s ./nowhere.sock health -o json",
        ],
    );
    pair.check(
        "doctor",
        &[
            "p2pctl doctor | grep -v ' disk-\\| descriptors\\|checks,'",
            "p2pctl doctor -o json | cut -d , -f 1-7",
            "p2pctl -s ./nowhere.sock doctor",
            "p2pctl doctor two",
        ],
    );
}

#[test]
fn what_lets_somebody_in_is_as_written_down() {
    let pair = Pair::start();
    let own_network = vec![("P2P_NETWORK_SECRET_FILE".to_owned(), String::new())];
    let _other = pair.network.start_with(Options { name: "other".into(), env: own_network, ..Options::default() });
    let join = |ticket: &str| format!("p2pctl -s other/p2pd.sock join {ticket}");
    pair.check(
        "invite",
        &[
            "p2pctl invite --address office.example:8080",
            "p2pctl invite --address office.example:8080 -o json",
            "p2pctl invite --address office.example:8080 --expires 1h -q",
            "p2pctl invite --list",
            "p2pctl invite --list -o json",
            "p2pctl invite --revoke zzzzzzzz",
            "p2pctl invite -o json --revoke $(p2pctl invite --list -o json | sed 's/.*\"id\":\"//; s/\".*//')",
            "p2pctl invite --uses 0",
            "p2pctl invite --expires never",
            "p2pctl -s ./nowhere.sock invite",
        ],
    );
    let spoilt = "ticket=$(p2pctl invite -q); ";
    pair.check(
        "join",
        &[
            "p2pctl join p2p1nothing",
            "p2pctl join",
            &format!("{spoilt}{}", join("\"${ticket%?}\"")),
            &format!("{spoilt}{} -o json", join("\"${ticket%?}\"")),
            "p2pctl join $(p2pctl invite -q)",
            &join("$(p2pctl invite -q)"),
        ],
    );
}

#[test]
fn what_is_told_of_the_networks_secret_is_as_written_down() {
    let pair = Pair::start();
    assert_eq!(pair.shell("p2pctl send -w everyone hello").code, Some(0));
    pair.check(
        "network",
        &[
            "p2pctl network",
            "p2pctl network show -o json",
            "p2pctl network rotate --without nobody",
            "p2pctl network rotate --without one",
            "p2pctl network rotate --readmit two",
            "p2pctl network rotate --grace soon",
            "p2pctl network rotate --grace 9999h",
            "p2pctl network rotate -o json",
            "p2pctl network rotate --without two -v",
            "p2pctl network show",
            "p2pctl network -o wide",
            "p2pctl network show all",
            "p2pctl -s ./nowhere.sock network",
            "p2pctl -s ./nowhere.sock network rotate",
        ],
    );
}

#[test]
fn what_is_measured_is_as_written_down() {
    let pair = Pair::start();
    pair.check("bench", &[
        "p2pctl bench send --count 10 -o json",
        "p2pctl bench send --count 0",
        "p2pctl bench send --size 4",
        "p2pctl bench latency --count 3 --rate 1000 -o json",
        "p2pctl bench latency --rate 0",
        "p2pctl bench send --count 60 --rate 40 >sent 2>&1 & p2pctl -s two/p2pd.sock bench watch --count 5 -o json; wait",
        "p2pctl bench watch --for 10ms -o json",
        "p2pctl bench watch --for soon",
        "p2pctl -s ./nowhere.sock bench watch",
    ]);
}

#[test]
fn what_operators_ask_is_as_written_down() {
    let pair = Pair::start();
    pair.check(
        "daemon",
        &[
            "p2pctl daemon config",
            "p2pctl daemon config -o json",
            "p2pctl daemon config all",
            "p2pctl daemon reload",
            "p2pctl daemon reload -o json",
            "p2pctl daemon reload now",
            "p2pctl daemon log-level",
            "p2pctl daemon log-level debug --for 1h",
            "p2pctl daemon log-level info -o json",
            "p2pctl daemon log-level loud",
            "p2pctl daemon metrics -o json | cut -c 1-40",
            "p2pctl daemon metrics | grep 'p2p_connections'",
            "p2pctl -s ./nowhere.sock daemon metrics",
            "p2pctl daemon stop now",
            "p2pctl daemon stop -o json",
            "p2pctl daemon stop",
        ],
    );
}

#[test]
fn what_needs_no_daemon_is_as_written_down() {
    let pair = Pair::start();
    pair.check(
        "version",
        &[
            "p2pctl version",
            "p2pctl version -o json",
            "p2pctl -s ./nowhere.sock version",
            "p2pctl --version",
            "p2pctl version -V now",
        ],
    );
    pair.check("schema", &["p2pctl schema sent", "p2pctl schema nothing", "p2pctl schema | head -n 3"]);
    pair.check("completions", &["p2pctl completions bash | head -n 1", "p2pctl completions tcsh"]);
    pair.check("complete", &["p2pctl complete 3 -- p2pctl ping t", "p2pctl complete x"]);
    pair.check(
        "man",
        &["p2pctl man | head -n 3", "p2pctl man ./nowhere", "mkdir pages && p2pctl man pages && ls pages"],
    );
    pair.check("chat", &["p2pctl chat", "p2pctl chat -o json", "p2pctl chat Kitchen"]);
    pair.check("top", &["p2pctl top", "p2pctl top --fast"]);
    pair.check("p2pctl", &["p2pctl", "p2pctl sned hello", "p2pctl --color blue status", "p2pctl --timeout 5 status"]);
}

/// What was typed, and how it ended.
struct Typed {
    /// The command's words with dashes between them, as its manual page is called.
    page: String,
    is_json: bool,
    has_failed: bool,
}

/// Everything that is typed in a transcript.
fn typed(transcript: &str) -> Vec<Typed> {
    let mut typed = Vec::new();
    for shown in transcript.split("\n$ ").skip(1) {
        let (line, rest) = shown.split_once('\n').unwrap_or((shown, ""));
        for command in line.split("p2pctl ").skip(1) {
            let words = command.split(' ').skip_while(|word| *word == "-s" || word.ends_with(".sock"));
            let page = words.map(|word| format!("-{word}")).collect();
            let has_failed = rest.lines().any(|line| line.starts_with("exit "));
            typed.push(Typed { page, is_json: command.contains("-o json"), has_failed });
        }
    }
    typed
}

#[test]
fn each_command_has_its_transcript_with_a_result_a_failure_and_json() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/snapshots");
    let transcripts = fs::read_dir(folder).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
    let typed: Vec<Typed> = transcripts.flat_map(|transcript| typed(&transcript)).collect();
    let network = Network::new();
    let pages = run(program("p2pctl", network.dir()).args(["man", "."]), b"");
    assert_eq!(pages.code, Some(0));
    for file in fs::read_dir(network.dir()).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(page) = name.strip_prefix("p2pctl").and_then(|name| name.strip_suffix(".1")) else { continue };
        let its: Vec<&Typed> =
            typed.iter().filter(|typed| format!("{}-", typed.page).starts_with(&format!("{page}-"))).collect();
        let needs_terminal = ["-chat", "-top"].contains(&page);
        assert!(needs_terminal || its.iter().any(|typed| !typed.has_failed), "p2pctl{page}: no result");
        assert!(its.iter().any(|typed| typed.has_failed), "p2pctl{page}: no failure");
        let is_text = ["-top", "-completions", "-man", "-schema"].contains(&page);
        assert!(is_text || its.iter().any(|typed| typed.is_json), "p2pctl{page}: no JSON");
    }
}
