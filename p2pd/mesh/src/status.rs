//! What the mesh tells of itself when asked.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{Epoch, Hash, Instance, Offset, PeerId, PostId, Seq};
use crate::membership::record::Addr;
use crate::wire::message::Digest;

/// The mesh as a whole.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This run, as it is called now; none before there is one.
    pub instance: Option<Instance>,
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
    /// Own posts that no other peer is known to hold: a gauge.
    pub unacked_own_posts: u64,
    /// Authors that used a number twice, with the lowest such number of each feed; at most `FORKS_SHOWN_MAX`.
    pub forks: Vec<(Instance, Seq)>,
    /// How many feeds have such a number.
    pub feeds_forked: usize,
    /// Posts known to have existed, and wanted here, that nobody linked holds any more.
    pub unavailable_posts: u64,
    /// Whether other runs of this identity are linked.
    pub other_instances: usize,
    /// Counters since the start, by metric name without the prefix `p2p_`.
    pub counters: BTreeMap<&'static str, u64>,
    /// Links that are up and that we dialed.
    pub links_outbound: usize,
    /// Links that are up and that the other side dialed.
    pub links_inbound: usize,
    /// Round trips of heartbeats.
    pub rtt: Histogram,
    /// From the author's clock to the store here, once for each envelope that was pushed when it was new. The clock of an
    /// author that is linked is corrected by its difference to ours.
    pub delivery: Histogram,
}

/// Who is linked to whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Graph {
    /// This peer first, then everybody it knows in the order of ids.
    pub peers: Vec<GraphPeer>,
}

/// One peer and its neighbors.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GraphPeer {
    /// Who.
    pub id: PeerId,
    /// Whom it says it is linked to, of those that are known here; none where it is not linked to us.
    pub neighbors: Option<BTreeSet<PeerId>>,
    /// How many more it names.
    pub strangers: usize,
}

/// How often something took how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    counts: [u64; SPANS_US.len()],
    longer: u64,
    sum_us: u64,
}

impl Histogram {
    /// It took this many microseconds once more.
    pub fn observe(&mut self, us: u64) {
        let at = SPANS_US.partition_point(|span| *span < us);
        *self.counts.get_mut(at).unwrap_or(&mut self.longer) += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How often it took at most so many microseconds and longer than the span before, from the shortest on.
    pub fn spans(&self) -> impl Iterator<Item = (u64, u64)> {
        SPANS_US.into_iter().zip(self.counts)
    }

    /// How often it took longer than the longest span.
    #[must_use]
    pub fn longer(&self) -> u64 {
        self.longer
    }

    /// How often it was observed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.longer
    }

    /// All of it together, microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

/// How much there is of something that must not grow without end, and how much there may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// What is counted.
    pub what: &'static str,
    /// How much there is.
    pub len: usize,
    /// How much there may be.
    pub max: usize,
}

impl Count {
    pub(crate) fn new(what: &'static str, len: usize, max: usize) -> Self {
        Self { what, len, max }
    }

    /// There is more than there may be.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.len > self.max
    }
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
    /// Posts we hold that it is not known to hold, without those that it dropped.
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
    /// Where it was dialed last somebody else was, with another key.
    pub met_other: bool,
    /// Its clock minus ours, microseconds.
    pub clock_offset_us: i64,
    /// Configured or added by hand.
    pub configured: bool,
    /// Runs of this identity that are linked.
    pub instances: usize,
    /// Feeds of it in which a number was used twice.
    pub forks: usize,
    /// When something last arrived from it, milliseconds since 1970; 0 for never.
    pub last_seen_ms: u64,
}

