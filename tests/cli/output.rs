//! What is printed when all is well.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use p2p_proto::v1::PeerState;
use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use serde_json::Value;

use super::normal;

fn pair(network: &Network) -> (TestPeer, TestPeer) {
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    eventually(PATIENCE, "both are linked", || {
        one.state_of(&two) == PeerState::Up && two.state_of(&one) == PeerState::Up
    });
    (one, two)
}

/// Every line is one JSON document of this form.
#[track_caller]
fn documents(output: &str, kind: &str) -> Vec<Value> {
    let documents: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for document in &documents {
        assert_eq!((&document["v"], &document["type"]), (&Value::from(1), &Value::from(kind)), "{document}");
    }
    documents
}

#[test]
fn send_prints_the_id_and_nothing_else() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let output = one.p2pctl(&["send", "hello", "there"]);
    assert_eq!(output.stderr, "");
    assert_eq!(normal(&[&one], &output.ok()), "SHORT-#-#\n");

    let sent = documents(&one.p2pctl(&["send", "-o", "json", "--key", "k", "again"]).ok(), "sent");
    assert_eq!(sent[0]["author"], one.id());
    assert_eq!(sent[0]["repeated"], false);
    let again = documents(&one.p2pctl(&["send", "-o", "json", "--key", "k", "again"]).ok(), "sent");
    assert_eq!(again[0]["repeated"], true);
    assert_eq!(again[0]["id"], sent[0]["id"]);
}

#[test]
fn one_text_comes_from_words_from_stdin_and_from_lines() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "two", "words"]).ok());
    drop(one.p2pctl_with(&["send"], b"all of\nstdin\n").ok());
    drop(one.p2pctl_with(&["send", "-l"], b"a line\nanother\r\nno end").ok());
    drop(one.p2pctl_with(&["send", "-0"], b"with\nbreaks\n\0and more").ok());
    drop(one.p2pctl(&["send", "--", "-x"]).ok());
    let texts = one.p2pctl(&["watch", "--all", "--until-caught-up", "-0"]).ok();
    let expected = ["two words", "all of\nstdin", "a line", "another", "no end", "with\nbreaks\n", "and more", "-x"]
        .map(|text| format!("{text}\0"));
    assert_eq!(texts, expected.concat());
}

#[test]
fn watch_and_history_show_who_said_what_where_and_when() {
    let network = Network::new();
    let (one, two) = pair(&network);
    drop(one.p2pctl(&["send", "hello from one"]).ok());
    eventually(PATIENCE, "it has arrived", || two.status().posts == 1);
    drop(two.p2pctl(&["send", "-r", "kitchen", "hello from two"]).ok());
    let peers = [&one, &two];

    let watched = two.p2pctl(&["watch", "--all", "--until-caught-up"]).ok();
    let expected = "#:#:# [general] one~KEY: hello from one\n#:#:# [kitchen] two~KEY: hello from two\n";
    assert_eq!(normal(&peers, &watched), expected);
    let history = two.p2pctl(&["history"]).ok();
    let expected = "#-#-# #:#:# [general] one~KEY: hello from one\n#-#-# #:#:# [kitchen] two~KEY: hello from two\n";
    assert_eq!(normal(&peers, &history), expected);
    let kitchen = two.p2pctl(&["history", "kitchen"]).ok();
    assert!(!kitchen.contains("from one") && kitchen.contains("from two"), "{kitchen}");
    let rooms = two.p2pctl(&["rooms"]).ok();
    assert_eq!(
        normal(&peers, &rooms),
        "ROOM     POSTS  NEWEST\nkitchen  #      #-#-# #:#:#\ngeneral  #      #-#-# #:#:#\n"
    );
}

