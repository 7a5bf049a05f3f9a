//! Reading envelopes back, by feed and by order of arrival. What comes back is what was written, or an error.

use bytes::Bytes;
use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{Envelope, VerifiedEnvelope};
use p2p_mesh::id::{Offset, Seq};
use p2p_mesh::input::ReadFrom;
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Fault;
use super::index::{FeedRow, Index};
use super::{gaps, sql};
use crate::query::{LogGap, LogPage};

/// The offset after the last one.
pub(super) fn next_offset(db: &Connection) -> Result<Offset, Fault> {
    let last = "SELECT offset + count FROM envelopes ORDER BY offset DESC LIMIT 1";
    let next = db.query_row(last, (), |row| sql::number(row, 0)).optional()?;
    Ok(Offset(next.unwrap_or(1)))
}

/// Consecutive envelopes of a feed, from the one that contains the first number asked for. They end before a hole,
/// and before one that is damaged, which the log then tells.
pub(super) fn read_feed(db: &Connection, index: &Index, from: &ReadFrom) -> Result<Vec<VerifiedEnvelope>, Fault> {
    let mut envelopes = Vec::new();
    let Some(feed) = index.row(from.feed) else { return Ok(envelopes) };
    let Some(start) = start_of(db, feed, from.from)? else { return Ok(envelopes) };
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, first, count, flags, checksum, signature, body
         FROM envelopes INDEXED BY envelopes_by_seq
         WHERE feed = ?1 AND first >= ?2 AND first <= ?3 AND flags & 4 = 0 ORDER BY first",
    )?;
    let mut rows = statement.query((feed.0, sql::integer(start.0), sql::integer(from.to.0)))?;
    let (mut next, mut bytes) = (start, 0);
    while let Some(row) = rows.next()? {
        let envelope = match delivery(index, row) {
            Ok(delivery) if delivery.envelope.first() == next => delivery.envelope,
            Ok(_) => break,
            Err(Fault::Damaged(why)) => {
                tracing::error!(why, "store_damaged");
                break;
            }
            Err(fault) => return Err(fault),
        };
        bytes += envelope.bytes().len();
        if bytes > from.bytes_max && !envelopes.is_empty() {
            break;
        }
        next = envelope.last().next();
        envelopes.push(envelope);
    }
    Ok(envelopes)
}

/// The envelope of a feed that holds a number which is known to be held.
pub(super) fn containing(db: &Connection, index: &Index, feed: FeedRow, seq: Seq) -> Result<Delivery, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, first, count, flags, checksum, signature, body
         FROM envelopes INDEXED BY envelopes_by_seq
         WHERE feed = ?1 AND first <= ?2 AND flags & 4 = 0 ORDER BY first DESC LIMIT 1",
    )?;
    let mut rows = statement.query((feed.0, sql::integer(seq.0)))?;
    match rows.next()? {
        Some(row) => delivery(index, row),
        None => Err(Fault::Damaged(format!("post {} of feed {} is missing", seq.0, feed.0))),
    }
}

/// The envelope of a feed that begins with a number, where it is held.
pub(super) fn beginning_at(
    db: &Connection,
    index: &Index,
    feed: FeedRow,
    seq: Seq,
) -> Result<Option<VerifiedEnvelope>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, first, count, flags, checksum, signature, body
         FROM envelopes INDEXED BY envelopes_by_seq WHERE feed = ?1 AND first = ?2 AND flags & 4 = 0",
    )?;
    let mut rows = statement.query((feed.0, sql::integer(seq.0)))?;
    let held = rows.next()?.map(|row| delivery(index, row)).transpose()?;
    Ok(held.map(|held| held.envelope))
}

/// The envelope that holds an offset which is known to be there.
pub(super) fn containing_offset(db: &Connection, index: &Index, offset: Offset) -> Result<Delivery, Fault> {
    let begin = begin_behind(db, Offset(offset.0.saturating_sub(1)))?;
    at(db, index, begin)
}

