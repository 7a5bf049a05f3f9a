//! The first minutes of a new user: nothing is configured, and both programs find what they need.

use p2p_tests::daemon::Network;
use p2p_tests::program::{Output, PATIENCE, Running, program, run};

/// A user with a home of its own. `runtime_dir` stands for what a login sets.
struct User<'a> {
    network: &'a Network,
    runtime_dir: String,
}

impl User<'_> {
    fn p2pd(&self, args: &[&str]) -> Running {
        let mut command = program("p2pd", self.network.dir());
        Running::start(command.args(args).env("XDG_RUNTIME_DIR", &self.runtime_dir), Vec::new())
    }

    fn p2pctl(&self, args: &[&str]) -> Output {
        let mut command = program("p2pctl", self.network.dir());
        let command = command.args(["--connect-wait", "30s"]).args(args);
        run(command.env("XDG_RUNTIME_DIR", &self.runtime_dir), b"")
    }
}

#[test]
fn a_first_start_says_who_it_is_where_it_listens_and_how_others_join() {
    let network = Network::new();
    let user = User { network: &network, runtime_dir: network.dir().join("run").display().to_string() };
    std::fs::create_dir(&user.runtime_dir).unwrap();
    let home = network.dir().display();

    let daemon = user.p2pd(&["-l", "127.0.0.1:0"]);
    let status: serde_json::Value = serde_json::from_str(&user.p2pctl(&["status", "-o", "json"]).ok()).unwrap();
    drop(user.p2pctl(&["send", "hello"]).ok());
    drop(user.p2pctl(&["daemon", "stop"]).ok());
    let output = daemon.wait(PATIENCE);
    assert_eq!((output.code, output.stdout.as_str()), (Some(0), ""));
    let line =
        |event: &str| output.stderr.lines().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{event}"));
    let short = &status["id"].as_str().unwrap()[..8];
    assert!(line("identity_made").contains(&format!("peer=\"{short}\" file=\"{home}/.local/share/p2p/identity.key\"")));
    let made = line("network_made");
    assert!(made.contains(&format!("network={}", status["network"])), "{made}");
    assert!(made.contains(&format!("file=\"{home}/.local/share/p2p/network.key\"")), "{made}");
    assert!(made.contains("invite_someone=\"p2pctl invite; 127.0.0.1:0 is for this machine only"), "{made}");
    let ready = line("ready");
    for part in [short, status["network"].as_str().unwrap(), status["listen"][0].as_str().unwrap(), &user.runtime_dir] {
        assert!(ready.contains(part), "{part} is not in {ready}");
    }

    let again = user.p2pd(&["-l", "127.0.0.1:0"]);
    drop(user.p2pctl(&["daemon", "stop"]).ok());
    let output = again.wait(PATIENCE);
    assert!(!output.stderr.contains("_made"), "only what is new is announced: {}", output.stderr);
}
