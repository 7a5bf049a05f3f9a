//! What a shell offers: the real script in a real bash, with a daemon behind it.

use std::path::Path;
use std::process::Command;

use p2p_tests::daemon::{Network, TestPeer};

/// What bash puts in place of the last of these words.
fn offered(peer: &TestPeer, words: &[&str]) -> Vec<String> {
    let client = peer.p2pctl_command(&[]);
    let folder = Path::new(client.get_program()).parent().unwrap();
    let mut bash = Command::new("bash");
    for (name, value) in client.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    bash.env("P2PCTL_SOCKET", peer.socket());
    bash.env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()));
    let output = bash.args(["--norc", "-c", SCRIPT, "bash"]).args(words).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Does what bash does when somebody presses the tabulator.
const SCRIPT: &str = r#"
source <(p2pctl completions bash)
[[ $(complete -p p2pctl) =~ -F\ ([^ ]+) ]] || exit 1
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
"${BASH_REMATCH[1]}" p2pctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_offers_the_peers_and_rooms_that_the_daemon_knows_and_commands_where_they_belong() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    one.wait_for_peers(1);
    drop(one.p2pctl(&["send", "-r", "kitchen", "hello"]).ok());
    let socket = two.socket().display().to_string();
    let shown = format!("two~{}", &two.id()[..4]);
    assert_eq!(offered(&one, &["p2pctl", "ping", ""]), std::slice::from_ref(&shown));
    assert_eq!(offered(&one, &["p2pctl", "watch", "--from", "tw"]), [shown]);
    assert_eq!(offered(&one, &["p2pctl", "send", "-r", "ki"]), ["kitchen"]);
    assert_eq!(offered(&one, &["p2pctl", "-s", &socket, "ping", ""]), [format!("one~{}", &one.id()[..4])]);
    drop(one.p2pctl(&["peers", "name", "two", "boss"]).ok());
    assert_eq!(offered(&one, &["p2pctl", "peers", "block", ""]), ["boss"]);
    drop(one.p2pctl(&["peers", "name", "boss", "my boss"]).ok());
    assert_eq!(offered(&one, &["p2pctl", "peers", "block", ""]), [&two.id()[..8]], "a space would be two words");
    assert!(offered(&one, &["p2pctl", "pe"]).contains(&"peers".to_owned()));
    // Without a daemon the commands are still known.
    assert!(offered(&one, &["p2pctl", "-s", "/nowhere", "hist"]).contains(&"history".to_owned()));
}
