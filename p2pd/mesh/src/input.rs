//! What happens to the mesh.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

use crate::config::Config;
use crate::envelope::{Direct, Post, Stamp, VerifiedEnvelope};
use crate::feed::StoredFeed;
use crate::id::{DialId, Epoch, FeedId, LinkId, Offset, PeerId, PostId};
use crate::membership::record::Addr;
use crate::wire::frame::FrameError;

/// Something that happened outside.
#[derive(Clone, Debug)]
pub enum Input {
    /// A link is open: the handshake is done and the peer's id is proven. Nothing was said yet.
    LinkOpened(LinkOpened),
    /// A dial came to nothing.
    DialFailed {
        /// Which one.
        dial: DialId,
        /// Why.
        reason: DialFailure,
        /// Why, for people.
        detail: String,
    },
    /// A frame arrived, without its length.
    Frame {
        /// Where.
        link: LinkId,
        /// Its bytes.
        frame: Bytes,
    },
    /// Bytes of a frame came that is not complete yet. Said about once a second while that lasts, so that a slow line is
    /// not taken for a dead one.
    Receiving(LinkId),
    /// A frame began with a length that is not allowed. No more frames come from this link; a goodbye may still be said,
    /// and `LinkClosed` follows.
    BadFrame {
        /// Where.
        link: LinkId,
        /// Which length.
        error: FrameError,
    },
    /// Bytes of `Effect::Send` were taken by the socket.
    Written {
        /// Where.
        link: LinkId,
        /// How many, lengths included.
        bytes: usize,
    },
    /// A link is gone, from either side. Nothing comes from it any more.
    LinkClosed {
        /// Which one.
        link: LinkId,
        /// Why, for people.
        reason: CloseReason,
    },
    /// The envelopes of an `Effect::Append` are stored (and flushed, where that was asked).
    Appended(Ticket),
    /// They are not, and nothing of them is.
    AppendFailed {
        /// Which append.
        ticket: Ticket,
        /// Why, for people.
        why: String,
    },
    /// The answer to an `Effect::Read`.
    ReadDone {
        /// Which read.
        ticket: Ticket,
        /// Consecutive, from the first number asked for (the first envelope may begin before it); empty where it is
        /// not held.
        envelopes: Vec<VerifiedEnvelope>,
    },
    /// The answer to an `Effect::FindKeys`.
    KeysFound {
        /// Which question.
        ticket: Ticket,
        /// For each key asked for, the post that used it.
        posts: Vec<Option<KeyedPost>>,
    },
    /// The answer to an `Effect::Settle`.
    Settled {
        /// Which question.
        ticket: Ticket,
        /// What became of it.
        settled: Box<Settled>,
    },
    /// The store could not do what an `Effect::Settle` asked for, and nothing of it is done.
    SettleFailed(Ticket),
    /// The answer to `Effect::DrawEpoch`; none where it could not be noted.
    EpochDrawn(Option<Epoch>),
    /// The answer to an `Effect::FindLost`.
    LostFound {
        /// Which question.
        ticket: Ticket,
        /// In the order of their offsets, at most `LOST_POSTS_MAX`.
        posts: Vec<LostPost>,
    },
    /// The store dropped the oldest posts of some feeds, for their age or its size.
    Retained {
        /// All that is stored of each of them at this moment, which is behind every append answered so far.
        feeds: Vec<StoredFeed>,
    },
    /// Our own user wants something.
    Command(Command),
}

/// What a store did about a fork.
#[derive(Clone, Debug)]
pub struct Settled {
    /// What is held of the feed now.
    pub left: StoredFeed,
    /// Posts that were set aside.
    pub posts: u64,
    /// The envelope that was found at the place of the fork; none where it is not held.
    pub ours: Option<VerifiedEnvelope>,
}

/// An own post that was set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LostPost {
    /// Its place in the local order of arrival.
    pub offset: Offset,
    /// Its name.
    pub id: PostId,
    /// What it said.
    pub post: Post,
}

/// An open link.
#[derive(Clone, Debug)]
pub struct LinkOpened {
    /// Its name from now on.
    pub link: LinkId,
    /// The dial that made it; none where the other side dialed.
    pub dial: Option<DialId>,
    /// Who is there, proven by the handshake.
    pub peer: PeerId,
    /// The other end.
    pub remote: SocketAddr,
    /// Our address on this link.
    pub local: IpAddr,
}

/// Why a dial came to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialFailure {
    /// No address for the name, nobody there, no route, no answer in time.
    Unreachable,
    /// Somebody is there and ended the handshake: most likely another network.
    Refused,
    /// The peer there is not the one that was expected.
    WrongPeer,
}

