//! A group of users shares one daemon.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{Output, run};
use p2p_tests::skip::or_skip;

/// Nobody has this number.
const SOMEBODY: u32 = 54_322;
/// A group without a name.
const GROUP: u32 = 54_323;

/// As a user of no name, in these groups: `p2pctl -s SOCKET …`.
fn call_as_somebody(peer: &TestPeer, groups: &str, args: &[&str]) -> Output {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={SOMEBODY}"), format!("--regid={SOMEBODY}"), groups.to_owned()]);
    command.arg(peer.p2pctl_command(&[]).get_program()).arg("-s").arg(peer.socket()).args(args).current_dir("/");
    run(&mut command, b"")
}

#[test]
fn g_10_members_of_the_group_use_the_daemon_and_others_do_not() {
    let prepared = || {
        if !rustix::process::geteuid().is_root() {
            return Err("only root can be somebody else".to_owned());
        }
        let version = Command::new("setpriv").arg("--version").output();
        version.map(drop).map_err(|error| format!("setpriv: {error}"))
    };
    let Some(()) = or_skip(prepared()) else { return };
    let network = Network::new();
    fs::set_permissions(network.dir(), Permissions::from_mode(0o711)).unwrap();
    let env = vec![("P2P_API_GROUP".to_owned(), GROUP.to_string())];
    let peer = network.start_with(Options { name: "one".into(), env, ..Options::default() });
    fs::set_permissions(peer.socket().parent().unwrap(), Permissions::from_mode(0o711)).unwrap();

    let member = format!("--groups={GROUP}");
    drop(call_as_somebody(&peer, &member, &["send", "said by a member"]).ok());
    assert_eq!(peer.posts().last().map(|post| post.text.clone()), Some("said by a member".to_owned()));

    let output = call_as_somebody(&peer, "--clear-groups", &["send", "by a stranger"]);
    assert_eq!((output.code, output.stdout.as_str()), (Some(4), ""), "{}", output.stderr);
    assert!(output.stderr.contains("a member of its api_group"), "{}", output.stderr);
    assert_eq!(peer.posts().len(), 1);
}

#[test]
fn a_group_that_is_not_there_is_named_before_anything_starts() {
    let network = Network::new();
    let mut command = network.p2pd();
    command.args(["check"]).env("P2P_API_GROUP", "no-such-group");
    let output = run(&mut command, b"");
    assert_eq!(output.code, Some(78), "{output:?}");
    let expected = "P2P_API_GROUP: /etc/group has no group \"no-such-group\"";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
}
