//! Every key: how it is read, shown and explained. The order is that of `example-config.yaml`.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::text::{self, show_age, show_duration, show_size};
use super::{Config, Durability, LogFormat, Secret};
use crate::invite::Ticket;
use crate::logging;
use crate::network::NetworkKey;
use crate::paths::Surroundings;

/// One key.
pub(super) struct Key {
    /// As it is written in a file. In the environment it is `P2P_` and the same in capitals.
    pub(super) name: &'static str,
    /// What the example says above it, in lines.
    pub(super) about: &'static str,
    /// The default in words, where it depends on the machine or is none.
    pub(super) default: Option<&'static str>,
    /// Takes it over from another configuration while the daemon runs; none where that needs a restart.
    pub(super) take: Option<fn(&mut Config, &Config)>,
    /// Reads it.
    pub(super) read: Read,
    /// Shows it.
    pub(super) show: fn(&Config) -> Shown,
}

/// How a key is read.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// It has one value.
    One(Put),
    /// It has a list: how to empty it, and how to add one value.
    Many(fn(&mut Config), Put),
}

type Put = fn(&mut Config, &str) -> Result<(), String>;

/// A value on its way to people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// Not set.
    Nothing,
    /// Set, and a secret.
    Hidden,
    /// One value.
    One(String),
    /// A list.
    Many(Vec<String>),
}

impl Key {
    /// The variable that sets it.
    pub(super) fn variable(&self) -> String {
        format!("{ENV_PREFIX}{}", self.name.to_uppercase())
    }
}

/// What every variable of p2pd begins with.
pub(super) const ENV_PREFIX: &str = "P2P_";

