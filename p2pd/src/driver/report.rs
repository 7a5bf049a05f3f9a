//! Events of the mesh as log lines. Foreign text goes through Debug, so that it cannot forge a line.

use std::collections::BTreeMap;

use p2p_mesh::effect::Event;

use super::{DAMAGE_ALARM, Driver, STORE_ALARM};

/// What was said lately, so that nothing is said for ever.
#[derive(Debug, Default)]
pub(super) struct Logs {
    minute: u64,
    /// By event and whom it is about.
    said: BTreeMap<String, u32>,
    /// By event.
    suppressed: BTreeMap<String, u64>,
}

impl Logs {
    /// Whether one more line of this kind may be written in this minute. The next minute says how many were not.
    fn allows(&mut self, key: String, mono_us: u64) -> bool {
        let minute = mono_us / 60_000_000;
        if minute != self.minute {
            self.minute = minute;
            self.said.clear();
            for (event, suppressed) in std::mem::take(&mut self.suppressed) {
                tracing::info!(?event, suppressed, "log_lines_suppressed");
            }
        }
        let event = key.split(' ').next().unwrap_or_default().to_owned();
        let is_told_apart = self.said.contains_key(&key) || self.said.len() < KINDS_MAX;
        // Too many to be told apart share what one of them may say.
        let lines = self.said.entry(if is_told_apart { key } else { event.clone() }).or_default();
        *lines += 1;
        let is_allowed = *lines <= LINES_PER_MINUTE;
        if !is_allowed {
            *self.suppressed.entry(event).or_default() += 1;
        }
        is_allowed
    }
}

impl Driver {
    pub(super) fn on_damage(&mut self, why: String) {
        if self.logs.allows("store_damaged".to_owned(), self.clock.now().mono.0) {
            tracing::error!(why, "store_damaged");
        }
        self.rooms.alarms.raise(DAMAGE_ALARM, why);
    }

    pub(super) fn on_event(&mut self, event: Event) {
        match &event {
            Event::StoreFailed { why } => {
                self.rooms.alarms.raise(STORE_ALARM, why.to_string());
                self.tell_service_soon();
            }
            Event::LinkUp { .. } | Event::LinkDown { .. } => self.tell_service_soon(),
            Event::LinkRefused { .. }
            | Event::DialFailed { .. }
            | Event::Suspected { .. }
            | Event::OtherInstance { .. }
            | Event::OwnPostsReturned { .. }
            | Event::SelfDialed { .. }
            | Event::Misbehaved { .. }
            | Event::ForkSeen { .. }
            | Event::SetAside { .. }
            | Event::EpochChanged { .. } => (),
        }
        if self.logs.allows(kind(&event), self.clock.now().mono.0) {
            write(&event);
        }
    }
}

/// What lines are counted by: the event, and whom it is about.
fn kind(event: &Event) -> String {
    match event {
        Event::LinkUp { peer, .. } => format!("link_up {peer:?}"),
        Event::LinkDown { peer, .. } => format!("link_down {peer:?}"),
        Event::LinkRefused { peer, .. } => format!("link_refused {peer:?}"),
        Event::DialFailed { addr, .. } => format!("dial_failed {addr}"),
        Event::Suspected { peer } => format!("suspected {peer:?}"),
        Event::OtherInstance { peer } => format!("other_instance {peer:?}"),
        Event::OwnPostsReturned { .. } => "own_posts_returned".to_owned(),
        Event::SelfDialed { addr } => format!("self_dialed {addr}"),
        Event::Misbehaved { peer, .. } => format!("misbehaved {peer:?}"),
        Event::ForkSeen { feed, .. } => format!("fork_seen {feed:?}"),
        Event::SetAside { feed, .. } => format!("set_aside {feed:?}"),
        Event::EpochChanged { .. } => "epoch_changed".to_owned(),
        Event::StoreFailed { .. } => "store_failed".to_owned(),
    }
}

