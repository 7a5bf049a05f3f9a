//! One schedule: a world of a seed, first with faults, then without, and the verdict.

use std::time::Duration;

use p2p_mesh::id::{Hash, LinkId, PeerId};

use super::machine::Machine;
use super::measure::Measure;
use super::network::{Place, other};
use super::plan::Plan;
use super::settle::{self, EQUAL_WITHIN};
use super::trace::Detail;
use super::world::World;
use crate::checker::{
    Begins, History, Signatures, Violation, check_acks, check_content, check_end, check_envelopes_with, check_stream,
    check_whole,
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
    let before = (world.measure.copies, world.measure.firsts);
    let (equal_after, late) = settle::recover(&mut world);
    let mut violations = world.violations().to_vec();
    violations.extend(late);
    if equal_after.is_none() && violations.is_empty() {
        violations.extend(world.why_unequal());
    }
    let mut measure = std::mem::take(&mut world.measure);
    if violations.is_empty() {
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
    let mut violations = check_acks(operations);
    let mut signatures = Signatures::default();
    for machine in &honest {
        for stream in &machine.streams {
            violations.extend(check_stream(stream));
            violations.extend(check_content(operations, stream));
        }
        // Earlier streams ended with their disk, perhaps before the older posts came.
        violations
            .extend(machine.streams.last().into_iter().flat_map(|stream| check_whole(stream, Begins::AtTheFirst)));
        let stored = machine.disk.log().iter();
        let stored = stored.map(|entry| (entry.envelope.bytes().clone(), *entry.envelope.signature()));
        violations.extend(check_envelopes_with(&machine.name, stored, &mut signatures));
        let shown = machine.streams.last().map_or(0, |stream| stream.posts.len());
        let held = machine.history().posts.len();
        if shown != held {
            let what = format!("it holds {held} posts and showed {shown}");
            violations.push(Violation::Invariant { peer: machine.name.clone(), what });
        }
    }
    let histories: Vec<History> = honest.iter().map(|machine| machine.history()).collect();
    violations.extend(check_end(operations, &histories));
    violations
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
        let held = |place: &Place| self.machine(*place).disk.stored_feeds();
        let honest = self.honest();
        let first = honest.first().map(held);
        honest.iter().skip(1).all(|place| Some(held(place)) == first)
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
        None
    }
}
