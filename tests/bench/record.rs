//! What is kept of a measuring: the figures for machines, the table and the picture for people, and the main lines in
//! the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::book::Figure;
use crate::failure::Failure;
use crate::machine::{self, Machine};
use crate::{picture, table};

/// One measuring, with everything that one must know to compare it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    /// `2026-11-23 10:00 UTC`.
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) machine: Machine,
    /// Of which these are the medians.
    pub(crate) rounds: usize,
    /// How long each load lasted in a round.
    pub(crate) load_s: f64,
    pub(crate) figures: Vec<Figure>,
}

impl Record {
    pub(crate) fn new(
        repository: &Path,
        machine: Machine,
        (rounds, load): (usize, Duration),
        figures: Vec<Figure>,
    ) -> Self {
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string();
        let commit = machine::commit(repository);
        Self { date, commit, machine, rounds, load_s: load.as_secs_f64(), figures }
    }

    /// The last one that was kept; `None` where there is none yet.
    ///
    /// # Errors
    ///
    /// It is not of this form.
    pub(crate) fn load(repository: &Path) -> Result<Option<Self>, Failure> {
        let path = file(repository, "json");
        if !path.exists() {
            return Ok(None);
        }
        let record = serde_json::from_str(&fs::read_to_string(&path)?);
        record.map(Some).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
    }

    /// Writes everything that is kept.
    ///
    /// # Errors
    ///
    /// The README has no place for the main lines, or something cannot be written.
    pub(crate) fn save(&self, repository: &Path) -> Result<(), Failure> {
        let readme = repository.join("README.md");
        let text = replace_block(&fs::read_to_string(&readme)?, &self.render_main_lines())?;
        let json = serde_json::to_string_pretty(self).map_err(|error| Failure::new(error.to_string()))?;
        fs::write(file(repository, "json"), json + "\n")?;
        fs::write(file(repository, "md"), self.render_page())?;
        fs::write(file(repository, "svg"), picture::render(self))?;
        Ok(fs::write(readme, text)?)
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.spec.key == key)
    }

    /// The page with all figures.
    fn render_page(&self) -> String {
        let table = table::render(&self.figures, None);
        let when = self.render_when();
        format!(
            "# What `make bench` measured\n\n{PAGE_INTRO}\n\n{when}.\n\n![Rates and latencies](results.svg)\n\n{table}"
        )
    }

    /// What the README quotes.
    pub(crate) fn render_main_lines(&self) -> String {
        let figures: Vec<Figure> = MAIN_KEYS.iter().filter_map(|key| self.find(key).cloned()).collect();
        let when = self.render_when();
        let table = table::render_short(&figures);
        format!("{table}\n![Rates and latencies](tests/bench/results.svg)\n\n{when}.\n[All figures]({PAGE}).\n")
    }

    fn render_when(&self) -> String {
        let Self { date, commit, machine, rounds, load_s, .. } = self;
        let Machine { cpu, cores, kernel, file_system, fdatasync_ms } = machine;
        let rounds = if *rounds == 1 { "one round".to_owned() } else { format!("medians of {rounds} rounds") };
        format!(
            "{date}, commit {commit}; {rounds}, {load_s} s each load\non {cpu}, {cores} cores, Linux {kernel}, {file_system} \
             with an fdatasync of {fdatasync_ms:.2} ms"
        )
    }
}

/// Puts `block` between the two marks.
fn replace_block(text: &str, block: &str) -> Result<String, Failure> {
    let (before, rest) = text.split_once(BLOCK_BEGIN).ok_or_else(|| Failure::new(NO_BLOCK))?;
    let (_, after) = rest.split_once(BLOCK_END).ok_or_else(|| Failure::new(NO_BLOCK))?;
    Ok(format!("{before}{BLOCK_BEGIN}{block}{BLOCK_END}{after}"))
}

fn file(repository: &Path, ending: &str) -> PathBuf {
    repository.join("tests/bench/results").with_extension(ending)
}

