//! Transactions: what is written together, when it is flushed, and when the log goes into the file.

use std::cell::Cell;
use std::time::{Duration, Instant};

use p2p_mesh::effect::{Append, Settle};
use p2p_mesh::id::{Epoch, PeerId};
use p2p_mesh::input::Settled;
use p2p_mesh::membership::record::Record;
use p2p_mesh::status::Histogram;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::append::Rooms;
use super::fault::Fault;
use super::index::Index;
use super::{Limits, Retained, StoreError, append, book, file, forks, invites, notes, retain};
use crate::config::Durability;
use crate::invite::{InviteChange, InviteError, Refusal};
use crate::names::{FirstUse, Note, NoteError};

/// A job that changes something.
#[derive(Debug)]
pub(super) enum Write {
    /// `Job::Append`.
    Append(Append),
    /// `Job::SaveRecord`.
    SaveRecord(Record, u64),
    /// `Job::ForgetRecord`.
    ForgetRecord(PeerId),
    /// `Job::SaveName`.
    SaveName(FirstUse),
    /// `Job::SaveNote`.
    SaveNote(PeerId, Note, oneshot::Sender<Result<(), NoteError>>),
    /// `Job::ChangeInvites`.
    ChangeInvites {
        change: InviteChange,
        /// Set by the transaction.
        outcome: Cell<Option<Result<(), Refusal>>>,
        reply: oneshot::Sender<Result<(), InviteError>>,
    },
    /// `Job::NoteEpoch`.
    NoteEpoch(Epoch, oneshot::Sender<Result<(), StoreError>>),
    /// `Job::RenewEpoch`.
    RenewEpoch(Epoch),
    /// `Job::Settle`.
    Settle(Box<Settle>),
}

/// The connection, and what is known of the state of its file.
#[derive(Debug)]
pub(super) struct Writer {
    /// The only connection of this process.
    pub(super) db: Connection,
    /// Follows the transactions.
    pub(super) index: Index,
    durability: Durability,
    commit: Commit,
    /// When the first write came that is safe from a crash and not yet from a power cut.
    unflushed_since: Option<Instant>,
    /// Roughly how long the write-ahead log is.
    log_bytes: usize,
    /// How long transactions took that were flushed.
    pub(super) flushes: Histogram,
}

/// What a transaction waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Commit {
    /// The disk has it, and all that was written before.
    Flushed,
    /// The system has it.
    Written,
}

impl Writer {
    /// For a file that was just opened, which flushes until it is told otherwise.
    pub(super) fn new(db: Connection, durability: Durability) -> Result<Self, Fault> {
        let index = Index::load(&db)?;
        // A run that was killed left its log behind: run after run it would only grow.
        let log_bytes = file::log_len(&db);
        Ok(Self {
            db,
            index,
            durability,
            commit: Commit::Flushed,
            unflushed_since: None,
            log_bytes,
            flushes: Histogram::default(),
        })
    }

    /// Writes may share a transaction.
    pub(super) fn shares(&self) -> bool {
        match self.durability {
            Durability::Always => false,
            Durability::Batch | Durability::Never => true,
        }
    }

    /// Does all of these in one transaction, or none. It is flushed if one of them wants it.
    /// Returns what became of the forks among them, in their order.
    pub(super) fn write(&mut self, group: &[Write]) -> Result<Vec<Settled>, Fault> {
        let flush = group.iter().any(|write| self.wants_flush(write)) || self.flush_is_overdue();
        let commit = if flush { Commit::Flushed } else { Commit::Written };
        self.set(commit)?;
        let began = Instant::now();
        let settled = match transact(&self.db, &mut self.index, group) {
            Ok(settled) => settled,
            Err(fault) => {
                self.index.take_back();
                return Err(fault);
            }
        };
        self.index.keep();
        self.log_bytes += COMMIT_BYTES + group.iter().map(Write::bytes).sum::<usize>();
        self.note_flush(commit, began);
        self.on_commit(commit);
        Ok(settled)
    }

