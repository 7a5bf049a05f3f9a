//! Who reads our stream: each batch of deliveries goes to all of them, and is turned into messages once.

use std::sync::{Arc, OnceLock};

use tokio::sync::broadcast;

use super::Batch;
use super::convert::View;
use super::shown::Shown;
use crate::names::Names;

/// The door for batches: the driver publishes, streams subscribe. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Subscribers {
    batches: broadcast::Sender<Arc<Published>>,
    names: Names,
}

/// A batch with the messages made of it.
#[derive(Debug)]
pub(super) struct Published {
    pub(super) batch: Batch,
    /// Of each entry.
    shown: Vec<OnceLock<Shown>>,
}

impl Subscribers {
    /// With room for `buffer` batches; a subscriber that is further behind reads the log instead.
    #[must_use]
    pub fn new(buffer: usize) -> Self {
        // The channel panics on a buffer that no memory holds, so the size is kept between what makes sense.
        let (batches, _) = broadcast::channel(buffer.clamp(1, BUFFER_MAX));
        Self { batches, names: Names::default() }
    }

    /// Hands a batch to all who read. Never waits. The batch must be in the log already, because a subscriber that
    /// misses it here looks for it there.
    pub fn publish(&self, batch: Batch) {
        if self.batches.receiver_count() == 0 || batch.entries.is_empty() {
            return;
        }
        // It fails when the last subscriber went away since, and then nobody misses it.
        let _ = self.batches.send(Arc::new(Published::new(batch)));
    }

    /// Whether anybody reads.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batches.receiver_count() == 0
    }

    /// How many read.
    #[must_use]
    pub fn count(&self) -> usize {
        self.batches.receiver_count()
    }

    /// Where the driver tells the names of peers.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<Published>> {
        self.batches.subscribe()
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

/// Batches buffered at most, whatever the configuration says: each may hold a megabyte.
const BUFFER_MAX: usize = 65_536;