pub(super) const KEYS: &[Key] = &[
    Key {
        name: "listen_addr",
        about: "Where to listen for peers. localhost is for this machine only, 0.0.0.0 for every network.\n\
                Port 0 lets the system choose one.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.listen_addr, text::listen_addr(value))),
        show: |config| one(&config.listen_addr),
    },
    Key {
        name: "peers",
        about: "HOST:PORT of peers to stay linked to. One is enough: the others become known through it.",
        default: None,
        take: Some(|config, new| config.peers.clone_from(&new.peers)),
        read: Read::Many(|config| config.peers.clear(), |config, value| push(&mut config.peers, text::addr(value))),
        show: |config| many(&config.peers),
    },
    Key {
        name: "max_connections",
        about: "Links at a time, 1 to 1024.",
        default: None,
        take: Some(|config, new| config.max_connections = new.max_connections),
        read: Read::One(|config, value| put(&mut config.max_connections, text::count(value, 1..=LINKS_MAX))),
        show: |config| one(config.max_connections),
    },
    Key {
        name: "connect_timeout",
        about: "How long a TCP connection may take, and then its handshake. Durations have a unit: 500ms, 10s, 1m30s.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.connect_timeout, text::duration(value, CONNECT_TIMEOUTS))),
        show: |config| one(show_duration(config.connect_timeout)),
    },
    Key {
        name: "heartbeat_interval",
        about: "After this much silence a link is asked whether it lives.",
        default: None,
        take: Some(|config, new| config.heartbeat_interval = new.heartbeat_interval),
        read: Read::One(|config, value| {
            put(&mut config.heartbeat_interval, text::duration(value, HEARTBEAT_INTERVALS))
        }),
        show: |config| one(show_duration(config.heartbeat_interval)),
    },
    Key {
        name: "heartbeat_timeout",
        about: "How long the answer may take before the link is given up.",
        default: None,
        take: Some(|config, new| config.heartbeat_timeout = new.heartbeat_timeout),
        read: Read::One(|config, value| put(&mut config.heartbeat_timeout, text::duration(value, HEARTBEAT_TIMEOUTS))),
        show: |config| one(show_duration(config.heartbeat_timeout)),
    },
    Key {
        name: "message_buffer_size",
        about: "Batches of 128 KiB of memory for what readers of the API have not read yet.\n\
                Who is further behind reads the log on disk.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.message_buffer_size, text::count(value, 1..=4_096))),
        show: |config| one(config.message_buffer_size),
    },
    Key {
        name: "dedup_cache_size",
        about: "Posts of one author's feed that are held beyond a gap while it is filled.\n\
                Telling a post from its copies is exact and needs no cache.",
        default: None,
        take: Some(|config, new| config.dedup_cache_size = new.dedup_cache_size),
        read: Read::One(|config, value| put(&mut config.dedup_cache_size, text::count(value, 1..=65_536))),
        show: |config| one(config.dedup_cache_size),
    },
    Key {
        name: "log_level",
        about: "error, warn, info, debug, trace or off; parts of the program by name: info,p2pd::link=debug",
        default: None,
        take: Some(|config, new| config.log_level.clone_from(&new.log_level)),
        read: Read::One(|config, value| put(&mut config.log_level, log_level(value))),
        show: |config| one(&config.log_level),
    },
    Key {
        name: "log_format",
        about: "text for people, json for programs: one object a line.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.log_format, text::log_format(value))),
        show: |config| {
            one(match config.log_format {
                LogFormat::Text => "text",
                LogFormat::Json => "json",
            })
        },
    },
    Key {
        name: "name",
        about: "How others see this peer, beside its key.",
        default: Some("the host name"),
        take: Some(|config, new| config.name.clone_from(&new.name)),
        read: Read::One(|config, value| put(&mut config.name, text::name(value))),
        show: |config| one(&config.name),
    },
    Key {
        name: "data_dir",
        about: "Identity, history, address book and lock. Nobody else may have access to it (0700).",
        default: Some("$XDG_DATA_HOME/p2p, or ~/.local/share/p2p; as a service /var/lib/p2pd"),
        take: None,
        read: Read::One(|config, value| put(&mut config.data_dir, text::path(value))),
        show: |config| one(config.data_dir.display()),
    },
    Key {
        name: "api_addr",
        about: "Where p2pctl is served: unix:PATH or 127.0.0.1:PORT, or a list of them.",
        default: Some("unix:$XDG_RUNTIME_DIR/p2p/p2pd.sock; as a service unix:/run/p2pd/p2pd.sock"),
        take: None,
        read: Read::Many(
            |config| config.api_addr.clear(),
            |config, value| push(&mut config.api_addr, text::endpoint(value)),
        ),
        show: |config| many(&config.api_addr),
    },
    Key {
        name: "api_group",
        about: "A group, or off: its members may use the sockets of the API as the daemon's own user does. They can then\n\
                say things as this peer, change and stop it.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.api_group, text::group(value))),
        show: |config| one(text::show_group(config.api_group.as_ref())),
    },
    Key {
        name: "metrics_addr",
        about: "HOST:PORT to serve /metrics, /livez and /readyz at, over HTTP, or off. Whoever reaches it may read them:\n\
                figures and peer ids, no chat text and no key. Port 0 lets the system choose one.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.metrics_addr, text::metrics_addr(value))),
        show: |config| one(text::show_metrics_addr(config.metrics_addr.as_deref())),
    },
    Key {
        name: "advertise_addr",
        about: "HOST:PORT that others are told, at most 4. Where it is empty, they are told what links show.",
        default: None,
        take: Some(|config, new| config.advertise_addr.clone_from(&new.advertise_addr)),
        read: Read::Many(
            |config| config.advertise_addr.clear(),
            |config, value| push(&mut config.advertise_addr, text::addr(value)),
        ),
        show: |config| many(&config.advertise_addr),
    },
    Key {
        name: "lan_discovery",
        about: "true finds peers of the same network on the local network, without `peers`, and is found by them. Everybody\n\
                there sees then that this machine runs p2pd, its peer id, and who belongs together.",
        default: None,
        take: Some(|config, new| config.lan_discovery = new.lan_discovery),
        read: Read::One(|config, value| put(&mut config.lan_discovery, text::boolean(value))),
        show: |config| one(config.lan_discovery),
    },
    Key {
        name: "network_secret_file",
        about: "The network key: who holds it may join. Make one with `p2pd keygen FILE`. Where it is given here,\n\
                `p2pctl network rotate` leaves it alone: the new key is in network.rotated.key in the data directory.",
        default: Some("network.key in the data directory, made at the first start"),
        take: None,
        read: Read::One(|config, value| put_some(&mut config.network_secret_file, text::path(value))),
        show: |config| one(config.network_file().display()),
    },
    Key {
        name: "network_secret",
        about: "The network key itself, as its file would hold it. This file must then be readable by you only (0600).\n\
                The variable P2P_NETWORK_SECRET keeps it out of files.",
        default: Some("none"),
        take: None,
        read: Read::One(|config, value| put_some(&mut config.network_secret, network_secret(value))),
        show: |config| if config.network_secret.is_some() { Shown::Hidden } else { Shown::Nothing },
    },
    Key {
        name: "join",
        about: "The ticket of a network to get into, made there by `p2pctl invite`. Once this daemon is in it, it says nothing new\n\
                and may stay. This file must then be readable by you only (0600). The variable is P2P_JOIN.",
        default: Some("none"),
        take: None,
        read: Read::One(|config, value| put_some(&mut config.join, ticket(value))),
        show: |config| if config.join.is_some() { Shown::Hidden } else { Shown::Nothing },
    },
    Key {
        name: "open_network",
        about: "true lets everybody join and read, without a network key.",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.open_network, text::boolean(value))),
        show: |config| one(config.open_network),
    },
    Key {
        name: "allow",
        about: "Only these peer ids may link. Where it is empty, every member of the network may.",
        default: None,
        take: Some(|config, new| config.allow.clone_from(&new.allow)),
        read: Read::Many(|config| config.allow.clear(), |config, value| push(&mut config.allow, text::parsed(value))),
        show: |config| many(&config.allow),
    },
    Key {
        name: "block",
        about: "These peer ids may not link, and what they say is kept and passed on, and not shown.\n\
                For one peer at a time: p2pctl peers block.",
        default: None,
        take: Some(|config, new| config.block.clone_from(&new.block)),
        read: Read::Many(|config| config.block.clear(), |config, value| push(&mut config.block, text::parsed(value))),
        show: |config| many(&config.block),
    },
    Key {
        name: "durability",
        about: "When a send is answered: always (each flushed to disk by itself), batch (flushed, sharing the flush with\n\
                what waits), never (without a flush: a power cut may lose it).",
        default: None,
        take: None,
        read: Read::One(|config, value| put(&mut config.durability, text::durability(value))),
        show: |config| {
            one(match config.durability {
                Durability::Always => "always",
                Durability::Batch => "batch",
                Durability::Never => "never",
            })
        },
    },
    Key {
        name: "retention_age",
        about: "Messages older than this are dropped here, such as 30d, or none to keep them whatever their age.\n\
                The newest of each feed stays, so that the feed can go on.",
        default: None,
        take: Some(|config, new| config.retention_age = new.retention_age),
        read: Read::One(|config, value| put(&mut config.retention_age, text::age(value, RETENTION_AGES))),
        show: |config| one(show_age(config.retention_age)),
    },
    Key {
        name: "retention_bytes",
        about: "Where the history is larger than this, such as 500MB or 1GiB, the oldest messages are dropped here; none\n\
                keeps all. What belongs to a message on disk counts with it. Readers are told how many are gone.",
        default: None,
        take: Some(|config, new| config.retention_bytes = new.retention_bytes),
        read: Read::One(|config, value| put(&mut config.retention_bytes, text::size(value, RETENTION_SIZES))),
        show: |config| one(show_size(config.retention_bytes)),
    },
    Key {
        name: "full_mesh_max",
        about: "Up to this many other peers, everybody links to everybody. 1 to 1024.",
        default: None,
        take: Some(|config, new| config.full_mesh_max = new.full_mesh_max),
        read: Read::One(|config, value| put(&mut config.full_mesh_max, text::count(value, 1..=LINKS_MAX))),
        show: |config| one(config.full_mesh_max),
    },
    Key {
        name: "default_room",
        about: "The room of posts that name none.",
        default: None,
        take: Some(|config, new| config.default_room.clone_from(&new.default_room)),
        read: Read::One(|config, value| put(&mut config.default_room, text::room(value))),
        show: |config| one(&config.default_room),
    },
];