    /// Drops some of what is beyond the limits, and gives some of the free pages back.
    pub(super) fn retain(&mut self, limits: &Limits) -> Result<Retained, Fault> {
        let plan = retain::plan(&self.db, &self.index, limits)?;
        let mut retained = Retained::default();
        if !plan.is_empty() {
            self.set(self.commit_of_its_own())?;
            retained = match plan.carry_out(&self.db, &mut self.index) {
                Ok(retained) => retained,
                Err(fault) => {
                    self.index.take_back();
                    return Err(fault);
                }
            };
            self.index.keep();
            self.on_commit(self.commit);
            self.log_bytes += COMMIT_BYTES + usize::try_from(retained.bytes).unwrap_or(usize::MAX);
        }
        retained.is_more |= self.shrink()?;
        Ok(retained)
    }

    /// Cuts free pages off the end of the file where there are many; whether there are still more. A few are left,
    /// because appends use them without making the file grow.
    fn shrink(&mut self) -> Result<bool, Fault> {
        let pages = |name| self.db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (all, free) = (pages("page_count")?, pages("freelist_count")?);
        if free < FREE_PAGES_MIN || free < all / 4 {
            return Ok(false);
        }
        self.set(self.commit_of_its_own())?;
        // It cuts off one page for each time it is asked for the next row.
        let mut vacuum = self.db.prepare(&format!("PRAGMA incremental_vacuum({SHRINK_PAGES})"))?;
        let mut rows = vacuum.query(())?;
        while rows.next()?.is_some() {}
        drop(rows);
        drop(vacuum);
        let cut = all - self.db.pragma_query_value(None, "page_count", |row| row.get::<_, i64>(0))?;
        if cut > 0 {
            self.on_commit(self.commit);
            self.log_bytes += COMMIT_BYTES;
        }
        Ok(cut > 0)
    }

    /// Nobody waits for it.
    fn commit_of_its_own(&self) -> Commit {
        match self.durability {
            Durability::Always => Commit::Flushed,
            Durability::Batch | Durability::Never => Commit::Written,
        }
    }

    /// When `flush` wants to be called.
    pub(super) fn flush_due(&self) -> Option<Instant> {
        self.unflushed_since.map(|since| since + FLUSH_DELAY)
    }

    /// Its time has come.
    pub(super) fn flush_is_overdue(&self) -> bool {
        self.flush_due().is_some_and(|due| due <= Instant::now())
    }

    /// Flushes what is written. Where even that does not fit on the disk, it is tried again after the delay.
    pub(super) fn flush(&mut self) -> Result<(), Fault> {
        if self.unflushed_since.is_none() {
            return Ok(());
        }
        self.unflushed_since = Some(Instant::now());
        self.set(Commit::Flushed)?;
        let began = Instant::now();
        transact(&self.db, &mut self.index, &[])?;
        self.note_flush(Commit::Flushed, began);
        self.log_bytes += COMMIT_BYTES;
        self.on_commit(Commit::Flushed);
        Ok(())
    }

    /// Moves a long write-ahead log into the file.
    pub(super) fn checkpoint(&mut self) -> Result<(), Fault> {
        if self.log_bytes < LOG_BYTES {
            return Ok(());
        }
        self.log_bytes = 0;
        self.db.query_row("PRAGMA wal_checkpoint(PASSIVE)", (), |_| Ok(()))?;
        Ok(())
    }

    fn wants_flush(&self, write: &Write) -> bool {
        match (self.durability, write) {
            // An epoch that comes back after a power cut would bring numbers back that others know.
            // A use of an invite that is forgotten could be used again.
            (Durability::Always, _)
            | (_, Write::NoteEpoch(..) | Write::RenewEpoch(_) | Write::ChangeInvites { .. }) => true,
            (Durability::Batch, Write::Append(append)) => append.flush,
            (Durability::Batch, Write::SaveNote(..)) => true,
            (
                Durability::Batch,
                Write::SaveRecord(..) | Write::ForgetRecord(_) | Write::SaveName(_) | Write::Settle(_),
            ) => false,
            (
                Durability::Never,
                Write::Append(_)
                | Write::SaveRecord(..)
                | Write::ForgetRecord(_)
                | Write::SaveName(_)
                | Write::SaveNote(..)
                | Write::Settle(_),
            ) => false,
        }
    }

