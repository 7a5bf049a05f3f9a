//! The user's choices that the mesh acts on, and what it needs to begin.

use std::collections::BTreeSet;
use std::time::Duration;

use ed25519_dalek::SigningKey;

use crate::feed::StoredFeed;
use crate::fork::ForkProof;
use crate::id::{Epoch, Offset, PeerId};
use crate::membership::record::{Addr, Record};

/// The user's choices.
#[derive(Clone, Debug)]
pub struct Config {
    /// How others see this peer, beside its key.
    pub name: String,
    /// Program and version, shown to others.
    pub agent: String,
    /// The port that this peer listens at; joined to the addresses its links have, to tell others.
    pub listen_port: u16,
    /// It listens on loopback only, so that only loopback addresses are told.
    pub listens_on_loopback: bool,
    /// What others are told instead of what the links show.
    pub advertise: Vec<Addr>,
    /// Dialed for ever.
    pub peers: Vec<Addr>,
    /// Links at a time.
    pub max_connections: usize,
    /// Silence after which a link is asked whether it lives.
    pub heartbeat_interval: Duration,
    /// How long the answer may take.
    pub heartbeat_timeout: Duration,
    /// Up to this many other peers, everybody links to everybody.
    pub full_mesh_max: usize,
    /// Posts held per feed beyond a gap while it is filled.
    pub reorder_posts_max: usize,
    /// Posts that a feed may be behind and is still fetched in order, not the newest first: `NEWEST_FIRST_POSTS`.
    pub newest_first_posts: u64,
    /// Only these may link; empty means everybody of the network.
    pub allow: BTreeSet<PeerId>,
    /// These may not link.
    pub block: BTreeSet<PeerId>,
}

/// Everything the mesh begins with.
#[derive(Debug)]
pub struct Setup {
    /// This peer's identity.
    pub key: SigningKey,
    /// This run: greater than every own epoch in the store.
    pub epoch: Epoch,
    /// The user's choices.
    pub config: Config,
    /// What the store holds.
    pub feeds: Vec<StoredFeed>,
    /// The forks that the store knows of, settled.
    pub forks: Vec<ForkProof>,
    /// The offset after the last one that was ever given out.
    pub next_offset: Offset,
    /// The address book, with the time each peer was last linked (milliseconds since 1970; 0 for never).
    pub book: Vec<(Record, u64)>,
    /// Peers that the user forgot, with the newest revision of their records that was known.
    pub forgotten: Vec<(PeerId, u64)>,
    /// For jitter and choices. The same seed gives the same run.
    pub seed: u64,
}