/// The envelope at an offset that is known to be there.
pub(super) fn at(db: &Connection, index: &Index, offset: Offset) -> Result<Delivery, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, first, count, flags, checksum, signature, body FROM envelopes WHERE offset = ?1",
    )?;
    let mut rows = statement.query((sql::integer(offset.0),))?;
    match rows.next()? {
        Some(row) => delivery(index, row),
        None => Err(Fault::Damaged(format!("the envelope at offset {} is missing", offset.0))),
    }
}

/// A run of the log by order of arrival, behind `after`.
pub(super) fn read_log(
    db: &Connection,
    index: &Index,
    after: Offset,
    posts_max: usize,
    bytes_max: usize,
) -> Result<LogPage, Fault> {
    let begin = begin_behind(db, after)?;
    let (gap, bound) = next_gap(db, after, begin)?;
    let mut statement = db.prepare_cached(
        "SELECT offset, feed, first, count, flags, checksum, signature, body
         FROM envelopes WHERE offset >= ?1 AND offset < ?2 ORDER BY offset",
    )?;
    let mut rows = statement.query((sql::integer(begin.0), sql::integer(bound.unwrap_or(u64::MAX))))?;
    let mut entries = Vec::new();
    let (mut posts, mut bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        // One row further than is given, so that the last page knows that it is the last.
        if !entries.is_empty() && (posts >= posts_max || bytes >= bytes_max) {
            return Ok(LogPage { gap, entries, end: false });
        }
        let delivery = match delivery(index, row) {
            Ok(delivery) => delivery,
            // What stands before it is given; who asks again behind that is told.
            Err(Fault::Damaged(_)) if !entries.is_empty() || gap.is_some() => {
                return Ok(LogPage { gap, entries, end: false });
            }
            Err(fault) => return Err(fault),
        };
        posts += delivery.envelope.body().posts.len();
        bytes += delivery.envelope.bytes().len();
        entries.push(delivery);
    }
    let end = bound.is_none() || (entries.is_empty() && gap.is_none());
    Ok(LogPage { gap, entries, end })
}

/// The page that says of the first entry behind `after`, which is damaged, that it cannot be shown; none where there is
/// no entry.
pub(super) fn damaged_page(db: &Connection, index: &Index, after: Offset) -> Result<Option<LogPage>, Fault> {
    let begin = begin_behind(db, after)?;
    let mut statement =
        db.prepare_cached("SELECT offset, count FROM envelopes WHERE offset >= ?1 ORDER BY offset LIMIT 2")?;
    let mut rows = statement.query((sql::integer(begin.0),))?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let (first, count) = (sql::number(row, 0)?, sql::number(row, 1)?.max(1));
    let next = rows.next()?.map(|row| sql::number(row, 0)).transpose()?;
    let end = next.unwrap_or(index.next_offset().0).min(first.saturating_add(count));
    let from = first.max(after.0.saturating_add(1));
    let (posts, newest_ms) = (Some(end.saturating_sub(from)), u64::MAX);
    let to = Offset(end.saturating_sub(1).max(from));
    let gap = LogGap { from: Offset(from), to, posts, oldest_ms: 0, newest_ms };
    Ok(Some(LogPage { gap: Some(gap), entries: Vec::new(), end: false }))
}

/// The gap that stands between `after` and the first entry behind it, and where the next gap begins: entries of one
/// page stand before that.
fn next_gap(db: &Connection, after: Offset, begin: Offset) -> Result<(Option<LogGap>, Option<u64>), Fault> {
    let (first, second) = gaps::behind(db, after)?;
    let Some(first) = first else { return Ok((None, None)) };
    let mut held = db.prepare_cached("SELECT min(offset) FROM envelopes WHERE offset >= ?1")?;
    let entry: Option<i64> = held.query_row((sql::integer(begin.0),), |row| row.get(0))?;
    if entry.is_some_and(|entry| entry < sql::integer(first.first)) {
        return Ok((None, Some(first.first)));
    }
    Ok((Some(first.seen_from(after)), second.map(|second| second.first)))
}

