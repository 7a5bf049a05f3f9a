//! Whether everything that the store notes beside its envelopes is what a recount of them gives.

use std::path::Path;

use rusqlite::Connection;

use crate::store::file;

/// Each question finds what does not add up.
const QUESTIONS: [(&str, &str); 9] = [
    (
        "feeds that count wrong",
        "SELECT count(*) FROM feeds AS f WHERE bytes <> (SELECT sum(length(body)) FROM envelopes WHERE feed = f.id)
           OR envelopes <> (SELECT count(*) FROM envelopes WHERE feed = f.id)",
    ),
    ("envelopes below the base of their feed", "SELECT count(*) FROM envelopes AS e JOIN feeds AS f ON f.id = e.feed WHERE first < base"),
    (
        "rooms that count wrong",
        "SELECT count(*) FROM rooms AS r WHERE posts <> (SELECT coalesce(sum(posts), 0) FROM room_envelopes WHERE room = r.id)
           OR newest_ms <> (SELECT max(ms) FROM room_envelopes WHERE room = r.id)",
    ),
    ("rooms of nothing", "SELECT count(*) FROM rooms WHERE posts <= 0"),
    ("entries of rooms for nothing", "SELECT count(*) FROM room_envelopes WHERE offset NOT IN (SELECT offset FROM envelopes)"),
    (
        "keys of nothing",
        "SELECT count(*) FROM keys AS k WHERE NOT EXISTS
           (SELECT 1 FROM envelopes WHERE offset <= k.offset AND k.offset < offset + count)",
    ),
    (
        "gaps with something in them",
        "SELECT count(*) FROM gaps AS g WHERE EXISTS
           (SELECT 1 FROM envelopes WHERE offset <= g.last AND offset + count > g.first)",
    ),
    (
        "gaps that should be one",
        "SELECT count(*) FROM gaps AS g JOIN gaps AS n ON n.first = (SELECT min(first) FROM gaps WHERE first > g.first)
         WHERE NOT EXISTS (SELECT 1 FROM envelopes WHERE offset > g.last AND offset < n.first)",
    ),
    ("gaps of fewer numbers than posts", "SELECT count(*) FROM gaps WHERE last - first + 1 < posts"),
];

/// Counts everything again.
#[track_caller]
pub(super) fn adds_up(dir: &Path) {
    let db = Connection::open(file::path(dir)).unwrap();
    for (what, question) in QUESTIONS {
        let wrong: i64 = db.query_row(question, (), |row| row.get(0)).unwrap();
        assert_eq!(wrong, 0, "{what}");
    }
    let sound: String = db.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
}

/// Pages of the file, and those of them that hold nothing.
pub(super) fn pages(dir: &Path) -> (i64, i64) {
    let db = Connection::open(file::path(dir)).unwrap();
    let count = |name| db.pragma_query_value(None, name, |row| row.get(0)).unwrap();
    (count("page_count"), count("freelist_count"))
}
