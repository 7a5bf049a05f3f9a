//! The bench as it is called, with everything as short as it can be: that it measures, not how fast.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use p2p_tests::program::{Output, Running};

fn bench(args: &[&str]) -> Output {
    let bench = PathBuf::from(env!("CARGO_BIN_EXE_bench"));
    let mut command = Command::new(&bench);
    if !args.contains(&"--bin") {
        command.arg("--bin").arg(bench.parent().unwrap());
    }
    Running::start(command.args(args), Vec::new()).wait(PATIENCE)
}

#[test]
fn everything_is_measured_beside_the_yardsticks() {
    let text = bench(SHORT).ok();
    for what in ["flood, 64 B: posts", "100/s, 64 B: median", "six senders at 1,000/s each, 64 B: bytes", "kill -9"] {
        let row = text.lines().find(|line| line.contains(what)).unwrap();
        let filled = row.split('|').filter(|cell| cell.contains(|first: char| first.is_ascii_digit())).count();
        assert!(filled >= if what == "kill -9" { 2 } else { 5 }, "{row}");
    }
}

#[test]
fn without_the_programs_nothing_is_measured() {
    let output = bench(&["--bin", "/nowhere"]);
    assert_eq!(output.code, Some(1));
    assert!(output.stderr.contains("/nowhere/p2pd: "), "{}", output.stderr);
}

#[test]
fn a_time_is_a_number_of_seconds() {
    assert_eq!(bench(&["--seconds=-1"]).code, Some(2));
    assert_eq!(bench(&["--seconds=soon"]).code, Some(2));
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
