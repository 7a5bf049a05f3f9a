//! What the mesh tells of itself when asked.

use std::collections::BTreeMap;

use super::Mesh;
use super::dials::Dialing;
use super::holders::Known;
use super::link::Link;
use crate::id::{Epoch, Instance, LinkId, PeerId, Seq};
use crate::limits::FORKS_SHOWN_MAX;
use crate::membership::record::{Addr, Record};
use crate::reconnect::Target;
use crate::status::{PeerState, PeerStatus, Status};
use crate::time::Now;
use crate::timers::Timer;

impl Mesh {
    /// The mesh as a whole.
    #[must_use]
    pub fn status(&self) -> Status {
        let up: BTreeMap<PeerId, usize> = self.up_links().map(|link| (link.peer, 0)).collect();
        Status {
            instance: Some(self.me.instance),
            forks: self.forks().take(FORKS_SHOWN_MAX).collect(),
            feeds_forked: self.forks().count(),
            advertise: self.me.addrs.clone(),
            peers_up: up.keys().filter(|id| **id != self.me.id).count(),
            peers_known: self.book.len(),
            addrs_configured: self.dials.addrs().filter(|(addr, _)| !self.dials.is_self(addr)).count(),
            offset: self.stored_offset,
            digest: self.feeds.digest(),
            posts: self.feeds.posts,
            missing_posts: self.missing_posts(),
            unacked_own_posts: self.unacked_own_posts(),
            unavailable_posts: self.unavailable_posts(),
            other_instances: self.up_links().filter(|link| link.peer == self.me.id).count(),
            counters: self.counters.clone(),
            links_outbound: self.up_links().filter(|link| link.is_outbound()).count(),
            links_inbound: self.up_links().filter(|link| !link.is_outbound()).count(),
            rtt: self.rtt,
            delivery: self.delivery,
        }
    }

    /// Feeds whose author used a number twice, with the lowest such number of each.
    pub fn forks(&self) -> impl Iterator<Item = (Instance, Seq)> {
        self.feeds.iter().filter_map(|(_, state)| Some((state.feed?, state.forks.places().next()?.seq)))
    }

    /// The newest epoch of this identity that is known, its own or another machine's.
    #[must_use]
    pub fn newest_own_epoch(&self) -> Epoch {
        let newest = self.feeds.newest_of(self.me.id).unwrap_or(self.me.instance.epoch);
        newest.max(self.me.instance.epoch)
    }

    /// This peer's own record: what others are told.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.me.record
    }

    /// What peers call themselves.
    pub fn names(&self) -> impl Iterator<Item = (PeerId, &str)> {
        let others = self.book.ids().filter_map(|id| Some((id, self.book.get(&id)?.record.name.as_str())));
        others.chain([(self.me.id, self.me.record.name.as_str())])
    }

    /// The record that a peer last told.
    #[must_use]
    pub fn record_of(&self, id: &PeerId) -> Option<&Record> {
        self.book.get(id).map(|entry| &entry.record)
    }

    /// Every peer that is known, and every configured address that never answered.
    #[must_use]
    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        let known = self.known();
        let peers = known.iter().map(|known| self.peer(known, now));
        let silent =
            self.dials.addrs().filter(|(addr, dialing)| dialing.answered.is_none() && !self.dials.is_self(addr));
        peers.chain(silent.map(|(addr, dialing)| self.silent_addr(addr, dialing, now))).collect()
    }

    fn peer(&self, known: &Known<'_>, now: Now) -> PeerStatus {
        let id = known.peer;
        let entry = self.book.get(&id);
        let target = Target::Peer(id);
        let configured: Vec<Addr> = self.dials.addrs_of(id).cloned().collect();
        let mut addresses = entry.map(|entry| entry.record.addrs.clone()).unwrap_or_default();
        for addr in self.hints.addrs_of(id).chain(&configured) {
            if !addresses.contains(addr) {
                addresses.push(addr.clone());
            }
        }
        let mut status = self.unlinked(&target, now);
        if status.state == PeerState::Down && self.is_linking(id) {
            // Its hello is waited for.
            status.state = PeerState::Dialing;
        }
        status.id = Some(id);
        status.name = entry.map(|entry| entry.record.name.clone()).unwrap_or_default();
        status.epoch = entry.map(|entry| entry.record.epoch);
        status.last_seen_ms = self.last_seen_ms(known, now);
        status.behind = self.posts_behind(known);
        status.configured = !configured.is_empty();
        status.address = addresses.first().map(ToString::to_string).unwrap_or_default();
        status.addresses = addresses;
        status.forks = self.forks().filter(|(feed, _)| feed.id == id).count();
        status.instances = known.links.len();
        if let Some(link) = known.links.first() {
            describe_link(&mut status, link);
        }
        status
    }

    fn silent_addr(&self, addr: &Addr, _: &Dialing, now: Now) -> PeerStatus {
        let mut status = self.unlinked(&Target::Addr(addr.clone()), now);
        status.address = addr.to_string();
        status.addresses = vec![addr.clone()];
        status.configured = true;
        status
    }

    fn unlinked(&self, target: &Target, now: Now) -> PeerStatus {
        let dialing = self.dials.get(target).cloned().unwrap_or_default();
        let next = self.timers.get(&Timer::Dial(target.clone()));
        let state = match (dialing.in_flight, next) {
            (Some(_), _) => PeerState::Dialing,
            (None, Some(_)) => PeerState::Waiting,
            (None, None) if self.dials.is_waiting(target) => PeerState::Waiting,
            (None, None) => PeerState::Down,
        };
        PeerStatus {
            since_ms: dialing.since_ms,
            tries: dialing.tries,
            next_dial_ms: next.map(|at| at.since(now.mono).as_millis() as u64),
            last_error: dialing.last_error,
            met_other: dialing.met_other,
            ..PeerStatus::unknown(state)
        }
    }

    /// The link over which a feed is pushed to us, or was last fetched.
    #[must_use]
    pub fn provider_of(&self, feed: Instance) -> Option<LinkId> {
        self.feeds.get(&feed.feed_id())?.provider
    }

    /// Posts that wait to be sealed.
    #[must_use]
    pub fn outbox_len(&self) -> usize {
        self.outbox.len()
    }
}

fn describe_link(status: &mut PeerStatus, link: &Link) {
    let Some(up) = link.up() else { return };
    status.state = if link.liveness.is_suspect() { PeerState::Suspect } else { PeerState::Up };
    status.since_ms = up.since_ms;
    status.rtt_us = link.liveness.rtt_us();
    status.address = link.dial.as_ref().map_or(link.remote.to_string(), |dial| dial.addr.to_string());
    status.outbound = link.is_outbound();
    status.epoch = Some(up.instance.epoch);
    status.agent.clone_from(&up.agent);
    status.bytes_sent = link.stats.bytes_sent;
    status.bytes_received = link.stats.bytes_received;
    status.posts_received = link.stats.posts_received;
    status.posts_duplicate = link.stats.posts_duplicate;
    status.queue_bytes = link.in_flight as u64;
    status.clock_offset_us = link.liveness.clock_offset_us();
    status.next_dial_ms = None;
}
