//! A link's life: hello, which of two links stays, goodbye.

use std::time::Duration;

use rand::RngExt;

use super::Mesh;
use super::dials::Redial;
use super::link::{Link, Phase, Up};
use crate::effect::{Effect, Event};
use crate::id::{Instance, LinkId, PeerId, Seq};
use crate::input::{CloseReason, LinkOpened};
use crate::limits::{ADDRS_PER_RECORD_MAX, HELLO_TIMEOUT, NEIGHBORS_MAX};
use crate::liveness::Liveness;
use crate::membership::book::{Learned, is_shareable};
use crate::membership::record::{Addr, Record};
use crate::reconnect::{STABLE_AFTER, Target};
use crate::time::Now;
use crate::timers::Timer;
use crate::tree::{LinkFeed, Push};
use crate::wire::message::{Bye, ByeCode, Hello, Message, Role, VIEW_ID_LEN, View};

impl Mesh {
    pub(super) fn on_link_opened(&mut self, opened: &LinkOpened, now: Now) {
        let dialed = opened.dial.and_then(|dial| self.dials.opened(dial));
        if let Some((_, addr)) = &dialed {
            self.count("dials_opened_total", 1);
            self.dials.note_answer(addr, opened.peer);
        }
        let interval = self.config.heartbeat_interval.mul_f64(self.rng.random_range(0.9..1.1));
        let liveness = Liveness::new(interval, self.config.heartbeat_timeout, now.mono);
        let link = Link::new(opened, dialed, liveness, now.mono);
        self.links.insert(opened.link, link);
        self.timers.set(Timer::Hello(opened.link), now.mono + HELLO_TIMEOUT);
        self.learn_own_addr(opened);
        self.say_hello(opened, now);
        self.dial_waiting(now);
    }

    fn say_hello(&mut self, opened: &LinkOpened, now: Now) {
        let hello = Hello {
            proto: (PROTOCOL, PROTOCOL),
            epoch: self.me.instance.epoch,
            agent: self.config.agent.clone(),
            observed: opened.remote.to_string(),
            caps: Vec::new(),
            dial: opened.dial.map_or(0, |dial| dial.0),
            role: Role::Peer,
            time: now.unix_ms,
            record: self.me.record.clone(),
        };
        self.send_now(opened.link, &Message::Hello(Box::new(hello)));
    }

    /// Our end of a link is an address that others may reach us at, unless the user said better.
    fn learn_own_addr(&mut self, opened: &LinkOpened) {
        let ip = opened.local.to_canonical();
        let is_served = ip.is_loopback() || !self.config.listens_on_loopback;
        // Loopback means something else on every machine, so it is told only where there is nothing better.
        let is_needed = !ip.is_loopback() || self.me.addrs.is_empty();
        let addr = Addr::of(ip, self.config.listen_port);
        if !self.config.advertise.is_empty() || !is_served || !is_needed || self.me.addrs.contains(&addr) {
            return;
        }
        self.me.addrs.retain(|addr| !addr.is_loopback());
        if self.me.addrs.len() == ADDRS_PER_RECORD_MAX {
            self.me.addrs.remove(0);
        }
        self.me.addrs.push(addr);
        self.sign_record();
    }

