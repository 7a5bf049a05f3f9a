//! Every question about the history against a model that sorts everything.

use std::collections::BTreeSet;

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::Post;
use p2p_mesh::id::{Offset, PeerId, PostId};
use proptest::prelude::*;

use super::kit::*;
use crate::query::{Authors, HistoryQuery, Place, StoredPost};
use crate::store::Job;

/// One envelope: who, when, in which rooms or to whom. Few of each, so that they meet.
type Said = (u8, u64, Vec<u8>, bool, bool);
/// One question: room or other end, authors, since, until, the place of which post, limit.
type Asked = ((Option<u8>, Option<u8>), BTreeSet<u8>, Option<u64>, Option<u64>, Option<prop::sample::Index>, usize);

fn room(number: u8) -> String {
    ["", "a", "b", "c"][usize::from(number)].to_owned()
}

fn said() -> impl Strategy<Value = Vec<Said>> {
    let rooms = prop::collection::vec(0u8..7, 1..5);
    prop::collection::vec((0u8..4, 0u64..12, rooms, any::<bool>(), any::<bool>()), 0..40)
}

fn asked() -> impl Strategy<Value = Vec<Asked>> {
    let authors = prop::collection::btree_set(0u8..5, 0..3);
    let ms = || prop::option::of(0u64..14);
    let before = prop::option::of(any::<prop::sample::Index>());
    let places = (prop::option::of(0u8..4), prop::option::weighted(0.2, 1u8..4));
    prop::collection::vec((places, authors, ms(), ms(), before, 0usize..12), 12)
}

/// Authors 0 and 1 are two runs of one peer; 4 never says anything.
fn author_id(number: u8) -> PeerId {
    identity(number.max(1))
}

fn deliveries(said: Vec<Said>) -> Vec<Delivery> {
    let mut authors: Vec<Author> = (0..4).map(|number| Author::new(number.max(1), 1 + u64::from(number))).collect();
    let mut offset = 1;
    said.into_iter()
        .enumerate()
        .map(|(index, (author, ms, rooms, own, late))| {
            let post = |number: u8| match number {
                0..3 => Post::chat(&room(number), &format!("text {index}")),
                _ => Post::direct(author_id(number - 3), &format!("sealed {index}")),
            };
            let envelope = authors[usize::from(author)].say(ms, rooms.into_iter().map(post).collect());
            let delivery = Delivery { own, late, ..delivery(offset, &envelope) };
            offset = offset + envelope.body().posts.len() as u64 + ms % 2;
            delivery
        })
        .collect()
}

fn posts(delivery: &Delivery) -> impl Iterator<Item = (Place, StoredPost)> {
    let body = delivery.envelope.body();
    (0..).zip(&body.posts).map(move |(index, post)| {
        let (seq, at) = (body.first.plus(index), body.at.plus(index));
        let id = PostId { feed: body.feed, seq };
        let offset = Offset(delivery.offset.0 + index);
        let Delivery { own, late, forked, .. } = *delivery;
        let stored = StoredPost { id, offset, at, post: post.clone(), own, late, forked };
        (Place { at, feed: body.feed, seq }, stored)
    })
}

/// What others say to each other alone is not.
fn is_shown(place: &Place, post: &StoredPost) -> bool {
    let me = identity(1);
    post.post.direct.as_ref().is_none_or(|letter| letter.to == me || place.feed.id == me)
}

fn is_on_shelf(room: Option<&String>, with: Option<&PeerId>, place: &Place, post: &StoredPost) -> bool {
    match (with, room, &post.post.direct) {
        (Some(with), _, Some(letter)) => {
            let other = if place.feed.id == identity(1) { letter.to } else { place.feed.id };
            other == *with
        }
        (Some(_), _, None) | (None, Some(_), Some(_)) => false,
        (None, Some(room), None) => !room.is_empty() && **room == *post.post.room,
        (None, None, _) => true,
    }
}

