//! After the faults: links, equality, and what the judge says.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use p2p_proto::v1;

use rusqlite::{Connection, OpenFlags};

use super::footprint::processes_in;
use super::netns;
use super::pause;
use super::readers::{Readers, shown};
use super::report::Report;
use super::stage::Stage;
use super::ways::{NAMES, PEERS};
use crate::checker::{
    Begins, History, Operation, Seen, Violation, check_acks, check_content, check_end, check_envelopes, check_seen,
    check_stream, check_whole,
};
use crate::daemon::TestPeer;

/// How long it took to be one again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// From the end of the faults until everybody was linked to everybody.
    pub links: Option<Duration>,
    /// From then until all histories were equal.
    pub equal: Option<Duration>,
    /// From then until all readers had seen all.
    pub read: Option<Duration>,
    /// Who lacked what, and how the links were, where equality did not come at once.
    pub picture: String,
}

impl Settled {
    /// It took longer than it would on a machine that does nothing else.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.equal.is_none_or(|equal| equal > EQUAL_PROMISED)
    }
}

/// Every peer says that it is linked to all others.
pub(super) fn are_linked(stage: &mut Stage) -> bool {
    let statuses = stage.statuses().unwrap_or_default();
    statuses.len() == PEERS && statuses.iter().all(|status| status.peers_up as usize == PEERS - 1)
}

/// Waits until all are linked, then until they are equal, then until all was read.
pub(super) fn settle(stage: &mut Stage, readers: &Readers, healed: Instant) -> Settled {
    let mut settled = Settled { links: wait(healed, LINKS_WITHIN, || are_linked(stage)), ..Settled::default() };
    if settled.links.is_none() {
        return settled;
    }
    let linked = Instant::now();
    settled.equal = wait(linked, EQUAL_WITHIN, || {
        let is_equal = are_equal(stage);
        if !is_equal && settled.picture.is_empty() && linked.elapsed() > PICTURE_AFTER {
            settled.picture = picture(stage);
        }
        is_equal
    });
    readers.hurry();
    let ends: Vec<u64> = stage.statuses().unwrap_or_default().iter().map(|status| status.offset).collect();
    settled.read = wait(Instant::now(), READ_WITHIN, || readers.behind(&ends).is_empty());
    settled
}

fn are_equal(stage: &mut Stage) -> bool {
    let Some(statuses) = stage.statuses() else { return false };
    let first = &statuses[0];
    statuses.iter().all(|status| (&status.digest, status.posts) == (&first.digest, first.posts))
}

/// Who holds how much, and how each sees the others.
fn picture(stage: &Stage) -> String {
    let mut lines = Vec::new();
    for (peer, name) in stage.peers().zip(NAMES) {
        let status = peer.status();
        lines.push(format!("{name} at {} has {} and misses {}", unix_ms(), status.posts, status.missing_posts));
        for other in peer.peers() {
            let (state, since_ms) = (other.state().as_str_name(), other.since_us / 1_000);
            let v1::Peer { name, behind, queue_bytes, rtt_us, outbound, .. } = other;
            lines.push(format!(
                "  {name}: {state} since {since_ms}, outbound={outbound}, {behind} behind, {queue_bytes} bytes queued, \
                 rtt {rtt_us} us"
            ));
        }
        let sync = peer.ask(async |client| client.mesh().sync_state(v1::SyncStateRequest::default()).await);
        let feeds = sync.map(|sync| sync.into_inner().feeds).unwrap_or_default();
        let lacking = feeds.iter().filter(|feed| feed.head < feed.known_head || !feed.holes.is_empty());
        lines.extend(lacking.map(|feed| format!("  lacks of {} {:?}", feed.name, feed)));
    }
    lines.join("\n")
}

fn unix_ms() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis())
}

fn wait(since: Instant, limit: Duration, mut is_so: impl FnMut() -> bool) -> Option<Duration> {
    while !is_so() {
        if since.elapsed() > limit {
            return None;
        }
        pause();
    }
    Some(since.elapsed())
}

