//! What all tasks of all links share.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use p2p_mesh::id::LinkId;
use p2p_mesh::limits::{FRAME_LEN_MAX, HELLO_TIMEOUT};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::half_open::{HalfOpen, Slot};
use super::refusals::Refusals;
use super::secure::Identity;
use super::{LinkConfig, LinkEvent};

/// One of these, and an `Arc` of it for each task.
pub(super) struct Shared {
    pub(super) identity: Identity,
    pub(super) connect_timeout: Duration,
    pub(super) user_timeout: Duration,
    pub(super) handshake_timeout: Duration,
    pub(super) resolve: Resolver,
    pub(super) events: mpsc::Sender<LinkEvent>,
    pub(super) stop: CancellationToken,
    pub(super) half_open: Arc<HalfOpen>,
    /// Held by whoever has an invite while its use is noted.
    pub(super) entering: tokio::sync::Mutex<()>,
    refusals: Mutex<Refusals>,
    links: Mutex<BTreeMap<LinkId, Handle>>,
    next: AtomicU64,
}

/// The addresses of `HOST:PORT`.
pub(super) type Resolver = Box<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// The near ends of an open link.
pub(super) struct Handle {
    /// None once it is hung up.
    pub(super) frames: Option<mpsc::Sender<Bytes>>,
    /// The longest frame that may arrive.
    pub(super) limit: watch::Sender<usize>,
    /// None once an order was given.
    pub(super) order: Option<oneshot::Sender<Order>>,
    /// None once the hello is done, and where we dialed.
    pub(super) slot: Option<Slot>,
}

/// How a link shall end.
pub(super) enum Order {
    /// Write what waits first.
    Hangup,
    /// At once, and this is why.
    Fail(String),
}

/// Removes its link from the table when it is dropped.
pub(super) struct Registered<'a> {
    shared: &'a Shared,
    link: LinkId,
}

impl Shared {
    pub(super) fn new(config: LinkConfig, events: mpsc::Sender<LinkEvent>, stop: CancellationToken) -> Self {
        Self {
            identity: Identity::new(config.key, config.networks, (config.invites, config.hatches)),
            connect_timeout: config.connect_timeout,
            user_timeout: config.user_timeout,
            handshake_timeout: HELLO_TIMEOUT,
            resolve: Box::new(|addr| Box::pin(async move { Ok(tokio::net::lookup_host(addr).await?.collect()) })),
            events,
            stop,
            half_open: Arc::default(),
            entering: tokio::sync::Mutex::default(),
            refusals: Mutex::default(),
            links: Mutex::default(),
            next: AtomicU64::new(1),
        }
    }

    /// Tells the driver; waits while it has much to do. False when everything is stopped.
    pub(super) async fn tell(&self, event: LinkEvent) -> bool {
        tokio::select! {
            sent = self.events.send(event) => sent.is_ok(),
            () = self.stop.cancelled() => false,
        }
    }

    pub(super) fn next_link(&self) -> LinkId {
        LinkId(self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn register(&self, link: LinkId, handle: Handle) -> Registered<'_> {
        self.links().insert(link, handle);
        Registered { shared: self, link }
    }

    pub(super) fn send(&self, link: LinkId, bytes: Bytes) {
        let mut links = self.links();
        let Some(handle) = links.get_mut(&link) else { return };
        let Some(frames) = &handle.frames else { return };
        match frames.try_send(bytes) {
            // The other end is gone: `LinkClosed` is on its way.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => (),
            // The mesh bounds what is in flight, so the link is stuck, or we are wrong. Waiting would stop the driver,
            // and a dropped frame would be missed for ever.
            Err(mpsc::error::TrySendError::Full(_)) => {
                tracing::warn!(%link, waiting = SEND_FRAMES_MAX, "link_overflows");
                handle.end(Order::Fail(format!("slow: {SEND_FRAMES_MAX} frames wait to be written")));
            }
        }
    }

    pub(super) fn raise_frame_limit(&self, link: LinkId) {
        let freed = self.links().get_mut(&link).and_then(|handle| {
            handle.limit.send_replace(FRAME_LEN_MAX);
            handle.slot.take()
        });
        drop(freed);
    }

    pub(super) fn hangup(&self, link: LinkId) {
        if let Some(handle) = self.links().get_mut(&link) {
            handle.end(Order::Hangup);
        }
    }

    /// Counts somebody who is no peer of ours, and logs it where that is worth a line.
    pub(super) fn refuse(&self, remote: SocketAddr, reason: &'static str) {
        let line = self.refusals().count(remote.ip(), reason, Instant::now());
        if let Some(suppressed) = line {
            tracing::info!(%remote, reason, suppressed, "link_refused");
        }
    }

    /// Counts a connection that took one of the last descriptors, and logs it where that is worth a line.
    pub(super) fn files_ran_out(&self, remote: SocketAddr) {
        let line = self.refusals().count(Ipv4Addr::UNSPECIFIED.into(), TOO_MANY_FILES, Instant::now());
        if let Some(suppressed) = line {
            tracing::warn!(%remote, reason = TOO_MANY_FILES, suppressed, "link_refused");
        }
    }

    /// Counts a connection that could not be accepted, and logs it where that is worth a line.
    pub(super) fn accept_failed(&self, error: &io::Error) {
        let line = self.refusals().count(Ipv4Addr::UNSPECIFIED.into(), "accept_failed", Instant::now());
        if let Some(suppressed) = line {
            tracing::warn!(%error, suppressed, "accept_failed");
        }
    }

    pub(super) fn refusals(&self) -> MutexGuard<'_, Refusals> {
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<LinkId, Handle>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handle {
    fn end(&mut self, order: Order) {
        self.frames = None;
        if let Some(sender) = self.order.take() {
            // Nobody listens any more where the link is closing anyway.
            let _ = sender.send(order);
        }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let handle = self.shared.links().remove(&self.link);
        drop(handle);
    }
}

const TOO_MANY_FILES: &str = "too many open files";
/// Frames that wait for one link. The mesh bounds their bytes; this bounds their number, for small ones.
pub(super) const SEND_FRAMES_MAX: usize = 8_192;
