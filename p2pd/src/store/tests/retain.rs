//! Retention: what goes, what stays, and what is remembered of it.

use std::collections::{BTreeMap, BTreeSet};

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{Post, VerifiedEnvelope};
use p2p_mesh::feed::Runs;
use p2p_mesh::id::{FeedId, Offset, Seq};
use p2p_mesh::input::{Input, Ticket};
use proptest::prelude::*;

use super::kit::*;
use super::recount::{adds_up, pages};
use crate::query::StoreSummary;
use crate::store::{Job, Limits, file};

const NOTHING: Limits = Limits { before_ms: Some(u64::MAX), bytes_max: None };

fn before(ms: u64) -> Limits {
    Limits { before_ms: Some(ms), bytes_max: None }
}

fn below(bytes: u64) -> Limits {
    Limits { before_ms: None, bytes_max: Some(bytes) }
}

fn summary(store: &Store) -> StoreSummary {
    store.ask(|reply| Job::Summary { reply })
}

fn offsets(entries: &[Delivery]) -> Vec<u64> {
    entries.iter().map(|entry| entry.offset.0).collect()
}

fn chats(author: &mut Author, range: std::ops::RangeInclusive<u64>) -> Vec<VerifiedEnvelope> {
    range.map(|ms| author.chat(ms, "x")).collect()
}

#[test]
fn d_15_what_is_too_old_goes_and_a_reader_is_told_how_much() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(2, 1));
    store.append(&chats(&mut alice, 1..=5));
    store.append(&[bob.say(3, vec![Post::chat("tea", "x"); 4])]);
    store.append(&chats(&mut alice, 6..=10));
    let (posts, bases) = store.retain(before(8));
    assert_eq!((posts, &bases), (7, &[(alice.feed.feed_id(), Seq(8))].into()));
    for (after, from, count) in [(0, 1, Some(5)), (3, 4, Some(2))] {
        let (gaps, entries) = store.walk(after, 100);
        let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from.0, gap.to.0, gap.posts)).collect();
        assert_eq!(gaps, [(from, 5, count), (10, 11, Some(2))], "bob's newest stays, however old it is");
        assert_eq!(offsets(&entries), [6, 12, 13, 14]);
    }
    assert_eq!(store.log(5, 100, usize::MAX).unwrap().gap, None, "who is behind it hears nothing of it");
    let held = store.read(alice.feed, 1, 99, usize::MAX);
    assert!(held.is_empty(), "what is dropped is not held");
    assert_eq!(store.read(alice.feed, 8, 99, usize::MAX).len(), 3);
    assert_eq!(store.retain(before(8)), (0, BTreeMap::new()), "it is done once");
    assert_eq!(summary(&store).expired_posts, 7);
    let store = store.reopen(dir.path());
    assert_eq!(summary(&store).expired_posts, 7);
    assert_eq!(summary(&store).expired_newest_ms, 7);
    assert_eq!(store.walk(0, 1).0.len(), 2);
    store.close();
    adds_up(dir.path());
}

#[test]
fn the_newest_envelope_of_a_feed_stays_and_the_feed_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    store.append(&chats(&mut author, 1..=9));
    assert_eq!(store.retain(NOTHING).0, 8);
    store.append(&chats(&mut author, 10..=11));
    let store = store.reopen(dir.path());
    let [feed] = &store.opened.feeds[..] else { panic!("one feed") };
    assert_eq!(feed.runs.held().runs().collect::<Vec<_>>(), [(Seq(9), Seq(11))]);
    assert_eq!((feed.base, feed.runs.head()), (Seq(9), Seq(11)));
    assert_eq!(store.opened.next_offset, Offset(12));
    store.close();
}

#[test]
fn no_offset_is_given_twice_also_where_the_last_post_was_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said = chats(&mut author, 1..=3);
    // What is old arrives last.
    store.append(&[said[2].clone(), said[1].clone(), said[0].clone()]);
    assert_eq!(store.retain(NOTHING).0, 2);
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.next_offset, Offset(4));
    let (gaps, entries) = store.walk(0, 100);
    assert_eq!((gaps.len(), offsets(&entries)), (1, vec![1]));
    assert_eq!((gaps[0].from, gaps[0].to, gaps[0].posts), (Offset(2), Offset(3), Some(2)));
    let page = store.log(3, 100, usize::MAX).unwrap();
    assert!(page.gap.is_none() && page.entries.is_empty() && page.end);
    store.close();
}