impl Config {
    /// What is in force where nothing is configured.
    #[must_use]
    pub fn default_in(surroundings: &Surroundings) -> Self {
        let data_dir = surroundings.data_dir();
        Self {
            listen_addr: "localhost:8080".into(),
            peers: Vec::new(),
            max_connections: 50,
            connect_timeout: Duration::from_secs(10),
            heartbeat_interval: Duration::from_secs(30),
            heartbeat_timeout: Duration::from_secs(5),
            message_buffer_size: 16,
            dedup_cache_size: 256,
            log_level: "info".into(),
            log_format: LogFormat::Text,
            name: text::name_of_host(&surroundings.host_name),
            api_addr: vec![surroundings.socket(&data_dir)],
            api_group: None,
            data_dir,
            metrics_addr: None,
            advertise_addr: Vec::new(),
            lan_discovery: false,
            network_secret_file: None,
            network_secret: None,
            join: None,
            open_network: false,
            allow: Vec::new(),
            block: Vec::new(),
            durability: Durability::Batch,
            retention_age: None,
            retention_bytes: Some(1 << 30),
            full_mesh_max: 32,
            default_room: "general".into(),
        }
    }
}

fn log_level(value: &str) -> Result<String, String> {
    logging::parse_filter(value).map(|_| value.to_owned()).map_err(|error| error.to_string())
}

