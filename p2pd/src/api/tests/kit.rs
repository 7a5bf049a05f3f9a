//! A daemon whose driver is a list.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use ed25519_dalek::SigningKey;
use p2p_mesh::effect::{Delivery, Refusal, Sent};
use p2p_mesh::envelope::{Body, Post, Stamp};
use p2p_mesh::id::{Epoch, Hash, Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::Draft;
use p2p_mesh::limits::TEXT_LEN_MAX;
use p2p_mesh::status::{Graph, Holder, PeerState, PeerStatus, Receipt, Status, SyncState};
use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::v1;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::api::convert::View;
use crate::api::serve::{Pace, serve_at_pace};
use crate::api::{Alarms, ApiConfig, Batch, Choices, ConfigRow, Facts, Live, Request, Subscribers, convert};
use crate::health::{Progress, Stage};
use crate::invite::Invite;
use crate::letters::Letters;
use crate::names::{Names, NoteChange};
use crate::network::{NetworkKey, Ring};
use crate::query::{
    Authors, HistoryQuery, LogGap, LogPage, Place, RoomFeeds, RoomSummary, SearchPage, SearchPlace, SearchQuery,
    StoreSummary, StoredPost,
};

pub(super) struct Daemon {
    pub(super) dir: TempDir,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) world: Shared,
    pub(super) subscribers: Subscribers,
    pub(super) alarms: Alarms,
    pub(super) progress: Progress,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<()>,
    driver: JoinHandle<()>,
}

#[derive(Clone)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    /// Something was asked.
    pub(super) asked: Arc<Notify>,
}

/// What the driver knows, and how it behaves.
pub(in crate::api) struct World {
    pub(super) entries: Vec<Delivery>,
    /// What was dropped before the first entry.
    pub(super) gap: Option<LogGap>,
    /// Posts that stood behind the last entry, and are gone.
    pub(super) lost_at_end: u64,
    pub(super) status: Status,
    pub(super) peers: Vec<PeerStatus>,
    /// Answers of the driver to pings; it says nothing where there is none.
    pub(super) pong: Option<Option<u64>>,
    unanswered: Vec<oneshot::Sender<Option<u64>>>,
    /// Publishes wait here instead of being answered.
    pub(super) holds: bool,
    pub(super) held: Vec<Held>,
    /// What was answered to the questions that decide where a watch begins.
    pub(super) status_offsets: Vec<Offset>,
    pub(super) starts: Vec<Offset>,
    pub(super) log_reads: usize,
    pub(super) stops: usize,
    pub(super) graph: Graph,
    pub(super) sync: SyncState,
    pub(super) syncs: usize,
    /// The parts of rooms that were looked at: from and to.
    pub(super) room_looks: Vec<(Offset, Offset)>,
    /// What every receipt says.
    pub(super) holders: Vec<Holder>,
    pub(super) added: Vec<String>,
    pub(super) invites: Vec<Invite>,
    /// What was noted of peers.
    pub(super) noted: Vec<(PeerId, NoteChange)>,
    /// Answers pages of random size, and lets posts arrive between a question and its answer.
    pub(super) chaos: Option<SmallRng>,
    /// Posts that chaos may still bring.
    pub(super) chaos_left: usize,
    feeds: BTreeMap<u8, Feed>,
    keys: BTreeMap<String, (Hash, Sent)>,
    clock_ms: u64,
}

#[derive(Default)]
struct Feed {
    last: u64,
    hash: Option<Hash>,
}

pub(super) type Held = (Vec<Draft>, oneshot::Sender<Vec<Result<Sent, Refusal>>>);

pub(super) const PACE: Pace = Pace {
    heartbeat: Duration::from_secs(15),
    changes: Duration::from_millis(5),
    sync: Duration::from_millis(5),
    receipts: Duration::from_millis(5),
};
/// The author whose posts are our own.
pub(super) const OWN: u8 = 1;

pub(super) fn key(author: u8) -> SigningKey {
    SigningKey::from_bytes(&[author; 32])
}

