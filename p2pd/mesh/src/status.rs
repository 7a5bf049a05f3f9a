//! What the mesh tells of itself when asked.

use std::collections::BTreeMap;

use crate::id::{Epoch, Offset, PeerId};
use crate::membership::record::Addr;
use crate::wire::message::Digest;

/// The mesh as a whole.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// What others are told.
    pub advertise: Vec<Addr>,
    /// Peers with a link that is up.
    pub peers_up: usize,
    /// Peers known, linked or not, this one not included.
    pub peers_known: usize,
    /// Addresses from the configuration or added by hand.
    pub addrs_configured: usize,
    /// The last offset given to a stored post.
    pub offset: Offset,
    /// A fingerprint of everything stored.
    pub digest: Digest,
    /// Posts held.
    pub posts: u64,
    /// Posts that somebody linked holds and that are wanted here.
    pub missing_posts: u64,
    /// Posts missing here that nobody linked holds any more.
    pub unavailable_posts: u64,
    /// Whether other runs of this identity are linked.
    pub other_instances: usize,
    /// Counters since the start, by metric name without the prefix `p2p_`.
    pub counters: BTreeMap<&'static str, u64>,
}

/// How a peer is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerState {
    /// Linked and answering.
    Up,
    /// Linked, and silent for longer than it should be.
    Suspect,
    /// Being dialed.
    Dialing,
    /// Waiting before the next dial.
    Waiting,
    /// Not linked and not to be dialed.
    Down,
}

/// One peer, or one configured address that never answered.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Who; none for an address that never answered.
    pub id: Option<PeerId>,
    /// The name it gives itself.
    pub name: String,
    /// How it is doing.
    pub state: PeerState,
    /// When that began, milliseconds since 1970.
    pub since_ms: u64,
    /// Smoothed round-trip time, microseconds.
    pub rtt_us: Option<u64>,
    /// Posts we hold that it is not known to hold.
    pub behind: u64,
    /// The address in use, or the one to be dialed next.
    pub address: String,
    /// All its addresses.
    pub addresses: Vec<Addr>,
    /// We dialed.
    pub outbound: bool,
    /// Its current run.
    pub epoch: Option<Epoch>,
    /// Program and version it says it runs.
    pub agent: String,
    /// Bytes of frames sent to it.
    pub bytes_sent: u64,
    /// Bytes of frames that came from it.
    pub bytes_received: u64,
    /// Posts that it brought first.
    pub posts_received: u64,
    /// Posts that it brought again.
    pub posts_duplicate: u64,
    /// Bytes encoded for it and not yet written.
    pub queue_bytes: u64,
    /// Dials that failed since the last link.
    pub tries: u32,
    /// Milliseconds until the next dial.
    pub next_dial_ms: Option<u64>,
    /// Why the last link or dial ended.
    pub last_error: String,
    /// Its clock minus ours, microseconds.
    pub clock_offset_us: i64,
    /// Configured or added by hand.
    pub configured: bool,
    /// Runs of this identity that are linked.
    pub instances: usize,
    /// When something last arrived from it, milliseconds since 1970; 0 for never.
    pub last_seen_ms: u64,
}
