//! The reading side of a link: bytes, Noise messages, frames, in batches to the driver.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use p2p_mesh::id::LinkId;
use p2p_mesh::input::{CloseReason, Input};
use p2p_mesh::limits::{FRAME_LEN_MAX, FRAME_LEN_MAX_BEFORE_HELLO, FRAME_STEP_BYTES, FRAME_TIMEOUT, HELLO_TIMEOUT};
use p2p_mesh::wire::frame::{FrameError, PREFIX_LEN, split_frame};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::LinkEvent;
use super::pace::Pace;
use super::secure::{MESSAGE_PREFIX_LEN, OpenError, Opener, missing_bytes, split_message};

/// Reads one link until it ends.
pub(super) struct Reader<R> {
    link: LinkId,
    socket: R,
    opener: Opener,
    events: mpsc::Sender<LinkEvent>,
    /// The longest frame that is allowed now.
    limit: watch::Receiver<usize>,
    /// Bytes that are not a whole Noise message yet.
    sealed: BytesMut,
    /// Bytes that are not a whole frame yet.
    plain: BytesMut,
    batch: Vec<Bytes>,
    batch_bytes: usize,
    /// When the frame began that is waited for.
    begun: Option<Instant>,
    /// Bytes that came since then.
    step_bytes: usize,
    /// When this frame was begun, or the driver last told that more of it came.
    told: Option<Instant>,
    /// Something was said on this link.
    spoken: bool,
    pace: Pace,
    read_len: usize,
    /// The buffers are small.
    quiet: bool,
}

/// Why reading ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReadEnd {
    /// The other side closed between two frames.
    #[error("closed")]
    Closed,
    /// The other side closed within a frame.
    #[error("eof_in_frame: the connection ended within a frame")]
    EofInFrame,
    /// A frame took too long.
    #[error("frame_timeout: a frame did not come forward for {FRAME_TIMEOUT:?}")]
    FrameTimeout,
    /// A length that is not allowed.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The bytes are not what the peer sealed.
    #[error("not_sealed_by_peer: {0}")]
    Open(#[from] OpenError),
    /// The socket failed.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// Nobody takes our events any more.
    #[error("stopping")]
    Stopping,
}

impl From<ReadEnd> for CloseReason {
    fn from(end: ReadEnd) -> Self {
        let text = end.to_string();
        match end {
            ReadEnd::Closed => Self::Closed,
            ReadEnd::Stopping => Self::HungUp,
            ReadEnd::Frame(error) => Self::BadFrame(error),
            ReadEnd::EofInFrame | ReadEnd::FrameTimeout | ReadEnd::Open(_) | ReadEnd::Socket(_) => Self::Failed(text),
        }
    }
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(super) fn new(
        link: LinkId,
        socket: R,
        opener: Opener,
        events: mpsc::Sender<LinkEvent>,
        limit: watch::Receiver<usize>,
    ) -> Self {
        Self {
            link,
            socket,
            opener,
            events,
            limit,
            sealed: BytesMut::new(),
            plain: BytesMut::new(),
            batch: Vec::new(),
            batch_bytes: 0,
            begun: None,
            step_bytes: 0,
            told: None,
            spoken: false,
            pace: Pace::default(),
            read_len: READ_LEN_IDLE,
            quiet: true,
        }
    }

    /// Reads until there is nothing more to read. Every frame that was complete was given to the driver then.
    pub(super) async fn run(mut self) -> ReadEnd {
        loop {
            if let Err(end) = self.step().await {
                // What was complete before the end counts.
                let end = self.deliver().await.err().unwrap_or(end);
                if let ReadEnd::Frame(error) = end {
                    self.complain(error).await;
                }
                return end;
            }
        }
    }

    /// The driver says goodbye now. Until the other side has closed, what comes is read and forgotten: closing with bytes
    /// unread would be a reset, and the goodbye lost to it.
    async fn complain(&mut self, error: FrameError) {
        let input = Input::BadFrame { link: self.link, error };
        if self.events.send(LinkEvent::Input(input)).await.is_err() {
            return;
        }
        let forget = async { while let Ok(1..) = self.read_and_forget().await {} };
        // Guess: time enough for a driver that is busy.
        let _ = timeout(HELLO_TIMEOUT, forget).await;
    }

    async fn read_and_forget(&mut self) -> io::Result<usize> {
        self.sealed.clear();
        self.sealed.reserve(READ_LEN);
        let read = self.socket.read_buf(&mut self.sealed).await?;
        sleep(self.pace.count(1, read, Instant::now())).await;
        Ok(read)
    }

    async fn step(&mut self) -> Result<(), ReadEnd> {
        let bytes = self.fill().await?;
        let (mut completed, mut messages) = (0, 0);
        while let Some(message) = split_message(&self.sealed) {
            let len = MESSAGE_PREFIX_LEN + message.len();
            self.opener.open(message, &mut self.plain)?;
            self.sealed.advance(len);
            messages += 1;
            completed += self.split_frames().await?;
            if self.batch_bytes >= BATCH_BYTES {
                self.deliver().await?;
            }
        }
        self.deliver().await?;
        let pause = self.pace.count(completed.max(messages), bytes, Instant::now());
        if !pause.is_zero() {
            sleep(pause).await;
        }
        self.watch_progress(completed, bytes);
        self.tell_progress();
        Ok(())
    }

