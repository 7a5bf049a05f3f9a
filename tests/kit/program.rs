//! Running the real programs, with a limit on everything that is waited for.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Time for what takes milliseconds on a quiet machine. It is only ever spent by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// How a program ended, and what it said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Output {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// What it printed, if it ended well.
    ///
    /// # Panics
    ///
    /// It failed.
    #[must_use]
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "it failed\nstdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }
}

/// Waits for a condition, and not a moment longer.
///
/// # Panics
///
/// It does not come true within `limit`.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !is_so() {
        assert!(Instant::now() < end, "after {limit:?} it is still not so: {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// `p2pd` or `p2pctl` as they were built, in an empty environment.
///
/// # Panics
///
/// It was not built.
#[must_use]
pub fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new(program_path(name));
    // Nothing of the machine's own configuration may leak in.
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home).env("TZ", "UTC").current_dir(home);
    // Where a program that counts its lines writes what it counted: see `cover.sh`.
    if let Some(counted) = std::env::var_os("LLVM_PROFILE_FILE") {
        command.env("LLVM_PROFILE_FILE", counted);
    }
    command
}

/// Runs a program to its end, with `stdin` as its input.
///
/// # Panics
///
/// It cannot be started, or does not end in time.
#[must_use]
#[track_caller]
pub fn run(command: &mut Command, stdin: &[u8]) -> Output {
    let running = Running::start(command, stdin.to_vec());
    running.wait(PATIENCE)
}

/// A program that runs while the test goes on. It is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
}

impl Running {
    /// Starts it; `stdin` is written from a thread, as fast as the program reads.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[must_use]
    #[track_caller]
    pub fn start(command: &mut Command, stdin: Vec<u8>) -> Self {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut input = child.stdin.take().expect("it is piped");
        // A program that ends early does not read it all, and that is no mistake of the test.
        thread::spawn(move || drop(input.write_all(&stdin)));
        let stdout = child.stdout.take().map(read_to_end);
        let stderr = child.stderr.take().map(read_to_end);
        Self { child, stdout, stderr }
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// It does not end within `limit`.
    #[must_use]
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Output {
        let Some(status) = wait_exit(&mut self.child, limit) else {
            drop(self.child.kill());
            let output = self.output(None);
            panic!("it still runs after {limit:?}\nstdout: {}\nstderr: {}", output.stdout, output.stderr);
        };
        self.output(Some(status))
    }

    /// Whether it has ended.
    ///
    /// # Panics
    ///
    /// The system does not say.
    #[must_use]
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("a child can be asked for").is_some()
    }

    fn output(&mut self, status: Option<ExitStatus>) -> Output {
        let text = |reader: &mut Option<thread::JoinHandle<Vec<u8>>>| {
            let bytes = reader.take().and_then(|reader| reader.join().ok()).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (text(&mut self.stdout), text(&mut self.stderr));
        Output { code: status.and_then(|status| status.code()), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a child ended; none if it still runs after `limit`.
pub(crate) fn wait_exit(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => thread::sleep(LOOK_EVERY),
            Ok(None) => return None,
            Err(error) => panic!("waiting for a child: {error}"),
        }
    }
}

fn read_to_end(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        bytes
    })
}

/// Tests lie in `target/PROFILE/deps`, the programs in `target/PROFILE`.
fn program_path(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a test knows where it is");
    let is_deps = |folder: &&Path| folder.file_name() == Some(OsStr::new("deps"));
    let folder = this.ancestors().find(is_deps).unwrap_or(&this).parent();
    let path = folder.expect("every program lies in a folder").join(name);
    assert!(path.is_file(), "{} is not there: run `make build` first", path.display());
    path
}

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
