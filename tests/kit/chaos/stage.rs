//! Six peers in a network, and everything that can be done to them.

use std::path::Path;

use p2p_proto::v1::StatusResponse;
use rustix::process::Signal;

use super::backend::Backend;
use super::disk::Disk;
use super::footprint::Footprint;
use super::people::Home;
use super::plan::DISK_PEER;
use super::ways::{Cuts, NAMES, PEERS, Ways};
use crate::checker::Violation;
use crate::daemon::{Network, Options, TestPeer};

/// Six peers.
///
/// What is first here goes first: daemons before their disk, their network and their folder.
#[derive(Debug)]
pub struct Stage {
    peers: Vec<Actor>,
    disk: Option<Disk>,
    is_disk_full: bool,
    cuts: Cuts,
    backend: Backend,
    network: Network,
    violations: Vec<Violation>,
}

#[derive(Debug)]
struct Actor {
    peer: TestPeer,
    life: Life,
    footprint: Footprint,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Runs,
    Paused,
    Gone,
}

impl Stage {
    /// Starts them; in namespaces in the topology of the README.
    ///
    /// # Panics
    ///
    /// One does not start.
    #[must_use]
    pub fn start(backend: Backend) -> Self {
        let network = Network::new();
        let disk = Disk::mount(&network.dir().join(NAMES[DISK_PEER]).join("data"));
        let mut stage = Self {
            peers: Vec::new(),
            disk,
            is_disk_full: false,
            cuts: Cuts::default(),
            backend,
            network,
            violations: Vec::new(),
        };
        for (place, name) in NAMES.into_iter().enumerate() {
            let options = Options { name: name.to_owned(), ..Options::default() };
            let peer = stage.network.start_with(stage.backend.place(place, options));
            stage.backend.on_started(place, &peer);
            stage.peers.push(Actor { peer, life: Life::Runs, footprint: Footprint::default() });
        }
        stage
    }

    /// As their users see them.
    ///
    /// # Panics
    ///
    /// An id that a daemon wrote is none.
    #[must_use]
    pub fn homes(&self) -> Vec<Home> {
        let home = |(place, actor): (usize, &Actor)| Home {
            name: NAMES[place].to_owned(),
            author: actor.peer.id().parse().expect("an id in the ready file"),
            socket: actor.peer.socket(),
        };
        self.peers.iter().enumerate().map(home).collect()
    }

    /// The daemons.
    pub fn peers(&self) -> impl Iterator<Item = &TestPeer> {
        self.peers.iter().map(|actor| &actor.peer)
    }