/// Everything that must hold at the end; the daemons are stopped on the way.
pub(super) fn judge(stage: &mut Stage, readers: Readers, report: &mut Report) {
    let operations: Vec<Operation> = report.said.iter().map(|said| said.operation.clone()).collect();
    report.violations.extend(late(&report.settled, stage, &readers));
    report.footprint = stage.footprint();
    if stage.is_complete() {
        let histories: Vec<History> = stage.peers().zip(NAMES).map(|(peer, name)| history(peer, name)).collect();
        report.posts = histories.iter().map(|history| history.posts.len()).max().unwrap_or(0);
        let seen = readers.stop();
        report.violations.extend(check(&operations, &histories, &seen));
    }
    (0..PEERS).for_each(|place| stage.stop(place));
    for (peer, name) in stage.peers().zip(NAMES) {
        report.violations.extend(check_store(&peer.data_dir(), name));
    }
    report.violations.extend(stage.take_violations());
}

fn late(settled: &Settled, stage: &mut Stage, readers: &Readers) -> Vec<Violation> {
    let all = |what: String| vec![Violation::Invariant { peer: "everybody".to_owned(), what }];
    let statuses = stage.statuses().unwrap_or_default();
    if settled.links.is_none() {
        let up: Vec<u32> = statuses.iter().map(|status| status.peers_up).collect();
        return all(format!("not all are linked after {LINKS_WITHIN:?}: {up:?}"));
    }
    if settled.equal.is_none() {
        let posts: Vec<u64> = statuses.iter().map(|status| status.posts).collect();
        return all(format!("histories differ {EQUAL_WITHIN:?} after the links: {posts:?}"));
    }
    if settled.read.is_none() {
        let ends: Vec<u64> = statuses.iter().map(|status| status.offset).collect();
        return all(format!("not read in {READ_WITHIN:?}: {:?}", readers.behind(&ends)));
    }
    Vec::new()
}

fn check(operations: &[Operation], histories: &[History], seen: &[(usize, Seen)]) -> Vec<Violation> {
    let mut violations = check_acks(operations);
    for history in histories {
        violations.extend(check_stream(history));
        violations.extend(check_whole(history, Begins::AtTheFirst));
        violations.extend(check_content(operations, history));
    }
    violations.extend(check_end(operations, histories));
    for (place, seen) in seen {
        violations.extend(check_stream(&seen.stream));
        violations.extend(check_whole(&seen.stream, Begins::AtTheFirst));
        violations.extend(check_content(operations, &seen.stream));
        violations.extend(check_seen(&histories[*place], seen));
    }
    violations
}

fn history(peer: &TestPeer, name: &str) -> History {
    History { peer: name.to_owned(), posts: peer.posts().iter().filter_map(shown).collect(), gaps: Vec::new() }
}

/// What is on disk, read as anybody could who has the file.
fn check_store(data_dir: &Path, name: &str) -> Vec<Violation> {
    match stored(data_dir) {
        Ok(stored) => check_envelopes(name, stored),
        Err(error) => {
            vec![Violation::Invariant { peer: name.to_owned(), what: format!("its store cannot be read: {error}") }]
        }
    }
}

fn stored(data_dir: &Path) -> rusqlite::Result<Vec<(Bytes, [u8; 64])>> {
    let db = Connection::open_with_flags(data_dir.join("history.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut rows = db.prepare("SELECT body, signature FROM envelopes ORDER BY offset")?;
    let rows = rows.query_map((), |row| Ok((Bytes::from(row.get::<_, Vec<u8>>(0)?), row.get(1)?)))?;
    rows.collect()
}

/// When everything was dropped: no process, no file, and none of the namespaces whose names begin like this.
pub(super) fn check_left_behind(dir: &Path, prefix: Option<&str>, report: &mut Report) {
    let mut left: Vec<String> = processes_in(dir).iter().map(|pid| format!("process {pid}")).collect();
    left.extend(dir.exists().then(|| format!("folder {}", dir.display())));
    let is_ours = |name: &String| prefix.is_some_and(|prefix| name.starts_with(prefix));
    left.extend(netns::list().into_iter().filter(is_ours).map(|name| format!("namespace {name}")));
    let all = || "everybody".to_owned();
    let violation = |what| Violation::Invariant { peer: all(), what: format!("left behind: {what}") };
    report.violations.extend(left.into_iter().map(violation));
}

/// The longest backoff, a failing dial before it, and the detection of what is dead before that.
pub(super) const LINKS_WITHIN: Duration = Duration::from_secs(75);
/// What the design promises. A run that needed more keeps its logs.
const EQUAL_PROMISED: Duration = Duration::from_secs(5);
/// By then it has come, most times.
const PICTURE_AFTER: Duration = Duration::from_secs(2);
/// A busy machine gets more.
const EQUAL_WITHIN: Duration = Duration::from_secs(15);
const READ_WITHIN: Duration = Duration::from_secs(30);
