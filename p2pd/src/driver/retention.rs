//! When the store is asked to drop what is too old or too much.

use std::time::Duration;

use p2p_mesh::effect::Append;
use p2p_mesh::input::Input;
use tokio::time::Instant;

use super::{Clock, Driver};
use crate::store::{Job, Limits, Retained};

/// What is to be kept, and when that is looked at next.
///
/// Bytes only grow with appends, so a daemon that hears nothing does not wake up for them. Age grows by itself.
#[derive(Clone, Debug)]
pub struct Retention {
    age: Option<Duration>,
    bytes_max: Option<u64>,
    due: Option<Instant>,
    /// Of bodies, since it was last looked.
    appended_bytes: u64,
    /// The store was asked and has not answered.
    is_asked: bool,
}

impl Retention {
    /// What a user wants: nothing older than this, and no more than that. It is looked at at once.
    #[must_use]
    pub fn new(age: Option<Duration>, bytes_max: Option<u64>) -> Self {
        let due = (age.is_some() || bytes_max.is_some()).then(Instant::now);
        Self { age, bytes_max, due, appended_bytes: 0, is_asked: false }
    }

    /// The user wants something else. It is looked at once the store has answered what it was asked.
    pub(super) fn configure(&mut self, age: Option<Duration>, bytes_max: Option<u64>) {
        if (self.age, self.bytes_max) != (age, bytes_max) {
            *self = Self { is_asked: self.is_asked, ..Self::new(age, bytes_max) };
        }
    }

    /// When the store wants to be asked.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| !self.is_asked)
    }

    fn limits(&self, now_ms: u64) -> Limits {
        let age_ms = self.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Limits { before_ms: age_ms.map(|age_ms| now_ms.saturating_sub(age_ms)), bytes_max: self.bytes_max }
    }

    fn on_appended(&mut self, bytes: u64, now: Instant) {
        let Some(bytes_max) = self.bytes_max else { return };
        self.appended_bytes += bytes;
        let is_much = self.appended_bytes >= (bytes_max / CHECKS_PER_LIMIT).min(CHECK_BYTES_MAX);
        let due = if is_much { now } else { now + CHECK_AFTER_APPEND };
        self.due = Some(self.due.map_or(due, |known| known.min(due)));
    }

    fn on_asked(&mut self) {
        self.is_asked = true;
        self.due = None;
        self.appended_bytes = 0;
    }

    fn on_retained(&mut self, is_more: bool, now: Instant) {
        self.is_asked = false;
        if is_more {
            self.due = Some(now);
        } else if self.age.is_some() {
            self.due = Some(self.due.map_or(now + CHECK_EVERY, |known| known.min(now + CHECK_EVERY)));
        }
    }
}

impl Driver {
    pub(super) fn note_append(&mut self, append: &Append) {
        let bytes: usize = append.envelopes.iter().map(|delivery| delivery.envelope.bytes().len()).sum();
        self.rooms.retention.on_appended(bytes as u64, Instant::now());
    }

    /// Its time has come.
    pub(super) fn retain(&mut self) {
        let limits = self.rooms.retention.limits(Clock::now(&self.clock).unix_ms);
        self.rooms.retention.on_asked();
        self.job(Job::Retain(limits));
    }

    pub(super) fn on_retained(&mut self, retained: Retained) {
        if retained.posts > 0 {
            tracing::debug!(posts = retained.posts, bytes = retained.bytes, is_more = retained.is_more, "retained");
        }
        self.rooms.retention.on_retained(retained.is_more, Instant::now());
        if !retained.feeds.is_empty() {
            self.handle(Input::Retained { feeds: retained.feeds });
        }
    }
}

/// However little is appended, it is looked at after this. What comes meanwhile shares the look.
const CHECK_AFTER_APPEND: Duration = Duration::from_secs(5);
/// Age is looked at no more often than this.
const CHECK_EVERY: Duration = Duration::from_secs(60);
/// A small limit is looked at when this part of it was appended,
const CHECKS_PER_LIMIT: u64 = 16;
/// and a large one when this much was.
const CHECK_BYTES_MAX: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_daemon_without_limits_never_looks() {
        let mut retention = Retention::new(None, None);
        retention.on_appended(1 << 40, Instant::now());
        assert_eq!(retention.due(), None);
    }

    #[test]
    fn bytes_are_looked_at_once_and_then_only_behind_appends() {
        let now = Instant::now();
        let mut retention = Retention::new(None, Some(16_000_000));
        assert!(retention.due().is_some(), "a start may find too much");
        retention.on_asked();
        assert_eq!(retention.due(), None, "one question at a time");
        retention.on_retained(false, now);
        assert_eq!(retention.due(), None, "an idle daemon sleeps");
        retention.on_appended(10, now);
        assert_eq!(retention.due(), Some(now + CHECK_AFTER_APPEND), "however little");
        retention.on_appended(1_000_000, now);
        assert_eq!(retention.due(), Some(now), "much was appended");
        retention.on_asked();
        retention.on_retained(true, now);
        assert_eq!(retention.due(), Some(now), "the store was not done");
        assert_eq!(retention.limits(5), Limits { before_ms: None, bytes_max: Some(16_000_000) });
    }

    #[test]
    fn other_limits_are_looked_at_at_once_and_the_same_ones_are_not() {
        let now = Instant::now();
        let mut retention = Retention::new(None, Some(16_000_000));
        retention.on_asked();
        retention.configure(None, Some(1_000_000));
        assert_eq!(retention.due(), None, "one question at a time");
        retention.on_retained(false, now);
        assert!(retention.due().is_some());
        retention.on_asked();
        retention.on_retained(false, now);
        retention.configure(None, Some(1_000_000));
        assert_eq!(retention.due(), None);
    }

    #[test]
    fn age_is_looked_at_once_a_minute() {
        let now = Instant::now();
        let mut retention = Retention::new(Some(Duration::from_secs(60)), None);
        retention.on_asked();
        retention.on_retained(false, now);
        assert_eq!(retention.due(), Some(now + CHECK_EVERY));
        assert_eq!(retention.limits(60_001), Limits { before_ms: Some(1), bytes_max: None });
        assert_eq!(
            retention.limits(1),
            Limits { before_ms: Some(0), bytes_max: None },
            "a clock before 1970 drops nothing"
        );
    }
}
