use p2p_mesh::effect::{Append, Delivery, Settle};
use p2p_mesh::envelope::{Post, VerifiedEnvelope};
use p2p_mesh::feed::StoredFeed;
use p2p_mesh::fork::ForkProof;
use p2p_mesh::id::{Epoch, Offset, PostId, Seq};
use p2p_mesh::input::{Input, LostPost, Settled, Ticket};

use super::kit::*;
use super::recount::adds_up;
use crate::query::HistoryQuery;
use crate::store::{Job, Limits, file};

/// An author's first envelopes, and two more chains that go on behind them: the one that wins first.
fn forked(seed: u8, trunk: u64, lengths: [u64; 2]) -> (Author, Vec<VerifiedEnvelope>, [Vec<VerifiedEnvelope>; 2]) {
    let mut author = Author::new(seed, 4);
    let common: Vec<_> = (1..=trunk).map(|ms| author.chat(ms, "t")).collect();
    let mut branches = [("a", lengths[0]), ("b", lengths[1])].map(|(name, length)| {
        let mut twin = author.clone();
        (1..=length).map(|at| twin.chat(trunk + at, &format!("{name}{at}"))).collect::<Vec<_>>()
    });
    branches.sort_by_key(|branch| branch[0].hash());
    (author, common, branches)
}

impl Store {
    fn settle(&mut self, proof: &ForkProof, end: Option<u64>) -> Settled {
        let (proof, end) = (proof.clone(), end.map(Seq));
        self.send(Job::Settle(Box::new(Settle { ticket: Ticket(77), proof, is_ordered: true, end, forget: None })));
        match self.answer() {
            Input::Settled { ticket: Ticket(77), settled } => *settled,
            other => panic!("{other:?}"),
        }
    }

    fn lost(&mut self, after: u64) -> Vec<LostPost> {
        self.send(Job::FindLost { ticket: Ticket(78), after: Offset(after) });
        match self.answer() {
            Input::LostFound { ticket: Ticket(78), posts } => posts,
            other => panic!("{other:?}"),
        }
    }
}

fn proof_of(branches: &[Vec<VerifiedEnvelope>; 2]) -> ForkProof {
    ForkProof::new(branches[0][0].clone(), branches[1][0].clone()).unwrap()
}

fn marks(entries: &[Delivery]) -> Vec<(u64, bool)> {
    entries.iter().map(|entry| (entry.offset.0, entry.forked)).collect()
}

fn stored_feed(store: &Store) -> StoredFeed {
    let [feed] = &store.opened.feeds[..] else { panic!("one feed") };
    feed.clone()
}

#[test]
fn w_14_a_branch_that_loses_stays_readable_at_its_offsets_and_is_no_part_of_the_feed() {
    for trunk in [0, 2] {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, (author, common, branches)) = (Store::open(dir.path()), forked(2, trunk, [2, 3]));
        let held = [&common[..], &branches[1]].concat();
        store.append(&held);
        let settled = store.settle(&proof_of(&branches), None);
        let lost = branches[1].len() as u64;
        assert_eq!((settled.posts, settled.ours.as_ref()), (lost, branches[1].first()));
        assert_eq!(store.read(author.feed, 1, 99, usize::MAX), common);
        let expected: Vec<_> = (1..=trunk + lost).map(|offset| (offset, offset > trunk)).collect();
        assert_eq!(marks(&store.log(0, 100, usize::MAX).unwrap().entries), expected);
        let query = HistoryQuery { limit: 100, ..HistoryQuery::default() };
        let posts = store.ask(|reply| Job::History { query, reply }).unwrap();
        assert_eq!(posts.iter().filter(|post| post.forked).count() as u64, lost);
        // The winner takes the numbers, and a restart finds all of that.
        let next = store.opened.next_offset.0 + trunk + lost;
        store.append_at(vec![delivery(next, &branches[0][0])]).unwrap();
        let mut store = store.reopen(dir.path());
        assert_eq!(store.opened.forks, [proof_of(&branches)]);
        let feed = stored_feed(&store);
        assert_eq!(feed.runs.count(), trunk + 1);
        assert_eq!(feed.runs.tip().hash, Some(branches[0][0].hash()));
        assert_eq!(store.read(author.feed, 1, 99, usize::MAX), [&common[..], &branches[0][..1]].concat());
        assert_eq!(marks(&store.log(0, 100, usize::MAX).unwrap().entries).len() as u64, trunk + lost + 1);
        store.close();
    }
}

#[test]
fn w_14_a_feed_that_was_set_aside_as_a_whole_is_found_empty_by_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, (_, _, branches)) = (Store::open(dir.path()), forked(2, 0, [1, 1]));
    store.append(&branches[1]);
    assert_eq!(store.settle(&proof_of(&branches), None).left.runs.count(), 0);
    let store = store.reopen(dir.path());
    assert_eq!(stored_feed(&store).runs.count(), 0);
    assert_eq!(store.opened.next_offset, Offset(2));
    store.close();
}

#[test]
fn w_14_the_branch_that_wins_stays_and_an_end_cuts_any() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, (_, common, branches)) = (Store::open(dir.path()), forked(2, 2, [3, 3]));
    store.append(&[&common[..], &branches[0]].concat());
    let settled = store.settle(&proof_of(&branches), None);
    assert_eq!((settled.posts, settled.left.runs.count()), (0, 5));
    let settled = store.settle(&proof_of(&branches), Some(4));
    assert_eq!((settled.posts, settled.left.runs.count()), (2, 3));
    assert_eq!(settled.left.runs.tip().hash, Some(branches[0][0].hash()));
    store.close();
}

