//! Watching while others write.

use p2p_mesh::envelope::Post;
use p2p_mesh::id::Offset;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use p2p_proto::v1::watch_request::Start;
use p2p_proto::v1::watch_response::Item;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tonic::Streaming;

use super::kit::{Daemon, OWN, PACE, World, guarded, id};
use crate::api::Batch;
use crate::api::serve::Pace;

async fn watch(daemon: &Daemon, request: v1::WatchRequest) -> Result<Streaming<v1::WatchResponse>, Error> {
    Ok(daemon.client().await.chat().watch(request).await?.into_inner())
}

fn from(start: Start) -> v1::WatchRequest {
    v1::WatchRequest { start: Some(start), ..v1::WatchRequest::default() }
}

async fn next(stream: &mut Streaming<v1::WatchResponse>) -> v1::WatchResponse {
    guarded(stream.message()).await.unwrap().expect("a watch does not end by itself")
}

/// What one reader got, checked as it comes.
#[derive(Default)]
struct Reader {
    posts: Vec<v1::Post>,
    offset: u64,
    caught_up_after: Option<usize>,
}

impl Reader {
    fn take(&mut self, response: v1::WatchResponse) {
        match response.item.unwrap() {
            Item::Batch(batch) => {
                assert!(batch.posts.len() <= 1_024 && !batch.posts.is_empty());
                for post in batch.posts {
                    assert!(post.offset > self.offset, "a reader that resumed before this item would miss or repeat");
                    assert!(post.offset <= response.offset);
                    self.posts.push(post);
                }
            }
            Item::CaughtUp(_) => {
                assert_eq!(self.caught_up_after, None, "told once");
                self.caught_up_after = Some(self.posts.len());
            }
            Item::Heartbeat(_) => (),
            Item::Gap(gap) => panic!("nothing is missing here: {gap:?}"),
        }
        assert!(response.offset >= self.offset);
        self.offset = response.offset;
    }

    /// Until a post with the text of `bell` arrives.
    async fn read_to_bell(&mut self, stream: &mut Streaming<v1::WatchResponse>) {
        while self.posts.last().is_none_or(|post| post.text != BELL) {
            self.take(next(stream).await);
        }
    }
}

const BELL: &str = "bell";

fn random_request(random: &mut SmallRng, world: &World) -> v1::WatchRequest {
    let mut request = v1::WatchRequest::default();
    if random.random_bool(0.4) {
        request.rooms = vec!["general".into(), "rust".into()];
    }
    if random.random_bool(0.3) {
        request.authors = vec![id(2).to_string(), id(3).to_string()];
    }
    request.no_own = random.random_bool(0.3);
    let first_us = 1_000_000_000;
    request.start = Some(match random.random_range(0..4) {
        0 => Start::Live(true),
        1 => Start::After(random.random_range(0..=world.end().0)),
        2 => Start::Last(random.random_range(0..30)),
        _ => Start::SinceUs(first_us + random.random_range(0..400_000)),
    });
    request
}

/// What the model says that a reader must get, from what the driver answered when the stream began.
fn expected(request: &v1::WatchRequest, daemon: &Daemon) -> (Vec<v1::Post>, usize) {
    let world = daemon.world.lock();
    let target = world.status_offsets[0].0;
    let (after, since_us) = match request.start.unwrap() {
        Start::Live(_) | Start::Last(0) => (target, i64::MIN),
        Start::After(after) => (after, i64::MIN),
        Start::Last(_) => (world.starts[0].0, i64::MIN),
        Start::SinceUs(us) => (0, us),
    };
    let mut posts = world.posts(daemon.subscribers.names());
    posts.retain(|post| {
        let author = &post.id.as_ref().unwrap().author;
        post.offset > after
            && (post.offset > target || post.time_us >= since_us)
            && (request.rooms.is_empty() || request.rooms.contains(&post.room))
            && (request.authors.is_empty() || request.authors.contains(author))
            && !(request.no_own && post.own)
    });
    let old = posts.iter().filter(|post| post.offset <= target).count();
    (posts, old)
}

async fn watch_while_others_write(seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut world = World::chaotic(seed, random.random_range(0..60));
    for _ in 0..random.random_range(0..40) {
        world.random_entry(&mut random);
    }
    let request = random_request(&mut random, &world);
    let daemon = Daemon::start_with(world, random.random_range(1..5), PACE).await;
    let mut stream = watch(&daemon, request.clone()).await.unwrap();
    let mut reader = Reader::default();
    let write = async {
        for _ in 0..random.random_range(0..30) {
            // A burst without a pause is more than the buffer holds, so the reader falls back to the log.
            for _ in 0..random.random_range(1..12) {
                let entries = (0..random.random_range(1..4)).map(|_| daemon.world.lock().random_entry(&mut random));
                let entries = entries.collect();
                daemon.subscribers.publish(Batch { entries });
            }
            for _ in 0..random.random_range(0..20) {
                tokio::task::yield_now().await;
            }
        }
        // Everybody hears this one.
        daemon.arrive(2, "general", &[BELL]);
    };
    let ((), ()) = tokio::join!(write, reader.read_to_bell(&mut stream));
    let (posts, old) = expected(&request, &daemon);
    // The driver's chaos may bring more behind the bell; whatever comes there belongs to the next read.
    let got = reader.posts.len();
    assert!(got <= posts.len(), "seed={seed} {request:?}: more than there is");
    assert_eq!(reader.posts, posts[..got], "seed={seed} {request:?}");
    assert_eq!(reader.posts.last().unwrap().text, BELL, "seed={seed}");
    let caught_up_after = reader.caught_up_after.expect("told before what is live ends");
    assert!(caught_up_after >= old, "seed={seed} {request:?}: told too early");
}

