//! Faults, one by one: what each does to the world, and what ends it.

use std::time::Duration;

use p2p_mesh::input::{CloseReason, Command, DialFailure, Input};

use super::{Event, World};
use crate::checker::History;
use crate::sim::disk::Space;
use crate::sim::machine::{Brain, Character, Run};
use crate::sim::measure::Milestone;
use crate::sim::network::{Place, ProcessId};
use crate::sim::people::Manner;

/// The end of a fault, or its next step.
#[derive(Clone, Debug)]
pub(super) enum Undo {
    Start(Place),
    Unblock(Vec<(Place, Place)>),
    Resume(Place),
    ReadAgain(Place),
    MakeRoom(Place),
    SpeedUpDisk(Place),
    /// The process ends now, in one way or the other.
    Kill(Place, Death),
    /// The next part of a flood.
    Flood(Place, u32),
    /// One post now, and so many more, one a second.
    Murmur(Place, u32),
    /// Ways are blocked for a while from now on.
    Block(Vec<(Place, Place)>, Duration),
    /// A line is as fast as others again.
    SpeedUpLine(Place),
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Death {
    /// The process alone: what it appended stays.
    Crash,
    /// The whole machine: what was not flushed may go.
    PowerCut,
}

impl World {
    pub(super) fn on_undo(&mut self, undo: Undo) {
        match undo {
            Undo::Start(place) => self.start(place),
            Undo::Unblock(ways) => self.unblock(&ways),
            Undo::Resume(place) => self.resume(place),
            Undo::ReadAgain(place) => self.read_again(place),
            Undo::MakeRoom(place) => self.machines[place.0].disk_full = false,
            Undo::SpeedUpDisk(place) => self.machines[place.0].disk_slowness = 1,
            Undo::Kill(place, death) if self.in_trouble => self.kill(place, death),
            Undo::Flood(place, left) if self.in_trouble => self.flood(place, left),
            Undo::Block(ways, span) if self.in_trouble => {
                self.block(&ways);
                self.later(span, Undo::Unblock(ways));
            }
            Undo::SpeedUpLine(place) => self.network.set_line(place, None),
            Undo::Murmur(place, left) if self.in_trouble => self.murmur(place, left),
            Undo::Kill(..) | Undo::Flood(..) | Undo::Murmur(..) | Undo::Block(..) => (),
        }
    }

    /// Something ends, or goes on, after a while.
    pub(super) fn later(&mut self, span: Duration, undo: Undo) {
        self.agenda.push(self.now + span, Event::Undo(undo));
    }

    /// The process at `place` ends.
    pub fn kill(&mut self, place: Place, death: Death) {
        let Some(mut run) = self.machines[place.0].run.take() else { return };
        self.places.remove(&run.process);
        for session in self.people.process_gone(place) {
            self.speak_later(session);
        }
        self.count_duplicates(place, &run);
        let machine = &mut self.machines[place.0];
        let line = || format!("{} dies: {death:?}", machine.name);
        self.trace.note(self.now, &[b"dies", &run.process.0.to_le_bytes()], line);
        // Half the time the append that was running is done, half the time it never was.
        let space = if machine.disk_full { Space::Full } else { Space::Left };
        let half_done = run.store.finish_running(&mut machine.disk, space, self.dice.chance(0.5));
        if half_done && machine.is_honest() {
            self.measure.reach(Milestone::DiedInAppend);
        }
        match death {
            Death::Crash => self.network.detach(place, self.now),
            Death::PowerCut => {
                self.network.power_off(place, self.now);
                if machine.disk.cut_power(&mut self.dice) > 0 {
                    self.measure.reach(Milestone::UnflushedLost);
                }
                machine.begin_stream();
            }
        }
    }

    /// Nothing passes from the first of each pair to the second.
    pub fn block(&mut self, ways: &[(Place, Place)]) {
        for (from, to) in ways {
            let count = self.ways.entry((*from, *to)).or_default();
            *count += 1;
            if *count == 1 {
                self.network.block(*from, *to, self.now);
            }
        }
    }

    /// The end of `block`.
    pub fn unblock(&mut self, ways: &[(Place, Place)]) {
        for (from, to) in ways {
            let Some(count) = self.ways.get_mut(&(*from, *to)) else { continue };
            *count -= 1;
            if *count == 0 {
                self.ways.remove(&(*from, *to));
                self.network.unblock(*from, *to, self.now);
            }
        }
    }

