//! Opening the doors and closing them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use p2p_proto::client::MESSAGE_BYTES_MAX;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::tonic_health::pb::health_server::HealthServer;
use p2p_proto::v1::chat_server::ChatServer;
use p2p_proto::v1::daemon_server::DaemonServer;
use p2p_proto::v1::mesh_server::MeshServer;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::access::{Gate, Guarded};
use super::ask::Asker;
use super::chat::ChatService;
use super::daemon::DaemonService;
use super::health::HealthService;
use super::incoming::{Listener, incoming};
use super::mesh::MeshService;
use super::send::Budget;
use super::socket::{self, SocketFile};
use super::token::Token;
use super::{ApiConfig, ApiError, Facts, Reporter, Request, Subscribers};
use crate::group::Group;

/// An API that is served.
#[derive(Debug)]
pub struct Served {
    /// Where, with the ports that the system chose.
    pub endpoints: Vec<Endpoint>,
    /// Ends soon after the token is cancelled: sockets are removed, streams are ended, calls get 3 s to finish.
    pub task: JoinHandle<()>,
    /// Tells operators' programs the same.
    pub reporter: Reporter,
}

/// How often streams say something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Silence on a watch after which the reader is told that it still stands.
    pub(super) heartbeat: Duration,
    /// Between two looks at what may have changed.
    pub(super) changes: Duration,
    /// The same for the sync.
    pub(super) sync: Duration,
    /// The same for receipts.
    pub(super) receipts: Duration,
}

/// A place where connections come in.
#[derive(Debug)]
struct Door {
    endpoint: Endpoint,
    listener: Listener,
    /// Removed when the door is closed; none for TCP.
    file: Option<SocketFile>,
}

/// Serves the API until `stop` is cancelled. The caller holds the lock of the data directory.
///
/// # Errors
///
/// An endpoint cannot be served; none is served then.
pub async fn serve(
    config: ApiConfig,
    requests: mpsc::Sender<Request>,
    subscribers: Subscribers,
    facts: Facts,
    stop: CancellationToken,
) -> Result<Served, ApiError> {
    serve_at_pace(config, requests, subscribers, facts, stop, PACE).await
}

pub(super) async fn serve_at_pace(
    config: ApiConfig,
    requests: mpsc::Sender<Request>,
    subscribers: Subscribers,
    facts: Facts,
    stop: CancellationToken,
    pace: Pace,
) -> Result<Served, ApiError> {
    let gate = open_gate(&config)?;
    let mut doors = Vec::new();
    for endpoint in &config.endpoints {
        doors.push(open(endpoint, config.group.as_ref()).await?);
    }
    let endpoints: Vec<Endpoint> = doors.iter().map(|door| door.endpoint.clone()).collect();
    let asker = Asker::new(requests, config.orders, stop.clone());
    let facts = Arc::new(facts);
    let reporter = Reporter { asker: asker.clone(), facts: Arc::clone(&facts), subscribers: subscribers.clone() };
    let guarded = Guarded::new(routes(asker, subscribers, facts, &endpoints, pace), gate);
    let doors = doors.into_iter().map(|door| attend(door, guarded.clone(), stop.clone())).collect();
    let task = tokio::spawn(attend_all(doors, stop));
    Ok(Served { endpoints, task, reporter })
}

fn open_gate(config: &ApiConfig) -> Result<Arc<Gate>, ApiError> {
    let is_tcp = config.endpoints.iter().any(|endpoint| matches!(endpoint, Endpoint::Tcp(_)));
    let token = if is_tcp { Some(Token::open(&config.token_file)?) } else { None };
    let uid = rustix::process::geteuid().as_raw();
    let token_file = config.token_file.display().to_string();
    Ok(Arc::new(Gate { uid, is_shared: config.group.is_some(), token, token_file }))
}

async fn open(endpoint: &Endpoint, group: Option<&Group>) -> Result<Door, ApiError> {
    let bind_error = |why| ApiError::Bind { endpoint: endpoint.clone(), why };
    match endpoint {
        Endpoint::Unix(path) => {
            let (listener, file) = socket::listen(path, group)?;
            let listener = Listener::Unix(UnixListener::from_std(listener).map_err(bind_error)?);
            Ok(Door { endpoint: endpoint.clone(), listener, file: Some(file) })
        }
        Endpoint::Tcp(addr) => {
            let listener = listen_on_loopback(*addr).await?;
            let endpoint = Endpoint::Tcp(listener.local_addr().map_err(bind_error)?);
            Ok(Door { endpoint, listener: Listener::Tcp(listener), file: None })
        }
    }
}

