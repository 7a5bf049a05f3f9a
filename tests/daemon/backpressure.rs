//! Somebody is slow, stopped, full or does not read: the others notice nothing, memory stays within its limits, and
//! afterwards everybody holds everything.
//!
//! How long posts took is printed (`--nocapture` shows it). It is not judged: these tests share their machine.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use p2p_proto::client::Client;
use p2p_proto::endpoint::Endpoint;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use p2p_proto::v1::{Outgoing, Post, SendRequest, WatchRequest, WatchResponse};
use p2p_tests::daemon::{Network, Options, TestPeer};
use p2p_tests::line::Line;
use p2p_tests::program::{PATIENCE, eventually};
use p2p_tests::skip::or_skip;
use p2p_tests::volume::Volume;
use tokio::runtime::{Builder, Runtime};
use tonic::Streaming;

use super::attacked::rss_bytes;
use super::{check_equal, lines};

/// What an open stream of posts needs to be read.
struct Watch {
    runtime: Runtime,
    stream: Streaming<WatchResponse>,
    _client: Client,
}

impl Watch {
    /// What comes from now on.
    #[track_caller]
    fn open(peer: &TestPeer) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let socket = Endpoint::Unix(peer.socket());
        let (client, stream) = runtime.block_on(async {
            let client = Client::connect(&socket, None, PATIENCE).await.unwrap();
            let request = WatchRequest { start: Some(Start::Live(true)), ..WatchRequest::default() };
            let mut stream = client.chat().watch(request).await.unwrap().into_inner();
            while !matches!(stream.message().await.unwrap().and_then(|response| response.item), Some(Item::CaughtUp(_)))
            {
            }
            (client, stream)
        });
        Self { runtime, stream, _client: client }
    }

    /// The next posts. It fails if there are none for a long time.
    #[track_caller]
    fn next(&mut self) -> Vec<Post> {
        let Self { runtime, stream, .. } = self;
        let next = async {
            loop {
                let response = stream.message().await.expect("no error").expect("no end");
                match response.item {
                    Some(Item::Batch(batch)) => return batch.posts,
                    Some(Item::Gap(gap)) => panic!("a gap: {gap:?}"),
                    Some(Item::CaughtUp(_) | Item::Heartbeat(_)) | None => (),
                }
            }
        };
        let next = async { tokio::time::timeout(PATIENCE, next).await };
        runtime.block_on(next).expect("posts go on coming")
    }

    /// As many posts as this, which must come in order and once.
    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<Post> {
        let mut posts = Vec::new();
        while posts.len() < count {
            posts.extend(self.next());
        }
        super::check_order(&posts);
        posts
    }
}

/// Sorted.
struct Latencies(Vec<Duration>);

impl Latencies {
    fn print(&self, what: &str) {
        let at = |part: f64| self.0[((self.0.len() - 1) as f64 * part) as usize];
        println!("{what}: {} deliveries, median {:?}, p99 {:?}, last {:?}", self.0.len(), at(0.5), at(0.99), at(1.0));
    }
}

/// `sender` says something at a steady rate, and each of the listeners hears all of it.
#[track_caller]
fn talk(what: &str, sender: &TestPeer, listeners: &[&TestPeer], count: usize, pause: Duration) -> Latencies {
    let mut watches: Vec<Watch> = listeners.iter().map(|peer| Watch::open(peer)).collect();
    let latencies = thread::scope(|scope| {
        let hearing: Vec<_> = watches
            .iter_mut()
            .map(|watch| {
                scope.spawn(move || {
                    let mut latencies = Vec::new();
                    while latencies.len() < count {
                        latencies.extend(watch.next().iter().map(age));
                    }
                    latencies
                })
            })
            .collect();
        say(sender, count, pause);
        hearing.into_iter().flat_map(|hearing| hearing.join().unwrap()).collect::<Vec<_>>()
    });
    let mut latencies = Latencies(latencies);
    latencies.0.sort_unstable();
    latencies.print(what);
    latencies
}

