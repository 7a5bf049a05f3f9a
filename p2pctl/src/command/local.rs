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
use crate::output::schema;

/// Writes the completion script of a shell.
pub(crate) fn completions(shell: Shell, session: &mut Session) -> Outcome {
    // The generator panics where writing fails, so it writes to memory.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "p2pctl", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    session.io.stdout.write_all(with_daemon(shell, script).as_bytes())?;
    Ok(session.io.stdout.flush()?)
}

/// The script that knows the command line, and beside it what asks the daemon. Shells other than these have the first
/// only.
fn with_daemon(shell: Shell, script: String) -> String {
    match shell {
        Shell::Bash => script + include_str!("complete.bash"),
        Shell::Zsh => {
            // The last lines decide whether the file is read by a user or by the shell itself, so they stay the last.
            let (known, last) = script.rsplit_once("\nif [ ").unwrap_or((&script, ""));
            let known = known.replace("\n_p2pctl() {", "\n_p2pctl_words() {");
            format!("{known}\n{}\nif [ {last}", include_str!("complete.zsh"))
        }
        Shell::Fish => script + include_str!("complete.fish"),
        _ => script,
    }
}

/// Writes the schema of one type, or of all.
pub(crate) fn schema(kind: Option<&str>, session: &mut Session) -> Outcome {
    let document = match kind {
        None => schema::of_all(),
        Some(name) => schema::of(schema::find(name).ok_or_else(|| {
            let problem = Problem::usage(format!("schema: no document has the type {name:?}"));
            problem.with_hint(format!("there are {}", schema::names().collect::<Vec<_>>().join(", ")))
        })?),
    };
    let mut text = Vec::new();
    document.write_pretty(&mut text)?;
    session.io.stdout.write_all(&text)?;
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
