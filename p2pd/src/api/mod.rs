//! The local API: gRPC on a unix socket and on loopback.
//!
//! It turns calls into questions to the driver and answers into messages, and it feeds whoever watches. Everything it
//! sends is pulled by the reader, so a reader that stops reading costs a few batches and delays nobody.

mod access;
mod ask;
mod changes;
mod chat;
mod convert;
mod daemon;
mod drafts;
mod health;
mod history;
mod incoming;
mod invites;
mod mesh;
mod network;
mod receipts;
mod reporter;
mod search;
mod send;
mod serve;
mod shown;
mod socket;
mod status;
mod subscribers;
mod sync;
mod token;
mod watch;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use p2p_mesh::config::Config;
use p2p_mesh::effect::{Delivery, Refusal, Sent};
use p2p_mesh::id::{Instance, Offset, PeerId, PostId};
use p2p_mesh::input::Draft;
use p2p_mesh::membership::record::Addr;
use p2p_mesh::status::{Graph, PeerStatus, Receipt, Status, SyncState};
use p2p_proto::endpoint::Endpoint;
use tokio::sync::{mpsc, oneshot};

use crate::config::{Change, ConfigErrors};
use crate::group::Group;
use crate::health::Progress;
use crate::invite::{AdmissionError, Invite, InviteChange, InviteError, InviteId, Ticket, TicketError, Ties};
use crate::keyfile::Secret;
use crate::letters::Letters;
use crate::names::{NoteChange, NoteError};
use crate::network::{KeyName, NetworkKey, Ring};
use crate::query::{
    Answer, Authors, HistoryQuery, LogPage, RoomFeeds, RoomSummary, SearchPage, SearchQuery, StoreSummary, StoredPost,
};
use crate::rotation::{HeldKey, PlanError, Rotation, Standing};

pub use reporter::Reporter;
pub use serve::{Served, serve};
pub use status::Alarms;
pub use subscribers::Subscribers;

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
    /// Note something of a peer; answers when it is on disk.
    UpdatePeer {
        /// Of whom.
        peer: PeerId,
        /// What.
        change: NoteChange,
        /// Gets the answer.
        reply: oneshot::Sender<Result<(), NoteError>>,
    },
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
        reply: oneshot::Sender<Answer<LogPage>>,
    },
    /// The offset behind which the last matching posts stand.
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
    /// The newest posts that match.
    History {
        /// Which.
        query: HistoryQuery,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<Vec<StoredPost>>>,
    },
    /// Every room.
    Rooms(oneshot::Sender<Answer<Vec<RoomSummary>>>),
    /// The newest posts that hold some words, as far as one look goes.
    Search {
        /// Which.
        query: SearchQuery,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<SearchPage>>,
    },
    /// What is held, and what was.
    StoreSummary(oneshot::Sender<StoreSummary>),
    /// Who holds these posts: one receipt each.
    Receipts(Vec<PostId>, oneshot::Sender<Vec<Receipt>>),
    /// What is held, what is missing, who agrees.
    SyncState(oneshot::Sender<SyncState>),
    /// Who is linked to whom.
    Graph(oneshot::Sender<Graph>),
    /// Compare with every linked peer now; answers how many they are.
    Sync(oneshot::Sender<usize>),
    /// Which feeds say something in a room behind an offset.
    RoomFeeds {
        /// Its name.
        room: String,
        /// The end of what was looked at before; 0 for nothing.
        after: Offset,
        /// Gets the answer.
        reply: oneshot::Sender<Answer<RoomFeeds>>,
    },
    /// Take the user's new choices over, and dial at once; answers how many dials that brings.
    Configure {
        /// What the mesh acts on.
        config: Box<Config>,
        /// Posts older than this are dropped.
        retention_age: Option<Duration>,
        /// The history is kept below this.
        retention_bytes: Option<u64>,
        /// Gets the answer.
        reply: oneshot::Sender<u32>,
    },
    /// End the links to those who were shut out, and dial them no more.
    KeepAway,
    /// Change what is kept of invites; answers when it is on disk.
    ChangeInvites {
        /// How.
        change: InviteChange,
        /// Gets the answer.
        reply: oneshot::Sender<Result<(), InviteError>>,
    },
    /// All invites that are kept, the newest first.
    Invites(oneshot::Sender<Answer<Vec<Invite>>>),
    /// What binds this daemon to its network.
    Ties(oneshot::Sender<Ties>),
    /// Ask the issuer of a ticket for the keys of its network.
    Enter {
        /// It holds an invite.
        ticket: Box<Ticket>,
        /// Gets the answer.
        reply: oneshot::Sender<Result<Vec<NetworkKey>, AdmissionError>>,
    },
    /// Stop the daemon.
    Stop,
}

