//! Six yardsticks as this program sees them: started, linked, and told what to do.

use std::process::Stdio;
use std::time::Duration;

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::api::peer_id;
use super::orders::{self, Order, Report};
use crate::failure::Failure;
use crate::ledger::Tally;
use crate::load::Load;

/// One process. It ends with its standard input, so when this is dropped.
#[derive(Debug)]
pub(crate) struct Yardstick {
    child: Child,
    orders: ChildStdin,
    reports: Lines<BufReader<ChildStdout>>,
    id: String,
    api: Option<Endpoint>,
}

impl Yardstick {
    /// Six, linked to each other; with a socket each in that folder, where there is one.
    pub(crate) async fn start_six(sockets: Option<&TempDir>) -> Result<Vec<Self>, Failure> {
        let mut six = Vec::new();
        let mut ports = Vec::new();
        for place in 0..6 {
            let api = sockets.map(|dir| Endpoint::Unix(dir.path().join(format!("{place}.sock"))));
            let mut yardstick = Self::start(place, api)?;
            match yardstick.report().await? {
                Report::Listening { port } => ports.push(port),
                other => return Err(unexpected(&other)),
            }
            six.push(yardstick);
        }
        for (place, yardstick) in six.iter_mut().enumerate() {
            yardstick.order(&Order::Mesh { place, ports: ports.clone() }).await?;
        }
        for yardstick in &mut six {
            match yardstick.report().await? {
                Report::Linked => (),
                other => return Err(unexpected(&other)),
            }
        }
        Ok(six)
    }

    fn start(place: usize, api: Option<Endpoint>) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("yardstick");
        if let Some(Endpoint::Unix(path)) = &api {
            command.arg("--api").arg(path);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let (Some(orders), Some(reports)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("a yardstick has no standard input or output"));
        };
        Ok(Self { child, orders, reports: BufReader::new(reports).lines(), id: peer_id(place), api })
    }

    /// 0 when it has ended.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Of one behind gRPC.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let api = self.api.as_ref().ok_or_else(|| Failure::new("this yardstick has its program inside"))?;
        Ok(Client::connect(api, None, PATIENCE).await?)
    }

    /// What it has sent to the others so far.
    pub(crate) async fn sent_bytes(&mut self) -> Result<u64, Failure> {
        self.order(&Order::Count).await?;
        match self.report().await? {
            Report::Count { sent_bytes } => Ok(sent_bytes),
            other => Err(unexpected(&other)),
        }
    }

    async fn order(&mut self, order: &Order) -> Result<(), Failure> {
        Ok(self.orders.write_all(orders::line(order)?.as_bytes()).await?)
    }

    async fn report(&mut self) -> Result<Report, Failure> {
        let line = self.reports.next_line().await?.ok_or_else(|| Failure::new("a yardstick ended"))?;
        serde_json::from_str(&line).map_err(|error| Failure::new(format!("a yardstick says {line:?}: {error}")))
    }
}

/// Puts a load on yardsticks with their programs inside, and waits until all of it has arrived everywhere.
///
/// # Errors
///
/// A post is lost, or came twice or out of order.
pub(crate) async fn run_inside(six: &mut [Yardstick], text_bytes: usize, load: Load) -> Result<Tally, Failure> {
    for yardstick in &mut *six {
        yardstick.order(&Order::Say { text_bytes, load }).await?;
    }
    let mut said = Vec::new();
    let mut begin_ns = u64::MAX;
    for yardstick in &mut *six {
        match yardstick.report().await? {
            Report::Said { posts, first_ns } => {
                said.push(posts);
                begin_ns = begin_ns.min(first_ns.unwrap_or(u64::MAX));
            }
            other => return Err(unexpected(&other)),
        }
    }
    for yardstick in &mut *six {
        yardstick.order(&Order::Expect { said: said.clone() }).await?;
    }
    let posts = said.iter().sum();
    let mut tally = Tally { posts, deliveries: 0, time: Duration::ZERO, latencies_us: Vec::new() };
    for yardstick in six {
        match yardstick.report().await? {
            Report::Arrived { deliveries, last_ns, latencies_us } => {
                tally.deliveries += deliveries;
                tally.time = tally.time.max(Duration::from_nanos(last_ns.saturating_sub(begin_ns)));
                tally.latencies_us.extend(latencies_us);
            }
            other => return Err(unexpected(&other)),
        }
    }
    Ok(tally)
}

fn unexpected(report: &Report) -> Failure {
    Failure::new(format!("a yardstick says {report:?} where something else should come"))
}

/// Time for what takes milliseconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(60);
