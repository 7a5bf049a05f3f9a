//! The envelope: a signed run of 1 to 256 consecutive posts of one feed.
//!
//! It is signed once, checked once, stored once, and travels as the exact bytes that were signed.

mod plain;

use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::Serialize;

use crate::id::{Epoch, FeedId, Hash, INTEGER_END, Instance, PeerId, PostId, Seq};
use crate::json::{JsonError, Object, Value, parse_rows};
use crate::limits::{BODY_DEPTH_MAX, BODY_LEN_MAX, KEY_LEN_MAX, KIND_LEN_MAX, POSTS_PER_ENVELOPE_MAX, TEXT_LEN_MAX};

/// A moment of the hybrid logical clock: what orders posts of different authors.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Stamp {
    /// Milliseconds since 1970.
    pub ms: u64,
    /// Orders posts of the same millisecond.
    pub counter: u64,
}

/// One thing somebody said. Texts that were read from an envelope are pieces of its bytes, and what few posts have stands
/// apart: there may be thousands in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Post {
    /// `chat`, or what another version knows.
    pub kind: ByteString,
    /// Where it was said; empty where this kind has no room.
    pub room: ByteString,
    /// What was said.
    pub text: ByteString,
    /// The post this one answers.
    pub re: Option<Box<PostId>>,
    /// The sender's idempotency key.
    pub key: Option<ByteString>,
    /// The post that this one says again, because its author lost that one's number in a fork.
    pub was: Option<Box<PostId>>,
    /// For whom it is, where it is for one peer only.
    pub direct: Option<Box<Direct>>,
}

/// What only two can read: the author, and one other.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Direct {
    /// The other one.
    pub to: PeerId,
    /// The sealed text, as it travels. Whether it can be opened is nothing that the mesh asks.
    pub sealed: String,
}

/// What an envelope says, read from its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Body {
    /// Author and epoch.
    pub feed: Instance,
    /// The number of the first post.
    pub first: Seq,
    /// The hash of the previous envelope's body; none where `first` is 1.
    pub prev: Option<Hash>,
    /// When the first post was sent.
    pub at: Stamp,
    /// In order.
    pub posts: Vec<Post>,
}

/// An envelope as it came from a stranger: read, not yet believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Envelope {
    bytes: Bytes,
    signature: [u8; 64],
    hash: Hash,
    feed_id: FeedId,
    body: Arc<Body>,
}

/// An envelope that its author really signed. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedEnvelope(Envelope);

/// An envelope as it travels: no more than what sending it takes.
#[derive(Clone, Debug)]
pub(crate) struct RawEnvelope {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) bytes: Bytes,
    pub(crate) signature: [u8; 64],
}

/// An author's key, ready for verifying. Making one costs a tenth of a verification, so keep it.
#[derive(Clone, Debug)]
pub struct AuthorKey(VerifyingKey);

/// Bytes that are no valid envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Larger than any valid one.
    #[error("a body of {len} bytes is over the limit of {BODY_LEN_MAX}")]
    TooLong {
        /// Its size.
        len: usize,
    },
    /// Not the JSON it should be.
    #[error("{0}")]
    Json(#[from] JsonError),
    /// A version this program does not know.
    #[error("version {0} of envelopes is not known")]
    Version(u64),
    /// A number outside its range.
    #[error("{field} is out of range")]
    Range {
        /// Which one.
        field: &'static str,
    },
    /// `prev` is there where it must not be, or the other way round.
    #[error("prev does not fit to first")]
    Prev,
    /// The author is no key that anybody can hold.
    #[error("the author is no usable key")]
    Author,
    /// Not signed by its author.
    #[error("the signature does not match")]
    Signature,
}

impl Stamp {
    /// The stamp of the post `index` places behind this one in an envelope.
    #[must_use]
    pub fn plus(self, index: u64) -> Self {
        Self { ms: self.ms, counter: self.counter.saturating_add(index) }
    }
}

impl Body {
    /// The number of the last post.
    #[must_use]
    pub fn last(&self) -> Seq {
        Seq(self.first.0 + self.posts.len() as u64 - 1)
    }

    /// When the last post was sent.
    #[must_use]
    pub fn last_at(&self) -> Stamp {
        self.at.plus(self.posts.len() as u64 - 1)
    }

