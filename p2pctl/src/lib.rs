//! The client of p2pd.
//!
//! A command fetches from the daemon (`command`), a pure function renders (`output`), and only this file touches the
//! process: arguments, environment, terminal, exit code. So every command runs in a test as it runs for a user.

mod args;
mod command;
mod connect;
mod exit;
mod output;
mod parse;
mod progress;
#[cfg(feature = "tui")]
mod tui;

use std::ffi::OsString;
use std::future::Future;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::io::AsyncRead;

use args::Cli;
pub use exit::Exit;
use exit::{Problem, Stop};
pub use output::Format;

/// The variables of the environment that matter here. An empty one counts as not set.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// `P2PCTL_SOCKET`
    pub socket: Option<String>,
    /// `P2PCTL_OUTPUT`
    pub output: Option<String>,
    /// `P2PCTL_TIMEOUT`
    pub timeout: Option<String>,
    /// `XDG_RUNTIME_DIR`
    pub runtime_dir: Option<PathBuf>,
    /// Where a daemon of this user keeps its data, and its socket too if it has no runtime directory.
    pub data_dir: Option<PathBuf>,
    /// `NO_COLOR`
    pub no_color: bool,
    /// `TERM` is `dumb`: no colour, no bar, no moving of the cursor.
    pub dumb_terminal: bool,
    /// `LC_ALL`, else `LC_CTYPE`, else `LANG`.
    pub locale: Option<String>,
}

/// Everything outside that a command touches, so that a test can hand in its own.
pub struct Io {
    /// Messages to be sent.
    pub stdin: Box<dyn AsyncRead + Send + Unpin>,
    /// Bytes of it where it is a file.
    pub stdin_bytes: Option<u64>,
    /// Results.
    pub stdout: Box<dyn Write>,
    /// Errors, and on a terminal everything else that is worth saying.
    pub stderr: Box<dyn Write>,
    /// Which of the three are a terminal.
    pub terminals: Terminals,
    /// The terminal on stdout, as large as it is when this is asked; none where it is no terminal.
    pub screen: fn() -> Option<Screen>,
    /// Where the user is.
    pub zone: TimeZone,
    /// The clock.
    pub now: fn() -> Timestamp,
    /// Ends when the user presses Ctrl-C.
    pub interrupted: Pin<Box<dyn Future<Output = ()>>>,
}

/// Which streams are a terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Somebody types.
    pub stdin: bool,
    /// Somebody reads results.
    pub stdout: bool,
    /// Somebody reads messages.
    pub stderr: bool,
}

/// What a terminal can show at a time.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Characters a line.
    pub columns: usize,
    /// Lines.
    pub rows: usize,
}

impl Screen {
    fn of_stdout() -> Option<Self> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        // Some serial consoles do not know their size.
        (size.ws_col > 0 && size.ws_row > 0).then(|| Self { columns: size.ws_col.into(), rows: size.ws_row.into() })
    }
}

impl Env {
    /// Whether the locale has letters beyond ASCII.
    fn is_utf8(&self) -> bool {
        let locale = self.locale.as_deref().unwrap_or_default().to_ascii_lowercase();
        locale.ends_with("utf-8") || locale.ends_with("utf8")
    }

    /// As this process was started.
    #[must_use]
    pub fn of_process() -> Self {
        let text = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        // The XDG specification says to ignore relative ones, and p2pd does.
        let dir = |name| std::env::var_os(name).map(PathBuf::from).filter(|dir| dir.is_absolute());
        Self {
            socket: text("P2PCTL_SOCKET"),
            output: text("P2PCTL_OUTPUT"),
            timeout: text("P2PCTL_TIMEOUT"),
            runtime_dir: dir("XDG_RUNTIME_DIR"),
            data_dir: Some(data_dir(dir("XDG_DATA_HOME"), dir("HOME"))),
            no_color: text("NO_COLOR").is_some(),
            dumb_terminal: text("TERM").is_some_and(|term| term == "dumb"),
            locale: text("LC_ALL").or_else(|| text("LC_CTYPE")).or_else(|| text("LANG")),
        }
    }
}

impl Io {
    /// As this process was started. Needs a tokio runtime.
    #[must_use]
    pub fn of_process() -> Self {
        let stdin = std::io::stdin();
        let file = rustix::fs::fstat(&stdin).ok();
        let file = file.filter(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file());
        let stdout = std::io::stdout();
        let terminals = Terminals {
            stdin: stdin.is_terminal(),
            stdout: stdout.is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        };
        Self {
            stdin: Box::new(tokio::io::stdin()),
            stdin_bytes: file.and_then(|stat| u64::try_from(stat.st_size).ok()),
            // Commands flush where a reader should see what there is.
            stdout: Box::new(std::io::BufWriter::with_capacity(STDOUT_BYTES, stdout)),
            stderr: Box::new(std::io::stderr()),
            terminals,
            screen: Screen::of_stdout,
            zone: zone(TimeZone::system(), std::env::var("TZ").ok(), std::fs::read_link("/etc/localtime").ok()),
            now: Timestamp::now,
            interrupted: Box::pin(async {
                if tokio::signal::ctrl_c().await.is_err() {
                    // Without a handler the signal ends the process anyway.
                    std::future::pending::<()>().await;
                }
            }),
        }
    }
}