    /// Reads whatever is there, and says how much; waits for it as long as is right.
    async fn fill(&mut self) -> Result<usize, ReadEnd> {
        self.sealed.reserve(missing_bytes(&self.sealed) + self.read_len);
        let room = self.sealed.capacity() - self.sealed.len();
        let read = match self.begun {
            Some(begun) => timeout_at(begun + FRAME_TIMEOUT, self.socket.read_buf(&mut self.sealed))
                .await
                .map_err(|_| ReadEnd::FrameTimeout)??,
            None => self.read_idle().await?,
        };
        self.quiet = false;
        if read == room {
            // A link that fills its buffer has more to say.
            self.read_len = READ_LEN;
        }
        match read {
            0 if self.begun.is_some() => Err(ReadEnd::EofInFrame),
            0 => Err(ReadEnd::Closed),
            _ => Ok(read),
        }
    }

    /// Reads while no frame is begun. After a quiet moment it waits with small buffers.
    async fn read_idle(&mut self) -> io::Result<usize> {
        if !self.quiet {
            if let Ok(read) = timeout(SHRINK_AFTER, self.socket.read_buf(&mut self.sealed)).await {
                return read;
            }
            self.quiet = true;
            self.read_len = READ_LEN_IDLE;
            self.sealed = BytesMut::with_capacity(READ_LEN_IDLE);
            self.plain = BytesMut::new();
            self.batch = Vec::new();
        }
        self.socket.read_buf(&mut self.sealed).await
    }

    /// Moves whole frames from `plain` to the batch and says how many.
    async fn split_frames(&mut self) -> Result<usize, ReadEnd> {
        let mut completed = 0;
        loop {
            let limit = *self.limit.borrow();
            match split_frame(&self.plain, limit) {
                Ok(Some(split)) => {
                    // A copy: a frame that is kept for long must not keep its neighbours in memory.
                    let frame = Bytes::copy_from_slice(split.frame);
                    self.plain.advance(PREFIX_LEN + frame.len());
                    self.batch_bytes += frame.len();
                    self.batch.push(frame);
                    completed += 1;
                }
                Ok(None) => return Ok(completed),
                Err(error) => self.await_raise(error).await?,
            }
        }
    }

    /// A peer that heard our hello may send large frames before our driver has read its hello, which may wait right
    /// here in the batch. So the driver gets that first, and some time.
    async fn await_raise(&mut self, error: FrameError) -> Result<(), ReadEnd> {
        let too_early = match error {
            FrameError::TooLong { len, limit } => len <= FRAME_LEN_MAX && limit < FRAME_LEN_MAX,
            FrameError::TooShort { .. } => false,
        };
        self.deliver().await?;
        // The first frame is the hello, so nobody had a reason to think that more is allowed.
        if !too_early || !self.spoken {
            return Err(error.into());
        }
        let raised = self.limit.wait_for(|limit| *limit > FRAME_LEN_MAX_BEFORE_HELLO);
        match timeout(HELLO_TIMEOUT, raised).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(error.into()),
        }
    }

    /// Waits until the driver has taken the batch: TCP then holds this peer back, and no other.
    async fn deliver(&mut self) -> Result<(), ReadEnd> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.spoken = true;
        self.batch_bytes = 0;
        let frames = std::mem::take(&mut self.batch);
        let event = LinkEvent::Frames { link: self.link, frames };
        self.events.send(event).await.map_err(|_| ReadEnd::Stopping)
    }

    /// The clock of a frame runs while we wait for bytes, not while the driver is busy.
    fn watch_progress(&mut self, completed: usize, bytes: usize) {
        let partial = !self.sealed.is_empty() || !self.plain.is_empty();
        let is_same = partial && completed == 0 && self.begun.is_some();
        self.step_bytes = if is_same { self.step_bytes + bytes } else { 0 };
        if !is_same || self.step_bytes >= FRAME_STEP_BYTES {
            self.step_bytes = 0;
            self.begun = partial.then(Instant::now);
        }
        self.told = if is_same { self.told } else { self.begun };
    }

    /// Tells the driver of a frame that takes long. One that is too busy for that judges nobody meanwhile.
    fn tell_progress(&mut self) {
        if self.spoken && self.told.is_some_and(|told| told.elapsed() >= TELL_INTERVAL) {
            self.told = Some(Instant::now());
            drop(self.events.try_send(LinkEvent::Input(Input::Receiving(self.link))));
        }
    }
}

/// Bytes asked for while a link is busy.
const READ_LEN: usize = 16 * 1024;
/// Bytes asked for while it is quiet.
const READ_LEN_IDLE: usize = 2 * 1024;
/// Frames are given to the driver in batches of about this many bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// A frame that takes long is told of this often.
const TELL_INTERVAL: Duration = Duration::from_secs(1);
/// A link that is quiet for this long gives its buffers back.
const SHRINK_AFTER: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests;
