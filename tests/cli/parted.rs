//! A group that was cut in two, and healed: nothing is missing, and everybody can see that.

use p2p_tests::chaos::backend::{Backend, Choice};
use p2p_tests::chaos::ways::{Way, Ways};
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, Running, eventually};
use serde_json::Value;

use super::{document, lines, normal};

/// Three peers with a fault proxy between every two.
struct Group {
    peers: Vec<TestPeer>,
    backend: Backend,
    _network: Network,
}

impl Group {
    fn start() -> Self {
        let network = Network::new();
        let (backend, _) = Backend::open(Choice::Proxy).unwrap();
        let mut peers = Vec::new();
        for (place, name) in ["one", "two", "three"].into_iter().enumerate() {
            let options = Options { name: name.to_owned(), ..Options::default() };
            let peer = network.start_with(backend.place(place, options));
            backend.on_started(place, &peer);
            peers.push(peer);
        }
        let group = Self { peers, backend, _network: network };
        group.reconnect();
        group
    }

    /// The third is cut off from the others.
    fn part(&mut self) {
        self.backend.apply(&Ways::alone(2, Way::Refuse));
        eventually(PATIENCE, "the links are gone", || {
            self.peers.iter().map(|peer| peer.status().peers_up).collect::<Vec<_>>() == [1, 1, 0]
        });
    }

    fn heal(&mut self) {
        self.backend.apply(&Ways::default());
        self.reconnect();
    }

    /// Nobody waits for his next try.
    fn reconnect(&self) {
        eventually(PATIENCE, "all are linked", || {
            self.peers.iter().for_each(|peer| drop(peer.p2pctl(&["peers", "reconnect"]).ok()));
            self.peers.iter().all(|peer| peer.status().peers_up == 2)
        });
    }

    /// What all said, with what differs from run to run replaced.
    fn normal(&self, text: &str) -> String {
        let digest = self.peers[0].status().digest;
        let spaced = normal(&self.peers.iter().collect::<Vec<_>>(), &text.replace(&digest, "DIGEST"));
        spaced.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n").collect()
    }
}

fn sync(peer: &TestPeer) -> Value {
    document(&peer.p2pctl(&["sync", "-o", "json"]).ok(), "sync")
}

#[test]
fn after_a_partition_sync_now_ends_with_everybody_equal_and_shows_each_author() {
    let mut group = Group::start();
    group.part();
    for (peer, name, count) in [(0, "one", 30), (1, "two", 20), (2, "three", 10)] {
        drop(group.peers[peer].p2pctl_with(&["send", "-l"], &lines(name, count)).ok());
    }
    // Who is with somebody is in sync with whom he is with; who is alone is told that he is.
    drop(group.peers[0].p2pctl(&["sync", "--now", "--timeout", "25s"]).ok());
    let alone = group.peers[2].p2pctl(&["sync", "--now", "--timeout", "300ms"]);
    assert_eq!((alone.code, alone.stdout.as_str()), (Some(7), ""));
    let expected = "p2pctl: error: sync: after 300ms: no peer is linked (TIMEOUT)\n\
                    hint: give it more time with --timeout\n";
    assert_eq!(alone.stderr, expected);
    assert_eq!(sync(&group.peers[2])["posts"], 10);

    group.heal();
    for peer in &group.peers {
        drop(peer.p2pctl(&["sync", "--now", "--timeout", "25s"]).ok());
        let texts = peer.p2pctl(&["history", "--all", "-0"]).ok();
        assert_eq!(texts.matches('\0').count(), 60, "behind sync --now everything is there");
        drop(peer.p2pctl(&["wait", "--peers", "2", "--synced", "--timeout", "25s"]).ok());
    }
    // What the others hold is told by them, a moment later.
    for peer in &group.peers {
        let all = |list: &Value, is_so: fn(&Value) -> bool| list.as_array().unwrap().iter().all(is_so);
        eventually(PATIENCE, "all agree on everything", || {
            let state = sync(peer);
            all(&state["feeds"], |feed| feed["agree"] == 2) && all(&state["peers"], |peer| peer["equal"] == true)
        });
    }
    check_tables(&group);
    check_documents(&group);
}

