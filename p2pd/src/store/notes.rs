//! What the user noted of peers, and who used a name first.

use p2p_mesh::id::PeerId;
use rusqlite::Connection;

use super::fault::Fault;
use super::sql;
use crate::names::{FIRST_MAX, FirstUse, NOTES_MAX, Note, Noted};

/// Makes what a store of an earlier version has not.
pub(super) fn prepare(db: &Connection) -> Result<(), Fault> {
    Ok(db.execute_batch(include_str!("notes.sql"))?)
}

/// Everything that was noted.
pub(super) fn load(db: &Connection) -> Result<Noted, Fault> {
    let mut notes = db.prepare("SELECT peer, petname, blocked FROM notes ORDER BY peer LIMIT ?1")?;
    let notes = notes.query_map((sql::integer(NOTES_MAX as u64),), |row| {
        Ok((PeerId(row.get(0)?), Note { petname: row.get(1)?, is_blocked: row.get(2)? }))
    })?;
    let notes = notes.collect::<rusqlite::Result<_>>()?;
    let mut first = db.prepare("SELECT name, peer FROM names ORDER BY name LIMIT ?1")?;
    let first = first.query_map((sql::integer(FIRST_MAX as u64),), |row| {
        Ok(FirstUse { name: row.get(0)?, peer: PeerId(row.get(1)?) })
    })?;
    Ok(Noted { notes, first: first.collect::<rusqlite::Result<_>>()? })
}

/// Keeps what is noted of a peer instead of what was; nothing where there is nothing to note.
pub(super) fn save(db: &Connection, peer: &PeerId, note: &Note) -> Result<(), Fault> {
    if *note == Note::default() {
        db.prepare_cached("DELETE FROM notes WHERE peer = ?1")?.execute((peer.0,))?;
        return Ok(());
    }
    let mut statement =
        db.prepare_cached("INSERT OR REPLACE INTO notes (peer, petname, blocked) VALUES (?1, ?2, ?3)")?;
    statement.execute((peer.0, &note.petname, note.is_blocked))?;
    Ok(())
}

/// Keeps who used a name first. Whoever is noted already was earlier.
pub(super) fn save_name(db: &Connection, first: &FirstUse) -> Result<(), Fault> {
    let mut statement = db.prepare_cached("INSERT OR IGNORE INTO names (name, peer) VALUES (?1, ?2)")?;
    statement.execute((&first.name, first.peer.0))?;
    Ok(())
}

/// Drops the names of a peer, and how the user called it. Whom he blocked stays blocked.
pub(super) fn forget(db: &Connection, peer: &PeerId) -> Result<(), Fault> {
    db.prepare_cached("DELETE FROM names WHERE peer = ?1")?.execute((peer.0,))?;
    db.prepare_cached("DELETE FROM notes WHERE peer = ?1 AND NOT blocked")?.execute((peer.0,))?;
    db.prepare_cached("UPDATE notes SET petname = '' WHERE peer = ?1")?.execute((peer.0,))?;
    Ok(())
}
