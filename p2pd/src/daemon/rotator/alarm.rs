//! What people are told of the network's secret.

use super::{Before, Rotator};
use crate::daemon::door::Place;
use crate::rotation::Standing;

impl Rotator {
    /// One line for each change. Names of keys tell nothing of them.
    pub(super) fn tell(&self, before: &Before, after: &Before) {
        if (before.key, before.by) != (after.key, after.by) {
            self.ear.note_rotation();
            let (out, until_ms) = (after.out.len(), self.rotations.rotation().map(|one| one.until_ms));
            tracing::info!(by = ?after.by, key = ?after.key, was = ?before.key, out, until_ms, "network_rotated");
        }
        for peer in after.out.difference(&before.out) {
            tracing::info!(?peer, by = ?after.by, "peer_shut_out");
        }
        for peer in before.out.difference(&after.out) {
            tracing::info!(?peer, by = ?after.by, "peer_readmitted");
        }
        if before.standing != after.standing {
            match after.standing {
                Standing::In => tracing::info!("member_again"),
                Standing::ShutOut(by) => tracing::error!(?by, "shut_out_of_the_network"),
                Standing::LeftOut(by) => tracing::warn!(?by, "new_network_key_not_given"),
            }
        }
    }

    /// What stands in the status until it is over.
    pub(super) fn set_alarms(&self) {
        match self.rotations.standing() {
            Standing::In => self.alarms.clear(STANDING_ALARM),
            Standing::ShutOut(by) => self.alarms.raise(
                STANDING_ALARM,
                format!("this daemon was shut out of the network by {}: only a member can let it in", self.names.shown(&by)),
            ),
            Standing::LeftOut(by) => self.alarms.raise(
                STANDING_ALARM,
                format!(
                    "{} changed the network's secret and did not give it to this daemon: a member can, with p2pctl invite",
                    self.names.shown(&by)
                ),
            ),
        }
        self.mention_lost();
        self.mention_configuration();
    }

    fn mention_lost(&self) {
        let lost: Vec<String> = self.rotations.lost_shuts().iter().map(|peer| self.names.shown(peer)).collect();
        if lost.is_empty() {
            return self.alarms.clear(LOST_ALARM);
        }
        self.alarms.mention(
            LOST_ALARM,
            format!(
                "the network's secret was changed by two at once, and {} is in still: p2pctl network rotate --without PEER",
                lost.join(", ")
            ),
        );
    }

    fn mention_configuration(&self) {
        match &self.place {
            Place::Configured(key) if self.rotations.is_replaced(&self.configured) => self.alarms.mention(
                CONFIGURATION_ALARM,
                format!(
                    "{key} holds a network secret that was replaced: the one that holds is in {}",
                    self.files.rotated.display()
                ),
            ),
            Place::Configured(_) | Place::File(_) | Place::Open => self.alarms.clear(CONFIGURATION_ALARM),
        }
    }
}

const STANDING_ALARM: &str = "rotation_standing";
const LOST_ALARM: &str = "rotation_lost";
const CONFIGURATION_ALARM: &str = "rotation_configuration";
