//! Neighbours: who of our networks is on the same local network, by multicast DNS (RFC 6762 and 6763).
//!
//! Each daemon calls out where it can be dialed, as a service `_p2pd._tcp.local`: its peer id, its port, and a tag of each
//! network that it is in. Nothing of that is signed, so what is heard is a hint: it is handed on as a `Sighting`, the mesh
//! dials there, and the handshake proves who it is. Nothing heard is kept, and only so much is listened to in a second, so a
//! flood costs neither memory nor time.
//!
//! It is a small part of the protocol, enough to find and be found, and to be seen with `avahi-browse -r _p2pd._tcp`: names
//! hold a peer id, so they are not probed for; an answer is always sent to everybody; and nothing is cached.

mod announcement;
mod herald;
mod interfaces;
mod reader;
mod screen;
mod segment;

use std::net::SocketAddr;

use p2p_mesh::id::PeerId;
use p2p_mesh::membership::record::Addr;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::network::Ring;

/// What a daemon calls out, and whom it listens for.
#[derive(Clone, Debug)]
pub struct LanConfig {
    /// Who it is.
    pub id: PeerId,
    /// The networks that it is in.
    pub networks: Ring,
    /// Where it accepts links.
    pub listen: Vec<SocketAddr>,
}

/// Somebody called out that a peer of our network is there. Nothing is proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sighting {
    /// Whose id was named.
    pub peer: PeerId,
    /// Where it shall be: addresses of the local network that it was heard on.
    pub addrs: Vec<Addr>,
}

/// The switch. While it is off there is no socket and no task.
#[derive(Debug)]
pub struct Lan {
    config: LanConfig,
    sightings: mpsc::Sender<Sighting>,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Lan {
    /// Off, and where sightings come out once it is on.
    #[must_use]
    pub fn new(config: LanConfig) -> (Self, mpsc::Receiver<Sighting>) {
        let (sightings, receiver) = mpsc::channel(SIGHTINGS_WAITING_MAX);
        (Self { config, sightings, running: None }, receiver)
    }

    /// Calls out and listens from now on.
    pub fn start(&mut self) {
        if self.running.is_some() {
            return;
        }
        let stop = CancellationToken::new();
        let herald = herald::Herald::new(self.config.clone(), self.sightings.clone());
        let task = tokio::spawn(herald.run(stop.clone()));
        self.running = Some(Running { stop, task });
    }

    /// Says goodbye, and is off.
    pub async fn stop(&mut self) {
        if let Some(Running { stop, task }) = self.running.take() {
            stop.cancel();
            let _ = task.await;
            tracing::info!("lan_discovery_stopped");
        }
    }
}

/// Sightings that the driver has not taken yet. More are dropped: whoever is there will be heard again.
const SIGHTINGS_WAITING_MAX: usize = 64;