#[test]
fn a_gap_that_reaches_over_what_is_dropped_with_it_keeps_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let (mut alice, mut bob) = (Author::new(1, 1), Author::new(2, 1));
    let (old, new) = (chats(&mut alice, 1..=2), chats(&mut bob, 3..=5));
    // Offset 2 was never given to anything.
    let at = [(1, &new[0]), (3, &new[1]), (4, &old[0]), (5, &old[1]), (6, &new[2])];
    store.append_at(at.iter().map(|(offset, envelope)| delivery(*offset, envelope)).collect()).unwrap();
    assert_eq!((store.retain(before(2)).0, store.retain(before(5)).0), (1, 2));
    let (gaps, entries) = store.walk(0, 100);
    let gaps: Vec<_> = gaps.iter().map(|gap| (gap.from.0, gap.to.0, gap.posts)).collect();
    assert_eq!((gaps, offsets(&entries)), (vec![(1, 4, Some(3))], vec![5, 6]));
    assert_eq!(
        store.log(2, 9, usize::MAX).unwrap().gap.unwrap().posts,
        None,
        "a part with skipped numbers has no count"
    );
    store.close();
}

#[test]
fn keys_and_rooms_of_what_is_dropped_go_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut me = Author::new(1, 4);
    let keyed = |room: &str, key: &str| Post { key: Some(key.into()), ..Post::chat(room, "x") };
    let said = [
        me.say(1, vec![keyed("a", "one"), keyed("b", "two"), Post::chat("", "x"), Post::direct(identity(2), "x")]),
        me.say(2, vec![keyed("a", "one"), keyed("c", "three")]),
        me.say(3, vec![Post::chat("d", "x")]),
    ];
    let own = |(offset, envelope)| Delivery { own: true, ..delivery(offset, envelope) };
    store.append_at([1, 5, 7].into_iter().zip(&said).map(own).collect()).unwrap();
    assert_eq!(store.retain(before(2)).0, 4);
    let rooms = store.ask(|reply| Job::Rooms { reply }).unwrap();
    let rooms: Vec<_> = rooms.iter().map(|room| (room.name.as_str(), room.posts)).collect();
    assert_eq!(rooms, [("d", 1), ("a", 1), ("c", 1)]);
    let keys = ["one", "two", "three"].map(str::to_owned).to_vec();
    store.send(Job::FindKeys { ticket: Ticket(3), keys });
    let Input::KeysFound { posts, .. } = store.answer() else { panic!("no answer") };
    assert_eq!(posts.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true]);
    store.close();
    adds_up(dir.path());
}

#[test]
fn what_is_damaged_is_dropped_too_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut me = Author::new(1, 1);
    let keyed = Post { key: Some("k".into()), ..Post::chat("general", "x") };
    let said = [me.say(1, vec![keyed]), me.chat(2, "y"), me.chat(3, "z")];
    store.append_at((1..).zip(&said).map(|(at, said)| Delivery { own: true, ..delivery(at, said) }).collect()).unwrap();
    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute("UPDATE envelopes SET body = zeroblob(length(body)) WHERE offset = 1", ()).unwrap();
    drop(db);
    assert_eq!(store.retain(before(3)).0, 2);
    assert_eq!(offsets(&store.walk(0, 10).1), [3]);
    store.close();
    adds_up(dir.path());
}

#[test]
fn what_is_damaged_begins_no_feed_and_goes_with_what_was_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    store.append(&chats(&mut author, 1..=5));
    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute("UPDATE envelopes SET checksum = checksum + 1 WHERE offset IN (3, 4)", ()).unwrap();
    drop(db);
    let (posts, bases) = store.retain(before(3));
    assert_eq!((posts, bases), (4, [(author.feed.feed_id(), Seq(5))].into()));
    assert_eq!(offsets(&store.walk(0, 10).1), [5]);
    store.reopen(dir.path()).close();
    adds_up(dir.path());
}