fn matches(query: &HistoryQuery, place: &Place, post: &StoredPost) -> bool {
    is_shown(place, post)
        && is_on_shelf(query.room.as_ref(), query.with.as_ref(), place, post)
        && (query.authors.is_empty() || query.authors.contains(&place.feed.id))
        && query.since_ms.is_none_or(|ms| place.at.ms >= ms)
        && query.until_ms.is_none_or(|ms| place.at.ms < ms)
        && query.before.is_none_or(|before| *place < before)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn history_is_what_a_sorted_list_of_all_posts_would_give(said in said(), asked in asked()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        let deliveries = deliveries(said);
        let mut all: Vec<(Place, StoredPost)> = deliveries.iter().flat_map(posts).collect();
        all.sort_by_key(|(place, _)| *place);
        store.append_at(deliveries).unwrap();
        for ((room_number, with), authors, since_ms, until_ms, before, limit) in asked {
            let before = before.filter(|_| !all.is_empty()).map(|index| index.get(&all).0);
            let authors = authors.into_iter().map(author_id).collect();
            let (room, with) = (room_number.map(room), with.map(author_id));
            let query = HistoryQuery { room, with, authors, since_ms, until_ms, before, limit };
            let mut expected: Vec<_> = all.iter().filter(|(place, post)| matches(&query, place, post)).collect();
            expected.drain(..expected.len().saturating_sub(limit));
            let expected: Vec<String> = expected.iter().map(|(_, post)| format!("{post:?}")).collect();
            let found = store.ask(|reply| Job::History { query: query.clone(), reply }).unwrap();
            let found: Vec<String> = found.iter().map(|post| format!("{post:?}")).collect();
            prop_assert_eq!(found, expected, "{:?}", query);
        }
        store.close();
    }

    #[test]
    fn the_last_posts_stand_behind_the_offset_that_is_found(said in said(), asked in asked()) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        let deliveries = deliveries(said);
        let all: Vec<(Place, StoredPost)> = deliveries.iter().flat_map(posts).collect();
        let end = deliveries.last().map_or(0, |last| last.offset.0 + last.envelope.body().posts.len() as u64 - 1);
        store.append_at(deliveries).unwrap();
        for ((one_room, with), authors, _, _, _, wanted) in asked {
            let one_room = if with.is_some() { None } else { one_room };
            let with = with.map(author_id);
            let rooms: Vec<String> = one_room.into_iter().flat_map(|number| [room(1), room(number.max(1))]).collect();
            let named: Vec<PeerId> = authors.into_iter().map(author_id).collect();
            let authors = if wanted % 2 == 0 { Authors::AllBut(named) } else { Authors::Only(named) };
            let is_match = |place: &Place, post: &StoredPost| {
                let is_there = |room: Option<&String>| is_on_shelf(room, with.as_ref(), place, post);
                is_shown(place, post)
                    && if rooms.is_empty() { is_there(None) } else { rooms.iter().any(|room| is_there(Some(room))) }
                    && authors.takes(&place.feed.id)
            };
            let matching: Vec<u64> =
                all.iter().filter(|(place, post)| is_match(place, post)).map(|(_, post)| post.offset.0).collect();
            let last = &matching[matching.len().saturating_sub(wanted)..];
            let expected = last.first().map_or(end, |first| first - 1);
            let (asked_rooms, asked_authors) = (rooms.clone(), authors.clone());
            let job = |reply| Job::FindLast { rooms: asked_rooms, with, authors: asked_authors, posts: wanted, reply };
            prop_assert_eq!(store.ask(job).unwrap(), Offset(expected), "{:?} {:?} {:?} {}", rooms, with, authors, wanted);
        }
        store.close();
    }
}

#[test]
fn history_pages_meet_without_a_gap_or_a_repetition() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut authors = [Author::new(2, 1), Author::new(3, 1)];
    // All in one millisecond, so only the rest of the place orders them.
    let envelopes: Vec<_> = (0..20).map(|n| authors[n % 2].say(5, vec![Post::chat("a", &format!("{n}")); 2])).collect();
    store.append(&envelopes);
    let (mut before, mut seen) = (None, Vec::new());
    loop {
        let query = HistoryQuery { room: Some("a".into()), before, limit: 3, ..HistoryQuery::default() };
        let page = store.ask(|reply| Job::History { query, reply }).unwrap();
        let Some(first) = page.first() else { break };
        before = Some(Place { at: first.at, feed: first.id.feed, seq: first.id.seq });
        seen.extend(page.iter().rev().map(|post| Place { at: post.at, feed: post.id.feed, seq: post.id.seq }));
    }
    assert_eq!(seen.len(), 40);
    assert!(seen.is_sorted_by(|later, earlier| earlier < later));
    store.close();
}

#[test]
fn the_feeds_of_a_room_are_found_once_each_and_from_a_place_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let (mut one, mut two) = (Author::new(2, 1), Author::new(3, 1));
    let look = |store: &Store, room: &str, after| {
        let room = room.to_owned();
        store.ask(|reply| Job::RoomFeeds { room, after, reply }).unwrap()
    };
    let said = |room: &str| vec![Post::chat(room, "x"), Post::chat("b", "y")];
    store.append(&[one.say(1, said("a")), one.say(2, said("a")), two.say(3, said("c"))]);
    let first = look(&store, "a", Offset(0));
    assert_eq!((first.feeds, first.end), (vec![one.feed], Offset(6)));
    assert_eq!(look(&store, "b", Offset(0)).feeds, [one.feed, two.feed]);
    assert!(look(&store, "nobody", Offset(0)).feeds.is_empty());
    store.append(&[two.say(4, said("a"))]);
    let second = look(&store, "a", first.end);
    assert_eq!((second.feeds, second.end), (vec![two.feed], Offset(8)));
    store.close();
}
