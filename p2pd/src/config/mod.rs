//! The configuration: flag > `P2P_*` > file > default.
//!
//! One table, `keys`, says of each key how it is read, shown and explained. `load` lays the four layers over each
//! other with it, `show` prints the result and the example file.

mod file;
mod keys;
mod load;
mod reload;
mod show;
#[cfg(test)]
mod tests;
mod text;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2p_mesh::id::{PeerId, base32};
use p2p_mesh::membership::record::Addr;
use p2p_proto::endpoint::Endpoint;

pub use self::load::{ConfigErrors, Effective, Loaded, Source, load, load_in};
pub use self::reload::{Change, Reloaded, reload, reload_in};
pub use self::show::{example, render};
use crate::group::Group;
use crate::keyfile::KeyFileError;
pub use crate::keyfile::Secret;
pub use crate::logging::LogFormat;
use crate::network::{self, Keygen, NetworkKey};
use crate::paths::NETWORK_FILE;

/// The configuration in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST:PORT` to listen at; port 0 lets the system choose.
    pub listen_addr: String,
    /// Dialed for ever.
    pub peers: Vec<Addr>,
    /// Links at a time.
    pub max_connections: usize,
    /// For a TCP connection and its handshake.
    pub connect_timeout: Duration,
    /// Silence after which a link is asked whether it lives.
    pub heartbeat_interval: Duration,
    /// How long the answer may take.
    pub heartbeat_timeout: Duration,
    /// Batches, of 128 KiB of memory each, buffered for API streams before a reader falls back to the log.
    pub message_buffer_size: usize,
    /// Posts held per feed beyond a gap while it is filled.
    pub dedup_cache_size: usize,
    /// A `tracing` filter of targets and levels.
    pub log_level: String,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How others see this peer, beside its key.
    pub name: String,
    /// Identity, store, address book, lock.
    pub data_dir: PathBuf,
    /// Where the API is served.
    pub api_addr: Vec<Endpoint>,
    /// Whose members may use the API's sockets too.
    pub api_group: Option<Group>,
    /// `HOST:PORT` to serve figures and probes at; none serves them over the API only.
    pub metrics_addr: Option<String>,
    /// What others are told instead of what the links show.
    pub advertise_addr: Vec<Addr>,
    /// Peers of the local network are looked for, and told of this one.
    pub lan_discovery: bool,
    /// The network key's file; where it is none, the one in the data directory, made if it is missing.
    pub network_secret_file: Option<PathBuf>,
    /// The network key itself, as the file would hold it.
    pub network_secret: Option<Secret>,
    /// The ticket of a network to get into.
    pub join: Option<Secret>,
    /// Nobody is asked for a secret.
    pub open_network: bool,
    /// Only these may link; empty means everybody of the network.
    pub allow: Vec<PeerId>,
    /// These may not link.
    pub block: Vec<PeerId>,
    /// When a send is answered.
    pub durability: Durability,
    /// Posts older than this are dropped; none keeps them.
    pub retention_age: Option<Duration>,
    /// The history is kept below this many bytes; none lets it grow.
    pub retention_bytes: Option<u64>,
    /// Up to this many other peers, everybody links to everybody.
    pub full_mesh_max: usize,
    /// The room of posts that name none.
    pub default_room: String,
}

/// When a send is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Each append is flushed by itself.
    Always,
    /// Flushed; what waits meanwhile shares the next flush.
    Batch,
    /// When the system has it: a power cut may lose it.
    Never,
}

impl Config {
    /// The network key's file, configured or not.
    #[must_use]
    pub fn network_file(&self) -> PathBuf {
        self.network_secret_file.clone().unwrap_or_else(|| self.data_dir.join(NETWORK_FILE))
    }

    /// The keys of the networks that this daemon is in: the first for dialing, all for accepting. The key file in the
    /// data directory is made if it is missing; one that is configured has to be there.
    ///
    /// # Errors
    ///
    /// A key file cannot be used.
    pub fn networks(&self) -> Result<Vec<NetworkKey>, KeyFileError> {
        let file = self.network_file();
        if self.open_network {
            return Ok(vec![NetworkKey::open()]);
        }
        match &self.network_secret {
            Some(secret) => network::parse(secret.reveal(), Path::new("network_secret")),
            None if self.network_secret_file.is_some() => network::load(&file),
            None => {
                let made = network::keygen(&file, true)?;
                let networks = network::load(&file)?;
                match (made, networks.first()) {
                    (Keygen::Made, Some(new)) => {
                        let (network, invite_someone) = (base32(&new.id), self.invite());
                        tracing::info!(network, ?file, ?invite_someone, "network_made");
                    }
                    (Keygen::Made, None) | (Keygen::Kept, _) => (),
                }
                Ok(networks)
            }
        }
    }

    /// What the owner of a new network does to get a second peer into it.
    fn invite(&self) -> String {
        let invite = "p2pctl invite".to_owned();
        let (host, port) = self.listen_addr.rsplit_once(':').unwrap_or((&self.listen_addr, "8080"));
        if !is_loopback(host) {
            return invite;
        }
        let port = if port == "0" { "PORT" } else { port };
        format!("{invite}; {} is for this machine only, so start here with -l 0.0.0.0:{port}", self.listen_addr)
    }
}

/// Nobody on another machine reaches it.
fn is_loopback(host: &str) -> bool {
    let ip: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    ip.map_or(host == "localhost", |ip| ip.is_loopback())
}
