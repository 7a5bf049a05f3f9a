//! The log's filter while the daemon runs: the configured one, another one, or another one for a time.

use std::time::Duration;

use tokio::time::Instant;

use crate::api::{LogFilter, LogWish};
use crate::logging::{LogError, LogHandle};

/// The filter in force, and the one that comes back.
pub(super) struct LogLevel {
    handle: LogHandle,
    /// In force where no time is running.
    standing: String,
    /// In force until then.
    passing: Option<(String, Instant)>,
}

impl LogLevel {
    /// The log that was started with this filter.
    pub(super) fn new(handle: LogHandle, filter: &str) -> Self {
        Self { handle, standing: filter.to_owned(), passing: None }
    }

    /// Logs by another filter. A wrong one changes nothing.
    pub(super) fn set(&mut self, wish: LogWish, now: Instant) -> Result<(), LogError> {
        self.handle.set_filter(&wish.filter)?;
        match wish.time {
            Some(time) => self.passing = Some((wish.filter, now + time)),
            None => (self.standing, self.passing) = (wish.filter, None),
        }
        Ok(())
    }

    /// Waits until lines were left out for their number.
    pub(super) async fn is_suppressed(&self) {
        self.handle.is_suppressed().await;
    }

    /// Says how many.
    pub(super) fn tell_suppressed(&self) {
        self.handle.tell_suppressed();
    }

    /// When `go_back` wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.passing.as_ref().map(|(_, due)| *due)
    }

    /// The time is over.
    pub(super) fn go_back(&mut self) {
        self.passing = None;
        // It was in force before, so nothing is wrong with it.
        let _ = self.handle.set_filter(&self.standing);
    }

    /// What is in force.
    pub(super) fn present(&self, now: Instant) -> LogFilter {
        match &self.passing {
            None => LogFilter { filter: self.standing.clone(), back: None },
            Some((filter, due)) => {
                // Whoever is told of a time is never told of none.
                let left = due.saturating_duration_since(now).max(Duration::from_millis(1));
                LogFilter { filter: filter.clone(), back: Some((self.standing.clone(), left)) }
            }
        }
    }
}