#[test]
fn w_14_a_proof_about_a_feed_that_is_not_held_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, (author, common, branches)) = (Store::open(dir.path()), forked(2, 2, [1, 1]));
    let settled = store.settle(&proof_of(&branches), None);
    assert_eq!((settled.posts, settled.ours), (0, None));
    let mut store = store.reopen(dir.path());
    assert_eq!(store.opened.forks, [proof_of(&branches)]);
    store.append(&common);
    assert_eq!(store.read(author.feed, 1, 99, usize::MAX), common);
    store.close();
}

#[test]
fn w_14_a_stored_proof_that_does_not_verify_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, (_, _, branches)) = (Store::open(dir.path()), forked(2, 1, [1, 1]));
    store.settle(&proof_of(&branches), None);
    store.close();
    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute("UPDATE forks SET loser_signature = zeroblob(64)", ()).unwrap();
    drop(db);
    let store = Store::open(dir.path());
    assert_eq!(store.opened.forks, []);
    store.close();
}

#[test]
fn what_was_said_here_and_set_aside_is_lost_until_it_is_said_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let me = Author::new(1, 4);
    let keyed = Post { key: Some("k".into()), ..Post::chat("general", "keyed") };
    let theirs = me.clone().chat(1, "theirs");
    // What was said here shall be what loses.
    let said = |n: u64| {
        let mut twin = me.clone();
        let posts = vec![keyed.clone(), Post::chat("general", "plain")];
        [twin.say(1 + n, posts), twin.chat(2 + n, "more")]
    };
    let ours = (0..).map(said).find(|ours| ours[0].hash() > theirs.hash()).unwrap();
    let branches = [vec![theirs], ours.to_vec()];
    let own = |offset, envelope: &VerifiedEnvelope| Delivery { own: true, ..delivery(offset, envelope) };
    store.append_at(vec![own(1, &ours[0]), own(3, &ours[1])]).unwrap();
    assert_eq!(store.settle(&proof_of(&branches), None).posts, 3);
    let id = |seq| PostId { feed: me.feed, seq: Seq(seq) };
    let mut store = store.reopen(dir.path());
    let lost = store.lost(0);
    let found: Vec<_> = lost.iter().map(|lost| (lost.offset.0, lost.id, &*lost.post.text)).collect();
    assert_eq!(found, [(1, id(1), "keyed"), (2, id(2), "plain"), (3, id(3), "more")]);
    assert_eq!(store.lost(2).len(), 1);
    // The twin's branch, unflushed as all that comes from others, is own too, and was not said here.
    let append = |envelopes, flush| Append { ticket: Ticket(50), generation: 50, flush, envelopes };
    store.send(Job::Append(append(vec![own(5, &branches[0][0])], false)));
    assert!(matches!(store.answer(), Input::Appended(_)));
    // Two of the three are said again under a new epoch.
    let mut renewed = Author::new(1, 9);
    let again =
        [Post { was: Some(id(1).into()), ..keyed }, Post { was: Some(id(3).into()), ..Post::chat("general", "more") }];
    let again = renewed.say(9, again.to_vec());
    store.append_at(vec![own(9, &again)]).unwrap();
    let mut store = store.reopen(dir.path());
    assert_eq!(store.lost(0).iter().map(|lost| lost.id).collect::<Vec<_>>(), [id(2)]);
    store.send(Job::FindKeys { ticket: Ticket(3), keys: vec!["k".into()] });
    let Input::KeysFound { posts, .. } = store.answer() else { panic!("no answer") };
    assert_eq!(posts[0].as_ref().map(|post| post.id), Some(PostId { feed: renewed.feed, seq: Seq(1) }));
    store.close();
}

#[test]
fn a_renewed_epoch_is_noted_before_it_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    store.send(Job::RenewEpoch(Epoch(12)));
    assert!(matches!(store.answer(), Input::EpochDrawn(Some(Epoch(12)))));
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.newest_own_epoch, Some(Epoch(12)));
    store.close();
}

#[test]
fn w_14_d_15_what_was_set_aside_goes_by_its_own_age_and_takes_nothing_of_its_feed_along() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, (author, common, branches)) = (Store::open(dir.path()), forked(2, 3, [4, 4]));
    store.append(&[&common[..], &branches[1]].concat());
    store.settle(&proof_of(&branches), None);
    store.append(&branches[0]);
    let before = |ms| Limits { before_ms: Some(ms), bytes_max: None };
    // Clocks are the numbers: three of the trunk, and of each branch two.
    assert_eq!(store.retain(before(6)).0, 7);
    assert_eq!(store.read(author.feed, 6, 99, usize::MAX), branches[0][2..]);
    assert_eq!(store.retain(before(u64::MAX)).0, 3, "all but the newest of the feed");
    assert_eq!(store.read(author.feed, 7, 99, usize::MAX), branches[0][3..]);
    let store = store.reopen(dir.path());
    assert_eq!(stored_feed(&store).runs.head(), Seq(7));
    store.close();
    adds_up(dir.path());
}