impl PeerStatus {
    /// Somebody of whom nothing is known but how the way to him is.
    #[must_use]
    pub fn unknown(state: PeerState) -> Self {
        Self {
            id: None,
            name: String::new(),
            state,
            since_ms: 0,
            rtt_us: None,
            behind: 0,
            address: String::new(),
            addresses: Vec::new(),
            outbound: true,
            epoch: None,
            agent: String::new(),
            bytes_sent: 0,
            bytes_received: 0,
            posts_received: 0,
            posts_duplicate: 0,
            queue_bytes: 0,
            tries: 0,
            next_dial_ms: None,
            last_error: String::new(),
            met_other: false,
            clock_offset_us: 0,
            configured: false,
            instances: 0,
            forks: 0,
            last_seen_ms: 0,
        }
    }
}

/// Who holds one post.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// Which post.
    pub post: PostId,
    /// It is stored here.
    pub held: bool,
    /// Every other peer that is known, in the order of ids.
    pub holders: Vec<Holder>,
}

/// What is known of one peer and one post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Who.
    pub peer: PeerId,
    /// Whether it holds the post.
    pub state: HolderState,
    /// When something last arrived from it, milliseconds since 1970; 0 for never.
    pub last_seen_ms: u64,
}

/// Whether a peer holds a post.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HolderState {
    /// It said so, on a link of now or of this run.
    Holds,
    /// The post was handed to its link; no word of it yet.
    Sent,
    /// Linked, and the post was not handed to its link.
    Linked,
    /// Not linked, and not known to hold it.
    Away,
}

/// What is held of each author, what is known to exist, and who agrees.
#[derive(Clone, Debug, Default)]
pub struct SyncState {
    /// Every feed whose author is known, in the order of author and epoch.
    pub feeds: Vec<FeedSync>,
    /// Linked peers, in the order of ids.
    pub peers: Vec<PeerSync>,
    /// A fingerprint of the ends of all feeds.
    pub digest: Digest,
    /// Posts held.
    pub posts: u64,
    /// Posts that a linked peer holds and that are not stored here yet.
    pub missing_posts: u64,
    /// Posts known to have existed that no linked peer holds any more.
    pub unavailable_posts: u64,
    /// Nothing is missing, and every linked peer was compared with since its link came up or a user asked for it.
    pub is_synced: bool,
}

/// One run of one author.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FeedSync {
    /// Author and epoch.
    pub feed: Instance,
    /// Posts held.
    pub have: u64,
    /// The first number held; 0 for none.
    pub floor: Seq,
    /// The last number held; 0 for none.
    pub head: Seq,
    /// The last number that anybody is known to hold.
    pub known_head: Seq,
    /// What is missing between what is kept and the known head; the first of very many.
    pub holes: Vec<Hole>,
    /// The hash of its newest envelope held.
    pub hash: Option<Hash>,
    /// Linked peers that hold all that is held here.
    pub agree: usize,
    /// Its author used a number twice.
    pub is_forked: bool,
    /// Written by this identity.
    pub is_own: bool,
}

/// Numbers that are missing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hole {
    /// The first.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// No linked peer holds them any more.
    pub is_unavailable: bool,
}

/// How the history of one linked peer compares with ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerSync {
    /// Who.
    pub peer: PeerId,
    /// Posts held here that it is not known to hold, without those that it dropped.
    pub behind: u64,
    /// Posts it is known to hold that are not here.
    pub ahead: u64,
    /// Digests were compared since the link came up or a user asked for it.
    pub is_compared: bool,
    /// The last digests that were compared were equal.
    pub is_equal: bool,
}

/// From a flush on a fast disk or a round trip on one machine to what people call down. A decade has three.
const SPANS_US: [u64; 18] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000, 60_000_000,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_observation_once() {
        let mut histogram = Histogram::default();
        for us in [0, 100, 101, 60_000_000, 60_000_001, u64::MAX] {
            histogram.observe(us);
        }
        let counts: Vec<(u64, u64)> = histogram.spans().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(100, 2), (250, 1), (60_000_000, 1)]);
        assert_eq!((histogram.longer(), histogram.count(), histogram.sum_us()), (2, 6, u64::MAX));
        assert!(SPANS_US.is_sorted());
    }
}
