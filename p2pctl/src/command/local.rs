//! What needs no daemon.

use std::io::Write;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Session, fetch_status};
use crate::args::Cli;
use crate::exit::Outcome;
use crate::output::rest::render_version;

/// Writes the completion script of a shell.
pub(crate) fn completions(shell: Shell, session: &mut Session) -> Outcome {
    // The generator panics where writing fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "p2pctl", &mut script);
    session.io.stdout.write_all(&script)?;
    Ok(session.io.stdout.flush()?)
}

/// Writes both versions; a daemon that is not there is no error.
pub(crate) async fn version(session: &mut Session) -> Outcome {
    let asked = tokio::time::timeout(DAEMON_MAX, fetch_status("version", session)).await;
    let version = asked.ok().and_then(Result::ok).map(|status| status.version);
    session.show(|style, out| render_version(version.as_deref(), style, out))
}

/// The client's own version is worth more than a long wait.
const DAEMON_MAX: Duration = Duration::from_secs(1);