#[track_caller]
fn say(sender: &TestPeer, count: usize, pause: Duration) {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&Endpoint::Unix(sender.socket()), None, PATIENCE).await.unwrap();
        let begun = Instant::now();
        for number in 0..count {
            let post = Some(Outgoing { text: format!("{}", unix_us()), ..Outgoing::default() });
            client.chat().send(SendRequest { post }).await.unwrap();
            tokio::time::sleep_until((begun + pause * number as u32).into()).await;
        }
    });
}

fn unix_us() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros() as u64
}

fn age(post: &Post) -> Duration {
    Duration::from_micros(unix_us().saturating_sub(post.text.parse().expect("its text says when it was said")))
}

/// Since when each of these has each other of them as a peer.
fn links(peers: &[&TestPeer]) -> BTreeMap<(String, String), i64> {
    let mut links = BTreeMap::new();
    for peer in peers {
        for other in peer.peers().iter().filter(|other| peers.iter().any(|peer| peer.id() == other.id)) {
            links.insert((peer.id().to_owned(), other.id.clone()), other.since_us);
        }
    }
    links
}

/// Everything healthy, before something happens to somebody else.
struct Before<'a> {
    healthy: Vec<&'a TestPeer>,
    links: BTreeMap<(String, String), i64>,
    rss_bytes: Vec<u64>,
}

impl<'a> Before<'a> {
    fn look(healthy: Vec<&'a TestPeer>) -> Self {
        let rss_bytes = healthy.iter().map(|peer| rss_bytes(peer)).collect();
        Self { links: links(&healthy), healthy, rss_bytes }
    }

    /// They have the links that they had, and hardly more memory.
    #[track_caller]
    fn check_unharmed(&self) {
        assert_eq!(links(&self.healthy), self.links, "no link between healthy peers was lost");
        for (peer, before) in self.healthy.iter().zip(&self.rss_bytes) {
            let grown = rss_bytes(peer).saturating_sub(*before);
            println!("{} grew by {} KiB", peer.id(), grown >> 10);
            assert!(grown < GROWTH_BYTES_MAX, "{} grew by {grown} bytes", peer.id());
        }
    }
}

/// Three peers and one that something is going to happen to, which is the last one.
#[track_caller]
fn four(network: &Network) -> [TestPeer; 4] {
    // Soon enough for a test to see it, and late enough for a machine that is busy.
    let env = [("P2P_HEARTBEAT_INTERVAL", "2s"), ("P2P_HEARTBEAT_TIMEOUT", "5s")];
    let env: Vec<(String, String)> = env.map(|(key, value)| (key.into(), value.into())).into();
    let mut peers: Vec<TestPeer> = Vec::new();
    for name in ["one", "two", "three", "four"] {
        let dials = peers.iter().map(TestPeer::addr).collect();
        peers.push(network.start_with(Options { name: name.into(), dials, env: env.clone(), ..Options::default() }));
    }
    peers.iter().for_each(|peer| peer.wait_for_peers(3));
    peers.try_into().unwrap()
}

#[test]
fn a_peer_that_is_stopped_delays_nobody_and_gets_everything_when_it_goes_on() {
    let network = Network::new();
    let [one, two, three, four] = four(&network);
    drop(talk("all are well", &one, &[&two, &three], 100, STEADY));
    let before = Before::look(vec![&one, &two, &three]);
    four.pause();
    // Long enough for it to be hung up in the middle.
    drop(talk("one is stopped", &one, &[&two, &three], 500, STEADY));
    before.check_unharmed();
    eventually(PATIENCE, "it is hung up", || one.status().peers_up == 2);
    four.resume();
    drop(talk("it is back", &one, &[&two, &three], 100, STEADY));
    check_equal(&[&one, &two, &three, &four], 700);
    before.check_unharmed();
}

