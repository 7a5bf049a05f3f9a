//! Peers that break the protocol are hung up, and for a while not heard.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Mesh;
use crate::effect::{Effect, Event};
use crate::id::{LinkId, PeerId};
use crate::limits::{PENALTIES_MAX, PENALTY_MAX};
use crate::time::{Mono, Now};
use crate::wire::message::ByeCode;

/// Points by peer.
#[derive(Clone, Debug, Default)]
pub(super) struct Penalties(BTreeMap<PeerId, Penalty>);

#[derive(Clone, Debug, Default)]
struct Penalty {
    points: u32,
    at: Mono,
    banned_until: Mono,
    bans: u32,
}

/// What a peer did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Offence {
    /// An envelope that its author did not sign: a relay must have checked.
    InvalidSignature,
    /// Something the protocol does not allow.
    Protocol,
    /// A frame that is longer than a frame may be.
    Oversize,
    /// An announcement that nobody could make good.
    BogusAnnouncement,
    /// More than a limit allows.
    Limit,
}

impl Offence {
    fn points(self) -> u32 {
        match self {
            Self::InvalidSignature => 100,
            Self::Protocol | Self::Oversize => 50,
            Self::BogusAnnouncement => 10,
            Self::Limit => 5,
        }
    }

    /// Counts it beside all the others.
    fn counter(self) -> &'static str {
        match self {
            Self::InvalidSignature => "errors_signature_total",
            Self::Protocol => "errors_protocol_total",
            Self::Oversize => "errors_oversize_total",
            Self::BogusAnnouncement => "errors_announcement_total",
            Self::Limit => "errors_limit_total",
        }
    }
}

impl Penalties {
    /// Adds points; gives the sum, and whether that means a ban.
    fn add(&mut self, peer: PeerId, points: u32, is_configured: bool, now: Mono) -> (u32, bool) {
        if self.0.len() >= PENALTIES_MAX && !self.0.contains_key(&peer) {
            self.0.retain(|_, penalty| penalty.banned_until > now);
            if self.0.len() >= PENALTIES_MAX {
                self.0.pop_first();
            }
        }
        let penalty = self.0.entry(peer).or_default();
        let halvings = now.since(penalty.at).as_secs() / HALVED_EVERY.as_secs();
        penalty.points = penalty.points.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0) + points;
        penalty.at = now;
        if penalty.points < PENALTY_MAX {
            return (penalty.points, false);
        }
        let span =
            if is_configured { BAN_CONFIGURED } else { (BAN * 2u32.saturating_pow(penalty.bans.min(5))).min(BAN_MAX) };
        penalty.bans += 1;
        penalty.banned_until = now + span;
        (std::mem::take(&mut penalty.points), true)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Until when a peer is not heard; none if it is welcome.
    pub(super) fn banned_until(&self, peer: &PeerId, now: Mono) -> Option<Mono> {
        self.0.get(peer).map(|penalty| penalty.banned_until).filter(|until| *until > now)
    }
}

impl Mesh {
    pub(super) fn penalize(&mut self, id: LinkId, offence: Offence, what: String, now: Now) {
        let Some(link) = self.links.get(&id) else { return };
        let peer = link.peer;
        let is_configured = self.dials.is_configured(peer);
        let (points, is_banned) = self.penalties.add(peer, offence.points(), is_configured, now.mono);
        self.count("errors_total", 1);
        self.count(offence.counter(), 1);
        self.effects.push_back(Effect::Event(Event::Misbehaved { peer, what, points }));
        if is_banned {
            return self.refuse(id, ByeCode::Banned, "too many errors", now);
        }
        match offence {
            Offence::Protocol => self.refuse(id, ByeCode::Protocol, "a frame that the protocol does not allow", now),
            Offence::Oversize => self.refuse(id, ByeCode::Limit, "a frame over the limit", now),
            Offence::InvalidSignature | Offence::BogusAnnouncement | Offence::Limit => (),
        }
    }
}

const HALVED_EVERY: Duration = Duration::from_secs(600);
const BAN: Duration = Duration::from_secs(3_600);
const BAN_MAX: Duration = Duration::from_secs(24 * 3_600);
const BAN_CONFIGURED: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_fade_and_bans_grow() {
        let (peer, mut penalties) = (PeerId([1; 32]), Penalties::default());
        let at = |seconds: u64| Mono(0) + Duration::from_secs(seconds);
        assert_eq!(penalties.add(peer, 50, false, at(0)), (50, false));
        assert_eq!(penalties.add(peer, 50, false, at(600)), (75, false));
        assert_eq!(penalties.add(peer, 50, false, at(600)), (125, true));
        assert_eq!(penalties.banned_until(&peer, at(601)), Some(at(4_200)));
        assert_eq!(penalties.banned_until(&peer, at(4_200)), None);
        assert_eq!(penalties.add(peer, 100, false, at(5_000)), (100, true));
        assert_eq!(penalties.banned_until(&peer, at(5_001)), Some(at(12_200)));
        assert_eq!(penalties.add(peer, 100, true, at(20_000)), (100, true));
        assert_eq!(penalties.banned_until(&peer, at(20_001)), Some(at(20_060)));
    }
}