pub(super) fn id(author: u8) -> PeerId {
    PeerId(key(author).verifying_key().to_bytes())
}

impl Daemon {
    pub(super) async fn start() -> Self {
        Self::start_with(World::new(), 16, PACE).await
    }

    /// With room for so many KiB of what is not read yet: a short post takes almost one.
    pub(super) async fn start_with(world: World, buffer_kib: usize, pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tcp = Endpoint::Tcp(([127, 0, 0, 1], 0).into());
        let config = ApiConfig {
            endpoints: vec![Endpoint::Unix(dir.path().join("s")), tcp],
            group: None,
            token_file: dir.path().join("api.token"),
            orders: mpsc::channel(1).0,
        };
        let (requests, receiver) = mpsc::channel(8);
        let subscribers = Subscribers::with_memory(buffer_kib << 10);
        let stop = CancellationToken::new();
        let facts = facts();
        let (alarms, progress) = (facts.alarms.clone(), facts.progress.clone());
        let served = serve_at_pace(config, requests, subscribers.clone(), facts, stop.clone(), pace).await.unwrap();
        let world = Shared { world: Arc::new(Mutex::new(world)), asked: Arc::default() };
        let driver = tokio::spawn(drive(receiver, world.clone(), subscribers.clone()));
        Self { dir, endpoints: served.endpoints, world, subscribers, alarms, progress, stop, task: served.task, driver }
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(&self.endpoints[0], None, Duration::from_secs(10)).await.unwrap()
    }

    pub(super) fn tcp(&self) -> &Endpoint {
        &self.endpoints[1]
    }

    pub(super) fn token(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("api.token")).unwrap().trim().to_owned()
    }

    /// Somebody said something: it is in the log, and then the subscribers hear of it.
    pub(super) fn arrive(&self, author: u8, room: &str, texts: &[&str]) {
        let posts = texts.iter().map(|text| Post::chat(room, text)).collect();
        let entry = self.world.lock().append(author, posts);
        self.subscribers.publish(Batch { entries: vec![entry] });
    }

    /// The driver goes away, and with it all answers that it owes.
    pub(super) fn end_driver(&self) {
        self.driver.abort();
        self.world.lock().held.clear();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop.cancel();
        self.driver.abort();
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Until the world is as it should be; it is looked at after each question that the driver got.
    pub(super) async fn until(&self, is_so: impl Fn(&World) -> bool) {
        loop {
            let asked = self.asked.notified();
            if is_so(&self.lock()) {
                return;
            }
            guarded(asked).await;
        }
    }
}

/// Waits for what must come, so that a test fails instead of hanging when it does not.
pub(super) async fn guarded<T>(wait: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("what was waited for did not come")
}

pub(super) fn facts() -> Facts {
    let live = Live::default();
    live.set(Choices {
        name: "me".into(),
        default_room: "lobby".into(),
        config: vec![ConfigRow { key: "name".into(), value: "me".into(), source: "default".into() }],
    });
    Facts {
        instance: Instance { id: id(OWN), epoch: Epoch(7) },
        live,
        version: "1.2.3".into(),
        networks: Ring::new(vec![NetworkKey { id: [7; 16], secret: Default::default() }]),
        open_network: false,
        listen: vec![([127, 0, 0, 1], 8_080).into()],
        data_dir: "/data".into(),
        pid: 42,
        started: Instant::now(),
        began: SystemTime::now(),
        letters: Letters::new(&key(OWN)),
        alarms: Alarms::default(),
        progress: running(),
    }
}

fn running() -> Progress {
    let progress = Progress::default();
    progress.reach(Stage::Running);
    progress
}

