//! A real terminal, which tmux is.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use p2p_tests::daemon::TestPeer;
use p2p_tests::program::PATIENCE;
use rustix::process::Pid;

/// A terminal with a shell's command in it. It is closed when this is dropped.
pub(crate) struct Terminal {
    socket: String,
}

impl Terminal {
    /// Runs `p2pctl` of a peer, then shows how it ended and how it left the terminal.
    pub(crate) fn run(peer: &TestPeer, args: &[&str], columns: u16) -> Result<Self, String> {
        let command = peer.p2pctl_command(args);
        let words: Vec<String> = std::iter::once(command.get_program())
            .chain(command.get_args())
            .map(|word| format!("'{}'", word.display()))
            .collect();
        let command = format!("{}; echo left with $?; stty -a | grep -o -- '-*icanon'; cat", words.join(" "));
        Self::open(&command, columns)
    }

    /// Runs a command of a shell.
    pub(crate) fn open(command: &str, columns: u16) -> Result<Self, String> {
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

    /// What it shows.
    pub(crate) fn screen(&self) -> String {
        self.tmux(&["capture-pane", "-p"]).unwrap()
    }

    #[track_caller]
    pub(crate) fn wait_for(&self, text: &str) {
        self.wait_until(text, |screen| screen.contains(text));
    }

    /// Shows the screen where it never becomes so.
    #[track_caller]
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_so(&self.screen()) {
            assert!(Instant::now() < end, "it is still not so: {what}\n{}", self.screen());
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Keys by their names in tmux.
    pub(crate) fn press(&self, keys: &[&str]) {
        self.tmux(&[&["send-keys"], keys].concat()).unwrap();
    }

    /// Letters as they are.
    pub(crate) fn write(&self, text: &str) {
        self.tmux(&["send-keys", "-l", "--", text]).unwrap();
    }

    /// A line, with Enter.
    pub(crate) fn enter(&self, text: &str) {
        self.write(text);
        self.press(&["Enter"]);
    }

    /// Pastes as terminals do that tell of it.
    pub(crate) fn paste(&self, text: &str) {
        self.tmux(&["set-buffer", "--", text]).unwrap();
        self.tmux(&["paste-buffer", "-p", "-r"]).unwrap();
    }

    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        self.tmux(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]).unwrap();
    }

    /// The program that the shell runs.
    pub(crate) fn program(&self) -> Pid {
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

/// How often the screen is looked at: tmux is a process each time.
const LOOK_EVERY: Duration = Duration::from_millis(25);
