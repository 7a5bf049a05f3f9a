//! One schedule: a world of a seed, first with faults, then without, and the verdict.

use std::time::Duration;

use p2p_mesh::id::{Hash, LinkId, PeerId};

use super::machine::Machine;
use super::measure::Measure;
use super::network::{Place, other};
use super::plan::Plan;
use super::trace::Detail;
use super::world::World;
use crate::checker::{
    Begins, History, Violation, check_acks, check_content, check_end, check_envelopes, check_stream, check_whole,
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
    let equal_after = world.run_until(EQUAL_WITHIN, |world| {
        world.are_links_complete() && world.are_disks_equal() && !world.people().is_anybody_waiting()
    });
    let mut violations = world.violations().to_vec();
    if equal_after.is_none() && violations.is_empty() {
        violations.extend(world.why_unequal());
    }
    let mut measure = std::mem::take(&mut world.measure);
    if violations.is_empty() {
        violations.extend(check_quiet(&mut world));
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
        violations.extend(check_envelopes(&machine.name, stored));
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

/// After everything is settled there are heartbeats and nothing else.
fn check_quiet(world: &mut World) -> Option<Violation> {
    world.run_for(SETTLE);
    world.measure = Measure { milestones: std::mem::take(&mut world.measure.milestones), ..Measure::default() };
    world.run_for(world.plan().heartbeat_interval * 3);
    let mut frames = world.measure.frames.clone();
    frames.retain(|kind, _| !matches!(kind.as_str(), "ping" | "pong"));
    if world.plan().censors > 0 {
        // A censor says what it has and never gives it: comparing with it goes on, ever more rarely, and so does
        // refusing it.
        frames.retain(|kind, _| kind == "envelopes");
    }
    // A wait or a silent link from the days of trouble may end only now, and one more or less is told to all. A storm
    // is more than that.
    let late: u64 = ["hello", "peers", "view", "bye", "suspect"].iter().filter_map(|kind| frames.get(*kind)).sum();
    if late <= LATE_LINK_FRAMES_PER_PEER * world.honest().len() as u64 {
        frames.retain(|kind, _| !matches!(kind.as_str(), "hello" | "peers" | "view" | "bye" | "suspect"));
    }
    let broken = (!frames.is_empty()).then(|| format!("the mesh is not quiet: {frames:?}"));
    let broken = broken.or_else(|| (!world.are_links_complete()).then(|| "links did not stay".to_owned()));
    broken.map(|what| Violation::Invariant { peer: "everybody".to_owned(), what })
}

/// Frames that one late link and its news may cost each peer.
const LATE_LINK_FRAMES_PER_PEER: u64 = 4;

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

/// The longest backoff, the longest silence, and the repair.
const EQUAL_WITHIN: Duration = Duration::from_secs(120);
/// Announcements and comparisons that are still on their way.
const SETTLE: Duration = Duration::from_secs(10);