    /// Both ways between every machine of one group and every machine of the other.
    #[must_use]
    pub fn between(one: &[Place], two: &[Place]) -> Vec<(Place, Place)> {
        let pairs = one.iter().flat_map(|a| two.iter().map(move |b| (*a, *b)));
        pairs.filter(|(a, b)| a != b).flat_map(|(a, b)| [(a, b), (b, a)]).collect()
    }

    /// The process at `place` stands still.
    pub fn stall(&mut self, place: Place) {
        if let Some(run) = self.machines[place.0].run.as_mut() {
            run.stalled = true;
            self.network.set_stalled(place, true);
        }
    }

    /// The process at `place` takes nothing from its links.
    pub fn stop_reading(&mut self, place: Place) {
        if let Some(run) = self.machines[place.0].run.as_mut() {
            run.reads_paused = true;
        }
    }

    /// The line of the machine takes so many bytes a second.
    pub fn slow_line(&mut self, place: Place, rate: u64) {
        self.network.set_line(place, Some(rate));
    }

    /// Flushes at `place` take this many times longer.
    pub fn slow_disk(&mut self, place: Place, slowness: u32) {
        self.machines[place.0].disk_slowness = slowness;
    }

    /// It goes on, with all that waited.
    pub fn resume(&mut self, place: Place) {
        let Some(run) = self.machines[place.0].run.as_mut().filter(|run| run.stalled) else { return };
        run.stalled = false;
        run.timer_at = None;
        let process = run.process;
        let inbox = std::mem::take(&mut run.inbox);
        self.network.set_stalled(place, false);
        for input in inbox {
            self.feed(process, input);
        }
        self.read_waiting(place);
        self.settle(place);
    }

    /// The disk at `place` becomes an earlier one, as a backup has it. The process ends before.
    pub(super) fn restore(&mut self, place: Place) {
        let Some(backup) = self.machines[place.0].backup.take() else { return };
        self.kill(place, Death::Crash);
        let machine = &mut self.machines[place.0];
        machine.disk = backup;
        machine.disk.flush();
        machine.begin_stream();
        self.people.disk_replaced(place, machine.id, &machine.disk);
    }

    /// A machine with the same identity and the same disk appears beside this one.
    pub(super) fn clone_machine(&mut self, place: Place) {
        let original = &self.machines[place.0];
        if self.twins.iter().any(|twin| twin.id == original.id) {
            return;
        }
        let (key, mut disk) = (original.key.clone(), original.disk.clone());
        disk.flush();
        let copy = self.add_machine(key, Character::Honest);
        self.machines[copy.0].disk = disk;
        self.later(Duration::from_millis(1_500), Undo::Start(copy));
        let session = self.people.add_session(copy, self.machines[copy.0].id);
        self.speak_later(session);
    }

    /// The machine at `place` is resumed a second time elsewhere, from the disk and the memory it has now; its links are
    /// the first one's. While something is on its way to the disk nobody could say which of both said it.
    pub(super) fn resume_twice(&mut self, place: Place) {
        // Of three that share a past, two may have to say the same again.
        if self.machines.iter().filter(|machine| machine.id == self.machines[place.0].id).count() > 1 {
            return;
        }
        // Who knows nobody waits to be found, and all find the first one only.
        if !self.has_met(place, |_| true) {
            return;
        }
        let original = &self.machines[place.0];
        let Some(run) = original.run.as_ref().filter(|run| run.unstored.is_empty() && !run.stalled && !run.leaving)
        else {
            return;
        };
        let Some(mesh) = run.brain.mesh().filter(|mesh| mesh.outbox_len() == 0 && run.store.is_idle()) else { return };
        let (mesh, instance, born) = (Box::new(mesh.clone()), run.instance, run.born);
        let wall_max_ms = run.wall_max_ms;
        let (links, dials) = (run.open.clone(), run.dials.clone());
        let (key, disk, offset_ms) = (original.key.clone(), original.disk.clone(), original.clock_offset_ms);
        let shown = original.streams.last().map(|stream| stream.posts.clone()).unwrap_or_default();
        self.twins.insert(instance);
        self.processes += 1;
        let (copy, process) = (self.add_machine(key, Character::Honest), ProcessId(self.processes));
        let twin = &mut self.machines[copy.0];
        (twin.disk, twin.clock_offset_ms) = (disk, offset_ms);
        twin.streams = vec![History { peer: twin.name.clone(), posts: shown, ..History::default() }];
        let mut run = Run::new(process, instance, Brain::Mesh(mesh), born);
        (run.open, run.dials) = (links.clone(), dials.clone());
        run.wall_max_ms = wall_max_ms;
        twin.run = Some(run);
        self.places.insert(process, copy);
        self.network.attach(copy, process, instance.id);
        for link in links {
            let reason = CloseReason::Failed("the machine was resumed".to_owned());
            self.feed(process, Input::LinkClosed { link, reason });
        }
        for dial in dials {
            let (reason, detail) = (DialFailure::Unreachable, "the machine was resumed".to_owned());
            self.feed(process, Input::DialFailed { dial, reason, detail });
        }
        self.settle(copy);
        let session = self.people.add_session(copy, instance.id);
        self.speak_later(session);
    }

