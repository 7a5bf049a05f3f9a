//! A daemon that says what a test wants, on a real socket.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};

use p2p_proto::error::{Code, Error};
use p2p_proto::v1::chat_server::{Chat, ChatServer};
use p2p_proto::v1::daemon_server::{Daemon, DaemonServer};
use p2p_proto::v1::mesh_server::{Mesh, MeshServer};
use p2p_proto::v1::*;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

pub(super) const ALICE: &str = "k5x3abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";
pub(super) const BOB: &str = "7qfdabcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";
pub(super) const OWN: &str = "mmmmabcdefghijklmnopqrstuvwxyz234567abcdefghijklmnop";

/// What the daemon answers, and what it was asked.
#[derive(Default)]
pub(super) struct State {
    pub(super) posts: Vec<Post>,
    pub(super) peers: Vec<Peer>,
    /// One a call; the last one stays.
    pub(super) statuses: VecDeque<StatusResponse>,
    /// Streams of states stay open behind the last one.
    pub(super) holds: bool,
    /// So many streams of states are given; whoever asks for more is denied. None: no limit.
    pub(super) streams_max: Option<usize>,
    pub(super) invites: Vec<Invite>,
    pub(super) network: NetworkResponse,
    /// One script a call of Watch. Where there is none left, the stream stays open and silent.
    pub(super) watches: VecDeque<Vec<Result<WatchResponse, Status>>>,
    /// What History says of its end, and of what is not held any more.
    pub(super) offset: u64,
    pub(super) expired: u64,
    pub(super) expired_newest_us: i64,
    /// And of what it leaves out.
    pub(super) blocked: u64,
    /// One answer a call of Search.
    pub(super) found: VecDeque<SearchResponse>,
    /// One script a call of Receipts; behind its end the stream stays open where `holds` says so. Where there is none
    /// left, nobody is known.
    pub(super) receipts: VecDeque<Vec<Result<ReceiptsResponse, Status>>>,
    /// One script a call of WatchSyncState, like those of Receipts. SyncState gives the first state of the first one.
    pub(super) syncs: VecDeque<Vec<Result<SyncStateResponse, Status>>>,
    /// One answer a call of Reload; then nothing changed.
    pub(super) reloads: VecDeque<Result<ReloadResponse, Status>>,
    /// After this many posts the stream of posts breaks.
    pub(super) send_breaks_after: Option<usize>,
    /// The stream of posts takes everything and answers nothing.
    pub(super) swallows: bool,
    /// Round-trip times in order; then none answers.
    pub(super) rtts_us: VecDeque<u32>,
    /// No call is ever answered.
    pub(super) mute: bool,
    /// Every call but Status is not known.
    pub(super) old: bool,
    pub(super) watched: Vec<WatchRequest>,
    pub(super) rooms: Vec<Room>,
    pub(super) histories: Vec<HistoryRequest>,
    pub(super) searches: Vec<SearchRequest>,
    pub(super) receipted: Vec<ReceiptsRequest>,
    pub(super) synced_rooms: Vec<String>,
    pub(super) outgoing: Vec<Outgoing>,
    pub(super) requests: Vec<String>,
    pub(super) batches: usize,
}

#[derive(Clone, Default)]
struct Api(Arc<Mutex<State>>);

/// The daemon and its folder. It is gone when this is dropped.
pub(super) struct Fake {
    pub(super) dir: TempDir,
    api: Api,
    task: Option<JoinHandle<()>>,
}

impl Fake {
    pub(super) fn start() -> Self {
        let mut fake = Self { dir: tempfile::tempdir().unwrap(), api: Api::default(), task: None };
        fake.restart();
        fake
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("p2pd.sock")
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.api.0.lock().unwrap()
    }

