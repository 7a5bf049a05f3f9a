//! The bench as it is called, with everything as short as it can be: that it measures, not how fast.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use p2p_tests::program::{Output, Running};

/// A repository with a README, and nothing recorded yet.
fn repository() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("tests/bench")).unwrap();
    let block = "a\n<!-- written by `make bench ARGS=--record`: begin -->\n<!-- end -->\nz\n";
    fs::write(dir.path().join("README.md"), block).unwrap();
    dir
}

fn bench(repository: &Path, args: &[&str]) -> Output {
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_bench"));
    let mut command = Command::new(&bench);
    command.arg("--repository").arg(repository).args(args);
    if !args.contains(&"--bin") {
        command.arg("--bin").arg(bench.parent().unwrap());
    }
    Running::start(&mut command, Vec::new()).wait(PATIENCE)
}

fn is_recorded(repository: &Path) -> bool {
    let files = ["json", "md", "svg"].map(|ending| repository.join("tests/bench/results").with_extension(ending));
    files.iter().any(|file| file.exists())
}

#[test]
fn everything_is_measured_beside_the_yardsticks_and_recorded_only_on_demand() {
    let repository = repository();
    let text = bench(repository.path(), &[&["--record"], SHORT].concat()).ok();
    assert!(is_recorded(repository.path()));
    let record = fs::read_to_string(repository.path().join("tests/bench/results.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    let figures = record["figures"].as_array().unwrap();
    for key in ["flood_64_rate", "flood_1024_rate", "six_64_rate", "calm_100_64_p50", "paced_64_p99", "paced_64_bytes"]
    {
        let figure = figures.iter().find(|figure| figure["key"] == key).unwrap();
        for system in ["raw", "grpc", "p2pd"] {
            assert!(figure[system].as_f64().unwrap() > 0.0, "{key} of {system}: {figure}");
        }
    }
    for key in ["start_empty", "start_full", "catch_up", "kill_seen", "p2pctl_status", "rss_loaded"] {
        assert!(figures.iter().any(|figure| figure["key"] == key && figure["p2pd"].as_f64().unwrap() > 0.0), "{key}");
    }
    assert!(text.contains("| goal |") && !text.contains("Last recorded"), "{text}");
    let readme = fs::read_to_string(repository.path().join("README.md")).unwrap();
    assert!(readme.contains("| one sender in a flood, 64 B: posts |"), "{readme}");
    // Each of the main lines is measured; a title and a rule stand above them.
    assert_eq!(readme.lines().filter(|line| line.starts_with('|')).count(), 2 + 18, "{readme}");

    let text = bench(repository.path(), &[&["--alone", "--only", "flood64"], SHORT].concat()).ok();
    assert!(text.contains("| of last |") && text.contains("Last recorded"), "{text}");
}

#[test]
fn without_the_programs_nothing_is_measured() {
    let repository = repository();
    let output = bench(repository.path(), &["--bin", "/nowhere"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("/nowhere/p2pd: "), "{}", output.stderr);
    assert!(!is_recorded(repository.path()));
}

#[test]
fn a_part_of_the_figures_is_not_recorded() {
    assert_eq!(bench(Path::new("."), &["--record", "--only", "idle"]).code, Some(2));
    assert_eq!(bench(Path::new("."), &["--seconds", "-1"]).code, Some(2));
    assert_eq!(bench(Path::new("."), &["--seconds", "soon"]).code, Some(2));
}

#[test]
fn a_yardstick_ends_with_its_input() {
    let bench = env!("CARGO_BIN_EXE_bench");
    let output = Running::start(Command::new(bench).arg("yardstick"), Vec::new()).wait(PATIENCE);
    assert!(output.ok().contains("Listening"));
    let orders = "{\"Mesh\":{\"place\":0,\"ports\":[1]}}\n\"Count\"\n{\"Mesh\":{\"place\":0,\"ports\":[1]}}\n";
    let output = Running::start(Command::new(bench).arg("yardstick"), orders.into()).wait(PATIENCE);
    assert!(output.stdout.contains("\"sent_bytes\":0") && output.stderr.contains("out of order"), "{output:?}");
}

const SHORT: &[&str] =
    &["--rounds=1", "--seconds=0.1", "--paced-seconds=0.1", "--idle-seconds=0.1", "--catch-up-posts=500"];
const PATIENCE: Duration = Duration::from_secs(180);
