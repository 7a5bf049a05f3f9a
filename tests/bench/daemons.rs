//! The daemons under measurement: real processes on loopback, in a folder that goes away with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::v1::{StatusRequest, StatusResponse};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::failure::Failure;

/// The programs, a folder and a network key.
#[derive(Debug)]
pub(crate) struct Network {
    p2pd: PathBuf,
    p2pctl: PathBuf,
    dir: TempDir,
}

/// One daemon. Its process is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    child: Child,
    dir: PathBuf,
    ready: Ready,
    /// From the start of the process until its ready file was there.
    pub(crate) start_time: Duration,
}

#[derive(Clone, Debug, serde::Deserialize)]
struct Ready {
    id: String,
    listen: Vec<String>,
}

impl Network {
    pub(crate) fn new(bin: &Path) -> Result<Self, Failure> {
        let network = Self { p2pd: find(bin, "p2pd")?, p2pctl: find(bin, "p2pctl")?, dir: tempfile::tempdir()? };
        let key = network.command(&network.p2pd).arg("keygen").arg(network.key()).stdout(Stdio::null()).status()?;
        if !key.success() {
            return Err(Failure::new(format!("p2pd keygen: {key}")));
        }
        fs::write(network.config(), "log_level: info\n")?;
        Ok(network)
    }

    /// Six, in the topology of the README: a bootstrap peer, and five with chords between them. All are linked to all.
    pub(crate) async fn start_six(&self) -> Result<Vec<Daemon>, Failure> {
        let mut daemons: Vec<Daemon> = Vec::new();
        for place in 0..TOPOLOGY.len() {
            let daemon = self.start_place(place, &daemons).await?;
            daemons.push(daemon);
        }
        wait_for_links(&daemons).await?;
        Ok(daemons)
    }

    async fn start_place(&self, place: usize, daemons: &[Daemon]) -> Result<Daemon, Failure> {
        let (name, dials) = TOPOLOGY[place];
        let dials: Vec<&Daemon> = dials.iter().map(|at| &daemons[*at]).collect();
        self.start(name, &dials).await
    }

    /// Kills the last of the six; how long it takes until all others say that it is gone. Starts it again then.
    pub(crate) async fn time_kill(&self, daemons: &mut Vec<Daemon>) -> Result<Duration, Failure> {
        let mut others = Vec::new();
        for daemon in &daemons[..daemons.len() - 1] {
            others.push(daemon.connect().await?);
        }
        let victim = daemons.pop().ok_or_else(|| Failure::new("there is no daemon to kill"))?;
        let start = Instant::now();
        drop(victim);
        let seen = others.iter().map(|client| wait_until(client, |peers| peers < 5));
        try_join_all(seen).await?;
        let time = start.elapsed();
        daemons.push(self.start_place(daemons.len(), daemons).await?);
        wait_for_links(daemons).await?;
        Ok(time)
    }

    /// Starts a daemon, or starts it again on what its folder holds, and waits until it is ready.
    pub(crate) async fn start(&self, name: &str, dials: &[&Daemon]) -> Result<Daemon, Failure> {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir)?;
        let ready_file = dir.join("ready.json");
        if ready_file.exists() {
            fs::remove_file(&ready_file)?;
        }
        let log = File::options().create(true).append(true).open(dir.join("log"))?;
        let mut command = self.command(&self.p2pd);
        command.args(["run", "-l", "127.0.0.1:0", "--name", name, "-c"]).arg(self.config());
        command.arg("--data-dir").arg(dir.join("data")).arg("--ready-file").arg(&ready_file);
        command.arg("--api").arg(format!("unix:{}", socket(&dir).display()));
        command.args(dials.iter().flat_map(|daemon| ["-p", daemon.addr()]));
        command.env("P2P_NETWORK_SECRET_FILE", self.key());
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let start = Instant::now();
        let child = command.spawn()?;
        let ready = Ready { id: String::new(), listen: Vec::new() };
        let mut daemon = Daemon { child, dir, ready, start_time: Duration::ZERO };
        daemon.wait_ready(&ready_file, start).await?;
        Ok(daemon)
    }

    /// How long `p2pctl` takes to ask that daemon, from the start of its process to its end.
    pub(crate) fn time_p2pctl(&self, daemon: &Daemon, arg: &str) -> Result<Duration, Failure> {
        let mut command = self.command(&self.p2pctl);
        command.arg(arg).arg("--socket").arg(format!("unix:{}", socket(&daemon.dir).display()));
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let start = Instant::now();
        let status = command.status()?;
        let time = start.elapsed();
        if status.success() { Ok(time) } else { Err(Failure::new(format!("p2pctl {arg}: {status}"))) }
    }

    /// Where the daemons write.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A program, with nothing of this machine's own configuration.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", self.dir.path()).current_dir(self.dir.path());
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

    fn addr(&self) -> &str {
        self.ready.listen.first().map_or("", String::as_str)
    }

    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Ok(Client::connect(&Endpoint::Unix(socket(&self.dir)), None, PATIENCE).await?)
    }

    pub(crate) async fn status(&self) -> Result<StatusResponse, Failure> {
        Ok(self.connect().await?.mesh().status(StatusRequest {}).await?.into_inner())
    }

    /// Stops it cleanly.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(std::io::Error::from)?;
        let end = Instant::now() + PATIENCE;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > end {
                return Err(Failure::new(format!("a daemon did not stop in {PATIENCE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn wait_ready(&mut self, ready_file: &Path, start: Instant) -> Result<(), Failure> {
        // The file is renamed into its place, so it is whole once it is there.
        while !ready_file.exists() {
            if let Some(status) = self.child.try_wait()? {
                return Err(Failure::new(format!("a daemon ended at its start: {status}\n{}", self.log_end())));
            }
            if start.elapsed() > PATIENCE {
                return Err(Failure::new(format!("a daemon is not ready after {PATIENCE:?}\n{}", self.log_end())));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.start_time = start.elapsed();
        let text = fs::read_to_string(ready_file)?;
        self.ready =
            serde_json::from_str(&text).map_err(|error| Failure::new(format!("the ready file: {error}: {text}")))?;
        Ok(())
    }

    fn log_end(&self) -> String {
        let log = fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let skip = log.lines().count().saturating_sub(LOG_LINES_SHOWN);
        log.lines().skip(skip).collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already needs neither.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn wait_for_links(daemons: &[Daemon]) -> Result<(), Failure> {
    for daemon in daemons {
        let linked = wait_until(&daemon.connect().await?, |peers| peers == 5).await;
        linked.map_err(|failure| Failure::new(format!("{failure}\n{}", daemon.log_end())))?;
    }
    Ok(())
}

/// Asks again and again, so this is late by a millisecond or two.
async fn wait_until(client: &Client, is_so: impl Fn(u32) -> bool) -> Result<(), Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        let peers = client.mesh().status(StatusRequest {}).await?.into_inner().peers_up;
        if is_so(peers) {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Failure::new(format!("{peers} peers are up after {PATIENCE:?}")));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn find(bin: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = bin.join(name);
    fs::canonicalize(&path)
        .map_err(|error| Failure::new(format!("{}: {error} (build it with: cargo build --release)", path.display())))
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("p2pd.sock")
}

/// Names, and which of those before them they dial.
const TOPOLOGY: [(&str, &[usize]); 6] =
    [("b", &[]), ("1", &[0]), ("2", &[0, 1]), ("3", &[0, 2]), ("4", &[1, 2, 3]), ("5", &[0, 3, 4])];
/// Time for what takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_LINES_SHOWN: usize = 20;
