//! The service `Mesh`: who is there, and how well they are linked.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use p2p_mesh::id::PeerId;
use p2p_mesh::membership::record::Addr;
use p2p_mesh::status::{PeerState, PeerStatus};
use p2p_proto::endpoint::Endpoint;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::mesh_server::Mesh;
use tonic::{Request, Response, Status};

use super::ask::{Asker, unknown_peer};
use super::changes::changes;
use super::convert::{count, invalid, parse_peer_id};
use super::sync::SyncReader;
use super::{Facts, convert, invites, network, status};
use crate::names::{Names, NoteChange};

/// Answers `Mesh`.
#[derive(Clone, Debug)]
pub(super) struct MeshService {
    pub(super) asker: Asker,
    pub(super) facts: Arc<Facts>,
    pub(super) names: Names,
    /// Where the API is served.
    pub(super) api: Arc<[Endpoint]>,
    /// Between two looks at what may have changed.
    pub(super) pause: Duration,
    /// The same for the sync.
    pub(super) pause_sync: Duration,
}

#[tonic::async_trait]
impl Mesh for MeshService {
    type WatchStatusStream = BoxStream<'static, Result<v1::StatusResponse, Status>>;
    type WatchPeersStream = BoxStream<'static, Result<v1::PeersResponse, Status>>;
    type WatchSyncStateStream = BoxStream<'static, Result<v1::SyncStateResponse, Status>>;

    async fn sync_state(
        &self,
        request: Request<v1::SyncStateRequest>,
    ) -> Result<Response<v1::SyncStateResponse>, Status> {
        let reader = SyncReader::new(self.asker.clone(), self.names.clone(), request.into_inner())?;
        Ok(Response::new(reader.fetch().await?))
    }

    async fn watch_sync_state(
        &self,
        request: Request<v1::SyncStateRequest>,
    ) -> Result<Response<Self::WatchSyncStateStream>, Status> {
        let reader = SyncReader::new(self.asker.clone(), self.names.clone(), request.into_inner())?;
        let fetch = move || reader.clone().fetch();
        Ok(Response::new(Box::pin(changes(self.asker.clone(), self.pause_sync, fetch, Clone::clone))))
    }

    async fn graph(&self, _request: Request<v1::GraphRequest>) -> Result<Response<v1::GraphResponse>, Status> {
        let graph = self.asker.ask(super::Request::Graph).await?;
        let peers = graph.peers.into_iter().map(|peer| convert::graph_peer(peer, &self.names));
        Ok(Response::new(v1::GraphResponse { peers: peers.collect() }))
    }

    async fn sync(&self, _request: Request<v1::SyncRequest>) -> Result<Response<v1::SyncResponse>, Status> {
        let peers = self.asker.ask(super::Request::Sync).await?;
        Ok(Response::new(v1::SyncResponse { peers: count(peers) }))
    }

    async fn status(&self, _request: Request<v1::StatusRequest>) -> Result<Response<v1::StatusResponse>, Status> {
        Ok(Response::new(self.fetch_status().await?))
    }

    async fn watch_status(
        &self,
        _request: Request<v1::StatusRequest>,
    ) -> Result<Response<Self::WatchStatusStream>, Status> {
        let this = self.clone();
        let fetch = move || {
            let this = this.clone();
            async move { this.fetch_status().await }
        };
        // Time passing is no change.
        let timeless: fn(&_) -> _ = |status: &v1::StatusResponse| v1::StatusResponse { uptime_ms: 0, ..status.clone() };
        Ok(Response::new(Box::pin(changes(self.asker.clone(), self.pause, fetch, timeless))))
    }

    async fn peers(&self, _request: Request<v1::PeersRequest>) -> Result<Response<v1::PeersResponse>, Status> {
        Ok(Response::new(self.fetch_peers().await?))
    }

    async fn watch_peers(
        &self,
        _request: Request<v1::PeersRequest>,
    ) -> Result<Response<Self::WatchPeersStream>, Status> {
        let this = self.clone();
        let fetch = move || {
            let this = this.clone();
            async move { this.fetch_peers().await }
        };
        // A wait that grows shorter is no change.
        let timeless: fn(&_) -> _ = |peers: &v1::PeersResponse| {
            let timeless = peers.peers.iter().map(|peer| v1::Peer { next_dial_ms: 0, ..peer.clone() });
            v1::PeersResponse { peers: timeless.collect() }
        };
        Ok(Response::new(Box::pin(changes(self.asker.clone(), self.pause, fetch, timeless))))
    }

