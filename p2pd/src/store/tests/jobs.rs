use p2p_mesh::effect::{Append, Delivery};
use p2p_mesh::envelope::{Post, VerifiedEnvelope};
use p2p_mesh::id::{Offset, PostId, Seq};
use p2p_mesh::input::{Input, KeyedPost, Ticket, content_hash};

use super::kit::*;
use crate::query::RoomSummary;
use crate::store::{Job, StoreEvent, file};

fn ten(author: &mut Author) -> Vec<VerifiedEnvelope> {
    (1..=10).map(|ms| author.chat(ms, "x")).collect()
}

fn offsets(entries: &[Delivery]) -> Vec<u64> {
    entries.iter().map(|entry| entry.offset.0).collect()
}

#[test]
fn appends_are_answered_in_order_and_a_read_sees_those_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said = ten(&mut author);
    for (ticket, envelope) in (1..).zip(&said) {
        let envelopes = vec![delivery(ticket, envelope)];
        store.send(Job::Append(Append { ticket: Ticket(ticket), generation: 0, flush: ticket % 3 == 0, envelopes }));
    }
    let page = store.log(0, 100, usize::MAX).unwrap();
    assert_eq!(page.entries.len(), 10);
    for ticket in 1..=10 {
        assert!(matches!(store.answer(), Input::Appended(done) if done == Ticket(ticket)));
    }
    assert_eq!(store.read(author.feed, 1, 10, usize::MAX), said);
    store.close();
}

#[test]
fn a_failed_append_stores_nothing_of_itself_and_fails_its_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let (mut author, mut other) = (Author::new(2, 1), Author::new(3, 1));
    let said = ten(&mut author);
    let spoken = ten(&mut other);
    let append = |ticket, generation, envelopes| {
        Job::Append(Append { ticket: Ticket(ticket), generation, flush: true, envelopes })
    };
    store.send(append(1, 1, vec![delivery(1, &said[0])]));
    // The second envelope is stored already, so the first one must go too, and its new feed with it.
    store.send(append(2, 1, vec![delivery(2, &spoken[0]), delivery(3, &said[0])]));
    store.send(append(3, 1, vec![delivery(4, &said[1])]));
    store.send(append(4, 0, vec![delivery(5, &said[1])]));
    store.send(append(5, 2, vec![delivery(6, &said[1])]));
    let mut answers: Vec<(u64, bool)> = (0..5)
        .map(|_| match store.answer() {
            Input::Appended(ticket) => (ticket.0, true),
            Input::AppendFailed { ticket, why } => {
                assert!(why.contains("are stored already"), "{why}");
                (ticket.0, false)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    answers.sort_unstable();
    assert_eq!(answers, [(1, true), (2, false), (3, false), (4, false), (5, true)]);
    assert_eq!(offsets(&store.log(0, 100, usize::MAX).unwrap().entries), [1, 6]);
    assert_eq!(store.read(other.feed, 1, 10, usize::MAX), []);
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.feeds.len(), 1);
    store.close();
}

#[test]
fn an_offset_is_never_given_twice() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said = [author.say(1, vec![Post::chat("general", "x"); 3]), author.chat(2, "y")];
    store.append_at(vec![delivery(5, &said[0])]).unwrap();
    for taken in [0, 1, 5, 7] {
        let why = store.append_at(vec![delivery(taken, &said[1])]).unwrap_err();
        assert_eq!(why, format!("offset {taken} is taken: the next one is 8"));
    }
    assert!(store.append_at(vec![delivery(u64::MAX, &said[1])]).is_err());
    store.append_at(vec![delivery(8, &said[1])]).unwrap();
    store.close();
}

