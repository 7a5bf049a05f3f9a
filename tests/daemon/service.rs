//! What a service manager and an operator need of a daemon that runs unattended.

use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::program::{PATIENCE, eventually, run};
use p2p_tests::skip::or_skip;
use p2p_tests::tracer::Tracer;
use rustix::process::Signal;

/// What systemd would be: a socket at which services tell how they are.
struct Manager {
    socket: UnixDatagram,
    name: String,
    told: Vec<(String, Instant)>,
}

impl Manager {
    fn at_path(network: &Network) -> Self {
        let path = network.dir().join("notify");
        Self::new(UnixDatagram::bind(&path).unwrap(), path.display().to_string())
    }

    fn at_abstract_name() -> Self {
        let name = format!("p2p-tests-{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        Self::new(UnixDatagram::bind_addr(&addr).unwrap(), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, name, told: Vec::new() }
    }

    fn env(&self) -> Vec<(String, String)> {
        vec![("NOTIFY_SOCKET".to_owned(), self.name.clone())]
    }

    fn env_watchdog(&self, limit: Duration) -> Vec<(String, String)> {
        let mut env = self.env();
        env.push(("WATCHDOG_USEC".to_owned(), limit.as_micros().to_string()));
        env
    }

    /// Takes what was told meanwhile.
    fn listen(&mut self) {
        let mut bytes = [0; 4_096];
        while let Ok(len) = self.socket.recv(&mut bytes) {
            self.told.push((String::from_utf8(bytes[..len].to_vec()).unwrap(), Instant::now()));
        }
    }

    /// Waits for something that was not told before, and forgets all up to it.
    #[track_caller]
    fn hears(&mut self, part: &str) -> String {
        let mut found = None;
        eventually(PATIENCE, part, || {
            self.listen();
            found = self.told.iter().position(|(state, _)| state.contains(part));
            found.is_some()
        });
        let at = found.unwrap();
        self.told.drain(..=at).next_back().unwrap().0
    }

    fn count(&mut self, part: &str) -> usize {
        self.listen();
        self.told.iter().filter(|(state, _)| state.contains(part)).count()
    }
}

fn options(name: &str, env: Vec<(String, String)>) -> Options {
    Options { name: name.into(), env, ..Options::default() }
}

fn monotonic_us() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap() * 1_000_000 + u64::try_from(now.tv_nsec).unwrap() / 1_000
}

#[test]
fn a_service_manager_is_told_from_the_start_to_the_end() {
    let network = Network::new();
    for mut manager in [Manager::at_path(&network), Manager::at_abstract_name()] {
        let mut peer = network.launch(options("one", manager.env()));
        manager.hears("STATUS=Starting");
        manager.hears("READY=1");
        // Whoever is told so can connect at once.
        drop(peer.p2pctl(&["status"]).ok());
        peer.wait_ready();
        let before_us = monotonic_us();
        peer.signal(Signal::HUP);
        let reloading = manager.hears("RELOADING=1");
        let us: u64 = reloading.split("MONOTONIC_USEC=").nth(1).unwrap().trim().parse().unwrap();
        assert!((before_us..=monotonic_us()).contains(&us), "{reloading:?}");
        manager.hears("READY=1");
        peer.signal(Signal::TERM);
        manager.hears("STOPPING=1");
        assert_eq!(peer.wait_exit().code(), Some(0));
        assert_eq!(manager.count("WATCHDOG"), 0, "nobody asked for it");
    }
}

#[test]
fn a_start_that_fails_is_never_ready() {
    let network = Network::new();
    let first = network.start("one", &[]);
    let mut manager = Manager::at_path(&network);
    let mut second = network.launch(Options { listen: Some(first.addr()), ..options("two", manager.env()) });
    assert_eq!(second.wait_exit().code(), Some(69));
    assert_eq!(manager.count("READY=1"), 0);
}

#[test]
fn the_status_line_follows_the_links() {
    let network = Network::new();
    let mut manager = Manager::at_path(&network);
    let one = network.start_with(options("one", manager.env()));
    manager.hears("STATUS=0 of 0 known peers are up");
    let mut two = network.start("two", &[&one]);
    manager.hears("STATUS=1 of 1 known peers are up");
    two.stop();
    manager.hears("STATUS=0 of 1 known peers are up");
}

#[test]
fn a_manager_that_cannot_be_reached_keeps_nobody_from_starting() {
    let network = Network::new();
    let env = vec![("NOTIFY_SOCKET".to_owned(), "/nowhere/notify".to_owned())];
    let peer = network.start_with(options("one", env));
    assert!(peer.log().contains("service_manager_not_found"), "{}", peer.log());
}

