//! From a configuration to a running daemon, and back to nothing.

mod door;
mod keeper;
mod log_level;
mod rotator;
mod signals;
mod watchdog;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use ed25519_dalek::SigningKey;
use p2p_mesh::config::Setup;
use p2p_mesh::id::{Epoch, Instance, Offset, PeerId, base32};
use p2p_mesh::limits::NEWEST_FIRST_POSTS;
use p2p_mesh::membership::record::Addr;
use p2p_mesh::mesh::Mesh;
use p2p_proto::endpoint::Endpoint;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::api::{
    self, Alarms, ApiConfig, ApiError, Choices, ConfigRow, Facts, Live, Order, Request, Served, Subscribers,
};
use crate::args::RunArgs;
use crate::config::{Config, Loaded};
use crate::driver::{Clock, Driver, Retention, Rooms};
use crate::health::{Progress, Stage};
use crate::identity::{DataDir, DataDirError};
use crate::invite::Invites;
use crate::keyfile::KeyFileError;
use crate::lan::{Lan, LanConfig, Sighting};
use crate::letters::Letters;
use crate::link::{self, BindError, LinkConfig, LinkEvent, Links};
use crate::logging::{self, LogError, LogHandle};
use crate::names::Names;
use crate::network::{KeyName, Ring};
use crate::notify::Notifier;
use crate::paths::Surroundings;
use crate::rotation::{Hatches, Rotations};
use crate::store::{self, Opened, StoreError};
use crate::{config, epoch, exit, metrics, panics};

use door::Door;
use keeper::Keeper;
use log_level::LogLevel;
use rotator::{Ask, Keys, keys, rotating, rotator};
use signals::Signals;