#[test]
fn a_feed_is_read_from_the_envelope_that_contains_the_number_up_to_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    // Numbers 1-3, 4-6, 7-9, 10-12; the third one is missing.
    let said: Vec<_> = (1..=4).map(|ms| author.say(ms, vec![Post::chat("general", "x"); 3])).collect();
    store.append(&[said[3].clone(), said[0].clone(), said[1].clone()]);
    let feed = author.feed;
    let len = said[0].bytes().len();
    assert_eq!(store.read(feed, 1, 99, usize::MAX), said[..2]);
    assert_eq!(store.read(feed, 3, 4, usize::MAX), said[..2]);
    assert_eq!(store.read(feed, 3, 3, usize::MAX), said[..1]);
    assert_eq!(store.read(feed, 5, 99, usize::MAX), said[1..2]);
    assert_eq!(store.read(feed, 7, 99, usize::MAX), []);
    assert_eq!(store.read(feed, 11, u64::MAX, usize::MAX), said[3..]);
    assert_eq!(store.read(feed, 13, u64::MAX, usize::MAX), []);
    assert_eq!(store.read(feed, u64::MAX, u64::MAX, usize::MAX), []);
    assert_eq!(store.read(feed, 1, 99, 0), said[..1], "at least one");
    assert_eq!(store.read(feed, 1, 99, len + 1), said[..1], "no more than asked for");
    assert_eq!(store.read(feed, 1, 99, len + said[1].bytes().len()), said[..2]);
    assert_eq!(store.read(Author::new(9, 9).feed, 1, 99, usize::MAX), []);
    store.close();
}

#[test]
fn the_log_is_read_in_pages_that_say_when_they_are_the_last() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=4).map(|ms| author.say(ms, vec![Post::chat("general", "x"); 3])).collect();
    // Offsets 1-3, 4-6, then a jump: 10-12, 13-15.
    let mut flagged =
        vec![delivery(1, &said[0]), delivery(4, &said[1]), delivery(10, &said[2]), delivery(13, &said[3])];
    flagged[1].own = true;
    flagged[2].late = true;
    store.append_at(flagged).unwrap();
    let page = |after, posts, bytes| {
        let page = store.log(after, posts, bytes).unwrap();
        (offsets(&page.entries), page.end)
    };
    assert_eq!(page(0, 100, usize::MAX), (vec![1, 4, 10, 13], true));
    assert_eq!(page(0, 6, usize::MAX), (vec![1, 4], false));
    assert_eq!(page(0, 4, usize::MAX), (vec![1, 4], false));
    assert_eq!(page(0, 0, 0), (vec![1], false));
    assert_eq!(page(0, 100, said[0].bytes().len() + 1), (vec![1, 4], false));
    assert_eq!(page(2, 100, usize::MAX), (vec![1, 4, 10, 13], true));
    assert_eq!(page(3, 100, usize::MAX), (vec![4, 10, 13], true));
    assert_eq!(page(7, 3, usize::MAX), (vec![10], false));
    assert_eq!(page(14, 1, usize::MAX), (vec![13], true));
    assert_eq!(page(15, 1, usize::MAX), (vec![], true));
    assert_eq!(page(u64::MAX, 1, usize::MAX), (vec![], true));
    let all = store.log(0, 100, usize::MAX).unwrap().entries;
    let flags: Vec<_> = all.iter().map(|entry| (entry.own, entry.late)).collect();
    assert_eq!(flags, [(false, false), (true, false), (false, true), (false, false)]);
    assert!(all.iter().map(|entry| &entry.envelope).eq(&said), "bytes and signatures are those that came");
    store.close();
}