    /// Their folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.network.dir()
    }

    /// What the names begin with that the system knows of their network, if any.
    #[must_use]
    pub fn prefix(&self) -> Option<String> {
        self.backend.prefix()
    }

    /// There is a disk that can be full.
    #[must_use]
    pub fn has_small_disk(&self) -> bool {
        self.disk.is_some()
    }

    /// The state of all that run; none if one does not.
    #[must_use]
    pub fn statuses(&mut self) -> Option<Vec<StatusResponse>> {
        self.note_ends();
        self.is_complete().then(|| self.peers().map(TestPeer::status).collect())
    }

    /// Every peer runs.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.peers.iter().all(|actor| actor.life == Life::Runs)
    }

    /// A fault makes its ways, whatever it made before.
    pub fn cut(&mut self, fault: usize, ways: Ways) {
        self.cuts.set(fault, ways);
        self.backend.apply(&self.cuts.worst());
    }

    /// `kill -9`.
    pub fn kill(&mut self, place: usize) {
        self.measure(place);
        let actor = &mut self.peers[place];
        actor.peer.kill_9();
        actor.life = Life::Gone;
    }

    /// `SIGTERM`; its end must be a clean one.
    pub fn stop(&mut self, place: usize) {
        self.measure(place);
        let actor = &mut self.peers[place];
        match actor.life {
            Life::Gone => return,
            Life::Paused => actor.peer.resume(),
            Life::Runs => (),
        }
        let status = actor.peer.stop();
        actor.life = Life::Gone;
        if status.code() != Some(0) {
            self.blame(place, format!("it ended with {status} after SIGTERM"));
        }
        if self.peers[place].peer.socket().exists() {
            self.blame(place, "its socket is still there after its end".to_owned());
        }
    }

    /// Starts it if it does not run, with a clock that is so many seconds off.
    ///
    /// # Panics
    ///
    /// It does not start.
    pub fn start_again(&mut self, place: usize, askew: Option<i64>) {
        let is_on_full_disk = place == DISK_PEER && self.is_disk_full;
        let actor = &mut self.peers[place];
        if actor.life != Life::Gone || is_on_full_disk {
            return;
        }
        actor.peer.set_env(askew.map(fake_time).unwrap_or_default());
        actor.peer.restart();
        actor.life = Life::Runs;
        self.backend.on_started(place, &self.peers[place].peer);
    }

    /// `SIGSTOP`.
    pub fn pause(&mut self, place: usize) {
        let actor = &mut self.peers[place];
        if actor.life == Life::Runs {
            actor.peer.pause();
            actor.life = Life::Paused;
        }
    }

    /// `SIGCONT`.
    pub fn resume(&mut self, place: usize) {
        let actor = &mut self.peers[place];
        if actor.life == Life::Paused {
            actor.peer.resume();
            actor.life = Life::Runs;
        }
    }

    /// `SIGHUP`.
    pub fn hangup(&self, place: usize) {
        let actor = &self.peers[place];
        if actor.life == Life::Runs {
            actor.peer.signal(Signal::HUP);
        }
    }

    /// Resets what is between two peers.
    pub fn reset(&self, one: usize, two: usize, bytes: u64) {
        self.backend.reset(one, two, bytes);
    }

    /// So many bits a second for a peer.
    pub fn slow(&self, place: usize, bits: Option<u32>) {
        self.backend.slow(place, bits);
    }

    /// Fills the small disk, where there is one.
    pub fn fill_disk(&mut self) {
        self.is_disk_full = self.disk.is_some();
        self.disk.iter().for_each(Disk::fill);
    }

    /// Makes room on it.
    pub fn free_disk(&mut self) {
        self.disk.iter().for_each(Disk::free);
        self.is_disk_full = false;
    }

    /// Nothing is wrong any more, and everybody runs.
    pub fn heal(&mut self) {
        self.cuts = Cuts::default();
        self.backend.apply(&Ways::default());
        self.free_disk();
        self.note_ends();
        for place in 0..PEERS {
            self.slow(place, None);
            self.resume(place);
            self.start_again(place, None);
        }
    }

    /// What each took at most, and what of that is too much.
    #[must_use]
    pub fn footprint(&mut self) -> Footprint {
        let mut most = Footprint::default();
        for place in 0..PEERS {
            self.measure(place);
            let footprint = self.peers[place].footprint;
            most = most.max(footprint);
            if let Some(excess) = footprint.excess() {
                self.blame(place, excess);
            }
        }
        most
    }

    /// What went wrong with the daemons themselves.
    #[must_use]
    pub fn take_violations(&mut self) -> Vec<Violation> {
        self.note_ends();
        for place in 0..PEERS {
            let log = self.peers[place].peer.log();
            if let Some(line) = log.lines().find(|line| line.contains("panicked")) {
                self.blame(place, format!("it panicked: {line}"));
            }
        }
        std::mem::take(&mut self.violations)
    }

    /// A daemon that ended and was not told to.
    fn note_ends(&mut self) {
        for place in 0..PEERS {
            let actor = &mut self.peers[place];
            if actor.life == Life::Gone {
                continue;
            }
            if let Some(status) = actor.peer.ended() {
                actor.life = Life::Gone;
                self.blame(place, format!("it ended by itself: {status}"));
            }
        }
    }

    fn measure(&mut self, place: usize) {
        let actor = &mut self.peers[place];
        let now = Footprint::of(actor.peer.pid(), &actor.peer.data_dir());
        actor.footprint = actor.footprint.max(now);
    }

    fn blame(&mut self, place: usize, what: String) {
        self.violations.push(Violation::Invariant { peer: NAMES[place].to_owned(), what });
    }
}

/// What makes a program see another time; nothing where the library is not there.
fn fake_time(seconds: i64) -> Vec<(String, String)> {
    let Some(library) = fake_time_library() else { return Vec::new() };
    let env = [
        ("LD_PRELOAD", library.to_owned()),
        ("FAKETIME", format!("{seconds:+}s")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    env.map(|(key, value)| (key.to_owned(), value)).into()
}

/// libfaketime, where it is installed.
#[must_use]
pub fn fake_time_library() -> Option<&'static str> {
    LIBRARIES.iter().copied().find(|path| Path::new(path).exists())
}

const LIBRARIES: &[&str] =
    &["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
