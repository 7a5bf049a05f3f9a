//! The first measuring tool: six real daemons on loopback, real clients, and one table beside the goals.
//!
//! Every run is also a judge: each subscriber must get each post exactly once and in its author's order. All clients
//! live in this one process, on one thread, so one clock stamps a post when it is handed over and when it arrives.

#![allow(missing_docs)]

mod daemons;
mod failure;
mod figures;
mod ledger;
mod parts;
mod process;
mod sender;
mod stage;
mod subscriber;
mod table;
mod text;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::parts::Part;
use crate::table::Table;

/// Measures six daemons: latency, lossless rates, CPU, memory, traffic, start and catch-up.
#[derive(Parser, Debug)]
#[command(name = "bench")]
pub(crate) struct Args {
    /// Where p2pd is.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Everything short: under a minute.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// How long each load lasts; 5, or 2 with --quick.
    #[arg(long)]
    seconds: Option<u64>,
    /// How long six peers send 1,000 posts a second each; 60, or 5 with --quick.
    #[arg(long)]
    paced_seconds: Option<u64>,
    /// How long the idle mesh is looked at; 30, or 5 with --quick.
    #[arg(long)]
    idle_seconds: Option<u64>,
    /// What a newcomer has to fetch; 100,000, or 20,000 with --quick.
    #[arg(long)]
    catch_up_posts: Option<u64>,
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn load_time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.quick { 2 } else { 5 }))
    }

    fn paced_time(&self) -> Duration {
        Duration::from_secs(self.paced_seconds.unwrap_or(if self.quick { 5 } else { 60 }))
    }

    fn idle_time(&self) -> Duration {
        Duration::from_secs(self.idle_seconds.unwrap_or(if self.quick { 5 } else { 30 }))
    }

    fn posts_to_fetch(&self) -> u64 {
        self.catch_up_posts.unwrap_or(if self.quick { 20_000 } else { 100_000 })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut table = Table::default();
    // Whatever ends the measuring, the daemons are dropped with it, and with them their processes.
    let outcome = tokio::select! {
        outcome = parts::run(&args, &mut table) => outcome,
        () = interrupted() => Err(Failure::new("interrupted")),
    };
    print!("{table}");
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn interrupted() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        // Without handlers the signals end this process by themselves.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => (),
        _ = int.recv() => (),
    }
}
