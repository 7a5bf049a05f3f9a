//! What the kernel is told about the sockets of links.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Sets the options of a link. A socket whose other end is gone already may refuse some of them: it is found out a
/// moment later anyway.
pub(super) fn tune(socket: &TcpStream, user_timeout: Duration) {
    let set = || -> io::Result<()> {
        let socket = SockRef::from(socket);
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
        socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
        socket.set_tcp_user_timeout(Some(user_timeout))?;
        socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "socket_options_refused");
    }
}

/// The socket shall end with a reset when it is closed: at once, and with nothing left behind in the kernel.
pub(super) fn reset_on_close(socket: &TcpStream) {
    if let Err(error) = socket.set_zero_linger() {
        tracing::debug!(%error, "linger_refused");
    }
}

/// An IPv4 address as such, even where the socket is one of IPv6.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

const KEEPALIVE_IDLE: Duration = Duration::from_secs(10);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVE_PROBES: u32 = 2;
/// What the kernel holds and has not sent is what a more urgent frame has to wait behind.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;
