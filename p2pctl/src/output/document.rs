//! What JSON and YAML show: one tree for both, so they cannot differ.

use std::borrow::Cow;
use std::io::{self, Write};

use p2p_proto::v1::{Gap, HistoryResponse, Peer, Post, PostId};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::ser::Formatter;

use super::escape::{self, is_hostile};
use super::time::rfc3339;

/// One value of a document. Fields keep the order they were added in.
#[derive(Clone, Debug)]
pub(crate) enum Document<'a> {
    /// Not known, or not there.
    Null,
    Bool(bool),
    Number(i64),
    Count(u64),
    Text(Cow<'a, str>),
    List(Vec<Document<'a>>),
    /// A list of posts, each made a document when its turn comes: a history may be long.
    Posts(&'a [Post]),
    Object(Vec<(Cow<'a, str>, Document<'a>)>),
}

/// An object under construction.
pub(crate) struct Fields<'a>(Vec<(Cow<'a, str>, Document<'a>)>);

impl<'a> Fields<'a> {
    /// A document of its own: begins with the version of its form and what it is.
    pub(crate) fn document(kind: &'static str) -> Self {
        Self::new().add("v", 1u64).add("type", kind)
    }

    pub(crate) fn new() -> Self {
        Self(Vec::with_capacity(16))
    }

    pub(crate) fn add(mut self, key: impl Into<Cow<'a, str>>, value: impl Into<Document<'a>>) -> Self {
        self.0.push((key.into(), value.into()));
        self
    }

    pub(crate) fn done(self) -> Document<'a> {
        Document::Object(self.0)
    }
}

impl<'a> Document<'a> {
    /// A time, or null where it is 0.
    pub(crate) fn time(time_us: i64) -> Self {
        if time_us == 0 { Self::Null } else { Self::Text(rfc3339(time_us).into()) }
    }

    /// Text, or null where it is empty.
    pub(crate) fn filled(text: &'a str) -> Self {
        if text.is_empty() { Self::Null } else { text.into() }
    }

    pub(crate) fn texts(texts: &'a [String]) -> Self {
        Self::List(texts.iter().map(|text| text.as_str().into()).collect())
    }

    /// Writes JSON for people to read.
    pub(crate) fn write_pretty(&self, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        out.write_all(b"\n")
    }

    /// Writes one line of JSON. What could harm a terminal is written as `\u....`, which reads back as itself.
    pub(crate) fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Ascii);
        self.serialize(&mut serializer)?;
        out.write_all(b"\n")
    }
}

/// A post's fields, without the head of a document.
pub(crate) fn post(post: &Post) -> Document<'_> {
    post_fields(Fields::new(), post).done()
}

/// A post as a document of its own.
pub(crate) fn post_document(post: &Post) -> Document<'_> {
    post_fields(Fields::document("post"), post).done()
}

fn post_fields<'a>(fields: Fields<'a>, post: &'a Post) -> Fields<'a> {
    let id = post.id.as_ref();
    fields
        .add("id", post_id(id))
        .add("author", id.map_or(Document::Null, |id| id.author.as_str().into()))
        .add("epoch", id.map_or(0, |id| id.epoch))
        .add("seq", id.map_or(0, |id| id.seq))
        .add("author_name", Document::filled(&post.author_name))
        .add("offset", post.offset)
        .add("time", Document::time(post.time_us))
        .add("kind", post.kind.as_str())
        .add("room", post.room.as_str())
        .add("text", post.text.as_str())
        .add("re", post_id(post.re.as_ref()))
        .add("key", Document::filled(&post.key))
        .add("own", post.own)
        .add("late", post.late)
        .add("unsupported", post.unsupported)
        .add("forked", post.forked)
        .add("was", post_id(post.was.as_ref()))
        .add("author_petname", Document::filled(&post.author_petname))
        .add("author_name_owner", Document::filled(&post.author_name_owner))
        .add("direct", post.direct)
        .add("to", Document::filled(&post.to))
        .add("to_name", Document::filled(&post.to_name))
        .add("to_petname", Document::filled(&post.to_petname))
        .add("unreadable", post.unreadable)
}

/// A post's name with the author's whole id, or null.
pub(crate) fn post_id<'a>(id: Option<&PostId>) -> Document<'a> {
    id.map_or(Document::Null, |_| Document::Text(post_id_text(id).into()))
}

