//! Six daemons with a client, a sender and a subscriber at each, and the loads that are put on them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use p2p_proto::client::Client;
use tokio::task::JoinSet;

use crate::daemons::{Daemon, Network};
use crate::failure::Failure;
use crate::ledger::{Ledger, Tally};
use crate::process::{self, MachineTime};
use crate::sender::{Enough, Sender};
use crate::subscriber::subscribe;

/// The six, with everybody in their seats.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) daemons: Vec<Daemon>,
    clients: Vec<Client>,
    ledger: Arc<Ledger>,
}

/// What the peers of a run do.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// The first so many send as fast as it is accepted.
    Flood { senders: usize, enough: Enough },
    /// The first so many send at this rate each.
    Pace { senders: usize, rate: u32, time: Duration },
}

/// What a run came to, and what it cost.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) tally: Tally,
    /// Processor time of all daemons.
    pub(crate) processor_time: Duration,
    /// Bytes of frames that the daemons sent each other, before encryption.
    pub(crate) mesh_bytes: u64,
    /// Posts that reached a daemon which held them already.
    pub(crate) duplicates: u64,
    /// See `Readings::others`.
    pub(crate) others: f64,
}

/// Everything that only counts upwards, at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Readings {
    at: Instant,
    processor_time: Duration,
    own_time: Duration,
    machine: MachineTime,
    mesh_bytes: u64,
    duplicates: u64,
}

impl Stage {
    /// Connects to daemons that are linked already.
    pub(crate) async fn open(daemons: Vec<Daemon>) -> Result<Self, Failure> {
        let ledger = Arc::new(Ledger::new(daemons.iter().map(|daemon| daemon.id().to_owned()).collect()));
        let mut clients = Vec::new();
        for (place, daemon) in daemons.iter().enumerate() {
            let client = daemon.connect().await?;
            subscribe(&client, Arc::clone(&ledger), place).await?;
            clients.push(client);
        }
        Ok(Self { daemons, clients, ledger })
    }

    /// Puts the load on and waits until all of it has arrived everywhere.
    ///
    /// # Errors
    ///
    /// A post is lost, or came twice or out of order, or a daemon refused one.
    pub(crate) async fn run(&self, text_bytes: usize, load: Load) -> Result<Outcome, Failure> {
        let before = Readings::take(&self.daemons).await?;
        self.ledger.begin(text_bytes);
        let mut sending = JoinSet::new();
        for (place, client) in self.clients.iter().enumerate() {
            let sender = Sender { client: client.clone(), ledger: Arc::clone(&self.ledger), place };
            match load {
                Load::Flood { senders, enough } if place < senders => {
                    sending.spawn(sender.flood(text_bytes, enough));
                }
                Load::Pace { senders, rate, time } if place < senders => {
                    // Spread over a step, so that six do not speak in the same instant.
                    let delay = Duration::from_secs(1) / rate * u32::try_from(place).unwrap_or(0) / 6;
                    sending.spawn(sender.pace(rate, time, delay));
                }
                Load::Flood { .. } | Load::Pace { .. } => (),
            }
        }
        while let Some(sent) = sending.join_next().await {
            sent.map_err(|error| Failure::new(error.to_string()))??;
        }
        let tally = self.ledger.wait_complete().await?;
        let after = Readings::take(&self.daemons).await?;
        Ok(Outcome {
            tally,
            processor_time: after.processor_time.saturating_sub(before.processor_time),
            mesh_bytes: after.mesh_bytes - before.mesh_bytes,
            duplicates: after.duplicates - before.duplicates,
            others: after.others(&before),
        })
    }
}

impl Readings {
    pub(crate) async fn take(daemons: &[Daemon]) -> Result<Self, Failure> {
        let (mut mesh_bytes, mut duplicates) = (0, 0);
        for daemon in daemons {
            let counters = daemon.status().await?.counters;
            let counter = |name| counters.get(name).copied().unwrap_or(0);
            mesh_bytes += counter("bytes_sent_total");
            duplicates += counter("posts_duplicate_total");
        }
        Ok(Self {
            at: Instant::now(),
            processor_time: daemons.iter().map(|daemon| process::processor_time(daemon.pid())).sum(),
            own_time: process::processor_time(std::process::id()),
            machine: process::machine_time(),
            mesh_bytes,
            duplicates,
        })
    }

    /// Since then, per second.
    pub(crate) fn mesh_bytes_rate(&self, since: &Self) -> f64 {
        (self.mesh_bytes - since.mesh_bytes) as f64 / (self.at - since.at).as_secs_f64()
    }

    /// How much of the machine neither the daemons nor this program used since then, in percent.
    pub(crate) fn others(&self, since: &Self) -> f64 {
        let total = self.machine.total.saturating_sub(since.machine.total);
        let busy = self.machine.busy.saturating_sub(since.machine.busy);
        let ours = (self.processor_time + self.own_time).saturating_sub(since.processor_time + since.own_time);
        100.0 * busy.saturating_sub(ours).as_secs_f64() / total.as_secs_f64().max(f64::EPSILON)
    }
}

/// One daemon alone with `count` posts, and then a newcomer that knows its address.
#[derive(Debug)]
pub(crate) struct CatchUp {
    /// The first, started again with all the posts in its store: until it was ready.
    pub(crate) restart: Duration,
    /// The newcomer, from its process on until a program at it had read all posts.
    pub(crate) newcomer: Duration,
}

pub(crate) async fn catch_up(network: &Network, count: u64) -> Result<CatchUp, Failure> {
    let first = network.start("first", &[]).await?;
    let client = first.connect().await?;
    let ledger = Arc::new(Ledger::new(vec![first.id().to_owned()]));
    ledger.begin(64);
    subscribe(&client, Arc::clone(&ledger), 0).await?;
    let enough = Enough { time: Duration::from_secs(120), posts: count };
    Sender { client, ledger: Arc::clone(&ledger), place: 0 }.flood(64, enough).await?;
    let posts = ledger.wait_complete().await?.posts;
    if posts != count {
        return Err(Failure::new(format!("{posts} of {count} posts were stored in {:?}", enough.time)));
    }
    first.stop().await?;
    let first = network.start("first", &[]).await?;
    let start = Instant::now();
    let newcomer = network.start("newcomer", &[&first]).await?;
    crate::subscriber::read_all(&newcomer.connect().await?, count).await?;
    Ok(CatchUp { restart: first.start_time, newcomer: start.elapsed() })
}