/// Why a link is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CloseReason {
    /// We hung up.
    HungUp,
    /// The other side closed it in order.
    Closed,
    /// The socket failed.
    Failed(String),
    /// The other side sent what is no frame, or a frame over the limit.
    BadFrame(FrameError),
}

/// Pairs the answer of a slow room with its question.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ticket(pub u64);

/// What our own user wants.
#[derive(Clone, Debug)]
pub enum Command {
    /// Say something. Answered by `Effect::Published` with the token.
    Publish {
        /// Comes back with the answer.
        token: u64,
        /// In order.
        posts: Vec<Draft>,
    },
    /// Dial this address, for ever.
    AddPeer(Addr),
    /// Somebody on the local network says that a peer is there. Nothing proves it but a handshake.
    Hint {
        /// Whose id was named.
        peer: PeerId,
        /// Where it shall be.
        addrs: Vec<Addr>,
    },
    /// Drop a peer from the book.
    ForgetPeer(PeerId),
    /// Drop an address that was configured or added.
    ForgetAddr(Addr),
    /// End all waiting: for one peer, or for all.
    Reconnect(Option<PeerId>),
    /// Heartbeat a peer now. Answered by `Effect::Ponged`.
    Ping {
        /// Comes back with the answer.
        token: u64,
        /// Whom.
        peer: PeerId,
    },
    /// Compare with every linked peer now.
    Sync,
    /// Take the user's new choices over.
    Configure(Box<Config>),
    /// Refuse these, and nobody else, whatever the choices say.
    Block(BTreeSet<PeerId>),
    /// Say goodbye to everybody. Links are hung up; nothing is dialed any more.
    Leave,
}

/// A post to be: the feed, the number and the time are given when it is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// Where.
    pub room: String,
    /// What.
    pub text: String,
    /// The post this one answers.
    pub re: Option<PostId>,
    /// The sender's idempotency key.
    pub key: Option<String>,
    /// For one peer only: room and text are empty then, and what is said is in here.
    pub direct: Option<Direct>,
    /// About the network's secret, from the daemon and not from its user: the room is empty then.
    pub is_network: bool,
}

/// What is known of a post of our own that carries an idempotency key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyedPost {
    /// The post.
    pub id: PostId,
    /// Its place in the local order of arrival.
    pub offset: crate::id::Offset,
    /// When it was sent.
    pub at: Stamp,
    /// A hash of what it said, from `Draft::content_hash`.
    pub content: crate::id::Hash,
}

impl Draft {
    /// What the daemon itself says about the network's secret.
    #[must_use]
    pub fn network(text: String) -> Self {
        Self { room: String::new(), text, re: None, key: None, direct: None, is_network: true }
    }

    /// A fingerprint of everything but the key: equal drafts are the same message.
    #[must_use]
    pub fn content_hash(&self) -> crate::id::Hash {
        hash_of(&self.room, &self.text, self.re, self.direct.as_ref())
    }

    /// Bytes of what is said.
    #[must_use]
    pub(crate) fn said_len(&self) -> usize {
        self.text.len() + self.direct.as_ref().map_or(0, |direct| direct.sealed.len())
    }
}

/// The same of a post that was said.
#[must_use]
pub fn content_of(post: &Post) -> crate::id::Hash {
    hash_of(&post.room, &post.text, post.re.as_deref().copied(), post.direct.as_deref())
}

/// No post is said in no room but a direct one, so nothing else has the hash of one.
fn hash_of(room: &str, text: &str, re: Option<PostId>, direct: Option<&Direct>) -> crate::id::Hash {
    match direct {
        None => content_hash(room, text, re),
        Some(Direct { to, sealed }) => content_hash("", &format!("{to} {sealed}"), re),
    }
}

/// The same for what is said in a room.
#[must_use]
pub fn content_hash(room: &str, text: &str, re: Option<PostId>) -> crate::id::Hash {
    let re = re.map(|re| (re.feed.id.to_string(), re.feed.epoch.0, re.seq.0));
    let bytes = serde_json::to_vec(&(room, text, re)).expect("strings and integers always encode");
    crate::id::Hash::of(&bytes)
}

/// A place in a feed from which the store shall read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadFrom {
    /// Which feed.
    pub feed: FeedId,
    /// The first number.
    pub from: crate::id::Seq,
    /// The last number that is of interest.
    pub to: crate::id::Seq,
    /// No more bytes of bodies than this, but at least one envelope.
    pub bytes_max: usize,
}
