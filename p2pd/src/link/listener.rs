//! Accepting links. The loop awaits nothing but the next one.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::admission;
use super::descriptors::is_reserved;
use super::half_open::Slot;
use super::run::{Origin, run};
use super::secure::{HandshakeError, respond};
use super::shared::Shared;
use super::socket::{canonical, reset_on_close, tune};

/// Where connections come from: a `TcpListener`, and in tests one that fails.
pub(super) trait Accept {
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>>;
}

impl Accept for TcpListener {
    fn poll_accept(&mut self, context: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        TcpListener::poll_accept(self, context)
    }
}

/// Accepts until everything is stopped.
pub(super) async fn accept_all(mut listener: impl Accept, shared: Arc<Shared>) {
    loop {
        let accepted = tokio::select! {
            () = shared.stop.cancelled() => return,
            accepted = poll_fn(|context| listener.poll_accept(context)) => accepted,
        };
        match accepted {
            Ok((socket, remote)) => on_accepted(&shared, socket, canonical(remote)),
            // That connection is gone, and the next one may be fine.
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "accept_failed"),
            // Most likely there is no descriptor left. The connection stays in the kernel's queue, so without a pause
            // this would spin.
            Err(error) => {
                shared.accept_failed(&error);
                sleep(PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

fn on_accepted(shared: &Arc<Shared>, socket: TcpStream, remote: SocketAddr) {
    if is_reserved(&socket) {
        shared.files_ran_out(remote);
        return reset_on_close(&socket);
    }
    match shared.half_open.enter(remote.ip()) {
        Some(slot) => {
            let shared = Arc::clone(shared);
            tokio::spawn(async move { secure(&shared, socket, remote, slot).await });
        }
        None => {
            shared.refuse(remote, "too_many_half_open");
            reset_on_close(&socket);
        }
    }
}

/// The handshake, and the link it leads to. A stranger gets no byte, and costs at most its slot for a few seconds.
async fn secure(shared: &Shared, mut socket: TcpStream, remote: SocketAddr, slot: Slot) {
    tune(&socket, shared.user_timeout);
    let handshake = respond(&mut socket, &shared.identity, || slot.mark_known());
    let result = tokio::select! {
        () = shared.stop.cancelled() => return,
        () = slot.evicted.cancelled() => {
            // A reset, because an orderly close would tell a peer that its secret was refused.
            reset_on_close(&socket);
            return shared.refuse(remote, "half_open_evicted");
        }
        result = timeout(shared.handshake_timeout, handshake) => result,
    };
    match result {
        Ok(Ok(secured)) => match secured.entered {
            Some(by) => admission::admit(shared, socket, secured, by, slot).await,
            None => run(shared, socket, secured, Origin::Accepted(slot)).await,
        },
        Ok(Err(error)) => {
            tracing::debug!(%remote, %error, "handshake_failed");
            shared.refuse(remote, reason(&error));
        }
        Err(_) => shared.refuse(remote, "handshake_timeout"),
    }
}

fn reason(error: &HandshakeError) -> &'static str {
    match error {
        HandshakeError::NotP2pd => "not_p2pd",
        HandshakeError::WrongSecret => "wrong_network_secret",
        HandshakeError::Ended | HandshakeError::Refused { .. } => "handshake_ended",
        HandshakeError::Damaged => "handshake_damaged",
        HandshakeError::Identity | HandshakeError::WrongPeer { .. } => "identity_not_proven",
        HandshakeError::Socket(_) => "socket_failed",
    }
}

const PAUSE: Duration = Duration::from_millis(50);