fn write(event: &Event) {
    match event {
        Event::LinkUp { link, peer, name, outbound } => {
            tracing::info!(link = link.0, peer = ?peer.id, epoch = peer.epoch.0, ?name, outbound, "link_up");
        }
        // Of two links between two peers one goes: that is how it should be.
        Event::LinkDown { link, peer, reason } if is_spare(reason) => {
            tracing::debug!(link = link.0, peer = ?peer.id, ?reason, "link_down");
        }
        Event::LinkRefused { peer, reason } if is_spare(reason) => tracing::debug!(?peer, ?reason, "link_refused"),
        Event::LinkDown { link, peer, reason } => {
            tracing::info!(link = link.0, peer = ?peer.id, ?reason, "link_down");
        }
        Event::LinkRefused { peer, reason } => tracing::info!(?peer, ?reason, "link_refused"),
        Event::DialFailed { addr, reason, is_refused: true, tries, retry_ms } => {
            tracing::warn!(?addr, ?reason, tries, retry_ms, "dial_refused");
        }
        // The first failure says it all; the peer stays in `p2pctl peers` with its tries.
        Event::DialFailed { addr, reason, tries: 0 | 1, retry_ms, .. } => {
            tracing::info!(?addr, ?reason, retry_ms, "dial_failed");
        }
        Event::DialFailed { addr, reason, tries, retry_ms, .. } => {
            tracing::debug!(?addr, ?reason, tries, retry_ms, "dial_failed_again");
        }
        Event::Suspected { peer } => tracing::info!(peer = ?peer.id, "peer_suspect"),
        Event::OtherInstance { peer } => {
            tracing::warn!(epoch = peer.epoch.0, "another daemon runs with this identity");
        }
        Event::OwnPostsReturned { feed } => {
            let why = "peers hold own posts that were not here: was a backup brought back, or does a copy run?";
            tracing::warn!(epoch = feed.epoch.0, why, "own_posts_returned");
        }
        Event::SelfDialed { addr } => tracing::info!(?addr, "address_is_our_own"),
        Event::Misbehaved { peer, what, points } => tracing::warn!(?peer, ?what, points, "peer_misbehaved"),
        Event::ForkSeen { feed, seq, winner } => {
            tracing::warn!(author = ?feed.id, epoch = feed.epoch.0, seq = seq.0, ?winner, "fork_seen");
        }
        Event::SetAside { feed, head, posts } => {
            tracing::warn!(author = ?feed.id, epoch = feed.epoch.0, head = head.0, posts, "posts_set_aside");
        }
        Event::EpochChanged { old, new } => {
            tracing::warn!(
                old = old.epoch.0,
                new = new.epoch.0,
                "epoch_changed: this machine ran twice from one memory"
            );
        }
        Event::StoreFailed { why } => tracing::error!(?why, "store_failed"),
    }
}

fn is_spare(reason: &str) -> bool {
    reason.starts_with("duplicate") || reason.starts_with("bye duplicate")
}

const LINES_PER_MINUTE: u32 = 10;
const KINDS_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_minute_about_one_and_ten_about_all_beyond_a_thousand() {
        let mut logs = Logs::default();
        let mut said = |key: String, count: usize, minute: u64| {
            (0..count).filter(|_| logs.allows(key.clone(), minute * 60_000_000)).count()
        };
        assert_eq!(said("link_up a".into(), 50, 1), 10);
        assert_eq!(said("link_up b".into(), 5, 1), 5);
        let many: usize = (0..5_000).map(|n| said(format!("link_down {n}"), 1, 1)).sum();
        assert_eq!(many, KINDS_MAX - 2 + 10);
        assert_eq!(said("link_up a".into(), 1, 2), 1);
        let mut logs = Logs::default();
        assert_eq!((0..30).filter(|_| logs.allows("link_up a".into(), 0)).count(), 10);
        assert_eq!(logs.suppressed, BTreeMap::from([("link_up".to_owned(), 20)]));
        assert!(logs.allows("link_up a".into(), 60_000_000) && logs.suppressed.is_empty());
    }
}
