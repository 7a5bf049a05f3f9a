//! Disks that fail under real daemons: kills, power cuts, damage, no room, no flush, odd folders, odd clocks.

#![allow(clippy::unwrap_used)]

mod backup;
mod clocks;
mod cuts;
mod damage;
mod flush;
mod folders;
mod full;
mod kills;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p2p_tests::daemon::{Network, TestPeer};
use p2p_tests::ledger::Ledger;
use p2p_tests::program::{Output, run};

/// Where the data directory of a peer will be, so that something can be mounted there before it starts.
fn data_dir(network: &Network, name: &str) -> PathBuf {
    let dir = network.dir().join(name).join("data");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// How often something is done: `P2P_DISK_ROUNDS` asks for more than fits into everybody's day.
fn rounds(usual: u64) -> u64 {
    env::var("P2P_DISK_ROUNDS").map_or(usual, |rounds| rounds.parse().unwrap())
}

/// Of all chance in a test. `P2P_DISK_SEED` repeats a run, as far as processes can be repeated.
fn seed() -> u64 {
    let seed = env::var("P2P_DISK_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    eprintln!("P2P_DISK_SEED={seed}");
    seed
}

/// Looks at what came behind `seen`: everything that was acknowledged since the last look is there. Says how far it
/// looked.
#[track_caller]
fn look(peer: &TestPeer, ledger: &mut Ledger, seen: u64) -> u64 {
    let posts = peer.posts_behind(seen);
    ledger.check_kept(&posts);
    posts.last().map_or(seen, |post| post.offset)
}

/// A peer that is ended at any moment, and what its people were told.
struct Ended {
    peer: TestPeer,
    ledger: Ledger,
    /// How often, in all.
    rounds: u64,
    seen: u64,
    slowest_start: Duration,
}

impl Ended {
    fn new(peer: TestPeer, seed: u64) -> Self {
        let ledger = Ledger::new(&peer, seed);
        Self { peer, ledger, rounds: rounds(300), seen: 0, slowest_start: Duration::ZERO }
    }

    /// It comes back, and shows what was acknowledged.
    #[track_caller]
    fn restart(&mut self) {
        let begin = Instant::now();
        self.peer.restart();
        self.slowest_start = self.slowest_start.max(begin.elapsed());
        self.seen = look(&self.peer, &mut self.ledger, self.seen);
    }

    /// All is there, and what was ended so often was at work.
    #[track_caller]
    fn check(&mut self, ends: &str) {
        let Self { peer, ledger, rounds, slowest_start, .. } = self;
        ledger.check(&[peer]);
        let (acknowledged, unanswered) = (ledger.acknowledged(), ledger.unanswered());
        eprintln!(
            "{rounds} {ends}, {acknowledged} acknowledged, {unanswered} unanswered, slowest start {slowest_start:?}"
        );
        assert!(acknowledged as u64 > *rounds, "hardly anything was said, so nothing was shown: {acknowledged}");
        assert!(unanswered as u64 > *rounds / 10, "hardly any of the {ends} came in the middle: {unanswered}");
    }
}

/// Runs `p2pd` on a data directory where it is expected to end by itself.
#[track_caller]
fn p2pd(network: &Network, data_dir: &Path) -> Output {
    let api = format!("unix:{}", network.dir().join("p2pd.sock").display());
    let mut command = network.p2pd();
    command.args(["-l", "127.0.0.1:0", "--api", &api, "--data-dir"]).arg(data_dir);
    run(command.env("P2P_NETWORK_SECRET_FILE", network.dir().join("network.key")), b"")
}
