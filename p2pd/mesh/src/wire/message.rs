//! Messages: what a frame says.

mod decode;
mod encode;

use crate::envelope::{Envelope, EnvelopeError};
use crate::id::{Epoch, FeedId, IdError, Instance, Seq};
use crate::json::JsonError;
use crate::membership::record::{Record, RecordError};

pub(crate) use encode::encode_envelopes;

/// What one frame says.
#[derive(Clone, PartialEq, Debug)]
pub enum Message {
    /// The first frame both ways.
    Hello(Box<Hello>),
    /// The last frame.
    Bye(Bye),
    /// "Are you there?"
    Ping(Ping),
    /// "I am."
    Pong(Pong),
    /// "My link to this instance just died silently."
    Suspect(Instance),
    /// A share of the address book.
    Peers(Vec<Record>),
    /// Who my neighbours are.
    View(View),
    /// Posts.
    Envelopes(Envelopes),
    /// What I hold, cumulatively.
    Have(Vec<Have>),
    /// What I ask for.
    Want(Want),
    /// Feeds that shall not be pushed to me.
    Prune(Vec<FeedId>),
    /// I hold nothing of this feed below the floor any more.
    Gone {
        /// Which feed.
        feed: FeedId,
        /// The lowest number held.
        floor: Seq,
    },
    /// A part of everything I hold.
    Heads(Heads),
    /// A frame of the protocol that this version has no use for.
    Reserved(Reserved),
    /// A frame of a later protocol.
    Unknown,
}

/// The first frame both ways.
#[derive(Clone, PartialEq, Debug)]
pub struct Hello {
    /// Lowest and highest version spoken.
    pub proto: (u64, u64),
    /// This run.
    pub epoch: Epoch,
    /// Program and version, for people.
    pub agent: String,
    /// The address it sees the other side at.
    pub observed: String,
    /// What it can do beyond the version.
    pub caps: Vec<String>,
    /// Counts this run's dials; 0 from the side that was dialed.
    pub dial: u64,
    /// What the link is for.
    pub role: Role,
    /// Its wall clock, milliseconds since 1970.
    pub time: u64,
    /// Its own record, with name and addresses.
    pub record: Record,
}

/// What a link is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Everything.
    Peer,
    /// A look whether somebody is there.
    Feeler,
}

/// The last frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Bye {
    /// Why, for programs.
    pub code: ByeCode,
    /// Why, for people: at most 200 characters are kept.
    pub why: String,
    /// Do not dial again before this time.
    pub retry_ms: Option<u64>,
    /// Others to dial instead.
    pub records: Vec<Record>,
}

/// Why a link ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ByeCode {
    /// The daemon stops.
    Leaving,
    /// The daemon starts again soon.
    Restart,
    /// All links are taken.
    Full,
    /// There is a better link between the two.
    Duplicate,
    /// Both ends are one.
    SelfLink,
    /// Another network.
    Network,
    /// No common version.
    Version,
    /// The other side does not read.
    Slow,
    /// A limit was passed.
    Limit,
    /// Something the protocol does not allow.
    Protocol,
    /// Not welcome.
    Banned,
    /// Of a later protocol.
    Unknown,
}

/// A fingerprint of everything one peer holds: of the end of each feed, and how much is missing before the ends. Two
/// that are equal and without holes are equal histories, as far as both still want them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// 128 bits of the sum over all feeds.
    pub fingerprint: [u8; 16],
    /// How many feeds.
    pub feeds: u64,
    /// Posts missing in them, of those wanted.
    pub holes: u64,
}

/// "Are you there?"
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ping {
    /// Comes back in the pong.
    pub n: u64,
    /// The asker's clock in milliseconds; comes back too.
    pub t: u64,
    /// What the asker holds.
    pub digest: Digest,
}

/// "I am."
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pong {
    /// From the ping.
    pub n: u64,
    /// From the ping.
    pub t: u64,
    /// The answerer's clock in milliseconds.
    pub r: u64,
    /// What the answerer holds.
    pub digest: Digest,
}

