//! Frames to messages: everything is hostile until its type says otherwise.

use bytes::Bytes;

use super::{
    Bye, ByeCode, Digest, Envelopes, Fork, Have, Head, Heads, Hello, Message, MessageError, Ping, Pong, Reserved, Role,
    VIEW_ID_LEN, View, Want,
};
use crate::envelope::Envelope;
use crate::id::{Epoch, FeedId, Instance, Seq, from_base64url};
use crate::json::{Bodies, JsonError, Object, Value, parse_object};
use crate::limits::{
    ADDR_LEN_MAX, ENVELOPES_PER_FRAME_MAX, FRAME_DEPTH_MAX, HAVES_PER_FRAME_MAX, HEADS_PER_FRAME_MAX, NAME_LEN_MAX,
    NEIGHBORS_MAX, PRUNES_PER_FRAME_MAX, RANGES_PER_WANT_MAX, RECORDS_PER_FRAME_MAX,
};
use crate::membership::record::Record;

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
            "fork" => Self::Fork(Box::new(Fork { a: parse_envelope(&object, "a")?, b: parse_envelope(&object, "b")? })),
            _ => Self::Unknown,
        })
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
        observed: cut(object.text("observed")?, ADDR_LEN_MAX),
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
    let (fingerprint, feeds, holes) = match object.list("digest")? {
        [fingerprint, feeds] => (fingerprint, feeds, 0),
        [fingerprint, feeds, holes] => (fingerprint, feeds, holes.integer("digest")?),
        _ => return Err(JsonError::Field { field: "digest", want: "a fingerprint and two counts" }.into()),
    };
    // The fingerprint has the length and the form of a feed id.
    let FeedId(fingerprint) = fingerprint.text("digest")?.parse()?;
    Ok(Digest { fingerprint, feeds: feeds.integer("digest")?, holes })
}

fn parse_records(object: &Object<'_>) -> Result<Vec<Record>, MessageError> {
    parse_list(object, "records", RECORDS_PER_FRAME_MAX, |record| parse_record(record.object("records")?))
}

fn parse_record(object: &Object<'_>) -> Result<Record, MessageError> {
    Ok(Record::parse(object.raw("body")?, from_base64url(object.text("sig")?)?)?)
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
        Ok((item.raw("body")?, from_base64url(item.text("sig")?)?))
    })?;
    // A body keeps the frame that it lies in, so it may lie only in one that holds little else.
    let is_dense = items.iter().map(|(body, _)| body.len()).sum::<usize>() * 2 >= frame.len();
    let own =
        |body: &str| if is_dense { frame.slice_ref(body.as_bytes()) } else { Bytes::copy_from_slice(body.as_bytes()) };
    let items = items.into_iter().map(|(body, signature)| Envelope::parse(own(body), signature));
    let items = items.collect::<Result<_, _>>()?;
    let more = matches!(object.optional("more"), Some(Value::Bool(true)));
    Ok(Envelopes { items, hop: object.integer("hop")?, live: object.bool("live")?, more })
}

/// Of two that share a frame each gets bytes of its own, so that one can be kept without the other.
fn parse_envelope(object: &Object<'_>, key: &'static str) -> Result<Envelope, MessageError> {
    let item = object.required(key)?.object(key)?;
    let signature = from_base64url(item.text("sig")?)?;
    Ok(Envelope::parse(Bytes::copy_from_slice(item.raw("body")?.as_bytes()), signature)?)
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
    let hash = from_base64url(hash.text("h")?)?;
    Ok(Head { feed, floor: Seq(floor.integer("h")?), head: Seq(head.integer("h")?), hash })
}

fn parse_list<'a, T>(
    object: &Object<'a>,
    field: &'static str,
    limit: usize,
    parse: impl FnMut(&Value<'a>) -> Result<T, MessageError>,
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

const WHY_CHARS_MAX: usize = 200;
const PEER_ID: &str = "a peer id";
const FEED_ID: &str = "a feed id";