    fn set(&mut self, commit: Commit) -> Result<(), Fault> {
        if self.commit != commit {
            let level = match commit {
                Commit::Flushed => "FULL",
                Commit::Written => "NORMAL",
            };
            self.db.pragma_update(None, "synchronous", level)?;
            self.commit = commit;
        }
        Ok(())
    }

    fn note_flush(&mut self, commit: Commit, began: Instant) {
        match commit {
            Commit::Flushed => self.flushes.observe(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX)),
            Commit::Written => (),
        }
    }

    fn on_commit(&mut self, commit: Commit) {
        match (commit, self.durability) {
            // The flush of the log takes along what was written to it before.
            (Commit::Flushed, _) => self.unflushed_since = None,
            (Commit::Written, Durability::Never) => (),
            (Commit::Written, Durability::Always | Durability::Batch) => {
                self.unflushed_since.get_or_insert_with(Instant::now);
            }
        }
    }
}

impl Write {
    /// Bytes of bodies.
    fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.envelopes.iter().map(|delivery| delivery.envelope.bytes().len()).sum(),
            Self::SaveRecord(record, _) => record.body().len(),
            Self::Settle(settle) => settle.proof.bytes_len(),
            Self::SaveName(first) => first.name.len(),
            Self::SaveNote(_, note, _) => note.petname.len(),
            Self::ForgetRecord(_) | Self::NoteEpoch(..) | Self::RenewEpoch(_) | Self::ChangeInvites { .. } => 0,
        }
    }
}

fn transact(db: &Connection, index: &mut Index, group: &[Write]) -> Result<Vec<Settled>, Fault> {
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let changes = db.total_changes();
    let (mut rooms, mut settled) = (Rooms::default(), Vec::new());
    for write in group {
        match write {
            Write::Append(append) => append::write(db, index, &mut rooms, append)?,
            Write::SaveRecord(record, seen_ms) => book::save(db, record, *seen_ms)?,
            Write::ForgetRecord(peer) => {
                book::forget(db, peer)?;
                notes::forget(db, peer)?;
            }
            Write::SaveName(first) => notes::save_name(db, first)?,
            Write::SaveNote(peer, note, _) => notes::save(db, peer, note)?,
            Write::ChangeInvites { change, outcome, .. } => outcome.set(Some(invites::change(db, change)?)),
            Write::NoteEpoch(epoch, _) | Write::RenewEpoch(epoch) => book::save_epoch(db, *epoch)?,
            Write::Settle(settle) => settled.push(forks::settle(db, index, settle)?),
        }
    }
    index.save(db)?;
    rooms.save(db)?;
    // A transaction that changes nothing would flush nothing.
    if db.total_changes() == changes {
        book::save_flush(db)?;
    }
    transaction.commit()?;
    Ok(settled)
}

