//! A few real meshes joined by links in memory: frames take a while, links can be cut, and either direction can be
//! made a hole that swallows everything in silence.

use std::collections::{BTreeMap, BTreeSet};

use super::kit::{Peer, addr, at, id, read_frame};
use crate::config::Config;
use crate::effect::Effect;
use crate::id::{DialId, LinkId, PeerId};
use crate::input::{CloseReason, Command, DialFailure, Input, LinkOpened};
use crate::membership::record::Addr;
use crate::time::Now;
use crate::wire::frame::PREFIX_LEN;
use crate::wire::message::Message;

/// Peers by number, and what is between them.
pub(super) struct World {
    peers: BTreeMap<u8, Peer>,
    now_us: u64,
    /// What arrives when; the second number keeps the order within a moment.
    arrivals: BTreeMap<(u64, u64), Arrival>,
    next: u64,
    /// The other end of each end of a link.
    links: BTreeMap<End, End>,
    silent: BTreeSet<(u8, u8)>,
    /// Everything that was sent since this was last emptied: from, to, what.
    pub(super) frames: Vec<(u8, u8, Message)>,
}

type End = (u8, LinkId);

enum Arrival {
    Dial { from: u8, dial: DialId, addr: Addr, expected: Option<PeerId> },
    Input(u8, Input),
}

impl World {
    /// Peers 1 to `count`, which do not know of each other.
    pub(super) fn new(count: u8) -> Self {
        Self::with(count, |_, _| ())
    }

    pub(super) fn with(count: u8, change: impl Fn(u8, &mut Config)) -> Self {
        let peers = (1..=count).map(|n| (n, Peer::with(n, |config| change(n, config)))).collect();
        Self {
            peers,
            now_us: 0,
            arrivals: BTreeMap::new(),
            next: 0,
            links: BTreeMap::new(),
            silent: BTreeSet::new(),
            frames: Vec::new(),
        }
    }

    /// Peers 1 to `count`, each linked to each other, with the noise of that over.
    pub(super) fn meshed(count: u8) -> Self {
        let mut world = Self::with(count, |n, config| {
            if n > 1 {
                config.peers = vec![addr(1)];
            }
        });
        world.run_for(3_000);
        for n in 1..=count {
            assert_eq!(world.peer(n).mesh.status().peers_up, usize::from(count) - 1);
        }
        world.frames.clear();
        world
    }

    /// One more peer, which starts now.
    pub(super) fn add(&mut self, n: u8, peer: Peer) {
        self.peers.insert(n, peer);
    }

    pub(super) fn peer(&mut self, n: u8) -> &mut Peer {
        self.peers.get_mut(&n).expect("the test names peers that it made")
    }

    /// Somebody who is no peer comes to `n`, says something and goes.
    pub(super) fn visit(&mut self, n: u8, author: u8, messages: &[Message]) {
        let now = self.now();
        let peer = self.peer(n);
        peer.now = now;
        peer.visit(author, messages);
        self.carry(n);
    }

    /// The machine of `n` is resumed a second time, from the memory it has now.
    pub(super) fn resume_twice(&mut self, n: u8, twin: u8) {
        let resumed = self.peer(n).resumed_as(twin);
        self.peers.insert(twin, resumed);
        self.carry(twin);
    }

    pub(super) fn command(&mut self, n: u8, command: Command) {
        self.input(n, Input::Command(command));
    }

    pub(super) fn say(&mut self, n: u8, text: &str) {
        let posts = vec![super::kit::draft(text)];
        self.command(n, Command::Publish { token: 0, posts });
    }

    /// Both ends learn that their links to each other are gone.
    pub(super) fn cut(&mut self, a: u8, b: u8) {
        let ends: Vec<End> =
            self.links.iter().filter(|(end, other)| end.0 == a && other.0 == b).map(|(end, _)| *end).collect();
        for end in ends {
            let Some(other) = self.links.get(&end).copied() else { continue };
            let reason = CloseReason::Failed("reset".into());
            self.closed(end, reason.clone());
            self.closed(other, reason);
        }
    }

    /// From now on nothing of what `from` sends arrives at `to`.
    pub(super) fn silence(&mut self, from: u8, to: u8) {
        self.silent.insert((from, to));
    }

    pub(super) fn heal(&mut self) {
        self.silent.clear();
    }

    /// The links between two peers that both ends think are there.
    pub(super) fn links_between(&self, a: u8, b: u8) -> usize {
        self.links.iter().filter(|(end, other)| end.0 == a && other.0 == b).count()
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        self.carry_all();
        loop {
            let timers = self.peers.iter().filter_map(|(n, peer)| Some((peer.mesh.poll_timeout()?.0, *n)));
            let timer = timers.min();
            let arrival = self.arrivals.keys().next().copied();
            match (arrival, timer) {
                (Some(key), timer) if key.0 <= end && timer.is_none_or(|(due, _)| key.0 <= due) => {
                    self.now_us = key.0;
                    let arrival = self.arrivals.remove(&key).expect("the key was just read");
                    self.arrive(arrival);
                }
                (_, Some((due, n))) if due <= end => {
                    self.now_us = self.now_us.max(due);
                    let now = self.now();
                    self.peer(n).timeout_at(now);
                    self.carry(n);
                }
                _ => break,
            }
        }
        self.now_us = end;
        let now = self.now();
        self.peers.values_mut().for_each(|peer| peer.now = now);
    }

