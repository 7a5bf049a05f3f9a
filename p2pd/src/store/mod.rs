//! The store: every envelope, on disk, on a thread of its own.
//!
//! One SQLite file with a write-ahead log. Jobs go in through a bounded channel; those that queue up while the disk
//! is busy share the next transaction and its flush. Of the jobs taken together the writes are done first, so a read
//! sees every write before it.

use std::path::Path;

use p2p_mesh::effect::{Append, Settle};
use p2p_mesh::feed::StoredFeed;
use p2p_mesh::fork::ForkProof;
use p2p_mesh::id::{Epoch, Offset, PeerId};
use p2p_mesh::input::{Input, ReadFrom, Ticket};
use p2p_mesh::membership::record::Record;
use tokio::sync::{mpsc, oneshot};

use crate::config::Durability;
use crate::invite::{Invite, InviteChange, InviteError};
use crate::names::{FirstUse, Note, NoteError, Noted};
use crate::query::{
    Answer, Authors, HistoryQuery, LogPage, RoomFeeds, RoomSummary, SearchPage, SearchQuery, StoreSummary, StoredPost,
};

mod append;
mod book;
mod fault;
mod file;
mod forks;
mod gaps;
mod history;
mod index;
mod invites;
mod log;
mod notes;
mod retain;
mod search;
mod shelf;
mod sql;
mod thread;
mod writer;

/// Opens the history of a data directory, or makes an empty one, on the thread that owns it from then on: a repair may
/// take long, and the caller can do something else meanwhile.
///
/// # Errors
///
/// The directory cannot be written, the disk is full, or its file is damaged, of a newer version, of another program
/// or of another identity. The text names the path and says why.
pub async fn open(dir: &Path, me: &PeerId, durability: Durability) -> Result<Opened, StoreError> {
    thread::start(dir, me, durability).await
}

/// Notes the epoch of this run, flushed, before anybody hears of it. So no epoch is drawn twice, even where nothing
/// was said in it.
///
/// # Errors
///
/// It could not be written, or the store has stopped.
pub async fn note_epoch(jobs: &mpsc::Sender<Job>, epoch: Epoch) -> Result<(), StoreError> {
    let (reply, answer) = oneshot::channel();
    let stopped = || StoreError::Failed("the store has stopped".into());
    jobs.send(Job::NoteEpoch { epoch, reply }).await.map_err(|_| stopped())?;
    answer.await.map_err(|_| stopped())?
}

/// What the store can be asked. Jobs are done in order.
#[derive(Debug)]
pub enum Job {
    /// Answered by `Input::Appended` or `Input::AppendFailed`.
    Append(Append),
    /// Answered by `Input::ReadDone`.
    Read {
        /// Pairs answer and question.
        ticket: Ticket,
        /// What.
        from: ReadFrom,
    },
    /// Answered by `Input::KeysFound`.
    FindKeys {
        /// Pairs answer and question.
        ticket: Ticket,
        /// In the order of the answer.
        keys: Vec<String>,
    },
    /// Answered by `Input::Settled` or `Input::SettleFailed`.
    Settle(Box<Settle>),
    /// Answered by `Input::LostFound`.
    FindLost {
        /// Pairs answer and question.
        ticket: Ticket,
        /// Only behind this offset.
        after: Offset,
    },
    /// Notes that this run goes on with another epoch. Answered by `Input::EpochDrawn`, once it is flushed.
    RenewEpoch(Epoch),
    /// Keeps a record of the address book.
    SaveRecord {
        /// The record.
        record: Record,
        /// When its peer was last linked, milliseconds since 1970; 0 for never.
        seen_ms: u64,
    },
    /// Drops a record of the address book, with the names of its peer.
    ForgetRecord(PeerId),
    /// Keeps who used a name first.
    SaveName(FirstUse),
    /// Keeps what the user noted of a peer.
    SaveNote {
        /// Of whom.
        peer: PeerId,
        /// All that is noted of it.
        note: Note,
        /// Gets the answer, once it is flushed.
        reply: oneshot::Sender<Result<(), NoteError>>,
    },
    /// Changes what is kept of invites.
    ChangeInvites {
        /// How.
        change: InviteChange,
        /// Gets the answer, once it is flushed.
        reply: oneshot::Sender<Result<(), InviteError>>,
    },
    /// Notes that this run has an epoch: see `note_epoch`.
    NoteEpoch {
        /// Of this run.
        epoch: Epoch,
        /// Gets the answer, once it is flushed.
        reply: oneshot::Sender<Result<(), StoreError>>,
    },
    /// Entries behind `after` by order of arrival, an entry that contains `after + 1` included. A damaged entry is
    /// a gap, and is told by `StoreEvent::Damaged` as well.
    ReadLog {
        /// The last offset that the reader has.
        after: Offset,
        /// Stop behind this many posts.
        posts_max: usize,
        /// Stop behind this many bytes of bodies; at least one entry is read.
        bytes_max: usize,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<LogPage>>,
    },
    /// The offset behind which the last `posts` matching posts stand, or all of them where there are fewer; the end of
    /// the log where there is none.
    FindLast {
        /// Only these rooms; all where it is empty.
        rooms: Vec<String>,
        /// Only what was written between this peer and us.
        with: Option<PeerId>,
        /// Whose.
        authors: Authors,
        /// How many posts.
        posts: usize,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<Offset>>,
    },
    /// The newest posts that match, oldest first in the order of the clocks.
    History {
        /// Which.
        query: HistoryQuery,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<Vec<StoredPost>>>,
    },
    /// Every room, the newest first; of more than 10,000 the newest.
    Rooms {
        /// Gets the answer.
        reply: oneshot::Sender<Answer<Vec<RoomSummary>>>,
    },
    /// The newest posts that hold some words, as far as a bounded look back finds them.
    Search {
        /// Which.
        query: SearchQuery,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<SearchPage>>,
    },
    /// Which feeds say something in a room behind an offset.
    RoomFeeds {
        /// Its name.
        room: String,
        /// The end of what was looked at before; 0 for nothing.
        after: Offset,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<RoomFeeds>>,
    },
    /// All invites that are kept, the newest first.
    Invites {
        /// Gets the answer.
        reply: oneshot::Sender<Answer<Vec<Invite>>>,
    },
    /// What is held, and what was.
    Summary {
        /// Gets the answer.
        reply: oneshot::Sender<StoreSummary>,
    },
    /// Drops the oldest envelopes beyond these limits, a bounded number of them. Answered by `StoreEvent::Retained`,
    /// behind the answers of the jobs before it.
    Retain(Limits),
}

