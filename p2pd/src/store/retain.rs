//! Retention: the oldest envelopes by clock are dropped, a few at a time, until what is left is within the limits.
//!
//! Within a feed clocks grow, so what is dropped of a feed is always its beginning. The newest envelope of a feed
//! stays whatever its age: the next one names its hash, and copies are told by it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use p2p_mesh::envelope::Envelope;
use p2p_mesh::id::{PeerId, Seq};
use rusqlite::{Connection, Row, Transaction, TransactionBehavior};

use super::append::{RoomRow, find_room};
use super::fault::Fault;
use super::gaps::{self, Gap};
use super::index::{FeedRow, Index};
use super::{Limits, Retained, log, shelf, sql};

/// An envelope that goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Dropped {
    /// The number behind its last post.
    pub(super) end: Seq,
    /// How many posts it holds.
    pub(super) posts: u64,
    /// Of its body.
    pub(super) bytes: u64,
    /// Its clock.
    pub(super) ms: u64,
}

/// What goes in one step: of each feed everything up to the envelope that begins with this number.
#[derive(Debug, Default)]
pub(super) struct Plan {
    cuts: BTreeMap<FeedRow, Seq>,
    /// Offsets of envelopes that were set aside in forks: they are no part of their feeds.
    aside: Vec<i64>,
    /// The step is full, and there may be more.
    is_more: bool,
}

/// One row of an envelope.
struct Victim {
    offset: u64,
    dropped: Dropped,
    flags: i64,
    body: Vec<u8>,
}

/// Finds what a step drops. It reads an index from its old end, and so costs what it finds.
pub(super) fn plan(db: &Connection, index: &Index, limits: &Limits) -> Result<Plan, Fault> {
    let mut plan = Plan::default();
    let mut left = index.disk_bytes();
    let (mut envelopes, mut bytes) = (0, 0);
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, ms FROM envelopes INDEXED BY envelopes_by_clock ORDER BY ms, feed, offset",
    )?;
    let mut size = db.prepare_cached("SELECT first, count, length(body), flags FROM envelopes WHERE offset = ?1")?;
    let mut rows = statement.query(())?;
    while let Some(row) = rows.next()? {
        let (offset, feed, ms) = (row.get::<_, i64>(0)?, FeedRow(row.get(1)?), sql::number(row, 2)?);
        let is_old = limits.before_ms.is_some_and(|before| ms < before);
        if !is_old && limits.bytes_max.is_none_or(|max| left <= max) {
            return Ok(plan);
        }
        let place = |row: &Row<'_>| {
            let is_aside = row.get::<_, i64>(3)? & log::FORKED != 0;
            Ok((sql::number(row, 0)?, sql::number(row, 1)?, sql::number(row, 2)?, is_aside))
        };
        let (first, count, len, is_aside) = size.query_row((offset,), place)?;
        let is_newest = !is_aside && index.head(feed).is_none_or(|head| first.saturating_add(count) > head.0);
        if is_newest {
            continue;
        }
        if envelopes >= ENVELOPES_PER_STEP_MAX || bytes >= BYTES_PER_STEP_MAX {
            plan.is_more = true;
            return Ok(plan);
        }
        envelopes += 1;
        bytes += len;
        left = left.saturating_sub(index.disk_bytes_of(len));
        if is_aside {
            plan.aside.push(offset);
            continue;
        }
        plan.cuts.entry(feed).and_modify(|cut| *cut = Seq(cut.0.max(first))).or_insert(Seq(first));
    }
    Ok(plan)
}

impl Plan {
    /// There is nothing to drop.
    pub(super) fn is_empty(&self) -> bool {
        self.cuts.is_empty() && self.aside.is_empty()
    }

