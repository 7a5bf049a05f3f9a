//! The program inside a raw yardstick: says what it is told to, and judges what comes as the ledger does, for one
//! subscriber. All processes of a machine share the clock that its stamps are of.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, BytesMut};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::{Notify, mpsc};

use super::frame;
use super::mesh::{Mesh, Received};
use super::orders::Report;
use crate::failure::Failure;
use crate::load::{Beat, Load};

#[derive(Debug)]
pub(super) struct Program {
    mesh: Mesh,
    place: usize,
    shelf: Arc<Shelf>,
}

/// What has come.
#[derive(Debug, Default)]
struct Shelf {
    arrivals: Mutex<Arrivals>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Arrivals {
    /// By sender: the number that must come next.
    next: Vec<u64>,
    deliveries: u64,
    last_ns: u64,
    latencies_us: Vec<u32>,
    failure: Option<Failure>,
}

impl Program {
    pub(super) fn new(mesh: Mesh, place: usize, received: mpsc::Receiver<Received>) -> Self {
        let shelf = Arc::new(Shelf::default());
        tokio::spawn(take_all(received, Arc::clone(&shelf)));
        Self { mesh, place, shelf }
    }

    pub(super) fn mesh(&self) -> &Mesh {
        &self.mesh
    }

    /// Says its part of the load; how much that was, and when it began.
    pub(super) async fn say(&self, text_bytes: usize, load: Load) -> Result<(u64, Option<u64>), Failure> {
        let mut said = 0;
        let mut first_ns = None;
        match load {
            Load::Flood { senders, enough } if self.place < senders => {
                let per_chunk = (CHUNK_BYTES / text_bytes).max(1) as u64;
                let start = Instant::now();
                while said < enough.posts && start.elapsed() < enough.time {
                    let mut chunk = BytesMut::with_capacity(CHUNK_BYTES * 2);
                    first_ns.get_or_insert_with(monotonic_ns);
                    let end = enough.posts.min(said + per_chunk);
                    for number in said..end {
                        put_post(&mut chunk, number, UNSTAMPED, text_bytes);
                    }
                    said = end;
                    self.mesh.send(chunk.freeze()).await?;
                }
            }
            Load::Pace { senders, rate, time } if self.place < senders => {
                let mut beat = Beat::new(self.place, rate, time);
                while let Some(at) = beat.next().await {
                    let at = monotonic_ns() - at.elapsed().as_nanos() as u64;
                    first_ns.get_or_insert(at);
                    let mut chunk = BytesMut::new();
                    put_post(&mut chunk, said, at, text_bytes);
                    said += 1;
                    self.mesh.send(chunk.freeze()).await?;
                }
            }
            Load::Flood { .. } | Load::Pace { .. } => (),
        }
        Ok((said, first_ns))
    }

    /// Waits until everything has come that the others said, and begins anew.
    ///
    /// # Errors
    ///
    /// Something is missing, or came out of order.
    pub(super) async fn wait_for(&self, said: &[u64]) -> Result<Report, Failure> {
        loop {
            if let Some(arrived) = self.shelf.lock().complete(self.place, said)? {
                return Ok(arrived);
            }
            let changed = tokio::time::timeout(SILENCE_MAX, self.shelf.changed.notified()).await;
            changed.map_err(|_| Failure::new("a yardstick lost something"))?;
        }
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Arrivals> {
        self.arrivals.lock().expect("who holds the shelf does not panic")
    }
}

impl Arrivals {
    fn take(&mut self, received: Received, now_ns: u64) {
        let place = received.place;
        if self.next.len() <= place {
            self.next.resize(place + 1, 0);
        }
        for mut post in frame::bodies(received.frames) {
            let (number, sent_ns) = (post.get_u64(), post.get_u64());
            if number != self.next[place] {
                let why = format!("post {number} of sender {place} came where {} should", self.next[place]);
                self.failure.get_or_insert(Failure::new(why));
            }
            self.next[place] += 1;
            self.deliveries += 1;
            if sent_ns != UNSTAMPED {
                let us = now_ns.saturating_sub(sent_ns) / 1_000;
                self.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            }
        }
        self.last_ns = now_ns;
    }

    fn complete(&mut self, place: usize, said: &[u64]) -> Result<Option<Report>, Failure> {
        if let Some(failure) = &self.failure {
            return Err(failure.clone());
        }
        let held = |sender: usize| self.next.get(sender).copied().unwrap_or(0);
        if (0..said.len()).any(|sender| sender != place && held(sender) != said[sender]) {
            return Ok(None);
        }
        let Self { deliveries, last_ns, latencies_us, .. } = std::mem::take(self);
        Ok(Some(Report::Arrived { deliveries, last_ns, latencies_us }))
    }
}

async fn take_all(mut received: mpsc::Receiver<Received>, shelf: Arc<Shelf>) {
    while let Some(received) = received.recv().await {
        shelf.lock().take(received, monotonic_ns());
        shelf.changed.notify_one();
    }
}

/// A number, a stamp, and padding up to the length of a text.
fn put_post(chunk: &mut BytesMut, number: u64, sent_ns: u64, text_bytes: usize) {
    let mut body = BytesMut::with_capacity(text_bytes);
    body.put_u64(number);
    body.put_u64(sent_ns);
    body.put_bytes(b'x', text_bytes.saturating_sub(body.len()));
    frame::put(chunk, &body);
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Texts of one chunk in a flood.
const CHUNK_BYTES: usize = 32 << 10;
/// In place of a stamp in a flood, where nobody asks how long a post took.
const UNSTAMPED: u64 = 0;
/// As long as the ledger waits.
const SILENCE_MAX: Duration = Duration::from_secs(40);

#[cfg(test)]
mod tests {
    use super::*;

    fn received(numbers: &[u64]) -> Received {
        let mut frames = BytesMut::new();
        for number in numbers {
            put_post(&mut frames, *number, 1_000, 64);
        }
        Received { place: 1, frames: frames.freeze() }
    }

    #[test]
    fn all_is_there_when_everybodys_posts_have_come() {
        let mut arrivals = Arrivals::default();
        arrivals.take(received(&[0]), 8_000);
        assert_eq!(arrivals.complete(0, &[5, 2]), Ok(None));
        arrivals.take(received(&[1]), 9_000);
        let arrived = Report::Arrived { deliveries: 2, last_ns: 9_000, latencies_us: vec![7, 8] };
        assert_eq!(arrivals.complete(0, &[5, 2]), Ok(Some(arrived)));
        let none = Report::Arrived { deliveries: 0, last_ns: 0, latencies_us: Vec::new() };
        assert_eq!(arrivals.complete(0, &[5, 0]), Ok(Some(none)), "it has begun anew");
    }

    #[test]
    fn what_is_lost_or_comes_twice_is_a_mistake() {
        for numbers in [&[0, 2], &[0, 0]] {
            let mut arrivals = Arrivals::default();
            arrivals.take(received(numbers), 9_000);
            assert!(arrivals.complete(0, &[0, 2]).is_err());
        }
    }
}
