//! The world: machines, the network between them, users, and one order of events for all.
//!
//! It is to the core what the daemon's driver is: one input, then all effects, then the next input.

mod execute;
mod faults;
mod links;
mod look;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use p2p_mesh::config::{Config, Setup};
use p2p_mesh::id::{Epoch, Instance, LinkId, PeerId};
use p2p_mesh::input::{Command, Input, LinkOpened};
use p2p_mesh::membership::record::Addr;
use p2p_mesh::mesh::Mesh;
use p2p_mesh::time::{Mono, Now};

use super::agenda::Agenda;
use super::dice::Dice;
use super::disk::Space;
use super::hostile::Hostile;
use super::machine::{Brain, Character, Machine, Run};
use super::measure::{Measure, envelopes_in};
use super::network::{LISTEN_PORT, Network, Place, ProcessId, Signal};
use super::people::{Manner, People, SessionId};
use super::plan::{Plan, Topology};
use super::trace::{Detail, Trace};
use crate::checker::Violation;
pub use faults::Death;
use faults::Undo;
use look::{LOOK_INTERVAL, Watch};

/// Everything there is in one run.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    now: Mono,
    dice: Dice,
    agenda: Agenda<Event>,
    network: Network,
    machines: Vec<Machine>,
    people: People,
    trace: Trace,
    violations: Vec<Violation>,
    /// Runs that went on twice from one memory.
    twins: BTreeSet<Instance>,
    /// How many faults block each way.
    ways: BTreeMap<(Place, Place), u32>,
    places: BTreeMap<ProcessId, Place>,
    /// Faults happen, and users talk of their own accord.
    in_trouble: bool,
    processes: u64,
    watch: Watch,
    /// Machines that got another address and were not linked since.
    has_moved: BTreeSet<Place>,
    /// What was counted since it was last taken.
    pub measure: Measure,
    /// Deliveries here are not counted.
    pub unmeasured: Option<Place>,
}

/// What happens, but for the network.
#[derive(Clone, Debug)]
enum Event {
    /// The moment that a process asked for.
    Timer(ProcessId),
    /// The store's thread is done with its batch.
    StoreDone(ProcessId),
    /// A process may read more of a link.
    ReadMore(ProcessId, LinkId),
    /// Something for a process that does not come from the network.
    Input(ProcessId, Box<Input>),
    /// A user opens the mouth.
    Speak(SessionId),
    /// A hostile neighbour does something.
    Act(ProcessId),
    /// The next fault.
    Fault,
    /// The end of a fault, or its next step.
    Undo(Undo),
    /// A look at what must always hold.
    Look,
}

impl World {
    /// A world as planned, before anybody is switched on.
    #[must_use]
    pub fn new(plan: Plan, detail: Detail) -> Self {
        let mut dice = Dice::new(plan.seed);
        let network = Network::new(plan.network, dice.seed());
        let mut world = Self {
            now: Mono(0),
            agenda: Agenda::default(),
            network,
            machines: Vec::new(),
            people: People::default(),
            trace: Trace::new(detail),
            violations: Vec::new(),
            twins: BTreeSet::new(),
            ways: BTreeMap::new(),
            places: BTreeMap::new(),
            in_trouble: false,
            processes: 0,
            watch: Watch::default(),
            has_moved: BTreeSet::new(),
            measure: Measure::default(),
            unmeasured: None,
            dice,
            plan,
        };
        world.build();
        world
    }

    /// Switches everybody on, within a moment.
    pub fn start_all(&mut self) {
        for place in self.all_places() {
            let at = self.now + self.dice.span(Duration::ZERO, Duration::from_millis(50));
            self.agenda.push(at, Event::Undo(Undo::Start(place)));
        }
        self.agenda.push(self.now + LOOK_INTERVAL, Event::Look);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.next_at().is_some_and(|at| at <= end) && self.violations.len() < VIOLATIONS_MAX {
            self.step();
        }
        self.now = end;
    }

    /// Lets time pass until something is so, at most for `span`. Returns how long that took.
    pub fn run_until(&mut self, span: Duration, mut is_so: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let begin = self.now;
        while self.now.since(begin) < span && self.violations.len() < VIOLATIONS_MAX {
            if is_so(self) {
                return Some(self.now.since(begin));
            }
            self.run_for(POLL_INTERVAL);
        }
        is_so(self).then(|| self.now.since(begin))
    }