    /// The body as JSON, the bytes that are signed.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let encoding = BodyEncoding {
            v: VERSION,
            author: self.feed.id.to_string(),
            epoch: self.feed.epoch.0,
            first: self.first.0,
            prev: self.prev.map(|hash| hash.to_string()),
            at: [self.at.ms, self.at.counter],
            posts: self.posts.iter().map(PostEncoding::of).collect(),
        };
        serde_json::to_vec(&encoding).expect("strings and integers always encode")
    }

    /// Signs it. The caller keeps the size below the limit.
    #[must_use]
    pub fn sign(self, key: &SigningKey) -> VerifiedEnvelope {
        let bytes = self.encode();
        self.sign_bytes(bytes, key)
    }

    /// The same where the posts were encoded before, by `Post::encode_into`.
    pub(crate) fn sign_encoded(mut self, posts: &[u8], key: &SigningKey) -> VerifiedEnvelope {
        let own = std::mem::take(&mut self.posts);
        let mut bytes = self.encode();
        bytes.truncate(bytes.len() - EMPTY_END.len());
        bytes.reserve_exact(posts.len() + EMPTY_END.len());
        bytes.extend_from_slice(posts);
        bytes.extend_from_slice(EMPTY_END);
        self.posts = own;
        self.sign_bytes(bytes, key)
    }

    fn sign_bytes(self, bytes: Vec<u8>, key: &SigningKey) -> VerifiedEnvelope {
        let bytes = Bytes::from(bytes);
        let hash = Hash::of(&bytes);
        let signature = key.sign(&signed_text(&hash)).to_bytes();
        let feed_id = self.feed.feed_id();
        VerifiedEnvelope(Envelope { bytes, signature, hash, feed_id, body: Arc::new(self) })
    }
}

impl Post {
    /// A chat post.
    #[must_use]
    pub fn chat(room: &str, text: &str) -> Self {
        Self { kind: CHAT.into(), room: room.into(), text: text.into(), re: None, key: None, was: None, direct: None }
    }

    /// A post about the network's secret.
    #[must_use]
    pub fn network(text: &str) -> Self {
        Self { kind: NETWORK.into(), ..Self::chat("", text) }
    }

    /// A post for one peer only.
    #[must_use]
    pub fn direct(to: PeerId, sealed: &str) -> Self {
        let direct = Direct { to, sealed: sealed.into() };
        Self { kind: DIRECT.into(), direct: Some(Box::new(direct)), ..Self::chat("", "") }
    }

    /// Appends it to a list of posts as a body has it.
    pub(crate) fn encode_into(&self, list: &mut Vec<u8>) {
        if !list.is_empty() {
            list.push(b',');
        }
        serde_json::to_writer(list, &PostEncoding::of(self)).expect("strings and integers always encode");
    }
}

impl Envelope {
    /// Reads one from the exact bytes of its body and its signature.
    ///
    /// # Errors
    ///
    /// Everything that makes an envelope invalid for everybody, but for the signature and the chain.
    pub fn parse(bytes: Bytes, signature: [u8; 64]) -> Result<Self, EnvelopeError> {
        if bytes.len() > BODY_LEN_MAX {
            return Err(EnvelopeError::TooLong { len: bytes.len() });
        }
        let text = ByteString::try_from(bytes.clone()).map_err(|error| JsonError::Syntax(error.to_string()))?;
        let body = parse_body(&text)?;
        let hash = Hash::of(&bytes);
        Ok(Self { hash, feed_id: body.feed.feed_id(), signature, body: Arc::new(body), bytes })
    }

    /// What it says. Believe it once it is verified.
    #[must_use]
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// Author and epoch.
    #[must_use]
    pub fn feed(&self) -> Instance {
        self.body.feed
    }

    /// The short name of its feed.
    #[must_use]
    pub fn feed_id(&self) -> FeedId {
        self.feed_id
    }

