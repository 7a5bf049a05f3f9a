//! Somebody who says something, in envelopes of a given shape.

use std::fmt;

use ed25519_dalek::SigningKey;
use p2p_mesh::envelope::{AuthorKey, Body, Post, Stamp, VerifiedEnvelope};
use p2p_mesh::id::{Epoch, Hash, Instance, PeerId, Seq};

/// How much an envelope holds.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) posts: usize,
    pub(crate) text_bytes: usize,
}

/// Writes one feed.
#[derive(Clone)]
pub(crate) struct Author {
    key: SigningKey,
    feed: Instance,
    next: Seq,
    prev: Option<Hash>,
}

impl Shape {
    /// So many posts of this length, without anything that has to be escaped.
    fn posts(self) -> Vec<Post> {
        let text = "x".repeat(self.text_bytes);
        (0..self.posts).map(|_| Post::chat("general", &text)).collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} x {} B", self.posts, self.text_bytes)
    }
}

impl Author {
    /// Each number is somebody else.
    pub(crate) fn new(number: u8) -> Self {
        let key = key(number);
        Self { feed: Instance { id: id(number), epoch: EPOCH }, key, next: Seq(1), prev: None }
    }

    /// What verifies its envelopes.
    pub(crate) fn verifier(&self) -> AuthorKey {
        AuthorKey::new(&self.feed.id).expect("a key that was just made is a good one")
    }

    /// Its next envelope, not signed yet. Without `sign` it is the next one for ever.
    pub(crate) fn draft(&self, posts: Vec<Post>) -> Body {
        let at = Stamp { ms: BEGIN_MS, counter: self.next.0 };
        Body { feed: self.feed, first: self.next, prev: self.prev, at, posts }
    }

    /// The next envelope of this shape, not signed yet.
    pub(crate) fn draft_of(&self, shape: Shape) -> Body {
        self.draft(shape.posts())
    }

    /// Signs a draft. The next one goes on behind it.
    pub(crate) fn sign(&mut self, draft: Body) -> VerifiedEnvelope {
        let envelope = draft.sign(&self.key);
        (self.next, self.prev) = (envelope.last().next(), Some(envelope.hash()));
        envelope
    }

    /// The next envelope of this shape.
    pub(crate) fn say(&mut self, shape: Shape) -> VerifiedEnvelope {
        let draft = self.draft_of(shape);
        self.sign(draft)
    }
}

pub(crate) fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn id(number: u8) -> PeerId {
    PeerId(key(number).verifying_key().to_bytes())
}

/// A lone post, what a flood packs together, and long texts.
pub(crate) const SHAPES: [Shape; 3] = [LONE, FULL, Shape { posts: 16, text_bytes: 1_024 }];
pub(crate) const LONE: Shape = Shape { posts: 1, text_bytes: 64 };
pub(crate) const FULL: Shape = Shape { posts: 256, text_bytes: 64 };
pub(crate) const EPOCH: Epoch = Epoch(1_000);
/// Milliseconds since 1970: somewhere in 2027.
pub(crate) const BEGIN_MS: u64 = 1_800_000_000_000;
