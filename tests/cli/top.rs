//! The dashboard in a real terminal, which tmux is.

use p2p_tests::daemon::Network;
use p2p_tests::skip::or_skip;
use rustix::process::{Signal, kill_process};

use crate::terminal::Terminal;

#[test]
fn the_dashboard_shows_peers_and_gives_the_terminal_back() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    two.wait_for_peers(1);
    let Some(terminal) = or_skip(Terminal::run(&one, &["top"], 80)) else { return };
    terminal.wait_for("two~");
    terminal.wait_for("1 of 1 peers up");
    terminal.resize(40, 10);
    terminal.wait_for("RTT");
    terminal.press(&["q"]);
    terminal.wait_for("left with 0\nicanon");

    let terminal = Terminal::run(&one, &["top"], 40).unwrap();
    terminal.wait_for("two~");
    kill_process(terminal.program(), Signal::TERM).unwrap();
    terminal.wait_for("left with 130\nicanon");

    let terminal = Terminal::run(&one, &["top"], 60).unwrap();
    terminal.wait_for("two~");
    drop(one);
    terminal.wait_for("waiting for it");
    terminal.press(&["C-c"]);
    terminal.wait_for("left with 130\nicanon");
}

#[test]
fn the_dashboard_wants_a_terminal() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let output = one.p2pctl(&["top"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
    assert!(output.stderr.contains("needs a terminal"), "{}", output.stderr);
}
