//! Dialing links: each dial is a task of its own, so a slow name or a silent address delays no other.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use p2p_mesh::id::{DialId, PeerId};
use p2p_mesh::input::{DialFailure, Input};
use p2p_mesh::membership::record::Addr;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::LinkEvent;
use super::admission;
use super::descriptors::is_reserved;
use super::run::{Origin, run};
use super::secure::{Entry, HandshakeError, Secured, initiate, initiate_entry};
use super::shared::Shared;
use super::socket::tune;
use crate::network::NetworkKey;

/// By what an address is asked to let us in.
#[derive(Clone, Copy)]
pub(super) enum Handshake<'a> {
    /// A network's key; somebody certain may be expected.
    Network(&'a NetworkKey, Option<PeerId>),
    /// An invite, or a hatch.
    Entry(&'a Entry<'a>),
}

/// What became of one address, or of the whole dial.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) reason: DialFailure,
    pub(super) detail: String,
    /// Who was there instead of the peer that was dialed.
    pub(super) met: Option<PeerId>,
    /// Somebody is there who does not accept the key.
    pub(super) is_other_key: bool,
}

/// Dials `addr` and runs the link that it leads to.
pub(super) async fn dial(shared: &Shared, dial: DialId, addr: Addr, expected: Option<PeerId>) {
    let opening = AssertUnwindSafe(open(shared, &addr, expected)).catch_unwind();
    let result = tokio::select! {
        () = shared.stop.cancelled() => return,
        // Every dial is answered, or its target would wait for ever. It panics where the system gives no thread for
        // the resolver of names.
        result = opening => result.unwrap_or_else(|_| Err(Failure::unreachable("the task of the dial failed"))),
    };
    match result {
        Ok((socket, secured)) => run(shared, socket, secured, Origin::Dialed(dial)).await,
        Err(Failure { reason, detail, .. }) => {
            tracing::debug!(%addr, ?reason, ?detail, "dial_failed");
            shared.tell(LinkEvent::Input(Input::DialFailed { dial, reason, detail })).await;
        }
    }
}

/// Tries every key of the network that is dialed, the newest first: whoever was away may still have an older one. Where
/// they have a newer one, it is asked for.
async fn open(shared: &Shared, addr: &Addr, expected: Option<PeerId>) -> Result<(TcpStream, Secured), Failure> {
    let networks = shared.identity.networks.now();
    let mut first = None;
    for network in networks.iter().filter(|network| network.id == networks[0].id) {
        match open_with(shared, addr, Handshake::Network(network, expected)).await {
            Err(failure) if failure.is_other_key => first = first.or(Some(failure)),
            other => return other,
        }
    }
    admission::ask_members(shared, addr, expected).await;
    Err(first.unwrap_or_else(|| Failure::unreachable("there is no key to dial with")))
}

/// Tries every address of the name, until one leads to the right peer.
pub(super) async fn open_with(
    shared: &Shared,
    addr: &Addr,
    handshake: Handshake<'_>,
) -> Result<(TcpStream, Secured), Failure> {
    let addrs = resolve(shared, addr).await?;
    let mut race = Race::new(addrs, shared.connect_timeout);
    let mut worst = Failure::unreachable("no address answered");
    while let Some(connected) = race.next().await {
        let failure = match connected {
            Ok(mut socket) => match secure(shared, &mut socket, handshake).await {
                Ok(secured) => return Ok((socket, secured)),
                Err(failure) => failure,
            },
            Err(failure) => failure,
        };
        // What a peer said weighs more than silence elsewhere.
        if failure.weight() >= worst.weight() {
            worst = failure;
        }
    }
    Err(worst)
}

async fn resolve(shared: &Shared, addr: &Addr) -> Result<VecDeque<SocketAddr>, Failure> {
    let host = addr.host();
    let addrs = match timeout(shared.connect_timeout, (shared.resolve)(addr.to_string())).await {
        Ok(Ok(addrs)) => addrs,
        Ok(Err(error)) => return Err(Failure::unreachable(format!("{host:?} cannot be resolved: {error}"))),
        Err(_) => {
            let waited = shared.connect_timeout;
            return Err(Failure::unreachable(format!("{host:?} was not resolved within {waited:?}")));
        }
    };
    let mut distinct = VecDeque::new();
    for addr in addrs {
        if !distinct.contains(&addr) && distinct.len() < ADDRS_MAX {
            distinct.push_back(addr);
        }
    }
    if distinct.is_empty() {
        return Err(Failure::unreachable(format!("{host:?} has no address")));
    }
    Ok(distinct)
}

