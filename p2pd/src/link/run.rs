//! One open link: from `LinkOpened` to `LinkClosed`, each exactly once.

use p2p_mesh::id::DialId;
use p2p_mesh::input::{CloseReason, DialFailure, Input, LinkOpened};
use p2p_mesh::limits::{CLOSE_TIMEOUT, FRAME_LEN_MAX_BEFORE_HELLO};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::LinkEvent;
use super::half_open::Slot;
use super::reader::{ReadEnd, Reader};
use super::secure::Secured;
use super::shared::{Handle, Order, SEND_FRAMES_MAX, Shared};
use super::socket::canonical;
use super::writer::{WriteError, Writer};

/// Where a link comes from.
pub(super) enum Origin {
    /// We dialed.
    Dialed(DialId),
    /// The other side dialed; the link is half-open.
    Accepted(Slot),
}

/// The two tasks of a link and what may end it.
struct Open {
    reader: JoinHandle<ReadEnd>,
    writer: JoinHandle<Result<(), WriteError>>,
    order: oneshot::Receiver<Order>,
    evicted: CancellationToken,
}

/// Runs a link until it is closed. Ends without a word when everything is stopped.
pub(super) async fn run(shared: &Shared, socket: TcpStream, secured: Secured, origin: Origin) {
    let (Ok(remote), Ok(local)) = (socket.peer_addr().map(canonical), socket.local_addr().map(canonical)) else {
        tracing::debug!("link_gone_before_it_was_open");
        if let Origin::Dialed(dial) = origin {
            // Every dial is answered, or its target would wait for ever.
            let detail = "the other side closed the link before it was open".to_owned();
            let failed = Input::DialFailed { dial, reason: DialFailure::Unreachable, detail };
            shared.tell(LinkEvent::Input(failed)).await;
        }
        return;
    };
    let link = shared.next_link();
    let (dial, slot) = match origin {
        Origin::Dialed(dial) => (Some(dial), None),
        Origin::Accepted(slot) => (None, Some(slot)),
    };
    let evicted = slot.as_ref().map(|slot| slot.evicted.clone()).unwrap_or_default();
    let (frames_in, frames) = mpsc::channel(SEND_FRAMES_MAX);
    let (limit_in, limit) = watch::channel(FRAME_LEN_MAX_BEFORE_HELLO);
    let (order_in, order) = oneshot::channel();
    let handle = Handle { frames: Some(frames_in), limit: limit_in, order: Some(order_in), slot };
    let registered = shared.register(link, handle);

    let opened = LinkOpened { link, dial, peer: secured.peer, remote, local: local.ip() };
    tracing::debug!(%link, peer = ?secured.peer, %remote, "link_opened");
    if !shared.tell(LinkEvent::Input(Input::LinkOpened(opened))).await {
        return;
    }
    let (read_half, write_half) = socket.into_split();
    let reader = Reader::new(link, read_half, secured.opener, shared.events.clone(), limit);
    let writer = Writer::new(link, write_half, secured.sealer, frames, shared.events.clone());
    let (reader, writer) = (tokio::spawn(reader.run()), tokio::spawn(writer.run()));
    let mut open = Open { reader, writer, order, evicted };
    let reason = tokio::select! {
        () = shared.stop.cancelled() => None,
        reason = open.end() => Some(reason),
    };
    open.abort().await;
    drop(registered);
    if let Some(reason) = reason {
        tracing::debug!(%link, peer = ?secured.peer, %remote, ?reason, "link_closed");
        shared.tell(LinkEvent::Input(Input::LinkClosed { link, reason })).await;
    }
}

impl Open {
    /// Waits for whatever ends the link first.
    async fn end(&mut self) -> CloseReason {
        // In this order, so that a link that is hung up and closed in one moment always gives the same reason.
        tokio::select! {
            biased;
            order = &mut self.order => match order {
                Ok(Order::Fail(why)) => CloseReason::Failed(why),
                Ok(Order::Hangup) | Err(_) => self.finish().await,
            },
            end = &mut self.reader => read_reason(end),
            end = &mut self.writer => {
                // What the other side said last may tell why it takes nothing any more.
                let reader = &mut self.reader;
                let _ = timeout(CLOSE_TIMEOUT, reader).await;
                write_reason(end)
            },
            () = self.evicted.cancelled() => CloseReason::Failed(EVICTED.to_owned()),
        }
    }

    /// Writes what waits, then lets the other side close: were the socket closed while bytes arrive, the other side
    /// would get a reset, and might lose our last frame to it.
    async fn finish(&mut self) -> CloseReason {
        let both = async {
            let _ = (&mut self.writer).await;
            let _ = (&mut self.reader).await;
        };
        let _ = timeout(CLOSE_TIMEOUT, both).await;
        CloseReason::HungUp
    }

    /// Ends both tasks: after this, nothing comes from the link.
    async fn abort(self) {
        self.reader.abort();
        self.writer.abort();
        if !self.reader.is_finished() {
            let _ = self.reader.await;
        }
        if !self.writer.is_finished() {
            let _ = self.writer.await;
        }
    }
}

fn read_reason(end: Result<ReadEnd, JoinError>) -> CloseReason {
    end.map_or_else(|error| task_failed(&error), CloseReason::from)
}

fn write_reason(end: Result<Result<(), WriteError>, JoinError>) -> CloseReason {
    match end {
        // It ends in order only after a hang-up.
        Ok(Ok(())) => CloseReason::HungUp,
        Ok(Err(error)) => error.into(),
        Err(error) => task_failed(&error),
    }
}

/// A bug of ours costs this link, and nothing else.
fn task_failed(error: &JoinError) -> CloseReason {
    tracing::error!(?error, "link_task_failed");
    CloseReason::Failed("a task of the link failed".to_owned())
}

const EVICTED: &str = "half_open: too many links have not said hello";