pub(super) fn peer(author: u8, state: PeerState) -> PeerStatus {
    PeerStatus {
        id: Some(id(author)),
        name: format!("peer{author}"),
        state,
        since_ms: 5,
        rtt_us: Some(250),
        behind: 1,
        address: "127.0.0.1:9".into(),
        addresses: vec!["127.0.0.1:9".parse().unwrap()],
        outbound: true,
        epoch: Some(Epoch(9)),
        agent: "p2pd/0".into(),
        bytes_sent: 2,
        bytes_received: 3,
        posts_received: 4,
        posts_duplicate: 5,
        queue_bytes: 6,
        tries: 7,
        next_dial_ms: None,
        last_error: "cable cut".into(),
        met_other: false,
        clock_offset_us: -8,
        configured: true,
        instances: 1,
        last_seen_ms: 9,
        forks: 3,
    }
}

/// What somebody wants to send.
pub(super) fn say(text: &str) -> v1::Outgoing {
    v1::Outgoing { text: text.into(), ..v1::Outgoing::default() }
}

impl World {
    pub(in crate::api) fn new() -> Self {
        Self {
            invites: Vec::new(),
            entries: Vec::new(),
            gap: None,
            lost_at_end: 0,
            status: Status::default(),
            peers: Vec::new(),
            pong: None,
            unanswered: Vec::new(),
            holds: false,
            held: Vec::new(),
            status_offsets: Vec::new(),
            starts: Vec::new(),
            log_reads: 0,
            stops: 0,
            graph: Graph::default(),
            sync: SyncState::default(),
            syncs: 0,
            room_looks: Vec::new(),
            holders: Vec::new(),
            added: Vec::new(),
            noted: Vec::new(),
            chaos: None,
            chaos_left: 0,
            feeds: BTreeMap::new(),
            keys: BTreeMap::new(),
            clock_ms: 1_000_000,
        }
    }

    pub(super) fn chaotic(seed: u64, posts: usize) -> Self {
        Self { chaos: Some(SmallRng::seed_from_u64(seed)), chaos_left: posts, ..Self::new() }
    }

    pub(super) fn end(&self) -> Offset {
        let dropped = self.gap.map_or(Offset(0), |gap| gap.to);
        self.entries.last().map_or(dropped, convert::last_offset)
    }

    pub(in crate::api) fn append(&mut self, author: u8, posts: Vec<Post>) -> Delivery {
        // Clocks of different authors differ, so the order of arrival is not the order of the clocks.
        self.clock_ms += 10;
        let at = Stamp { ms: self.clock_ms - u64::from(author) * 37, counter: 0 };
        let feed = self.feeds.entry(author).or_default();
        let instance = Instance { id: id(author), epoch: Epoch(7) };
        let body = Body { feed: instance, first: Seq(feed.last + 1), prev: feed.hash, at, posts };
        feed.last += body.posts.len() as u64;
        let envelope = body.sign(&key(author));
        feed.hash = Some(envelope.hash());
        let offset = Offset(self.end().0 + 1);
        let entry = Delivery { offset, envelope, own: author == OWN, late: false, forked: false };
        self.entries.push(entry.clone());
        entry
    }

    /// Every post of the log as readers shall see it.
    pub(super) fn posts(&self, names: &crate::names::Names) -> Vec<v1::Post> {
        let view = View { names: names.clone(), letters: Letters::new(&key(OWN)) };
        self.stored().iter().filter_map(|stored| convert::stored_post(stored, &view)).collect()
    }

    /// A random envelope.
    pub(super) fn random_entry(&mut self, random: &mut SmallRng) -> Delivery {
        let author = random.random_range(OWN..4);
        let posts = (0..random.random_range(1..5)).map(|_| {
            let room = ["general", "rust", "tea"][random.random_range(0..3)];
            Post::chat(room, &"x".repeat(random.random_range(1..40)))
        });
        let posts = posts.collect();
        self.append(author, posts)
    }

