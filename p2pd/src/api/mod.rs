//! The local API: gRPC on a unix socket and on loopback.

use p2p_mesh::effect::{Delivery, Refusal, Sent};
use p2p_mesh::id::{Offset, PeerId};
use p2p_mesh::input::Draft;
use p2p_mesh::membership::record::Addr;
use p2p_mesh::status::{PeerStatus, Status};
use tokio::sync::oneshot;

use crate::query::{HistoryQuery, LogPage, RoomSummary, StoredPost};

/// What the API asks the driver.
#[derive(Debug)]
pub enum Request {
    /// Say something. The answer comes when it is flushed: one result per draft.
    Publish {
        /// In order.
        drafts: Vec<Draft>,
        /// Gets the answer.
        reply: oneshot::Sender<Vec<Result<Sent, Refusal>>>,
    },
    /// The mesh as a whole.
    Status(oneshot::Sender<Status>),
    /// Every peer.
    Peers(oneshot::Sender<Vec<PeerStatus>>),
    /// Dial an address for ever.
    AddPeer(Addr, oneshot::Sender<()>),
    /// Drop a peer; answers whether it was known.
    ForgetPeer(PeerId, oneshot::Sender<bool>),
    /// Drop a configured address; answers whether it was there.
    ForgetAddr(Addr, oneshot::Sender<bool>),
    /// End waiting; answers how many dials that brings.
    Reconnect(Option<PeerId>, oneshot::Sender<u32>),
    /// Heartbeat a peer; answers the round-trip time in microseconds, none if it is not linked or goes away.
    Ping(PeerId, oneshot::Sender<Option<u64>>),
    /// A run of the log.
    ReadLog {
        /// The last offset that the reader has.
        after: Offset,
        /// Stop behind this many posts.
        posts_max: usize,
        /// Stop behind this many bytes.
        bytes_max: usize,
        /// Gets the answer.
        reply: oneshot::Sender<Result<LogPage, String>>,
    },
    /// The offset behind which the last matching posts stand.
    FindLast {
        /// Only these rooms; all where it is empty.
        rooms: Vec<String>,
        /// Only these authors; all where it is empty.
        authors: Vec<PeerId>,
        /// How many posts.
        posts: usize,
        /// Gets the answer.
        reply: oneshot::Sender<Result<Offset, String>>,
    },
    /// The newest posts that match.
    History {
        /// Which.
        query: HistoryQuery,
        /// Gets the answer.
        reply: oneshot::Sender<Result<Vec<StoredPost>, String>>,
    },
    /// Every room.
    Rooms(oneshot::Sender<Result<Vec<RoomSummary>, String>>),
    /// Bytes of envelopes held.
    StoreBytes(oneshot::Sender<u64>),
    /// Stop the daemon.
    Stop,
}

/// What one turn of the driver delivered, shared by all subscribers.
#[derive(Debug)]
pub struct Batch {
    /// In the order of arrival, without a gap to the batch before.
    pub entries: Vec<Delivery>,
}