    /// The number of its first post.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.body.first
    }

    /// The number of its last post.
    #[must_use]
    pub fn last(&self) -> Seq {
        self.body.last()
    }

    /// The hash of its body.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// The exact bytes of its body.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// What it takes of memory: its bytes, and what was read from them.
    #[must_use]
    pub(crate) fn memory_bytes(&self) -> usize {
        let own = self.bytes.as_ptr_range();
        let apart = |text: &ByteString| if own.contains(&text.as_ptr()) { 0 } else { text.len() };
        let memory = |post: &Post| {
            let sealed = post.direct.as_ref().map_or(0, |direct| size_of::<Direct>() + direct.sealed.len());
            let key = post.key.as_ref().map_or(0, apart);
            size_of::<Post>() + apart(&post.kind) + apart(&post.room) + apart(&post.text) + key + sealed
        };
        self.bytes.len() + self.body.posts.iter().map(memory).sum::<usize>()
    }

    /// Its signature.
    #[must_use]
    pub fn signature(&self) -> &[u8; 64] {
        &self.signature
    }

    /// What sending it takes.
    pub(crate) fn raw(&self) -> RawEnvelope {
        RawEnvelope { first: self.first(), last: self.last(), bytes: self.bytes.clone(), signature: self.signature }
    }

    /// Checks that the author signed it, strictly: weak keys and malleated signatures are refused.
    ///
    /// # Errors
    ///
    /// The author did not.
    pub fn verify(self, key: &AuthorKey) -> Result<VerifiedEnvelope, EnvelopeError> {
        if key.0.as_bytes() != &self.body.feed.id.0 {
            return Err(EnvelopeError::Author);
        }
        let signature = Signature::from_bytes(&self.signature);
        key.0.verify_strict(&signed_text(&self.hash), &signature).map_err(|_| EnvelopeError::Signature)?;
        Ok(VerifiedEnvelope(self))
    }

    /// Takes one back from our own store, which holds only what was verified and guards it with checksums.
    #[must_use]
    pub fn trust_stored(self) -> VerifiedEnvelope {
        VerifiedEnvelope(self)
    }
}

impl std::ops::Deref for VerifiedEnvelope {
    type Target = Envelope;

    fn deref(&self) -> &Envelope {
        &self.0
    }
}

impl AuthorKey {
    /// The key behind a peer id.
    ///
    /// # Errors
    ///
    /// No point of the curve, or a weak one.
    pub fn new(id: &PeerId) -> Result<Self, EnvelopeError> {
        let key = VerifyingKey::from_bytes(&id.0).map_err(|_| EnvelopeError::Author)?;
        if key.is_weak() { Err(EnvelopeError::Author) } else { Ok(Self(key)) }
    }

    /// Checks a signature over `context` and the hash of `bytes`, as records carry them.
    pub(crate) fn verify_hashed(&self, context: &[u8], bytes: &[u8], signature: &[u8; 64]) -> bool {
        let signed = [context, &Hash::of(bytes).0].concat();
        self.0.verify_strict(&signed, &Signature::from_bytes(signature)).is_ok()
    }
}

/// A signature over `context` and the hash of `bytes`.
pub(crate) fn sign_hashed(key: &SigningKey, context: &[u8], bytes: &[u8]) -> [u8; 64] {
    key.sign(&[context, &Hash::of(bytes).0].concat()).to_bytes()
}

/// What is signed: the context keeps a signature from ever counting for another kind of object.
fn signed_text(hash: &Hash) -> [u8; CONTEXT.len() + 32] {
    let mut text = [0; CONTEXT.len() + 32];
    text[..CONTEXT.len()].copy_from_slice(CONTEXT);
    text[CONTEXT.len()..].copy_from_slice(&hash.0);
    text
}

fn parse_body(text: &ByteString) -> Result<Body, EnvelopeError> {
    let body = plain::read(text).map_or_else(|| parse_any_body(text), Ok)?;
    check(&body)?;
    Ok(body)
}

/// Whatever JSON it is.
fn parse_any_body(text: &ByteString) -> Result<Body, EnvelopeError> {
    let mut posts = Vec::new();
    let object = parse_rows(text, BODY_DEPTH_MAX, "posts", |post| posts.push(parse_post(text, post)))?;
    let version = object.integer("v")?;
    if version != VERSION {
        return Err(EnvelopeError::Version(version));
    }
    let id = object.parsed("author", "a peer id")?;
    let feed = Instance { id, epoch: Epoch(object.integer("epoch")?) };
    let first = Seq(object.integer("first")?);
    object.required("posts")?;
    let at = parse_stamp(object.list("at")?)?;
    let prev = match object.optional("prev") {
        None => None,
        Some(value) => Some(value.text("prev")?.parse().map_err(|_| field("prev", "a hash"))?),
    };
    let posts = posts.into_iter().collect::<Result<_, _>>()?;
    Ok(Body { feed, first, prev, at, posts })
}

