//! The parts of a measuring, one after the other, and what each writes into the book.

use std::time::Duration;

use clap::ValueEnum;
use tempfile::TempDir;

use crate::Args;
use crate::book::{Book, Spec, System, Unit};
use crate::cases::CASES;
use crate::catch_up;
use crate::daemons::{Daemon, Network};
use crate::failure::Failure;
use crate::figures::{grouped, median, millis};
use crate::load::Load;
use crate::stage::{Peers, Readings, Stage};
use crate::yardstick::Yardstick;
use p2p_tests::process;

/// What can be measured alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// How long `p2pctl` takes to ask.
    Cli,
    /// A mesh nobody speaks in.
    Idle,
    /// A peer that is killed, until all others have seen it.
    Kill,
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

/// One of the systems, ready for loads.
struct Ready {
    system: System,
    stage: Stage,
}

/// Measures, and leaves in the book what was measured before a failure.
pub(crate) async fn run(args: &Args, network: &Network, book: &mut Book) -> Result<(), Failure> {
    eprintln!("load average before: {}", process::load_average());
    let mut daemons = network.start_six().await?;
    eprintln!("daemons: {}", daemons.iter().map(|daemon| daemon.pid().to_string()).collect::<Vec<_>>().join(" "));
    for daemon in &daemons {
        note(book, "start_empty", "start to ready, empty", Unit::Milliseconds, "", millis(daemon.start_time));
    }
    if args.wants(Part::Cli) {
        p2pctl(network, &daemons[0], book)?;
    }
    if args.wants(Part::Kill) {
        for _ in 0..args.rounds() {
            let time = network.time_kill(&mut daemons).await?;
            note(book, "kill_seen", "kill -9, until all others say so", Unit::Milliseconds, "10 ms", millis(time));
        }
    }
    let mut peers = Peers::Daemons(daemons);
    if args.wants(Part::Idle) {
        idle(&mut peers, args.idle_time(), book).await?;
    }
    loads(args, peers, book).await?;
    if args.wants(Part::CatchUp) {
        for round in 0..args.rounds() {
            catch_up(network, round, args.posts_to_fetch(), book).await?;
        }
    }
    eprintln!("load average after: {}", process::load_average());
    Ok(())
}

/// Every load on every system in turn, so that what happens to the machine meanwhile happens to all of them.
async fn loads(args: &Args, daemons: Peers, book: &mut Book) -> Result<(), Failure> {
    let sockets = tempfile::tempdir()?;
    let mut systems = open_all(args, daemons, &sockets).await?;
    for Ready { system, stage } in &mut systems {
        let kib = stage.peers().resident_kib();
        note_memory(book, *system, "rss_idle", "memory of one, idle", "8 MiB", kib);
        // The first posts of a feed settle who pushes to whom.
        stage.run(64, Load::Pace { senders: 6, rate: 10, time: Duration::from_secs(1) }).await?;
    }
    for _ in 0..args.rounds() {
        for case in CASES.iter().filter(|case| args.wants(case.part)) {
            for Ready { system, stage } in &mut systems {
                let load = case.load(args.load_time(case.part));
                let outcome = stage.run(case.text_bytes, load).await?;
                case.note(*system, &outcome, book);
            }
        }
    }
    // What only the load itself needed has been given back by then, if it ever is.
    tokio::time::sleep(args.settle_time()).await;
    for Ready { system, stage } in &systems {
        let kib = stage.peers().resident_kib();
        note_memory(book, *system, "rss_loaded", "memory of one, after all loads", "19 MiB", kib);
    }
    Ok(())
}

async fn open_all(args: &Args, daemons: Peers, sockets: &TempDir) -> Result<Vec<Ready>, Failure> {
    let mut systems = Vec::new();
    if !args.alone {
        let raw = Peers::Raw(Yardstick::start_six(None).await?);
        systems.push(Ready { system: System::Raw, stage: Stage::open(raw).await? });
        let grpc = Peers::Grpc(Yardstick::start_six(Some(sockets)).await?);
        systems.push(Ready { system: System::Grpc, stage: Stage::open(grpc).await? });
    }
    systems.push(Ready { system: System::P2pd, stage: Stage::open(daemons).await? });
    Ok(systems)
}

fn p2pctl(network: &Network, daemon: &Daemon, book: &mut Book) -> Result<(), Failure> {
    for (arg, key) in [("status", "p2pctl_status"), ("version", "p2pctl_version")] {
        let times: Result<Vec<Duration>, Failure> =
            (0..P2PCTL_RUNS).map(|_| network.time_p2pctl(daemon, arg)).collect();
        let half = median(times?).unwrap_or_default();
        let what = format!("p2pctl {arg}, from its start to its end");
        note(book, key, &what, Unit::Milliseconds, "2 ms", millis(half));
    }
    Ok(())
}

async fn idle(peers: &mut Peers, time: Duration, book: &mut Book) -> Result<(), Failure> {
    // Links are fresh: what they tell each other at the start is no idling.
    tokio::time::sleep(time.min(SETTLE_TIME)).await;
    let before = Readings::take(peers).await?;
    tokio::time::sleep(time).await;
    let after = Readings::take(peers).await?;
    let share = 100.0 * after.processor_time(&before).as_secs_f64() / time.as_secs_f64();
    let others = Some(after.others(&before));
    let cpu = Spec::new("idle_cpu", "idle, all six: CPU", Unit::Percent, "0.02 %");
    book.note(cpu, System::P2pd, share, others);
    let traffic = Spec::new("idle_traffic", "idle, all six: traffic", Unit::KilobytesPerSecond, "0.7 kB/s");
    book.note(traffic, System::P2pd, after.mesh_bytes_rate(&before) / 1_000.0, others);
    Ok(())
}

async fn catch_up(network: &Network, round: usize, count: u64, book: &mut Book) -> Result<(), Failure> {
    let caught = catch_up::measure(network, round, count).await?;
    let posts = grouped(count as f64);
    let what = format!("start to ready with {posts} posts");
    note(book, "start_full", &what, Unit::Milliseconds, "50 ms (100,000)", millis(caught.restart));
    let what = format!("a newcomer has all {posts}, from its start");
    note(book, "catch_up", &what, Unit::Seconds, "1 s (100,000)", caught.newcomer.as_secs_f64());
    Ok(())
}

fn note(book: &mut Book, key: &str, what: &str, unit: Unit, goal: &str, value: f64) {
    book.note(Spec::new(key, what, unit, goal), System::P2pd, value, None);
}

fn note_memory(book: &mut Book, system: System, key: &str, what: &str, goal: &str, kib: u64) {
    book.note(Spec::new(key, what, Unit::Mebibytes, goal), system, kib as f64 / 1_024.0, None);
}

const P2PCTL_RUNS: usize = 20;
/// For what was just begun, or has just ended.
pub(crate) const SETTLE_TIME: Duration = Duration::from_secs(3);
