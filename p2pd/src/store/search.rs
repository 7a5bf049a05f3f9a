//! Looking for words: newest first, a bounded stretch at a time, so that no append waits for long.

use p2p_mesh::effect::Delivery;
use p2p_mesh::envelope::{NETWORK, Post};
use p2p_mesh::id::{Offset, PostId};
use rusqlite::{Connection, Row};

use super::append::{RoomRow, find_room};
use super::fault::Fault;
use super::index::Index;
use super::{log, shelf, sql};
use crate::query::{SearchPage, SearchPlace, SearchQuery, StoredPost};

/// The newest posts that match, as far as one look goes.
pub(super) fn search(db: &Connection, index: &Index, query: &SearchQuery) -> Result<SearchPage, Fault> {
    let mut page = SearchPage::default();
    let room = match &query.room {
        None => None,
        Some(name) => match find_room(db, &shelf::room(name))? {
            None => return Ok(page),
            room => room,
        },
    };
    let mut bytes = 0;
    for (looked, place) in places(db, room, query.before)?.into_iter().enumerate() {
        if looked == ENVELOPES_PER_LOOK_MAX || bytes >= BYTES_PER_LOOK_MAX {
            return Ok(page);
        }
        match log::at(db, index, Offset(place.offset)) {
            Ok(delivery) => {
                bytes += delivery.envelope.bytes().len();
                if let Some(full) = collect(&delivery, place, query, &mut page.posts) {
                    page.next = Some(full);
                    return Ok(page);
                }
            }
            Err(Fault::Damaged(why)) => tracing::error!(why, "store_damaged"),
            Err(fault) => return Err(fault),
        }
        page.next = Some(place);
    }
    page.next = None;
    Ok(page)
}

/// The envelopes to look at, newest first: one more than a look takes, so that the last look knows that it is.
fn places(db: &Connection, room: Option<RoomRow>, before: Option<SearchPlace>) -> Result<Vec<SearchPlace>, Fault> {
    let end = SearchPlace { ms: u64::MAX, feed: u64::MAX, offset: u64::MAX };
    let SearchPlace { ms, feed, offset } = before.unwrap_or(end);
    let (ms, feed, offset) = (sql::integer(ms), sql::integer(feed), sql::integer(offset));
    let limit = sql::integer(ENVELOPES_PER_LOOK_MAX as u64 + 1);
    let place = |row: &Row<'_>| {
        Ok(SearchPlace { ms: sql::number(row, 0)?, feed: sql::number(row, 1)?, offset: sql::number(row, 2)? })
    };
    let mut statement = db.prepare_cached(match room {
        Some(_) => {
            "SELECT ms, feed, offset FROM room_envelopes WHERE room = ?1 AND (ms, offset) < (?2, ?3)
             ORDER BY ms DESC, offset DESC LIMIT ?4"
        }
        None => {
            "SELECT ms, feed, offset FROM envelopes INDEXED BY envelopes_by_clock WHERE (ms, feed, offset) < (?1, ?2, ?3)
             ORDER BY ms DESC, feed DESC, offset DESC LIMIT ?4"
        }
    })?;
    let places = match room {
        Some(room) => statement.query_map((room.0, ms, offset, limit), place)?.collect::<rusqlite::Result<_>>(),
        None => statement.query_map((ms, feed, offset, limit), place)?.collect::<rusqlite::Result<_>>(),
    };
    Ok(places?)
}

/// Takes the matching posts of an envelope, the last one first; the place of the one with which the limit was reached.
fn collect(
    delivery: &Delivery,
    place: SearchPlace,
    query: &SearchQuery,
    found: &mut Vec<StoredPost>,
) -> Option<SearchPlace> {
    let body = delivery.envelope.body();
    // An envelope may be left in its middle, and is then gone on with from there.
    let is_left = |offset: u64| {
        query.before.is_none_or(|before| (before.ms, before.feed) != (place.ms, place.feed) || offset < before.offset)
    };
    for (index, post) in body.posts.iter().enumerate().rev() {
        let index = index as u64;
        let offset = delivery.offset.0 + index;
        if !is_left(offset) || !matches(post, query) {
            continue;
        }
        found.push(StoredPost {
            id: PostId { feed: body.feed, seq: body.first.plus(index) },
            offset: Offset(offset),
            at: body.at.plus(index),
            post: post.clone(),
            own: delivery.own,
            late: delivery.late,
            forked: delivery.forked,
        });
        if found.len() >= query.limit {
            return Some(SearchPlace { offset, ..place });
        }
    }
    None
}

fn matches(post: &Post, query: &SearchQuery) -> bool {
    // What is sealed is not searched: the store has no key. What daemons tell each other is no word of anybody.
    let is_text = post.direct.is_none() && post.kind != NETWORK;
    if !is_text || query.room.as_ref().is_some_and(|room| **room != *post.room) {
        return false;
    }
    let text = post.text.to_lowercase();
    query.words.iter().all(|word| text.contains(word.as_str()))
}

/// Of one look.
const ENVELOPES_PER_LOOK_MAX: usize = 2_000;
/// The same in bytes of bodies.
const BYTES_PER_LOOK_MAX: usize = 1 << 20;