    /// The daemon at `place` is stopped in order: it says goodbye, and ends a second later.
    pub fn leave(&mut self, place: Place) {
        let Some(run) = self.machines[place.0].run.as_mut() else { return };
        run.leaving = true;
        let process = run.process;
        self.feed(process, Input::Command(Command::Leave));
        self.later(Duration::from_secs(1), Undo::Kill(place, Death::Crash));
    }

    /// All links are reset, and everybody dials.
    pub(super) fn dial_together(&mut self) {
        let places = self.all_places();
        for (one, two) in places.iter().flat_map(|one| places.iter().map(move |two| (*one, *two))) {
            if one < two {
                self.network.reset_between(one, two, self.now);
            }
        }
        for process in self.processes_of(&places) {
            self.feed(process, Input::Command(Command::Reconnect(None)));
        }
    }

    /// A user at `place` says very much.
    pub(super) fn flood(&mut self, place: Place, left: u32) {
        if self.people.operations().len() > FLOODS_MAX {
            return;
        }
        self.speak(place, Manner { posts: FLOOD_POSTS, keyed: false });
        if left > 0 {
            self.later(Duration::from_millis(30), Undo::Flood(place, left - 1));
        }
    }

    /// A user at `place` says one thing a second.
    pub(super) fn murmur(&mut self, place: Place, left: u32) {
        self.speak(place, Manner { posts: 1, keyed: false });
        if left > 0 {
            self.later(Duration::from_secs(1), Undo::Murmur(place, left - 1));
        }
    }

    /// All faults are over: every way is free, everybody runs, no disk is full.
    pub fn heal(&mut self) {
        self.in_trouble = false;
        self.network.forget_cuts();
        let ways: Vec<(Place, Place)> = self.ways.keys().copied().collect();
        for way in ways {
            self.ways.insert(way, 1);
            self.unblock(&[way]);
        }
        for place in self.all_places() {
            self.machines[place.0].disk_full = false;
            self.machines[place.0].disk_slowness = 1;
            self.network.set_line(place, None);
            self.resume(place);
            self.read_again(place);
            let is_hostile = self.machines[place.0].character == Character::Hostile;
            if is_hostile || self.machines[place.0].run.as_ref().is_some_and(|run| run.leaving) {
                self.kill(place, Death::Crash);
            }
            if !is_hostile {
                self.start(place);
            }
        }
        for session in self.people.sessions().collect::<Vec<_>>() {
            self.speak_later(session);
        }
    }

    fn read_again(&mut self, place: Place) {
        if let Some(run) = self.machines[place.0].run.as_mut() {
            run.reads_paused = false;
            run.read_pace = None;
        }
        self.read_waiting(place);
    }

    fn processes_of(&self, places: &[Place]) -> Vec<crate::sim::network::ProcessId> {
        places.iter().filter_map(|place| self.machines[place.0].run.as_ref()).map(|run| run.process).collect()
    }

    /// What the processes that still live received in vain.
    pub fn count_all_duplicates(&mut self) {
        for place in self.all_places() {
            if let Some(run) = self.machines[place.0].run.take() {
                self.count_duplicates(place, &run);
                self.machines[place.0].run = Some(run);
            }
        }
    }

    /// What a process had received in vain is known only while it lives.
    fn count_duplicates(&mut self, place: Place, run: &crate::sim::machine::Run) {
        let Some(mesh) = run.brain.mesh().filter(|_| self.machines[place.0].is_honest()) else { return };
        let duplicates: u64 = mesh.peers(self.machines[place.0].now(self.now)).iter().map(|p| p.posts_duplicate).sum();
        if duplicates > 0 {
            self.measure.reach(Milestone::DuplicateArrived);
        }
        if duplicates > 0 && run.is_restart {
            self.measure.reach(Milestone::DuplicateAfterRestart);
        }
    }
}

/// There is no flood any more after so many posts, so that no schedule takes long.
const FLOODS_MAX: usize = 8_000;
/// Posts of one send in a flood.
const FLOOD_POSTS: u64 = 250;