    /// A user at `place` says something new now.
    pub fn speak(&mut self, place: Place, manner: Manner) {
        let idle = self.people.sessions_at(place).into_iter().find(|session| !self.people.is_busy(*session));
        let author = self.machines[place.0].id;
        let session = idle.unwrap_or_else(|| self.people.add_session(place, author));
        let process = self.machines[place.0].run.as_ref().map(|run| run.process);
        let Some(process) = process else { return };
        let (token, posts) = self.people.speak(session, manner, &mut self.dice, self.now);
        self.feed(process, Input::Command(Command::Publish { token, posts }));
    }

    /// The plan it was made from.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The time since it began.
    #[must_use]
    pub fn now(&self) -> Mono {
        self.now
    }

    /// The honest machines.
    #[must_use]
    pub fn honest(&self) -> Vec<Place> {
        self.machines.iter().filter(|machine| machine.is_honest()).map(|machine| machine.place).collect()
    }

    /// One machine.
    #[must_use]
    pub fn machine(&self, place: Place) -> &Machine {
        &self.machines[place.0]
    }

    /// Two machines have one identity.
    #[must_use]
    pub fn is_same_peer(&self, one: Place, two: Place) -> bool {
        self.machines[one.0].id == self.machines[two.0].id
    }

    /// Some machines have one identity.
    #[must_use]
    pub fn has_clones(&self) -> bool {
        let ids: BTreeSet<PeerId> = self.machines.iter().map(|machine| machine.id).collect();
        ids.len() < self.machines.len()
    }

    /// The power of a machine fails, until it is switched on: the end of no earlier fault does that.
    pub fn keep_off(&mut self, place: Place) {
        self.kill(place, Death::PowerCut);
        self.machines[place.0].is_kept_off = true;
    }

    /// A machine is switched on, unless it is.
    pub fn switch_on(&mut self, place: Place) {
        self.machines[place.0].is_kept_off = false;
        self.start(place);
    }

    /// The users.
    #[must_use]
    pub fn people(&self) -> &People {
        &self.people
    }

    /// What was broken so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The record, when all is over.
    #[must_use]
    pub fn into_trace(self) -> Trace {
        self.trace
    }

    fn build(&mut self) {
        let honest = (0..self.plan.peers).map(|_| Character::Honest);
        let hostile = (0..self.plan.hostile).map(|_| Character::Hostile);
        let censors = (0..self.plan.censors).map(|_| Character::Censor);
        let characters: Vec<Character> = honest.chain(hostile).chain(censors).collect();
        for character in characters {
            let mut secret = [0; 32];
            for chunk in secret.chunks_mut(8) {
                chunk.copy_from_slice(&self.dice.seed().to_le_bytes());
            }
            self.add_machine(SigningKey::from_bytes(&secret), character);
        }
    }

    fn add_machine(&mut self, key: SigningKey, character: Character) -> Place {
        let place = Place(self.machines.len());
        let letter = match character {
            Character::Honest => 'p',
            Character::Censor => 'c',
            Character::Hostile => 'h',
        };
        self.machines.push(Machine::new(place, format!("{letter}{}", place.0), key, character));
        place
    }

    fn all_places(&self) -> Vec<Place> {
        self.machines.iter().map(|machine| machine.place).collect()
    }

    /// Whoever writes this feed may use a number twice.
    #[must_use]
    pub fn may_fork(&self, feed: Instance) -> bool {
        self.twins.contains(&feed) || !self.is_honest_peer(feed.id)
    }

    /// Envelopes that were written to links and not yet read.
    #[must_use]
    pub fn copies_under_way(&self) -> u64 {
        self.network.under_way().map(|bytes| envelopes_in(bytes)).sum()
    }

    /// The machine that an address means now.
    fn resolve(&self, addr: &Addr) -> Option<Place> {
        let named = || addr.host().strip_prefix("peer")?.strip_suffix(".sim")?.parse().ok().map(Place);
        addr.ip().map_or_else(named, |ip| self.network.place_at(ip, self.machines.len()))
    }

    pub(super) fn is_honest_peer(&self, id: PeerId) -> bool {
        self.machines.iter().any(|machine| machine.id == id && machine.is_honest())
    }

    fn next_at(&self) -> Option<Mono> {
        self.agenda.next_at().into_iter().chain(self.network.next_at()).min()
    }

