//! The chat in a real terminal, with real daemons.

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;
use rustix::process::{Signal, kill_process};

use crate::terminal::Terminal;

/// Two that are linked.
fn two(network: &Network) -> [TestPeer; 2] {
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    two.wait_for_peers(1);
    [one, two]
}

/// Everything that was said in a room, as a peer holds it.
fn texts(peer: &TestPeer, room: &str) -> Vec<String> {
    peer.posts().into_iter().filter(|post| post.room == room).map(|post| post.text).collect()
}

#[test]
fn nothing_stays_of_signs_whose_width_nobody_agrees_on() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let Some(here) = or_skip(Terminal::run(&one, &["chat"], 80)) else { return };
    here.wait_for("READY");
    for text in ["🇩🇪🇫🇷 flags", "👨‍👩‍👧 family 👩🏽‍❤️‍💋‍👨🏿 kiss", "क्‍ष ☃️ 1️⃣ signs"]
    {
        drop(one.p2pctl(&["send", text]).ok());
    }
    here.wait_for("signs");
    for _ in 0..30 {
        drop(one.p2pctl(&["send", "a plain line of some more words than the others had"]).ok());
    }
    drop(one.p2pctl(&["send", "the last"]).ok());
    here.wait_for("the last");
    here.wait_until("rows of plain text and nothing else", |screen| {
        let rows: Vec<&str> = screen.lines().filter(|row| row.contains("a plain line")).collect();
        !rows.is_empty() && rows.iter().all(|row| row.chars().all(|c| c.is_ascii() || "│●▸".contains(c)))
    });
}

#[test]
fn people_talk_answer_and_see_what_is_held() {
    let network = Network::new();
    let [one, two] = two(&network);
    let Some(here) = or_skip(Terminal::run(&one, &["chat"], 80)) else { return };
    let there = Terminal::run(&two, &["chat"], 80).unwrap();
    here.wait_for("READY 1/1 up");
    there.wait_for("READY 1/1 up");

    here.enter("tea or 咖啡?");
    here.wait_for("tea or 咖啡? [everyone]");
    there.wait_for("tea or 咖啡?");

    there.enter("/reply");
    there.wait_for("choose");
    there.press(&["Enter"]);
    there.wait_for("answers (Esc: no) one~");
    there.enter("tea");
    here.wait_until("an answer with what it answers", |screen| {
        screen.contains("╭ one~") && screen.lines().any(|line| line.contains("two~") && line.contains(": tea"))
    });

    there.paste("first line\nsecond line");
    there.wait_for("  second line");
    assert_eq!(texts(&two, "general").len(), 2, "a line break that is pasted sends nothing");
    there.press(&["Enter"]);
    here.wait_for("│ second line");

    drop(two.p2pctl(&["send", "-r", "kitchen", "coffee is ready"]).ok());
    here.wait_for("kitchen 1");
    here.enter("/nobody knows this");
    here.wait_for("there is no /nobody");
    here.press(&["C-u"]);
    here.enter("/join kitchen");
    here.wait_for("coffee is ready");
    here.enter("//etc/passwd");
    here.wait_for("/etc/passwd [everyone]");
    assert_eq!(texts(&one, "kitchen"), ["coffee is ready", "/etc/passwd"]);
}

#[test]
fn a_chat_fits_into_forty_columns_and_shows_older_posts() {
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl_with(&["send", "-q", "-l"], &crate::lines("one", 500)).ok());
    let Some(terminal) = or_skip(Terminal::run(&one, &["chat"], 120)) else { return };
    terminal.wait_for("one says 500");
    terminal.wait_for("Members 1");
    terminal.resize(40, 10);
    terminal.wait_until("no panes", |screen| !screen.contains("Members") && screen.contains("one says 500"));
    assert!(terminal.screen().lines().all(|line| line.chars().count() <= 40), "{}", terminal.screen());
    // Beyond the first page of the history.
    eventually(PATIENCE, "the beginning is reached", || {
        terminal.press(&["PageUp", "PageUp"]);
        terminal.screen().contains("the beginning of general")
    });
    terminal.wait_for("one says 1 ");
    drop(one.p2pctl(&["send", "newest"]).ok());
    terminal.wait_for("↓ 1 new below");
    terminal.press(&["End"]);
    terminal.wait_until("the newest", |screen| screen.contains(": newest") && !screen.contains("new below"));

    terminal.enter("/search says 77");
    terminal.wait_for("5 found");
    terminal.press(&["Home", "Enter"]);
    terminal.wait_for("one says 77 ");
    terminal.press(&["End"]);
    terminal.wait_for(": newest");
    terminal.resize(1, 1);
    terminal.resize(80, 24);
    terminal.wait_for("Members 1");
    terminal.enter("/quit");
    terminal.wait_for("left with 0\nicanon");
}

