//! Connections to the API: accepted for ever, limited in number, and given little time to begin.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::transport::server::Connected;

/// Where connections come from.
#[derive(Debug)]
pub(super) enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

/// Who is at the other end, as far as the system tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caller {
    /// A process of this user; none where the system does not say.
    Unix { uid: Option<u32> },
    /// Anybody on this machine.
    Tcp,
}

/// A connection, which counts against the limit as long as it lives.
#[derive(Debug)]
pub(super) struct Connection {
    socket: Socket,
    caller: Caller,
    /// Bytes of the HTTP/2 preface that did not come yet, and the end of the time for them.
    greeting: Option<(usize, Pin<Box<Sleep>>)>,
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// Every connection that comes. Never ends: an `accept` that fails is tried again.
pub(super) fn incoming(listener: Listener) -> impl Stream<Item = io::Result<Connection>> + Send {
    let state = (listener, Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    futures_util::stream::unfold(state, |(listener, permits)| async {
        let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
        let connection = accept(&listener, permit).await;
        Some((Ok(connection), (listener, permits)))
    })
}

async fn accept(listener: &Listener, permit: OwnedSemaphorePermit) -> Connection {
    loop {
        match listener.accept().await {
            Ok((socket, caller)) => {
                let greeting = Some((PREFACE_LEN, Box::pin(tokio::time::sleep(GREETING_TIMEOUT))));
                return Connection { socket, caller, greeting, _permit: permit };
            }
            // Out of file descriptors, or the other side is gone already: others are served meanwhile.
            Err(why) => {
                tracing::warn!(?why, "api accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Listener {
    async fn accept(&self) -> io::Result<(Socket, Caller)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = stream.peer_cred().ok().map(|peer| peer.uid());
                Ok((Socket::Unix(stream), Caller::Unix { uid }))
            }
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok((Socket::Tcp(stream), Caller::Tcp))
            }
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        self.caller
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Some((_, deadline)) = &mut this.greeting
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let read = match &mut this.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Socket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        ready!(read)?;
        if let Some((left, _)) = &mut this.greeting {
            *left = left.saturating_sub(buf.filled().len() - before);
            if *left == 0 {
                this.greeting = None;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
            Socket::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Socket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Socket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Connections at a time, each listener for itself, so that strangers on TCP cannot fill the socket's share. Who comes
/// later waits in the system's queue.
const CONNECTIONS_MAX: usize = 1_024;
/// `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n`
const PREFACE_LEN: usize = 24;
/// Time for the preface, which a client sends at once.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries of an `accept` that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
