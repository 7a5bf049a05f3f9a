//! The configuration as text: what is in force, and the example with everything in it.

use std::fmt::Write;

use super::Config;
use super::keys::{KEYS, Shown};
use super::load::Loaded;
use crate::paths::Surroundings;

/// What `p2pd check` prints: YAML of every key, with the source of its value.
#[must_use]
pub fn render(loaded: &Loaded) -> String {
    let mut out = String::new();
    let lines: Vec<_> =
        loaded.values.iter().map(|each| (format!("{}: {}", each.key, each.value), &each.source)).collect();
    let width = lines.iter().map(|(line, _)| line.chars().count()).max().unwrap_or(0).min(SOURCE_COLUMN_MAX);
    for (line, source) in lines {
        writeln!(out, "{line:width$}  # {source}").expect("a string takes everything");
    }
    out
}

/// The text of `example-config.yaml`: every key with its default and what it means.
#[must_use]
pub fn example() -> String {
    let defaults = Config::default_in(&Surroundings::default());
    let mut out = EXAMPLE_HEAD.to_owned();
    let fixed: Vec<&str> = KEYS.iter().filter(|key| key.take.is_none()).map(|key| key.name).collect();
    for line in wrap(&format!("{EXAMPLE_RELOAD}{}.", fixed.join(", "))) {
        writeln!(out, "# {line}").expect("a string takes everything");
    }
    for key in KEYS {
        let about = key.about.replace('\n', "\n# ");
        let line = match key.default {
            Some(words) => format!("# Default: {words}.\n# {}:", key.name),
            None => format!("{}: {}", key.name, yaml(&(key.show)(&defaults))),
        };
        writeln!(out, "\n# {about}\n{line}").expect("a string takes everything");
    }
    out
}

/// Words in lines that fit behind `# `.
fn wrap(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut().filter(|line| line.len() + word.len() < EXAMPLE_COLUMNS) {
            Some(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A value as YAML, on one line.
pub(super) fn yaml(shown: &Shown) -> String {
    match shown {
        Shown::Nothing | Shown::Hidden => "null".into(),
        Shown::One(value) => scalar(value),
        Shown::Many(values) => {
            let values: Vec<String> = values.iter().map(|value| scalar(value)).collect();
            format!("[{}]", values.join(", "))
        }
    }
}

/// Quoted unless it is surely plain, and without anything that a terminal would act on.
fn scalar(value: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./-:=".contains(&byte);
    let starts_plain = value.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'/');
    if starts_plain && value.bytes().all(plain) && !value.ends_with(':') && !value.eq_ignore_ascii_case("null") {
        return value.to_owned();
    }
    let mut quoted = String::from('"');
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            character if character.is_control() => {
                write!(quoted, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

/// Beyond this column, sources are not kept in line: a long list would push all of them away.
const SOURCE_COLUMN_MAX: usize = 60;
const EXAMPLE_COLUMNS: usize = 116;
const EXAMPLE_RELOAD: &str = "`p2pctl daemon reload`, or SIGHUP, takes changes over while the daemon runs, but not of these \
    keys, which need a restart: ";
const EXAMPLE_HEAD: &str = "\
# The configuration of p2pd: every key with its default. Nothing in it is needed.
#
# It is read from the file behind -c, from $P2P_CONFIG, from $XDG_CONFIG_HOME/p2p/config.yaml or from
# /etc/p2pd/config.yaml: the first of them. Each key can be given as a variable too, such as P2P_LISTEN_ADDR, lists
# with commas, as in P2P_PEERS=10.0.0.7:8080,10.0.0.8:8080; an empty variable counts as not set. A flag goes before a
# variable, and that before this file. `p2pd check` says what is wrong, or prints what is in force and why.
#
";
