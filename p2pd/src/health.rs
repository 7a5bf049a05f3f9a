//! How the daemon is doing, in one word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The state of the daemon as a whole: the worst that is true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Health {
    /// It takes its places: lock, keys, ports.
    Starting,
    /// It opens its store, and repairs what the last run left.
    Recovering,
    /// Peers are known and none is linked.
    Isolated,
    /// It fetches what was missed.
    Syncing,
    /// All is well.
    Ready,
    /// Something is wrong.
    Degraded,
    /// On its way out.
    Stopping,
}

/// What a probe is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// In one word.
    pub health: Health,
    /// The store is open, or is being opened, and the loop turns.
    pub is_live: bool,
    /// All is well, or there is nobody to link to.
    pub is_ready: bool,
    /// Why it is not, one sentence each.
    pub why: Vec<String>,
}

/// How far the start is. Shared: the daemon writes, whoever is asked reads.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<AtomicU8>);

/// The stages of a start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stage {
    /// As `Health::Starting`.
    Starting,
    /// As `Health::Recovering`.
    Recovering,
    /// Its loop turns.
    Running,
}

impl Health {
    /// Every state, in the order in which a run comes to them.
    pub const ALL: [Self; 7] =
        [Self::Starting, Self::Recovering, Self::Isolated, Self::Syncing, Self::Ready, Self::Degraded, Self::Stopping];

    /// In capitals, as users see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "STARTING",
            Self::Recovering => "RECOVERING",
            Self::Isolated => "ISOLATED",
            Self::Syncing => "SYNCING",
            Self::Ready => "READY",
            Self::Degraded => "DEGRADED",
            Self::Stopping => "STOPPING",
        }
    }

    /// Whether the store is open and the loop turns. A repair must not be cut short by a restart, so it counts.
    #[must_use]
    pub fn is_live(self) -> bool {
        match self {
            Self::Starting => false,
            Self::Recovering | Self::Isolated | Self::Syncing | Self::Ready | Self::Degraded | Self::Stopping => true,
        }
    }
}

impl Progress {
    /// The start has come so far.
    pub fn reach(&self, stage: Stage) {
        self.0.store(stage as u8, Ordering::Relaxed);
    }

    /// How far it is; none once the loop turns.
    #[must_use]
    pub fn health(&self) -> Option<Health> {
        let stage = self.0.load(Ordering::Relaxed);
        if stage == Stage::Starting as u8 {
            Some(Health::Starting)
        } else if stage == Stage::Recovering as u8 {
            Some(Health::Recovering)
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_goes_through_its_stages() {
        let progress = Progress::default();
        assert_eq!(progress.health(), Some(Health::Starting));
        let daemon = progress.clone();
        daemon.reach(Stage::Recovering);
        assert_eq!(progress.health(), Some(Health::Recovering));
        daemon.reach(Stage::Running);
        assert_eq!(progress.health(), None);
    }

    #[test]
    fn every_state_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<&str> = Health::ALL.iter().map(|health| health.name()).collect();
        assert_eq!(names.len(), Health::ALL.len());
        let live: Vec<Health> = Health::ALL.into_iter().filter(|health| !health.is_live()).collect();
        assert_eq!(live, [Health::Starting]);
    }
}
