//! A store for one mesh, with the moods of a disk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::effect::{Append, Delivery, Settle};
use crate::envelope::{Envelope, VerifiedEnvelope};
use crate::feed::{Runs, StoredFeed};
use crate::fork::{ForkPlace, ForkProof};
use crate::id::{Instance, Offset, PostId, Seq};
use crate::input::{Input, KeyedPost, LostPost, ReadFrom, Settled, Ticket, content_of};
use crate::limits::LOST_POSTS_MAX;

/// What is stored, and what waits for an answer.
#[derive(Clone)]
pub(super) struct Store {
    pub(super) mood: Mood,
    pub(super) stored: Vec<Delivery>,
    pub(super) held: VecDeque<Question>,
    failed: Option<u64>,
    /// Offsets of envelopes that this peer said itself.
    said: BTreeSet<Offset>,
    /// Own posts that were set aside and not said again.
    lost: BTreeMap<Offset, LostPost>,
    pub(super) forks: BTreeMap<(Instance, ForkPlace), ForkProof>,
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
#[derive(Clone)]
pub(super) enum Question {
    Append(Append),
    Find(Ticket, Vec<String>),
    Settle(Box<Settle>),
    FindLost(Ticket, Offset),
}

impl Store {
    pub(super) fn holding(disk: &[VerifiedEnvelope]) -> Self {
        let mut store = Self {
            mood: Mood::Takes,
            stored: Vec::new(),
            held: VecDeque::new(),
            failed: None,
            said: BTreeSet::new(),
            lost: BTreeMap::new(),
            forks: BTreeMap::new(),
        };
        let mut offset = Offset(1);
        for envelope in disk {
            store.stored.push(Delivery { offset, envelope: envelope.clone(), own: false, late: false, forked: false });
            offset.0 += envelope.body().posts.len() as u64;
        }
        store
    }

    pub(super) fn feeds(&self) -> Vec<StoredFeed> {
        let mut feeds: BTreeMap<Instance, StoredFeed> = BTreeMap::new();
        for Delivery { envelope, .. } in self.canonical() {
            let new = || StoredFeed { feed: envelope.feed(), base: Seq(1), runs: Runs::default() };
            feeds.entry(envelope.feed()).or_insert_with(new).runs.add(envelope);
        }
        feeds.into_values().collect()
    }

    /// All that is stored was said by this peer.
    pub(super) fn say_all(&mut self) {
        for held in &mut self.stored {
            held.own = true;
            self.said.insert(held.offset);
        }
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
            (_, Question::FindLost(ticket, after)) => {
                let lost = self.lost.range(Offset(after.0 + 1)..).map(|(_, lost)| lost.clone()).take(LOST_POSTS_MAX);
                Some(Input::LostFound { ticket, posts: lost.collect() })
            }
            (Mood::Takes, Question::Settle(settle)) => {
                let settled = Box::new(self.settle(&settle));
                Some(Input::Settled { ticket: settle.ticket, settled })
            }
            (Mood::Full, Question::Settle(settle)) => Some(Input::SettleFailed(settle.ticket)),
            (Mood::Takes, Question::Append(append)) if self.failed != Some(append.generation) => {
                for delivery in append.envelopes.iter().filter(|delivery| delivery.own) {
                    if append.flush {
                        self.said.insert(delivery.offset);
                    }
                    let again = delivery.envelope.body().posts.iter().filter_map(|post| post.was.as_deref());
                    again.for_each(|was| self.lost.retain(|_, lost| lost.id != *was));
                }
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

    fn settle(&mut self, settle: &Settle) -> Settled {
        let (feed, place) = (settle.proof.feed(), settle.proof.place());
        self.forks.insert((feed, place), settle.proof.clone());
        let held = self.canonical().map(|held| &held.envelope).filter(|held| held.feed() == feed);
        let ours = held.filter(|held| ForkPlace::of(held) == place).last().cloned();
        let has_lost = ours.as_ref().is_some_and(|ours| ours.hash() > settle.proof.winner().hash());
        if let Some(forget) = settle.forget {
            self.forks.remove(&(feed, forget));
        }
        let from = self.held(feed).parted_from(place.seq, has_lost, settle.is_ordered, settle.end);
        let posts = from.map_or(0, |from| self.set_aside(feed, from));
        Settled { left: self.held(feed), posts, ours }
    }

    fn held(&self, feed: Instance) -> StoredFeed {
        let empty = StoredFeed { feed, base: Seq(1), runs: Runs::default() };
        self.feeds().into_iter().find(|held| held.feed == feed).unwrap_or(empty)
    }

    fn set_aside(&mut self, feed: Instance, from: Seq) -> u64 {
        let mut posts = 0;
        for held in &mut self.stored {
            let body = held.envelope.body();
            if held.forked || body.feed != feed || body.last() < from {
                continue;
            }
            held.forked = true;
            posts += body.posts.len() as u64;
            for (index, post) in (0..).zip(&body.posts).filter(|_| self.said.contains(&held.offset)) {
                let (offset, id) = (Offset(held.offset.0 + index), PostId { feed, seq: body.first.plus(index) });
                self.lost.insert(offset, LostPost { offset, id, post: post.clone() });
            }
        }
        posts
    }

    /// What was not set aside.
    fn canonical(&self) -> impl Iterator<Item = &Delivery> {
        self.stored.iter().filter(|held| !held.forked)
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
                content: content_of(post),
            })
        })
    }

    pub(super) fn read(&self, from: &ReadFrom) -> Vec<VerifiedEnvelope> {
        let envelopes = self.canonical().map(|held| &held.envelope).filter(|held| held.feed_id() == from.feed);
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