    pub(super) fn on_hello(&mut self, id: LinkId, hello: Hello, now: Now) {
        let Some(link) = self.links.get(&id).filter(|link| link.phase == Phase::Hello) else {
            return self.penalize(id, super::penalty::Offence::Protocol, "a second hello".into(), now);
        };
        let peer = link.peer;
        let instance = Instance { id: peer, epoch: hello.epoch };
        if hello.proto.0 > PROTOCOL || hello.proto.1 < PROTOCOL {
            return self.refuse(id, ByeCode::Version, "no version in common", now);
        }
        if hello.record.id != peer {
            return self.refuse(id, ByeCode::Protocol, "the record is another peer's", now);
        }
        if instance == self.me.instance {
            if let Some(addr) = link.dial.as_ref().map(|dial| dial.addr.clone()) {
                self.on_self_dialed(addr);
            }
            return self.refuse(id, ByeCode::SelfLink, "this is me", now);
        }
        if !self.is_welcome(peer) || self.penalties.banned_until(&peer, now.mono).is_some() {
            return self.refuse(id, ByeCode::Banned, "not welcome here", now);
        }
        let dial = link.dial.as_ref().map_or(hello.dial, |dial| dial.id.0);
        let rival = self
            .links
            .values()
            .find(|other| other.up().is_some_and(|up| up.instance == instance))
            .map(|other| other.id);
        if rival.is_some_and(|rival| self.wins(rival, id, dial, now)) {
            self.count("tie_breaks_lost_total", 1);
            return self.refuse(id, ByeCode::Duplicate, "there is a link already", now);
        }
        if rival.is_none() && self.up_links().count() >= self.config.max_connections {
            return self.refuse(id, ByeCode::Full, "all links are taken", now);
        }
        self.come_up(id, instance, hello, dial, now);
        if let Some(rival) = rival {
            self.count("tie_breaks_lost_total", 1);
            self.refuse(rival, ByeCode::Duplicate, "there is a better link", now);
        }
    }

    /// Whether the link that is up stays, and the new one between the same two runs goes.
    fn wins(&self, old: LinkId, new: LinkId, new_dial: u64, now: Now) -> bool {
        let (Some(old), Some(new)) = (self.links.get(&old), self.links.get(&new)) else { return false };
        let Some(up) = old.up() else { return false };
        // Nobody dials a peer that it has a link to, so an old link that is dialed beside is dead on the other side.
        if now.mono.since(up.since) > STABLE_AFTER {
            return false;
        }
        let other = up.instance;
        let dialer = |link: &Link| if link.is_outbound() { self.me.instance } else { other };
        match dialer(old).cmp(&dialer(new)) {
            std::cmp::Ordering::Less => true,
            std::cmp::Ordering::Greater => false,
            std::cmp::Ordering::Equal => up.dial > new_dial,
        }
    }

    fn come_up(&mut self, id: LinkId, instance: Instance, hello: Hello, dial: u64, now: Now) {
        let was_alone = self.up_links().next().is_none();
        let is_spare = self.link_to(instance.id).is_some();
        let Some(link) = self.links.get_mut(&id) else { return };
        let up = Up {
            instance,
            feed: instance.feed_id(),
            agent: hello.agent,
            addrs: hello.record.addrs.clone(),
            dial,
            since: now.mono,
            since_ms: now.unix_ms,
            view: std::collections::BTreeSet::new(),
        };
        if let Some(dial) = &link.dial {
            self.dials.note_place(&dial.addr, &up.addrs);
        }
        link.phase = Phase::Up(Box::new(up));
        link.control.ping = true;
        link.control.view = true;
        if let Some(own) = self.feeds.get(&self.me.feed) {
            let cursor = own.stored.head().next();
            link.feeds.insert(self.me.feed, LinkFeed::new(Push::Live { cursor, repaired: Seq(0) }));
        }
        let is_loopback = link.is_loopback();
        link.control.records = self.book.share(link.peer, is_loopback).map(|record| record.id).collect();
        let outbound = link.is_outbound();
        self.dirty.insert(id);
        self.timers.cancel(&Timer::Hello(id));
        self.timers.set(Timer::Liveness(id), now.mono + self.config.heartbeat_interval);
        self.effects.push_back(Effect::RaiseFrameLimit(id));
        let name = hello.record.name.clone();
        self.learn_record(hello.record, instance.id, Some(id), now);
        self.note_seen(instance.id, now);
        self.note_linked(instance.id, is_spare, now);
        self.effects.push_back(Effect::Event(Event::LinkUp { link: id, peer: instance, name, outbound }));
        if instance.id == self.me.id {
            self.effects.push_back(Effect::Event(Event::OtherInstance { peer: instance }));
        }
        self.view_changed(now);
        if was_alone {
            // The network is back: whatever else failed may work again.
            self.dial_again(now);
        }
    }

