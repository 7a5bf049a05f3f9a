//! Questions about the history, and their answers: what `api` asks and `store` answers, without knowing each other.

use std::collections::BTreeSet;

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{Post, Stamp};
use p2p_mesh::id::{Instance, Offset, PeerId, PostId, Seq};

/// What the store found, or why it could not look, for people.
pub type Answer<T> = Result<T, String>;

/// A post as the store gives it.
#[derive(Clone, Debug)]
pub struct StoredPost {
    /// Its name.
    pub id: PostId,
    /// Its place in the local order of arrival.
    pub offset: Offset,
    /// When it was sent.
    pub at: Stamp,
    /// What it says.
    pub post: Post,
    /// It was sent through this daemon's identity.
    pub own: bool,
    /// It arrived far behind posts that sort after it.
    pub late: bool,
    /// It was set aside: its author forked, and all peers take the other branch.
    pub forked: bool,
}

/// A place in the order of the clocks: `(clock, author, epoch, seq)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The post's stamp.
    pub at: Stamp,
    /// Its author and epoch.
    pub feed: Instance,
    /// Its number.
    pub seq: Seq,
}

/// The newest posts that match.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// Only this room; all rooms where it is none.
    pub room: Option<String>,
    /// Only these authors; all where it is empty.
    pub authors: BTreeSet<PeerId>,
    /// Only at or after this time, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Only before this time, milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// Only before this place.
    pub before: Option<Place>,
    /// At most this many.
    pub limit: usize,
}

/// A run of the log by order of arrival.
#[derive(Clone, Debug, Default)]
pub struct LogPage {
    /// In order. The first may begin at or before the offset asked for.
    pub entries: Vec<Delivery>,
    /// The end of the log was reached.
    pub end: bool,
}

/// One room, summed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomSummary {
    /// Its name.
    pub name: String,
    /// Posts held.
    pub posts: u64,
    /// The newest post's clock, milliseconds since 1970.
    pub newest_ms: u64,
}
