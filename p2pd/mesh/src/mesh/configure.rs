//! The user chose anew while the mesh runs.

use std::collections::BTreeSet;

use super::Mesh;
use crate::config::Config;
use crate::id::{LinkId, PeerId};
use crate::membership::record::{Addr, Record};
use crate::time::Now;
use crate::timers::Timer;
use crate::wire::message::ByeCode;

impl Mesh {
    /// Takes all choices over. Addresses that were added or forgotten by hand meanwhile stay so.
    pub(super) fn on_configure(&mut self, config: Config, now: Now) {
        let old = std::mem::replace(&mut self.config, config);
        self.change_configured_addrs(&old.peers, now);
        if self.config.name != old.name || self.config.advertise != old.advertise {
            if self.config.advertise != old.advertise {
                self.me.addrs.clone_from(&self.config.advertise);
            }
            self.sign_record();
        }
        self.change_heartbeats(&old, now);
        self.hang_up_unwelcome(now);
        self.hang_up_surplus(now);
    }

    /// Nobody else is blocked from now on: links to these end, and they are not dialed.
    pub(super) fn on_block(&mut self, peers: BTreeSet<PeerId>, now: Now) {
        self.config.block = peers;
        self.hang_up_unwelcome(now);
    }

    /// Signs what others are told of this peer, and tells them.
    pub(super) fn sign_record(&mut self) {
        let rev = self.me.record.rev + 1;
        self.me.record = Record::sign(&self.me.key, rev, &self.me.addrs, &self.config.name, self.me.instance.epoch);
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.control.records.insert(self.me.id);
            self.dirty.insert(link.id);
        }
    }

    fn change_configured_addrs(&mut self, old: &[Addr], now: Now) {
        let new: BTreeSet<Addr> = self.config.peers.iter().cloned().collect();
        let old: BTreeSet<Addr> = old.iter().cloned().collect();
        for addr in old.difference(&new) {
            self.on_forget_addr(addr);
        }
        for addr in new.difference(&old) {
            self.on_add_peer(addr.clone(), now);
        }
    }

    fn change_heartbeats(&mut self, old: &Config, now: Now) {
        let (interval, timeout) = (self.config.heartbeat_interval, self.config.heartbeat_timeout);
        if (interval, timeout) == (old.heartbeat_interval, old.heartbeat_timeout) {
            return;
        }
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.liveness.configure(interval, timeout);
            self.timers.set(Timer::Liveness(link.id), now.mono);
        }
    }

    fn hang_up_unwelcome(&mut self, now: Now) {
        let unwelcome = self.links.values().filter(|link| !link.is_closing() && !self.is_welcome(link.peer));
        let unwelcome: Vec<LinkId> = unwelcome.map(|link| link.id).collect();
        for id in unwelcome {
            self.refuse(id, ByeCode::Banned, "not welcome here any more", now);
        }
    }

    /// The user's own peers stay first, then the oldest links.
    fn hang_up_surplus(&mut self, now: Now) {
        let mut up: Vec<_> = self.up_links().map(|link| (!self.dials.is_configured(link.peer), link.id)).collect();
        up.sort_unstable();
        let surplus: Vec<LinkId> = up.into_iter().skip(self.config.max_connections).map(|(_, id)| id).collect();
        for id in surplus {
            self.refuse(id, ByeCode::Full, "fewer links are wanted here", now);
        }
    }
}
