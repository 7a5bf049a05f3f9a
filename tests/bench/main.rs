//! The first measuring tool: six real daemons on loopback, real clients, and one table beside the goals and beside
//! yardsticks that are measured in the same run.
//!
//! Every run is also a judge: each subscriber must get each post exactly once and in its author's order. All clients
//! live in this one process, on one thread, so one clock stamps a post when it is handed over and when it arrives.

#![allow(missing_docs)]

mod book;
mod cases;
mod catch_up;
mod daemons;
mod failure;
mod figures;
mod ledger;
mod load;
mod machine;
mod parts;
mod picture;
mod record;
mod sender;
mod stage;
mod subscriber;
mod table;
mod text;
mod yardstick;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::book::Book;
use crate::daemons::Network;
use crate::failure::Failure;
use crate::machine::Machine;
use crate::parts::{Part, SETTLE_TIME};
use crate::record::Record;
use crate::yardstick::YardstickArgs;

/// Measures six daemons: latency, lossless rates, CPU, memory, traffic, start and catch-up; and beside them, load by
/// load, six processes that only carry.
#[derive(Parser, Debug)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where p2pd and p2pctl are.
    #[arg(long, default_value = "target/release")]
    bin: PathBuf,
    /// Everything short: under two minutes.
    #[arg(long)]
    quick: bool,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Only p2pd, no yardsticks.
    #[arg(long)]
    alone: bool,
    /// How often everything is measured, to show the medians; 3, or 1 with --quick.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: Option<u16>,
    /// How long each load lasts; 5, or 2 with --quick.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
    /// How long six peers send 1,000 posts a second each; 20, or 3 with --quick.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    paced_seconds: Option<Duration>,
    /// How long the idle mesh is looked at; 30, or 5 with --quick.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    idle_seconds: Option<Duration>,
    /// What a newcomer has to fetch; 100,000, or 20,000 with --quick.
    #[arg(long)]
    catch_up_posts: Option<u64>,
    /// Keep the figures: writes tests/bench/results.json, .md and .svg, and the README's block of figures.
    #[arg(long, conflicts_with_all = ["only", "alone"])]
    record: bool,
    /// Where the last figures were kept, and these are.
    #[arg(long, default_value = ".", hide = true)]
    repository: PathBuf,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// One process that only carries; started by this program itself.
    #[command(hide = true)]
    Yardstick(YardstickArgs),
}

impl Args {
    fn wants(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 1 } else { 3 }, usize::from)
    }

    fn load_time(&self, part: Part) -> Duration {
        if part == Part::Paced { self.or(self.paced_seconds, 20, 3) } else { self.or(self.seconds, 5, 2) }
    }

    fn idle_time(&self) -> Duration {
        self.or(self.idle_seconds, 30, 5)
    }

    /// Not for longer than what was asked for at all.
    fn settle_time(&self) -> Duration {
        SETTLE_TIME.min(self.idle_time())
    }

    fn posts_to_fetch(&self) -> u64 {
        self.catch_up_posts.unwrap_or(if self.quick { 20_000 } else { 100_000 })
    }

    fn or(&self, told: Option<Duration>, full_s: u64, quick_s: u64) -> Duration {
        told.unwrap_or(Duration::from_secs(if self.quick { quick_s } else { full_s }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: error: {failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), Failure> {
    match &args.command {
        Some(Command::Yardstick(args)) => yardstick::run(args).await,
        None => measure(args).await,
    }
}

/// Prints what was measured also where it ended early; keeps it only where it is whole.
async fn measure(args: &Args) -> Result<(), Failure> {
    let last = Record::load(&args.repository)?;
    let network = Network::new(&args.bin)?;
    let machine = Machine::find(network.dir())?;
    let mut book = Book::default();
    // Whatever ends the measuring, the daemons are dropped with it, and with them their processes.
    let outcome = tokio::select! {
        outcome = parts::run(args, &network, &mut book) => outcome,
        () = interrupted() => Err(Failure::new("interrupted")),
    };
    let figures = book.figures();
    print!("{}", table::render(&figures, last.as_ref().map(|last| last.figures.as_slice())));
    if let Some(last) = last {
        println!("\nLast recorded: {}, commit {}, on {}.", last.date, last.commit, last.machine.cpu);
    }
    outcome?;
    if args.record {
        let rounds = (args.rounds(), args.load_time(Part::Flood64));
        Record::new(&args.repository, machine, rounds, figures).save(&args.repository)?;
    }
    Ok(())
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
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
