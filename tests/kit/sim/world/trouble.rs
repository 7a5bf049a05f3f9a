//! Drawing faults: which, when, to whom, for how long. Correlated ones find what independent ones never do.

use std::collections::BTreeSet;
use std::time::Duration;

use p2p_mesh::id::PeerId;

use super::faults::{Death, Undo};
use super::{Event, World};
use crate::sim::network::{Place, outside};
use crate::sim::people::Manner;
use crate::sim::plan::{FaultKind, SLOW_DISK_FACTOR};

impl World {
    /// Faults happen and users talk, until `heal`.
    pub fn begin_trouble(&mut self) {
        self.in_trouble = true;
        for place in self.all_places() {
            let author = self.machines[place.0].id;
            let sessions = if self.machines[place.0].is_honest() { self.plan.sessions } else { 0 };
            for _ in 0..sessions {
                let session = self.people.add_session(place, author);
                self.speak_later(session);
            }
        }
        self.schedule_fault();
    }

    pub(super) fn on_fault(&mut self) {
        if !self.in_trouble {
            return;
        }
        if let Some(kind) = self.draw_kind() {
            let line = || format!("FAULT {kind:?}");
            self.trace.note(self.now, &[b"fault"], line);
            *self.measure.faults.entry(format!("{kind:?}")).or_default() += 1;
            self.cause(kind);
        }
        self.take_backup();
        self.schedule_fault();
    }

    fn schedule_fault(&mut self) {
        if self.plan.fault_gap < Duration::MAX {
            let wait = self.dice.gap(self.plan.fault_gap).max(Duration::from_millis(1));
            self.agenda.push(self.now + wait, Event::Fault);
        }
    }

    fn draw_kind(&mut self) -> Option<FaultKind> {
        let total: f64 = self.plan.weights.iter().map(|(_, weight)| weight).sum();
        let mut point = self.dice.between(0, 1_000_000) as f64 / 1_000_000.0 * total;
        for (kind, weight) in &self.plan.weights {
            point -= weight;
            if point <= 0.0 {
                return Some(*kind);
            }
        }
        None
    }

    fn cause(&mut self, kind: FaultKind) {
        let honest = self.honest();
        let place = self.dice.pick(&honest);
        let span = self.draw_span();
        match kind {
            FaultKind::Reset => {
                let with = self.dice.pick(&self.all_places());
                self.network.reset_between(place, with, self.now);
            }
            FaultKind::CutAtByte => self.cut_at_byte(place),
            FaultKind::OneWay => self.block_for(span, |world, _| vec![(place, world.other_than(place))]),
            FaultKind::TwoWay => self.block_for(span, |world, _| World::between(&[place], &[world.other_than(place)])),
            FaultKind::Isolate => self.block_for(span, |_, all| World::between(&[place], all)),
            FaultKind::Halves => self.block_for(span, |world, all| {
                let (one, two) = world.halves(all);
                World::between(&one, &two)
            }),
            FaultKind::Bridge => self.block_for(span, |world, all| {
                let (one, two) = world.halves(all);
                let without = |group: Vec<Place>| outside(&group, &BTreeSet::from([place]));
                World::between(&without(one), &without(two))
            }),
            FaultKind::RingOnly => self.block_for(span, |_, all| beyond_neighbors(all)),
            FaultKind::HalfDeaf => self.block_for(span, |world, all| {
                let (one, two) = world.halves(all);
                one.iter().flat_map(|from| two.iter().map(move |to| (*from, *to))).collect()
            }),
            FaultKind::Crash => self.die_for(place, Death::Crash, span),
            FaultKind::PowerCut => self.die_for(place, Death::PowerCut, span),
            FaultKind::Leave => {
                self.leave(place);
                self.later(span + Duration::from_secs(2), Undo::Start(place));
            }
            FaultKind::IsolateSendKill => self.isolate_send_kill(place, span),
            FaultKind::OldDisk => {
                self.restore(place);
                self.later(span, Undo::Start(place));
            }
            FaultKind::Clone if self.machines.len() < self.plan.peers + MACHINES_MORE => self.clone_machine(place),
            FaultKind::Clone => (),
            FaultKind::ResumedTwice if self.machines.len() < self.plan.peers + MACHINES_MORE => {
                self.resume_twice(place)
            }
            FaultKind::ResumedTwice => (),
            FaultKind::ClockJump => {
                let jump = self.dice.between(0, 7_200_000) as i64 - 3_600_000;
                self.machines[place.0].clock_offset_ms += jump;
            }
            FaultKind::Stall => {
                self.stall(place);
                self.later(span, Undo::Resume(place));
            }
            FaultKind::StuckReader | FaultKind::SlowReader => self.slow_reader(place, kind, span),
            FaultKind::DiskFull => {
                self.machines[place.0].disk_full = true;
                self.later(span, Undo::MakeRoom(place));
            }
            FaultKind::SlowDisk => {
                self.slow_disk(place, SLOW_DISK_FACTOR);
                self.later(span, Undo::SpeedUpDisk(place));
            }
            FaultKind::DialTogether => self.dial_together(),
            FaultKind::Flood => {
                self.block_for(span, |world, all| World::between(&[world.other_than(place)], all));
                self.flood(place, 6);
            }
            FaultKind::LongAbsence => self.die_for(place, Death::PowerCut, Duration::from_secs(200)),
            FaultKind::EveryPair => self.every_pair(span),
            FaultKind::Swizzle => self.swizzle(span),
            FaultKind::Flap => self.flap(place, span),
            FaultKind::SlowLine => {
                self.slow_line(place, SLOW_LINE_BYTES_PER_SECOND);
                self.later(span, Undo::SpeedUpLine(place));
            }
            FaultKind::Move => self.move_machines(span),
            FaultKind::StuckInFlood => self.stuck_in_flood(place),
        }
    }