    /// Serves on a new socket; what it knows stays.
    pub(super) fn restart(&mut self) {
        self.stop();
        let _ = std::fs::remove_file(self.socket());
        let incoming = UnixListenerStream::new(UnixListener::bind(self.socket()).unwrap());
        let api = self.api.clone();
        self.task = Some(tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(ChatServer::new(api.clone()))
                .add_service(MeshServer::new(api.clone()))
                .add_service(DaemonServer::new(api))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        }));
    }

    /// Listens no more and leaves its socket behind, as a killed daemon does.
    pub(super) fn stop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Api {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    async fn note(&self, request: impl Into<String>) -> Result<(), Status> {
        let (mute, old) = {
            let mut state = self.lock();
            state.requests.push(request.into());
            (state.mute, state.old)
        };
        if mute {
            std::future::pending::<()>().await;
        }
        if old { Err(Status::unimplemented("")) } else { Ok(()) }
    }

    /// Counts a stream of states.
    fn open_stream(&self) -> Result<(), Status> {
        match &mut self.lock().streams_max {
            Some(0) => Err(Error::new(Code::PermissionDenied, "no more streams").into()),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The rules of a daemon that matter to its client: limits, keys, numbers.
    fn publish(&self, post: Outgoing) -> Result<SendResponse, Error> {
        let mut state = self.lock();
        if post.text == "refuse" {
            return Err(Error::new(Code::StoreFailed, "disk full in /data (0 bytes free)").with_hint("make space"));
        }
        let known = state.outgoing.iter().position(|old| !old.key.is_empty() && old.key == post.key);
        let at = match known {
            Some(at) if state.outgoing[at] != post => {
                return Err(Error::new(Code::KeyReused, format!("key {:?} stands for another message", post.key)));
            }
            Some(at) => at,
            None => {
                state.outgoing.push(post);
                state.outgoing.len() - 1
            }
        };
        let seq = at as u64 + 1;
        let id = Some(PostId { author: OWN.to_owned(), epoch: 1_863, seq });
        Ok(SendResponse { id, offset: 100 + seq, time_us: 1_795_348_800_000_000, repeated: known.is_some() })
    }
}

/// Gives what is written down, and then nothing: the stream ends, or stays open.
fn played<T: Send + 'static>(script: Vec<Result<T, Status>>, holds: bool) -> Items<T> {
    let script = tokio_stream::iter(script);
    if holds { Box::pin(script.chain(tokio_stream::pending())) } else { Box::pin(script) }
}

type Items<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Chat for Api {
    type SendStreamStream = Items<SendStreamResponse>;
    type WatchStream = Items<WatchResponse>;

    async fn send(&self, request: Request<SendRequest>) -> Result<Response<SendResponse>, Status> {
        self.note("send").await?;
        Ok(Response::new(self.publish(request.into_inner().post.unwrap())?))
    }

    async fn send_stream(
        &self,
        mut request: Request<Streaming<SendStreamRequest>>,
    ) -> Result<Response<Self::SendStreamStream>, Status> {
        self.note("send_stream").await?;
        if self.lock().swallows {
            tokio::spawn(async move { while let Ok(Some(_)) = request.get_mut().message().await {} });
            return Ok(Response::new(Box::pin(tokio_stream::pending())));
        }
        let api = self.clone();
        let answers = request.into_inner().map(move |request| {
            let posts = request?.posts;
            api.lock().batches += 1;
            let breaks_after = api.lock().send_breaks_after;
            if breaks_after.is_some_and(|after| api.lock().outgoing.len() >= after) {
                return Err(Status::unavailable("connection reset"));
            }
            let results = posts.into_iter().map(|post| {
                let result = match api.publish(post) {
                    Ok(sent) => send_result::Result::Sent(sent),
                    Err(error) => send_result::Result::Failed(error.into()),
                };
                SendResult { result: Some(result) }
            });
            Ok(SendStreamResponse { results: results.collect() })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        self.note("watch").await?;
        let mut state = self.lock();
        state.watched.push(request.into_inner());
        match state.watches.pop_front() {
            Some(script) => Ok(Response::new(Box::pin(tokio_stream::iter(script)))),
            None => Ok(Response::new(Box::pin(tokio_stream::pending()))),
        }
    }

    async fn history(&self, request: Request<HistoryRequest>) -> Result<Response<HistoryResponse>, Status> {
        self.note("history").await?;
        let request = request.into_inner();
        let mut state = self.lock();
        // Only a span with both ends is kept to.
        let span = request.since_us..request.until_us;
        let is_in_time = |post: &&Post| span.is_empty() || span.contains(&post.time_us);
        let posts: Vec<Post> = state.posts.iter().filter(is_in_time).cloned().collect();
        let end = if request.page.is_empty() { posts.len() } else { request.page.parse().unwrap() };
        let start = end.saturating_sub(request.limit as usize);
        let next = if start == 0 { String::new() } else { start.to_string() };
        state.histories.push(request);
        Ok(Response::new(HistoryResponse {
            posts: posts[start..end].to_vec(),
            next,
            offset: state.offset,
            expired: state.expired,
            expired_newest_us: state.expired_newest_us,
            blocked: state.blocked,
        }))
    }

    type ReceiptsStream = Items<ReceiptsResponse>;

    async fn search(&self, request: Request<SearchRequest>) -> Result<Response<SearchResponse>, Status> {
        self.note("search").await?;
        let mut state = self.lock();
        state.searches.push(request.into_inner());
        Ok(Response::new(state.found.pop_front().unwrap_or_default()))
    }

    async fn receipts(&self, request: Request<ReceiptsRequest>) -> Result<Response<Self::ReceiptsStream>, Status> {
        self.note("receipts").await?;
        self.open_stream()?;
        let request = request.into_inner();
        let mut state = self.lock();
        let nobody = |id: &PostId| Receipt { id: Some(id.clone()), held: true, holders: Vec::new() };
        let nobody = ReceiptsResponse { receipts: request.ids.iter().map(nobody).collect() };
        state.receipted.push(request);
        let script = state.receipts.pop_front().unwrap_or_else(|| vec![Ok(nobody)]);
        Ok(Response::new(played(script, state.holds)))
    }

    async fn rooms(&self, _: Request<RoomsRequest>) -> Result<Response<RoomsResponse>, Status> {
        self.note("rooms").await?;
        let room = Room { name: "general".to_owned(), posts: 3, newest_us: 1_795_348_800_000_000 };
        let known = self.lock().rooms.clone();
        let rooms = if known.is_empty() { vec![room] } else { known };
        Ok(Response::new(RoomsResponse { rooms, ..RoomsResponse::default() }))
    }
}

#[tonic::async_trait]
impl Mesh for Api {
    type WatchStatusStream = Items<StatusResponse>;
    type WatchSyncStateStream = Items<SyncStateResponse>;

    async fn sync_state(&self, request: Request<SyncStateRequest>) -> Result<Response<SyncStateResponse>, Status> {
        self.note("sync_state").await?;
        let mut state = self.lock();
        state.synced_rooms.push(request.into_inner().room);
        state
            .syncs
            .front()
            .and_then(|script| script.first())
            .cloned()
            .unwrap_or_else(|| Ok(SyncStateResponse::default()))
            .map(Response::new)
    }

    async fn watch_sync_state(
        &self,
        request: Request<SyncStateRequest>,
    ) -> Result<Response<Self::WatchSyncStateStream>, Status> {
        self.note("watch_sync_state").await?;
        self.open_stream()?;
        let mut state = self.lock();
        state.synced_rooms.push(request.into_inner().room);
        let script = state.syncs.pop_front().unwrap_or_default();
        Ok(Response::new(played(script, state.holds)))
    }

    async fn graph(&self, _: Request<GraphRequest>) -> Result<Response<GraphResponse>, Status> {
        self.note("graph").await?;
        let own = GraphPeer { id: OWN.to_owned(), told: true, neighbors: vec![BOB.to_owned()], ..GraphPeer::default() };
        let bob = GraphPeer { id: BOB.to_owned(), told: true, neighbors: vec![OWN.to_owned()], ..GraphPeer::default() };
        Ok(Response::new(GraphResponse { peers: vec![own, bob] }))
    }

    async fn sync(&self, _: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        self.note("sync").await?;
        Ok(Response::new(SyncResponse { peers: 0 }))
    }

    type WatchPeersStream = Items<PeersResponse>;

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        if self.lock().mute {
            std::future::pending::<()>().await;
        }
        let mut state = self.lock();
        let next = if state.statuses.len() > 1 { state.statuses.pop_front() } else { state.statuses.front().cloned() };
        let own = StatusResponse { id: OWN.to_owned(), name: "own".to_owned(), ..StatusResponse::default() };
        Ok(Response::new(next.unwrap_or(StatusResponse { version: "9.9.9".to_owned(), ..own })))
    }

    async fn watch_status(&self, _: Request<StatusRequest>) -> Result<Response<Self::WatchStatusStream>, Status> {
        self.note("watch_status").await?;
        self.open_stream()?;
        let statuses: Vec<_> = self.lock().statuses.iter().cloned().map(Ok).collect();
        if self.lock().holds {
            return Ok(Response::new(Box::pin(tokio_stream::iter(statuses).chain(tokio_stream::pending()))));
        }
        Ok(Response::new(Box::pin(tokio_stream::iter(statuses))))
    }

    async fn peers(&self, _: Request<PeersRequest>) -> Result<Response<PeersResponse>, Status> {
        self.note("peers").await?;
        Ok(Response::new(PeersResponse { peers: self.lock().peers.clone() }))
    }

    async fn watch_peers(&self, _: Request<PeersRequest>) -> Result<Response<Self::WatchPeersStream>, Status> {
        self.note("watch_peers").await?;
        self.open_stream()?;
        let all = PeersResponse { peers: self.lock().peers.clone() };
        let first = PeersResponse { peers: all.peers.iter().take(1).cloned().collect() };
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(first), Ok(all)]))))
    }

    async fn add_peer(&self, request: Request<AddPeerRequest>) -> Result<Response<AddPeerResponse>, Status> {
        self.note(format!("add {}", request.into_inner().address)).await?;
        Ok(Response::new(AddPeerResponse {}))
    }

    async fn forget_peer(&self, request: Request<ForgetPeerRequest>) -> Result<Response<ForgetPeerResponse>, Status> {
        self.note(format!("forget {}", request.into_inner().peer)).await?;
        Ok(Response::new(ForgetPeerResponse {}))
    }

    async fn update_peer(&self, request: Request<UpdatePeerRequest>) -> Result<Response<UpdatePeerResponse>, Status> {
        let UpdatePeerRequest { id, petname, blocked } = request.into_inner();
        self.note(format!("update {id} {petname:?} {blocked:?}")).await?;
        match petname.as_deref() {
            Some("taken") => Err(Error::new(Code::NameTaken, "petname \"taken\" is that of another peer").into()),
            Some(_) | None => Ok(Response::new(UpdatePeerResponse {})),
        }
    }

    async fn reconnect(&self, request: Request<ReconnectRequest>) -> Result<Response<ReconnectResponse>, Status> {
        self.note(format!("reconnect {}", request.into_inner().id)).await?;
        Ok(Response::new(ReconnectResponse { dials: 2 }))
    }

    async fn invite(&self, request: Request<InviteRequest>) -> Result<Response<InviteResponse>, Status> {
        let InviteRequest { expires_ms, uses, offline, addresses } = request.into_inner();
        self.note(format!("invite {expires_ms} {uses} {offline} {addresses:?}")).await?;
        let id = if offline { String::new() } else { "aebagbafaydqq".to_owned() };
        let expires_us = if offline { 0 } else { 1_795_348_800_000_000 };
        let addresses = if addresses.is_empty() { vec!["127.0.0.1:8080".to_owned()] } else { addresses };
        Ok(Response::new(InviteResponse { ticket: "p2p1abc".to_owned(), id, expires_us, addresses }))
    }

    async fn invites(&self, _: Request<InvitesRequest>) -> Result<Response<InvitesResponse>, Status> {
        self.note("invites").await?;
        Ok(Response::new(InvitesResponse { invites: self.lock().invites.clone() }))
    }

    async fn revoke_invite(
        &self,
        request: Request<RevokeInviteRequest>,
    ) -> Result<Response<RevokeInviteResponse>, Status> {
        self.note(format!("revoke {}", request.into_inner().id)).await?;
        Ok(Response::new(RevokeInviteResponse {}))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let ticket = request.into_inner().ticket;
        self.note(format!("join {ticket}")).await?;
        if ticket.contains("used") {
            let error = Error::new(Code::TicketRefused, "the ticket is already used").with_hint("ask for a new one");
            return Err(error.into());
        }
        let network = "n".repeat(26);
        Ok(Response::new(JoinResponse {
            network,
            issuer: ALICE.to_owned(),
            repeated: ticket.contains("again"),
            offline: false,
        }))
    }

    async fn network(&self, _: Request<NetworkRequest>) -> Result<Response<NetworkResponse>, Status> {
        self.note("network").await?;
        Ok(Response::new(self.lock().network.clone()))
    }

    async fn rotate(&self, request: Request<RotateRequest>) -> Result<Response<RotateResponse>, Status> {
        let RotateRequest { without, readmit, grace_ms } = request.into_inner();
        self.note(format!("rotate {without:?} {readmit:?} {grace_ms:?}")).await?;
        if without.iter().any(|id| id == OWN) {
            return Err(Error::new(Code::InvalidArgument, "this daemon cannot shut out itself").into());
        }
        let until_us = if without.is_empty() { 1_795_348_800_000_000 } else { 0 };
        Ok(Response::new(RotateResponse { key: "q".repeat(26), members: 3, until_us, out: without }))
    }

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PingResponse>, Status> {
        let id = request.into_inner().id;
        self.note(format!("ping {id}")).await?;
        let mut state = self.lock();
        if state.peers.iter().any(|peer| peer.id == id && peer.blocked) {
            return Err(Error::new(Code::Untrusted, "alice is blocked here").into());
        }
        let down = state.peers.iter().any(|peer| peer.id == id && peer.state() == PeerState::Down);
        if down {
            return Err(Error::new(Code::PeerOffline, "it is not linked").into());
        }
        match state.rtts_us.pop_front() {
            Some(rtt_us) => Ok(Response::new(PingResponse { rtt_us })),
            None => Err(Error::new(Code::Timeout, "no answer").into()),
        }
    }
}

