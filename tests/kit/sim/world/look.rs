//! What must always hold, looked at twice a second: bounds, links, and that nobody is given up or forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2p_mesh::effect::Delivery;
use p2p_mesh::id::{FeedId, Hash, Instance, PeerId, PostId, Seq};
use p2p_mesh::mesh::Mesh;
use p2p_mesh::status::{Count, PeerState};
use p2p_mesh::time::Mono;

use super::{Event, World};
use crate::checker::Violation;
use crate::sim::machine::Run;
use crate::sim::measure::Milestone;
use crate::sim::network::{Place, ProcessId, other};

/// What a look remembers of those before.
#[derive(Debug, Default)]
pub(super) struct Watch {
    looks: u64,
    /// Since when two runs that could be linked are not.
    unlinked: BTreeMap<(ProcessId, ProcessId), Mono>,
    /// Since when a run does nothing to reach a peer.
    idle: BTreeMap<(ProcessId, PeerId), Mono>,
    /// Whom each run knew.
    known: BTreeMap<ProcessId, BTreeSet<PeerId>>,
    /// Own envelopes that were stored, by their first number.
    signed: BTreeMap<(FeedId, Seq), Hash>,
}

impl World {
    pub(super) fn on_look(&mut self) {
        self.agenda.push(self.now + LOOK_INTERVAL, Event::Look);
        self.watch.looks += 1;
        let mut broken = Vec::new();
        for place in self.honest() {
            broken.extend(self.look_at(place));
        }
        if self.watch.looks.is_multiple_of(LOOKS_PER_ROUND) {
            for place in self.honest() {
                broken.extend(self.look_for_lost(place));
            }
            broken.extend(self.look_for_unlinked());
        }
        for violation in broken {
            self.report(violation);
        }
    }

    /// How full everything is at one peer.
    fn look_at(&mut self, place: Place) -> Vec<Violation> {
        let machine = &self.machines[place.0];
        let peer = || machine.name.clone();
        let Some((run, mesh)) = machine.run.as_ref().and_then(|run| Some((run, run.brain.mesh()?))) else {
            return Vec::new();
        };
        let mut broken: Vec<Violation> = Vec::new();
        for Count { what, len, max } in self.counts(run, mesh).into_iter().filter(Count::is_over) {
            broken.push(Violation::Over { peer: peer(), what: format!("{len} {what}, at most {max}") });
        }
        let instances: BTreeSet<&Instance> = run.up.values().collect();
        if instances.len() < run.up.len() {
            let what = format!("it has {} links to {} runs", run.up.len(), instances.len());
            broken.push(Violation::Invariant { peer: peer(), what });
        }
        let status = mesh.status();
        let counted = |name| status.counters.contains_key(name);
        let happened = [
            (status.missing_posts > FAR_BEHIND_POSTS, Milestone::FarBehind),
            (counted("posts_dropped_total"), Milestone::ReorderOverflow),
            (counted("sync_laps_total"), Milestone::WantLap),
            (run.up.len() == self.plan.max_connections, Milestone::LinksFull),
        ];
        for (_, milestone) in happened.into_iter().filter(|(is_so, _)| *is_so) {
            self.measure.reach(milestone);
        }
        broken
    }

    /// What the mesh counts, and what can be compared with the adapter's own books.
    fn counts(&self, run: &Run, mesh: &Mesh) -> Vec<Count> {
        let mut counts = mesh.census();
        let links = counts.iter().find(|count| count.what == "links").map_or(0, |count| count.len);
        // What waits while the process stands still was not told to the mesh yet.
        let open = if run.stalled { usize::MAX } else { run.open.len() };
        counts.push(Count { what: "links, against those that are open", len: links, max: open });
        counts.push(Count { what: "links up", len: run.up.len(), max: self.plan.max_connections });
        counts
    }

    /// Whoever was known stays known, and whoever is known is linked, dialed or waited for.
    fn look_for_lost(&mut self, place: Place) -> Vec<Violation> {
        let machine = &self.machines[place.0];
        let Some((run, mesh)) = machine.run.as_ref().and_then(|run| Some((run, run.brain.mesh()?))) else {
            return Vec::new();
        };
        let mut broken = Vec::new();
        let peers = mesh.peers(machine.now(self.now));
        // Another machine with the own identity is shown while it is linked only.
        let ids: BTreeSet<PeerId> =
            peers.iter().filter_map(|status| status.id).filter(|id| *id != machine.id).collect();
        let known = self.watch.known.entry(run.process).or_default();
        for forgotten in known.difference(&ids) {
            let what = format!("it forgot {forgotten:?}");
            broken.push(Violation::Invariant { peer: machine.name.clone(), what });
        }
        *known = ids;
        let is_free = !run.leaving && !run.stalled && run.up.len() < self.plan.max_connections;
        for status in &peers {
            let Some(id) = status.id.filter(|id| self.is_plain(*id)) else { continue };
            // Where two machines changed places, each knows only its own address of the other until it hears better.
            let is_nowhere = status.addresses.iter().all(|addr| self.resolve(addr) == Some(place));
            if !is_free || is_nowhere || status.state != PeerState::Down {
                self.watch.idle.remove(&(run.process, id));
                continue;
            }
            let since = *self.watch.idle.entry((run.process, id)).or_insert(self.now);
            if self.now.since(since) > IDLE_MAX {
                let what = format!("{}, which it does nothing to reach", status.name);
                broken.push(Violation::GivenUp { peer: machine.name.clone(), what });
                self.watch.idle.remove(&(run.process, id));
            }
        }
        broken
    }