async fn secure(shared: &Shared, socket: &mut TcpStream, handshake: Handshake<'_>) -> Result<Secured, Failure> {
    tune(socket, shared.user_timeout);
    let limit = shared.handshake_timeout.min(shared.connect_timeout);
    let identity = &shared.identity;
    let handshake = async {
        match handshake {
            Handshake::Network(network, expected) => initiate(socket, identity, network, expected).await,
            Handshake::Entry(entry) => initiate_entry(socket, identity, entry).await,
        }
    };
    match timeout(limit, handshake).await {
        Ok(result) => result.map_err(Failure::from),
        Err(_) => Err(Failure::unreachable(format!("no answer to the handshake within {limit:?}"))),
    }
}

/// Connects to several addresses, the next one as soon as those before failed or took their time (RFC 8305).
struct Race {
    waiting: VecDeque<SocketAddr>,
    running: FuturesUnordered<BoxFuture<'static, Result<TcpStream, Failure>>>,
    limit: Duration,
}

impl Race {
    fn new(waiting: VecDeque<SocketAddr>, limit: Duration) -> Self {
        Self { waiting, running: FuturesUnordered::new(), limit }
    }

    /// The next result, good or bad; none when every address gave one.
    async fn next(&mut self) -> Option<Result<TcpStream, Failure>> {
        loop {
            if self.running.is_empty() {
                self.start_next()?;
            }
            tokio::select! {
                biased;
                result = self.running.next() => {
                    if matches!(result, Some(Err(_))) {
                        self.start_next();
                    }
                    return result;
                }
                () = sleep(STAGGER), if !self.waiting.is_empty() => {
                    self.start_next();
                }
            }
        }
    }

    fn start_next(&mut self) -> Option<()> {
        let addr = self.waiting.pop_front()?;
        let limit = self.limit;
        self.running.push(Box::pin(connect(addr, limit)));
        Some(())
    }
}

async fn connect(addr: SocketAddr, limit: Duration) -> Result<TcpStream, Failure> {
    let failed = |why: &dyn fmt::Display| Failure::unreachable(format!("{addr}: {why}"));
    match timeout(limit, TcpStream::connect(addr)).await {
        // On loopback a socket may be given the very port it dials, and then it talks to itself.
        Ok(Ok(socket)) if socket.local_addr().is_ok_and(|local| local == addr) => {
            Err(failed(&io::Error::from(io::ErrorKind::ConnectionRefused)))
        }
        // What is left is for the store and the API.
        Ok(Ok(socket)) if is_reserved(&socket) => Err(failed(&"too many open files")),
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) => Err(failed(&error)),
        Err(_) => Err(failed(&format_args!("no answer within {limit:?}"))),
    }
}

impl Failure {
    fn unreachable(detail: impl Into<String>) -> Self {
        Self { reason: DialFailure::Unreachable, detail: detail.into(), met: None, is_other_key: false }
    }

    pub(super) fn weight(&self) -> u8 {
        match self.reason {
            DialFailure::Unreachable => 0,
            DialFailure::Refused => 1,
            DialFailure::WrongPeer => 2,
        }
    }
}

impl From<HandshakeError> for Failure {
    fn from(error: HandshakeError) -> Self {
        let reason = match &error {
            HandshakeError::WrongPeer { .. } => DialFailure::WrongPeer,
            // A reset says nothing about the secret: the peer was just not able to take one more link.
            HandshakeError::Socket(_) => DialFailure::Unreachable,
            HandshakeError::Refused { .. }
            | HandshakeError::Ended
            | HandshakeError::NotP2pd
            | HandshakeError::WrongSecret
            | HandshakeError::Damaged
            | HandshakeError::Identity => DialFailure::Refused,
        };
        let met = match &error {
            HandshakeError::WrongPeer { got, .. } => Some(*got),
            HandshakeError::NotP2pd
            | HandshakeError::WrongSecret
            | HandshakeError::Refused { .. }
            | HandshakeError::Ended
            | HandshakeError::Damaged
            | HandshakeError::Identity
            | HandshakeError::Socket(_) => None,
        };
        let is_other_key = matches!(error, HandshakeError::Refused { .. });
        Self { reason, detail: error.to_string(), met, is_other_key }
    }
}

/// Time an address has for itself before the next one is tried beside it.
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRS_MAX: usize = 32;
