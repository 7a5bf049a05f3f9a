//! The daemons under measurement: real processes on loopback, in a folder that goes away with them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        let p2pd = fs::canonicalize(bin.join("p2pd"));
        let p2pd = p2pd.map_err(|error| {
            Failure::new(format!("{}: {error} (build it with: cargo build --release)", bin.join("p2pd").display()))
        })?;
        let network = Self { p2pd, dir: tempfile::tempdir()? };
        let key = network.command().arg("keygen").arg(network.key()).stdout(Stdio::null()).status()?;
        if !key.success() {
            return Err(Failure::new(format!("p2pd keygen: {key}")));
        }
        fs::write(network.config(), "log_level: info\n")?;
        Ok(network)
    }

    /// Six, in the topology of the README: a bootstrap peer, and five with chords between them. All are linked to all.
    pub(crate) async fn start_six(&self) -> Result<Vec<Daemon>, Failure> {
        let mut daemons: Vec<Daemon> = Vec::new();
        let topology: [(&str, &[usize]); 6] =
            [("b", &[]), ("1", &[0]), ("2", &[0, 1]), ("3", &[0, 2]), ("4", &[1, 2, 3]), ("5", &[0, 3, 4])];
        for (name, dials) in topology {
            let dials: Vec<&Daemon> = dials.iter().map(|at| &daemons[*at]).collect();
            let daemon = self.start(name, &dials).await?;
            daemons.push(daemon);
        }
        for daemon in &daemons {
            daemon.wait_for_peers(5).await?;
        }
        Ok(daemons)
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
        let mut command = self.command();
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

    /// The daemon's program, with nothing of this machine's own configuration.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.p2pd);
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

    pub(crate) async fn wait_for_peers(&self, count: u32) -> Result<(), Failure> {
        let client = self.connect().await?;
        let end = Instant::now() + PATIENCE;
        while client.mesh().status(StatusRequest {}).await?.into_inner().peers_up < count {
            if Instant::now() > end {
                return Err(Failure::new(format!("{count} peers are not up after {PATIENCE:?}\n{}", self.log_end())));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
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

fn socket(dir: &Path) -> PathBuf {
    dir.join("p2pd.sock")
}

/// Time for what takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
const LOG_LINES_SHOWN: usize = 20;
