//! What a shell offers: the real script in the real shell, with a daemon behind it.

use std::fs;
use std::path::Path;
use std::process::Command;

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::program::run;
use p2p_tests::skip::or_skip;

/// A shell that finds the client and the daemon; none where this machine has no such shell.
fn shell(peer: &TestPeer, name: &str) -> Result<Command, String> {
    let client = peer.p2pctl_command(&[]);
    let folder = Path::new(client.get_program()).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let is_there = std::env::split_paths(&path).any(|folder| folder.join(name).is_file());
    let mut shell = Command::new(name);
    shell.env_clear().envs(client.get_envs().filter_map(|(key, value)| Some((key, value?))));
    shell.current_dir(client.get_current_dir().unwrap());
    shell.env("P2PCTL_SOCKET", peer.socket()).env("PATH", path).env("TERM", "dumb");
    is_there.then_some(shell).ok_or_else(|| format!("there is no {name}"))
}

/// What bash puts in place of the last of these words.
fn bash_offers(peer: &TestPeer, words: &[&str]) -> Vec<String> {
    let mut bash = shell(peer, "bash").unwrap();
    let output = run(bash.args(["--norc", "-c", BASH, "bash"]).args(words), b"");
    assert_eq!(output.stderr, "");
    output.ok().lines().map(str::to_owned).collect()
}

/// Does what bash does when somebody presses the tabulator.
const BASH: &str = r#"
source <(p2pctl completions bash)
[[ $(complete -p p2pctl) =~ -F\ ([^ ]+) ]] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"${BASH_REMATCH[1]}" p2pctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

/// What fish offers behind a line.
fn fish_offers(peer: &TestPeer, line: &str) -> Vec<String> {
    let mut fish = shell(peer, "fish").unwrap();
    let output = run(fish.args(["--no-config", "-c", FISH, line]), b"");
    assert_eq!(output.stderr, "");
    // Behind a tabulator it says what the word is.
    output.ok().lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

const FISH: &str = r#"p2pctl completions fish | source; complete -C "$argv[1]""#;

/// What stands on the line of a zsh after somebody typed this and pressed the tabulator.
#[track_caller]
fn zsh_completes(peer: &TestPeer, line: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    // Where it is put by `make install`.
    fs::write(folder.path().join("_p2pctl"), peer.p2pctl(&["completions", "zsh"]).ok()).unwrap();
    let mut zsh = shell(peer, "zsh").unwrap();
    let output = run(zsh.args(["-f", "-c", ZSH, "zsh"]).arg(folder.path()).arg(line), b"");
    output.ok().trim_end_matches('\n').to_owned()
}

/// A second zsh on a terminal of its own, in which somebody types. Behind the tabulator Ctrl-X prints the line.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty -b shell zsh -f -i
zpty -w shell 'PS1= PS2=; unsetopt prompt_cr prompt_sp; zstyle ":completion:*" insert-tab false
fpath=('$1' $fpath); autoload -Uz compinit; compinit -u -D
told() { print -r -- "<[$BUFFER]>" }; zle -N told; bindkey "^I" complete-word; bindkey "^X" told; print rea""dy'
zpty -r -m shell said '*ready*'
zpty -w -n shell "$2"$'\t\x18'
zpty -r -m shell said '*<\[*\]>*'
print -r -- ${${said##*<\[}%%\]>*}
zpty -d shell
"#;

/// Two peers that know each other, and a room.
fn two() -> (TestPeer, TestPeer) {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    two.wait_for_peers(1);
    drop(one.p2pctl(&["send", "-r", "kitchen", "hello"]).ok());
    (one, two)
}

fn shown(peer: &TestPeer, name: &str) -> String {
    format!("{name}~{}", &peer.id()[..4])
}

#[test]
fn bash_offers_the_peers_and_rooms_that_the_daemon_knows_and_commands_where_they_belong() {
    let (one, two) = two();
    let socket = two.socket().display().to_string();
    let offered = |words: &[&str]| bash_offers(&one, words);
    assert_eq!(offered(&["p2pctl", "ping", ""]), [shown(&two, "two")]);
    assert_eq!(offered(&["p2pctl", "watch", "--from", "tw"]), [shown(&two, "two")]);
    assert_eq!(offered(&["p2pctl", "send", "-r", "ki"]), ["kitchen"]);
    assert_eq!(offered(&["p2pctl", "-s", &socket, "ping", ""]), [shown(&one, "one")]);
    drop(one.p2pctl(&["peers", "name", "two", "boss"]).ok());
    assert_eq!(offered(&["p2pctl", "peers", "block", ""]), ["boss"]);
    drop(one.p2pctl(&["peers", "name", "boss", "my boss"]).ok());
    assert_eq!(offered(&["p2pctl", "peers", "block", ""]), [&two.id()[..8]], "a space would be two words");
    assert!(offered(&["p2pctl", "pe"]).contains(&"peers".to_owned()));
    // Without a daemon the commands are still known.
    assert!(offered(&["p2pctl", "-s", "/nowhere", "hist"]).contains(&"history".to_owned()));
}

#[test]
fn fish_offers_the_same_and_no_files_beside_peers_and_rooms() {
    let (one, two) = two();
    if or_skip(shell(&one, "fish")).is_none() {
        return;
    }
    let offered = |line: &str| fish_offers(&one, line);
    assert_eq!(offered("p2pctl ping "), [shown(&two, "two")]);
    assert_eq!(offered("p2pctl watch --from tw"), [shown(&two, "two")]);
    assert_eq!(offered("p2pctl send -r ki"), ["kitchen"]);
    assert_eq!(offered("p2pctl send --room "), ["kitchen"]);
    assert_eq!(offered("p2pctl watch "), ["kitchen"]);
    assert_eq!(offered(&format!("p2pctl -s {} ping ", two.socket().display())), [shown(&one, "one")]);
    drop(one.p2pctl(&["peers", "name", "two", "my boss"]).ok());
    assert_eq!(offered("p2pctl peers block "), [&two.id()[..8]], "a space would be two words");
    assert_eq!(offered("p2pctl pee"), ["peers"]);
    assert_eq!(offered("p2pctl -s /nowhere hist"), ["history"]);
    // Where a file is wanted, files are offered.
    assert!(offered("p2pctl --token-file network.k").contains(&"network.key".to_owned()));
}

#[test]
fn zsh_completes_the_same() {
    let (one, two) = two();
    if or_skip(shell(&one, "zsh")).is_none() {
        return;
    }
    // It guards the tilde from itself.
    let guarded = |peer: &TestPeer, name: &str| shown(peer, name).replace('~', "\\~");
    let completed = |line: &str| zsh_completes(&one, line);
    assert_eq!(completed("p2pctl ping "), format!("p2pctl ping {} ", guarded(&two, "two")));
    assert_eq!(completed("p2pctl watch --from tw"), format!("p2pctl watch --from {} ", guarded(&two, "two")));
    assert_eq!(completed("p2pctl send -r ki"), "p2pctl send -r kitchen ");
    let other = format!("p2pctl -s {} ping ", two.socket().display());
    assert_eq!(completed(&other), format!("{other}{} ", guarded(&one, "one")));
    drop(one.p2pctl(&["peers", "name", "two", "my boss"]).ok());
    assert_eq!(completed("p2pctl peers block "), format!("p2pctl peers block {} ", &two.id()[..8]));
    assert_eq!(completed("p2pctl pee"), "p2pctl peers ");
    assert_eq!(completed("p2pctl -s /nowhere hist"), "p2pctl -s /nowhere history ");
}