/// Who a peer's neighbours are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// It links to everybody.
    pub full: bool,
    /// The first twelve characters of their ids.
    pub neighbors: Vec<String>,
    /// How many peers it thinks there are.
    pub estimate: u64,
}

/// Posts, pushed or repaired.
#[derive(Clone, PartialEq, Debug)]
pub struct Envelopes {
    /// In the order of their feed.
    pub items: Vec<Envelope>,
    /// Links between here and the author.
    pub hop: u64,
    /// Pushed while new; else an answer to a `want`.
    pub live: bool,
    /// More follows for this `want`.
    pub more: bool,
}

/// "Of this feed I hold everything from floor to head."
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Have {
    /// Which feed.
    pub feed: FeedId,
    /// The last number held.
    pub head: Seq,
    /// The first number held.
    pub floor: Seq,
}

/// "Send me these."
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Want {
    /// Which feed.
    pub feed: FeedId,
    /// First and last number; no last one means all there is.
    pub ranges: Vec<(Seq, Option<Seq>)>,
    /// And keep pushing from there on.
    pub push: bool,
}

/// A part of everything one peer holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heads {
    /// Which part, from 0.
    pub part: u64,
    /// How many parts.
    pub of: u64,
    /// In the order of author and epoch.
    pub heads: Vec<Head>,
}

/// What one peer holds of one feed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Author and epoch.
    pub feed: Instance,
    /// The first number held.
    pub floor: Seq,
    /// The last number held.
    pub head: Seq,
    /// The first eight bytes of the last body's hash.
    pub hash: [u8; 8],
}

/// Frames of the protocol that this version parses, counts and ignores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reserved {
    /// Range-based set reconciliation.
    Range,
    /// Partial views: a newcomer.
    Join,
    /// Partial views: a newcomer, told on.
    ForwardJoin,
    /// Partial views: an offer of a link.
    Neighbor,
    /// Partial views: the answer.
    NeighborReply,
    /// Partial views: a share of addresses.
    Shuffle,
    /// Partial views: the answer.
    ShuffleReply,
    /// Proof that an author used a number twice.
    Fork,
}

/// A frame that says nothing this protocol allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// More entries than one frame may have.
    #[error("{got} entries in {field} are over the limit of {limit}")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How many.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// A signature or an id that is none.
    #[error("{0}")]
    Id(#[from] IdError),
    /// An envelope in it is none.
    #[error("envelope: {0}")]
    Envelope(#[from] EnvelopeError),
    /// A record in it is none.
    #[error("record: {0}")]
    Record(#[from] RecordError),
}

impl Digest {
    /// Whether all feeds end the same, whatever is missing before that.
    #[must_use]
    pub fn ends_like(&self, other: &Self) -> bool {
        (self.fingerprint, self.feeds) == (other.fingerprint, other.feeds)
    }
}

impl ByeCode {
    /// Its word on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leaving => "leaving",
            Self::Restart => "restart",
            Self::Full => "full",
            Self::Duplicate => "duplicate",
            Self::SelfLink => "self",
            Self::Network => "network",
            Self::Version => "version",
            Self::Slow => "slow",
            Self::Limit => "limit",
            Self::Protocol => "protocol",
            Self::Banned => "banned",
            Self::Unknown => "unknown",
        }
    }

    fn from_name(name: &str) -> Self {
        let known = [
            Self::Leaving,
            Self::Restart,
            Self::Full,
            Self::Duplicate,
            Self::SelfLink,
            Self::Network,
            Self::Version,
            Self::Slow,
            Self::Limit,
            Self::Protocol,
            Self::Banned,
        ];
        known.into_iter().find(|code| code.name() == name).unwrap_or(Self::Unknown)
    }
}

/// Characters of an id in a `view`.
pub const VIEW_ID_LEN: usize = 12;

#[cfg(test)]
mod tests;
