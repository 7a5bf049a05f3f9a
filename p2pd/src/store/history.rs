//! Questions of people: the newest posts, where the last ones begin, which rooms there are.

use std::borrow::Cow;
use std::collections::BTreeMap;

use p2p_mesh::effect::Delivery;
use p2p_mesh::id::{Offset, PeerId, PostId};
use rusqlite::{Connection, Row, Rows};

use super::append::{RoomRow, find_room};
use super::fault::Fault;
use super::index::{FeedRow, Index};
use super::{log, shelf, sql};
use crate::query::{Authors, HistoryQuery, Place, RoomFeeds, RoomSummary, StoredPost};

/// The newest posts that match, oldest first.
///
/// Envelopes are walked newest first. All posts of an envelope have the same milliseconds, so once enough posts are
/// found, only envelopes of the oldest one's millisecond can still hold something that sorts behind it.
pub(super) fn history(db: &Connection, index: &Index, query: &HistoryQuery) -> Result<Vec<StoredPost>, Fault> {
    let mut newest = BTreeMap::new();
    let Some(room) = room_of(db, query)? else { return Ok(Vec::new()) };
    if query.limit == 0 {
        return Ok(Vec::new());
    }
    let feeds = (!query.authors.is_empty()).then(|| feeds_of(index, |author| query.authors.contains(author)));
    let (from, to) = span(query);
    let mut statement = db.prepare_cached(match room {
        Some(_) => {
            "SELECT offset, ms FROM room_envelopes WHERE ms >= ?1 AND ms <= ?2
               AND (?3 IS NULL OR feed IN (SELECT value FROM json_each(?3))) AND room = ?4
             ORDER BY ms DESC, offset DESC"
        }
        None => {
            "SELECT offset, ms FROM envelopes INDEXED BY envelopes_by_clock WHERE ms >= ?1 AND ms <= ?2
               AND (?3 IS NULL OR feed IN (SELECT value FROM json_each(?3)))
             ORDER BY ms DESC"
        }
    })?;
    let mut rows = match room {
        Some(room) => statement.query((from, to, &feeds, room.0))?,
        None => statement.query((from, to, &feeds))?,
    };
    while let Some((offset, ms)) = next(&mut rows)? {
        let oldest = newest.first_key_value().map(|(place, _): (&Place, _)| place.at.ms);
        if newest.len() == query.limit && oldest.is_some_and(|oldest| ms < oldest) {
            break;
        }
        collect(&log::at(db, index, Offset(offset))?, index.me(), query, &mut newest);
    }
    Ok(newest.into_values().collect())
}

/// The offset behind which the last matching posts stand.
pub(super) fn find_last(
    db: &Connection,
    index: &Index,
    (rooms, with): (&[String], Option<&PeerId>),
    authors: &Authors,
    posts: usize,
) -> Result<Offset, Fault> {
    let with = with.map(|peer| shelf::between(peer).into());
    let shelves: Vec<Cow<'_, str>> = rooms.iter().map(|room| shelf::room(room)).chain(with).collect();
    let end = Offset(index.next_offset().0.saturating_sub(1));
    let feeds = (!authors.is_all()).then(|| feeds_of(index, |author| authors.takes(author)));
    let candidates = match &shelves[..] {
        [] => last_envelopes(db, feeds.as_deref(), posts)?,
        shelves => last_shelf_envelopes(db, shelves, feeds.as_deref(), posts)?,
    };
    let mut missing = posts as u64;
    let mut oldest = None;
    for (offset, count) in candidates.into_iter().rev() {
        if missing == 0 {
            break;
        }
        let wanted = missing.min(count);
        oldest = Some((offset, wanted));
        missing -= wanted;
    }
    match oldest {
        Some((offset, wanted)) => Ok(behind(&log::at(db, index, offset)?, index.me(), &shelves, wanted)),
        None => Ok(end),
    }
}

/// Every room that has a name, and everybody with whom we exchanged direct posts, the newest first; of very many the newest.
pub(super) fn rooms(db: &Connection) -> Result<Vec<RoomSummary>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT name, posts, newest_ms FROM rooms ORDER BY newest_ms DESC, name LIMIT ?1")?;
    let room = |row: &Row<'_>| {
        Ok(RoomSummary { name: row.get(0)?, with: None, posts: sql::number(row, 1)?, newest_ms: sql::number(row, 2)? })
    };
    let mut rooms = Vec::new();
    for room in statement.query_map((sql::integer(ROOMS_MAX),), room)? {
        let room: RoomSummary = room?;
        if let Some(name) = shelf::room_of(&room.name).map(str::to_owned) {
            rooms.push(RoomSummary { name, ..room });
        } else if let Some(peer) = shelf::peer_of(&room.name) {
            rooms.push(RoomSummary { name: String::new(), with: Some(peer), ..room });
        }
    }
    Ok(rooms)
}

