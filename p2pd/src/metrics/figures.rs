//! Which figures there are, what they are called and what they mean.

use std::collections::{BTreeMap, BTreeSet};

use p2p_mesh::status::{PeerState, PeerStatus, Status};
use prometheus_client::registry::Unit;

use super::Snapshot;
use super::counters::{COUNTERS, Counter, SUMS};
use super::encode::{Family, Sample, Samples, Value};
use super::process::Process;
use crate::health::Health;
use crate::query::StoreSummary;

/// All of them. Families are always there, so that a rule about one never looks at nothing; what is not known has no
/// sample.
pub(super) fn families(snapshot: &Snapshot, process: &Process) -> Vec<Family> {
    let mut families = of_daemon(snapshot);
    families.extend(of_mesh(snapshot));
    families.extend(of_store(snapshot.store.as_ref()));
    families.extend(of_process(process));
    families
}

fn of_daemon(snapshot: &Snapshot) -> Vec<Family> {
    let states = Health::ALL.map(|health| labelled("state", health.name(), u64::from(health == snapshot.health)));
    vec![
        gauges("p2p_build_info", "Of the program: always 1.", vec![labelled("version", &snapshot.version, 1)]),
        gauges("p2p_health", "How the daemon is doing: 1 for the state it is in, 0 for all others.", states.into()),
        gauge("p2p_ready", "1 where /readyz says yes.", u64::from(snapshot.is_ready)),
        gauge("p2p_api_subscribers", "Streams of posts that are read over the API.", snapshot.subscribers as u64),
    ]
}

fn of_mesh(snapshot: &Snapshot) -> Vec<Family> {
    let nothing = (Status::default(), Vec::new());
    let (status, peers) = snapshot.mesh.as_ref().unwrap_or(&nothing);
    let mut families = vec![
        gauges(
            "p2p_connections",
            "Links that are up.",
            vec![
                labelled("direction", "inbound", status.links_inbound as u64),
                labelled("direction", "outbound", status.links_outbound as u64),
            ],
        ),
        gauges("p2p_peers", "Peers that are known, and configured addresses that never answered.", peer_states(peers)),
        gauge(
            "p2p_unacked_own_posts",
            "Own posts that no other peer is known to hold: a lost disk loses them.",
            status.unacked_own_posts,
        ),
        gauge("p2p_store_posts", "Posts that are held.", status.posts),
        gauge("p2p_missing_posts", "Posts that a linked peer holds and that are not here yet.", status.missing_posts),
        gauge(
            "p2p_unavailable_posts",
            "Posts known to have existed that no linked peer holds any more.",
            status.unavailable_posts,
        ),
        gauge("p2p_feeds", "Runs of authors of which posts are held.", status.digest.feeds),
        gauge("p2p_forked_feeds", "Runs of authors that used a number twice.", status.feeds_forked as u64),
        gauge("p2p_other_instances", "Other running daemons with this identity.", status.other_instances as u64),
        gauges(
            "p2p_lag_posts",
            "Posts held here that a peer is not known to hold. Of very many peers, those that are linked and those seen last.",
            lags(peers),
        ),
        gauge(
            "p2p_queue_bytes",
            "Encoded for links and not yet written, all links together.",
            peers.iter().map(|peer| peer.queue_bytes).sum(),
        ),
        Family {
            name: "p2p_clock_offset",
            help: "The clocks of linked peers minus this one: the median of them.",
            unit: Some(Unit::Seconds),
            samples: Samples::Gauge(clock_offset(peers).into_iter().collect()),
        },
    ];
    families.extend(COUNTERS.iter().map(|counter| count(counter, &status.counters)));
    families.extend(not_described(&status.counters));
    let histogram = |name, help, histogram| Family {
        name,
        help,
        unit: Some(Unit::Seconds),
        samples: Samples::Histogram(histogram),
    };
    families.push(histogram("p2p_rtt", "Round trips of heartbeats.", status.rtt));
    families.push(histogram(
        "p2p_delivery",
        "From the author's clock to the store here, of what was pushed when it was new.",
        status.delivery,
    ));
    families
}

fn of_store(store: Option<&StoreSummary>) -> Vec<Family> {
    let real = |value: fn(&StoreSummary) -> Option<u64>| -> Vec<Sample> {
        store.and_then(value).map(|count| sample(Value::Count(count))).into_iter().collect()
    };
    let flushes = store.map(|store| store.flushes).unwrap_or_default();
    vec![
        gauge("p2p_store_answers", "1 where the store answered within two seconds.", u64::from(store.is_some())),
        gauges("p2p_store_bytes", "Bodies of the envelopes that are held.", real(|store| Some(store.bytes))),
        Family {
            name: "p2p_store_expired_posts",
            help: "Posts that retention dropped, in all runs.",
            unit: None,
            samples: Samples::Counter(real(|store| Some(store.expired_posts))),
        },
        gauges("p2p_disk_free_bytes", "Free for this user where the data directory is.", real(|store| store.disk_free)),
        gauges("p2p_disk_size_bytes", "Of the file system where the data directory is.", real(|store| store.disk_size)),
        Family {
            name: "p2p_flush",
            help: "Transactions that were flushed to disk, all that shared one together.",
            unit: Some(Unit::Seconds),
            samples: Samples::Histogram(flushes),
        },
    ]
}

