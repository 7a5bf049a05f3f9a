//! The thread that owns the database: it takes jobs, does them in groups and answers.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use p2p_mesh::feed::StoredFeed;
use p2p_mesh::fork::ForkProof;
use p2p_mesh::id::{Epoch, Offset, PeerId};
use p2p_mesh::input::{Input, ReadFrom, Settled, Ticket};
use p2p_mesh::membership::record::Record;
use rusqlite::config::DbConfig;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

use super::fault::Fault;
use super::writer::{Write, Writer};
use super::{
    Job, Limits, Opened, Retained, StoreError, StoreEvent, append, book, file, forks, history, invites, log, notes,
    search,
};
use crate::config::Durability;
use crate::invite::{Invite, InviteError};
use crate::names::{NoteError, Noted};
use crate::query::{
    Answer, Authors, HistoryQuery, LogPage, RoomFeeds, RoomSummary, SearchPage, SearchQuery, StoreSummary, StoredPost,
};

/// Starts the thread, which opens the file.
pub(super) async fn start(dir: &Path, me: &PeerId, durability: Durability) -> Result<Opened, StoreError> {
    let (dir, me) = (dir.to_owned(), *me);
    let (sender, found) = oneshot::channel();
    let work = move || match open(&dir, &me, durability) {
        Ok((desk, jobs, found)) => {
            // Where nobody waits any more, the file is closed again.
            if sender.send(Ok(found)).is_ok() {
                run(desk, jobs);
            }
        }
        Err(error) => drop(sender.send(Err(error))),
    };
    let thread = std::thread::Builder::new().name("store".into()).stack_size(STACK_BYTES).spawn(work);
    let thread = thread.map_err(|error| StoreError::NoThread(error.to_string()))?;
    let ended = |_| StoreError::Failed("the thread of the store ended while it opened the file".to_owned());
    Ok(found.await.map_err(ended)??.with(thread))
}

fn open(dir: &Path, me: &PeerId, durability: Durability) -> Result<(Desk, mpsc::Receiver<Job>, Found), StoreError> {
    let told = |fault: Fault| fault.told(dir);
    let writer = Writer::new(file::open(dir, me)?, durability).map_err(told)?;
    let feeds = writer.index.stored();
    let next_offset = writer.index.next_offset();
    let noted = book::load_epoch(&writer.db).map_err(told)?;
    let newest_own_epoch: Option<Epoch> = noted.max(writer.index.newest_epoch(me));
    let book = book::load(&writer.db).map_err(told)?;
    let forks = forks::load(&writer.db).map_err(told)?;
    let forgotten = book::load_forgotten(&writer.db).map_err(told)?;
    let noted_of_peers = notes::load(&writer.db).map_err(told)?;
    let invites = invites::load(&writer.db).map_err(told)?;
    let (jobs, job_receiver) = mpsc::channel(JOBS_WAITING_MAX);
    let (event_sender, events) = mpsc::channel(EVENTS_WAITING_MAX);
    let desk = Desk { writer, dir: dir.to_owned(), me: *me, events: event_sender, failure: None, retry_due: None };
    let found = Found {
        jobs,
        events,
        feeds,
        forks,
        next_offset,
        newest_own_epoch,
        book,
        forgotten,
        noted: noted_of_peers,
        invites,
    };
    Ok((desk, job_receiver, found))
}

/// What is `Opened`, without the thread.
struct Found {
    jobs: mpsc::Sender<Job>,
    events: mpsc::Receiver<StoreEvent>,
    feeds: Vec<StoredFeed>,
    forks: Vec<ForkProof>,
    next_offset: Offset,
    newest_own_epoch: Option<Epoch>,
    book: Vec<(Record, u64)>,
    forgotten: Vec<(PeerId, u64)>,
    noted: Noted,
    invites: Vec<Invite>,
}

impl Found {
    fn with(self, thread: JoinHandle<()>) -> Opened {
        let Self { jobs, events, feeds, forks, next_offset, newest_own_epoch, book, forgotten, noted, invites } = self;
        Opened { jobs, events, thread, feeds, forks, next_offset, newest_own_epoch, book, forgotten, noted, invites }
    }
}

