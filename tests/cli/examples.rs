//! The examples of the client, as somebody who found them would run them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../p2pctl/examples").join(name)
}

/// A program that finds the client, and through it this peer.
fn beside(peer: &TestPeer, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let client = peer.p2pctl_command(&[]);
    let folder = Path::new(client.get_program()).parent().unwrap();
    let mut command = Command::new(program);
    command.env("P2PCTL_SOCKET", peer.socket());
    command.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    command
}

#[test]
fn the_bot_answers_each_question_once_and_runs_no_word_of_anybody() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    drop(two.p2pctl(&["send", "!echo $(touch owned) `touch owned` \"; touch owned"]).ok());
    drop(two.p2pctl(&["send", "just talk"]).ok());
    for _ in 0..2 {
        let mut bot = beside(&one, example("bot.sh")).arg("--all").current_dir(network.dir()).spawn().unwrap();
        drop(two.p2pctl(&["send", "!help", "--key", "once"]).ok());
        eventually(PATIENCE, "the bot answers", || one.posts().iter().filter(|post| post.own).count() == 2);
        bot.kill().unwrap();
        bot.wait().unwrap();
    }
    let answers: Vec<_> = one.posts().into_iter().filter(|post| post.own).collect();
    let texts: Vec<&str> = answers.iter().map(|post| post.text.as_str()).collect();
    let echo = format!("two~{} says: $(touch owned) `touch owned` \"; touch owned", &two.id()[..4]);
    assert_eq!(texts, [echo.as_str(), "I know !time, !echo WORDS and !help"]);
    assert!(answers.iter().all(|post| post.re.is_some()));
    assert!(!network.dir().join("owned").exists());
}

/// A Python that has what the example imports: the one that `P2P_TESTS_PYTHON` names, that of `make deps`, or the machine's.
fn python() -> Result<String, String> {
    let of_deps = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python/bin/python3");
    let usual = if of_deps.exists() { of_deps.display().to_string() } else { "python3".to_owned() };
    let python = std::env::var("P2P_TESTS_PYTHON").unwrap_or(usual);
    let mut command = Command::new(&python);
    command.args(["-c", "import grpc, grpc_reflection"]).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(python),
        Ok(_) => Err(format!("{python} has no grpcio and grpcio-reflection")),
        Err(error) => Err(format!("{python}: {error}")),
    }
}

#[test]
fn python_says_and_reads_with_nothing_but_the_reflection() {
    let Some(python) = or_skip(python()) else { return };
    let network = Network::new();
    let one = network.start("one", &[]);
    drop(one.p2pctl(&["send", "-r", "lab", "before\u{1b}[2J"]).ok());
    drop(one.p2pctl(&["send", "-r", "elsewhere", "no"]).ok());
    let endpoint = format!("unix:{}", one.socket().display());
    let output =
        Command::new(&python).arg(example("reflection.py")).args([&endpoint, "lab", "from", "Python"]).output();
    let output = output.unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(shown, "sent as number 3, at offset 3\n1 'one' 'before\\x1b[2J'\n3 'one' 'from Python'\n");
    assert_eq!(one.posts().last().unwrap().text, "from Python");
    let gone =
        Command::new(&python).arg(example("reflection.py")).args(["unix:/nowhere", "lab", "x"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(1));
}
