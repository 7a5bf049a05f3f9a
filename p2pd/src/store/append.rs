//! Writing envelopes, with what the questions about them need.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use p2p_mesh::effect::{Append, Delivery};
use p2p_mesh::envelope::Post;
use p2p_mesh::envelope::Stamp;
use p2p_mesh::id::{Epoch, Hash, Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::{KeyedPost, content_of};
use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::index::{FeedRow, Index};
use super::{forks, log, shelf, sql};

/// The rooms that one transaction touches: each is read once and written once.
#[derive(Debug, Default)]
pub(super) struct Rooms(HashMap<String, Tally>);

/// What a transaction adds to a room.
#[derive(Debug)]
struct Tally {
    row: RoomRow,
    posts: u64,
    newest_ms: u64,
}

/// A room's row number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct RoomRow(pub(super) i64);

/// Writes the envelopes of one append into the running transaction.
pub(super) fn write(db: &Connection, index: &mut Index, rooms: &mut Rooms, append: &Append) -> Result<(), Fault> {
    for delivery in &append.envelopes {
        let feed = index.add(delivery)?;
        let is_said_here = delivery.own && append.flush;
        insert_envelope(db, feed, delivery, is_said_here)?;
        insert_rooms(db, (index.me(), rooms), feed, delivery)?;
        if delivery.own {
            insert_keys(db, delivery)?;
            forks::note_said_again(db, index, delivery.envelope.body())?;
        }
    }
    Ok(())
}

impl Rooms {
    /// Writes the sums at the end of the transaction.
    pub(super) fn save(&self, db: &Connection) -> Result<(), Fault> {
        let mut statement =
            db.prepare_cached("UPDATE rooms SET posts = posts + ?2, newest_ms = max(newest_ms, ?3) WHERE id = ?1")?;
        for tally in self.0.values() {
            statement.execute((tally.row.0, sql::integer(tally.posts), sql::integer(tally.newest_ms)))?;
        }
        Ok(())
    }

    fn add(&mut self, db: &Connection, name: &str, posts: u64, ms: u64) -> Result<RoomRow, Fault> {
        if !self.0.contains_key(name) {
            let row = match find_room(db, name)? {
                Some(row) => row,
                None => make_room(db, name)?,
            };
            self.0.insert(name.to_owned(), Tally { row, posts: 0, newest_ms: 0 });
        }
        let tally = self.0.get_mut(name).expect("it was just put there");
        tally.posts += posts;
        tally.newest_ms = tally.newest_ms.max(ms);
        Ok(tally.row)
    }
}

/// The row of a room; none where nobody ever said anything in it.
pub(super) fn find_room(db: &Connection, name: &str) -> Result<Option<RoomRow>, Fault> {
    let mut statement = db.prepare_cached("SELECT id FROM rooms WHERE name = ?1")?;
    Ok(statement.query_row((name,), |row| row.get(0).map(RoomRow)).optional()?)
}

/// For each key the own post that used it first.
pub(super) fn find_keys(db: &Connection, me: &PeerId, keys: &[String]) -> Result<Vec<Option<KeyedPost>>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT epoch, seq, offset, ms, counter, content FROM keys WHERE key = ?1")?;
    let post = |row: &rusqlite::Row<'_>| {
        let feed = Instance { id: *me, epoch: Epoch(sql::number(row, 0)?) };
        Ok(KeyedPost {
            id: PostId { feed, seq: Seq(sql::number(row, 1)?) },
            offset: Offset(sql::number(row, 2)?),
            at: Stamp { ms: sql::number(row, 3)?, counter: sql::number(row, 4)? },
            content: Hash(row.get(5)?),
        })
    };
    keys.iter().map(|key| Ok(statement.query_row((key,), post).optional()?)).collect()
}

fn make_room(db: &Connection, name: &str) -> Result<RoomRow, Fault> {
    db.prepare_cached("INSERT INTO rooms (name, posts, newest_ms) VALUES (?1, 0, 0)")?.execute((name,))?;
    Ok(RoomRow(db.last_insert_rowid()))
}

fn insert_envelope(db: &Connection, feed: FeedRow, delivery: &Delivery, is_said_here: bool) -> Result<(), Fault> {
    let envelope = &delivery.envelope;
    let body = envelope.body();
    let mut statement = db.prepare_cached(
        "INSERT INTO envelopes (offset, feed, first, count, ms, flags, checksum, signature, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute((
        sql::integer(delivery.offset.0),
        feed.0,
        sql::integer(body.first.0),
        sql::integer(body.posts.len() as u64),
        sql::integer(body.at.ms),
        log::flags(delivery, is_said_here),
        log::checksum(envelope),
        envelope.signature(),
        &envelope.bytes()[..],
    ))?;
    Ok(())
}

fn insert_rooms(
    db: &Connection,
    (me, rooms): (&PeerId, &mut Rooms),
    feed: FeedRow,
    delivery: &Delivery,
) -> Result<(), Fault> {
    let body = delivery.envelope.body();
    let mut statement =
        db.prepare_cached("INSERT INTO room_envelopes (room, ms, offset, feed, posts) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for (name, posts) in posts_by_shelf(me, &body.feed.id, &body.posts) {
        let room = rooms.add(db, &name, posts, body.at.ms)?;
        statement.execute((
            room.0,
            sql::integer(body.at.ms),
            sql::integer(delivery.offset.0),
            feed.0,
            sql::integer(posts),
        ))?;
    }
    Ok(())
}

/// Posts of kinds that have no room belong to none.
fn posts_by_shelf<'a>(me: &PeerId, author: &PeerId, posts: &'a [Post]) -> BTreeMap<Cow<'a, str>, u64> {
    let mut shelves = BTreeMap::new();
    // Those of one sender mostly stand on one shelf.
    let is_beside = |a: &Post, b: &Post| (&a.kind, &a.room, &a.direct) == (&b.kind, &b.room, &b.direct);
    for run in posts.chunk_by(is_beside) {
        if let Some(shelf) = shelf::of(me, author, &run[0]) {
            *shelves.entry(shelf).or_default() += run.len() as u64;
        }
    }
    shelves
}

/// A key that another machine with this identity used too keeps its first post.
fn insert_keys(db: &Connection, delivery: &Delivery) -> Result<(), Fault> {
    let body = delivery.envelope.body();
    let mut statement = db.prepare_cached(
        "INSERT OR IGNORE INTO keys (key, epoch, seq, offset, ms, counter, content)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for (index, post) in (0..).zip(&body.posts) {
        let Some(key) = post.key.as_deref() else { continue };
        if let Some(was) = post.was.as_deref().filter(|was| was.feed.id == body.feed.id) {
            // It names this post from now on, and not the one that lost its number.
            let place = (key, sql::integer(was.feed.epoch.0), sql::integer(was.seq.0));
            db.prepare_cached("DELETE FROM keys WHERE key = ?1 AND epoch = ?2 AND seq = ?3")?.execute(place)?;
        }
        statement.execute((
            key,
            sql::integer(body.feed.epoch.0),
            sql::integer(body.first.plus(index).0),
            sql::integer(delivery.offset.0 + index),
            sql::integer(body.at.ms),
            sql::integer(body.at.plus(index).counter),
            content_of(post).0,
        ))?;
    }
    Ok(())
}
