//! Posts as the readers of a stream get them.

use bytes::Bytes;
use p2p_mesh::effect::Delivery;
use p2p_proto::batch::{encode_head, encode_post};
use p2p_proto::v1;

use super::convert::{self, Marks, View};

/// The posts of one envelope, encoded once for all readers.
#[derive(Debug)]
pub(super) struct Shown {
    bytes: Bytes,
    /// Where each post ends; where the one before does, if it is for others alone.
    ends: Vec<usize>,
}

impl Shown {
    pub(super) fn of(entry: &Delivery, view: &View) -> Self {
        let body = entry.envelope.body();
        let author = &body.feed.id;
        let marks = Marks { at_ms: body.at.ms, own: entry.own, late: entry.late, forked: entry.forked };
        let head = encode_head(&convert::of_author(author, marks, &view.names));
        // One message for all: what it holds is written over, and not allocated anew.
        let mut id = v1::PostId { author: author.to_string(), epoch: body.feed.epoch.0, seq: body.first.0 };
        let mut message = v1::Post { offset: entry.offset.0, ..v1::Post::default() };
        let mut bytes = Vec::with_capacity(entry.envelope.bytes().len() + body.posts.len() * (head.len() + ID_BYTES));
        let mut ends = Vec::with_capacity(body.posts.len());
        for post in &body.posts {
            if convert::say(&mut message, post, author, view) {
                message.id = Some(id);
                encode_post(&head, &message, &mut bytes);
                id = message.id.take().expect("it was just put there");
            }
            ends.push(bytes.len());
            id.seq = id.seq.saturating_add(1);
            message.offset = message.offset.saturating_add(1);
        }
        Self { bytes: bytes.into(), ends }
    }

    /// All that are not for others alone.
    pub(super) fn all(&self) -> Bytes {
        self.bytes.clone()
    }

    /// One of them; none where it is for others alone.
    pub(super) fn get(&self, index: usize) -> Option<Bytes> {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends[index];
        (start < end).then(|| self.bytes.slice(start..end))
    }
}

/// Guess: what its number takes in a message.
pub(super) const ID_BYTES: usize = 80;