    async fn add_peer(&self, request: Request<v1::AddPeerRequest>) -> Result<Response<v1::AddPeerResponse>, Status> {
        let address = request.into_inner().address;
        let addr: Addr = address
            .parse()
            .map_err(|why| invalid(format!("{}: {why}", shorten(&address))).with_hint("p2pctl peers add HOST:PORT"))?;
        self.asker.ask(|reply| super::Request::AddPeer(addr, reply)).await?;
        Ok(Response::new(v1::AddPeerResponse {}))
    }

    async fn forget_peer(
        &self,
        request: Request<v1::ForgetPeerRequest>,
    ) -> Result<Response<v1::ForgetPeerResponse>, Status> {
        let peer = request.into_inner().peer;
        let was_known = match (peer.parse(), peer.parse::<Addr>()) {
            (Ok(id), _) => {
                self.check_gone(id).await?;
                self.asker.ask(|reply| super::Request::ForgetPeer(id, reply)).await?
            }
            (Err(_), Ok(addr)) => self.asker.ask(|reply| super::Request::ForgetAddr(addr, reply)).await?,
            (Err(_), Err(_)) => {
                let why = format!("{} is neither a peer id nor an address", shorten(&peer));
                return Err(invalid(why).with_hint("see what is known: p2pctl peers -a").into());
            }
        };
        if was_known { Ok(Response::new(v1::ForgetPeerResponse {})) } else { Err(unknown_peer(&peer).into()) }
    }

    async fn update_peer(
        &self,
        request: Request<v1::UpdatePeerRequest>,
    ) -> Result<Response<v1::UpdatePeerResponse>, Status> {
        let v1::UpdatePeerRequest { id, petname, blocked } = request.into_inner();
        let peer = parse_peer_id(&id)?;
        if blocked == Some(true) && peer == self.facts.instance.id {
            let why = invalid("this daemon cannot block itself").with_hint("see who else is there: p2pctl peers -a");
            return Err(why.into());
        }
        let change = NoteChange { petname, is_blocked: blocked };
        let noted = self.asker.ask(|reply| super::Request::UpdatePeer { peer, change, reply }).await?;
        noted.map_err(|error| convert::note_error(&error, &self.names))?;
        Ok(Response::new(v1::UpdatePeerResponse {}))
    }

    async fn reconnect(
        &self,
        request: Request<v1::ReconnectRequest>,
    ) -> Result<Response<v1::ReconnectResponse>, Status> {
        let id = request.into_inner().id;
        let peer = if id.is_empty() { None } else { Some(parse_peer_id(&id)?) };
        if let Some(peer) = peer {
            self.check_trusted(peer)?;
            self.asker.peer(peer).await?;
        }
        let dials = self.asker.ask(|reply| super::Request::Reconnect(peer, reply)).await?;
        Ok(Response::new(v1::ReconnectResponse { dials }))
    }

    async fn invite(&self, request: Request<v1::InviteRequest>) -> Result<Response<v1::InviteResponse>, Status> {
        Ok(Response::new(invites::invite(&self.asker, request.into_inner()).await?))
    }

    async fn invites(&self, _request: Request<v1::InvitesRequest>) -> Result<Response<v1::InvitesResponse>, Status> {
        Ok(Response::new(invites::list(&self.asker).await?))
    }

    async fn revoke_invite(
        &self,
        request: Request<v1::RevokeInviteRequest>,
    ) -> Result<Response<v1::RevokeInviteResponse>, Status> {
        invites::revoke(&self.asker, &request.into_inner().id).await?;
        Ok(Response::new(v1::RevokeInviteResponse {}))
    }

    async fn join(&self, request: Request<v1::JoinRequest>) -> Result<Response<v1::JoinResponse>, Status> {
        Ok(Response::new(invites::join(&self.asker, request.into_inner()).await?))
    }

    async fn network(&self, _request: Request<v1::NetworkRequest>) -> Result<Response<v1::NetworkResponse>, Status> {
        Ok(Response::new(network::network(&self.asker, &self.facts, &self.names).await?))
    }

    async fn rotate(&self, request: Request<v1::RotateRequest>) -> Result<Response<v1::RotateResponse>, Status> {
        Ok(Response::new(network::rotate(&self.asker, &request.into_inner(), &self.names).await?))
    }

