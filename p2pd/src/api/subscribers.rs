//! Who reads our stream: each batch of deliveries goes to all of them, and is turned into messages once.
//!
//! What is not read by all yet waits here, up to a limit of memory. Who is further behind than that reads the log, so
//! a slow reader costs no more than the limit, and one that stands still nothing at all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::Post;
use tokio::sync::watch;

use super::Batch;
use super::convert::View;
use super::shown::{ID_BYTES, Shown};
use crate::names::Names;

/// The door for batches: the driver publishes, streams subscribe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Subscribers {
    shared: Arc<Shared>,
    names: Names,
}

#[derive(Debug)]
struct Shared {
    backlog: Mutex<Backlog>,
    /// Something was published.
    news: watch::Sender<()>,
}

/// What was published and is not read by all yet.
#[derive(Debug, Default)]
struct Backlog {
    batches: VecDeque<Arc<Published>>,
    /// The number of the first of them.
    first: u64,
    memory_bytes: usize,
    memory_bytes_max: usize,
    /// The number of the batch that each reader takes next. That of one who is too far behind is not here any more.
    readers: BTreeMap<u64, u64>,
    next_reader: u64,
}

/// One reader's place.
#[derive(Debug)]
pub(super) struct Subscription {
    shared: Arc<Shared>,
    news: watch::Receiver<()>,
    reader: u64,
}

/// The reader was too slow: what it missed is in the log, and what comes from now on is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Lagged;

/// A batch with the messages made of it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) batch: Batch,
    /// Of each entry.
    shown: Vec<OnceLock<Shown>>,
}

impl Subscribers {
    /// With room for `buffer` batches of `BATCH_MEMORY_BYTES`; a subscriber that is further behind reads the log instead.
    #[must_use]
    pub fn new(buffer: usize) -> Self {
        Self::with_memory(buffer.saturating_mul(BATCH_MEMORY_BYTES))
    }

    pub(super) fn with_memory(memory_bytes_max: usize) -> Self {
        let backlog = Mutex::new(Backlog { memory_bytes_max, ..Backlog::default() });
        let shared = Arc::new(Shared { backlog, news: watch::Sender::new(()) });
        Self { shared, names: Names::default() }
    }

    /// Hands a batch to all who read. Never waits. The batch must be in the log already, because a subscriber that
    /// misses it here looks for it there.
    pub fn publish(&self, batch: Batch) {
        if !batch.entries.is_empty() && self.shared.backlog().push(batch) {
            self.shared.news.send_replace(());
        }
    }

    /// Whether anybody reads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many read.
    #[must_use]
    pub fn count(&self) -> usize {
        self.shared.backlog().readers.len()
    }

    /// Where the driver tells the names of peers.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// A place behind all that was published so far.
    pub(super) fn subscribe(&self) -> Subscription {
        let news = self.shared.news.subscribe();
        Subscription { reader: self.shared.backlog().enter(), news, shared: Arc::clone(&self.shared) }
    }
}

impl Shared {
    /// Nobody panics while it is locked; if somebody did, what is in it would be whole.
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backlog {
    fn end(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    /// Whether there is anybody to read it.
    fn push(&mut self, batch: Batch) -> bool {
        if self.readers.is_empty() {
            return false;
        }
        self.memory_bytes += batch.memory_bytes();
        self.batches.push_back(Arc::new(Published::new(batch)));
        // The newest stays, however large it is.
        while self.memory_bytes > self.memory_bytes_max && self.batches.len() > 1 {
            self.drop_first();
        }
        true
    }

    fn drop_first(&mut self) {
        let Some(first) = self.batches.pop_front() else { return };
        self.memory_bytes -= first.batch.memory_bytes();
        self.first += 1;
    }

    /// Drops what everybody has read. Who has missed something already keeps nothing here.
    fn drop_read(&mut self) {
        let wanted = self.readers.values().copied().filter(|next| *next >= self.first).min();
        let wanted = wanted.unwrap_or_else(|| self.end());
        while self.first < wanted {
            self.drop_first();
        }
    }

    fn enter(&mut self) -> u64 {
        let reader = self.next_reader;
        self.next_reader += 1;
        self.readers.insert(reader, self.end());
        reader
    }

    fn leave(&mut self, reader: u64) {
        self.readers.remove(&reader);
        self.drop_read();
    }

    fn skip(&mut self, reader: u64) {
        self.readers.insert(reader, self.end());
        self.drop_read();
    }

    fn take(&mut self, reader: u64) -> Result<Option<Arc<Published>>, Lagged> {
        let next = self.readers.get(&reader).copied().unwrap_or_default();
        let Some(place) = next.checked_sub(self.first) else {
            self.skip(reader);
            return Err(Lagged);
        };
        let found = usize::try_from(place).ok().and_then(|place| self.batches.get(place)).map(Arc::clone);
        if found.is_some() {
            self.readers.insert(reader, next + 1);
            self.drop_read();
        }
        Ok(found)
    }
}

impl Subscription {
    /// The next batch if it is there already.
    pub(super) fn try_recv(&mut self) -> Result<Option<Arc<Published>>, Lagged> {
        self.shared.backlog().take(self.reader)
    }

    /// The next batch. Giving up halfway loses nothing.
    pub(super) async fn recv(&mut self) -> Result<Arc<Published>, Lagged> {
        loop {
            self.news.mark_unchanged();
            if let Some(published) = self.try_recv()? {
                return Ok(published);
            }
            if self.news.changed().await.is_err() {
                // It cannot be: the sender stands in what is shared, and we hold that.
                return std::future::pending().await;
            }
        }
    }

    /// Leaves out what was published so far: whoever reads the log finds it there.
    pub(super) fn skip(&mut self) {
        self.shared.backlog().skip(self.reader);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.backlog().leave(self.reader);
    }
}

impl Batch {
    /// Roughly what it takes of memory, with the messages that will be made of it.
    fn memory_bytes(&self) -> usize {
        let of = |entry: &Delivery| {
            let posts = entry.envelope.body().posts.len() * (size_of::<Post>() + ID_BYTES);
            2 * entry.envelope.bytes().len() + posts + size_of::<Delivery>()
        };
        self.entries.iter().map(of).sum()
    }
}

impl Published {
    pub(super) fn new(batch: Batch) -> Self {
        let shown = batch.entries.iter().map(|_| OnceLock::new()).collect();
        Self { batch, shown }
    }

    /// The posts of an entry. The first who asks makes them, the others take them.
    pub(super) fn shown(&self, entry: usize, view: &View) -> &Shown {
        self.shown[entry].get_or_init(|| Shown::of(&self.batch.entries[entry], view))
    }
}

/// Memory of a batch as the configuration counts them: some 300 short posts.
const BATCH_MEMORY_BYTES: usize = 128 << 10;

#[cfg(test)]
mod tests;
