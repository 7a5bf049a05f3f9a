//! What must become so when the faults are over: links, equal histories, a quiet network, one way for each feed.

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_mesh::id::Instance;
use p2p_mesh::status::{PeerState, PeerStatus};
use p2p_mesh::time::Mono;

use super::measure::Measure;
use super::network::Place;
use super::people::Manner;
use super::plan::{FaultKind, SLOW_DISK_FACTOR};
use super::world::World;
use crate::checker::Violation;

/// Runs until everybody is linked and holds the same. Gives how long that took, and what came too late.
#[must_use]
pub fn recover(world: &mut World) -> (Option<Duration>, Option<Violation>) {
    let (mut linked_at, mut equal_at) = (world.now(), None::<Mono>);
    let took = world.run_until(EQUAL_WITHIN, |world| {
        if !world.are_links_complete() {
            (linked_at, equal_at) = (world.now(), None);
            return false;
        }
        let is_equal = world.are_disks_equal();
        equal_at = equal_at.or_else(|| is_equal.then(|| world.now()));
        is_equal && !world.people().is_anybody_waiting()
    });
    let lag = equal_at.map_or(Duration::ZERO, |equal_at| equal_at.since(linked_at));
    let is_late = world.plan().is_honest() && lag > EQUAL_AFTER_LINKS + transfer_time(world) + flush_time(world);
    let what = || format!("histories are equal {lag:?} after the links, not within 5 s");
    (took, is_late.then(|| everybody(what())))
}

/// Everything that must hold once all is settled. `before` are copies and firsts at the end of the faults, with those that
/// were on their way then: what was said into a hole comes out of it.
pub fn check_all(world: &mut World, measure: &mut Measure, before: (u64, u64)) -> Vec<Violation> {
    world.run_for(SETTLE);
    measure.add(&std::mem::take(&mut world.measure));
    let mut violations: Vec<Violation> = check_storm(world, measure, before).into_iter().collect();
    violations.extend(check_quiet(world));
    // Two machines with one identity may not both be linked to everybody.
    if violations.is_empty() && !world.has_clones() && world.plan().talks_after {
        violations.extend(check_talk(world));
        violations.extend(check_providers(world));
    }
    if violations.is_empty() && world.plan().misses_after {
        violations.extend(check_absence(world));
    }
    violations
}

/// Repair brings what is missing about once: one and a half copies of each are too many. What several were asked for
/// while lines were slow comes from each of them.
fn check_storm(world: &World, measure: &Measure, before: (u64, u64)) -> Option<Violation> {
    let (copies, firsts) = (measure.copies.saturating_sub(before.0), measure.firsts - before.1);
    let copies_max = if world.plan().weights.iter().any(|(kind, _)| kind.is_slow()) { 8 } else { 3 };
    let is_storm = world.plan().is_honest() && 2 * copies > copies_max * firsts + COPIES_FREE;
    is_storm.then_some(Violation::Storm { copies, firsts })
}