#[track_caller]
fn check_tables(group: &Group) {
    let text = group.peers[2].p2pctl(&["sync"]).ok();
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["AUTHOR", "HAVE", "MISSING", "EPOCHS", "AGREE"]);
    let row = |name: &str| rows.iter().find(|row| row[0].starts_with(name)).unwrap()[1..].to_vec();
    assert_eq!(row("one~"), ["30", "0", "1", "2/2"]);
    assert_eq!(row("two~"), ["20", "0", "1", "2/2"]);
    assert_eq!(row("three~"), ["10", "0", "1", "2/2"]);
    assert_eq!(group.normal(text.lines().last().unwrap()), "in sync with # of #: digest DIGEST\n");

    let wide = group.normal(&group.peers[2].p2pctl(&["sync", "-o", "wide"]).ok());
    let head = "AUTHOR EPOCH HAVE FLOOR HEAD KNOWN HOLES HASH AGREE MARKS ID\n";
    assert!(wide.starts_with(head), "{wide}");
    let (_, peers) = wide.split_once("\nPEER BEHIND AHEAD COMPARED EQUAL\n").unwrap();
    let mut peers: Vec<&str> = peers.lines().take(2).collect();
    peers.sort_unstable();
    assert_eq!(peers, ["one~KEY # # yes yes", "two~KEY # # yes yes"]);
}

/// What a script reads.
#[track_caller]
fn check_documents(group: &Group) {
    let states: Vec<Value> = group.peers.iter().map(sync).collect();
    for (state, peer) in states.iter().zip(&group.peers) {
        assert_eq!((&state["synced"], &state["posts"], &state["missing_posts"]), (&true.into(), &60.into(), &0.into()));
        assert_eq!(state["digest"], states[0]["digest"]);
        let feeds = state["feeds"].as_array().unwrap();
        assert_eq!(feeds.len(), 3);
        for feed in feeds {
            let count = match feed["name"].as_str().unwrap() {
                "one" => 30,
                "two" => 20,
                _ => 10,
            };
            for (key, expected) in [("have", count), ("floor", 1), ("head", count), ("known_head", count)] {
                assert_eq!(feed[key], expected, "{key} of {feed}");
            }
            assert_eq!((&feed["holes"], &feed["missing"]), (&Value::Array(Vec::new()), &0.into()));
            assert_eq!(feed["own"], feed["author"] == peer.id());
        }
        let hashes = |state: &Value| {
            let feeds = state["feeds"].as_array().unwrap();
            let mut hashes: Vec<_> = feeds.iter().map(|feed| (feed["author"].clone(), feed["hash"].clone())).collect();
            hashes.sort_by_key(|(author, _)| author.to_string());
            hashes
        };
        assert_eq!(hashes(state), hashes(&states[0]));
        for other in state["peers"].as_array().unwrap() {
            assert_eq!(
                (&other["compared"], &other["equal"], &other["behind"]),
                (&true.into(), &true.into(), &0.into())
            );
        }
    }
}

#[test]
fn whoever_watches_over_a_partition_sees_all_of_it_once_with_the_late_ones_marked() {
    let mut group = Group::start();
    group.part();
    let all: usize = 3_000;
    let count = (all + 1).to_string();
    let watch = |args: &[&str]| -> Running {
        let args = [&["watch", "--all", "-v", "--count", &count][..], args].concat();
        group.peers[2].p2pctl_start(&args, Vec::new())
    };
    let (text, json) = (watch(&[]), watch(&["-o", "json"]));
    drop(group.peers[2].p2pctl(&["send", "alone here"]).ok());
    // Enough that the newest come first.
    drop(group.peers[0].p2pctl_with(&["send", "-l"], &lines("one", all)).ok());
    group.heal();

    let (text, json) = (text.wait(PATIENCE), json.wait(PATIENCE));
    assert_eq!(text.stderr.matches("p2pctl: caught up\n").count(), 1, "{}", text.stderr);
    assert!(!text.stderr.contains("gap"), "{}", text.stderr);
    let documents: Vec<Value> = json.ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| documents.iter().filter(|document| document["type"] == kind).collect::<Vec<_>>();
    assert_eq!((of("caught_up").len(), of("post").len(), documents.len()), (1, all + 1, all + 2));
    let text = text.ok();
    let late = text.lines().filter(|line| line.contains(" (late): ")).count();
    assert!(late > 0 && late < all, "{late} of {all} are late");
    assert_eq!(of("post").iter().filter(|post| post["late"] == true).count(), late, "both tell the same");
    // In order but for the late ones, and each once.
    let numbers = |late: bool| {
        let posts = of("post").into_iter().filter(|post| post["author_name"] == "one" && post["late"] == late);
        posts.map(|post| post["seq"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    let in_order = numbers(false);
    assert!(in_order.is_sorted_by(|before, after| before < after), "{in_order:?}");
    let mut seen = [in_order, numbers(true)].concat();
    seen.sort_unstable();
    assert_eq!(seen, (1..=all as u64).collect::<Vec<_>>());
}
