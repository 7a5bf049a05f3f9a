//! Messages: what a frame says.

use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::envelope::{Envelope, EnvelopeError, RawEnvelope};
use crate::id::{Epoch, FeedId, IdError, Instance, Seq, base64url, signature_from_base64url};
use crate::json::{Bodies, JsonError, Object, Value, parse_object};
use crate::limits::{
    ENVELOPES_PER_FRAME_MAX, FRAME_DEPTH_MAX, HAVES_PER_FRAME_MAX, HEADS_PER_FRAME_MAX, NAME_LEN_MAX, NEIGHBORS_MAX,
    PRUNES_PER_FRAME_MAX, RANGES_PER_WANT_MAX, RECORDS_PER_FRAME_MAX,
};
use crate::membership::record::{Addr, Record, RecordError};
use crate::wire::frame::{PREFIX_LEN, finish_frame};

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

/// A fingerprint of everything one peer holds: equal exactly when the histories are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest {
    /// 128 bits of the sum over all feeds.
    pub fingerprint: [u8; 16],
    /// How many feeds.
    pub feeds: u64,
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

impl Message {
    /// Reads the message of one frame.
    ///
    /// # Errors
    ///
    /// The frame is nothing this protocol allows. Unknown types and unknown fields are allowed.
    pub fn decode(frame: &Bytes) -> Result<Self, MessageError> {
        let object = parse_object(frame, FRAME_DEPTH_MAX, Bodies::KeepRaw)?;
        Ok(match object.text("type")? {
            "hello" => Self::Hello(Box::new(parse_hello(&object)?)),
            "bye" => Self::Bye(parse_bye(&object)?),
            "ping" => {
                Self::Ping(Ping { n: object.integer("n")?, t: object.integer("t")?, digest: parse_digest(&object)? })
            }
            "pong" => Self::Pong(Pong {
                n: object.integer("n")?,
                t: object.integer("t")?,
                r: object.integer("r")?,
                digest: parse_digest(&object)?,
            }),
            "suspect" => {
                Self::Suspect(Instance { id: object.parsed("id", PEER_ID)?, epoch: Epoch(object.integer("epoch")?) })
            }
            "peers" => Self::Peers(parse_records(&object)?),
            "view" => Self::View(parse_view(&object)?),
            "envelopes" => Self::Envelopes(parse_envelopes(&object, frame)?),
            "have" => Self::Have(parse_list(&object, "h", HAVES_PER_FRAME_MAX, parse_have)?),
            "want" => Self::Want(parse_want(&object)?),
            "prune" => Self::Prune(parse_list(&object, "feeds", PRUNES_PER_FRAME_MAX, |feed| {
                feed.text("feeds")?.parse().map_err(|_| JsonError::Field { field: "feeds", want: FEED_ID }.into())
            })?),
            "gone" => Self::Gone { feed: object.parsed("feed", FEED_ID)?, floor: Seq(object.integer("floor")?) },
            "heads" => Self::Heads(Heads {
                part: object.integer("part")?,
                of: object.integer("of")?,
                heads: parse_list(&object, "h", HEADS_PER_FRAME_MAX, parse_head)?,
            }),
            "range" => Self::Reserved(Reserved::Range),
            "join" => Self::Reserved(Reserved::Join),
            "forward_join" => Self::Reserved(Reserved::ForwardJoin),
            "neighbor" => Self::Reserved(Reserved::Neighbor),
            "neighbor_reply" => Self::Reserved(Reserved::NeighborReply),
            "shuffle" => Self::Reserved(Reserved::Shuffle),
            "shuffle_reply" => Self::Reserved(Reserved::ShuffleReply),
            "fork" => Self::Reserved(Reserved::Fork),
            _ => Self::Unknown,
        })
    }

