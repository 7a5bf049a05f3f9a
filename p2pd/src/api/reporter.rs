//! What operators' programs are told: the figures, and whether the daemon is well.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use p2p_mesh::status::Status;
use p2p_proto::error::Error;
use tokio::time::timeout;

use super::ask::Asker;
use super::{Facts, Request, Subscribers, status};
use crate::health::{Health, Report};
use crate::metrics::{Snapshot, Source};
use crate::query::StoreSummary;

/// Asks the driver and the store for everything that is told. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reporter {
    pub(super) asker: Asker,
    pub(super) facts: Arc<Facts>,
    pub(super) subscribers: Subscribers,
}

impl Source for Reporter {
    fn scrape(&self) -> BoxFuture<'_, Result<Snapshot, String>> {
        Box::pin(async {
            match timeout(LOOP_PATIENCE, self.snapshot()).await {
                Ok(snapshot) => snapshot.map_err(|error| error.message),
                Err(_) => Err(format!("the daemon's loop did not answer within {LOOP_PATIENCE:?}")),
            }
        })
    }

    fn report(&self) -> BoxFuture<'_, Report> {
        Box::pin(async {
            if let Some(health) = self.facts.progress.health() {
                return Report { health, is_live: health.is_live(), is_ready: false, why: Vec::new() };
            }
            // Both have to answer: the loop turns, and the store is open.
            match timeout(LOOP_PATIENCE, async { tokio::try_join!(self.status(), self.store()) }).await {
                Ok(Ok((status, _))) => self.judge(&status),
                // Whoever still answers here is on his way out in good order.
                Ok(Err(error)) => {
                    Report { health: Health::Stopping, is_live: true, is_ready: false, why: vec![error.message] }
                }
                Err(_) => {
                    let why = format!("the loop or the store did not answer within {LOOP_PATIENCE:?}");
                    Report { health: Health::Degraded, is_live: false, is_ready: false, why: vec![why] }
                }
            }
        })
    }
}

impl Reporter {
    /// # Errors
    ///
    /// The daemon stops.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Error> {
        let snapshot = Snapshot {
            version: self.facts.version.clone(),
            began: self.facts.began,
            health: Health::Stopping,
            is_ready: false,
            mesh: None,
            store: None,
            subscribers: self.subscribers.count(),
        };
        if let Some(health) = self.facts.progress.health() {
            return Ok(Snapshot { health, ..snapshot });
        }
        let status = self.status().await?;
        let peers = self.asker.ask(Request::Peers).await?;
        // A disk that hangs must not hide everything else.
        let store = timeout(STORE_PATIENCE, self.store()).await.ok().and_then(Result::ok);
        let health = status::present_health(&self.asker, &self.facts, &status);
        let is_ready = status::is_ready(health, &status);
        Ok(Snapshot { health, is_ready, mesh: Some((status, peers)), store, ..snapshot })
    }

    async fn status(&self) -> Result<Status, Error> {
        self.asker.ask(Request::Status).await
    }

    async fn store(&self) -> Result<StoreSummary, Error> {
        self.asker.ask(Request::StoreSummary).await
    }

    fn judge(&self, status: &Status) -> Report {
        let health = status::present_health(&self.asker, &self.facts, status);
        let names = self.subscribers.names();
        let mut why = status::problems(self.facts.alarms.sentences(), status, names);
        match health {
            Health::Isolated => {
                why.push(format!("no peer is linked, {} are known", status.peers_known.max(status.addrs_configured)));
            }
            Health::Syncing => why.push(format!("{} posts are missing here that peers hold", status.missing_posts)),
            Health::Starting | Health::Recovering | Health::Ready | Health::Degraded | Health::Stopping => (),
        }
        Report { health, is_live: health.is_live(), is_ready: status::is_ready(health, status), why }
    }
}

/// A loop that does not come round in this time stands still, whatever it is at.
const LOOP_PATIENCE: Duration = Duration::from_secs(3);
/// Shorter, so that a scrape ends before it is given up.
const STORE_PATIENCE: Duration = Duration::from_secs(2);