#[tonic::async_trait]
impl Daemon for Api {
    async fn config(&self, _: Request<ConfigRequest>) -> Result<Response<ConfigResponse>, Status> {
        self.note("config").await?;
        let value = ConfigValue { key: "name".to_owned(), value: "own".to_owned(), source: "default".to_owned() };
        Ok(Response::new(ConfigResponse { values: vec![value], ..ConfigResponse::default() }))
    }

    async fn reload(&self, _: Request<ReloadRequest>) -> Result<Response<ReloadResponse>, Status> {
        self.note("reload").await?;
        let reload = self.lock().reloads.pop_front();
        reload.unwrap_or_else(|| Ok(ReloadResponse::default())).map(Response::new)
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        let SetLogFilterRequest { filter, for_ms } = request.into_inner();
        self.note(format!("log {filter} {for_ms}")).await?;
        let back_to = if for_ms > 0 { "info".to_owned() } else { String::new() };
        let filter = if filter.is_empty() { "info".to_owned() } else { filter };
        Ok(Response::new(SetLogFilterResponse { filter, back_to, back_in_ms: for_ms }))
    }

    async fn stop(&self, _: Request<StopRequest>) -> Result<Response<StopResponse>, Status> {
        self.note("stop").await?;
        Ok(Response::new(StopResponse {}))
    }

    async fn metrics(&self, _: Request<MetricsRequest>) -> Result<Response<MetricsResponse>, Status> {
        self.note("metrics").await?;
        let text = "# HELP p2p_ready 1 where /readyz says yes.\n# TYPE p2p_ready gauge\np2p_ready 1\n".to_owned();
        Ok(Response::new(MetricsResponse { text }))
    }
}
