//! One schedule: a world of a seed, first with faults, then without, and the verdict.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use p2p_mesh::feed::{IntervalSet, Run};
use p2p_mesh::id::{Hash, Instance, LinkId, PeerId, PostId, Seq};
use p2p_mesh::status::{HolderState, PeerSync};

use super::machine::Machine;
use super::measure::Measure;
use super::network::{Place, other};
use super::people::SessionId;
use super::plan::Plan;
use super::settle::{self, EQUAL_WITHIN};
use super::trace::Detail;
use super::world::World;
use crate::checker::{
    Begins, History, Operation, Outcome, Signatures, Violation, check_acks, check_content, check_end,
    check_envelopes_with, check_stream, check_whole,
};

/// What became of one schedule.
#[derive(Debug)]
pub struct Report {
    /// The world's seed.
    pub seed: u64,
    /// What was broken; nothing if all went well.
    pub violations: Vec<Violation>,
    /// What was counted.
    pub measure: Measure,
    /// The same for every run of the same seed.
    pub fingerprint: Hash,
    /// The trace, where it was asked for.
    pub lines: Vec<String>,
    /// From the end of the faults until all histories were equal.
    pub equal_after: Option<Duration>,
    /// Things that users said.
    pub operations: usize,
}

/// Runs one schedule.
#[must_use]
pub fn run(plan: Plan, detail: Detail) -> Report {
    let (seed, trouble) = (plan.seed, plan.trouble);
    let mut world = World::new(plan, detail);
    world.start_all();
    world.begin_trouble();
    world.run_for(trouble);
    world.heal();
    let before = (world.measure.copies + world.copies_under_way(), world.measure.firsts);
    let (equal_after, late) = settle::recover(&mut world);
    let mut violations = world.violations().to_vec();
    violations.extend(late);
    if equal_after.is_none() && violations.is_empty() {
        violations.extend(world.why_unequal());
    }
    let mut measure = std::mem::take(&mut world.measure);
    if violations.is_empty() {
        world.run_for(world.plan().heartbeat_interval * 3);
        violations.extend(check_receipts(&world));
        violations.extend(settle::check_all(&mut world, &mut measure, before));
    }
    world.count_all_duplicates();
    measure.add(&Measure { milestones: std::mem::take(&mut world.measure.milestones), ..Measure::default() });
    violations.extend(judge(&world));
    let operations = world.people().operations().len();
    let trace = world.into_trace();
    let fingerprint = trace.fingerprint();
    Report { seed, violations, measure, fingerprint, lines: trace.into_lines(), equal_after, operations }
}

/// Everything the checker has to say of a world at its end.
#[must_use]
pub fn judge(world: &World) -> Vec<Violation> {
    let operations = world.people().operations();
    let honest: Vec<&Machine> = world.honest().into_iter().map(|place| world.machine(place)).collect();
    let mut violations = world.check_acks();
    let mut signatures = Signatures::default();
    // A liar may show later posts and not those before: what lies below such a hole is not told of.
    let told = |feed: Instance, from: Seq| if world.is_honest_peer(feed.id) { from } else { Seq(1) };
    let nowhere = numbers_nowhere(&honest).into_iter().map(|(feed, from, to)| (feed, told(feed, from), to));
    let nowhere: Vec<_> = nowhere.collect();
    for machine in &honest {
        for (at, stream) in machine.streams.iter().enumerate() {
            // Offsets are those of the disk that is there now for the last stream only.
            let is_last = at + 1 == machine.streams.len();
            let mut stream = if is_last { machine.marked(stream) } else { world.without_forks(stream) };
            violations.extend(check_stream(&stream));
            violations.extend(check_content(operations, &stream));
            // Earlier streams ended with their disk, perhaps before the older posts came.
            if is_last {
                stream.gaps.clone_from(&nowhere);
                violations.extend(check_whole(&stream, Begins::AtTheFirst));
            }
        }
        let stored = machine.disk.canonical();
        let stored = stored.map(|entry| (entry.envelope.bytes().clone(), *entry.envelope.signature()));
        violations.extend(check_envelopes_with(&machine.name, stored, &mut signatures));
        let shown = machine.streams.last().map_or(0, |stream| stream.posts.len());
        let held = machine.history().posts.len();
        if shown != held {
            let what = format!("it holds {held} posts and showed {shown}");
            violations.push(Violation::Invariant { peer: machine.name.clone(), what });
        }
    }
    let mut histories: Vec<History> = honest.iter().map(|machine| machine.history()).collect();
    let is_below = |id: PostId| nowhere.iter().any(|(feed, _, to)| *feed == id.feed && id.seq < *to);
    for history in &mut histories {
        history.posts.retain(|post| world.is_honest_peer(post.id.feed.id) || !is_below(post.id));
    }
    violations.extend(check_end(operations, &histories));
    violations
}

