//! One machine: identity, disk and wall clock that outlive the process, and the process that runs now.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ed25519_dalek::SigningKey;
use p2p_mesh::effect::{Delivery, Effect};
use p2p_mesh::id::{DialId, FeedId, Instance, LinkId, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::{Input, Ticket};
use p2p_mesh::mesh::Mesh;
use p2p_mesh::time::{Mono, Now};

use super::disk::{Disk, Entry, Store};
use super::hostile::Hostile;
use super::network::{Place, ProcessId};
use crate::checker::{History, Shown};

/// One machine.
#[derive(Debug)]
pub struct Machine {
    /// Where it is.
    pub place: Place,
    /// What it is called in traces.
    pub name: String,
    /// Its peer's identity.
    pub key: SigningKey,
    /// The same, as others see it.
    pub id: PeerId,
    /// How its peer behaves.
    pub character: Character,
    /// What outlives the process.
    pub disk: Disk,
    /// A backup of the disk, to be restored one day.
    pub backup: Option<Disk>,
    /// Its wall clock minus the true one.
    pub clock_offset_ms: i64,
    /// No append succeeds.
    pub disk_full: bool,
    /// Flushes take this many times longer.
    pub disk_slowness: u32,
    /// The process.
    pub run: Option<Run>,
    /// Nothing that was due before starts it.
    pub is_kept_off: bool,
    /// It ran at least once.
    pub was_on: bool,
    /// What readers were shown: one stream for each life of the disk.
    pub streams: Vec<History>,
}

/// How a peer behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Character {
    /// As the protocol says.
    Honest,
    /// The same, but it passes on nothing of others.
    Censor,
    /// As it likes.
    Hostile,
}

/// A running process.
#[derive(Debug)]
pub struct Run {
    /// Its name in this world.
    pub process: ProcessId,
    /// The run, as the mesh names it.
    pub instance: Instance,
    /// What decides.
    pub brain: Brain,
    /// The thread in front of the disk.
    pub store: Store,
    /// The next moment that the brain asked for.
    pub timer_at: Option<Mono>,
    /// It was told to leave, and ends soon.
    pub leaving: bool,
    /// It stands still: inputs wait.
    pub stalled: bool,
    /// It reads nothing from links.
    pub reads_paused: bool,
    /// It reads this many bytes at a time, and then rests.
    pub read_pace: Option<(usize, Duration)>,
    /// What waits while it stands still.
    pub inbox: VecDeque<Input>,
    /// Links with something to read.
    pub unread: BTreeSet<LinkId>,
    /// Links that are open, as it was told.
    pub open: BTreeSet<LinkId>,
    /// Links that are up, as it says.
    pub up: BTreeMap<LinkId, Instance>,
    /// Dials without an answer.
    pub dials: BTreeSet<DialId>,
    /// Bytes sent and not yet written.
    pub in_flight: BTreeMap<LinkId, usize>,
    /// Appends without an answer, and their bytes.
    pub unstored: BTreeMap<Ticket, usize>,
    /// Appends that were answered before their time: only with a bug.
    pub answered_early: BTreeSet<Ticket>,
    /// Numbers that a bug remembers without reason.
    pub remembered: BTreeSet<(FeedId, Seq)>,
    /// The highest number of each feed that readers were shown.
    pub heads_shown: BTreeMap<FeedId, Seq>,
    /// Times that a timer was due again at once.
    pub spins: u32,
    /// The highest that its wall clock ever was.
    pub wall_max_ms: u64,
    /// The wall clock is told to be at least this: only with a bug.
    pub clock_told_ms: u64,
    /// The machine ran before.
    pub is_restart: bool,
    /// The disk refused something since the last append that it took.
    pub was_refused: bool,
    /// Dials of this run that failed.
    pub dials_failed: u32,
    /// When its clock began.
    pub born: Mono,
}

/// What decides in a process.
#[derive(Debug)]
pub enum Brain {
    /// The real core.
    Mesh(Box<Mesh>),
    /// A breaker of rules.
    Hostile(Box<Hostile>),
}

impl Machine {
    /// A machine that is switched off, with an empty disk.
    #[must_use]
    pub fn new(place: Place, name: String, key: SigningKey, character: Character) -> Self {
        let id = PeerId(key.verifying_key().to_bytes());
        let streams = vec![History { peer: name.clone(), ..History::default() }];
        Self {
            place,
            name,
            key,
            id,
            character,
            disk: Disk::default(),
            backup: None,
            clock_offset_ms: 0,
            disk_full: false,
            disk_slowness: 1,
            run: None,
            is_kept_off: false,
            was_on: false,
            streams,
        }
    }

    /// It does what the protocol says, and its history must end like everybody's.
    #[must_use]
    pub fn is_honest(&self) -> bool {
        self.character == Character::Honest
    }

    /// Its wall clock.
    #[must_use]
    pub fn unix_ms(&self, now: Mono) -> u64 {
        (BEGIN_UNIX_MS + now.0 / 1_000).saturating_add_signed(self.clock_offset_ms)
    }