/// After everything is settled there are heartbeats and nothing else.
fn check_quiet(world: &mut World) -> Option<Violation> {
    world.measure = Measure { milestones: std::mem::take(&mut world.measure.milestones), ..Measure::default() };
    world.run_for(QUIET_FOR);
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

/// Whoever is fed by somebody is fed, over some others, by the author: no way leads round in a circle. Before an author
/// speaks again ways from the days of trouble may, since nothing goes along them.
fn check_providers(world: &World) -> Vec<Violation> {
    let honest = world.honest();
    let runs = honest.iter().filter_map(|place| world.machine(*place).run.as_ref());
    let alive: BTreeSet<Instance> = runs.map(|run| run.instance).collect();
    let mut violations = Vec::new();
    for (feed, place) in alive.iter().flat_map(|feed| honest.iter().map(move |place| (*feed, *place))) {
        if leads_in_a_circle(world, feed, place) {
            let peer = world.machine(place).name.clone();
            let what = format!("the way of {feed:?} to it leads in a circle");
            violations.push(Violation::Invariant { peer, what });
        }
    }
    violations
}

fn leads_in_a_circle(world: &World, feed: Instance, begin: Place) -> bool {
    let mut at = begin;
    for _ in world.honest() {
        let Some(from) = provider(world, feed, at) else { return false };
        let next = world.honest().into_iter().find(|place| {
            let run = world.machine(*place).run.as_ref();
            run.is_some_and(|run| run.instance == from)
        });
        let Some(next) = next.filter(|_| from != feed) else { return false };
        at = next;
    }
    true
}

fn provider(world: &World, feed: Instance, place: Place) -> Option<Instance> {
    let run = world.machine(place).run.as_ref()?;
    let link = run.brain.mesh()?.provider_of(feed)?;
    run.up.get(&link).copied()
}

/// The next hundred envelopes cost hardly a copy more than they must.
fn check_talk(world: &mut World) -> Option<Violation> {
    let honest = world.honest();
    // The first words of a run shape its tree.
    talk(world, &honest, 2 * honest.len());
    world.run_for(SETTLE);
    world.measure = Measure::default();
    talk(world, &honest, ENVELOPES_OF_TALK);
    world.run_for(SETTLE);
    let redundancy = world.measure.redundancy();
    (redundancy > REDUNDANCY_MAX).then(|| everybody(format!("of the next envelopes {redundancy} came in vain")))
}

fn talk(world: &mut World, places: &[Place], times: usize) {
    for place in places.iter().cycle().take(times) {
        world.speak(*place, Manner { posts: 1, keyed: false });
        world.run_for(TALK_PAUSE);
    }
}

/// A peer whose power fails is soon seen as gone, dialed for ever, and shown since when; it is linked when it is back.
fn check_absence(world: &mut World) -> Vec<Violation> {
    let honest = world.honest();
    let is_alone = |place: &Place| !honest.iter().any(|other| other != place && world.is_same_peer(*place, *other));
    let Some(gone) = honest.iter().copied().rfind(is_alone).filter(|_| honest.len() > 1) else { return Vec::new() };
    let died_ms = world.machine(gone).unix_ms(world.now());
    world.keep_off(gone);
    let plan = world.plan();
    let seen_after = plan.heartbeat_interval.mul_f64(1.1) + plan.heartbeat_timeout + SEEN_SLACK;
    world.run_for(seen_after + ABSENT_FOR);
    let mut violations = Vec::new();
    for place in honest.iter().filter(|place| **place != gone) {
        let what = absent_wrong(world, *place, gone, died_ms, seen_after);
        let peer = || world.machine(*place).name.clone();
        violations.extend(what.map(|what| Violation::Invariant { peer: peer(), what }));
    }
    world.switch_on(gone);
    let is_back = world.run_until(BACK_WITHIN, |world| world.are_links_complete() && world.are_disks_equal());
    violations.extend(is_back.is_none().then(|| everybody("who was away is not linked and equal again".to_owned())));
    violations
}

/// How one peer wrongly sees another that is gone.
fn absent_wrong(world: &World, at: Place, gone: Place, died_ms: u64, seen_after: Duration) -> Option<String> {
    let (machine, absent) = (world.machine(at), world.machine(gone));
    let mesh = machine.run.as_ref()?.brain.mesh()?;
    let peers: Vec<PeerStatus> = mesh.peers(machine.now(world.now()));
    let Some(status) = peers.into_iter().find(|status| status.id == Some(absent.id)) else {
        return Some(format!("{} is not known any more", absent.name));
    };
    // Every wall clock is off by its own amount.
    let died_ms = died_ms.saturating_add_signed(machine.clock_offset_ms - absent.clock_offset_ms);
    let is_gone = matches!(status.state, PeerState::Dialing | PeerState::Waiting);
    let last_seen_ms = died_ms.saturating_sub(seen_after.as_millis() as u64)..=died_ms + seen_after.as_millis() as u64;
    let is_soon = status.next_dial_ms.is_none_or(|ms| ms <= DIAL_WITHIN.as_millis() as u64);
    let is_right = is_gone && is_soon && last_seen_ms.contains(&status.last_seen_ms);
    (!is_right).then(|| {
        let PeerStatus { state, last_seen_ms, next_dial_ms, .. } = status;
        format!(
            "{} died at {died_ms}; it is {state:?}, seen at {last_seen_ms}, dialed in {next_dial_ms:?}",
            absent.name
        )
    })
}

fn everybody(what: String) -> Violation {
    Violation::Invariant { peer: "everybody".to_owned(), what }
}

/// For what a slow disk was at work on when the faults ended.
fn flush_time(world: &World) -> Duration {
    let is_slow = world.plan().weights.iter().any(|(kind, _)| *kind == FaultKind::SlowDisk);
    if is_slow { world.plan().flush.1 * SLOW_DISK_FACTOR } else { Duration::ZERO }
}

/// What bytes alone take on slow ways.
fn transfer_time(world: &World) -> Duration {
    let bytes = |place: Place| world.machine(place).disk.log().iter().map(|entry| entry.envelope.bytes().len()).sum();
    let most: usize = world.honest().into_iter().map(bytes).max().unwrap_or(0);
    let network = world.plan().network;
    // No more than a window for each way there and back.
    let window = network.socket_bytes as f64 / (2.0 * network.latency_max.as_secs_f64());
    let rate = network.bandwidth.map_or(window, |rate| window.min(rate as f64));
    Duration::from_secs_f64(most as f64 * 2.0 / rate)
}

/// The longest backoff, the longest silence, and the repair.
pub const EQUAL_WITHIN: Duration = Duration::from_secs(120);
/// Once everybody is linked.
const EQUAL_AFTER_LINKS: Duration = Duration::from_secs(5);
/// Announcements and comparisons that are still on their way.
const SETTLE: Duration = Duration::from_secs(10);
const QUIET_FOR: Duration = Duration::from_secs(120);
/// Twice the copies that peers may be about to send when the faults end.
const COPIES_FREE: u64 = 200;
const ENVELOPES_OF_TALK: usize = 100;
const TALK_PAUSE: Duration = Duration::from_millis(150);
const REDUNDANCY_MAX: f64 = 0.02;
const SEEN_SLACK: Duration = Duration::from_secs(5);
const ABSENT_FOR: Duration = Duration::from_secs(60);
/// The longest backoff between peers that are to be linked.
const DIAL_WITHIN: Duration = Duration::from_secs(30);
const BACK_WITHIN: Duration = Duration::from_secs(60);