    /// Who a peer is: a twin is who its other is.
    fn id_of(&self, n: u8) -> PeerId {
        self.peers[&n].mesh.status().instance.map_or(id(n), |instance| instance.id)
    }

    fn now(&self) -> Now {
        let mut now = at(self.now_us / 1_000);
        now.mono.0 = self.now_us;
        now
    }

    fn input(&mut self, n: u8, input: Input) {
        let now = self.now();
        let peer = self.peer(n);
        peer.now = now;
        peer.handle(input);
        self.carry(n);
    }

    fn carry_all(&mut self) {
        let all: Vec<u8> = self.peers.keys().copied().collect();
        all.into_iter().for_each(|n| self.carry(n));
    }

    /// Takes over what a peer wants done to its links.
    fn carry(&mut self, n: u8) {
        let (ours, kept) = std::mem::take(&mut self.peer(n).effects)
            .into_iter()
            .partition(|effect| matches!(effect, Effect::Send { .. } | Effect::Dial { .. } | Effect::Hangup(_)));
        self.peer(n).effects = kept;
        let ours: Vec<Effect> = ours;
        for effect in ours {
            match effect {
                Effect::Send { link, bytes } => {
                    let Some((to, other)) = self.links.get(&(n, link)).copied() else { continue };
                    self.frames.push((n, to, read_frame(&bytes)));
                    if !self.silent.contains(&(n, to)) {
                        self.later(Arrival::Input(to, Input::Frame { link: other, frame: bytes.slice(PREFIX_LEN..) }));
                    }
                }
                Effect::Dial { dial, addr, expected } => self.later(Arrival::Dial { from: n, dial, addr, expected }),
                Effect::Hangup(link) => {
                    let other = self.links.get(&(n, link)).copied();
                    self.closed((n, link), CloseReason::HungUp);
                    if let Some(other) = other.filter(|other| !self.silent.contains(&(n, other.0))) {
                        self.later(Arrival::Input(
                            other.0,
                            Input::LinkClosed { link: other.1, reason: CloseReason::Closed },
                        ));
                    }
                }
                _ => (),
            }
        }
    }

    fn later(&mut self, arrival: Arrival) {
        self.next += 1;
        self.arrivals.insert((self.now_us + ONE_WAY_US, self.next), arrival);
    }

    fn arrive(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Dial { from, dial, addr, expected } => self.dial(from, dial, &addr, expected),
            Arrival::Input(n, Input::LinkClosed { link, reason }) => self.closed((n, link), reason),
            Arrival::Input(n, Input::Frame { link, frame }) => {
                if self.links.contains_key(&(n, link)) {
                    self.input(n, Input::Frame { link, frame });
                }
            }
            Arrival::Input(n, input) => self.input(n, input),
        }
    }

    fn closed(&mut self, end: End, reason: CloseReason) {
        if self.links.remove(&end).is_some() {
            self.input(end.0, Input::LinkClosed { link: end.1, reason });
        }
    }

    fn dial(&mut self, from: u8, dial: DialId, to: &Addr, expected: Option<PeerId>) {
        let there = self.peers.keys().copied().find(|n| addr(*n) == *to);
        let reason = match there {
            Some(n) if self.silent.contains(&(from, n)) || self.silent.contains(&(n, from)) => DialFailure::Unreachable,
            Some(n) if expected.is_some_and(|expected| expected != self.id_of(n)) => DialFailure::WrongPeer,
            Some(n) => return self.join(from, dial, n),
            None => DialFailure::Unreachable,
        };
        self.input(from, Input::DialFailed { dial, reason, detail: format!("{reason:?}") });
    }

    fn join(&mut self, from: u8, dial: DialId, to: u8) {
        self.next += 1;
        let ends = [(from, LinkId(2 * self.next)), (to, LinkId(2 * self.next + 1))];
        self.links.insert(ends[0], ends[1]);
        self.links.insert(ends[1], ends[0]);
        for (here, there, dial) in [(ends[0], ends[1], Some(dial)), (ends[1], ends[0], None)] {
            let remote = format!("10.0.0.{}:8080", there.0).parse().unwrap();
            let local = format!("10.0.0.{}", here.0).parse().unwrap();
            let peer = self.id_of(there.0);
            self.input(here.0, Input::LinkOpened(LinkOpened { link: here.1, dial, peer, remote, local }));
        }
    }
}

/// From one peer to another.
const ONE_WAY_US: u64 = 10_000;