/// Where jobs are done.
struct Desk {
    writer: Writer,
    dir: PathBuf,
    me: PeerId,
    events: mpsc::Sender<StoreEvent>,
    failure: Option<Failure>,
    /// The disk took nothing the last time: when it is tried again.
    retry_due: Option<Instant>,
}

/// The last append that failed: what may build on it fails too.
struct Failure {
    generation: u64,
    why: String,
}

/// A job that changes nothing.
enum Question {
    Feed(Ticket, ReadFrom),
    Keys(Ticket, Vec<String>),
    Lost(Ticket, Offset),
    Log { after: Offset, posts_max: usize, bytes_max: usize, reply: Reply<LogPage> },
    Last { rooms: Vec<String>, with: Option<PeerId>, authors: Authors, posts: usize, reply: Reply<Offset> },
    History(HistoryQuery, Reply<Vec<StoredPost>>),
    Rooms(Reply<Vec<RoomSummary>>),
    Search(SearchQuery, Reply<SearchPage>),
    RoomFeeds { room: String, after: Offset, reply: Reply<RoomFeeds> },
    Summary(oneshot::Sender<StoreSummary>),
    Invites(Reply<Vec<Invite>>),
}

/// Jobs by what is done with them, each in order.
#[derive(Default)]
struct Sorted {
    writes: Vec<Write>,
    questions: Vec<Question>,
    /// The last one stands for all.
    retain: Option<Limits>,
}

type Reply<T> = oneshot::Sender<Answer<T>>;

/// Why the thread wakes up.
enum Woken {
    Jobs,
    Due,
    Closed,
}

fn run(mut desk: Desk, mut jobs: mpsc::Receiver<Job>) {
    // It only waits for jobs with a deadline: no sockets, no threads. It lives and ends on this thread, because one
    // must not end inside another.
    let runtime = match Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime,
        Err(error) => return desk.fail(Fault::Refused(format!("cannot wait for jobs: {error}"))),
    };
    let mut batch = Vec::new();
    loop {
        let due = desk.writer.flush_due().into_iter().chain(desk.retry_due).min();
        let done = match wait(due, &mut jobs, &mut batch, &runtime) {
            Woken::Jobs => desk.work(std::mem::take(&mut batch)),
            Woken::Due => desk.retry().and_then(|()| desk.flush()),
            Woken::Closed => break,
        };
        if let Err(fault) = done {
            return desk.fail(fault);
        }
    }
    if let Err(fault) = desk.forgive(Writer::flush) {
        desk.fail(fault);
    }
}

/// Sleeps until there are jobs, or a flush or another try is due. A quiet store does not wake up.
fn wait(due: Option<Instant>, jobs: &mut mpsc::Receiver<Job>, batch: &mut Vec<Job>, runtime: &Runtime) -> Woken {
    let received = runtime.block_on(async {
        let received = jobs.recv_many(batch, JOBS_PER_GROUP_MAX);
        match due {
            Some(due) => timeout_at(due.into(), received).await.ok(),
            None => Some(received.await),
        }
    });
    match received {
        None => Woken::Due,
        Some(0) => Woken::Closed,
        Some(_) => Woken::Jobs,
    }
}

impl Desk {
    /// Does a group of jobs: the writes first and together, so that they share a flush.
    ///
    /// Every error that one of these steps returns means that nothing may be answered any more.
    fn work(&mut self, batch: Vec<Job>) -> Result<(), Fault> {
        let Sorted { writes, questions, retain } = sort(batch);
        if self.writer.shares() {
            self.write(writes)?;
        } else {
            writes.into_iter().try_for_each(|write| self.write(vec![write]))?;
        }
        questions.into_iter().try_for_each(|question| self.answer(question))?;
        retain.map_or(Ok(()), |limits| self.retain(&limits))?;
        self.flush()?;
        self.checkpoint()
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), Fault> {
        let writes: Vec<Write> = writes.into_iter().filter_map(|write| self.refuse_follower(write)).collect();
        if writes.is_empty() {
            return Ok(());
        }
        match self.writer.write(&writes) {
            Ok(settled) => {
                let mut settled = settled.into_iter();
                writes.into_iter().for_each(|write| self.on_written(write, &mut settled));
                self.on_recovered();
                Ok(())
            }
            Err(fault) if fault.is_flush() => Err(fault),
            // One of them is to blame. Alone, each gets the answer that is its own.
            Err(_) if writes.len() > 1 => writes.into_iter().try_for_each(|write| self.write(vec![write])),
            Err(fault) => {
                let error = fault.told(&self.dir);
                self.retry_due = Some(Instant::now() + RETRY_DELAY);
                writes.into_iter().for_each(|write| self.on_not_written(write, &error));
                Ok(())
            }
        }
    }