#[test]
fn the_watchdog_is_fed_while_the_daemon_lives_and_not_while_it_stands_still() {
    let network = Network::new();
    let mut manager = Manager::at_path(&network);
    let limit = Duration::from_millis(400);
    let peer = network.start_with(options("one", manager.env_watchdog(limit)));
    manager.hears("READY=1");
    eventually(PATIENCE, "it is fed again and again", || manager.count("WATCHDOG=1") >= 5);
    peer.freeze();
    manager.listen();
    manager.told.clear();
    std::thread::sleep(2 * limit);
    assert_eq!(manager.count("WATCHDOG=1"), 0);
    peer.resume();
    eventually(PATIENCE, "it is fed again", || manager.count("WATCHDOG=1") >= 2);
}

#[test]
fn a_store_that_hangs_starves_the_watchdog_though_the_loop_turns() {
    let network = Network::new();
    let mut manager = Manager::at_path(&network);
    let limit = Duration::from_millis(400);
    let peer = network.start_with(options("one", manager.env_watchdog(limit)));
    eventually(PATIENCE, "it is fed", || manager.count("WATCHDOG=1") >= 2);
    // Every flush takes this long from now on.
    let hang = "delay_enter=6000000";
    let Some(tracer) = or_skip(Tracer::attach(&peer, "fdatasync,fsync", hang)) else { return };
    let sending = peer.p2pctl_start(&["--timeout", "30s", "send", "into the disk"], Vec::new());
    // A ping may be on its way; then there is silence, though the daemon answers.
    let mut quiet_since = Instant::now();
    eventually(PATIENCE, "the watchdog is not fed", || {
        if manager.count("WATCHDOG=1") > 0 {
            manager.told.clear();
            quiet_since = Instant::now();
        }
        quiet_since.elapsed() > 4 * limit
    });
    drop(peer.p2pctl(&["daemon", "log-level"]).ok());
    drop(tracer);
    drop(sending.wait(PATIENCE).ok());
    eventually(PATIENCE, "it is fed again", || manager.count("WATCHDOG=1") >= 2);
}

#[test]
fn a_status_signal_writes_one_line_for_each_peer_and_no_text_of_anybody() {
    let network = Network::new();
    let [one, two, three] = network.start_three();
    drop(two.p2pctl(&["send", "a very private sentence"]).ok());
    eventually(PATIENCE, "the post is there", || one.status().posts == 1);
    one.signal(Signal::USR1);
    eventually(PATIENCE, "the status is in the log", || lines(&one, "status_of_peer").len() == 2);
    let log = lines(&one, "status_of_peer").join("\n");
    for other in [&two, &three] {
        assert!(log.contains(&other.id()[..8]), "{log}");
    }
    let status = lines(&one, " status ");
    assert_eq!(status.len(), 1, "{status:?}");
    assert!(status[0].contains("peers_up=2") && status[0].contains("posts=1"), "{}", status[0]);
    assert!(!one.log().contains("private"));
}

#[test]
fn the_log_filter_is_shown_and_changed_and_goes_back_by_itself() {
    let network = Network::new();
    fs::write(network.dir().join("config.yaml"), "log_level: info\n").unwrap();
    let peer = network.start("one", &[]);
    assert_eq!(peer.p2pctl(&["daemon", "log-level"]).ok(), "info\n");
    let wrong = peer.p2pctl(&["daemon", "log-level", "loud"]);
    assert_eq!(wrong.code, Some(6), "{wrong:?}");
    assert!(wrong.stderr.contains("\"loud\" is not a level"), "{}", wrong.stderr);
    assert_eq!(peer.p2pctl(&["daemon", "log-level", "warn"]).ok(), "warn\n");
    let set = peer.p2pctl(&["daemon", "log-level", "info,p2pd::link=debug", "--for", "2s"]).ok();
    assert!(set.starts_with("info,p2pd::link=debug  (in ") && set.contains("back to warn"), "{set}");
    eventually(PATIENCE, "it is back", || peer.p2pctl(&["daemon", "log-level"]).ok() == "warn\n");
    assert_eq!(peer.p2pctl(&["daemon", "log-level", "info"]).ok(), "info\n");
    let usage = peer.p2pctl(&["daemon", "log-level", "--for", "2s"]);
    assert_eq!(usage.code, Some(2), "{usage:?}");
}

#[test]
fn a_service_keeps_its_data_and_socket_where_its_manager_says() {
    let network = Network::new();
    let (state, runtime) = (network.dir().join("state"), network.dir().join("runtime"));
    let mut command = network.p2pd();
    command.arg("paths").env_remove("HOME").env("STATE_DIRECTORY", &state).env("RUNTIME_DIRECTORY", &runtime);
    let paths = run(&mut command, b"").ok();
    for expected in [format!("data_dir     {}", state.display()), format!("unix:{}/p2pd.sock", runtime.display())] {
        assert!(paths.contains(&expected), "{expected}\n{paths}");
    }
}

/// The lines of a log with these words in them.
fn lines(peer: &TestPeer, words: &str) -> Vec<String> {
    peer.log().lines().filter(|line| line.contains(words)).map(str::to_owned).collect()
}
