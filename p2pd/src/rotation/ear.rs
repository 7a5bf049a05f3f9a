//! How the driver tells of posts about the network's secret, and what is counted of that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::NETWORK;
use p2p_mesh::id::Offset;
use tokio::sync::mpsc;

/// Gets everything that is delivered, and hands on what is about the network. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ear {
    heard: mpsc::Sender<Delivery>,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    offset: AtomicU64,
    has_missed: AtomicBool,
    rotations: AtomicU64,
}

impl Ear {
    /// With the other end.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<Delivery>) {
        let (heard, receiver) = mpsc::channel(HEARD_WAITING_MAX);
        (Self { heard, counts: Arc::default() }, receiver)
    }

    /// This was delivered. Never waits: what does not fit is found in the log.
    pub fn listen(&self, entry: &Delivery) {
        let posts = &entry.envelope.body().posts;
        if posts.iter().any(|post| post.kind == NETWORK) && self.heard.try_send(entry.clone()).is_err() {
            self.counts.has_missed.store(true, Ordering::Relaxed);
        }
        let last = entry.offset.0.saturating_add(posts.len() as u64 - 1);
        // Behind the sending: whoever finds this offset finds in the channel what is up to it, or that it was missed.
        self.counts.offset.store(last, Ordering::Release);
    }

    /// Up to where all is in the channel, or was missed.
    #[must_use]
    pub fn offset(&self) -> Offset {
        Offset(self.counts.offset.load(Ordering::Acquire))
    }

    /// Whether something was missed since this was asked.
    #[must_use]
    pub fn has_missed(&self) -> bool {
        self.counts.has_missed.swap(false, Ordering::Relaxed)
    }

    /// Another secret holds.
    pub fn note_rotation(&self) {
        self.counts.rotations.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was since the start.
    #[must_use]
    pub fn rotations(&self) -> u64 {
        self.counts.rotations.load(Ordering::Relaxed)
    }
}

/// Rotations are rare: whoever floods with them makes us read the log.
const HEARD_WAITING_MAX: usize = 64;