    /// What a process on it calls now.
    #[must_use]
    pub fn now(&self, now: Mono) -> Now {
        let mono = self.run.as_ref().map_or(now, |run| run.mono(now));
        Now { mono, unix_ms: self.unix_ms(now) }
    }

    /// Readers are shown an envelope.
    pub fn show(&mut self, delivery: &Delivery) {
        if let Some(stream) = self.streams.last_mut() {
            stream.posts.extend(shown(delivery.offset, delivery.envelope.body(), delivery.late, false));
        }
    }

    /// Readers that survived the process go on behind the last offset they have.
    pub fn resume_stream(&mut self) {
        let Some(stream) = self.streams.last_mut() else { return };
        let after = stream.posts.last().map_or(Offset(0), |post| post.offset);
        let missed = self.disk.log().iter().flat_map(Entry::shown);
        stream.posts.extend(missed.filter(|post| post.offset > after));
    }

    /// Readers died with the machine: the next ones begin at the first offset.
    pub fn begin_stream(&mut self) {
        let peer = format!("{}#{}", self.name, self.streams.len());
        self.streams.push(History { peer, ..History::default() });
    }

    /// What readers were shown, with the marks that it has by now.
    #[must_use]
    pub fn marked(&self, stream: &History) -> History {
        let forked = self.disk.log().iter().filter(|entry| entry.forked);
        let forked = forked.map(|entry| (entry.offset, entry.envelope.body().posts.len() as u64));
        let forked: BTreeMap<Offset, u64> = forked.collect();
        let is_forked = |offset: Offset| {
            let before = forked.range(..=offset).next_back();
            before.is_some_and(|(first, count)| offset.0 < first.0 + count)
        };
        let mut marked = stream.clone();
        marked.posts.iter_mut().for_each(|post| post.forked = is_forked(post.offset));
        marked
    }

    /// All it holds.
    #[must_use]
    pub fn history(&self) -> History {
        let posts = self.disk.log().iter().flat_map(Entry::shown);
        History { peer: self.name.clone(), posts: posts.collect(), ..History::default() }
    }
}

impl Run {
    /// A process that begins.
    #[must_use]
    pub fn new(process: ProcessId, instance: Instance, brain: Brain, born: Mono) -> Self {
        Self {
            process,
            instance,
            brain,
            store: Store::default(),
            timer_at: None,
            leaving: false,
            stalled: false,
            reads_paused: false,
            read_pace: None,
            inbox: VecDeque::new(),
            unread: BTreeSet::new(),
            open: BTreeSet::new(),
            up: BTreeMap::new(),
            dials: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            unstored: BTreeMap::new(),
            answered_early: BTreeSet::new(),
            remembered: BTreeSet::new(),
            heads_shown: BTreeMap::new(),
            spins: 0,
            wall_max_ms: 0,
            clock_told_ms: 0,
            is_restart: false,
            was_refused: false,
            dials_failed: 0,
            born,
        }
    }

    /// So much waits for the store that nothing is read from links for now.
    #[must_use]
    pub fn is_saturated(&self) -> bool {
        self.brain.mesh().is_some_and(Mesh::is_saturated)
    }

    /// The process's own monotonic clock.
    #[must_use]
    pub fn mono(&self, now: Mono) -> Mono {
        Mono(now.0.saturating_sub(self.born.0) + BOOT_US)
    }

    /// The world's time of a moment of that clock.
    #[must_use]
    pub fn world_time(&self, mono: Mono) -> Mono {
        Mono((mono.0 + self.born.0).saturating_sub(BOOT_US))
    }
}

impl Brain {
    /// Something happened.
    pub fn handle(&mut self, input: Input, now: Now) {
        match self {
            Self::Mesh(mesh) => mesh.handle(input, now),
            Self::Hostile(hostile) => hostile.handle(input, now.unix_ms),
        }
    }

    /// What shall be done next.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        match self {
            Self::Mesh(mesh) => mesh.poll_effect(),
            Self::Hostile(hostile) => hostile.poll_effect(),
        }
    }

    /// The real core, where it is one.
    #[must_use]
    pub fn mesh(&self) -> Option<&Mesh> {
        match self {
            Self::Mesh(mesh) => Some(mesh),
            Self::Hostile(_) => None,
        }
    }
}

impl Entry {
    fn shown(&self) -> impl Iterator<Item = Shown> {
        shown(self.offset, self.envelope.body(), self.late, self.forked)
    }
}

fn shown(offset: Offset, body: &p2p_mesh::envelope::Body, late: bool, forked: bool) -> impl Iterator<Item = Shown> {
    let name = move |(index, post): (u64, &p2p_mesh::envelope::Post)| Shown {
        offset: Offset(offset.0 + index),
        id: PostId { feed: body.feed, seq: body.first.plus(index) },
        key: post.key.as_deref().map(str::to_owned),
        room: post.room.to_string(),
        text: post.text.to_string(),
        was: post.was.as_deref().copied(),
        forked,
        late,
    };
    (0u64..).zip(&body.posts).map(name)
}

/// The true time when every world begins.
const BEGIN_UNIX_MS: u64 = 1_763_792_485_000;
/// Processes read clocks that began before them.
const BOOT_US: u64 = 1_000;
