//! Taking the ports that links are accepted at.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

use super::port_owner::{PortOwner, port_owner};

/// Why a port cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The name has no address.
    #[error("{addr:?} cannot be resolved: {source}")]
    Resolve {
        /// What was asked for.
        addr: String,
        /// The resolver's answer.
        source: io::Error,
    },
    /// Another program has the port.
    #[error("{addr} is used by {}", .owner.as_ref().map_or_else(|| "another program".to_owned(), ToString::to_string))]
    InUse {
        /// Which one.
        addr: SocketAddr,
        /// Who has it, where the system tells us.
        owner: Option<PortOwner>,
    },
    /// The system lets only privileged programs take it.
    #[error("{addr} may not be taken by this user")]
    Denied {
        /// Which one.
        addr: SocketAddr,
    },
    /// Anything else: most likely the address is not one of this machine.
    #[error("{addr} cannot be listened at: {source}")]
    Failed {
        /// Which one.
        addr: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

impl BindError {
    /// The one thing to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "listen_addr is HOST:PORT, for example 0.0.0.0:8080",
            Self::InUse { .. } => {
                "stop that program, or choose another port, for example: p2pd -l localhost:8081 (listen_addr)"
            }
            Self::Denied { addr } if addr.port() < UNPRIVILEGED_PORT => {
                "ports below 1024 need a privilege: setcap cap_net_bind_service=+ep on p2pd, or choose another port"
            }
            Self::Denied { .. } => "choose another port for listen_addr",
            Self::Failed { .. } => "listen_addr must be an address of this machine",
        }
    }
}

/// Takes the port of `listen_addr` at every address that its host has here. Port 0 takes any free port.
///
/// `localhost` is 127.0.0.1 whatever the system says, and ::1 at the same port where that is possible.
///
/// # Errors
///
/// The name is unknown, or one of its addresses cannot be taken.
pub async fn bind(listen_addr: &str) -> Result<Vec<TcpListener>, BindError> {
    if let Some(port) = localhost_port(listen_addr) {
        return bind_localhost(port);
    }
    let resolve_error = |source| BindError::Resolve { addr: listen_addr.to_owned(), source };
    let mut addrs: Vec<SocketAddr> = lookup_host(listen_addr).await.map_err(resolve_error)?.collect();
    addrs.sort_unstable();
    addrs.dedup();
    if addrs.is_empty() {
        return Err(resolve_error(io::ErrorKind::NotFound.into()));
    }
    addrs.into_iter().map(bind_one).collect()
}

fn localhost_port(listen_addr: &str) -> Option<u16> {
    let (host, port) = listen_addr.rsplit_once(':')?;
    if host.eq_ignore_ascii_case("localhost") { port.parse().ok() } else { None }
}

fn bind_localhost(port: u16) -> Result<Vec<TcpListener>, BindError> {
    let first = bind_one(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    // The port that the first one was given.
    let port = first.local_addr().map_or(port, |addr| addr.port());
    let mut listeners = vec![first];
    match bind_one(SocketAddr::from((Ipv6Addr::LOCALHOST, port))) {
        Ok(second) => listeners.push(second),
        Err(error) => tracing::debug!(%error, "no_ipv6_loopback"),
    }
    Ok(listeners)
}

fn bind_one(addr: SocketAddr) -> Result<TcpListener, BindError> {
    try_bind(addr).map_err(|source| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { addr, owner: port_owner(addr) },
        io::ErrorKind::PermissionDenied => BindError::Denied { addr },
        _ => BindError::Failed { addr, source },
    })
}

fn try_bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    if let IpAddr::V6(ip) = addr.ip() {
        // `[::]` takes IPv4 as well.
        socket.set_only_v6(!ip.is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connections that the kernel holds for us.
const BACKLOG: i32 = 1_024;
/// The first port that anybody may take.
const UNPRIVILEGED_PORT: u16 = 1_024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test]
    async fn localhost_is_loopback_at_one_port() {
        let listeners = bind("localhost:0").await.unwrap();
        let addrs: Vec<SocketAddr> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert_eq!(addrs[0].ip(), IpAddr::from([127, 0, 0, 1]));
        assert!(addrs.iter().all(|addr| addr.ip().is_loopback() && addr.port() == addrs[0].port()));
        assert_ne!(addrs[0].port(), 0);
    }

    #[tokio::test]
    async fn p_05_a_port_in_use_names_the_program_that_has_it() {
        let taken = bind("127.0.0.1:0").await.unwrap();
        let addr = taken[0].local_addr().unwrap();
        let error = bind(&addr.to_string()).await.unwrap_err();
        let program = std::fs::read_to_string("/proc/self/comm").unwrap();
        let text = format!("{addr} is used by pid {} ({})", std::process::id(), program.trim_end());
        assert_eq!(error.to_string(), text);
        assert!(error.hint().contains("listen_addr"));
    }

    #[tokio::test]
    async fn p_05_a_port_held_at_all_addresses_names_its_program_too() {
        let taken = bind("0.0.0.0:0").await.unwrap();
        let port = taken[0].local_addr().unwrap().port();
        let error = bind(&format!("127.0.0.1:{port}")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("pid {}", std::process::id())), "{error}");
    }

    #[tokio::test]
    async fn p_05_the_port_of_a_closed_connection_can_be_taken_again() {
        let mut listeners = bind("127.0.0.1:0").await.unwrap();
        let listener = listeners.remove(0);
        let addr = listener.local_addr().unwrap();
        let client = tokio::net::TcpStream::connect(addr).await.unwrap();
        // The side that closes first is the one that the kernel remembers.
        drop(listener.accept().await.unwrap());
        drop((client, listener));
        assert_eq!(bind(&addr.to_string()).await.unwrap()[0].local_addr().unwrap(), addr);
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_by_name() {
        // TEST-NET-1 (RFC 5737) belongs to nobody.
        let error = bind("192.0.2.1:0").await.unwrap_err();
        assert!(matches!(error, BindError::Failed { .. }), "{error}");
        assert!(error.to_string().starts_with("192.0.2.1:0 cannot be listened at: "));
    }

    #[tokio::test]
    async fn a_text_without_a_port_is_no_address() {
        let error = bind("localhost").await.unwrap_err();
        assert!(error.to_string().starts_with("\"localhost\" cannot be resolved: "), "{error}");
    }

    #[test]
    fn p_05_a_low_port_comes_with_the_hint_of_the_privilege() {
        let denied = |port| BindError::Denied { addr: SocketAddr::from(([127, 0, 0, 1], port)) };
        assert!(denied(80).hint().contains("setcap"));
        assert!(!denied(8080).hint().contains("setcap"));
    }
}
