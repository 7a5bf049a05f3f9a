//! What the service manager tells people of us, in a line.

use std::fmt::Write;
use std::time::Duration;

use tokio::time::Instant;

use super::Driver;
use crate::logging;

impl Driver {
    /// Something changed that the line is about. Much may change at once, and the manager has other things to do.
    pub(super) fn tell_service_soon(&mut self) {
        if self.rooms.notifier.is_on() {
            self.tell_due.get_or_insert(Instant::now() + TELL_DELAY);
        }
    }

    pub(super) fn tell_service(&mut self) {
        self.tell_due = None;
        self.rooms.notifier.status(&self.summary());
    }

    /// `Degraded: disk full in /d; 2 of 5 known peers are up`.
    #[must_use]
    pub fn summary(&self) -> String {
        let status = self.mesh.status();
        let mut line = String::new();
        let is_degraded = self.rooms.alarms.are_raised();
        for problem in self.rooms.alarms.sentences() {
            line.push_str(if line.is_empty() && is_degraded { "Degraded: " } else { "" });
            // Names of files are in it, and a line must stay one.
            logging::write_safe(&mut line, &problem).expect("a string takes everything");
            line.push_str("; ");
        }
        let known = status.peers_known.max(status.peers_up);
        write!(line, "{} of {known} known peers are up", status.peers_up).expect("a string takes everything");
        line
    }
}

const TELL_DELAY: Duration = Duration::from_secs(1);