#[test]
fn a_key_is_found_with_the_own_post_that_used_it_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let keyed = |text: &str, key: &str| Post { key: Some(key.into()), ..Post::chat("general", text) };
    let (mut me, mut other) = (Author::new(1, 4), Author::new(2, 4));
    let mine = me.say(10, vec![Post::chat("general", "plain"), keyed("one", "k1"), keyed("two", "k2")]);
    let theirs = other.say(10, vec![keyed("three", "k3")]);
    let again = me.say(11, vec![keyed("other", "k1")]);
    let own = |offset, envelope| Delivery { own: true, ..delivery(offset, envelope) };
    store.append_at(vec![own(5, &mine), delivery(8, &theirs), own(9, &again)]).unwrap();
    let mut store = store.reopen(dir.path());
    let keys = ["k2", "k3", "none", "k1"].map(str::to_owned).to_vec();
    store.send(Job::FindKeys { ticket: Ticket(3), keys });
    let Input::KeysFound { ticket: Ticket(3), posts } = store.answer() else { panic!("no answer") };
    let found = |index: u64, text| KeyedPost {
        id: PostId { feed: me.feed, seq: Seq(1 + index) },
        offset: Offset(5 + index),
        at: mine.body().at.plus(index),
        content: content_hash("general", text, None),
    };
    assert_eq!(posts, [Some(found(2, "two")), None, None, Some(found(1, "one"))]);
    store.close();
}

#[test]
fn rooms_are_summed_up_newest_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let posts = |rooms: &[&str]| rooms.iter().map(|room| Post::chat(room, "x")).collect::<Vec<_>>();
    store.append(&[author.say(10, posts(&["a", "b", "a"])), author.say(20, posts(&["", "b"]))]);
    let mut store = store.reopen(dir.path());
    store.append(&[author.say(30, posts(&["a"])), Author::new(3, 1).say(5, posts(&["b", "c"]))]);
    let room = |name: &str, posts, newest_ms| RoomSummary { name: name.into(), with: None, posts, newest_ms };
    let rooms = store.ask(|reply| Job::Rooms { reply }).unwrap();
    assert_eq!(rooms, [room("a", 3, 30), room("b", 3, 20), room("c", 1, 5)]);
    store.close();
}

#[test]
fn bytes_are_those_of_all_bodies() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let said = ten(&mut Author::new(2, 1));
    store.append(&said);
    let bytes: usize = said.iter().map(|envelope| envelope.bytes().len()).sum();
    assert_eq!(store.ask(|reply| Job::Summary { reply }).bytes, bytes as u64);
    let store = store.reopen(dir.path());
    assert_eq!(store.ask(|reply| Job::Summary { reply }).bytes, bytes as u64);
    store.close();
}

#[test]
fn a_flipped_bit_is_found_and_never_served() {
    for change in [
        "body = CAST(replace(CAST(body AS TEXT), 'x', 'y') AS BLOB)",
        "body = substr(body, 1, length(body) - 1)",
        "signature = zeroblob(64)",
        "signature = x'00'",
        "checksum = checksum + 1",
        "first = 99",
        "count = 2",
        "feed = 7",
        "body = (SELECT body FROM envelopes WHERE offset = 1)",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path());
        let mut author = Author::new(2, 1);
        let said: Vec<_> = (1..=3).map(|ms| author.chat(ms, "x")).collect();
        store.append(&said);
        let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
        db.execute(&format!("UPDATE envelopes SET {change} WHERE offset = 2"), ()).unwrap();
        assert_eq!(store.read(author.feed, 1, 9, usize::MAX), said[..1], "{change}");
        let before = store.log(0, 100, usize::MAX).unwrap();
        assert_eq!((offsets(&before.entries), before.end), (vec![1], false), "what stands before it is given");
        let over = store.log(1, 100, usize::MAX).unwrap();
        let gap = over.gap.map(|gap| (gap.from, gap.to, gap.posts));
        assert_eq!((gap, over.entries.len(), over.end), (Some((Offset(2), Offset(2), Some(1))), 0, false), "{change}");
        let told = store.opened.events.blocking_recv();
        assert!(matches!(&told, Some(StoreEvent::Damaged(why)) if why.contains("offset 2")), "{change}: {told:?}");
        assert_eq!(offsets(&store.log(2, 100, usize::MAX).unwrap().entries), [3], "{change}");
        store.close();
    }
}
