//! The tool that measures many daemons, with as few and as short as it can: that it judges, not how fast they are.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use p2p_tests::program::{Output, Running};

fn scale(bin: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_scale"));
    Running::start(command.arg("--bin").arg(bin).args(args), Vec::new()).wait(PATIENCE)
}

#[test]
fn what_a_peer_costs_is_measured_of_three_and_kept_on_demand() {
    let dir = tempfile::tempdir().unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_scale")).parent().unwrap();
    let kept = dir.path().to_str().unwrap();
    let table = scale(bin, &["--peers", "3", "--idle-seconds", "1", "--record", kept]).ok();
    let row = table.lines().find(|line| line.starts_with("| 3 |")).unwrap();
    let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
    assert_eq!(cells.len(), table.lines().next().unwrap().matches(" | ").count() + 1, "{table}");
    assert_eq!(cells[2], "2", "each of three has two links: {table}");
    let text = fs::read_to_string(dir.path().join("results.md")).unwrap();
    assert!(text.contains(&table), "{text}");
    let picture = fs::read_to_string(dir.path().join("results.svg")).unwrap();
    assert!(picture.contains("<polyline") && picture.ends_with("</svg>\n"), "{picture}");
}

#[test]
fn a_mesh_that_cannot_be_measured_is_a_failure_and_not_a_figure() {
    let nothing = tempfile::tempdir().unwrap();
    let output = scale(nothing.path(), &["--peers", "3,4"]);
    assert_eq!(output.code, Some(1));
    assert_eq!(output.stdout.matches("it did not work").count(), 2, "{}", output.stdout);
    assert!(output.stderr.contains("scale: error: of these numbers of peers not all went well: [3, 4]"));
    assert!(output.stderr.contains("build it with: make release"), "{}", output.stderr);
}

/// Three daemons of a debug build take a few seconds.
const PATIENCE: Duration = Duration::from_secs(300);
