//! Real daemons as processes: closed networks of peers on loopback, with free ports, in a folder that goes away.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::program::{Output, PATIENCE, Running, eventually, program, run, wait_exit};

/// A folder and a network key: peers started here belong together.
#[derive(Debug)]
pub struct Network {
    dir: Arc<TempDir>,
}

/// How a peer is started.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Its name, and the name of its folder: one of its own for every peer of a network.
    pub name: String,
    /// How others see it, where that is not its name.
    pub shown_as: Option<String>,
    /// Whom it dials: `HOST:PORT`.
    pub dials: Vec<String>,
    /// More flags of `p2pd run`.
    pub flags: Vec<String>,
    /// `P2P_*` variables.
    pub env: Vec<(String, String)>,
    /// The network key, where it is not the one of the network.
    pub network_key: Option<PathBuf>,
    /// Where it listens, where that is not a free port of loopback.
    pub listen: Option<String>,
    /// The program it is started by, with its first arguments, such as `ip netns exec NAME`. It must become the daemon.
    pub under: Vec<String>,
    /// The data directory, where it is not in the peer's folder.
    pub data_dir: Option<PathBuf>,
}

/// A daemon that runs. It is killed when this is dropped, and if the test failed, the end of its log is shown.
#[derive(Debug)]
pub struct TestPeer {
    options: Options,
    dir: PathBuf,
    child: Child,
    ready: Ready,
    // Keeps the folder until the last peer is gone.
    network: Arc<TempDir>,
}

/// What a daemon writes into its ready file.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Ready {
    /// The process.
    pub pid: u32,
    /// Its peer id.
    pub id: String,
    /// Where it listens: `IP:PORT`.
    pub listen: Vec<String>,
    /// Where its API is.
    pub api: Vec<String>,
    /// Where its figures are served: `IP:PORT`.
    pub metrics: Vec<String>,
}

impl Network {
    /// A folder with a fresh network key.
    ///
    /// # Panics
    ///
    /// `p2pd keygen` does not work.
    #[must_use]
    #[track_caller]
    #[expect(clippy::new_without_default, reason = "it touches the disk and runs a program")]
    pub fn new() -> Self {
        let network = Self { dir: Arc::new(tempfile::tempdir().expect("a folder for temporary files")) };
        network.keygen("network.key");
        // Nothing that this machine has configured may leak in.
        fs::write(network.dir().join(CONFIG), "log_level: debug\n").expect("a configuration file");
        network
    }

    /// Its folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts three peers and links them all.
    ///
    /// # Panics
    ///
    /// They do not find each other.
    #[must_use]
    #[track_caller]
    pub fn start_three(&self) -> [TestPeer; 3] {
        let one = self.start("one", &[]);
        let two = self.start("two", &[&one]);
        let three = self.start("three", &[&one]);
        let peers = [one, two, three];
        peers.iter().for_each(|peer| peer.wait_for_peers(2));
        peers
    }

    /// Makes a network key in this folder.
    ///
    /// # Panics
    ///
    /// `p2pd keygen` does not work.
    #[track_caller]
    pub fn keygen(&self, name: &str) -> PathBuf {
        let path = self.dir().join(name);
        drop(run(self.p2pd().arg("keygen").arg(&path), b"").ok());
        path
    }

    /// The daemon's program, to be run by hand.
    #[must_use]
    pub fn p2pd(&self) -> Command {
        program("p2pd", self.dir())
    }

    /// Starts a peer that dials others, and waits until it is ready.
    ///
    /// # Panics
    ///
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn start(&self, name: &str, dials: &[&TestPeer]) -> TestPeer {
        let dials = dials.iter().map(|peer| peer.addr()).collect();
        self.start_with(Options { name: name.into(), dials, ..Options::default() })
    }

    /// The same with all options.
    ///
    /// # Panics
    ///
    /// It does not start.
    #[must_use]
    #[track_caller]
    pub fn start_with(&self, options: Options) -> TestPeer {
        let mut peer = self.launch(options);
        peer.wait_ready();
        peer
    }

    /// The same without waiting for it.
    ///
    /// # Panics
    ///
    /// Its program cannot be run.
    #[must_use]
    #[track_caller]
    pub fn launch(&self, options: Options) -> TestPeer {
        let dir = self.dir().join(&options.name);
        fs::create_dir_all(&dir).expect("a folder for the peer");
        let child = spawn(&self.dir, &dir, &options);
        let ready = Ready { pid: 0, id: String::new(), listen: Vec::new(), api: Vec::new(), metrics: Vec::new() };
        TestPeer { options, dir, child, ready, network: self.dir.clone() }
    }

    /// Six peers, in the topology of the README: a bootstrap peer, and five with chords between them.
    ///
    /// # Panics
    ///
    /// One does not start.
    #[must_use]
    #[track_caller]
    pub fn start_six(&self) -> Vec<TestPeer> {
        let mut peers = vec![self.start("b", &[])];
        for (name, dials) in [("1", &[0][..]), ("2", &[0, 1]), ("3", &[0, 2]), ("4", &[1, 2, 3]), ("5", &[0, 3, 4])] {
            let dials: Vec<&TestPeer> = dials.iter().map(|at| &peers[*at]).collect();
            let peer = self.start(name, &dials);
            peers.push(peer);
        }
        for peer in &peers {
            peer.wait_for_peers(5);
        }
        peers
    }
}