#[test]
fn a_peer_on_64_kbit_a_second_delays_nobody_and_keeps_its_links() {
    let network = Network::new();
    // Nobody finds anybody by what others tell, so the slow one has only the links that go through its line.
    let nowhere = ["--advertise", "127.0.0.1:1"].map(str::to_owned).to_vec();
    let start = |name: &str, dials: Vec<String>| {
        network.start_with(Options { name: name.into(), dials, flags: nowhere.clone(), ..Options::default() })
    };
    let one = start("one", vec![]);
    let two = start("two", vec![one.addr()]);
    let three = start("three", vec![one.addr(), two.addr()]);
    let line = Line::new(64_000);
    let slow = start("slow", [&one, &two, &three].map(|peer| line.open(&peer.addr())).to_vec());
    [&one, &two, &three, &slow].iter().for_each(|peer| peer.wait_for_peers(3));
    drop(talk("the slow one is idle", &one, &[&two, &three], 20, STEADY));
    let (before, all) = (Before::look(vec![&one, &two, &three]), links(&[&one, &two, &three, &slow]));
    // Three times what the line can carry.
    drop(talk("the slow one falls behind", &one, &[&two, &three], 250, STEADY));
    assert!(slow.status().posts < 270, "the line is slow");
    before.check_unharmed();
    eventually(PATIENCE * 3, "the slow one has everything", || slow.status().posts >= 270);
    check_equal(&[&one, &two, &three, &slow], 270);
    assert_eq!(links(&[&one, &two, &three, &slow]), all, "slow is not dead");
}

/// One peer says that much, and the watcher hears it.
#[track_caller]
fn flood(from: &TestPeer, watch: &mut Watch, count: usize) -> Vec<Post> {
    let sending = from.p2pctl_start(&["send", "-l", "-q"], lines("one", count));
    let heard = watch.take(count);
    drop(sending.wait(PATIENCE).ok());
    heard
}

#[test]
fn a_watcher_that_never_reads_costs_no_memory_and_no_post() {
    let network = Network::new();
    let one = network.start("one", &[]);
    let two = network.start("two", &[&one]);
    two.wait_for_peers(1);
    drop(talk("nobody sleeps", &one, &[&two], 50, STEADY));
    let mut awake = Watch::open(&two);
    // What a flood costs by itself is no matter here: caches are full, and the system's allocator keeps what it has.
    drop(flood(&one, &mut awake, FLOOD / 5));
    let mut asleep = Watch::open(&two);
    let before = Before::look(vec![&one, &two]);
    let heard = flood(&one, &mut awake, FLOOD);
    before.check_unharmed();
    drop(talk("one watcher sleeps", &one, &[&two], 50, STEADY));
    // It wakes up and reads on from where it was.
    let read = asleep.take(FLOOD);
    let texts = |posts: &[Post]| posts.iter().map(|post| post.text.clone()).take(FLOOD).collect::<Vec<_>>();
    assert!(texts(&read) == texts(&heard), "it reads what the other one heard");
}

#[test]
fn a_peer_with_a_full_disk_delays_nobody_and_gets_everything_when_there_is_room() {
    let network = Network::new();
    let Some(volume) = or_skip(Volume::memory(&network.dir().join("four").join("data"), "size=16m")) else { return };
    let [one, two, three, four] = four(&network);
    drop(talk("all are well", &one, &[&two, &three], 100, STEADY));
    let before = Before::look(vec![&one, &two, &three]);
    let ballast = volume.fill();
    drop(talk("one disk is full", &one, &[&two, &three], 300, STEADY));
    assert!(four.status().posts < 400, "its disk is full");
    before.check_unharmed();
    std::fs::remove_file(ballast).unwrap();
    drop(talk("there is room again", &one, &[&two, &three], 100, STEADY));
    check_equal(&[&one, &two, &three, &four], 500);
    before.check_unharmed();
}

const STEADY: Duration = Duration::from_millis(20);
/// What a healthy peer may take on beside the trouble of another one, caches that fill up included.
const GROWTH_BYTES_MAX: u64 = 128 << 20;
/// Posts that arrive while a watcher sleeps: more than all buffers on the way hold, and kept in memory, more than that.
const FLOOD: usize = 200_000;
