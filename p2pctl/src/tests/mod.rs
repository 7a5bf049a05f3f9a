//! Every command as a user runs it, against a daemon that says what the test wants.

#![allow(clippy::unwrap_used)]

mod completeness;
mod connecting;
mod fake;
mod network;
mod reading;
mod sending;
mod state;
mod tickets;

use std::io::{self, Cursor, Write};
use std::sync::{Arc, Mutex};

use fake::Fake;
use p2p_proto::v1::{Post, PostId};

use super::*;

/// What a run left behind.
#[derive(Debug)]
struct Ran {
    exit: Exit,
    stdout: String,
    stderr: String,
}

/// How a run differs from a plain one in a script.
struct Setting {
    env: Env,
    stdin: Vec<u8>,
    terminals: Terminals,
    /// Whoever reads stdout goes away after so many bytes.
    stdout_bytes_max: usize,
    screen: fn() -> Option<Screen>,
    interrupted: Pin<Box<dyn Future<Output = ()>>>,
}

impl Setting {
    fn at(fake: &Fake) -> Self {
        let socket = Some(fake.socket().display().to_string());
        Self { env: Env { socket, ..Env::default() }, ..Self::nowhere() }
    }

    /// No daemon is named.
    fn nowhere() -> Self {
        Self {
            env: Env::default(),
            stdin: Vec::new(),
            terminals: Terminals::default(),
            stdout_bytes_max: usize::MAX,
            screen: || None,
            interrupted: Box::pin(std::future::pending()),
        }
    }

    fn stdin(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { stdin: bytes.into(), ..self }
    }

    async fn run(self, args: &[&str]) -> Ran {
        let stdout = Pipe::new(self.stdout_bytes_max);
        let stderr = Pipe::new(usize::MAX);
        let io = Io {
            stdin: Box::new(Cursor::new(self.stdin)),
            stdin_bytes: None,
            stdout: Box::new(stdout.clone()),
            stderr: Box::new(stderr.clone()),
            terminals: self.terminals,
            screen: self.screen,
            zone: TimeZone::fixed(jiff::tz::offset(1)),
            now: || "2026-11-22T12:00:00Z".parse().unwrap(),
            interrupted: self.interrupted,
        };
        let args = std::iter::once("p2pctl").chain(args.iter().copied()).map(OsString::from);
        let exit = run(args, &self.env, io).await;
        let ran = Ran { exit, stdout: stdout.text(), stderr: stderr.text() };
        // Whatever a test is about, what it prints for programs keeps to what `schema` says.
        let documents = ran.stdout.lines().chain(ran.stderr.lines()).filter(|line| line.starts_with("{\"v\":"));
        documents.for_each(|line| crate::output::schema::tests::check(&serde_json::from_str(line).unwrap()));
        ran
    }
}

/// A run in a script, with nothing on stdin.
async fn run_at(fake: &Fake, args: &[&str]) -> Ran {
    Setting::at(fake).run(args).await
}

/// Keeps what is written, up to a point where it breaks as a pipe does.
#[derive(Clone)]
struct Pipe {
    bytes: Arc<Mutex<Vec<u8>>>,
    bytes_max: usize,
}