/// Numbers that no honest machine holds any more. Their author may have shown the later ones only, or lost its disk
/// before it passed the earlier ones on; that nothing is among them that was acknowledged is judged by itself.
fn numbers_nowhere(honest: &[&Machine]) -> Vec<(Instance, Seq, Seq)> {
    let mut feeds: BTreeMap<Instance, IntervalSet> = BTreeMap::new();
    for entry in honest.iter().flat_map(|machine| machine.disk.canonical()) {
        let body = entry.envelope.body();
        feeds.entry(body.feed).or_default().insert(body.first, body.last());
    }
    let gaps = |(feed, held): (Instance, IntervalSet)| {
        let last = held.last().unwrap_or_default();
        held.gaps(Seq(1), last, usize::MAX).into_iter().map(move |(from, to)| (feed, from, to))
    };
    feeds.into_iter().flat_map(gaps).collect()
}

/// After everything is settled everybody knows of every linked honest peer that it holds what was acknowledged.
fn check_receipts(world: &World) -> Vec<Violation> {
    let acked = world.people().operations().iter().filter_map(|operation| match operation.outcome {
        Outcome::Ok(post) => Some(post),
        Outcome::Fail | Outcome::Unknown => None,
    });
    // What lost its number in a fork is held under another one.
    let held = |place: Place| world.machine(place).history().posts.into_iter().filter(|post| !post.forked);
    let held: BTreeSet<PostId> = world.honest().into_iter().flat_map(held).map(|post| post.id).collect();
    // Below numbers that are nowhere, peers are not told what each of them holds.
    let honest: Vec<&Machine> = world.honest().into_iter().map(|place| world.machine(place)).collect();
    let torn: BTreeSet<Instance> = numbers_nowhere(&honest).into_iter().map(|(feed, _, _)| feed).collect();
    let acked: Vec<PostId> = acked.filter(|post| held.contains(post) && !torn.contains(&post.feed)).collect();
    let unsure = |machine: &Machine| {
        let run = machine.run.as_ref()?;
        let mesh = run.brain.mesh()?;
        let is_sure = |peer: &PeerId| run.up.values().any(|up| up.id == *peer) && world.is_honest_peer(*peer);
        let receipts = mesh.receipts(&acked, machine.now(world.now()));
        let unsure = receipts.iter().find(|receipt| {
            let holders = receipt.holders.iter().filter(|holder| is_sure(&holder.peer));
            !receipt.held || holders.map(|holder| holder.state).any(|state| state != HolderState::Holds)
        });
        let is_behind = |sync: &PeerSync| torn.is_empty() && sync.behind + sync.ahead > 0;
        let behind = mesh.sync_state().peers.into_iter().find(|sync| is_sure(&sync.peer) && is_behind(sync));
        let what = unsure.map(|receipt| format!("nobody lost anything, and {receipt:?}"));
        let what = what.or_else(|| {
            behind.map(|sync| {
                let feeds: Vec<_> =
                    mesh.sync_state().feeds.into_iter().filter(|feed| feed.agree < run.up.len()).collect();
                format!("all are equal, and {sync:?}: {feeds:?}")
            })
        })?;
        Some(Violation::Invariant { peer: machine.name.clone(), what })
    };
    world.honest().into_iter().filter_map(|place| unsure(world.machine(place))).collect()
}

impl World {
    /// Every two honest runs have exactly one link that both say is up.
    #[must_use]
    pub fn are_links_complete(&self) -> bool {
        self.incomplete_link().is_none()
    }