    /// A link that is up beside another is no news.
    fn note_linked(&mut self, peer: PeerId, is_spare: bool, now: Now) {
        self.forget_hints(peer);
        // A full book has no room for it, and so have the dials.
        if self.book.get(&peer).is_none() {
            return;
        }
        let dialing = self.dials.entry(&Target::Peer(peer));
        dialing.tries = 0;
        dialing.last_error.clear();
        dialing.met_other = false;
        dialing.since_ms = now.unix_ms;
        let is_back = std::mem::replace(&mut dialing.was_linked, true) && !is_spare;
        if is_back {
            self.count("reconnects_up_total", 1);
        }
        self.timers.cancel(&Timer::Dial(Target::Peer(peer)));
    }

    pub(super) fn note_seen(&mut self, peer: PeerId, now: Now) {
        if let Some(entry) = self.book.set_seen(&peer, now.unix_ms) {
            let (record, seen_ms) = (entry.record.clone(), entry.seen_ms);
            self.effects.push_back(Effect::SaveRecord { record, seen_ms });
        }
    }

    /// Takes a record over and tells it on.
    pub(super) fn learn_record(&mut self, record: Record, source: PeerId, via: Option<LinkId>, now: Now) {
        let id = record.id;
        let (is_local, is_public) = (is_shareable(&record, true), is_shareable(&record, false));
        let seen_ms = self.book.get(&id).map_or(0, |entry| entry.seen_ms);
        match self.book.learn(record.clone(), source) {
            Learned::Nothing => return,
            Learned::Full => return self.count("records_dropped_total", 1),
            Learned::News => (),
        }
        self.dials.forget_selves(&record.addrs);
        self.effects.push_back(Effect::SaveRecord { record, seen_ms });
        self.dial_news(id, now);
        for link in self.links.values_mut().filter(|link| link.is_up() && Some(link.id) != via && link.peer != id) {
            let is_loopback = link.is_loopback();
            if if is_loopback { is_local } else { is_public } {
                link.control.records.insert(id);
                self.dirty.insert(link.id);
            }
        }
    }

    pub(super) fn on_bye(&mut self, id: LinkId, bye: Bye, now: Now) {
        for record in bye.records {
            if let Some(peer) = self.links.get(&id).map(|link| link.peer) {
                self.learn_record(record, peer, Some(id), now);
            }
        }
        if bye.code == ByeCode::Duplicate {
            self.on_displaced(id, now);
        }
        let retry = bye.retry_ms.map(|ms| Redial::After(Duration::from_millis(ms.min(RETRY_MS_MAX))));
        let redial = match bye.code {
            ByeCode::Leaving | ByeCode::Restart => retry.unwrap_or(Redial::Fresh),
            ByeCode::Duplicate | ByeCode::SelfLink => Redial::Spare,
            ByeCode::Full | ByeCode::Network | ByeCode::Version | ByeCode::Banned => retry.unwrap_or(Redial::Refused),
            ByeCode::Slow | ByeCode::Limit | ByeCode::Protocol | ByeCode::Unknown => retry.unwrap_or(Redial::Backoff),
        };
        let reason = format!("bye {}: {}", bye.code.name(), bye.why);
        self.close(id, &reason, redial, now);
    }

    /// Says why and hangs up.
    pub(super) fn refuse(&mut self, id: LinkId, code: ByeCode, why: &str, now: Now) {
        let Some(link) = self.links.get(&id).filter(|link| !link.is_closing()) else { return };
        let is_loopback = link.is_loopback();
        let records = match code {
            ByeCode::Full => self.book.share(link.peer, is_loopback).take(RECORDS_WITH_BYE).cloned().collect(),
            _ => Vec::new(),
        };
        self.send_now(id, &Message::Bye(Bye { code, why: why.to_owned(), retry_ms: None, records }));
        let redial = match code {
            ByeCode::Duplicate | ByeCode::SelfLink => Redial::Spare,
            ByeCode::Version | ByeCode::Network | ByeCode::Banned => Redial::Refused,
            _ => Redial::Backoff,
        };
        self.close(id, &format!("{}: {why}", code.name()), redial, now);
    }

