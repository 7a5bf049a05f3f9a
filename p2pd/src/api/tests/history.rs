//! The history in pages.

use p2p_mesh::envelope::Post;
use p2p_proto::error::{Code, Error};
use p2p_proto::v1;
use rand::SeedableRng;
use rand::rngs::SmallRng;

use super::kit::{Daemon, PACE, World, id};

async fn history(daemon: &Daemon, request: v1::HistoryRequest) -> Result<v1::HistoryResponse, Error> {
    Ok(daemon.client().await.chat().history(request).await?.into_inner())
}

/// All pages put together, and how many there were.
async fn all(daemon: &Daemon, mut request: v1::HistoryRequest) -> (Vec<v1::Post>, usize) {
    let mut posts = Vec::new();
    for pages in 1.. {
        let answer = history(daemon, request.clone()).await.unwrap();
        assert!(!answer.posts.is_empty() || answer.next.is_empty());
        posts.splice(0..0, answer.posts);
        if answer.next.is_empty() {
            return (posts, pages);
        }
        request.page = answer.next;
    }
    unreachable!("the loop has no other end")
}

fn by_clock(mut posts: Vec<v1::Post>) -> Vec<v1::Post> {
    // Stamps of one envelope differ in their counter only, which the order of arrival keeps.
    posts.sort_by_key(|post| (post.time_us, post.offset));
    posts
}

#[tokio::test]
async fn pages_of_any_size_make_the_same_history() {
    let mut world = World::new();
    let mut random = SmallRng::seed_from_u64(5);
    for _ in 0..300 {
        world.random_entry(&mut random);
    }
    let daemon = Daemon::start_with(world, 16, PACE).await;
    let expected = by_clock(daemon.world.lock().posts(daemon.subscribers.names()));
    for limit in [7, 256, 257, 600, 10_000] {
        let request = v1::HistoryRequest { limit, ..v1::HistoryRequest::default() };
        let (posts, pages) = all(&daemon, request).await;
        assert_eq!(posts, expected, "limit {limit}");
        assert_eq!(pages, expected.len().div_ceil(limit as usize), "limit {limit}");
    }
    let newest = history(&daemon, v1::HistoryRequest::default()).await.unwrap();
    assert_eq!(newest.posts, expected[expected.len() - 50..]);
}

#[tokio::test]
async fn a_history_is_filtered_by_room_author_and_time() {
    let mut world = World::new();
    let mut random = SmallRng::seed_from_u64(6);
    for _ in 0..60 {
        world.random_entry(&mut random);
    }
    let daemon = Daemon::start_with(world, 16, PACE).await;
    let everything = by_clock(daemon.world.lock().posts(daemon.subscribers.names()));
    let (since_us, until_us) = (everything[20].time_us, everything[90].time_us);
    // A microsecond behind a whole millisecond leaves that millisecond out, at both ends.
    for (since, until) in [(since_us, until_us), (since_us + 1, until_us + 1)] {
        let request = v1::HistoryRequest {
            room: "rust".into(),
            authors: vec![id(2).to_string()],
            since_us: since,
            until_us: until,
            limit: 1_000,
            ..v1::HistoryRequest::default()
        };
        let got = history(&daemon, request).await.unwrap().posts;
        let wanted = everything.iter().filter(|post| {
            let in_time = post.time_us >= since && post.time_us < until;
            in_time && post.room == "rust" && post.id.as_ref().unwrap().author == id(2).to_string()
        });
        assert_eq!(got, wanted.cloned().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_answer_that_would_be_too_large_is_cut_and_says_so() {
    let mut world = World::new();
    for _ in 0..100 {
        world.append(2, vec![Post::chat("general", &"x".repeat(16_000)); 3]);
    }
    let daemon = Daemon::start_with(world, 16, PACE).await;
    let request = v1::HistoryRequest { limit: 10_000, ..v1::HistoryRequest::default() };
    let first = history(&daemon, request.clone()).await.unwrap();
    assert!(first.posts.len() < 300 && !first.next.is_empty());
    let (posts, _) = all(&daemon, request).await;
    assert_eq!(posts.len(), 300);
}

#[tokio::test]
async fn an_answer_says_where_to_go_on_and_how_much_is_gone() {
    let daemon = Daemon::start().await;
    for text in ["a", "b", "c"] {
        daemon.arrive(2, "general", &[text]);
    }
    let answer = history(&daemon, v1::HistoryRequest::default()).await.unwrap();
    assert_eq!((answer.posts.len(), answer.offset, answer.expired, answer.expired_newest_us), (3, 3, 0, 0));
    let second_us = answer.posts[1].time_us;
    daemon.world.lock().expire(2);
    let answer = history(&daemon, v1::HistoryRequest::default()).await.unwrap();
    assert_eq!((answer.posts.len(), answer.offset, answer.expired), (1, 3, 2));
    assert_eq!(answer.expired_newest_us, second_us);
    let status = daemon.client().await.mesh().status(v1::StatusRequest {}).await.unwrap().into_inner();
    assert_eq!((status.expired_posts, status.bytes), (2, 77));
}

#[tokio::test]
async fn questions_that_make_no_sense_are_refused() {
    let daemon = Daemon::start().await;
    let odd = v1::HistoryRequest::default();
    for (request, why) in [
        (v1::HistoryRequest { page: "%%".into(), ..odd.clone() }, "the page is not one that was given out"),
        (v1::HistoryRequest { limit: 10_001, ..odd.clone() }, "10001 posts were asked for, the limit is 10000"),
        (v1::HistoryRequest { until_us: -1, ..odd.clone() }, "until -1 µs is before 1970"),
        (v1::HistoryRequest { authors: vec!["x".into()], ..odd }, "\"x\" is no peer id"),
    ] {
        let error = history(&daemon, request).await.unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert!(error.message.starts_with(why), "{}", error.message);
    }
}

#[tokio::test]
async fn rooms_are_summed_up() {
    let daemon = Daemon::start().await;
    daemon.arrive(2, "tea", &["a", "b"]);
    daemon.arrive(3, "rust", &["c"]);
    let rooms = daemon.client().await.chat().rooms(v1::RoomsRequest {}).await.unwrap().into_inner().rooms;
    let rooms: Vec<_> = rooms.iter().map(|room| (room.name.as_str(), room.posts, room.newest_us)).collect();
    assert_eq!(rooms, [("rust", 1, (1_000_020 - 111) * 1_000), ("tea", 2, (1_000_010 - 74) * 1_000)]);
}
