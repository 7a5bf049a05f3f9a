//! The way to the driver: one question, one answer.

use std::time::Duration;

use p2p_mesh::id::PeerId;
use p2p_mesh::status::PeerStatus;
use p2p_proto::error::{Code, Error};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Order, Request};

/// Asks the driver. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    requests: mpsc::Sender<Request>,
    orders: mpsc::Sender<Order>,
    stop: CancellationToken,
}

impl Asker {
    pub(super) fn new(requests: mpsc::Sender<Request>, orders: mpsc::Sender<Order>, stop: CancellationToken) -> Self {
        Self { requests, orders, stop }
    }

    /// Ends when the daemon is on its way out.
    pub(super) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Asks and waits for the answer. A driver that goes away meanwhile is a daemon that stops.
    pub(super) async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Error> {
        let answer = self.start(question).await?;
        tokio::select! {
            biased;
            answer = answer => answer.map_err(|_| stopping()),
            () = self.is_late() => Err(stopping()),
        }
    }

    /// Asks the store, whose answer may be that it failed.
    pub(super) async fn ask_store<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Request,
    ) -> Result<T, Error> {
        self.ask(question).await?.map_err(store_failed)
    }

    /// Asks, and leaves the waiting to the caller.
    pub(super) async fn start<T>(
        &self,
        question: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<oneshot::Receiver<T>, Error> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(reply)).await?;
        Ok(answer)
    }

    /// Asks the daemon around the driver.
    pub(super) async fn order<T>(&self, order: impl FnOnce(oneshot::Sender<T>) -> Order) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        let done = async {
            self.orders.send(order(reply)).await.map_err(|_| stopping())?;
            answer.await.map_err(|_| stopping())
        };
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(stopping()),
            done = done => done,
        }
    }

    /// Asks for something that has no answer.
    pub(super) async fn tell(&self, request: Request) -> Result<(), Error> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Err(stopping()),
            sent = self.requests.send(request) => sent.map_err(|_| stopping()),
        }
    }

    /// The daemon stops, and the time in which its driver answers what it has is over.
    pub(super) async fn is_late(&self) {
        self.stop.cancelled().await;
        tokio::time::sleep(ANSWERS_TIMEOUT).await;
    }

    /// The peer, if this daemon knows it.
    pub(super) async fn peer(&self, id: PeerId) -> Result<PeerStatus, Error> {
        let peers = self.ask(Request::Peers).await?;
        peers.into_iter().find(|peer| peer.id == Some(id)).ok_or_else(|| unknown_peer(&id.to_string()))
    }
}

/// What everybody is told who asks too late.
pub(super) fn stopping() -> Error {
    Error::new(Code::Stopping, "the daemon is stopping").with_hint("start it again with: p2pd")
}

pub(super) fn store_failed(why: String) -> Error {
    Error::new(Code::StoreFailed, why).with_hint("look at the disk of the data directory, and at: p2pctl status")
}

pub(super) fn unknown_peer(peer: &str) -> Error {
    Error::new(Code::NotFound, format!("no peer {peer} is known here")).with_hint("see who is: p2pctl peers -a")
}

/// How long answers are waited for when the daemon stops. Shorter than the drain of the server, so that who waits is
/// still told.
const ANSWERS_TIMEOUT: Duration = Duration::from_secs(2);