    async fn ping(&self, request: Request<v1::PingRequest>) -> Result<Response<v1::PingResponse>, Status> {
        let request = request.into_inner();
        let rtt_us = self.ping_peer(&request.id, ping_timeout(request.timeout_ms)).await?;
        Ok(Response::new(v1::PingResponse { rtt_us: count(rtt_us) }))
    }
}

impl MeshService {
    pub(super) async fn fetch_status(&self) -> Result<v1::StatusResponse, Error> {
        status::fetch(&self.asker, &self.facts, &self.api, &self.names).await
    }

    /// A peer that is linked would be known again at once, and is shown without its name until then.
    async fn check_gone(&self, id: PeerId) -> Result<(), Error> {
        let peers = self.asker.ask(super::Request::Peers).await?;
        let is_linked =
            |peer: &PeerStatus| peer.id == Some(id) && matches!(peer.state, PeerState::Up | PeerState::Suspect);
        if !peers.iter().any(is_linked) {
            return Ok(());
        }
        let why = format!("{} is linked, and would be known again at once", self.names.shown(&id));
        Err(invalid(why).with_hint(format!("end the link, and keep it out: p2pctl peers block {id}")))
    }

    async fn fetch_peers(&self) -> Result<v1::PeersResponse, Error> {
        let peers = self.asker.ask(super::Request::Peers).await?;
        let mut noted = self.names.noted();
        noted.remove(&self.facts.instance.id);
        noted.retain(|id| !peers.iter().any(|peer| peer.id == Some(*id)));
        let known = peers.into_iter().map(|peer| convert::peer(peer, &self.names));
        let noted = noted.into_iter().map(|id| convert::noted_peer(id, &self.names));
        Ok(v1::PeersResponse { peers: known.chain(noted).collect() })
    }

    fn check_trusted(&self, peer: PeerId) -> Result<(), Error> {
        if !self.names.is_blocked(&peer) {
            return Ok(());
        }
        Err(Error::new(Code::Untrusted, format!("{} is blocked here", self.names.shown(&peer)))
            .with_hint(format!("let it in again: p2pctl peers unblock {peer}")))
    }

    async fn ping_peer(&self, id: &str, timeout: Duration) -> Result<u64, Error> {
        let peer = parse_peer_id(id)?;
        if peer == self.facts.instance.id {
            return Err(invalid("this daemon cannot ping itself").with_hint("see whom it can: p2pctl peers"));
        }
        self.check_trusted(peer)?;
        let known = self.asker.peer(peer).await?;
        let offline =
            || if known.met_other { met_other(id, &known.last_error) } else { offline(id, &known.last_error) };
        match known.state {
            PeerState::Up | PeerState::Suspect => (),
            PeerState::Dialing | PeerState::Waiting | PeerState::Down => return Err(offline()),
        }
        let pong = self.asker.ask(|reply| super::Request::Ping(peer, reply));
        match tokio::time::timeout(timeout, pong).await {
            Ok(answer) => answer?.ok_or_else(offline),
            Err(_) => {
                let why = format!("peer {id} did not answer within {timeout:?}");
                Err(Error::new(Code::Timeout, why).with_hint(format!("see how it is: p2pctl peers show {id}")))
            }
        }
    }
}

fn offline(id: &str, last_error: &str) -> Error {
    let because = if last_error.is_empty() { String::new() } else { format!(": {last_error}") };
    Error::new(Code::PeerOffline, format!("peer {id} is not linked{because}"))
        .with_hint(format!("dial it now: p2pctl peers reconnect {id}"))
}

/// Who answers where it was is somebody else.
fn met_other(id: &str, last_error: &str) -> Error {
    Error::new(Code::Untrusted, format!("peer {id} is not linked, and somebody else is where it was: {last_error}"))
        .with_hint(format!("if it has a new key, forget the old one: p2pctl peers forget {id}"))
}

fn ping_timeout(ms: u32) -> Duration {
    match ms {
        0 => PING_TIMEOUT,
        ms => Duration::from_millis(u64::from(ms)).min(PING_TIMEOUT_MAX),
    }
}

/// What a user wrote, for an error that repeats it.
pub(super) fn shorten(text: &str) -> String {
    format!("{:?}", text.chars().take(SHOWN_MAX).collect::<String>())
}

/// Where the request names no time.
const PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than any link stays up in silence.
const PING_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Characters of a user's text in an error.
const SHOWN_MAX: usize = 64;
