//! The daemons of one mesh: real processes on loopback, in a folder that goes away with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::v1::{PeerState, PeersRequest, StatusRequest, StatusResponse};
use p2p_tests::daemon::Ready;
use tempfile::TempDir;

use crate::failure::Failure;

/// The program, a folder and a network key.
#[derive(Debug)]
pub(crate) struct Network {
    p2pd: PathBuf,
    dir: TempDir,
}

/// One daemon. Its process is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    ready: Ready,
    client: Client,
}

impl Network {
    pub(crate) fn new(bin: &Path) -> Result<Self, Failure> {
        let path = bin.join("p2pd");
        let p2pd = fs::canonicalize(&path)
            .map_err(|error| Failure::Io(format!("{}: {error} (build it with: make release)", path.display())))?;
        let network = Self { p2pd, dir: tempfile::tempdir()? };
        let made = network.command().arg("keygen").arg(network.key()).stdout(Stdio::null()).status()?;
        if !made.success() {
            return Err(Failure::Ended { how: format!("p2pd keygen: {made}"), log: String::new() });
        }
        // Nothing that this machine has configured may leak in.
        fs::write(network.config(), "log_level: info\n")?;
        Ok(network)
    }

    /// Starts a daemon, or starts it again on what its folder holds, and waits until it is ready.
    pub(crate) async fn start(&self, place: usize, dials: &[String]) -> Result<Daemon, Failure> {
        let dir = self.dir.path().join(place.to_string());
        fs::create_dir_all(&dir)?;
        let ready_file = dir.join("ready.json");
        if ready_file.exists() {
            fs::remove_file(&ready_file)?;
        }
        let mut child = self.spawn(place, &dir, dials)?;
        match wait_ready(&mut child, &dir).await {
            Ok((ready, client)) => Ok(Daemon { child, ready, client }),
            Err(failure) => {
                end(&mut child);
                Err(failure)
            }
        }
    }

    fn spawn(&self, place: usize, dir: &Path, dials: &[String]) -> Result<Child, Failure> {
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = self.command();
        command.args(["run", "-l", "127.0.0.1:0", "--name", &format!("peer{place}"), "-c"]).arg(self.config());
        command.arg("--data-dir").arg(dir.join("data")).arg("--ready-file").arg(dir.join("ready.json"));
        command.arg("--api").arg(format!("unix:{}", socket(dir).display()));
        command.args(dials.iter().flat_map(|addr| ["-p", addr]));
        command.env("P2P_NETWORK_SECRET_FILE", self.key());
        Ok(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.p2pd);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).current_dir(self.dir.path());
        // Where a program that counts its lines writes what it counted: see `cover.sh`.
        command.envs(std::env::vars_os().filter(|(name, _)| name == "LLVM_PROFILE_FILE"));
        command
    }

    fn key(&self) -> PathBuf {
        self.dir.path().join("network.key")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("config.yaml")
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn id(&self) -> &str {
        &self.ready.id
    }

    pub(crate) fn addr(&self) -> String {
        self.ready.listen.first().cloned().unwrap_or_default()
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse, Failure> {
        Ok(self.client.mesh().status(StatusRequest {}).await?.into_inner())
    }

    /// Whom it is linked to.
    pub(crate) async fn linked(&self) -> Result<Vec<String>, Failure> {
        let peers = self.client.mesh().peers(PeersRequest {}).await?.into_inner().peers;
        Ok(peers.into_iter().filter(|peer| peer.state() == PeerState::Up).map(|peer| peer.id).collect())
    }

    /// As often as it takes until its status is as wanted.
    pub(crate) async fn wait_until(
        &self,
        what: &'static str,
        is_so: impl Fn(&StatusResponse) -> bool,
    ) -> Result<(), Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let status = self.status().await?;
            if is_so(&status) {
                return Ok(());
            }
            if Instant::now() > end {
                let StatusResponse { peers_up, peers_known, posts, missing_posts, .. } = status;
                let state = format!(
                    "{} has {peers_up} of {peers_known} peers, {posts} posts, {missing_posts} missing",
                    self.id()
                );
                return Err(Failure::Late { what, limit: PATIENCE, state });
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends it as a power cut would, as far as a process can feel one.
    pub(crate) fn kill_9(&mut self) {
        end(&mut self.child);
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

async fn wait_ready(child: &mut Child, dir: &Path) -> Result<(Ready, Client), Failure> {
    let file = dir.join("ready.json");
    let begin = Instant::now();
    // The file is renamed into its place, so it is whole once it is there.
    while !file.exists() {
        if let Some(status) = child.try_wait()? {
            return Err(Failure::Ended { how: status.to_string(), log: log_end(dir) });
        }
        if begin.elapsed() > PATIENCE {
            return Err(Failure::Late { what: "a daemon is ready", limit: PATIENCE, state: log_end(dir) });
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let text = fs::read_to_string(&file)?;
    let ready = serde_json::from_str(&text).map_err(|error| Failure::Wrong(format!("{text}: {error}")))?;
    Ok((ready, Client::connect(&Endpoint::Unix(socket(dir)), None, PATIENCE).await?))
}

/// One that has ended already needs neither.
fn end(child: &mut Child) {
    drop(child.kill());
    drop(child.wait());
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("p2pd.sock")
}

fn log_end(dir: &Path) -> String {
    let log = fs::read_to_string(dir.join("log")).unwrap_or_default();
    let skip = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
    log.lines().skip(skip).collect::<Vec<_>>().join("\n")
}

/// Time for what takes seconds with fifty daemons on two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// Each look costs the daemon something, and there are many daemons.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const LOG_LINES_SHOWN: usize = 20;
