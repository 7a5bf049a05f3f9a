//! Many schedules, on as many threads as asked for, and what they show together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::bug::Bug;
use super::measure::{Measure, Milestone};
use super::plan::Plan;
use super::schedule::{self, Report};
use super::trace::Detail;

/// What a batch of schedules showed.
#[derive(Debug, Default)]
pub struct Batch {
    /// Schedules that were run.
    pub schedules: u64,
    /// Things that users said.
    pub operations: usize,
    /// All counts together.
    pub measure: Measure,
    /// From the end of the faults until all histories were equal, of every schedule.
    pub equal_after: Vec<Duration>,
    /// The schedules in which something was broken, by seed.
    pub failed: BTreeMap<u64, Report>,
}

/// Runs the schedules of these seeds, in any order. Stops early when `FAILED_MAX` of them failed.
#[must_use]
pub fn run(seeds: std::ops::Range<u64>, threads: usize, plan: impl Fn(u64) -> Plan + Sync) -> Batch {
    let batch = Mutex::new(Batch::default());
    let next = AtomicU64::new(seeds.start);
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return;
            }
            let report = schedule::run(plan(seed), Detail::Fingerprint);
            let mut batch = batch.lock().expect("a thread that panicked ends the whole run");
            batch.add(report);
            if batch.failed.len() >= FAILED_MAX {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    batch.into_inner().expect("a thread that panicked ends the whole run")
}

/// The first seed of these in which the judge sees this bug for what it is, and sees nothing of the kind in the same
/// world without the bug: otherwise another bug could pass for it.
#[must_use]
pub fn catch(bug: Bug, seeds: std::ops::Range<u64>) -> Option<u64> {
    let shows = |plan: Plan| {
        let report = schedule::run(plan, Detail::Fingerprint);
        report.violations.iter().any(|violation| bug.explains(violation))
    };
    seeds.into_iter().find(|seed| {
        let plan = Plan::with_bug(*seed, bug);
        shows(plan.clone()) && !shows(Plan { bug: None, ..plan })
    })
}

impl Batch {
    /// What should have happened somewhere and never did.
    #[must_use]
    pub fn never_happened(&self) -> Vec<Milestone> {
        let happened = &self.measure.milestones;
        Milestone::ALL.into_iter().filter(|milestone| !happened.contains_key(milestone)).collect()
    }

    fn add(&mut self, report: Report) {
        self.schedules += 1;
        self.operations += report.operations;
        self.measure.add(&report.measure);
        self.equal_after.extend(report.equal_after);
        if !report.violations.is_empty() {
            self.failed.insert(report.seed, report);
        }
    }
}

impl fmt::Display for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let measure = &self.measure;
        let longest = self.equal_after.iter().max().copied().unwrap_or_default();
        writeln!(f, "schedules            {:>10}", self.schedules)?;
        writeln!(f, "posts said           {:>10}", self.operations)?;
        writeln!(f, "deliveries           {:>10}", measure.latencies.len())?;
        writeln!(f, "redundancy           {:>10.3}", measure.redundancy())?;
        writeln!(f, "control frames       {:>10}", measure.control_frames())?;
        writeln!(f, "hops at most         {:>10}", measure.hops_max())?;
        for part in [0.5, 0.99] {
            let ms = measure.latency(part).as_secs_f64() * 1_000.0;
            writeln!(f, "latency p{:<3}         {ms:>10.1} ms", part * 100.0)?;
        }
        writeln!(f, "equal after, longest {:>10.1} s", longest.as_secs_f64())?;
        for milestone in Milestone::ALL {
            let count = measure.milestones.get(&milestone).copied().unwrap_or(0);
            writeln!(f, "{:<20} {count:>10}", format!("{milestone:?}"))?;
        }
        for (fault, count) in &measure.faults {
            writeln!(f, "fault {fault:<16} {count:>8}")?;
        }
        for report in self.failed.values() {
            writeln!(f, "FAILED seed={}", report.seed)?;
            for violation in report.violations.iter().take(VIOLATIONS_SHOWN) {
                writeln!(f, "  {violation}")?;
            }
        }
        Ok(())
    }
}

/// After so many failures more of them show nothing new.
const FAILED_MAX: usize = 10;
const VIOLATIONS_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_lacks_one_thing_is_told_so() {
        let mut batch = Batch::default();
        assert_eq!(batch.never_happened(), Milestone::ALL);
        Milestone::ALL[1..].iter().for_each(|milestone| batch.measure.reach(*milestone));
        assert_eq!(batch.never_happened(), Milestone::ALL[..1]);
    }
}