#[tokio::test]
async fn a_watch_sees_everything_once_and_in_order_whatever_happens_meanwhile() {
    for seed in 0..60 {
        watch_while_others_write(seed).await;
    }
}

#[tokio::test]
async fn g_16_a_reader_that_resumes_inside_an_envelope_gets_the_rest_of_it() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["a", "b", "c", "d"]);
    let mut stream = watch(&daemon, from(Start::After(2))).await.unwrap();
    let mut reader = Reader::default();
    reader.take(next(&mut stream).await);
    reader.take(next(&mut stream).await);
    assert_eq!(reader.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["c", "d"]);
    assert_eq!((reader.caught_up_after, reader.offset), (Some(2), 4));
}

#[tokio::test]
async fn a_live_watch_begins_caught_up_and_shows_names() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["before"]);
    daemon.subscribers.names().set(id(2), "alice");
    let mut stream = watch(&daemon, v1::WatchRequest::default()).await.unwrap();
    let begin = next(&mut stream).await;
    assert_eq!((begin.offset, begin.item), (1, Some(Item::CaughtUp(true))));
    daemon.arrive(2, "general", &["after"]);
    let Some(Item::Batch(batch)) = next(&mut stream).await.item else { panic!("a batch was due") };
    assert_eq!(batch.posts.len(), 1);
    let post = &batch.posts[0];
    assert_eq!((post.text.as_str(), post.author_name.as_str(), post.offset, post.own), ("after", "alice", 2, false));
    assert_eq!((post.kind.as_str(), post.unsupported), ("chat", false));
}

#[tokio::test]
async fn d_03_whoever_reads_to_an_end_that_the_disk_lost_is_told_that_he_has_it_all() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["a", "b"]);
    daemon.world.lock().lost_at_end = 3;
    let mut stream = watch(&daemon, from(Start::After(0))).await.unwrap();
    let mut reader = Reader::default();
    reader.take(next(&mut stream).await);
    reader.take(next(&mut stream).await);
    assert_eq!((reader.caught_up_after, reader.offset), (Some(2), 2));
}

#[tokio::test]
async fn kinds_of_other_versions_are_shown_as_unsupported() {
    let daemon = Daemon::start().await;
    let poll = Post { kind: "poll".into(), ..Post::chat("general", "") };
    daemon.world.lock().append(2, vec![poll]);
    let mut stream = watch(&daemon, from(Start::After(0))).await.unwrap();
    let Some(Item::Batch(batch)) = next(&mut stream).await.item else { panic!("a batch was due") };
    assert_eq!((batch.posts[0].kind.as_str(), batch.posts[0].unsupported), ("poll", true));
}

#[tokio::test]
async fn a_heartbeat_tells_how_far_we_are_although_nothing_matches() {
    let pace = Pace { heartbeat: Duration::from_millis(5), ..PACE };
    let daemon = Daemon::start_with(World::new(), 4, pace).await;
    let request = v1::WatchRequest { rooms: vec!["quiet".into()], ..v1::WatchRequest::default() };
    let mut stream = watch(&daemon, request).await.unwrap();
    daemon.arrive(2, "general", &["a", "b", "c"]);
    let mut response = next(&mut stream).await;
    while response.offset < 3 {
        response = next(&mut stream).await;
    }
    assert_eq!(response.item, Some(Item::Heartbeat(true)));
}

#[tokio::test]
async fn a_reader_that_stops_reading_costs_a_few_pages_and_misses_nothing() {
    let daemon = Daemon::start().await;
    let long = "x".repeat(16_000);
    let texts = [long.as_str(); 3];
    for _ in 0..400 {
        daemon.arrive(2, "general", &texts);
    }
    let mut stream = watch(&daemon, from(Start::After(0))).await.unwrap();
    // Others are served while this reader does nothing; each call lets the server go as far as it will.
    let mut chat = daemon.client().await.chat();
    for _ in 0..200 {
        chat.rooms(v1::RoomsRequest {}).await.unwrap();
    }
    let reads = daemon.world.lock().log_reads;
    assert!(reads <= 16, "19 MiB wait, and {reads} pages of 256 KiB were read for a reader that takes 1 MiB");
    daemon.arrive(2, "general", &[BELL]);
    let mut reader = Reader::default();
    reader.read_to_bell(&mut stream).await;
    assert_eq!(reader.posts.len(), 1_201);
}