#[test]
fn json_of_a_post_holds_everything_and_is_one_line() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-0", "-r", "kitchen", "--key", "k"], b"line\nbreak \x1b[2J").ok());
    let output = one.p2pctl(&["watch", "--all", "--until-caught-up", "-o", "json"]).ok();
    assert!(!output.contains('\u{1b}'), "what moves a cursor is escaped in JSON too");
    let (line, end) = output.split_once('\n').unwrap();
    assert_eq!(documents(end, "caught_up")[0]["offset"], one.status().offset);
    let posts = documents(line, "post");
    let post = &posts[0];
    assert_eq!(posts.len(), 1);
    assert_eq!(post["text"], "line\nbreak \u{1b}[2J");
    assert_eq!(post["room"], "kitchen");
    assert_eq!(post["kind"], "chat");
    assert_eq!(post["author"], one.id());
    assert_eq!(post["seq"], 1);
    assert_eq!(post["epoch"], one.status().epoch);
    assert_eq!(post["key"], "k/1");
    assert_eq!(post["own"], true);
    assert_eq!(post["id"], format!("{}-{}-1", one.id(), one.status().epoch));
    let time = post["time"].as_str().unwrap();
    assert_eq!(normal(&[], time), "#-#-#T#:#:#.#Z");
    let history = documents(&one.p2pctl(&["history", "-o", "json"]).ok(), "history");
    assert_eq!(history[0]["posts"][0]["text"], post["text"]);
}

#[test]
fn history_goes_on_with_what_is_said_and_repeats_nothing() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-l"], b"before\nlast before").ok());
    drop(one.p2pctl(&["send", "-r", "kitchen", "elsewhere"]).ok());
    let mut command = one.p2pctl_command(&["history", "general", "-f", "-n", "1", "-o", "json"]);
    let mut following = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    let mut next = |kind| documents(&lines.next().unwrap().unwrap(), kind).remove(0);
    assert_eq!(next("post")["text"], "last before");
    // From here on it is live.
    next("caught_up");
    drop(one.p2pctl(&["send", "-r", "kitchen", "elsewhere again"]).ok());
    drop(one.p2pctl(&["send", "after"]).ok());
    assert_eq!(next("post")["text"], "after");
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn x_01_x_03_a_text_cannot_move_the_cursor_or_fake_a_line() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let said = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}1mhello\r\n12:00:00 [general] alice~k5x3: I owe you\u{202e}";
    drop(one.p2pctl_with(&["send", "-0"], said.as_bytes()).ok());
    for command in [
        &["watch", "--all", "--until-caught-up"][..],
        &["history"],
        &["watch", "--all", "--until-caught-up", "-o", "wide"],
    ] {
        let shown = one.p2pctl(command).ok();
        let harmless = |character: char| character == '\n' || (!character.is_control() && character != '\u{202e}');
        assert!(shown.chars().all(harmless), "{shown:?}");
        assert!(shown.contains("^[[2J"), "{shown}");
        assert!(shown.contains("<U+202E>"), "{shown}");
        let fake = shown.lines().find(|line| line.contains("I owe you")).unwrap();
        assert!(fake.starts_with(' ') && fake.contains("| 12:00:00"), "the second line stands behind a gutter: {fake}");
    }
}

#[test]
fn peers_are_a_table_a_page_and_documents() {
    let network = Network::new();
    let (one, two) = pair(&network);
    let table = one.p2pctl(&["peers"]).ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["NAME", "STATE", "RTT", "BEHIND", "ADDRESS", "SINCE"]);
    assert_eq!(rows.len(), 2);
    assert_eq!((rows[1][0], rows[1][1]), (format!("two~{}", &two.id()[..4]).as_str(), "up"));

    let answer = documents(&one.p2pctl(&["peers", "-o", "json"]).ok(), "peers");
    assert_eq!(answer[0]["peers"][0]["id"], two.id());
    assert_eq!(answer[0]["peers"][0]["state"], "up");
    for name in ["two", &two.id()[..6], two.id(), &format!("two~{}", &two.id()[..4])] {
        let page = one.p2pctl(&["peers", "show", name]).ok();
        assert!(page.contains(two.id()), "{name}: {page}");
    }
}