/// Why a daemon cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The log filter is none.
    #[error("{0}")]
    Log(#[from] LogError),
    /// The data directory cannot be used.
    #[error("{0}")]
    DataDir(#[from] DataDirError),
    /// A key file cannot be used.
    #[error("{0}")]
    Key(#[from] KeyFileError),
    /// The port cannot be used.
    #[error("{0}")]
    Bind(#[from] BindError),
    /// The port for figures cannot be used.
    #[error("metrics_addr: {0}")]
    Metrics(BindError),
    /// The API cannot be served.
    #[error("{0}")]
    Api(#[from] ApiError),
    /// The store cannot be used, or failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// A bug of ours.
    #[error("a part of it panicked: what it said above is a bug")]
    Panicked,
    /// Something else that the system refused.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What the system said.
        why: io::Error,
    },
}

/// What is made before anything is told to the world.
struct Ground {
    dir: DataDir,
    key: SigningKey,
    letters: Letters,
    networks: Ring,
    rotations: Rotations,
    /// The first key of the configuration.
    configured: KeyName,
    /// The keys that a file of ours holds, by their names.
    written: Vec<KeyName>,
    listeners: Vec<TcpListener>,
    /// Where figures are served.
    metrics: Vec<TcpListener>,
    /// Where links are accepted.
    listen: Vec<SocketAddr>,
}

/// Where everything is, for people and scripts.
struct Places {
    listen: Vec<SocketAddr>,
    metrics: Vec<SocketAddr>,
    api: Vec<Endpoint>,
}

/// How a running daemon is ended.
struct Ends {
    /// Cancelled when a user asks for it.
    stop_asked: CancellationToken,
    /// Closes the API.
    stop_api: CancellationToken,
    /// Says goodbye to the mesh.
    leave: CancellationToken,
    served: Served,
}

/// Runs a daemon until it is told to stop.
#[must_use]
pub fn run(loaded: Loaded, args: RunArgs) -> ExitCode {
    match try_run(&loaded, &args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The log may be the reason, so this goes the plain way.
            let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            let _ = writeln!(io::stderr(), "p2pd: error: {error}{hint}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn try_run(loaded: &Loaded, args: &RunArgs) -> Result<u8, DaemonError> {
    let log = logging::init(&loaded.config.log_level, loaded.config.log_format)?;
    for warning in &loaded.warnings {
        tracing::warn!(?warning, "configuration");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| DaemonError::System { what: "the runtime".into(), why })?;
    panics::count();
    // A core that panicked promised what it did not do. A fresh start knows only what is on disk, and that is true.
    let result = panics::contain(|| runtime.block_on(live(loaded, args, log))).unwrap_or(Err(DaemonError::Panicked));
    // Dials that hang in name resolution hold threads; nobody waits for them.
    runtime.shutdown_background();
    result
}

async fn live(loaded: &Loaded, args: &RunArgs, log: LogHandle) -> Result<u8, DaemonError> {
    let mut signals = Signals::open()?;
    let (config, notifier) = (&loaded.config, notifier());
    notifier.status("Starting");
    let ground = prepare(config).await?;
    let (alarms, live) = (Alarms::default(), Live::default());
    live.set(choices(loaded));
    let facts = facts(loaded, &ground, (live.clone(), alarms.clone()));
    let (networks, progress) = (facts.networks.clone(), facts.progress.clone());
    let (request_sender, requests) = mpsc::channel(REQUESTS_WAITING_MAX);
    let (order_sender, orders) = mpsc::channel(ORDERS_WAITING_MAX);
    let (stop_api, stop_asked, leave) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    let asked = (request_sender.clone(), orders);
    let (invites, subscribers) = (Invites::default(), Subscribers::new(config.message_buffer_size));
    let (rotating, mail) = rotating(&ground.letters);
    let door = door(config, &ground, invites.clone(), &asked, (&alarms, &rotating.asks));
    let rotator = rotator(config, &ground, &rotating, (&request_sender, &subscribers, &alarms));
    let (keeper, sightings) = keeper(loaded, args, &ground, (live, log), &notifier, asked, door.clone());
    let api_config = api_config(config, &ground, order_sender);
    let served = api::serve(api_config, request_sender, subscribers.clone(), facts, stop_api.clone()).await?;
    let Ground { dir, key, listeners, metrics, listen, .. } = ground;
    let places = Places { listen, metrics: addrs_of(&metrics), api: served.endpoints.clone() };
    serve_metrics(metrics, &served);
    progress.reach(Stage::Recovering);
    let id = PeerId(key.verifying_key().to_bytes());
    let (store, epoch) = match recover(dir.path(), &id, config, &mut signals).await {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            notifier.stopping();
            return close_early(stop_api, served, Ok(exit::OK)).await;
        }
        Err(error) => return close_early(stop_api, served, Err(error.into())).await,
    };
    let instance = Instance { id, epoch };
    let (setup, store) = set_up(key.clone(), epoch, mesh_config(config, &places.listen), store, subscribers.names());
    let Opened { jobs, events: store_events, thread: store_thread, invites: kept, next_offset, .. } = store;
    invites.set(kept);
    tokio::spawn(rotator.run(mail, Offset(next_offset.0 - 1), leave.clone()));

    let (links, link_events) = start_links(config, key, (networks.clone(), invites, rotating.hatches), listeners);
    let clock = Clock::start();
    let rooms = Rooms {
        links,
        link_events,
        sightings,
        jobs,
        store_events,
        requests,
        subscribers,
        ear: rotating.ear,
        retention: Retention::new(config.retention_age, config.retention_bytes),
        alarms,
        notifier: notifier.clone(),
        stop_asked: stop_asked.clone(),
        leave: leave.clone(),
    };
    let driver = Driver::new(Mesh::new(setup, clock.now()), clock, rooms);
    progress.reach(Stage::Running);
    announce((instance, &networks), config, args, &places)?;
    notifier.ready();
    notifier.status(&driver.summary());
    door.start_joining(config.join.clone(), &leave);
    let ends = Ends { stop_asked, stop_api, leave, served };
    let code = turn(driver, keeper, &mut signals, ends).await?;
    // Every sender of jobs is gone, so the thread flushes what it has and ends.
    // Nothing else is left to do, and a thread that waited for it might not be had.
    let _ = store_thread.join();
    tracing::info!("stopped");
    Ok(code)
}

/// Opens everything that can be in the way of a start, in the order in which the user would look for it. What is left
/// is the store, which may take its time.
async fn prepare(config: &Config) -> Result<Ground, DaemonError> {
    let dir = DataDir::open(&config.data_dir)?;
    let key = dir.identity()?;
    let letters = Letters::new(&key);
    let Keys { rotations, configured, written } = keys(config, &dir, &letters)?;
    let networks = Ring::new(rotations.keys());
    let listeners = link::bind(&config.listen_addr).await?;
    let metrics = match &config.metrics_addr {
        Some(addr) => link::bind(addr).await.map_err(DaemonError::Metrics)?,
        None => Vec::new(),
    };
    let listen = addrs_of(&listeners);
    Ok(Ground { dir, key, letters, networks, rotations, configured, written, listeners, metrics, listen })
}

async fn open_store(dir: &Path, id: &PeerId, config: &Config) -> Result<(Opened, Epoch), StoreError> {
    let store = store::open(dir, id, config.durability).await?;
    let epoch = epoch::draw(store.newest_own_epoch);
    store::note_epoch(&store.jobs, epoch).await?;
    Ok((store, epoch))
}

/// Opens the store and draws an epoch; none where a signal came first.
async fn recover(
    dir: &Path,
    id: &PeerId,
    config: &Config,
    signals: &mut Signals,
) -> Result<Option<(Opened, Epoch)>, StoreError> {
    tokio::select! {
        opened = open_store(dir, id, config) => opened.map(Some),
        signal = signals.recv_stop() => {
            tracing::info!(signal = signal.name(), "stopping before the store is open");
            Ok(None)
        }
    }
}

/// Ends a run that has no driver yet.
async fn close_early(
    stop_api: CancellationToken,
    served: Served,
    result: Result<u8, DaemonError>,
) -> Result<u8, DaemonError> {
    stop_api.cancel();
    let _ = served.task.await;
    result
}

fn start_links(
    config: &Config,
    key: SigningKey,
    (networks, invites, hatches): (Ring, Invites, Hatches),
    listeners: Vec<TcpListener>,
) -> (Links, mpsc::Receiver<LinkEvent>) {
    let (sender, events) = mpsc::channel(LINK_EVENTS_WAITING_MAX);
    let (connect_timeout, user_timeout) = (config.connect_timeout, USER_TIMEOUT);
    let config = LinkConfig { key, networks, invites, hatches, connect_timeout, user_timeout };
    (Links::start(config, listeners, sender, CancellationToken::new()), events)
}

fn serve_metrics(listeners: Vec<TcpListener>, served: &Served) {
    for listener in listeners {
        tokio::spawn(metrics::serve(listener, Arc::new(served.reporter.clone())));
    }
}

fn api_config(config: &Config, ground: &Ground, orders: mpsc::Sender<Order>) -> ApiConfig {
    let (endpoints, token_file) = (config.api_addr.clone(), ground.dir.path().join(TOKEN_FILE));
    ApiConfig { endpoints, group: config.api_group.clone(), token_file, orders }
}

fn addrs_of(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
}

/// Runs the driver and serves the operator; on a signal, closes the API first, then says goodbye to the mesh.
async fn turn(driver: Driver, mut keeper: Keeper, signals: &mut Signals, ends: Ends) -> Result<u8, DaemonError> {
    let Ends { stop_asked, stop_api, leave, served } = ends;
    let driver = driver.run();
    tokio::pin!(driver);
    let notifier = keeper.notifier.clone();
    let alive = watchdog::watch(notifier.clone(), keeper.requests.clone());
    tokio::select! {
        result = &mut driver => {
            // It ends by itself only when the store has failed: nothing more may be promised.
            stop_api.cancel();
            let _ = served.task.await;
            result?;
            return Ok(exit::FATAL);
        }
        () = alive => unreachable!("it goes on for ever"),
        signal = keeper.run(signals) => tracing::info!(signal = signal.name(), "stopping"),
        () = stop_asked.cancelled() => tracing::info!("stopping: a user asked for it"),
    }
    notifier.stopping();
    keeper.log.tell_suppressed();
    keeper.lan.stop().await;
    // Whoever waits for a reload is told that it does not come.
    drop(keeper);
    stop_api.cancel();
    let goodbye = async {
        let api = async {
            let _ = served.task.await;
            leave.cancel();
        };
        let ((), result) = tokio::join!(api, &mut driver);
        result
    };
    tokio::select! {
        result = goodbye => result?,
        signal = signals.recv_stop() => {
            tracing::warn!(signal = signal.name(), "stopping at once");
            return Ok(signal.exit_code());
        }
    }
    Ok(exit::OK)
}

/// Who serves the operator, and where what it hears on the local network comes out.
fn keeper(
    loaded: &Loaded,
    args: &RunArgs,
    ground: &Ground,
    (live, log): (Live, LogHandle),
    notifier: &Notifier,
    (requests, orders): (mpsc::Sender<Request>, mpsc::Receiver<Order>),
    door: Door,
) -> (Keeper, mpsc::Receiver<Sighting>) {
    let (lan, sightings) = lan(ground);
    let keeper = Keeper {
        args: args.config.clone(),
        loaded: loaded.clone(),
        listen: ground.listen.clone(),
        live,
        log: LogLevel::new(log, &loaded.config.log_level),
        notifier: notifier.clone(),
        requests,
        orders,
        door,
        lan,
    };
    (keeper, sightings)
}

fn door(
    config: &Config,
    ground: &Ground,
    invites: Invites,
    (requests, _): &(mpsc::Sender<Request>, mpsc::Receiver<Order>),
    (alarms, rotator): (&Alarms, &mpsc::Sender<Ask>),
) -> Door {
    Door {
        key: ground.key.clone(),
        networks: ground.networks.clone(),
        invites,
        place: door::Place::of(config),
        port: ground.listen.first().map_or(0, SocketAddr::port),
        requests: requests.clone(),
        alarms: alarms.clone(),
        rotator: rotator.clone(),
        joining: Arc::default(),
    }
}

fn lan(ground: &Ground) -> (Lan, mpsc::Receiver<Sighting>) {
    let id = PeerId(ground.key.verifying_key().to_bytes());
    Lan::new(LanConfig { id, networks: ground.networks.clone(), listen: ground.listen.clone() })
}

/// The service manager. One that cannot be reached is no reason not to start.
fn notifier() -> Notifier {
    Notifier::of_service(&Surroundings::here(std::env::vars_os())).unwrap_or_else(|why| {
        tracing::warn!(?why, "service_manager_not_found");
        Notifier::default()
    })
}

impl DaemonError {
    /// The one thing to do, where it is known and not said yet.
    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Bind(error) => Some(error.hint()),
            Self::Metrics(_) => Some("choose another one, for example: p2pd --metrics localhost:9465, or off"),
            Self::Store(StoreError::Damaged(_)) => Some(
                "move its history.db* away, keep them, and start again: what peers hold of it comes back from them",
            ),
            Self::Log(_)
            | Self::DataDir(_)
            | Self::Key(_)
            | Self::Api(_)
            | Self::Store(_)
            | Self::Panicked
            | Self::System { .. } => None,
        }
    }

    fn exit_code(&self) -> u8 {
        match self {
            Self::Log(_) => exit::BAD_CONFIG,
            Self::DataDir(error) => error.exit_code(),
            Self::Key(error) => error.exit_code(),
            Self::Bind(_) | Self::Metrics(_) => exit::CANNOT_BIND,
            Self::Api(error) => match error {
                ApiError::NotLoopback(_) | ApiError::PathTooLong { .. } | ApiError::Token { .. } => exit::BAD_CONFIG,
                ApiError::InUse(_) | ApiError::NotSocket(_) | ApiError::Bind { .. } => exit::CANNOT_BIND,
            },
            Self::Store(StoreError::Damaged(_) | StoreError::Full(_) | StoreError::Failed(_)) => exit::STORE,
            Self::Store(StoreError::Misplaced(_)) => exit::BAD_CONFIG,
            Self::Store(StoreError::NoThread(_)) | Self::Panicked | Self::System { .. } => exit::FATAL,
        }
    }
}

fn mesh_config(config: &Config, listen: &[SocketAddr]) -> p2p_mesh::config::Config {
    p2p_mesh::config::Config {
        name: config.name.clone(),
        agent: concat!("p2pd/", env!("CARGO_PKG_VERSION")).to_owned(),
        listen_port: listen.first().map_or(0, SocketAddr::port),
        listens_on_loopback: listen.iter().all(|addr| addr.ip().is_loopback()),
        advertise: advertised(config, listen),
        peers: config.peers.clone(),
        max_connections: config.max_connections,
        heartbeat_interval: config.heartbeat_interval,
        heartbeat_timeout: config.heartbeat_timeout,
        full_mesh_max: config.full_mesh_max,
        reorder_posts_max: config.dedup_cache_size,
        newest_first_posts: NEWEST_FIRST_POSTS,
        allow: config.allow.iter().copied().collect(),
        block: config.block.iter().copied().collect(),
    }
}

/// What the mesh begins with, and the rest of what the store gave. What the user noted of peers holds beside what the
/// configuration says.
fn set_up(
    key: SigningKey,
    epoch: Epoch,
    config: p2p_mesh::config::Config,
    mut store: Opened,
    names: &Names,
) -> (Setup, Opened) {
    names.load(std::mem::take(&mut store.noted));
    names.configure(config.block);
    let setup = Setup {
        key,
        epoch,
        config: p2p_mesh::config::Config { block: names.kept_away(), ..config },
        feeds: std::mem::take(&mut store.feeds),
        forks: std::mem::take(&mut store.forks),
        next_offset: store.next_offset,
        book: std::mem::take(&mut store.book),
        forgotten: std::mem::take(&mut store.forgotten),
        seed: rand::random(),
    };
    (setup, store)
}

/// What others are told: the user's word, else where we listen; where we listen everywhere, each link shows.
fn advertised(config: &Config, listen: &[SocketAddr]) -> Vec<Addr> {
    if !config.advertise_addr.is_empty() {
        return config.advertise_addr.clone();
    }
    let specific = listen.iter().filter(|addr| !addr.ip().is_unspecified());
    specific.map(|addr| Addr::of(addr.ip(), addr.port())).collect()
}

fn facts(loaded: &Loaded, ground: &Ground, (live, alarms): (Live, Alarms)) -> Facts {
    let id = PeerId(ground.key.verifying_key().to_bytes());
    Facts {
        // The epoch is drawn when the store is open.
        instance: Instance { id, epoch: Epoch(0) },
        live,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        networks: ground.networks.clone(),
        open_network: loaded.config.open_network,
        listen: ground.listen.clone(),
        data_dir: ground.dir.path().to_owned(),
        pid: std::process::id(),
        started: Instant::now(),
        began: SystemTime::now(),
        letters: ground.letters.clone(),
        alarms,
        progress: Progress::default(),
    }
}

/// What the API tells of the configuration.
fn choices(loaded: &Loaded) -> Choices {
    let row = |value: &config::Effective| ConfigRow {
        key: value.key.to_string(),
        value: value.value.clone(),
        source: value.source.to_string(),
    };
    Choices {
        name: loaded.config.name.clone(),
        default_room: loaded.config.default_room.clone(),
        config: loaded.values.iter().map(row).collect(),
    }
}

/// Tells people, and scripts that wait for it, that everything is there.
fn announce(
    (instance, networks): (Instance, &Ring),
    config: &Config,
    args: &RunArgs,
    places: &Places,
) -> Result<(), DaemonError> {
    greet(instance, &base32(&networks.id()), config, places);
    args.ready_file.as_ref().map_or(Ok(()), |path| write_ready(path, instance, places))
}

fn greet(instance: Instance, network: &str, config: &Config, places: &Places) {
    let api: Vec<String> = places.api.iter().map(ToString::to_string).collect();
    let peer = instance.id.short();
    let Places { listen, metrics, .. } = places;
    if metrics.is_empty() {
        tracing::info!(peer, name = ?config.name, network, ?listen, ?api, "ready");
    } else {
        tracing::info!(peer, name = ?config.name, network, ?listen, ?api, ?metrics, "ready");
    }
    if config.open_network {
        tracing::warn!("open_network is set: whoever reaches this port may join and read everything");
    }
    if metrics.iter().any(|addr| !addr.ip().is_loopback()) {
        tracing::warn!(?metrics, "whoever reaches metrics_addr may read all figures: it asks for no password");
    }
}

/// Tells scripts where everything is, all at once: the file is whole or not there.
fn write_ready(path: &Path, instance: Instance, places: &Places) -> Result<(), DaemonError> {
    let addrs = |addrs: &[SocketAddr]| addrs.iter().map(ToString::to_string).collect::<Vec<_>>();
    let text = serde_json::json!({
        "v": 1,
        "type": "ready",
        "pid": std::process::id(),
        "id": instance.id.to_string(),
        "epoch": instance.epoch.0,
        "listen": addrs(&places.listen),
        "api": places.api.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "metrics": addrs(&places.metrics),
    });
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{}", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let written = std::fs::write(&temporary, format!("{text}\n")).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|why| DaemonError::System { what: format!("ready file {}", path.display()), why })
}

/// Of TCP. Longer than the stall after which a link that does not read is hung up: the heartbeat finds who is gone, and
/// a pause of a busy peer must not look like that.
const USER_TIMEOUT: Duration = Duration::from_secs(35);
const TOKEN_FILE: &str = "api.token";
const REQUESTS_WAITING_MAX: usize = 1_024;
/// Operators are few.
const ORDERS_WAITING_MAX: usize = 16;
const LINK_EVENTS_WAITING_MAX: usize = 32;
