//! What the daemon tells, as the checks want it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use p2p_proto::v1::{ConfigResponse, Health, NetworkResponse, Peer, PeerState, StatusResponse};

/// Everything that was asked for.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Facts {
    pub(super) status: StatusResponse,
    pub(super) peers: Vec<Peer>,
    pub(super) config: ConfigResponse,
    pub(super) network: NetworkResponse,
    /// Those that have no labels.
    pub(super) figures: BTreeMap<String, f64>,
}

impl Facts {
    /// The store is open, and it is not on its way out.
    pub(super) fn is_running(&self) -> bool {
        match self.status.health() {
            Health::Unspecified | Health::Starting | Health::Recovering | Health::Stopping => false,
            Health::Isolated | Health::Syncing | Health::Ready | Health::Degraded => true,
        }
    }

    /// Peers and addresses of the configuration.
    pub(super) fn configured(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| peer.configured)
    }

    pub(super) fn linked(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|peer| is_linked(peer))
    }

    /// Peers and addresses of the configuration that are not linked, for a reason that `is_it` knows.
    pub(super) fn failing(&self, is_it: impl Fn(&str) -> bool) -> Vec<&Peer> {
        self.configured().filter(|peer| !is_linked(peer) && !peer.blocked && is_it(&peer.last_error)).collect()
    }

    pub(super) fn figure(&self, name: &str) -> Option<f64> {
        self.figures.get(name).copied()
    }

    pub(super) fn value(&self, key: &str) -> &str {
        self.config.values.iter().find(|value| value.key == key).map_or("", |value| &value.value)
    }
}

fn is_linked(peer: &Peer) -> bool {
    matches!(peer.state(), PeerState::Up | PeerState::Suspect)
}

/// Reads Prometheus' text format, as far as a figure has no labels.
pub(super) fn figures(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let figure = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    lines.filter_map(figure).collect()
}

/// The address of `IP:PORT`, or of `HOST:PORT` where the host is this machine by its name.
pub(super) fn ip_of(address: &str) -> Option<IpAddr> {
    if address.starts_with("localhost:") {
        return Some(IpAddr::from([127, 0, 0, 1]));
    }
    address.parse::<SocketAddr>().ok().map(|address| address.ip())
}

/// How far an address reaches.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Reach {
    /// This machine.
    Loopback,
    /// The same wire.
    Link,
    /// A network of one's own.
    Private,
    /// Everybody.
    Public,
    /// All addresses that the machine has.
    Any,
}

pub(super) fn reach(ip: IpAddr) -> Reach {
    let ip = ip.to_canonical();
    let is_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_private = match ip {
        IpAddr::V4(ip) => ip.is_private() || (ip.octets()[0] == 100 && (64..128).contains(&ip.octets()[1])),
        IpAddr::V6(ip) => ip.is_unique_local(),
    };
    match () {
        () if ip.is_unspecified() => Reach::Any,
        () if ip.is_loopback() => Reach::Loopback,
        () if is_link => Reach::Link,
        () if is_private => Reach::Private,
        () => Reach::Public,
    }
}

/// The first few of what a sentence names.
pub(super) fn listed<'a>(all: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<&str> = all.into_iter().collect();
    let more = all.len().saturating_sub(LISTED_MAX);
    let shown = all[..all.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

const LISTED_MAX: usize = 3;
