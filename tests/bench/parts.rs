//! The parts of a measuring, one after the other, and what each puts into the table.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;

use crate::Args;
use crate::daemons::{Daemon, Network};
use crate::failure::Failure;
use crate::figures::{Latency, grouped, median, millis, rate};
use crate::process;
use crate::sender::Enough;
use crate::stage::{self, Load, Outcome, Readings, Stage};
use crate::table::{Goal, Table};

/// What can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// A mesh nobody speaks in.
    Idle,
    /// One sender at 100/s, 200/s and 1,000/s.
    Latency,
    /// One sender, 64 B, as fast as it is accepted.
    Flood64,
    /// The same with 1 KiB.
    Flood1024,
    /// All six as fast as it is accepted.
    Six,
    /// All six at 1,000/s.
    Paced,
    /// A newcomer, and a start with many posts.
    CatchUp,
}

/// Measures, and leaves in the table what was measured before a failure.
pub(crate) async fn run(args: &Args, table: &mut Table) -> Result<(), Failure> {
    eprintln!("load average before: {}", process::load_average());
    let network = Network::new(&args.bin)?;
    let daemons = network.start_six().await?;
    eprintln!("daemons: {}", daemons.iter().map(|daemon| daemon.pid().to_string()).collect::<Vec<_>>().join(" "));
    let start = median(daemons.iter().map(|daemon| daemon.start_time).collect());
    table.push("start to ready, empty", format!("{} ms", millis(start)), Goal::default(), None);
    if args.wants(Part::Idle) {
        idle(&daemons, args.idle_time(), table).await?;
    }
    push_memory("RSS idle", &daemons, Goal("10 MiB", "8 MiB"), table);
    let stage = Stage::open(daemons).await?;
    loads(args, &stage, table).await?;
    // What only the load itself needed has been given back by then, if it ever is.
    tokio::time::sleep(SETTLE_TIME).await;
    push_memory("RSS 3 s after the load", &stage.daemons, Goal("40 MiB", "19 MiB"), table);
    drop(stage);
    if args.wants(Part::CatchUp) {
        catch_up(&network, args.posts_to_fetch(), table).await?;
    }
    eprintln!("load average after: {}", process::load_average());
    Ok(())
}

async fn loads(args: &Args, stage: &Stage, table: &mut Table) -> Result<(), Failure> {
    let time = args.load_time();
    if args.wants(Part::Latency) {
        // The first posts of a feed settle who pushes to whom.
        stage.run(64, Load::Pace { senders: 6, rate: 10, time: Duration::from_secs(1) }).await?;
        for (rate, text_bytes, goal) in LATENCIES {
            let outcome = stage.run(text_bytes, Load::Pace { senders: 1, rate, time }).await?;
            let what = format!("one sender at {}/s, {text_bytes} B", grouped(rate.into()));
            push_latency(&what, &outcome, goal, table);
            push_cost(&what, &outcome, table);
        }
    }
    let enough = Enough { time, posts: FLOOD_POSTS_MAX };
    for (part, senders, text_bytes, what, goal) in FLOODS {
        if args.wants(part) {
            let outcome = stage.run(text_bytes, Load::Flood { senders, enough }).await?;
            push_flood(what, &outcome, goal, table);
            push_cost(what, &outcome, table);
        }
    }
    if args.wants(Part::Paced) {
        let time = args.paced_time();
        let outcome = stage.run(64, Load::Pace { senders: 6, rate: 1_000, time }).await?;
        let what = format!("6 × 1,000/s for {} s, 64 B", time.as_secs());
        push_latency(&what, &outcome, Goal("p99 20 ms", ""), table);
        push_cost(&what, &outcome, table);
    }
    Ok(())
}

async fn idle(daemons: &[Daemon], time: Duration, table: &mut Table) -> Result<(), Failure> {
    // Links are fresh: what they tell each other at the start is no idling.
    tokio::time::sleep(SETTLE_TIME).await;
    let used = || daemons.iter().map(|daemon| process::processor_time_fine(daemon.pid())).sum::<Duration>();
    let before = Readings::take(daemons).await?;
    let used_before = used();
    tokio::time::sleep(time).await;
    let used_after = used();
    let after = Readings::take(daemons).await?;
    let share = 100.0 * used_after.saturating_sub(used_before).as_secs_f64() / time.as_secs_f64();
    let others = Some(after.others(&before));
    let what = format!("idle for {} s, all six", time.as_secs());
    table.push(format!("{what}: CPU"), format!("{share:.3} %"), Goal("0.07 %", "0.02 %"), others);
    let traffic = after.mesh_bytes_rate(&before) / 1_000.0;
    table.push(format!("{what}: traffic"), format!("{traffic:.2} kB/s"), Goal("5 kB/s", "0.7 kB/s"), others);
    Ok(())
}