#[test]
fn what_is_typed_while_the_daemon_is_away_is_sent_once_when_it_is_back() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let Some(terminal) = or_skip(Terminal::run(&one, &["chat"], 80)) else { return };
    terminal.wait_for("READY");
    terminal.enter("before");
    terminal.wait_for("before [stored]");
    one.kill_9();
    terminal.wait_for("OFFLINE, reconnecting");
    terminal.enter("first");
    terminal.enter("second");
    terminal.wait_for("first [not sent]");
    terminal.wait_for("second [not sent]");
    terminal.press(&["C-d"]);
    terminal.wait_for("2 not sent: again to leave");
    one.restart();
    terminal.wait_until("all of it is stored", |screen| {
        screen.contains(": second") && !screen.contains("not sent") && !screen.contains("OFFLINE")
    });
    drop(one.p2pctl(&["send", "after"]).ok());
    terminal.wait_for(": after");
    assert_eq!(texts(&one, "general"), ["before", "first", "second", "after"]);
    assert_eq!(terminal.screen().matches(": first").count(), 1, "{}", terminal.screen());
}

#[test]
fn what_is_typed_is_stored_once_and_in_order_however_often_the_daemon_is_killed() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let Some(terminal) = or_skip(Terminal::run(&one, &["chat"], 80)) else { return };
    terminal.wait_for("READY");
    let typed: Vec<String> = (1..=24).map(|number| format!("line {number}.")).collect();
    for lines in typed.chunks(4) {
        lines.iter().for_each(|line| terminal.enter(line));
        // Wherever the last of them is now: on its way, on disk, or acknowledged.
        one.kill_9();
        one.restart();
    }
    terminal.wait_until("all of it is stored", |screen| {
        screen.contains(": line 24. [stored]") && !screen.contains("not sent") && !screen.contains("sending")
    });
    assert_eq!(texts(&one, "general"), typed);
}

#[test]
fn the_terminal_is_given_back_however_the_chat_ends() {
    let network = Network::new();
    let mut one = network.start("one", &[]);
    let start = || Terminal::run(&one, &["chat"], 60);
    let Some(terminal) = or_skip(start()) else { return };
    terminal.wait_for("READY");
    terminal.press(&["C-c"]);
    terminal.wait_for("left with 130\nicanon");
    for signal in [Signal::TERM, Signal::INT] {
        let terminal = start().unwrap();
        terminal.wait_for("READY");
        kill_process(terminal.program(), signal).unwrap();
        terminal.wait_for("left with 130\nicanon");
    }
    // What is not sent is shown in the end, and a lost terminal ends it too.
    let terminal = start().unwrap();
    terminal.wait_for("READY");
    one.kill_9();
    terminal.wait_for("OFFLINE");
    terminal.enter("never sent");
    terminal.wait_for("never sent [not sent]");
    kill_process(terminal.program(), Signal::HUP).unwrap();
    terminal.wait_for("not sent to general: never sent");
    terminal.wait_for("left with 130\nicanon");
}

#[test]
fn a_chat_that_was_stopped_goes_on() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let shell = or_skip(Terminal::open("bash --norc --noprofile", 80));
    let Some(terminal) = shell else { return };
    let command = one.p2pctl_command(&["chat"]);
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let words: Vec<String> = words.into_iter().map(|word| word.display().to_string()).collect();
    terminal.enter(&words.join(" "));
    terminal.wait_for("READY");
    terminal.write("half a text");
    terminal.press(&["C-z"]);
    terminal.wait_for("Stopped");
    drop(one.p2pctl(&["send", "meanwhile"]).ok());
    terminal.enter("clear; fg");
    terminal.wait_for(": meanwhile");
    terminal.wait_for("> half a text");
    terminal.press(&["Enter"]);
    terminal.wait_for(": half a text [stored]");
    eventually(PATIENCE, "it is stored", || texts(&one, "general") == ["meanwhile", "half a text"]);
}

#[test]
fn a_chat_that_no_shell_can_let_go_on_is_not_stopped() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let command = one.p2pctl_command(&["chat"]);
    // As in a container: the first process of its terminal.
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.display())).collect();
    let Some(terminal) = or_skip(Terminal::open(&format!("exec {}", words.join(" ")), 80)) else { return };
    terminal.wait_for("READY");
    terminal.press(&["C-z"]);
    terminal.enter("still here");
    terminal.wait_for(": still here [stored]");
}

#[test]
fn a_chat_wants_a_terminal() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let output = one.p2pctl(&["chat"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
    assert!(output.stderr.contains("needs a terminal") && output.stderr.contains("p2pctl watch"), "{}", output.stderr);
}
