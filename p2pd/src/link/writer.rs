//! The writing side of a link: whatever waits goes out in one write.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use p2p_mesh::id::LinkId;
use p2p_mesh::input::{CloseReason, Input};
use p2p_mesh::limits::WRITE_STALL_TIMEOUT;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::LinkEvent;
use super::secure::{PLAIN_LEN_MAX, Sealer};

/// Writes one link until nobody has more to say.
pub(super) struct Writer<W> {
    link: LinkId,
    socket: W,
    sealer: Sealer,
    frames: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<LinkEvent>,
    batch: Vec<Bytes>,
    plain: BytesMut,
    sealed: BytesMut,
    /// The buffers are small.
    quiet: bool,
}

/// Why writing ended before everything was written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// The other side does not read.
    #[error("slow: no byte was taken for {WRITE_STALL_TIMEOUT:?}")]
    Stalled,
    /// The socket failed.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// Nobody takes our events any more.
    #[error("stopping")]
    Stopping,
}

impl From<WriteError> for CloseReason {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Stalled | WriteError::Socket(_) => Self::Failed(error.to_string()),
            WriteError::Stopping => Self::HungUp,
        }
    }
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(super) fn new(
        link: LinkId,
        socket: W,
        sealer: Sealer,
        frames: mpsc::Receiver<Bytes>,
        events: mpsc::Sender<LinkEvent>,
    ) -> Self {
        let (batch, plain, sealed) = (Vec::new(), BytesMut::new(), BytesMut::new());
        Self { link, socket, sealer, frames, events, batch, plain, sealed, quiet: true }
    }

    /// Writes until the sender of `frames` is gone and everything it sent is written, then ends our direction.
    ///
    /// # Errors
    ///
    /// The link takes nothing any more.
    pub(super) async fn run(mut self) -> Result<(), WriteError> {
        while self.gather().await > 0 {
            self.quiet = false;
            for mut frame in std::mem::take(&mut self.batch) {
                self.append(&mut frame).await?;
            }
            self.flush().await?;
        }
        Ok(self.socket.shutdown().await?)
    }

    /// Takes all that waits; waits where nothing does.
    async fn gather(&mut self) -> usize {
        if !self.quiet {
            let more = self.frames.recv_many(&mut self.batch, BATCH_FRAMES);
            if let Ok(count) = timeout(SHRINK_AFTER, more).await {
                return count;
            }
            (self.batch, self.plain, self.sealed) = (Vec::new(), BytesMut::new(), BytesMut::new());
            self.quiet = true;
        }
        self.frames.recv_many(&mut self.batch, BATCH_FRAMES).await
    }

    async fn append(&mut self, frame: &mut Bytes) -> Result<(), WriteError> {
        while frame.has_remaining() {
            if self.plain.len() == PLAIN_LEN_MAX {
                self.flush().await?;
            }
            let len = frame.len().min(PLAIN_LEN_MAX - self.plain.len());
            self.plain.extend_from_slice(&frame.split_to(len));
        }
        Ok(())
    }

    /// Writes what was gathered, and reports it.
    async fn flush(&mut self) -> Result<(), WriteError> {
        if self.plain.is_empty() {
            return Ok(());
        }
        self.sealed.clear();
        self.sealer.seal(&self.plain, &mut self.sealed);
        let bytes = self.plain.len();
        self.plain.clear();
        let mut rest = &self.sealed[..];
        while !rest.is_empty() {
            let written = timeout(WRITE_STALL_TIMEOUT, self.socket.write(rest)).await;
            match written.map_err(|_| WriteError::Stalled)?? {
                0 => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
                written => rest = &rest[written..],
            }
        }
        let event = LinkEvent::Input(Input::Written { link: self.link, bytes });
        self.events.send(event).await.map_err(|_| WriteError::Stopping)
    }
}

/// Frames taken from the queue at a time.
const BATCH_FRAMES: usize = 1_024;
/// A link that is quiet for this long gives its buffers back.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