/// The zone of the system, as jiff finds it. Containers seldom have the database of zones, but what they mean is UTC: they
/// say so, or, as the C library reads it, they say nothing.
fn zone(system: TimeZone, variable: Option<String>, link: Option<PathBuf>) -> TimeZone {
    let said = variable.or_else(|| link.map(|link| link.display().to_string()));
    let is_utc = said.is_none_or(|said| ["", "UTC0"].contains(&said.as_str()) || said.ends_with("UTC"));
    if system.is_unknown() && is_utc { TimeZone::UTC } else { system }
}

/// The data directory that p2pd has where nobody says which. Users that exist only as a number have `/` for a home.
fn data_dir(data_home: Option<PathBuf>, home: Option<PathBuf>) -> PathBuf {
    let home = home.filter(|home| home != Path::new("/")).map(|home| home.join(".local/share"));
    data_home.or(home).map_or_else(|| "/var/lib/p2pd".into(), |dir| dir.join("p2p"))
}

/// The whole program: reads the process's arguments, environment and streams.
#[must_use]
pub fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("p2pctl: error: start: {error} (FAILED)");
            return ExitCode::FAILURE;
        }
    };
    let exit = runtime.block_on(async { run(std::env::args_os(), &Env::of_process(), Io::of_process()).await });
    // A read of stdin cannot be called back; it must not keep the process.
    runtime.shutdown_background();
    ExitCode::from(exit as u8)
}

/// Runs one command to its end. Results and errors are written to `io` before it returns.
pub async fn run(args: impl IntoIterator<Item = OsString>, env: &Env, mut io: Io) -> Exit {
    let args: Vec<OsString> = args.into_iter().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli.meant(),
        Err(error) => return finish(&mut io, early_format(&args, env), parse_stop(&error)),
    };
    let choices = match command::Choices::read(&cli.global, env, io.terminals) {
        Ok(choices) => choices,
        Err(problem) => return finish(&mut io, early_format(&args, env), Err(problem.into())),
    };
    let mut session = command::Session::new(choices, io);
    let interrupted = std::mem::replace(&mut session.io.interrupted, Box::pin(std::future::pending()));
    let outcome = tokio::select! {
        biased;
        () = interrupted => Err(Stop::Said(Exit::Interrupted)),
        outcome = command::run(cli.command, &mut session) => outcome,
    };
    let format = session.style.format;
    finish(&mut session.io, format, outcome.map(|()| String::new()))
}

/// Shows what is left to be shown: a text that is the result, or an error.
fn finish(io: &mut Io, format: Format, outcome: Result<String, Stop>) -> Exit {
    let written = outcome.and_then(|text| {
        io.stdout.write_all(text.as_bytes())?;
        Ok(())
    });
    // Results that came before an error are results.
    let outcome = match (written, io.stdout.flush()) {
        (Ok(()), Err(error)) => Err(error.into()),
        (outcome, _) => outcome,
    };
    match outcome {
        Ok(()) => Exit::Ok,
        Err(Stop::Said(exit)) => exit,
        Err(Stop::Problem(problem)) => {
            // Where even stderr is gone, the exit code still tells.
            let _ = problem.render(format, &mut io.stderr);
            let _ = io.stderr.flush();
            problem.exit
        }
    }
}

/// Help and version are results; everything else is an error in our own shape.
fn parse_stop(error: &clap::Error) -> Result<String, Stop> {
    let text = error.to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return Ok(text);
    }
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Problem::usage("which command?").with_hint(format!("see: {} --help", asked(&text))).into());
    }
    let mut parts = text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    let what = parts.next().unwrap_or_default();
    let what = what.strip_prefix("error: ").unwrap_or(&what).to_owned();
    let parts: Vec<String> = parts.collect();
    let part = |prefix: &str| parts.iter().find_map(|part| part.strip_prefix(prefix).map(str::to_owned));
    // Of several ways to use a command, the first is the one without more words.
    let usage = || text.lines().find_map(|line| line.strip_prefix("Usage: ")).map(|usage| format!("usage: {usage}"));
    let hint = part("tip: ").or_else(usage).unwrap_or_default();
    Err(Problem::usage(what).with_hint(hint).into())
}

/// `p2pctl peers` of a help text with `Usage: p2pctl peers [OPTIONS] <COMMAND>` in it.
fn asked(help: &str) -> String {
    let usage = help.lines().find_map(|line| line.strip_prefix("Usage: ")).unwrap_or("p2pctl");
    let is_name = |word: &&str| word.starts_with(|c: char| c.is_ascii_lowercase());
    usage.split_whitespace().take_while(is_name).collect::<Vec<_>>().join(" ")
}

/// The format for errors of a command line that could not be read: programs should get JSON even then.
fn early_format(args: &[OsString], env: &Env) -> Format {
    let joined = |arg: &OsString| matches!(arg.to_str(), Some("-ojson" | "-o=json" | "--output=json"));
    let split = |pair: &[OsString]| matches!(pair[0].to_str(), Some("-o" | "--output")) && pair[1] == "json";
    let asked = args.iter().any(joined) || args.windows(2).any(split);
    if asked || env.output.as_deref() == Some("json") { Format::Json } else { Format::Text }
}

/// Room for what one batch of posts most often needs.
const STDOUT_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests;