pub(super) async fn listen_on_loopback(addr: SocketAddr) -> Result<TcpListener, ApiError> {
    // Whoever built the endpoint should have seen to it; here is where it matters.
    if !addr.ip().is_loopback() {
        return Err(ApiError::NotLoopback(addr));
    }
    TcpListener::bind(addr).await.map_err(|why| ApiError::Bind { endpoint: Endpoint::Tcp(addr), why })
}

fn routes(asker: Asker, subscribers: Subscribers, facts: Arc<Facts>, api: &[Endpoint], pace: Pace) -> Routes {
    let names = subscribers.names().clone();
    let chat = ChatService {
        asker: asker.clone(),
        subscribers,
        facts: Arc::clone(&facts),
        budget: Budget::new(),
        heartbeat: pace.heartbeat,
        pause: pace.receipts,
    };
    let mesh = MeshService {
        asker: asker.clone(),
        facts: Arc::clone(&facts),
        api: api.into(),
        names,
        pause: pace.changes,
        pause_sync: pace.sync,
    };
    let health = HealthService { mesh: mesh.clone() };
    let reporter = Reporter { asker: asker.clone(), facts: Arc::clone(&facts), subscribers: chat.subscribers.clone() };
    let daemon = DaemonService { asker, facts, reporter };
    let mut routes = Routes::builder();
    routes
        .add_service(ChatServer::new(chat).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(MeshServer::new(mesh).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(DaemonServer::new(daemon).max_decoding_message_size(MESSAGE_BYTES_MAX))
        .add_service(HealthServer::new(health).max_decoding_message_size(MESSAGE_BYTES_MAX))
        // Older clients know only the first version.
        .add_service(reflection().build_v1alpha().expect(DESCRIPTORS_ARE_OURS))
        .add_service(reflection().build_v1().expect(DESCRIPTORS_ARE_OURS));
    routes.routes()
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(p2p_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(p2p_proto::tonic_health::pb::FILE_DESCRIPTOR_SET)
}

fn attend(door: Door, guarded: Guarded, stop: CancellationToken) -> BoxFuture<'static, ()> {
    let Door { endpoint, listener, file } = door;
    // Whoever comes after the end shall find no socket rather than one that says nothing.
    let close = async move {
        stop.cancelled().await;
        drop(file);
    };
    let server = server(&listener);
    Box::pin(async move {
        if let Err(why) = server.serve_with_incoming_shutdown(guarded, incoming(listener), close).await {
            tracing::error!(%endpoint, ?why, "api ended");
        }
    })
}

fn server(listener: &Listener) -> Server {
    // On the socket the other end is one of us, and may be stopped for hours: only strangers must prove to be alive.
    let keepalive = match listener {
        Listener::Unix(_) => None,
        Listener::Tcp(_) => Some(KEEPALIVE_INTERVAL),
    };
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
        .http2_keepalive_interval(keepalive)
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_pending_accept_reset_streams(Some(RESETS_PENDING_MAX))
        .http2_max_local_error_reset_streams(Some(ERRORS_PENDING_MAX))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
}

/// Until all doors are closed, or the time for that is over.
async fn attend_all(doors: Vec<BoxFuture<'static, ()>>, stop: CancellationToken) {
    let deadline = async {
        stop.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        _ = join_all(doors) => (),
        () = deadline => tracing::warn!(drain_s = DRAIN.as_secs(), "api clients cut off"),
    }
}

const PACE: Pace = Pace {
    heartbeat: Duration::from_secs(15),
    changes: Duration::from_secs(1),
    sync: Duration::from_millis(100),
    // Short beside what a person notices, long beside the microseconds that a look takes.
    receipts: Duration::from_millis(20),
};
/// Time for clients to take their last answers.
const DRAIN: Duration = Duration::from_secs(3);
/// Calls at a time on one connection.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;
/// Bytes a client may send on one stream ahead of us.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
/// The same for all streams of a connection: one that waits for the store leaves room for the others.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Bytes of the headers of one call; ours have some hundred.
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// Streams reset by the client before we looked at them; more is the rapid reset attack (CVE-2023-44487).
const RESETS_PENDING_MAX: usize = 32;
/// Streams that we reset for a client's errors; more is the same attack the other way round (CVE-2025-8671).
const ERRORS_PENDING_MAX: usize = 128;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
const DESCRIPTORS_ARE_OURS: &str = "the descriptors are made by our own build";