    /// Fails an append that may build on one that failed.
    fn refuse_follower(&mut self, write: Write) -> Option<Write> {
        match (write, &self.failure) {
            (Write::Append(append), Some(failure)) if append.generation <= failure.generation => {
                let why = failure.why.clone();
                self.tell(Input::AppendFailed { ticket: append.ticket, why });
                None
            }
            (write, _) => Some(write),
        }
    }

    fn on_written(&mut self, write: Write, settled: &mut impl Iterator<Item = Settled>) {
        match write {
            Write::Settle(settle) => {
                if let Some(settled) = settled.next() {
                    self.tell(Input::Settled { ticket: settle.ticket, settled: Box::new(settled) });
                }
            }
            Write::RenewEpoch(epoch) => self.tell(Input::EpochDrawn(Some(epoch))),
            Write::Append(append) => self.tell(Input::Appended(append.ticket)),
            Write::NoteEpoch(_, reply) => drop(reply.send(Ok(()))),
            Write::SaveNote(_, _, reply) => drop(reply.send(Ok(()))),
            Write::ChangeInvites { outcome, reply, .. } => {
                let done = outcome.get().unwrap_or(Ok(()));
                drop(reply.send(done.map_err(InviteError::Refused)));
            }
            Write::SaveRecord(..) | Write::ForgetRecord(_) | Write::SaveName(_) => (),
        }
    }

    fn on_not_written(&mut self, write: Write, error: &StoreError) {
        match write {
            Write::Append(append) => {
                let why = error.to_string();
                self.failure = Some(Failure { generation: append.generation, why: why.clone() });
                self.tell(Input::AppendFailed { ticket: append.ticket, why });
            }
            Write::Settle(settle) => {
                tracing::warn!(%error, "fork_not_settled");
                self.tell(Input::SettleFailed(settle.ticket));
            }
            Write::RenewEpoch(_) => self.tell(Input::EpochDrawn(None)),
            Write::NoteEpoch(_, reply) => drop(reply.send(Err(error.clone()))),
            Write::SaveNote(_, _, reply) => drop(reply.send(Err(NoteError::NotKept(error.to_string())))),
            Write::ChangeInvites { reply, .. } => drop(reply.send(Err(InviteError::NotKept(error.to_string())))),
            Write::SaveRecord(..) | Write::ForgetRecord(_) | Write::SaveName(_) => {
                tracing::warn!(%error, "record_not_stored");
            }
        }
    }

    fn answer(&mut self, question: Question) -> Result<(), Fault> {
        let Writer { db, index, .. } = &self.writer;
        match question {
            Question::Feed(ticket, from) => {
                // What cannot be read is not held, as far as other peers are concerned.
                let envelopes = log::read_feed(db, index, &from).unwrap_or_else(|fault| {
                    tracing::error!(error = self.tell_damage(fault), "feed_not_read");
                    Vec::new()
                });
                self.tell(Input::ReadDone { ticket, envelopes });
            }
            // Without the answer a message could be sent twice, and there is no way to say that it is not known.
            Question::Keys(ticket, keys) => {
                let posts = append::find_keys(db, &self.me, &keys)?;
                self.tell(Input::KeysFound { ticket, posts });
            }
            // A post that is not found here would never be said again.
            Question::Lost(ticket, after) => {
                let posts = forks::find_lost(db, index, &self.me, after)?;
                self.tell(Input::LostFound { ticket, posts });
            }
            Question::Log { after, posts_max, bytes_max, reply } => {
                let page = log::read_log(db, index, after, posts_max, bytes_max);
                send(reply, page.or_else(|fault| self.page_over(fault, after)), self);
            }
            Question::Last { rooms, with, authors, posts, reply } => {
                send(reply, history::find_last(db, index, (&rooms, with.as_ref()), &authors, posts), self);
            }
            Question::History(query, reply) => send(reply, history::history(db, index, &query), self),
            Question::Rooms(reply) => send(reply, history::rooms(db), self),
            Question::Search(query, reply) => send(reply, search::search(db, index, &query), self),
            Question::Invites(reply) => send(reply, invites::load(db), self),
            Question::Summary(reply) => drop(reply.send(self.summary())),
            Question::RoomFeeds { room, after, reply } => {
                send(reply, history::room_feeds(db, index, &room, after), self);
            }
        }
        Ok(())
    }

