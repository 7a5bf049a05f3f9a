//! Where in the order of arrival posts were dropped, and how many: so that no reader misses them in silence.

use p2p_mesh::id::Offset;
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Fault;
use super::index::Expired;
use super::sql;
use crate::query::LogGap;

/// A stretch of offsets of which nothing is held any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Gap {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) posts: u64,
    pub(super) oldest_ms: u64,
    pub(super) newest_ms: u64,
}

/// The offset behind the last gap.
pub(super) fn end(db: &Connection) -> Result<Offset, Fault> {
    let last: Option<u64> =
        db.query_row("SELECT last FROM gaps ORDER BY first DESC LIMIT 1", (), |row| sql::number(row, 0)).optional()?;
    Ok(Offset(last.unwrap_or(0) + 1))
}

/// Everything that was dropped, summed up.
pub(super) fn expired(db: &Connection) -> Result<Expired, Fault> {
    let sums = "SELECT coalesce(sum(posts), 0), coalesce(max(newest_ms), 0) FROM gaps";
    Ok(db.query_row(sums, (), |row| Ok(Expired { posts: sql::number(row, 0)?, newest_ms: sql::number(row, 1)? }))?)
}

/// Notes what was dropped just now: the envelopes are gone from the log already.
pub(super) fn note(db: &Connection, mut dropped: Vec<Gap>) -> Result<(), Fault> {
    dropped.sort_unstable_by_key(|gap| gap.first);
    let mut open: Option<Gap> = None;
    for gap in dropped {
        open = Some(match open {
            Some(open) if open.last + 1 == gap.first => melt(open, gap),
            Some(open) => {
                insert(db, open)?;
                gap
            }
            None => gap,
        });
    }
    open.map_or(Ok(()), |open| insert(db, open))
}

/// The first gaps that hold something behind `after`, at most two.
pub(super) fn behind(db: &Connection, after: Offset) -> Result<(Option<Gap>, Option<Gap>), Fault> {
    let mut statement = db.prepare_cached(
        "SELECT first, last, posts, oldest_ms, newest_ms FROM gaps
         WHERE first >= coalesce((SELECT max(first) FROM gaps WHERE first <= ?1), 0) AND last > ?1
         ORDER BY first LIMIT 2",
    )?;
    let mut gaps = statement.query_map((sql::integer(after.0),), read)?;
    Ok((gaps.next().transpose()?, gaps.next().transpose()?))
}

impl Gap {
    /// As somebody sees it who has everything up to `after`.
    pub(super) fn seen_from(&self, after: Offset) -> LogGap {
        let from = self.first.max(after.0.saturating_add(1));
        // Offsets may skip numbers, so a part has a count only where none was skipped.
        let is_dense = self.last - self.first + 1 == self.posts;
        let posts = match from == self.first {
            true => Some(self.posts),
            false => is_dense.then_some(self.last - from + 1),
        };
        let (from, to) = (Offset(from), Offset(self.last));
        LogGap { from, to, posts, oldest_ms: self.oldest_ms, newest_ms: self.newest_ms }
    }
}

/// Adds a gap; with its neighbours it becomes one where nothing is held between them.
fn insert(db: &Connection, mut gap: Gap) -> Result<(), Fault> {
    let before =
        "SELECT first, last, posts, oldest_ms, newest_ms FROM gaps WHERE first < ?1 ORDER BY first DESC LIMIT 1";
    let after = "SELECT first, last, posts, oldest_ms, newest_ms FROM gaps WHERE first > ?1 ORDER BY first LIMIT 1";
    for neighbour in [before, after] {
        let found = db.prepare_cached(neighbour)?.query_row((sql::integer(gap.first),), read).optional()?;
        let Some(found) = found else { continue };
        let (left, right) = if found.first < gap.first { (found, gap) } else { (gap, found) };
        if !is_held_between(db, left.last, right.first)? {
            db.prepare_cached("DELETE FROM gaps WHERE first = ?1")?.execute((sql::integer(found.first),))?;
            gap = melt(left, right);
        }
    }
    db.prepare_cached("INSERT INTO gaps (first, last, posts, oldest_ms, newest_ms) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute([gap.first, gap.last, gap.posts, gap.oldest_ms, gap.newest_ms].map(sql::integer))?;
    Ok(())
}

fn is_held_between(db: &Connection, after: u64, before: u64) -> Result<bool, Fault> {
    let mut statement =
        db.prepare_cached("SELECT EXISTS (SELECT 1 FROM envelopes WHERE offset > ?1 AND offset < ?2)")?;
    Ok(statement.query_row((sql::integer(after), sql::integer(before)), |row| row.get(0))?)
}

/// One gap of two. The left one may reach beyond the right one already: what stood in it is gone by then.
fn melt(left: Gap, right: Gap) -> Gap {
    Gap {
        first: left.first,
        last: left.last.max(right.last),
        posts: left.posts + right.posts,
        oldest_ms: left.oldest_ms.min(right.oldest_ms),
        newest_ms: left.newest_ms.max(right.newest_ms),
    }
}

fn read(row: &Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap {
        first: sql::number(row, 0)?,
        last: sql::number(row, 1)?,
        posts: sql::number(row, 2)?,
        oldest_ms: sql::number(row, 3)?,
        newest_ms: sql::number(row, 4)?,
    })
}