/// What users want of the daemon around the driver.
#[derive(Debug)]
pub enum Order {
    /// Read the configuration again.
    Reload(oneshot::Sender<Result<Reload, ConfigErrors>>),
    /// Say what a reload would change, and change nothing.
    Compare(oneshot::Sender<Result<Vec<Change>, ConfigErrors>>),
    /// Make a ticket for somebody.
    Invite {
        /// Of which kind.
        wish: InviteWish,
        /// `HOST:PORT` to put into it; what others are told where there is none.
        addrs: Vec<Addr>,
        /// Gets the answer.
        reply: oneshot::Sender<Result<Invited, DoorError>>,
    },
    /// Take an invite back.
    RevokeInvite(InviteId, oneshot::Sender<Result<(), DoorError>>),
    /// Get into the network of a ticket.
    Join(Secret, oneshot::Sender<Result<Joined, DoorError>>),
    /// Change the network's secret.
    Rotate(RotateWish, oneshot::Sender<Result<Rotated, RotateError>>),
    /// Tell of the network's secrets.
    Network(oneshot::Sender<NetworkState>),
    /// Log by another filter, or only tell the present one.
    Log {
        /// None to be told only.
        wish: Option<LogWish>,
        /// Gets what is in force then, or why nothing changed.
        reply: oneshot::Sender<Result<LogFilter, String>>,
    },
}

/// A ticket that a user wants for somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum InviteWish {
    /// With an invite.
    Invite {
        /// How long it lets somebody in.
        time: Duration,
        /// So many may use it.
        uses_max: u32,
    },
    /// With the network's secret itself.
    Offline,
}

/// A ticket for somebody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invited {
    /// What to hand on. Whoever has it can get in.
    pub ticket: Secret,
    /// Which invite it is; none where it holds the secret itself.
    pub id: Option<InviteId>,
    /// Seconds since 1970; none for never.
    pub expires_s: Option<u64>,
    /// Where it says that this daemon is.
    pub addrs: Vec<Addr>,
}

/// How the network's secret shall be changed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RotateWish {
    /// Who shall be shut out.
    pub without: BTreeSet<PeerId>,
    /// Who was shut out and shall get the new secret.
    pub readmit: BTreeSet<PeerId>,
    /// How long the old one is still accepted; nobody who is shut out is given that time.
    pub grace: Duration,
}

/// The network's secret is another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rotated {
    /// What the new key is called.
    pub key: KeyName,
    /// Who gets it, this daemon included.
    pub members: BTreeSet<PeerId>,
    /// Who is shut out now, by this and earlier changes.
    pub out: BTreeSet<PeerId>,
    /// Until when the old one is accepted, milliseconds since 1970; 0 for not any more.
    pub until_ms: u64,
}

/// Why the network's secret is not changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RotateError {
    /// There is none.
    #[error("open_network is set, so there is no secret to change")]
    Open,
    /// It is not ours to change any more.
    #[error("this daemon was shut out of the network")]
    ShutOut,
    /// Nobody shuts out himself.
    #[error("this daemon cannot shut out itself")]
    Oneself,
    /// Nobody knows it.
    #[error("no peer {0} is known here")]
    Unknown(PeerId),
    /// Nobody shut it out.
    #[error("{0} is not shut out")]
    NotOut(PeerId),
    /// Somebody is both.
    #[error("{0} cannot be shut out and let in at once")]
    Both(PeerId),
    /// Too many to tell.
    #[error("{0}")]
    Plan(#[from] PlanError),
    /// More members than one change can reach.
    #[error("{0} members are known, the limit is {MEMBERS_MAX}")]
    Crowd(usize),
    /// It cannot be said.
    #[error("{0}")]
    Unsaid(Refusal),
    /// The disk does not take it.
    #[error("{0}")]
    NotKept(String),
    /// The daemon is on its way out.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Members that one change of the secret reaches: so many seals fit into a few hundred kilobytes.
pub const MEMBERS_MAX: usize = 1_000;

/// What is known of the network's secrets, without them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetworkState {
    /// Those that are accepted, the one for dialing first.
    pub keys: Vec<HeldKey>,
    /// The change that brought the present one, where there was one.
    pub rotation: Option<Rotation>,
    /// When it was taken here, milliseconds since 1970.
    pub taken_ms: u64,
    /// Where we stand.
    pub standing: Standing,
    /// Whom we shut out in vain, because another change held.
    pub lost_shuts: BTreeSet<PeerId>,
}

/// A network that this daemon is in now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// Its public id.
    pub network: String,
    /// Who let us in.
    pub issuer: PeerId,
    /// It was in it before.
    pub is_repeated: bool,
    /// The ticket held the secret itself: any member may be at its addresses.
    pub is_offline: bool,
}

