//! The simulator as a program: many schedules, or one of them again with its trace.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use p2p_tests::sim::batch;
use p2p_tests::sim::bug::Bug;
use p2p_tests::sim::long;
use p2p_tests::sim::plan::Plan;
use p2p_tests::sim::schedule;
use p2p_tests::sim::trace::Detail;

/// Runs real cores over a virtual network, disks and clocks, with faults, and judges the histories.
#[derive(Parser, Debug)]
#[command(name = "sim")]
struct Args {
    /// How many schedules, each the world of one seed.
    #[arg(long, default_value_t = 2_000)]
    schedules: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first: u64,
    /// Repeat the schedule of this seed alone, exactly.
    #[arg(long)]
    seed: Option<u64>,
    /// So many honest peers, instead of what the seed draws.
    #[arg(long)]
    peers: Option<usize>,
    /// Print the whole trace of a single schedule, not only its end.
    #[arg(long)]
    verbose: bool,
    /// Put this bug in, to see that it is found: `NoVerify`, `NoRepair` and so on.
    #[arg(long)]
    bug: Option<String>,
    /// Leave this kind of fault out, to see whether it takes part: `Clone`, `OldDisk` and so on.
    #[arg(long)]
    without: Vec<String>,
    /// Instead of schedules, one world of so many virtual hours, partitioned every few minutes.
    #[arg(long)]
    long: Option<u64>,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let bug = match args.bug.as_deref().map(parse_bug).transpose() {
        Ok(bug) => bug,
        Err(message) => {
            eprintln!("sim: error: {message}");
            return ExitCode::from(2);
        }
    };
    if let Some(hours) = args.long {
        return run_long(args.seed.unwrap_or(1), hours);
    }
    let plan = |seed| {
        let mut plan = bug.map_or_else(|| Plan::of_seed(seed), |bug| Plan::with_bug(seed, bug));
        plan.weights.retain(|(kind, _)| !args.without.contains(&format!("{kind:?}")));
        Plan { peers: args.peers.unwrap_or(plan.peers).max(1), ..plan }
    };
    if let Some(seed) = args.seed {
        return run_one(plan(seed), args.verbose);
    }
    let batch = batch::run(args.first..args.first.saturating_add(args.schedules), args.threads, plan);
    print!("{batch}");
    if let Some(seed) = batch.failed.keys().next() {
        run_one(plan(*seed), false);
        return ExitCode::FAILURE;
    }
    let never = batch.never_happened();
    if args.schedules >= MILESTONES_NEED && !never.is_empty() {
        println!("never happened, so this batch proves little: {never:?}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn run_long(seed: u64, hours: u64) -> ExitCode {
    let report = long::run(seed, Duration::from_secs(hours * 3_600));
    println!("{hours} hours, seed={seed}: {} partitions, {} posts", report.heals, report.operations);
    println!(
        "linked again at most {:?} after each, equal {:?} after that",
        report.linked_after_max, report.equal_after_max
    );
    for violation in report.violations.iter().take(VIOLATIONS_SHOWN) {
        println!("  {violation}");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_one(plan: Plan, verbose: bool) -> ExitCode {
    println!("{plan:?}");
    let report = schedule::run(plan, Detail::Lines);
    let skip = if verbose { 0 } else { report.lines.len().saturating_sub(TAIL_LINES) };
    for line in &report.lines[skip..] {
        println!("{line}");
    }
    println!("seed={} fingerprint={} posts={}", report.seed, report.fingerprint, report.operations);
    for violation in &report.violations {
        println!("  {violation}");
    }
    if report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse_bug(name: &str) -> Result<Bug, String> {
    let found = Bug::ALL.into_iter().find(|bug| format!("{bug:?}").eq_ignore_ascii_case(name));
    found.ok_or_else(|| format!("no bug is named {name:?}; there are {:?}", Bug::ALL))
}

/// Lines of the trace that are shown without being asked for.
const TAIL_LINES: usize = 60;
const VIOLATIONS_SHOWN: usize = 20;
/// Fewer schedules than this need not have seen everything.
const MILESTONES_NEED: u64 = 1_000;
