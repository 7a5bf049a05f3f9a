//! The nemesis as a program: six real daemons under the faults of many seeds, or of one again.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use p2p_tests::chaos::backend::Choice;
use p2p_tests::chaos::plan::{Kind, Plan};
use p2p_tests::chaos::{Run, interrupt};

/// Torments six real daemons and judges what is left. A seed draws the same faults again; what comes of them is never
/// quite the same, because the time is real.
#[derive(Parser, Debug)]
#[command(name = "chaos")]
struct Args {
    /// How many seeds, one after the other.
    #[arg(long, default_value_t = 5)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// This seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// How long there are faults in each run: 60s, 5m. From 120s on there is a cut of 75 s, too.
    #[arg(long, default_value = "30s", value_parser = parse_time)]
    time: Duration,
    /// The network: namespaces need root, iproute2 and iptables.
    #[arg(long, value_enum, default_value_t)]
    backend: Choice,
    /// Only these faults, one after the other, in place of what the seed draws.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        match u32::try_from(self.only.len()) {
            Ok(0) | Err(_) => Plan::of_seed(seed, self.time),
            Ok(kinds) => Plan::of_kinds(seed, &self.only, self.time / kinds),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    std::thread::spawn(interrupt_on_signal);
    let (first, count) = args.seed.map_or((args.first, args.seeds), |seed| (seed, 1));
    let mut failed = Vec::new();
    for seed in first..first.saturating_add(count) {
        let run = Run { seed, time: args.time, backend: args.backend, is_loud: true };
        match run.run_plan(&args.plan(seed)) {
            Ok(report) => {
                print!("{report}");
                failed.extend((!report.violations.is_empty()).then_some(seed));
            }
            Err(why) => {
                eprintln!("chaos: error: {why}");
                return ExitCode::from(2);
            }
        }
    }
    if failed.is_empty() {
        println!("all {count} seeds kept the promise");
        return ExitCode::SUCCESS;
    }
    println!("broken: {failed:?} of {count} seeds");
    ExitCode::FAILURE
}

/// A first signal ends the run with everything it made; a second one ends the process.
fn interrupt_on_signal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        // Without a handler the signal ends this process by itself.
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupt();
        }
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    });
}

fn parse_time(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let number: u64 = number.parse().map_err(|_| format!("{text:?} is no time such as 60s"))?;
    match unit {
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        other => Err(format!("{other:?} is no unit: s or m")),
    }
}