    pub(super) fn publish(&mut self, drafts: Vec<Draft>) -> (Vec<Delivery>, Vec<Result<Sent, Refusal>>) {
        let mut entries = Vec::new();
        let results = drafts.into_iter().map(|draft| {
            check(&draft)?;
            let content = draft.content_hash();
            if let Some((known, sent)) = draft.key.as_ref().and_then(|key| self.keys.get(key)) {
                let used = sent.id;
                let key = draft.key.clone().unwrap_or_default();
                let repeated = Sent { repeated: true, ..*sent };
                return if *known == content { Ok(repeated) } else { Err(Refusal::KeyReused { key, used }) };
            }
            let said = match &draft.direct {
                None => Post::chat(&draft.room, &draft.text),
                Some(letter) => Post::direct(letter.to, &letter.sealed),
            };
            let post = Post { re: draft.re.map(Box::new), key: draft.key.as_deref().map(Into::into), ..said };
            let entry = self.append(OWN, vec![post]);
            let id = PostId { feed: entry.envelope.feed(), seq: entry.envelope.first() };
            let sent = Sent { id, offset: entry.offset, at: entry.envelope.body().at, repeated: false };
            entries.push(entry);
            if let Some(key) = draft.key {
                self.keys.insert(key, (content, sent));
            }
            Ok(sent)
        });
        let results = results.collect();
        (entries, results)
    }

    fn read_log(&mut self, after: Offset, posts_max: usize, bytes_max: usize) -> LogPage {
        let posts_max = self.chaos.as_mut().map_or(posts_max, |random| random.random_range(1..9));
        let mut entries: Vec<Delivery> = Vec::new();
        let (mut posts, mut bytes) = (0, 0);
        // Only the beginning is ever dropped here.
        let gap = self.gap.filter(|gap| gap.to > after).map(|gap| {
            let from = gap.from.max(Offset(after.0 + 1));
            LogGap { from, posts: Some(gap.to.0 - from.0 + 1), ..gap }
        });
        for entry in self.entries.iter().filter(|entry| convert::last_offset(entry) > after) {
            if !entries.is_empty() && (posts >= posts_max || bytes >= bytes_max) {
                return LogPage { gap, entries, end: false };
            }
            posts += entry.envelope.body().posts.len();
            bytes += entry.envelope.bytes().len();
            entries.push(entry.clone());
        }
        LogPage { gap, entries, end: true }
    }

    fn find_last(&self, rooms: &[String], authors: &Authors, posts: usize) -> Offset {
        let mut places = self.stored().into_iter().rev().filter(|stored| {
            (rooms.is_empty() || rooms.iter().any(|room| **room == *stored.post.room))
                && authors.takes(&stored.id.feed.id)
        });
        places.nth(posts - 1).map_or(Offset(0), |stored| Offset(stored.offset.0 - 1))
    }

    fn stored(&self) -> Vec<StoredPost> {
        let posts = self.entries.iter().flat_map(|entry| {
            let body = entry.envelope.body();
            (0..).zip(&body.posts).map(|(index, post)| StoredPost {
                forked: entry.forked,
                id: PostId { feed: body.feed, seq: body.first.plus(index) },
                offset: Offset(entry.offset.0 + index),
                at: body.at.plus(index),
                post: post.clone(),
                own: entry.own,
                late: entry.late,
            })
        });
        posts.collect()
    }

    fn history(&self, query: &HistoryQuery) -> Vec<StoredPost> {
        let place = |stored: &StoredPost| Place { at: stored.at, feed: stored.id.feed, seq: stored.id.seq };
        let mut found = self.stored();
        found.retain(|stored| {
            query.room.as_ref().is_none_or(|room| **room == *stored.post.room)
                && query.with.is_none_or(|with| {
                    let to = stored.post.direct.as_ref().map(|letter| letter.to);
                    to.is_some() && [Some(stored.id.feed.id), to].contains(&Some(with))
                })
                && (query.authors.is_empty() || query.authors.contains(&stored.id.feed.id))
                && query.since_ms.is_none_or(|ms| stored.at.ms >= ms)
                && query.until_ms.is_none_or(|ms| stored.at.ms < ms)
                && query.before.is_none_or(|before| place(stored) < before)
        });
        found.sort_by_key(place);
        found.split_off(found.len().saturating_sub(query.limit))
    }