    /// All honest disks hold the same.
    #[must_use]
    pub fn are_disks_equal(&self) -> bool {
        let held = |place: &Place| {
            let held = self.machine(*place).disk.stored_feeds();
            let runs = held.into_iter().flat_map(|stored| {
                let is_told = |run: &Run| self.is_honest_peer(stored.feed.id) || stored.runs.top() == Some(run);
                let runs: Vec<Run> = stored.runs.iter().copied().filter(is_told).collect();
                runs.into_iter().map(move |run| (stored.feed, run))
            });
            runs.collect::<Vec<_>>()
        };
        let honest = self.honest();
        if honest.iter().any(|place| self.machine(*place).disk.has_lost()) {
            return false;
        }
        let first = honest.first().map(held);
        honest.iter().skip(1).all(|place| Some(held(place)) == first)
    }

    /// Acknowledgements of each machine among themselves: two of one identity may have used one number.
    fn check_acks(&self) -> Vec<Violation> {
        let mut by_place: BTreeMap<Option<Place>, Vec<Operation>> = BTreeMap::new();
        for operation in self.people().operations() {
            let session = usize::try_from(operation.session).ok().filter(|_| operation.session != u64::MAX);
            let place = session.map(|session| self.people().place_of(SessionId(session)));
            by_place.entry(place).or_default().push(operation.clone());
        }
        by_place.values().flat_map(|operations| check_acks(operations)).collect()
    }

    /// A stream whose disk is gone, without feeds that could not stay as they were shown.
    fn without_forks(&self, stream: &History) -> History {
        let mut stream = stream.clone();
        stream.posts.retain(|post| !self.may_fork(post.id.feed));
        stream
    }

    fn is_cloned(&self, id: PeerId) -> bool {
        self.honest().iter().filter(|place| self.machine(**place).id == id).count() > 1
    }

    /// What keeps the honest from being equal and linked.
    fn why_unequal(&self) -> Vec<Violation> {
        let invariant = |what| Violation::Invariant { peer: "everybody".to_owned(), what };
        let mut why = Vec::new();
        why.extend(self.incomplete_link().map(invariant));
        if !self.are_disks_equal() {
            why.push(invariant(format!("histories differ {} s after the last fault", EQUAL_WITHIN.as_secs())));
        }
        if self.people().is_anybody_waiting() {
            why.push(invariant("a user never got an answer".to_owned()));
        }
        why
    }

    fn incomplete_link(&self) -> Option<String> {
        let honest = self.honest();
        for (one, two) in honest.iter().flat_map(|one| honest.iter().map(move |two| (*one, *two))) {
            let (a, b) = (self.machine(one), self.machine(two));
            let runs = a.run.as_ref().zip(b.run.as_ref());
            if one != two && runs.is_some_and(|(a, b)| a.instance == b.instance) {
                return Some(format!("{} and {} run as one", a.name, b.name));
            }
            // A link to one run of an identity is enough: others may never learn where its other machines are.
            if one == two || self.is_cloned(a.id) || self.is_cloned(b.id) {
                continue;
            }
            let (Some(run_a), Some(run_b)) = (&a.run, &b.run) else {
                return Some(format!("{} or {} does not run", a.name, b.name));
            };
            let to_b = run_a.up.iter().filter(|(_, instance)| **instance == run_b.instance);
            let links: Vec<LinkId> = to_b.map(|(link, _)| *link).collect();
            match links.as_slice() {
                [link] if run_b.up.contains_key(&other(*link)) => (),
                [link] => return Some(format!("link {link} is up at {} and not at {}", a.name, b.name)),
                links => return Some(format!("{} has {} links to {}", a.name, links.len(), b.name)),
            }
        }
        honest.into_iter().find_map(|place| self.lonely_clone(place))
    }

    /// Of machines with one identity each has a link to somebody.
    fn lonely_clone(&self, place: Place) -> Option<String> {
        let machine = self.machine(place);
        let up = machine.run.iter().flat_map(|run| run.up.values());
        let is_linked = up.into_iter().any(|instance| self.is_honest_peer(instance.id));
        (self.is_cloned(machine.id) && !is_linked).then(|| format!("{} has no link", machine.name))
    }
}
