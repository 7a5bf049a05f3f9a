//! What p2pd does besides being a daemon: it checks, tells its paths and makes keys. What it says goes out in `lib`.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::{Args, ConfigArgs, KeygenArgs};
use crate::config::{self, ConfigErrors, Loaded};
use crate::exit;
use crate::logging;
use crate::manual;
use crate::network;
use crate::paths::{HISTORY_FILE, IDENTITY_FILE, LOCK_FILE};

/// What a command prints, and its exit code.
#[derive(PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) code: u8,
}

impl Outcome {
    /// A line for people. Names of files are in it, and may hold anything.
    fn line(&mut self, line: &str) {
        self.stderr.push_str("p2pd: ");
        logging::write_safe(&mut self.stderr, line).expect("a string takes everything");
        self.stderr.push('\n');
    }
}

/// Help and version, or what is wrong with the command line: one line, and a hint where there is one.
pub(crate) fn not_an_action(error: &clap::Error) -> Outcome {
    let text = error.to_string();
    if !error.use_stderr() {
        return Outcome { stdout: text, ..Outcome::default() };
    }
    let parts: Vec<String> =
        text.split("\n\n").map(|part| part.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let part = |prefix: &str| parts.iter().find_map(|part| part.strip_prefix(prefix));
    let mut outcome = Outcome { code: exit::USAGE, ..Outcome::default() };
    outcome.line(&format!("error: {}", part("error: ").unwrap_or("the command line makes no sense")));
    let hint = part("tip: ").map(str::to_owned).or(part("Usage: ").map(|usage| format!("usage: {usage}")));
    outcome.stderr.extend(hint.map(|hint| format!("hint: {hint}\n")));
    outcome
}

pub(crate) fn check(args: &ConfigArgs, env: impl Iterator<Item = (OsString, OsString)>) -> Outcome {
    with_config(args, env, config::render)
}

pub(crate) fn paths(args: &ConfigArgs, env: impl Iterator<Item = (OsString, OsString)>) -> Outcome {
    with_config(args, env, render_paths)
}

fn with_config(
    args: &ConfigArgs,
    env: impl Iterator<Item = (OsString, OsString)>,
    render: impl FnOnce(&Loaded) -> String,
) -> Outcome {
    match config::load(args, env) {
        Ok(loaded) => {
            let mut outcome = Outcome { stdout: render(&loaded), ..Outcome::default() };
            for warning in &loaded.warnings {
                outcome.line(&format!("warning: {warning}"));
            }
            outcome
        }
        Err(errors) => bad_config(&errors),
    }
}

pub(crate) fn bad_config(errors: &ConfigErrors) -> Outcome {
    let mut outcome = Outcome { code: errors.exit_code(), ..Outcome::default() };
    for mistake in errors.mistakes() {
        outcome.line(&format!("error: {mistake}"));
    }
    outcome
}

fn render_paths(loaded: &Loaded) -> String {
    let config = &loaded.config;
    let in_dir = |name: &str| config.data_dir.join(name).display().to_string();
    let shown = |path: &Path| path.display().to_string();
    let mut rows = vec![
        ("config", loaded.file.as_deref().map_or_else(|| "none".into(), shown)),
        ("data_dir", shown(&config.data_dir)),
        ("identity", in_dir(IDENTITY_FILE)),
        ("history", in_dir(HISTORY_FILE)),
        ("lock", in_dir(LOCK_FILE)),
    ];
    if !config.open_network && config.network_secret.is_none() {
        rows.push(("network_key", shown(&config.network_file())));
    }
    rows.extend(config.api_addr.iter().map(|endpoint| ("api", endpoint.to_string())));
    let mut out = String::new();
    for (name, path) in rows {
        writeln!(out, "{name:<11}  {path}").expect("a string takes everything");
    }
    out
}

pub(crate) fn keygen(args: &KeygenArgs) -> Outcome {
    match network::keygen(&args.file, args.if_missing) {
        Ok(network::Keygen::Made | network::Keygen::Kept) => Outcome::default(),
        Err(error) => {
            let mut outcome = Outcome { code: error.exit_code(), ..Outcome::default() };
            outcome.line(&format!("error: {error}"));
            outcome
        }
    }
}

/// Every page into a folder, or the first one to stdout.
pub(crate) fn man(dir: Option<&Path>) -> Outcome {
    let written = match dir {
        Some(dir) => manual::write(dir).map(|()| String::new()),
        None => manual::first(),
    };
    match written {
        Ok(stdout) => Outcome { stdout, ..Outcome::default() },
        Err(error) => {
            let mut outcome = Outcome { code: exit::FATAL, ..Outcome::default() };
            let dir = dir.unwrap_or(Path::new("stdout"));
            outcome.line(&format!("error: man: {}: {error}", dir.display()));
            outcome
        }
    }
}

pub(crate) fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "p2pd", &mut script);
    Outcome { stdout: String::from_utf8_lossy(&script).into_owned(), ..Outcome::default() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser;

    use super::*;

    fn env(home: &Path) -> impl Iterator<Item = (OsString, OsString)> + use<> {
        [("HOME".into(), home.into()), ("XDG_RUNTIME_DIR".into(), "/run/user/7".into())].into_iter()
    }

    #[test]
    fn a_wrong_command_line_is_one_line_and_a_hint_and_help_is_a_result() {
        let parsed = |words: &[&str]| not_an_action(&Args::try_parse_from(words).unwrap_err());
        let wrong = parsed(&["p2pd", "--lisen", "x"]);
        assert_eq!((wrong.stdout.as_str(), wrong.code), ("", exit::USAGE));
        assert_eq!(
            wrong.stderr,
            "p2pd: error: unexpected argument '--lisen' found\nhint: a similar argument exists: '--listen'\n"
        );
        let wrong = parsed(&["p2pd", "keygen"]).stderr;
        assert_eq!(
            wrong,
            "p2pd: error: the following required arguments were not provided: <FILE>\nhint: usage: p2pd keygen <FILE>\n"
        );
        let help = parsed(&["p2pd", "--help"]);
        assert!(help.stdout.starts_with("A daemon for group chat") && help.stderr.is_empty() && help.code == exit::OK);
    }

    #[test]
    fn x_04_the_name_of_a_file_cannot_move_the_cursor() {
        let args = ConfigArgs { config: Some("/nowhere/\u{1b}[2J\n\u{202e}.yaml".into()), ..ConfigArgs::default() };
        let stderr = check(&args, env(Path::new("/nowhere"))).stderr;
        assert!(stderr.starts_with("p2pd: error: /nowhere/\\u{1b}[2J\\n\\u{202e}.yaml: cannot be read"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1);
    }

    #[test]
    fn paths_are_one_a_line_with_their_names() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("c.yaml");
        std::fs::write(&file, "data_dir: /d\n").unwrap();
        let args = ConfigArgs { config: Some(file.clone()), ..ConfigArgs::default() };
        let expected = format!(
            "config       {}\ndata_dir     /d\nidentity     /d/identity.key\nhistory      /d/history.db\n\
             lock         /d/lock\nnetwork_key  /d/network.key\napi          unix:/run/user/7/p2p/p2pd.sock\n",
            file.display()
        );
        assert_eq!(paths(&args, env(home.path())), Outcome { stdout: expected, ..Outcome::default() });
    }

    #[test]
    fn mistakes_and_warnings_go_to_stderr_one_a_line() {
        let home = tempfile::tempdir().unwrap();
        let args = ConfigArgs { name: Some(" ".into()), peer: vec!["a".into()], ..ConfigArgs::default() };
        let outcome = check(&args, env(home.path()));
        let expected =
            "p2pd: error: --peer: \"a\" has no port: write a:8080\np2pd: error: --name: a name cannot be empty\n";
        assert_eq!((outcome.stdout.as_str(), outcome.stderr.as_str(), outcome.code), ("", expected, exit::BAD_CONFIG));

        let args = ConfigArgs { peer: vec!["localhost:8080".into()], ..ConfigArgs::default() };
        let outcome = check(&args, env(home.path()));
        assert_eq!(outcome.stderr, "p2pd: warning: peers (--peer): localhost:8080 is this daemon's own address\n");
        assert!(outcome.stdout.starts_with("listen_addr: localhost:8080 "), "{}", outcome.stdout);
        assert_eq!(outcome.code, exit::OK);
    }

    #[test]
    fn keygen_says_nothing_unless_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = KeygenArgs { if_missing: false, file: dir.path().join("k") };
        assert_eq!(keygen(&args), Outcome::default());
        let again = keygen(&args);
        assert!(again.stderr.starts_with("p2pd: error: ") && again.code == exit::FATAL, "{again:?}");
        args.if_missing = true;
        assert_eq!(keygen(&args), Outcome::default());
    }
}