    /// One post a look, newest first by order of arrival.
    fn search(&self, query: &SearchQuery) -> SearchPage {
        let before = query.before.map_or(u64::MAX, |place| place.offset);
        let stored = self.stored().into_iter().rev().find(|stored| stored.offset.0 < before);
        let Some(stored) = stored else { return SearchPage::default() };
        let next = Some(SearchPlace { ms: stored.at.ms, feed: 1, offset: stored.offset.0 });
        let is_in = |word: &String| stored.post.text.to_lowercase().contains(word.as_str());
        let is_in_room = query.room.as_ref().is_none_or(|room| **room == *stored.post.room);
        let posts = if is_in_room && query.words.iter().all(is_in) { vec![stored] } else { Vec::new() };
        SearchPage { posts, next }
    }

    fn summary(&self) -> StoreSummary {
        let expired = self.gap.map(|gap| (gap.posts.unwrap_or(0), gap.newest_ms)).unwrap_or_default();
        StoreSummary { bytes: 77, expired_posts: expired.0, expired_newest_ms: expired.1, ..StoreSummary::default() }
    }

    /// Drops the oldest entries of the log.
    pub(super) fn expire(&mut self, entries: usize) {
        let dropped: Vec<Delivery> = self.entries.drain(..entries).collect();
        let clocks = || dropped.iter().map(|entry| entry.envelope.body().at.ms);
        let to = dropped.last().map_or(Offset(0), convert::last_offset);
        self.gap = Some(LogGap {
            from: Offset(1),
            to,
            posts: Some(to.0),
            oldest_ms: self.gap.map(|gap| gap.oldest_ms).or(clocks().min()).unwrap_or(0),
            newest_ms: clocks().max().max(self.gap.map(|gap| gap.newest_ms)).unwrap_or(0),
        });
    }

    fn receipts(&self, posts: &[PostId]) -> Vec<Receipt> {
        let held = |post: &PostId| self.stored().iter().any(|stored| stored.id == *post);
        posts.iter().map(|post| Receipt { post: *post, held: held(post), holders: self.holders.clone() }).collect()
    }

    fn room_feeds(&mut self, room: &str, after: Offset) -> RoomFeeds {
        self.room_looks.push((after, self.end()));
        let there = self.stored().into_iter().filter(|stored| stored.offset > after && stored.post.room == room);
        let feeds: BTreeSet<Instance> = there.map(|stored| stored.id.feed).collect();
        RoomFeeds { feeds: feeds.into_iter().collect(), end: self.end() }
    }

    fn rooms(&self) -> Vec<RoomSummary> {
        let mut rooms = BTreeMap::<String, RoomSummary>::new();
        for stored in self.stored() {
            let empty = RoomSummary { name: stored.post.room.to_string(), with: None, posts: 0, newest_ms: 0 };
            let room = rooms.entry(stored.post.room.to_string()).or_insert(empty);
            room.posts += 1;
            room.newest_ms = room.newest_ms.max(stored.at.ms);
        }
        rooms.into_values().collect()
    }

    /// Posts that arrive at the worst moment.
    fn chaos(&mut self) -> Vec<Delivery> {
        let Some(mut random) = self.chaos.take() else { return Vec::new() };
        let count = random.random_range(0..4).min(self.chaos_left);
        self.chaos_left -= count;
        let entries = (0..count).map(|_| self.random_entry(&mut random)).collect();
        self.chaos = Some(random);
        entries
    }
}

/// The few rules that these tests need; the mesh has all of them.
fn check(draft: &Draft) -> Result<(), Refusal> {
    match draft {
        Draft { text, direct: None, .. } if text.is_empty() => Err(Refusal::Empty),
        Draft { text, .. } if text.len() > TEXT_LEN_MAX => {
            Err(Refusal::TooLong { len: text.len(), limit: TEXT_LEN_MAX })
        }
        Draft { room, .. } if room.contains(' ') => Err(Refusal::Room(room.clone())),
        _ => Ok(()),
    }
}

