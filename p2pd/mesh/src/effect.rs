//! What the mesh asks for, and what it tells.

use std::sync::Arc;

use bytes::Bytes;

use crate::envelope::{Stamp, VerifiedEnvelope};
use crate::fork::{ForkPlace, ForkProof};
use crate::id::{DialId, Hash, Instance, LinkId, Offset, PeerId, PostId, Seq};
use crate::input::{ReadFrom, Ticket};
use crate::membership::record::{Addr, Record};

/// Something that shall be done outside.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Write a frame, its length included. The socket's progress comes back as `Input::Written`.
    Send {
        /// Where.
        link: LinkId,
        /// Length and frame.
        bytes: Bytes,
    },
    /// The other side's hello is done: larger frames are allowed from now on.
    RaiseFrameLimit(LinkId),
    /// Open a link. Answered by `LinkOpened` or `DialFailed`.
    Dial {
        /// Its name.
        dial: DialId,
        /// Where; a name is resolved now.
        addr: Addr,
        /// Who must be there; anybody where it is not known.
        expected: Option<PeerId>,
    },
    /// Write what was sent, for at most a second, then close. Answered by `LinkClosed`.
    Hangup(LinkId),
    /// Store envelopes, in this order, all or none. Answered by `Appended` or `AppendFailed`.
    Append(Append),
    /// Read a feed from the store. Answered by `ReadDone`.
    Read {
        /// Pairs the answer with this question.
        ticket: Ticket,
        /// What.
        from: ReadFrom,
    },
    /// Look up idempotency keys of our own posts. Answered by `KeysFound`, behind every earlier append.
    FindKeys {
        /// Pairs the answer with this question.
        ticket: Ticket,
        /// In the order of the answer.
        keys: Vec<String>,
    },
    /// Keep a proof, and set aside what is stored of the branch that lost by it. Answered by `Settled` or
    /// `SettleFailed`, behind every earlier append.
    Settle(Box<Settle>),
    /// Draw an epoch above every own one, and note it on disk before it is answered. Answered by `EpochDrawn`.
    DrawEpoch,
    /// Look up own posts that were set aside and not said again. Answered by `LostFound`, behind every earlier append.
    FindLost {
        /// Pairs the answer with this question.
        ticket: Ticket,
        /// Only behind this offset.
        after: Offset,
    },
    /// Keep a record in the address book on disk.
    SaveRecord {
        /// The record, newer than the one kept so far.
        record: Record,
        /// When it was last linked, milliseconds since 1970; 0 for never.
        seen_ms: u64,
    },
    /// Drop a record from the address book on disk.
    ForgetRecord(PeerId),
    /// An envelope is stored: show its posts to whoever reads.
    Deliver(Delivery),
    /// What became of an `Command::Publish`.
    Published {
        /// From the command.
        token: u64,
        /// One per draft, in order.
        results: Vec<Result<Sent, Refusal>>,
    },
    /// What became of a `Command::Ping`: the round-trip time in microseconds, or none if the peer is not linked.
    Ponged {
        /// From the command.
        token: u64,
        /// Microseconds.
        rtt_us: Option<u64>,
    },
    /// A burst is over: memory that only it needed can be given back.
    Rest,
    /// Something that people may want to know.
    Event(Event),
}

/// Envelopes to be stored.
#[derive(Clone, Debug)]
pub struct Append {
    /// Pairs the answer with this question.
    pub ticket: Ticket,
    /// When one append fails, every later one with the same generation fails too, because it may build on it. The
    /// mesh then goes on with the next generation.
    pub generation: u64,
    /// Answer only when it is safe from a power cut; else when it is safe from a crash of the process. It is asked for
    /// what this run says itself and for nothing else, so the store knows by it which own posts were said here.
    pub flush: bool,
    /// In the order of their offsets.
    pub envelopes: Vec<Delivery>,
}

/// A fork, to be settled in the store.
#[derive(Clone, Debug)]
pub struct Settle {
    /// Pairs the answer with this question.
    pub ticket: Ticket,
    /// To be kept, in place of an earlier one for the same place. Where the store holds an envelope at this place with
    /// a larger hash than the winner's, everything of the feed from there on is set aside.
    pub proof: ForkProof,
    /// Every run that begins behind the place is set aside too, because nothing tells of which branch it is.
    pub is_ordered: bool,
    /// Everything of the feed from this number on is set aside in any case.
    pub end: Option<Seq>,
    /// A proof that need not be kept any more.
    pub forget: Option<ForkPlace>,
}