    /// Drops what is beyond the limits. Where that fails, it is put off: the next time may be better.
    fn retain(&mut self, limits: &Limits) -> Result<(), Fault> {
        let retained = match self.writer.retain(limits) {
            Ok(retained) => retained,
            Err(fault) if fault.is_flush() => return Err(fault),
            Err(fault) => {
                tracing::warn!(error = ?fault.told(&self.dir), "retention_put_off");
                Retained::default()
            }
        };
        let _ = self.events.blocking_send(StoreEvent::Retained(retained));
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if !self.writer.flush_is_overdue() {
            return Ok(());
        }
        self.forgive(Writer::flush)
    }

    /// Writes a trifle, to see whether the disk takes something again: so the alarm ends also where nobody speaks.
    fn retry(&mut self) -> Result<(), Fault> {
        if self.retry_due.is_none_or(|due| due > Instant::now()) {
            return Ok(());
        }
        self.forgive(|writer| writer.write(&[]).map(drop))?;
        Ok(())
    }

    /// Does something that nobody waits for, and that is tried again if the disk does not take it.
    fn forgive(&mut self, write: impl FnOnce(&mut Writer) -> Result<(), Fault>) -> Result<(), Fault> {
        match write(&mut self.writer) {
            Ok(()) => self.on_recovered(),
            Err(fault) if fault.is_flush() => return Err(fault),
            Err(fault) => {
                // Said once, for it may go on for days.
                if self.retry_due.is_none() {
                    tracing::warn!(error = ?fault.told(&self.dir), "flush_put_off");
                }
                self.retry_due = Some(Instant::now() + RETRY_DELAY);
            }
        }
        Ok(())
    }

    fn on_recovered(&mut self) {
        if self.retry_due.take().is_some() {
            let _ = self.events.blocking_send(StoreEvent::Recovered);
        }
    }

    fn checkpoint(&mut self) -> Result<(), Fault> {
        match self.writer.checkpoint() {
            // The log only grows longer until there is space again.
            Err(fault) if !fault.is_flush() => {
                tracing::warn!(error = ?fault.told(&self.dir), "checkpoint_put_off");
                Ok(())
            }
            done => done,
        }
    }

    /// Says that nothing is certain any more, and stops. What is on disk is read anew by the next start.
    fn fail(self, fault: Fault) {
        // Moving the log into the file now could only spread what may be wrong. It fails for a closed file only.
        let _ = self.writer.db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
        let error = fault.told(&self.dir);
        tracing::error!(%error, "store_failed");
        let _ = self.events.blocking_send(StoreEvent::Failed(error));
    }

    /// A reader of the log is told where something is damaged, and goes on behind it.
    fn page_over(&self, fault: Fault, after: Offset) -> Result<LogPage, Fault> {
        let Fault::Damaged(_) = &fault else { return Err(fault) };
        let page = log::damaged_page(&self.writer.db, &self.writer.index, after)?;
        let Some(page) = page else { return Err(fault) };
        self.tell_damage(fault);
        Ok(page)
    }

    /// What to answer where something was not found as it was written. The user is told too: a disk goes bad.
    fn tell_damage(&self, fault: Fault) -> String {
        let error = fault.told(&self.dir);
        if let StoreError::Damaged(why) = &error {
            let _ = self.events.blocking_send(StoreEvent::Damaged(why.clone()));
        }
        error.to_string()
    }