    /// The message as a frame with its length in front.
    ///
    /// # Panics
    ///
    /// For `Reserved` and `Unknown`, which this version never sends.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Hello(hello) => encode(&Encoding::hello(hello)),
            Self::Bye(bye) => encode(&Encoding::Bye {
                code: bye.code.name(),
                why: &bye.why,
                retry_ms: bye.retry_ms,
                records: bye.records.iter().map(Signed::record).collect(),
            }),
            Self::Ping(ping) => encode(&Encoding::Ping { n: ping.n, t: ping.t, digest: ping.digest.encoding() }),
            Self::Pong(pong) => {
                encode(&Encoding::Pong { n: pong.n, t: pong.t, r: pong.r, digest: pong.digest.encoding() })
            }
            Self::Suspect(instance) => {
                encode(&Encoding::Suspect { id: instance.id.to_string(), epoch: instance.epoch.0 })
            }
            Self::Peers(records) => encode(&Encoding::Peers { records: records.iter().map(Signed::record).collect() }),
            Self::View(view) => encode(&Encoding::View {
                mode: if view.full { "full" } else { "partial" },
                neighbors: &view.neighbors,
                estimate: view.estimate,
            }),
            Self::Envelopes(envelopes) => {
                let items: Vec<RawEnvelope> = envelopes.items.iter().map(Envelope::raw).collect();
                encode_envelopes(&items, envelopes.hop, envelopes.live, envelopes.more)
            }
            Self::Have(haves) => encode(&Encoding::Have { h: haves.iter().map(HaveEncoding::of).collect() }),
            Self::Want(want) => encode(&Encoding::Want {
                feed: want.feed.to_string(),
                ranges: want.ranges.iter().map(|(from, to)| (from.0, to.map(|to| to.0))).collect(),
                push: want.push,
            }),
            Self::Prune(feeds) => encode(&Encoding::Prune { feeds: feeds.iter().map(FeedId::to_string).collect() }),
            Self::Gone { feed, floor } => encode(&Encoding::Gone { feed: feed.to_string(), floor: floor.0 }),
            Self::Heads(heads) => encode(&Encoding::Heads {
                part: heads.part,
                of: heads.of,
                h: heads
                    .heads
                    .iter()
                    .map(|head| {
                        (head.feed.id.to_string(), head.feed.epoch.0, head.floor.0, head.head.0, base64url(&head.hash))
                    })
                    .collect(),
            }),
            Self::Reserved(_) | Self::Unknown => unreachable!("this version sends no such frame"),
        }
    }
}

