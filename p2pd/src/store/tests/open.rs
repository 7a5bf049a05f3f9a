use std::os::unix::fs::PermissionsExt;

use p2p_mesh::envelope::VerifiedEnvelope;
use p2p_mesh::feed::{Runs, StoredFeed, Tip};
use p2p_mesh::id::{Epoch, Offset, Seq};
use p2p_mesh::membership::record::Record;

use super::kit::*;
use super::recount::adds_up;
use crate::config::Durability;
use crate::names::{FirstUse, Note, Noted};
use crate::store::{Job, Limits, StoreError, file, note_epoch};

#[track_caller]
fn refuses(dir: &std::path::Path, words: &[&str]) -> StoreError {
    let error = open(dir, &identity(1), Durability::Batch).unwrap_err();
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
    assert!(text.contains(dir.to_str().unwrap()), "{text} names no path");
    error
}

/// One feed of which these are held.
fn feed(held: &[&VerifiedEnvelope]) -> StoredFeed {
    let mut runs = Runs::default();
    for envelope in held {
        runs.add(envelope);
    }
    StoredFeed { feed: held[0].feed(), base: Seq(1), runs }
}

#[test]
fn a_first_start_makes_an_empty_store_that_others_cannot_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    assert_eq!(store.opened.feeds, []);
    assert_eq!(store.opened.next_offset, Offset(1));
    assert_eq!(store.opened.newest_own_epoch, None);
    assert_eq!(store.opened.book, []);
    for name in ["history.db", "history.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    store.close();
}

#[test]
fn a_restart_finds_every_feed_with_its_end_and_the_next_offset() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let (mut alice, mut bob) = (Author::new(1, 7), Author::new(2, 3));
    let (first, second) = (alice.chat(10, "a"), alice.say(11, vec![p2p_mesh::envelope::Post::chat("x", "b"); 3]));
    let other = bob.chat(5, "c");
    store.append(&[first.clone(), other.clone(), second.clone()]);
    let store = store.reopen(dir.path());
    let feeds = [feed(&[&first, &second]), feed(&[&other])];
    assert_eq!(store.opened.feeds, feeds);
    assert_eq!(store.opened.next_offset, Offset(6));
    assert_eq!(store.opened.newest_own_epoch, Some(Epoch(7)));
    store.close();
}

#[test]
fn runs_that_came_in_any_order_are_found_again_with_their_ends_and_beginnings() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=9).map(|ms| author.say(ms, vec![p2p_mesh::envelope::Post::chat("x", "y"); 3])).collect();
    let mut held = Vec::new();
    // Each step leads to another kind of change: a run alone, a run below it, one that joins two, one at the end.
    for place in [6, 7, 2, 1, 4, 3, 5, 9, 8] {
        held.push(&said[place - 1]);
        store.append(&[said[place - 1].clone()]);
        store = store.reopen(dir.path());
        assert_eq!(store.opened.feeds, [feed(&held)], "after {place}");
    }
    let tip = store.opened.feeds[0].runs.tip();
    assert_eq!(tip, Tip::after(&said[8]));
    store.close();
}

#[test]
fn d_01_a_run_that_does_not_continue_what_is_stored_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=4).map(|ms| author.chat(ms, "x")).collect();
    let mut liar = Author::new(2, 1);
    let lies: Vec<_> = (1..=4).map(|ms| liar.chat(ms, "y")).collect();
    store.append(&[said[0].clone(), said[3].clone()]);
    let next = store.opened.next_offset.0 + 2;
    for (place, lie) in [(1, &lies[1]), (2, &lies[2])] {
        let why = store.append_at(vec![delivery(next, lie)]).unwrap_err();
        assert!(why.contains("do not continue what is stored"), "{place}: {why}");
    }
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.feeds, [feed(&[&said[0], &said[3]])]);
    store.close();
}

