//! Links: bytes on TCP, encrypted and authenticated, cut into frames.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use ed25519_dalek::SigningKey;
use p2p_mesh::id::{DialId, LinkId, PeerId};
use p2p_mesh::input::Input;
use p2p_mesh::membership::record::Addr;

use crate::network::NetworkKey;

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
}

/// What links need to know.
#[derive(Debug)]
pub struct LinkConfig {
    /// Proves who we are.
    pub key: SigningKey,
    /// The first is used for dialing, all for accepting: at most 3.
    pub networks: Vec<NetworkKey>,
    /// For a TCP connection, and again for its handshake.
    pub connect_timeout: Duration,
    /// After which an unanswered write ends the connection.
    pub user_timeout: Duration,
}

/// What the driver does with links. None of these waits.
pub trait LinkTable {
    /// Opens a link; answered by `LinkOpened` or `DialFailed`.
    fn dial(&mut self, dial: DialId, addr: Addr, expected: Option<PeerId>);
    /// Writes a frame, its length included; answered by `Written`.
    fn send(&mut self, link: LinkId, bytes: Bytes);
    /// The other side's hello is done.
    fn raise_frame_limit(&mut self, link: LinkId);
    /// Writes what was sent, then closes; answered by `LinkClosed`.
    fn hangup(&mut self, link: LinkId);
    /// Where links are accepted.
    fn listen_addrs(&self) -> Vec<SocketAddr>;
}
