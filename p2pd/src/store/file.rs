//! The file: made, checked and prepared for one thread that owns it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use p2p_mesh::id::PeerId;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::StoreError;
use super::fault::{Fault, full};
use super::{forks, invites, notes};

/// Where the history of a data directory is.
pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("history.db")
}

/// Opens the history of `dir`, or makes an empty one that belongs to `me`.
pub(super) fn open(dir: &Path, me: &PeerId) -> Result<Connection, StoreError> {
    let path = path(dir);
    let len = std::path::absolute(&path).map_or(0, |path| path.as_os_str().len());
    if len > PATH_LEN_MAX {
        let why = format!("its path has {len} bytes, and the database takes {PATH_LEN_MAX}: set a shorter data_dir");
        return Err(StoreError::Misplaced(format!("the history {} cannot be there: {why}", path.display())));
    }
    touch(dir, &path).map_err(|error| told(&error, dir, &path))?;
    open_database(&path, me).map_err(|fault| fault.told(dir))
}

/// Makes the file before the database does, so that it is closed to others whatever the umask is, survives a power
/// cut, and a place that cannot be written is told in the system's own words.
fn touch(dir: &Path, path: &Path) -> io::Result<()> {
    let fresh = !path.try_exists()?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if fresh { File::open(dir)?.sync_all() } else { Ok(()) }
}

fn told(error: &io::Error, dir: &Path, path: &Path) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => full(dir),
        _ => StoreError::Failed(format!("cannot write the history {}: {error}", path.display())),
    }
}

fn open_database(path: &Path, me: &PeerId) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags)?;
    let found = check(&db)?;
    if found.is_none() {
        // It can be chosen only before there is anything in the file.
        db.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    prepare(&db)?;
    match found {
        None => make(&mut db, me)?,
        Some(version) => {
            check_owner(&db, me)?;
            upgrade(&mut db, version)?;
        }
    }
    forks::prepare(&db)?;
    notes::prepare(&db)?;
    invites::prepare(&db)?;
    Ok(db)
}

/// The version of the file, none where it is still empty; an error where it is none of ours, before anything in it is
/// touched.
fn check(db: &Connection) -> Result<Option<i64>, Fault> {
    let application: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))?;
    if (application, version, tables) == (0, 0, 0) {
        return Ok(None);
    }
    if application != APPLICATION {
        return Err(Fault::Damaged("history.db is a database of another program".into()));
    }
    if version > SCHEMA {
        let why = format!("version {version}, and this p2pd knows versions up to {SCHEMA}: run a newer p2pd");
        return Err(Fault::Damaged(format!("history.db has {why}")));
    }
    if version < 1 || tables == 0 {
        return Err(Fault::Damaged(format!("history.db says version {version} and has {tables} tables")));
    }
    Ok(Some(version))
}

/// How long the write-ahead log is that an earlier run left behind.
pub(super) fn log_len(db: &Connection) -> usize {
    let log = db.path().map(|path| format!("{path}-wal"));
    let metadata = log.and_then(|log| std::fs::metadata(log).ok());
    metadata.and_then(|metadata| metadata.len().try_into().ok()).unwrap_or(0)
}

fn prepare(db: &Connection) -> Result<(), Fault> {
    db.pragma_update(None, "cache_size", -CACHE_KIB)?;
    db.pragma_update(None, "temp_store", "memory")?;
    db.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(()))?;
    db.pragma_update(None, "synchronous", "FULL")?;
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let why = "the file system of the data directory cannot keep the log of a database";
        return Err(Fault::Refused(format!("{why} (journal mode {mode})")));
    }
    db.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
    // The writer checkpoints by itself, behind its answers, and sees what comes of it.
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

fn make(db: &mut Connection, me: &PeerId) -> Result<(), Fault> {
    let made = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    made.execute_batch(include_str!("schema.sql"))?;
    made.execute("INSERT INTO meta (id, owner, epoch, flushes) VALUES (1, ?1, 0, 0)", (me.0,))?;
    made.pragma_update(None, "application_id", APPLICATION)?;
    made.pragma_update(None, "user_version", SCHEMA)?;
    made.commit()?;
    Ok(())
}

fn upgrade(db: &mut Connection, from: i64) -> Result<(), Fault> {
    if from < SCHEMA {
        let made = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        made.execute_batch(include_str!("upgrade_2.sql"))?;
        made.pragma_update(None, "user_version", SCHEMA)?;
        made.commit()?;
    }
    Ok(())
}

/// Whose history it is.
pub(super) fn owner(db: &Connection) -> Result<PeerId, Fault> {
    Ok(PeerId(db.query_row("SELECT owner FROM meta", (), |row| row.get(0))?))
}

fn check_owner(db: &Connection, me: &PeerId) -> Result<(), Fault> {
    let owner = owner(db)?;
    if owner == *me {
        return Ok(());
    }
    let why = format!("history.db belongs to the identity {owner}, not to {me}");
    Err(Fault::Misplaced(format!("{why}: bring back its identity.key, or move the file away")))
}

/// SQLite's limit of 512 bytes, less the ending of a file beside it.
const PATH_LEN_MAX: usize = 504;
/// "p2pd" as four bytes.
pub(super) const APPLICATION: i32 = 0x7032_7064;
/// The version of `schema.sql`.
const SCHEMA: i64 = 2;
/// Pages kept in memory.
const CACHE_KIB: i64 = 512;
/// The write-ahead log shrinks to this when it begins anew.
const LOG_BYTES: i64 = 4 << 20;
/// Statements kept ready; there are some 40.
const STATEMENTS: usize = 64;
