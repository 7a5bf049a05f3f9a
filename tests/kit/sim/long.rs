//! A long world: a day of partitions drawn at random, while everybody talks.

use std::time::Duration;

use super::dice::Dice;
use super::network::Place;
use super::people::Manner;
use super::plan::{Plan, Topology};
use super::schedule::judge;
use super::trace::Detail;
use super::world::{Death, World};
use crate::checker::Violation;

/// What became of it.
#[derive(Debug)]
pub struct Report {
    /// What was broken; nothing if all went well.
    pub violations: Vec<Violation>,
    /// Partitions that were healed.
    pub heals: u32,
    /// Posts that were said.
    pub operations: usize,
    /// The longest that histories differed once everybody was linked again.
    pub equal_after_max: Duration,
    /// The longest that links took.
    pub linked_after_max: Duration,
}

/// Six peers, partitioned every few minutes for `span`, each time in a way drawn anew.
#[must_use]
pub fn run(seed: u64, span: Duration) -> Report {
    let plan = Plan { topology: Topology::Ring, ..Plan::calm(seed, PEERS) };
    let mut world = World::new(plan, Detail::Fingerprint);
    let mut dice = Dice::new(seed ^ 0x006c_6f6e_6700);
    let mut report = Report {
        violations: Vec::new(),
        heals: 0,
        operations: 0,
        equal_after_max: Duration::ZERO,
        linked_after_max: Duration::ZERO,
    };
    world.start_all();
    world.run_for(Duration::from_secs(60));
    while world.now().0 < span.as_micros() as u64 && report.violations.is_empty() {
        partition(&mut world, &mut dice);
        heal(&mut world, &mut report);
        let calm = dice.span(Duration::from_secs(5), Duration::from_secs(300));
        talk_for(&mut world, &mut dice, calm);
        report.violations.extend(world.violations().iter().cloned());
    }
    report.violations.extend(judge(&world));
    report.operations = world.people().operations().len();
    report
}

/// Some ways are silent for a while, and now and then a machine is off as well.
fn partition(world: &mut World, dice: &mut Dice) {
    let all = world.honest();
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for place in &all {
        if dice.chance(0.5) { one.push(*place) } else { two.push(*place) }
    }
    let single = dice.pick(&all);
    let ways: Vec<(Place, Place)> = match dice.below(4) {
        0 => World::between(&[single], &all),
        1 => one.iter().flat_map(|from| two.iter().map(move |to| (*from, *to))).collect(),
        2 => {
            let without = |group: &[Place]| group.iter().copied().filter(|place| *place != single).collect::<Vec<_>>();
            World::between(&without(&one), &without(&two))
        }
        _ => World::between(&one, &two),
    };
    world.block(&ways);
    let is_off = dice.chance(0.2);
    if is_off {
        world.kill(single, dice.pick(&[Death::Crash, Death::PowerCut]));
    }
    let longest = dice.pick(&[10, 75, 600]);
    let span = dice.span(Duration::from_secs(1), Duration::from_secs(longest));
    talk_for(world, dice, span);
    world.unblock(&ways);
    if is_off {
        world.switch_on(single);
    }
}

/// Everybody is linked again soon, and equal five seconds after that.
fn heal(world: &mut World, report: &mut Report) {
    report.heals += 1;
    let begin = world.now();
    let linked = world.run_until(LINKED_WITHIN, World::are_links_complete);
    let equal = linked.and_then(|_| world.run_until(EQUAL_AFTER_LINKS, World::are_disks_equal));
    report.linked_after_max = report.linked_after_max.max(linked.unwrap_or_default());
    report.equal_after_max = report.equal_after_max.max(equal.unwrap_or_default());
    if equal.is_none() {
        let what = format!("heal {} at {} s: linked {linked:?}, equal {equal:?}", report.heals, begin.0 / 1_000_000);
        report.violations.push(Violation::Invariant { peer: "everybody".to_owned(), what });
    }
}

fn talk_for(world: &mut World, dice: &mut Dice, span: Duration) {
    let end = world.now() + span;
    while world.now() < end {
        let wait = dice.gap(TALK_GAP).min(end.since(world.now()));
        world.run_for(wait.max(Duration::from_millis(1)));
        let place = dice.pick(&world.honest());
        let posts = dice.pick(&[1, 1, 1, 5]);
        world.speak(place, Manner { posts, keyed: false });
    }
}

const PEERS: usize = 6;
/// Everybody together. A day has some four thousand such gaps.
const TALK_GAP: Duration = Duration::from_secs(20);
/// The longest backoff, a dial that was under way, and the hellos.
const LINKED_WITHIN: Duration = Duration::from_secs(60);
const EQUAL_AFTER_LINKS: Duration = Duration::from_secs(5);
