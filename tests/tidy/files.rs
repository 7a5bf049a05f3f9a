//! What lies where: the top of the repository, paths of one machine, where crates come from.

use std::collections::BTreeSet;
use std::process::Command;

use crate::source::{files, read, root};

/// Complaints about the repository as a whole.
pub(crate) fn check() -> Vec<String> {
    let mut complaints = check_top(&top());
    complaints.extend(check_lock(&read("Cargo.lock")));
    complaints.extend(check_reasons(&read("Cargo.toml"), &read("ARCHITECTURE.md")));
    for path in files("", TEXT_ENDINGS) {
        complaints.extend(check_text(&path, &read(&path)));
    }
    complaints
}

/// What git keeps at the top; what lies there, where this is no clone.
fn top() -> Vec<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let listed = listed.ok().filter(|output| output.status.success() && !output.stdout.is_empty());
    let mut names: Vec<String> = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout)
            .split_terminator('\0')
            .filter_map(|path| path.split('/').next())
            .map(str::to_owned)
            .collect(),
        None => std::fs::read_dir(root())
            .expect("the repository can be read")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| !["target", ".git", ".p2p"].contains(&name.as_str()))
            .collect(),
    };
    names.sort();
    names.dedup();
    names
}

fn check_top(names: &[String]) -> Vec<String> {
    let extra =
        names.iter().filter(|name| !TOP.contains(&name.as_str())).map(|name| format!("{name}: not a name for the top"));
    let missing =
        TOP.iter().filter(|name| !names.iter().any(|have| have == *name)).map(|name| format!("{name}: missing"));
    extra.chain(missing).collect()
}

fn check_lock(lock: &str) -> Vec<String> {
    let sources = lock.lines().enumerate().filter(|(_, line)| line.starts_with("source = "));
    sources
        .filter(|(_, line)| *line != CRATES_IO)
        .map(|(at, line)| format!("Cargo.lock:{}: not from crates.io: {line}", at + 1))
        .collect()
}

/// Each crate that we ask for has its reason, and each reason its crate.
fn check_reasons(manifest: &str, document: &str) -> Vec<String> {
    let asked: BTreeSet<&str> = section(manifest, "[workspace.dependencies]", "[")
        .filter_map(|line| line.split_once(" = ").map(|(name, _)| name))
        .filter(|name| !name.starts_with("p2p"))
        .collect();
    let table = section(document, "## What is linked in, and why", "## ").filter(|line| line.starts_with('|'));
    let reasoned: BTreeSet<&str> = table.flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let without = asked.difference(&reasoned).map(|name| format!("ARCHITECTURE.md: no reason for the crate {name}"));
    let unknown = reasoned.difference(&asked).filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()));
    let unknown = unknown.filter(|name| !NO_CRATES.contains(name));
    without.chain(unknown.map(|name| format!("ARCHITECTURE.md: a reason for {name}, which nobody asks for"))).collect()
}

/// The lines behind one that is `heading`, up to the next that begins with `end`.
fn section<'a>(text: &'a str, heading: &'a str, end: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().skip_while(move |line| *line != heading).skip(1).take_while(move |line| !line.starts_with(end))
}

fn check_text(path: &str, text: &str) -> Vec<String> {
    // Put together here, so that this file does not complain about itself.
    let marks = [
        (["/wo", "rk/"].concat(), "a path of one machine"),
        (["/ro", "ot/"].concat(), "a path of one machine"),
        (["real output ", "goes here"].concat(), "output of the real program is missing"),
    ];
    let mut complaints = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let found = marks.iter().filter(|(mark, _)| line.contains(mark));
        complaints.extend(found.map(|(_, why)| format!("{path}:{}: {why}", at + 1)));
    }
    complaints
}

/// Words of the table of reasons that are code, and no crates.
const NO_CRATES: &[&str] = &["protoc", "serde-saphyr", "tui", "unsafe", "verify_strict"];
const CRATES_IO: &str = "source = \"registry+https://github.com/rust-lang/crates.io-index\"";
const TEXT_ENDINGS: &[&str] = &[
    ".rs",
    ".toml",
    ".md",
    ".sh",
    ".py",
    ".proto",
    ".yaml",
    ".yml",
    ".snap",
    ".service",
    "Makefile",
    "run",
    "Dockerfile",
];

/// Everything that lies at the top, and must.
const TOP: &[&str] = &[
    ".cargo",
    ".ci",
    ".dockerignore",
    ".gitignore",
    ".clippy.toml",
    ".deny.toml",
    ".rustfmt.toml",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "SECURITY.md",
    "docker-compose.yml",
    "example-config.yaml",
    "p2pctl",
    "p2pd",
    "proto",
    "tests",
];

#[test]
fn strange_files_crates_and_paths_are_found() {
    let mut names: Vec<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
    assert!(check_top(&names).is_empty());
    *names.iter_mut().find(|name| *name == "LICENSE").unwrap() = "notes.txt".into();
    assert_eq!(check_top(&names), ["notes.txt: not a name for the top", "LICENSE: missing"]);

    assert!(check_lock(CRATES_IO).is_empty());
    let complaint = "Cargo.lock:2: not from crates.io: source = \"git+https://example.org\"";
    assert_eq!(check_lock("[[package]]\nsource = \"git+https://example.org\""), [complaint]);

    let manifest = "[workspace.dependencies]\np2pd = 1\nbytes = 1\nrand = 1\n[other]\nx = 1";
    let document = "## What is linked in, and why\n| `bytes` `snow` | noise, not `unsafe` |\n## More\n| `y` | |";
    let complaints =
        ["ARCHITECTURE.md: no reason for the crate rand", "ARCHITECTURE.md: a reason for snow, which nobody asks for"];
    assert_eq!(check_reasons(manifest, document), complaints);

    let path = ["see /wo", "rk/x"].concat();
    assert_eq!(check_text("a.md", &format!("x\n{path}")), ["a.md:2: a path of one machine"]);
}