    /// Two runs that know each other and can reach each other are linked, or soon will be.
    fn look_for_unlinked(&mut self) -> Vec<Violation> {
        let mut broken = Vec::new();
        let honest = self.honest();
        for (one, two) in honest.iter().flat_map(|one| honest.iter().map(move |two| (*one, *two))) {
            let (Some(a), Some(b)) = (&self.machines[one.0].run, &self.machines[two.0].run) else { continue };
            let pair = (a.process, b.process);
            if one >= two || !self.could_be_linked(one, two) || are_linked(a, b) {
                self.watch.unlinked.remove(&pair);
                continue;
            }
            let since = *self.watch.unlinked.entry(pair).or_insert(self.now);
            if self.now.since(since) > UNLINKED_MAX {
                let (peer, what) = (self.machines[one.0].name.clone(), self.machines[two.0].name.clone());
                broken.push(Violation::GivenUp { peer, what: format!("{what}, which it could") });
                self.watch.unlinked.remove(&pair);
            }
        }
        broken
    }

    fn could_be_linked(&self, one: Place, two: Place) -> bool {
        let (a, b) = (&self.machines[one.0], &self.machines[two.0]);
        let is_well = |run: &Run| !run.leaving && !run.stalled && !run.reads_paused && run.read_pace.is_none();
        let knows = |run: &Run, id: PeerId| run.brain.mesh().is_some_and(|mesh| mesh.record_of(&id).is_some());
        let (Some(run_a), Some(run_b)) = (&a.run, &b.run) else { return false };
        let is_blocked = |from, to| self.ways.contains_key(&(from, to));
        let is_free = !is_blocked(one, two) && !is_blocked(two, one);
        let has_room = [run_a, run_b].iter().all(|run| run.up.len() < self.plan.max_connections);
        is_free
            && has_room
            && (is_well(run_a) && is_well(run_b))
            && (self.is_plain(a.id) && self.is_plain(b.id))
            && (knows(run_a, b.id) && knows(run_b, a.id))
    }

    /// Exactly one honest machine has this identity.
    fn is_plain(&self, id: PeerId) -> bool {
        self.machines.iter().filter(|machine| machine.id == id && machine.is_honest()).count() == 1
    }

    /// An own envelope is shown: its numbers say one thing for ever, and its stamp is near the own clock.
    pub(super) fn look_at_own(&mut self, place: Place, delivery: &Delivery) {
        let envelope = &delivery.envelope;
        let machine = &self.machines[place.0];
        let Some(run) = machine.run.as_ref().filter(|run| run.instance == envelope.feed()) else { return };
        let (peer, wall_ms) = (machine.name.clone(), run.wall_max_ms);
        let stamp_max = wall_ms + p2p_mesh::limits::CLOCK_AHEAD_MAX.as_millis() as u64 + STAMP_SLACK_MS;
        let at = envelope.body().last_at().ms;
        if at > stamp_max {
            self.report(Violation::ClockMoved { peer, ahead_ms: at - wall_ms });
        }
        let name = (envelope.feed_id(), envelope.first());
        let first = *self.watch.signed.entry(name).or_insert(envelope.hash());
        // A machine that was resumed twice signs one number twice: the mesh settles that, and the end judges it.
        if first != envelope.hash() && !self.may_fork(envelope.feed()) {
            let id = PostId { feed: envelope.feed(), seq: envelope.first() };
            self.report(Violation::NumberReused { id });
        }
    }

    pub(super) fn violate(&mut self, place: Place, what: String) {
        let peer = self.machines[place.0].name.clone();
        self.report(Violation::Invariant { peer, what });
    }

    pub(super) fn report(&mut self, violation: Violation) {
        self.trace.note(self.now, &[b"violation"], || format!("VIOLATION {violation}"));
        self.violations.push(violation);
    }
}

/// One link between two runs that both say is up.
fn are_linked(one: &Run, two: &Run) -> bool {
    let to_two = one.up.iter().filter(|(_, instance)| **instance == two.instance);
    to_two.into_iter().any(|(link, _)| two.up.contains_key(&other(*link)))
}

pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// Some things are looked at less often, because looking takes longer.
const LOOKS_PER_ROUND: u64 = 4;
const FAR_BEHIND_POSTS: u64 = 1_000;
/// A dial that was under way, and a hello that does not come.
const IDLE_MAX: Duration = Duration::from_secs(20);
/// The longest backoff, a dial into nothing, and the hellos.
const UNLINKED_MAX: Duration = Duration::from_secs(60);
/// A logical clock whose counter is full takes the next millisecond.
const STAMP_SLACK_MS: u64 = 1;