/// What its numbers have to do with each other.
fn check(body: &Body) -> Result<(), EnvelopeError> {
    let posts = body.posts.len() as u64;
    if body.posts.is_empty() || body.posts.len() > POSTS_PER_ENVELOPE_MAX {
        return Err(EnvelopeError::Range { field: "posts" });
    }
    // Every post's own stamp stays an integer that every JSON reader holds exactly.
    if body.at.counter + posts >= INTEGER_END {
        return Err(EnvelopeError::Range { field: "at" });
    }
    if body.first.0 == 0 || body.first.0 + posts >= INTEGER_END {
        return Err(EnvelopeError::Range { field: "first" });
    }
    if body.prev.is_none() != (body.first.0 == 1) { Err(EnvelopeError::Prev) } else { Ok(()) }
}

fn parse_stamp(at: &[Value<'_>]) -> Result<Stamp, EnvelopeError> {
    let [ms, counter] = at else { return Err(field("at", "two integers").into()) };
    Ok(Stamp { ms: ms.integer("at")?, counter: counter.integer("at")? })
}

/// A post of the body `whole`.
fn parse_post(whole: &ByteString, post: &Value<'_>) -> Result<Post, EnvelopeError> {
    let object = post.object("posts")?;
    let optional_text = |key| object.optional(key).map(|value| value.piece(key, whole)).transpose();
    let kind = object.required("kind")?.piece("kind", whole)?;
    let text = optional_text("text")?.unwrap_or_default();
    let key = optional_text("key")?;
    let re = object.optional("re").map(|value| parse_post_id(value, "re")).transpose()?.map(Box::new);
    // Versions that do not know the field take whatever is in it, and what is taken must be the same for all.
    let was = object.optional("was").and_then(|value| parse_post_id(value, "was").ok()).map(Box::new);
    if kind.len() > KIND_LEN_MAX {
        return Err(EnvelopeError::Range { field: "kind" });
    }
    if text.len() > TEXT_LEN_MAX {
        return Err(EnvelopeError::Range { field: "text" });
    }
    if key.as_ref().is_some_and(|key| key.len() > KEY_LEN_MAX) {
        return Err(EnvelopeError::Range { field: "key" });
    }
    let direct = if kind == DIRECT { parse_direct(object).map(Box::new) } else { None };
    Ok(Post { kind, room: optional_text("room")?.unwrap_or_default(), text, re, key, was, direct })
}

/// None where the fields say nothing: versions that do not know the kind take that too.
fn parse_direct(object: &Object<'_>) -> Option<Direct> {
    let to = object.optional("to")?.text("to").ok()?.parse().ok()?;
    let sealed = object.optional("sealed")?.text("sealed").ok()?.to_owned();
    Some(Direct { to, sealed })
}

fn parse_post_id(value: &Value<'_>, key: &'static str) -> Result<PostId, JsonError> {
    let [author, epoch, seq] = value.list(key)? else { return Err(field(key, "author, epoch and seq")) };
    let id = author.text(key)?.parse().map_err(|_| field(key, "a peer id"))?;
    let epoch = Epoch(epoch.integer(key)?);
    Ok(PostId { feed: Instance { id, epoch }, seq: Seq(seq.integer(key)?) })
}

fn field(field: &'static str, want: &'static str) -> JsonError {
    JsonError::Field { field, want }
}

#[derive(Serialize)]
struct BodyEncoding<'a> {
    v: u64,
    author: String,
    epoch: u64,
    first: u64,
    prev: Option<String>,
    at: [u64; 2],
    posts: Vec<PostEncoding<'a>>,
}

#[derive(Serialize)]
struct PostEncoding<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    room: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    re: Option<(String, u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was: Option<(String, u64, u64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<&'a str>,
}

impl<'a> PostEncoding<'a> {
    fn of(post: &'a Post) -> Self {
        let encoded = |id: &PostId| (id.feed.id.to_string(), id.feed.epoch.0, id.seq.0);
        let (re, was) = (post.re.as_deref().map(encoded), post.was.as_deref().map(encoded));
        let to = post.direct.as_ref().map(|direct| direct.to.to_string());
        let sealed = post.direct.as_ref().map(|direct| direct.sealed.as_str());
        Self { kind: &post.kind, room: &post.room, text: &post.text, re, key: post.key.as_deref(), was, to, sealed }
    }
}

/// What is said in a room.
pub const CHAT: &str = "chat";
/// What is sealed for one peer.
pub const DIRECT: &str = "direct";
/// What daemons tell each other of the network's secret. No user says or sees it.
pub const NETWORK: &str = "network";
const VERSION: u64 = 1;
const CONTEXT: &[u8] = b"p2pd envelope v1\n";
/// How a body ends whose posts are none yet.
const EMPTY_END: &[u8] = b"]}";

#[cfg(test)]
mod tests;