/// Which feeds say something in a room behind an offset. The index holds all that is asked for.
pub(super) fn room_feeds(db: &Connection, index: &Index, room: &str, after: Offset) -> Result<RoomFeeds, Fault> {
    let end = Offset(index.next_offset().0.saturating_sub(1));
    let Some(room) = find_room(db, &shelf::room(room))? else { return Ok(RoomFeeds { feeds: Vec::new(), end }) };
    let mut statement = db.prepare_cached(
        "SELECT DISTINCT feed FROM room_envelopes INDEXED BY room_envelopes_by_offset WHERE room = ?1 AND offset > ?2",
    )?;
    let rows = statement.query_map((room.0, sql::integer(after.0)), |row| row.get(0).map(FeedRow))?;
    let rows: Vec<FeedRow> = rows.collect::<rusqlite::Result<_>>()?;
    let feeds = rows.into_iter().filter_map(|row| index.feed(row)).map(|feed| feed.stored.feed).collect();
    Ok(RoomFeeds { feeds, end })
}

/// The only shelf that a query is about; none where it is about all of them.
fn shelf_of(query: &HistoryQuery) -> Option<Cow<'_, str>> {
    match (&query.with, &query.room) {
        (Some(peer), _) => Some(shelf::between(peer).into()),
        (None, room) => room.as_deref().map(shelf::room),
    }
}

/// The room to look in; nothing where it is named and does not exist, and no room where all are asked for.
fn room_of(db: &Connection, query: &HistoryQuery) -> Result<Option<Option<RoomRow>>, Fault> {
    match shelf_of(query) {
        None => Ok(Some(None)),
        Some(name) => Ok(find_room(db, &name)?.map(Some)),
    }
}

/// The rows of the feeds of some authors, as the database reads lists.
fn feeds_of(index: &Index, authors: impl Fn(&PeerId) -> bool) -> String {
    let rows: Vec<i64> = index.rows_of(authors).map(|row| row.0).collect();
    serde_json::to_string(&rows).expect("integers always encode")
}

/// The milliseconds that a query spans, both ends included.
fn span(query: &HistoryQuery) -> (i64, i64) {
    let before = query.before.map(|place| place.at.ms);
    // A query for times before 1970 spans nothing.
    let until = query.until_ms.map(|ms| sql::integer(ms) - 1);
    let to = [before.map(sql::integer), until].into_iter().flatten().min();
    (sql::integer(query.since_ms.unwrap_or(0)), to.unwrap_or(i64::MAX))
}

/// Takes the matching posts of an envelope, and drops the oldest beyond the limit.
fn collect(delivery: &Delivery, me: &PeerId, query: &HistoryQuery, newest: &mut BTreeMap<Place, StoredPost>) {
    let body = delivery.envelope.body();
    let wanted = shelf_of(query);
    for (index, post) in (0..).zip(&body.posts) {
        let shelf = shelf::of(me, &body.feed.id, post);
        let is_shown = shelf.as_deref() != Some(shelf::OTHERS);
        let place = Place { at: body.at.plus(index), feed: body.feed, seq: body.first.plus(index) };
        let in_room = wanted.is_none() || shelf == wanted;
        let is_before = query.before.is_none_or(|before| place < before);
        let full = newest.len() == query.limit;
        let too_old = full && newest.first_key_value().is_some_and(|(oldest, _)| place < *oldest);
        if !is_shown || !in_room || !is_before || too_old {
            continue;
        }
        if full {
            newest.pop_first();
        }
        newest.insert(
            place,
            StoredPost {
                id: PostId { feed: place.feed, seq: place.seq },
                offset: Offset(delivery.offset.0 + index),
                at: place.at,
                post: post.clone(),
                own: delivery.own,
                late: delivery.late,
                forked: delivery.forked,
            },
        );
    }
}

