//! Questions about the history, and their answers: what `api` asks and `store` answers, without knowing each other.

use std::collections::BTreeSet;

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{Post, Stamp};
use p2p_mesh::id::{Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::status::Histogram;

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

/// Whose posts are looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Authors {
    /// Only theirs.
    Only(Vec<PeerId>),
    /// All but theirs.
    AllBut(Vec<PeerId>),
}

impl Authors {
    /// Whether this is one of them.
    #[must_use]
    pub fn takes(&self, author: &PeerId) -> bool {
        match self {
            Self::Only(authors) => authors.contains(author),
            Self::AllBut(authors) => !authors.contains(author),
        }
    }

    /// Nobody is left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::AllBut(Vec::new())
    }
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
    /// Only what was written between this peer and us, whatever the room.
    pub with: Option<PeerId>,
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
    /// What was dropped before the first entry; entries end before the next gap.
    pub gap: Option<LogGap>,
    /// In order. The first may begin at or before the offset asked for.
    pub entries: Vec<Delivery>,
    /// The end of the log was reached.
    pub end: bool,
}

/// A stretch of the log of which nothing is held any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogGap {
    /// The first offset of it.
    pub from: Offset,
    /// The last one.
    pub to: Offset,
    /// How many posts were dropped there, of all rooms and authors; none where that is not known.
    pub posts: Option<u64>,
    /// The oldest clock among them, milliseconds since 1970.
    pub oldest_ms: u64,
    /// The newest one.
    pub newest_ms: u64,
}

/// What is held, and what was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StoreSummary {
    /// Of the bodies of all envelopes.
    pub bytes: u64,
    /// Posts that retention dropped.
    pub expired_posts: u64,
    /// The newest clock among those, milliseconds since 1970.
    pub expired_newest_ms: u64,
    /// How long transactions took that were flushed.
    pub flushes: Histogram,
    /// Bytes that are free for this user where the data directory is; none where the system does not say.
    pub disk_free: Option<u64>,
    /// Bytes of that file system.
    pub disk_size: Option<u64>,
}

/// Posts whose text holds some words.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchQuery {
    /// In lower case; all of them must be in the text.
    pub words: Vec<String>,
    /// Only this room; all rooms where it is none.
    pub room: Option<String>,
    /// Where an earlier search stopped; the newest post where it is none.
    pub before: Option<SearchPlace>,
    /// At most this many.
    pub limit: usize,
}

/// How far a search came: from the newest clock back to this post, this one included. Only the store that gave it out
/// can read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SearchPlace {
    /// Its clock, milliseconds since 1970.
    pub ms: u64,
    /// The store's own number of its feed.
    pub feed: u64,
    /// Its place in the order of arrival.
    pub offset: u64,
}

/// A part of a search.
#[derive(Clone, Debug, Default)]
pub struct SearchPage {
    /// Newest first.
    pub posts: Vec<StoredPost>,
    /// Where to go on; none where everything was searched.
    pub next: Option<SearchPlace>,
}

/// Who said something in a room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoomFeeds {
    /// Every feed with a post in the part of the room that was looked at, each once.
    pub feeds: Vec<Instance>,
    /// The end of that part: ask behind it for what came since.
    pub end: Offset,
}

/// One room, or what we and a peer say to each other alone, summed up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoomSummary {
    /// Its name; empty where it is no room.
    pub name: String,
    /// The other end, where it is no room.
    pub with: Option<PeerId>,
    /// Posts held.
    pub posts: u64,
    /// The newest post's clock, milliseconds since 1970.
    pub newest_ms: u64,
}