impl TestPeer {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> String {
        self.ready.listen.first().cloned().expect("a ready peer listens somewhere")
    }

    /// Its peer id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.ready.id
    }

    /// What it wrote into its ready file.
    #[must_use]
    pub fn ready(&self) -> &Ready {
        &self.ready
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The socket of its API.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.join(SOCKET)
    }

    /// Identity, store and lock.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.options.data_dir.clone().unwrap_or_else(|| self.dir.join("data"))
    }

    /// Everything it logged, over all its runs.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.dir.join("log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The client's program, set up for this daemon.
    #[must_use]
    pub fn p2pctl_command(&self, args: &[&str]) -> Command {
        let mut command = program("p2pctl", self.network.path());
        command.arg("-s").arg(self.socket()).args(args);
        command
    }

    /// Runs the client to its end.
    ///
    /// # Panics
    ///
    /// It does not end.
    #[track_caller]
    pub fn p2pctl(&self, args: &[&str]) -> Output {
        self.p2pctl_with(args, b"")
    }

    /// The same with something to read.
    ///
    /// # Panics
    ///
    /// It does not end.
    #[track_caller]
    pub fn p2pctl_with(&self, args: &[&str], stdin: &[u8]) -> Output {
        run(&mut self.p2pctl_command(args), stdin)
    }

    /// Starts the client and lets it run.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    #[must_use]
    #[track_caller]
    pub fn p2pctl_start(&self, args: &[&str], stdin: Vec<u8>) -> Running {
        Running::start(&mut self.p2pctl_command(args), stdin)
    }

    /// Waits until this many others are up.
    ///
    /// # Panics
    ///
    /// They do not come.
    #[track_caller]
    pub fn wait_for_peers(&self, count: u32) {
        eventually(PATIENCE, "enough peers are up", || self.status().peers_up >= count);
    }

    /// The API's own client.
    ///
    /// # Panics
    ///
    /// The daemon does not answer.
    #[track_caller]
    pub fn ask<T>(&self, question: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let answer = async {
                let client = Client::connect(&Endpoint::Unix(self.socket()), None, PATIENCE).await;
                question(client.unwrap_or_else(|error| panic!("{}: {error}", self.options.name))).await
            };
            tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time")
        })
    }

    /// The daemon's state.
    ///
    /// # Panics
    ///
    /// It does not answer.
    #[must_use]
    #[track_caller]
    pub fn status(&self) -> v1::StatusResponse {
        self.ask(async |client| client.mesh().status(v1::StatusRequest {}).await.expect("a status").into_inner())
    }

    /// Whom it knows.
    ///
    /// # Panics
    ///
    /// It does not answer.
    #[must_use]
    #[track_caller]
    pub fn peers(&self) -> Vec<v1::Peer> {
        self.ask(async |client| client.mesh().peers(v1::PeersRequest {}).await.expect("peers").into_inner().peers)
    }

    /// How it sees another peer.
    ///
    /// # Panics
    ///
    /// It does not answer.
    #[must_use]
    #[track_caller]
    pub fn state_of(&self, other: &TestPeer) -> v1::PeerState {
        let peers = self.peers();
        peers.iter().find(|peer| peer.id == other.id()).map_or(v1::PeerState::Unspecified, v1::Peer::state)
    }

    /// Everything it holds, in its order of arrival.
    ///
    /// # Panics
    ///
    /// It does not answer, or breaks off.
    #[must_use]
    #[track_caller]
    pub fn posts(&self) -> Vec<v1::Post> {
        self.posts_behind(0)
    }

    /// The same from behind an offset on.
    ///
    /// # Panics
    ///
    /// It does not answer, or breaks off.
    #[must_use]
    #[track_caller]
    pub fn posts_behind(&self, offset: u64) -> Vec<v1::Post> {
        self.ask(async |client| {
            let start = Some(v1::watch_request::Start::After(offset));
            let request = v1::WatchRequest { start, ..v1::WatchRequest::default() };
            let mut stream = client.chat().watch(request).await.expect("a stream").into_inner();
            let mut posts = Vec::new();
            loop {
                match stream.message().await.expect("a stream without an error").and_then(|response| response.item) {
                    Some(v1::watch_response::Item::Batch(batch)) => posts.extend(batch.posts),
                    Some(v1::watch_response::Item::CaughtUp(_)) => return posts,
                    Some(v1::watch_response::Item::Gap(gap)) => panic!("a gap: {gap:?}"),
                    Some(v1::watch_response::Item::Heartbeat(_)) => (),
                    None => panic!("the stream ended before it had caught up"),
                }
            }
        })
    }

    /// Ends it as a power cut would, as far as a process can feel one.
    pub fn kill_9(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Stops its clock (`SIGSTOP`).
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Stops its clock and waits until no thread of it is inside a call of the system any more.
    ///
    /// # Panics
    ///
    /// It does not stop.
    #[track_caller]
    pub fn freeze(&self) {
        self.pause();
        let tasks = PathBuf::from(format!("/proc/{}/task", self.pid()));
        let state = |task: &Path| fs::read_to_string(task.join("stat")).ok()?.rsplit_once(") ")?.1.chars().next();
        eventually(PATIENCE, "every thread stands still", || {
            let mut tasks = fs::read_dir(&tasks).into_iter().flatten().flatten();
            tasks.all(|task| state(&task.path()).is_none_or(|state| ['T', 'Z', 'X'].contains(&state)))
        });
    }

    /// Lets it go on (`SIGCONT`).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// It is not running.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    ///
    /// It goes on running.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        wait_exit(&mut self.child, PATIENCE).unwrap_or_else(|| panic!("{} still runs", self.options.name))
    }

    /// Asks it to stop (`SIGTERM`) and waits.
    ///
    /// # Panics
    ///
    /// It does not stop.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_exit()
    }

    /// How it ended, where it has.
    ///
    /// # Panics
    ///
    /// The system cannot say it.
    #[track_caller]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for")
    }

    /// `P2P_*` and other variables of the next start.
    pub fn set_env(&mut self, env: Vec<(String, String)>) {
        self.options.env = env;
    }

    /// Starts it again, on what is on its disk; at a new port, so it must find the others.
    ///
    /// # Panics
    ///
    /// It does not start.
    #[track_caller]
    pub fn restart(&mut self) {
        self.launch();
        self.wait_ready();
    }

    /// Starts it again and does not wait.
    ///
    /// # Panics
    ///
    /// Its program cannot be run.
    #[track_caller]
    pub fn launch(&mut self) {
        self.kill_9();
        self.child = spawn(&self.network, &self.dir, &self.options);
    }

    /// Waits until it is ready.
    ///
    /// # Panics
    ///
    /// It ends, or does not become ready.
    #[track_caller]
    pub fn wait_ready(&mut self) {
        if !self.becomes_ready() {
            panic!("{} ended at its start: {:?}", self.options.name, self.child.try_wait());
        }
    }

    /// Waits until it is ready, or has ended instead.
    ///
    /// # Panics
    ///
    /// It does neither.
    #[must_use]
    #[track_caller]
    pub fn becomes_ready(&mut self) -> bool {
        let path = self.dir.join(READY);
        let mut has_ended = false;
        eventually(PATIENCE, "the daemon wrote its ready file", || {
            has_ended = matches!(self.child.try_wait(), Ok(Some(_)));
            has_ended || path.exists()
        });
        if has_ended {
            return false;
        }
        let text = fs::read_to_string(&path).expect("the ready file can be read");
        self.ready = serde_json::from_str(&text).unwrap_or_else(|error| panic!("the ready file: {error}: {text}"));
        true
    }
}