async fn drive(mut requests: mpsc::Receiver<Request>, shared: Shared, subscribers: Subscribers) {
    let publish = |entries: Vec<Delivery>| {
        // One batch each, so that small buffers overflow.
        for entry in entries {
            subscribers.publish(Batch { entries: vec![entry] });
        }
    };
    while let Some(request) = requests.recv().await {
        let before = shared.lock().chaos();
        publish(before);
        let published = answer(&mut shared.lock(), request, subscribers.names());
        publish(published);
        let after = shared.lock().chaos();
        publish(after);
        shared.asked.notify_waiters();
    }
}

fn answer(world: &mut World, request: Request, names: &Names) -> Vec<Delivery> {
    match request {
        Request::Publish { drafts, reply } if world.holds => world.held.push((drafts, reply)),
        Request::Publish { drafts, reply } => {
            let (entries, results) = world.publish(drafts);
            let _ = reply.send(results);
            return entries;
        }
        Request::Status(reply) => {
            world.status_offsets.push(world.end());
            let offset = Offset(world.end().0 + world.lost_at_end);
            let _ = reply.send(Status { offset, ..world.status.clone() });
        }
        Request::Peers(reply) => drop(reply.send(world.peers.clone())),
        Request::AddPeer(addr, reply) => {
            world.added.push(addr.to_string());
            let _ = reply.send(());
        }
        Request::ForgetPeer(peer, reply) => {
            let known = world.peers.len();
            world.peers.retain(|status| status.id != Some(peer));
            let _ = reply.send(world.peers.len() < known);
        }
        Request::ForgetAddr(addr, reply) => {
            let known = world.added.len();
            world.added.retain(|added| added != addr.as_str());
            let _ = reply.send(world.added.len() < known);
        }
        Request::Reconnect(peer, reply) => drop(reply.send(if peer.is_some() { 1 } else { 9 })),
        Request::Ping(_, reply) => {
            if let Some(pong) = world.pong {
                let _ = reply.send(pong);
            } else {
                // Never answered, as by a peer that is silent.
                world.unanswered.push(reply);
            }
        }
        Request::ReadLog { after, posts_max, bytes_max, reply } => {
            world.log_reads += 1;
            let _ = reply.send(Ok(world.read_log(after, posts_max, bytes_max)));
        }
        Request::FindLast { rooms, with: _, authors, posts, reply } => {
            let start = world.find_last(&rooms, &authors, posts);
            world.starts.push(start);
            let _ = reply.send(Ok(start));
        }
        Request::History { query, reply } => drop(reply.send(Ok(world.history(&query)))),
        Request::Rooms(reply) => drop(reply.send(Ok(world.rooms()))),
        Request::Search { query, reply } => drop(reply.send(Ok(world.search(&query)))),
        Request::StoreSummary(reply) => drop(reply.send(world.summary())),
        Request::Receipts(posts, reply) => drop(reply.send(world.receipts(&posts))),
        Request::SyncState(reply) => drop(reply.send(world.sync.clone())),
        Request::Graph(reply) => drop(reply.send(world.graph.clone())),
        Request::Sync(reply) => {
            world.syncs += 1;
            let _ = reply.send(world.peers.len());
        }
        Request::RoomFeeds { room, after, reply } => drop(reply.send(Ok(world.room_feeds(&room, after)))),
        Request::Configure { reply, .. } => drop(reply.send(0)),
        Request::UpdatePeer { peer, change, reply } => {
            let noted = names.note(peer, change.clone());
            world.noted.push((peer, change));
            let _ = reply.send(noted.map(drop));
        }
        Request::ChangeInvites { reply, .. } => drop(reply.send(Ok(()))),
        Request::Invites(reply) => drop(reply.send(Ok(world.invites.clone()))),
        // Only the daemon around the driver asks for these.
        Request::Ties(_) | Request::Enter { .. } => (),
        Request::KeepAway => (),
        Request::Stop => world.stops += 1,
    }
    Vec::new()
}
