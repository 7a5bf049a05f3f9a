//! Figures for operators: what is told, how it is written, and where it is served.
//!
//! Nothing is counted here: the core, the links and the store count for themselves, and a scrape asks them. So figures
//! that nobody asks for cost nothing.

mod counters;
mod encode;
mod figures;
mod process;
mod server;

use std::time::SystemTime;

use futures_util::future::BoxFuture;
use p2p_mesh::status::{PeerStatus, Status};

use crate::health::{Health, Report};
use crate::query::StoreSummary;

pub use server::serve;

/// Everything that a scrape shows, as it was at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Of the program.
    pub version: String,
    /// When this process began.
    pub began: SystemTime,
    /// In one word.
    pub health: Health,
    /// As `/readyz` says it.
    pub is_ready: bool,
    /// What the mesh tells; none before it begins.
    pub mesh: Option<(Status, Vec<PeerStatus>)>,
    /// What the store tells; none where it does not answer.
    pub store: Option<StoreSummary>,
    /// Streams of posts that are read.
    pub subscribers: usize,
}

/// Who knows the figures and the state.
pub trait Source: Send + Sync + 'static {
    /// The figures now, or why there are none.
    fn scrape(&self) -> BoxFuture<'_, Result<Snapshot, String>>;

    /// The state now.
    fn report(&self) -> BoxFuture<'_, Report>;
}

/// How figures are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exposition {
    /// Prometheus' text format 0.0.4, which everything reads.
    Plain,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

/// Writes the figures.
#[must_use]
pub fn render(snapshot: &Snapshot, exposition: Exposition) -> String {
    let families = figures::families(snapshot, &process::read(snapshot.began));
    match exposition {
        Exposition::OpenMetrics => encode::open_metrics(families),
        Exposition::Plain => encode::plain(&encode::open_metrics(families)),
    }
}

#[cfg(test)]
mod tests;