    /// A peer is cut off while its users talk, and dies before it can pass anything on.
    fn isolate_send_kill(&mut self, place: Place, span: Duration) {
        self.block_for(span, |_, all| World::between(&[place], all));
        for _ in 0..self.dice.between(1, 3) {
            let keyed = self.dice.chance(self.plan.keyed);
            let posts = self.dice.between(1, self.plan.batch_max);
            self.speak(place, Manner { posts, keyed });
        }
        let flushes = self.dice.pick(&[1, 3, 100]);
        let wait = self.dice.span(Duration::ZERO, self.plan.flush.1 * flushes);
        let death = self.dice.pick(&[Death::Crash, Death::PowerCut]);
        self.later(wait, Undo::Kill(place, death));
        let absence = self.draw_span();
        self.later(wait + absence, Undo::Start(place));
    }

    /// Each pair is cut once, and they share the time.
    fn every_pair(&mut self, span: Duration) {
        let all = self.all_places();
        let pairs: Vec<(Place, Place)> =
            all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))).filter(|(a, b)| a < b).collect();
        let each = span / pairs.len().max(1) as u32;
        for (turn, (a, b)) in (0u32..).zip(pairs) {
            self.later(each * turn, Undo::Block(vec![(a, b), (b, a)], each));
        }
    }

    /// Some machines are cut off one after the other; then they come back one after the other, in another order.
    fn swizzle(&mut self, span: Duration) {
        let all = self.all_places();
        let mut chosen: Vec<Place> = Vec::new();
        for place in &all {
            if self.dice.chance(0.5) {
                chosen.push(*place);
            }
        }
        for place in chosen {
            let stops = self.dice.span(Duration::ZERO, span / 2);
            let resumes = self.dice.span(span / 2, span);
            self.later(stops, Undo::Block(World::between(&[place], &all), resumes - stops));
        }
    }

    /// The way to another machine is there for a moment and then not, again and again.
    fn flap(&mut self, place: Place, span: Duration) {
        let ways = World::between(&[place], &[self.other_than(place)]);
        let longest = self.dice.pick(&[100, 1_000, 4_000]);
        let mut at = Duration::ZERO;
        while at < span {
            let gone = self.dice.span(Duration::from_millis(20), Duration::from_millis(longest));
            let there = self.dice.span(Duration::from_millis(20), Duration::from_millis(longest));
            self.later(at, Undo::Block(ways.clone(), gone));
            at += gone + there;
        }
    }

    /// Only the last two machines ever move: whoever moved finds the others where they were.
    fn move_machines(&mut self, span: Duration) {
        let honest = self.plan.peers;
        let Some(one) = honest.checked_sub(1).filter(|one| *one > 0).map(Place) else { return };
        let two = Place(one.0 - 1);
        let changes_places = two.0 > 0 && self.dice.chance(0.3);
        let movers = if changes_places { vec![one, two] } else { vec![one] };
        // Two that never met anybody else know each other only where they were.
        if movers.iter().any(|place| !self.has_met(*place, |other| other != one && (other != two || two.0 == 0))) {
            return;
        }
        for place in &movers {
            self.die_for(*place, Death::PowerCut, span);
        }
        if changes_places {
            self.network.swap(one, two);
        } else {
            self.network.move_away(one);
        }
        self.has_moved.extend(movers);
    }

    /// Whether it knows an honest peer at one of these places.
    pub(super) fn has_met(&self, place: Place, is_counted: impl Fn(Place) -> bool) -> bool {
        let counted = self.machines.iter().filter(|machine| machine.is_honest() && is_counted(machine.place));
        let counted: Vec<PeerId> = counted.map(|machine| machine.id).collect();
        self.machines[place.0].disk.book().iter().any(|(record, _)| counted.contains(&record.id))
    }

    /// Long enough for whoever writes to it to lose patience.
    fn stuck_in_flood(&mut self, place: Place) {
        self.stop_reading(place);
        self.later(STUCK_LONG, Undo::ReadAgain(place));
        // It goes on talking, or the others would take it for dead long before.
        self.murmur(place, STUCK_LONG.as_secs() as u32);
        let speaker = self.other_than(place);
        if self.machines[speaker.0].is_honest() {
            self.flood(speaker, 12);
        }
    }

    fn die_for(&mut self, place: Place, death: Death, span: Duration) {
        self.kill(place, death);
        self.later(span, Undo::Start(place));
    }

    fn slow_reader(&mut self, place: Place, kind: FaultKind, span: Duration) {
        let rest = self.dice.span(Duration::from_millis(5), Duration::from_millis(100));
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        if kind == FaultKind::SlowReader {
            run.read_pace = Some((2_048, rest));
        } else {
            run.reads_paused = true;
        }
        self.later(span, Undo::ReadAgain(place));
    }

    fn cut_at_byte(&mut self, place: Place) {
        let links = self.network.links_of(place);
        if !links.is_empty() {
            let link = self.dice.pick(&links);
            let bytes = self.dice.between(0, 2_000);
            self.network.cut_after(link, bytes);
        }
    }

    fn block_for(&mut self, span: Duration, draw: impl FnOnce(&mut Self, &[Place]) -> Vec<(Place, Place)>) {
        let all = self.all_places();
        let ways = draw(self, &all);
        self.block(&ways);
        self.later(span, Undo::Unblock(ways));
    }

    fn other_than(&mut self, place: Place) -> Place {
        let others = outside(&self.all_places(), &BTreeSet::from([place]));
        if others.is_empty() { place } else { self.dice.pick(&others) }
    }

    fn halves(&mut self, all: &[Place]) -> (Vec<Place>, Vec<Place>) {
        let mut halves = (Vec::new(), Vec::new());
        for place in all {
            if self.dice.chance(0.5) { halves.0.push(*place) } else { halves.1.push(*place) }
        }
        halves
    }

    /// Now and then somebody makes a backup.
    fn take_backup(&mut self) {
        let honest = self.honest();
        let place = self.dice.pick(&honest);
        if self.dice.chance(0.3) {
            let machine = &mut self.machines[place.0];
            machine.backup = Some(machine.disk.clone());
        }
    }

    /// Some faults are over in a moment, some outlast every timeout.
    fn draw_span(&mut self) -> Duration {
        let longest = self.dice.pick(&[200, 2_000, 8_000, 45_000]);
        self.dice.span(Duration::from_millis(1), Duration::from_millis(longest))
    }
}

/// Every way but those between neighbours of a ring.
fn beyond_neighbors(all: &[Place]) -> Vec<(Place, Place)> {
    let len = all.len();
    let is_near = |a: &Place, b: &Place| (a.0 + 1) % len == b.0 || (b.0 + 1) % len == a.0;
    World::between(all, all)
        .into_iter()
        .filter(|(a, b)| !is_near(a, b) && a < b)
        .flat_map(|(a, b)| [(a, b), (b, a)])
        .collect()
}

/// 64 kbit a second.
const SLOW_LINE_BYTES_PER_SECOND: u64 = 8_000;
/// A link that takes nothing is ended after 30 s.
const STUCK_LONG: Duration = Duration::from_secs(45);
/// Clones and neighbours beyond the planned peers.
const MACHINES_MORE: usize = 3;
