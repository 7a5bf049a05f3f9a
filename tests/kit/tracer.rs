//! strace on a daemon that runs: its system calls fail, or take their time, as the test wishes.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::daemon::TestPeer;

/// An strace that is attached. When this is dropped, it lets go of the daemon.
#[derive(Debug)]
pub struct Tracer(Child);

impl Tracer {
    /// Attaches to a daemon; from then on calls are tampered with as strace's `inject=` says.
    ///
    /// # Errors
    ///
    /// Why this machine cannot do that.
    pub fn attach(peer: &TestPeer, calls: &str, inject: &str) -> Result<Self, String> {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &peer.pid().to_string(), "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:{inject}")]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("strace: {error}"))?;
        let stderr = child.stderr.take().ok_or("strace has no output")?;
        let mut lines = BufReader::new(stderr);
        let mut first = String::new();
        lines.read_line(&mut first).map_err(|error| format!("strace: {error}"))?;
        // Whoever traces writes much, and must not be held up by it.
        thread::spawn(move || drop(lines.read_to_end(&mut Vec::new())));
        if first.contains("attached") { Ok(Self(child)) } else { Err(format!("strace: {}", first.trim())) }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // It detaches on this signal; a tracer that is killed would leave calls that it holds up in the dark.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        drop(self.0.wait());
    }
}