/// What guards an envelope: a flipped bit in its body or its signature changes it.
pub(super) fn checksum(envelope: &Envelope) -> i64 {
    let words = |bytes: &[u8]| {
        let (words, _) = bytes.as_chunks::<8>();
        words.iter().fold(0, |sum: u64, word| sum.rotate_left(1) ^ u64::from_le_bytes(*word))
    };
    (words(&envelope.hash().0) ^ words(envelope.signature())).cast_signed()
}

/// The flags of a new row.
pub(super) fn flags(delivery: &Delivery, is_said_here: bool) -> i64 {
    let set = |is_set: bool, flag| if is_set { flag } else { 0 };
    set(delivery.own, OWN) | set(delivery.late, LATE) | set(is_said_here, SAID)
}

/// The first number of the envelope that contains `seq`; none where it is not held.
pub(super) fn start_of(db: &Connection, feed: FeedRow, seq: Seq) -> Result<Option<Seq>, Fault> {
    let mut statement = db.prepare_cached(
        "SELECT first, count FROM envelopes INDEXED BY envelopes_by_seq
         WHERE feed = ?1 AND first <= ?2 AND flags & 4 = 0 ORDER BY first DESC LIMIT 1",
    )?;
    let run = |row: &Row<'_>| Ok((sql::number(row, 0)?, sql::number(row, 1)?));
    let found = statement.query_row((feed.0, sql::integer(seq.0)), run).optional()?;
    Ok(found.filter(|(first, count)| first.saturating_add(*count) > seq.0).map(|(first, _)| Seq(first)))
}

/// The offset of the envelope that contains `after + 1`, or else of the next one.
fn begin_behind(db: &Connection, after: Offset) -> Result<Offset, Fault> {
    let next = after.0.saturating_add(1);
    let mut statement =
        db.prepare_cached("SELECT offset, count FROM envelopes WHERE offset <= ?1 ORDER BY offset DESC LIMIT 1")?;
    let run = |row: &Row<'_>| Ok((sql::number(row, 0)?, sql::number(row, 1)?));
    let found = statement.query_row((sql::integer(next),), run).optional()?;
    let containing = found.filter(|(offset, count)| offset.saturating_add(*count) > next);
    Ok(Offset(containing.map_or(next, |(offset, _)| offset)))
}

/// One row: offset, feed, first, count, flags, checksum, signature, body.
fn delivery(index: &Index, row: &Row<'_>) -> Result<Delivery, Fault> {
    let offset = Offset(sql::number(row, 0)?);
    let damaged = |what: String| Fault::Damaged(format!("the envelope at offset {} is damaged: {what}", offset.0));
    let signature = row.get(6).map_err(|error| damaged(error.to_string()))?;
    let body: Vec<u8> = row.get(7).map_err(|error| damaged(error.to_string()))?;
    let envelope = Envelope::parse(Bytes::from(body), signature).map_err(|error| damaged(error.to_string()))?;
    if row.get::<_, i64>(5)? != checksum(&envelope) {
        return Err(damaged("the checksum does not match".into()));
    }
    let place = (sql::number(row, 2)?, sql::number(row, 3)?);
    let feed = index.feed(FeedRow(row.get(1)?)).map(|feed| feed.stored.feed);
    if feed != Some(envelope.feed()) || place != (envelope.first().0, envelope.body().posts.len() as u64) {
        return Err(damaged("it is filed under another feed or number".into()));
    }
    let flags: i64 = row.get(4)?;
    let is = |flag| flags & flag != 0;
    Ok(Delivery { offset, envelope: envelope.trust_stored(), own: is(OWN), late: is(LATE), forked: is(FORKED) })
}

/// It was sent through this daemon's identity.
pub(super) const OWN: i64 = 1;
const LATE: i64 = 2;
/// Set aside: readers still find it at its offset, and no peer does. Statements about feeds leave it out.
pub(super) const FORKED: i64 = 4;
/// Said by a run on this store.
pub(super) const SAID: i64 = 8;