#[test]
fn steps_are_small_and_others_are_answered_between_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    store.append(&chats(&mut author, 1..=600));
    let steps: Vec<_> = (0..4).map(|_| store.retain_step(NOTHING)).map(|step| (step.posts, step.is_more)).collect();
    assert_eq!(steps, [(256, true), (256, true), (87, false), (0, false)]);
    let long = (0..40).map(|_| author.say(601, vec![Post::chat("general", &"x".repeat(16_000)); 3]));
    store.append(&long.collect::<Vec<_>>());
    let step = store.retain_step(NOTHING);
    assert!(step.is_more && step.bytes < (512 << 10) + 64_000, "{} bytes", step.bytes);
    store.close();
}

#[test]
fn a_file_at_its_limit_does_not_grow_and_one_whose_limit_is_lowered_shrinks() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let mut fill = |store: &mut Store| {
        for _ in 0..4 {
            let said = (0..100).map(|_| author.say(1, vec![Post::chat("general", &"x".repeat(8_000)); 4]));
            store.append(&said.collect::<Vec<_>>());
            store.retain(below(20_000_000));
        }
    };
    fill(&mut store);
    fill(&mut store);
    let full = pages(dir.path()).0;
    for _ in 0..3 {
        fill(&mut store);
    }
    let (now, _) = pages(dir.path());
    assert!(now <= full, "{full} pages became {now}");
    let mut steps = 1;
    while store.retain_step(below(1_000_000)).is_more {
        steps += 1;
    }
    let (small, free) = pages(dir.path());
    assert!(small < full / 3, "{full} pages became {small}, {free} of them free");
    assert!(steps < 80, "each of {steps} steps did its part");
    store.close();
    adds_up(dir.path());
}

/// One step: who says how many posts in which room and when, whether it arrives at once; then perhaps a cut.
type Step = (u8, u64, u8, usize, bool, Option<(bool, u64)>, bool);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let cut = prop::option::weighted(0.3, (any::<bool>(), 0u64..100));
    prop::collection::vec(
        (1u8..5, 0u64..4, 0u8..3, 1usize..5, prop::bool::weighted(0.7), cut, prop::bool::weighted(0.1)),
        1..60,
    )
}

/// Everything that ever was in the store.
#[derive(Default)]
struct Model {
    appended: Vec<Delivery>,
    bases: BTreeMap<FeedId, Seq>,
}

impl Model {
    fn held(&self) -> impl Iterator<Item = &Delivery> {
        self.appended.iter().filter(|entry| !self.is_dropped(entry))
    }

    fn dropped(&self) -> impl Iterator<Item = &Delivery> {
        self.appended.iter().filter(|entry| self.is_dropped(entry))
    }

    fn is_dropped(&self, entry: &Delivery) -> bool {
        self.bases.get(&entry.envelope.feed_id()).is_some_and(|base| entry.envelope.first() < *base)
    }

    fn is_newest(&self, entry: &Delivery) -> bool {
        let same = self.appended.iter().filter(|other| other.envelope.feed() == entry.envelope.feed());
        same.map(|other| other.envelope.first()).max() == Some(entry.envelope.first())
    }

    fn disk_bytes(&self) -> u64 {
        self.held().map(|entry| entry.envelope.bytes().len() as u64 + 256).sum()
    }

    /// Nothing that could go is beyond the limits, and nothing newer went before something older.
    fn check_cut(&self, limits: Limits) {
        let could_go: Vec<&Delivery> = self.held().filter(|entry| !self.is_newest(entry)).collect();
        let oldest = could_go.iter().map(|entry| entry.envelope.body().at.ms).min();
        if let Some(before) = limits.before_ms {
            assert!(oldest.is_none_or(|ms| ms >= before));
        }
        if let Some(max) = limits.bytes_max {
            assert!(oldest.is_none() || self.disk_bytes() <= max, "{} bytes of {max}", self.disk_bytes());
        }
    }