async fn catch_up(network: &Network, count: u64, table: &mut Table) -> Result<(), Failure> {
    let caught = stage::catch_up(network, count).await?;
    let posts = grouped(count as f64);
    let restart = format!("{} ms", millis(caught.restart));
    table.push(format!("start to ready with {posts} posts"), restart, Goal("200 ms (100,000)", "50 ms"), None);
    let newcomer = format!("{:.2} s", caught.newcomer.as_secs_f64());
    table.push(format!("newcomer has all {posts}, from its start"), newcomer, Goal("3 s (100,000)", "1 s"), None);
    Ok(())
}

fn push_latency(what: &str, outcome: &Outcome, goal: Goal, table: &mut Table) {
    let latency = Latency::of(outcome.tally.latencies_us.clone());
    let measured = latency.map_or_else(|| "nothing".into(), |latency| latency.to_string());
    table.push(format!("{what}: p50 / p99"), measured, goal, Some(outcome.others));
}

fn push_flood(what: &str, outcome: &Outcome, goal: Goal, table: &mut Table) {
    let tally = &outcome.tally;
    let posts = grouped(rate(tally.posts, tally.time));
    let deliveries = grouped(rate(tally.deliveries, tally.time));
    let measured = format!("{posts} posts/s, {deliveries} deliveries/s ({} posts)", grouped(tally.posts as f64));
    table.push(format!("{what}: lossless"), measured, goal, Some(outcome.others));
}

fn push_cost(what: &str, outcome: &Outcome, table: &mut Table) {
    let deliveries = outcome.tally.deliveries.max(1) as f64;
    let us = outcome.processor_time.as_secs_f64() * 1e6 / deliveries;
    let bytes = outcome.mesh_bytes as f64 / deliveries;
    let copies = 1.0 + outcome.duplicates as f64 / deliveries;
    let measured = format!("{us:.1} µs CPU, {bytes:.0} B, {copies:.3} copies");
    table.push(format!("{what}: a delivery"), measured, COST_GOAL, Some(outcome.others));
}

fn push_memory(what: &str, daemons: &[Daemon], goal: Goal, table: &mut Table) {
    let kib: Vec<(u64, u64)> = daemons.iter().map(|daemon| process::resident_kib(daemon.pid())).collect();
    let least = kib.iter().map(|(now, _)| *now).min().unwrap_or(0);
    let most = kib.iter().map(|(now, _)| *now).max().unwrap_or(0);
    let peak = kib.iter().map(|(_, peak)| *peak).max().unwrap_or(0);
    let measured = format!("{} to {} MiB (peak {})", Mib(least), Mib(most), Mib(peak));
    table.push(what, measured, goal, None);
}

/// KiB, shown as MiB.
struct Mib(u64);

impl fmt::Display for Mib {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:.1}", self.0 as f64 / 1_024.0)
    }
}

/// Rate, bytes of a text, and what is wanted.
const LATENCIES: [(u32, usize, Goal); 4] = [
    (100, 64, Goal("0.99 / 2.70 ms", "0.83 / 1.76 ms")),
    (200, 64, Goal("", "")),
    (200, 1_024, Goal("", "")),
    (1_000, 64, Goal("", "")),
];
/// Senders, bytes of a text, the name, and what is wanted.
const FLOODS: [(Part, usize, usize, &str, Goal); 3] = [
    (Part::Flood64, 1, 64, "one sender in a flood, 64 B", Goal("50,000 posts/s", "192,000")),
    (Part::Flood1024, 1, 1_024, "one sender in a flood, 1 KiB", Goal("28,000 posts/s", "58,000")),
    (Part::Six, 6, 64, "six senders in a flood, 64 B", Goal("254,000 deliveries/s", "500,000")),
];
const COST_GOAL: Goal = Goal("flood: 8 µs; 1.05 copies", "3 µs; 1.00");
/// Posts of a sender in a flood, however fast it is: their stamps are kept in memory.
const FLOOD_POSTS_MAX: u64 = 2_000_000;
const SETTLE_TIME: Duration = Duration::from_secs(3);
