//! The figures as a table, and what is kept of them.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::failure::Failure;
use crate::figures::{Figures, Round, slope};
use crate::picture;

/// What was measured so far.
#[derive(Debug)]
pub(crate) struct Report {
    /// How long each mesh idled.
    pub(crate) idle: Duration,
    rows: Vec<(usize, Result<Figures, Failure>)>,
}

impl Report {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, peers: usize, outcome: Result<Figures, Failure>) {
        self.rows.push((peers, outcome));
    }

    /// Writes the table and the picture.
    ///
    /// # Errors
    ///
    /// The folder cannot be written.
    pub(crate) fn save(&self, dir: &Path) -> Result<(), Failure> {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let text = format!("{HEAD}\nOn {cores} cores, each mesh idle for {} s:\n\n{self}\n{TAIL}", self.idle.as_secs());
        fs::write(dir.join("results.md"), text)?;
        fs::write(dir.join("results.svg"), picture::render(&self.measured()))?;
        Ok(())
    }

    fn measured(&self) -> Vec<(usize, &Figures)> {
        self.rows.iter().filter_map(|(peers, outcome)| Some((*peers, outcome.as_ref().ok()?))).collect()
    }

    /// By how much a figure grows with each link of a daemon.
    fn a_link(&self, figure: fn(&Figures) -> f64) -> Option<f64> {
        let points: Vec<(f64, f64)> =
            self.measured().iter().map(|(_, figures)| (figures.links.mean, figure(figures))).collect();
        slope(&points)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rows.is_empty() {
            return Ok(());
        }
        writeln!(out, "{COLUMNS}\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")?;
        for (peers, outcome) in &self.rows {
            match outcome {
                Ok(figures) => writeln!(out, "| {peers} | {} |", cells(figures).join(" | "))?,
                // Only the first line: what stands in logs breaks tables.
                Err(failure) => {
                    let why = failure.to_string();
                    let why = why.lines().next().unwrap_or_default();
                    writeln!(out, "| {peers} | it did not work: {why} | | | | | | | | | |")?;
                }
            }
        }
        let resident = self.a_link(|figures| figures.resident_kib.mean);
        let processor = self.a_link(|figures| figures.processor_share * 1e6);
        if let (Some(resident), Some(processor)) = (resident, processor) {
            writeln!(
                out,
                "\nOne more link costs a daemon {resident:.0} KiB, and when it is idle {processor:.1} µs CPU a second."
            )?;
        }
        Ok(())
    }
}

/// Behind the number of peers.
fn cells(figures: &Figures) -> [String; 10] {
    let mib = |kib: f64| format!("{:.1}", kib / 1_024.0);
    let links = figures.links;
    [
        seconds(figures.formed),
        if links.least == links.most { links.most.to_string() } else { format!("{} to {}", links.least, links.most) },
        round(figures.first),
        round(figures.second),
        seconds(figures.healed),
        format!("{} MiB (most {})", mib(figures.resident_kib.mean), mib(figures.resident_kib.most as f64)),
        format!("{:.3} %", figures.processor_share * 100.0),
        format!("{:.0} B/s", figures.bytes_a_second),
        format!("{:.1} B/s", figures.bytes_a_link()),
        format!("{:.0} %", figures.others * 100.0),
    ]
}

fn round(round: Round) -> String {
    format!("{:.0} ms, {:.2} copies", round.everywhere.as_secs_f64() * 1e3, round.copies)
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

const COLUMNS: &str = "| peers | formed in | links of each | a word from all at once, everywhere | another, 3 s later | healed in | memory of \
                       each | CPU idle of each | traffic idle of each | of a link | others on the machine |";
/// What a reader of the file has to know before and behind the table.
const HEAD: &str = include_str!("head.md");
const TAIL: &str = include_str!("tail.md");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Spread;

    fn figures(links: u64) -> Figures {
        Figures {
            formed: Duration::from_millis(1_234),
            first: Round { everywhere: Duration::from_millis(56), copies: 1.5 },
            second: Round { everywhere: Duration::from_millis(7), copies: 1.0 },
            healed: Duration::from_millis(780),
            links: Spread::of([links, links]),
            resident_kib: Spread::of([8_192 + 64 * links]),
            processor_share: 0.000_1 * links as f64,
            bytes_a_second: 5.0 * links as f64,
            others: 0.123,
        }
    }

    #[test]
    fn a_mesh_is_a_row_and_one_that_failed_says_why_in_one_line() {
        let mut report = Report::new(Duration::from_secs(60));
        assert_eq!(report.to_string(), "");
        report.push(3, Ok(figures(2)));
        report.push(5, Err(Failure::Ended { how: "exit status: 1".into(), log: "| a | b |".into() }));
        let text = report.to_string();
        let rows: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            rows,
            [
                "| 3 | 1.23 s | 2 | 56 ms, 1.50 copies | 7 ms, 1.00 copies | 0.78 s | \
                 8.1 MiB (most 8.1) | 0.020 % | 10 B/s | 10.0 B/s | 12 % |",
                "| 5 | it did not work: a daemon ended: exit status: 1 | | | | | | | | | |",
            ]
        );
    }

    #[test]
    fn what_one_more_link_costs_is_told_where_there_are_two_meshes() {
        let mut report = Report::new(Duration::from_secs(60));
        report.push(3, Ok(figures(2)));
        report.push(11, Ok(figures(10)));
        let text = report.to_string();
        assert!(text.ends_with("costs a daemon 64 KiB, and when it is idle 100.0 µs CPU a second.\n"), "{text}");
    }

    #[test]
    fn table_and_picture_are_kept_in_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::new(Duration::from_secs(60));
        report.push(3, Ok(figures(2)));
        report.save(dir.path()).unwrap();
        let text = fs::read_to_string(dir.path().join("results.md")).unwrap();
        assert!(text.contains("each mesh idle for 60 s:") && text.contains("| 3 | 1.23 s |"), "{text}");
        assert!(fs::read_to_string(dir.path().join("results.svg")).unwrap().starts_with("<svg "));
        assert!(matches!(report.save(&dir.path().join("none")), Err(Failure::Io(_))));
    }
}