#[tokio::test]
async fn places_that_are_none_are_refused_with_their_numbers() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "general", &["a"]);
    let error = watch(&daemon, from(Start::After(2))).await.unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(error.message, "place 2 is behind the last one, 1: it belongs to another history");
    let error = watch(&daemon, from(Start::Last(10_001))).await.unwrap_err();
    assert_eq!(error.message, "the last 10001 were asked for, the limit is 10000");
    let request = v1::WatchRequest { authors: vec!["alice".into()], ..v1::WatchRequest::default() };
    let error = watch(&daemon, request).await.unwrap_err();
    assert_eq!(error.message, "\"alice\" is no peer id: 5 characters where 52 are needed");
}

/// The gaps and texts that come until the reader is caught up.
async fn read_all(stream: &mut Streaming<v1::WatchResponse>) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        let response = next(stream).await;
        match response.item.unwrap() {
            Item::Batch(batch) => read.extend(batch.posts.into_iter().map(|post| post.text)),
            Item::Gap(gap) => {
                assert_eq!(response.offset, gap.to, "who resumes there is not told again");
                read.push(format!("gap {}-{} {}", gap.from, gap.to, gap.posts));
            }
            Item::CaughtUp(_) => return read,
            Item::Heartbeat(_) => (),
        }
    }
}

#[tokio::test]
async fn d_15_a_reader_that_begins_below_what_is_held_is_told_how_much_is_gone() {
    let daemon = Daemon::start().await;
    for texts in [&["a", "b"][..], &["c", "d", "e"], &["f"], &["g"]] {
        daemon.arrive(2, "general", texts);
    }
    daemon.world.lock().expire(3);
    for (after, expected) in [(0, &["gap 1-6 6", "g"][..]), (4, &["gap 5-6 2", "g"]), (6, &["g"]), (7, &[])] {
        let mut stream = watch(&daemon, from(Start::After(after))).await.unwrap();
        assert_eq!(read_all(&mut stream).await, expected, "after {after}");
    }
    daemon.world.lock().expire(1);
    let mut stream = watch(&daemon, from(Start::After(0))).await.unwrap();
    assert_eq!(read_all(&mut stream).await, ["gap 1-7 7"], "also where nothing is left");
    daemon.arrive(2, "general", &["h"]);
    let Some(Item::Batch(batch)) = next(&mut stream).await.item else { panic!("a batch was due") };
    assert_eq!(batch.posts[0].offset, 8);
}

#[tokio::test]
async fn d_15_a_reader_by_time_is_told_of_a_gap_only_where_it_reaches_into_it() {
    let daemon = Daemon::start().await;
    for text in ["a", "b", "c", "d"] {
        daemon.arrive(2, "general", &[text]);
    }
    daemon.world.lock().expire(2);
    let first_us = (1_000_010 - 74) * 1_000;
    for (since_us, expected) in [
        (first_us, &["gap 1-2 2", "c", "d"][..]),
        (first_us + 1, &["gap 1-2 0", "c", "d"]),
        (first_us + 10_001, &["c", "d"]),
        (first_us + 30_000, &["d"]),
    ] {
        let mut stream = watch(&daemon, from(Start::SinceUs(since_us))).await.unwrap();
        assert_eq!(read_all(&mut stream).await, expected, "since {since_us}");
    }
}

#[tokio::test]
async fn d_15_a_slow_reader_is_told_what_was_dropped_before_it_came_there() {
    let daemon = Daemon::start_with(World::new(), 1, PACE).await;
    let mut stream = watch(&daemon, v1::WatchRequest::default()).await.unwrap();
    assert_eq!(next(&mut stream).await.item, Some(Item::CaughtUp(true)));
    let long = "x".repeat(16_000);
    // More than its window takes, so it has to come back to the log; there the beginning is gone meanwhile.
    for _ in 0..400 {
        daemon.arrive(2, "general", &[&long, &long, &long]);
    }
    daemon.world.lock().expire(399);
    daemon.arrive(2, "general", &[BELL]);
    let (mut told, mut seen, mut is_over) = (0, 0, false);
    while !is_over {
        match next(&mut stream).await.item.unwrap() {
            Item::Batch(batch) => {
                seen += batch.posts.len() as u64;
                is_over = batch.posts.last().is_some_and(|post| post.text == BELL);
            }
            Item::Gap(gap) => told += gap.posts,
            Item::CaughtUp(_) | Item::Heartbeat(_) => (),
        }
    }
    assert!(told > 0, "the reader was fast enough, so nothing was shown");
    assert_eq!(seen + told, 1_201, "each post was shown or told as gone");
}

#[tokio::test]
async fn our_own_posts_can_be_left_out() {
    let daemon = Daemon::start().await;
    daemon.arrive(OWN, "general", &["mine"]);
    daemon.arrive(2, "general", &["theirs"]);
    let request = v1::WatchRequest { no_own: true, ..from(Start::After(0)) };
    let mut stream = watch(&daemon, request).await.unwrap();
    let Some(Item::Batch(batch)) = next(&mut stream).await.item else { panic!("a batch was due") };
    assert_eq!(batch.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["theirs"]);
    assert_eq!(daemon.world.lock().end(), Offset(2));
}
