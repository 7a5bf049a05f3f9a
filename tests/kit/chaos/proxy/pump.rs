//! Bytes from one socket to the other, as well as the ways between the two peers are.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

use super::super::ways::Way;
use super::Shared;

/// The connection is to be reset.
pub(super) struct Reset;

/// Carries a connection to its end. If that is a reset, both peers see one.
pub(super) async fn both_ways(mut one: TcpStream, mut two: TcpStream, from: usize, to: usize, shared: &Shared) {
    let ended = {
        let (one_reader, one_writer) = one.split();
        let (two_reader, two_writer) = two.split();
        let there = pump(one_reader, two_writer, Course { from, to, shared });
        let back = pump(two_reader, one_writer, Course { from: to, to: from, shared });
        tokio::try_join!(there, back)
    };
    if ended.is_err() {
        drop((one.set_zero_linger(), two.set_zero_linger()));
    }
}

/// Waits while there is a hole.
pub(super) async fn wait_open(shared: &Shared, from: usize, to: usize) -> Result<(), Reset> {
    let mut changed = shared.changed.subscribe();
    loop {
        match shared.way(from, to) {
            Way::Open => return Ok(()),
            Way::Refuse => return Err(Reset),
            // The sender lives as long as the state.
            Way::Hole => drop(changed.changed().await),
        }
    }
}

struct Course<'a> {
    from: usize,
    to: usize,
    shared: &'a Shared,
}

impl Course<'_> {
    async fn wait_open(&self) -> Result<(), Reset> {
        wait_open(self.shared, self.from, self.to).await
    }

    async fn wait_refused(&self) -> Reset {
        let mut changed = self.shared.changed.subscribe();
        while self.shared.way(self.from, self.to) != Way::Refuse {
            drop(changed.changed().await);
        }
        Reset
    }

    /// The slower of the two ends.
    fn bits(&self) -> Option<u32> {
        let bits = self.shared.state().bits;
        [bits[self.from], bits[self.to]].into_iter().flatten().min()
    }

    /// How many of some bytes may go on, and whether the connection is reset behind them.
    fn burn(&self, count: usize) -> (usize, bool) {
        let fuse = &mut self.shared.state().fuses[self.from][self.to];
        match fuse {
            None => (count, false),
            Some(left) if *left > count as u64 => {
                *left -= count as u64;
                (count, false)
            }
            Some(left) => {
                let left = *left as usize;
                *fuse = None;
                (left, true)
            }
        }
    }
}

async fn pump(mut reader: ReadHalf<'_>, mut writer: WriteHalf<'_>, course: Course<'_>) -> Result<(), Reset> {
    let mut bytes = vec![0; CHUNK_BYTES];
    loop {
        course.wait_open().await?;
        let chunk = course.bits().map_or(CHUNK_BYTES, |_| CHUNK_SLOW_BYTES);
        let read = tokio::select! {
            read = reader.read(&mut bytes[..chunk]) => read.map_err(|_| Reset)?,
            reset = course.wait_refused() => return Err(reset),
        };
        // A hole that opened while we waited for these bytes has them too.
        course.wait_open().await?;
        if read == 0 {
            // One end closed: the other is told when everything has arrived.
            return writer.shutdown().await.map_err(|_| Reset);
        }
        if let Some(bits) = course.bits() {
            tokio::time::sleep(Duration::from_secs_f64(read as f64 * 8.0 / f64::from(bits))).await;
        }
        let (count, is_last) = course.burn(read);
        tokio::select! {
            written = writer.write_all(&bytes[..count]) => written.map_err(|_| Reset)?,
            reset = course.wait_refused() => return Err(reset),
        }
        if is_last {
            return Err(Reset);
        }
    }
}

const CHUNK_BYTES: usize = 64 << 10;
/// An eighth of a second at 64 kbit/s.
const CHUNK_SLOW_BYTES: usize = 1 << 10;
