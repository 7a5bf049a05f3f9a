//! The nemesis: six real daemons, people who talk and read at each of them, and faults from a seed. Then the faults stop,
//! and the judge looks at what is left.
//!
//! A seed draws the same faults in every run. What comes of them is never quite the same, because the time is real.

pub mod backend;
mod disk;
pub mod footprint;
pub mod netns;
pub mod people;
pub mod plan;
pub mod proxy;
pub mod readers;
mod report;
pub mod stage;
mod verdict;
pub mod ways;

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use self::report::Report;

use self::backend::{Backend, Choice};
use self::people::People;
use self::plan::{Fault, Kind, Plan, Step};
use self::readers::Readers;
use self::stage::Stage;
use crate::sim::dice::Dice;

/// What is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Draws people and, where no plan is given, faults.
    pub seed: u64,
    /// How long there are faults.
    pub time: Duration,
    /// In which network.
    pub backend: Choice,
    /// Lines about faults are printed as they happen.
    pub is_loud: bool,
}

impl Run {
    /// Runs it with the faults of its seed.
    ///
    /// # Errors
    ///
    /// This machine has not got the network that is wanted.
    ///
    /// # Panics
    ///
    /// A daemon does not start, or does not answer.
    pub fn run(&self) -> Result<Report, String> {
        self.run_plan(&Plan::of_seed(self.seed, self.time))
    }

    /// Runs it with these faults.
    ///
    /// # Errors
    ///
    /// This machine has not got the network that is wanted.
    ///
    /// # Panics
    ///
    /// A daemon does not start, or does not answer.
    pub fn run_plan(&self, plan: &Plan) -> Result<Report, String> {
        let (backend, why) = Backend::open(self.backend)?;
        let name = backend.name();
        self.say(&format!("seed={} network={name}{}", self.seed, why.map_or(String::new(), |why| format!(" ({why})"))));
        let nemesis =
            Nemesis { run: self, start: Instant::now(), behind: Duration::ZERO, stage: Stage::start(backend) };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let report = nemesis.torment(plan, &runtime.expect("a runtime"), name);
        Ok(report)
    }

    fn say(&self, line: &str) {
        if self.is_loud {
            println!("{line}");
        }
    }
}

/// Ends every run in this process at its next step, and cleans up behind it.
pub fn interrupt() {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

struct Nemesis<'a> {
    run: &'a Run,
    /// When the people began.
    start: Instant,
    /// How far the plan is behind: a step that took long takes no time from those behind it.
    behind: Duration,
    stage: Stage,
}

/// If the run panics, for instance because a daemon does not start, its logs are what is needed.
impl Drop for Nemesis<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("logs: {}", self.keep_logs().display());
        }
    }
}

impl Nemesis<'_> {
    fn torment(mut self, plan: &Plan, runtime: &tokio::runtime::Runtime, network: &'static str) -> Report {
        let homes = self.stage.homes();
        self.wait_for_links();
        let mut dice = Dice::new(self.run.seed);
        let mut people = runtime.block_on(async { People::start(&homes, &mut dice) });
        let readers = runtime.block_on(async { Readers::start(&homes) });
        self.start = Instant::now();
        let mut faults = plan.faults.iter().peekable();
        for (number, (at, step)) in (0u64..).zip(&plan.steps) {
            self.wait_until(*at);
            while let Some(fault) = faults.next_if(|fault| fault.at <= *at) {
                self.announce(fault);
            }
            match step {
                Step::Say(peer, count) => runtime.block_on(people.say_now(&homes[*peer], number, *count)),
                other => self.perform(other),
            }
        }
        self.wait_until(self.run.time.min(LAST_WAIT_MAX + plan.steps.last().map_or(Duration::ZERO, |(at, _)| *at)));
        self.say("the faults are over");
        self.stage.heal();
        let healed = Instant::now();
        runtime.block_on(people.stop());
        let settled = verdict::settle(&mut self.stage, &readers, healed);
        let mut report = Report { seed: self.run.seed, network, settled, ..Report::default() };
        report.faults = plan.faults.iter().map(|fault| fault.kind).collect();
        report.said = people.said();
        verdict::judge(&mut self.stage, readers, &mut report);
        if !report.violations.is_empty() || report.settled.is_late() {
            report.logs = Some(self.keep_logs());
            report.keep_said();
        }
        let (dir, prefix) = (self.stage.dir().to_owned(), self.stage.prefix());
        drop(self);
        verdict::check_left_behind(&dir, prefix.as_deref(), &mut report);
        report
    }

    fn wait_for_links(&mut self) {
        let end = Instant::now() + verdict::LINKS_WITHIN;
        while !verdict::are_linked(&mut self.stage) {
            assert!(Instant::now() < end, "six peers do not find each other");
            pause();
        }
    }

    fn wait_until(&mut self, at: Duration) {
        while self.start.elapsed() < at + self.behind {
            pause();
        }
        self.behind = self.start.elapsed().saturating_sub(at);
    }

    fn announce(&self, fault: &Fault) {
        let Fault { kind, length, what, .. } = fault;
        let is_possible = match kind {
            Kind::FullDisk => self.stage.has_small_disk(),
            Kind::ClockJump => stage::fake_time_library().is_some(),
            _ => true,
        };
        let note = if is_possible { "" } else { " (not on this machine)" };
        self.say(&format!("{kind:?} for {:.1} s: {what}{note}", length.as_secs_f64()));
    }

    fn perform(&mut self, step: &Step) {
        match *step {
            Step::Cut { fault, ways } => self.stage.cut(fault, ways),
            Step::Kill(peer) => self.stage.kill(peer),
            Step::Stop(peer) => self.stage.stop(peer),
            Step::Start(peer) => self.stage.start_again(peer, None),
            Step::StartAskew(peer, seconds) => self.stage.start_again(peer, Some(seconds)),
            Step::Pause(peer) => self.stage.pause(peer),
            Step::Resume(peer) => self.stage.resume(peer),
            Step::Hangup(peer) => self.stage.hangup(peer),
            Step::Reset(one, two, bytes) => self.stage.reset(one, two, bytes),
            Step::Slow(peer, bits) => self.stage.slow(peer, bits),
            Step::Fill => self.stage.fill_disk(),
            Step::Free => self.stage.free_disk(),
            // Needs the people, so it is done where they are.
            Step::Say(..) => (),
        }
    }

    fn say(&self, what: &str) {
        self.run.say(&format!("  {:6.1} s  {what}", self.start.elapsed().as_secs_f64()));
    }

    /// Copies what the daemons logged to where it stays.
    fn keep_logs(&self) -> PathBuf {
        let kept = std::env::temp_dir().join(format!("p2pd-chaos-{}-{}", std::process::id(), self.run.seed));
        // Without a place for them there are no logs, and the report is what counts.
        drop(fs::create_dir_all(&kept));
        for (peer, name) in self.stage.peers().zip(ways::NAMES) {
            drop(fs::write(kept.join(format!("{name}.log")), peer.log()));
        }
        kept
    }
}

/// A moment, unless the run is to end.
fn pause() {
    assert!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    std::thread::sleep(LOOK_EVERY);
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Quiet time behind the last step, at most.
const LAST_WAIT_MAX: Duration = Duration::from_secs(2);