    /// The link is of no use any more.
    pub(super) fn take_down(&mut self, id: LinkId, reason: &str, now: Now) {
        self.close(id, reason, Redial::Backoff, now);
    }

    pub(super) fn on_link_closed(&mut self, id: LinkId, reason: &CloseReason, now: Now) {
        let text = match reason {
            CloseReason::HungUp => "hung up".to_owned(),
            CloseReason::Closed => "closed by the other side".to_owned(),
            CloseReason::Failed(why) => why.clone(),
            CloseReason::BadFrame(error) => error.to_string(),
        };
        self.close(id, &text, Redial::Backoff, now);
        self.links.remove(&id);
    }

    fn close(&mut self, id: LinkId, reason: &str, redial: Redial, now: Now) {
        self.remember(id, now);
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.is_closing()) else { return };
        let phase = std::mem::replace(&mut link.phase, Phase::Closing);
        let peer = link.peer;
        let target = link.dial.as_ref().map(|dial| dial.target.clone());
        let tokens = std::mem::take(&mut link.pings);
        for timer in [Timer::Hello(id), Timer::Liveness(id), Timer::Compare(id)] {
            self.timers.cancel(&timer);
        }
        self.effects.extend(tokens.into_iter().map(|token| Effect::Ponged { token, rtt_us: None }));
        self.effects.push_back(Effect::Hangup(id));
        let (event, redial) = match phase {
            Phase::Up(up) => {
                let is_stable = now.mono.since(up.since) > STABLE_AFTER;
                let redial = if is_stable && redial == Redial::Backoff { Redial::Fresh } else { redial };
                self.note_seen(peer, now);
                (Event::LinkDown { link: id, peer: up.instance, reason: reason.to_owned() }, redial)
            }
            Phase::Hello | Phase::Closing => (Event::LinkRefused { peer, reason: reason.to_owned() }, redial),
        };
        self.effects.push_back(Effect::Event(event));
        self.redial(peer, target, redial, reason, now);
        self.dial_idle(now);
        self.orphan_feeds(id, now);
        self.view_changed(now);
    }

    pub(super) fn on_leave(&mut self, now: Now) {
        self.is_leaving = true;
        let links: Vec<LinkId> = self.links.keys().copied().collect();
        for link in links {
            self.refuse(link, ByeCode::Leaving, "the daemon stops", now);
        }
    }

    /// Tells everybody who our neighbours are, at most once a second.
    fn view_changed(&mut self, now: Now) {
        self.timers.set_once(Timer::View, now.mono + VIEW_INTERVAL);
    }

    pub(super) fn on_view_due(&mut self) {
        for link in self.links.values_mut().filter(|link| link.is_up()) {
            link.control.view = true;
            self.dirty.insert(link.id);
        }
    }

    pub(super) fn view(&self) -> View {
        let neighbors = self.up_links().take(NEIGHBORS_MAX).map(|link| view_id(link.peer)).collect();
        View { full: true, neighbors, estimate: self.book.len() as u64 + 1 }
    }
}

/// How a `view` names a peer.
pub(super) fn view_id(id: PeerId) -> String {
    let mut text = id.to_string();
    text.truncate(VIEW_ID_LEN);
    text
}

/// What a run says that goes on under a new epoch.
pub(super) const NEW_RUN: &str = "this run has a new epoch";
/// The one version of this protocol.
const PROTOCOL: u64 = 1;
const VIEW_INTERVAL: Duration = Duration::from_millis(1_000);
const RECORDS_WITH_BYE: usize = 8;
const RETRY_MS_MAX: u64 = 3_600_000;
