//! The first command of the README.

use std::process::Command;

use p2p_tests::program::{Output, program, run};

/// `tests/demo/local.sh` on the programs under test, in a folder of its own.
fn demo(home: &std::path::Path, action: &str) -> Output {
    let p2pd = program("p2pd", home);
    let programs = std::path::Path::new(p2pd.get_program()).parent().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/demo/local.sh");
    let mut command = Command::new(script);
    // What somebody has set in his shell does not reach the daemons.
    command.env("BIN", programs).env("P2P_DEMO_DIR", home.join("demo")).env("P2P_NAME", "not this one");
    run(command.arg(action), b"")
}

#[test]
fn six_processes_show_a_line_and_leave_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let shown = demo(home.path(), "start");
    let pids: Vec<String> = ["b", "1", "2", "3", "4", "5"]
        .iter()
        .filter_map(|peer| std::fs::read_to_string(home.path().join("demo").join(peer).join("pid")).ok())
        .collect();
    let stopped = demo(home.path(), "stop");
    let shown = shown.ok();
    for peer in 1..=5 {
        assert!(shown.contains(&format!("peer {peer} printed: ")), "{shown}");
    }
    assert!(shown.contains("hello from b") && shown.contains("All five printed it."), "{shown}");
    assert_eq!(pids.len(), 6);

    assert_eq!(stopped.ok(), "");
    assert!(!home.path().join("demo").exists(), "the folder is gone");
    for pid in pids {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", pid.trim())).unwrap_or_default();
        assert_ne!(comm.trim(), "p2pd", "process {pid} still runs");
    }
}