/// The frame for some envelopes, without reading them.
pub(crate) fn encode_envelopes(items: &[RawEnvelope], hop: u64, live: bool, more: bool) -> Bytes {
    let len = items.iter().map(|item| item.bytes.len() + ITEM_OVERHEAD).sum::<usize>() + FRAME_OVERHEAD;
    let mut out = Vec::with_capacity(len);
    out.resize(PREFIX_LEN, 0);
    let more = if more { r#","more":true"# } else { "" };
    out.extend_from_slice(format!(r#"{{"type":"envelopes","hop":{hop},"live":{live}{more},"items":["#).as_bytes());
    for (at, item) in items.iter().enumerate() {
        out.extend_from_slice(if at == 0 { br#"{"body":"# } else { br#",{"body":"# });
        out.extend_from_slice(&item.bytes);
        out.extend_from_slice(br#","sig":""#);
        out.extend_from_slice(base64url(&item.signature).as_bytes());
        out.extend_from_slice(br#""}"#);
    }
    out.extend_from_slice(b"]}");
    Bytes::from(finish_frame(out))
}

impl Digest {
    fn encoding(self) -> (String, u64) {
        (base64url(&self.fingerprint), self.feeds)
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

fn parse_hello(object: &Object<'_>) -> Result<Hello, MessageError> {
    let [low, high] = object.list("proto")? else {
        return Err(JsonError::Field { field: "proto", want: "two integers" }.into());
    };
    let record = object.required("record")?.object("record")?;
    Ok(Hello {
        proto: (low.integer("proto")?, high.integer("proto")?),
        epoch: Epoch(object.integer("epoch")?),
        agent: cut(object.text("agent")?, NAME_LEN_MAX),
        observed: cut(object.text("observed")?, crate::limits::ADDR_LEN_MAX),
        caps: parse_list(object, "caps", NEIGHBORS_MAX, |cap| Ok(cut(cap.text("caps")?, NAME_LEN_MAX)))?,
        dial: object.integer("dial")?,
        role: match object.text("role")? {
            "feeler" => Role::Feeler,
            _ => Role::Peer,
        },
        time: object.integer("time")?,
        record: parse_record(record)?,
    })
}

fn parse_bye(object: &Object<'_>) -> Result<Bye, MessageError> {
    Ok(Bye {
        code: ByeCode::from_name(object.text("code")?),
        why: object.text("why")?.chars().take(WHY_CHARS_MAX).collect(),
        retry_ms: object.optional("retry_ms").map(|value| value.integer("retry_ms")).transpose()?,
        records: if object.optional("records").is_some() { parse_records(object)? } else { Vec::new() },
    })
}

fn parse_digest(object: &Object<'_>) -> Result<Digest, MessageError> {
    let [fingerprint, feeds] = object.list("digest")? else {
        return Err(JsonError::Field { field: "digest", want: "a fingerprint and a count" }.into());
    };
    // The fingerprint has the length and the form of a feed id.
    let FeedId(fingerprint) = fingerprint.text("digest")?.parse()?;
    Ok(Digest { fingerprint, feeds: feeds.integer("digest")? })
}

fn parse_records(object: &Object<'_>) -> Result<Vec<Record>, MessageError> {
    parse_list(object, "records", RECORDS_PER_FRAME_MAX, |record| parse_record(record.object("records")?))
}

fn parse_record(object: &Object<'_>) -> Result<Record, MessageError> {
    Ok(Record::parse(object.raw("body")?, signature_from_base64url(object.text("sig")?)?)?)
}

fn parse_view(object: &Object<'_>) -> Result<View, MessageError> {
    Ok(View {
        full: object.text("mode")? == "full",
        neighbors: parse_list(object, "neighbors", NEIGHBORS_MAX, |id| Ok(cut(id.text("neighbors")?, VIEW_ID_LEN)))?,
        estimate: object.integer("estimate")?,
    })
}

fn parse_envelopes(object: &Object<'_>, frame: &Bytes) -> Result<Envelopes, MessageError> {
    let items = parse_list(object, "items", ENVELOPES_PER_FRAME_MAX, |item| {
        let item = item.object("items")?;
        let body = frame.slice_ref(item.raw("body")?.as_bytes());
        Ok(Envelope::parse(body, signature_from_base64url(item.text("sig")?)?)?)
    })?;
    let more = matches!(object.optional("more"), Some(Value::Bool(true)));
    Ok(Envelopes { items, hop: object.integer("hop")?, live: object.bool("live")?, more })
}

fn parse_have(value: &Value<'_>) -> Result<Have, MessageError> {
    let (feed, head, floor) = match value.list("h")? {
        [feed, head] => (feed, head, 1),
        [feed, head, floor] => (feed, head, floor.integer("h")?),
        _ => return Err(JsonError::Field { field: "h", want: "a feed, its head and its floor" }.into()),
    };
    let feed = feed.text("h")?.parse().map_err(|_| JsonError::Field { field: "h", want: FEED_ID })?;
    Ok(Have { feed, head: Seq(head.integer("h")?), floor: Seq(floor) })
}

fn parse_want(object: &Object<'_>) -> Result<Want, MessageError> {
    let ranges = parse_list(object, "ranges", RANGES_PER_WANT_MAX, |range| {
        let [from, to] = range.list("ranges")? else {
            return Err(JsonError::Field { field: "ranges", want: "pairs" }.into());
        };
        let to = if *to == Value::Null { None } else { Some(Seq(to.integer("ranges")?)) };
        Ok((Seq(from.integer("ranges")?), to))
    })?;
    Ok(Want { feed: object.parsed("feed", FEED_ID)?, ranges, push: object.bool("push")? })
}

fn parse_head(value: &Value<'_>) -> Result<Head, MessageError> {
    let [author, epoch, floor, head, hash] = value.list("h")? else {
        return Err(JsonError::Field { field: "h", want: "author, epoch, floor, head and hash" }.into());
    };
    let id = author.text("h")?.parse().map_err(|_| JsonError::Field { field: "h", want: PEER_ID })?;
    let feed = Instance { id, epoch: Epoch(epoch.integer("h")?) };
    let hash = crate::id::hash8_from_base64url(hash.text("h")?)?;
    Ok(Head { feed, floor: Seq(floor.integer("h")?), head: Seq(head.integer("h")?), hash })
}

fn parse_list<T>(
    object: &Object<'_>,
    field: &'static str,
    limit: usize,
    parse: impl FnMut(&Value<'_>) -> Result<T, MessageError>,
) -> Result<Vec<T>, MessageError> {
    let list = object.list(field)?;
    if list.len() > limit {
        return Err(MessageError::TooMany { field, got: list.len(), limit });
    }
    list.iter().map(parse).collect()
}

/// The longest start of `text` that is not over `len` bytes.
fn cut(text: &str, len: usize) -> String {
    text[..text.floor_char_boundary(len)].to_owned()
}

fn encode(encoding: &Encoding<'_>) -> Bytes {
    let mut out = vec![0; PREFIX_LEN];
    serde_json::to_writer(&mut out, encoding).expect(INFALLIBLE);
    Bytes::from(finish_frame(out))
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Encoding<'a> {
    Hello {
        proto: (u64, u64),
        epoch: u64,
        agent: &'a str,
        name: &'a str,
        listen: Vec<&'a str>,
        observed: &'a str,
        caps: &'a [String],
        dial: u64,
        role: &'a str,
        time: u64,
        record: Signed<'a>,
    },
    Bye {
        code: &'a str,
        why: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_ms: Option<u64>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        records: Vec<Signed<'a>>,
    },
    Ping {
        n: u64,
        t: u64,
        digest: (String, u64),
    },
    Pong {
        n: u64,
        t: u64,
        r: u64,
        digest: (String, u64),
    },
    Suspect {
        id: String,
        epoch: u64,
    },
    Peers {
        records: Vec<Signed<'a>>,
    },
    View {
        mode: &'a str,
        neighbors: &'a [String],
        estimate: u64,
    },
    Have {
        h: Vec<HaveEncoding>,
    },
    Want {
        feed: String,
        ranges: Vec<(u64, Option<u64>)>,
        push: bool,
    },
    Prune {
        feeds: Vec<String>,
    },
    Gone {
        feed: String,
        floor: u64,
    },
    Heads {
        part: u64,
        of: u64,
        h: Vec<(String, u64, u64, u64, String)>,
    },
}

impl<'a> Encoding<'a> {
    fn hello(hello: &'a Hello) -> Self {
        Self::Hello {
            proto: hello.proto,
            epoch: hello.epoch.0,
            agent: &hello.agent,
            name: &hello.record.name,
            listen: hello.record.addrs.iter().map(Addr::as_str).collect(),
            observed: &hello.observed,
            caps: &hello.caps,
            dial: hello.dial,
            role: match hello.role {
                Role::Peer => "peer",
                Role::Feeler => "feeler",
            },
            time: hello.time,
            record: Signed::record(&hello.record),
        }
    }
}

#[derive(Serialize)]
struct Signed<'a> {
    body: &'a RawValue,
    sig: String,
}

impl<'a> Signed<'a> {
    fn record(record: &'a Record) -> Self {
        let body =
            serde_json::from_str(record.body()).expect("a record's body is JSON: it was read or written as such");
        Self { body, sig: base64url(record.signature()) }
    }
}

#[derive(Serialize)]
#[serde(untagged)]
enum HaveEncoding {
    Whole(String, u64),
    Floored(String, u64, u64),
}

impl HaveEncoding {
    fn of(have: &Have) -> Self {
        let feed = have.feed.to_string();
        if have.floor.0 <= 1 { Self::Whole(feed, have.head.0) } else { Self::Floored(feed, have.head.0, have.floor.0) }
    }
}

/// Characters of an id in a `view`.
pub const VIEW_ID_LEN: usize = 12;
const WHY_CHARS_MAX: usize = 200;
/// `{"body":,"sig":""},` and 86 characters of signature.
const ITEM_OVERHEAD: usize = 19 + 86;
/// Length, type, hop and the rest around the items.
const FRAME_OVERHEAD: usize = 96;
const PEER_ID: &str = "a peer id";
const FEED_ID: &str = "a feed id";
const INFALLIBLE: &str = "writing to memory does not fail";

#[cfg(test)]
mod tests;
