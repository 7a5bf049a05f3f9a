//! The address book, and the newest own epoch: what a start needs beside the history.

use p2p_mesh::id::{Epoch, PeerId};
use p2p_mesh::limits::BOOK_LEN_MAX;
use p2p_mesh::membership::record::Record;
use rusqlite::{Connection, OptionalExtension};

use super::fault::Fault;
use super::sql;

/// Every record, with when its peer was last linked. One that does not verify is left out: it can be learned again.
pub(super) fn load(db: &Connection) -> Result<Vec<(Record, u64)>, Fault> {
    let mut statement =
        db.prepare("SELECT body, signature, seen_ms FROM records ORDER BY seen_ms DESC, peer LIMIT ?1")?;
    let mut rows = statement.query((sql::integer(BOOK_LEN_MAX as u64),))?;
    let mut book = Vec::new();
    while let Some(row) = rows.next()? {
        let (body, signature): (String, [u8; 64]) = (row.get(0)?, row.get(1)?);
        match Record::parse(&body, signature) {
            Ok(record) => book.push((record, sql::number(row, 2)?)),
            Err(error) => tracing::warn!(%error, "stored_record_dropped"),
        }
    }
    Ok(book)
}

/// Keeps a record instead of the one that its peer had so far.
pub(super) fn save(db: &Connection, record: &Record, seen_ms: u64) -> Result<(), Fault> {
    let mut statement =
        db.prepare_cached("INSERT OR REPLACE INTO records (peer, body, signature, seen_ms) VALUES (?1, ?2, ?3, ?4)")?;
    statement.execute((record.id.0, record.body(), record.signature(), sql::integer(seen_ms)))?;
    db.prepare_cached("DELETE FROM forgotten WHERE peer = ?1")?.execute((record.id.0,))?;
    Ok(())
}

/// Who was forgotten, and the newest revision that was known of each.
pub(super) fn load_forgotten(db: &Connection) -> Result<Vec<(PeerId, u64)>, Fault> {
    let mut statement = db.prepare("SELECT peer, rev FROM forgotten ORDER BY peer LIMIT ?1")?;
    let rows = statement
        .query_map((sql::integer(BOOK_LEN_MAX as u64),), |row| Ok((PeerId(row.get(0)?), sql::number(row, 1)?)))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Drops the record of a peer, and remembers how new it was: so that it does not come back by what others remember.
pub(super) fn forget(db: &Connection, peer: &PeerId) -> Result<(), Fault> {
    let mut known = db.prepare_cached("SELECT body, signature FROM records WHERE peer = ?1")?;
    let known: Option<(String, [u8; 64])> =
        known.query_row((peer.0,), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    if let Some(record) = known.and_then(|(body, signature)| Record::parse(&body, signature).ok()) {
        db.prepare_cached("INSERT OR REPLACE INTO forgotten (peer, rev) VALUES (?1, ?2)")?
            .execute((peer.0, sql::integer(record.rev)))?;
    }
    db.prepare_cached("DELETE FROM records WHERE peer = ?1")?.execute((peer.0,))?;
    Ok(())
}

/// The newest epoch that was noted.
pub(super) fn load_epoch(db: &Connection) -> Result<Option<Epoch>, Fault> {
    let epoch = db.query_row("SELECT epoch FROM meta", (), |row| sql::number(row, 0))?;
    Ok((epoch != 0).then_some(Epoch(epoch)))
}

/// Notes that this run has an epoch.
pub(super) fn save_epoch(db: &Connection, epoch: Epoch) -> Result<(), Fault> {
    db.prepare_cached("UPDATE meta SET epoch = max(epoch, ?1)")?.execute((sql::integer(epoch.0),))?;
    Ok(())
}

/// Changes something that nobody reads, so that there is something to flush.
pub(super) fn save_flush(db: &Connection) -> Result<(), Fault> {
    db.prepare_cached("UPDATE meta SET flushes = flushes + 1")?.execute(())?;
    Ok(())
}