#[test]
fn status_names_the_peer_its_network_and_what_it_holds() {
    let network = Network::new();
    let (one, two) = pair(&network);
    drop(one.p2pctl(&["send", "hello"]).ok());
    let status = &documents(&one.p2pctl(&["status", "-o", "json"]).ok(), "status")[0];
    assert_eq!(status["id"], one.id());
    assert_eq!(status["name"], "one");
    assert_eq!(status["posts"], 1);
    assert_eq!(status["peers_up"], 1);
    assert_eq!(status["ready"], true);
    let text = one.p2pctl(&["status"]).ok();
    assert!(text.contains(one.id()) && text.contains("1 up"), "{text}");
    assert_eq!(two.status().network, one.status().network);
}

#[test]
fn wait_health_ping_version_and_completions_work() {
    let network = Network::new();
    let (one, two) = pair(&network);
    assert_eq!(one.p2pctl(&["wait", "--ready", "--peers", "1"]).code, Some(0));
    assert_eq!(one.p2pctl(&["health"]).code, Some(0));
    assert_eq!(one.p2pctl(&["health", "--live"]).code, Some(0));
    let ping = one.p2pctl(&["ping", "two", "-n", "2", "--interval", "1ms"]).ok();
    assert!(ping.contains("2 of 2 answered"), "{ping}");
    let version = env!("CARGO_PKG_VERSION");
    let answer = two.p2pctl(&["version"]).ok();
    assert_eq!(answer.matches(version).count(), 2, "client and daemon tell theirs: {answer}");
    let completions = one.p2pctl(&["completions", "bash"]).ok();
    assert!(completions.contains("p2pctl"));
}

#[test]
fn watching_begins_with_as_many_as_are_asked_for_of_the_rooms_that_are_asked_for() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-l"], b"1\n2\n3").ok());
    drop(one.p2pctl_with(&["send", "-l", "-r", "kitchen"], b"4\n5").ok());
    let watch = |args: &[&str]| one.p2pctl(&[&["watch", "--until-caught-up", "-0"], args].concat()).ok();
    assert_eq!(watch(&["-n", "3"]), "3\x004\x005\0");
    assert_eq!(watch(&["-n", "2", "general"]), "2\x003\0");
    assert_eq!(watch(&["-n", "9", "--from", "one"]), "1\x002\x003\x004\x005\0");
    assert_eq!(watch(&["--all", "kitchen"]), "4\x005\0");
}

#[test]
fn sync_of_one_room_shows_only_who_speaks_there() {
    let network = Network::new();
    let (one, two) = pair(&network);
    drop(one.p2pctl(&["send", "-w", "everyone", "in general"]).ok());
    drop(two.p2pctl(&["send", "-w", "everyone", "-r", "kitchen", "in the kitchen"]).ok());
    let authors = |args: &[&str]| {
        let document = documents(&one.p2pctl(&[&["sync", "-o", "json"], args].concat()).ok(), "sync").remove(0);
        let feeds = document["feeds"].as_array().unwrap().clone();
        feeds.iter().map(|feed| feed["author"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(authors(&[]).len(), 2);
    assert_eq!(authors(&["kitchen"]), [two.id()]);
}

#[test]
fn peers_are_added_and_forgotten_by_address() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let mut two = network.start("two", &[]);
    drop(one.p2pctl(&["peers", "add", &two.addr()]).ok());
    one.wait_for_peers(1);
    drop(one.p2pctl(&["peers", "reconnect"]).ok());
    assert_eq!(one.p2pctl(&["peers", "add", "no address"]).stdout, "");
    two.stop();
    eventually(PATIENCE, "it is gone, and forgotten", || one.p2pctl(&["peers", "forget", two.id()]).code == Some(0));
    assert_eq!(one.p2pctl(&["peers", "show", two.id()]).code, Some(5));
}