/// An envelope at its place in the local order of arrival.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The offset of its first post; the others follow one by one.
    pub offset: Offset,
    /// The envelope.
    pub envelope: VerifiedEnvelope,
    /// Its author is this very run or an earlier one of this identity.
    pub own: bool,
    /// It sorts more than `LATE_AFTER` before the newest one seen, or newer posts of its feed were delivered before it.
    /// What is not late is in its author's order.
    pub late: bool,
    /// It was set aside: its author forked, and all peers take the other branch.
    pub forked: bool,
}

/// A post that is stored and flushed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Its name.
    pub id: PostId,
    /// Its place in the local order of arrival.
    pub offset: Offset,
    /// When.
    pub at: Stamp,
    /// Its key was known: it was sent earlier.
    pub repeated: bool,
}

/// Why a post was not sent.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// Nothing to say.
    #[error("the text is empty")]
    Empty,
    /// More text than a post may have.
    #[error("the text has {len} bytes, the limit is {limit}")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// It answers what cannot be a message.
    #[error("the message to answer has numbers that no message has")]
    Reply,
    /// U+0000.
    #[error("the text holds U+0000, which no message may hold")]
    Nul,
    /// A name that no room can have.
    #[error("{0:?} is no room: lowercase letters, digits, '.', '_' and '-', at most 64, the first a letter or a digit")]
    Room(String),
    /// A key over the limit.
    #[error("the key has {len} bytes, the limit is {limit}")]
    KeyTooLong {
        /// Its bytes.
        len: usize,
        /// The most.
        limit: usize,
    },
    /// The key was used for another message.
    #[error("the key {key:?} was used for another message, {used}")]
    KeyReused {
        /// The key.
        key: String,
        /// The message that has it.
        used: PostId,
    },
    /// More is waiting than may wait.
    #[error("{posts} messages are waiting to be stored; no more may wait")]
    Busy {
        /// How many wait.
        posts: usize,
    },
    /// The store does not take it.
    #[error("{0}; nothing was sent")]
    Store(String),
    /// The daemon is on its way out.
    #[error("the daemon is stopping")]
    Stopping,
}

/// Something that people may want to know: for the log, the status and the counters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A link is ready for use.
    LinkUp {
        /// Which one.
        link: LinkId,
        /// Who.
        peer: Instance,
        /// The name it gives itself.
        name: String,
        /// We dialed.
        outbound: bool,
    },
    /// A link that was up is gone.
    LinkDown {
        /// Which one.
        link: LinkId,
        /// Who.
        peer: Instance,
        /// Why, in one word or a sentence.
        reason: String,
    },
    /// A link ended before it was up.
    LinkRefused {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Where.
        addr: Addr,
        /// Why.
        reason: String,
        /// Somebody is there and does not want us: most likely another network.
        is_refused: bool,
        /// Failures since the last link.
        tries: u32,
        /// When it is tried again, milliseconds from now.
        retry_ms: u64,
    },
    /// A peer is silent for longer than it should be.
    Suspected {
        /// Who.
        peer: Instance,
    },
    /// Another run of our own identity is linked.
    OtherInstance {
        /// Its epoch.
        peer: Instance,
    },
    /// Another run of ours said something that we do not hold, and a peer gave it back: our history was lost or is an
    /// old copy. Told once a run.
    OwnPostsReturned {
        /// The other run.
        feed: Instance,
    },
    /// An address is our own.
    SelfDialed {
        /// Which one.
        addr: Addr,
    },
    /// A peer broke the protocol.
    Misbehaved {
        /// Who.
        peer: PeerId,
        /// How.
        what: String,
        /// Penalty points now.
        points: u32,
    },
    /// Two bodies for one number of one author are proven.
    ForkSeen {
        /// Whose.
        feed: Instance,
        /// Which number.
        seq: Seq,
        /// The hash of the body that is taken.
        winner: Hash,
    },
    /// Posts of a branch that lost were set aside.
    SetAside {
        /// Whose.
        feed: Instance,
        /// The last number that is still held.
        head: Seq,
        /// How many.
        posts: u64,
    },
    /// Somebody else signs with this run's epoch: from now on this run has another one.
    EpochChanged {
        /// As it was.
        old: Instance,
        /// As it is.
        new: Instance,
    },
    /// The store refused an append.
    StoreFailed {
        /// Why.
        why: Arc<str>,
    },
}