#[test]
fn a_noted_epoch_is_never_forgotten_and_never_grows_smaller() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut store = Store::open(dir.path());
    for (noted, newest) in [(7, 7), (9, 9), (8, 9)] {
        runtime.block_on(note_epoch(&store.opened.jobs, Epoch(noted))).unwrap();
        store = store.reopen(dir.path());
        assert_eq!(store.opened.newest_own_epoch, Some(Epoch(newest)));
    }
    let jobs = store.opened.jobs.clone();
    drop(store.opened.events);
    drop(store.opened.jobs);
    runtime.block_on(note_epoch(&jobs, Epoch(12))).unwrap();
    drop(jobs);
    store.opened.thread.join().unwrap();
}

#[test]
fn what_the_user_noted_and_who_was_first_with_a_name_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    assert_eq!(store.opened.noted, Noted::default());
    let note = |petname: &str, is_blocked| Note { petname: petname.into(), is_blocked };
    let first = |seed, name: &str| FirstUse { name: name.into(), peer: identity(seed) };
    for (seed, noted) in
        [(2, note("boss", false)), (3, note("pest", true)), (4, note("x", false)), (4, note("", false))]
    {
        store.ask(|reply| Job::SaveNote { peer: identity(seed), note: noted, reply }).unwrap();
    }
    for (seed, name) in [(2, "alice"), (3, "alice"), (3, "bob"), (2, "carol")] {
        store.send(Job::SaveName(first(seed, name)));
    }
    let store = store.reopen(dir.path());
    let mut notes = vec![(identity(2), note("boss", false)), (identity(3), note("pest", true))];
    notes.sort_by_key(|(peer, _)| *peer);
    assert_eq!(store.opened.noted, Noted { notes, first: vec![first(2, "alice"), first(3, "bob"), first(2, "carol")] });
    store.send(Job::ForgetRecord(identity(2)));
    store.send(Job::ForgetRecord(identity(3)));
    let store = store.reopen(dir.path());
    let notes = vec![(identity(3), note("", true))];
    assert_eq!(store.opened.noted, Noted { notes, first: vec![] }, "who is forgotten stays blocked");
    store.close();
}

#[test]
fn the_address_book_keeps_the_last_record_of_each_peer() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path());
    let record = |seed, rev| Record::sign(&key(seed), rev, &["10.0.0.1:8080".parse().unwrap()], "bob", Epoch(3));
    store.send(Job::SaveRecord { record: record(2, 1), seen_ms: 5 });
    store.send(Job::SaveRecord { record: record(3, 1), seen_ms: 0 });
    store.send(Job::SaveRecord { record: record(2, 2), seen_ms: 8 });
    store.send(Job::SaveRecord { record: record(4, 1), seen_ms: 1 });
    store.send(Job::ForgetRecord(identity(4)));
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.book, [(record(2, 2), 8), (record(3, 1), 0)]);
    assert_eq!(store.opened.forgotten, [(identity(4), 1)], "others may still tell of it");
    store.send(Job::SaveRecord { record: record(4, 2), seen_ms: 1 });
    store.send(Job::ForgetRecord(identity(4)));
    store.send(Job::ForgetRecord(identity(4)));
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.forgotten, [(identity(4), 2)]);
    store.send(Job::SaveRecord { record: record(4, 3), seen_ms: 1 });
    let store = store.reopen(dir.path());
    assert_eq!(store.opened.forgotten, []);
    store.send(Job::ForgetRecord(identity(4)));
    store.close();

    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute("UPDATE records SET signature = zeroblob(64) WHERE peer = ?1", (identity(2).0,)).unwrap();
    drop(db);
    let store = Store::open(dir.path());
    assert_eq!(store.opened.book, [(record(3, 1), 0)], "a forged record is left out");
    store.close();
}

#[test]
fn d_05_the_store_of_another_identity_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path(), &identity(2), Durability::Batch).unwrap();
    let error = refuses(dir.path(), &[&identity(1).short(), &identity(2).short(), "identity.key"]);
    assert!(matches!(error, StoreError::Misplaced(_)));
    assert!(open(dir.path(), &identity(2), Durability::Batch).is_ok());
}