impl Drop for TestPeer {
    fn drop(&mut self) {
        self.kill_9();
        if std::thread::panicking() {
            let log = self.log();
            let skip = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
            eprintln!("---- the log of {}", self.options.name);
            log.lines().skip(skip).for_each(|line| eprintln!("{line}"));
        }
    }
}

fn spawn(network: &TempDir, dir: &Path, options: &Options) -> Child {
    drop(fs::remove_file(dir.join(READY)));
    let log = File::options().create(true).append(true).open(dir.join("log")).expect("a log file");
    let key = options.network_key.clone().unwrap_or_else(|| network.path().join("network.key"));
    let mut command = under(program("p2pd", network.path()), &options.under);
    command.args(["run", "-l", options.listen.as_deref().unwrap_or("127.0.0.1:0")]);
    command.args(["--name", options.shown_as.as_ref().unwrap_or(&options.name)]);
    command.arg("-c").arg(network.path().join(CONFIG));
    command.arg("--data-dir").arg(options.data_dir.clone().unwrap_or_else(|| dir.join("data")));
    command.arg("--api").arg(format!("unix:{}", dir.join(SOCKET).display()));
    command.arg("--ready-file").arg(dir.join(READY));
    command.args(options.dials.iter().flat_map(|addr| ["-p", addr]));
    command.args(&options.flags);
    command.env("P2P_NETWORK_SECRET_FILE", key);
    command.envs(options.env.iter().cloned());
    let log_too = log.try_clone().expect("a second handle of the log");
    command.stdin(Stdio::null()).stdout(log_too).stderr(log);
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// The same program, started by another one.
fn under(command: Command, under: &[String]) -> Command {
    let Some((first, rest)) = under.split_first() else { return command };
    let mut wrapped = Command::new(first);
    wrapped.args(rest).arg(command.get_program()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    wrapped.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// Time in which a broken link is seen on loopback, generously: what a program must not take longer for.
pub const AT_ONCE: Duration = Duration::from_secs(5);

const CONFIG: &str = "config.yaml";
const SOCKET: &str = "p2pd.sock";
const READY: &str = "ready.json";
const LOG_LINES_SHOWN: usize = 60;