/// What is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Nothing with a clock before this, milliseconds since 1970.
    pub before_ms: Option<u64>,
    /// No more than this on disk, counted as bodies with what belongs to them.
    pub bytes_max: Option<u64>,
}

/// What a `Job::Retain` dropped.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Retained {
    /// What is stored now of each feed that lost its beginning.
    pub feeds: Vec<StoredFeed>,
    /// How many posts.
    pub posts: u64,
    /// Of their bodies.
    pub bytes: u64,
    /// There may be more: ask again.
    pub is_more: bool,
}

/// What the store tells the driver.
#[derive(Debug)]
pub enum StoreEvent {
    /// An answer for the mesh.
    Input(Input),
    /// Something was not found as it was written. It is shown to nobody, and the rest can be used.
    Damaged(String),
    /// The disk takes something again.
    Recovered,
    /// The answer to `Job::Retain`.
    Retained(Retained),
    /// A flush failed, or own posts cannot be looked up: what is on disk is not known any more. The daemon must stop,
    /// and answer nothing. Nothing comes behind this.
    Failed(StoreError),
}

/// What a start found on disk.
#[derive(Debug)]
pub struct Opened {
    /// Where jobs go. Bounded; the driver keeps what does not fit.
    pub jobs: mpsc::Sender<Job>,
    /// Answers and alarms. Bounded; the driver always drains it.
    pub events: mpsc::Receiver<StoreEvent>,
    /// Ends when every job sender is dropped and all is flushed.
    pub thread: std::thread::JoinHandle<()>,
    /// Every feed.
    pub feeds: Vec<StoredFeed>,
    /// Every fork that is known.
    pub forks: Vec<ForkProof>,
    /// The offset after the last one.
    pub next_offset: Offset,
    /// The newest epoch in which this identity wrote, or that `note_epoch` noted.
    pub newest_own_epoch: Option<Epoch>,
    /// The address book.
    pub book: Vec<(Record, u64)>,
    /// Peers that the user forgot, with the newest revision of their records that was known.
    pub forgotten: Vec<(PeerId, u64)>,
    /// What the user noted of peers, and who used which name first.
    pub noted: Noted,
    /// The invites that are kept.
    pub invites: Vec<Invite>,
}

/// A store that cannot do what it should.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or a quota is reached.
    #[error("disk full in {0}")]
    Full(String),
    /// It can be tried again.
    #[error("{0}")]
    Failed(String),
    /// The file is not what it should be.
    #[error("{0}")]
    Damaged(String),
    /// The system gives no thread.
    #[error("cannot start the thread of the store: {0}")]
    NoThread(String),
    /// It is another identity's, or lies where the database cannot reach: something must be set right first.
    #[error("{0}")]
    Misplaced(String),
}

#[cfg(test)]
mod tests;