impl Pipe {
    fn new(bytes_max: usize) -> Self {
        Self { bytes: Arc::default(), bytes_max }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = self.bytes.lock().unwrap();
        if held.len() + bytes.len() > self.bytes_max {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Number `n` in its feed and in the log.
fn post(n: u64, text: &str) -> Post {
    Post {
        id: Some(PostId { author: fake::ALICE.to_owned(), epoch: 1_863, seq: n }),
        author_name: "alice".to_owned(),
        offset: n,
        time_us: 1_795_345_200_000_000 + i64::try_from(n).unwrap() * 1_000_000,
        kind: "chat".to_owned(),
        room: "general".to_owned(),
        text: text.to_owned(),
        ..Post::default()
    }
}

#[tokio::test]
async fn help_is_a_result_and_nonsense_is_an_error() {
    let help = Setting::nowhere().run(&["--help"]).await;
    assert_eq!((help.exit, help.stderr.as_str()), (Exit::Ok, ""));
    assert!(help.stdout.starts_with("The client of p2pd"));
    let version = Setting::nowhere().run(&["--version"]).await;
    assert_eq!(version.stdout, format!("p2pctl {}\n", env!("CARGO_PKG_VERSION")));
    let none = Setting::nowhere().run(&[]).await;
    assert_eq!((none.exit, none.stdout.as_str()), (Exit::Usage, ""));
    assert_eq!(none.stderr, "p2pctl: error: which command? (USAGE)\nhint: see: p2pctl --help\n");
    let none = Setting::nowhere().run(&["daemon"]).await;
    assert_eq!(none.stderr, "p2pctl: error: which command? (USAGE)\nhint: see: p2pctl daemon --help\n");
}

#[tokio::test]
async fn a_wrong_command_line_is_one_line_and_a_hint() {
    let ran = Setting::nowhere().run(&["sned", "x"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    insta::assert_snapshot!(ran.stderr, @r"
    p2pctl: error: unrecognized subcommand 'sned' (USAGE)
    hint: a similar subcommand exists: 'send'
    ");
    let ran = Setting::nowhere().run(&["rooms", "--timeout", "10"]).await;
    insta::assert_snapshot!(ran.stderr, @"p2pctl: error: invalid value '10' for '--timeout <SPAN>': time unit needed, for example 10sec or 10ms (as in 500ms, 10s, 1m30s) (USAGE)");
    let ran = Setting::nowhere().run(&["ping", "-o", "json"]).await;
    assert_eq!(ran.exit, Exit::Usage);
    assert!(
        ran.stderr.starts_with(r#"{"v":1,"type":"error","code":"USAGE","message":"the following required"#),
        "{}",
        ran.stderr
    );
}

#[tokio::test]
async fn variables_stand_in_for_options_and_are_named_when_wrong() {
    let fake = Fake::start();
    let with = |output: &str, timeout: &str| {
        let mut setting = Setting::at(&fake);
        setting.env.output = Some(output.to_owned());
        setting.env.timeout = Some(timeout.to_owned());
        setting
    };
    let json = with("json", "5s").run(&["rooms"]).await;
    assert!(json.stdout.starts_with(r#"{"v":1,"type":"rooms""#), "{json:?}");
    let text = with("json", "5s").run(&["rooms", "-o", "text"]).await;
    assert!(text.stdout.starts_with("ROOM"), "{text:?}");
    let wrong = with("xml", "5s").run(&["rooms"]).await;
    assert_eq!(
        wrong.stderr,
        "p2pctl: error: P2PCTL_OUTPUT=\"xml\": no such format (USAGE)\nhint: text, wide, json or yaml\n"
    );
    let wrong = with("text", "5").run(&["rooms"]).await;
    assert_eq!(wrong.exit, Exit::Usage);
    assert!(wrong.stderr.contains("P2PCTL_TIMEOUT=\"5\""), "{}", wrong.stderr);
}

#[tokio::test]
async fn the_schema_of_one_type_or_of_all_is_printed_without_a_daemon() {
    let all = Setting::nowhere().run(&["schema"]).await;
    let all: serde_json::Value = serde_json::from_str(&all.stdout).unwrap();
    let post = Setting::nowhere().run(&["schema", "post"]).await;
    let post: serde_json::Value = serde_json::from_str(&post.stdout).unwrap();
    assert_eq!(post["properties"], all["$defs"]["post"]["properties"]);
    let none = Setting::nowhere().run(&["schema", "nonsense"]).await;
    assert_eq!(none.exit, Exit::Usage);
    assert!(none.stderr.contains("hint: there are sent, post, "), "{none:?}");
}

#[tokio::test]
async fn completions_are_written_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = Setting::nowhere().run(&["completions", shell]).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Ok, ""));
        assert!(ran.stdout.contains("p2pctl") && ran.stdout.contains("history"), "{shell}");
    }
}

#[tokio::test]
async fn c_04_a_closed_pipe_ends_quietly_with_141() {
    let fake = Fake::start();
    let closed = |bytes| Setting { stdout_bytes_max: bytes, ..Setting::at(&fake) };
    for args in [["rooms", "-oyaml"], ["completions", "bash"], ["send", "x"], ["daemon", "config"]] {
        let ran = closed(3).run(&args).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::BrokenPipe, ""), "{args:?}");
    }
}

#[tokio::test]
async fn c_04_ctrl_c_ends_with_130() {
    let fake = Fake::start();
    fake.state().mute = true;
    for args in [&["watch"][..], &["rooms"], &["send", "x"], &["wait"]] {
        let soon = Box::pin(async { tokio::task::yield_now().await });
        let ran = Setting { interrupted: soon, ..Setting::at(&fake) }.run(args).await;
        assert_eq!((ran.exit, ran.stderr.as_str()), (Exit::Interrupted, ""), "{args:?}");
    }
}