#[test]
fn a_history_of_the_first_version_is_brought_up_to_date_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(dir.path());
    let mut author = Author::new(2, 1);
    let said: Vec<_> = (1..=9).map(|ms| author.chat(ms, "x")).collect();
    store.append(&said);
    store.close();
    let db = rusqlite::Connection::open(file::path(dir.path())).unwrap();
    db.execute_batch(
        "DROP TABLE gaps; ALTER TABLE feeds DROP COLUMN envelopes; ALTER TABLE feeds DROP COLUMN base;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(db);
    let mut store = Store::open(dir.path());
    assert_eq!(store.log(0, 100, usize::MAX).unwrap().entries.len(), 9);
    assert_eq!(store.retain(Limits { before_ms: Some(5), bytes_max: None }).0, 4);
    store.append(&[author.chat(10, "y")]);
    store.reopen(dir.path()).close();
    adds_up(dir.path());
}

#[test]
fn a_newer_schema_is_refused_with_both_versions() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).close();
    rusqlite::Connection::open(file::path(dir.path())).unwrap().pragma_update(None, "user_version", 42).unwrap();
    refuses(dir.path(), &["version 42", "up to 2", "newer p2pd"]);
}

#[test]
fn files_that_are_no_history_are_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = file::path(dir.path());
    std::fs::write(&path, "not a database, but long enough to be looked at as one ".repeat(100)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(matches!(refuses(dir.path(), &["damaged", "not a database"]), StoreError::Damaged(_)));
    assert_eq!(std::fs::read(&path).unwrap(), before);

    std::fs::remove_file(&path).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE theirs (id INTEGER PRIMARY KEY)").unwrap();
    drop(other);
    refuses(dir.path(), &["another program"]);

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refuses(dir.path(), &["cannot write", "history.db"]);
}

#[test]
fn d_10_a_directory_that_cannot_be_written_is_named() {
    // Not even root makes files there.
    let error = refuses(std::path::Path::new("/proc"), &["cannot write the history /proc/history.db"]);
    assert!(matches!(error, StoreError::Failed(_)));
}

#[test]
fn d_11_a_directory_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    refuses(&dir.path().join("missing"), &["cannot write the history", "No such file"]);
}

#[test]
fn d_14_a_path_with_spaces_and_other_letters_works() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("a b?mode=ro#ü%41");
    std::fs::create_dir(&odd).unwrap();
    let mut store = Store::open(&odd);
    store.append(&[Author::new(2, 1).chat(1, "x")]);
    assert_eq!(store.reopen(&odd).opened.next_offset, Offset(2));
    assert!(odd.join("history.db").exists());
}

#[test]
fn d_13_an_old_backup_opens_as_it_was_and_knows_the_epochs_it_had() {
    let (dir, backup) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut store = Store::open(dir.path());
    let mut old = Author::new(1, 5);
    store.append(&[old.chat(1, "before")]);
    store.close();
    std::fs::copy(file::path(dir.path()), file::path(backup.path())).unwrap();
    let mut store = Store::open(dir.path());
    store.append(&[old.chat(2, "after"), Author::new(1, 8).chat(3, "in a later run")]);
    store.close();

    let mut store = Store::open(backup.path());
    assert_eq!(store.opened.newest_own_epoch, Some(Epoch(5)));
    assert_eq!(store.opened.next_offset, Offset(2));
    // What the lost part said comes back from peers, beside what a new run says.
    let mut again = Author::new(1, 5);
    let lost = [again.chat(1, "before"), again.chat(2, "after")];
    store.append(&[Author::new(1, 9).chat(4, "new"), lost[1].clone()]);
    let store = store.reopen(backup.path());
    assert_eq!(store.opened.newest_own_epoch, Some(Epoch(9)));
    assert_eq!(store.opened.feeds[0].runs.tip(), Tip::after(&lost[1]));
    store.close();
}