    /// What the store says is what the model says.
    fn check(&self, store: &Store, after: u64, page: usize) {
        let (gaps, entries) = store.walk(after, page);
        let wanted: Vec<u64> = self.held().filter(|entry| end(entry) > after).map(|entry| entry.offset.0).collect();
        assert_eq!(offsets(&entries), wanted, "behind {after}");
        let lost: Vec<u64> =
            self.dropped().flat_map(|entry| entry.offset.0..=end(entry)).filter(|at| *at > after).collect();
        let told = |at: &u64| gaps.iter().filter(|gap| gap.from.0 <= *at && *at <= gap.to.0).count();
        assert!(lost.iter().all(|at| told(at) == 1), "each lost post is told once: {lost:?} {gaps:?}");
        for gap in &gaps {
            let inside = lost.iter().filter(|at| gap.from.0 <= **at && **at <= gap.to.0).count() as u64;
            assert!(inside > 0 && gap.posts.is_none_or(|posts| posts == inside), "{gap:?} holds {inside}");
            assert!(gap.posts.is_some() || after > 0, "from the beginning every count is known");
        }
        let summary = summary(store);
        assert_eq!(summary.bytes, self.held().map(|entry| entry.envelope.bytes().len() as u64).sum::<u64>());
        assert_eq!(
            summary.expired_posts,
            self.dropped().map(|entry| entry.envelope.body().posts.len() as u64).sum::<u64>()
        );
        let newest = self.dropped().map(|entry| entry.envelope.body().at.ms).max();
        assert_eq!(summary.expired_newest_ms, newest.unwrap_or(0));
    }
}

fn end(entry: &Delivery) -> u64 {
    entry.offset.0 + entry.envelope.body().posts.len() as u64 - 1
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut authors: Vec<Author> = (0..5).map(|seed| Author::new(seed.max(1), 1 + u64::from(seed))).collect();
    let mut model = Model::default();
    let mut put_off: Vec<VerifiedEnvelope> = Vec::new();
    let (mut ms, mut offset, mut after) = (10, 1, 0);
    for (author, later, room, posts, is_at_once, cut, is_restart) in steps {
        ms += later;
        let room = ["a", "b", "c"][usize::from(room)];
        put_off
            .push(authors[usize::from(author)].say(ms - later * u64::from(author), vec![Post::chat(room, "x"); posts]));
        if is_at_once {
            // What was put off arrives behind what was said later.
            for envelope in put_off.drain(..).rev() {
                let entry = Delivery { own: author == 1, ..delivery(offset, &envelope) };
                // What a peer would never take: it is below what it dropped.
                if model.is_dropped(&entry) {
                    continue;
                }
                offset = end(&entry) + 1 + later % 2;
                store.append_at(vec![entry.clone()]).unwrap();
                model.appended.push(entry);
            }
        }
        if let Some((is_by_age, part)) = cut {
            let limits =
                if is_by_age { before(10 + (ms - 10) * part / 100) } else { below(model.disk_bytes() * part / 100) };
            let (_, bases) = store.retain(limits);
            model.bases.extend(bases);
            model.check_cut(limits);
            after = offset * part / 200;
        }
        if is_restart {
            store = store.reopen(dir.path());
            for feed in &store.opened.feeds {
                let held: BTreeSet<u64> = feed.runs.held().runs().flat_map(|(from, to)| from.0..=to.0).collect();
                let same = model.held().filter(|entry| entry.envelope.feed() == feed.feed);
                let wanted: BTreeSet<u64> =
                    same.flat_map(|entry| entry.envelope.first().0..=entry.envelope.last().0).collect();
                assert_eq!(held, wanted);
                assert_eq!(feed.base, model.bases.get(&feed.feed.feed_id()).copied().unwrap_or(Seq(1)));
                // What a start reads is what was known before it.
                let mut runs = Runs::default();
                let same = model.held().filter(|entry| entry.envelope.feed() == feed.feed);
                for entry in same {
                    runs.add(&entry.envelope);
                }
                assert_eq!(feed.runs, runs);
            }
        }
        model.check(&store, 0, 100);
        model.check(&store, after, 3);
    }
    store.close();
    adds_up(dir.path());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_said_and_dropped_in_whatever_order_everything_adds_up(steps in steps()) {
        run(steps);
    }
}
