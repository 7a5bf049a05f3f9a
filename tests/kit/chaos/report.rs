//! What came of a run, for people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::path::PathBuf;

use super::footprint::Footprint;
use super::people::Said;
use super::plan::Kind;
use super::verdict::Settled;
use crate::checker::{Outcome, Violation};

/// What came of a run.
#[derive(Debug, Default)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// The network it ran in.
    pub network: &'static str,
    /// Broken promises; none if all went well.
    pub violations: Vec<Violation>,
    /// What was wrong meanwhile.
    pub faults: Vec<Kind>,
    /// Everything that people said.
    pub said: Vec<Said>,
    /// Posts in the history.
    pub posts: usize,
    /// How long it took to be one again.
    pub settled: Settled,
    /// The most that one peer took.
    pub footprint: Footprint,
    /// Where the logs are, if they are needed.
    pub logs: Option<PathBuf>,
}

impl Report {
    /// How many sends were acknowledged, refused, and never answered.
    #[must_use]
    pub fn outcomes(&self) -> (usize, usize, usize) {
        let count = |is: fn(&Outcome) -> bool| self.said.iter().filter(|said| is(&said.operation.outcome)).count();
        (
            count(|outcome| matches!(outcome, Outcome::Ok(_))),
            count(|outcome| matches!(outcome, Outcome::Fail)),
            count(|outcome| matches!(outcome, Outcome::Unknown)),
        )
    }

    /// Writes what everybody said beside the logs.
    pub(super) fn keep_said(&self) {
        let Some(logs) = &self.logs else { return };
        let mut text = String::new();
        for Said { at, took, operation } in &self.said {
            let (author, session) = (operation.author, operation.session);
            let (key, outcome) = (operation.key.as_deref().unwrap_or("-"), operation.outcome);
            let (at, took) = (at.as_secs_f64(), took.as_secs_f64());
            let line = format!("{at:.3} +{took:.3} {author:?} {session} {key} {outcome:?} {:?}", operation.text);
            writeln!(text, "{line}").expect("a text takes everything");
        }
        // As with the logs: the report is what counts.
        drop((fs::write(logs.join("said"), text), fs::write(logs.join("picture"), &self.settled.picture)));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ok, fail, unknown) = self.outcomes();
        let mut kinds: BTreeMap<Kind, usize> = BTreeMap::new();
        for kind in &self.faults {
            *kinds.entry(*kind).or_default() += 1;
        }
        let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{kind:?} {count}")).collect();
        let seconds = |time: Option<std::time::Duration>| {
            time.map_or("never".to_owned(), |time| format!("{:.1} s", time.as_secs_f64()))
        };
        writeln!(f, "  sends            {ok} acknowledged, {fail} refused, {unknown} without an answer")?;
        writeln!(f, "  posts            {}", self.posts)?;
        writeln!(f, "  faults           {}", kinds.join(", "))?;
        writeln!(f, "  all linked       {} after the last fault", seconds(self.settled.links))?;
        writeln!(f, "  all equal        {} after that", seconds(self.settled.equal))?;
        let Footprint { memory_kib, open_files, data_files } = self.footprint;
        writeln!(f, "  most of one      {} MiB, {open_files} open files, {data_files} data files", memory_kib >> 10)?;
        if let Some(logs) = &self.logs {
            writeln!(f, "  logs             {}", logs.display())?;
        }
        if self.violations.is_empty() {
            return writeln!(f, "seed={} ok", self.seed);
        }
        writeln!(f, "seed={} broke {} promises", self.seed, self.violations.len())?;
        let mut shown = self.violations.iter().take(VIOLATIONS_SHOWN_MAX);
        shown.try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

/// One mistake often breaks the same promise a thousand times.
const VIOLATIONS_SHOWN_MAX: usize = 20;
