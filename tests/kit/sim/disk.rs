//! The virtual disk, and the store's thread in front of it.
//!
//! What is appended survives a crash of the process; what is flushed survives a power cut too.

use std::collections::{BTreeMap, VecDeque};

use p2p_mesh::effect::{Append, Delivery, Settle};
use p2p_mesh::envelope::{Envelope, VerifiedEnvelope};
use p2p_mesh::feed::{Fit, Runs, StoredFeed};
use p2p_mesh::fork::{ForkPlace, ForkProof};
use p2p_mesh::id::{Epoch, FeedId, Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::{Input, KeyedPost, LostPost, ReadFrom, Settled, Ticket, content_of};
use p2p_mesh::limits::LOST_POSTS_MAX;
use p2p_mesh::membership::record::Record;

use super::dice::Dice;

/// What a machine keeps.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    log: Vec<Entry>,
    /// Everything that ever changed the log, in order.
    journal: Vec<Change>,
    /// Changes that are safe from a power cut.
    flushed: usize,
    places: BTreeMap<(FeedId, Seq), usize>,
    feeds: BTreeMap<Instance, Runs>,
    keys: BTreeMap<String, KeyedPost>,
    book: BTreeMap<PeerId, (Record, u64)>,
    newest_epoch: Option<Epoch>,
    forks: BTreeMap<(Instance, ForkPlace), ForkProof>,
    /// Own posts that were set aside and not said again, by offset.
    lost: BTreeMap<Offset, LostPost>,
}

/// One envelope on disk.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The offset of its first post.
    pub offset: Offset,
    /// The envelope.
    pub envelope: VerifiedEnvelope,
    /// It was delivered as late.
    pub late: bool,
    /// It was said by a run on this disk.
    said: bool,
    /// It was set aside in a fork.
    pub forked: bool,
}

/// What changes the log.
#[derive(Clone, Debug)]
enum Change {
    /// Whether a run on this disk said it.
    Append(Delivery, bool),
    Settle(Box<Settle>),
}

/// What the store's thread is asked to do.
#[derive(Clone, Debug)]
pub enum Job {
    /// Answered by `Appended` or `AppendFailed`.
    Append(Append),
    /// Answered by `ReadDone`.
    Read(Ticket, ReadFrom),
    /// Answered by `KeysFound`.
    FindKeys(Ticket, Vec<String>),
    /// Answered by `Settled` or `SettleFailed`.
    Settle(Box<Settle>),
    /// Answered by `LostFound`.
    FindLost(Ticket, Offset),
    /// Answered by `EpochDrawn`.
    RenewEpoch(Epoch),
    /// Not answered.
    SaveRecord(Box<Record>, u64),
    /// Not answered.
    ForgetRecord(PeerId),
}

/// The thread: jobs are done in order, all that came during a flush in the next one.
#[derive(Clone, Debug, Default)]
pub struct Store {
    jobs: VecDeque<Job>,
    running: Vec<Job>,
    failed_generation: Option<u64>,
}

/// What a disk does to an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Space {
    /// There is room.
    Left,
    /// There is none.
    Full,
}

impl Disk {
    /// Everything stored, in the order of the offsets.
    #[must_use]
    pub fn log(&self) -> &[Entry] {
        &self.log
    }

    /// Every feed, as a start finds it.
    #[must_use]
    pub fn stored_feeds(&self) -> Vec<StoredFeed> {
        let feeds = self.feeds.iter();
        feeds.map(|(feed, runs)| StoredFeed { feed: *feed, base: Seq(1), runs: runs.clone() }).collect()
    }

    /// How an envelope fits to what is held of its feed.
    #[must_use]
    pub fn fit(&self, envelope: &Envelope) -> Fit {
        self.feeds.get(&envelope.feed()).map_or_else(|| Runs::default().fit(envelope), |runs| runs.fit(envelope))
    }

    /// Whether a number of a feed is held.
    #[must_use]
    pub fn holds_number(&self, feed: Instance, seq: Seq) -> bool {
        self.feeds.get(&feed).is_some_and(|runs| runs.contains(seq, seq))
    }

    /// Whether an envelope of this feed that begins with this number is stored.
    #[must_use]
    pub fn holds(&self, feed: FeedId, first: Seq) -> bool {
        self.places.contains_key(&(feed, first))
    }

    /// Whether something is stored at this offset, set aside meanwhile or not.
    #[must_use]
    pub fn has_offset(&self, offset: Offset) -> bool {
        self.log.binary_search_by_key(&offset, |entry| entry.offset).is_ok()
    }

    /// Own posts are still to be said again.
    #[must_use]
    pub fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// Every fork, as a start finds it.
    #[must_use]
    pub fn forks(&self) -> Vec<ForkProof> {
        self.forks.values().cloned().collect()
    }

