//! A store for one mesh, with the moods of a disk.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::effect::{Append, Delivery};
use crate::envelope::{Envelope, VerifiedEnvelope};
use crate::feed::{Runs, StoredFeed};
use crate::id::{Instance, Offset, PostId, Seq};
use crate::input::{Input, KeyedPost, ReadFrom, Ticket, content_hash};

/// What is stored, and what waits for an answer.
pub(super) struct Store {
    pub(super) mood: Mood,
    pub(super) stored: Vec<Delivery>,
    pub(super) held: VecDeque<Question>,
    failed: Option<u64>,
}

/// How the store answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mood {
    /// At once.
    Takes,
    /// When it is told to.
    Waits,
    /// It is full.
    Full,
}

/// What the mesh asks of it, one after the other.
pub(super) enum Question {
    Append(Append),
    Find(Ticket, Vec<String>),
}

impl Store {
    pub(super) fn holding(disk: &[VerifiedEnvelope]) -> Self {
        let mut store = Self { mood: Mood::Takes, stored: Vec::new(), held: VecDeque::new(), failed: None };
        let mut offset = Offset(1);
        for envelope in disk {
            store.stored.push(Delivery { offset, envelope: envelope.clone(), own: false, late: false });
            offset.0 += envelope.body().posts.len() as u64;
        }
        store
    }

    pub(super) fn feeds(&self) -> Vec<StoredFeed> {
        let mut feeds: BTreeMap<Instance, StoredFeed> = BTreeMap::new();
        for Delivery { envelope, .. } in &self.stored {
            let new = || StoredFeed { feed: envelope.feed(), base: Seq(1), runs: Runs::default() };
            feeds.entry(envelope.feed()).or_insert_with(new).runs.add(envelope);
        }
        feeds.into_values().collect()
    }

    /// What waits for an answer.
    pub(super) fn waiting(&self) -> usize {
        self.held.len()
    }

    pub(super) fn answer(&mut self, question: Question) -> Option<Input> {
        match (self.mood, question) {
            (Mood::Waits, question) => {
                self.held.push_back(question);
                None
            }
            (_, Question::Find(ticket, keys)) => {
                let posts = keys.iter().map(|key| self.find(key)).collect();
                Some(Input::KeysFound { ticket, posts })
            }
            (Mood::Takes, Question::Append(append)) if self.failed != Some(append.generation) => {
                self.stored.extend(append.envelopes.iter().map(kept));
                Some(Input::Appended(append.ticket))
            }
            // Whatever comes behind a failed append of its generation may build on it.
            (Mood::Takes | Mood::Full, Question::Append(append)) => {
                self.failed = Some(append.generation);
                Some(Input::AppendFailed { ticket: append.ticket, why: "disk full".into() })
            }
        }
    }

    fn find(&self, key: &str) -> Option<KeyedPost> {
        self.stored.iter().filter(|held| held.own).find_map(|held| {
            let body = held.envelope.body();
            let index = body.posts.iter().position(|post| post.key.as_deref() == Some(key))? as u64;
            let post = &body.posts[index as usize];
            Some(KeyedPost {
                id: PostId { feed: body.feed, seq: body.first.plus(index) },
                offset: Offset(held.offset.0 + index),
                at: body.at.plus(index),
                content: content_hash(&post.room, &post.text, post.re),
            })
        })
    }

    pub(super) fn read(&self, from: &ReadFrom) -> Vec<VerifiedEnvelope> {
        let envelopes = self.stored.iter().map(|held| &held.envelope).filter(|held| held.feed_id() == from.feed);
        let wanted = envelopes.filter(|held| held.last() >= from.from && held.first() <= from.to);
        let wanted: BTreeMap<Seq, &VerifiedEnvelope> = wanted.map(|held| (held.first(), held)).collect();
        let (mut bytes, mut next) = (0, from.from);
        // Like the real one: it ends before a hole, and the envelope that passes the limit is still given.
        let fits = wanted.into_values().take_while(|held| {
            let begins = bytes < from.bytes_max && held.first() <= next;
            bytes += held.bytes().len();
            next = held.last().next();
            begins
        });
        fits.cloned().collect()
    }

    pub(super) fn holds(&self, envelope: &Envelope) -> bool {
        self.stored.iter().rev().any(|held| held.envelope.hash() == envelope.hash())
    }
}

/// As a disk keeps it: the bytes of the envelope, not those of the frame that brought it.
fn kept(delivery: &Delivery) -> Delivery {
    let bytes = Bytes::copy_from_slice(delivery.envelope.bytes());
    let envelope = Envelope::parse(bytes, *delivery.envelope.signature()).unwrap().trust_stored();
    Delivery { envelope, ..delivery.clone() }
}
