//! Invites, and who used them.

use rusqlite::{Connection, OptionalExtension, Row};
use zeroize::Zeroizing;

use super::fault::Fault;
use super::sql;
use crate::invite::{INVITES_MAX, Invite, InviteChange, InviteId, Refusal};

/// Makes what a store of an earlier version has not.
pub(super) fn prepare(db: &Connection) -> Result<(), Fault> {
    Ok(db.execute_batch(include_str!("invites.sql"))?)
}

/// All that are kept, the newest first.
pub(super) fn load(db: &Connection) -> Result<Vec<Invite>, Fault> {
    let mut statement = db.prepare_cached(concat!(
        "SELECT id, key, made_s, expires_s, uses_max, revoked,",
        " (SELECT count(*) FROM invite_uses WHERE invite = id) FROM invites ORDER BY made_s DESC, id"
    ))?;
    let invites = statement.query_map((), read)?;
    Ok(invites.collect::<rusqlite::Result<_>>()?)
}

/// Makes a change. A refusal changes nothing.
pub(super) fn change(db: &Connection, change: &InviteChange) -> Result<Result<(), Refusal>, Fault> {
    match change {
        InviteChange::Add(invite) => add(db, invite).map(Ok),
        InviteChange::Revoke(id) => {
            let changed = db.prepare_cached("UPDATE invites SET revoked = 1 WHERE id = ?1")?.execute((id.0,))?;
            Ok(if changed == 0 { Err(Refusal::Unknown) } else { Ok(()) })
        }
        InviteChange::RevokeAll => {
            db.prepare_cached("UPDATE invites SET revoked = 1")?.execute(())?;
            Ok(Ok(()))
        }
        InviteChange::Use { id, peer, now_s } => {
            let Some(invite) = find(db, *id)? else { return Ok(Err(Refusal::Unknown)) };
            let mut used = db.prepare_cached("SELECT 1 FROM invite_uses WHERE invite = ?1 AND peer = ?2")?;
            // He is in already, and only missed the answer; what was taken back stays so.
            let invite = if used.exists((id.0, peer.0))? { Invite { uses: 0, ..invite } } else { invite };
            if let Err(refusal) = invite.check(*now_s) {
                return Ok(Err(refusal));
            }
            let mut insert =
                db.prepare_cached("INSERT OR IGNORE INTO invite_uses (invite, peer, used_s) VALUES (?1, ?2, ?3)")?;
            insert.execute((id.0, peer.0, sql::integer(*now_s)))?;
            Ok(Ok(()))
        }
    }
}

fn add(db: &Connection, invite: &Invite) -> Result<(), Fault> {
    let Invite { id, key, made_s, expires_s, uses_max, is_revoked, .. } = invite;
    let mut insert = db.prepare_cached(INSERT)?;
    insert.execute((id.0, **key, sql::integer(*made_s), sql::integer(*expires_s), uses_max, is_revoked))?;
    // Those that let nobody in any more go first, then the oldest.
    let mut order: Vec<Invite> = load(db)?;
    order.sort_by_key(|invite| invite.check(*made_s).is_err());
    for old in order.iter().skip(INVITES_MAX) {
        db.prepare_cached("DELETE FROM invites WHERE id = ?1")?.execute((old.id.0,))?;
        db.prepare_cached("DELETE FROM invite_uses WHERE invite = ?1")?.execute((old.id.0,))?;
    }
    Ok(())
}

fn find(db: &Connection, id: InviteId) -> Result<Option<Invite>, Fault> {
    let mut statement = db.prepare_cached(concat!(
        "SELECT id, key, made_s, expires_s, uses_max, revoked,",
        " (SELECT count(*) FROM invite_uses WHERE invite = id) FROM invites WHERE id = ?1"
    ))?;
    Ok(statement.query_row((id.0,), read).optional()?)
}

fn read(row: &Row<'_>) -> rusqlite::Result<Invite> {
    let count = |number: i64| u64::try_from(number).unwrap_or(0);
    Ok(Invite {
        id: InviteId(row.get(0)?),
        key: Zeroizing::new(row.get(1)?),
        made_s: count(row.get(2)?),
        expires_s: count(row.get(3)?),
        uses_max: row.get(4)?,
        is_revoked: row.get(5)?,
        uses: u32::try_from(row.get::<_, i64>(6)?).unwrap_or(u32::MAX),
    })
}

const INSERT: &str =
    "INSERT INTO invites (id, key, made_s, expires_s, uses_max, revoked) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