/// How long a write that nobody waits for may be unsafe from a power cut. Such writes came from peers, which still
/// have them.
const FLUSH_DELAY: Duration = Duration::from_millis(100);
/// The write-ahead log is moved when it is about this long.
const LOG_BYTES: usize = 4 << 20;
/// Free pages that are kept for what is to come, 4 MiB of them.
const FREE_PAGES_MIN: i64 = 1_024;
/// Pages that are cut off in one step.
const SHRINK_PAGES: i64 = 512;
/// What a small transaction adds to the log: a page of each of the trees that it touches.
const COMMIT_BYTES: usize = 32 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p2p_mesh::input::Ticket;

    use super::*;
    use crate::store::tests::kit::identity;

    fn writer(dir: &tempfile::TempDir, durability: Durability) -> Writer {
        Writer::new(file::open(dir.path(), &identity(1)).unwrap(), durability).unwrap()
    }

    /// How the database commits, and how often there was nothing but a flush.
    fn state(writer: &Writer) -> (i64, i64) {
        let level = writer.db.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        (level, writer.db.query_row("SELECT flushes FROM meta", (), |row| row.get(0)).unwrap())
    }

    fn append(flush: bool) -> Write {
        Write::Append(Append { ticket: Ticket(1), generation: 0, flush, envelopes: Vec::new() })
    }

    const FULL: i64 = 2;
    const NORMAL: i64 = 1;

    #[test]
    fn an_unflushed_write_is_flushed_later_and_then_the_store_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(&dir, Durability::Batch);
        writer.write(&[append(false), Write::ForgetRecord(identity(2))]).unwrap();
        assert_eq!(state(&writer).0, NORMAL);
        let due = writer.flush_due().unwrap();
        writer.write(&[append(false)]).unwrap();
        assert_eq!(writer.flush_due(), Some(due), "the first write counts");
        let (_, flushes) = state(&writer);
        writer.flush().unwrap();
        assert_eq!(state(&writer), (FULL, flushes + 1));
        assert_eq!(writer.flush_due(), None);
        writer.flush().unwrap();
        assert_eq!(state(&writer), (FULL, flushes + 1));
    }

    #[test]
    fn one_write_that_wants_a_flush_flushes_all_before_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(&dir, Durability::Batch);
        writer.write(&[append(false)]).unwrap();
        writer.write(&[append(false), append(true)]).unwrap();
        assert_eq!(state(&writer).0, FULL);
        assert_eq!(writer.flush_due(), None);
    }

    #[test]
    fn durability_decides_what_is_flushed() {
        let dir = tempfile::tempdir().unwrap();
        let mut always = writer(&dir, Durability::Always);
        assert!(!always.shares());
        always.write(&[append(false)]).unwrap();
        assert_eq!((state(&always).0, always.flush_due()), (FULL, None));
        drop(always);
        let mut never = writer(&dir, Durability::Never);
        never.write(&[append(true)]).unwrap();
        assert_eq!((state(&never).0, never.flush_due()), (NORMAL, None));
        let (reply, _answer) = oneshot::channel();
        never.write(&[Write::NoteEpoch(Epoch(7), reply)]).unwrap();
        assert_eq!(state(&never).0, FULL, "an epoch is always flushed");
    }

    #[test]
    fn a_long_log_goes_into_the_file_and_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(&dir, Durability::Never);
        let log = dir.path().join("history.db-wal");
        for _ in 0..3 * LOG_BYTES / COMMIT_BYTES {
            writer.write(&[append(false)]).unwrap();
            writer.checkpoint().unwrap();
        }
        // Each of these transactions adds one page with its header.
        let one_lap = (LOG_BYTES / COMMIT_BYTES) as u64 * (4096 + 24);
        let len = std::fs::metadata(log).unwrap().len();
        assert!(len < 2 * one_lap, "{len}");
    }

    #[test]
    fn a_long_log_that_a_killed_run_left_goes_into_the_file() {
        let (dir, found) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut killed = writer(&dir, Durability::Never);
        for _ in 0..=LOG_BYTES / (4096 + 24) {
            killed.write(&[append(false)]).unwrap();
        }
        for name in ["history.db", "history.db-wal"] {
            std::fs::copy(dir.path().join(name), found.path().join(name)).unwrap();
        }
        let mut writer = writer(&found, Durability::Never);
        let moved = |writer: &Writer| {
            let pages = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, i64>(2)?));
            writer.db.query_row("PRAGMA wal_checkpoint(NOOP)", (), pages).unwrap()
        };
        let (len, before) = moved(&writer);
        writer.checkpoint().unwrap();
        assert_eq!((before, moved(&writer)), (0, (len, len)));
    }
}