/// The last envelopes of all rooms that together hold at least `posts` posts to be shown, with how many each holds.
fn last_envelopes(db: &Connection, feeds: Option<&str>, posts: usize) -> Result<BTreeMap<Offset, u64>, Fault> {
    let mut found = BTreeMap::new();
    let others = find_room(db, shelf::OTHERS)?.map(|row| row.0);
    // Nobody knows how many hold only what is not shown.
    let limit = if others.is_some() { NO_LIMIT } else { sql::integer(posts as u64) };
    let mut statement = db.prepare_cached(match feeds {
        None => {
            "SELECT offset, count - coalesce((SELECT posts FROM room_envelopes AS others INDEXED BY room_envelopes_by_offset
               WHERE others.room = ?2 AND others.offset = envelopes.offset), 0)
             FROM envelopes ORDER BY offset DESC LIMIT ?1"
        }
        // The indexes hold all that is asked for, so no envelope is touched.
        Some(_) => {
            "SELECT offset, count - coalesce((SELECT posts FROM room_envelopes AS others INDEXED BY room_envelopes_by_offset
               WHERE others.room = ?2 AND others.offset = envelopes.offset), 0)
             FROM envelopes INDEXED BY envelopes_by_seq
             WHERE feed IN (SELECT value FROM json_each(?3)) ORDER BY offset DESC LIMIT ?1"
        }
    })?;
    let mut rows = match feeds {
        None => statement.query((limit, others))?,
        Some(feeds) => statement.query((limit, others, feeds))?,
    };
    take_posts(&mut rows, posts, &mut found)?;
    Ok(found)
}

/// The same for some shelves: of each the last ones, which are enough for all of them together.
fn last_shelf_envelopes(
    db: &Connection,
    shelves: &[Cow<'_, str>],
    feeds: Option<&str>,
    posts: usize,
) -> Result<BTreeMap<Offset, u64>, Fault> {
    let mut found = BTreeMap::new();
    let mut statement = db.prepare_cached(
        "SELECT offset, posts FROM room_envelopes INDEXED BY room_envelopes_by_offset
         WHERE room = ?1 AND (?2 IS NULL OR feed IN (SELECT value FROM json_each(?2))) ORDER BY offset DESC",
    )?;
    let mut names: Vec<_> = shelves.iter().collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Some(room) = find_room(db, name)? else { continue };
        take_posts(&mut statement.query((room.0, feeds))?, posts, &mut found)?;
    }
    Ok(found)
}

/// Adds rows of offset and count until they hold enough posts.
fn take_posts(rows: &mut Rows<'_>, posts: usize, found: &mut BTreeMap<Offset, u64>) -> Result<(), Fault> {
    let mut missing = posts as u64;
    while missing > 0 {
        let Some((offset, count)) = next(rows)? else { break };
        if count > 0 {
            *found.entry(Offset(offset)).or_default() += count;
        }
        missing = missing.saturating_sub(count);
    }
    Ok(())
}

/// The offset behind which the last `wanted` posts of an envelope on one of these shelves stand.
fn behind(delivery: &Delivery, me: &PeerId, shelves: &[Cow<'_, str>], wanted: u64) -> Offset {
    let body = delivery.envelope.body();
    let is_wanted = |shelf: Option<Cow<'_, str>>| match shelf {
        Some(shelf) if !shelves.is_empty() => shelves.contains(&shelf),
        Some(shelf) => shelf != shelf::OTHERS,
        None => shelves.is_empty(),
    };
    let posts = (delivery.offset.0..).zip(&body.posts);
    let matching = posts.filter(|(_, post)| is_wanted(shelf::of(me, &body.feed.id, post)));
    let mut offsets: Vec<u64> = matching.map(|(offset, _)| offset).collect();
    let skipped = offsets.len().saturating_sub(usize::try_from(wanted).unwrap_or(usize::MAX));
    let first = offsets.drain(skipped..).next().unwrap_or(delivery.offset.0);
    Offset(first.saturating_sub(1))
}

/// The two integers of the next row.
fn next(rows: &mut Rows<'_>) -> Result<Option<(u64, u64)>, Fault> {
    match rows.next()? {
        Some(row) => Ok(Some((sql::number(row, 0)?, sql::number(row, 1)?))),
        None => Ok(None),
    }
}

/// As the database says it.
const NO_LIMIT: i64 = -1;
/// Peers can make rooms without end, and an answer must not grow with them.
const ROOMS_MAX: u64 = 10_000;