    /// Drops it, all in one transaction: the envelopes, what points to them, and what is remembered of them.
    pub(super) fn carry_out(self, db: &Connection, index: &mut Index) -> Result<Retained, Fault> {
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        let mut retained = Retained { is_more: self.is_more, ..Retained::default() };
        let (mut dropped, mut rooms) = (Vec::new(), BTreeMap::new());
        for (feed, cut) in self.cuts {
            let mut next = Some(cut);
            while let Some(cut) = next {
                for victim in victims(db, feed, cut)? {
                    remove(db, index.me(), &victim, &mut rooms)?;
                    index.drop_lowest(feed, &victim.dropped);
                    retained.posts += victim.dropped.posts;
                    retained.bytes += victim.dropped.bytes;
                    dropped.push(victim.gap());
                }
                next = begin_anew(db, index, feed, &mut retained)?;
            }
        }
        for offset in self.aside {
            let (feed, victim) = victim_at(db, offset)?;
            remove(db, index.me(), &victim, &mut rooms)?;
            db.prepare_cached("DELETE FROM lost WHERE offset BETWEEN ?1 AND ?2")?
                .execute((offset, sql::integer(victim.gap().last)))?;
            index.drop_aside(feed, &victim.dropped);
            retained.posts += victim.dropped.posts;
            retained.bytes += victim.dropped.bytes;
            dropped.push(victim.gap());
        }
        gaps::note(db, dropped)?;
        save_rooms(db, &rooms)?;
        index.save(db)?;
        transaction.commit()?;
        Ok(retained)
    }
}

/// The feed begins with the lowest envelope that is left. One that is damaged can begin nothing, so it goes too: then
/// that is where the next cut is.
fn begin_anew(
    db: &Connection,
    index: &mut Index,
    feed: FeedRow,
    retained: &mut Retained,
) -> Result<Option<Seq>, Fault> {
    let lowest = |row: &Row<'_>| Ok((sql::number(row, 0)?, sql::number(row, 1)?));
    let (first, end) = db.prepare_cached(LOWEST)?.query_row((feed.0,), lowest)?;
    match log::containing(db, index, feed, Seq(first)) {
        Ok(delivery) => retained.feeds.extend(index.begin_with(feed, &delivery.envelope)),
        Err(Fault::Damaged(why)) if index.head(feed).is_some_and(|head| end <= head.0) => {
            tracing::error!(why, "store_damaged");
            return Ok(Some(Seq(first)));
        }
        Err(fault) => return Err(fault),
    }
    Ok(None)
}

impl Victim {
    fn gap(&self) -> Gap {
        let Dropped { posts, ms, .. } = self.dropped;
        let last = self.offset.saturating_add(posts.saturating_sub(1));
        Gap { first: self.offset, last, posts, oldest_ms: ms, newest_ms: ms }
    }
}

/// The beginning of a feed, up to the envelope that begins with `cut`.
fn victims(db: &Connection, feed: FeedRow, cut: Seq) -> Result<Vec<Victim>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT offset, first, count, ms, flags, body FROM envelopes INDEXED BY envelopes_by_seq
         WHERE feed = ?1 AND first <= ?2 AND flags & 4 = 0 ORDER BY first",
    )?;
    let victims = statement.query_map((feed.0, sql::integer(cut.0)), read_victim)?;
    Ok(victims.collect::<rusqlite::Result<_>>()?)
}

/// The envelope at an offset that is known to be there.
fn victim_at(db: &Connection, offset: i64) -> Result<(FeedRow, Victim), Fault> {
    let mut statement =
        db.prepare_cached("SELECT offset, first, count, ms, flags, body, feed FROM envelopes WHERE offset = ?1")?;
    Ok(statement.query_row((offset,), |row| Ok((FeedRow(row.get(6)?), read_victim(row)?)))?)
}

/// One row: offset, first, count, ms, flags, body.
fn read_victim(row: &Row<'_>) -> rusqlite::Result<Victim> {
    let (first, posts, body) = (sql::number(row, 1)?, sql::number(row, 2)?, row.get::<_, Vec<u8>>(5)?);
    let (end, bytes) = (Seq(first.saturating_add(posts)), body.len() as u64);
    let dropped = Dropped { end, posts, bytes, ms: sql::number(row, 3)? };
    Ok(Victim { offset: sql::number(row, 0)?, dropped, flags: row.get(4)?, body })
}

