//! What one more peer costs: real daemons on loopback, more and more of them, each linked to as many as it wants.
//!
//! Of each number of peers a mesh forms, everybody says something, a fifth is killed and comes back, and then nobody
//! does anything. Every step is also a judge: all must hold exactly what was said. How long it took is only shown.

#![allow(missing_docs)]

mod daemons;
mod failure;
mod figures;
mod picture;
mod reader;
mod report;
mod stage;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::failure::Failure;
use crate::report::Report;

/// Measures meshes of several sizes: forming, a word from everybody, healing, memory, and what idling costs.
#[derive(Parser, Debug)]
#[command(name = "scale")]
pub(crate) struct Args {
    /// Where p2pd is.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// How many peers, one mesh after the other.
    #[arg(long, value_delimiter = ',', default_value = "5,10,20,35,50", value_parser = clap::value_parser!(u16).range(3..=200))]
    peers: Vec<u16>,
    /// How long each mesh is looked at while nobody does anything. Peers that have nothing to say heartbeat each other
    /// every 30 s.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    idle_seconds: u64,
    /// Keep the figures: results.md and results.svg in this folder.
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "tests/scale")]
    record: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let mut report = Report::new(Duration::from_secs(args.idle_seconds));
    // Whatever ends the measuring, the daemons are dropped with it, and with them their processes.
    let outcome = tokio::select! {
        outcome = measure(&args, &mut report) => outcome,
        () = interrupted() => Err(Failure::Interrupted),
    };
    print!("{report}");
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("scale: error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// A mesh that does not work is told of, and the next one is measured all the same.
async fn measure(args: &Args, report: &mut Report) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for peers in args.peers.iter().copied().map(usize::from) {
        let outcome = stage::run(&args.bin, peers, report.idle).await;
        if let Err(failure) = &outcome {
            eprintln!("{peers} peers: {failure}");
            failed.push(peers);
        }
        report.push(peers, outcome);
    }
    if let Some(dir) = &args.record {
        report.save(dir)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(Failure::Meshes(failed)) }
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