/// By the names that every exporter of process figures uses.
fn of_process(process: &Process) -> Vec<Family> {
    let counts = |count: Option<u64>| count.map(|count| sample(Value::Count(count))).into_iter().collect();
    let reals = |real: Option<f64>| real.map(|real| sample(Value::Real(real))).into_iter().collect();
    vec![
        Family {
            name: "process_cpu_seconds",
            help: "Time of processors in user and system mode, in seconds.",
            unit: None,
            samples: Samples::Counter(reals(process.cpu_seconds)),
        },
        gauges("process_resident_memory_bytes", "Resident memory.", counts(process.resident_bytes)),
        gauges("process_virtual_memory_bytes", "Virtual memory.", counts(process.virtual_bytes)),
        gauges("process_open_fds", "Open file descriptors.", counts(process.open_fds)),
        gauges("process_max_fds", "File descriptors that may be open.", counts(process.max_fds)),
        gauges("process_threads", "Threads.", counts(process.threads)),
        gauges("process_start_time_seconds", "When the process began, since 1970.", reals(process.start_seconds)),
    ]
}

fn count(counter: &Counter, counted: &BTreeMap<&'static str, u64>) -> Family {
    let value = |key| counted.get(key).copied().unwrap_or(0);
    let samples = match counter.parts {
        [("", key)] => vec![sample(Value::Count(value(key)))],
        parts => parts.iter().map(|(part, key)| labelled(counter.label, part, value(key))).collect(),
    };
    Family { name: counter.name, help: counter.help, unit: None, samples: Samples::Counter(samples) }
}

/// What the core counts and nobody described here is told all the same, in one family.
fn not_described(counted: &BTreeMap<&'static str, u64>) -> Option<Family> {
    let is_described = |key: &&str| {
        SUMS.contains(key) || COUNTERS.iter().flat_map(|counter| counter.parts).any(|(_, described)| described == key)
    };
    let others = counted.iter().filter(|(key, _)| !is_described(key));
    let samples: Vec<Sample> =
        others.map(|(key, count)| labelled("what", key.trim_end_matches("_total"), *count)).collect();
    (!samples.is_empty()).then_some(Family {
        name: "p2p_others",
        help: "What else was counted.",
        unit: None,
        samples: Samples::Counter(samples),
    })
}

fn peer_states(peers: &[PeerStatus]) -> Vec<Sample> {
    let states = [PeerState::Up, PeerState::Suspect, PeerState::Dialing, PeerState::Waiting, PeerState::Down];
    let of = |state| peers.iter().filter(|peer| peer.state == state).count() as u64;
    states.into_iter().map(|state| labelled("state", state_name(state), of(state))).collect()
}

fn state_name(state: PeerState) -> &'static str {
    match state {
        PeerState::Up => "up",
        PeerState::Suspect => "suspect",
        PeerState::Dialing => "dialing",
        PeerState::Waiting => "waiting",
        PeerState::Down => "down",
    }
}

fn is_linked(peer: &PeerStatus) -> bool {
    matches!(peer.state, PeerState::Up | PeerState::Suspect)
}

/// Whoever makes up peers must not make the figures grow without end.
fn lags(peers: &[PeerStatus]) -> Vec<Sample> {
    let mut known: Vec<&PeerStatus> = peers.iter().filter(|peer| peer.id.is_some()).collect();
    known.sort_by_key(|peer| (!is_linked(peer), std::cmp::Reverse(peer.last_seen_ms), peer.id));
    known.truncate(PEERS_LABELLED_MAX);
    known.sort_by_key(|peer| peer.id);
    let mut labels = BTreeSet::new();
    let mut samples = Vec::with_capacity(known.len());
    for (id, peer) in known.iter().filter_map(|peer| Some((peer.id?, peer))) {
        // Two that begin alike would make one series of two values, and a scraper would refuse all there is.
        let label = Some(id.short()).filter(|short| !labels.contains(short)).unwrap_or_else(|| id.to_string());
        samples.push(labelled("peer", &label, peer.behind));
        labels.insert(label);
    }
    samples
}

/// One wrong clock among many must not look as if ours were wrong.
fn clock_offset(peers: &[PeerStatus]) -> Option<Sample> {
    let measured = peers.iter().filter(|peer| is_linked(peer) && peer.rtt_us.is_some());
    let mut offsets: Vec<i64> = measured.map(|peer| peer.clock_offset_us).collect();
    offsets.sort_unstable();
    let median = offsets.get(offsets.len() / 2)?;
    Some(sample(Value::Real(*median as f64 / 1e6)))
}

fn gauge(name: &'static str, help: &'static str, count: u64) -> Family {
    gauges(name, help, vec![sample(Value::Count(count))])
}

fn gauges(name: &'static str, help: &'static str, samples: Vec<Sample>) -> Family {
    Family { name, help, unit: None, samples: Samples::Gauge(samples) }
}

fn sample(value: Value) -> Sample {
    Sample { label: None, value }
}

fn labelled(name: &'static str, value: &str, count: u64) -> Sample {
    Sample { label: Some((name, value.to_owned())), value: Value::Count(count) }
}

/// Peers with a series of their own.
const PEERS_LABELLED_MAX: usize = 100;
