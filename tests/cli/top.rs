//! The dashboard in a real terminal, which tmux is.

use std::fs;
use std::process::Command;

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;
use rustix::process::{Pid, Signal, kill_process};

/// A terminal with a shell's command in it. It is closed when this is dropped.
struct Terminal {
    socket: String,
}

impl Terminal {
    fn open(command: &str, columns: u16) -> Result<Self, String> {
        let socket = format!("p2p-test-{}-{:x}", std::process::id(), rand::random::<u64>());
        let terminal = Self { socket };
        let columns = columns.to_string();
        terminal.tmux(&["new-session", "-d", "-x", &columns, "-y", "12", command])?;
        Ok(terminal)
    }

    fn tmux(&self, args: &[&str]) -> Result<String, String> {
        let mut tmux = Command::new("tmux");
        let output = tmux.args(["-f", "/dev/null", "-L", &self.socket]).args(args).env_remove("TMUX").output();
        let output = output.map_err(|error| format!("tmux: {error}"))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        } else {
            Err(format!("tmux: {}", String::from_utf8_lossy(&output.stderr)))
        }
    }

    fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap()
    }

    #[track_caller]
    fn wait_for(&self, text: &str) {
        eventually(PATIENCE, text, || self.screen().contains(text));
    }

    /// The program that the shell runs.
    fn program(&self) -> Pid {
        let shell = self.tmux(&["list-panes", "-F", "#{pane_pid}"]).unwrap();
        let shell = shell.trim();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        drop(self.tmux(&["kill-server"]));
    }
}

/// `p2pctl top`, then how it ended and how it left the terminal.
fn top(peer: &TestPeer, columns: u16) -> Result<Terminal, String> {
    let command = peer.p2pctl_command(&["top"]);
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.display()))
        .collect();
    let command = format!("{}; echo left with $?; stty -a | grep -o -- '-*icanon'; cat", words.join(" "));
    Terminal::open(&command, columns)
}

#[test]
fn the_dashboard_shows_peers_and_gives_the_terminal_back() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    two.wait_for_peers(1);
    let Some(terminal) = or_skip(top(&one, 80)) else { return };
    terminal.wait_for("two~");
    terminal.wait_for("1 of 1 peers up");
    terminal.tmux(&["resize-window", "-x", "40", "-y", "10"]).unwrap();
    terminal.wait_for("RTT");
    terminal.tmux(&["send-keys", "q"]).unwrap();
    terminal.wait_for("left with 0\nicanon");

    let terminal = top(&one, 40).unwrap();
    terminal.wait_for("two~");
    kill_process(terminal.program(), Signal::TERM).unwrap();
    terminal.wait_for("left with 130\nicanon");

    let terminal = top(&one, 60).unwrap();
    terminal.wait_for("two~");
    drop(one);
    terminal.wait_for("waiting for it");
    terminal.tmux(&["send-keys", "C-c"]).unwrap();
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