    /// What readers find, without what was set aside.
    pub fn canonical(&self) -> impl Iterator<Item = &Entry> {
        self.log.iter().filter(|entry| !entry.forked)
    }

    /// The offset after the last one.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        let after = |entry: &Entry| entry.offset.0 + entry.envelope.body().posts.len() as u64;
        Offset(self.log.last().map_or(1, after))
    }

    /// The address book.
    #[must_use]
    pub fn book(&self) -> Vec<(Record, u64)> {
        self.book.values().cloned().collect()
    }

    /// The newest run that began on this disk.
    #[must_use]
    pub fn newest_epoch(&self) -> Option<Epoch> {
        self.newest_epoch
    }

    /// A run begins. That is flushed before anything else.
    pub fn begin_run(&mut self, epoch: Epoch) {
        self.newest_epoch = self.newest_epoch.max(Some(epoch));
    }

    /// Appends one envelope, whatever it is.
    pub fn append(&mut self, delivery: &Delivery, said: bool) {
        self.journal.push(Change::Append(delivery.clone(), said));
        let envelope = &delivery.envelope;
        let feed = envelope.feed();
        self.places.insert((envelope.feed_id(), envelope.first()), self.log.len());
        self.feeds.entry(feed).or_default().add(envelope);
        if delivery.own {
            self.newest_epoch = self.newest_epoch.max(Some(feed.epoch));
            self.remember_keys(delivery);
        }
        for post in envelope.body().posts.iter().filter(|_| delivery.own) {
            let is_it = |lost: &LostPost| Some(&lost.id) == post.was.as_deref() && lost.post.text == post.text;
            self.lost.retain(|_, lost| !is_it(lost));
        }
        let Delivery { offset, late, .. } = *delivery;
        self.log.push(Entry { offset, envelope: envelope.clone(), late, said, forked: false });
    }

    /// All of it is safe from now on.
    pub fn flush(&mut self) {
        self.flushed = self.journal.len();
    }

    /// The power goes: of what was not flushed, some may be left. Returns how many envelopes were lost.
    pub fn cut_power(&mut self, dice: &mut Dice) -> usize {
        let left = dice.between(self.flushed as u64, self.journal.len() as u64) as usize;
        let before = self.log.len();
        let mut journal = std::mem::take(&mut self.journal);
        journal.truncate(left);
        let (book, newest_epoch) = (std::mem::take(&mut self.book), self.newest_epoch);
        *self = Self { book, newest_epoch, ..Self::default() };
        for change in journal {
            match change {
                Change::Append(delivery, said) => self.append(&delivery, said),
                Change::Settle(settle) => drop(self.settle(&settle)),
            }
        }
        self.flush();
        before - self.log.len()
    }

    /// Keeps a proof, and marks the branch that loses by it.
    pub fn settle(&mut self, settle: &Settle) -> Settled {
        self.journal.push(Change::Settle(Box::new(settle.clone())));
        let (feed, place) = (settle.proof.feed(), settle.proof.place());
        self.forks.insert((feed, place), settle.proof.clone());
        let held = self.places.get(&(feed.feed_id(), place.seq)).map(|at| self.log[*at].envelope.clone());
        let ours = held.filter(|held| ForkPlace::of(held) == place);
        let has_lost = ours.as_ref().is_some_and(|ours| ours.hash() > settle.proof.winner().hash());
        if let Some(forget) = settle.forget {
            self.forks.remove(&(feed, forget));
        }
        let from = self.held(feed).parted_from(place.seq, has_lost, settle.is_ordered, settle.end);
        let posts = from.map_or(0, |from| self.set_aside(feed, from));
        Settled { left: self.held(feed), posts, ours }
    }

    fn held(&self, feed: Instance) -> StoredFeed {
        StoredFeed { feed, base: Seq(1), runs: self.feeds.get(&feed).cloned().unwrap_or_default() }
    }

    fn set_aside(&mut self, feed: Instance, from: Seq) -> u64 {
        let mut posts = 0;
        let mut runs = Runs::default();
        for entry in self.log.iter_mut().filter(|entry| !entry.forked && entry.envelope.feed() == feed) {
            let body = entry.envelope.body();
            if body.last() < from {
                runs.add(&entry.envelope);
                continue;
            }
            entry.forked = true;
            posts += body.posts.len() as u64;
            self.places.remove(&(feed.feed_id(), body.first));
            for (index, post) in (0..).zip(&body.posts).filter(|_| entry.said) {
                let (offset, id) = (Offset(entry.offset.0 + index), PostId { feed, seq: body.first.plus(index) });
                self.lost.insert(offset, LostPost { offset, id, post: post.clone() });
            }
        }
        if posts > 0 {
            self.feeds.insert(feed, runs);
        }
        posts
    }

    fn remember_keys(&mut self, delivery: &Delivery) {
        let body = delivery.envelope.body();
        for (index, post) in (0u64..).zip(&body.posts) {
            let Some(key) = &post.key else { continue };
            let keyed = KeyedPost {
                id: PostId { feed: body.feed, seq: body.first.plus(index) },
                offset: Offset(delivery.offset.0 + index),
                at: body.at.plus(index),
                content: content_of(post),
            };
            if self.keys.get(&**key).is_some_and(|used| Some(&used.id) == post.was.as_deref()) {
                self.keys.remove(&**key);
            }
            self.keys.entry(key.to_string()).or_insert(keyed);
        }
    }

    fn read(&self, from: &ReadFrom) -> Vec<VerifiedEnvelope> {
        let mut envelopes = Vec::new();
        let (mut next, mut bytes) = (from.from, 0);
        let begin = self.places.range(..=(from.feed, from.from)).next_back();
        let Some(begin) = begin.map(|(place, _)| *place).filter(|(feed, _)| *feed == from.feed) else {
            return envelopes;
        };
        for (_, at) in self.places.range(begin..=(from.feed, from.to)) {
            let envelope = &self.log[*at].envelope;
            bytes += envelope.bytes().len();
            if envelope.first() > next || envelope.last() < next || (bytes > from.bytes_max && !envelopes.is_empty()) {
                break;
            }
            next = envelope.last().next();
            envelopes.push(envelope.clone());
        }
        envelopes
    }
}