const PAGE: &str = "tests/bench/results.md";
const PAGE_INTRO: &str = "\
Six peers on one machine, one room, every peer subscribed; time runs from the sender's program to the receiver's, through
both daemons; bytes are those of frames, before encryption. Every run checks that each receiver got each post once and in
order. p2pd signs, encrypts, flushes and keeps history. Beside it, in the same run, stand two meshes that only carry:
`raw` over TCP with the program in each process, and `behind gRPC` the same mesh in daemons of its own, with the same
clients and streams as p2pd: the limit of this shape.";
const BLOCK_BEGIN: &str = "<!-- written by `make bench ARGS=--record`: begin -->\n";
const BLOCK_END: &str = "<!-- end -->\n";
const NO_BLOCK: &str = "the README has no block for the figures of the bench";
/// What the README quotes.
const MAIN_KEYS: [&str; 18] = [
    "flood_64_rate",
    "flood_64_cpu",
    "flood_64_bytes",
    "flood_64_copies",
    "flood_1024_rate",
    "six_64_rate",
    "calm_100_64_p50",
    "calm_100_64_p99",
    "calm_1000_64_p50",
    "paced_64_p50",
    "paced_64_p99",
    "idle_cpu",
    "rss_idle",
    "rss_loaded",
    "kill_seen",
    "start_full",
    "catch_up",
    "p2pctl_status",
];

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::book::tests::example_figures;

    /// A measuring of a machine that nobody has.
    pub(crate) fn example() -> Record {
        let (cpu, kernel, file_system) = ("A & <B>".into(), "6.1".into(), "ext4".into());
        let machine = Machine { cpu, cores: 2, kernel, file_system, fdatasync_ms: 0.4 };
        Record {
            date: "2026-01-01 00:00 UTC".into(),
            commit: "abc".into(),
            machine,
            rounds: 3,
            load_s: 5.0,
            figures: example_figures(),
        }
    }

    fn repository() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    #[test]
    fn what_was_saved_is_found_again_and_replaces_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tests/bench")).unwrap();
        assert_eq!(Record::load(dir.path()), Ok(None));
        let readme = dir.path().join("README.md");
        fs::write(&readme, format!("before\n{BLOCK_BEGIN}old\n{BLOCK_END}after\n")).unwrap();
        let record = example();
        record.save(dir.path()).unwrap();
        record.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()), Ok(Some(record.clone())));
        let text = fs::read_to_string(readme).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("after\n") && !text.contains("old"), "{text}");
        assert!(text.contains("| what flood_64_rate is | 100,000/s | 200,000/s | ×0.50 |"), "{text}");
        let page = fs::read_to_string(file(dir.path(), "md")).unwrap();
        assert!(page.contains("medians of 3 rounds") && page.contains("×0.50"), "{page}");
        fs::write(file(dir.path(), "json"), "{}").unwrap();
        assert!(Record::load(dir.path()).is_err());
    }

    #[test]
    fn a_readme_without_a_place_is_left_alone() {
        for text in ["", BLOCK_BEGIN, BLOCK_END] {
            assert_eq!(replace_block(text, "x"), Err(Failure::new(NO_BLOCK)));
        }
    }

    #[test]
    fn the_readme_and_the_page_say_what_was_recorded() {
        let kept = ["json", "md", "svg"].map(|ending| file(&repository(), ending).exists());
        let Some(record) = Record::load(&repository()).unwrap() else {
            return assert_eq!(kept, [false; 3], "a page or a picture of nothing");
        };
        let readme = fs::read_to_string(repository().join("README.md")).unwrap();
        assert_eq!(replace_block(&readme, &record.render_main_lines()), Ok(readme), "run: make bench ARGS=--record");
        assert_eq!(fs::read_to_string(file(&repository(), "md")).unwrap(), record.render_page());
        assert_eq!(fs::read_to_string(file(&repository(), "svg")).unwrap(), picture::render(&record));
    }
}
