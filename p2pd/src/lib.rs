//! p2pd: a daemon for group chat without a server.

pub mod api;
pub mod args;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod driver;
pub mod epoch;
pub mod exit;
pub mod group;
pub mod health;
pub mod identity;
pub mod invite;
pub mod keyfile;
pub mod lan;
pub mod letters;
pub mod link;
pub mod logging;
pub mod metrics;
pub mod names;
pub mod network;
pub mod notify;
pub mod panics;
pub mod paths;
pub mod query;
pub mod rotation;
pub mod store;

mod command;
mod manual;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Action, Args, RunArgs};
use crate::command::Outcome;
use crate::config::Loaded;

/// The program: reads the command line and does what it says. To be a daemon, it calls `run` with the configuration.
pub fn main_with(run: impl FnOnce(Loaded, RunArgs) -> ExitCode) -> ExitCode {
    let action = match Args::try_parse().and_then(Args::into_action) {
        Ok(action) => action,
        Err(error) => return print(&command::not_an_action(&error)),
    };
    let env = std::env::vars_os();
    print(&match action {
        Action::Run(args) => {
            // Before any secret is read.
            let closed = identity::forbid_memory_access();
            match config::load(&args.config, env) {
                Ok(mut loaded) => {
                    let open = closed.err().map(|error| format!("core dumps cannot be switched off: {error}"));
                    loaded.warnings.extend(open);
                    return run(loaded, args);
                }
                Err(errors) => command::bad_config(&errors),
            }
        }
        Action::Check(args) => command::check(&args, env),
        Action::Paths(args) => command::paths(&args, env),
        Action::Keygen(args) => command::keygen(&args),
        Action::Man(dir) => command::man(dir.as_deref()),
        Action::Completions(shell) => command::completions(shell),
    })
}

fn print(outcome: &Outcome) -> ExitCode {
    let stdout = std::io::stdout().write_all(outcome.stdout.as_bytes());
    // There is nobody left to tell of a closed stderr.
    let _ = std::io::stderr().write_all(outcome.stderr.as_bytes());
    match stdout {
        // A closed pipe is a quiet success.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(exit::FATAL),
        Ok(()) | Err(_) => ExitCode::from(outcome.code),
    }
}
