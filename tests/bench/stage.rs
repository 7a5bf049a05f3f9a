//! Six peers with a program at or in each, and what a load on them comes to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use p2p_proto::client::Client;
use tokio::task::JoinSet;

use crate::daemons::Daemon;
use crate::failure::Failure;
use crate::ledger::{Ledger, Tally};
use crate::load::{Beat, Load};
use crate::sender::Sender;
use crate::subscriber::subscribe;
use crate::yardstick::{Yardstick, run_inside};
use p2p_tests::process::{self, MachineTime};

/// Six of a kind.
#[derive(Debug)]
pub(crate) enum Peers {
    Daemons(Vec<Daemon>),
    /// Yardsticks that serve the daemons' API.
    Grpc(Vec<Yardstick>),
    /// Yardsticks with the programs inside.
    Raw(Vec<Yardstick>),
}

/// The six, with everybody in their seats.
#[derive(Debug)]
pub(crate) struct Stage {
    peers: Peers,
    programs: Option<Programs>,
}

/// Those that reach their peers through the API.
#[derive(Debug)]
struct Programs {
    clients: Vec<Client>,
    ledger: Arc<Ledger>,
}

/// What a run came to, and what it cost.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Processor time of all six; of raw yardsticks with the programs in them.
    pub(crate) processor_time: Duration,
    /// Bytes of frames that the six sent each other, before encryption.
    pub(crate) mesh_bytes: u64,
    /// Posts that reached a peer which held them already.
    pub(crate) duplicates: u64,
    /// See `Readings::others`.
    pub(crate) others: f64,
}

/// Everything that only counts upwards, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    at: Instant,
    processor_time: Duration,
    processor_time_fine: Duration,
    own_time: Duration,
    machine: MachineTime,
    mesh_bytes: u64,
    duplicates: u64,
}

impl Peers {
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Daemons(six) => six.iter().map(Daemon::pid).collect(),
            Self::Grpc(six) | Self::Raw(six) => six.iter().map(Yardstick::pid).collect(),
        }
    }

    /// Resident memory of the largest of the six.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.pids().into_iter().map(process::resident_kib).max().unwrap_or(0)
    }

    /// Bytes of frames, and posts that came twice.
    async fn counters(&mut self) -> Result<(u64, u64), Failure> {
        let (mut mesh_bytes, mut duplicates) = (0, 0);
        match self {
            Self::Daemons(six) => {
                for daemon in six {
                    let counters = daemon.status().await?.counters;
                    let counter = |name| counters.get(name).copied().unwrap_or(0);
                    mesh_bytes += counter("bytes_sent_total");
                    duplicates += counter("posts_duplicate_total");
                }
            }
            Self::Grpc(six) | Self::Raw(six) => {
                for yardstick in six {
                    mesh_bytes += yardstick.sent_bytes().await?;
                }
            }
        }
        Ok((mesh_bytes, duplicates))
    }

    async fn programs(&self) -> Result<Option<Programs>, Failure> {
        let mut clients = Vec::new();
        let mut authors = Vec::new();
        match self {
            Self::Daemons(six) => {
                for daemon in six {
                    clients.push(daemon.connect().await?);
                    authors.push(daemon.id().to_owned());
                }
            }
            Self::Grpc(six) => {
                for yardstick in six {
                    clients.push(yardstick.connect().await?);
                    authors.push(yardstick.id().to_owned());
                }
            }
            Self::Raw(_) => return Ok(None),
        }
        let ledger = Arc::new(Ledger::new(authors));
        for (place, client) in clients.iter().enumerate() {
            subscribe(client, Arc::clone(&ledger), place).await?;
        }
        Ok(Some(Programs { clients, ledger }))
    }
}

impl Stage {
    /// Connects to peers that are linked already.
    pub(crate) async fn open(peers: Peers) -> Result<Self, Failure> {
        let programs = peers.programs().await?;
        Ok(Self { peers, programs })
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// Puts the load on and waits until all of it has arrived everywhere.
    ///
    /// # Errors
    ///
    /// A post is lost, or came twice or out of order, or a peer refused one.
    pub(crate) async fn run(&mut self, text_bytes: usize, load: Load) -> Result<Outcome, Failure> {
        let before = Readings::take(&mut self.peers).await?;
        let tally = match (&self.programs, &mut self.peers) {
            (None, Peers::Daemons(_)) => return Err(Failure::new("daemons hold no programs")),
            (None, Peers::Grpc(six) | Peers::Raw(six)) => run_inside(six, text_bytes, load).await?,
            (Some(programs), _) => programs.run(text_bytes, load).await?,
        };
        let after = Readings::take(&mut self.peers).await?;
        Ok(Outcome {
            tally,
            processor_time: after.processor_time(&before),
            mesh_bytes: after.mesh_bytes - before.mesh_bytes,
            duplicates: after.duplicates - before.duplicates,
            others: after.others(&before),
        })
    }
}

impl Programs {
    async fn run(&self, text_bytes: usize, load: Load) -> Result<Tally, Failure> {
        self.ledger.begin(text_bytes);
        let mut sending = JoinSet::new();
        for (place, client) in self.clients.iter().enumerate() {
            let sender = Sender { client: client.clone(), ledger: Arc::clone(&self.ledger), place };
            match load {
                Load::Flood { senders, enough } if place < senders => {
                    sending.spawn(sender.flood(text_bytes, enough));
                }
                Load::Pace { senders, rate, time } if place < senders => {
                    sending.spawn(sender.pace(Beat::new(place, rate, time)));
                }
                Load::Flood { .. } | Load::Pace { .. } => (),
            }
        }
        while let Some(sent) = sending.join_next().await {
            sent.map_err(|error| Failure::new(error.to_string()))??;
        }
        self.ledger.wait_complete().await
    }
}

impl Readings {
    pub(crate) async fn take(peers: &mut Peers) -> Result<Self, Failure> {
        let (mesh_bytes, duplicates) = peers.counters().await?;
        Ok(Self {
            at: Instant::now(),
            processor_time: peers.pids().into_iter().map(process::processor_time).sum(),
            processor_time_fine: peers.pids().into_iter().map(process::processor_time_fine).sum(),
            own_time: process::processor_time(std::process::id()),
            machine: process::machine_time(),
            mesh_bytes,
            duplicates,
        })
    }

    /// Of all six since then.
    pub(crate) fn processor_time(&self, since: &Self) -> Duration {
        let all = self.processor_time.saturating_sub(since.processor_time);
        if all > COARSE_ENOUGH {
            return all;
        }
        self.processor_time_fine.saturating_sub(since.processor_time_fine)
    }

    /// Since then, per second.
    pub(crate) fn mesh_bytes_rate(&self, since: &Self) -> f64 {
        (self.mesh_bytes - since.mesh_bytes) as f64 / (self.at - since.at).as_secs_f64()
    }

    /// How much of the machine neither the six nor this program used since then, in percent.
    pub(crate) fn others(&self, since: &Self) -> f64 {
        let total = self.machine.total.saturating_sub(since.machine.total);
        let busy = self.machine.busy.saturating_sub(since.machine.busy);
        let ours = (self.processor_time + self.own_time).saturating_sub(since.processor_time + since.own_time);
        100.0 * busy.saturating_sub(ours).as_secs_f64() / total.as_secs_f64().max(f64::EPSILON)
    }
}

/// From here on the steps of the counter that knows all threads do not matter, also those that have ended. Below it,
/// only the finer one of the threads that live now tells anything.
const COARSE_ENOUGH: Duration = Duration::from_secs(1);
