//! Authors that sign, and a store that is asked and waits for the answer.

use std::collections::BTreeMap;
use std::path::Path;

use ed25519_dalek::SigningKey;
use p2p_mesh::effect::{Append, Delivery};
use p2p_mesh::envelope::{Body, Post, Stamp, VerifiedEnvelope};
use p2p_mesh::id::{Epoch, FeedId, Hash, Instance, Offset, PeerId, Seq};
use p2p_mesh::input::{Input, ReadFrom, Ticket};
use tokio::sync::oneshot;

use crate::config::Durability;
use crate::query::{Answer, LogGap, LogPage};
use crate::store::{self, Job, Limits, Opened, Retained, StoreError, StoreEvent};

pub(in crate::store) fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

pub(in crate::store) fn identity(seed: u8) -> PeerId {
    PeerId(key(seed).verifying_key().to_bytes())
}

/// Writes one feed.
#[derive(Clone)]
pub(in crate::store) struct Author {
    key: SigningKey,
    pub(in crate::store) feed: Instance,
    next: Seq,
    prev: Option<Hash>,
    at: Stamp,
}

impl Author {
    pub(in crate::store) fn new(seed: u8, epoch: u64) -> Self {
        let feed = Instance { id: identity(seed), epoch: Epoch(epoch) };
        Self { key: key(seed), feed, next: Seq(1), prev: None, at: Stamp::default() }
    }

    /// The next envelope, at `ms` or as soon after its last one as may be.
    pub(in crate::store) fn say(&mut self, ms: u64, posts: Vec<Post>) -> VerifiedEnvelope {
        let at = if ms > self.at.ms { Stamp { ms, counter: 0 } } else { self.at.plus(1) };
        let body = Body { feed: self.feed, first: self.next, prev: self.prev, at, posts };
        let envelope = body.sign(&self.key);
        self.next = envelope.last().next();
        self.prev = Some(envelope.hash());
        self.at = envelope.body().last_at();
        envelope
    }

    /// One post in `general`.
    pub(in crate::store) fn chat(&mut self, ms: u64, text: &str) -> VerifiedEnvelope {
        self.say(ms, vec![Post::chat("general", text)])
    }
}

pub(in crate::store) fn delivery(offset: u64, envelope: &VerifiedEnvelope) -> Delivery {
    Delivery { offset: Offset(offset), envelope: envelope.clone(), own: false, late: false, forked: false }
}

/// Opens a store and waits for it.
pub(in crate::store) fn open(dir: &Path, me: &PeerId, durability: Durability) -> Result<Opened, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store::open(dir, me, durability))
}

/// An open store.
pub(in crate::store) struct Store {
    pub(in crate::store) opened: Opened,
    next: Offset,
    ticket: u64,
}

impl Store {
    /// The store of identity 1.
    pub(in crate::store) fn open(dir: &Path) -> Self {
        let opened = open(dir, &identity(1), Durability::Batch).unwrap();
        Self { next: opened.next_offset, opened, ticket: 0 }
    }

    pub(in crate::store) fn send(&self, job: Job) {
        self.opened.jobs.blocking_send(job).unwrap();
    }

    pub(in crate::store) fn answer(&mut self) -> Input {
        loop {
            match self.opened.events.blocking_recv() {
                Some(StoreEvent::Input(input)) => return input,
                Some(StoreEvent::Recovered) => (),
                other => panic!("{other:?} instead of an answer"),
            }
        }
    }

