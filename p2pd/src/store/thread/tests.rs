#![allow(clippy::unwrap_used)]

use p2p_mesh::effect::Append;
use p2p_mesh::envelope::Post;
use rusqlite::ffi;

use super::*;
use crate::store::tests::kit::{Author, delivery, identity};

fn desk(dir: &tempfile::TempDir) -> (Desk, mpsc::Receiver<StoreEvent>) {
    let db = file::open(dir.path(), &identity(1)).unwrap();
    let (events, receiver) = mpsc::channel(EVENTS_WAITING_MAX);
    let writer = Writer::new(db, Durability::Batch).unwrap();
    (Desk { writer, dir: dir.path().to_owned(), me: identity(1), events, failure: None, retry_due: None }, receiver)
}

fn answers(receiver: &mut mpsc::Receiver<StoreEvent>) -> Vec<String> {
    std::iter::from_fn(|| receiver.try_recv().ok())
        .map(|event| match event {
            StoreEvent::Input(Input::Appended(ticket)) => format!("{} done", ticket.0),
            StoreEvent::Input(Input::AppendFailed { ticket, why }) => format!("{} {why}", ticket.0),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn d_06_a_full_disk_fails_what_does_not_fit_and_space_brings_the_store_back() {
    let dir = tempfile::tempdir().unwrap();
    let (mut desk, mut receiver) = desk(&dir);
    let mut author = Author::new(2, 1);
    let small = author.chat(1, "x");
    let large = author.say(2, vec![Post::chat("general", &"x".repeat(10_000)); 5]);
    let pages: i64 = desk.writer.db.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |desk: &Desk, pages: i64| {
        desk.writer.db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    };
    let append = |ticket, generation, envelope| {
        Job::Append(Append { ticket: Ticket(ticket), generation, flush: true, envelopes: vec![envelope] })
    };
    limit(&desk, pages + 2);
    desk.work(vec![
        append(1, 0, delivery(1, &small)),
        append(2, 0, delivery(2, &large)),
        append(3, 0, delivery(9, &large)),
    ])
    .unwrap();
    let full = format!("disk full in {} (", dir.path().display());
    let told = answers(&mut receiver);
    assert_eq!(told[0], "1 done");
    assert!(told[1].starts_with(&format!("2 {full}")) && told[1].ends_with(" bytes free)"), "{told:?}");
    assert!(told[2].starts_with(&format!("3 {full}")), "{told:?}");
    assert_eq!(told.len(), 3);

    // Without room another try is no better; with room it is told once, and nobody needs to say anything for that.
    let mut retry = |desk: &mut Desk| {
        desk.retry_due = Some(Instant::now());
        desk.retry().unwrap();
        answers(&mut receiver)
    };
    desk.writer.db.execute_batch("PRAGMA query_only = on").unwrap();
    assert_eq!(retry(&mut desk), [""; 0]);
    assert!(desk.retry_due.is_some());
    desk.writer.db.execute_batch("PRAGMA query_only = off").unwrap();
    limit(&desk, 1_000_000);
    assert_eq!(retry(&mut desk), ["Recovered"]);
    assert_eq!(desk.retry_due, None);
    desk.work(vec![append(4, 0, delivery(2, &large)), append(5, 1, delivery(2, &large))]).unwrap();
    let told = answers(&mut receiver);
    assert!(told[0].starts_with("4 disk full"), "{told:?}");
    assert_eq!(told[1..], ["5 done"]);
    assert_eq!(desk.writer.index.next_offset(), Offset(7));
}

#[test]
fn d_07_after_a_failed_flush_the_store_says_so_and_ends_without_touching_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let (mut desk, mut receiver) = desk(&dir);
    let envelope = Author::new(2, 1).chat(1, "x");
    let append = Append { ticket: Ticket(1), generation: 0, flush: true, envelopes: vec![delivery(1, &envelope)] };
    desk.work(vec![Job::Append(append)]).unwrap();
    let log = dir.path().join("history.db-wal");
    let before = (std::fs::read(file::path(dir.path())).unwrap(), std::fs::read(&log).unwrap());
    desk.fail(Fault::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None)));
    assert_eq!(answers(&mut receiver).len(), 2);
    assert!(receiver.is_closed());
    assert_eq!((std::fs::read(file::path(dir.path())).unwrap(), std::fs::read(&log).unwrap()), before);
}

#[test]
fn a_lost_table_of_keys_stops_the_store_instead_of_sending_twice() {
    let dir = tempfile::tempdir().unwrap();
    let (mut desk, mut receiver) = desk(&dir);
    desk.writer.db.execute_batch("DROP TABLE keys").unwrap();
    let find = Job::FindKeys { ticket: Ticket(1), keys: vec!["k".into()] };
    assert!(desk.work(vec![find]).is_err());
    assert_eq!(answers(&mut receiver), [""; 0]);
}
