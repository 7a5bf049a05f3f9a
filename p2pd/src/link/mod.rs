//! Links: bytes on TCP, encrypted and authenticated, cut into frames.
//!
//! ```text
//! listener ─▶ secure ─┐                ┌─▶ reader ─ Frames ─▶ driver
//! dialer ───▶ secure ─┴─▶ run: a link ─┴─◀ writer ◀─ send ─── driver
//! ```
//!
//! Everything here is bounded: accepted links that said no hello, frames that wait for one link, events that wait for
//! the driver. A driver that is busy makes the readers wait, and TCP then holds the peers back.

mod admission;
mod bind;
mod descriptors;
mod dialer;
mod half_open;
mod listener;
mod pace;
mod port_owner;
mod reader;
mod refusals;
mod run;
mod secure;
mod shared;
mod socket;
mod writer;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use p2p_mesh::id::{DialId, LinkId, PeerId};
use p2p_mesh::input::Input;
use p2p_mesh::membership::record::Addr;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::invite::{AdmissionError, InviteError, InviteId, Invites, Ticket};
use crate::network::{NetworkKey, Ring};
use crate::rotation::Hatches;

pub use bind::{BindError, bind};
pub use port_owner::PortOwner;

use shared::Shared;

/// What links tell the driver.
#[derive(Debug)]
pub enum LinkEvent {
    /// Anything but frames.
    Input(Input),
    /// Frames that arrived together, without their lengths.
    Frames {
        /// Where.
        link: LinkId,
        /// In order.
        frames: Vec<Bytes>,
    },
    /// Somebody with an invite wants the network's key, and gets it when the use is noted.
    Entry {
        /// By which.
        invite: InviteId,
        /// Who, proven.
        peer: PeerId,
        /// Gets whether he may.
        reply: oneshot::Sender<Result<(), InviteError>>,
    },
}

/// What links need to know.
#[derive(Debug)]
pub struct LinkConfig {
    /// Proves who we are.
    pub key: SigningKey,
    /// The first is used for dialing, all for accepting: at least one, at most 3.
    pub networks: Ring,
    /// Who has one of these gets the keys of the networks.
    pub invites: Invites,
    /// Where members get the key that holds, if they were away when it changed.
    pub hatches: Hatches,
    /// For a name to be resolved, again for a TCP connection, and again for its handshake, which has at most 5 s.
    pub connect_timeout: Duration,
    /// After which an unanswered write ends the connection.
    pub user_timeout: Duration,
}

/// All links, and where new ones are accepted. Dropping it closes them all at once, and tells nothing more.
///
/// None of its methods waits. A link that is closing or closed ignores them: `LinkClosed` says so exactly once.
pub struct Links {
    shared: Arc<Shared>,
    listen_addrs: Vec<SocketAddr>,
    _stop: DropGuard,
}

impl Links {
    /// Accepts from now on, until `stop` is cancelled: then all links are closed at once and nothing more is told.
    ///
    /// # Panics
    ///
    /// There is no tokio runtime around.
    #[must_use]
    pub fn start(
        config: LinkConfig,
        listeners: Vec<TcpListener>,
        events: mpsc::Sender<LinkEvent>,
        stop: CancellationToken,
    ) -> Self {
        let stop = stop.child_token();
        Self::run(Shared::new(config, events, stop), listeners)
    }

    fn run(shared: Shared, listeners: Vec<TcpListener>) -> Self {
        let shared = Arc::new(shared);
        let listen_addrs = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        for listener in listeners {
            tokio::spawn(listener::accept_all(listener, Arc::clone(&shared)));
        }
        let _stop = shared.stop.clone().drop_guard();
        Self { shared, listen_addrs, _stop }
    }

    /// Opens a link; answered by `LinkOpened` or `DialFailed`.
    pub fn dial(&self, dial: DialId, addr: Addr, expected: Option<PeerId>) {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { dialer::dial(&shared, dial, addr, expected).await });
    }

    /// Asks the issuer of a ticket for the keys of its network; the ticket holds an invite.
    pub fn enter(&self, ticket: Box<Ticket>, reply: oneshot::Sender<Result<Vec<NetworkKey>, AdmissionError>>) {
        let shared = Arc::clone(&self.shared);
        // Whoever asked may be gone.
        tokio::spawn(async move { drop(reply.send(admission::ask(&shared, &ticket).await)) });
    }

    /// Writes a frame, its length included; answered by `Written`, for many frames at once where they are written at
    /// once.
    pub fn send(&self, link: LinkId, bytes: Bytes) {
        self.shared.send(link, bytes);
    }

    /// The other side's hello is done: larger frames may come, and the link is not half-open any more.
    pub fn raise_frame_limit(&self, link: LinkId) {
        self.shared.raise_frame_limit(link);
    }

    /// Writes what was sent, for at most a second, then closes; answered by `LinkClosed`.
    pub fn hangup(&self, link: LinkId) {
        self.shared.hangup(link);
    }

    /// Where links are accepted.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        self.listen_addrs.clone()
    }

    /// What keeps links from being opened now, in a sentence for people.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        descriptors::shortage()
    }

    /// Accepted links that have not said hello: at most 32.
    #[must_use]
    pub fn half_open_count(&self) -> usize {
        self.shared.half_open.count()
    }

    /// Members who got the network's key here, since the start, because they were away when it changed.
    #[must_use]
    pub fn keys_given_count(&self) -> u64 {
        self.shared.identity.hatches.given_total()
    }

    /// Connections that led to no link since the start: strangers, broken handshakes, too many at once.
    #[must_use]
    pub fn refused_count(&self) -> u64 {
        self.shared.refusals().total()
    }
}

#[cfg(test)]
mod tests;
