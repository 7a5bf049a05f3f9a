//! Forks: their proofs, the branches that lost, and own posts that have to be said again.

use bytes::Bytes;
use p2p_mesh::effect::Settle;
use p2p_mesh::envelope::{AuthorKey, Body, Envelope, VerifiedEnvelope};
use p2p_mesh::fork::{ForkPlace, ForkProof};
use p2p_mesh::id::{Epoch, Instance, Offset, PeerId, PostId, Seq};
use p2p_mesh::input::{LostPost, Settled};
use p2p_mesh::limits::LOST_POSTS_MAX;
use rusqlite::{Connection, OptionalExtension, Row};

use super::fault::Fault;
use super::index::{FeedRow, Index};
use super::log::{self, FORKED, SAID};
use super::sql;

/// Makes what a store of an earlier version has not.
pub(super) fn prepare(db: &Connection) -> Result<(), Fault> {
    Ok(db.execute_batch(include_str!("forks.sql"))?)
}

/// Every proof. One that does not verify is left out: it can be learned again.
pub(super) fn load(db: &Connection) -> Result<Vec<ForkProof>, Fault> {
    let mut statement =
        db.prepare("SELECT winner, winner_signature, loser, loser_signature FROM forks ORDER BY feed, first, prev")?;
    let mut rows = statement.query(())?;
    let mut proofs = Vec::new();
    while let Some(row) = rows.next()? {
        let pair = envelope(row, 0)?.zip(envelope(row, 2)?);
        match pair.and_then(|(winner, loser)| ForkProof::new(winner, loser)) {
            Some(proof) => proofs.push(proof),
            None => tracing::warn!("stored_fork_dropped"),
        }
    }
    Ok(proofs)
}

/// Keeps a proof and sets the branch aside that loses by it, in the running transaction.
pub(super) fn settle(db: &Connection, index: &mut Index, settle: &Settle) -> Result<Settled, Fault> {
    let (proof, place) = (&settle.proof, settle.proof.place());
    let feed = index.touch(proof.feed(), proof.feed().feed_id());
    save(db, feed, proof)?;
    let ours = log::beginning_at(db, index, feed, place.seq)?.filter(|ours| ForkPlace::of(ours) == place);
    let has_lost = ours.as_ref().is_some_and(|ours| ours.hash() > proof.winner().hash());
    let from = index.left(feed).parted_from(place.seq, has_lost, settle.is_ordered, settle.end);
    if let Some(place) = settle.forget {
        forget(db, feed, place)?;
    }
    let posts = match from {
        Some(from) => set_aside(db, index, feed, from)?,
        None => 0,
    };
    Ok(Settled { left: index.left(feed), posts, ours })
}

/// Own posts that are to be said again, behind an offset.
pub(super) fn find_lost(db: &Connection, index: &Index, me: &PeerId, after: Offset) -> Result<Vec<LostPost>, Fault> {
    let mut statement =
        db.prepare_cached("SELECT offset, epoch, seq FROM lost WHERE offset > ?1 ORDER BY offset LIMIT ?2")?;
    let place = |row: &Row<'_>| Ok((sql::number(row, 0)?, sql::number(row, 1)?, sql::number(row, 2)?));
    let rows = statement.query_map((sql::integer(after.0), sql::integer(LOST_POSTS_MAX as u64)), place)?;
    let mut lost = Vec::new();
    for row in rows {
        let (offset, epoch, seq) = row?;
        let id = PostId { feed: Instance { id: *me, epoch: Epoch(epoch) }, seq: Seq(seq) };
        match log::containing_offset(db, index, Offset(offset)) {
            Ok(held) => {
                let post = (offset - held.offset.0) as usize;
                let post = held.envelope.body().posts.get(post).cloned();
                lost.extend(post.map(|post| LostPost { offset: Offset(offset), id, post }));
            }
            Err(Fault::Damaged(why)) => tracing::error!(why, "store_damaged"),
            Err(fault) => return Err(fault),
        }
    }
    Ok(lost)
}