/// Why nobody is invited, or this daemon joins no network.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DoorError {
    /// What was given is no ticket.
    #[error("{0}")]
    Ticket(#[from] TicketError),
    /// Too long ago.
    #[error("the ticket expired at {0}")]
    Expired(String),
    /// It is not let in.
    #[error("{0}")]
    Admission(#[from] AdmissionError),
    /// It is bound to another network.
    #[error("this daemon is in network {ours}, with {} and {} of others, and the ticket is for network {theirs}", counted(.ties.peers as u64, "peer"), counted(.ties.posts, "post"))]
    Elsewhere {
        /// The start of our network's id.
        ours: String,
        /// The start of the ticket's.
        theirs: String,
        /// What binds it.
        ties: Ties,
    },
    /// The configuration says what its network is.
    #[error("the configuration sets {0}, and that says which network this daemon is in")]
    Configured(&'static str),
    /// Everybody may join.
    #[error("open_network is set, so nobody needs a ticket")]
    Open,
    /// Nothing to put into a ticket.
    #[error("it is not known where others reach this daemon")]
    NoAddress,
    /// More are open than may be.
    #[error("{0} invites are open, the limit is {OPEN_INVITES_MAX}")]
    TooMany(usize),
    /// There is none of this name, or it does not allow it.
    #[error("no invite {0} is known here")]
    Unknown(String),
    /// The disk does not take it.
    #[error("{0}")]
    NotKept(String),
    /// The daemon is on its way out.
    #[error("the daemon is stopping")]
    Stopping,
}

fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Invites that may be used at a time.
pub const OPEN_INVITES_MAX: usize = 100;

/// What became of a reload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reload {
    /// Every key that says something else now.
    pub changes: Vec<Change>,
    /// What a person should look at.
    pub warnings: Vec<String>,
    /// Dials that it brought.
    pub dials: u32,
}

/// A filter that a user wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogWish {
    /// Levels, and parts of the program.
    pub filter: String,
    /// Then it goes back; none to stay.
    pub time: Option<Duration>,
}

/// The filter in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogFilter {
    /// Levels, and parts of the program.
    pub filter: String,
    /// The filter that comes back, and when.
    pub back: Option<(String, Duration)>,
}

/// What one turn of the driver delivered, shared by all subscribers.
#[derive(Debug)]
pub struct Batch {
    /// In the order of arrival, without a gap to the batch before.
    pub entries: Vec<Delivery>,
}

/// Where the API is served.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// At least one. TCP port 0 lets the system choose.
    pub endpoints: Vec<Endpoint>,
    /// Whose members may use the sockets too, besides root and the daemon's user.
    pub group: Option<Group>,
    /// Holds the token that every call over TCP needs. Made when it is missing and a TCP endpoint is served.
    pub token_file: PathBuf,
    /// Gets what concerns the daemon around the driver.
    pub orders: mpsc::Sender<Order>,
}

/// What a reload may change of what the API tells. Shared.
#[derive(Clone, Debug, Default)]
pub struct Live(Arc<Mutex<Arc<Choices>>>);

/// What the user chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// The name that this daemon gives itself.
    pub name: String,
    /// The room of posts that name none.
    pub default_room: String,
    /// The configuration in force, in the order of `example-config.yaml`.
    pub config: Vec<ConfigRow>,
}

impl Live {
    /// From now on these hold.
    pub fn set(&self, choices: Choices) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(choices);
    }

    /// Those that hold now.
    #[must_use]
    pub fn now(&self) -> Arc<Choices> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is known of this run at its start and does not change.
#[derive(Clone, Debug)]
pub struct Facts {
    /// This daemon's identity and run.
    pub instance: Instance,
    /// What a reload may change.
    pub live: Live,
    /// Of the program.
    pub version: String,
    /// The keys of the networks, of which the public id of the first is told.
    pub networks: Ring,
    /// Nobody is asked for a secret.
    pub open_network: bool,
    /// Where links are accepted.
    pub listen: Vec<SocketAddr>,
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// Of this process.
    pub pid: u32,
    /// When this run began.
    pub started: Instant,
    /// The same by the clock on the wall.
    pub began: SystemTime,
    /// Opens and seals what is for one peer only.
    pub letters: Letters,
    /// What is wrong at the moment, told by whoever notices.
    pub alarms: Alarms,
    /// How far the start is.
    pub progress: Progress,
}

/// One value of the configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigRow {
    /// Its name.
    pub key: String,
    /// As it would be written in YAML; `(hidden)` for a secret.
    pub value: String,
    /// `default`, `FILE:LINE`, the variable's name or the flag.
    pub source: String,
}

/// Why the API cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Another daemon answers at this socket.
    #[error("{0} is served by another daemon that is running")]
    InUse(Endpoint),
    /// Something that is no socket has the socket's name.
    #[error("{} is there and is not a socket, so it is left alone", .0.display())]
    NotSocket(PathBuf),
    /// Longer than the system allows.
    #[error("the socket path {} has {len} bytes, the limit is {limit}", path.display())]
    PathTooLong {
        /// Which one.
        path: PathBuf,
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// Others could reach this address.
    #[error("the API has no encryption, so it is served on loopback only, and {0} is not loopback")]
    NotLoopback(SocketAddr),
    /// The system does not let us.
    #[error("cannot serve the API at {endpoint}: {why}")]
    Bind {
        /// Where.
        endpoint: Endpoint,
        /// Why.
        why: std::io::Error,
    },
    /// The token file cannot be used.
    #[error("token file {}: {why}", path.display())]
    Token {
        /// Which one.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
}

#[cfg(test)]
mod tests;