    fn step(&mut self) {
        let (own, network) = (self.agenda.next_at(), self.network.next_at());
        if network.is_some_and(|network| own.is_none_or(|own| network <= own)) {
            self.now = self.now.max(network.unwrap_or_default());
            self.network.step();
        } else if let Some((at, event)) = self.agenda.pop() {
            self.now = self.now.max(at);
            self.on_event(event);
        }
        while let Some(signal) = self.network.poll_signal() {
            match signal {
                Signal::Input(process, input) => self.on_signal_input(process, input),
                Signal::Readable(process, link) => self.on_readable(process, link),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Timer(process) => self.on_timer(process),
            Event::StoreDone(process) => self.on_store_done(process),
            Event::ReadMore(process, link) => self.on_readable(process, link),
            Event::Input(process, input) => self.feed(process, *input),
            Event::Speak(session) => self.on_speak(session),
            Event::Act(process) => self.on_act(process),
            Event::Fault => self.on_fault(),
            Event::Undo(undo) => self.on_undo(undo),
            Event::Look => self.on_look(),
        }
    }

    /// One input for a process, and all that follows from it.
    fn feed(&mut self, process: ProcessId, input: Input) {
        let Some(place) = self.places.get(&process).copied() else { return };
        let machine = &mut self.machines[place.0];
        let now = machine.now(self.now);
        let Some(run) = machine.run.as_mut() else { return };
        if run.stalled {
            run.inbox.push_back(input);
            return;
        }
        run.note(&input);
        run.wall_max_ms = run.wall_max_ms.max(now.unix_ms);
        let line = || format!("{} <- {}", machine.name, describe(&input));
        self.trace.note(self.now, &[&process.0.to_le_bytes(), fingerprint(&input)], line);
        let told_ms = now.unix_ms.max(run.clock_told_ms);
        run.brain.handle(input, Now { unix_ms: told_ms, ..now });
        self.settle(place);
    }

    /// Carries out all effects, and notes when the brain wants to be called again.
    fn settle(&mut self, place: Place) {
        for count in 0.. {
            let Some(run) = self.machines[place.0].run.as_mut() else { return };
            let Some(effect) = run.brain.poll_effect() else { break };
            if count > EFFECTS_MAX {
                return self.violate(place, "one input made more effects than a daemon could carry out".to_owned());
            }
            self.execute(place, effect);
        }
        self.arm_timer(place);
    }

    fn arm_timer(&mut self, place: Place) {
        let Some(run) = self.machines[place.0].run.as_mut().filter(|run| !run.stalled) else { return };
        let Some(due) = run.brain.mesh().and_then(Mesh::poll_timeout) else { return };
        let at = run.world_time(due).max(self.now);
        if run.timer_at.is_none_or(|armed| at < armed || armed < self.now) {
            run.timer_at = Some(at);
            self.agenda.push(at, Event::Timer(run.process));
        }
    }

    fn on_timer(&mut self, process: ProcessId) {
        let Some(place) = self.places.get(&process).copied() else { return };
        let machine = &mut self.machines[place.0];
        let now = machine.now(self.now);
        let Some(run) = machine.run.as_mut().filter(|run| run.timer_at == Some(self.now)) else { return };
        run.timer_at = None;
        if run.stalled {
            return;
        }
        if let Brain::Mesh(mesh) = &mut run.brain
            && mesh.poll_timeout().is_some_and(|due| due <= now.mono)
        {
            self.trace.note(self.now, &[b"timer", &process.0.to_le_bytes()], || format!("{} timer", machine.name));
            run.wall_max_ms = run.wall_max_ms.max(now.unix_ms);
            mesh.handle_timeout(now);
            if mesh.poll_timeout().is_some_and(|due| due <= now.mono) {
                run.spins += 1;
                if run.spins > SPINS_MAX {
                    run.spins = 0;
                    self.violate(place, "a timer that was handled is due again at once, for ever".to_owned());
                }
            } else {
                run.spins = 0;
            }
        }
        self.settle(place);
    }

    /// Switches a machine on: a new run on whatever its disk holds.
    fn start(&mut self, place: Place) {
        if self.machines[place.0].run.is_some() || self.machines[place.0].is_kept_off {
            return;
        }
        self.processes += 1;
        let process = ProcessId(self.processes);
        let seed = self.dice.seed();
        let instance = Instance { id: self.machines[place.0].id, epoch: self.draw_epoch(place) };
        let setup = self.setup(place, instance, seed);
        let brain = match self.machines[place.0].character {
            Character::Honest | Character::Censor => {
                let now = Now { mono: Mono(BOOT_US), unix_ms: self.machines[place.0].unix_ms(self.now) };
                Brain::Mesh(Box::new(Mesh::new(setup, now)))
            }
            Character::Hostile => {
                self.agenda.push(self.now + Duration::from_millis(300), Event::Act(process));
                let victims = self.honest().into_iter().map(address).collect();
                let Setup { key, epoch, seed, .. } = setup;
                let mut hostile = Hostile::new(key, epoch, address(place), victims, seed);
                if self.plan.hostile_clings {
                    hostile.cling();
                }
                Brain::Hostile(Box::new(hostile))
            }
        };
        let machine = &mut self.machines[place.0];
        machine.disk.begin_run(instance.epoch);
        let mut run = Run::new(process, instance, brain, self.now);
        run.wall_max_ms = machine.unix_ms(self.now);
        run.reads_paused = machine.character == Character::Hostile && self.plan.hostile_clings;
        run.is_restart = std::mem::replace(&mut machine.was_on, true);
        machine.run = Some(run);
        machine.resume_stream();
        self.places.insert(process, place);
        self.network.attach(place, process, instance.id);
        let line = || format!("{} starts with epoch {}", machine.name, instance.epoch.0);
        self.trace.note(self.now, &[b"start", &process.0.to_le_bytes()], line);
        self.settle(place);
    }

    /// `seconds << 20 | 20 random bits`, where the seconds are later than those of every own epoch in the store.
    fn draw_epoch(&mut self, place: Place) -> Epoch {
        let machine = &self.machines[place.0];
        let newest = machine.disk.newest_epoch();
        if let (Some(super::bug::Bug::ReusedNumber), Some(newest)) = (self.plan.bug, newest) {
            return newest;
        }
        self.fresh_epoch(place)
    }

    fn fresh_epoch(&mut self, place: Place) -> Epoch {
        let machine = &self.machines[place.0];
        let newest = machine.disk.newest_epoch();
        // The random bits stay random where the clock is behind: an old disk under a slow clock would give the same
        // epoch twice otherwise.
        let seconds = (machine.unix_ms(self.now) / 1_000).max(newest.map_or(0, |newest| (newest.0 >> 20) + 1));
        Epoch(seconds << 20 | self.dice.between(0, (1 << 20) - 1))
    }

    fn setup(&self, place: Place, instance: Instance, seed: u64) -> Setup {
        let machine = &self.machines[place.0];
        Setup {
            key: machine.key.clone(),
            epoch: instance.epoch,
            config: Config {
                name: machine.name.clone(),
                agent: "p2pd/simulated".to_owned(),
                listen_port: LISTEN_PORT,
                listens_on_loopback: false,
                advertise: Vec::new(),
                peers: self.known_at_start(place),
                max_connections: self.plan.max_connections,
                heartbeat_interval: self.plan.heartbeat_interval,
                heartbeat_timeout: self.plan.heartbeat_timeout,
                full_mesh_max: FULL_MESH_MAX,
                reorder_posts_max: REORDER_POSTS_MAX,
                newest_first_posts: self.plan.newest_first_posts,
                allow: std::collections::BTreeSet::new(),
                block: std::collections::BTreeSet::new(),
            },
            feeds: machine.disk.stored_feeds(),
            forks: machine.disk.forks(),
            next_offset: machine.disk.next_offset(),
            book: machine.disk.book(),
            forgotten: Vec::new(),
            seed,
        }
    }

    fn known_at_start(&self, place: Place) -> Vec<Addr> {
        let before = |back: usize| place.0.checked_sub(back).map(Place);
        let last = Place(self.plan.peers.saturating_sub(1));
        let known: Vec<Option<Addr>> = match self.plan.topology {
            // Whoever comes later asks somebody who stays.
            _ if place > last => vec![Some(address(Place(0)))],
            Topology::Star => vec![(place.0 > 0).then(|| address(Place(0)))],
            Topology::Line => vec![before(1).map(address)],
            Topology::Ring if place.0 == 0 && last.0 > 0 => vec![Some(address(last))],
            Topology::Ring => vec![before(1).map(address)],
            Topology::Chords => vec![before(1).map(name), before(2).map(address)],
        };
        known.into_iter().flatten().collect()
    }

    fn on_store_done(&mut self, process: ProcessId) {
        let Some(place) = self.places.get(&process).copied() else { return };
        let machine = &mut self.machines[place.0];
        let Some(run) = machine.run.as_mut() else { return };
        let space = if machine.disk_full { Space::Full } else { Space::Left };
        let answers = run.store.finish(&mut machine.disk, space);
        for answer in answers {
            if let Some(answer) = self.pass_answer(place, answer) {
                self.feed(process, answer);
            }
        }
        self.kick_store(place);
        self.read_waiting(place);
    }

    /// The user says the next thing after a while.
    fn speak_later(&mut self, session: SessionId) {
        let wait = self.dice.gap(self.plan.think).max(Duration::from_millis(1));
        if self.people.set_due(session) {
            self.agenda.push(self.now + wait, Event::Speak(session));
        }
    }

    fn on_speak(&mut self, session: SessionId) {
        self.people.clear_due(session);
        let place = self.people.place_of(session);
        let Some(process) = self.machines[place.0].run.as_ref().map(|run| run.process) else {
            return self.speak_later(session);
        };
        if self.people.is_busy(session) {
            return;
        }
        let said = if self.in_trouble && self.people.operations().len() < TALK_MAX {
            let posts = self.dice.between(1, self.plan.batch_max);
            let keyed = self.dice.chance(self.plan.keyed);
            Some(self.people.speak(session, Manner { posts, keyed }, &mut self.dice, self.now))
        } else {
            self.people.speak_again(session)
        };
        if let Some((token, posts)) = said {
            self.feed(process, Input::Command(Command::Publish { token, posts }));
        }
    }

    fn on_act(&mut self, process: ProcessId) {
        let Some(place) = self.places.get(&process).copied().filter(|_| self.in_trouble) else { return };
        let machine = &mut self.machines[place.0];
        let (id, unix_ms) = (machine.id, machine.unix_ms(self.now));
        let Some(Brain::Hostile(hostile)) = machine.run.as_mut().map(|run| &mut run.brain) else { return };
        hostile.act(unix_ms);
        for text in hostile.take_spoken() {
            self.people.overhear(id, text);
        }
        self.settle(place);
        let wait = self.dice.gap(Duration::from_millis(400));
        self.agenda.push(self.now + wait, Event::Act(process));
    }
}

/// Where a machine listens.
#[must_use]
pub fn address(place: Place) -> Addr {
    Addr::of(place.ip(), LISTEN_PORT)
}

/// The same by name.
fn name(place: Place) -> Addr {
    format!("peer{}.sim:{LISTEN_PORT}", place.0).parse().expect("letters, digits and dots are a host name")
}

/// What makes an input unlike others, for the fingerprint.
fn fingerprint(input: &Input) -> &[u8] {
    match input {
        Input::LinkOpened(_) => b"opened",
        Input::DialFailed { .. } => b"dial failed",
        Input::Frame { frame, .. } => frame,
        Input::Receiving(_) => b"receiving",
        Input::BadFrame { .. } => b"bad frame",
        Input::Written { .. } => b"written",
        Input::LinkClosed { .. } => b"closed",
        Input::Appended(_) => b"appended",
        Input::AppendFailed { .. } => b"append failed",
        Input::ReadDone { .. } => b"read",
        Input::KeysFound { .. } => b"keys",
        Input::Settled { .. } => b"settled",
        Input::SettleFailed(_) => b"settle failed",
        Input::EpochDrawn(_) => b"epoch",
        Input::LostFound { .. } => b"lost",
        Input::Retained { .. } => b"retained",
        Input::Command(_) => b"command",
    }
}

/// An input in a line of the trace.
fn describe(input: &Input) -> String {
    let cut = |text: String| text.chars().take(LINE_CHARS_MAX).collect();
    match input {
        Input::Frame { link, frame } => cut(format!("link {link}: {}", String::from_utf8_lossy(frame))),
        Input::LinkOpened(opened) => {
            let LinkOpened { link, dial, peer, remote, .. } = opened;
            format!("link {link} opened: {peer:?} at {remote}, dial {dial:?}")
        }
        Input::ReadDone { ticket, envelopes } => format!("{ticket:?}: {} envelopes read", envelopes.len()),
        Input::Retained { feeds } => format!("{} feeds retained", feeds.len()),
        Input::KeysFound { ticket, posts } => format!("{ticket:?}: {} keys looked up", posts.len()),
        Input::Settled { ticket, settled } => {
            format!("{ticket:?}: {} posts set aside, {:?} left", settled.posts, settled.left.runs.tip())
        }
        Input::LostFound { ticket, posts } => format!("{ticket:?}: {} posts to say again", posts.len()),
        Input::DialFailed { .. }
        | Input::Receiving(_)
        | Input::BadFrame { .. }
        | Input::Written { .. }
        | Input::LinkClosed { .. }
        | Input::Appended(_)
        | Input::AppendFailed { .. }
        | Input::SettleFailed(_)
        | Input::EpochDrawn(_)
        | Input::Command(_) => cut(format!("{input:?}")),
    }
}

const FULL_MESH_MAX: usize = 32;
/// The default of `dedup_cache_size`.
const REORDER_POSTS_MAX: usize = 256;
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// More than this shows nothing new.
const VIOLATIONS_MAX: usize = 20;
/// Users fall silent after so many posts, so that no schedule takes long; floods come on top.
const TALK_MAX: usize = 300;
const EFFECTS_MAX: usize = 100_000;
const SPINS_MAX: u32 = 1_000;
const BOOT_US: u64 = 1_000;
const LINE_CHARS_MAX: usize = 400;