    fn summary(&self) -> StoreSummary {
        let Writer { index, flushes, .. } = &self.writer;
        let expired = index.expired();
        // Asked here, because a file system may take its time, and here it delays nobody but those who wait for it anyway.
        let disk = rustix::fs::statvfs(&self.dir).ok();
        let bytes = |blocks: u64, size: u64| blocks.saturating_mul(size);
        StoreSummary {
            bytes: index.bytes(),
            expired_posts: expired.posts,
            expired_newest_ms: expired.newest_ms,
            flushes: *flushes,
            disk_free: disk.as_ref().map(|disk| bytes(disk.f_bavail, disk.f_frsize)),
            disk_size: disk.as_ref().map(|disk| bytes(disk.f_blocks, disk.f_frsize)),
        }
    }

    /// Waits for a driver that is busy. One that is gone needs no answer.
    fn tell(&self, input: Input) {
        let _ = self.events.blocking_send(StoreEvent::Input(input));
    }
}

fn sort(batch: Vec<Job>) -> Sorted {
    let mut sorted = Sorted::default();
    let Sorted { writes, questions, retain } = &mut sorted;
    for job in batch {
        match job {
            Job::Append(append) => writes.push(Write::Append(append)),
            Job::SaveRecord { record, seen_ms } => writes.push(Write::SaveRecord(record, seen_ms)),
            Job::ForgetRecord(peer) => writes.push(Write::ForgetRecord(peer)),
            Job::SaveName(first) => writes.push(Write::SaveName(first)),
            Job::SaveNote { peer, note, reply } => writes.push(Write::SaveNote(peer, note, reply)),
            Job::ChangeInvites { change, reply } => {
                writes.push(Write::ChangeInvites { change, outcome: Cell::default(), reply });
            }
            Job::Invites { reply } => questions.push(Question::Invites(reply)),
            Job::NoteEpoch { epoch, reply } => writes.push(Write::NoteEpoch(epoch, reply)),
            Job::Settle(settle) => writes.push(Write::Settle(settle)),
            Job::RenewEpoch(epoch) => writes.push(Write::RenewEpoch(epoch)),
            Job::FindLost { ticket, after } => questions.push(Question::Lost(ticket, after)),
            Job::Read { ticket, from } => questions.push(Question::Feed(ticket, from)),
            Job::FindKeys { ticket, keys } => questions.push(Question::Keys(ticket, keys)),
            Job::ReadLog { after, posts_max, bytes_max, reply } => {
                questions.push(Question::Log { after, posts_max, bytes_max, reply });
            }
            Job::FindLast { rooms, with, authors, posts, reply } => {
                questions.push(Question::Last { rooms, with, authors, posts, reply });
            }
            Job::History { query, reply } => questions.push(Question::History(query, reply)),
            Job::Rooms { reply } => questions.push(Question::Rooms(reply)),
            Job::Search { query, reply } => questions.push(Question::Search(query, reply)),
            Job::Summary { reply } => questions.push(Question::Summary(reply)),
            Job::Retain(limits) => *retain = Some(limits),
            Job::RoomFeeds { room, after, reply } => questions.push(Question::RoomFeeds { room, after, reply }),
        }
    }
    sorted
}

/// Who asked may have gone meanwhile.
fn send<T>(reply: Reply<T>, answer: Result<T, Fault>, desk: &Desk) {
    let _ = reply.send(answer.map_err(|fault| desk.tell_damage(fault)));
}

/// Jobs that wait in the channel.
const JOBS_WAITING_MAX: usize = 256;
/// Answers that wait in the channel: those of the jobs before, and of the group in work.
const EVENTS_WAITING_MAX: usize = 1_024;
/// Jobs that share a transaction. Their bytes are bounded by `UNSTORED_BYTES_MAX`.
const JOBS_PER_GROUP_MAX: usize = 256;
/// Before it is looked again whether the disk takes something.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Of the thread. SQLite and the reader of envelopes are content with less.
const STACK_BYTES: usize = 512 << 10;

#[cfg(test)]
mod tests;