/// An own envelope is stored, said here or not: what it says again is not lost any more. Another machine of this
/// identity may have lost another post with the same number, so the text counts too.
pub(super) fn note_said_again(db: &Connection, index: &Index, body: &Body) -> Result<(), Fault> {
    let mut find = db.prepare_cached("SELECT offset FROM lost WHERE epoch = ?1 AND seq = ?2")?;
    let mut forget = db.prepare_cached("DELETE FROM lost WHERE offset = ?1")?;
    for post in &body.posts {
        let Some(was) = post.was.as_deref().filter(|was| was.feed.id == body.feed.id) else { continue };
        let place = (sql::integer(was.feed.epoch.0), sql::integer(was.seq.0));
        let Some(offset) = find.query_row(place, |row| sql::number(row, 0)).optional()? else { continue };
        let held = log::containing_offset(db, index, Offset(offset))?;
        let lost = held.envelope.body().posts.get((offset - held.offset.0) as usize);
        if lost.is_some_and(|lost| lost.text == post.text) {
            forget.execute((sql::integer(offset),))?;
        }
    }
    Ok(())
}

/// Marks everything that ends at `from` or behind. Returns how many posts that were.
fn set_aside(db: &Connection, index: &mut Index, feed: FeedRow, from: Seq) -> Result<u64, Fault> {
    let from = log::start_of(db, feed, from)?.unwrap_or(from);
    let mut statement = db.prepare_cached(
        "SELECT offset, first, count, flags FROM envelopes INDEXED BY envelopes_by_seq
         WHERE feed = ?1 AND first >= ?2 AND flags & ?3 = 0",
    )?;
    let mut lose = db.prepare_cached("INSERT OR IGNORE INTO lost (offset, epoch, seq) VALUES (?1, ?2, ?3)")?;
    let epoch = sql::integer(index.left(feed).feed.epoch.0);
    let mut rows = statement.query((feed.0, sql::integer(from.0), FORKED))?;
    let mut posts = 0;
    while let Some(row) = rows.next()? {
        let (offset, first, count) = (sql::number(row, 0)?, sql::number(row, 1)?, sql::number(row, 2)?);
        posts += count;
        if row.get::<_, i64>(3)? & SAID != 0 {
            for post in 0..count {
                lose.execute((sql::integer(offset + post), epoch, sql::integer(first + post)))?;
            }
        }
    }
    db.prepare_cached("UPDATE envelopes SET flags = flags | ?3 WHERE feed = ?1 AND first >= ?2 AND flags & ?3 = 0")?
        .execute((feed.0, sql::integer(from.0), FORKED))?;
    index.cut(db, feed, from)?;
    Ok(posts)
}

fn save(db: &Connection, feed: FeedRow, proof: &ForkProof) -> Result<(), Fault> {
    let mut statement = db.prepare_cached(
        "INSERT OR REPLACE INTO forks (feed, first, prev, winner_signature, winner, loser_signature, loser)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    let (winner, loser, place) = (proof.winner(), proof.loser(), proof.place());
    statement.execute((
        feed.0,
        sql::integer(place.seq.0),
        prev(&place),
        winner.signature(),
        &winner.bytes()[..],
        loser.signature(),
        &loser.bytes()[..],
    ))?;
    Ok(())
}

fn forget(db: &Connection, feed: FeedRow, place: ForkPlace) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("DELETE FROM forks WHERE feed = ?1 AND first = ?2 AND prev = ?3")?;
    statement.execute((feed.0, sql::integer(place.seq.0), prev(&place)))?;
    Ok(())
}

fn prev(place: &ForkPlace) -> Vec<u8> {
    place.prev.map(|prev| prev.0.to_vec()).unwrap_or_default()
}

/// The envelope in two columns, body and signature.
fn envelope(row: &Row<'_>, column: usize) -> Result<Option<VerifiedEnvelope>, Fault> {
    let (body, signature): (Vec<u8>, [u8; 64]) = (row.get(column)?, row.get(column + 1)?);
    let Ok(envelope) = Envelope::parse(Bytes::from(body), signature) else { return Ok(None) };
    let key = AuthorKey::new(&envelope.feed().id);
    Ok(key.and_then(|key| envelope.verify(&key)).ok())
}