impl Job {
    fn wants_flush(&self) -> bool {
        matches!(self, Self::Append(append) if append.flush) || matches!(self, Self::RenewEpoch(_))
    }
}

impl Store {
    /// Nothing waits and nothing is being done.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.running.is_empty()
    }

    /// One more job.
    pub fn push(&mut self, job: Job) {
        self.jobs.push_back(job);
    }

    /// Takes all waiting jobs, if none is running. Returns whether the batch needs a flush.
    pub fn begin(&mut self) -> Option<bool> {
        if !self.running.is_empty() || self.jobs.is_empty() {
            return None;
        }
        self.running.extend(self.jobs.drain(..));
        Some(self.running.iter().any(Job::wants_flush))
    }

    /// The batch is done: its answers, in order.
    pub fn finish(&mut self, disk: &mut Disk, space: Space) -> Vec<Input> {
        let jobs = std::mem::take(&mut self.running);
        let flush = jobs.iter().any(Job::wants_flush);
        let answers = jobs.into_iter().filter_map(|job| self.run(job, disk, space)).collect();
        if flush {
            disk.flush();
        }
        answers
    }

    /// The process dies. The running batch is on disk as a whole, or not at all. Returns whether one was running.
    pub fn finish_running(&mut self, disk: &mut Disk, space: Space, is_done: bool) -> bool {
        let was_running = self.running.iter().any(|job| matches!(job, Job::Append(_)));
        if is_done {
            self.finish(disk, space);
        }
        was_running
    }

    fn run(&mut self, job: Job, disk: &mut Disk, space: Space) -> Option<Input> {
        match job {
            Job::Append(append) => Some(self.append(&append, disk, space)),
            Job::Read(ticket, from) => Some(Input::ReadDone { ticket, envelopes: disk.read(&from) }),
            Job::FindKeys(ticket, keys) => {
                let posts = keys.iter().map(|key| disk.keys.get(key).cloned()).collect();
                Some(Input::KeysFound { ticket, posts })
            }
            Job::Settle(settle) if space == Space::Full => Some(Input::SettleFailed(settle.ticket)),
            Job::Settle(settle) => {
                let settled = Box::new(disk.settle(&settle));
                Some(Input::Settled { ticket: settle.ticket, settled })
            }
            Job::FindLost(ticket, after) => {
                let lost = disk.lost.range(Offset(after.0 + 1)..).map(|(_, lost)| lost.clone());
                Some(Input::LostFound { ticket, posts: lost.take(LOST_POSTS_MAX).collect() })
            }
            Job::RenewEpoch(_) if space == Space::Full => Some(Input::EpochDrawn(None)),
            Job::RenewEpoch(epoch) => {
                disk.begin_run(epoch);
                Some(Input::EpochDrawn(Some(epoch)))
            }
            Job::SaveRecord(record, seen_ms) => {
                disk.book.insert(record.id, (*record, seen_ms));
                None
            }
            Job::ForgetRecord(id) => {
                disk.book.remove(&id);
                None
            }
        }
    }

    fn append(&mut self, append: &Append, disk: &mut Disk, space: Space) -> Input {
        let ticket = append.ticket;
        if self.failed_generation == Some(append.generation) || space == Space::Full {
            self.failed_generation = Some(append.generation);
            return Input::AppendFailed { ticket, why: "disk full".to_owned() };
        }
        for delivery in &append.envelopes {
            disk.append(delivery, delivery.own && append.flush);
        }
        Input::Appended(ticket)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ed25519_dalek::SigningKey;
    use p2p_mesh::envelope::{Body, Post, Stamp};
    use p2p_mesh::id::Hash;

    use super::*;

    fn envelopes(count: u64) -> Vec<Delivery> {
        let key = SigningKey::from_bytes(&[1; 32]);
        let feed = Instance { id: PeerId(key.verifying_key().to_bytes()), epoch: Epoch(5) };
        let mut prev: Option<Hash> = None;
        let sign = |n| {
            let post = Post { key: Some(format!("k{n}").into()), ..Post::chat("general", "x") };
            let at = Stamp { ms: n, counter: 0 };
            let envelope = Body { feed, first: Seq(n), prev, at, posts: vec![post] }.sign(&key);
            prev = Some(envelope.hash());
            Delivery { offset: Offset(n), envelope, own: true, late: false, forked: false }
        };
        (1..=count).map(sign).collect()
    }

    fn append(ticket: u64, generation: u64, flush: bool, envelopes: &[Delivery]) -> Job {
        Job::Append(Append { ticket: Ticket(ticket), generation, flush, envelopes: envelopes.to_vec() })
    }

    #[test]
    fn a_power_cut_takes_only_what_was_not_flushed() {
        let all = envelopes(6);
        let mut lost = Vec::new();
        for seed in 0..20 {
            let (mut disk, mut store) = (Disk::default(), Store::default());
            for (job, flush) in [(&all[..2], true), (&all[2..], false)] {
                store.push(append(1, 1, flush, job));
                assert_eq!(store.begin(), Some(flush));
                store.finish(&mut disk, Space::Left);
            }
            lost.push(disk.cut_power(&mut Dice::new(seed)));
            assert!(disk.log().len() >= 2);
            assert_eq!(disk.next_offset(), Offset(disk.log().len() as u64 + 1));
            assert_eq!(disk.stored_feeds()[0].runs.count() as usize, disk.log().len());
        }
        assert!(lost.contains(&0) && lost.contains(&4), "everything from all to nothing is lost: {lost:?}");
    }

    #[test]
    fn after_a_failed_append_its_generation_fails() {
        let all = envelopes(2);
        let (mut disk, mut store) = (Disk::default(), Store::default());
        store.push(append(1, 1, true, &all));
        store.begin();
        assert!(matches!(store.finish(&mut disk, Space::Full)[..], [Input::AppendFailed { .. }]));
        store.push(append(2, 1, true, &all));
        store.push(append(3, 2, true, &all));
        store.begin();
        let answers = store.finish(&mut disk, Space::Left);
        assert!(matches!(answers[..], [Input::AppendFailed { .. }, Input::Appended(Ticket(3))]));
        assert_eq!(disk.log().len(), 2);
    }

    #[test]
    fn reading_gives_a_run_of_the_feed() {
        let all = envelopes(5);
        let (mut disk, mut store) = (Disk::default(), Store::default());
        store.push(append(1, 1, true, &all));
        let feed = all[0].envelope.feed_id();
        let from = |from, to, bytes_max| ReadFrom { feed, from: Seq(from), to: Seq(to), bytes_max };
        store.push(Job::Read(Ticket(2), from(2, 4, usize::MAX)));
        store.push(Job::Read(Ticket(3), from(2, 4, 1)));
        store.push(Job::Read(Ticket(4), from(6, 9, 1)));
        store.push(Job::FindKeys(Ticket(5), vec!["k3".into(), "none".into()]));
        store.begin();
        let mut answers = store.finish(&mut disk, Space::Left).into_iter().skip(1);
        for expected in [vec![2, 3, 4], vec![2], vec![]] {
            let Some(Input::ReadDone { envelopes, .. }) = answers.next() else { panic!("a read is answered") };
            let firsts: Vec<u64> = envelopes.iter().map(|envelope| envelope.first().0).collect();
            assert_eq!(firsts, expected);
        }
        let Some(Input::KeysFound { posts, .. }) = answers.next() else { panic!("keys are looked up") };
        assert_eq!(
            posts.iter().map(|post| post.as_ref().map(|post| post.id.seq)).collect::<Vec<_>>(),
            [Some(Seq(3)), None]
        );
    }
}