fn remove(db: &Connection, me: &PeerId, victim: &Victim, rooms: &mut BTreeMap<RoomRow, u64>) -> Result<(), Fault> {
    let offset = sql::integer(victim.offset);
    db.prepare_cached("DELETE FROM envelopes WHERE offset = ?1")?.execute((offset,))?;
    // Only the rooms and the keys are asked for here, so the signature does not matter.
    let envelope = Envelope::parse(Bytes::copy_from_slice(&victim.body), [0; 64]);
    let touched = match &envelope {
        Ok(envelope) => rooms_of(db, me, envelope)?,
        Err(_) => all_rooms(db)?,
    };
    let mut statement =
        db.prepare_cached("DELETE FROM room_envelopes WHERE room = ?1 AND ms = ?2 AND offset = ?3 RETURNING posts")?;
    for room in touched {
        let mut deleted = statement.query((room.0, sql::integer(victim.dropped.ms), offset))?;
        while let Some(row) = deleted.next()? {
            *rooms.entry(room).or_default() += sql::number(row, 0)?;
        }
    }
    if victim.flags & log::OWN != 0 {
        remove_keys(db, victim, envelope.as_ref().ok())?;
    }
    Ok(())
}

fn rooms_of(db: &Connection, me: &PeerId, envelope: &Envelope) -> Result<BTreeSet<RoomRow>, Fault> {
    let body = envelope.body();
    let names: BTreeSet<_> = body.posts.iter().filter_map(|post| shelf::of(me, &body.feed.id, post)).collect();
    let mut rooms = BTreeSet::new();
    for name in names {
        rooms.extend(find_room(db, &name)?);
    }
    Ok(rooms)
}

/// For a body that is damaged and does not say any more where it belongs.
fn all_rooms(db: &Connection) -> Result<BTreeSet<RoomRow>, Fault> {
    let mut statement = db.prepare_cached("SELECT id FROM rooms")?;
    let rooms = statement.query_map((), |row| row.get(0).map(RoomRow))?;
    Ok(rooms.collect::<rusqlite::Result<_>>()?)
}

/// A key whose first post is gone can be used anew. One that belongs to another post stays.
fn remove_keys(db: &Connection, victim: &Victim, envelope: Option<&Envelope>) -> Result<(), Fault> {
    let gap = victim.gap();
    let (first, last) = (sql::integer(gap.first), sql::integer(gap.last));
    let Some(envelope) = envelope else {
        db.execute("DELETE FROM keys WHERE offset BETWEEN ?1 AND ?2", (first, last))?;
        return Ok(());
    };
    let mut statement = db.prepare_cached("DELETE FROM keys WHERE key = ?1 AND offset BETWEEN ?2 AND ?3")?;
    for key in envelope.body().posts.iter().filter_map(|post| post.key.as_deref()) {
        statement.execute((key, first, last))?;
    }
    Ok(())
}

/// A room of which nothing is held any more is no room.
fn save_rooms(db: &Connection, dropped: &BTreeMap<RoomRow, u64>) -> Result<(), Fault> {
    let mut update = db.prepare_cached(
        "UPDATE rooms SET posts = posts - ?2,
           newest_ms = coalesce((SELECT max(ms) FROM room_envelopes WHERE room = ?1), 0) WHERE id = ?1",
    )?;
    let mut delete = db.prepare_cached("DELETE FROM rooms WHERE id = ?1 AND posts <= 0")?;
    for (room, posts) in dropped {
        update.execute((room.0, sql::integer(*posts)))?;
        delete.execute((room.0,))?;
    }
    Ok(())
}

const LOWEST: &str = "SELECT first, first + count FROM envelopes INDEXED BY envelopes_by_seq WHERE feed = ?1
   AND flags & 4 = 0 ORDER BY first LIMIT 1";
/// Of one step, so that an append waits for milliseconds only.
const ENVELOPES_PER_STEP_MAX: usize = 256;
/// The same in bytes of bodies.
const BYTES_PER_STEP_MAX: u64 = 512 << 10;