/// Checked here, so that a mistyped one is found before anything is written. Its errors do not repeat it.
fn ticket(value: &str) -> Result<Secret, String> {
    Ticket::parse(value).map(|_| Secret::new(value)).map_err(|error| error.to_string())
}

/// Checked here, so that `p2pd check` finds a bad one. Its errors do not repeat it.
fn network_secret(value: &str) -> Result<Secret, String> {
    NetworkKey::parse_all(value).map(|_| Secret::new(value)).map_err(|error| error.to_string())
}

fn put<T>(slot: &mut T, value: Result<T, String>) -> Result<(), String> {
    *slot = value?;
    Ok(())
}

fn put_some<T>(slot: &mut Option<T>, value: Result<T, String>) -> Result<(), String> {
    *slot = Some(value?);
    Ok(())
}

fn push<T>(list: &mut Vec<T>, value: Result<T, String>) -> Result<(), String> {
    list.push(value?);
    Ok(())
}

fn one(value: impl ToString) -> Shown {
    Shown::One(value.to_string())
}

fn many<T: ToString>(values: &[T]) -> Shown {
    Shown::Many(values.iter().map(T::to_string).collect())
}

/// A process has 1024 file descriptors unless somebody raises that, and a link takes one.
const LINKS_MAX: usize = 1_024;
const CONNECT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(300);
const HEARTBEAT_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3_600);
/// Below a second, a busy machine would be taken for a dead one.
const HEARTBEAT_TIMEOUTS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(300);
/// A minute is as often as it is looked at; a hundred years is for ever.
const RETENTION_AGES: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(36_500 * 86_400);
/// Below a megabyte, a single busy minute would push out what others have not read yet.
const RETENTION_SIZES: RangeInclusive<u64> = 1_000_000..=1 << 50;