/// The same as text, empty for none.
pub(crate) fn post_id_text(id: Option<&PostId>) -> String {
    id.map(|id| format!("{}-{}-{}", escape::line(&id.author), id.epoch, id.seq)).unwrap_or_default()
}

/// Posts that are gone.
pub(crate) fn gap<'a>(gap: &Gap) -> Document<'a> {
    Fields::document("gap").add("from", gap.from).add("to", gap.to).add("posts", gap.posts).done()
}

/// Posts behind the beginning of a history that goes on: they are gone.
pub(crate) fn expired<'a>(history: &HistoryResponse) -> Document<'a> {
    let fields = Fields::document("expired").add("posts", history.expired);
    fields.add("newest", Document::time(history.expired_newest_us)).done()
}

/// Everything that was there has been shown; what follows is new.
pub(crate) fn caught_up<'a>(offset: u64) -> Document<'a> {
    Fields::document("caught_up").add("offset", offset).done()
}

/// A peer's fields, behind `fields`.
pub(crate) fn peer<'a>(fields: Fields<'a>, peer: &'a Peer) -> Document<'a> {
    let measured = |value: u32| if value == 0 { Document::Null } else { u64::from(value).into() };
    fields
        .add("id", Document::filled(&peer.id))
        .add("name", Document::filled(&peer.name))
        .add("state", super::peers::state_name(peer.state()))
        .add("rtt_us", measured(peer.rtt_us))
        .add("behind", peer.behind)
        .add("address", Document::filled(&peer.address))
        .add("addresses", Document::texts(&peer.addresses))
        .add("since", Document::time(peer.since_us))
        .add("outbound", peer.outbound)
        .add("bytes_sent", peer.bytes_sent)
        .add("bytes_received", peer.bytes_received)
        .add("posts_received", peer.posts_received)
        .add("posts_duplicate", peer.posts_duplicate)
        .add("queue_bytes", peer.queue_bytes)
        .add("tries", u64::from(peer.tries))
        .add("next_dial_ms", measured(peer.next_dial_ms))
        .add("last_error", Document::filled(&peer.last_error))
        .add("agent", Document::filled(&peer.agent))
        .add("clock_offset_us", peer.clock_offset_us)
        .add("epoch", peer.epoch)
        .add("configured", peer.configured)
        .add("instances", u64::from(peer.instances))
        .add("last_seen", Document::time(peer.last_seen_us))
        .add("forks", u64::from(peer.forks))
        .add("petname", Document::filled(&peer.petname))
        .add("blocked", peer.blocked)
        .add("name_owner", Document::filled(&peer.name_owner))
        .add("shut_out", peer.shut_out)
        .done()
}

impl Serialize for Document<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => serializer.serialize_i64(*value),
            Self::Count(value) => serializer.serialize_u64(*value),
            Self::Text(text) => serializer.serialize_str(text),
            Self::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Self::Posts(posts) => {
                let mut list = serializer.serialize_seq(Some(posts.len()))?;
                for each in *posts {
                    list.serialize_element(&post(each))?;
                }
                list.end()
            }
            Self::Object(fields) => {
                let mut object = serializer.serialize_map(Some(fields.len()))?;
                for (key, value) in fields {
                    object.serialize_entry(key, value)?;
                }
                object.end()
            }
        }
    }
}

/// Compact JSON in which nothing moves a cursor.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(is_hostile) {
            let (clean, behind) = rest.split_at(at);
            out.write_all(clean.as_bytes())?;
            let hostile = behind.chars().next().expect("find gave its place");
            for unit in hostile.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = &behind[hostile.len_utf8()..];
        }
        out.write_all(rest.as_bytes())
    }
}

impl<'a> From<&'a str> for Document<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Document<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Document<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u64> for Document<'_> {
    fn from(value: u64) -> Self {
        Self::Count(value)
    }
}

impl From<i64> for Document<'_> {
    fn from(value: i64) -> Self {
        Self::Number(value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn json_is_harmless_and_reads_back_as_it_was(text: String) {
            let mut json = Vec::new();
            Document::from(text.as_str()).write_json(&mut json).unwrap();
            let json = String::from_utf8(json).unwrap();
            prop_assert!(!json.trim_end_matches('\n').chars().any(is_hostile));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
