//! What needs no daemon.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use clap::CommandFactory;
use clap_complete::Shell;
use p2p_proto::error::Code;

use super::{Session, fetch_status};
use crate::args::Cli;
use crate::exit::{Exit, Outcome, Problem};
use crate::output::rest::render_version;

/// Writes the completion script of a shell.
pub(crate) fn completions(shell: Shell, session: &mut Session) -> Outcome {
    // The generator panics where writing fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "p2pctl", &mut script);
    session.io.stdout.write_all(&script)?;
    Ok(session.io.stdout.flush()?)
}

/// Writes the manual: every page into a folder, or the first one.
pub(crate) fn man(dir: Option<&Path>, session: &mut Session) -> Outcome {
    let command = Cli::command().bin_name("p2pctl");
    let Some(dir) = dir else {
        let mut page = Vec::new();
        clap_mangen::Man::new(command).render(&mut page)?;
        session.io.stdout.write_all(&page)?;
        return Ok(session.io.stdout.flush()?);
    };
    clap_mangen::generate_to(command, dir)
        .map_err(|error| Problem::new(Exit::Failed, Code::Failed.name(), format!("man: {}: {error}", dir.display())))?;
    Ok(())
}

/// Writes both versions; a daemon that is not there is no error.
pub(crate) async fn version(session: &mut Session) -> Outcome {
    let asked = tokio::time::timeout(DAEMON_MAX, fetch_status("version", session)).await;
    let version = asked.ok().and_then(Result::ok).map(|status| status.version);
    session.show(|style, out| render_version(version.as_deref(), style, out))
}

/// The client's own version is worth more than a long wait.
const DAEMON_MAX: Duration = Duration::from_secs(1);
