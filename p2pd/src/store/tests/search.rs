//! Looking for words, against a model that looks at everything.

use p2p_mesh::envelope::Post;
use proptest::prelude::*;

use super::kit::*;
use crate::query::{SearchQuery, StoredPost};
use crate::store::{Job, file};

fn query(words: &[&str], room: Option<&str>, limit: usize) -> SearchQuery {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    SearchQuery { words, room: room.map(str::to_owned), before: None, limit }
}

/// All pages put together, and how many looks that took.
fn all(store: &Store, mut query: SearchQuery) -> (Vec<StoredPost>, usize) {
    let mut found = Vec::new();
    for looks in 1.. {
        let look = query.clone();
        let page = store.ask(|reply| Job::Search { query: look, reply }).unwrap();
        assert!(page.posts.len() <= query.limit);
        found.extend(page.posts);
        query.before = page.next;
        if page.next.is_none() {
            return (found, looks);
        }
    }
    unreachable!("the loop has no other end")
}

fn texts(posts: &[StoredPost]) -> Vec<&str> {
    posts.iter().map(|post| &*post.post.text).collect()
}

#[test]
fn all_words_must_be_there_in_any_order_and_case() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    for (ms, text) in (1..).zip(["Grüße aus KÖLN", "Tea in Köln?", "tea", "ΣΊΣΥΦΟΣ", "no match"]) {
        store.append(&[author.chat(ms, text)]);
    }
    let find = |words: &[&str]| {
        let found = all(&store, query(words, None, 10)).0;
        texts(&found).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(find(&["köln"]), ["Tea in Köln?", "Grüße aus KÖLN"]);
    assert_eq!(find(&["köln", "tea"]), ["Tea in Köln?"]);
    assert_eq!(find(&["tea", "köln"]), ["Tea in Köln?"]);
    assert_eq!(find(&["σίσυ"]), ["ΣΊΣΥΦΟΣ"]);
    assert_eq!(find(&["coffee"]), Vec::<String>::new());
    store.close();
}

#[test]
fn a_look_ends_behind_2000_envelopes_or_a_megabyte_and_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=2_001).map(|ms| author.chat(ms, if ms == 1 { "needle" } else { "hay" })).collect();
    store.append(&said);
    let (found, looks) = all(&store, query(&["needle"], None, 5));
    assert_eq!((texts(&found), looks), (vec!["needle"], 2));
    let (found, looks) = all(&store, query(&["needle"], Some("general"), 5));
    assert_eq!((texts(&found), looks), (vec!["needle"], 2));
    let long: Vec<_> =
        (0..64).map(|_| author.say(3_000, vec![Post::chat("general", &"y".repeat(16_000)); 3])).collect();
    store.append(&long);
    let (found, looks) = all(&store, query(&["needle"], None, 5));
    assert_eq!((texts(&found), looks), (vec!["needle"], 4), "3 MiB take two looks more");
    assert_eq!(all(&store, query(&["needle"], Some("nowhere"), 5)).1, 1);
    store.close();
}

#[test]
fn an_envelope_that_is_damaged_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    store.append(&(1..=3).map(|ms| author.chat(ms, "word")).collect::<Vec<_>>());
    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute("UPDATE envelopes SET checksum = checksum + 1 WHERE offset = 2", ()).unwrap();
    let (found, _) = all(&store, query(&["word"], None, 9));
    assert_eq!(found.iter().map(|post| post.offset.0).collect::<Vec<_>>(), [3, 1]);
    store.close();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn pages_of_any_size_find_every_match_once_newest_first(
        said in prop::collection::vec((1u8..4, 0u64..6, prop::collection::vec((0u8..3, "[ab]{1,2}( [ab])?"), 1..5)), 0..40),
        word in "[ab]{1,2}",
        room in prop::option::of(0u8..3),
        limit in 1usize..6,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        let mut authors: Vec<Author> = (0..4).map(|seed| Author::new(seed.max(1), 1)).collect();
        let name = |room: u8| ["x", "y", "z"][usize::from(room)];
        let mut expected = Vec::new();
        let mut offset = 1;
        for (author, ms, posts) in said {
            let posts: Vec<Post> = posts.iter().map(|(room, text)| Post::chat(name(*room), text)).collect();
            let envelope = authors[usize::from(author)].say(ms, posts);
            for (index, post) in (0..).zip(&envelope.body().posts) {
                if post.text.contains(&word) && room.is_none_or(|room| *name(room) == *post.room) {
                    expected.push((envelope.body().at.ms, offset + index));
                }
            }
            store.append(std::slice::from_ref(&envelope));
            offset += envelope.body().posts.len() as u64;
        }
        let (found, _) = all(&store, query(&[&word], room.map(name), limit));
        let found: Vec<_> = found.iter().map(|post| (post.at.ms, post.offset.0)).collect();
        prop_assert!(found.is_sorted_by(|newer, older| newer.0 >= older.0));
        let mut sorted = found.clone();
        sorted.sort_unstable();
        expected.sort_unstable();
        prop_assert_eq!(sorted, expected);
        store.close();
    }
}

#[test]
fn what_is_sealed_is_not_searched_and_is_listed_by_its_other_end_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let posts = vec![Post::direct(identity(1), "tea"), Post::direct(identity(3), "tea"), Post::chat("@", "tea")];
    store.append(&[author.say(1, posts)]);
    let found = all(&store, query(&["tea"], None, 9)).0;
    assert_eq!(found.iter().map(|post| &*post.post.room).collect::<Vec<_>>(), ["@"]);
    assert_eq!(all(&store, query(&["tea"], Some("@"), 9)).0.len(), 1);
    let rooms = store.ask(|reply| Job::Rooms { reply }).unwrap();
    let told = rooms.iter().map(|room| (room.name.as_str(), room.with, room.posts)).collect::<Vec<_>>();
    assert_eq!(told, [("@", None, 1), ("", Some(identity(2)), 1)], "what two others say to each other is not listed");
    store.close();
}