    /// Asks what is answered to who asks.
    #[track_caller]
    pub(in crate::store) fn ask<T>(&self, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> T {
        let (reply, answer) = oneshot::channel();
        self.send(job(reply));
        answer.blocking_recv().unwrap()
    }

    /// Appends at the next offsets, flushed, and waits until it is done.
    #[track_caller]
    pub(in crate::store) fn append(&mut self, envelopes: &[VerifiedEnvelope]) {
        let deliveries = envelopes
            .iter()
            .map(|envelope| {
                let delivery = delivery(self.next.0, envelope);
                self.next = Offset(self.next.0 + envelope.body().posts.len() as u64);
                delivery
            })
            .collect();
        self.append_at(deliveries).unwrap();
    }

    /// Appends exactly these, flushed; gives back why that failed.
    #[track_caller]
    pub(in crate::store) fn append_at(&mut self, envelopes: Vec<Delivery>) -> Result<(), String> {
        self.ticket += 1;
        let ticket = Ticket(self.ticket);
        self.send(Job::Append(Append { ticket, generation: self.ticket, flush: true, envelopes }));
        match self.answer() {
            Input::Appended(done) if done == ticket => Ok(()),
            Input::AppendFailed { ticket: failed, why } if failed == ticket => Err(why),
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::store) fn read(
        &mut self,
        feed: Instance,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Vec<VerifiedEnvelope> {
        let from = ReadFrom { feed: feed.feed_id(), from: Seq(from), to: Seq(to), bytes_max };
        self.send(Job::Read { ticket: Ticket(9), from });
        match self.answer() {
            Input::ReadDone { ticket: Ticket(9), envelopes } => envelopes,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::store) fn log(&self, after: u64, posts_max: usize, bytes_max: usize) -> Answer<LogPage> {
        self.ask(|reply| Job::ReadLog { after: Offset(after), posts_max, bytes_max, reply })
    }

    /// Drops one step of what is beyond the limits.
    #[track_caller]
    pub(in crate::store) fn retain_step(&mut self, limits: Limits) -> Retained {
        self.send(Job::Retain(limits));
        match self.opened.events.blocking_recv() {
            Some(StoreEvent::Retained(retained)) => retained,
            other => panic!("{other:?} instead of an answer"),
        }
    }

    /// Drops everything beyond the limits; the posts, and for each feed the lowest number that is still wanted.
    #[track_caller]
    pub(in crate::store) fn retain(&mut self, limits: Limits) -> (u64, BTreeMap<FeedId, Seq>) {
        let (mut posts, mut bases) = (0, BTreeMap::new());
        loop {
            let step = self.retain_step(limits);
            posts += step.posts;
            bases.extend(step.feeds.iter().map(|stored| (stored.feed.feed_id(), stored.base)));
            if !step.is_more {
                return (posts, bases);
            }
        }
    }

    /// Reads the whole log behind `after` in pages of `posts_max`, as a reader does: gaps, and entries.
    #[track_caller]
    pub(in crate::store) fn walk(&self, mut after: u64, posts_max: usize) -> (Vec<LogGap>, Vec<Delivery>) {
        let (mut gaps, mut entries): (Vec<LogGap>, Vec<Delivery>) = (Vec::new(), Vec::new());
        loop {
            let page = self.log(after, posts_max, usize::MAX).unwrap();
            if let Some(gap) = page.gap {
                assert!(gap.from.0 > after && gap.from <= gap.to, "{gap:?} behind {after}");
                assert!(page.entries.first().is_none_or(|entry| entry.offset > gap.to), "a gap is told before its end");
                after = gap.to.0;
                gaps.push(gap);
            }
            if let Some(last) = page.entries.last() {
                after = last.offset.0 + last.envelope.body().posts.len() as u64 - 1;
            }
            assert!(page.end || page.gap.is_some() || !page.entries.is_empty(), "a page leads on or is the last");
            entries.extend(page.entries);
            if page.end {
                return (gaps, entries);
            }
        }
    }

    /// Ends it in order.
    pub(in crate::store) fn close(self) {
        drop(self.opened.jobs);
        self.opened.thread.join().unwrap();
    }

    /// Ends it and starts it again.
    pub(in crate::store) fn reopen(self, dir: &Path) -> Self {
        self.close();
        Self::open(dir)
    }
}
